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
    ACCOUNT_DRAWDOWN = 12
    PAIR_LIMIT = 13
    VENUE_LIMIT = 14
    GROSS_LIMIT = 15
    BELOW_MIN_SIZE = 16
    BELOW_MIN_QUANTITY = 17
    BELOW_MIN_NOTIONAL = 18
    WAITING_FOR_TRANSFER = 19
    NO_CAPITAL = 20
    COLLATERAL_LOW = 21
    BORROW_UNAVAILABLE = 22
    WORKING = 23
    LEG_TIMEOUT = 24
    DELTA_DRIFT = 25
    END_OF_RUN = 26
    KILLED = 27
    THROTTLED = 28
    RESIZE = 29
    COLLATERAL_HIGH = 30
