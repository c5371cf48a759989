"""Bybit v5 public stream messages as types. Absent fields are unchanged, '' means none: docs/specs/streams.md."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import msgspec

from data.streams.frames import Levels, Milliseconds, Number, Price, SequenceId, Symbol

T = TypeVar("T")


class Message(msgspec.Struct, Generic[T]):
    """The envelope. ``cs``, the cross sequence, on tickers only; keys come in any order."""

    topic: str
    data: T
    ts: Milliseconds
    type: Literal["snapshot", "delta"] = "snapshot"
    cs: SequenceId | None = None


class Ticker(msgspec.Struct, gc=False):
    """What is read of ``tickers`` of derivatives when every field is a number."""

    symbol: Symbol
    markPrice: Price | None = None
    indexPrice: Price | None = None
    fundingRate: Number | None = None
    nextFundingTime: Milliseconds | None = None
    fundingIntervalHour: Price | None = None


class TickerText(msgspec.Struct, gc=False):
    """The same as text, for messages in which a field is ''."""

    symbol: Symbol
    markPrice: str | None = None
    indexPrice: str | None = None
    fundingRate: str | None = None
    nextFundingTime: str | None = None
    fundingIntervalHour: str | int | None = None


class Book(msgspec.Struct):
    """``orderbook.{depth}``: u update id, seq cross sequence."""

    s: Symbol
    b: Levels
    a: Levels
    u: SequenceId
    seq: SequenceId | None = None


class PublicTrade(msgspec.Struct, gc=False):
    """``publicTrade``: S side of the taker."""

    T: Milliseconds
    s: Symbol
    S: Literal["Buy", "Sell"]
    v: Price
    p: Price
    i: str
    seq: SequenceId | None = None


class Liquidation(msgspec.Struct, gc=False):
    """``allLiquidation``: S side of the liquidated position, p bankruptcy price."""

    T: Milliseconds
    s: Symbol
    S: Literal["Buy", "Sell"]
    v: Price
    p: Price


class AdlAlert(msgspec.Struct, gc=False):
    """``adlAlert``: JSON numbers, unlike elsewhere."""

    c: str
    s: Symbol
    b: Number
    mb: Number
    i_pr: Number
    pr: Number
    adl_tt: Number
    adl_sr: Number


class Insurance(msgspec.Struct, gc=False):
    """``insurance``: pools of single contracts or of groups."""

    coin: str
    symbols: str
    balance: Number
    updateTime: Milliseconds


class Peek(msgspec.Struct):
    """Only what tells messages apart; answers write their text in two ways."""

    topic: str | None = None
    op: str | None = None
    success: bool | None = None
    ret_msg: str = ""
    retMsg: str = ""
    retCode: int | None = None
    req_id: str | None = None
    reqId: str | None = None
