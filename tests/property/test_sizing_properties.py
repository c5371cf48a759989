"""Hedged lots against an exact search, over decimal lots, fees and targets."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from crypto.sizing import hedged_lots

lots = st.builds(lambda digits, places: Fraction(digits, 10**places), st.integers(1, 200), st.integers(0, 5))
fees_in_base = st.integers(0, 100).map(lambda bps: Fraction(bps, 10_000))


def search(target: Fraction, perp_lot: Fraction, step: int, spot_lot: Fraction, fee: Fraction) -> tuple[int, int]:
    perp = 0
    while (perp + step) * perp_lot <= target:
        perp += step
    spot = 0
    while spot * spot_lot * (1 - fee) < perp * perp_lot:
        spot += 1
    return spot, perp


@given(st.integers(0, 300), st.integers(0, 99), lots, st.integers(1, 20), st.integers(1, 40), fees_in_base, st.data())
def test_largest_hedge_that_an_exact_search_finds(
    whole: int, hundredths: int, perp_lot: Fraction, step: int, ratio: int, fee: Fraction, data: st.DataObject
) -> None:
    spot_lot = perp_lot * data.draw(st.sampled_from([Fraction(1, ratio), Fraction(ratio, 8), Fraction(1)]))
    target = (whole + Fraction(hundredths, 100)) * perp_lot
    found = hedged_lots(float(target), float(perp_lot), step, float(spot_lot), float(fee))
    assert found == search(target, perp_lot, step, spot_lot, fee)


@given(st.integers(1, 10**6), lots, st.integers(1, 20), st.integers(1, 1000), fees_in_base)
def test_spot_covers_the_perp_by_less_than_a_lot(
    count: int, perp_lot: Fraction, step: int, ratio: int, fee: Fraction
) -> None:
    spot_lot, target = perp_lot / ratio, count * perp_lot
    spot, perp = hedged_lots(float(target), float(perp_lot), step, float(spot_lot), float(fee))
    assert perp % step == 0
    assert target - step * perp_lot < perp * perp_lot <= target
    excess = spot * spot_lot * (1 - fee) - perp * perp_lot
    slack = (Fraction(1e-9) + spot * Fraction(1e-15)) * spot_lot * 2
    assert -slack <= excess < spot_lot


@given(st.floats(max_value=0, allow_nan=False))
def test_no_target_no_lots(target: float) -> None:
    assert hedged_lots(target, 0.001, 1, 0.00001, 0.001) == (0, 0)
