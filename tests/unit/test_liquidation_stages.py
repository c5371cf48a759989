"""Staged liquidation against hand arithmetic and against trying every number of lots."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import SettingsError
from crypto.liquidation_stages import (
    FIFTH_ABOVE,
    Stage,
    lots_to_comply,
    lots_to_lower_tier,
    stage_lots,
    stage_of,
    surplus_after,
)

FLOOR, RATE, DEDUCTION = np.array([0.0, 1000.0, 5000.0]), np.array([0.01, 0.02, 0.05]), np.array([0.0, 10.0, 160.0])
TIERS = (FLOOR, RATE, DEDUCTION)


def exact_maintenance(notional: Fraction) -> Fraction:
    """Sum over the tiers that the notional reaches into: no deduction needed."""
    borders = [Fraction(0), Fraction(1000), Fraction(5000), None]
    total = Fraction(0)
    for low, high, rate in zip(borders, borders[1:], ["0.01", "0.02", "0.05"], strict=False):
        part = notional - low if high is None else min(notional, high) - low
        total += max(Fraction(0), part) * Fraction(rate)
    return total


def exact_surplus(surplus: Fraction, lots: int, closed: int, per_lot: Fraction, cost: Fraction) -> Fraction:
    freed = exact_maintenance(lots * per_lot) - exact_maintenance((lots - closed) * per_lot)
    return surplus - closed * per_lot * cost + freed


class TestHandExample:
    def test_five_lots_of_sixty_restore_the_margin(self) -> None:
        assert lots_to_comply(-20.0, 60, 100.0, 0.01, *TIERS) == 5

    def test_nothing_helps_when_the_cost_is_the_rate(self) -> None:
        assert lots_to_comply(-20.0, 60, 100.0, 0.05, *TIERS) == 60

    def test_ten_lots_reach_the_lower_tier(self) -> None:
        assert lots_to_lower_tier(-20.0, 60, 100.0, 0.01, *TIERS) == 10
        assert surplus_after(-20.0, 60, 10, 100.0, 0.01, *TIERS) == pytest.approx(20.0)

    def test_the_lowest_tier_is_closed_whole(self) -> None:
        assert lots_to_lower_tier(-1.0, 9, 100.0, 0.0, *TIERS) == 9

    def test_two_tiers_down(self) -> None:
        assert stage_lots(Stage.TWO_TIERS, -1.0, 60, 100.0, 0.0, *TIERS) == 50
        assert stage_lots(Stage.TWO_TIERS, -1.0, 50, 100.0, 0.0, *TIERS) == 50

    def test_a_fifth_above_the_limit_else_all(self) -> None:
        per_lot = FIFTH_ABOVE / 100
        assert stage_lots(Stage.FIFTH, -1.0, 101, per_lot, 0.0, *TIERS) == 21
        assert stage_lots(Stage.FIFTH, -1.0, 100, per_lot, 0.0, *TIERS) == 100

    def test_all(self) -> None:
        assert stage_lots(Stage.ALL, -1.0, 7, 100.0, 0.0, *TIERS) == 7


@given(
    lots=st.integers(1, 120),
    per_lot=st.integers(1, 200),
    deficit=st.integers(0, 300),
    cost=st.integers(0, 60),
)
def test_no_smaller_number_of_lots_complies(lots: int, per_lot: int, deficit: int, cost: int) -> None:
    """Trying every number of lots on fractions gives the same answer, borders within a rounding error left out."""
    exact = [
        exact_surplus(Fraction(-deficit), lots, closed, Fraction(per_lot), Fraction(cost, 1000))
        for closed in range(lots + 1)
    ]
    if any(0 < abs(value) < Fraction(1, 10**6) for value in exact):
        return
    expected = next((closed for closed, value in enumerate(exact) if value >= 0), lots)
    assert lots_to_comply(float(-deficit), lots, float(per_lot), cost / 1000, *TIERS) == expected


@given(lots=st.integers(1, 120), per_lot=st.integers(1, 200), deficit=st.integers(1, 300), stage=st.sampled_from(Stage))
def test_each_stage_closes_at_least_one_and_at_most_all(lots: int, per_lot: int, deficit: int, stage: Stage) -> None:
    assert 1 <= stage_lots(int(stage), float(-deficit), lots, float(per_lot), 0.01, *TIERS) <= lots


def test_an_unknown_venue_is_named() -> None:
    with pytest.raises(SettingsError, match="bitfinex"):
        stage_of("bitfinex")
    assert stage_of("binance") is Stage.COMPLY
