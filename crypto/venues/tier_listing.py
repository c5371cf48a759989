"""How shipped tier tables are written down, and their reading."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from crypto.instruments import Kind
from crypto.tiers import TierRow, TierTable, tier_table
from crypto.units import parse_iso


class Seen(NamedTuple):
    """Since when tiers are known to hold (ISO, UTC; they may be older), and where that is written."""

    date: str
    source: str


class Listing(NamedTuple):
    """Tiers of one contract: ``cap rate largest-leverage`` each, separated by commas; cap ``none`` is unlimited."""

    symbol: str
    currency: str
    seen: Seen
    tiers: str


def listed_tables(venue: str, kind: Kind, listings: Iterable[Listing]) -> Iterator[TierTable]:
    """Validated tables of the listings, in their order."""
    for listing in listings:
        yield tier_table(
            f"{venue}:{kind.value}:{listing.symbol}",
            listing.currency,
            parse_iso(listing.seen.date),
            _rows(listing.tiers),
            listing.seen.source,
        )


def _rows(text: str) -> Iterator[TierRow]:
    floor = 0.0
    for tier in text.split(","):
        cap_text, rate, leverage = tier.split()
        cap = math.inf if cap_text == "none" else float(cap_text)
        yield TierRow(floor, cap, float(rate), float(leverage))
        floor = cap
