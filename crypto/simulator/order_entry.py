"""Single orders from a Python strategy, beside the two-leg execution of a pair: for schedules written by hand.

Call between steps, from ``on_instant``, for a pair whose execution is idle. Spec: docs/specs/lean_stock.md.
"""

from __future__ import annotations

import math

from crypto.compiled import jit
from crypto.errors import RefusedError
from crypto.pipeline.execution import Request
from crypto.pipeline.orders import Intent, OrderKind
from crypto.simulator.desk import place
from crypto.simulator.state import World

_MARKET, _POST_ONLY = int(OrderKind.MARKET), int(OrderKind.POST_ONLY)
_OPEN, _REDUCE = int(Intent.OPEN), int(Intent.REDUCE)


@jit
def _enter(world: World, leg: int, lots: int, limit_price: float, reduce_only: bool) -> int:
    kind = _MARKET if limit_price != limit_price else _POST_ONLY
    intent = _REDUCE if reduce_only else _OPEN
    reason = place(world, leg // 2, Request(leg % 2, lots, kind, intent, reduce_only))
    if kind == _POST_ONLY:
        world.orders[world.run[0].order_rows - 1].limit_price = limit_price
    return reason


def enter_order(world: World, leg: int, lots: int, *, limit_price: float = math.nan, reduce_only: bool = False) -> int:
    """Place one order of ``lots`` (signed) for a leg: at market, or resting at ``limit_price`` until the leg timeout.

    Returns the code of the ``OrderReason`` for which it was rejected, 0 when it was accepted. ``RefusedError`` while
    an earlier order of the leg is working: a leg has one at a time.
    """
    if int(world.legs[leg].order) >= 0:
        raise RefusedError(
            f"leg {leg} has a working order (number {int(world.legs[leg].order)})",
            remedy="wait until it has filled or timed out (execution.leg_timeout_bars)",
        )
    return int(_enter(world, leg, lots, limit_price, reduce_only))
