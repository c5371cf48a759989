"""Binance's stream messages as types. Those that subclass an event are decoded straight into it; fields
that a message does not carry keep their defaults, because its own names are single letters.

Format: venues' page "Websocket Market Streams" of USD-M futures and of spot, state of 2026-07.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from data.streams.events import TopOfBook, WholePerpUpdate
from data.streams.frames import Levels, Milliseconds, Number, Price, SequenceId, Symbol

VENUE = "binance"


class MarkPrice(
    WholePerpUpdate,
    frozen=True,
    gc=False,
    kw_only=True,
    tag_field="e",
    tag="markPriceUpdate",
    rename={
        "symbol": "s",
        "event_ms": "E",
        "mark": "p",
        "index": "i",
        "funding_rate": "r",
        "next_settlement_ms": "T",
    },
):
    """``<symbol>@markPrice`` and each row of ``!markPrice@arr``. Delivery contracts have r '' and T 0."""

    symbol: Symbol
    event_ms: Milliseconds
    mark: Price
    index: Price
    funding_rate: Number | Literal[""]  # type: ignore[assignment]  # '' is replaced before the event leaves the parser
    next_settlement_ms: Milliseconds
    venue: str = VENUE
    kind: str = "linear"


class FuturesTop(
    TopOfBook,
    frozen=True,
    gc=False,
    kw_only=True,
    tag_field="e",
    tag="bookTicker",
    rename={"symbol": "s", "event_ms": "E", "sequence": "u", "bid": "b", "bid_quantity": "B", "ask": "a",
            "ask_quantity": "A"},
):  # fmt: skip
    """``<symbol>@bookTicker`` of USD-M."""

    symbol: Symbol
    event_ms: Milliseconds
    sequence: SequenceId
    bid: Price
    bid_quantity: Price
    ask: Price
    ask_quantity: Price
    venue: str = VENUE
    kind: str = "linear"


class SpotTop(
    TopOfBook,
    frozen=True,
    gc=False,
    kw_only=True,
    tag_field="e",
    tag="bookTicker",
    rename={"symbol": "s", "event_ms": "E", "sequence": "u", "bid": "b", "bid_quantity": "B", "ask": "a",
            "ask_quantity": "A"},
):  # fmt: skip
    """``<symbol>@bookTicker`` of spot: no event type and no stamp."""

    symbol: Symbol
    sequence: SequenceId
    bid: Price
    bid_quantity: Price
    ask: Price
    ask_quantity: Price
    event_ms: Milliseconds | None = None
    venue: str = VENUE
    kind: str = "spot"


class TradeMessage(msgspec.Struct, gc=False, tag_field="e", tag="trade"):
    """``<symbol>@trade``. ``X`` (USD-M only): MARKET, or a transfer that is no trade on the market."""

    E: Milliseconds
    s: Symbol
    t: SequenceId
    p: Price
    q: Price
    T: Milliseconds
    m: bool
    X: str = "MARKET"


class AggregateTrade(msgspec.Struct, gc=False, tag_field="e", tag="aggTrade"):
    """``<symbol>@aggTrade``."""

    E: Milliseconds
    s: Symbol
    a: SequenceId
    p: Price
    q: Price
    T: Milliseconds
    m: bool


class Depth(msgspec.Struct, tag_field="e", tag="depthUpdate"):
    """``<symbol>@depth``: changes ``U`` to ``u``; ``pu``, the ``u`` before, on USD-M only."""

    E: Milliseconds
    s: Symbol
    U: SequenceId
    u: SequenceId
    b: Levels
    a: Levels
    pu: SequenceId | None = None


class DepthSnapshot(msgspec.Struct):
    """REST answer of ``/depth``; without a symbol. ``E`` on USD-M only."""

    lastUpdateId: SequenceId
    bids: Levels
    asks: Levels
    E: Milliseconds | None = None


class ForcedOrderRow(msgspec.Struct, gc=False):
    """``o`` of a forced order: S side of the order, ap average price, p order price, z filled, q quantity."""

    s: Symbol
    S: Literal["BUY", "SELL"]
    q: Price
    p: Price
    T: Milliseconds
    ap: Price = 0.0
    z: Price | None = None


class ForcedOrderMessage(msgspec.Struct, gc=False, tag_field="e", tag="forceOrder"):
    """``<symbol>@forceOrder``: at most the last one of each symbol and second."""

    E: Milliseconds
    o: ForcedOrderRow


class ContractInfo(msgspec.Struct, gc=False, tag_field="e", tag="contractInfo"):
    """``!contractInfo``: cs status, dt delivery."""

    E: Milliseconds
    s: Symbol
    cs: str
    dt: Milliseconds | None = None


class ErrorBody(msgspec.Struct):
    """What is wrong with a request."""

    code: int = 0
    msg: str = ""


class Peek(msgspec.Struct):
    """Only what tells an unwrapped message apart."""

    e: str | None = None
    stream: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    id: int | str | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: ErrorBody | None = None
    code: int | None = None
    msg: str = ""
    lastUpdateId: int | None = None
    u: int | None = None
    event: msgspec.Raw = msgspec.Raw()
    subscriptionId: int | None = None
