"""A worked answer: result, steps with the numbers put in, checks. Spec: docs/specs/calculator.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from crypto.tiers import TierTable, tier_of
from crypto.units import iso

# Both sides of a check come from a handful of float operations on terms of the size ``scale``.
CHECK_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Step:
    """One formula: in words and letters, with its numbers, and what it gives."""

    title: str
    formula: str
    numbers: str
    value: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """Two ways to one number. ``scale``: size of the largest term in either, which the rounding error follows."""

    statement: str
    left: float
    right: float
    scale: float
    unit: str = ""

    @property
    def holds(self) -> bool:
        """Whether both sides agree within the rounding of floats; NaN never does."""
        return abs(self.left - self.right) <= CHECK_TOLERANCE * max(abs(self.scale), abs(self.left), abs(self.right))


@dataclass(frozen=True, slots=True)
class TierUsed:
    """A tier that entered the working. ``number`` counts from 1; ``cap`` is None where the venue names no limit."""

    symbol: str
    used_for: str
    number: int
    tiers: int
    floor: float
    cap: float | None
    rate: float
    deduction: float
    max_leverage: float | None
    currency: str
    since: str | None
    source: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question gave. ``values``: for scripts, unrounded. ``lines``: label and text, for people.

    ``ArithmeticError`` when a check does not hold: then the working is wrong, and so may be the result.
    """

    question: str
    title: str
    values: Mapping[str, Any]
    lines: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...] = ()
    checks: tuple[Check, ...] = ()
    tiers: tuple[TierUsed, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for check in self.checks:
            if not check.holds:
                raise ArithmeticError(f"check failed: {check.statement}: {check.left!r} is not {check.right!r}")


def tier_used(table: TierTable, notional: float, used_for: str) -> TierUsed:
    """The tier of ``table`` for ``notional`` (beyond the last cap: the last one), as the answer shows it."""
    index = tier_of(table, min(notional, float(table.cap[-1])))
    cap = float(table.cap[index])
    is_given = table.source == GIVEN_BY_HAND
    return TierUsed(
        symbol=table.key.split(":")[2],
        used_for=used_for,
        number=index + 1,
        tiers=len(table.floor),
        floor=float(table.floor[index]),
        cap=None if math.isinf(cap) else cap,
        rate=float(table.rate[index]),
        deduction=float(table.deduction[index]),
        max_leverage=None if is_given else float(table.max_leverage[index]),
        currency=table.currency,
        since=None if is_given or table.effective_ms == 0 else iso(table.effective_ms)[:10],
        source=table.source,
    )


GIVEN_BY_HAND = "given by hand"


def describe_tier(tier: TierUsed) -> str:
    """One sentence about a tier."""
    what = f"rate {percent(tier.rate)}, deduction {rounded(tier.deduction)} {tier.currency}"
    if tier.source == GIVEN_BY_HAND:
        return f"{what} (given by --tier)"
    upper = "no limit" if tier.cap is None else rounded(tier.cap)
    since = "" if tier.since is None else f", known since {tier.since}"
    return f"{tier.number} of {tier.tiers} ({rounded(tier.floor)} to {upper}): {what}{since}"


# --- numbers as text ----------------------------------------------------------------------------------------------


def exact(value: float) -> str:
    """A number as it was given: no digit is lost."""
    return f"{Decimal(repr(float(value))).normalize():,f}" if value else "0"


def rounded(value: float) -> str:
    """A result: two decimals from 1,000 up, eight significant digits below."""
    if value == 0:
        return "0"
    if value == math.floor(value):
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 1000 else exact(float(f"{value:.8g}"))


def percent(rate: float) -> str:
    """A fraction as per cent, exactly."""
    return f"{(Decimal(repr(float(rate))) * 100).normalize():,f}%" if rate else "0%"


def rounded_percent(rate: float) -> str:
    """A fraction as per cent with two decimals, more where it is smaller than 1%."""
    return f"{rate:,.2%}" if abs(rate) >= 0.01 else f"{float(f'{rate * 100:.4g}'):,g}%"


def signed_sum(terms: Iterable[tuple[float, str]]) -> str:
    """Terms as ``a + b - c``: each is its value, which gives the sign, and the text of its size."""
    text = ""
    for value, size in terms:
        sign = "-" if value < 0 else "+"
        text += f" {sign} {size}" if text else ("-" if sign == "-" else "") + size
    return text
