"""Bybit's answers (v5): everything in an envelope, numbers as texts, newest first."""

from __future__ import annotations

import math
from decimal import Decimal

import msgspec

from data.sources.wire.columns import (
    Candle,
    Listing,
    OpenHighLowClose,
    Tier,
    bar_columns,
    price_columns,
    rate_columns,
    split_multiple,
)
from data.store.rows import Columns

VENUE = "bybit"
# initialMargin x maxLeverage is 1 when rates are fractions and 100 when they are per cent: the venue has sent both.
_FRACTION, _PER_CENT = 1.0, 100.0
_PRODUCT_TOLERANCE = 0.2


class _Funding(msgspec.Struct, gc=False):
    time_ms: int = msgspec.field(name="fundingRateTimestamp")
    rate: float = msgspec.field(name="fundingRate")


class _Interest(msgspec.Struct, gc=False):
    timestamp: int
    hourly_rate: float = msgspec.field(name="hourlyBorrowRate")


class _Lots(msgspec.Struct):
    step: str | None = msgspec.field(name="qtyStep", default=None)
    base_precision: str | None = msgspec.field(name="basePrecision", default=None)
    min_quantity: str | None = msgspec.field(name="minOrderQty", default=None)
    min_notional: str | None = msgspec.field(name="minNotionalValue", default=None)
    min_amount: str | None = msgspec.field(name="minOrderAmt", default=None)


class _Prices(msgspec.Struct):
    tick: str | None = msgspec.field(name="tickSize", default=None)


class _Instrument(msgspec.Struct):
    symbol: str
    status: str
    base: str = msgspec.field(name="baseCoin")
    quote: str = msgspec.field(name="quoteCoin")
    lots: _Lots = msgspec.field(name="lotSizeFilter")
    prices: _Prices = msgspec.field(name="priceFilter")
    settle: str = msgspec.field(name="settleCoin", default="")
    contract_type: str = msgspec.field(name="contractType", default="")
    launch_ms: int | None = msgspec.field(name="launchTime", default=None)
    delivery_ms: int | None = msgspec.field(name="deliveryTime", default=None)


class _RiskLimit(msgspec.Struct):
    symbol: str
    cap: float = msgspec.field(name="riskLimitValue")
    maintenance: float = msgspec.field(name="maintenanceMargin")
    initial: float = msgspec.field(name="initialMargin")
    max_leverage: float = msgspec.field(name="maxLeverage")
    deduction: str = msgspec.field(name="mmDeduction", default="")


class _InverseCandle(msgspec.Struct, array_like=True, gc=False):
    time_ms: int
    open: float
    high: float
    low: float
    close: float
    contracts: float
    volume: float  # turnover: base coin, for inverse contracts


class _InverseCandleList(msgspec.Struct):
    rows: list[_InverseCandle] = msgspec.field(name="list")


class _InverseCandles(msgspec.Struct):
    result: _InverseCandleList


class _CandleList(msgspec.Struct):
    rows: list[Candle] = msgspec.field(name="list")


class _PriceList(msgspec.Struct):
    rows: list[OpenHighLowClose] = msgspec.field(name="list")


class _FundingList(msgspec.Struct):
    rows: list[_Funding] = msgspec.field(name="list")


class _InterestList(msgspec.Struct):
    rows: list[_Interest] = msgspec.field(name="list")


class _InstrumentList(msgspec.Struct):
    rows: list[_Instrument] = msgspec.field(name="list")
    cursor: str | None = msgspec.field(name="nextPageCursor", default="")


class _RiskList(msgspec.Struct):
    rows: list[_RiskLimit] = msgspec.field(name="list")
    cursor: str | None = msgspec.field(name="nextPageCursor", default="")


class _Candles(msgspec.Struct):
    result: _CandleList


class _PriceRows(msgspec.Struct):
    result: _PriceList


class _Fundings(msgspec.Struct):
    result: _FundingList


class _Interests(msgspec.Struct):
    result: _InterestList


class _Instruments(msgspec.Struct):
    result: _InstrumentList


class _RiskLimits(msgspec.Struct):
    result: _RiskList


class _Time(msgspec.Struct):
    time: int


