"""Where the rows of a range came from, and which of them know the mark price that their funding was paid on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data.sources.ledger import Ledger, Range, common, subtract
from data.store.lake import Lake
from data.store.series import SeriesKey

ARCHIVE, REST = "archive", "rest"


@dataclass(frozen=True, slots=True)
class Span:
    """Rows from ``lo_ms`` (included) to ``hi_ms`` (excluded) that came from one source.

    ``without_mark``: settlements whose mark price is not known; None for every series but funding.
    """

    source: str
    lo_ms: int
    hi_ms: int
    rows: int
    without_mark: int | None


def spans(lake: Lake, key: SeriesKey, ledger: Ledger, lo_ms: int, hi_ms: int) -> tuple[Span, ...]:
    """The fetched parts of a range that hold rows, ascending."""
    if not lake.has(key):
        return ()
    asked = common(ledger.covered, [(lo_ms, hi_ms)])
    archived = common(ledger.archived, asked)
    rest = [part for whole in asked for part in subtract(whole, archived)]
    held = lake.read(key, lo_ms, hi_ms)
    marks = held.columns.get("mark_price", np.full(len(held.time_ms), np.nan))

    def span(source: str, part: Range) -> Span:
        low, high = (int(at) for at in np.searchsorted(held.time_ms, part))
        unknown = int(np.isnan(marks[low:high]).sum()) if key.series == "funding" else None
        return Span(source, *part, high - low, unknown)

    found = [span(ARCHIVE, part) for part in archived] + [span(REST, part) for part in rest]
    return tuple(sorted((entry for entry in found if entry.rows), key=lambda entry: entry.lo_ms))


def mark_note(found: Sequence[Span]) -> str:
    """What to say about settlements of the archive, which tells no mark price; empty when there are none."""
    rows = sum(entry.rows for entry in found)
    unmarked = sum(entry.without_mark or 0 for entry in found if entry.source == ARCHIVE)
    if not unmarked:
        return ""
    return (
        f"{unmarked:,} of {rows:,} settlements came from the bulk archive, which tells no mark price: a run pays them "
        "on the open of the mark bar at the settlement (carry fetch mark); --source rest adds the venue's own"
    )
