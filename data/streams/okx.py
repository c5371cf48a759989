"""OKX v5 public streams: marks, indices and funding of swaps, top of book, trades. Rules: docs/specs/streams.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from crypto.errors import UsageError
from data.streams.events import Event
from data.streams.frames import DECODING_ERRORS, as_bytes, chunks, fail, fitting, named_symbols, not_offered
from data.streams.okx_parse import acknowledgement, index_of, kind_of, parse_frame
from data.streams.protocol import Channel, ConnectionLimits, Frame, HeartbeatRule, Route, Subscription

VENUE: Final = "okx"
URL: Final = "wss://ws.okx.com:8443"  # venues.md 3.3
PATH: Final = "/ws/v5/public"

# OKX API guide: 3 connects a second and IP, 480 subscription requests an hour and connection, 64 KB for all
# channels of a request. Requests of 50 args keep 480 out of reach; 1,000 streams a connection is our choice.
LIMITS: Final = ConnectionLimits(
    streams_per_connection=1000,
    streams_per_frame=50,
    characters_per_connection=None,
    client_messages_per_second=3.0,
    connects=3,
    connects_window_seconds=1.0,
    lifetime_seconds=None,
)
FRAME_CHARACTERS: Final = 60_000
# The venue closes a connection over which nothing went for 30 s; "ping" is answered with "pong": venues.md 3.3.
HEARTBEAT: Final = HeartbeatRule(client_frame="ping", client_interval_seconds=20.0, protocol_ping_seconds=20.0)

MARK_SILENCE_SECONDS: Final = 15.0  # mark-price is pushed at least every 10 s (OKX API guide)
QUOTE_SILENCE_SECONDS: Final = 60.0  # our choice
FIRST_MESSAGE_SECONDS: Final = 5.0  # venues.md 5.4

_SILENCE: Final = {Channel.PERP: MARK_SILENCE_SECONDS, Channel.TOP: QUOTE_SILENCE_SECONDS,
                   Channel.TRADES: QUOTE_SILENCE_SECONDS}  # fmt: skip
_KINDS: Final = {
    Channel.PERP: ("linear", "inverse"),
    Channel.TOP: ("spot", "linear", "inverse"),
    Channel.TRADES: ("spot", "linear", "inverse"),
}


class Okx:
    """Adapter of OKX. The address may be replaced by a test server's."""

    venue = VENUE
    heartbeat = HEARTBEAT
    limits = LIMITS

    def __init__(self, url: str = URL) -> None:
        self._url = url

    def routes(self, subscriptions: Sequence[Subscription]) -> list[Route]:
        """Connections by kind; a perpetual takes three streams (mark, funding, index), an index is asked for once."""
        groups: dict[str, dict[tuple[str, str], float]] = {}
        for subscription in subscriptions:
            if subscription.kind not in _KINDS.get(subscription.channel, ()):
                raise not_offered(VENUE, subscription.kind, subscription.channel)
            streams = _streams(subscription)
            groups.setdefault(subscription.kind, {}).update(dict.fromkeys(streams, _SILENCE[subscription.channel]))
        return [
            self._route(kind, number, dict(piece))
            for kind, group in groups.items()
            for number, piece in enumerate(chunks(list(group.items()), LIMITS.streams_per_connection))
        ]

    def _route(self, kind: str, number: int, streams: dict[tuple[str, str], float]) -> Route:
        arguments = [_argument(channel, instrument) for channel, instrument in streams]
        requests = fitting(arguments, LIMITS.streams_per_frame, FRAME_CHARACTERS, overhead=1)
        names = tuple(acknowledgement(channel, instrument) for channel, instrument in streams)
        return Route(
            venue=VENUE,
            name=f"{kind}-public-{number}",
            kind=kind,
            url=self._url,
            path=PATH,
            streams=names,
            subscribe_frames=tuple(f'{{"op":"subscribe","args":[{",".join(piece)}]}}' for piece in requests),
            acknowledgements=frozenset(names),
            silence_seconds=min(streams.values()),
            first_message_seconds=FIRST_MESSAGE_SECONDS,
        )

    def parse(self, route: Route, frame: Frame) -> Sequence[Event]:
        """Events of one frame; ``FrameError`` for what can't be read."""
        try:
            return parse_frame(as_bytes(frame))
        except DECODING_ERRORS as error:
            fail(VENUE, route, frame, error)


def _streams(subscription: Subscription) -> list[tuple[str, str]]:
    symbols = named_symbols(VENUE, subscription)
    wrong = [symbol for symbol in symbols if kind_of(symbol) != subscription.kind]
    if wrong:
        raise UsageError(
            f"okx {wrong[0]!r} is no {subscription.kind} instrument",
            remedy="swaps are named BTC-USDT-SWAP (linear) or BTC-USD-SWAP (inverse), spot BTC-USDT",
        )
    if subscription.channel is Channel.TOP:
        return [("bbo-tbt", symbol) for symbol in symbols]
    if subscription.channel is Channel.TRADES:
        return [("trades", symbol) for symbol in symbols]
    return [
        stream
        for symbol in symbols
        for stream in (("mark-price", symbol), ("funding-rate", symbol), ("index-tickers", index_of(symbol)))
    ]


def _argument(channel: str, instrument: str) -> str:
    return msgspec.json.encode({"channel": channel, "instId": instrument}).decode()
