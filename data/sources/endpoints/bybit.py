"""Bybit v5: spot, linear and inverse in one interface. It has no bulk archive of bars or funding."""

from __future__ import annotations

from collections.abc import Callable

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
from data.sources.wire import bybit as wire
from data.store.rows import Columns

_DOCS = "Bybit API docs, commit 072c197d (2026-07-24)"
_IP = {"ip": 1}
_KINDS = ("spot", "linear", "inverse")


def _bars_parameters(request: Request) -> Parameters:
    return {
        "category": request.listing.kind,
        "symbol": request.listing.venue_id,
        "interval": request.interval,
        "start": request.start_ms,
        "end": request.end_ms - 1,  # end is included
        "limit": request.rows,
    }


def _funding_parameters(request: Request) -> Parameters:
    # endTime alone: with startTime as well, the newest 200 of the range would come, and startTime alone is an error.
    return {
        "category": request.listing.kind,
        "symbol": request.listing.venue_id,
        "endTime": request.end_ms - 1,
        "limit": request.rows,
    }


def _borrow_parameters(request: Request) -> Parameters:
    return {"currency": request.listing.venue_id, "startTime": request.start_ms, "endTime": request.end_ms - 1}


def _bars(path: str, parse: Callable[[bytes], Columns] = wire.prices) -> SeriesRoute:
    call = f"public_get_v5_market_{path.replace('-', '_')}"
    return SeriesRoute(
        Route(call, f"GET /v5/market/{path}", _IP, f"{_DOCS}: at most 1000, newest first"),
        rows=1000,
        order=Order.FORWARD,
        parameters=_bars_parameters,
        parse=parse,
        keeps_all=True,
    )


_FUNDING = SeriesRoute(
    Route(
        "public_get_v5_market_funding_history",
        "GET /v5/market/funding/history",
        _IP,
        f"{_DOCS}: at most 200, endTime alone gives the last ones up to it",
    ),
    rows=200,
    order=Order.BACKWARD,
    parameters=_funding_parameters,
    parse=wire.funding,
    bounded=False,
    keeps_all=True,
)


def _markets(kind: str) -> MarketsRoute:
    pages: tuple[Parameters, ...] = ({"category": kind, "limit": 1000},)
    if kind != "spot":
        # Only trading contracts are listed unless another status is asked for.
        pages += tuple({"category": kind, "limit": 1000, "status": status} for status in ("Delivering", "Closed"))
    return MarketsRoute(
        Route("public_get_v5_market_instruments_info", "GET /v5/market/instruments-info", _IP, _DOCS),
        pages,
        wire.listings,
        cursor_name="cursor",
    )


def _tiers(kind: str) -> TiersRoute:
    return TiersRoute(
        Route(
            "public_get_v5_market_risk_limit",
            "GET /v5/market/risk-limit",
            _IP,
            f"{_DOCS}: linear comes in pages of 15 symbols",
        ),
        {"category": kind},
        wire.tiers,
        cursor_name="cursor",
        by_symbol=True,
    )


_INTERVALS = {
    "1m": "1",
    "3m": "3",
    "5m": "5",
    "15m": "15",
    "30m": "30",
    "1h": "60",
    "2h": "120",
    "4h": "240",
    "6h": "360",
    "12h": "720",
    "1d": "D",
}

BYBIT = VenueRest(
    name="bybit",
    ccxt_id="bybit",
    urls={"public": "https://api.bybit.com", "private": "https://api.bybit.com"},
    budgets={"ip": Budget(600, 5.0, f"{_DOCS}: 600 requests in 5 seconds per IP, then 403 for ten minutes")},
    time=Route("public_get_v5_market_time", "GET /v5/market/time", _IP, _DOCS),
    parse_time=wire.server_time,
    series={
        **{("bars", kind): _bars("kline", wire.bars) for kind in ("spot", "linear")},
        ("bars", "inverse"): _bars("kline", wire.inverse_bars),
        **{("mark", kind): _bars("mark-price-kline") for kind in ("linear", "inverse")},
        **{("index", kind): _bars("index-price-kline") for kind in ("linear", "inverse")},
        **{("funding", kind): _FUNDING for kind in ("linear", "inverse")},
        ("borrow", "asset"): SeriesRoute(
            Route(
                "private_get_v5_spot_margin_trade_interest_rate_history",
                "GET /v5/spot-margin-trade/interest-rate-history",
                _IP,
                f"{_DOCS}: at most 30 days per call, six months are kept",
                signed=True,
            ),
            rows=1000,
            order=Order.BACKWARD,
            parameters=_borrow_parameters,
            parse=wire.borrow,
            span_ms=30 * DAY_MS,
            remedy="bybit keeps six months of borrow rates",
        ),
    },
    markets={kind: _markets(kind) for kind in _KINDS},
    tiers={kind: _tiers(kind) for kind in ("linear", "inverse")},
    intervals=_INTERVALS,
    symbol_hint="BTCUSDT; an inverse perpetual is BTCUSD",
    pause_s={403: 600.0, 429: 5.0},
    envelope=True,
)
