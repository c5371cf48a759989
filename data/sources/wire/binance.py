"""Binance's answers: klines, funding, margin rates, exchange information, leverage brackets."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from data.sources.wire.columns import (
    Candle,
    Listing,
    OpenHighLowClose,
    Tier,
    bar_columns,
    optional_price,
    price_columns,
    rate_columns,
    split_multiple,
)
from data.store.rows import Columns

VENUE = "binance"
# deliveryDate of a perpetual that has no end: 4133404800000, and 4133404802000 in a record of 2026-03-31.
_NO_END_MS = 4_133_404_800_000
_HOURS_PER_DAY = 24.0


class _Time(msgspec.Struct):
    server_time: int = msgspec.field(name="serverTime")


class _Funding(msgspec.Struct, gc=False):
    funding_time: int = msgspec.field(name="fundingTime")
    funding_rate: float = msgspec.field(name="fundingRate")
    mark_price: str | None = msgspec.field(name="markPrice", default="")


class _Interest(msgspec.Struct, gc=False):
    timestamp: int
    daily_rate: float = msgspec.field(name="dailyInterestRate")


class _Filter(msgspec.Struct):
    filter_type: str = msgspec.field(name="filterType")
    tick_size: str | None = msgspec.field(name="tickSize", default=None)
    step_size: str | None = msgspec.field(name="stepSize", default=None)
    min_quantity: str | None = msgspec.field(name="minQty", default=None)
    notional: str | None = None
    min_notional: str | None = msgspec.field(name="minNotional", default=None)


class _Symbol(msgspec.Struct):
    symbol: str
    base: str = msgspec.field(name="baseAsset")
    quote: str = msgspec.field(name="quoteAsset")
    filters: list[_Filter] = []
    status: str = ""
    contract_status: str = msgspec.field(name="contractStatus", default="")
    contract_type: str = msgspec.field(name="contractType", default="")
    pair: str = ""
    margin_asset: str = msgspec.field(name="marginAsset", default="")
    contract_size: float | None = msgspec.field(name="contractSize", default=None)
    onboard_ms: int | None = msgspec.field(name="onboardDate", default=None)
    delivery_ms: int | None = msgspec.field(name="deliveryDate", default=None)


class _ExchangeInfo(msgspec.Struct):
    symbols: list[_Symbol]


class _Bracket(msgspec.Struct):
    initial_leverage: float = msgspec.field(name="initialLeverage")
    rate: float = msgspec.field(name="maintMarginRatio")
    cum: float | None = None
    cap: float | None = msgspec.field(name="notionalCap", default=None)
    floor: float | None = msgspec.field(name="notionalFloor", default=None)
    quantity_cap: float | None = msgspec.field(name="qtyCap", default=None)
    quantity_floor: float | None = msgspec.field(name="qtyFloor", default=None)


class _Brackets(msgspec.Struct):
    symbol: str
    brackets: list[_Bracket]


class _CoinCandle(msgspec.Struct, array_like=True, gc=False):
    time_ms: int
    open: float
    high: float
    low: float
    close: float
    contracts: float
    close_time_ms: int
    volume: float  # base asset volume


_COIN_CANDLES = msgspec.json.Decoder(list[_CoinCandle], strict=False)
_CANDLES = msgspec.json.Decoder(list[Candle], strict=False)
_PRICES = msgspec.json.Decoder(list[OpenHighLowClose], strict=False)
_FUNDING = msgspec.json.Decoder(list[_Funding], strict=False)
_INTEREST = msgspec.json.Decoder(list[_Interest], strict=False)
_INFO = msgspec.json.Decoder(_ExchangeInfo, strict=False)
_BRACKETS = msgspec.json.Decoder(list[_Brackets] | _Brackets, strict=False)
_TIME = msgspec.json.Decoder(_Time)


def server_time(content: bytes) -> int:
    """Milliseconds of ``/time``."""
    return _TIME.decode(content).server_time


def bars(content: bytes) -> Columns:
    """``klines`` of spot and USD-M: columns of traded bars, volume in base units."""
    return bar_columns(_CANDLES.decode(content))


def coin_bars(content: bytes) -> Columns:
    """``klines`` of COIN-M, whose sixth element counts contracts: volume in base units is the eighth."""
    return bar_columns(_COIN_CANDLES.decode(content))


def prices(content: bytes) -> Columns:
    """``markPriceKlines`` and ``indexPriceKlines``: prices only, what stands for volume there means nothing."""
    return price_columns(_PRICES.decode(content))


def funding(content: bytes) -> Columns:
    """``fundingRate``: rate and mark price of each settlement; positive rate: longs pay."""
    rows = _FUNDING.decode(content)
    marks = [optional_price(row.mark_price) for row in rows]
    return rate_columns([row.funding_time for row in rows], "funding_rate", [row.funding_rate for row in rows], marks)


def borrow(content: bytes) -> Columns:
    """``margin/interestRateHistory``: the daily rate as a rate per hour (a 24th; Binance charges simple interest)."""
    rows = _INTEREST.decode(content)
    return rate_columns(
        [row.timestamp for row in rows], "hourly_rate", [row.daily_rate / _HOURS_PER_DAY for row in rows]
    )


def listings(content: bytes, kind: str) -> tuple[list[Listing], str]:
    """``exchangeInfo`` of one kind; there is only one page."""
    return [_listing(symbol, kind) for symbol in _INFO.decode(content).symbols], ""


def tiers(content: bytes) -> tuple[dict[str, list[Tier]], str]:
    """``leverageBracket``: by symbol; COIN-M counts in coin (qtyFloor, qtyCap)."""
    decoded = _BRACKETS.decode(content)
    listed = decoded if isinstance(decoded, list) else [decoded]
    return {entry.symbol: sorted(map(_tier, entry.brackets)) for entry in listed}, ""


def our_symbol(venue_id: str, kind: str) -> str:
    """``BTCUSD_PERP`` is our BTCUSD; every other name stays."""
    return venue_id.removesuffix("_PERP") if kind == "inverse" else venue_id


def _tier(bracket: _Bracket) -> Tier:
    floor = bracket.floor if bracket.quantity_floor is None else bracket.quantity_floor
    cap = bracket.cap if bracket.quantity_cap is None else bracket.quantity_cap
    if floor is None or cap is None:
        raise msgspec.ValidationError("a bracket has neither notionalFloor/notionalCap nor qtyFloor/qtyCap")
    return Tier(floor, cap, bracket.rate, bracket.initial_leverage, bracket.cum)


def _listing(symbol: _Symbol, kind: str) -> Listing:
    filters = {entry.filter_type: entry for entry in symbol.filters}
    price, lot = filters.get("PRICE_FILTER"), filters.get("LOT_SIZE")
    smallest = filters.get("MIN_NOTIONAL") or filters.get("NOTIONAL")
    notional = None if smallest is None else (smallest.notional or smallest.min_notional)
    if kind == "inverse":
        base, multiplier = symbol.base, Decimal(str(symbol.contract_size or 1))
    else:
        base, multiplier = split_multiple(symbol.base)
    status = symbol.status or symbol.contract_status
    return Listing(
        venue=VENUE,
        kind=kind,
        symbol=our_symbol(symbol.symbol, kind),
        venue_id=symbol.symbol,
        base=base,
        quote=symbol.quote,
        settle=symbol.margin_asset or (symbol.base if kind == "inverse" else symbol.quote),
        is_trading=status == "TRADING",
        is_perpetual=kind == "spot" or "PERPETUAL" in symbol.contract_type,
        listed_ms=symbol.onboard_ms,
        ends_ms=symbol.delivery_ms if symbol.delivery_ms and symbol.delivery_ms < _NO_END_MS else None,
        tick=_decimal(price.tick_size if price else None),
        lot=_decimal(lot.step_size if lot else None),
        min_quantity=_decimal(lot.min_quantity if lot else None),
        min_notional=_decimal(notional) if notional else Decimal(0),
        multiplier=multiplier,
        pair=symbol.pair,
    )


def _decimal(text: str | None) -> Decimal | None:
    # 0.10000000 and 0.10 are one filter: written without the zeros, and never with an exponent.
    return None if text is None else Decimal(f"{Decimal(text).normalize():f}")
