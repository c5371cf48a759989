"""Settled funding from the venues' REST interfaces, one call per settlement."""

from __future__ import annotations

import math
from contextlib import AsyncExitStack
from typing import Self

import numpy as np

from data.feed.names import our_symbol
from data.feed.settlements import EARLY_MS
from data.sources.client import Client, ClientOptions
from data.sources.endpoints.base import Request
from data.sources.endpoints.known import rest_of, series_route
from data.sources.wire.columns import Listing
from data.streams.events import FundingSettled
from data.streams.perps import Key

ATTEMPTS = 2  # of one call: the settlement is asked for again later anyway


class RestFundingReader:
    """A ``FundingReader`` over REST. Use as ``async with``; connections are opened at the first settlement."""

    def __init__(self, bases: dict[str, str] | None = None) -> None:
        self._bases = bases or {}
        self._clients: dict[str, Client] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Nothing is sent yet."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close the connections."""
        await self._stack.aclose()

    async def settled(self, key: Key, settlement_ms: int) -> FundingSettled | None:
        """The rate settled within a minute of ``settlement_ms``; None while the venue lists none. ``FetchError``."""
        venue, kind, symbol = key
        client = await self._client(venue)
        route = series_route(client.rest, "funding", kind)
        listing = Listing(venue, kind, our_symbol(venue, symbol), symbol, "", "", "", is_trading=True)
        request = Request(listing, settlement_ms - EARLY_MS, settlement_ms + EARLY_MS, min(10, route.rows))
        columns = await client.call(route.route, route.parameters(request), route.parse)
        near = np.flatnonzero(np.abs(columns["time_ms"] - settlement_ms) <= EARLY_MS)
        if not near.size:
            return None
        at = int(near[-1])
        mark = float(columns["mark_price"][at]) if "mark_price" in columns else math.nan
        return FundingSettled(
            venue=venue,
            kind=kind,
            symbol=symbol,
            event_ms=int(columns["time_ms"][at]),
            settlement_ms=settlement_ms,
            rate=float(columns["funding_rate"][at]),
            mark=None if math.isnan(mark) else mark,
        )

    async def _client(self, venue: str) -> Client:
        if venue not in self._clients:
            options = ClientOptions(base=self._bases.get(venue, ""), attempts=ATTEMPTS)
            self._clients[venue] = await self._stack.enter_async_context(Client(rest_of(venue), options))
        return self._clients[venue]
