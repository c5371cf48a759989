"""Equity, exposure and margin from balances and prices, and the attribution of price moves."""

from __future__ import annotations

import math

from crypto.compiled import kernel
from crypto.ledger import Component
from crypto.simulator.posting import attribute, attribute_treasury
from crypto.simulator.state import COIN_PRICED, INSOLVENT, INVERSE, VALUE, World

_BASIS, _DELTA, _COLLATERAL = int(Component.BASIS), int(Component.DELTA), int(Component.COLLATERAL)

ROUNDING = 1e-9  # of the account: what sums of transfers and takeovers may leave below 0


@kernel
def unrealised(world: World, leg: int) -> float:
    """Unrealised profit of a perp leg at its valuation price, in its settlement asset."""
    row = world.legs[leg]
    if row.lots == 0:
        return 0.0
    if row.kind == INVERSE:
        return float(row.lots * row.quote_per_lot * (1.0 / row.entry - 1.0 / row.value_price))
    return float(row.lots * row.units_per_lot * (row.value_price - row.entry))


@kernel
def notional(world: World, leg: int) -> float:
    """Absolute notional of a perp leg at its valuation price, account currency."""
    row = world.legs[leg]
    if row.lots == 0:
        return 0.0
    if row.kind == INVERSE:
        return float(abs(row.lots) * row.quote_per_lot)
    return float(abs(row.lots) * row.units_per_lot * row.value_price)


@kernel
def perp_base(world: World, leg: int) -> float:
    """Signed base quantity of a perp leg; for inverse contracts value over entry price, which is what spot hedges."""
    row = world.legs[leg]
    if row.lots == 0:
        return 0.0
    if row.kind == INVERSE:
        return float(row.lots * row.quote_per_lot / row.entry)
    return float(row.lots * row.base_per_lot)


@kernel
def hedge_base(world: World, leg: int) -> float:
    """Signed base quantity with which a perp leg's profit moves at its valuation price."""
    row = world.legs[leg]
    if row.lots == 0:
        return 0.0
    if row.kind == INVERSE:
        return float(row.lots * row.quote_per_lot / row.value_price)
    return float(row.lots * row.base_per_lot)


@kernel
def spot_base(world: World, leg: int) -> float:
    """Signed base quantity of a spot leg: holding less debt and interest owed."""
    row = world.legs[leg]
    return float(row.holding - row.debt - row.owed)


@kernel
def revalue(world: World, bar: int) -> None:
    """Move every leg to its valuation price at the close of ``bar`` and attribute the moves."""
    legs = world.legs
    for leg in range(legs.shape[0]):
        price = world.bars[leg, bar, VALUE]
        known = price == price and legs[leg].value_price == legs[leg].value_price
        legs[leg].move = price - legs[leg].value_price if known else 0.0
    for coin in range(world.coins.shape[0]):
        price = world.bars[legs.shape[0] + coin, bar, VALUE]
        world.coins[coin].move = price - world.coins[coin].price
        world.coins[coin].price = price
    _revalue_treasury(world)
    for pair in range(world.pairs.shape[0]):
        _revalue_spot(world, 2 * pair)
        _revalue_perp(world, 2 * pair + 1, bar)
    for leg in range(legs.shape[0]):
        if world.bars[leg, bar, VALUE] == world.bars[leg, bar, VALUE]:
            legs[leg].value_price = world.bars[leg, bar, VALUE]


@kernel
def _revalue_treasury(world: World) -> None:
    for wallet in range(world.holdings.shape[0]):
        for asset in range(world.holdings.shape[1]):
            leg = world.holdings[wallet, asset].price_leg
            if leg >= 0 and world.holdings[wallet, asset].treasury != 0.0:
                change = world.holdings[wallet, asset].treasury * world.legs[leg].move
                attribute_treasury(world, wallet, _COLLATERAL, change)
    for coin in range(world.coins.shape[0]):
        for wallet in range(world.holdings.shape[0]):
            holding = world.holdings[wallet, world.coins[coin].asset]
            if holding.price_leg == COIN_PRICED - coin and holding.treasury != 0.0:
                attribute_treasury(world, wallet, _COLLATERAL, holding.treasury * world.coins[coin].move)


@kernel
def _revalue_spot(world: World, leg: int) -> None:
    base = spot_base(world, leg)
    if base != 0.0:
        attribute(world, leg, _DELTA, base * world.legs[leg].move)


@kernel
def _revalue_perp(world: World, leg: int, bar: int) -> None:
    row = world.legs[leg]
    spot_move = world.legs[leg - 1].move
    if row.kind == INVERSE:
        coin_leg = world.holdings[row.wallet, row.base_asset].price_leg
        held = row.coin + unrealised(world, leg)
        if held != 0.0:
            attribute(world, leg, _COLLATERAL, held * world.legs[coin_leg].move)
        if row.lots != 0:
            price = world.bars[leg, bar, VALUE]
            value = row.lots * row.quote_per_lot
            change = world.bars[coin_leg, bar, VALUE] * value * (1.0 / row.value_price - 1.0 / price)
            delta = hedge_base(world, leg) * spot_move
            attribute(world, leg, _DELTA, delta)
            attribute(world, leg, _BASIS, change - delta)
    elif row.lots != 0:
        delta = hedge_base(world, leg) * spot_move
        attribute(world, leg, _DELTA, delta)
        attribute(world, leg, _BASIS, row.lots * row.units_per_lot * row.move - delta)


@kernel
def asset_price(world: World, wallet: int, asset: int) -> float:
    """Value of one unit of the asset in that wallet, account currency; NaN where nothing prices it."""
    leg = world.holdings[wallet, asset].price_leg
    if leg == -1:
        return 1.0
    if leg >= 0:
        return float(world.legs[leg].value_price)
    return float(world.coins[COIN_PRICED - leg].price) if leg <= COIN_PRICED else math.nan


