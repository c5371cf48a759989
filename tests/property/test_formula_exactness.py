"""Every scalar formula recomputed in exact fractions, and its compiled form held to the bits of plain Python."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from types import FunctionType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto import basis, borrow, fees, funding, sizing, units

Formula = Callable[..., Any]


def plain(function: Formula) -> Formula:
    """``function`` as plain Python, the compiled functions that it calls included."""
    inner = getattr(function, "py_func", function)
    names = {name: getattr(value, "py_func", value) for name, value in inner.__globals__.items()}
    return FunctionType(inner.__code__, names)


quantities = st.floats(1e-6, 1e9) | st.floats(-1e9, -1e-6)
prices = st.floats(1e-8, 1e6)
rates = st.floats(1e-8, 0.75) | st.floats(-0.75, -1e-8)
fractions_of_one = st.floats(0, 0.01)
hours = st.sampled_from([1.0, 2.0, 4.0, 8.0])
leverages = st.floats(1, 125)

PRODUCTS: list[tuple[str, Formula, tuple[st.SearchStrategy[float], ...], Formula]] = [
    ("payment", funding.payment, (quantities, prices, rates), lambda q, m, r: -q * m * r),
    ("payment_inverse", funding.payment_inverse, (quantities, prices, rates), lambda v, m, r: -v * r / m),
    ("interest", borrow.interest, (quantities, rates), lambda amount, r: amount * r),
    ("fee", fees.fee, (quantities, rates), lambda n, r: n * r),
    ("base_after_fee", fees.base_after_fee, (quantities, fractions_of_one), lambda q, r: q - q * r),
    ("annualised", units.annualised, (rates, hours), lambda r, h: r * 365 * 24 / h),
    ("annual_carry", basis.annual_carry, (rates, hours), lambda r, h: r * 365 * 24 / h),
    (
        "round_trip_cost",
        fees.round_trip_cost,
        (fractions_of_one, fractions_of_one, fractions_of_one, fractions_of_one),
        lambda *parts: sum(parts) + sum(parts),
    ),
    ("minimum_capital", sizing.minimum_capital, (prices, prices, prices), lambda c, a, b: c / a / b),
    ("break_even_hours", basis.break_even_hours, (prices, prices), lambda cost, carry: cost / carry),
]


@pytest.mark.parametrize(("function", "inputs", "expected"), [pytest.param(*row[1:], id=row[0]) for row in PRODUCTS])
@given(data=st.data())
def test_within_rounding_of_the_exact_value(
    function: Formula, inputs: tuple[st.SearchStrategy[float], ...], expected: Formula, data: st.DataObject
) -> None:
    values = [data.draw(strategy) for strategy in inputs]
    exact = expected(*(Fraction(value) for value in values))
    assert plain(function)(*(Fraction(value) for value in values)) == exact
    assert abs(Fraction(function(*values)) - exact) <= abs(exact) * Fraction(1e-15)


@given(quantities, quantities, prices, rates)
def test_grace_correction_is_the_payment_on_the_change(before: float, after: float, mark: float, rate: float) -> None:
    exact = -(Fraction(after) - Fraction(before)) * Fraction(mark) * Fraction(rate)
    arguments = [Fraction(value) for value in (before, after, mark, rate)]
    assert plain(funding.grace_correction)(*arguments, funding.GRACE_END) == exact
    assert plain(funding.grace_correction)(*arguments, funding.GRACE_ADVERSE) == min(exact, 0)
    assert plain(funding.grace_correction)(*arguments, funding.GRACE_INSTANT) == 0
    # A difference of two rounded payments: the error is relative to them, not to what is left of them.
    size = (abs(Fraction(after)) + abs(Fraction(before))) * Fraction(mark) * abs(Fraction(rate))
    computed = funding.grace_correction(before, after, mark, rate, funding.GRACE_END)
    assert abs(Fraction(computed) - exact) <= size * Fraction(1e-15)


@given(prices, prices)
def test_basis_is_the_relative_difference(spot: float, perp: float) -> None:
    exact = (Fraction(perp) - Fraction(spot)) / Fraction(spot)
    assert plain(basis.basis)(Fraction(spot), Fraction(perp)) == exact
    assert abs(Fraction(basis.basis(spot, perp)) - exact) <= Fraction(1e-15) * (1 + Fraction(perp) / Fraction(spot))


@given(st.sampled_from([1, -1]), rates, fractions_of_one, rates, rates, st.floats(0, 1), st.floats(0, 9000))
def test_expected_carry_of_both_directions(
    direction: int, funding_rate: float, borrow_rate: float, now: float, mean: float, reversion: float, held: float
) -> None:
    f, b, n, m, k, h = (Fraction(value) for value in (funding_rate, borrow_rate, now, mean, reversion, held))
    exact = f * h + k * n - k * m if direction == 1 else -f * h - k * n + k * m - b * h
    assert plain(basis.expected_carry)(direction, f, b, n, m, k, h) == exact
    size = abs(f * h) + k * (abs(n) + abs(m)) + b * h
    computed = basis.expected_carry(direction, funding_rate, borrow_rate, now, mean, reversion, held)
    assert abs(Fraction(computed) - exact) <= size * Fraction(1e-15)


@given(prices, prices, leverages, st.floats(1e-5, 0.01), st.sampled_from([1, -1]))
def test_order_cost_closes_at_the_bankruptcy_price(
    size: float, price: float, leverage: float, taker: float, side: int
) -> None:
    """Bankruptcy is solved for exactly: where the position has lost its initial margin, in its own settle asset."""
    q, p, lever, t = Fraction(size), Fraction(price), Fraction(leverage), Fraction(taker)
    linear = plain(sizing.order_cost_linear)(q, p, lever, t, side)
    bankruptcy = p - side * p / lever
    assert linear == (q * p / lever, q * p * t, q * bankruptcy * t, q * p / lever + q * p * t + q * bankruptcy * t)
    inverse = plain(sizing.order_cost_inverse)(q, p, lever, t, side)
    coin_at_bankruptcy = q / p + side * q / p / lever
    parts = (q / p / lever, q / p * t, coin_at_bankruptcy * t)
    assert inverse == (*parts, sum(parts))
    for computed, exact in (
        (sizing.order_cost_linear(size, price, leverage, taker, side), linear),
        (sizing.order_cost_inverse(size, price, leverage, taker, side), inverse),
    ):
        assert abs(Fraction(computed.total) - exact.total) <= exact.total * Fraction(1e-15)


COMPILED: list[tuple[Formula, tuple[st.SearchStrategy[Any], ...]]] = [
    *((function, inputs) for _, function, inputs, _ in PRODUCTS),
    (funding.grace_correction, (quantities, quantities, prices, rates, st.sampled_from([0, 1, 2]))),
    (basis.basis, (prices, prices)),
    (basis.expected_carry, (st.sampled_from([1, -1]), rates, rates, rates, rates, fractions_of_one, prices)),
    (borrow.marks_between, (st.integers(0, 2**42), st.integers(0, 2**42), st.integers(0, 3_599_999))),
    (
        borrow.charged_hours,
        (st.integers(0, 2**42), st.integers(0, 2**42), st.booleans(), st.integers(0, 3_599_999)),
    ),
    (sizing.hedged_lots, (st.floats(-1, 1e5), st.floats(1e-4, 10), st.integers(1, 9), prices, fractions_of_one)),
    (sizing.joint_minimum, tuple([st.integers(0, 3)] * 2 + [prices] * 2 + [st.integers(0, 3)] * 2 + [prices] * 2)),
    (sizing.order_cost_linear, (prices, prices, leverages, fractions_of_one, st.sampled_from([1, -1]))),
    (sizing.order_cost_inverse, (prices, prices, leverages, fractions_of_one, st.sampled_from([1, -1]))),
]


@pytest.mark.parametrize(("function", "inputs"), [pytest.param(*row, id=row[0].__name__) for row in COMPILED])
@given(data=st.data())
def test_compiled_and_plain_python_give_the_same_bits(
    function: Formula, inputs: tuple[st.SearchStrategy[Any], ...], data: st.DataObject
) -> None:
    values = [data.draw(strategy) for strategy in inputs]
    compiled, interpreted = function(*values), plain(function)(*values)
    assert repr(compiled) == repr(interpreted)
