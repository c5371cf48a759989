"""Bybit v5 public streams: linear, inverse and spot. Formats and rules: docs/specs/streams.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from data.streams.bybit_parse import parse_frame
from data.streams.events import Event
from data.streams.frames import DECODING_ERRORS, as_bytes, chunks, fail, fitting, named_symbols, not_offered
from data.streams.protocol import Channel, ConnectionLimits, Frame, HeartbeatRule, Route, Subscription

VENUE: Final = "bybit"
URL: Final = "wss://stream.bybit.com"  # venues.md 3.2

# venues.md 3.2: 21,000 characters of args per connection; spot 10 args per request, futures unlimited, 200 per frame in
# practice; one bad topic fails its whole request, so requests stay small; 500 connects in 5 minutes. No documented cut
# and no documented message rate: 10 a second is our choice.
LIMITS: Final = ConnectionLimits(
    streams_per_connection=1000,
    streams_per_frame=100,
    characters_per_connection=21_000,
    client_messages_per_second=10.0,
    connects=500,
    connects_window_seconds=300.0,
    lifetime_seconds=None,
)
SPOT_STREAMS_PER_FRAME: Final = 10
# venues.md 3.2: {"op":"ping"} every 20 s; protocol pings are not documented as a substitute.
HEARTBEAT: Final = HeartbeatRule(client_frame='{"op":"ping"}', client_interval_seconds=20.0, protocol_ping_seconds=20.0)

TICKER_SILENCE_SECONDS: Final = 10.0  # venues.md 5.4
TOP_SILENCE_SECONDS: Final = 10.0  # orderbook.1 is sent again after 3 s of silence: venues.md 3.2
TRADE_SILENCE_SECONDS: Final = 60.0  # our choice
ADL_SILENCE_SECONDS: Final = 10.0  # every second: venues.md 3.2
FIRST_MESSAGE_SECONDS: Final = 5.0  # venues.md 5.4
BOOK_DEPTH: Final = 50

# Prefix of a channel's topics and its longest silence, by kind.
_Topic = tuple[str, float | None]
_DERIVATIVES: Final[dict[Channel, _Topic]] = {
    Channel.PERP: ("tickers.", TICKER_SILENCE_SECONDS),
    Channel.TOP: ("orderbook.1.", TOP_SILENCE_SECONDS),
    Channel.TRADES: ("publicTrade.", TRADE_SILENCE_SECONDS),
    Channel.BOOK: (f"orderbook.{BOOK_DEPTH}.", TRADE_SILENCE_SECONDS),
    Channel.FORCED_ORDERS: ("allLiquidation.", None),
    Channel.ADL: ("adlAlert.", ADL_SILENCE_SECONDS),
    Channel.INSURANCE: ("insurance.", None),
}
_TOPICS: Final[dict[str, dict[Channel, _Topic]]] = {
    "linear": _DERIVATIVES,
    "inverse": _DERIVATIVES,
    "spot": {channel: _DERIVATIVES[channel] for channel in (Channel.TOP, Channel.TRADES, Channel.BOOK)},
}


class Bybit:
    """Adapter of Bybit. The address may be replaced by a test server's."""

    venue = VENUE
    heartbeat = HEARTBEAT
    limits = LIMITS

    def __init__(self, url: str = URL) -> None:
        self._url = url

    def routes(self, subscriptions: Sequence[Subscription]) -> list[Route]:
        """A path per kind, and within it connections whose args stay under 21,000 characters."""
        groups: dict[str, dict[str, float | None]] = {}
        for subscription in subscriptions:
            topics = _TOPICS.get(subscription.kind, {})
            if subscription.channel not in topics:
                raise not_offered(VENUE, subscription.kind, subscription.channel)
            prefix, silence = topics[subscription.channel]
            names = [prefix + symbol for symbol in named_symbols(VENUE, subscription)]
            groups.setdefault(subscription.kind, {}).update(dict.fromkeys(names, silence))
        # Of a topic as it is sent: quotes and comma.
        most = LIMITS.streams_per_connection
        characters = LIMITS.characters_per_connection or 0
        return [
            self._route(kind, number, {topic: group[topic] for topic in piece})
            for kind, group in groups.items()
            for number, piece in enumerate(fitting(list(group), most, characters, overhead=3))
        ]

    def _route(self, kind: str, number: int, topics: dict[str, float | None]) -> Route:
        most = SPOT_STREAMS_PER_FRAME if kind == "spot" else LIMITS.streams_per_frame
        requests = {f"{kind}-{number}-{at}": piece for at, piece in enumerate(chunks(tuple(topics), most))}
        silences = [silence for silence in topics.values() if silence is not None]
        return Route(
            venue=VENUE,
            name=f"{kind}-public-{number}",
            kind=kind,
            url=self._url,
            path=f"/v5/public/{kind}",
            streams=tuple(topics),
            subscribe_frames=tuple(_subscribe_frame(request_id, piece) for request_id, piece in requests.items()),
            acknowledgements=frozenset(requests),
            silence_seconds=min(silences, default=None),
            first_message_seconds=FIRST_MESSAGE_SECONDS if silences else None,
        )

    def parse(self, route: Route, frame: Frame) -> Sequence[Event]:
        """Events of one frame; ``FrameError`` for what can't be read."""
        try:
            return parse_frame(route.kind, as_bytes(frame))
        except DECODING_ERRORS as error:
            fail(VENUE, route, frame, error)


def _subscribe_frame(request_id: str, topics: Sequence[str]) -> str:
    return msgspec.json.encode({"op": "subscribe", "req_id": request_id, "args": list(topics)}).decode()
