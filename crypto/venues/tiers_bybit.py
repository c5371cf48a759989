"""Bybit: the lowest risk limits of BTCUSDT and BTCUSD; everything else comes from the user's tier file."""

from __future__ import annotations

from crypto.instruments import Kind
from crypto.tiers import TierBook
from crypto.venues.tier_listing import Listing, Seen, listed_tables

# The venue lists 35 tiers of BTCUSDT; only these three were found with rates, leverage and published deductions
# (510 and 1,710 USDT, which the recurrence gives). A larger position is refused as beyond the last tier.
_LINEAR = (
    Listing(
        "BTCUSDT",
        "USDT",
        Seen(
            "2026-09-23",
            "GET /v5/market/risk-limit tiers 1 to 3 as recorded in public repositories on 2026-09-23 and 25",
        ),
        "300_000 0.0033 150, 2_000_000 0.005 100, 2_600_000 0.0056 90",
    ),
)

_INVERSE = (
    Listing(
        "BTCUSD",
        "BTC",
        Seen("2022-12-26", "Bybit API docs, example reply of GET /v5/market/risk-limit (time 1672054488010), tier 1"),
        "150 0.005 100",
    ),
)

BYBIT_TIERS = TierBook([*listed_tables("bybit", Kind.LINEAR, _LINEAR), *listed_tables("bybit", Kind.INVERSE, _INVERSE)])
