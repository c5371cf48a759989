"""Why the pipeline acted or refused: codes that compiled code can carry, with the words that people read."""

from __future__ import annotations

from enum import IntEnum


class Reason(IntEnum):
    """Reason of a signal, a refusal or an exit; the journal and the report print the lower-case name."""

    NONE = 0
    WARMING_UP = 1
    STALE_SPOT = 2
    STALE_PERP = 3
    CARRY_BELOW_COST = 4
    ENTER_LONG_SPOT = 5
    ENTER_SHORT_SPOT = 6
    HOLD = 7
    FUNDING_FLIP = 8
    BASIS_BLOWOUT = 9
    PAIR_DRAWDOWN = 10
    COOLDOWN = 11
    PAIR_LIMIT = 12
    VENUE_LIMIT = 13
    GROSS_LIMIT = 14
    BELOW_MIN_SIZE = 15
    BELOW_MIN_QUANTITY = 16
    BELOW_MIN_NOTIONAL = 17
    WAITING_FOR_TRANSFER = 18
    NO_CAPITAL = 19
    COLLATERAL_LOW = 20
    LEG_TIMEOUT = 21
    DELTA_DRIFT = 22
    KILLED = 23
    RESIZE = 24
    COLLATERAL_HIGH = 25
    LIQUIDATED = 26
    DELEVERAGED = 27
    NAKED = 28
    LIQUIDATION_NEAR = 29
    UNHEDGED = 30
    ADL_LIGHT = 31
    CONCENTRATED = 32
    ORACLE = 33
    ASSET_LIMIT = 34
    BORROW_RECALLED = 35
