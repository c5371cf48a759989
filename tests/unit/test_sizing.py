from __future__ import annotations

import math

import pytest

from crypto.sizing import (
    BELOW_MIN_NOTIONAL,
    BELOW_MIN_QUANTITY,
    OK,
    hedged_lots,
    joint_minimum,
    minimum_capital,
    order_cost_inverse,
    order_cost_linear,
)


@pytest.mark.parametrize(
    ("target", "perp_lot", "step", "spot_lot", "fee", "expected"),
    [
        # 0.3 / 0.1 is below 3 in binary, and 0.3 / 0.001 above 300 in the other leg.
        (0.3, 0.1, 1, 0.001, 0.0, (300, 3)),
        (0.29999999, 0.1, 1, 0.001, 0.0, (200, 2)),
        # 0.123 BTC short; 0.123 / 0.999 = 0.12312312... bought, so that a fee of 10 bps in base leaves 0.123.
        (0.1234, 0.001, 1, 0.00001, 0.001, (12_313, 123)),
        # 3 contracts of 1000PEPE.
        (3_999.0, 1_000.0, 1, 1.0, 0.0, (3_000, 3)),
        # Steps of 3 perp lots of 0.2 meet spot lots of 0.3 at 0.6.
        (1.5, 0.2, 3, 0.3, 0.0, (4, 6)),
        # Inverse: 100 USD a contract at 50,000 is 0.002 BTC.
        (0.011, 100 / 50_000, 1, 0.00001, 0.0, (1_000, 5)),
        (0.0009, 0.001, 1, 0.00001, 0.001, (0, 0)),
        (0.0, 0.001, 1, 0.00001, 0.001, (0, 0)),
        (-1.0, 0.001, 1, 0.00001, 0.001, (0, 0)),
        (math.nan, 0.001, 1, 0.00001, 0.001, (0, 0)),
    ],
)
def test_hedged_lots(
    target: float, perp_lot: float, step: int, spot_lot: float, fee: float, expected: tuple[int, int]
) -> None:
    assert hedged_lots(target, perp_lot, step, spot_lot, fee) == expected


@pytest.mark.parametrize("count", [3, 10**7, 696_299_883, 95_386_069_234])
def test_a_whole_number_of_lots_stays_whole_at_any_size(count: int) -> None:
    """Steps of 0.1 have no exact binary form: the last count is 1.5e-5 of a lot off when computed in floats."""
    assert hedged_lots(count / 10, 0.1, 1, 0.1, 0.0) == (count, count)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((100, 1, 50.0, 50.0, 10, 1, 5.0, 5.0), OK),
        ((10, 1, 5.0, 5.0, 10, 1, 5.0, 5.0), OK),
        ((9, 1, 50.0, 50.0, 10, 1, 5.0, 5.0), BELOW_MIN_QUANTITY),
        ((100, 1, 50.0, 50.0, 10, 2, 5.0, 5.0), BELOW_MIN_QUANTITY),
        ((100, 1, 4.99, 50.0, 10, 1, 5.0, 5.0), BELOW_MIN_NOTIONAL),
        ((100, 1, 50.0, 99.0, 10, 1, 5.0, 100.0), BELOW_MIN_NOTIONAL),
        ((9, 1, 1.0, 1.0, 10, 1, 5.0, 5.0), BELOW_MIN_QUANTITY),
        ((0, 0, 0.0, 0.0, 0, 0, 0.0, 0.0), BELOW_MIN_QUANTITY),
        ((1, 0, 1.0, 0.0, 0, 0, 0.0, 0.0), BELOW_MIN_QUANTITY),
        ((0, 1, 0.0, 1.0, 0, 0, 0.0, 0.0), BELOW_MIN_QUANTITY),
        ((1, 1, 1.0, 1.0, 0, 0, 0.0, 0.0), OK),
    ],
)
def test_both_legs_pass_or_neither(arguments: tuple[int, int, float, float, int, int, float, float], code: int) -> None:
    assert joint_minimum(*arguments) == code


def test_a_short_closes_dearer_than_a_long() -> None:
    # Bankruptcy of a 10x short at 50,000 is 55,000.
    assert order_cost_linear(1.0, 50_000.0, 10.0, 0.00055, -1).close_fee == pytest.approx(30.25, rel=1e-14)
    # A 25x inverse short of 5 ETH holds 4.8 ETH of value when its 0.2 ETH are gone.
    assert order_cost_inverse(10_000.0, 2_000.0, 25.0, 0.00055, -1).close_fee == pytest.approx(0.00264, rel=1e-14)


def test_an_unleveraged_short_of_coin_never_goes_bankrupt() -> None:
    assert order_cost_inverse(10_000.0, 2_000.0, 1.0, 0.001, -1).close_fee == 0.0


def test_minimum_capital() -> None:
    assert minimum_capital(5.0, 0.5, 0.1) == pytest.approx(100.0, rel=1e-15)
