"""Fetching one series: archive, then REST, into the lake, with a proof at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from crypto.market import Integers
from crypto.units import DAY_MS, HOUR_MS, timeframe_ms
from data.sources.archive import ArchiveFile, monthly_files, read_month
from data.sources.client import Client
from data.sources.completeness import (
    Known,
    Proof,
    Reason,
    is_overdue,
    missing_settlements,
    missing_slots,
    prove,
    prove_rates,
    quiet_ranges,
    settlements_after,
)
from data.sources.endpoints.base import Request, SeriesRoute
from data.sources.endpoints.known import interval_of
from data.sources.intake import Intake, IntakeOptions, Tally
from data.sources.journal import Span, spans
from data.sources.ledger import Ledger, Range, common, is_within, merged, remove_leftovers, subtract
from data.sources.listings import no_rows
from data.sources.pages import NARROWEST_MS, Covered, PageRule, cover
from data.sources.wire.columns import Listing
from data.store.lake import Lake
from data.store.rows import TIMED_SERIES, Columns
from data.store.series import SeriesKey, SourceFile

# A settlement shows up some seconds after its instant, a rate some minutes: what is younger is asked for next time.
SETTLING_MS = 600_000
# More holes than this are not worth a call each; the proof says that they were not asked for again.
MOST_HOLES = 200
_WINDOWS_WORTH_A_PROBE = 3
_DAILY = "1d"
# Venues' listing dates have been weeks late (see the spec): the archive is asked this long before them.
_LISTED_LATE_MS = 62 * DAY_MS


class Source(StrEnum):
    """Where rows may come from. ``AUTO``: whole past months from the archive where the venue has one, the rest from
    REST. ``ARCHIVE``: the same, and contracts that are not listed any more are looked for in the archive by name.
    ``REST``: REST alone.
    """

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
    intake: Intake = field(init=False)
    _empty_pages: list[Range] = field(default_factory=list)

    def __post_init__(self) -> None:
        options = IntakeOptions(self.options.replace, self.options.flush_rows, self.options.flush_s)
        ledger = Ledger(self.lake, self.key)
        self.intake = Intake(self.lake, self.key, ledger, self.client.rest.name, self.route.route.path, options)

    @property
    def ledger(self) -> Ledger:
        """Progress of the series."""
        return self.intake.ledger

    @property
    def tally(self) -> Tally:
        """What was done so far."""
        return self.intake.tally

    @property
    def step_ms(self) -> int:
        """Spacing of the grid; 0 for funding and borrow."""
        return timeframe_ms(self.key.timeframe) if self.key.series in TIMED_SERIES else 0

    async def run(self) -> None:
        """Fetch what is missing. Whatever happens, rows that were got are in the lake afterwards."""
        remove_leftovers(self.lake, self.key)
        self._doubt_empty()
        try:
            await (self._archive_alone() if self.listing.is_archive_only else self._everything())
        finally:
            self.intake.flush()
        if not len(self._times()):
            # An empty answer may have been a fault: without a row beside it, it proves nothing to a later fetch.
            self.ledger.remove(self.lo_ms, self.hi_ms)
            self.ledger.save()
            raise no_rows(self.listing, self.route, str(self.key), self.lo_ms, self.hi_ms)

    async def _everything(self) -> None:
        for lo, hi in self.missing():
            for rest_lo, rest_hi in await self._from_archive(lo, hi):
                await self._from_rest(*await self._after_first(*self._before_end(rest_lo, rest_hi)))
        self.intake.flush()
        if len(self._times()):
            await self._ask_before_first()
            await self._ask_again()

    def missing(self) -> list[Range]:
        """What is to be asked for: what was never got, and with ``Source.REST`` the archive's settlements, as REST
        tells their mark price.
        """
        missing = self.ledger.missing(self.lo_ms, self.hi_ms)
        if self.key.series != "funding" or self.options.source is not Source.REST:
            return missing
        return merged([*missing, *common(self.ledger.archived, [(self.lo_ms, self.hi_ms)])])

    def sources(self) -> tuple[Span, ...]:
        """Where the held rows came from."""
        return spans(self.lake, self.key, self.ledger, self.lo_ms, self.hi_ms)

    def _doubt_empty(self) -> None:
        """Forget that ranges are empty in which rows should be: a fault of days ago may be gone, so ask once more."""
        if self.step_ms and not is_overdue(self._times(), self.hi_ms - self.step_ms, self._known()):
            return
        for gap in self.proof().gaps:
            if gap.reason is Reason.EMPTY_TWICE:
                doubted = [(gap.lo_ms - SETTLING_MS, gap.hi_ms + SETTLING_MS)]
                self.ledger.empty = [part for whole in self.ledger.empty for part in subtract(whole, doubted)]

    def proof(self) -> Proof:
        """Rows expected, held and missing, with reasons."""
        if self.key.series == "borrow":
            return prove_rates(self._times(), self.lo_ms, self.hi_ms, self._known())
        return prove(self._times(), self.lo_ms, self.hi_ms, self.step_ms, self._known())

    def _known(self) -> Known:
        otherwise = Reason.ARCHIVE_HAS_NONE if self.listing.is_archive_only else Reason.NOT_ASKED_AGAIN
        return Known(
            self.ledger.covered,
            self.ledger.empty,
            self.listing.ends_ms,
            otherwise,
            archived=self.ledger.archived,
            listed_ms=self.listing.listed_ms,
            is_trading=self.listing.is_trading,
            page_rows=self.route.rows if self.route.keeps_all else 0,
        )

    def _times(self) -> Integers:
        return self.intake.times(self.lo_ms, self.hi_ms)

    async def _from_archive(self, lo: int, hi: int) -> list[Range]:
        """Take whole months from the bulk archive; returns what is left for REST."""
        if not self._uses_archive():
            return [(lo, hi)]
        base = self.client.rest.archive_url
        start = max(lo, (self.listing.listed_ms or 0) - _LISTED_LATE_MS)
        files = monthly_files(base, self.listing, self.key.series, self.key.timeframe, start, hi)
        got = [(file.lo_ms, file.hi_ms) for file in files if await self._take_month(file)]
        if not self.step_ms:
            # A settlement at the seam may have two stamps some milliseconds apart: the lake knows them as one.
            self.intake.flush()
        return subtract((lo, hi), got)

    async def _archive_alone(self) -> None:
        """Take every month that the archive has; there is nothing else to ask."""
        for lo, hi in self.missing():
            base = self.client.rest.archive_url
            for file in monthly_files(base, self.listing, self.key.series, self.key.timeframe, lo, hi):
                if not await self._take_month(file):
                    self._note(Covered(None, file.lo_ms, file.hi_ms))

    def _uses_archive(self) -> bool:
        has_one = bool(self.client.rest.archive_url) and self.key.series != "borrow"
        return has_one and self.options.source is not Source.REST

    async def _take_month(self, file: ArchiveFile) -> bool:
        """Whether the archive has that month; a month without rows is left to REST."""
        found = await read_month(self.client, file, self.key.series, self.key.kind)
        if found is None or not len(found[0]["time_ms"]):
            return False
        rows, origin = found
        self.tally.archive_files += 1
        self._note(Covered(rows, file.lo_ms, file.hi_ms), origin)
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
        if not wide or _DAILY not in self.client.rest.intervals or not self.intake.is_fresh:
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
            if part.rows is None:
                self._empty_pages.append((part.lo_ms, part.hi_ms))

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

    def _note(self, part: Covered, origin: SourceFile | None = None) -> None:
        self.intake.add(part.rows, part.lo_ms, part.hi_ms, origin)
        self.on_progress(part.hi_ms - part.lo_ms)

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
        holes = self._holes(self._times(), min(self.hi_ms, self.listing.ends_ms or self.hi_ms))
        for hole in [hole for hole in holes if not self._is_known_empty(hole)][:MOST_HOLES]:
            await self._ask(hole, flush=False)
        self.intake.flush()

    def _holes(self, times: Integers, end: int) -> list[Range]:
        first = int(times[0])
        if self.step_ms:
            return missing_slots(times, first, end, self.step_ms)
        if self.key.series == "borrow":
            # A page may be empty by fault and narrower than what is quiet enough to be noticed in the rows.
            pages = [(lo, hi) for lo, hi in self._empty_pages if lo > first and hi - lo > HOUR_MS]
            return merged([*pages, *quiet_ranges(times, end)])
        holes = [(run[0] - SETTLING_MS, run[-1] + SETTLING_MS) for run in missing_settlements(times)]
        return holes + ([(int(times[-1]) + 1, end)] if settlements_after(times, end) else [])

    def _is_known_empty(self, hole: Range) -> bool:
        return is_within(hole, self.ledger.empty)

    async def _ask(self, hole: Range, *, flush: bool = True) -> bool:
        """Whether the venue has a row there after all."""
        found = False
        async for part in cover(*hole, self._page_rule(self.step_ms), self._fetch):
            if part.rows is not None:
                self.intake.add(part.rows, part.lo_ms, part.hi_ms)
                found = True
        if not found:
            self.intake.set_aside(hole)
        if found or not is_within(hole, self.ledger.archived):
            self.intake.add(None, *hole)
        if flush:
            self.intake.flush()
        return found
