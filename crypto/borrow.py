"""Interest on borrowed assets: amounts and the hours that a venue charges. Spec: docs/specs/borrow.md."""

from __future__ import annotations

from dataclasses import dataclass

from crypto.compiled import kernel
from crypto.errors import SettingsError
from crypto.units import HOUR_MS


@dataclass(frozen=True, slots=True)
class BorrowRule:
    """When a venue charges interest.

    ``charge_at_borrow``: one hour is charged at the moment of borrowing. ``mark_offset_ms``: the hourly charge comes
    this long after each full hour. ``compounds``: charged interest joins the liability and bears interest itself.
    """

    charge_at_borrow: bool
    mark_offset_ms: int
    compounds: bool

    def __post_init__(self) -> None:
        if not 0 <= self.mark_offset_ms < HOUR_MS:
            raise SettingsError(
                f"mark_offset_ms = {self.mark_offset_ms} is not within the hour", remedy=f"give 0 to {HOUR_MS - 1}"
            )


@kernel
def interest(amount: float, hourly_rate: float) -> float:
    """Interest of one hour on ``amount`` owed (>= 0), in the borrowed asset; positive is what we owe."""
    return amount * hourly_rate


@kernel
def marks_between(from_ms: int, to_ms: int, offset_ms: int) -> int:
    """Number of instants h x 3,600,000 + ``offset_ms`` (h whole) in the half-open span (``from_ms``, ``to_ms``]."""
    if to_ms <= from_ms:
        return 0
    return (to_ms - offset_ms) // HOUR_MS - (from_ms - offset_ms) // HOUR_MS


@kernel
def charged_hours(borrow_ms: int, until_ms: int, charge_at_borrow: bool, offset_ms: int) -> int:
    """Hours charged by ``until_ms`` on a loan taken at ``borrow_ms``: the one at borrow, if any, and each mark after.

    A mark at ``until_ms`` is charged, one at ``borrow_ms`` is not (its hour is the one at borrow). 0 before the loan.
    """
    if until_ms < borrow_ms:
        return 0
    hours = marks_between(borrow_ms, until_ms, offset_ms)
    if charge_at_borrow:
        hours += 1
    return hours
