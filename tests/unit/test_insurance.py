"""Insurance fund: waterfall, triggers, windows, exact cuts, refusals."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from crypto.errors import DataError, SettingsError
from crypto.insurance import (
    FUND_RULES,
    FundRule,
    Pool,
    RollingPeak,
    Trigger,
    Waterfall,
    excess_loss,
    fund_rule,
    pnl_ratio,
    socialise,
    spendable,
    split_exactly,
    trigger,
    waterfall,
)
from crypto.units import HOUR_MS


@pytest.mark.parametrize(
    ("equity", "fee", "limit", "keeps", "expected"),
    [
        (100, 30, 500, True, Waterfall(30, 70, 0, 0, 0, 1100)),
        (100, 30, 500, False, Waterfall(30, 0, 70, 0, 0, 1030)),
        (20, 30, 500, True, Waterfall(20, 0, 0, 0, 0, 1020)),
        (0, 30, 500, True, Waterfall(0, 0, 0, 0, 0, 1000)),
        (-400, 30, 500, True, Waterfall(0, 0, 0, 400, 0, 600)),
        (-500, 30, 500, True, Waterfall(0, 0, 0, 500, 0, 500)),
        (-900, 30, 500, True, Waterfall(0, 0, 0, 500, 400, 500)),
        (-900, 30, 0, True, Waterfall(0, 0, 0, 0, 900, 1000)),
    ],
)
def test_waterfall(equity: int, fee: int, limit: int, keeps: bool, expected: Waterfall) -> None:
    assert waterfall(equity, fee, 1000, limit, keeps_surplus=keeps) == expected


def test_waterfall_is_exact_on_fractions() -> None:
    cover = waterfall(Fraction(-1, 3), Fraction(0), Fraction(1, 7), Fraction(1, 7))
    assert (cover.fund_paid, cover.left) == (Fraction(1, 7), Fraction(4, 21))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((math.nan, 0, 0, 0), "equity is nan"),
        ((1, -1, 0, 0), "liquidation fee -1 is negative"),
        ((1, math.inf, 0, 0), "liquidation fee is inf"),
        ((1, 0, math.nan, 0), "fund balance is nan"),
        ((1, 0, 100, 101), "may not spend 101 of a balance of 100"),
        ((1, 0, 100, -1), "may not spend -1"),
        ((1, 0, -5, 1), "may not spend 1 of a balance of -5"),
    ],
)
def test_waterfall_refuses(arguments: tuple[float, float, float, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        waterfall(*arguments)


def test_binance_spends_the_whole_fund() -> None:
    rule = fund_rule("binance")
    assert spendable(rule, Pool(100, 1000)) == 100
    assert trigger(rule, Pool(1, 1000)) is Trigger.NONE
    assert trigger(rule, Pool(0, 1000)) is Trigger.FUND_EMPTY
    assert spendable(rule, Pool(0, 1000)) == 0


@pytest.mark.parametrize(
    ("balance", "why", "may_spend"),
    [(1000, Trigger.NONE, 300), (701, Trigger.NONE, 1), (700, Trigger.FUND_DRAWDOWN, 0), (0, Trigger.FUND_EMPTY, 0)],
)
def test_okx_stops_thirty_per_cent_below_the_peak(balance: int, why: Trigger, may_spend: int) -> None:
    rule = fund_rule("okx")
    assert trigger(rule, Pool(balance, 1000)) is why
    assert spendable(rule, Pool(balance, 1000)) == may_spend


def test_whole_units_are_rounded_down_so_that_the_limit_is_never_passed() -> None:
    # 30 % of 101 is 30.3: 30 may be lost.
    assert spendable(fund_rule("okx"), Pool(101, 101)) == 30
    assert spendable(fund_rule("okx"), Pool(Fraction(101), Fraction(101))) == Fraction(303, 10)


def test_bybit_hysteresis() -> None:
    rule = fund_rule("bybit")
    calm = Pool(800_000, 1_000_000, -270_000, 0)
    assert trigger(rule, calm) is Trigger.NONE
    assert spendable(rule, calm) == 30_000
    active = Pool(800_000, 1_000_000, -270_000, 0, is_deleveraging=True)
    assert trigger(rule, active) is Trigger.SYMBOL_DRAWDOWN
    assert spendable(rule, active) == 0


def test_bybit_small_pool_has_no_drawdown_rule() -> None:
    small = Pool(10_000, 10_000, -9_000, 0)
    assert trigger(fund_rule("bybit"), small) is Trigger.NONE
    assert spendable(fund_rule("bybit"), small) == 10_000
    assert excess_loss(fund_rule("bybit"), small) == 0


def test_hyperliquid_asks_the_account_not_a_fund() -> None:
    rule = fund_rule("hyperliquid")
    pool = Pool(10**9, 10**9)
    assert trigger(rule, pool, account_value=-0.01) is Trigger.ACCOUNT_NEGATIVE
    assert trigger(rule, pool, account_value=0.0) is Trigger.NONE
    assert spendable(rule, pool) == 0
    with pytest.raises(DataError, match="account value is nan"):
        trigger(rule, pool, account_value=math.nan)


def test_every_rule_is_reachable_and_an_unknown_venue_is_named() -> None:
    assert {name: fund_rule(name) for name in FUND_RULES} == FUND_RULES
    with pytest.raises(SettingsError, match="venue 'mtgox'") as caught:
        fund_rule("mtgox")
    assert "binance" in caught.value.remedy


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((math.nan, 1.0), "balance is nan"),
        ((2.0, 1.0), "peak_balance = 1.0 is below"),
        ((1.0, 1.0, 5.0, 4.0), "symbol_peak_pnl = 4.0 is below"),
    ],
)
def test_pool_refuses(values: tuple[float, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Pool(*values)


def test_ratio_of_an_empty_pool_is_refused() -> None:
    with pytest.raises(DataError, match="positive peak balance, not 0"):
        pnl_ratio(Pool(0, 0))


def test_peak_forgets_after_the_window() -> None:
    peak = RollingPeak()
    assert peak.update(0, 100.0) == 100.0
    assert peak.update(HOUR_MS, 40.0) == 100.0
    assert peak.update(2 * HOUR_MS, 60.0) == 100.0
    # 100 held until hour 1, so it is in the window that ends before hour 9.
    assert peak.update(9 * HOUR_MS - 1, 50.0) == 100.0
    assert peak.update(9 * HOUR_MS, 50.0) == 60.0


def test_peak_holds_a_value_until_the_next_one() -> None:
    peak = RollingPeak()
    peak.update(0, 100.0)
    assert peak.update(100 * HOUR_MS, 1.0) == 100.0
    assert peak.update(109 * HOUR_MS, 1.0) == 1.0


def test_peak_refuses() -> None:
    peak = RollingPeak()
    peak.update(10, 1.0)
    with pytest.raises(DataError, match="time 9 is earlier than 10"):
        peak.update(9, 1.0)
    with pytest.raises(DataError, match="is nan"):
        peak.update(11, math.nan)
    with pytest.raises(SettingsError, match="window_ms = 0"):
        RollingPeak(0)


@pytest.mark.parametrize(
    ("amount", "weights", "expected"),
    [
        (10, [1, 1, 1], (3, 3, 4)),
        (-10, [1, 1, 1], (-4, -3, -3)),
        (7, [0, 5, 0, 2], (0, 5, 0, 2)),
        (0, [0, 0], (0, 0)),
        (10**30, [1, 3], (25 * 10**28, 75 * 10**28)),
    ],
)
def test_split_exactly(amount: int, weights: list[int], expected: tuple[int, ...]) -> None:
    assert split_exactly(amount, weights) == expected


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1]])
def test_split_refuses(weights: list[int]) -> None:
    with pytest.raises(DataError):
        split_exactly(5, weights)


def test_socialised_loss_spares_the_empty_and_names_what_nobody_can_pay() -> None:
    loss = socialise(100, [300, -50, 0, 100])
    assert (loss.shares, loss.unpaid) == ((75, 0, 0, 25), 0)
    all_of_it = socialise(100, [30, -50, 10])
    assert (all_of_it.shares, all_of_it.unpaid) == ((30, 0, 10), 60)
    nobody = socialise(100, [])
    assert (nobody.shares, nobody.unpaid) == ((), 100)
    with pytest.raises(DataError, match="socialised loss -1"):
        socialise(-1, [1])


def test_excess_of_an_overdrawn_fund() -> None:
    assert excess_loss(FundRule(), Pool(-30, 0)) == 30
    assert excess_loss(FundRule(), Pool(30, 30)) == 0
