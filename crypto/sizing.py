"""Whole lots of both legs, their minimums, and the cost of an order. Spec: docs/specs/sizing.md."""

from __future__ import annotations

import math
from typing import NamedTuple

from crypto.compiled import kernel

OK = 0
BELOW_MIN_QUANTITY = 1
BELOW_MIN_NOTIONAL = 2

# 0.3 / 0.1 is 2.9999999999999996 in binary: a count of lots this close to a whole number is that number.
LOT_TOLERANCE = 1e-9
_REPRESENTATION_ERROR = 1e-15


class OrderCost(NamedTuple):
    """What a venue reserves for an order: margin, fee to open, fee to close at the bankruptcy price, and their sum."""

    initial_margin: float
    open_fee: float
    close_fee: float
    total: float


@kernel
def _floor(count: float) -> int:
    return math.floor(count + LOT_TOLERANCE + _REPRESENTATION_ERROR * count)


@kernel
def _ceil(count: float) -> int:
    return math.ceil(count - LOT_TOLERANCE - _REPRESENTATION_ERROR * count)


@kernel
def hedged_lots(
    target_base: float,
    perp_base_per_lot: float,
    perp_step_lots: int,
    spot_base_per_lot: float,
    spot_fee_in_base: float,
) -> tuple[int, int]:
    """Lots (spot, perp), both >= 0, of the largest hedged position that is not above ``target_base`` base units.

    Perp lots are rounded down to a multiple of ``perp_step_lots``; spot lots are the fewest that still cover the perp
    after ``spot_fee_in_base`` (fraction of the bought quantity) was taken. A target that is not positive gives (0, 0).
    For an inverse perp ``perp_base_per_lot`` is the value of a lot over the price.
    """
    if not target_base > 0:
        return 0, 0
    perp_lots = _floor(target_base / perp_base_per_lot) // perp_step_lots * perp_step_lots
    spot_lots = _ceil(perp_lots * perp_base_per_lot / (spot_base_per_lot * (1 - spot_fee_in_base)))
    return spot_lots, perp_lots


@kernel
def joint_minimum(
    spot_lots: int,
    perp_lots: int,
    spot_value: float,
    perp_value: float,
    spot_min_lots: int,
    perp_min_lots: int,
    spot_min_notional: float,
    perp_min_notional: float,
) -> int:
    """Whether both legs pass their venues' minimums: ``OK``, ``BELOW_MIN_QUANTITY`` or ``BELOW_MIN_NOTIONAL``.

    Lots and values are sizes (>= 0); values and min notionals of a leg share one unit. A leg of no lots is below the
    minimum whatever the filter says. Quantity is checked before notional.
    """
    if spot_lots < max(spot_min_lots, 1) or perp_lots < max(perp_min_lots, 1):
        return BELOW_MIN_QUANTITY
    if spot_value < spot_min_notional or perp_value < perp_min_notional:
        return BELOW_MIN_NOTIONAL
    return OK


@kernel
def order_cost_linear(quantity: float, price: float, leverage: float, taker: float, side: int) -> OrderCost:
    """Cost of an order of ``quantity`` base units (> 0) on a linear perp, in quote units.

    ``side`` +1 opens a long, -1 a short; ``taker`` is the fee rate of both fills. The bankruptcy price, where the whole
    margin is gone, is price x (1 - side / leverage).
    """
    value = quantity * price
    initial_margin = value / leverage
    open_fee = value * taker
    close_fee = value * (1 - side / leverage) * taker
    return OrderCost(initial_margin, open_fee, close_fee, initial_margin + open_fee + close_fee)


@kernel
def order_cost_inverse(value_quote: float, price: float, leverage: float, taker: float, side: int) -> OrderCost:
    """Cost of an order of ``value_quote`` (> 0, contracts x contract value) on an inverse perp, in base units.

    The bankruptcy price is price / (1 + side / leverage), so the closing value in coin is the entry's times that sum.
    """
    value = value_quote / price
    initial_margin = value / leverage
    open_fee = value * taker
    close_fee = value * (1 + side / leverage) * taker
    return OrderCost(initial_margin, open_fee, close_fee, initial_margin + open_fee + close_fee)


@kernel
def minimum_capital(min_cost: float, share_one: float, share_two: float) -> float:
    """Capital at which ``share_one`` x ``share_two`` of it still reaches the venue's smallest order ``min_cost``."""
    return min_cost / (share_one * share_two)
