"""What a feed knows, made of records alone: a live feed and a replay run this same code on the same records.

So a replay ends with the state of the live feed bit for bit. Nothing here reads a clock, a socket or a file.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from crypto.errors import DataError
from data.feed.segment import Kind, Record
from data.feed.session import Answer, Taken
from data.feed.settlements import IntervalChange, SettlementWatch
from data.streams.events import Acknowledged, Event, FrameError, FundingSettled, Heartbeat, Ignored, PerpUpdate
from data.streams.protocol import Route, VenueProtocol
from data.streams.state import MarketState

log = logging.getLogger(__name__)


@dataclass(slots=True)
class ChannelState:
    """One connection: its route and what came of it. ``reason``: why it ended."""

    route: Route
    protocol: VenueProtocol
    is_open: bool = False
    is_over: bool = False
    frames: int = 0
    garbage: int = 0
    last_ns: int = 0
    reason: str = ""


@dataclass(slots=True)
class Counts:
    """Totals since the start of the run."""

    frames: int = 0
    frame_bytes: int = 0
    events: int = 0
    garbage: int = 0
    refused_subscriptions: int = 0


def channel_note(channel: int, route: Route) -> dict[str, Any]:
    """A connection is dialled."""
    held: dict[str, Any] = msgspec.to_builtins(route)
    return {"note": "channel", "channel": channel, "route": held}


def settled_note(event: FundingSettled) -> dict[str, Any]:
    """A settled rate was read back."""
    return {"note": "settled", "event": msgspec.to_builtins(event)}


def interval_note(change: IntervalChange) -> dict[str, Any]:
    """A contract's settlements changed; derived from frames, so a replay finds it again by itself."""
    return {"note": "interval", **dataclasses.asdict(change)}
