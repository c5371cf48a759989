"""Small markets and settings built by hand, and a strategy that trades exactly what a test tells it to."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from crypto.market import Bars, Floats, InstrumentHistory, MarketHistory, RateSeries, Settlements
from crypto.pipeline.features import Features
from crypto.pipeline.portfolio import Account, Action, Filters, Target
from crypto.pipeline.reasons import Reason
from crypto.pipeline.risk import Approved, Refused
from crypto.pipeline.signal import Position, Signal
from crypto.result import BacktestResult
from crypto.settings import MarginEngine, PairSettings, Settings
from crypto.simulator.python_strategy import PythonPipeline
from crypto.units import HOUR_MS
from research.backtest import run_backtest

START = 1_704_067_200_000  # 2024-01-01T00:00:00Z
DEEP = 1e12  # volume in which no order of a test is more than a drop

BTC = ("binance:spot:BTCUSDT", "binance:linear:BTCUSDT")
ETH = ("binance:spot:ETHUSDT", "binance:linear:ETHUSDT")
PEPE = ("binance:spot:PEPEUSDT", "binance:linear:1000PEPEUSDT")
BTC_INVERSE = ("binance:spot:BTCUSDT", "binance:inverse:BTCUSD")
BTC_BYBIT = ("bybit:spot:BTCUSDT", "bybit:linear:BTCUSDT")
ETH_BYBIT = ("bybit:spot:ETHUSDT", "bybit:linear:ETHUSDT")
BTC_ACROSS = ("binance:spot:BTCUSDT", "bybit:linear:BTCUSDT")

BINANCE_WALLETS = {"binance:spot": {"USDT": 70_000.0}, "binance:linear": {"USDT": 40_000.0}}
BYBIT_WALLETS = {"bybit:unified": {"USDT": 110_000.0}}
INVERSE_WALLETS = {"binance:spot": {"USDT": 70_000.0}, "binance:inverse": {"BTC": 1.0}}


def bars(prices: Floats | Sequence[float] | float, count: int = 0, volume: float | Floats = DEEP) -> Bars:
    """Bars along a path: bar k opens at ``prices[k]`` and closes at ``prices[k + 1]``; a number is a flat market.

    NaN at an open or a close takes the whole bar away.
    """
    path = np.full(count + 1, float(prices)) if np.ndim(prices) == 0 else np.asarray(prices, dtype=float)
    opens, closes = path[:-1].copy(), path[1:].copy()
    amounts = np.broadcast_to(np.asarray(volume, dtype=float), opens.shape).copy()
    absent = np.isnan(opens) | np.isnan(closes)
    for column in (opens, closes, amounts):
        column[absent] = math.nan
    return Bars(opens, np.maximum(opens, closes), np.minimum(opens, closes), closes, amounts)


def without(given: Bars, absent: Sequence[int] | slice) -> Bars:
    """The same bars with the ones at ``absent`` taken away."""
    columns = {field.name: getattr(given, field.name).copy() for field in fields(given)}
    for column in columns.values():
        column[absent] = math.nan
    return Bars(**columns)


def settlements(
    hours: Sequence[float],
    rate: float | Sequence[float] = 1e-4,
    mark: float | Sequence[float] = 100.0,
    interval: float | Sequence[float] = 8.0,
) -> Settlements:
    """Settlements at ``hours`` after ``START``."""
    count = len(hours)
    times = START + (np.asarray(hours, dtype=float) * HOUR_MS).astype(np.int64)
    columns = [np.broadcast_to(np.asarray(values, dtype=float), count).copy() for values in (rate, mark, interval)]
    return Settlements(times, *columns)


def every(interval: int, last: float, first: float = 0.0) -> list[float]:
    """Hours ``first``, ``first + interval``, ... up to ``last``."""
    return [float(hour) for hour in np.arange(first, last + 1e-9, interval)]


def spot(key: str, given: Bars) -> InstrumentHistory:
    return InstrumentHistory(key, given)


def perp(key: str, given: Bars, due: Settlements, mark: Bars | None = None) -> InstrumentHistory:
    """A perp; its mark is its last trade unless a mark is given."""
    return InstrumentHistory(key, given, given if mark is None else mark, due)


def market(
    *histories: InstrumentHistory,
    bar_ms: int = HOUR_MS,
    start_ms: int = START,
    borrow: Mapping[tuple[str, str], RateSeries] | None = None,
) -> MarketHistory:
    count = histories[0].bars.open.size
    times = start_ms + np.arange(count, dtype=np.int64) * bar_ms
    return MarketHistory(bar_ms, times, tuple(histories), borrow or {}, data_hash="made by hand", synthetic=True)


def one_pair(
    pair: tuple[str, str],
    prices: Any,
    count: int = 0,
    *,
    perp_prices: Any = None,
    due: Settlements | None = None,
    mark: Bars | None = None,
    volume: float | Floats = DEEP,
    **kwargs: Any,
) -> MarketHistory:
    """A market of one pair; without ``due`` no settlement ever comes."""
    spot_bars = bars(prices, count, volume)
    perp_bars = spot_bars if perp_prices is None else bars(perp_prices, count, volume)
    nothing = settlements([])
    return market(spot(pair[0], spot_bars), perp(pair[1], perp_bars, nothing if due is None else due, mark), **kwargs)


def make_settings(
    pairs: Sequence[tuple[str, str]],
    wallets: Mapping[str, Mapping[str, float]] | None = None,
    weights: Sequence[float] | None = None,
    **tables: Any,
) -> Settings:
    """Settings with dictionaries for the tables that a test changes.

    No slippage and no limit by volume unless it does.
    """
    if wallets is None:
        wallets = BYBIT_WALLETS if pairs[0][0].startswith("bybit") else BINANCE_WALLETS
    shares = weights or [1.0] * len(pairs)
    base = Settings(
        wallets=wallets,
        pairs=tuple(
            PairSettings(spot_key, perp_key, weight) for (spot_key, perp_key), weight in zip(pairs, shares, strict=True)
        ),
    )
    free = {"spot_half_spread_bps": 0.0, "perp_half_spread_bps": 0.0, "impact_bps": 0.0, "max_participation": 1.0}
    tables = {"margin": {"engine": MarginEngine.OFF}, **tables, "slippage": {**free, **tables.get("slippage", {})}}
    changed: dict[str, Any] = {}
    for name, values in tables.items():
        old = getattr(base, name)
        changed[name] = replace(old, **values) if hasattr(type(old), "__dataclass_fields__") else values
    return replace(base, **changed)


# no fee on anything: balances are then what the flow under test leaves
NO_FEES = {
    key: {"maker": 0.0, "taker": 0.0}
    for pair in (BTC, ETH, PEPE, BTC_INVERSE, BTC_BYBIT, ETH_BYBIT, BTC_ACROSS)
    for key in pair
}


class Script:
    """Signal, allocator and risk guard that hand over given targets: ``{hour after start: {pair: Target}}``."""

    def __init__(
        self, targets: Mapping[float, Mapping[int, Target] | Target], pair_of: Mapping[float, int] | None = None
    ) -> None:
        self._targets = {
            START + round(hour * HOUR_MS): ({0: plan} if isinstance(plan, Target) else dict(plan))
            for hour, plan in targets.items()
        }
        self._weights: dict[float, int] = {}
        self._now = 0
        self.accounts: list[tuple[int, Account]] = []

    def evaluate(self, seen: Features, held: Position) -> Signal:
        self._now = seen.time_ms
        return Signal(9, 0.0, 0.0, 0.0, int(Reason.HOLD))  # differs from every position, so no instant is quiet

    def allocate(self, found: Signal, seen: Features, held: Position, account: Account, filters: Filters) -> Target:
        self.accounts.append((seen.time_ms, account))
        plans = self._targets.get(self._now)
        if plans is None:
            return keep()
        pair = self._weights.setdefault(filters.weight, len(self._weights))
        return plans.get(pair, keep())

    def review(self, target: Target, seen: Features, account: Account, filters: Filters) -> Approved | Refused:
        return Refused(target.reason) if target.action == int(Action.KEEP) else Approved(target)


def keep() -> Target:
    return Target(int(Action.KEEP), 0, 0, 0, 0.0, int(Reason.HOLD))


def enter(spot_lots: int, perp_lots: int) -> Target:
    """Open both legs; ``spot_lots`` and ``perp_lots`` are signed orders."""
    direction = 1 if spot_lots > 0 or perp_lots < 0 else -1
    reason = Reason.ENTER_LONG_SPOT if direction > 0 else Reason.ENTER_SHORT_SPOT
    return Target(int(Action.OPEN), direction, spot_lots, perp_lots, 0.0, int(reason))


def leave(spot_lots: int, perp_lots: int) -> Target:
    """Close with signed orders of both legs."""
    return Target(int(Action.CLOSE), 1, spot_lots, perp_lots, 0.0, int(Reason.FUNDING_FLIP))


def move(amount: float) -> Target:
    """Transfer between the pair's wallets, positive from spot to perp."""
    return Target(int(Action.TRANSFER), 1, 0, 0, amount, int(Reason.WAITING_FOR_TRANSFER))


