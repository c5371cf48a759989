"""Binance: USD-M futures (``/market`` and ``/public``) and spot market streams. Rules: docs/specs/streams.md.

One connection carries streams of one route only: since 2026-03-06 ``/public`` gives books and trades, ``/market``
marks, liquidations and contract notices, and a stream asked of the wrong route stays silent without an error.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from crypto.errors import UsageError
from data.streams.binance_parse import Parser, parse_combined, parse_depth_snapshot, parse_unwrapped, parser_of
from data.streams.events import Event
from data.streams.frames import DECODING_ERRORS, chunks, fail, not_offered
from data.streams.protocol import Channel, ConnectionLimits, Frame, HeartbeatRule, Route, Subscription

__all__ = ["Binance", "parse_depth_snapshot"]

VENUE: Final = "binance"
FUTURES_URL: Final = "wss://fstream.binance.com"  # venues.md 3.1
SPOT_URL: Final = "wss://stream.binance.com:9443"  # venues.md 3.1

# venues.md 3.1: 1024 streams documented, 200 in practice; 10 client messages a second documented, 1 in 300 ms in
# practice because 1008 "Too many requests" was seen at 5; 300 connects in 5 minutes and IP; cut after 24 hours.
LIMITS: Final = ConnectionLimits(
    streams_per_connection=200,
    streams_per_frame=50,
    characters_per_connection=None,
    client_messages_per_second=3.0,
    connects=300,
    connects_window_seconds=300.0,
    lifetime_seconds=86_400.0,
)
# The server pings (futures every 3 minutes, spot every 20 s) and the WebSocket library answers; our own pings find a
# half-open socket within twice the interval. venues.md 3.1, 5.
HEARTBEAT: Final = HeartbeatRule(client_frame=None, client_interval_seconds=20.0, protocol_ping_seconds=20.0)

MARK_SILENCE_SECONDS: Final = 3.0  # markPrice@1s comes every second; venues.md 5.4
QUOTE_SILENCE_SECONDS: Final = 60.0  # our choice: a book that is quiet for a minute is not fit to trade on
FIRST_MESSAGE_SECONDS: Final = 5.0  # venues.md 5.4

# Stream of a channel: route, name for one symbol, name for all (empty: there is none), longest silence.
_Stream = tuple[str, str, str, float | None]
_LINEAR: Final[dict[Channel, _Stream]] = {
    Channel.PERP: ("market", "@markPrice@1s", "!markPrice@arr@1s", MARK_SILENCE_SECONDS),
    Channel.FORCED_ORDERS: ("market", "@forceOrder", "!forceOrder@arr", None),
    Channel.CONTRACTS: ("market", "", "!contractInfo", None),
    Channel.TOP: ("public", "@bookTicker", "!bookTicker", QUOTE_SILENCE_SECONDS),
    Channel.TRADES: ("public", "@trade", "", QUOTE_SILENCE_SECONDS),
    Channel.BOOK: ("public", "@depth@100ms", "", QUOTE_SILENCE_SECONDS),
}
_SPOT: Final[dict[Channel, _Stream]] = {
    Channel.TOP: ("", "@bookTicker", "", QUOTE_SILENCE_SECONDS),
    Channel.TRADES: ("", "@trade", "", QUOTE_SILENCE_SECONDS),
    Channel.BOOK: ("", "@depth@100ms", "", QUOTE_SILENCE_SECONDS),
}
_CHANNELS: Final = {"linear": _LINEAR, "spot": _SPOT}


class Binance:
    """Adapter of Binance. The addresses may be replaced by test servers'."""

    venue = VENUE
    heartbeat = HEARTBEAT
    limits = LIMITS

    def __init__(self, futures_url: str = FUTURES_URL, spot_url: str = SPOT_URL) -> None:
        self._urls = {"linear": futures_url, "spot": spot_url}

    def routes(self, subscriptions: Sequence[Subscription]) -> list[Route]:
        """Connections of at most 200 streams, each on one route: the first 50 in the address, the rest subscribed."""
        groups: dict[tuple[str, str], dict[str, float | None]] = {}
        for subscription in subscriptions:
            side, streams, silence = _streams(subscription)
            group = groups.setdefault((subscription.kind, side), {})
            group.update(dict.fromkeys(streams, silence))
        return [
            self._route(kind, side, number, dict(piece))
            for (kind, side), group in groups.items()
            for number, piece in enumerate(chunks(list(group.items()), LIMITS.streams_per_connection))
        ]

    def _route(self, kind: str, side: str, number: int, streams: dict[str, float | None]) -> Route:
        names = tuple(streams)
        in_address, rest = names[: LIMITS.streams_per_frame], names[LIMITS.streams_per_frame :]
        pieces = list(chunks(rest, LIMITS.streams_per_frame))
        silences = [silence for silence in streams.values() if silence is not None]
        prefix = f"/{side}" if side else ""
        return Route(
            venue=VENUE,
            name=f"{kind}-{side or 'stream'}-{number}",
            kind=kind,
            url=self._urls[kind],
            path=f"{prefix}/stream?streams={quote('/'.join(in_address), safe='!@/')}",
            streams=names,
            subscribe_frames=tuple(_subscribe_frame(piece, at) for at, piece in enumerate(pieces, start=1)),
            acknowledgements=frozenset(str(at) for at in range(1, len(pieces) + 1)),
            silence_seconds=min(silences, default=None),
            first_message_seconds=_first_message(silences),
        )

    def parse(self, route: Route, frame: Frame) -> Sequence[Event]:
        """Events of one frame, combined (``stream`` and ``data``) or raw; ``FrameError`` for what can't be read."""
        try:
            content = frame if isinstance(frame, bytes) else frame.encode()
            kind = route.kind
            if kind == "linear" and (events := parse_combined(content)) is not None:
                return events
            prefix = content[: content.find(b'"', _START, _LONGEST_NAME)]
            parser = _KNOWN[kind].get(prefix) or _parser(kind, prefix)
            return parser(kind, content)
        except DECODING_ERRORS as error:
            fail(VENUE, route, frame, error)


