"""Snapshots of order books from the venues' REST interfaces, for the feed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from crypto.errors import UsageError
from data.feed.rest import RestClients
from data.sources.endpoints.base import Route
from data.streams.binance import parse_depth_snapshot
from data.streams.events import BookSnapshot
from data.streams.perps import Key

ROWS: Final = 1000  # levels a side; the most that one USD-M answer has
_DOCS: Final = "Binance API docs as of 2026-07: Order Book"
# Weights for 1000 levels: USD-M 20, spot 50.
_ROUTES: Final[Mapping[tuple[str, str], Route]] = {
    ("binance", "linear"): Route("fapipublic_get_depth", "GET /fapi/v1/depth", {"futures": 20}, _DOCS),
    ("binance", "spot"): Route("public_get_depth", "GET /api/v3/depth", {"spot": 50}, _DOCS),
}


class RestBookReader:
    """A ``BookReader`` over REST."""

    def __init__(self, clients: RestClients) -> None:
        self._clients = clients

    async def book(self, key: Key) -> BookSnapshot:
        """The best 1000 levels of both sides; ``FetchError`` when the venue can't be asked."""
        venue, kind, symbol = key
        route = _ROUTES.get((venue, kind))
        if route is None:
            raise UsageError(f"no snapshots of books of {venue} {kind} over REST", remedy="leave --book out")
        client = await self._clients.of(venue)
        return await client.call(route, {"symbol": symbol, "limit": ROWS}, partial(parse_depth_snapshot, kind, symbol))
