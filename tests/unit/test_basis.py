from __future__ import annotations

import pytest

from crypto.basis import NEVER, annual_carry, basis, break_even_hours, expected_carry


def test_basis_is_positive_when_the_perp_is_dearer() -> None:
    assert basis(50_000.0, 50_050.0) == pytest.approx(0.001, rel=1e-12)
    assert basis(50_000.0, 49_950.0) == pytest.approx(-0.001, rel=1e-12)


@pytest.mark.parametrize(("interval", "annual"), [(8.0, 0.1095), (4.0, 0.219), (1.0, 0.876)])
def test_annual_carry_grows_with_the_settlements_in_a_year(interval: float, annual: float) -> None:
    assert annual_carry(0.0001, interval) == pytest.approx(annual, rel=1e-14)


@pytest.mark.parametrize(
    ("direction", "borrow", "expected"),
    [
        # 720 h of 1.25e-5 is 0.009; half of a basis that is 0.002 above its mean is 0.001.
        (1, 0.000005, 0.010),
        (-1, 0.0, -0.010),
        # 720 h of 5e-6 is 0.0036.
        (-1, 0.000005, -0.0136),
    ],
)
def test_expected_carry(direction: int, borrow: float, expected: float) -> None:
    carry = expected_carry(direction, 0.0000125, borrow, 0.003, 0.001, 0.5, 720.0)
    assert carry == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("cost", "carry", "hours"),
    [
        (0.0036, 0.0000125, 288.0),
        (0.0036, 0.0, NEVER),
        (0.0036, -0.00001, NEVER),
        (0.0, -0.00001, 0.0),
        (-0.001, 0.0, 0.0),
    ],
)
def test_break_even(cost: float, carry: float, hours: float) -> None:
    assert break_even_hours(cost, carry) == pytest.approx(hours, rel=1e-14)