# The venue writes the stream's name first: it says what a frame holds before anything is decoded.
_PREFIX: Final = b'{"stream":"'
_START: Final = len(_PREFIX)
_MOST_KNOWN: Final = 16_384
_LONGEST_NAME: Final = 200
_KNOWN: Final[defaultdict[str, dict[bytes, Parser]]] = defaultdict(dict)


def _parser(kind: str, prefix: bytes) -> Parser:
    """Parser of frames that begin with ``prefix``, remembered for the next one."""
    parser = parser_of(kind, prefix[_START:] if prefix.startswith(_PREFIX) else b"")
    if parser is not parse_unwrapped and len(prefix) < _LONGEST_NAME and len(_KNOWN[kind]) < _MOST_KNOWN:
        _KNOWN[kind][prefix] = parser
    return parser


def _streams(subscription: Subscription) -> tuple[str, list[str], float | None]:
    channels = _CHANNELS.get(subscription.kind, {})
    if subscription.channel not in channels:
        raise not_offered(VENUE, subscription.kind, subscription.channel)
    side, one, for_all, silence = channels[subscription.channel]
    if not subscription.symbols or not one:
        if not for_all:
            raise UsageError(
                f"binance has no {subscription.channel} stream for all {subscription.kind} symbols",
                remedy="name the symbols",
            )
        return side, [for_all], silence
    return side, [symbol.lower() + one for symbol in subscription.symbols], silence


def _first_message(silences: list[float]) -> float | None:
    if not silences:
        return None
    return max(FIRST_MESSAGE_SECONDS, min(silences))


def _subscribe_frame(streams: Sequence[str], request_id: int) -> str:
    return msgspec.json.encode({"method": "SUBSCRIBE", "params": list(streams), "id": request_id}).decode()
