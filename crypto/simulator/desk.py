"""The exchange's order entry: accepts requests, checks the venue's filters, holds back what an order may cost."""

from __future__ import annotations

import math

from crypto.compiled import kernel
from crypto.pipeline import execution
from crypto.pipeline.execution import Request
from crypto.pipeline.orders import Intent, OrderKind, OrderReason, OrderStatus
from crypto.pipeline.portfolio import Target
from crypto.simulator.clock import borrow_rate_at
from crypto.simulator.fee_coins import base_fee_rate
from crypto.simulator.fills import LOT_TOLERANCE
from crypto.simulator.margin_check import net_lots
from crypto.simulator.posting import note
from crypto.simulator.state import (
    FILL,
    INVERSE,
    ORDER_CANCELLED,
    ORDER_PLACED,
    ORDER_REJECTED,
    SPOT,
    World,
)
from crypto.simulator.valuation import perp_base, spot_base
from crypto.tiers import tier_index
from crypto.units import HOUR_MS

_PLACED, _FILLED = int(OrderStatus.PLACED), int(OrderStatus.FILLED)
_CANCELLED, _REJECTED = int(OrderStatus.CANCELLED), int(OrderStatus.REJECTED)
_NONE, _THROTTLED, _NO_BORROW = int(OrderReason.NONE), int(OrderReason.THROTTLED), int(OrderReason.NO_BORROW)
_HEDGE_FAILED = int(OrderReason.HEDGE_FAILED)
_MIN_QUANTITY, _MIN_NOTIONAL = int(OrderReason.BELOW_MIN_QUANTITY), int(OrderReason.BELOW_MIN_NOTIONAL)
_BEYOND_TIERS, _LEVERAGE = int(OrderReason.BEYOND_TIERS), int(OrderReason.LEVERAGE_TOO_HIGH)
_POST_ONLY = int(OrderKind.POST_ONLY)
_HEDGE, _UNWIND = int(Intent.HEDGE), int(Intent.UNWIND)

RESERVE_BUFFER = 0.004  # of the price: what is held back for a buy covers this much rise before the fill


@kernel
def order_value(world: World, leg: int, lots: int, price: float) -> float:
    """Absolute quote value of ``lots`` at ``price``."""
    row = world.legs[leg]
    if row.kind == INVERSE:
        return float(abs(lots) * row.quote_per_lot)
    return float(abs(lots) * row.units_per_lot * price)


@kernel
def _reserve(world: World, leg: int, lots: int, price: float, intent: int, reduce_only: bool) -> float:
    """Amount of the spent asset to hold back for an order; a hedge has it from the start of its work."""
    row = world.legs[leg]
    if intent == _HEDGE or reduce_only or (row.kind == SPOT and lots < 0):
        return 0.0
    value = order_value(world, leg, lots, price)
    if row.kind == SPOT:
        return float(value * (1.0 + RESERVE_BUFFER) * (1.0 + row.taker))
    margin = value / world.rules[0].leverage + value * row.taker
    return float(margin / price) if row.kind == INVERSE else float(margin)


@kernel
def _minimum(world: World, leg: int, request: Request, price: float) -> int:
    """The venue's minimum that an order does not reach; ``NONE`` when it does."""
    row = world.legs[leg]
    if abs(request.lots) < row.min_lots:
        return _MIN_QUANTITY
    exempt = request.reduce_only and row.closing_exempt == 1
    if not exempt and order_value(world, leg, request.lots, price) < row.min_notional:
        return _MIN_NOTIONAL
    return _NONE


@kernel
def _tier_refusal(world: World, leg: int, lots: int, price: float) -> int:
    """Why the venue's leverage tiers do not allow a position of ``lots``; ``NONE`` when they do."""
    row = world.legs[leg]
    size = order_value(world, leg, lots, price) / (price if row.kind == INVERSE else 1.0)
    first, end = row.tier_first, row.tier_end
    if size > world.tiers[3, end - 1]:
        return _BEYOND_TIERS
    tier = first + tier_index(size, world.tiers[0, first:end])
    return _LEVERAGE if world.rules[0].leverage > world.tiers[4, tier] else _NONE


@kernel
def _refusal(world: World, leg: int, request: Request, price: float) -> int:
    """Reason for which the venue or our throttle refuses the order; ``NONE`` when it is accepted."""
    row, run, rules = world.legs[leg], world.run[0], world.rules[0]
    hour = run.time_ms // HOUR_MS
    if hour != run.hour:
        run.hour = hour
        run.orders_this_hour = 0
    if run.orders_this_hour >= rules.max_orders_per_hour and not request.reduce_only:
        return _THROTTLED
    minimum = _minimum(world, leg, request, price)
    if minimum != _NONE:
        return minimum
    if row.kind != SPOT and rules.margin_engine == 1 and not request.reduce_only:
        return _tier_refusal(world, leg, net_lots(world, leg) + request.lots, price)
    if row.kind == SPOT and request.lots < 0 and -request.lots > max(0, row.lots):
        rate = borrow_rate_at(world, row.pair, run.time_ms)
        if world.pairs[row.pair].borrow_allowed == 0 or rate != rate:
            return _NO_BORROW
    return _NONE