_CANDLES = msgspec.json.Decoder(_Candles, strict=False)
_INVERSE_CANDLES = msgspec.json.Decoder(_InverseCandles, strict=False)
_PRICES = msgspec.json.Decoder(_PriceRows, strict=False)
_FUNDING = msgspec.json.Decoder(_Fundings, strict=False)
_INTEREST = msgspec.json.Decoder(_Interests, strict=False)
_INSTRUMENTS = msgspec.json.Decoder(_Instruments, strict=False)
_RISK_LIMITS = msgspec.json.Decoder(_RiskLimits, strict=False)
_TIME = msgspec.json.Decoder(_Time)


def server_time(content: bytes) -> int:
    """Milliseconds of the envelope's ``time``."""
    return _TIME.decode(content).time


def bars(content: bytes) -> Columns:
    """``market/kline`` of spot and linear: volume in base coin."""
    return bar_columns(_CANDLES.decode(content).result.rows)


def inverse_bars(content: bytes) -> Columns:
    """``market/kline`` of inverse, whose volume counts USD: the turnover is in base coin."""
    return bar_columns(_INVERSE_CANDLES.decode(content).result.rows)


def prices(content: bytes) -> Columns:
    """``mark-price-kline`` and ``index-price-kline``."""
    return price_columns(_PRICES.decode(content).result.rows)


def funding(content: bytes) -> Columns:
    """``funding/history``; positive rate: longs pay."""
    rows = _FUNDING.decode(content).result.rows
    return rate_columns([row.time_ms for row in rows], "funding_rate", [row.rate for row in rows])


def borrow(content: bytes) -> Columns:
    """``interest-rate-history``: rates are per hour already."""
    rows = _INTEREST.decode(content).result.rows
    return rate_columns([row.timestamp for row in rows], "hourly_rate", [row.hourly_rate for row in rows])


def listings(content: bytes, kind: str) -> tuple[list[Listing], str]:
    """``instruments-info`` of one category, and the cursor of the next page."""
    result = _INSTRUMENTS.decode(content).result
    return [_listing(instrument, kind) for instrument in result.rows], result.cursor or ""


def tiers(content: bytes) -> tuple[dict[str, list[Tier]], str]:
    """``risk-limit``: by symbol, lowest first; a tier begins where the one before it ends."""
    result = _RISK_LIMITS.decode(content).result
    by_symbol: dict[str, list[_RiskLimit]] = {}
    for row in result.rows:
        by_symbol.setdefault(row.symbol, []).append(row)
    return {symbol: _tiers(rows) for symbol, rows in by_symbol.items()}, result.cursor or ""


def _tiers(rows: list[_RiskLimit]) -> list[Tier]:
    found: list[Tier] = []
    for row in sorted(rows, key=lambda row: row.cap):
        floor = found[-1].cap if found else 0.0
        deduction = float(row.deduction) if row.deduction else None
        found.append(Tier(floor, row.cap, row.maintenance / _unit(row), row.max_leverage, deduction))
    return found


def _unit(row: _RiskLimit) -> float:
    product = row.initial * row.max_leverage
    for unit in (_FRACTION, _PER_CENT):
        if math.isclose(product, unit, rel_tol=_PRODUCT_TOLERANCE):
            return unit
    raise msgspec.ValidationError(
        f"{row.symbol}: initialMargin {row.initial:g} x maxLeverage {row.max_leverage:g} is {product:g}, so its rates "
        "are neither fractions nor per cent"
    )


def _listing(instrument: _Instrument, kind: str) -> Listing:
    base, multiplier = split_multiple(instrument.base) if kind != "inverse" else (instrument.base, Decimal(1))
    lot = instrument.lots.step or instrument.lots.base_precision
    is_spot = kind == "spot"
    # Spot's minOrderQty is not checked any more (docs/specs/venues.md), so one lot is the smallest quantity.
    smallest = lot if is_spot else instrument.lots.min_quantity
    notional = instrument.lots.min_amount if is_spot else instrument.lots.min_notional
    return Listing(
        venue=VENUE,
        kind=kind,
        symbol=instrument.symbol.replace("-", "_"),
        venue_id=instrument.symbol,
        base=base,
        quote=instrument.quote,
        settle=instrument.settle or instrument.quote,
        is_trading=instrument.status == "Trading",
        is_perpetual=is_spot or "Perpetual" in instrument.contract_type,
        listed_ms=instrument.launch_ms or None,
        ends_ms=instrument.delivery_ms or None,
        tick=Decimal(instrument.prices.tick) if instrument.prices.tick else None,
        lot=Decimal(lot) if lot else None,
        min_quantity=Decimal(smallest) if smallest else None,
        min_notional=Decimal(notional) if notional else Decimal(0),
        multiplier=multiplier,
    )
