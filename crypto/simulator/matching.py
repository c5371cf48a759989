"""Matching of orders that were placed before, on the bars' own prices. Spec: docs/specs/matching.md.

A market order fills in the bar in which it arrives, at the bar's open and the slippage; a post-only order rests and
fills at its limit when a later price goes through it. No fill uses more than a share of the volume that was traded.
"""

from __future__ import annotations

import math

from crypto.compiled import kernel
from crypto.pipeline.orders import Intent, OrderKind, OrderReason, OrderStatus
from crypto.simulator import lean_margin
from crypto.simulator.clock import next_mark, usable_borrow_rate
from crypto.simulator.desk import finish, order_value, record_fill
from crypto.simulator.fills import LOT_TOLERANCE, coin_price, fill_perp, fill_spot
from crypto.simulator.state import CLOSE, HIGH, INVERSE, LOW, OPEN, RUNNING, SPOT, VOLUME, World
from crypto.simulator.valuation import free_cash, free_margin

_POST_ONLY, _HEDGE = int(OrderKind.POST_ONLY), int(Intent.HEDGE)
_CANCELLED, _REJECTED = int(OrderStatus.CANCELLED), int(OrderStatus.REJECTED)
_NONE, _TIMEOUT = int(OrderReason.NONE), int(OrderReason.TIMEOUT)
_NO_FUNDS, _NO_MARGIN = int(OrderReason.NO_FUNDS), int(OrderReason.NO_MARGIN)


@kernel
def slippage_fraction(half_spread: float, impact: float, participation: float) -> float:
    """Price paid beyond the reference as a fraction: half the spread plus impact per share of the volume taken."""
    return half_spread + impact * participation


@kernel
def fillable_lots(world: World, leg: int, bar: int) -> float:
    """Lots that may fill, from the volume of ``bar`` and the largest share allowed; infinite where the share is 0."""
    share = world.rules[0].max_participation
    if share <= 0.0:
        return math.inf
    if bar < 0:
        return 0.0
    volume = world.bars[leg, bar, VOLUME]
    if not volume > 0.0:
        return 0.0
    return float(math.floor(volume * share / world.legs[leg].units_per_lot + LOT_TOLERANCE))


@kernel
def participation(world: World, leg: int, bar: int, lots: float) -> float:
    """Share of a bar's volume that ``lots`` take; 0 without volume."""
    if bar < 0 or not world.bars[leg, bar, VOLUME] > 0.0:
        return 0.0
    return float(lots * world.legs[leg].units_per_lot / world.bars[leg, bar, VOLUME])


@kernel
def _affordable(world: World, order: int, lots: float, price: float) -> float:
    """Lots of an order that the wallet can pay for at ``price``, what is held back for it included."""
    entry = world.orders[order]
    row = world.legs[entry.leg]
    if world.rules[0].lean_account == 1:
        return lots if lean_margin.suffices(world, order, lots, price) else 0.0
    if entry.reduce_only == 1:
        return lots
    committed = world.pairs[row.pair].committed if entry.intent == _HEDGE else 0.0
    if row.kind == SPOT:
        if entry.lots < 0:
            return lots
        cash = free_cash(world, row.wallet) + entry.reserved + committed
        per_lot = row.units_per_lot * price * (1.0 + (0.0 if row.fee_in_base == 1 else row.taker))
        return float(min(lots, max(0.0, math.floor(cash / per_lot + LOT_TOLERANCE))))
    unit = coin_price(world, entry.leg) if row.kind == INVERSE else 1.0
    margin = free_margin(world, row.wallet, row.settle_asset) + (entry.reserved + committed) * unit
    value = order_value(world, entry.leg, 1, price)
    per_lot = value / world.rules[0].leverage + value * row.taker
    return float(min(lots, max(0.0, math.floor(margin / per_lot + LOT_TOLERANCE))))


@kernel
def _execute(world: World, order: int, lots: int, price: float, reference: float, maker: bool, bar: int) -> None:
    """Fill ``lots`` (signed) of an order and let its pair's execution react."""
    entry = world.orders[order]
    row = world.legs[entry.leg]
    rate = row.maker if maker else row.taker
    if maker and world.rules[0].fill_at_last_close == 1 and row.kind != SPOT:  # Lean: fee on the close, not the limit
        close = world.bars[entry.leg, bar, CLOSE]
        rate *= price / close if row.kind == INVERSE else close / price
    if row.kind == SPOT:
        borrow_rate = 0.0
        if lots < 0 and -lots > row.lots and row.charge_at_borrow == 1:
            borrow_rate = usable_borrow_rate(world, row.pair)
        had_debt = row.debt > 0.0
        fee, slippage = fill_spot(world, entry.leg, order, lots, price, reference, rate, borrow_rate)
        if row.debt > 0.0 and not had_debt:
            row.next_borrow_ms = next_mark(world.run[0].time_ms, row.borrow_offset_ms)
    else:
        fee, slippage = fill_perp(world, entry.leg, order, lots, price, reference, rate, bar)
    if world.run[0].status == RUNNING:
        record_fill(world, order, lots, price, fee, slippage)


