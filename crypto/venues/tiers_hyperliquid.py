"""Hyperliquid: margin tiers of the largest coins; maintenance is half the initial margin at largest leverage."""

from __future__ import annotations

from crypto.instruments import Kind
from crypto.tiers import TierBook
from crypto.venues.tier_listing import Listing, Seen, listed_tables

_DOCS = Seen(
    "1970-01-01",
    "Hyperliquid docs, 'Margin tiers', mainnet, an undated copy: when these tiers began is NOT KNOWN, they are taken "
    "to hold at any time",
)

_LINEAR = (
    Listing("BTC", "USDC", _DOCS, "150_000_000 0.0125 40, none 0.025 20"),
    Listing("ETH", "USDC", _DOCS, f"100_000_000 0.02 25, none {1 / 30!r} 15"),
    Listing("SOL", "USDC", _DOCS, "70_000_000 0.025 20, none 0.05 10"),
    Listing("XRP", "USDC", _DOCS, "40_000_000 0.025 20, none 0.05 10"),
)

HYPERLIQUID_TIERS = TierBook(listed_tables("hyperliquid", Kind.LINEAR, _LINEAR))
