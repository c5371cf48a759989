"""A running feed: sockets in, every frame recorded before it is understood, state kept, snapshots served."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crypto.errors import CarryError
from data.feed.backoff import AttemptLimit
from data.feed.book_sync import BookReader, BookSynchroniser
from data.feed.clock import FeedClock
from data.feed.engine import Engine
from data.feed.lock import take_lock
from data.feed.names import instrument
from data.feed.notes import book_note, channel_note, interval_note, known_note, settled_note, start_note
from data.feed.options import FeedTimes
from data.feed.readback import FundingReader, SettlementReader
from data.feed.recorder import Recorder, RecorderOptions
from data.feed.resume import last_settled
from data.feed.rows import RowWriter
from data.feed.server import SnapshotServer
from data.feed.session import Taken
from data.feed.settlements import SettlementWatch, interval_words
from data.feed.status import Parts, describe
from data.feed.supervisor import Supervisor
from data.feed.view import Board
from data.streams.events import BookSnapshot, FundingSettled
from data.streams.perps import Key
from data.streams.protocol import Route, VenueProtocol

log = logging.getLogger(__name__)

_NOTHING = Taken(0)
_ROWS_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class FeedPlan:
    """What to hold: a venue's adapter, its routes, and the instruments that were asked for (none: all)."""

    protocol: VenueProtocol
    routes: Sequence[Route]
    expected: Sequence[Key] = ()


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """Where a feed writes and serves. ``rows`` and ``socket`` None: not at all. ``row_seconds``: see ``rows.py``.

    ``book_levels``: how many levels of each book are served, of plans that subscribe to books.
    """

    out: Path
    rows: Path | None = None
    row_seconds: float = 1.0
    socket: Path | None = None
    seed: int = 1
    proxy: bool = True
    book_levels: int = 0
    recorder: RecorderOptions = field(default_factory=RecorderOptions)
    times: FeedTimes = field(default_factory=FeedTimes)


