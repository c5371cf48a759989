"""``carry fetch tiers``: a venue's leverage tiers as a file that ``data.tiers.load_tiers`` and ``--tiers`` read."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crypto.errors import UsageError
from crypto.units import iso
from data.credentials import Credentials
from data.sources.bans import bans_of
from data.sources.client import Client, ClientOptions
from data.sources.endpoints.base import TiersRoute
from data.sources.endpoints.known import RESTS, rest_of
from data.sources.faults import FetchError
from data.sources.listings import Found, all_listings, pick_all
from data.sources.wire.columns import Listing, Tier
from data.store.atomic import atomic_write
from data.store.lake import Lake
from data.tiers import load_tiers

# A unified symbol is BASE/QUOTE:SETTLE; what cannot be written so is left out and named.
_NAMELESS = "its symbol is not its base and quote, which the form of the file needs"


@dataclass(frozen=True, slots=True)
class TiersOutcome:
    """``path``: the file written. ``written``: symbols with tiers. ``left_out``: symbol -> why not. ``notes``: as in a
    fetch. ``is_partial``: symbols that were asked for by name were left out.
    """

    path: Path
    written: tuple[str, ...]
    left_out: dict[str, str]
    notes: tuple[str, ...]
    is_partial: bool = False


def fetch_tiers(
    venue: str,
    kind: str,
    symbols: Sequence[str],
    lake: Lake,
    client_options: ClientOptions | None = None,
    credentials: Credentials | None = None,
    on_wait: Callable[[str], None] = lambda _: None,
) -> TiersOutcome:
    """Write ``LAKE/VENUE/tiers-KIND-DATE.json``: tiers of ``symbols``, or of all perpetuals when there are none.

    Venues tell the tiers of today only, so the date (UTC, of the venue's clock) is part of the name. Nothing is written
    unless ``load_tiers`` accepts the file. ``UsageError`` where the venue has none; ``FetchError`` as in a fetch.
    """
    rest = rest_of(venue)
    if kind not in rest.tiers:
        having = [f"{known.name} ({', '.join(known.tiers)})" for known in RESTS.values() if known.tiers]
        raise UsageError(f"{venue} has no tiers of {kind} to fetch", remedy=f"tiers come from {', '.join(having)}")

    async def run() -> tuple[Found, dict[str, list[Tier]], int, str]:
        bans = bans_of(lake, venue)
        async with Client(rest, client_options, credentials, bans=bans, on_wait=on_wait) as client:
            await client.read_clock()
            listed = await all_listings(client, kind)
            trading = Found([entry for entry in listed if entry.is_trading])
            chosen = pick_all(listed, symbols, client, kind) if symbols else trading
            tiers = await _tiers(client, rest.tiers[kind], chosen.listings if symbols else [])
            return chosen, tiers, await client.server_now_ms(), client.clock_words()

    chosen, tiers, now_ms, words = asyncio.run(run())
    outcome = write_tiers(chosen, tiers, venue, kind, now_ms, lake, (words,) if words else ())
    return replace(outcome, is_partial=bool(symbols and outcome.left_out))


def write_tiers(
    found: Found,
    tiers: Mapping[str, Sequence[Tier]],
    venue: str,
    kind: str,
    now_ms: int,
    lake: Lake,
    notes: tuple[str, ...] = (),
) -> TiersOutcome:
    """Write the file of the listings that have tiers (by the venue's symbol)."""
    content: dict[str, list[dict[str, object]]] = {}
    left_out = found.unknown_words
    for listing in found.listings:
        rows = tiers.get(listing.venue_id)
        unified = _unified(listing)
        if not listing.is_perpetual or not rows or not unified:
            left_out[listing.symbol] = _why_not(listing, rows)
        else:
            content[unified] = [_row(unified, listing, number, tier) for number, tier in enumerate(rows, start=1)]
    if not content:
        why = "; ".join(f"{symbol}: {reason}" for symbol, reason in list(left_out.items())[:3])
        raise FetchError(f"{venue} {kind}: no tiers for any of the symbols ({why})", remedy="choose other symbols")
    path = Path(lake.root) / venue / f"tiers-{kind}-{iso(now_ms)[:10]}.json"
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        load_tiers(temporary, venue, iso(now_ms)[:10])
    return TiersOutcome(path, tuple(content), left_out, notes)


async def _tiers(client: Client, route: TiersRoute, wanted: Sequence[Listing]) -> dict[str, list[Tier]]:
    """Tiers by the venue's symbol: a call per wanted symbol where that is fewer, else all pages."""
    found: dict[str, list[Tier]] = {}
    if route.by_symbol and wanted:
        for listing in wanted:
            parameters = {**route.parameters, "symbol": listing.venue_id}
            found |= (await client.call(route.route, parameters, route.parse))[0]
        return found
    cursor = ""
    while True:
        parameters = {**route.parameters, **({route.cursor_name: cursor} if cursor else {})}
        page, cursor = await client.call(route.route, parameters, route.parse)
        for symbol, rows in page.items():
            # A symbol may be cut in two by the end of a page: its later tiers begin where the earlier ones end.
            known = found.setdefault(symbol, [])
            known += [rows[0]._replace(floor=known[-1].cap), *rows[1:]] if known else rows
        if not cursor or not page:
            return found


def _unified(listing: Listing) -> str:
    base = listing.symbol.removesuffix(listing.quote)
    named = base + listing.quote == listing.symbol and bool(base)
    return f"{base}/{listing.quote}:{listing.settle}" if named else ""


def _why_not(listing: Listing, rows: Sequence[Tier] | None) -> str:
    if not listing.is_perpetual:
        return "a dated contract"
    return _NAMELESS if rows else "the venue gave no tiers of it"


def _row(unified: str, listing: Listing, number: int, tier: Tier) -> dict[str, object]:
    return {
        "tier": number,
        "symbol": unified,
        "currency": listing.settle,
        "minNotional": tier.floor,
        "maxNotional": tier.cap if math.isfinite(tier.cap) else None,
        "maintenanceMarginRate": tier.rate,
        "maxLeverage": tier.max_leverage,
        "info": {} if tier.deduction is None else {"cum": tier.deduction},
    }
