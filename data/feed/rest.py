"""REST clients of a feed: one per venue, opened at the first call, so that all calls share the venue's limits."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Self

from data.sources.bans import bans_of
from data.sources.client import Client, ClientOptions
from data.sources.endpoints.known import rest_of
from data.store.lake import Lake

log = logging.getLogger(__name__)

ATTEMPTS = 2  # of one call: whoever asks asks again later anyway


class RestClients:
    """Use as ``async with``. ``bases``: scheme and host by venue that stand in for the venue's (proxy, test server).

    ``lake``: whose noted bans hold here, too, and where those that are met here are noted.
    """

    def __init__(self, bases: Mapping[str, str] | None = None, lake: Lake | None = None) -> None:
        self._bases = bases or {}
        self._lake = lake
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
            bans = None if self._lake is None else bans_of(self._lake, venue)
            client = Client(rest_of(venue), options, bans=bans, on_wait=log.warning)
            self._clients[venue] = await self._stack.enter_async_context(client)
        return self._clients[venue]
