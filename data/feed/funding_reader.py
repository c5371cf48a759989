"""Settled funding from the venues' REST interfaces, for the feed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from data.feed.names import our_symbol
from data.feed.readback import Wanted
from data.feed.rest import RestClients
from data.feed.settled_log import SAME_MS
from data.feed.settlements import HOUR_MS
from data.sources.endpoints.base import Request, SeriesRoute
from data.sources.endpoints.known import series_route
from data.sources.wire.columns import Listing
from data.store.rows import Columns
from data.streams.events import FundingSettled

_MINUTE_MS = 60_000
_FEWEST_ROWS = 10


class RestFundingReader:
    """A ``FundingReader`` over REST: one call for what fits on a page of the venue."""

    def __init__(self, clients: RestClients) -> None:
        self._clients = clients

    async def settled(self, wanted: Wanted) -> list[FundingSettled]:
        """What the venue lists, oldest first; ``FetchError`` when it can't be asked."""
        venue, kind, symbol = wanted.key
        client = await self._clients.of(venue)
        route = series_route(client.rest, "funding", kind)
        listing = Listing(venue, kind, our_symbol(venue, symbol), symbol, "", "", "", is_trading=True)
        found: dict[int, FundingSettled] = {}
        for start_ms, end_ms in _pages(wanted, route):
            rows = min(route.rows, max(_FEWEST_ROWS, (end_ms - start_ms) // HOUR_MS + 2))
            request = Request(listing, start_ms, end_ms, rows)
            columns = await client.call(route.route, route.parameters(request), route.parse)
            found |= {event.settlement_ms: event for event in _events(wanted, columns)}
        return [found[at] for at in sorted(found)]


def _pages(wanted: Wanted, route: SeriesRoute) -> Iterator[tuple[int, int]]:
    """Ranges of which each has no more settlements than the venue gives at once: there is at most one an hour."""
    step_ms = (route.rows - 2) * HOUR_MS
    for start_ms in range(wanted.since_ms, wanted.until_ms, step_ms):
        yield start_ms, min(wanted.until_ms, start_ms + step_ms)


def _events(wanted: Wanted, columns: Columns) -> Iterator[FundingSettled]:
    """The rows of the range as events; of a venue without a lower bound others stand on the page, too."""
    venue, kind, symbol = wanted.key
    times = columns["time_ms"]
    for at in np.flatnonzero((times >= wanted.since_ms) & (times <= wanted.until_ms)):
        time_ms = int(times[at])
        mark = float(columns["mark_price"][at]) if "mark_price" in columns else math.nan
        yield FundingSettled(
            venue=venue,
            kind=kind,
            symbol=symbol,
            event_ms=time_ms,
            settlement_ms=_settlement_of(time_ms, wanted.settlement_ms),
            rate=float(columns["funding_rate"][at]),
            mark=None if math.isnan(mark) else mark,
        )


def _settlement_of(time_ms: int, announced_ms: int) -> int:
    """The announced time that the stamp is close to; else the full minute, because stamps are some tenths late."""
    if abs(time_ms - announced_ms) <= SAME_MS:
        return announced_ms
    return round(time_ms / _MINUTE_MS) * _MINUTE_MS
