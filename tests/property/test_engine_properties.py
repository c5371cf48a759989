"""Random markets through the whole engine: books that balance, nothing spent twice, no sight of the future."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crypto.compiled import is_enabled
from crypto.market import Bars, InstrumentHistory, MarketHistory
from crypto.pipeline.orders import OrderStatus
from crypto.result import BacktestResult
from crypto.settings import DiscountSettings, FirstLeg, GracePolicy, MissingPolicy, Settings, Style
from crypto.units import HOUR_MS
from research.backtest import run_backtest
from tests.markets import (
    BTC,
    BTC_ACROSS,
    BTC_BYBIT,
    BTC_INVERSE,
    ETH,
    ETH_BYBIT,
    PEPE,
    START,
    digest,
    make_settings,
    random_coin,
    random_market,
)
from tests.replay import assert_sound

BOTH_WALLETS = {"binance:spot": {"USDT": 50_000.0}, "binance:linear": {"USDT": 30_000.0}}
PORTFOLIOS: list[tuple[list[tuple[str, str]], dict[str, dict[str, float]]]] = [
    ([BTC], BOTH_WALLETS),
    ([BTC, PEPE, ETH], BOTH_WALLETS),
    ([BTC_INVERSE], {"binance:spot": {"USDT": 50_000.0}, "binance:inverse": {"BTC": 1.5}}),
    ([BTC_BYBIT, ETH_BYBIT], {"bybit:unified": {"USDT": 80_000.0}}),
    ([BTC_ACROSS, ETH], {**BOTH_WALLETS, "bybit:unified": {"USDT": 30_000.0}}),
]


@dataclass(frozen=True)
class Case:
    """Choices that make a market and its settings; small enough to be printed when a test fails."""

    portfolio: int
    seed: int
    hours: int
    gaps: float
    interval: int
    volume: float
    blowout_bps: float
    participation: float
    style: Style
    first_leg: FirstLeg
    latency_ms: int
    timeout_bars: int
    borrow: bool
    grace: GracePolicy
    fee_in_base: bool
    cross_venue: bool
    delay_ms: int
    collateral_ratio: float
    resize_band: float
    coins: float  # that pay fees, in each wallet of Binance that trades; 0: no discount

    def settings(self) -> Settings:
        pairs, wallets = PORTFOLIOS[self.portfolio]
        discount = {}
        if self.pays_in_coins:
            wallets = {
                name: {**held, "BNB": self.coins} if name.startswith("binance:") else held
                for name, held in wallets.items()
            }
            discount["binance"] = DiscountSettings(enabled=True)
        return make_settings(
            pairs,
            wallets,
            signal={
                "warmup_hours": 4.0,
                "holding_hours": 240.0,
                "forecast_half_life_hours": 8.0,
                "min_holding_hours": 2.0,
                "cooldown_hours": 4.0,
                "basis_blowout_bps": self.blowout_bps,
            },
            slippage={"impact_bps": 10.0, "perp_half_spread_bps": 0.5, "max_participation": self.participation},
            execution={
                "style": self.style,
                "first_leg": self.first_leg,
                "latency_ms": self.latency_ms,
                "leg_timeout_bars": self.timeout_bars,
            },
            borrow={"enabled": self.borrow, "missing_rate": MissingPolicy.SKIP},
            funding={"grace": self.grace},
            fees={"spot_buy_fee_in_base": self.fee_in_base, "discount": discount},
            transfers={"cross_venue": self.cross_venue, "delay_ms": self.delay_ms},
            portfolio={"collateral_ratio": self.collateral_ratio, "resize_band": self.resize_band},
        )

    @property
    def pays_in_coins(self) -> bool:
        """Whether a discount is on: Bybit has none."""
        return self.coins > 0.0 and any(name.startswith("binance:") for name in PORTFOLIOS[self.portfolio][1])

    def market(self) -> MarketHistory:
        pairs, _ = PORTFOLIOS[self.portfolio]
        history = random_market(
            pairs, self.seed, hours=self.hours, gaps=self.gaps, interval=self.interval, volume=self.volume
        )
        if not self.pays_in_coins:
            return history
        return replace(history, instruments=(*history.instruments, random_coin(self.seed, self.hours, self.gaps)))


CASES = st.builds(
    Case,
    portfolio=st.integers(0, len(PORTFOLIOS) - 1),
    seed=st.integers(0, 2**32 - 1),
    hours=st.sampled_from([48, 120]),
    gaps=st.sampled_from([0.0, 0.05]),
    interval=st.sampled_from([1, 4, 8]),
    volume=st.sampled_from([20.0, 3_000.0]),
    blowout_bps=st.sampled_from([20.0, 300.0]),
    participation=st.sampled_from([0.01, 0.5]),
    style=st.sampled_from(Style),
    first_leg=st.sampled_from(FirstLeg),
    latency_ms=st.sampled_from([0, 250, HOUR_MS + 1]),
    timeout_bars=st.integers(1, 3),
    borrow=st.booleans(),
    grace=st.sampled_from(GracePolicy),
    fee_in_base=st.booleans(),
    cross_venue=st.booleans(),
    delay_ms=st.sampled_from([1_000, 2 * HOUR_MS]),
    collateral_ratio=st.sampled_from([0.3, 0.5]),
    resize_band=st.sampled_from([0.0, 0.1]),
    coins=st.sampled_from([0.0, 0.02, 1.0]),
)


# Without the compiler a case takes a second and not ten milliseconds; that mode is for coverage.
SHARE = 1.0 if is_enabled() else 0.1


def assert_no_order_is_forgotten(result: BacktestResult, case: Case) -> None:
    """A leg has at most one working order, and none outlives its deadline by more than the bar that notices it."""
    working = result.orders[result.orders["status"] == OrderStatus.PLACED]
    assert np.unique(working["leg"]).size == working.size
    assert np.all(working["deadline_ms"] + HOUR_MS + case.latency_ms >= result.time_ms[-1])


def assert_no_order_is_repeated(result: BacktestResult) -> None:
    """A refused order is not sent again at the same instant, nor again and again with nothing changed."""
    refused = result.orders[result.orders["status"] == OrderStatus.REJECTED]
    assert np.unique(refused[["leg", "placed_ms", "intent"]]).size == refused.size
    assert refused.size <= 10 + 3 * result.trips.size


@given(CASES)
@example(
    Case(
        portfolio=0, seed=3064658661, hours=48, gaps=0.05, interval=1, volume=20.0, blowout_bps=20.0,
        participation=0.01, style=Style.TAKER, first_leg=FirstLeg.PERP, latency_ms=0, timeout_bars=1, borrow=False,
        grace=GracePolicy.ADVERSE, fee_in_base=True, cross_venue=False, delay_ms=7_200_000, collateral_ratio=0.3,
        resize_band=0.1, coins=0.0,
    )
)  # fmt: skip
@settings(max_examples=round(100 * SHARE))
def test_books_balance_on_random_markets(case: Case) -> None:
    chosen, history = case.settings(), case.market()
    result = run_backtest(chosen, history)
    assert_sound(result, history, chosen)
    assert_no_order_is_repeated(result)
    assert_no_order_is_forgotten(result, case)


@given(CASES)
@settings(max_examples=round(20 * SHARE))
def test_stages_in_python_give_the_same_bytes(case: Case) -> None:
    chosen, history = case.settings(), case.market()
    assert digest(run_backtest(chosen, history)) == digest(run_backtest(chosen, history, compiled=False))


# no look-ahead


def _other_bars(given_bars: Bars, first: int, random: np.random.Generator) -> Bars:
    columns = {}
    for name in ("open", "high", "low", "close", "volume"):
        values = getattr(given_bars, name).copy()
        values[first:] = values[first:] * random.uniform(0.2, 5.0, values[first:].size)
        columns[name] = values
    columns["high"] = np.fmax(np.fmax(columns["open"], columns["close"]), columns["high"])
    columns["low"] = np.fmin(np.fmin(columns["open"], columns["close"]), columns["low"])
    return Bars(**columns)


def another_future(history: MarketHistory, cut: int, seed: int) -> MarketHistory:
    """The market with everything after the instant ``cut`` changed wildly; nothing known at the cut is touched."""
    random = np.random.default_rng(seed)
    cut_ms = int(history.open_ms[0]) + cut * history.bar_ms
    changed: list[InstrumentHistory] = []
    for one in history.instruments:
        mark = None if one.mark is None else _other_bars(one.mark, cut, random)
        due = one.settlements
        if due is not None:
            later = due.time_ms > cut_ms
            rate = np.where(later, random.normal(0.0, 0.01, later.size), due.funding_rate)
            due = replace(due, funding_rate=rate, mark_price=np.where(later, due.mark_price * 3.0, due.mark_price))
        changed.append(replace(one, bars=_other_bars(one.bars, cut, random), mark=mark, settlements=due))
    borrow = {}
    for key, series in history.borrow.items():
        # rows after the cut come at another spacing, too: how often a venue will publish is not known beforehand
        kept = series.time_ms <= cut_ms
        times = np.concatenate([series.time_ms[kept], cut_ms + np.arange(1, 400, dtype=np.int64) * 7 * HOUR_MS])
        rates = np.concatenate([series.hourly_rate[kept], np.full(399, 3e-4)])
        borrow[key] = replace(series, time_ms=times, hourly_rate=rates)
    return replace(history, instruments=tuple(changed), borrow=borrow)


def _journal_until(result: BacktestResult, cut_ms: int) -> list[object]:
    decided = {"signal", "decision", "trip_opened", "trip_closed", "kill_switch", "transfer_sent"}
    return [
        entry
        for entry in result.journal
        if entry["time_ms"] < cut_ms or (entry["time_ms"] == cut_ms and entry["event"] in decided)
    ]


@given(CASES, st.integers(10, 40), st.integers(0, 1_000), st.booleans())
@settings(max_examples=round(40 * SHARE))
def test_the_future_does_not_change_the_past(case: Case, cut: int, seed: int, compiled: bool) -> None:
    chosen, history = case.settings(), case.market()
    one = run_backtest(chosen, history, compiled=compiled)
    other = run_backtest(chosen, another_future(history, cut, seed), compiled=compiled)
    # What happens at the cut itself is the strategy's turn, then fills at the opens of the bars that begin there.
    cut_ms = START + cut * HOUR_MS
    past, again = (result.ledger[result.ledger["time_ms"] < cut_ms] for result in (one, other))
    assert past.tobytes() == again.tobytes()
    entries, repeated = (_journal_until(result, cut_ms) for result in (one, other))
    assert entries == repeated
    placed = ["id", "pair", "leg", "intent", "kind", "lots", "placed_ms", "deadline_ms", "reduce_only"]
    sent, again = (result.orders[result.orders["placed_ms"] < cut_ms][placed].tolist() for result in (one, other))
    assert sent == again
    for name in ("wallet_equity", "pair_pnl", "attribution", "basis_bps", "carry_annual", "spot_value", "perp_value"):
        np.testing.assert_array_equal(getattr(one, name)[: cut + 1], getattr(other, name)[: cut + 1], err_msg=name)