def scripted(targets: Mapping[float, Any]) -> PythonPipeline:
    """A strategy that wants exactly ``targets``, by hour after the start."""
    script = Script(targets)
    return PythonPipeline(signal_model=script, allocator=script, risk_guard=script)


def run_script(settings: Settings, history: MarketHistory, targets: Mapping[float, Any]) -> BacktestResult:
    """Trade exactly ``targets``, by hour after the start. With several pairs their weights have to differ."""
    return run_backtest(settings, history, strategy=scripted(targets))


def rows(result: BacktestResult, flow: int) -> Any:
    """Ledger rows of one flow."""
    return result.ledger[result.ledger["flow"] == int(flow)]


def events(result: BacktestResult, event: str) -> list[Mapping[str, Any]]:
    return [entry for entry in result.journal if entry["event"] == event]


def digest(result: BacktestResult) -> dict[str, str]:
    """Hash of the bytes of every record and series: equal only for runs that are equal to the bit."""
    arrays = (
        "ledger", "orders", "trips", "wallet_equity", "pair_pnl", "attribution", "wallet_attribution", "basis_bps",
        "carry_annual", "spot_value", "perp_value", "collateral_ratio", "liquidation_distance",
    )  # fmt: skip
    found = {name: hashlib.sha256(np.ascontiguousarray(getattr(result, name)).tobytes()).hexdigest() for name in arrays}
    found["journal"] = hashlib.sha256(repr(result.journal).encode()).hexdigest()
    found["status"] = result.status
    return found


