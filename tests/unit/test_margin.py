"""Margin of positions, orders and accounts, with numbers worked by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from crypto.errors import RefusedError, UsageError
from crypto.margin import (
    account_risk,
    collateral_total,
    collateral_value,
    initial_margin,
    is_liquidatable,
    maintenance,
    open_loss,
    order_reserve,
    position,
    worst_notional,
)
from crypto.tiers import TierRow, fixed_tier, tier_table
from crypto.units import parse_iso
from crypto.venues.tiers_binance import BINANCE_TIERS

BTC = BINANCE_TIERS.as_of("binance:linear:BTCUSDT", parse_iso("2021-05-19"))
COIN = tier_table("binance:inverse:BTCUSD", "BTC", 0, [TierRow(0, 5, 0.004, 125), TierRow(5, 10, 0.005, 100)], "hand")


@pytest.mark.parametrize(
    ("notional", "expected"),
    [
        (0, 0),
        (40_000, 160),  # 0.4%
        (50_000, 200),  # the border, 0.4%; 0.5% - 50 gives the same
        (100_000, 450),  # 0.5% - 50
        (264_000, 1_340),  # 1% - 1,300
        (600_000_000, 199_983_700),  # the last tier, 50% - 100,016,300, has no end here
    ],
)
def test_maintenance_by_hand(notional: float, expected: float) -> None:
    assert maintenance(notional, BTC.floor, BTC.rate, BTC.deduction) == pytest.approx(expected, rel=1e-12)


def test_maintenance_is_exact_and_continuous_on_fractions() -> None:
    floor = [Fraction(0), Fraction(100), Fraction(1000)]
    rate = [Fraction(1, 100), Fraction(1, 50), Fraction(1, 20)]
    deduction = [Fraction(0), Fraction(1), Fraction(31)]
    tiny = Fraction(1, 10**30)
    for border, margin in ((100, 1), (1000, 19)):
        assert maintenance(Fraction(border), floor, rate, deduction) == margin
        assert maintenance(border + tiny, floor, rate, deduction) - margin < tiny


def test_a_linear_position() -> None:
    short = position(BTC, -2.0, 30_000, 32_000, 10)
    assert (short.notional, short.unrealised, short.initial) == (64_000, -4_000, 6_400)
    assert short.maintenance == pytest.approx(64_000 * 0.005 - 50)
    assert position(BTC, -2.0, 30_000, 32_000).leverage == 100


def test_an_inverse_position() -> None:
    long = position(COIN, 320_000, 40_000, 50_000, 20)
    assert long.notional == pytest.approx(6.4)
    assert long.unrealised == pytest.approx(8 - 6.4)
    assert long.initial == pytest.approx(0.32)
    assert long.maintenance == pytest.approx(6.4 * 0.005 - 0.005)


def test_orders_reserve_what_the_worse_side_adds() -> None:
    assert worst_notional(1_000, 500, 2_500) == 1_500
    assert order_reserve(1_000, 500, 2_500, 10) == 50  # sells would turn 1,000 into -1,500
    assert order_reserve(1_000, 0, 1_500, 10) == 0  # sells that leave the position no larger
    assert order_reserve(-1_000, 300, 500, 5) == 100
    assert order_reserve(0, 300, 200, 1) == 300


def test_an_order_beyond_mark_stands_an_open_loss() -> None:
    assert open_loss(1, 2, 105, 100) == 10
    assert open_loss(1, 2, 95, 100) == 0
    assert open_loss(-1, 2, 95, 100) == 10
    assert initial_margin(9_253.30, 20) == pytest.approx(462.665)


def test_tiered_collateral() -> None:
    floor, ratio = np.array([0.0, 10.0, 30.0]), np.array([0.95, 0.9, 0.0])
    assert collateral_value(5, 100, floor, ratio) == pytest.approx(475)
    assert collateral_value(25, 100, floor, ratio) == pytest.approx((9.5 + 13.5) * 100)
    assert collateral_value(1_000, 100, floor, ratio) == pytest.approx((9.5 + 18) * 100)
    assert collateral_value(-3, 100, floor, ratio) == -300
    exact = collateral_value(Fraction(25), Fraction(1, 3), [Fraction(0), Fraction(10)], [Fraction(19, 20), Fraction(1)])
    assert exact == Fraction(49, 6)


def test_collateral_of_several_assets() -> None:
    haircuts = {"USDT": (np.array([0.0]), np.array([1.0])), "BTC": (np.array([0.0, 2.0]), np.array([0.9, 0.5]))}
    prices = {"USDT": 1.0, "BTC": 50_000.0}
    # 2 x 0.9 + 1 x 0.5 = 2.3 BTC, less a debt of 15,000 USDT
    assert collateral_total({"BTC": 3, "USDT": -15_000}, prices, haircuts) == pytest.approx(100_000)
    with pytest.raises(UsageError, match="ETH has no price"):
        collateral_total({"ETH": 1}, prices, haircuts)
    with pytest.raises(UsageError, match="ETH has no collateral ratio"):
        collateral_total({"ETH": 1}, {"ETH": 1.0}, haircuts)
    with pytest.raises(UsageError, match="price of BTC = nan"):
        collateral_total({"BTC": 1}, {"BTC": math.nan}, haircuts)
    with pytest.raises(UsageError, match="collateral BTC = nan"):
        collateral_total({"BTC": math.nan}, prices, haircuts)


@pytest.mark.parametrize(
    ("equity", "needed", "at_equality", "expected"),
    [
        (100, 100, True, True),
        (100, 100, False, False),
        (100.01, 100, True, False),
        (99.99, 100, False, True),
        (-5, 0, True, False),
    ],
)
def test_threshold(equity: float, needed: float, at_equality: bool, expected: bool) -> None:
    assert is_liquidatable(equity, needed, at_equality) is expected


def test_risk_of_an_account() -> None:
    held = [position(BTC, 1.0, 30_000, 32_000, 10), position(BTC, -0.5, 31_000, 32_000, 10)]
    found = account_risk(5_000, held, reserved=300, closing_fee=0.0005)
    assert found.equity == pytest.approx(5_000 + 2_000 - 500)
    assert found.initial == pytest.approx(4_800)
    assert found.maintenance == pytest.approx(128 + 64 + 48_000 * 0.0005)
    assert found.available == pytest.approx(6_500 - 4_800 - 300)
    assert found.ratio == pytest.approx(216 / 6_500)
    assert not found.liquidatable


def test_an_account_without_equity_has_no_ratio_but_is_liquidatable() -> None:
    found = account_risk(1_000, [position(BTC, 1.0, 34_000, 32_000, 10)])
    assert found.ratio is None
    assert found.available == 0
    assert found.liquidatable


@pytest.mark.parametrize("wallet", [0.0, -1.0, math.nan, math.inf])
def test_a_wallet_that_is_not_positive_is_named(wallet: float) -> None:
    with pytest.raises(UsageError, match=f"wallet = {wallet}"):
        account_risk(wallet, [])


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ((0.0, 100, 100, 1), UsageError, "quantity = 0.0"),
        ((math.nan, 100, 100, 1), UsageError, "quantity = nan"),
        ((1.0, 0, 100, 1), UsageError, "entry price = 0"),
        ((1.0, 100, math.nan, 1), UsageError, "mark price = nan"),
        ((1.0, 100, -3, 1), UsageError, "mark price = -3"),
        ((1.0, 100, math.inf, 1), UsageError, "mark price = inf"),
        ((1e9, 100, 100, 1), RefusedError, "notional 100,000,000,000 USDT is beyond the last tier"),
        ((1e9, 100, 100, None), RefusedError, "beyond the last tier"),
        ((1.0, 100, 100, 126), RefusedError, "leverage 126 is above 125"),
    ],
)
def test_a_wrong_position_is_refused(values: tuple[float, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        position(BTC, *values)


def test_margins_in_different_assets_are_not_added() -> None:
    held = [position(BTC, 1.0, 30_000, 32_000), position(COIN, 1_000, 30_000, 32_000)]
    with pytest.raises(UsageError, match="BTC and USDT"):
        account_risk(1_000, held)


def test_maintenance_does_not_depend_on_leverage() -> None:
    one = fixed_tier("x:linear:AB", "B", 0.01)
    assert position(one, 1, 100, 100, 1).maintenance == 1
    ten = tier_table("x:linear:AB", "B", 0, [TierRow(0, 1e6, 0.01, 10)], "hand")
    assert position(ten, 1, 100, 100, 10).maintenance == 1
