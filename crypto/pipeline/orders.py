"""The one record of every order, from request to its last state."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class OrderKind(IntEnum):
    """``MARKET`` takes; ``POST_ONLY`` rests at its limit price and pays the maker fee."""

    MARKET = 0
    POST_ONLY = 1


class OrderStatus(IntEnum):
    """``PLACED``: on its way or resting. The last three are final."""

    PLACED = 0
    FILLED = 1
    CANCELLED = 2
    REJECTED = 3


class Intent(IntEnum):
    """Why an order was sent."""

    OPEN = 0  # first leg of an entry or increase
    HEDGE = 1  # second leg, sized by what the first filled
    REDUCE = 2  # either leg of an exit or decrease
    UNWIND = 3  # repair: takes back a leg whose hedge did not fill
    LIQUIDATION = 4  # the venue's: margin fell below maintenance
    DELEVERAGE = 5  # the venue's: our position closed a bankrupt one


class OrderReason(IntEnum):
    """Why an order was rejected or cancelled; ``NONE`` when it was not."""

    NONE = 0
    TIMEOUT = 1
    NO_FUNDS = 2
    NO_MARGIN = 3
    BELOW_MIN_QUANTITY = 4
    BELOW_MIN_NOTIONAL = 5
    NO_BORROW = 6
    THROTTLED = 7
    HEDGE_FAILED = 8  # the other leg of the entry could not be filled
    LIQUIDATED = 9  # cancelled by the venue before a liquidation, or its own order
    DELEVERAGED = 10  # the venue's own order
    BEYOND_TIERS = 11  # the position would be larger than the venue's last leverage tier allows
    LEVERAGE_TOO_HIGH = 12  # the tier that the position would reach allows less leverage than is set
    GUARD = 13  # cancelled by a guard of ours


ORDER = np.dtype(
    [
        ("id", "i8"),
        ("pair", "i8"),
        ("leg", "i8"),  # 2 * pair for spot, 2 * pair + 1 for perp
        ("intent", "i8"),
        ("kind", "i8"),
        ("lots", "i8"),  # signed: buy positive
        ("filled_lots", "i8"),  # signed
        ("placed_ms", "i8"),
        ("arrival_ms", "i8"),
        ("deadline_ms", "i8"),
        ("done_ms", "i8"),  # 0 while open
        ("status", "i8"),
        ("reason", "i8"),
        ("reduce_only", "i8"),
        ("limit_price", "f8"),  # venue quote; NaN for market orders
        ("average_price", "f8"),  # of what filled, venue quote; NaN while nothing filled
        ("fee_value", "f8"),  # account currency, negative
        ("slippage_value", "f8"),  # account currency, negative when worse than the open
        ("reserved", "f8"),  # amount held back for this order, in the asset it spends
    ],
    align=True,
)