@kernel
def place(world: World, pair: int, request: Request) -> int:
    """Enter one order for a leg.

    A refused order is recorded as rejected. Returns the reason, ``NONE`` when accepted.
    """
    run, rules = world.run[0], world.rules[0]
    leg = 2 * pair + request.side
    row = world.legs[leg]
    price = row.value_price
    order = run.order_rows
    run.order_rows += 1
    entry = world.orders[order]
    entry.id = order
    entry.pair = pair
    entry.leg = leg
    entry.intent = request.intent
    entry.kind = request.kind
    entry.lots = request.lots
    entry.placed_ms = run.time_ms
    entry.arrival_ms = run.time_ms + rules.latency_ms
    entry.deadline_ms = run.time_ms + rules.timeout_ms
    entry.reduce_only = 1 if request.reduce_only else 0
    entry.limit_price = _resting_price(world, leg, request.lots) if request.kind == _POST_ONLY else math.nan
    entry.average_price = math.nan
    reason = _refusal(world, leg, request, price)
    if reason != _NONE:
        entry.status = _REJECTED
        entry.reason = reason
        entry.done_ms = run.time_ms
        note(world, ORDER_REJECTED, pair, reason, order, request.lots, price, 0.0, 0.0)
        return reason
    run.orders_this_hour += 1
    entry.status = _PLACED
    entry.reserved = _reserve(world, leg, request.lots, price, request.intent, request.reduce_only)
    world.holdings[row.wallet, row.settle_asset].reserved += entry.reserved
    row.order = order
    note(world, ORDER_PLACED, pair, request.intent, order, request.lots, price, entry.limit_price, 0.0)
    return _NONE


@kernel
def _resting_price(world: World, leg: int, lots: int) -> float:
    """The last trade on the tick grid, on the passive side."""
    row, quote = world.legs[leg], world.quotes[world.legs[leg].pair]
    price = (quote.spot if row.kind == SPOT else quote.perp) * row.multiplier
    steps = math.floor(price / row.tick + 1e-9) if lots > 0 else math.ceil(price / row.tick - 1e-9)
    return float(steps * row.tick)


@kernel
def commit(world: World, pair: int, target: Target) -> None:
    """Hold back what the second leg of an entry will need, so that nothing else spends it meanwhile."""
    rules = world.rules[0]
    spot, perp = world.legs[2 * pair], world.legs[2 * pair + 1]
    perp_value = order_value(world, 2 * pair + 1, target.perp_lots, perp.value_price)
    if world.pairs[pair].first_leg == execution.SPOT_SIDE:
        wallet, asset = perp.wallet, perp.settle_asset
        amount = perp_value * (max(rules.collateral_ratio, 1.0 / rules.leverage) + perp.taker)
        if perp.kind == INVERSE:
            amount /= perp.value_price
    else:
        wallet, asset = spot.wallet, rules.account_asset
        spot_value = order_value(world, 2 * pair, target.spot_lots, spot.value_price)
        amount = spot_value * (1.0 + RESERVE_BUFFER) * (1.0 + spot.taker) if target.spot_lots > 0 else 0.0
    world.pairs[pair].committed = amount
    world.holdings[wallet, asset].reserved += amount


@kernel
def release(world: World, pair: int, share: float) -> None:
    """Give back a share of what is held back for the pair's second leg."""
    row = world.pairs[pair]
    if row.committed == 0.0:
        return
    amount = row.committed * share
    second = world.legs[2 * pair + 1 - row.first_leg]
    world.holdings[second.wallet, second.settle_asset].reserved -= amount
    row.committed -= amount


@kernel
def _tradable(world: World, pair: int, request: Request) -> int:
    """Lots of a request as they can be traded: a spot sale stays within the coins held, an unwind keeps the hedge."""
    spot = world.legs[2 * pair]
    if not request.reduce_only or request.side != execution.SPOT_SIDE:
        return int(request.lots)
    net = spot_base(world, 2 * pair) + perp_base(world, 2 * pair + 1)
    if request.lots > 0:
        if request.intent != _UNWIND:
            return int(request.lots)
        value = order_value(world, 2 * pair, request.lots, spot.value_price)
        received = spot.base_per_lot * (1.0 - base_fee_rate(world, 2 * pair, value))
        return int(max(0, math.ceil(-net / received - LOT_TOLERANCE)))
    most = spot.lots
    if request.intent == _UNWIND:
        most = min(most, int(math.floor(net / spot.base_per_lot + LOT_TOLERANCE)))
    return -int(min(-request.lots, max(0, most)))


