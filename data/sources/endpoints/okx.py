"""OKX v5: bars, marks, index and funding of linear swaps, and spot bars."""

from __future__ import annotations

from collections.abc import Callable

from data.sources.endpoints.base import Budget, MarketsRoute, Order, Parameters, Request, Route, SeriesRoute, VenueRest
from data.sources.wire import okx as wire
from data.store.rows import Columns

_CCXT = "ccxt 4.5.90 endpoint table; pages of 100, newest first"
_KEEPS = "okx keeps about three months of funding rates"


def _candle_parameters(request: Request) -> Parameters:
    # `after` gives rows before a stamp; `before` alone would give the newest rows, whatever the stamp.
    return {
        "instId": request.listing.venue_id,
        "bar": request.interval,
        "after": request.end_ms,
        "limit": request.rows,
    }


def _index_parameters(request: Request) -> Parameters:
    return {**_candle_parameters(request), "instId": request.listing.pair}


def _funding_parameters(request: Request) -> Parameters:
    return {"instId": request.listing.venue_id, "after": request.end_ms, "limit": request.rows}


def _candles(
    path: str,
    parse: Callable[[bytes], Columns],
    parameters: Callable[[Request], Parameters] = _candle_parameters,
    weight: int = 1,
) -> SeriesRoute:
    call = f"public_get_market_{path.replace('-', '_')}"
    return SeriesRoute(
        Route(call, f"GET /api/v5/market/{path}", {"ip": weight}, _CCXT),
        rows=100,
        order=Order.BACKWARD,
        parameters=parameters,
        parse=parse,
        bounded=False,
    )


_INSTRUMENTS = Route("public_get_public_instruments", "GET /api/v5/public/instruments", {"ip": 1}, _CCXT)

# Bars above four hours open at midnight in Hong Kong unless the UTC form is asked for.
_INTERVALS = {
    "1m": "1m",
    "3m": "3m",
    "5m": "5m",
    "15m": "15m",
    "30m": "30m",
    "1h": "1H",
    "2h": "2H",
    "4h": "4H",
    "6h": "6Hutc",
    "12h": "12Hutc",
    "1d": "1Dutc",
}

OKX = VenueRest(
    name="okx",
    ccxt_id="okx",
    urls={"rest": "https://www.okx.com"},
    budgets={"ip": Budget(18, 2.0, "ccxt 4.5.90: one unit per 110 ms, over all routes")},
    time=Route("public_get_public_time", "GET /api/v5/public/time", {"ip": 2}, _CCXT),
    parse_time=wire.server_time,
    series={
        ("bars", "spot"): _candles("history-candles", wire.spot_bars),
        ("bars", "linear"): _candles("history-candles", wire.swap_bars),
        ("mark", "linear"): _candles("history-mark-price-candles", wire.prices),
        ("index", "linear"): _candles("history-index-candles", wire.prices, _index_parameters, weight=2),
        ("funding", "linear"): SeriesRoute(
            Route(
                "public_get_public_funding_rate_history", "GET /api/v5/public/funding-rate-history", {"ip": 2}, _CCXT
            ),
            rows=100,
            order=Order.BACKWARD,
            parameters=_funding_parameters,
            parse=wire.funding,
            bounded=False,
            remedy=_KEEPS,
        ),
    },
    markets={
        "spot": MarketsRoute(_INSTRUMENTS, ({"instType": "SPOT"},), wire.listings),
        "linear": MarketsRoute(_INSTRUMENTS, ({"instType": "SWAP"},), wire.listings),
    },
    intervals=_INTERVALS,
    symbol_hint="BTCUSDT, which is BTC-USDT-SWAP there",
    pause_s={429: 2.0},
    envelope=True,
)
