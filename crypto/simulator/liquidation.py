"""The venue liquidates our perps: cancels, closes in stages, takes the rest over. Spec: docs/specs/simulator.md.

A forced order fills between the mark that triggered it and the bar's extreme, by ``margin.liquidity_gap``, and pays
half the spread. What the venue takes and what it bears is booked against its insurance fund.
"""

from __future__ import annotations

from crypto.compiled import kernel
from crypto.insurance import split_equity
from crypto.ledger import Component, Flow
from crypto.liquidation_stages import Stage, stage_lots
from crypto.pipeline import execution
from crypto.pipeline.orders import Intent, OrderReason, OrderStatus
from crypto.pipeline.reasons import Reason
from crypto.simulator.desk import end_order, forced_order, release
from crypto.simulator.fills import book_perp
from crypto.simulator.margin_check import (
    accounts_in_danger,
    collateral_at,
    contract_share,
    first_shortfall,
    is_short_of_margin,
    maintenance_at,
    mark_on_the_way,
    net_lots,
    notional_at,
    profit_at,
    surplus_at,
    unit_of,
)
from crypto.simulator.posting import attribute, move_cash, note, post
from crypto.simulator.state import FILL, INVERSE, LIQUIDATION, TAKEOVER, World
from crypto.simulator.valuation import ROUNDING, coin_collateral, hedge_base, spot_base, unrealised

_LIQUIDATION_FEE, _TAKEOVER = int(Flow.LIQUIDATION_FEE), int(Flow.TAKEOVER)
_COMPONENT, _DELTA = int(Component.LIQUIDATION), int(Component.DELTA)
_NAKED_COMPONENT = int(Component.NAKED)
_CANCELLED, _LIQUIDATED = int(OrderStatus.CANCELLED), int(OrderReason.LIQUIDATED)
_INTENT, _NAKED = int(Intent.LIQUIDATION), int(Reason.LIQUIDATED)

LOOKS = 8  # measurements on the rest of a bar's way after a liquidation in part
MOST_STEPS = 64  # of one account in a bar, then everything is closed: bounds what a step may write (``loop.has_room``)
_ALL = int(Stage.ALL)


@kernel
def liquidate_where_due(world: World, bar: int) -> None:
    """Check every account along the bar's adverse move and liquidate those that fall short."""
    if not accounts_in_danger(world, bar):
        return
    legs = world.legs
    for leg in range(1, legs.shape[0], 2):
        if legs[leg].lots != 0:
            way = first_shortfall(world, leg)
            if way <= 1.0:
                _look_again(world, leg, way, _liquidate(world, leg, way, MOST_STEPS))


@kernel
def _look_again(world: World, leg: int, way: float, steps: int) -> None:
    """After a liquidation in part, measure the account again on the rest of the way, as the venue goes on doing.

    ``steps``: that may still be taken in stages.
    """
    wallet, asset = world.legs[leg].wallet, world.legs[leg].settle_asset
    for look in range(1, LOOKS + 1):
        later = way + (1.0 - way) * look / LOOKS
        surplus, needed = surplus_at(world, wallet, asset, later)
        if is_short_of_margin(world, leg, surplus, needed):
            steps = _liquidate(world, leg, later, steps)


@kernel
def _liquidate(world: World, leg: int, way: float, steps: int) -> int:
    """Liquidate the account that ``leg`` belongs to, at the share ``way`` of the move; returns the steps left.

    ``steps``: that may be taken in stages; beyond them whole positions are closed.
    """
    wallet, asset = world.legs[leg].wallet, world.legs[leg].settle_asset
    world.run[0].liquidations += 1
    _cancel_orders(world, wallet, asset)
    while True:
        surplus, needed = surplus_at(world, wallet, asset, way)
        if not is_short_of_margin(world, leg, surplus, needed):
            return steps
        last = _largest(world, wallet, asset, way)
        _close_step(world, last, way, surplus, world.legs[last].stage if steps > 0 else _ALL)
        steps = max(0, steps - 1)
        if _largest(world, wallet, asset, way) < 0:
            _take_over(world, last, way)
            return steps