@kernel
def measure_wallets(world: World, instant: int) -> float:
    """Record each wallet's equity, the profit and notional of its perps; returns the account's equity.

    A wallet's equity is its balances and the unrealised profit of its perps, less what its spot legs owe.
    """
    holdings, legs = world.holdings, world.legs
    for leg in range(1, legs.shape[0], 2):
        backing = holdings[legs[leg].wallet, legs[leg].settle_asset]
        backing.unrealised = 0.0
        backing.notional = 0.0
        backing.collateral = 0.0
    for leg in range(1, legs.shape[0], 2):
        if legs[leg].lots != 0:
            backing = holdings[legs[leg].wallet, legs[leg].settle_asset]
            backing.unrealised += unrealised(world, leg)
            backing.notional += notional(world, leg)
        if legs[leg].unified == 1:
            holdings[legs[leg].wallet, legs[leg].settle_asset].collateral += coin_collateral(world, leg)
    for wallet in range(holdings.shape[0]):
        world.wallet_equity[instant, wallet] = _assets_value(world, wallet)
    for leg in range(0, legs.shape[0], 2):
        liability = (legs[leg].debt + legs[leg].owed) * legs[leg].value_price
        if liability > 0.0:
            world.wallet_equity[instant, legs[leg].wallet] -= liability
    total = 0.0
    for wallet in range(holdings.shape[0]):
        total += world.wallet_equity[instant, wallet]
    _stop_where_insolvent(world, instant, total)
    return total


@kernel
def _stop_where_insolvent(world: World, instant: int, total: float) -> None:
    for wallet in range(world.holdings.shape[0]):
        if world.wallet_equity[instant, wallet] < -ROUNDING * max(1.0, abs(total)):
            stop_insolvent(world, wallet)


@kernel
def _assets_value(world: World, wallet: int) -> float:
    """Balances and unrealised profit of one wallet in account currency."""
    total = 0.0
    for asset in range(world.holdings.shape[1]):
        holding = world.holdings[wallet, asset]
        amount = holding.balance + holding.unrealised
        if amount != 0.0:
            total += amount * asset_price(world, wallet, asset)
    return total


@kernel
def stop_insolvent(world: World, wallet: int) -> None:
    """End the run: the wallet lost more than it held."""
    world.run[0].status = INSOLVENT
    world.run[0].status_row = wallet


@kernel
def collateral_coins(world: World, leg: int) -> float:
    """Base units with which the pair's spot leg backs its perp ``leg`` in a unified wallet, what it owes taken off.

    Coins count after their haircut, what is owed in full.
    """
    spot = world.legs[leg - 1]
    return float(spot.holding * spot.collateral_ratio - spot.debt - spot.owed)


@kernel
def coin_collateral(world: World, leg: int) -> float:
    """Value of ``collateral_coins``, account currency; 0 without coins, also where the pair has no price yet."""
    coins = collateral_coins(world, leg)
    return float(coins * world.legs[leg - 1].value_price) if coins != 0.0 else 0.0


@kernel
def margin_equity(world: World, wallet: int, settle_asset: int) -> float:
    """What backs the wallet's perps that settle in ``settle_asset``, in value: balance, unrealised profit, coins."""
    total, coins = world.holdings[wallet, settle_asset].balance, 0.0
    legs = world.legs
    for pair in range(world.pairs.shape[0]):
        leg = 2 * pair + 1
        if legs[leg].wallet == wallet and legs[leg].settle_asset == settle_asset:
            total += unrealised(world, leg)
            coins += coin_collateral(world, leg) if legs[leg].unified == 1 else 0.0
    return float(total * asset_price(world, wallet, settle_asset) + coins)


@kernel
def wallet_notional(world: World, wallet: int, settle_asset: int) -> float:
    """Absolute perp notional of a wallet in contracts that settle in ``settle_asset``."""
    total = 0.0
    legs = world.legs
    for pair in range(world.pairs.shape[0]):
        leg = 2 * pair + 1
        if legs[leg].wallet == wallet and legs[leg].settle_asset == settle_asset:
            total += notional(world, leg)
    return total


@kernel
def free_margin(world: World, wallet: int, settle_asset: int) -> float:
    """Margin equity that neither initial margin nor working orders hold, account currency; may be negative."""
    used = wallet_notional(world, wallet, settle_asset) / world.rules[0].leverage
    held = world.holdings[wallet, settle_asset].reserved * asset_price(world, wallet, settle_asset)
    return float(margin_equity(world, wallet, settle_asset) - used - held)


@kernel
def free_cash(world: World, wallet: int) -> float:
    """Account currency that can be spent or sent from a wallet: balance less what orders and perps need."""
    account = world.rules[0].account_asset
    cash = world.holdings[wallet, account].balance - world.holdings[wallet, account].reserved
    return float(min(cash, free_margin(world, wallet, account)))


@kernel
def pair_pnl(world: World, pair: int, gain: float) -> float:
    """Cumulative profit of a pair from the cash its legs moved and the value they hold; not from the attribution.

    ``gain``: unrealised profit of its perp leg, settlement asset.
    """
    spot, perp = world.legs[2 * pair], world.legs[2 * pair + 1]
    total = spot.cash + perp.cash
    base = spot_base(world, 2 * pair)
    if base != 0.0:
        total += base * spot.value_price
    if perp.kind == INVERSE:
        coin = perp.coin + gain
        if coin != 0.0:
            total += coin * asset_price(world, perp.wallet, perp.base_asset)
    else:
        total += gain
    return float(total)
