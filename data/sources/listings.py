"""What a venue lists: finding symbols by our names, with a message for each way in which one can't be found."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from crypto.errors import UsageError
from data.sources.client import Client
from data.sources.endpoints.base import MarketsRoute
from data.sources.faults import UnknownSymbolError
from data.sources.wire.columns import Listing
from data.store.pieces import instrument_symbol


async def all_listings(client: Client, kind: str) -> list[Listing]:
    """Every instrument of a kind that the venue lists, ended contracts included where it tells of them."""
    route = _markets_route(client, kind)
    found: list[Listing] = []
    for page in route.pages:
        cursor = ""
        while True:
            parameters = {**page, **({route.cursor_name: cursor} if cursor else {})}
            listed, cursor = await client.call(route.route, parameters, lambda content: route.parse(content, kind))
            found += listed
            if not cursor or not listed:
                break
    return found


async def find_listings(client: Client, kind: str, symbols: Sequence[str], *, ended: bool = False) -> list[Listing]:
    """The listings of ``symbols``, in their order. ``UnknownSymbolError`` names the first that isn't there.

    With ``ended``, one that isn't there is taken for a contract that ended, known by its name only.
    """
    if kind == "asset":
        return [asset_listing(client.rest.name, symbol) for symbol in symbols]
    route = _markets_route(client, kind)
    listed = [] if route.one else await all_listings(client, kind)
    found: list[Listing] = []
    for symbol in symbols:
        try:
            if route.one:
                asked = route.one(instrument_symbol(symbol))
                listed, _ = await client.call(route.route, asked, lambda content: route.parse(content, kind))
            found += pick(listed, [symbol], client, kind)
        except UnknownSymbolError:
            if not ended:
                raise
            found.append(ended_listing(client.rest.name, kind, symbol))
    return found


def pick(listed: Sequence[Listing], symbols: Sequence[str], client: Client, kind: str) -> list[Listing]:
    """Listings by our symbol or the venue's, the trading one first where a name was used twice."""
    chosen = []
    for symbol in symbols:
        names = {symbol, instrument_symbol(symbol)}  # BTC/USDT is BTCUSDT
        matches = [entry for entry in listed if not names.isdisjoint((entry.symbol, entry.venue_id))]
        if not matches:
            archive = "; of ended ones, --source archive has what is left" if client.rest.archive_url else ""
            close = get_close_matches(symbol, [entry.symbol for entry in listed], n=3)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise UnknownSymbolError(
                f"{client.rest.name} lists no {kind} symbol {symbol!r} ({client.rest.markets[kind].route.path}){hint}",
                remedy=f"symbols look like {client.rest.symbol_hint}{archive}",
            )
        chosen.append(max(matches, key=lambda entry: (entry.is_trading, entry.is_perpetual, entry.listed_ms or 0)))
    return chosen


def asset_listing(venue: str, asset: str) -> Listing:
    """An asset that can be borrowed, as a listing."""
    return Listing(venue, "asset", asset, asset, asset, asset, asset, is_trading=True)


def ended_listing(venue: str, kind: str, symbol: str) -> Listing:
    """A contract that is not listed any more, by its name only: what it was made of is not known."""
    name = instrument_symbol(symbol)
    venue_id = f"{name}_PERP" if kind == "inverse" and "_" not in name else name
    return Listing(
        venue, kind, name, venue_id, "", "", "", is_trading=False, pair=name.partition("_")[0], is_archive_only=True
    )


def _markets_route(client: Client, kind: str) -> MarketsRoute:
    if kind not in client.rest.markets:
        there = ", ".join(client.rest.markets)
        raise UsageError(f"{client.rest.name} has no instruments of kind {kind}", remedy=f"it has {there}")
    return client.rest.markets[kind]
