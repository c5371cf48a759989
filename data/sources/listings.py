"""What a venue lists: finding symbols by our names, and a message for each way in which there is nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from crypto.errors import CarryError, UsageError
from crypto.units import iso
from data.sources.client import Client
from data.sources.endpoints.base import MarketsRoute, SeriesRoute
from data.sources.faults import FetchError, UnknownSymbolError
from data.sources.wire.columns import Listing
from data.store.pieces import instrument_symbol
from data.store.rows import TIMED_SERIES
from data.store.series import SeriesKey


@dataclass(frozen=True, slots=True)
class Found:
    """``listings`` of what was asked for, in that order; ``unknown``: why each of the other symbols has none."""

    listings: list[Listing]
    unknown: dict[str, CarryError] = field(default_factory=dict)

    @property
    def unknown_words(self) -> dict[str, str]:
        """Each unknown symbol with what is wrong and what to do, in one text."""
        return {symbol: f"{error.message}; {error.remedy}" for symbol, error in self.unknown.items()}


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


async def find_listings(client: Client, kind: str, symbols: Sequence[str], *, ended: bool = False) -> Found:
    """The listings of ``symbols``, and an error for each that isn't there; ``UnknownSymbolError`` when none is.

    With ``ended``, one that isn't there is taken for a contract that ended, known by its name only.
    """
    if kind == "asset":
        return Found([asset_listing(client.rest.name, symbol) for symbol in symbols])
    route = _markets_route(client, kind)
    listed = [] if route.one else await all_listings(client, kind)
    found = Found([])
    for symbol in symbols:
        try:
            if route.one:
                asked = route.one(instrument_symbol(symbol))
                listed, _ = await client.call(route.route, asked, lambda content: route.parse(content, kind))
            found.listings.append(pick(listed, symbol, client, kind))
        except UnknownSymbolError as error:
            if ended:
                found.listings.append(ended_listing(client.rest.name, kind, symbol))
            else:
                found.unknown[symbol] = error
    refuse_nothing(found.listings, found.unknown)
    return found


def pick_all(listed: Sequence[Listing], symbols: Sequence[str], client: Client, kind: str) -> Found:
    """As ``find_listings``, out of what was listed already."""
    found = Found([])
    for symbol in symbols:
        try:
            found.listings.append(pick(listed, symbol, client, kind))
        except UnknownSymbolError as error:
            found.unknown[symbol] = error
    refuse_nothing(found.listings, found.unknown)
    return found


def refuse_nothing(kept: Sequence[object], left_out: Mapping[str, CarryError]) -> None:
    """When nothing was kept: raise the error of the only symbol, or one that names what is wrong with each."""
    if kept or not left_out:
        return
    first, *others = left_out.values()
    if not others:
        raise first
    raise type(first)("; ".join(error.message for error in left_out.values()), remedy=first.remedy)


def pick(listed: Sequence[Listing], symbol: str, client: Client, kind: str) -> Listing:
    """The listing by our symbol or the venue's, the trading one where a name was used twice."""
    names = {symbol, instrument_symbol(symbol)}  # BTC/USDT is BTCUSDT
    matches = [entry for entry in listed if not names.isdisjoint((entry.symbol, entry.venue_id))]
    if not matches:
        archive = "; of ended ones, --source archive has what is left" if client.rest.archive_url else ""
        close = get_close_matches(symbol.upper(), [entry.symbol for entry in listed], n=3)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        raise UnknownSymbolError(
            f"{client.rest.name} lists no {kind} symbol {symbol!r} ({client.rest.markets[kind].route.path}){hint}",
            remedy=f"symbols look like {client.rest.symbol_hint}{archive}",
        )
    return max(matches, key=lambda entry: (entry.is_trading, entry.is_perpetual, entry.listed_ms or 0))


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


def series_key(listing: Listing, series: str, timeframe: str) -> SeriesKey:
    """The lake's name of a series of a listing; ``UsageError`` for a symbol that can't be a file name."""
    try:
        return SeriesKey(
            listing.venue, listing.kind, listing.symbol, series, timeframe if series in TIMED_SERIES else ""
        )
    except UsageError as error:
        raise UsageError(f"{listing.venue} {listing.venue_id}: {error.message}", remedy=error.remedy) from error


def no_rows(listing: Listing, route: SeriesRoute, series: str, lo_ms: int, hi_ms: int) -> FetchError:
    """The error for a range in which the venue has no row of a series at all, as far as listings can explain it."""
    asked = f"{series} from {iso(lo_ms)} to {iso(hi_ms)}"
    if listing.is_archive_only:
        return FetchError(
            f"no {asked}: {listing.venue} does not list it, and its archive has no month of it",
            remedy="check the symbol and the range",
        )
    listed, ends = listing.listed_ms, listing.ends_ms
    if listed is not None and hi_ms <= listed:
        return FetchError(
            f"no {asked}: {listing.venue} listed it on {iso(listed)}, after that range",
            remedy=f"use --from {iso(listed)[:10]} or later",
        )
    if ends is not None and lo_ms >= ends:
        return FetchError(
            f"no {asked}: its trading ended on {iso(ends)}", remedy=f"use a --from before {iso(ends)[:10]}"
        )
    hint = f"; {route.remedy}" if route.remedy else ""
    return FetchError(
        f"no {asked}: {listing.venue} {route.route.path} answered that range with no rows",
        remedy=f"choose another range, or ask again later{hint}",
    )


def _markets_route(client: Client, kind: str) -> MarketsRoute:
    if kind not in client.rest.markets:
        there = ", ".join(client.rest.markets)
        raise UsageError(f"{client.rest.name} has no instruments of kind {kind}", remedy=f"it has {there}")
    return client.rest.markets[kind]
