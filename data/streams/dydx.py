"""dYdX v4 indexer stream ``v4_markets``: oracle prices and hourly funding of all markets.

The oracle price is what positions are valued and liquidated at, so it is mark and index. Rules: docs/specs/streams.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from data.streams.events import Acknowledged, ContractNotice, Event, Heartbeat, PerpUpdate
from data.streams.frames import (
    DECODING_ERRORS,
    Number,
    Price,
    Symbol,
    UnreadableError,
    as_bytes,
    fail,
    ignored,
    not_offered,
    word,
)
from data.streams.protocol import Channel, ConnectionLimits, Frame, HeartbeatRule, Route, Subscription

VENUE: Final = "dydx"
URL: Final = "wss://indexer.dydx.trade"  # venues.md 3.3
PATH: Final = "/v4/ws"
MARKETS: Final = "v4_markets"
FUNDING_INTERVAL_HOURS: Final = 1.0  # rates are per hour: venues.md 2.5

# dYdX indexer documentation: 2 subscriptions a second and connection. One stream carries all markets.
LIMITS: Final = ConnectionLimits(
    streams_per_connection=1,
    streams_per_frame=1,
    characters_per_connection=None,
    client_messages_per_second=2.0,
    connects=30,
    connects_window_seconds=60.0,  # our choice: none is documented
    lifetime_seconds=None,
)
# The server pings every 30 s and the WebSocket library answers (dYdX indexer documentation).
HEARTBEAT: Final = HeartbeatRule(client_frame=None, client_interval_seconds=20.0, protocol_ping_seconds=20.0)
SILENCE_SECONDS: Final = 30.0  # our choice: over all markets an oracle price moves with almost every block
FIRST_MESSAGE_SECONDS: Final = 5.0  # venues.md 5.4

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Market(msgspec.Struct, gc=False):
    """What is read of a market, in a snapshot or a change."""

    oraclePrice: Price | None = None
    nextFundingRate: Number | None = None
    status: str | None = None


class OraclePrice(msgspec.Struct, gc=False):
    """A new oracle price."""

    oraclePrice: Price
    effectiveAt: str | None = None


class Contents(msgspec.Struct):
    """Of the first message ``markets``, of the others ``trading`` and ``oraclePrices``."""

    markets: dict[Symbol, Market] | None = None
    trading: dict[Symbol, Market] | None = None
    oraclePrices: dict[Symbol, OraclePrice] | None = None


class Message(msgspec.Struct):
    """Any message; ``contents`` is a list in batches."""

    type: str | None = None
    channel: str = ""
    message: str = ""
    contents: Contents | list[Contents] | None = None


class Peek(msgspec.Struct):
    """Only what tells messages apart."""

    type: str | None = None
    channel: str = ""
    message: str = ""


class Dydx:
    """Adapter of dYdX. The address may be replaced by a test server's."""

    venue = VENUE
    heartbeat = HEARTBEAT
    limits = LIMITS

    def __init__(self, url: str = URL) -> None:
        self._url = url

    def routes(self, subscriptions: Sequence[Subscription]) -> list[Route]:
        """One connection, whatever the symbols: the venue has one stream for all markets."""
        for subscription in subscriptions:
            if subscription.kind != "linear" or subscription.channel is not Channel.PERP:
                raise not_offered(VENUE, subscription.kind, subscription.channel)
        if not subscriptions:
            return []
        request = {"type": "subscribe", "channel": MARKETS, "batched": False}
        return [
            Route(
                venue=VENUE,
                name="linear-public-0",
                kind="linear",
                url=self._url,
                path=PATH,
                streams=(MARKETS,),
                subscribe_frames=(msgspec.json.encode(request).decode(),),
                acknowledgements=frozenset({MARKETS}),
                silence_seconds=SILENCE_SECONDS,
                first_message_seconds=FIRST_MESSAGE_SECONDS,
            )
        ]

    def parse(self, route: Route, frame: Frame) -> Sequence[Event]:
        """Events of one frame; ``FrameError`` for what can't be read."""
        try:
            return _parse(as_bytes(frame))
        except DECODING_ERRORS as error:
            fail(VENUE, route, frame, error)


_PEEK: Final = msgspec.json.Decoder(Peek)
_MESSAGE: Final = msgspec.json.Decoder(Message, strict=False)


def _parse(content: bytes) -> Sequence[Event]:
    peek = _PEEK.decode(content)
    if peek.type is None:
        raise UnreadableError("no type", "$.type")
    if peek.type == "error":
        return (Acknowledged(venue=VENUE, ok=False, message=peek.message[:200]),)
    if peek.type == "pong":
        return (Heartbeat(venue=VENUE),)
    if peek.type in ("connected", "unsubscribed", "subscribe", "unsubscribe"):
        return ignored(VENUE, f"{peek.type}: no data")
    if peek.type not in ("subscribed", "channel_data", "channel_batch_data"):
        return ignored(VENUE, f"unknown type {word(peek.type, 'the type')}")
    if peek.channel != MARKETS:
        return ignored(VENUE, f"not used: {word(peek.channel, 'the channel')}")
    return _markets(_MESSAGE.decode(content))


def _markets(message: Message) -> Sequence[Event]:
    if message.contents is None:
        raise UnreadableError("no contents", "$.contents")
    events: list[Event] = []
    if message.type == "subscribed":
        events.append(Acknowledged(venue=VENUE, ok=True, request_id=MARKETS))
    for contents in message.contents if isinstance(message.contents, list) else [message.contents]:
        events += _of_markets(contents.markets or {}, snapshot=True)
        events += _of_markets(contents.trading or {}, snapshot=False)
        events += _of_prices(contents.oraclePrices or {})
    return events or ignored(VENUE, "no market in the message")


def _of_markets(markets: Mapping[str, Market], *, snapshot: bool) -> list[Event]:
    events: list[Event] = []
    for symbol, market in markets.items():
        # Changes may speak of open interest or volume only.
        if snapshot or market.oraclePrice is not None or market.nextFundingRate is not None:
            events.append(
                PerpUpdate(
                    venue=VENUE, kind="linear", symbol=symbol, event_ms=None, mark=market.oraclePrice,
                    index=market.oraclePrice, funding_rate=market.nextFundingRate,
                    interval_hours=None if market.nextFundingRate is None else FUNDING_INTERVAL_HOURS,
                    snapshot=snapshot,
                )
            )  # fmt: skip
        if market.status is not None:
            status = word(market.status, "a market's status")
            events.append(ContractNotice(venue=VENUE, kind="linear", symbol=symbol, event_ms=None, status=status))
    return events


def _of_prices(prices: Mapping[str, OraclePrice]) -> list[Event]:
    return [
        PerpUpdate(
            venue=VENUE, kind="linear", symbol=symbol, mark=price.oraclePrice, index=price.oraclePrice, snapshot=False,
            event_ms=None if price.effectiveAt is None else _milliseconds(price.effectiveAt),
        )
        for symbol, price in prices.items()
    ]  # fmt: skip


def _milliseconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UnreadableError("no ISO time", "$.contents.oraclePrices[...].effectiveAt") from None
    if moment.tzinfo is None:
        raise UnreadableError("a time without a zone", "$.contents.oraclePrices[...].effectiveAt")
    milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
    if milliseconds < 0:
        raise UnreadableError("a time before 1970", "$.contents.oraclePrices[...].effectiveAt")
    return milliseconds
