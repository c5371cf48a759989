"""Decimal edge: ticks, lots, order text, and the step both legs share. Spec: docs/specs/rounding.md."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Context, Decimal, Inexact, InvalidOperation
from fractions import Fraction

from crypto.errors import RefusedError
from crypto.instruments import Instrument, Kind

# Order texts are exact or an error: no quantity of a real venue needs a hundred digits.
_EXACT = Context(prec=100, traps=[Inexact, InvalidOperation])


@dataclass(frozen=True, slots=True)
class JointStep:
    """Smallest base quantity that is a whole number of lots of both legs, and what it is in lots of each.

    For an inverse perp the base quantity of a lot moves with the price: ``base`` and ``spot_lots`` are 0, ``perp_lots``
    is 1.
    """

    base: Fraction
    spot_lots: int
    perp_lots: int


def round_to_tick(price: Decimal, tick: Decimal, side: int) -> Decimal:
    """Nearest multiple of ``tick`` that is no worse for us: down for a buy (``side`` +1), up for a sell (-1)."""
    if side not in {1, -1}:
        raise ValueError(f"side is +1 (buy) or -1 (sell), not {side}")
    ticks = _ratio(price, tick, "tick")
    return _EXACT.multiply(Decimal(math.floor(ticks) if side > 0 else math.ceil(ticks)), tick)


def floor_lots(quantity: Decimal, lot: Decimal) -> int:
    """Whole lots in ``quantity`` (>= 0, same unit as ``lot``), rounded down."""
    if quantity < 0:
        raise ValueError(f"quantity {quantity} is negative; pass its size")
    return math.floor(_ratio(quantity, lot, "lot"))


def order_text(lots: int, lot: Decimal) -> str:
    """Plain decimal text of ``lots`` times ``lot`` as venues want it, never in scientific form."""
    return format(_EXACT.multiply(Decimal(lots), lot), "f")


def joint_step(spot: Instrument, perp: Instrument) -> JointStep:
    """The step in which both legs can be hedged exactly; ``RefusedError`` when a lot or multiplier is not positive."""
    for leg in (spot, perp):
        if not (_is_positive(leg.lot) and _is_positive(leg.multiplier)):
            raise RefusedError(
                f"{leg.key}: lot {leg.lot} x multiplier {leg.multiplier} is not positive, the pair can't be hedged",
                remedy=f'give lot and multiplier in [instruments."{leg.key}"]',
            )
    if perp.kind is Kind.INVERSE:
        return JointStep(Fraction(0), 0, 1)
    spot_base, perp_base = Fraction(spot.value_per_lot), Fraction(perp.value_per_lot)
    base = _least_common_multiple(spot_base, perp_base)
    return JointStep(base, int(base / spot_base), int(base / perp_base))


def _is_positive(value: Decimal) -> bool:
    return value.is_finite() and value > 0


def _least_common_multiple(a: Fraction, b: Fraction) -> Fraction:
    common = math.lcm(a.denominator, b.denominator)
    return Fraction(math.lcm(int(a * common), int(b * common)), common)


def _ratio(value: Decimal, step: Decimal, name: str) -> Fraction:
    if not step > 0:
        raise ValueError(f"{name} {step} is not positive")
    return Fraction(value) / Fraction(step)
