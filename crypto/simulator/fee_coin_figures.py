"""What a finished run paid in fees by asset, and what became of the coins that paid them."""

from __future__ import annotations

from typing import Any

import numpy as np

from crypto.ledger import Flow
from crypto.simulator.setup import Names
from crypto.simulator.state import World


def fee_coin_figures(world: World, names: Names, ledger: Any) -> dict[str, Any]:
    """A mapping per coin that pays fees, by the name of its venue; empty where none does.

    Coins by wallet at the start and the end, coins paid, gain of their price, and all fees of the venue by asset in
    account currency (positive: paid).
    """
    return {
        f"fees in {names.assets[coin.asset]}": _figures(world, names, ledger, number)
        for number, coin in enumerate(world.coins)
    }


def _figures(world: World, names: Names, ledger: Any, number: int) -> dict[str, Any]:
    coin = world.coins[number]
    serves = world.legs["fee_coin"] == number
    wallets = np.unique(world.legs["wallet"][serves])
    ours = ledger[(ledger["asset"] == coin.asset) & np.isin(ledger["wallet"], wallets)]
    opening = ours[ours["flow"] == int(Flow.OPENING)]
    fees = ledger[(ledger["flow"] == int(Flow.FEE)) & np.isin(ledger["leg"], np.flatnonzero(serves))]
    in_coins = fees[fees["asset"] == coin.asset]
    start, end = float(opening["value"].sum()), 0.0
    figures: dict[str, Any] = {}
    for wallet in wallets:
        held = float(world.holdings[wallet, coin.asset].balance)
        figures[f"{names.wallets[wallet]} start"] = float(opening["amount"][opening["wallet"] == wallet].sum())
        figures[f"{names.wallets[wallet]} end"] = held
        end += held * float(coin.price)
    figures["paid"] = -float(in_coins["amount"].sum())
    figures["gain of price"] = end - start - float(in_coins["value"].sum())
    figures["fills"] = int(in_coins.size)
    figures["fills not covered"] = int(np.count_nonzero(fees["amount"] < 0.0) - in_coins.size)
    for asset in np.unique(fees["asset"]):
        figures[f"value in {names.assets[asset]}"] = -float(fees["value"][fees["asset"] == asset].sum())
    return figures
