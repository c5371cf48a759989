"""Guards on an open position: when each one trips, when it lets go, what it asks for. Spec: docs/specs/guards.md.

A guard is a latch: it trips at one limit and releases at another, so that a number that dances around a limit does not
trade at every bar. Every change is written to the journal with the number and the limit.
"""

from __future__ import annotations

import math
from enum import IntEnum

from crypto.compiled import kernel

DAY_HOURS = 24.0
ROUNDING = 1e-9  # of a limit
FARTHEST = 1.0  # adverse moves beyond this fraction are all shown as this


class Guard(IntEnum):
    """Guards that latch, as bits of ``PAIR.guards``."""

    LIQUIDATION_NEAR = 1
    UNHEDGED = 2
    ADL_LIGHT = 4
    CONCENTRATED = 8
    ORACLE = 16


@kernel
def latched_low(on: bool, value: float, trip: float, release: float) -> bool:
    """State of a guard on a number that must not be low: trips below ``trip``, lets go at ``release`` (>= trip).

    What was brought back to ``release`` itself may lie below it by its rounding.
    """
    return value < release * (1.0 - ROUNDING) if on else value < trip


@kernel
def latched_high(on: bool, value: float, trip: float, release: float) -> bool:
    """State of a guard on a number that must not be high: trips above ``trip``, lets go at ``release`` (<= trip)."""
    return value > release if on else value > trip


@kernel
def in_sigmas(distance: float, variance_hourly: float) -> float:
    """A price distance (fraction) in standard deviations of a day; infinite where nothing has moved yet."""
    if not variance_hourly > 0.0:
        return math.inf
    return distance / math.sqrt(variance_hourly * DAY_HOURS)


@kernel
def guarded_distance(variance_hourly: float, distance: float, sigmas: float) -> float:
    """The larger of a price distance and of ``sigmas`` daily standard deviations, at most ``FARTHEST``."""
    return min(FARTHEST, max(distance, sigmas * math.sqrt(max(0.0, variance_hourly) * DAY_HOURS)))


@kernel
def kept_fraction(closed_equity: float, surplus: float) -> float:
    """Share of its pairs (0 to 1) that an account can keep so that its surplus after a stress is nothing, not negative.

    ``surplus``: with all pairs, after the stress (negative: missing); ``closed_equity``: without any. What a pair adds
    to the surplus shrinks with it, so between both it is a line: closed + (surplus - closed) keep = 0.
    """
    if surplus >= 0.0:
        return 1.0
    return max(0.0, closed_equity / (closed_equity - surplus)) if closed_equity > 0.0 else 0.0


@kernel
def bars_until(milliseconds: float, bar_ms: int) -> int:
    """Whole bars after which something that takes this long (finite) has happened, at least 1."""
    return max(1, int(math.ceil(milliseconds / bar_ms)))


@kernel
def top_up_is_sooner(transfer_ms: float, order_ms: float, bar_ms: int) -> bool:
    """Whether a transfer helps no later than orders do, counted in bars; a tie goes to the transfer, which is free."""
    if order_ms == math.inf:  # nothing fills now, and infinity has no whole number of bars
        return True
    return bars_until(transfer_ms, bar_ms) <= bars_until(order_ms, bar_ms)


@kernel
def order_time(lots: float, lots_per_bar: float, latency_ms: float, bar_ms: int) -> float:
    """Milliseconds until ``lots`` are filled when at most ``lots_per_bar`` fill in a bar; infinite when none do."""
    if lots_per_bar <= 0.0:
        return math.inf
    return latency_ms + (math.ceil(lots / lots_per_bar) - 1.0) * bar_ms
