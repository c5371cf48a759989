"""Whether a fetched range is whole: rows expected, rows held, and a reason for every row that is missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np

from crypto.errors import DataError
from crypto.funding import settlement_calendar, settlement_instants
from crypto.market import Integers
from crypto.units import DAY_MS, HOUR_MS
from data.sources.ledger import Range, is_within, subtract

# Stamps this far beside a full hour are no settlement that a calendar can be made of.
_SETTLEMENT_TOLERANCE_MS = 60_000
# Borrow rates: none of 4,731 recorded spacings of Binance's 248 assets is longer than a day; Bybit's come every hour.
MOST_QUIET_MS = 2 * DAY_MS


class Reason(StrEnum):
    """Why rows are missing. ``NOT_FETCHED`` and ``EMPTY_TWICE`` make a series partial."""

    BEFORE_FIRST = "before the venue's first row"
    AFTER_END = "after trading ended"
    VENUE_HAS_NONE = "the venue has none: asked again for just these"
    NOT_ASKED_AGAIN = "the venue sent none; not yet asked again for just these"
    ARCHIVE_HAS_NONE = "the archive has none, and the contract is not listed any more"
    EMPTY_TWICE = "the venue sent no rows, asked twice, where it should have some: run it again later"
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
        return not any(gap.reason in (Reason.NOT_FETCHED, Reason.EMPTY_TWICE) for gap in self.gaps)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a series besides its rows: ranges asked for, and holes asked for again, both proven.

    ``otherwise``: the reason of a hole that nothing else explains. ``archived``: ranges that the bulk archive has as
    well. ``page_rows``: rows of a page where the venue keeps all since ``listed_ms``, else 0: then a hole of a page or
    more, asked for twice, is no proof that there is nothing.
    """

    covered: Sequence[Range]
    empty: Sequence[Range]
    ends_ms: int | None
    otherwise: Reason = Reason.NOT_ASKED_AGAIN
    archived: Sequence[Range] = ()
    listed_ms: int | None = None
    is_trading: bool = False
    page_rows: int = 0


def prove(times: Integers, lo_ms: int, hi_ms: int, step_ms: int, known: Known) -> Proof:
    """Proof for a range of a series on a grid of ``step_ms``, or of settlements or rates (``step_ms`` 0).

    ``times``: held stamps within the range, ascending.
    """
    unfetched = subtract((lo_ms, hi_ms), known.covered)
    if step_ms:
        return _grid_proof(times, lo_ms, hi_ms, step_ms, known)
    open_gaps = tuple(Gap(lo, hi, 0, Reason.NOT_FETCHED) for lo, hi in unfetched)
    gaps = [_settlement_gap(run, times, known) for run in missing_settlements(times)]
    later = [
        at
        for at in settlements_after(times, min(hi_ms, known.ends_ms or hi_ms))
        if any(lo <= at < hi for lo, hi in known.covered)
    ]
    if later:
        reason = _reason(later[0], later[-1] + 1, times, known)
        is_fault = reason is Reason.VENUE_HAS_NONE and is_overdue(times, hi_ms, known)
        gaps.append(Gap(later[0], hi_ms, len(later), Reason.EMPTY_TWICE if is_fault else reason))
    missing = sum(gap.rows for gap in gaps)
    if len(times) > 1 and times[0] - lo_ms > times[1] - times[0] + _SETTLEMENT_TOLERANCE_MS:
        gaps[:0] = _before_first(times, lo_ms, unfetched, known)
    return Proof(len(times) + missing, len(times), (*open_gaps, *gaps))


def is_overdue(times: Integers, hi_ms: int, known: Known) -> bool:
    """Whether rows should have come after the last one: the contract trades, and its venue leaves out no row for a day.

    A day is longer than any funding interval, and than any outage in which a venue made no bars.
    """
    return len(times) > 0 and known.page_rows > 0 and known.is_trading and hi_ms - int(times[-1]) > DAY_MS


def _settlement_gap(run: Sequence[int], times: Integers, known: Known) -> Gap:
    """The gap of settlements that miss between two rows."""
    lo, hi = run[0], run[-1] + 1
    reason = _reason(lo, hi, times, known)
    is_page = 0 < known.page_rows <= len(run) and not is_within((lo, hi), known.archived)
    if reason is Reason.VENUE_HAS_NONE and is_page:
        reason = Reason.EMPTY_TWICE
    return Gap(lo, hi, len(run), reason)


