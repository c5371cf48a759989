"""How much of a position a venue closes at once when it liquidates. Spec: docs/specs/liquidation_stages.md.

A liquidation is a loop: close what the stage says, measure the account again, stop when it carries its margin.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

from crypto.compiled import kernel
from crypto.errors import SettingsError
from crypto.margin import maintenance
from crypto.market import Floats
from crypto.tiers import tier_index

LOT_TOLERANCE = 1e-9  # of a lot: representation error of quotients


class Stage(IntEnum):
    """What is closed in one step.

    ``ALL``: the whole position. ``COMPLY``: the fewest lots after which the account carries its margin again, all when
    no part does. ``LOWER_TIER``: down to the highest lower tier in which it does, all from the lowest tier.
    ``TWO_TIERS``: two tiers down, all from the two lowest. ``FIFTH``: a fifth of a position above 100,000, else all.
    """

    ALL = 0
    COMPLY = 1
    LOWER_TIER = 2
    TWO_TIERS = 3
    FIFTH = 4


STAGES: Mapping[str, Stage] = MappingProxyType(
    {
        "binance": Stage.COMPLY,
        "bybit": Stage.LOWER_TIER,
        "okx": Stage.TWO_TIERS,
        "hyperliquid": Stage.FIFTH,
    }
)

FIFTH_ABOVE = 100_000.0  # USDC, Hyperliquid documentation "Liquidations"

_COMPLY, _LOWER_TIER, _TWO_TIERS = int(Stage.COMPLY), int(Stage.LOWER_TIER), int(Stage.TWO_TIERS)
_FIFTH = int(Stage.FIFTH)


def stage_of(venue: str) -> Stage:
    """The stage of ``venue``; ``SettingsError`` naming the known ones when there is none."""
    if venue not in STAGES:
        raise SettingsError(f"no liquidation stages for venue {venue!r}", remedy=f"known: {', '.join(sorted(STAGES))}")
    return STAGES[venue]


@kernel
def surplus_after(
    surplus: float, lots: int, closed: int, per_lot: float, cost: float, floor: Floats, rate: Floats, deduction: Floats
) -> float:
    """Margin surplus after ``closed`` of ``lots`` (both >= 0) were closed at ``cost`` (fraction of notional).

    ``surplus``: equity less maintenance margin before, ``per_lot``: notional of a lot at mark, all in the margin asset.
    """
    before = maintenance(lots * per_lot, floor, rate, deduction)
    after = maintenance((lots - closed) * per_lot, floor, rate, deduction)
    return surplus - closed * per_lot * cost + before - after


@kernel
def lots_to_comply(
    surplus: float, lots: int, per_lot: float, cost: float, floor: Floats, rate: Floats, deduction: Floats
) -> int:
    """Fewest of ``lots`` whose closing leaves a surplus of 0 or more; all of them when none does.

    Each lot frees the rate of the tier that the position is in by then and costs ``cost``, so the surplus rises tier by
    tier ever more slowly, and where a tier's rate is not above the cost it rises no further.
    """
    closed = 0.0
    tier = tier_index(lots * per_lot, floor)
    while tier >= 0:
        missing = -(
            surplus
            - closed * per_lot * cost
            + maintenance(lots * per_lot, floor, rate, deduction)
            - maintenance((lots - closed) * per_lot, floor, rate, deduction)
        )
        gain = per_lot * (rate[tier] - cost)
        if gain <= 0.0:
            return lots
        in_tier = (lots - closed) - floor[tier] / per_lot
        if missing <= gain * in_tier:
            return min(lots, int(math.ceil(closed + max(0.0, missing) / gain - LOT_TOLERANCE)))
        closed += in_tier
        tier -= 1
    return lots


@kernel
def lots_to_lower_tier(
    surplus: float, lots: int, per_lot: float, cost: float, floor: Floats, rate: Floats, deduction: Floats
) -> int:
    """Lots down to the highest lower tier in which the account carries its margin; all when no tier does."""
    tier = tier_index(lots * per_lot, floor)
    while tier > 0:
        closed = lots - int(math.floor(floor[tier] / per_lot + LOT_TOLERANCE))
        if surplus_after(surplus, lots, closed, per_lot, cost, floor, rate, deduction) >= 0.0:
            return closed
        tier -= 1
    return lots


@kernel
def stage_lots(
    stage: int, surplus: float, lots: int, per_lot: float, cost: float, floor: Floats, rate: Floats, deduction: Floats
) -> int:
    """Lots (1 to ``lots``) that a venue with this ``Stage`` code closes next; arguments as in ``surplus_after``."""
    notional = lots * per_lot
    if stage == _COMPLY:
        closed = lots_to_comply(surplus, lots, per_lot, cost, floor, rate, deduction)
    elif stage == _LOWER_TIER:
        closed = lots_to_lower_tier(surplus, lots, per_lot, cost, floor, rate, deduction)
    elif stage == _TWO_TIERS and tier_index(notional, floor) >= 2:
        keep = floor[tier_index(notional, floor) - 1]
        closed = lots - int(math.floor(keep / per_lot + LOT_TOLERANCE))
    elif stage == _FIFTH and notional > FIFTH_ABOVE:
        closed = int(math.ceil(lots / 5))
    else:
        closed = lots
    return max(1, min(lots, closed))
