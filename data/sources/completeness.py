"""Whether a fetched range is whole: rows expected, rows held, and a reason for every row that is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from crypto.errors import DataError
from crypto.funding import settlement_calendar, settlement_instants
from crypto.market import Integers
from crypto.units import HOUR_MS
from data.sources.ledger import Range, subtract

# Stamps this far beside a full hour are no settlement that a calendar can be made of.
_SETTLEMENT_TOLERANCE_MS = 60_000


class Reason(StrEnum):
    """Why rows are missing. ``NOT_FETCHED`` alone makes a series partial."""

    BEFORE_FIRST = "before the venue's first row"
    AFTER_END = "after trading ended"
    VENUE_HAS_NONE = "the venue has none: asked again for just these"
    NOT_ASKED_AGAIN = "the venue sent none; not yet asked again for just these"
    ARCHIVE_HAS_NONE = "the archive has none, and the contract is not listed any more"
    NOT_FETCHED = "not fetched"


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing rows from ``lo_ms`` (included) to ``hi_ms`` (excluded): how many, and why."""

    lo_ms: int
    hi_ms: int
    rows: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Proof:
    """``expected``: rows that a whole series has, None where their spacing isn't fixed (borrow rates).

    Every expected row is either held or in a gap.
    """

    expected: int | None
    got: int
    gaps: tuple[Gap, ...]

    @property
    def is_whole(self) -> bool:
        """Whether everything that the venue has was fetched."""
        return not any(gap.reason is Reason.NOT_FETCHED for gap in self.gaps)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a series besides its rows: ranges asked for, and holes asked for again, both proven.

    ``otherwise``: the reason of a hole that nothing else explains.
    """

    covered: Sequence[Range]
    empty: Sequence[Range]
    ends_ms: int | None
    otherwise: Reason = Reason.NOT_ASKED_AGAIN


def prove(times: Integers, lo_ms: int, hi_ms: int, step_ms: int, known: Known) -> Proof:
    """Proof for a range of a series on a grid of ``step_ms``, or of settlements or rates (``step_ms`` 0).

    ``times``: held stamps within the range, ascending.
    """
    unfetched = subtract((lo_ms, hi_ms), known.covered)
    if step_ms:
        return _grid_proof(times, lo_ms, hi_ms, step_ms, known)
    open_gaps = tuple(Gap(lo, hi, 0, Reason.NOT_FETCHED) for lo, hi in unfetched)
    gaps = [Gap(at, at + 1, 1, _reason(at, at + 1, times, known)) for at in missing_settlements(times)]
    later = [
        at
        for at in settlements_after(times, min(hi_ms, known.ends_ms or hi_ms))
        if any(lo <= at < hi for lo, hi in known.covered)
    ]
    if later:
        gaps.append(Gap(later[0], hi_ms, len(later), _reason(later[0], later[-1] + 1, times, known)))
    missing = sum(gap.rows for gap in gaps)
    if len(times) > 1 and times[0] - lo_ms > times[1] - times[0] + _SETTLEMENT_TOLERANCE_MS:
        # How many there would have been is not known: the interval may have been another one.
        before = subtract((lo_ms, int(times[0])), unfetched)
        gaps[:0] = [Gap(lo, hi, 0, Reason.BEFORE_FIRST) for lo, hi in before]
    return Proof(len(times) + missing, len(times), (*open_gaps, *gaps))


def prove_rates(times: Integers, lo_ms: int, hi_ms: int, known: Known) -> Proof:
    """Proof for borrow rates: a rate holds until the next one, so only the ranges asked for can be counted."""
    unfetched = subtract((lo_ms, hi_ms), known.covered)
    return Proof(None, len(times), tuple(Gap(lo, hi, 0, Reason.NOT_FETCHED) for lo, hi in unfetched))


def missing_settlements(times: Integers) -> list[int]:
    """Instants that the settlement calendar of these stamps expects and that have no row."""
    if len(times) < 3:
        return []
    try:
        instants = settlement_instants(times, _SETTLEMENT_TOLERANCE_MS)
        calendar = settlement_calendar(instants)
    except DataError:
        # Stamps that fit no calendar (Hyperliquid was once 24 minutes late): `carry data check` names them.
        return []
    return [int(at) for at in calendar.missing_ms]


def settlements_after(times: Integers, end_ms: int) -> list[int]:
    """Instants before ``end_ms`` at which the spacing of the last two rows would have settled since the last one."""
    if len(times) < 2:
        return []
    before, last = ((int(at) + HOUR_MS // 2) // HOUR_MS * HOUR_MS for at in times[-2:])
    if last <= before:
        return []
    return list(range(2 * last - before, end_ms - _SETTLEMENT_TOLERANCE_MS, last - before))


def missing_slots(times: Integers, lo_ms: int, hi_ms: int, step_ms: int) -> list[Range]:
    """Runs of grid stamps within the range that have no row, as ranges."""
    first = -(-lo_ms // step_ms) * step_ms
    slots = np.arange(first, hi_ms, step_ms, dtype=np.int64)
    absent = slots[~np.isin(slots, times, assume_unique=True)]
    if not len(absent):
        return []
    breaks = np.flatnonzero(np.diff(absent) != step_ms) + 1
    return [(int(run[0]), int(run[-1]) + step_ms) for run in np.split(absent, breaks)]


def _grid_proof(times: Integers, lo_ms: int, hi_ms: int, step_ms: int, known: Known) -> Proof:
    gaps: list[Gap] = []
    for lo, hi in missing_slots(times, lo_ms, hi_ms, step_ms):
        for part_lo, part_hi in subtract((lo, hi), known.covered):
            gaps.append(Gap(part_lo, part_hi, _slots(part_lo, part_hi, step_ms), Reason.NOT_FETCHED))
        for part_lo, part_hi in subtract((lo, hi), subtract((lo, hi), known.covered)):
            rows = _slots(part_lo, part_hi, step_ms)
            if rows:
                gaps.append(Gap(part_lo, part_hi, rows, _reason(part_lo, part_hi, times, known)))
    return Proof(_slots(lo_ms, hi_ms, step_ms), len(times), tuple(sorted(gaps, key=lambda gap: gap.lo_ms)))


def _reason(lo: int, hi: int, times: Integers, known: Known) -> Reason:
    if known.ends_ms is not None and lo >= known.ends_ms:
        return Reason.AFTER_END
    if not len(times) or hi <= times[0]:
        return Reason.BEFORE_FIRST
    if any(empty_lo <= lo and hi <= empty_hi for empty_lo, empty_hi in known.empty):
        return Reason.VENUE_HAS_NONE
    return known.otherwise


def _slots(lo: int, hi: int, step: int) -> int:
    return max(0, -(-hi // step) - -(-lo // step))
