"""Rows of one series on their way into the lake, with what they prove and where they came from."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from crypto.market import Integers
from data.sources.ledger import Ledger, Range, merged
from data.sources.pages import joined
from data.store.lake import Lake
from data.store.rows import Columns, Origin
from data.store.series import Provenance, SeriesKey, SourceFile


@dataclass(slots=True)
class Tally:
    """What was done for one series. ``completed``: held rows that got the mark price they lacked."""

    added: int = 0
    replaced: int = 0
    completed: int = 0
    calls: int = 0
    archive_files: int = 0


@dataclass(frozen=True, slots=True)
class IntakeOptions:
    """``replace``: new rows win over held ones that differ. Rows go to the lake after ``flush_rows`` of them or
    ``flush_s`` seconds: what a kill loses at most.
    """

    replace: bool
    flush_rows: int
    flush_s: float


@dataclass(slots=True)
class Intake:
    """Collects rows and the ranges that they are all of, and writes both. ``venue``, ``path``: for labels."""

    lake: Lake
    key: SeriesKey
    ledger: Ledger
    venue: str
    path: str
    options: IntakeOptions
    tally: Tally = field(default_factory=Tally)
    _rows: list[Columns] = field(default_factory=list)
    _from_rest: list[Range] = field(default_factory=list)
    _from_archive: list[Range] = field(default_factory=list)
    _origins: list[SourceFile] = field(default_factory=list)
    _flushed_s: float = field(default_factory=time.monotonic)

    @property
    def is_fresh(self) -> bool:
        """Whether nothing is known of the series yet."""
        return not (self.ledger.covered or self._from_rest or self._from_archive)

    def add(self, rows: Columns | None, lo_ms: int, hi_ms: int, origin: SourceFile | None = None) -> None:
        """Rows (None: there are none) that are all of a range. ``origin``: the archive's file that they were read from.

        They go to the lake with the next flush, which is now when enough rows or time came together.
        """
        if rows is not None:
            self._rows.append(rows)
        if origin is None:
            self._from_rest.append((lo_ms, hi_ms))
        else:
            self._from_archive.append((lo_ms, hi_ms))
            self._origins.append(origin)
        is_late = time.monotonic() - self._flushed_s >= self.options.flush_s
        if is_late or sum(len(part["time_ms"]) for part in self._rows) >= self.options.flush_rows:
            self.flush()

    def flush(self) -> None:
        """Rows into the lake, then their ranges into the ledger: in that order, see there."""
        if self._rows:
            result = self.lake.merge(
                self.key,
                joined(self._rows),
                Provenance(self._label(), tuple(self._origins)),
                origin=Origin(f"{self.venue} {self.path}"),
                replace=self.options.replace,
            )
            self.tally.added += result.added
            self.tally.replaced += result.replaced
            self.tally.completed += result.completed
        if self._from_rest or self._from_archive:
            self.ledger.add(self._from_rest, self._from_archive)
            self.ledger.save()
        self._rows, self._from_rest, self._from_archive, self._origins = [], [], [], []
        self._flushed_s = time.monotonic()

    def times(self, lo_ms: int, hi_ms: int) -> Integers:
        """Stamps that the lake holds of a range."""
        if not self.lake.has(self.key):
            return np.empty(0, dtype=np.int64)
        return self.lake.read(self.key, lo_ms, hi_ms).time_ms

    def set_aside(self, empty: Range) -> None:
        """Note that the venue was asked again for a range, and has no row in it."""
        self.ledger.empty = merged([*self.ledger.empty, empty])

    def _label(self) -> str:
        places = [f"{self.venue} archive"] if self._origins else []
        if self.tally.calls:
            places.append(f"{self.venue} {self.path}")
        return "; ".join(places)
