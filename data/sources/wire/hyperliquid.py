"""Hyperliquid's answers of POST /info."""

from __future__ import annotations

import msgspec

from data.sources.wire.columns import Listing, bar_columns, rate_columns
from data.store.rows import Columns

VENUE = "hyperliquid"


class _Candle(msgspec.Struct, gc=False):
    time_ms: int = msgspec.field(name="t")
    open: float = msgspec.field(name="o")
    high: float = msgspec.field(name="h")
    low: float = msgspec.field(name="l")
    close: float = msgspec.field(name="c")
    volume: float = msgspec.field(name="v")


class _Funding(msgspec.Struct, gc=False):
    time: int
    rate: float = msgspec.field(name="fundingRate")


class _Coin(msgspec.Struct):
    name: str
    is_delisted: bool | None = msgspec.field(name="isDelisted", default=None)


class _Meta(msgspec.Struct):
    universe: list[_Coin]


class _Status(msgspec.Struct):
    time: int


_CANDLES = msgspec.json.Decoder(list[_Candle], strict=False)
_FUNDING = msgspec.json.Decoder(list[_Funding], strict=False)
_META = msgspec.json.Decoder(_Meta)
_STATUS = msgspec.json.Decoder(_Status)


def server_time(content: bytes) -> int:
    """Milliseconds of ``exchangeStatus``."""
    return _STATUS.decode(content).time


def bars(content: bytes) -> Columns:
    """``candleSnapshot``: volume in coin."""
    return bar_columns(_CANDLES.decode(content))


def funding(content: bytes) -> Columns:
    """``fundingHistory``: the hourly rate; positive: longs pay. Some rows lack ``premium``, which isn't read."""
    rows = _FUNDING.decode(content)
    return rate_columns([row.time for row in rows], "funding_rate", [row.rate for row in rows])


def listings(content: bytes, kind: str) -> tuple[list[Listing], str]:
    """``meta``: perpetuals, settled in USDC, named by their coin."""
    return [_listing(coin, kind) for coin in _META.decode(content).universe], ""


def _listing(coin: _Coin, kind: str) -> Listing:
    return Listing(
        venue=VENUE,
        kind=kind,
        symbol=coin.name,
        venue_id=coin.name,
        base=coin.name,
        quote="USD",
        settle="USDC",
        is_trading=not coin.is_delisted,
    )
