"""Running a recording again: to the state that the live feed ended with, or event by event."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from data.feed.engine import Engine
from data.feed.reading import RecordingReader
from data.feed.segment import Kind, Record
from data.streams.events import Event, FrameError, FundingSettled
from data.streams.protocol import Route, VenueProtocol


@dataclass(frozen=True, slots=True)
class Replayed:
    """A replay's outcome. Times in ns since 1970, 0 without records; ``torn_bytes``: not part of any record."""

    engine: Engine
    records: int
    segments: int
    first_ns: int
    last_ns: int
    torn_bytes: int


def replay(
    reader: RecordingReader, protocols: Mapping[str, VenueProtocol], on_segment: Callable[[], None] | None = None
) -> Replayed:
    """Run all records of ``reader``. The state is that of the live feed bit for bit. ``DataError`` names damage."""
    engine = Engine(protocols)
    records = first_ns = last_ns = 0
    for record in reader.read(on_segment):
        engine.record(record)
        records += 1
        first_ns = first_ns or record.received_ns
        last_ns = record.received_ns
    return Replayed(engine, records, len(reader.ends), first_ns, last_ns, reader.torn_bytes)


def recorded_events(
    reader: RecordingReader, protocols: Mapping[str, VenueProtocol], on_segment: Callable[[], None] | None = None
) -> Iterator[tuple[int, Event]]:
    """Every event of a recording with its time of receipt, unreadable frames left out; settled rates are among them."""
    routes: dict[int, Route] = {}
    for record in reader.read(on_segment):
        if record.kind is Kind.FRAMES:
            yield from _events(record, routes[record.channel], protocols)
            continue
        note: dict[str, Any] = record.note()
        if note["note"] == "channel":
            routes[int(note["channel"])] = msgspec.convert(note["route"], Route)
        elif note["note"] == "settled":
            yield record.received_ns, msgspec.convert(note["event"], FundingSettled)


def _events(record: Record, route: Route, protocols: Mapping[str, VenueProtocol]) -> Iterator[tuple[int, Event]]:
    for frame in record.frames():
        try:
            events = protocols[route.venue].parse(route, frame)
        except FrameError:
            continue  # counted by the feed and by a replay; an export has no use for it
        for event in events:
            yield record.received_ns, event
