"""Bybit's messages to events. Raises ``frames.DECODING_ERRORS``; ``Bybit.parse`` names the route."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from data.streams import bybit_messages as messages
from data.streams.bybit_messages import Message
from data.streams.events import (
    Acknowledged,
    AdlNotice,
    BookDelta,
    BookSnapshot,
    Event,
    ForcedOrder,
    Heartbeat,
    InsuranceUpdate,
    PerpUpdate,
    TopOfBook,
    Trade,
)
from data.streams.frames import Levels, UnreadableError, ignored, text_ms, text_number, text_price, word
from data.streams.normalise import aggressor, liquidated

VENUE: Final = "bybit"

PRIVATE: Final = frozenset({"execution", "order", "position", "wallet", "greeks", "dcp", "spread"})
UNUSED: Final = frozenset({"kline", "priceLimit", "system", "kline_lt", "tickers_lt", "rpi"})


def _decoder(of: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(Message[of], strict=False)


_TICKER: Final = _decoder(messages.Ticker)
_TICKER_TEXT: Final = _decoder(messages.TickerText)
_BOOK: Final = _decoder(messages.Book)
_TRADES: Final = _decoder(list[messages.PublicTrade])
_LIQUIDATIONS: Final = _decoder(list[messages.Liquidation])
_ALERTS: Final = _decoder(list[messages.AdlAlert])
_POOLS: Final = _decoder(list[messages.Insurance])
_PEEK: Final = msgspec.json.Decoder(messages.Peek)

Parser = Callable[[str, bytes], Sequence[Event]]


def _ticker(kind: str, content: bytes) -> Sequence[Event]:
    if kind == "spot":
        return ignored(VENUE, "a spot ticker carries no quote and no mark")
    try:
        message = _TICKER.decode(content)
    except msgspec.ValidationError:
        return _ticker_text(kind, content)
    row = message.data
    return (
        PerpUpdate(
            venue=VENUE, kind=kind, symbol=row.symbol, event_ms=message.ts, sequence=message.cs, mark=row.markPrice,
            index=row.indexPrice, funding_rate=row.fundingRate, next_settlement_ms=row.nextFundingTime,
            interval_hours=row.fundingIntervalHour, snapshot=message.type == "snapshot",
        ),
    )  # fmt: skip


def _ticker_text(kind: str, content: bytes) -> Sequence[Event]:
    """A ticker in which a field is '': none. Anything else that is no number is refused by ``text_number``."""
    message = _TICKER_TEXT.decode(content)
    row = message.data
    interval = None if row.fundingIntervalHour is None else str(row.fundingIntervalHour)
    fields: dict[str, float | None] = {
        "mark": _text(text_price, row.markPrice, "$.data.markPrice"),
        "index": _text(text_price, row.indexPrice, "$.data.indexPrice"),
        "funding_rate": _text(text_number, row.fundingRate, "$.data.fundingRate"),
        "interval_hours": _text(text_price, interval, "$.data.fundingIntervalHour"),
    }
    settlement = None if row.nextFundingTime is None else text_ms(row.nextFundingTime, "$.data.nextFundingTime")
    snapshot = message.type == "snapshot"
    if snapshot:
        fields = {name: None if value is None or math.isnan(value) else value for name, value in fields.items()}
    return (
        PerpUpdate(
            venue=VENUE, kind=kind, symbol=row.symbol, event_ms=message.ts, sequence=message.cs,
            next_settlement_ms=(settlement or None) if snapshot else settlement, snapshot=snapshot, **fields,
        ),
    )  # fmt: skip


def _text(read: Callable[[str, str], float], text: str | None, position: str) -> float | None:
    return None if text is None else read(text, position)


def _book(kind: str, content: bytes) -> Sequence[Event]:
    message = _BOOK.decode(content)
    book: messages.Book = message.data
    depth = _depth_of(message.topic)
    snapshot = message.type == "snapshot"
    if depth == 1:
        return (_top(kind, message, book, snapshot),)
    if snapshot:
        return (
            BookSnapshot(
                venue=VENUE, kind=kind, symbol=book.s, event_ms=message.ts, sequence=book.u, bids=book.b, asks=book.a,
                depth=depth,
            ),
        )  # fmt: skip
    return (
        BookDelta(
            venue=VENUE, kind=kind, symbol=book.s, event_ms=message.ts, first_sequence=book.u, sequence=book.u,
            previous_sequence=None, bids=book.b, asks=book.a, depth=depth,
        ),
    )  # fmt: skip


def _top(kind: str, message: Message[messages.Book], book: messages.Book, snapshot: bool) -> TopOfBook:
    bid, bid_quantity = _best(book.b, snapshot)
    ask, ask_quantity = _best(book.a, snapshot)
    return TopOfBook(
        venue=VENUE, kind=kind, symbol=book.s, event_ms=message.ts, sequence=book.u, bid=bid,
        bid_quantity=bid_quantity, ask=ask, ask_quantity=ask_quantity, snapshot=snapshot,
    )  # fmt: skip


def _best(levels: Levels, snapshot: bool) -> tuple[float | None, float | None]:
    """Best level; of a change the one that is there now, NaN when the side was emptied, None when it is unchanged."""
    there = [level for level in levels if level[1] > 0.0]
    if there:
        return there[0]
    return (None, None) if snapshot or not levels else (math.nan, math.nan)


def _depth_of(topic: str) -> int:
    depth = topic.split(".")[1]
    if not (depth.isascii() and depth.isdigit() and len(depth) < 6):
        raise UnreadableError("a book topic without a depth", "$.topic")
    return int(depth)


def _trades(kind: str, content: bytes) -> Sequence[Event]:
    rows: list[messages.PublicTrade] = _TRADES.decode(content).data
    events = [
        Trade(
            venue=VENUE, kind=kind, symbol=row.s, event_ms=row.T, trade_id=row.i, price=row.p, quantity=row.v,
            aggressor=aggressor(VENUE, row.S), sequence=row.seq,
        )
        for row in rows
    ]  # fmt: skip
    return events or _empty("trades")


def _liquidations(kind: str, content: bytes) -> Sequence[Event]:
    rows: list[messages.Liquidation] = _LIQUIDATIONS.decode(content).data
    events = [
        ForcedOrder(
            venue=VENUE, kind=kind, symbol=row.s, event_ms=row.T, liquidated=liquidated(VENUE, row.S), price=row.p,
            quantity=row.v,
        )
        for row in rows
    ]  # fmt: skip
    return events or _empty("liquidations")


def _alerts(kind: str, content: bytes) -> Sequence[Event]:
    message = _ALERTS.decode(content)
    events = [
        AdlNotice(
            venue=VENUE, kind=kind, symbol=row.s, event_ms=message.ts, coin=row.c, balance=row.b,
            peak_balance_8h=row.mb, drawdown_8h=row.pr, trigger_drawdown=row.i_pr, trigger_balance=row.adl_tt,
            stop_drawdown=row.adl_sr,
        )
        for row in message.data
    ]  # fmt: skip
    return events or _empty("ADL notices")


def _pools(_kind: str, content: bytes) -> Sequence[Event]:
    message = _POOLS.decode(content)
    events = [
        InsuranceUpdate(
            venue=VENUE, event_ms=row.updateTime, coin=row.coin, symbols=row.symbols, balance=row.balance,
            snapshot=message.type == "snapshot",
        )
        for row in message.data
    ]  # fmt: skip
    return events or _empty("insurance pools")


def _empty(what: str) -> Sequence[Event]:
    return ignored(VENUE, f"no {what} in the message")


_FAMILIES: Final[dict[str, Parser]] = {
    "tickers": _ticker,
    "orderbook": _book,
    "publicTrade": _trades,
    "allLiquidation": _liquidations,
    "adlAlert": _alerts,
    "insurance": _pools,
}


def parse_frame(kind: str, content: bytes) -> Sequence[Event]:
    """Events of one frame, whatever the order of its keys."""
    topic = _topic_in_front(content)
    return _parser_of(topic)(kind, content) if topic else _parse_any(kind, content)


_PREFIX: Final = b'{"topic":"'


def _topic_in_front(content: bytes) -> bytes:
    if not content.startswith(_PREFIX):
        return b""
    return content[len(_PREFIX) : content.find(b'"', len(_PREFIX), 200)]


@lru_cache(maxsize=8192)
def _parser_of(topic: bytes) -> Parser:
    return _FAMILIES.get(topic.partition(b".")[0].decode("ascii", "replace"), _parse_any)


def _parse_any(kind: str, content: bytes) -> Sequence[Event]:
    peek = _PEEK.decode(content)
    if peek.topic is None:
        return _answer(peek)
    family = peek.topic.partition(".")[0]
    if kind == "option":
        return ignored(VENUE, "options are not followed")
    if family in _FAMILIES:
        return _FAMILIES[family](kind, content)
    if family in PRIVATE:
        return ignored(VENUE, f"private: {family}")
    if family in UNUSED:
        return ignored(VENUE, f"not used: {family}")
    return ignored(VENUE, f"unknown topic {word(family, 'the topic')}")


def _answer(peek: messages.Peek) -> Sequence[Event]:
    if peek.op is None:
        raise UnreadableError("neither a topic nor an answer")
    text = peek.ret_msg or peek.retMsg
    if peek.op == "pong" or (peek.op == "ping" and text == "pong"):
        return (Heartbeat(venue=VENUE),)
    if peek.success is None and peek.retCode is None:
        return ignored(VENUE, "a request, not an answer")
    ok = peek.success if peek.success is not None else peek.retCode == 0
    if peek.op in ("subscribe", "unsubscribe", "ping"):
        request_id = peek.req_id or peek.reqId or None
        return (Acknowledged(venue=VENUE, ok=ok, request_id=request_id, message=text[:200]),)
    return ignored(VENUE, f"an answer to {word(peek.op, 'the request')}: {'accepted' if ok else 'refused'}")
