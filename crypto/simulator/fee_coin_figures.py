"""What a finished run paid in fees by asset, and what became of the coins that paid them."""

from __future__ import annotations

from typing import Any

import numpy as np

from crypto.ledger import Flow
from crypto.simulator.setup import Names
from crypto.simulator.state import World


def fee_coin_figures(world: World, names: Names, ledger: Any) -> dict[str, Any]:
    """``{"fee_coins": {coin: figures}}`` for the summary of a run; empty where no coin pays fees.

    ``wallets``: coins at start, paid, at end. ``gain_of_price``: what the price did to what was held, account currency.
    ``fills`` that the coin paid and ``fills_not_covered``. ``fees``: those of the legs that it serves, in account
    currency (positive: paid), by the asset that they were paid in.
    """
    if world.coins.shape[0] == 0:
        return {}
    figures = {names.assets[coin.asset]: _figures(world, names, ledger, row) for row, coin in enumerate(world.coins)}
    return {"fee_coins": figures}


def _figures(world: World, names: Names, ledger: Any, row: int) -> dict[str, Any]:
    asset, price = int(world.coins[row].asset), float(world.coins[row].price)
    serves = world.legs["fee_coin"] == row
    fees = ledger[(ledger["flow"] == int(Flow.FEE)) & np.isin(ledger["leg"], np.flatnonzero(serves))]
    paid = fees[fees["asset"] == asset]
    opening = ledger[(ledger["flow"] == int(Flow.OPENING)) & (ledger["asset"] == asset)]
    wallets: dict[str, dict[str, float]] = {}
    gain = -float(paid["value"].sum())
    for wallet in np.unique(world.legs["wallet"][serves]):
        held = float(world.holdings[wallet, asset].balance)
        first, spent = opening[opening["wallet"] == wallet], paid[paid["wallet"] == wallet]
        wallets[names.wallets[wallet]] = {
            "start": float(first["amount"].sum()),
            "paid": -float(spent["amount"].sum()),
            "end": held,
        }
        gain += held * price - float(first["value"].sum())
    used = np.unique(fees["asset"])
    return {
        "wallets": wallets,
        "gain_of_price": gain,
        "fills": int(paid.size),
        "fills_not_covered": int(np.count_nonzero(fees["amount"] < 0.0) - paid.size),
        "fees": {names.assets[item]: -float(fees["value"][fees["asset"] == item].sum()) for item in used},
    }
