"""ADL of our winning leg: the modelled queue of each large move, and our place in it. Spec: docs/specs/simulator.md.

The events were worked out before the run from the mark alone (``crypto.simulator.adl_tables``): they say how many lots
the insurance fund could not carry, at which price they are closed, and who stands in the queue. Our position decides
only where we stand.
"""

from __future__ import annotations

import math
from typing import Any

from crypto.adl_ranking import position_score
from crypto.compiled import kernel
from crypto.ledger import Component, Flow
from crypto.liquidation_stages import LOT_TOLERANCE
from crypto.pipeline import execution
from crypto.pipeline.orders import Intent, OrderReason, OrderStatus
from crypto.pipeline.reasons import Reason
from crypto.simulator.desk import end_order, release
from crypto.simulator.liquidation import close_by_force, position_margin
from crypto.simulator.margin_check import maintenance_at, notional_at
from crypto.simulator.posting import note
from crypto.simulator.state import DELEVERAGING, INVERSE, World

_FEE, _COMPONENT = int(Flow.FEE), int(Component.ADL)
_CANCELLED = int(OrderStatus.CANCELLED)
_INTENT, _REASON, _NAKED = int(Intent.DELEVERAGE), int(OrderReason.DELEVERAGED), int(Reason.DELEVERAGED)

LIGHTS = 5


@kernel
def deleverage_where_due(world: World, bar: int) -> None:
    """Let every leg's ADL events of ``bar`` close what the queue takes of our position."""
    legs = world.legs
    for leg in range(1, legs.shape[0], 2):
        legs[leg].adl_light = -1
        while legs[leg].adl_next < legs[leg].adl_end and world.adl_events[legs[leg].adl_next].bar <= bar:
            event = legs[leg].adl_next
            legs[leg].adl_next += 1
            if world.adl_events[event].bar == bar and legs[leg].lots * world.adl_events[event].side < 0:
                _deleverage(world, leg, event)


@kernel
def lots_ahead(queue: Any, first: int, end: int, score: float) -> tuple[float, float]:
    """Lots of the queue (rows ``first`` to ``end``, score descending) that rank before ``score``, and all its lots."""
    low, high = first, end
    while low < high:
        middle = (low + high) // 2
        if queue[middle].score >= score:
            low = middle + 1
        else:
            high = middle
    ahead = queue[low - 1].lots if low > first else 0.0
    return float(ahead), float(queue[end - 1].lots) if end > first else 0.0


@kernel
def own_score(world: World, leg: int, mark: float) -> float:
    """Score of our position at ``mark`` by the venue's formula."""
    row = world.legs[leg]
    if row.kind == INVERSE:
        value = row.lots * row.quote_per_lot
        mark_value, entry_value = -value / mark, -value / row.entry
    else:
        mark_value, entry_value = row.lots * row.units_per_lot * mark, row.lots * row.units_per_lot * row.entry
    margin = position_margin(world, leg)
    return float(position_score(row.adl_score, mark_value, entry_value, margin, maintenance_at(world, leg, mark)))


@kernel
def _deleverage(world: World, leg: int, index: int) -> None:
    event, row = world.adl_events[index], world.legs[leg]
    score = own_score(world, leg, event.mark)
    ahead, total = lots_ahead(world.adl_queue, event.queue_first, event.queue_end, score)
    size = abs(row.lots)
    fifth = math.ceil(LIGHTS * (ahead + size) / (total + size))
    row.adl_light = LIGHTS - min(LIGHTS, max(1, int(fifth)))
    closed = min(size, int(math.floor(max(0.0, event.lots - ahead) + LOT_TOLERANCE)))
    if closed == 0:
        return
    for side in (leg - 1, leg):
        if world.legs[side].order >= 0:
            end_order(world, world.legs[side].order, _CANCELLED, _REASON)
    release(world, row.pair, 1.0)
    execution.abandon(world.pairs, row.pair)
    lots = closed if row.lots < 0 else -closed
    fee = row.deleverage_fee * notional_at(world, leg, lots, event.price)
    close_by_force(world, leg, lots, event.price, event.mark, fee, _FEE, _COMPONENT, _INTENT, _REASON, _NAKED)
    world.run[0].deleveragings += 1
    note(world, DELEVERAGING, row.pair, _NAKED, leg, lots, event.mark, event.price, score)
