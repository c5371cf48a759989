"""OKX's messages to events: partial updates, each channel with its own stamps. Raises ``frames.DECODING_ERRORS``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from data.streams.events import Acknowledged, Event, FundingSettled, Heartbeat, PerpUpdate, TopOfBook, Trade
from data.streams.frames import (
    Milliseconds,
    Number,
    Price,
    SequenceId,
    Symbol,
    UnreadableError,
    ignored,
    text_ms,
    text_number,
    word,
)
from data.streams.normalise import aggressor

VENUE: Final = "okx"
HOUR_MS: Final = 3_600_000
SWAP: Final = "-SWAP"
T = TypeVar("T")

PRIVATE: Final = frozenset({"account", "positions", "orders", "balance_and_position", "orders-algo", "fills"})
UNUSED: Final = frozenset(
    {"tickers", "books", "books5", "books-l2-tbt", "open-interest", "price-limit", "instruments", "estimated-price",
     "opt-summary", "liquidation-orders", "adl-warning", "status"}
)  # fmt: skip


class Argument(msgspec.Struct):
    """What a message belongs to."""

    channel: str
    instId: str = ""


class Message(msgspec.Struct, Generic[T]):
    """The envelope of data."""

    arg: Argument
    data: list[T]


class MarkRow(msgspec.Struct, gc=False):
    """``mark-price``."""

    instId: Symbol
    markPx: Price
    ts: Milliseconds


class IndexRow(msgspec.Struct, gc=False):
    """``index-tickers``: instId is a pair, not a swap."""

    instId: Symbol
    idxPx: Price
    ts: Milliseconds


class FundingRow(msgspec.Struct, gc=False):
    """``funding-rate``: the rate of fundingTime, and the last settled one where settState says so."""

    instId: Symbol
    fundingRate: str
    fundingTime: str
    nextFundingTime: str = ""
    settFundingRate: str = ""
    settState: str = ""
    prevFundingTime: str = ""
    ts: Milliseconds | None = None


class TopRow(msgspec.Struct):
    """``bbo-tbt``: at most one level a side: price, quantity, a dead field, orders."""

    asks: list[tuple[Price, Price, Number, Number]]
    bids: list[tuple[Price, Price, Number, Number]]
    ts: Milliseconds
    seqId: SequenceId | None = None


class TradeRow(msgspec.Struct, gc=False):
    """``trades``: several fills of one taker order in one row; side of the taker."""

    instId: Symbol
    tradeId: str
    px: Price
    sz: Price
    side: Literal["buy", "sell"]
    ts: Milliseconds
    seqId: SequenceId | None = None


class Peek(msgspec.Struct):
    """Only what tells messages apart."""

    arg: Argument | None = None
    event: str | None = None
    code: str = ""
    msg: str = ""
    op: str | None = None


def kind_of(symbol: str) -> str:
    """Spot, linear or inverse, from the venue's name: BTC-USDT, BTC-USDT-SWAP, BTC-USD-SWAP."""
    if not symbol.endswith(SWAP):
        return "spot"
    return "inverse" if symbol.endswith("-USD" + SWAP) else "linear"


def index_of(symbol: str) -> str:
    """Name of a swap's index."""
    return symbol.removesuffix(SWAP)


def acknowledgement(channel: str, instrument: str) -> str:
    """Name under which a subscription is acknowledged: the venue echoes channel and instrument, not an id."""
    return f"{channel}:{instrument}"


def _marks(message: Message[MarkRow]) -> Sequence[Event]:
    return [
        PerpUpdate(
            venue=VENUE, kind=kind_of(row.instId), symbol=row.instId, event_ms=row.ts, mark=row.markPx, snapshot=False
        )
        for row in message.data
        if row.instId.endswith(SWAP)
    ]  # fmt: skip


def _indices(message: Message[IndexRow]) -> Sequence[Event]:
    return [
        PerpUpdate(
            venue=VENUE, kind=kind_of(row.instId + SWAP), symbol=row.instId + SWAP, event_ms=row.ts, index=row.idxPx,
            snapshot=False,
        )
        for row in message.data
    ]  # fmt: skip


