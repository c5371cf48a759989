"""What a feed knows, made of records alone: a live feed and a replay run this same code on the same records.

So a replay ends with the state of the live feed bit for bit. Nothing here reads a clock, a socket or a file.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from crypto.errors import DataError
from data.feed import checkpoint
from data.feed.delay import STAMPED, Delay
from data.feed.held import ChannelState, Held
from data.feed.notes import BOOK, KNOWN, channel_note
from data.feed.segment import Kind, Record
from data.feed.session import Answer, Taken
from data.feed.settlements import HOURLY, IntervalChange, next_hour_ms
from data.streams.events import (
    Acknowledged,
    BookDelta,
    BookSnapshot,
    Event,
    FrameError,
    FundingSettled,
    Heartbeat,
    Ignored,
    PerpUpdate,
    TopOfBook,
)
from data.streams.perps import Key
from data.streams.protocol import Route, VenueProtocol
from data.streams.verdict import Verdict

log = logging.getLogger(__name__)


_ABOUT_THE_CONNECTION = (Acknowledged, Heartbeat, Ignored)
_OF_THE_STATE = (PerpUpdate, TopOfBook)
_OF_BOOKS = (BookSnapshot, BookDelta)


class Engine(Held):
    """State, counts and channels. ``frames`` and ``note`` are the only ways in.

    ``protocols``: adapters by venue. ``settled``: the last rate read back of each instrument.
    """

    def __init__(self, protocols: Mapping[str, VenueProtocol]) -> None:
        self._protocols = protocols
        self._reset()

    def _reset(self) -> None:
        self.reset()
        self._changed: set[Key] = set()
        self._heard: set[Key] = set()
        self._interval_changes: list[IntervalChange] = []

    # --- ways in ------------------------------------------------------------------------------------------------------

    def record(self, record: Record) -> None:
        """Take in one record of a recording."""
        if record.kind is Kind.FRAMES:
            self.frames(record.channel, record.frames(), record.received_ns)
        else:
            self.note(record.note())

    def note(self, note: Mapping[str, Any]) -> None:
        """Take in a note; those that are only for people change nothing."""
        name = note["note"]
        if name == "start":
            self._reset()
        elif name == "channel":
            self._dialled(int(note["channel"]), msgspec.convert(note["route"], Route))
        elif name == "opened":
            self.channels[int(note["channel"])].is_open = True
        elif name == checkpoint.NOTE:
            checkpoint.restore(self, dict(note))
        elif name == "closed":
            self._closed(int(note["channel"]))
        elif name == "settled":
            self._changed.add(self._settle(msgspec.convert(note["event"], FundingSettled)))
            self.counts.settled_rates += 1
        elif name == BOOK:
            self._book_snapshot(msgspec.convert(note["event"], BookSnapshot), int(note["received_ns"]))
        elif name == KNOWN:
            for event in msgspec.convert(note["settled"], list[FundingSettled]):
                self.watch.know(self._settle(event), event.settlement_ms)

    def frames(self, channel: int, frames: Sequence[bytes], received_ns: int) -> Taken:
        """Take in what one read of a channel's socket brought."""
        source = self.channels.get(channel)
        if source is None:
            raise DataError(
                f"frames of channel {channel}, which the recording never opens",
                remedy="replay the whole folder, or a segment from its start",
            )
        counts, parse, route = self.counts, source.protocol.parse, source.route
        answers: list[Answer] = []
        data_frames = data_events = 0
        old_before = self.state.verdicts[Verdict.OUT_OF_ORDER]
        for frame in frames:
            try:
                events = parse(route, frame)
            except FrameError as error:
                self._garbage(source, error)
                continue
            counts.events += len(events)
            if self._take(source, events, answers, received_ns):
                data_frames += 1
                data_events += len(events)
        counts.frames += len(frames)
        counts.frame_bytes += sum(map(len, frames))
        source.frames += data_frames
        if data_frames:
            source.last_ns = received_ns
        only_old = 0 < data_events <= self.state.verdicts[Verdict.OUT_OF_ORDER] - old_before
        lacks_snapshot = bool(source.lacking or source.lacking_books)
        return Taken(data_frames, answers, lacks_snapshot, only_old, self.books.take_gaps())

    def take_changed(self) -> set[Key]:
        """Instruments that changed since the last call."""
        changed, self._changed = self._changed, set()
        return changed

    def take_heard(self) -> set[Key]:
        """Perpetuals of which a connection gave its first word since the last call."""
        heard, self._heard = self._heard, set()
        return heard

    def is_book_waiting(self, key: Key) -> bool:
        """Whether an open connection brings changes of the book, and it lacks the snapshot for them."""
        return not self.books.is_ready(key) and self._brings_book(key)

    def take_interval_changes(self) -> list[IntervalChange]:
        """Changes of settlement schedules since the last call."""
        changes, self._interval_changes = self._interval_changes, []
        return changes

    def prelude(self) -> list[dict[str, Any]]:
        """Notes from which a reader that begins here learns what the channels' numbers mean and all that is held."""
        notes: list[dict[str, Any]] = []
        for channel, source in self.channels.items():
            notes.append(channel_note(channel, source.route))
            if source.is_open:
                notes.append({"note": "opened", "channel": channel})
        return [*notes, checkpoint.checkpoint_note(self)]

    def fingerprint(self) -> str:
        """SHA-256 over every value, time of receipt and order number that is held; equal states have equal ones."""
        digest = hashlib.sha256()
        for key in sorted(self.keys):
            held: tuple[Any, ...] = (key, self.state.perp(key, 0), self.state.top(key, 0), self.settled.get(key))
            if (book := self.books.row(key)) is not None:
                held = (*held, book)
            digest.update(repr(held).encode())
        return digest.hexdigest()

    # --- inside -------------------------------------------------------------------------------------------------------

    def _take(self, source: ChannelState, events: Sequence[Event], answers: list[Answer], received_ns: int) -> bool:
        """Take in the events of one frame; whether there were market data among them."""
        if source.route.venue in HOURLY:
            events = [_with_next_hour(event, received_ns) for event in events]
        first = events[0]
        if isinstance(first, _ABOUT_THE_CONNECTION):
            self._answer(source, first, answers)
            # dYdX acknowledges a subscription in the message that holds the first state.
            return len(events) > 1 and self._take(source, events[1:], answers, received_ns)
        if len(events) == 1:
            verdict = self.state.apply(first, received_ns)
            if verdict is Verdict.APPLIED:
                self._applied(source, first, received_ns)
            elif verdict is None:
                self._other(source, first, received_ns)
            elif verdict.resync:
                self._lacks(source, first)
        else:
            self._take_many(source, events, received_ns)
        return True

    def _take_many(self, source: ChannelState, events: Sequence[Event], received_ns: int) -> None:
        refused = self.state.apply_all(events, received_ns)
        left_out = {id(event) for event, _ in refused}
        for event, verdict in refused:
            if verdict.resync:
                self._lacks(source, event)
        for event in events:
            if not isinstance(event, _OF_THE_STATE):
                self._other(source, event, received_ns)
            elif id(event) not in left_out:
                self._applied(source, event, received_ns)

    def _other(self, source: ChannelState, event: Event, received_ns: int) -> None:
        """Events that are no prices: settled rates and books are kept."""
        if isinstance(event, _OF_BOOKS):
            key = (event.venue, event.kind, event.symbol)
            source.books.add(key)
            self.keys.add(key)
            self._changed.add(key)
            self.books.take(event, source.lacking_books, received_ns)
        elif isinstance(event, FundingSettled):
            key = (event.venue, event.kind, event.symbol)
            self.counts.settled_rates += not self.settlements.has(
                key, event.settlement_ms
            )  # OKX states it all the time
            self._settle(event)
            self.keys.add(key)
            self._changed.add(key)

    def _settle(self, event: FundingSettled) -> Key:
        """A rate that was paid: the newest of each contract is what is shown."""
        key = (event.venue, event.kind, event.symbol)
        held = self.settled.get(key)
        if held is None or event.settlement_ms >= held.settlement_ms:
            self.settled[key] = event
        self.settlements.add(key, event.settlement_ms)
        return key

    def _book_snapshot(self, event: BookSnapshot, received_ns: int) -> None:
        """A snapshot over REST. Of use only while changes come: a book that nobody keeps up to date is none."""
        key = (event.venue, event.kind, event.symbol)
        if self._brings_book(key):
            self._changed.add(key)
            self.books.take_snapshot(event, received_ns)

    def _brings_book(self, key: Key) -> bool:
        return any(source.is_open and key in source.books for source in self.channels.values())

    def _applied(self, source: ChannelState, event: Any, received_ns: int) -> None:
        """What follows from an event that changed the state."""
        key = (event.venue, event.kind, event.symbol)
        self._changed.add(key)
        is_perp = isinstance(event, PerpUpdate)
        told = source.perps if is_perp else source.tops
        if key not in told:
            told.add(key)
            self.keys.add(key)
            if is_perp:
                self._heard.add(key)
        if source.lacking:
            source.lacking.discard(key)
        if event.event_ms is not None and event.venue in STAMPED:
            apart_ms = received_ns / 1e6 - event.event_ms
            delay = self.delays.get(event.venue)
            if delay is None:
                self.delays[event.venue] = Delay(apart_ms, apart_ms, received_ns)
            else:
                delay.measure(apart_ms, received_ns)
        if is_perp and event.next_settlement_ms:
            # The venue's own stamp where there is one: our clock may be minutes off.
            at_ms = received_ns // 1_000_000 if event.event_ms is None else event.event_ms
            change = self.watch.seen(key, event.next_settlement_ms, event.interval_hours, at_ms)
            if change is not None:
                self.counts.interval_changes += 1
                self._interval_changes.append(change)

    def _lacks(self, source: ChannelState, event: Any) -> None:
        key = (event.venue, event.kind, event.symbol)
        source.lacking.add(key)
        self.keys.add(key)

    def _answer(self, source: ChannelState, event: Acknowledged | Heartbeat | Ignored, answers: list[Answer]) -> None:
        if isinstance(event, Ignored):
            return
        answers.append(event)
        if isinstance(event, Acknowledged) and not event.ok:
            self.counts.refused_subscriptions += 1
            log.warning("%s %s refuses a subscription: %s", source.route.venue, source.route.name, event.message)

    def _garbage(self, source: ChannelState, error: FrameError) -> None:
        self.counts.garbage += 1
        source.garbage += 1
        if source.garbage & (source.garbage - 1) == 0:  # the 1st, 2nd, 4th, ...: a venue that sends nothing else
            log.warning("%s (unreadable so far on this connection: %d)", error.message, source.garbage)

    def _dialled(self, channel: int, route: Route) -> None:
        protocol = self._protocols.get(route.venue)
        if protocol is None:
            raise DataError(
                f"the recording has frames of venue {route.venue!r}, which is not known",
                remedy="replay it with the version that recorded it",
            )
        if channel not in self.channels:  # said again at the start of each segment
            self.channels[channel] = ChannelState(route, protocol)

    def _closed(self, channel: int) -> None:
        """Make stale all that this connection told of, or hand it to the connection that replaces it."""
        source = self.channels.pop(channel)
        if not any(other.is_open and other.route.venue == source.route.venue for other in self.channels.values()):
            self.delays.pop(source.route.venue, None)  # measured anew, should it have been wrong
        for other in self.channels.values():
            if other.is_open and (other.route.venue, other.route.name) == (source.route.venue, source.route.name):
                other.perps |= source.perps
                other.tops |= source.tops
                other.books |= source.books
                return
        # By table: another route may keep the other half of an instrument fresh.
        for (venue, kind), symbols in _by_kind(source.perps).items():
            self.state.perps.invalidate(venue, kind, symbols)
        for (venue, kind), symbols in _by_kind(source.tops).items():
            self.state.tops.invalidate(venue, kind, symbols)
        self.books.invalidate(source.books)
        self._changed |= source.perps | source.tops | source.books


def _with_next_hour(event: Event, received_ns: int) -> Event:
    """The event of a venue that pays at every full hour, with the next one by the time of receipt."""
    if not isinstance(event, PerpUpdate):
        return event
    return msgspec.structs.replace(event, next_settlement_ms=next_hour_ms(received_ns // 1_000_000))


def _by_kind(keys: Iterable[Key]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for venue, kind, symbol in keys:
        found.setdefault((venue, kind), []).append(symbol)
    return found