def _before_first(times: Integers, lo_ms: int, unfetched: Sequence[Range], known: Known) -> list[Gap]:
    """What lies before the first settlement; how many rows that would be is not known, as intervals change."""
    first, spacing = int(times[0]), int(times[1] - times[0])
    listed = max(lo_ms, known.listed_ms) if known.listed_ms is not None else first
    before = Reason.BEFORE_FIRST
    if not known.page_rows or first - listed < known.page_rows * spacing:
        return [Gap(lo, hi, 0, before) for lo, hi in subtract((lo_ms, first), unfetched)]
    since = Reason.EMPTY_TWICE if is_within((listed, first), known.empty) else Reason.NOT_ASKED_AGAIN
    parts = [((lo_ms, listed), before), ((listed, first), since)]
    return [Gap(lo, hi, 0, reason) for part, reason in parts for lo, hi in subtract(part, unfetched)]


def prove_rates(times: Integers, lo_ms: int, hi_ms: int, known: Known) -> Proof:
    """Proof for borrow rates: a rate holds until the next one, so rows can't be counted.

    Gaps are the ranges that were not asked for, and those in which no rate came for longer than venues keep quiet.
    """
    unfetched = subtract((lo_ms, hi_ms), known.covered)
    gaps = [Gap(lo, hi, 0, Reason.NOT_FETCHED) for lo, hi in unfetched]
    if len(times) and times[0] - lo_ms > MOST_QUIET_MS:
        gaps += [Gap(lo, hi, 0, Reason.BEFORE_FIRST) for lo, hi in subtract((lo_ms, int(times[0])), unfetched)]
    for quiet in quiet_ranges(times, hi_ms):
        reason = Reason.EMPTY_TWICE if is_within(quiet, known.empty) else Reason.NOT_FETCHED
        gaps += [Gap(lo, hi, 0, reason) for lo, hi in subtract(quiet, unfetched)]
    return Proof(None, len(times), tuple(sorted(gaps, key=lambda gap: gap.lo_ms)))


def quiet_ranges(times: Integers, end_ms: int) -> list[Range]:
    """Ranges after the first of these stamps that have no rate for longer than ``MOST_QUIET_MS``."""
    edges = [*(int(at) for at in times), end_ms]
    return [(before + 1, after) for before, after in pairwise(edges) if after - before > MOST_QUIET_MS]


def missing_settlements(times: Integers) -> list[list[int]]:
    """Instants that the settlement calendar of these stamps expects and that have no row: a list per hole."""
    if len(times) < 3:
        return []
    try:
        instants = settlement_instants(times, _SETTLEMENT_TOLERANCE_MS)
        calendar = settlement_calendar(instants)
    except DataError:
        # Stamps that fit no calendar (Hyperliquid was once 24 minutes late): `carry data check` names them.
        return []
    holes = np.searchsorted(instants, calendar.missing_ms)
    return [[int(at) for at in calendar.missing_ms[holes == hole]] for hole in np.unique(holes)]


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
                gaps.append(Gap(part_lo, part_hi, rows, _bar_reason(part_lo, part_hi, hi_ms - step_ms, times, known)))
    return Proof(_slots(lo_ms, hi_ms, step_ms), len(times), tuple(sorted(gaps, key=lambda gap: gap.lo_ms)))


def _bar_reason(lo: int, hi: int, hi_ms: int, times: Integers, known: Known) -> Reason:
    reason = _reason(lo, hi, times, known)
    is_last = reason is Reason.VENUE_HAS_NONE and lo > times[-1]
    return Reason.EMPTY_TWICE if is_last and is_overdue(times, hi_ms, known) else reason


def _reason(lo: int, hi: int, times: Integers, known: Known) -> Reason:
    if known.ends_ms is not None and lo >= known.ends_ms:
        return Reason.AFTER_END
    if not len(times) or hi <= times[0]:
        return Reason.BEFORE_FIRST
    if is_within((lo, hi), known.empty):
        return Reason.VENUE_HAS_NONE
    return known.otherwise


def _slots(lo: int, hi: int, step: int) -> int:
    return max(0, -(-hi // step) - -(-lo // step))
