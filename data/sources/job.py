"""One fetch: several symbols of a venue at once, one fetch per venue and lake at a time."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from crypto.errors import CarryError, OutputError, RefusedError, UsageError
from crypto.units import iso, timeframe_ms
from data.credentials import Credentials
from data.sources.archive import whole_months
from data.sources.bans import bans_of
from data.sources.client import Client, ClientOptions
from data.sources.completeness import Proof
from data.sources.endpoints.known import interval_of, rest_of, series_route
from data.sources.faults import BanError, KeyRefusedError
from data.sources.intake import Tally
from data.sources.journal import Span, mark_note
from data.sources.ledger import FOLDER
from data.sources.listings import Found, all_listings, find_listings, refuse_nothing, series_key
from data.sources.series import SETTLING_MS, SeriesFetch, SeriesOptions, Source
from data.sources.spent import SpentFile
from data.sources.wire.columns import Listing
from data.store.atomic import making
from data.store.lake import Lake
from data.store.rows import TIMED_SERIES
from data.store.series import SeriesKey


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What is asked for. ``hi_ms`` None: up to now. ``timeframe`` counts for bars, mark and index only.

    ``every_symbol``: all that trade, dated contracts left out, instead of ``symbols``.
    """

    venue: str
    series: str
    kind: str
    symbols: tuple[str, ...]
    lo_ms: int
    hi_ms: int | None
    timeframe: str
    options: SeriesOptions = field(default_factory=SeriesOptions)
    symbols_at_once: int = 8
    every_symbol: bool = False


@dataclass(frozen=True, slots=True)
class SeriesOutcome:
    """What became of one symbol: ``error`` None when it ended well. What ``proof`` counts is in the lake anyway.

    ``sources``: where the held rows came from.
    """

    key: SeriesKey
    lo_ms: int
    hi_ms: int
    proof: Proof
    tally: Tally
    error: CarryError | None
    sources: tuple[Span, ...] = ()

    @property
    def status(self) -> str:
        """``complete``, ``partial`` (some rows, not all) or ``failed`` (none)."""
        if self.error is None and self.proof.is_whole:
            return "complete"
        return "partial" if self.proof.got else "failed"


@dataclass(frozen=True, slots=True)
class FetchOutcome:
    """Outcomes by symbol, and what holds for all: notes, calls sent, seconds that limits made us wait.

    ``left_out``: symbols of which nothing could be asked, with the reason; the others were fetched.
    """

    series: tuple[SeriesOutcome, ...]
    notes: tuple[str, ...]
    calls: int
    waited_s: float
    left_out: Mapping[str, CarryError] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """``complete`` when every symbol is, ``failed`` when every one of them failed, else ``partial``."""
        statuses = {entry.status for entry in self.series} | ({"failed"} if self.left_out else set())
        return "complete" if statuses <= {"complete"} else "failed" if statuses == {"failed"} else "partial"


def fetch(
    request: FetchRequest,
    lake: Lake,
    *,
    client_options: ClientOptions | None = None,
    credentials: Credentials | None = None,
    on_start: Callable[[int], None] = lambda _: None,
    on_progress: Callable[[int], None] = lambda _: None,
    on_wait: Callable[[str], None] = lambda _: None,
) -> FetchOutcome:
    """Run the request; returns when every symbol has ended one way or the other.

    ``on_start`` gets the milliseconds of history to come over all symbols, ``on_progress`` those proven meanwhile,
    ``on_wait`` words for people about a wait that limits or a ban cause.
    ``UsageError`` for names and ranges that can't be; ``FetchError`` when the venue can't be asked at all or knows none
    of the symbols; ``RefusedError`` when another fetch of this venue writes to the lake; ``OutputError`` when the lake
    can't be written.
    """
    rest = rest_of(request.venue)
    series_route(rest, request.series, request.kind)
    if request.series in TIMED_SERIES:
        interval_of(rest, request.timeframe)
    if not request.symbols and not request.every_symbol:
        raise UsageError("no symbol was given", remedy=f"--symbol, for example {rest.symbol_hint}")
    with only_fetch(lake, request.venue):
        spent = SpentFile(Path(lake.root) / FOLDER / f"{request.venue}.spent.json")
        make = partial(Client, rest, client_options, credentials, spent=spent, bans=bans_of(lake, rest.name))
        return asyncio.run(_fetch(request, lake, partial(make, on_wait=on_wait), on_start, on_progress))


