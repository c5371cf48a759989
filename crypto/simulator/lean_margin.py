"""Buying power of Lean's stock models, for comparisons with Lean. Spec: docs/specs/lean_stock.md.

One cash book; spot with ``SecurityMarginModel``, perps with ``CryptoFutureMarginModel``. An order passes whole or not
at all, and an order that only reduces always passes.
"""

from __future__ import annotations

from crypto.compiled import kernel
from crypto.simulator.desk import order_value
from crypto.simulator.state import INVERSE, SPOT, World
from crypto.simulator.valuation import asset_price, notional, spot_base, unrealised

SPOT_LEVERAGE = 3.0  # of crypto in a margin account: Lean's BinanceBrokerageModel (commit 24863901)


@kernel
def suffices(world: World, order: int, lots: float, price: float) -> bool:
    """Whether Lean's stock models let ``lots`` (positive) of an order be filled at ``price``."""
    entry = world.orders[order]
    row = world.legs[entry.leg]
    opposite = row.lots != 0 and (row.lots > 0) != (entry.lots > 0)
    if opposite and lots <= abs(row.lots):
        return True
    value = order_value(world, entry.leg, 1, price) * lots
    if row.kind == SPOT:
        free = portfolio_value(world) - margin_used(world)
        if opposite:
            free += 2.0 * abs(spot_base(world, entry.leg)) * row.value_price / SPOT_LEVERAGE
        return bool(value / SPOT_LEVERAGE + value * row.taker <= free)
    leverage = world.rules[0].leverage
    free = world.holdings[row.wallet, row.settle_asset].balance
    if row.kind == INVERSE:
        free *= asset_price(world, row.wallet, row.settle_asset)
    free -= _margin_of_others(world, entry.leg)
    if opposite:
        free += 2.0 * notional(world, entry.leg) / leverage
    return bool(value / leverage + value * row.taker <= max(0.0, free))


@kernel
def _margin_of_others(world: World, leg: int) -> float:
    """Margin of the other perps that settle in the same cash; the position itself is not counted."""
    total = 0.0
    for other in range(1, world.legs.shape[0], 2):
        if other != leg and world.legs[other].settle_asset == world.legs[leg].settle_asset:
            total += notional(world, other) / world.rules[0].leverage
    return total


@kernel
def margin_used(world: World) -> float:
    """Lean's total margin used: spot value by its leverage plus perp notional by theirs, account currency."""
    total = 0.0
    for leg in range(0, world.legs.shape[0], 2):
        base = abs(spot_base(world, leg))
        if base != 0.0:
            total += base * world.legs[leg].value_price / SPOT_LEVERAGE
        total += notional(world, leg + 1) / world.rules[0].leverage
    return total


@kernel
def portfolio_value(world: World) -> float:
    """Lean's total portfolio value: cash book and perp profit, less the fee that closing each perp would cost."""
    total = 0.0
    for wallet in range(world.holdings.shape[0]):
        for asset in range(world.holdings.shape[1]):
            balance = world.holdings[wallet, asset].balance
            if balance != 0.0:
                total += balance * asset_price(world, wallet, asset)
    for leg in range(0, world.legs.shape[0], 2):
        spot, perp = world.legs[leg], world.legs[leg + 1]
        if spot.debt + spot.owed > 0.0:
            total -= (spot.debt + spot.owed) * spot.value_price
        if perp.lots != 0:
            profit = unrealised(world, leg + 1) * asset_price(world, perp.wallet, perp.settle_asset)
            total += profit - notional(world, leg + 1) * perp.taker
    return total
