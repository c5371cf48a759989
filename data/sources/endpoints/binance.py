"""Binance: spot, USD-M (linear), COIN-M (inverse) and margin REST, and the bulk archive."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from crypto.units import DAY_MS
from data.sources.endpoints.base import (
    Budget,
    MarketsRoute,
    Order,
    Parameters,
    Request,
    Route,
    SeriesRoute,
    TiersRoute,
    VenueRest,
)
from data.sources.wire import binance as wire
from data.store.rows import Columns

_DOCS = "Binance API docs as of 2026-07"
_CCXT = "ccxt 4.5.90 endpoint table"
_KLINES = f"{_DOCS}: weight 5 for 500 < limit <= 1000, the page size used here"
_MINUTE_S = 60.0
# A page of 1000 weighs 5; 1500 would weigh 10 and give fewer rows per unit.
_BAR_ROWS = 1000
# COIN-M klines refuse a longer range between startTime and endTime.
_COIN_M_SPAN_MS = 200 * DAY_MS
_BORROW_SPAN_MS = 30 * DAY_MS

_BUDGETS = {
    # fapi and dapi count into one budget since COIN-M moved into the USD-M architecture (2026-06-30).
    "futures": Budget(2400, _MINUTE_S, "Binance change log 2026-06-30: one 2400/min per IP", "x-mbx-used-weight-1m"),
    "spot": Budget(6000, _MINUTE_S, "Binance spot API docs, exchangeInfo rateLimits", "x-mbx-used-weight-1m"),
    "sapi": Budget(12_000, _MINUTE_S, "Binance margin API docs: 12000/min per IP for sapi"),
    # Not part of the weights: fundingRate and fundingInfo share it.
    "funding": Budget(500, 300.0, f"{_DOCS}: fundingRate and fundingInfo share 500 calls in 5 minutes per IP"),
}


def _bars_parameters(request: Request, name: str = "symbol") -> Parameters:
    symbol = request.listing.pair or request.listing.venue_id if name == "pair" else request.listing.venue_id
    return {
        name: symbol,
        "interval": request.interval,
        "startTime": request.start_ms,
        "endTime": request.end_ms - 1,  # endTime is included
        "limit": request.rows,
    }


def _funding_parameters(request: Request) -> Parameters:
    return {
        "symbol": request.listing.venue_id,
        "startTime": request.start_ms,
        "endTime": request.end_ms - 1,
        "limit": request.rows,
    }


def _borrow_parameters(request: Request) -> Parameters:
    return {
        "asset": request.listing.venue_id,
        "startTime": request.start_ms,
        "endTime": request.end_ms - 1,
        "limit": request.rows,
    }


def _futures(api: str, call: str, path: str, weight: int, source: str) -> Route:
    return Route(f"{api}public_get_{call.lower()}", f"GET /{api}/v1/{path}", {"futures": weight}, source)


def _klines(api: str, path: str, name: str = "symbol", parse: Callable[[bytes], Columns] = wire.prices) -> SeriesRoute:
    return SeriesRoute(
        _futures(api, path, path, 5, _KLINES),
        rows=_BAR_ROWS,
        order=Order.FORWARD,
        parameters=partial(_bars_parameters, name=name),
        parse=parse,
        span_ms=_COIN_M_SPAN_MS if api == "dapi" else 0,
        keeps_all=True,
    )


def _funding(api: str) -> SeriesRoute:
    return SeriesRoute(
        Route(f"{api}public_get_fundingrate", f"GET /{api}/v1/fundingRate", {"funding": 1}, f"{_DOCS}: at most 1000"),
        rows=1000,
        order=Order.FORWARD,
        parameters=_funding_parameters,
        parse=wire.funding,
        keeps_all=True,
    )


BINANCE = VenueRest(
    name="binance",
    ccxt_id="binance",
    urls={
        "public": "https://api.binance.com/api/v3",
        "sapi": "https://api.binance.com/sapi/v1",
        "fapiPublic": "https://fapi.binance.com/fapi/v1",
        "fapiPrivate": "https://fapi.binance.com/fapi/v1",
        "dapiPublic": "https://dapi.binance.com/dapi/v1",
        "dapiPrivateV2": "https://dapi.binance.com/dapi/v2",
    },
    budgets=_BUDGETS,
    time=_futures("fapi", "time", "time", 1, _DOCS),
    parse_time=wire.server_time,
    series={
        ("bars", "spot"): SeriesRoute(
            Route("public_get_klines", "GET /api/v3/klines", {"spot": 2}, f"{_DOCS}: at most 1000, weight 2"),
            rows=_BAR_ROWS,
            order=Order.FORWARD,
            parameters=_bars_parameters,
            parse=wire.bars,
            keeps_all=True,
        ),
        ("bars", "linear"): _klines("fapi", "klines", parse=wire.bars),
        ("bars", "inverse"): _klines("dapi", "klines", parse=wire.coin_bars),
        ("mark", "linear"): _klines("fapi", "markPriceKlines"),
        ("mark", "inverse"): _klines("dapi", "markPriceKlines"),
        ("index", "linear"): _klines("fapi", "indexPriceKlines", "pair"),
        ("index", "inverse"): _klines("dapi", "indexPriceKlines", "pair"),
        ("funding", "linear"): _funding("fapi"),
        ("funding", "inverse"): _funding("dapi"),
        ("borrow", "asset"): SeriesRoute(
            Route(
                "sapi_get_margin_interestratehistory",
                "GET /sapi/v1/margin/interestRateHistory",
                {"sapi": 1},
                "Binance margin API docs: at most 100 rows, at most 30 days between startTime and endTime",
                signed=True,
            ),
            rows=100,
            order=Order.BACKWARD,
            parameters=_borrow_parameters,
            parse=wire.borrow,
            span_ms=_BORROW_SPAN_MS,
        ),
    },
    markets={
        "spot": MarketsRoute(
            Route("public_get_exchangeinfo", "GET /api/v3/exchangeInfo", {"spot": 20}, _DOCS),
            ({},),
            wire.listings,
            one=lambda symbol: {"symbol": symbol},
        ),
        "linear": MarketsRoute(_futures("fapi", "exchangeInfo", "exchangeInfo", 1, _DOCS), ({},), wire.listings),
        "inverse": MarketsRoute(_futures("dapi", "exchangeInfo", "exchangeInfo", 1, _DOCS), ({},), wire.listings),
    },
    tiers={
        "linear": TiersRoute(
            Route(
                "fapiprivate_get_leveragebracket", "GET /fapi/v1/leverageBracket", {"futures": 1}, _CCXT, signed=True
            ),
            {},
            wire.tiers,
        ),
        "inverse": TiersRoute(
            Route(
                "dapiprivatev2_get_leveragebracket", "GET /dapi/v2/leverageBracket", {"futures": 1}, _CCXT, signed=True
            ),
            {},
            wire.tiers,
        ),
    },
    intervals={name: name for name in ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")},
    symbol_hint="BTCUSDT; an inverse perpetual is BTCUSD",
    # 429 without Retry-After: the weights start again with the next minute. 418 is a ban of two minutes or more.
    pause_s={429: 60.0, 418: 120.0, 403: 300.0},
    archive_url="https://data.binance.vision/data",
)
