"""The venues that history can be fetched from, by name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from crypto.errors import UsageError
from data.sources.endpoints.base import SeriesRoute, VenueRest
from data.sources.endpoints.binance import BINANCE
from data.sources.endpoints.bybit import BYBIT
from data.sources.endpoints.dydx import DYDX
from data.sources.endpoints.hyperliquid import HYPERLIQUID
from data.sources.endpoints.okx import OKX

RESTS: Mapping[str, VenueRest] = {rest.name: rest for rest in (BINANCE, BYBIT, OKX, HYPERLIQUID, DYDX)}


def rest_of(venue: str) -> VenueRest:
    """The interface of ``venue``; ``UsageError`` naming the known ones."""
    if venue in RESTS:
        return RESTS[venue]
    close = get_close_matches(venue, list(RESTS), n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise UsageError(f"unknown venue {venue!r}{hint}", remedy=f"history can be fetched from {', '.join(RESTS)}")


def series_route(rest: VenueRest, series: str, kind: str) -> SeriesRoute:
    """How a series of a kind is paged; ``UsageError`` saying why it isn't there."""
    if (series, kind) in rest.series:
        return rest.series[series, kind]
    if (series, kind) in rest.missing:
        raise UsageError(f"no {series} of {rest.name} {kind}: {rest.missing[series, kind]}", remedy="see carry venues")
    there = ", ".join(f"{name} ({of})" for name, of in rest.series)
    raise UsageError(f"{rest.name} has no {series} of kind {kind}", remedy=f"it has {there}")


def interval_of(rest: VenueRest, timeframe: str) -> str:
    """The venue's word for a bar of ``timeframe``; ``UsageError`` naming those that it has."""
    if timeframe not in rest.intervals:
        raise UsageError(f"{rest.name} has no {timeframe} bars", remedy=f"use one of {', '.join(rest.intervals)}")
    return rest.intervals[timeframe]
