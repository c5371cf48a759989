"""What a backtest returns. Writers (``data.results``) and the report (``research.report``) read only this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crypto.market import Floats, Integers

Records = NDArray[np.void]


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """A finished run. T instants (bar closes), P pairs, W wallets (last one: transfers on their way), C components.

    Amounts are in account currency. Index T is time ascending; row 0 is the start, before the first decision.
    """

    pair_names: tuple[str, ...]
    wallet_names: tuple[str, ...]
    asset_names: tuple[str, ...]
    instrument_keys: tuple[str, ...]  # two per pair: spot leg 2p, perp leg 2p + 1
    component_names: tuple[str, ...]  # crypto.ledger.COMPONENT_NAMES

    time_ms: Integers  # (T,)
    wallet_equity: Floats  # (T, W)
    pair_pnl: Floats  # (T, P) cumulative, from cash and position values, not from the attribution
    attribution: Floats  # (T, P + 1, C) change since the instant before; the last pair row is what no pair owns
    wallet_attribution: Floats  # (T, W, C)
    basis_bps: Floats  # (T, P) perp over spot, NaN when a leg has no fresh price
    carry_annual: Floats  # (T, P) annualised funding forecast that the signal used, for a short perp; NaN in warm-up
    spot_value: Floats  # (T, P) signed exposure of the spot leg
    perp_value: Floats  # (T, P) signed exposure of the perp leg
    collateral_ratio: Floats  # (T, P) equity of the pair's perp wallet over the wallet's perp notional; NaN when flat
    liquidation_distance: Floats  # (T, P) adverse move of all marks to maintenance margin, fraction; NaN: flat, or off

    ledger: Records  # dtype crypto.ledger.LEDGER
    orders: Records  # dtype crypto.pipeline.orders.ORDER
    trips: Records  # dtype crypto.pipeline.post_trade.TRIP, one row per round trip
    journal: tuple[
        Mapping[str, Any], ...
    ]  # ascending in time: signals, decisions, orders, fills, transfers, policies applied

    status: str  # "completed", or why the run stopped early
    summary: Mapping[str, Any]  # headline figures, see crypto.pipeline.post_trade.summarise
    policies: Mapping[str, Any]  # named policies and how often each was applied
    provenance: Mapping[
        str, Any
    ]  # config_hash, data_hash, seed, versions, synthetic, sources, notes, start, end, timeframe
    settings: Mapping[str, Any]  # the settings as plain values

    @property
    def equity(self) -> Floats:
        """Account equity at each instant, shape (T,)."""
        total: Floats = self.wallet_equity.sum(axis=1)
        return total
