"""What the venue's margin checks and the guards' measurements cost a backtest in which none of them acts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from bench import engine
from bench.comparison import Comparison, Direction
from bench.equality import ResultsDifferError, require_same, require_same_bits, require_traded
from bench.markets import make_market
from bench.measure import cpu_seconds, in_turns, timed
from crypto.market import MarketHistory
from crypto.result import BacktestResult
from crypto.settings import MarginEngine, Settings

MOST_TIMES_UNCHECKED = 4.0 / 3.0
SAME_ARRAYS = ("wallet_equity", "pair_pnl", "attribution", "wallet_attribution", "ledger", "orders", "trips")
FORCED = ("liquidation", "takeover", "deleveraging", "guard_tripped", "kill_switch")


@dataclass(frozen=True, slots=True)
class MarginChecksSize:
    """Hours of the market (three pairs), and how often each side is timed."""

    hours: int = 6 * 8_766 + 1
    seed: int = 11
    repeats: int = 9


def settings_with(margin_engine: MarginEngine) -> Settings:
    """The benchmark's settings with limits at which no guard trips, so that both sides trade alike."""
    base = engine.make_settings()
    return replace(
        base,
        margin=replace(base.margin, engine=margin_engine),
        risk=replace(
            base.risk,
            min_distance=0.0,
            restore_distance=0.0,
            min_sigmas=0.0,
            restore_sigmas=0.0,
            concentration_band=100.0,
        ),
    )


def require_same_trades(checked: BacktestResult, unchecked: BacktestResult) -> None:
    """Ledger, orders, round trips and equity are the same to the bit, and nothing was forced."""
    for name in SAME_ARRAYS:
        require_same_bits(name, getattr(checked, name), getattr(unchecked, name))
    require_same("length of the journal", len(checked.journal), len(unchecked.journal))
    forced = [entry["event"] for entry in checked.journal if entry.get("event") in FORCED]
    if forced:
        raise ResultsDifferError(f"{len(forced)} forced events, first {forced[0]}: both sides would not do the same")


def compare(size: MarginChecksSize) -> list[Comparison]:
    """Check that both sides trade alike, then time them in turns."""
    market = make_market(size.hours, size.seed)
    sides = {"off": settings_with(MarginEngine.OFF), "venue": settings_with(MarginEngine.VENUE)}
    results = {name: _run(settings, market) for name, settings in sides.items()}
    require_traded(results["venue"], market)
    require_same_trades(results["venue"], results["off"])
    runs = {name: partial(timed, partial(_run, settings, market)) for name, settings in sides.items()}
    timings = in_turns(runs, size.repeats)
    return [
        Comparison(
            item=f"margin checks, {size.hours} hours of {len(sides['venue'].pairs)} pairs",
            unit="s",
            denominator_name="backtest, margin.engine off",
            denominator=cpu_seconds(timings["off"]),
            figure_name="backtest, margin.engine venue",
            figure=cpu_seconds(timings["venue"]),
            goal=MOST_TIMES_UNCHECKED,
            direction=Direction.BELOW,
            note="ledger, orders, trips and equity equal to the bit",
        )
    ]


def _run(settings: Settings, market: MarketHistory) -> BacktestResult:
    return engine.run(settings, market, compiled=True)
