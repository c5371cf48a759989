"""Funding of perpetuals: payments, grace seconds of the venue, settlement calendar. Spec: docs/specs/funding.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crypto.compiled import kernel
from crypto.errors import DataError, SettingsError
from crypto.market import Floats, Integers
from crypto.settings import GracePolicy
from crypto.units import HOUR_MS, iso

GRACE_INSTANT = 0
GRACE_END = 1
GRACE_ADVERSE = 2

_GRACE_CODES = {
    GracePolicy.INSTANT: GRACE_INSTANT,
    GracePolicy.END_OF_GRACE: GRACE_END,
    GracePolicy.ADVERSE: GRACE_ADVERSE,
}
_HALF_HOUR_MS = HOUR_MS // 2


@kernel
def payment(quantity_base: float, mark_price: float, funding_rate: float) -> float:
    """Funding of a linear perp in quote units, positive when we receive.

    ``quantity_base`` is signed (long positive), ``mark_price`` is per base unit, ``funding_rate`` a fraction of
    notional per its interval; longs pay when it is positive.
    """
    return -quantity_base * mark_price * funding_rate


@kernel
def payment_inverse(value_quote: float, mark_price: float, funding_rate: float) -> float:
    """Funding of an inverse perp in base units (coin), positive when we receive.

    ``value_quote`` is signed contracts times contract value, ``mark_price`` (> 0) the quote price of one base unit.
    """
    return -(value_quote / mark_price) * funding_rate


@kernel
def grace_correction(
    quantity_before: float, quantity_after: float, mark_price: float, funding_rate: float, policy: int
) -> float:
    """What a fill inside the venue's grace seconds adds to the settlement, in quote units, positive when we receive.

    The settlement was paid on ``quantity_before``; the fill makes it ``quantity_after`` (both signed base units).
    ``policy`` is one of the ``GRACE_`` codes, else ``ValueError``. For an inverse perp pass value / mark price as
    quantities and 1.0 as price; the result is in coin.
    """
    if policy == GRACE_INSTANT:
        return 0.0
    change = payment(quantity_after, mark_price, funding_rate) - payment(quantity_before, mark_price, funding_rate)
    if policy == GRACE_END:
        return change
    if policy == GRACE_ADVERSE:
        return change if change < 0 else 0.0
    raise ValueError("unknown code of a grace policy")


def grace_code(policy: GracePolicy) -> int:
    """The code that compiled code carries for ``policy``."""
    return _GRACE_CODES[policy]


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of settlements with one interval: first and last instant (both included) and how many rows there are."""

    from_ms: int
    to_ms: int
    interval_hours: float
    count: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """Settlement calendar that was read out of a contract's rows.

    ``interval_hours``: per given instant, hours since the settlement before it, missing ones counted as settlements.
    ``missing_ms``: instants at which a settlement was expected and no row is held, ascending.
    ``segments``: the given instants cut where the interval changes.
    """

    interval_hours: Floats
    missing_ms: Integers
    segments: tuple[Segment, ...]


def settlement_instants(times_ms: Integers, tolerance_ms: int) -> Integers:
    """Bring stamps (ascending, shape (n,)) to the nearest whole hour.

    ``DataError`` names the row (from 0) and stamp when one is further than ``tolerance_ms`` from a whole hour, when two
    belong to one instant, or when they do not ascend. ``SettingsError`` when the tolerance is not within half an hour.
    """
    if not 0 <= tolerance_ms < _HALF_HOUR_MS:
        raise SettingsError(
            f"data.settlement_tolerance_ms = {tolerance_ms} is out of range",
            remedy=f"give a value from 0 to {_HALF_HOUR_MS - 1}",
        )
    stamps = np.asarray(times_ms, dtype=np.int64)
    instants = (stamps + _HALF_HOUR_MS) // HOUR_MS * HOUR_MS
    distance = np.abs(stamps - instants)
    if np.any(distance > tolerance_ms):
        row = int(np.argmax(distance > tolerance_ms))
        raise DataError(
            f"funding row {row}: stamp {stamps[row]} ({iso(int(stamps[row]))}) is {distance[row]} ms from the whole"
            f" hour, tolerance {tolerance_ms} ms",
            remedy="check the time unit and zone of the file, or raise data.settlement_tolerance_ms",
        )
    _check_ascending(stamps, instants)
    return instants


def _check_ascending(stamps: Integers, instants: Integers) -> None:
    spacing = np.diff(instants)
    if not np.any(spacing <= 0):
        return
    row = int(np.argmax(spacing <= 0)) + 1
    if spacing[row - 1] < 0:
        raise DataError(
            f"funding row {row}: stamp {stamps[row]} ({iso(int(stamps[row]))}) is earlier than row {row - 1}",
            remedy="sort the funding rows by time",
        )
    raise DataError(
        f"funding row {row}: stamp {stamps[row]} belongs to the instant {iso(int(instants[row]))},"
        f" which row {row - 1} (stamp {stamps[row - 1]}) has already settled",
        remedy="keep one funding row per settlement",
    )


def settlement_calendar(instants_ms: Integers) -> Calendar:
    """Read intervals, missing settlements and interval switches out of ascending instants, shape (n,).

    A spacing is a hole only when it is longer than both its neighbours; any other change of spacing is a switch of the
    interval. Why, and what it can't tell apart, is in the spec. ``DataError`` when instants do not ascend, or when
    there is a single one, whose interval nothing tells.
    """
    instants = np.asarray(instants_ms, dtype=np.int64)
    if instants.size == 0:
        return Calendar(np.empty(0), np.empty(0, np.int64), ())
    if instants.size == 1:
        raise DataError(
            f"a single settlement ({iso(int(instants[0]))}) does not tell its interval",
            remedy="give at least two settlements of the contract",
        )
    _check_ascending(instants, instants)
    spacing = np.diff(instants)
    interval = np.concatenate((spacing[:1], spacing))
    missing: list[Integers] = []
    for gap in _holes(spacing):
        step = int(spacing[gap - 1])
        absent = np.arange(instants[gap] + step, instants[gap + 1], step, dtype=np.int64)
        missing.append(absent)
        interval[gap + 1] = instants[gap + 1] - absent[-1]
    return Calendar(
        interval / HOUR_MS, np.concatenate(missing) if missing else np.empty(0, np.int64), _segments(instants, interval)
    )


def _holes(spacing: Integers) -> Integers:
    """Indices of spacings that are longer than the one before and the one after; the first and last have only one."""
    middle = spacing[1:-1]
    return np.flatnonzero(middle > np.maximum(spacing[:-2], spacing[2:])) + 1


def _segments(instants: Integers, interval: Integers) -> tuple[Segment, ...]:
    cuts = np.flatnonzero(np.diff(interval)) + 1
    first = np.concatenate(([0], cuts))
    last = np.concatenate((cuts, [instants.size])) - 1
    return tuple(
        Segment(int(instants[i]), int(instants[k]), float(interval[i]) / HOUR_MS, int(k - i + 1))
        for i, k in zip(first, last, strict=True)
    )


def sums_by_year(instants_ms: Integers, funding_rate: Floats) -> dict[int, float]:
    """Sum of the rates of all settlements of each UTC year: what one unit of notional paid (long) in that year.

    Missing rates (NaN) count nothing.
    """
    instants = np.asarray(instants_ms, dtype=np.int64).astype("datetime64[ms]")
    years = instants.astype("datetime64[Y]").astype(np.int64) + 1970  # numpy counts years from 1970
    return {int(year): float(np.nansum(funding_rate[years == year])) for year in np.unique(years)}
