"""REST clients of a feed: one per venue, opened at the first call, so that all calls share the venue's limits."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Self

from data.sources.client import Client, ClientOptions
from data.sources.endpoints.known import rest_of

ATTEMPTS = 2  # of one call: whoever asks asks again later anyway


class RestClients:
    """Use as ``async with``. ``bases``: scheme and host by venue that stand in for the venue's (proxy, test server)."""

    def __init__(self, bases: Mapping[str, str] | None = None) -> None:
        self._bases = bases or {}
        self._clients: dict[str, Client] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Nothing is sent yet."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close the connections."""
        await self._stack.aclose()

    async def of(self, venue: str) -> Client:
        """The venue's client."""
        if venue not in self._clients:
            options = ClientOptions(base=self._bases.get(venue, ""), attempts=ATTEMPTS)
            self._clients[venue] = await self._stack.enter_async_context(Client(rest_of(venue), options))
        return self._clients[venue]
