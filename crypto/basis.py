"""Basis and the carry expected from it. Spec: docs/specs/basis.md."""

from __future__ import annotations

from crypto.compiled import kernel
from crypto.units import annualised

NEVER = -1.0


@kernel
def basis(spot_price: float, perp_price_per_base: float) -> float:
    """Perp over spot as a fraction, positive when the perp is dearer. Both prices per base unit and positive."""
    return perp_price_per_base / spot_price - 1


@kernel
def annual_carry(funding_rate: float, interval_hours: float) -> float:
    """Annual rate that a short perp earns when ``funding_rate`` per ``interval_hours`` goes on; not compounded."""
    return annualised(funding_rate, interval_hours)


@kernel
def expected_carry(
    direction: int,
    funding_per_hour: float,
    borrow_per_hour: float,
    basis_now: float,
    basis_mean: float,
    reversion: float,
    holding_hours: float,
) -> float:
    """Gain expected over ``holding_hours`` as a fraction of notional, before trading costs.

    ``direction`` +1: long spot, short perp; -1: short borrowed spot, long perp, which also pays ``borrow_per_hour``.
    ``reversion`` is the part (0 to 1) of the way from ``basis_now`` to ``basis_mean`` that the basis is expected to go.
    """
    gain = funding_per_hour * holding_hours + reversion * (basis_now - basis_mean)
    if direction > 0:
        return gain
    return -gain - borrow_per_hour * holding_hours


@kernel
def break_even_hours(cost: float, carry_per_hour: float) -> float:
    """Hours of ``carry_per_hour`` that pay ``cost`` (both fractions of notional).

    0.0 when there is no cost to pay; ``NEVER`` (-1.0) when there is one and the carry is zero or negative.
    """
    if cost <= 0:
        return 0.0
    if carry_per_hour <= 0:
        return NEVER
    return cost / carry_per_hour
