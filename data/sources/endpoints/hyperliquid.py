"""Hyperliquid: funding and bars of perpetuals through POST /info. It publishes no history of marks."""

from __future__ import annotations

from data.sources.endpoints.base import Budget, MarketsRoute, Order, Parameters, Request, Route, SeriesRoute, VenueRest
from data.sources.wire import hyperliquid as wire

_DOCS = "Hyperliquid docs, 'Info endpoint' and 'Rate limits' (read 2026-11)"
_NO_MARKS = "hyperliquid publishes no history of mark or index prices: record them with the feed, or use bars"


def _bars_parameters(request: Request) -> Parameters:
    asked = {
        "coin": request.listing.venue_id,
        "interval": request.interval,
        "startTime": request.start_ms,
        "endTime": request.end_ms - 1,
    }
    return {"type": "candleSnapshot", "req": asked}


def _funding_parameters(request: Request) -> Parameters:
    return {
        "type": "fundingHistory",
        "coin": request.listing.venue_id,
        "startTime": request.start_ms,
        "endTime": request.end_ms - 1,
    }


def _info(kind: str, weight: int) -> Route:
    return Route("public_post_info", f"POST /info {kind}", {"ip": weight}, _DOCS)


HYPERLIQUID = VenueRest(
    name="hyperliquid",
    ccxt_id="hyperliquid",
    urls={"public": "https://api.hyperliquid.xyz"},
    budgets={"ip": Budget(1200, 60.0, f"{_DOCS}: 1200 weight a minute per IP")},
    time=_info("exchangeStatus", 2),
    parse_time=wire.server_time,
    time_parameters={"type": "exchangeStatus"},
    series={
        # 20 units and one more per 60 candles or 20 funding rows.
        ("bars", "linear"): SeriesRoute(
            _info("candleSnapshot", 20 + 5000 // 60),
            rows=5000,
            order=Order.FORWARD,
            parameters=_bars_parameters,
            parse=wire.bars,
            remedy="hyperliquid keeps the last 5000 candles of an interval",
        ),
        ("funding", "linear"): SeriesRoute(
            _info("fundingHistory", 20 + 500 // 20),
            rows=500,
            order=Order.FORWARD,
            parameters=_funding_parameters,
            parse=wire.funding,
        ),
    },
    markets={"linear": MarketsRoute(_info("meta", 20), ({"type": "meta"},), wire.listings)},
    intervals={name: name for name in ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "8h", "12h", "1d")},
    symbol_hint="the coin: BTC, kPEPE",
    missing={("mark", "linear"): _NO_MARKS, ("index", "linear"): _NO_MARKS},
    pause_s={429: 60.0},
)
