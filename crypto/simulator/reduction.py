"""What an account would be worth without its pairs, and what it lacks for a liquidation distance. Spec:
docs/specs/guards.md.

Both decide how much a guard cuts. In a unified wallet a cut also turns coins, which count after a haircut, into money,
which counts in full.
"""

from __future__ import annotations

from crypto.compiled import kernel
from crypto.simulator.margin_check import profit_at, unit_of
from crypto.simulator.state import INVERSE, World
from crypto.simulator.valuation import spot_base
from crypto.simulator.watch import stressed_surplus


@kernel
def closed_equity(world: World, leg: int) -> float:
    """Equity of the account of ``leg`` with all its pairs closed at the present prices, in account currency.

    Coins of spot legs in the same wallet count in full, what is owed too. Fees and slippage of closing are left out.
    """
    legs = world.legs
    wallet, asset = legs[leg].wallet, legs[leg].settle_asset
    total = world.holdings[wallet, asset].balance
    for other in range(1, legs.shape[0], 2):
        if legs[other].wallet != wallet or legs[other].settle_asset != asset:
            continue
        if legs[other].lots != 0:
            total += profit_at(world, other, legs[other].value_price)
        if legs[other - 1].wallet == wallet and legs[other].kind != INVERSE:
            coins = spot_base(world, other - 1)
            total += coins * legs[other - 1].value_price if coins != 0.0 else 0.0
    return float(total * unit_of(world, leg))


@kernel
def surplus_at_distance(world: World, leg: int, distance: float) -> float:
    """Margin surplus (account currency; negative: what is missing) of the account after an adverse move of
    ``distance``, a fraction of all its marks.
    """
    return float(stressed_surplus(world, leg, -1, distance) * unit_of(world, leg))
