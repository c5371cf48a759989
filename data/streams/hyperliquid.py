"""Hyperliquid streams: contexts of perpetuals (mark, oracle, hourly funding), top of book, trades.

Contexts carry no time and no number, so their order is that of arrival. Rules: docs/specs/streams.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from data.streams.events import Acknowledged, BookSnapshot, Event, Heartbeat, PerpUpdate, TopOfBook, Trade
from data.streams.frames import (
    DECODING_ERRORS,
    Milliseconds,
    Number,
    Price,
    SequenceId,
    Symbol,
    UnreadableError,
    as_bytes,
    chunks,
    fail,
    ignored,
    named_symbols,
    not_offered,
    word,
)
from data.streams.normalise import aggressor
from data.streams.protocol import Channel, ConnectionLimits, Frame, HeartbeatRule, Route, Subscription

VENUE: Final = "hyperliquid"
URL: Final = "wss://api.hyperliquid.xyz"  # venues.md 3.3
PATH: Final = "/ws"
FUNDING_INTERVAL_HOURS: Final = 1.0  # the rate is per hour and paid every hour: venues.md 2.5

# Hyperliquid docs, "Rate limits and user limits": 1,000 subscriptions, 2,000 messages a minute and 30 new connections a
# minute, each per IP.
LIMITS: Final = ConnectionLimits(
    streams_per_connection=1000,
    streams_per_frame=1,
    characters_per_connection=None,
    client_messages_per_second=30.0,
    connects=30,
    connects_window_seconds=60.0,
    lifetime_seconds=None,
)
# The venue closes a connection to which it sent nothing for 60 s: venues.md 3.3.
HEARTBEAT: Final = HeartbeatRule(
    client_frame='{"method":"ping"}', client_interval_seconds=20.0, protocol_ping_seconds=20.0
)
SILENCE_SECONDS: Final = 15.0  # our choice: contexts follow the oracle, which is set every 3 s (venues.md 7.1)
QUOTE_SILENCE_SECONDS: Final = 60.0  # our choice
FIRST_MESSAGE_SECONDS: Final = 5.0  # venues.md 5.4
GREETING: Final = b"Websocket connection established."

_TYPES: Final = {
    Channel.PERP: ("activeAssetCtx", SILENCE_SECONDS),
    Channel.TOP: ("bbo", QUOTE_SILENCE_SECONDS),
    Channel.TRADES: ("trades", QUOTE_SILENCE_SECONDS),
    Channel.BOOK: ("l2Book", QUOTE_SILENCE_SECONDS),
}
T = TypeVar("T")


class Message(msgspec.Struct, Generic[T]):
    """The envelope."""

    channel: str
    data: T


class Context(msgspec.Struct, gc=False):
    """State of one perpetual; spot pairs have no oracle and no funding."""

    markPx: Price
    oraclePx: Price | None = None
    funding: Number | None = None


class AssetContext(msgspec.Struct, gc=False):
    """``activeAssetCtx``."""

    coin: Symbol
    ctx: Context


class Level(msgspec.Struct, gc=False):
    """Price, size and number of orders."""

    px: Price
    sz: Price


class Best(msgspec.Struct):
    """``bbo``: bid and ask, null for an empty side."""

    coin: Symbol
    time: Milliseconds
    bbo: tuple[Level | None, Level | None]


class Book(msgspec.Struct):
    """``l2Book``: whole every time."""

    coin: Symbol
    levels: tuple[list[Level], list[Level]]
    time: Milliseconds


class TradeRow(msgspec.Struct, gc=False):
    """``trades``: side of the taker, B or A."""

    coin: Symbol
    side: Literal["A", "B"]
    px: Price
    sz: Price
    time: Milliseconds
    tid: SequenceId


class Subscribed(msgspec.Struct):
    """What was subscribed."""

    type: str = ""
    coin: str = ""


class Answer(msgspec.Struct):
    """``subscriptionResponse``."""

    subscription: Subscribed
    method: str = ""


class Peek(msgspec.Struct):
    """Only what tells messages apart."""

    channel: str | None = None
    method: str | None = None


class Hyperliquid:
    """Adapter of Hyperliquid. The address may be replaced by a test server's."""

    venue = VENUE
    heartbeat = HEARTBEAT
    limits = LIMITS

    def __init__(self, url: str = URL) -> None:
        self._url = url

    def routes(self, subscriptions: Sequence[Subscription]) -> list[Route]:
        """Connections of at most 1,000 streams, one request each."""
        streams: dict[tuple[str, str], float] = {}
        for subscription in subscriptions:
            if subscription.kind != "linear" or subscription.channel not in _TYPES:
                raise not_offered(VENUE, subscription.kind, subscription.channel)
            name, silence = _TYPES[subscription.channel]
            streams.update({(name, coin): silence for coin in named_symbols(VENUE, subscription)})
        pieces = chunks(list(streams.items()), LIMITS.streams_per_connection)
        return [self._route(number, dict(piece)) for number, piece in enumerate(pieces)]

    def _route(self, number: int, streams: dict[tuple[str, str], float]) -> Route:
        names = tuple(f"{name}:{coin}" for name, coin in streams)
        requests = [{"method": "subscribe", "subscription": {"type": name, "coin": coin}} for name, coin in streams]
        return Route(
            venue=VENUE,
            name=f"linear-public-{number}",
            kind="linear",
            url=self._url,
            path=PATH,
            streams=names,
            subscribe_frames=tuple(msgspec.json.encode(request).decode() for request in requests),
            acknowledgements=frozenset(names),
            silence_seconds=min(streams.values()),
            first_message_seconds=FIRST_MESSAGE_SECONDS,
        )

    def parse(self, route: Route, frame: Frame) -> Sequence[Event]:
        """Events of one frame; ``FrameError`` for what can't be read."""
        try:
            return _parse(as_bytes(frame))
        except DECODING_ERRORS as error:
            fail(VENUE, route, frame, error)