def _funding(message: Message[FundingRow]) -> Sequence[Event]:
    events: list[Event] = []
    for row in message.data:
        settlement_ms = text_ms(row.fundingTime, "$.data[...].fundingTime")
        following_ms = text_ms(row.nextFundingTime, "$.data[...].nextFundingTime")
        interval_ms = following_ms - settlement_ms
        events.append(
            PerpUpdate(
                venue=VENUE, kind=kind_of(row.instId), symbol=row.instId, event_ms=row.ts,
                funding_rate=text_number(row.fundingRate, "$.data[...].fundingRate"),
                next_settlement_ms=settlement_ms,
                interval_hours=interval_ms / HOUR_MS if settlement_ms and interval_ms > 0 else None,
                snapshot=False,
            )
        )  # fmt: skip
        events += _settled(row)
    return events


def _settled(row: FundingRow) -> list[Event]:
    # Without the time of the settlement the rate can't be booked: it is then read back by REST.
    if row.settState != "settled" or not row.settFundingRate or not row.prevFundingTime:
        return []
    settlement_ms = text_ms(row.prevFundingTime, "$.data[...].prevFundingTime")
    rate = text_number(row.settFundingRate, "$.data[...].settFundingRate")
    return [
        FundingSettled(
            venue=VENUE, kind=kind_of(row.instId), symbol=row.instId,
            event_ms=settlement_ms if row.ts is None else row.ts, settlement_ms=settlement_ms, rate=rate,
        )
    ]  # fmt: skip


def _tops(message: Message[TopRow]) -> Sequence[Event]:
    symbol = message.arg.instId
    if not symbol:
        raise UnreadableError("a top of book without an instrument", "$.arg.instId")
    events = []
    for row in message.data:
        bid, bid_quantity = row.bids[0][:2] if row.bids else (None, None)
        ask, ask_quantity = row.asks[0][:2] if row.asks else (None, None)
        events.append(
            TopOfBook(
                venue=VENUE, kind=kind_of(symbol), symbol=symbol, event_ms=row.ts, sequence=row.seqId, bid=bid,
                bid_quantity=bid_quantity, ask=ask, ask_quantity=ask_quantity,
            )
        )  # fmt: skip
    return events


def _trades(message: Message[TradeRow]) -> Sequence[Event]:
    return [
        Trade(
            venue=VENUE, kind=kind_of(row.instId), symbol=row.instId, event_ms=row.ts, trade_id=row.tradeId,
            price=row.px, quantity=row.sz, aggressor=aggressor(VENUE, row.side), sequence=row.seqId, aggregated=True,
        )
        for row in message.data
    ]  # fmt: skip


def _decoder(of: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(Message[of], strict=False)


_CHANNELS: Final[dict[str, tuple[msgspec.json.Decoder[Any], Callable[[Any], Sequence[Event]]]]] = {
    "mark-price": (_decoder(MarkRow), _marks),
    "index-tickers": (_decoder(IndexRow), _indices),
    "funding-rate": (_decoder(FundingRow), _funding),
    "bbo-tbt": (_decoder(TopRow), _tops),
    "trades": (_decoder(TradeRow), _trades),
}
_PEEK: Final = msgspec.json.Decoder(Peek)


def parse_frame(content: bytes) -> Sequence[Event]:
    """Events of one frame."""
    if content == b"pong":
        return (Heartbeat(venue=VENUE),)
    peek = _PEEK.decode(content)
    if peek.event is not None:
        return _answer(peek, peek.event)
    if peek.op is not None:
        return ignored(VENUE, "a request, not an answer")
    if peek.arg is None:
        raise UnreadableError("neither a channel nor an answer")
    channel = peek.arg.channel
    if channel in _CHANNELS:
        decoder, convert = _CHANNELS[channel]
        return convert(decoder.decode(content)) or ignored(VENUE, f"no {channel} of a swap in the message")
    if channel in PRIVATE:
        return ignored(VENUE, f"private: {channel}")
    if channel in UNUSED or channel.startswith(("candle", "mark-price-candle", "index-candle")):
        return ignored(VENUE, f"not used: {word(channel, 'the channel')}")
    return ignored(VENUE, f"unknown channel {word(channel, 'the channel')}")


def _answer(peek: Peek, event: str) -> Sequence[Event]:
    if event == "error":
        return (Acknowledged(venue=VENUE, ok=False, message=f"{peek.code}: {peek.msg}"[:200]),)
    if event in ("subscribe", "unsubscribe") and peek.arg is not None:
        request_id = acknowledgement(peek.arg.channel, peek.arg.instId)
        return (Acknowledged(venue=VENUE, ok=True, request_id=request_id),)
    if event == "notice":
        return ignored(VENUE, f"notice {peek.code}: {peek.msg}"[:200])
    return ignored(VENUE, f"an answer to {word(event, 'the event')}")