@kernel
def _waits_for_more(world: World, pair: int, request: Request) -> bool:
    """Whether the second leg's share of a first leg that is still filling is below the venue's minimum."""
    row = world.pairs[pair]
    if row.first_working == 0 or row.phase != execution.WORKING or request.side == row.first_leg:
        return False
    leg = 2 * pair + request.side
    return _minimum(world, leg, request, world.legs[leg].value_price) != _NONE


@kernel
def end_order(world: World, order: int, status: int, reason: int) -> None:
    """Bring a working order to its last state, release what was held back for it and tell execution."""
    entry = world.orders[order]
    row = world.legs[entry.leg]
    entry.status = status
    entry.reason = reason
    entry.done_ms = world.run[0].time_ms
    world.holdings[row.wallet, row.settle_asset].reserved -= entry.reserved
    entry.reserved = 0.0
    row.order = -1
    if status != _FILLED:
        event = ORDER_CANCELLED if status == _CANCELLED else ORDER_REJECTED
        note(world, event, entry.pair, reason, order, entry.lots - entry.filled_lots, row.value_price, 0.0, 0.0)
    execution.ended(world.pairs, entry.pair, entry.leg % 2, status != _FILLED)


@kernel
def send(world: World, pair: int) -> None:
    """Enter every order that the pair's execution asks for; after a refusal it may only take a leg back at once."""
    pairs, rules = world.pairs, world.rules[0]
    stop = False
    while True:
        if execution.first_must_stop(pairs, pair):
            end_order(world, world.legs[2 * pair + pairs[pair].first_leg].order, _CANCELLED, _HEDGE_FAILED)
        request = execution.next_request(pairs, pair, rules)
        if request.side < 0:
            break
        if stop or _waits_for_more(world, pair, request):
            execution.postpone(pairs, pair, request.side)
            break
        lots = _tradable(world, pair, request)
        if lots != request.lots:
            execution.shorten(pairs, pair, request.side, request.lots - lots)
        if lots == 0:
            execution.ended(pairs, pair, request.side, False)
            continue
        reason = place(world, pair, Request(request.side, lots, request.kind, request.intent, request.reduce_only))
        if reason != _NONE:
            execution.ended(pairs, pair, request.side, True)
            stop = request.reduce_only
            if stop and reason in (_MIN_QUANTITY, _MIN_NOTIONAL):
                execution.abandon(pairs, pair)
    if pairs[pair].phase != execution.WORKING:
        release(world, pair, 1.0)


@kernel
def record_fill(world: World, order: int, lots: int, price: float, fee: float, slippage: float) -> None:
    """Update an order after a fill and let execution react; the order ends when nothing is left."""
    entry = world.orders[order]
    row = world.legs[entry.leg]
    pair, side = entry.pair, entry.leg % 2
    before = entry.filled_lots
    entry.filled_lots += lots
    old = entry.average_price * before if before != 0 else 0.0
    entry.average_price = (old + price * lots) / entry.filled_lots
    entry.fee_value += fee
    entry.slippage_value += slippage
    freed = entry.reserved * (lots / (entry.lots - before))
    entry.reserved -= freed
    world.holdings[row.wallet, row.settle_asset].reserved -= freed
    if entry.intent == _HEDGE:
        left = world.pairs[pair].second_lots - world.pairs[pair].second_done
        release(world, pair, lots / left if left != 0 else 1.0)
    note(world, FILL, pair, entry.intent, order, lots, price, fee, slippage)
    execution.filled(world.pairs, pair, side, lots)
    if entry.filled_lots == entry.lots:
        finish(world, order, _FILLED, _NONE)
    else:
        send(world, pair)


@kernel
def forced_order(world: World, leg: int, lots: int, price: float, intent: int, reason: int) -> int:
    """Record an order of the venue's own (liquidation, ADL), filled at ``price``; returns its row."""
    run = world.run[0]
    order = run.order_rows
    run.order_rows += 1
    entry = world.orders[order]
    entry.id = order
    entry.pair = world.legs[leg].pair
    entry.leg = leg
    entry.intent = intent
    entry.lots = lots
    entry.filled_lots = lots
    entry.placed_ms = entry.arrival_ms = entry.deadline_ms = entry.done_ms = run.time_ms
    entry.status = _FILLED
    entry.reason = reason
    entry.reduce_only = 1
    entry.limit_price = math.nan
    entry.average_price = price
    return int(order)


@kernel
def finish(world: World, order: int, status: int, reason: int) -> None:
    """End an order and let its pair's execution go on."""
    end_order(world, order, status, reason)
    send(world, world.orders[order].pair)
