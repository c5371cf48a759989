"""dYdX v4 indexer's answers: times as ISO texts, newest first."""

from __future__ import annotations

from datetime import datetime

import msgspec

from crypto.units import parse_iso
from data.sources.wire.columns import Listing, bar_columns, rate_columns
from data.store.rows import Columns

VENUE = "dydx"


class _Candle(msgspec.Struct):
    started_at: datetime = msgspec.field(name="startedAt")
    open: float
    high: float
    low: float
    close: float
    volume: float = msgspec.field(name="baseTokenVolume")

    @property
    def time_ms(self) -> int:
        """Open of the bar."""
        return parse_iso(self.started_at.isoformat())


class _Funding(msgspec.Struct):
    effective_at: datetime = msgspec.field(name="effectiveAt")
    rate: float
    price: float


class _Market(msgspec.Struct):
    ticker: str
    status: str


class _Candles(msgspec.Struct):
    candles: list[_Candle]


class _Fundings(msgspec.Struct):
    rows: list[_Funding] = msgspec.field(name="historicalFunding")


class _Markets(msgspec.Struct):
    markets: dict[str, _Market]


class _Time(msgspec.Struct):
    iso: datetime


_CANDLES = msgspec.json.Decoder(_Candles, strict=False)
_FUNDING = msgspec.json.Decoder(_Fundings, strict=False)
_MARKETS = msgspec.json.Decoder(_Markets)
_TIME = msgspec.json.Decoder(_Time)


def server_time(content: bytes) -> int:
    """Milliseconds of ``/time``."""
    return parse_iso(_TIME.decode(content).iso.isoformat())


def bars(content: bytes) -> Columns:
    """``candles/perpetualMarkets``: volume in coin."""
    return bar_columns(_CANDLES.decode(content).candles)


def funding(content: bytes) -> Columns:
    """``historicalFunding``: the hourly rate, with the oracle price that it was paid on; positive: longs pay."""
    rows = _FUNDING.decode(content).rows
    times = [parse_iso(row.effective_at.isoformat()) for row in rows]
    return rate_columns(times, "funding_rate", [row.rate for row in rows], [row.price for row in rows])


def listings(content: bytes, kind: str) -> tuple[list[Listing], str]:
    """``perpetualMarkets``: ``BTC-USD`` is our BTCUSD, settled in USDC."""
    return [_listing(market, kind) for market in _MARKETS.decode(content).markets.values()], ""


def _listing(market: _Market, kind: str) -> Listing:
    base, _, quote = market.ticker.partition("-")
    return Listing(
        venue=VENUE,
        kind=kind,
        symbol=(base + quote).replace(",", "_"),
        venue_id=market.ticker,
        base=base,
        quote=quote,
        settle="USDC",
        is_trading=market.status == "ACTIVE",
    )