@contextmanager
def only_fetch(lake: Lake, venue: str) -> Iterator[None]:
    """Hold the venue's lock in the lake: two fetches would double the calls and could overwrite each other's rows."""
    path = Path(lake.root) / FOLDER / f"{venue}.lock"
    with making(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RefusedError(
                f"another carry fetch of {venue} is writing to {lake.root}", remedy="wait for it, or use another --lake"
            ) from error
        yield
    finally:
        os.close(descriptor)  # the lock goes with it, also when the process is killed


async def _fetch(
    request: FetchRequest,
    lake: Lake,
    make_client: Callable[[], Client],
    on_start: Callable[[int], None],
    on_progress: Callable[[int], None],
) -> FetchOutcome:
    async with make_client() as client:
        await client.read_clock()
        found = await _found(request, client)
        lo, hi = await _range(request, client)
        works = [_work(request, lake, client, listing, lo, hi, on_progress) for listing in found.listings]
        on_start(sum(end - start for work in works for start, end in work.missing()))
        turns = asyncio.Semaphore(request.symbols_at_once)
        stop = _Stop()
        outcomes = await asyncio.gather(*(_run(work, turns, stop) for work in works))
        marks = mark_note([span for outcome in outcomes for span in outcome.sources])
        notes = tuple(words for words in (client.clock_words(), marks) if words)
        return FetchOutcome(tuple(outcomes), notes, client.calls, client.limiter.waited_s, found.unknown)


async def _found(request: FetchRequest, client: Client) -> Found:
    """What is to be fetched; a symbol that the venue does not list, or no file can be named after, stops no other."""
    if request.every_symbol:
        listed = await all_listings(client, request.kind)
        found = Found([entry for entry in listed if entry.is_trading and entry.is_perpetual])
    else:
        in_archive = request.options.source is Source.ARCHIVE and bool(client.rest.archive_url)
        found = await find_listings(client, request.kind, request.symbols, ended=in_archive)
    storable = Found([], found.unknown)
    # One symbol in two spellings (BTCUSDT, BTC/USDT) is one series: two fetches of it would write over each other.
    for listing in {entry.venue_id: entry for entry in found.listings}.values():
        try:
            series_key(listing, request.series, request.timeframe)
        except UsageError as error:
            storable.unknown[listing.symbol] = error
        else:
            storable.listings.append(listing)
    refuse_nothing(storable.listings, storable.unknown)
    return storable


class _Stop:
    """Set when the venue wants no more calls, refuses the key, or the lake can't be written: the others end as well."""

    def __init__(self) -> None:
        self.error: CarryError | None = None


async def _run(work: SeriesFetch, turns: asyncio.Semaphore, stop: _Stop) -> SeriesOutcome:
    error: CarryError | None = None
    async with turns:
        try:
            if stop.error is not None:
                raise stop.error
            await work.run()
        except CarryError as caught:
            error = caught
            if isinstance(caught, BanError | KeyRefusedError | OutputError):
                stop.error = caught
    return SeriesOutcome(work.key, work.lo_ms, work.hi_ms, work.proof(), work.tally, error, work.sources())


def _work(
    request: FetchRequest,
    lake: Lake,
    client: Client,
    listing: Listing,
    lo_ms: int,
    hi_ms: int,
    on_progress: Callable[[int], None],
) -> SeriesFetch:
    if listing.is_archive_only:
        lo_ms, hi_ms = whole_months(lo_ms, hi_ms)
    return SeriesFetch(
        client=client,
        lake=lake,
        key=series_key(listing, request.series, request.timeframe),
        route=client.rest.series[request.series, request.kind],
        listing=listing,
        lo_ms=lo_ms,
        hi_ms=hi_ms,
        options=request.options,
        on_progress=on_progress,
    )


async def _range(request: FetchRequest, client: Client) -> tuple[int, int]:
    """The range on the grid, without bars that are not over and settlements too young to be published."""
    now = await client.server_now_ms()
    step = timeframe_ms(request.timeframe) if request.series in TIMED_SERIES else 1
    latest = now // step * step if request.series in TIMED_SERIES else now - SETTLING_MS
    lo = -(-request.lo_ms // step) * step
    hi = latest if request.hi_ms is None else min(request.hi_ms // step * step, latest)
    if lo >= hi:
        end = "now" if request.hi_ms is None else iso(request.hi_ms)
        raise UsageError(
            f"nothing lies between --from {iso(request.lo_ms)} and --to {end}: the venue's clock says {iso(now)}",
            remedy="give a --from that is earlier than --to and than now",
        )
    return lo, hi