class Feed:
    """One process's feed. ``run`` returns after ``stop``; the first error of our own ends it and is raised."""

    def __init__(
        self,
        plans: Sequence[FeedPlan],
        options: FeedOptions,
        reader: FundingReader | None = None,
        clock: FeedClock | None = None,
        book_reader: BookReader | None = None,
    ) -> None:
        self._options = options
        self._clock = clock or FeedClock()
        self._has_begun = False
        self._stop = asyncio.Event()
        self._error: BaseException | None = None
        self._next_channel = 0
        self._warned_of_clock: set[str] = set()
        self._known_stale: set[tuple[str, str]] = set()
        times = options.times
        protocols = {plan.protocol.venue: plan.protocol for plan in plans}
        self.engine = Engine(protocols)
        self._known = known_note(last_settled(options.out, protocols))
        self.board = Board(self.engine, times, [key for plan in plans for key in plan.expected], options.book_levels)
        self.recorder = Recorder(options.out, options.recorder, self._prelude, self.now_ns)
        self.engine.note(self._known)
        self.supervisors = _supervisors(plans, options, self)
        self.rows = None if options.rows is None else RowWriter(options.rows, options.row_seconds)
        self._rows_lock = None if options.rows is None else take_lock(options.rows, "writes rows into", "--rows")
        self.server = None if options.socket is None else SnapshotServer(options.socket, self.snapshot, self.status)
        self._settlements = (
            None
            if reader is None
            else SettlementReader(
                reader, times.settlement_waits, self.venue_ms, self.engine.settlements, self._settled, self._fail
            )
        )
        self._books = (
            None
            if book_reader is None
            else BookSynchroniser(
                book_reader, times, options.seed, self.engine.is_book_waiting, self._book_read, self._fail
            )
        )

    def now_ns(self) -> int:
        """Time that is given to what is received."""
        return self._clock.now_ns()

    def venue_ms(self, venue: str) -> int:
        """The venue's time: by the stamps of its messages, else (OKX, Hyperliquid, dYdX) our wall clock."""
        delay = self.engine.delays.get(venue)
        return self._clock.wall_ms() if delay is None else int(self.now_ns() / 1e6 - delay.least_ms)

    def snapshot(self, wanted: Collection[str] | None = None) -> dict[str, Any]:
        """All instruments, or those wanted, as ``Board.snapshot``."""
        return self.board.snapshot(wanted, self.now_ns())

    def status(self) -> dict[str, Any]:
        """Connections, counts, sizes and what is stale."""
        parts = Parts(self.engine, self.board, self.recorder, self.supervisors, self.rows, self.server)
        return describe(parts, self.now_ns())

    def stop(self) -> None:
        """Have ``run`` end cleanly."""
        self._stop.set()

    async def run(self) -> None:
        """Connect and stay until ``stop``. ``OutputError`` when recording, rows or socket fail."""
        tasks: list[asyncio.Task[None]] = []
        try:
            if self.server is not None:
                await self.server.start()
            jobs = [*(supervisor.run for supervisor in self.supervisors), self._tick, self._sync]
            tasks = [asyncio.create_task(self._guard(job)) for job in jobs]
            await self._stop.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._shut_down()
        if self._error is not None:
            raise self._error

    async def _guard(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Any error that a job does not handle is ours: it ends the feed instead of leaving it half alive."""
        try:
            await job()
        except Exception as error:  # noqa: BLE001 - raised again by run
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = error
        self._stop.set()

    async def _shut_down(self) -> None:
        try:
            if self._settlements is not None:
                await self._settlements.stop()
            if self._books is not None:
                await self._books.stop()
            if self.server is not None:
                await self.server.stop()
        finally:
            try:
                self.recorder.close()
            except CarryError as error:
                self._fail(error)
            if self._rows_lock is not None:
                os.close(self._rows_lock)

    # --- what connections report --------------------------------------------------------------------------------------

    def opening(self, route: Route) -> int:
        """A connection is dialled: give it a number that no other in this recording's run has."""
        self._next_channel += 1
        self._note(channel_note(self._next_channel, route))
        return self._next_channel

    def opened(self, channel: int) -> None:
        """It is open."""
        route = self.engine.channels[channel].route
        log.info("%s %s: connected", route.venue, route.name)
        self._note({"note": "opened", "channel": channel})

    def closed(self, channel: int, reason: str) -> None:
        """It is closed, or could not be opened."""
        self._note({"note": "closed", "channel": channel, "reason": reason})

    def frames(self, channel: int, frames: list[bytes], received_ns: int) -> Taken:
        """Record what one read brought, then let the state know it. After an error nothing more is taken in."""
        if self._error is not None:
            return _NOTHING
        try:
            self.recorder.frames(channel, received_ns, frames)
            taken = self.engine.frames(channel, frames, received_ns)
            self._want_books()
        except Exception as error:  # noqa: BLE001 - called from the event loop, which would only log it; run raises it
            self._fail(error)
            return _NOTHING
        self._publish()
        return taken

    def _want_books(self) -> None:
        """Have the snapshots read of books that are out of step."""
        wanted = self.engine.books.take_wanted()
        if self._books is not None:
            for key in wanted:
                self._books.start(key)

    def _publish(self) -> None:
        if self.server is not None and self.server.has_subscribers:
            self.server.publish(self.board.names(self.engine.take_changed()))

    def _note(self, note: dict[str, Any]) -> None:
        if self._error is not None:
            return
        received_ns = self.now_ns()
        try:
            self.recorder.note(received_ns, note)
        except CarryError as error:
            self._fail(error)
            return
        self.engine.note(note)
        self._publish()  # a lost connection makes stale what it told

    def _settled(self, event: FundingSettled) -> None:
        self._note(settled_note(event))

    def _book_read(self, event: BookSnapshot) -> None:
        self._note(book_note(event, self.now_ns()))

    # --- what is done on time -----------------------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._options.times.tick_seconds)
            now_ms = self._clock.wall_ms()
            if self.rows is not None:
                await self._write_rows(self.rows, now_ms)
            for change in self.engine.take_interval_changes():
                log.warning("%s: %s", instrument(*change.key), interval_words(change))
                self._note(interval_note(change))
            self._read_back(self.engine.watch)
            self._warn_of_clocks()
            self._publish_ageing()

    def _read_back(self, watch: SettlementWatch) -> None:
        """Have the rates of settlements read back that passed, or were missed, or could not be read before."""
        due, unsure, heard = watch.take_due(self.venue_ms), watch.take_unsure(), self.engine.take_heard()
        if self._settlements is None:
            return
        for key, settlement_ms in due:
            self._settlements.start(key, settlement_ms)
        for key, settlement_ms in unsure:
            self._settlements.start(key, settlement_ms, is_sure=False)
        for key in heard:  # the network may have been down when they were asked for
            if (passed_ms := watch.passed(key)) is not None:
                self._settlements.start(key, passed_ms)

    def _publish_ageing(self) -> None:
        """Streaming clients hear of what became stale, or fresh again, because time went by and nothing came."""
        if self.server is not None and self.server.has_subscribers:
            now_ns = self.now_ns()
            stale = {("fields", name) for name in self.board.stale(now_ns)}
            stale |= {("book", name) for name in self.board.stale_books(now_ns)}
            self.server.publish({name for _, name in stale ^ self._known_stale})
            self._known_stale = stale

    async def _write_rows(self, rows: RowWriter, now_ms: int) -> None:
        """Write what is due, a few at a time, so that hundreds of instruments do not hold up the sockets."""
        now_ns = self.now_ns()
        for at, (name, key) in enumerate(list(self.board.instruments().items())):
            if at % _ROWS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if rows.is_due(name, now_ms) and (values := self.board.row(key, now_ns)) is not None:
                rows.write(name, now_ms, values)

    def _warn_of_clocks(self) -> None:
        """Once per venue: its stamps and our clock are further apart than any network is slow."""
        for venue, delay in self.engine.delays.items():
            if abs(delay.least_ms) > self._options.times.skew_seconds * 1000.0 and venue not in self._warned_of_clock:
                self._warned_of_clock.add(venue)
                side = "ahead of" if delay.least_ms > 0.0 else "behind"
                log.warning("our clock is %.1f s %s %s's: set it (NTP)", abs(delay.least_ms) / 1000.0, side, venue)

    async def _sync(self) -> None:
        while True:
            await asyncio.sleep(self._options.recorder.sync_seconds)
            if (sync := self.recorder.start_sync()) is not None:
                await asyncio.to_thread(sync)

    def _prelude(self) -> list[dict[str, Any]]:
        """Notes at the start of a segment: of the first that a run begins, of the others what is open and held."""
        if not self._has_begun:
            self._has_begun = True
            return [start_note(), self._known]
        return self.engine.prelude()


def _supervisors(plans: Sequence[FeedPlan], options: FeedOptions, feed: Feed) -> list[Supervisor]:
    """One per route; the routes of a venue share its limit on connection attempts."""
    supervisors = []
    for plan in plans:
        venue = plan.protocol.limits
        limit = AttemptLimit(venue.connects, venue.connects_window_seconds)
        supervisors += [
            Supervisor(route, plan.protocol, options.times, feed, limit, options.seed, options.proxy)
            for route in plan.routes
        ]
    return supervisors
