"""Order costs that venues published, by the ids in the project's list of oracles."""

from __future__ import annotations

import pytest

from crypto.fees import fee
from crypto.sizing import order_cost_inverse, order_cost_linear

# Bybit help centre, order cost of a USDT perpetual (B5) and of an inverse one (B6); longs at the taker rate.
LINEAR = pytest.param(("1", "50000", "10", "0.00055"), ("5000", "27.5", "24.75", "5052.25"), id="B5")
INVERSE = pytest.param(("10000", "2000", "25", "0.00055"), ("0.2", "0.00275", "0.00286", "0.20561"), id="B6")


@pytest.mark.parametrize(("inputs", "expected"), [LINEAR])
def test_cost_of_a_linear_order(inputs: tuple[str, ...], expected: tuple[str, ...]) -> None:
    quantity, price, leverage, taker = map(float, inputs)
    assert order_cost_linear(quantity, price, leverage, taker, 1) == pytest.approx(
        tuple(map(float, expected)), rel=1e-14
    )


@pytest.mark.parametrize(("inputs", "expected"), [INVERSE])
def test_cost_of_an_inverse_order(inputs: tuple[str, ...], expected: tuple[str, ...]) -> None:
    value, price, leverage, taker = map(float, inputs)
    assert order_cost_inverse(value, price, leverage, taker, 1) == pytest.approx(tuple(map(float, expected)), rel=1e-14)


@pytest.mark.parametrize(
    ("value", "rate", "expected"),
    [
        pytest.param("50000", "0.00055", "27.5", id="B5-open-fee"),
        pytest.param("5", "0.00055", "0.00275", id="B6-open-fee"),
    ],
)
def test_opening_fee_is_the_trading_fee_on_the_value(value: str, rate: str, expected: str) -> None:
    assert fee(float(value), float(rate)) == pytest.approx(float(expected), rel=1e-15)
