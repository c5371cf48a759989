"""Two-leg execution: the first leg goes out, the second follows what filled, and what cannot be hedged is taken back.

A pair's work is a small state machine in its row of the pair table. ``next_request`` returns the order to send now
(``side`` -1: none). Whoever sends orders (the simulated exchange, a Lean algorithm) calls ``filled`` for each fill and
``ended`` when an order is done, and asks again until nothing is left. Spec:
docs/specs/execution.md.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from crypto.compiled import kernel
from crypto.pipeline.orders import Intent, OrderKind
from crypto.pipeline.portfolio import Action, Target

IDLE, WORKING, UNWINDING = 0, 1, 2  # phases

SPOT_SIDE, PERP_SIDE = 0, 1

FIRST_SPOT, FIRST_PERP, FIRST_THIN = 0, 1, 2  # codes of settings.FirstLeg

_MARKET, _POST_ONLY = int(OrderKind.MARKET), int(OrderKind.POST_ONLY)
_OPEN, _HEDGE, _REDUCE, _UNWIND = int(Intent.OPEN), int(Intent.HEDGE), int(Intent.REDUCE), int(Intent.UNWIND)
_ACTION_OPEN, _ACTION_HEDGE = int(Action.OPEN), int(Action.HEDGE)


class Request(NamedTuple):
    """One order to send. ``side``: 0 spot leg, 1 perp leg, -1 nothing to send; ``lots`` signed."""

    side: int
    lots: int
    kind: int
    intent: int
    reduce_only: bool


@kernel
def _no_request() -> Request:
    return Request(-1, 0, _MARKET, _OPEN, False)


@kernel
def start(pairs: Any, pair: int, target: Target, perp_step_lots: int, rules: Any) -> None:
    """Begin the work of an approved target; ``next_request`` gives its orders."""
    row = pairs[pair]
    first = PERP_SIDE if rules.first_leg == FIRST_PERP else SPOT_SIDE
    if rules.first_leg == FIRST_THIN and row.perp_turnover < row.spot_turnover:
        first = PERP_SIDE
    if first == SPOT_SIDE and target.spot_lots == 0:
        first = PERP_SIDE
    elif first == PERP_SIDE and target.perp_lots == 0:
        first = SPOT_SIDE
    row.phase = WORKING
    row.opening = 1 if target.action == _ACTION_OPEN else 0
    row.hedging = 1 if target.action == _ACTION_HEDGE else 0
    row.first_leg = first
    row.first_lots = target.spot_lots if first == SPOT_SIDE else target.perp_lots
    row.second_lots = target.perp_lots if first == SPOT_SIDE else target.spot_lots
    row.second_step = perp_step_lots if first == SPOT_SIDE else 1
    row.first_done = 0
    row.second_done = 0
    row.first_sent = 0
    row.first_working = 0
    row.second_working = 0
    row.second_failed = 0


@kernel
def second_due(row: Any) -> int:
    """Lots of the second leg that match what the first has filled, in whole steps."""
    if row.first_done == row.first_lots:
        return int(row.second_lots)
    share = row.second_lots * (row.first_done / row.first_lots)
    whole = int(math.floor(abs(share) / row.second_step)) * int(row.second_step)
    return whole if row.second_lots > 0 else -whole


@kernel
def next_request(pairs: Any, pair: int, rules: Any) -> Request:
    """The order that the work needs now, counted as sent; ends the work when nothing is left to do."""
    row = pairs[pair]
    if row.phase == IDLE:
        return _no_request()
    if row.phase == UNWINDING:
        return _next_unwind(row)
    if row.first_sent == 0:
        return _first_request(row, rules)
    if row.second_working == 1:
        return _no_request()
    if row.second_failed == 1:
        return _begin_unwind(row)
    missing = second_due(row) - row.second_done
    if missing != 0:
        row.second_working = 1
        intent = _HEDGE if row.opening == 1 else _REDUCE
        return Request(1 - row.first_leg, missing, _MARKET, intent, row.opening == 0)
    if row.first_working == 0:
        if row.opening == 1 and row.first_done != 0 and row.second_done == 0 and row.second_lots != 0:
            return _begin_unwind(row)
        row.phase = IDLE
    return _no_request()


@kernel
def first_must_stop(pairs: Any, pair: int) -> bool:
    """Whether the first leg's order has to be cancelled, because its hedge failed while it was still working."""
    row = pairs[pair]
    return bool(row.phase == WORKING and row.second_failed == 1 and row.first_working == 1)


@kernel
def _first_request(row: Any, rules: Any) -> Request:
    row.first_sent = 1
    row.first_working = 1
    if row.opening == 1:
        kind = _POST_ONLY if rules.maker_first == 1 else _MARKET
        return Request(row.first_leg, row.first_lots, kind, _OPEN, False)
    if row.hedging == 1:
        return Request(row.first_leg, row.first_lots, _MARKET, _HEDGE, False)
    return Request(row.first_leg, row.first_lots, _MARKET, _REDUCE, True)


@kernel
def _begin_unwind(row: Any) -> Request:
    """Take back what the first leg filled beyond what the second hedges."""
    excess = row.first_done - _first_covered_by_second(row)
    if excess == 0:
        row.phase = IDLE
        return _no_request()
    row.phase = UNWINDING
    row.first_lots = -excess
    row.first_done = 0
    row.first_working = 0
    return _next_unwind(row)


@kernel
def _next_unwind(row: Any) -> Request:
    left = row.first_lots - row.first_done
    if row.first_working == 1:
        return _no_request()
    if left == 0:
        row.phase = IDLE
        return _no_request()
    row.first_working = 1
    return Request(row.first_leg, left, _MARKET, _UNWIND, True)


@kernel
def filled(pairs: Any, pair: int, side: int, lots: int) -> None:
    """Record a fill of ``lots`` (signed) on one leg."""
    row = pairs[pair]
    if side == row.first_leg:
        row.first_done += lots
    else:
        row.second_done += lots


@kernel
def ended(pairs: Any, pair: int, side: int, failed: bool) -> None:
    """Record that a leg's order is done.

    ``failed``: cancelled or rejected. A failed hedge of an entry leads to the unwind.
    """
    row = pairs[pair]
    if side == row.first_leg:
        row.first_working = 0
    else:
        row.second_working = 0
        if failed and row.opening == 1:
            row.second_failed = 1


@kernel
def shorten(pairs: Any, pair: int, side: int, lots: int) -> None:
    """Drop ``lots`` (signed) from what a leg has still to do, because they cannot be traded."""
    row = pairs[pair]
    if side == row.first_leg:
        row.first_lots -= lots
    else:
        row.second_lots -= lots


@kernel
def abandon(pairs: Any, pair: int) -> None:
    """End the work as it stands: what is left is too small for the venue."""
    pairs[pair].phase = IDLE


@kernel
def postpone(pairs: Any, pair: int, side: int) -> None:
    """Take back a request that could not be sent now; ``next_request`` will ask for it again."""
    row = pairs[pair]
    if side == row.first_leg:
        row.first_working = 0
        if row.phase == WORKING:
            row.first_sent = 0
    else:
        row.second_working = 0


@kernel
def _first_covered_by_second(row: Any) -> int:
    """Lots of the first leg that the filled part of the second hedges, rounded so that no perp stays without spot."""
    if row.second_lots == 0 or row.second_done == 0:
        return 0
    share = abs(row.first_lots * (row.second_done / row.second_lots))
    whole = int(math.ceil(share)) if row.first_leg == SPOT_SIDE else int(math.floor(share))
    return whole if row.first_lots > 0 else -whole