def _context(data: AssetContext) -> Sequence[Event]:
    return (
        PerpUpdate(
            venue=VENUE, kind="linear", symbol=data.coin, event_ms=None, mark=data.ctx.markPx, index=data.ctx.oraclePx,
            funding_rate=data.ctx.funding,
            interval_hours=None if data.ctx.funding is None else FUNDING_INTERVAL_HOURS,
        ),
    )  # fmt: skip


def _best(data: Best) -> Sequence[Event]:
    bid, ask = data.bbo
    return (
        TopOfBook(
            venue=VENUE, kind="linear", symbol=data.coin, event_ms=data.time,
            bid=bid.px if bid else None, bid_quantity=bid.sz if bid else None,
            ask=ask.px if ask else None, ask_quantity=ask.sz if ask else None,
        ),
    )  # fmt: skip


def _book(data: Book) -> Sequence[Event]:
    bids, asks = (tuple((level.px, level.sz) for level in side) for side in data.levels)
    # Books carry no number: their stamp grows with every one.
    return (
        BookSnapshot(
            venue=VENUE, kind="linear", symbol=data.coin, event_ms=data.time, sequence=data.time, bids=bids, asks=asks
        ),
    )  # fmt: skip


def _trades(rows: list[TradeRow]) -> Sequence[Event]:
    events = [
        Trade(
            venue=VENUE, kind="linear", symbol=row.coin, event_ms=row.time, trade_id=str(row.tid), price=row.px,
            quantity=row.sz, aggressor=aggressor(VENUE, row.side),
        )
        for row in rows
    ]  # fmt: skip
    return events or ignored(VENUE, "no trades in the message")


def _answer(data: Answer) -> Sequence[Event]:
    asked = data.subscription
    return (Acknowledged(venue=VENUE, ok=True, request_id=f"{asked.type}:{asked.coin}"),)


def _refused(text: str) -> Sequence[Event]:
    return (Acknowledged(venue=VENUE, ok=False, message=text[:200]),)


def _decoder(of: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(Message[of], strict=False)


_CHANNELS: Final[dict[str, tuple[msgspec.json.Decoder[Any], Callable[[Any], Sequence[Event]]]]] = {
    "activeAssetCtx": (_decoder(AssetContext), _context),
    "bbo": (_decoder(Best), _best),
    "l2Book": (_decoder(Book), _book),
    "trades": (_decoder(list[TradeRow]), _trades),
    "subscriptionResponse": (_decoder(Answer), _answer),
    "error": (_decoder(str), _refused),
}
_IGNORED: Final = {
    "allMids": "mids are neither marks nor quotes",
    "allDexsAssetCtxs": "contexts without names: subscribe to activeAssetCtx",
    "activeSpotAssetCtx": "spot contexts have no funding",
    "user": "private: user",
    "userFills": "private: userFills",
    "userFundings": "private: userFundings",
    "orderUpdates": "private: orderUpdates",
    "candle": "not used: candle",
    "notification": "private: notification",
}
_PEEK: Final = msgspec.json.Decoder(Peek)


def _parse(content: bytes) -> Sequence[Event]:
    if content == GREETING:
        return ignored(VENUE, "the greeting")
    peek = _PEEK.decode(content)
    channel = peek.channel
    if channel is None:
        if peek.method is not None:
            return ignored(VENUE, "a request, not an answer")
        raise UnreadableError("no channel")
    if channel == "pong":
        return (Heartbeat(venue=VENUE),)
    if channel in _CHANNELS:
        decoder, convert = _CHANNELS[channel]
        return convert(decoder.decode(content).data)
    return ignored(VENUE, _IGNORED.get(channel) or f"unknown channel {word(channel, 'the channel')}")
