"""All leverage tiers that come with the project, as one book."""

from __future__ import annotations

from crypto.venues.tiers_binance import BINANCE_TIERS
from crypto.venues.tiers_bybit import BYBIT_TIERS
from crypto.venues.tiers_hyperliquid import HYPERLIQUID_TIERS

SHIPPED_TIERS = BINANCE_TIERS.merged(BYBIT_TIERS).merged(HYPERLIQUID_TIERS)
