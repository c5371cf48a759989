"""Liquidation prices on tiers: by hand, in every mode, and what is refused."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from crypto.errors import CarryError, InsolventError, UsageError
from crypto.liquidation import (
    ALWAYS,
    FOUND,
    NEVER,
    LiquidationRange,
    bounds_of_many,
    inverse_bounds,
    isolated_bankruptcy,
    isolated_range,
    linear_bounds,
    margin_without_closing_fee,
    price_bounds,
    tier_columns,
)
from crypto.liquidation_cross import CrossAccount, cross_ranges
from crypto.margin import Position, position
from crypto.tiers import TierRow, TierTable, fixed_tier, tier_table
from crypto.venues.liquidation_rules import ClosingFee, liquidation_rule

ROWS = [TierRow(0, 1_000, 0.01, 50), TierRow(1_000, 5_000, 0.02, 25), TierRow(5_000, 50_000, 0.05, 10)]  # 0, 10, 160
LINEAR = tier_table("x:linear:AB", "B", 0, ROWS, "hand")
OTHER = tier_table("x:linear:CB", "B", 0, ROWS, "hand")
INVERSE = tier_table("x:inverse:AB", "A", 0, ROWS, "hand")


def test_the_tier_at_the_liquidation_price_counts() -> None:
    """Short 40 at 100 on 2,000: notional 4,000 is in tier 2, but 2% - 10 would put the price at 147.3, notional 5,892.

    In tier 3: 2,000 + 40 x (100 - P) = 40 P x 5% - 160, so P = 6,160 / 42.
    """
    found = isolated_range(position(LINEAR, -40, 100, 100), 2_000)
    assert found == LiquidationRange(None, pytest.approx(6_160 / 42))
    assert found.nearest(100) == pytest.approx(146.6667, abs=5e-5)


def test_a_fall_leads_into_a_lower_tier() -> None:
    """Long 12 at 100 on 500: tier 2 at entry; 500 + 12 (P - 100) = 12 P x 1%, so P = 700 / 11.88 in tier 1."""
    assert isolated_range(position(LINEAR, 12, 100, 100), 500).lower == pytest.approx(700 / 11.88)


def test_exact_on_fractions() -> None:
    floor = [Fraction(0), Fraction(1_000), Fraction(5_000)]
    rate = [Fraction(1, 100), Fraction(1, 50), Fraction(1, 20)]
    deduction = [Fraction(0), Fraction(10), Fraction(160)]
    short = linear_bounds(Fraction(6_000), Fraction(-40), Fraction(0), floor, rate, deduction)
    assert short.upper == Fraction(6_160, 42)
    long = linear_bounds(Fraction(-700), Fraction(12), Fraction(1, 1000), floor, rate, deduction)
    assert long.lower == Fraction(700) / (12 * (1 - Fraction(11, 1000)))
    coin = inverse_bounds(Fraction(6_000), Fraction(40), Fraction(0), floor, rate, deduction)
    assert coin.lower == Fraction(42, 6_160)


def test_a_long_with_its_whole_value_as_margin_is_never_liquidated() -> None:
    assert isolated_range(position(LINEAR, 10, 100, 100), 1_000) == (None, None)
    assert isolated_bankruptcy(position(LINEAR, 10, 100, 100), 1_000) is None
    assert isolated_range(position(LINEAR, 10, 100, 100), 1_000).nearest(100) is None


def test_an_inverse_short_with_its_whole_value_as_margin_is_never_liquidated() -> None:
    """The carry position on coin margin: 1,000 of quote value short at 100, 10 coins on it."""
    assert isolated_range(position(INVERSE, -1_000, 100, 100), 10) == (None, None)
    assert isolated_bankruptcy(position(INVERSE, -1_000, 100, 100), 10) is None
    assert isolated_range(position(INVERSE, -1_000, 100, 100), 9.99).upper == pytest.approx(1_000 * 0.99 / 0.01)


def test_inverse_by_hand() -> None:
    """Long 10,000 at 100 on 20 coins: 20 + 100 - 10,000/P = 1% x 10,000/P, so P = 10,100/120, notional 118.8."""
    assert isolated_range(position(INVERSE, 10_000, 100, 100), 20).lower == pytest.approx(10_100 / 120)
    assert isolated_bankruptcy(position(INVERSE, 10_000, 100, 100), 20) == pytest.approx(10_000 / 120)


def test_bankruptcy_by_hand() -> None:
    assert isolated_bankruptcy(position(LINEAR, 10, 100, 100), 100) == 90
    assert isolated_bankruptcy(position(LINEAR, -10, 100, 100), 100) == 110
    assert isolated_bankruptcy(position(LINEAR, 10, 100, 100), 100, 0.001) == pytest.approx(900 / 9.99)


def test_a_short_that_no_price_carries() -> None:
    """A negative balance (possible inside a cross account) under a short: below maintenance at every price."""
    found = linear_bounds(-1.0, -10.0, 0.0, LINEAR.floor, LINEAR.rate, LINEAR.deduction)
    assert found.status == ALWAYS
    assert math.isnan(found.lower)
    assert math.isnan(found.upper)
    losing = position(OTHER, 10, 100, 50)
    with pytest.raises(InsolventError, match="x:linear:AB cross: margin is below maintenance at every price"):
        cross_ranges(10, [position(LINEAR, -0.01, 100, 100), losing])


def test_touching_in_one_point_is_no_range() -> None:
    floor, rate, deduction = [0.0, 100.0], [0.1, 0.6], [0.0, 50.0]
    # Surplus -40 + 0.5 P - 0.1 P up to P = 100, where it is 0, then falling by 0.1.
    assert price_bounds(-40.0, 0.5, 1.0, 0.0, floor, rate, deduction).status == ALWAYS
    wider = price_bounds(-39.0, 0.5, 1.0, 0.0, floor, rate, deduction)
    assert wider == (pytest.approx(97.5), pytest.approx(110), FOUND)
    assert price_bounds(1.0, 5.0, 1.0, 0.0, floor, rate, deduction).status == NEVER


def test_hedge_mode_by_the_published_formula() -> None:
    """(WB + cumL + cumS - qL eL + qS eS) / (qL mL + qS mS - qL + qS), tiers of each leg at the price itself."""
    long, short = position(LINEAR, 30, 100, 100), position(LINEAR, -5, 110, 100)
    found = cross_ranges(600, [long, short])["x:linear:AB"]
    # At the price (about 82.7) the long's notional is 2,480 (2%, 10) and the short's 413 (1%, 0).
    expected = (600 + 10 + 0 - 30 * 100 + 5 * 110) / (30 * 0.02 + 5 * 0.01 - 30 + 5)
    assert found == (pytest.approx(expected), None)


def test_a_hedged_pair_of_legs_has_two_ends_or_one() -> None:
    """Equal legs need margin for both: a rise liquidates. A small net long that enters high tiers: both ends."""
    equal = [position(LINEAR, 10, 100, 100), position(LINEAR, -10, 100, 100)]
    assert cross_ranges(50, equal)["x:linear:AB"] == (None, pytest.approx((50 + 10 + 10) / (2 * 10 * 0.02)))
    # 200 - 4,000 + 3,700 = -100. Tier 2 of both: -100 + 20 + (3 - 77 x 2%) P; tier 3: -100 + 320 + (3 - 77 x 5%) P.
    nearly = [position(LINEAR, 40, 100, 100), position(LINEAR, -37, 100, 100)]
    found = cross_ranges(200, nearly)["x:linear:AB"]
    assert found == (pytest.approx(80 / 1.46), pytest.approx(220 / 0.85))
    assert found.nearest(100) == found.lower
    assert found.nearest(200) == found.upper


def test_collateral_that_moves_with_the_price() -> None:
    """Unified account: 10 spot at 95% against a short of 10. A rise of P costs 10, the collateral gives back 9.5."""
    short = position(LINEAR, -10, 100, 100)
    account = CrossAccount(50, (short,), 0.0, {"x:linear:AB": 9.5})
    # 50 + 9.5 P + 10 (100 - P) = 20 P x ... tier of 10 P: above 5,000 it is 5% - 160.
    expected = (50 + 1_000 + 160) / (0.5 + 0.5)
    assert account.ranges()["x:linear:AB"] == (None, pytest.approx(expected))
    assert account.equity() == 50 + 950
    without = cross_ranges(50, [short])["x:linear:AB"].upper
    assert without is not None
    assert without < 105 < expected


def test_cross_inverse_contracts_share_the_coin() -> None:
    other = tier_table("x:inverse:AB_250328", "A", 0, ROWS, "hand")
    held = [position(INVERSE, 1_000, 100, 80), position(other, -400, 100, 80)]
    account = CrossAccount(3, tuple(held))
    found = account.ranges()["x:inverse:AB"].lower
    # Others: -400 (1/100 - 1/80) = +1 profit, 5 coins x 1% = 0.05. 3 + 1 - 0.05 + 10 - 1,000/P = 1% x 1,000/P.
    assert found == pytest.approx(1_010 / 13.95)


def test_extra_margin_of_bybit_keeps_the_closing_fee_back() -> None:
    """Long 1 at 20,000, 10x, 100 extra, taker 0.1%: of the 100 the fee takes what closing lower does not save."""
    # m = 2,000 + 18 (the fee at 18,000) + 100 - 0.1% x (20,000 - m), so 0.999 m = 2,098.
    assert margin_without_closing_fee(2_000, 100, 0.001, 1) == pytest.approx(2_098 / 0.999, rel=1e-14)
    # Short: m = 2,000 + 22 + 100 - 0.1% x (20,000 + m), so 1.001 m = 2,102.
    assert margin_without_closing_fee(2_000, 100, 0.001, -1) == pytest.approx(2_102 / 1.001, rel=1e-14)


def test_a_fill_a_transfer_and_funding_move_the_price() -> None:
    # Long 10 at 100 on 200: 10 P - 800 = 0.1 P; on 190: 10 P - 810 = 0.1 P. Long 9 on 200: 9 P - 700 = 0.09 P.
    long = position(LINEAR, 10, 100, 100)
    assert isolated_range(long, 200).lower == pytest.approx(800 / 9.9)
    assert isolated_range(long, 190).lower == pytest.approx(810 / 9.9)
    assert isolated_range(position(LINEAR, 9, 100, 100), 200).lower == pytest.approx(700 / 8.91)


@pytest.mark.parametrize("margin", [0.0, -1.0, math.nan, math.inf])
def test_a_margin_that_is_not_positive_is_named(margin: float) -> None:
    held = position(LINEAR, 10, 100, 100)
    with pytest.raises(UsageError, match=f"x:linear:AB: margin = {margin}"):
        isolated_range(held, margin)
    with pytest.raises(UsageError, match=f"margin = {margin}"):
        isolated_bankruptcy(held, margin)
    with pytest.raises(UsageError, match=f"wallet = {margin}"):
        cross_ranges(margin, [held])


@pytest.mark.parametrize("fee", [-0.1, 0.95, math.nan])
def test_a_fee_out_of_range_is_named(fee: float) -> None:
    held = position(LINEAR, 10, 100, 100)
    with pytest.raises(UsageError, match=f"closing fee = {fee}"):
        isolated_range(held, 100, fee)
    with pytest.raises(UsageError, match=f"closing fee = {fee}"):
        cross_ranges(100, [held], fee)


def test_contradictory_accounts_are_refused() -> None:
    long = position(LINEAR, 10, 100, 100)

    def refused(message: str, *held: Position, moving: dict[str, float] | None = None) -> None:
        with pytest.raises(UsageError, match=message):
            CrossAccount(100, held, 0.0, moving or {})

    refused("without positions")
    refused("margins in A and B", long, position(INVERSE, 10, 100, 100))
    refused("x:linear:AB: legs differ in mark", long, position(LINEAR, -1, 100, 101))
    refused("moves with x:linear:CB, which has no position", long, moving={"x:linear:CB": 1})
    refused("moves with x:linear:AB = nan", long, moving={"x:linear:AB": math.nan})
    refused("x:inverse:AB: an inverse contract", position(INVERSE, 10, 100, 100), moving={"x:inverse:AB": 1})


def test_rules_of_venues() -> None:
    assert liquidation_rule("bybit").isolated_fee is ClosingFee.HELD_BACK
    assert liquidation_rule("okx").orders_raise_maintenance
    with pytest.raises(CarryError, match="'binanc'; did you mean binance"):
        liquidation_rule("binanc")


def many(count: int) -> tuple[list[TierTable], dict[str, np.ndarray]]:
    chance = np.random.default_rng(7)
    tables = [LINEAR, INVERSE, fixed_tier("x:linear:D", "B", 0.02)]
    table = chance.integers(0, 3, count)
    quantity = chance.choice([-1.0, 1.0], count) * chance.uniform(0.5, 60, count)
    inverse = table == 1
    entry = chance.uniform(50, 150, count)
    margin = chance.uniform(0.02, 1.2, count) * np.abs(quantity) * np.where(inverse, 1 / entry, entry)
    cash = margin + np.where(inverse, quantity / entry, -quantity * entry)
    fee = chance.choice([0.0, 0.0006], count)
    return tables, {
        "cash": cash, "quantity": quantity, "is_inverse": inverse, "closing_fee": fee, "table": table,
    }  # fmt: skip


def one_by_one(tables: list[TierTable], columns: dict[str, np.ndarray]) -> list[tuple[float, float, int]]:
    plain = [(table.floor.tolist(), table.rate.tolist(), table.deduction.tolist()) for table in tables]
    rows = zip(*[columns[name].tolist() for name in columns], strict=True)
    return [
        (inverse_bounds if inverse else linear_bounds)(cash, quantity, fee, *plain[table])
        for cash, quantity, inverse, fee, table in rows
    ]


def test_many_positions_at_once_are_the_single_ones() -> None:
    tables, columns = many(3_000)
    lower, upper, status = bounds_of_many(**columns, tiers=tier_columns(tables))
    expected = one_by_one(tables, columns)
    assert np.array_equal(lower, [found[0] for found in expected], equal_nan=True)
    assert np.array_equal(upper, [found[1] for found in expected], equal_nan=True)
    assert status.tolist() == [found[2] for found in expected]
    assert set(status.tolist()) == {FOUND, NEVER}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("cash", math.nan, "position 2: cash = nan"),
        ("quantity", 0.0, "position 2: quantity = 0.0"),
        ("quantity", math.inf, "position 2: quantity = inf"),
        ("closing_fee", -0.1, "position 2: closing fee = -0.1"),
        ("closing_fee", 0.99, "position 2: closing fee = 0.99"),
        ("table", 3, "position 2: table = 3"),
        ("table", -1, "position 2: table = -1"),
    ],
)
def test_a_wrong_position_among_many_is_named(name: str, value: float, message: str) -> None:
    tables, columns = many(5)
    columns[name][2] = value
    if name == "closing_fee":
        columns["table"][2] = 0
    with pytest.raises(UsageError, match=message):
        bounds_of_many(**columns, tiers=tier_columns(tables))


def test_columns_of_different_length_are_refused() -> None:
    tables, columns = many(5)
    columns["table"] = columns["table"][:4]
    with pytest.raises(UsageError, match="differ in length"):
        bounds_of_many(**columns, tiers=tier_columns(tables))
