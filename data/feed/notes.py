"""Notes of a recording: what happened to the feed itself, as the JSON objects that are recorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import msgspec

from data.feed.settlements import IntervalChange
from data.streams.events import BookSnapshot, FundingSettled
from data.streams.protocol import Route


def start_note() -> dict[str, Any]:
    """A feed was started: nothing is known yet."""
    return {"note": "start"}


def channel_note(channel: int, route: Route) -> dict[str, Any]:
    """A connection is dialled."""
    held: dict[str, Any] = msgspec.to_builtins(route)
    return {"note": "channel", "channel": channel, "route": held}


KNOWN = "known"
BOOK = "book"


def known_note(events: Iterable[FundingSettled]) -> dict[str, Any]:
    """The last settled rates of the runs before this one."""
    return {"note": KNOWN, "settled": msgspec.to_builtins(list(events))}


def settled_note(event: FundingSettled) -> dict[str, Any]:
    """A settled rate was read back."""
    return {"note": "settled", "event": msgspec.to_builtins(event)}


def book_note(event: BookSnapshot, received_ns: int) -> dict[str, Any]:
    """A snapshot of a book was read over REST."""
    return {"note": BOOK, "received_ns": received_ns, "event": msgspec.to_builtins(event)}


def interval_note(change: IntervalChange) -> dict[str, Any]:
    """A contract's settlements changed; derived from frames, so a replay finds it again by itself."""
    return {"note": "interval", **dataclasses.asdict(change)}
