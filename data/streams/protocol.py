"""A venue's WebSocket rules without a socket: what to dial, what to send, how long to wait, what a frame means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from data.streams.events import Event

Frame = bytes | str


class Channel(StrEnum):
    """What may be subscribed to. A venue that lacks one refuses it by name."""

    PERP = "perp"  # mark, index, predicted funding, next settlement
    TOP = "top"
    TRADES = "trades"
    BOOK = "book"
    FORCED_ORDERS = "forced-orders"
    ADL = "adl"
    INSURANCE = "insurance"
    CONTRACTS = "contracts"


@dataclass(frozen=True, slots=True)
class Subscription:
    """One channel for some symbols. ``symbols`` empty: all of the venue, where it has such a stream, else refused.

    ``symbols`` are coins (``USDT``) for ADL and INSURANCE. ``kind`` is spot, linear or inverse.
    """

    kind: str
    channel: Channel
    symbols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeartbeatRule:
    """Who keeps the connection alive.

    ``client_frame``: text that the client sends every ``client_interval_seconds`` (None: protocol pings only). A
    ``Heartbeat`` event with a ``reply`` is to be answered with it at once. ``protocol_ping_seconds``: interval and time
    limit of the WebSocket pings that find a half-open socket.
    """

    client_frame: str | None
    client_interval_seconds: float
    protocol_ping_seconds: float


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What the venue allows; numbers with their source stand beside each venue's constants."""

    streams_per_connection: int
    streams_per_frame: int
    characters_per_connection: int | None
    client_messages_per_second: float
    connects: int
    connects_window_seconds: float
    lifetime_seconds: float | None  # the venue cuts the connection after this long


@dataclass(frozen=True, slots=True)
class Route:
    """One connection. ``name`` is unique among the routes of one call and safe to log; ``url`` is scheme and host.

    ``silence_seconds``: without any data frame for so long the route counts as dead (None: its streams may be quiet for
    any time). ``first_message_seconds``: the same, from the subscription to the first data frame.
    ``acknowledgements``: request ids whose ``Acknowledged`` has to come.
    """

    venue: str
    name: str
    kind: str
    url: str
    path: str
    streams: tuple[str, ...]
    subscribe_frames: tuple[str, ...]
    acknowledgements: frozenset[str]
    silence_seconds: float | None
    first_message_seconds: float | None

    @property
    def address(self) -> str:
        """What to dial."""
        return self.url + self.path


class VenueProtocol(Protocol):
    """A venue's adapter. It keeps nothing between calls, so one may serve many connections."""

    venue: str
    heartbeat: HeartbeatRule
    limits: ConnectionLimits

    def routes(self, subscriptions: Sequence[Subscription]) -> list[Route]:
        """Connections for these subscriptions within the venue's limits; ``UsageError`` for what it does not have."""
        ...

    def parse(self, route: Route, frame: Frame) -> Sequence[Event]:
        """Events of one frame, at least one; ``FrameError`` for anything that can't be read."""
        ...
