"""Signal of the default strategy: delta-neutral carry, entered when it is expected to pay for itself.

Spec: docs/specs/signal.md.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from crypto import basis
from crypto.compiled import kernel
from crypto.pipeline.features import Features
from crypto.pipeline.reasons import Reason

_WARMING_UP, _STALE_SPOT, _STALE_PERP = int(Reason.WARMING_UP), int(Reason.STALE_SPOT), int(Reason.STALE_PERP)
_BELOW_COST, _LONG, _SHORT = int(Reason.CARRY_BELOW_COST), int(Reason.ENTER_LONG_SPOT), int(Reason.ENTER_SHORT_SPOT)
_HOLD, _FLIP, _BLOWOUT = int(Reason.HOLD), int(Reason.FUNDING_FLIP), int(Reason.BASIS_BLOWOUT)
_DRAWDOWN, _COOLDOWN = int(Reason.PAIR_DRAWDOWN), int(Reason.COOLDOWN)


class Position(NamedTuple):
    """The pair's open position as the signal needs it.

    ``direction``: +1 long spot and short perp, -1 reverse, 0 flat.
    """

    direction: int
    held_ms: int
    entry_basis: float
    drawdown: float  # fall of the trip's profit from its peak, as a fraction of the entry notional
    cooling_down: bool
    round_trip_cost: float
    borrow_allowed: bool


POSITION = np.dtype(
    [
        ("direction", "i8"),
        ("held_ms", "i8"),
        ("entry_basis", "f8"),
        ("drawdown", "f8"),
        ("cooling_down", "?"),
        ("round_trip_cost", "f8"),
        ("borrow_allowed", "?"),
    ],
    align=True,
)


class Signal(NamedTuple):
    """Wanted direction of a pair and why. ``expected_net``: carry over the holding period less entry and exit cost."""

    direction: int
    expected_net: float  # fraction of notional, of the better direction when flat, of the held one otherwise
    break_even_hours: float  # until carry has paid the round trip; NaN when it never does
    confidence: float  # expected_net over the round-trip cost
    reason: int


@kernel
def position(pairs: Any, pair: int, time_ms: int) -> Position:
    """The pair's position at ``time_ms`` as a frozen value."""
    row = pairs[pair]
    drawdown = 0.0
    if row.direction != 0 and row.trip_notional > 0.0:
        drawdown = (row.trip_peak_pnl - (row.pnl - row.trip_start_pnl)) / row.trip_notional
    return Position(
        row.direction,
        time_ms - row.open_ms,
        row.entry_basis,
        drawdown,
        time_ms < row.cooldown_until_ms,
        row.round_trip_cost,
        row.borrow_allowed == 1,
    )


@kernel
def store(table: Any, pair: int, held: Position) -> None:
    """Keep the position in a row of ``POSITION`` for code outside the compiled loop."""
    row = table[pair]
    row.direction = held.direction
    row.held_ms = held.held_ms
    row.entry_basis = held.entry_basis
    row.drawdown = held.drawdown
    row.cooling_down = held.cooling_down
    row.round_trip_cost = held.round_trip_cost
    row.borrow_allowed = held.borrow_allowed


@kernel
def expected_net(features: Features, held: Position, direction: int, rules: Any) -> float:
    """Expected carry of ``direction`` over the holding period less the round-trip cost, fraction of notional."""
    borrow = features.borrow_per_hour if direction < 0 else 0.0
    carry = basis.expected_carry(
        direction,
        features.funding_per_hour,
        borrow,
        features.basis,
        features.basis_mean,
        rules.basis_reversion,
        rules.holding_hours,
    )
    return carry - held.round_trip_cost


@kernel
def _signal(features: Features, held: Position, direction: int, net: float, side: int, reason: int) -> Signal:
    """Fill in break-even time and confidence for the direction ``side`` that ``net`` was computed for."""
    borrow = features.borrow_per_hour if side < 0 else 0.0
    per_hour = side * features.funding_per_hour - borrow
    hours = basis.break_even_hours(held.round_trip_cost, per_hour)
    cost = held.round_trip_cost
    return Signal(direction, net, hours if hours >= 0.0 else math.nan, net / cost if cost > 0.0 else math.nan, reason)


@kernel
def evaluate(features: Features, held: Position, rules: Any) -> Signal:
    """Direction the pair should have now."""
    if held.direction == 0:
        return _evaluate_flat(features, held, rules)
    return _evaluate_held(features, held, rules)


@kernel
def _evaluate_flat(features: Features, held: Position, rules: Any) -> Signal:
    if not features.warm:
        return Signal(0, math.nan, math.nan, math.nan, _WARMING_UP)
    if not features.spot_fresh:
        return Signal(0, math.nan, math.nan, math.nan, _STALE_SPOT)
    if not features.perp_fresh:
        return Signal(0, math.nan, math.nan, math.nan, _STALE_PERP)
    side = 1
    net = expected_net(features, held, 1, rules)
    if held.borrow_allowed and features.borrow_per_hour == features.borrow_per_hour:
        reverse = expected_net(features, held, -1, rules)
        if reverse > net:
            net = reverse
            side = -1
    if net <= rules.entry_edge:
        return _signal(features, held, 0, net, side, _BELOW_COST)
    if held.cooling_down:
        return _signal(features, held, 0, net, side, _COOLDOWN)
    return _signal(features, held, side, net, side, _LONG if side > 0 else _SHORT)


@kernel
def _evaluate_held(features: Features, held: Position, rules: Any) -> Signal:
    side = held.direction
    net = expected_net(features, held, side, rules)
    if not features.spot_fresh:
        return _signal(features, held, side, net, side, _STALE_SPOT)
    if not features.perp_fresh:
        return _signal(features, held, side, net, side, _STALE_PERP)
    if side * (features.basis - held.entry_basis) > rules.basis_blowout:
        return _signal(features, held, 0, net, side, _BLOWOUT)
    if held.drawdown > rules.pair_drawdown:
        return _signal(features, held, 0, net, side, _DRAWDOWN)
    borrow = features.borrow_per_hour if side < 0 else 0.0
    carry = basis.annual_carry(side * features.funding_per_hour - borrow, 1.0)
    if held.held_ms >= rules.min_holding_ms and carry < rules.flip_annual:
        return _signal(features, held, 0, net, side, _FLIP)
    return _signal(features, held, side, net, side, _HOLD)