def random_market(
    pairs: Sequence[tuple[str, str]],
    seed: int,
    hours: int = 168,
    *,
    bars_per_hour: int = 1,
    gaps: float = 0.0,
    interval: int = 8,
    volume: float = 3_000.0,
    borrow_rate: float = 2e-5,
) -> MarketHistory:
    """Seeded random walks with a basis that reverts, jumpy funding, missing bars and thin volume."""
    random = np.random.default_rng(seed)
    count, bar_ms = hours * bars_per_hour, HOUR_MS // bars_per_hour
    histories: list[InstrumentHistory] = []
    made: dict[str, InstrumentHistory] = {}
    for number, (spot_key, perp_key) in enumerate(pairs):
        price = {"BTC": 20_000.0, "ETH": 1_500.0}.get(spot_key.split(":")[2][:3], 2e-5)
        path = price * np.exp(np.cumsum(random.normal(0.0, 0.012, count + 1)))
        basis = np.zeros(count + 1)
        for step in range(1, count + 1):
            basis[step] = 0.97 * basis[step - 1] + random.normal(0.0, 6e-4)
        units = 1000.0 if "1000" in perp_key else 1.0
        traded = volume * 20_000.0 / price * random.lognormal(0.0, 1.0, count)
        marks = path * units * (1.0 + basis + random.normal(0.0, 1e-4, count + 1))
        due = every(interval, hours)
        rates = random.normal(2e-4 if number % 2 == 0 else -3e-4, 5e-4, len(due))
        stamps = np.minimum((np.asarray(due) * bars_per_hour).astype(int), count)
        rows = settlements(due, rates, marks[stamps], float(interval))
        contracts = traded / units if "inverse" not in perp_key else traded * price
        made.setdefault(spot_key, spot(spot_key, _with_gaps(bars(path, volume=traded), gaps, random)))
        perp_bars = _with_gaps(bars(path * units * (1.0 + basis), volume=contracts), gaps, random)
        made.setdefault(perp_key, perp(perp_key, perp_bars, rows, _with_gaps(bars(marks, volume=0.0), gaps, random)))
    histories = list(made.values())
    stamps_ms = START + np.arange(hours + 1, dtype=np.int64) * HOUR_MS
    owed = {
        tuple(key.split(":")[0::2]): RateSeries(stamps_ms, borrow_rate * random.lognormal(0.0, 0.5, hours + 1))
        for key, _ in pairs
    }
    series = {(venue, symbol.removesuffix("USDT")): rates for (venue, symbol), rates in owed.items()}
    return market(*histories, bar_ms=bar_ms, borrow=series)


def random_coin(seed: int, hours: int, gaps: float = 0.0) -> InstrumentHistory:
    """Hourly bars of the coin that pays Binance's fees, a walk of its own."""
    random = np.random.default_rng([seed, 1])
    path = 300.0 * np.exp(np.cumsum(random.normal(0.0, 0.015, hours + 1)))
    return spot("binance:spot:BNBUSDT", _with_gaps(bars(path), gaps, random))


def _with_gaps(given: Bars, share: float, random: np.random.Generator) -> Bars:
    """Bars with a share of them missing in runs of a few, never the first."""
    absent = random.random(given.open.size) < share
    absent |= np.roll(absent, 1)
    absent[:2] = False
    return without(given, np.flatnonzero(absent))