@kernel
def _last_close(world: World, leg: int) -> float:
    """Close of the last bar in which the leg traded, however long ago: what Lean fills at. NaN before the first."""
    row = world.legs[leg]
    quote = world.quotes[row.pair]
    price = (quote.spot if row.kind == SPOT else quote.perp) * row.multiplier
    return float(price) if price > 0.0 else math.nan


@kernel
def fillable(world: World, leg: int, bar: int, price: float) -> tuple[int, float, int]:
    """Lots (signed) of the leg's working market order that fill at ``price`` now, what they pay, and why none may.

    ``bar``: the last bar that closed, whose volume limits the fill. No lots and no reason: it waits.
    """
    order = world.legs[leg].order
    entry = world.orders[order]
    capacity = fillable_lots(world, leg, bar)
    if price != price or capacity < 1.0:
        return 0, price, _NONE
    side = 1 if entry.lots > 0 else -1
    lots = min(float(abs(entry.lots - entry.filled_lots)), capacity)
    row = world.legs[leg]
    cost = slippage_fraction(row.half_spread, row.impact, participation(world, leg, bar, lots))
    paid = price * (1.0 + side * cost)
    lots = _affordable(world, order, lots, paid)
    if lots < 1.0:
        return 0, paid, _NO_FUNDS if row.kind == SPOT else _NO_MARGIN
    return side * int(lots), paid, _NONE


@kernel
def arrive(world: World, leg: int) -> None:
    """Handle the leg's working order at its arrival time: fill it, let it rest, make it wait or cancel it."""
    run, rules = world.run[0], world.rules[0]
    order = world.legs[leg].order
    entry = world.orders[order]
    bar = (run.time_ms - rules.start_ms) // rules.bar_ms
    next_open_ms = rules.start_ms + (bar + 1) * rules.bar_ms
    if run.time_ms >= entry.deadline_ms:
        finish(world, order, _CANCELLED, _TIMEOUT)
        return
    price = _last_close(world, leg) if rules.fill_at_last_close == 1 and bar > 0 else world.bars[leg, bar, OPEN]
    if entry.kind == _POST_ONLY:
        if price == price:
            better = min(entry.limit_price, price) if entry.lots > 0 else max(entry.limit_price, price)
            entry.limit_price = better
        entry.arrival_ms = -1  # rests from now on
        return
    lots, paid, reason = fillable(world, leg, bar - 1, price)
    if reason != _NONE:
        finish(world, order, _REJECTED, reason)
        return
    if lots != entry.lots - entry.filled_lots:
        entry.arrival_ms = next_open_ms
    if lots != 0:
        _execute(world, order, lots, paid, price, False, bar)


@kernel
def resting_lots(world: World, leg: int, bar: int, price: float) -> int:
    """Lots (signed) of the leg's resting order that a bar which traded through its limit fills at ``price``."""
    order = world.legs[leg].order
    entry = world.orders[order]
    lots = min(float(abs(entry.lots - entry.filled_lots)), fillable_lots(world, leg, bar))
    lots = _affordable(world, order, lots, price)
    if lots < 1.0:
        return 0
    return int(lots) if entry.lots > 0 else -int(lots)


@kernel
def match_resting(world: World, leg: int, bar: int) -> None:
    """Fill a resting post-only order that the bar traded through; cancel it after its deadline."""
    order = world.legs[leg].order
    entry = world.orders[order]
    through = (
        world.bars[leg, bar, LOW] < entry.limit_price
        if entry.lots > 0
        else world.bars[leg, bar, HIGH] > entry.limit_price
    )
    if through:
        price = entry.limit_price
        if world.rules[0].fill_at_last_close == 1:  # Lean: a bar beyond the limit as a whole fills at its near end
            price = min(price, world.bars[leg, bar, HIGH]) if entry.lots > 0 else max(price, world.bars[leg, bar, LOW])
        lots = resting_lots(world, leg, bar, price)
        if lots != 0:
            _execute(world, order, lots, price, price, True, bar)
    if world.legs[leg].order == order and world.run[0].time_ms >= entry.deadline_ms:
        finish(world, order, _CANCELLED, _TIMEOUT)
