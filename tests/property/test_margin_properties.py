"""Random markets with shocks and the venue's margin engine on: money is kept, and who is liquidated had to be."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from crypto.compiled import is_enabled
from crypto.ledger import Flow
from crypto.market import MarketHistory
from crypto.result import BacktestResult
from crypto.settings import MarginEngine, MissingPolicy, NakedPolicy, Settings
from crypto.shocks import shock
from crypto.stress import MarkSpike, PriceGap, StressScenario
from crypto.tiers import TierTable
from crypto.units import HOUR_MS
from crypto.venues.registry import instrument
from crypto.venues.shipped_tiers import SHIPPED_TIERS
from research.backtest import run_backtest
from tests.markets import BTC, BTC_BYBIT, ETH, START, digest, events, make_settings, random_market
from tests.replay import assert_sound

PORTFOLIOS: list[tuple[list[tuple[str, str]], dict[str, dict[str, float]]]] = [
    ([BTC], {"binance:spot": {"USDT": 60_000.0}, "binance:linear": {"USDT": 20_000.0}}),
    ([BTC, ETH], {"binance:spot": {"USDT": 900_000.0}, "binance:linear": {"USDT": 120_000.0}}),
    ([BTC_BYBIT], {"bybit:unified": {"USDT": 80_000.0}}),
]
UNGUARDED = {
    "min_distance": 0.0, "restore_distance": 0.0, "min_sigmas": 0.0, "restore_sigmas": 0.0, "max_drawdown": 1.0,
    "concentration_band": 100.0,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """Choices that make a market and its settings; small enough to be printed when a test fails."""

    portfolio: int
    seed: int
    gap_hour: int
    gap: float
    over_hours: float
    spike: float
    leverage: float
    fee: float
    liquidity_gap: float
    guarded: bool
    reverse: bool
    naked: NakedPolicy
    gaps: float

    def settings(self) -> Settings:
        pairs, wallets = PORTFOLIOS[self.portfolio]
        return make_settings(
            pairs,
            wallets,
            margin={
                "engine": MarginEngine.VENUE,
                "liquidation_fee": {perp: self.fee for _, perp in pairs},
                "liquidity_gap": self.liquidity_gap,
                "collateral_ratio": {"bybit": {"BTC": 0.9}},
            },
            signal={
                "warmup_hours": 2.0, "entry_edge_bps": -10_000.0, "min_holding_hours": 2.0, "cooldown_hours": 6.0,
                "basis_blowout_bps": 5_000.0, "pair_drawdown": 1.0, "flip_annual": -100.0,
            },
            portfolio={
                "deploy": 1.0, "collateral_ratio": 1.0 / self.leverage, "min_collateral_ratio": 1e-6,
                "max_collateral_ratio": 100.0, "perp_leverage": self.leverage * 1.2, "resize_band": 0.0,
            },
            risk={**({} if self.guarded else UNGUARDED), "naked_policy": self.naked, "max_pair_fraction": 1.0},
            borrow={"enabled": self.reverse, "missing_rate": MissingPolicy.SKIP},
        )  # fmt: skip

    def market(self) -> MarketHistory:
        pairs, _ = PORTFOLIOS[self.portfolio]
        found = random_market(pairs, self.seed, hours=60, gaps=self.gaps)
        legs = [instrument(key, {}) for pair in pairs for key in pair]
        scenario = StressScenario(
            price_gap=(PriceGap(at_hours=self.gap_hour, spot=self.gap, perp=self.gap, over_hours=self.over_hours),),
            mark_spike=(MarkSpike(at_hours=self.gap_hour + 6, move=self.spike),) if self.spike else (),
        )
        return shock(found, scenario, legs, START)


CASES = st.builds(
    Case,
    portfolio=st.integers(0, len(PORTFOLIOS) - 1),
    seed=st.integers(0, 2**32 - 1),
    gap_hour=st.integers(8, 40),
    gap=st.sampled_from([-0.5, -0.2, 0.05, 0.15, 0.4, 1.5]),
    over_hours=st.sampled_from([0.0, 5.0]),
    spike=st.sampled_from([0.0, 0.3, -0.3]),
    leverage=st.sampled_from([3.0, 8.0, 15.0]),
    fee=st.sampled_from([0.0, 0.001, 0.02]),
    liquidity_gap=st.sampled_from([0.0, 0.3, 1.0]),
    guarded=st.booleans(),
    reverse=st.booleans(),
    naked=st.sampled_from(NakedPolicy),
    gaps=st.sampled_from([0.0, 0.05]),
)
SQUEEZE = Case(
    portfolio=0, seed=1, gap_hour=20, gap=0.4, over_hours=5.0, spike=0.0, leverage=8.0, fee=0.001, liquidity_gap=0.3,
    guarded=False, reverse=False, naked=NakedPolicy.FLATTEN, gaps=0.0,
)  # fmt: skip
TWO_PAIRS = Case(
    portfolio=1, seed=3, gap_hour=20, gap=0.4, over_hours=0.0, spike=0.3, leverage=15.0, fee=0.02, liquidity_gap=1.0,
    guarded=False, reverse=False, naked=NakedPolicy.REHEDGE, gaps=0.05,
)  # fmt: skip
NOTHING_FILLS = Case(
    portfolio=0, seed=24, gap_hour=8, gap=0.15, over_hours=0.0, spike=0.0, leverage=8.0, fee=0.0, liquidity_gap=0.0,
    guarded=True, reverse=False, naked=NakedPolicy.REHEDGE, gaps=0.05,
)  # fmt: skip
SHARE = 1.0 if is_enabled() else 0.2  # without the compiler a case takes a second and not ten milliseconds


def fund_flows(result: BacktestResult) -> tuple[Fraction, Fraction]:
    """What the insurance fund took in and paid out, from the ledger alone."""
    received = paid = Fraction(0)
    for row in result.ledger:
        value = Fraction(float(row["value"]))
        if row["flow"] == Flow.LIQUIDATION_FEE:
            received -= value
        elif row["flow"] == Flow.TAKEOVER:
            received -= min(value, Fraction(0))
            paid += max(value, Fraction(0))
    return received, paid


def assert_fund_counters(result: BacktestResult) -> None:
    received, paid = fund_flows(result)
    counted = result.policies["margin engine"]
    scale = 1e-9 * float(result.equity.max())
    assert abs(float(received) - counted["paid to the insurance fund"]) <= scale
    assert abs(float(paid) - counted["borne by the insurance fund"]) <= scale


def assert_no_debt_after_a_takeover(result: BacktestResult) -> None:
    """Right after a takeover the account of the margin asset holds nothing less than 0."""
    tolerance = 1e-9 * float(result.equity.max())
    for place in np.flatnonzero(result.ledger["flow"] == Flow.TAKEOVER):
        wallet, asset = result.ledger[place]["wallet"], result.ledger[place]["asset"]
        rows = result.ledger[: place + 1]
        mine = (rows["wallet"] == wallet) & (rows["asset"] == asset) & (rows["flow"] != Flow.INTEREST)
        assert float(sum(Fraction(float(amount)) for amount in rows["amount"][mine])) >= -tolerance


def table_at(key: str, time_ms: int) -> TierTable:
    """The shipped tiers that hold then; the first ones before."""
    tables = SHIPPED_TIERS.history(key)
    valid = [table for table in tables if table.effective_ms <= time_ms]
    return valid[-1] if valid else tables[0]


def maintenance(table: TierTable, notional: Fraction) -> Fraction:
    """Maintenance margin by brute force: each tier's slice at its own rate."""
    total = Fraction(0)
    for floor, cap, rate in zip(table.floor, table.cap, table.rate, strict=True):
        low = Fraction(float(floor))
        high = notional if np.isinf(cap) else min(notional, Fraction(float(cap)))
        if notional > low:
            total += (high - low) * Fraction(float(rate))
    return total