@kernel
def _cancel_orders(world: World, wallet: int, asset: int) -> None:
    """The venue cancels the account's working orders; the pairs' work in progress ends."""
    for pair in range(world.pairs.shape[0]):
        perp = world.legs[2 * pair + 1]
        if perp.wallet != wallet or perp.settle_asset != asset:
            continue
        for leg in (2 * pair, 2 * pair + 1):
            if world.legs[leg].order >= 0:
                end_order(world, world.legs[leg].order, _CANCELLED, _LIQUIDATED)
        release(world, pair, 1.0)
        execution.abandon(world.pairs, pair)


@kernel
def _largest(world: World, wallet: int, asset: int, way: float) -> int:
    """The account's open perp leg with the largest maintenance margin; -1 when the venue sees no position."""
    found, most = -1, -1.0
    legs = world.legs
    for leg in range(1, legs.shape[0], 2):
        mine = legs[leg].wallet == wallet and legs[leg].settle_asset == asset
        if mine and legs[leg].lots != 0 and contract_share(world, leg) > 0.0:
            needed = maintenance_at(world, leg, mark_on_the_way(world, leg, way))
            if needed > most:
                found, most = leg, needed
    return found


@kernel
def forced_price(world: World, leg: int, mark: float) -> float:
    """Price of a forced order that closes the leg's position when its mark is ``mark``."""
    row = world.legs[leg]
    side = -1.0 if row.lots > 0 else 1.0
    gap = max(0.0, side * (row.adverse - mark))  # a move that hurts coins may help the order
    return float((mark + side * world.rules[0].liquidity_gap * gap) * (1.0 + side * row.half_spread))


@kernel
def _close_step(world: World, leg: int, way: float, surplus: float, stage: int) -> None:
    """Close what the ``stage`` says of one leg, with the liquidation fee as far as there is equity for it."""
    row = world.legs[leg]
    mark = mark_on_the_way(world, leg, way)
    price = forced_price(world, leg, mark)
    per_lot = notional_at(world, leg, 1, mark)
    cost = abs(price / mark - 1.0) + row.liquidation_fee
    first, end = row.tier_first, row.tier_end
    size = abs(net_lots(world, leg))
    lots = stage_lots(
        stage,
        surplus,
        size,
        per_lot,
        cost,
        world.tiers[0, first:end],
        world.tiers[1, first:end],
        world.tiers[2, first:end],
    )
    lots = min(lots, abs(row.lots))
    lots = lots if row.lots < 0 else -lots
    equity = surplus + _maintenance_of_account(world, leg, way) - abs(lots) * per_lot * abs(price / mark - 1.0)
    asked = row.liquidation_fee * notional_at(world, leg, lots, price)
    fee = min(asked, max(0.0, equity))
    close_by_force(world, leg, lots, price, mark, fee, _LIQUIDATION_FEE, _COMPONENT, _INTENT, _LIQUIDATED, _NAKED)
    world.run[0].fund_received += fee * unit_of(world, leg)
    note(world, LIQUIDATION, row.pair, _NAKED, leg, lots, mark, price, fee)


@kernel
def _maintenance_of_account(world: World, leg: int, way: float) -> float:
    return float(surplus_at(world, world.legs[leg].wallet, world.legs[leg].settle_asset, way)[1])


@kernel
def close_by_force(
    world: World,
    leg: int,
    lots: int,
    price: float,
    mark: float,
    fee: float,
    fee_flow: int,
    component: int,
    intent: int,
    order_reason: int,
    reason: int,
) -> None:
    """Book a fill that the venue decided: ``lots`` (signed) at ``price``, against ``mark``, with its order record.

    ``reason``: the pair's, which has lost its hedge from now on.
    """
    row = world.legs[leg]
    rate = fee / notional_at(world, leg, lots, price)
    spot_price = world.legs[leg - 1].value_price * mark / row.value_price
    order = forced_order(world, leg, lots, price, intent, order_reason)
    paid, slippage = book_perp(
        world, leg, order, lots, price, mark, -fee, 0.0, rate, spot_price, fee_flow, component, component
    )
    world.orders[order].fee_value = paid
    world.orders[order].slippage_value = slippage
    note(world, FILL, row.pair, intent, order, lots, price, paid, slippage)
    _set_naked(world, row.pair, reason, spot_price)


