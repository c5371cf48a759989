"""Ticks, lots and the joint step against exact fractions and a search."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from crypto.instruments import Instrument, Kind
from crypto.rounding import floor_lots, joint_step, order_text, round_to_tick

steps = st.builds(lambda digits, exponent: Decimal(digits).scaleb(exponent), st.integers(1, 250), st.integers(-12, 3))
amounts = st.decimals(0, 10**12, allow_nan=False, allow_infinity=False, places=10)


def instrument(kind: Kind, lot: Decimal, multiplier: Decimal = Decimal(1)) -> Instrument:
    return Instrument("venue", kind, "XUSDT", "X", "USDT", Decimal("0.01"), lot, lot, Decimal(5), multiplier)


@given(amounts, steps)
def test_rounded_prices_are_multiples_and_no_worse(price: Decimal, tick: Decimal) -> None:
    buy, sell = (Fraction(round_to_tick(price, tick, side)) for side in (1, -1))
    exact, step = Fraction(price), Fraction(tick)
    assert (buy / step).denominator == 1
    assert (sell / step).denominator == 1
    assert buy <= exact < buy + step
    assert sell - step < exact <= sell


@given(amounts, steps)
def test_floored_lots_fit_and_one_more_does_not(quantity: Decimal, lot: Decimal) -> None:
    count = floor_lots(quantity, lot)
    assert count * Fraction(lot) <= Fraction(quantity) < (count + 1) * Fraction(lot)


@given(st.integers(0, 10**15), steps)
def test_order_text_is_plain_and_exact(lots: int, lot: Decimal) -> None:
    text = order_text(lots, lot)
    assert set(text) <= set("0123456789.")
    assert Fraction(text) == lots * Fraction(lot)


@given(
    st.integers(1, 120),
    st.integers(-6, 0),
    st.integers(1, 120),
    st.integers(-6, 0),
    st.sampled_from([Decimal(1), Decimal(10), Decimal(1000)]),
)
def test_joint_step_is_the_first_that_a_walk_over_spot_lots_meets(
    spot_digits: int, spot_places: int, perp_digits: int, perp_places: int, multiplier: Decimal
) -> None:
    spot_lot, perp_lot = Decimal(spot_digits).scaleb(spot_places), Decimal(perp_digits).scaleb(perp_places)
    step = joint_step(instrument(Kind.SPOT, spot_lot), instrument(Kind.LINEAR, perp_lot, multiplier))
    perp_base = Fraction(perp_lot) * Fraction(multiplier)
    assert step.base == step.spot_lots * Fraction(spot_lot) == step.perp_lots * perp_base
    # A smaller common base would be this one over a prime that divides both counts.
    smaller = [
        p for p in range(2, min(step.spot_lots, step.perp_lots) + 1) if step.spot_lots % p == step.perp_lots % p == 0
    ]
    assert smaller == []


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 3))
def test_joint_step_against_a_search(spot_digits: int, perp_digits: int, places: int) -> None:
    spot_lot, perp_lot = Decimal(spot_digits).scaleb(-places), Decimal(perp_digits).scaleb(-2)
    count = 1
    while (count * Fraction(spot_lot) / Fraction(perp_lot)).denominator != 1:
        count += 1
    assert joint_step(instrument(Kind.SPOT, spot_lot), instrument(Kind.LINEAR, perp_lot)).spot_lots == count
