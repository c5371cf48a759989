"""Binance's messages to events. Raises ``frames.DECODING_ERRORS``; ``Binance.parse`` names the route."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import structs

from data.streams import binance_messages as messages
from data.streams.events import (
    Acknowledged,
    BookDelta,
    BookSnapshot,
    ContractNotice,
    Event,
    ForcedOrder,
    PerpUpdate,
    Trade,
)
from data.streams.frames import UnreadableError, ignored, word
from data.streams.normalise import aggressor, liquidated

VENUE: Final = messages.VENUE
T = TypeVar("T")
Parser = Callable[[str, bytes], Sequence[Event]]

# Trades that are transfers of the venue, not trades on its market.
TRANSFERS: Final = frozenset({"INSURANCE_FUND", "ADL", "NA"})
PRIVATE: Final = frozenset(
    {
        "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE", "ALGO_UPDATE", "TRADE_LITE", "MARGIN_CALL", "ACCOUNT_CONFIG_UPDATE",
        "executionReport", "outboundAccountPosition", "balanceUpdate", "listStatus", "listenKeyExpired",
        "eventStreamTerminated", "externalLockUpdate", "STRATEGY_UPDATE", "GRID_UPDATE",
        "CONDITIONAL_ORDER_TRIGGER_REJECT",
    }
)  # fmt: skip
UNUSED: Final = frozenset(
    {
        "kline", "continuous_kline", "24hrTicker", "24hrMiniTicker", "1hTicker", "4hTicker", "1dTicker", "avgPrice",
        "compositeIndex", "assetIndexUpdate", "tradingSession", "indexPriceUpdate",
    }
)  # fmt: skip


class _Wrapped(msgspec.Struct, Generic[T], gc=False):
    """The envelope of combined streams; its ``stream`` was read before."""

    data: T


class _Combined(msgspec.Struct, gc=False):
    """The same of USD-M, where each message says itself what it is (``e``): told apart while it is decoded."""

    stream: str
    data: (
        messages.FuturesTop
        | messages.Depth
        | messages.TradeMessage
        | messages.AggregateTrade
        | messages.ForcedOrderMessage
        | messages.ContractInfo
        | messages.MarkPrice
        | list[messages.MarkPrice]
    )


class _Messages(Generic[T]):
    """Parsers of one message type, bare and in the envelope of combined streams.

    They are closures, because calls between methods would cost as much as the decoding of a quote.
    """

    def __init__(self, of: Any, convert: Callable[[str, T], Sequence[Event]] | None) -> None:
        """Without ``convert`` the decoded message is the event."""
        wrapped = msgspec.json.Decoder(_Wrapped[of], strict=False).decode
        bare = msgspec.json.Decoder(of, strict=False).decode
        if convert is None:
            self.wrapped: Parser = lambda _kind, content: (wrapped(content).data,)
            self.bare: Parser = lambda _kind, content: (bare(content),)
        else:
            self.wrapped = lambda kind, content: convert(kind, wrapped(content).data)
            self.bare = lambda kind, content: convert(kind, bare(content))


def _marks(kind: str, rows: list[messages.MarkPrice]) -> Sequence[Event]:
    """The rows as they were decoded; only delivery and coin-margined contracts, which stand out by name, are remade."""
    _require_linear(kind)
    odd = [at for at, row in enumerate(rows) if isinstance(row.funding_rate, str) or "_" in row.symbol]
    if not rows:
        return ignored(VENUE, "an empty array of marks")
    if not odd:
        return rows
    events: list[Event] = list(rows)
    for at in odd:
        events[at] = _plain_mark(rows[at])
    return events


def _plain_mark(row: messages.MarkPrice) -> PerpUpdate:
    rate = None if row.funding_rate == "" else row.funding_rate
    settlement_ms = row.next_settlement_ms or None
    contract, _, _ = row.symbol.partition("_")
    if not contract.endswith("USD"):
        return structs.replace(row, funding_rate=rate, next_settlement_ms=settlement_ms)
    # Since the merge of 2026-06-30 coin-margined rows (BTCUSD_PERP) may stand in the same array: venues.md 3.1.
    return PerpUpdate(
        venue=VENUE, kind="inverse", symbol=row.symbol, event_ms=row.event_ms, mark=row.mark, index=row.index,
        funding_rate=rate, next_settlement_ms=settlement_ms,
    )  # fmt: skip


def _one_mark(kind: str, row: messages.MarkPrice) -> Sequence[Event]:
    return _marks(kind, [row])


def _require_linear(kind: str) -> None:
    if kind != "linear":
        raise UnreadableError(f"a futures message on a {kind} route")


def _trade(kind: str, row: messages.TradeMessage) -> Sequence[Event]:
    if row.X in TRANSFERS:
        return ignored(VENUE, f"a trade of type {row.X} is a transfer of the venue")
    side = aggressor(VENUE, row.m)
    return (
        Trade(
            venue=VENUE, kind=kind, symbol=row.s, event_ms=row.T, trade_id=str(row.t), price=row.p, quantity=row.q,
            aggressor=side, sequence=row.t,
        ),
    )  # fmt: skip


def _aggregate_trade(kind: str, row: messages.AggregateTrade) -> Sequence[Event]:
    side = aggressor(VENUE, row.m)
    return (
        Trade(
            venue=VENUE, kind=kind, symbol=row.s, event_ms=row.T, trade_id=str(row.a), price=row.p, quantity=row.q,
            aggressor=side, sequence=row.a, aggregated=True,
        ),
    )  # fmt: skip


def _depth(kind: str, row: messages.Depth) -> Sequence[Event]:
    if row.u < row.U or (row.pu is not None and row.pu > row.u):
        raise UnreadableError("first change after the last", "$.U")
    if kind == "linear" and row.pu is None:
        raise UnreadableError("a USD-M depth update without pu", "$.pu")
    return (
        BookDelta(
            venue=VENUE, kind=kind, symbol=row.s, event_ms=row.E, first_sequence=row.U, sequence=row.u,
            previous_sequence=row.pu, bids=row.b, asks=row.a,
        ),
    )  # fmt: skip


def _forced_order(kind: str, message: messages.ForcedOrderMessage) -> Sequence[Event]:
    row = message.o
    filled = row.ap > 0.0
    return (
        ForcedOrder(
            venue=VENUE, kind=kind, symbol=row.s, event_ms=row.T, liquidated=liquidated(VENUE, row.S),
            price=row.ap if filled else row.p, quantity=row.z or row.q,
        ),
    )  # fmt: skip


def _contract(kind: str, row: messages.ContractInfo) -> Sequence[Event]:
    return (
        ContractNotice(
            venue=VENUE, kind=kind, symbol=row.s, event_ms=row.E, status=word(row.cs, "a contract's status"),
            delivery_ms=row.dt,
        ),
    )  # fmt: skip


_MARKS: Final = _Messages[list[messages.MarkPrice]](list[messages.MarkPrice], _marks)
_TOPS: Final[dict[str, _Messages[Any]]] = {
    "linear": _Messages[messages.FuturesTop](messages.FuturesTop, None),
    "spot": _Messages[messages.SpotTop](messages.SpotTop, None),
}
_BY_EVENT: Final[dict[str, _Messages[Any]]] = {
    "markPriceUpdate": _Messages[messages.MarkPrice](messages.MarkPrice, _one_mark),
    "trade": _Messages[messages.TradeMessage](messages.TradeMessage, _trade),
    "aggTrade": _Messages[messages.AggregateTrade](messages.AggregateTrade, _aggregate_trade),
    "depthUpdate": _Messages[messages.Depth](messages.Depth, _depth),
    "forceOrder": _Messages[messages.ForcedOrderMessage](messages.ForcedOrderMessage, _forced_order),
    "contractInfo": _Messages[messages.ContractInfo](messages.ContractInfo, _contract),
}
# Last part of a stream's name without its speed.
_BY_STREAM: Final[dict[str, _Messages[Any]]] = {
    "markPrice": _BY_EVENT["markPriceUpdate"],
    "trade": _BY_EVENT["trade"],
    "aggTrade": _BY_EVENT["aggTrade"],
    "depth": _BY_EVENT["depthUpdate"],
    "forceOrder": _BY_EVENT["forceOrder"],
}
_WHOLE: Final[dict[str, _Messages[Any]]] = {
    "!markPrice": _MARKS,
    "!forceOrder": _BY_EVENT["forceOrder"],
    "!contractInfo": _BY_EVENT["contractInfo"],
}
_COMBINED: Final = msgspec.json.Decoder(_Combined, strict=False).decode
_CONVERSIONS: Final[dict[type, Callable[[str, Any], Sequence[Event]]]] = {
    list: _marks,
    messages.MarkPrice: _one_mark,
    messages.Depth: _depth,
    messages.TradeMessage: _trade,
    messages.AggregateTrade: _aggregate_trade,
    messages.ForcedOrderMessage: _forced_order,
    messages.ContractInfo: _contract,
}
_PEEK: Final = msgspec.json.Decoder(messages.Peek, strict=False)
_SNAPSHOT: Final = msgspec.json.Decoder(messages.DepthSnapshot, strict=False)


def parser_of(kind: str, stream: bytes) -> Parser:
    """What reads combined-stream frames of ``stream``; for unknown names, and for none, what reads any frame."""
    symbol, _, rest = stream.partition(b"@")
    name = rest.partition(b"@")[0].decode("ascii", "replace")
    if name == "bookTicker" or symbol == b"!bookTicker":
        return _tops(kind).wrapped
    found = _WHOLE.get(symbol.decode("ascii", "replace")) or _BY_STREAM.get(name)
    return parse_unwrapped if found is None else found.wrapped


def parse_combined(content: bytes) -> Sequence[Event] | None:
    """Events of a combined-stream frame of USD-M, of the messages that are followed; None for any other frame."""
    try:
        data = _COMBINED(content).data
    except msgspec.MsgspecError:
        return None
    if data.__class__ is messages.FuturesTop:
        return (data,)
    return _CONVERSIONS[data.__class__]("linear", data)


def parse_unwrapped(kind: str, content: bytes) -> Sequence[Event]:
    """Events of a raw frame, of an answer to a request, or of an envelope in unusual order."""
    if content.lstrip()[:1] == b"[":
        return _MARKS.bare(kind, content)
    peek = _PEEK.decode(content)
    if peek.stream is not None:
        return parse_unwrapped(kind, _nested(peek.data, "$.data"))
    if peek.e is not None:
        return _by_event(kind, peek.e, content)
    if len(peek.event):
        return ignored(VENUE, "a private message")
    if peek.u is not None:
        return _tops(kind).bare(kind, content)
    if peek.lastUpdateId is not None:
        return ignored(VENUE, "a depth snapshot without a symbol: parse_depth_snapshot reads it")
    return _answer(peek)


def _nested(raw: msgspec.Raw, position: str) -> bytes:
    content = bytes(raw)
    if not content or content.lstrip()[:1] not in (b"{", b"["):
        raise UnreadableError("no message in the envelope", position)
    if b'"stream"' in content:
        raise UnreadableError("an envelope in an envelope", position)
    return content


def _by_event(kind: str, event: str, content: bytes) -> Sequence[Event]:
    if event == "bookTicker":
        return _tops(kind).bare(kind, content)
    found = _BY_EVENT.get(event)
    if found is not None:
        return found.bare(kind, content)
    if event in PRIVATE:
        return ignored(VENUE, f"private: {event}")
    if event in UNUSED:
        return ignored(VENUE, f"not used: {event}")
    return ignored(VENUE, f"unknown event {word(event, 'the event type')}")


def _tops(kind: str) -> _Messages[Any]:
    if kind not in _TOPS:
        raise UnreadableError(f"a book ticker on a {kind} route")
    return _TOPS[kind]


def _answer(peek: messages.Peek) -> Sequence[Event]:
    request_id = None if peek.id is None else str(peek.id)
    if peek.error is not None:
        return (Acknowledged(venue=VENUE, ok=False, request_id=request_id, message=_describe(peek.error)),)
    if peek.code is not None:
        error = messages.ErrorBody(code=peek.code, msg=peek.msg)
        return (Acknowledged(venue=VENUE, ok=False, request_id=request_id, message=_describe(error)),)
    if request_id is not None and bytes(peek.result) == b"null":
        return (Acknowledged(venue=VENUE, ok=True, request_id=request_id),)
    if request_id is not None:
        return ignored(VENUE, "an answer to another request")
    raise UnreadableError("neither an event nor an answer")


def _describe(error: messages.ErrorBody) -> str:
    return f"{error.code}: {error.msg[:200]}"


def parse_depth_snapshot(kind: str, symbol: str, content: bytes) -> BookSnapshot:
    """A REST ``/depth`` answer as a book. Raises ``frames.DECODING_ERRORS``."""
    snapshot = _SNAPSHOT.decode(content)
    return BookSnapshot(
        venue=VENUE, kind=kind, symbol=symbol, event_ms=snapshot.E, sequence=snapshot.lastUpdateId,
        bids=snapshot.bids, asks=snapshot.asks,
    )  # fmt: skip
