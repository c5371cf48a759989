"""dYdX v4 indexer: funding and bars of perpetuals. Positions are marked to the oracle, which it has no history of."""

from __future__ import annotations

from crypto.units import iso
from data.sources.endpoints.base import Budget, MarketsRoute, Order, Parameters, Request, Route, SeriesRoute, VenueRest
from data.sources.wire import dydx as wire

_DOCS = "dYdX indexer API docs (read 2026-11) and ccxt 4.5.90"
_NO_MARKS = "dydx's indexer has no history of oracle prices: funding rows hold the price of each settlement"


def _bars_parameters(request: Request) -> Parameters:
    return {
        "market": request.listing.venue_id,
        "resolution": request.interval,
        "fromISO": iso(request.start_ms),
        "toISO": iso(request.end_ms),  # excluded
        "limit": request.rows,
    }


def _funding_parameters(request: Request) -> Parameters:
    return {
        "market": request.listing.venue_id,
        "effectiveBeforeOrAt": iso(request.end_ms - 1),
        "limit": request.rows,
    }


_INTERVALS = {
    "1m": "1MIN",
    "5m": "5MINS",
    "15m": "15MINS",
    "30m": "30MINS",
    "1h": "1HOUR",
    "4h": "4HOURS",
    "1d": "1DAY",
}

DYDX = VenueRest(
    name="dydx",
    ccxt_id="dydx",
    urls={"indexer": "https://indexer.dydx.trade/v4"},
    budgets={"ip": Budget(100, 10.0, f"{_DOCS}: 100 requests in 10 seconds per IP")},
    time=Route("indexer_get_time", "GET /v4/time", {"ip": 1}, _DOCS),
    parse_time=wire.server_time,
    series={
        ("bars", "linear"): SeriesRoute(
            Route("indexer_get_candles_perpetualmarkets_market", "GET /v4/candles/perpetualMarkets", {"ip": 1}, _DOCS),
            rows=1000,
            order=Order.BACKWARD,
            parameters=_bars_parameters,
            parse=wire.bars,
        ),
        ("funding", "linear"): SeriesRoute(
            Route("indexer_get_historicalfunding_market", "GET /v4/historicalFunding", {"ip": 1}, _DOCS),
            rows=100,
            order=Order.BACKWARD,
            parameters=_funding_parameters,
            parse=wire.funding,
            bounded=False,
        ),
    },
    markets={
        "linear": MarketsRoute(
            Route("indexer_get_perpetualmarkets", "GET /v4/perpetualMarkets", {"ip": 1}, _DOCS), ({},), wire.listings
        )
    },
    intervals=_INTERVALS,
    symbol_hint="BTCUSD, which is BTC-USD there",
    missing={("mark", "linear"): _NO_MARKS, ("index", "linear"): _NO_MARKS},
    pause_s={429: 10.0},
)