def assert_first_liquidation_was_due(result: BacktestResult, history: MarketHistory) -> None:
    """One pair on Binance: at the mark of the first liquidation equity is maintenance margin, in fractions.

    Less than it only where it was missing at the mark before already, by a payment in between.
    """
    forced = events(result, "liquidation")
    first = forced[0]
    fee_rows = np.flatnonzero(result.ledger["flow"] == Flow.LIQUIDATION_FEE)
    order = result.ledger[fee_rows[0]]["order"]
    rows = result.ledger[: int(np.flatnonzero(result.ledger["order"] == order)[0])]
    wallet = result.wallet_names.index("binance:linear")
    mine = rows[(rows["wallet"] == wallet)]
    balance = sum((Fraction(float(amount)) for amount in mine["amount"]), Fraction(0))
    lot = Fraction(instrument(BTC[1], {}).lot)
    held, cash, realised = 0, Fraction(0), Fraction(0)
    for entry in result.journal:
        if entry["event"] == "fill" and entry["order"] == order:
            break
        if entry["event"] == "fill" and entry["instrument"] == BTC[1]:
            held += entry["lots"]
            cash -= entry["lots"] * lot * Fraction(entry["price"])
    for row in mine:
        if row["flow"] == Flow.REALISED:
            realised += Fraction(float(row["amount"]))
    table = table_at(BTC[1], int(first["time_ms"]))

    def surplus(mark: Fraction) -> Fraction:
        profit = cash - realised + held * lot * mark
        return balance + profit - maintenance(table, abs(held) * lot * mark)

    bar = int((first["time_ms"] - START) // HOUR_MS) - 1
    perp = history.instrument(BTC[1])
    assert perp.mark is not None
    closes = np.where(np.isnan(perp.mark.close), perp.bars.close, perp.mark.close)[:bar]
    before = float(closes[np.isfinite(closes)][-1])
    tolerance = 1e-8 * float(result.equity.max())
    at_mark = float(surplus(Fraction(first["mark_price"])))
    assert at_mark <= tolerance
    if surplus(Fraction(before)) > 0:
        assert abs(at_mark) <= tolerance


@given(CASES)
@example(SQUEEZE)
@example(TWO_PAIRS)
@settings(max_examples=round(60 * SHARE))
def test_money_is_kept_through_liquidation(case: Case) -> None:
    chosen, history = case.settings(), case.market()
    result = run_backtest(chosen, history)
    forced = events(result, "liquidation")
    event(f"liquidated: {bool(forced)}, guarded: {case.guarded}")
    assert_sound(result, history, chosen)
    assert_fund_counters(result)
    assert_no_debt_after_a_takeover(result)
    if forced and case.portfolio == 0:
        assert_first_liquidation_was_due(result, history)


@given(CASES)
@example(SQUEEZE)
@example(TWO_PAIRS)
@example(NOTHING_FILLS)
@settings(max_examples=round(8 * SHARE) + 1)
def test_stages_in_python_give_the_same_bytes(case: Case) -> None:
    chosen, history = case.settings(), case.market()
    assert digest(run_backtest(chosen, history)) == digest(run_backtest(chosen, history, compiled=False))


def test_the_examples_do_liquidate() -> None:
    """Else the properties above would say nothing."""
    for case in (SQUEEZE, TWO_PAIRS):
        result: Any = run_backtest(case.settings(), case.market())
        assert events(result, "liquidation")
        assert fund_flows(result) != (0, 0)
