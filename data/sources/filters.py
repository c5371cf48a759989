"""``carry fetch markets``: a venue's filters as ``[instruments]`` tables, in a file that a backtest can be given."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from pathlib import Path

from crypto.errors import DataError, SettingsError, UsageError
from crypto.settings import InstrumentSettings
from crypto.units import iso
from crypto.venues import registry
from data.sources.bans import bans_of
from data.sources.client import Client, ClientOptions
from data.sources.endpoints.known import rest_of
from data.sources.listings import Found, all_listings, find_listings
from data.sources.wire.columns import Listing
from data.store.atomic import write_text
from data.store.lake import Lake


@dataclass(frozen=True, slots=True)
class MarketsOutcome:
    """``path``: the file written. ``left_out``: symbol -> why it has no table. ``notes``: as in a fetch.

    ``is_partial``: symbols that were asked for by name were left out.
    """

    path: Path
    written: tuple[str, ...]
    left_out: dict[str, str]
    notes: tuple[str, ...]
    is_partial: bool = False


def fetch_markets(
    venue: str,
    kind: str,
    symbols: Sequence[str],
    lake: Lake,
    client_options: ClientOptions | None = None,
    on_wait: Callable[[str], None] = lambda _: None,
) -> MarketsOutcome:
    """Write ``LAKE/VENUE/markets-KIND.toml`` with the filters of ``symbols``, or of all that trade when there are none.

    ``UsageError`` for a venue that backtests know no rules of; ``FetchError`` as in a fetch; ``DataError`` when no
    instrument has whole filters.
    """
    rest = rest_of(venue)
    if venue not in registry.VENUES:
        raise UsageError(
            f"backtests know no fees and wallets of {venue}, so filters of it would be of no use",
            remedy=f"fetch markets of {' or '.join(registry.VENUES)}",
        )

    async def run() -> tuple[Found, int, str]:
        async with Client(rest, client_options, bans=bans_of(lake, venue), on_wait=on_wait) as client:
            await client.read_clock()
            found = await find_listings(client, kind, symbols) if symbols else Found(await all_listings(client, kind))
            return found, await client.server_now_ms(), client.clock_words()

    found, now_ms, words = asyncio.run(run())
    outcome = write_markets(found, venue, kind, now_ms, lake, (words,) if words else ())
    return replace(outcome, is_partial=bool(symbols and outcome.left_out))


def write_markets(
    found: Found, venue: str, kind: str, now_ms: int, lake: Lake, notes: tuple[str, ...] = ()
) -> MarketsOutcome:
    """Write the file of tables for those listings that trade, are no dated contracts, and have every filter."""
    tables: dict[str, str] = {}
    left_out = found.unknown_words
    for listing in found.listings:
        reason = _why_not(listing)
        if reason:
            left_out[listing.symbol] = reason
        else:
            tables[f"{venue}:{kind}:{listing.symbol}"] = _table(listing)
    if not tables:
        why = "; ".join(f"{symbol}: {reason}" for symbol, reason in list(left_out.items())[:3])
        raise DataError(f"{venue} {kind}: no instrument has whole filters ({why})", remedy="choose other symbols")
    path = Path(lake.root) / venue / f"markets-{kind}.toml"
    write_text(path, f"# {rest_of(venue).markets[kind].route.path} of {iso(now_ms)}\n\n" + "\n".join(tables.values()))
    return MarketsOutcome(path, tuple(tables), left_out, notes)


def _why_not(listing: Listing) -> str:
    if not listing.is_perpetual:
        return "a dated contract"
    if not listing.is_trading:
        return "does not trade"
    missing = [name for name, value in (("tick", listing.tick), ("lot", listing.lot)) if value is None or value <= 0]
    missing += ["min_quantity"] if listing.min_quantity is None else []
    if missing:
        return f"the venue gives no {', '.join(missing)}"
    try:
        registry.check_overrides({f"{listing.venue}:{listing.kind}:{listing.symbol}": _settings(listing)})
    except SettingsError as error:
        return error.message
    return ""


def _settings(listing: Listing) -> InstrumentSettings:
    lot, smallest = listing.lot or Decimal(0), listing.min_quantity or Decimal(0)
    # A smallest quantity between two lots can't be ordered: the next whole lot can. Zero (Binance TUSDT) is one lot.
    whole = (smallest / lot).to_integral_value(ROUND_CEILING) * lot
    return InstrumentSettings(
        base=listing.base,
        quote=listing.quote,
        tick=listing.tick,
        lot=lot,
        min_quantity=max(whole, lot),
        min_notional=listing.min_notional,
        multiplier=listing.multiplier,
    )


def _table(listing: Listing) -> str:
    values = _settings(listing)
    key = f"{listing.venue}:{listing.kind}:{listing.symbol}"
    lines = [f'[instruments."{key}"]', f'base = "{values.base}"', f'quote = "{values.quote}"']
    for name in ("tick", "lot", "min_quantity", "min_notional", "multiplier"):
        number: Decimal = getattr(values, name)
        lines.append(f'{name} = "{number.normalize():f}"')
    return "\n".join(lines) + "\n"