@kernel
def _set_naked(world: World, pair: int, reason: int, spot_price: float) -> None:
    """From now on the pair has lost its hedge, or a part of it, for ``reason``; the spot's move so far was hedged."""
    row = world.pairs[pair]
    if row.naked == 0:
        row.naked_since_ms = world.run[0].time_ms
        moved = spot_price - world.legs[2 * pair].value_price
        for leg, base in ((2 * pair, spot_base(world, 2 * pair)), (2 * pair + 1, hedge_base(world, 2 * pair + 1))):
            attribute(world, leg, _DELTA, base * moved)
            attribute(world, leg, _NAKED_COMPONENT, -base * moved)
    row.naked = reason
    row.exit_reason = reason


@kernel
def _coins_behind(world: World, wallet: int, asset: int, way: float) -> tuple[bool, float]:
    """Whether coins of spot legs are margin of the account, and what they count for after the share ``way``."""
    unified, total = False, 0.0
    legs = world.legs
    for leg in range(1, legs.shape[0], 2):
        if legs[leg].wallet == wallet and legs[leg].settle_asset == asset and legs[leg].unified == 1:
            unified = True
            total += collateral_at(world, leg, way)
    return unified, total


@kernel
def _offset_profit(world: World, leg: int, way: float) -> float:
    """Profit of positions of several pairs in one contract that cancel out: to the venue they are realised."""
    legs, total = world.legs, 0.0
    for other in range(1, legs.shape[0], 2):
        same = legs[other].wallet == legs[leg].wallet and legs[other].settle_asset == legs[leg].settle_asset
        if same and legs[other].lots != 0:
            total += profit_at(world, other, mark_on_the_way(world, other, way))
    return float(total)


@kernel
def _take_over(world: World, leg: int, way: float) -> None:
    """Settle an account without positions: margin left goes to the fund where the venue keeps it, a deficit comes out.

    Coins that back a unified wallet stay there: nothing is taken from it, and the fund bears what they, after their
    haircut, do not cover.
    """
    row = world.legs[leg]
    balance = world.holdings[row.wallet, row.settle_asset].balance + _offset_profit(world, leg, way)
    unified, coins = _coins_behind(world, row.wallet, row.settle_asset, way)
    if unified and balance + coins >= -ROUNDING * abs(balance):
        return
    equity = balance + coins
    parts = split_equity(equity, 0.0, max(0.0, -equity), row.keeps_surplus == 1)
    amount = parts.fund_paid - parts.surplus
    if amount == 0.0:
        return
    unit = unit_of(world, leg)
    if row.kind == INVERSE:
        world.holdings[row.wallet, row.settle_asset].balance += amount
        row.coin += amount
    else:
        move_cash(world, leg, amount)
    post(world, _TAKEOVER, row.wallet, row.settle_asset, leg, -1, amount, amount * unit, row.value_price, 0.0, 0.0)
    attribute(world, leg, _COMPONENT, amount * unit)
    world.run[0].fund_received += parts.surplus * unit
    world.run[0].fund_paid += parts.fund_paid * unit
    note(world, TAKEOVER, row.pair, _NAKED, leg, 0, mark_on_the_way(world, leg, way), amount * unit, 0.0)


@kernel
def position_margin(world: World, leg: int) -> float:
    """The leg's share of what backs its account, by notional, without its own unrealised profit, in the margin asset.

    Coins of a unified wallet count after their haircut. The leg has to hold a position.
    """
    legs = world.legs
    wallet, asset = legs[leg].wallet, legs[leg].settle_asset
    total, others = 0.0, 0.0
    for other in range(1, legs.shape[0], 2):
        if legs[other].wallet != wallet or legs[other].settle_asset != asset:
            continue
        if legs[other].unified == 1:
            others += coin_collateral(world, other)
        if legs[other].lots != 0:
            total += notional_at(world, other, legs[other].lots, legs[other].value_price)
            if other != leg:
                others += unrealised(world, other)
    own = notional_at(world, leg, legs[leg].lots, legs[leg].value_price)
    return float((world.holdings[wallet, asset].balance + others) * own / total)
