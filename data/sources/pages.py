"""Covering a range with pages so that no row can be lost, whatever a venue's page rule turns out to be.

A page of rows ``first .. last`` proves that range and nothing else; the parts of the asked window before ``first`` and
after ``last`` are asked again until the venue answers that they are empty. So a page that is short, a limit that is
lower than asked, or a venue that sends the newest rows instead of the oldest costs calls, never rows.
Spec: docs/specs/sources.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import numpy as np

from crypto.errors import DataError
from crypto.units import iso
from data.sources.endpoints.base import Order
from data.store.rows import Columns, take

# Two settlements are never closer: a seam this narrow can't hide one.
NARROWEST_MS = 60_000


@dataclass(frozen=True, slots=True)
class Covered:
    """Rows of one answer (maybe none), and the range ``lo_ms <= time < hi_ms`` that they are proven to be all of."""

    rows: Columns | None
    lo_ms: int
    hi_ms: int


@dataclass(frozen=True, slots=True)
class PageRule:
    """``step_ms``: spacing of the rows' grid, 0 for events. ``window_ms``: most that one call may span, 0: no limit.
    ``bounded``: whether a call has a lower bound (see ``SeriesRoute``).
    """

    order: Order
    step_ms: int
    window_ms: int
    bounded: bool = True


FetchPage = Callable[[int, int], Awaitable[Columns]]


async def cover(lo_ms: int, hi_ms: int, rule: PageRule, fetch: FetchPage) -> AsyncIterator[Covered]:
    """Walk ``lo_ms <= time < hi_ms`` in the rule's order; together the answers cover it exactly once.

    ``fetch(lo, hi)`` gives one answer's rows sorted by time. ``DataError`` when an answer does not belong to its range.
    """
    pending = [(lo_ms, hi_ms)]
    edges: set[int] = set()  # stamps of rows at the ends of pages
    spacing_ms = 0
    while pending:
        lo, hi = pending.pop()
        if not _may_hold(lo, hi, rule):
            yield Covered(None, lo, hi)
            continue
        (lo, hi), rest = _window(lo, hi, rule)
        if rest is not None:
            pending.append(rest)
        rows = _inside(await fetch(lo, hi), lo, hi, rule)
        if rows is None:
            yield Covered(None, lo, hi)
            continue
        first, last = int(rows["time_ms"][0]), int(rows["time_ms"][-1])
        own_ms = _spacing(rows)
        # Where this page meets the one before it, a hole no wider than the rows' spacing holds nothing.
        width = min(own_ms or spacing_ms, spacing_ms or own_ms) + NARROWEST_MS
        if rule.order is Order.FORWARD:
            seam, ahead, meets = (lo, first), (last + 1, hi), lo - 1 in edges
        else:
            seam, ahead, meets = (last + 1, hi), (lo, first), hi in edges
        joins = seam[1] - seam[0] <= width if meets and not rule.step_ms else not _may_hold(*seam, rule)
        yield Covered(rows, min(first, seam[0]) if joins else first, max(last + 1, seam[1]) if joins else last + 1)
        pending.extend(part for part in (ahead, *(() if joins else (seam,))) if part[0] < part[1])
        edges |= {first, last}
        spacing_ms = own_ms or spacing_ms


def _spacing(rows: Columns) -> int:
    times = rows["time_ms"]
    return int(np.diff(times).min()) if len(times) > 1 else 0


def _window(lo: int, hi: int, rule: PageRule) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """The part to ask for now, and what is left for later."""
    if not rule.window_ms or hi - lo <= rule.window_ms:
        return (lo, hi), None
    if rule.order is Order.FORWARD:
        middle = lo + rule.window_ms
        return (lo, middle), (middle, hi)
    middle = hi - rule.window_ms
    return (middle, hi), (lo, middle)


def _may_hold(lo: int, hi: int, rule: PageRule) -> bool:
    if rule.step_ms:
        return -(-lo // rule.step_ms) * rule.step_ms < hi
    return hi > lo


def _inside(rows: Columns, lo: int, hi: int, rule: PageRule) -> Columns | None:
    """The rows of the window, without repeated stamps; None when there is none."""
    times = rows["time_ms"]
    if not len(times):
        return None
    inside = (times >= lo) & (times < hi)
    slack = max(rule.step_ms, NARROWEST_MS)
    strayed = (times >= hi + slack) | ((times < lo - slack) & rule.bounded)
    if strayed.any() and not inside.any():
        raise DataError(
            f"asked for {iso(lo)} .. {iso(hi)}, the answer holds {iso(int(times[0]))} .. {iso(int(times[-1]))}",
            remedy="the venue ignored the range: nothing was kept of this answer; report it",
        )
    rows = take(rows, inside)
    return _unrepeated(rows) if len(rows["time_ms"]) else None


def _unrepeated(rows: Columns) -> Columns:
    """Sorted rows with each stamp once; ``DataError`` when two rows of one stamp differ."""
    times = rows["time_ms"]
    again = np.flatnonzero(np.diff(times) == 0) + 1
    if not len(again):
        return rows
    for name, values in rows.items():
        differs = ~((values[again] == values[again - 1]) | (np.isnan(values[again]) & np.isnan(values[again - 1])))
        if differs.any():
            row = int(again[int(np.argmax(differs))])
            raise DataError(
                f"the venue answered two rows for {iso(int(times[row]))}: {name} {float(values[row - 1]):.12g} and "
                f"{float(values[row]):.12g}",
                remedy="run it again later; if it stays, report it to the venue",
            )
    keep = np.ones(len(times), dtype=bool)
    keep[again] = False
    return take(rows, keep)


def joined(parts: list[Columns]) -> Columns:
    """All rows of the parts, sorted, each stamp once; columns that a part lacks are NaN."""
    names = list(dict.fromkeys(name for part in parts for name in part))
    columns: Columns = {}
    for name in names:
        columns[name] = np.concatenate(
            [part[name] if name in part else np.full(len(part["time_ms"]), np.nan) for part in parts]
        )
    return _unrepeated(take(columns, np.argsort(columns["time_ms"], kind="stable")))
