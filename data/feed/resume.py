"""What a new run of a feed has to know of the runs before it: the last settled rate of each contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from data.feed import checkpoint
from data.feed.notes import KNOWN
from data.feed.recorder import segment_paths
from data.feed.segment import Kind, Record, SegmentReader
from data.streams.events import FrameError, FundingSettled
from data.streams.perps import Key
from data.streams.protocol import Route, VenueProtocol

# Of the others settled rates are notes; these venues state them in their streams, among frames of other things.
_MARKS_OF_STREAMS: Final[Mapping[str, bytes]] = {"okx": b"settFundingRate"}


def last_settled(folder: Path, protocols: Mapping[str, VenueProtocol]) -> list[FundingSettled]:
    """The newest settled rate of each contract that the recording in ``folder`` knows of; none where there is none.

    Every segment begins with what was known before it, so the newest one that holds anything is read, and no other.
    """
    for path in reversed(segment_paths(folder)):
        with path.open("rb") as file:
            found, records = _last_of(SegmentReader(file, str(path)), protocols)
        if records:
            return found
    return []


def _last_of(records: Iterable[Record], protocols: Mapping[str, VenueProtocol]) -> tuple[list[FundingSettled], int]:
    """The newest rate of each contract, and how many records there are."""
    newest: dict[Key, FundingSettled] = {}
    routes: dict[int, Route] = {}
    count = 0
    for record in records:
        count += 1
        if record.kind is Kind.FRAMES:
            events = _of_frames(record, routes.get(record.channel), protocols)
        else:
            note = record.note()
            if note["note"] == "channel":
                routes[int(note["channel"])] = msgspec.convert(note["route"], Route)
            events = _of_note(note)
        for event in events:
            key = (event.venue, event.kind, event.symbol)
            if key not in newest or event.settlement_ms >= newest[key].settlement_ms:
                newest[key] = event
    return list(newest.values()), count


def _of_note(note: Mapping[str, Any]) -> list[FundingSettled]:
    held: Any = []
    if note["note"] == "settled":
        held = [note["event"]]
    elif note["note"] == KNOWN:
        held = note["settled"]
    elif note["note"] == checkpoint.NOTE:
        held = note["state"]["settled"]
    return msgspec.convert(held, list[FundingSettled])


def _of_frames(record: Record, route: Route | None, protocols: Mapping[str, VenueProtocol]) -> list[FundingSettled]:
    mark = _MARKS_OF_STREAMS.get(route.venue) if route is not None else None
    if route is None or mark is None or route.venue not in protocols:
        return []
    found: list[FundingSettled] = []
    for frame in record.frames():
        if mark in frame:
            try:
                events = protocols[route.venue].parse(route, frame)
            except FrameError:
                continue  # counted when it came
            found += [event for event in events if isinstance(event, FundingSettled)]
    return found
