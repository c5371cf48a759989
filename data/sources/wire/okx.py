"""OKX's answers (v5): ``{code, msg, data}``, numbers as texts, newest first."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from data.sources.wire.columns import (
    Candle,
    Listing,
    OpenHighLowClose,
    bar_columns,
    price_columns,
    rate_columns,
)
from data.store.rows import Columns

VENUE = "okx"


class _SwapCandle(msgspec.Struct, array_like=True, gc=False):
    time_ms: int
    open: float
    high: float
    low: float
    close: float
    contracts: float
    volume: float  # volCcy: base coin of a linear swap


class _Funding(msgspec.Struct, gc=False):
    time_ms: int = msgspec.field(name="fundingTime")
    # Paid is what was realised: it may be rounded and clamped against the announced fundingRate.
    rate: float = msgspec.field(name="realizedRate")


class _Instrument(msgspec.Struct):
    instrument_id: str = msgspec.field(name="instId")
    state: str
    settle: str = msgspec.field(name="settleCcy", default="")
    underlying: str = msgspec.field(name="uly", default="")
    contract_type: str = msgspec.field(name="ctType", default="")
    listed: str = msgspec.field(name="listTime", default="")
    ends: str = msgspec.field(name="expTime", default="")
    contract_value: str = msgspec.field(name="ctVal", default="")
    base: str = msgspec.field(name="baseCcy", default="")
    quote: str = msgspec.field(name="quoteCcy", default="")


class _Candles(msgspec.Struct):
    data: list[Candle]


class _SwapCandles(msgspec.Struct):
    data: list[_SwapCandle]


class _PriceRows(msgspec.Struct):
    data: list[OpenHighLowClose]


class _Fundings(msgspec.Struct):
    data: list[_Funding]


class _Instruments(msgspec.Struct):
    data: list[_Instrument]


class _Stamp(msgspec.Struct):
    ts: int


class _Time(msgspec.Struct):
    data: list[_Stamp]


_CANDLES = msgspec.json.Decoder(_Candles, strict=False)
_SWAP_CANDLES = msgspec.json.Decoder(_SwapCandles, strict=False)
_PRICES = msgspec.json.Decoder(_PriceRows, strict=False)
_FUNDING = msgspec.json.Decoder(_Fundings, strict=False)
_INSTRUMENTS = msgspec.json.Decoder(_Instruments, strict=False)
_TIME = msgspec.json.Decoder(_Time, strict=False)


def server_time(content: bytes) -> int:
    """Milliseconds of ``public/time``."""
    stamps = _TIME.decode(content).data
    if not stamps:
        raise msgspec.ValidationError("data is empty")
    return stamps[0].ts


def spot_bars(content: bytes) -> Columns:
    """``history-candles`` of a spot instrument: volume in base coin."""
    return bar_columns(_CANDLES.decode(content).data)


def swap_bars(content: bytes) -> Columns:
    """``history-candles`` of a linear swap: volume in base coin (volCcy), not in contracts."""
    return bar_columns(_SWAP_CANDLES.decode(content).data)


def prices(content: bytes) -> Columns:
    """``history-mark-price-candles`` and ``history-index-candles``."""
    return price_columns(_PRICES.decode(content).data)


def funding(content: bytes) -> Columns:
    """``funding-rate-history``: the realised rate; positive: longs pay."""
    rows = _FUNDING.decode(content).data
    return rate_columns([row.time_ms for row in rows], "funding_rate", [row.rate for row in rows])


def listings(content: bytes, kind: str) -> tuple[list[Listing], str]:
    """``public/instruments`` of spot or swaps; of swaps only those of the asked kind."""
    found = [_listing(instrument, kind) for instrument in _INSTRUMENTS.decode(content).data if _is(instrument, kind)]
    return found, ""


def _is(instrument: _Instrument, kind: str) -> bool:
    return kind in ("spot", instrument.contract_type)


def _listing(instrument: _Instrument, kind: str) -> Listing:
    base, _, quote = (instrument.underlying or instrument.instrument_id).partition("-")
    is_linear = kind == "linear"
    return Listing(
        venue=VENUE,
        kind=kind,
        symbol=base + quote.partition("-")[0],
        venue_id=instrument.instrument_id,
        base=base,
        quote=quote,
        settle=instrument.settle or quote,
        is_trading=instrument.state == "live",
        listed_ms=int(instrument.listed) if instrument.listed else None,
        ends_ms=int(instrument.ends) if instrument.ends else None,
        multiplier=Decimal(instrument.contract_value) if is_linear and instrument.contract_value else Decimal(1),
        pair=f"{base}-{quote}",
    )
