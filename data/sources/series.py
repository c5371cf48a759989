"""Fetching one series: archive, then REST, into the lake, with a proof at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from crypto.market import Integers
from crypto.units import DAY_MS, timeframe_ms
from data.sources.archive import ArchiveFile, monthly_files, read_month
from data.sources.client import Client
from data.sources.completeness import (
    Known,
    Proof,
    Reason,
    missing_settlements,
    missing_slots,
    prove,
    prove_rates,
    settlements_after,
)
from data.sources.endpoints.base import Request, SeriesRoute
from data.sources.endpoints.known import interval_of
from data.sources.ledger import Ledger, Range, merged, remove_leftovers, subtract
from data.sources.listings import no_rows
from data.sources.pages import NARROWEST_MS, Covered, PageRule, cover, joined
from data.sources.wire.columns import Listing
from data.store.lake import Lake
from data.store.rows import TIMED_SERIES, Columns, Origin
from data.store.series import Provenance, SeriesKey, SourceFile

# A settlement shows up some seconds after its instant, a rate some minutes: what is younger is asked for next time.
SETTLING_MS = 600_000
# More holes than this are not worth a call each; the proof says that they were not asked for again.
MOST_HOLES = 200
_WINDOWS_WORTH_A_PROBE = 3
_DAILY = "1d"


class Source(StrEnum):
    """Where rows may come from. ``AUTO``: the archive where it has all that REST has, else REST."""

    AUTO = "auto"
    ARCHIVE = "archive"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class SeriesOptions:
    """``replace``: new rows win over held ones that differ. Rows go to the lake after ``flush_rows`` of them or
    ``flush_s`` seconds: what a kill loses at most.
    """

    source: Source = Source.AUTO
    replace: bool = False
    flush_rows: int = 200_000
    flush_s: float = 10.0


@dataclass(slots=True)
class Tally:
    """What was done for one series."""

    added: int = 0
    replaced: int = 0
    calls: int = 0
    archive_files: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class SeriesFetch:
    """One series on its way into the lake. ``on_progress`` gets milliseconds of history as they are proven."""

    client: Client
    lake: Lake
    key: SeriesKey
    route: SeriesRoute
    listing: Listing
    lo_ms: int
    hi_ms: int
    options: SeriesOptions
    on_progress: Callable[[int], None]
    tally: Tally = field(default_factory=Tally)
    _rows: list[Columns] = field(default_factory=list)
    _proven: list[Range] = field(default_factory=list)
    _origins: list[SourceFile] = field(default_factory=list)
    _ledger: Ledger | None = None
    _flushed_s: float = field(default_factory=time.monotonic)

    @property
    def ledger(self) -> Ledger:
        """Progress of the series, read at first use."""
        if self._ledger is None:
            self._ledger = Ledger(self.lake, self.key)
        return self._ledger

    @property
    def step_ms(self) -> int:
        """Spacing of the grid; 0 for funding and borrow."""
        return timeframe_ms(self.key.timeframe) if self.key.series in TIMED_SERIES else 0

    async def run(self) -> None:
        """Fetch what is missing. Whatever happens, rows that were got are in the lake afterwards."""
        remove_leftovers(self.lake, self.key)
        try:
            await (self._archive_alone() if self.listing.is_archive_only else self._everything())
        finally:
            self._flush()
        if not len(self._times()):
            # An empty answer may have been a fault: without a row beside it, it proves nothing to a later fetch.
            self.ledger.remove(self.lo_ms, self.hi_ms)
            self.ledger.save()
            raise no_rows(self.listing, self.route, str(self.key), self.lo_ms, self.hi_ms)

    async def _everything(self) -> None:
        for lo, hi in self.ledger.missing(self.lo_ms, self.hi_ms):
            for rest_lo, rest_hi in await self._from_archive(lo, hi):
                await self._from_rest(*await self._after_first(*self._before_end(rest_lo, rest_hi)))
        self._flush()
        if self.key.series != "borrow" and len(self._times()):
            await self._ask_before_first()
            await self._ask_again()

    def proof(self) -> Proof:
        """Rows expected, held and missing, with reasons."""
        otherwise = Reason.ARCHIVE_HAS_NONE if self.listing.is_archive_only else Reason.NOT_ASKED_AGAIN
        known = Known(self.ledger.covered, self.ledger.empty, self.listing.ends_ms, otherwise)
        if self.key.series == "borrow":
            return prove_rates(self._times(), self.lo_ms, self.hi_ms, known)
        return prove(self._times(), self.lo_ms, self.hi_ms, self.step_ms, known)

    def _times(self) -> Integers:
        if not self.lake.has(self.key):
            return np.empty(0, dtype=np.int64)
        return self.lake.read(self.key, self.lo_ms, self.hi_ms).time_ms

    async def _from_archive(self, lo: int, hi: int) -> list[Range]:
        """Take whole months from the bulk archive; returns what is left for REST."""
        if not self._uses_archive():
            return [(lo, hi)]
        base = self.client.rest.archive_url
        files = monthly_files(base, self.listing, self.key.series, self.key.timeframe, lo, hi)
        got = [(file.lo_ms, file.hi_ms) for file in files if await self._take_month(file)]
        return subtract((lo, hi), got)

    async def _archive_alone(self) -> None:
        """Take every month that the archive has; there is nothing else to ask."""
        for lo, hi in self.ledger.missing(self.lo_ms, self.hi_ms):
            base = self.client.rest.archive_url
            for file in monthly_files(base, self.listing, self.key.series, self.key.timeframe, lo, hi):
                if not await self._take_month(file):
                    self._note(Covered(None, file.lo_ms, file.hi_ms))

    def _uses_archive(self) -> bool:
        if not self.client.rest.archive_url or self.options.source is Source.REST or self.key.series == "borrow":
            return False
        # Funding: REST has the mark price that was paid on, the archive does not.
        return self.key.series != "funding" or self.options.source is Source.ARCHIVE

    async def _take_month(self, file: ArchiveFile) -> bool:
        """Whether the archive has that month; a month without rows is left to REST."""
        found = await read_month(self.client, file, self.key.series, self.key.kind)
        if found is None or not len(found[0]["time_ms"]):
            return False
        rows, origin = found
        self.tally.archive_files += 1
        self._origins.append(origin)
        self._note(Covered(rows, file.lo_ms, file.hi_ms))
        return True

    def _before_end(self, lo: int, hi: int) -> Range:
        """The range without what lies after the end of trading, where the venue tells one."""
        ends = self.listing.ends_ms
        last = hi if ends is None else max(lo, min(hi, ends + DAY_MS))
        if last < hi:
            self._note(Covered(None, last, hi))
        return lo, last

    async def _after_first(self, lo: int, hi: int) -> Range:
        """The range without what lies before the venue's first row, found by daily bars: a call per 1000 days."""
        window = self.step_ms * self.route.rows
        wide = self.step_ms and self.step_ms < DAY_MS and hi - lo > _WINDOWS_WORTH_A_PROBE * window
        if not wide or _DAILY not in self.client.rest.intervals or self.ledger.covered or self._proven:
            return lo, hi
        daily = self._page_rule(DAY_MS)
        async for part in cover(lo // DAY_MS * DAY_MS, hi, daily, self._fetch_daily):
            if part.rows is not None:
                first = max(lo, int(part.rows["time_ms"][0]))
                break
        else:
            first = hi
        if first > lo:
            self._note(Covered(None, lo, first))
        return first, hi

    async def _from_rest(self, lo: int, hi: int) -> None:
        async for part in cover(lo, hi, self._page_rule(self.step_ms), self._fetch):
            self._note(part)

    def _page_rule(self, step_ms: int) -> PageRule:
        window = step_ms * self.route.rows
        spans = [span for span in (window, self.route.span_ms) if span]
        order = self.route.order if step_ms != DAY_MS else type(self.route.order).FORWARD
        return PageRule(order, step_ms, min(spans, default=0), self.route.bounded)

    async def _fetch(self, lo: int, hi: int) -> Columns:
        interval = interval_of(self.client.rest, self.key.timeframe) if self.step_ms else ""
        return await self._page(lo, hi, interval)

    async def _fetch_daily(self, lo: int, hi: int) -> Columns:
        return await self._page(lo, hi, interval_of(self.client.rest, _DAILY))

    async def _page(self, lo: int, hi: int, interval: str) -> Columns:
        request = Request(self.listing, lo, hi, self.route.rows, interval)
        self.tally.calls += 1
        return await self.client.call(self.route.route, self.route.parameters(request), self.route.parse)

    def _note(self, part: Covered) -> None:
        if part.rows is not None:
            self._rows.append(part.rows)
        self._proven.append((part.lo_ms, part.hi_ms))
        self.on_progress(part.hi_ms - part.lo_ms)
        is_late = time.monotonic() - self._flushed_s >= self.options.flush_s
        if is_late or sum(len(rows["time_ms"]) for rows in self._rows) >= self.options.flush_rows:
            self._flush()

    def _flush(self) -> None:
        """Rows into the lake, then their ranges into the ledger: in that order, see there."""
        if self._rows:
            merged_rows = self.lake.merge(
                self.key,
                joined(self._rows),
                Provenance(self._label(), tuple(self._origins)),
                origin=Origin(f"{self.client.rest.name} {self.route.route.path}"),
                replace=self.options.replace,
            )
            self.tally.added += merged_rows.added
            self.tally.replaced += merged_rows.replaced
        if self._proven:
            self.ledger.add(merged(self._proven))
            self.ledger.save()
        self._rows, self._proven, self._origins = [], [], []
        self._flushed_s = time.monotonic()

    def _label(self) -> str:
        places = [f"{self.client.rest.name} archive"] if self._origins else []
        if self.tally.calls:
            places.append(f"{self.client.rest.name} {self.route.route.path}")
        return "; ".join(places)

    async def _ask_before_first(self) -> None:
        """Ask for the page before the first row until the venue has none: what ended there may have been a fault."""
        while True:
            times = self._times()
            first = int(times[0])
            lo = max(self.lo_ms, first - self.step_ms * self.route.rows) if self.step_ms else self.lo_ms
            # Events: what is narrower than the spacing of the first two has no room for another.
            narrow = self.step_ms or NARROWEST_MS + (int(times[1]) - first if len(times) > 1 else 0)
            if first - lo < narrow or self._is_known_empty((lo, first)) or not await self._ask((lo, first)):
                return

    async def _ask_again(self) -> None:
        """Ask for each hole after the first row once more, so that 'the venue has none' is a fact, not a lost page."""
        times = self._times()
        end = min(self.hi_ms, self.listing.ends_ms or self.hi_ms)
        if self.step_ms:
            holes = missing_slots(times, int(times[0]), end, self.step_ms)
        else:
            holes = [(at - SETTLING_MS, at + SETTLING_MS) for at in missing_settlements(times)]
            holes += [(int(times[-1]) + 1, end)] if settlements_after(times, end) else []
        for hole in [hole for hole in holes if not self._is_known_empty(hole)][:MOST_HOLES]:
            await self._ask(hole, flush=False)
        self._flush()

    def _is_known_empty(self, hole: Range) -> bool:
        return any(lo <= hole[0] and hole[1] <= hi for lo, hi in self.ledger.empty)

    async def _ask(self, hole: Range, *, flush: bool = True) -> bool:
        """Whether the venue has a row there after all."""
        found = False
        async for part in cover(*hole, self._page_rule(self.step_ms), self._fetch):
            if part.rows is not None:
                self._rows.append(part.rows)
                found = True
        if not found:
            self.ledger.empty = merged([*self.ledger.empty, hole])
        self._proven.append(hole)
        if flush:
            self._flush()
        return found
