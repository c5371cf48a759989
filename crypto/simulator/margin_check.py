"""Whether an account carries its margin when the mark moves, adverse extreme first. Spec: docs/specs/simulator.md.

An account here is what one wallet holds of one settlement asset, with the perps that settle in it (cross margin). In a
unified wallet the coins of its spot legs count as well, after their haircut, and what they owe counts in full.
"""

from __future__ import annotations

from crypto.compiled import kernel
from crypto.margin import is_liquidatable, maintenance, notional_inverse, unrealised_inverse
from crypto.simulator.state import INVERSE, MARK_HIGH, MARK_LOW, VALUE, World
from crypto.simulator.valuation import asset_price, coin_collateral, collateral_coins

BISECTIONS = 60  # of the way from one mark to the next: leaves no visible error in float64


@kernel
def use_tiers_of(world: World, time_ms: int) -> None:
    """Bring every perp leg to the tier table that is valid at ``time_ms``."""
    legs = world.legs
    for leg in range(1, legs.shape[0], 2):
        while legs[leg].table_next < legs[leg].table_end:
            table = world.tier_tables[legs[leg].table_next]
            if table.effective_ms > time_ms:
                break
            legs[leg].tier_first = table.first
            legs[leg].tier_end = table.end
            legs[leg].table_next += 1


@kernel
def net_lots(world: World, leg: int) -> int:
    """Position in the contract of a perp leg as the venue sees it: signed lots of all pairs that trade it."""
    legs = world.legs
    if legs[leg].shares_contract == 0:
        return int(legs[leg].lots)
    total = 0
    for other in range(1, legs.shape[0], 2):
        if legs[other].contract == legs[leg].contract:
            total += legs[other].lots
    return int(total)


@kernel
def contract_share(world: World, leg: int) -> float:
    """The leg's share of its contract's net position, 0 where it lies against it: so shares of all legs sum to 1."""
    legs = world.legs
    if legs[leg].shares_contract == 0:
        return 1.0
    net, same = net_lots(world, leg), 0
    if legs[leg].lots * net <= 0:
        return 0.0
    for other in range(1, legs.shape[0], 2):
        if legs[other].contract == legs[leg].contract and legs[other].lots * net > 0:
            same += legs[other].lots
    return float(legs[leg].lots / same)


@kernel
def holds_position(world: World, leg: int) -> bool:
    """Whether the venue sees any position in the account of ``leg``: pairs of one contract may cancel out."""
    legs = world.legs
    for other in range(1, legs.shape[0], 2):
        mine = legs[other].wallet == legs[leg].wallet and legs[other].settle_asset == legs[leg].settle_asset
        if mine and legs[other].lots != 0 and net_lots(world, other) != 0:
            return True
    return False


@kernel
def _coins_of_contract(world: World, leg: int) -> float:
    """Value of the coins behind all pairs of the leg's contract in a unified wallet, per unit of their rise."""
    legs, total = world.legs, 0.0
    for other in range(1, legs.shape[0], 2):
        if other == leg or (legs[leg].shares_contract == 1 and legs[other].contract == legs[leg].contract):
            coins = collateral_coins(world, other) if legs[other].unified == 1 else 0.0
            total += coins * legs[other - 1].value_price if coins != 0.0 else 0.0
    return float(total)


@kernel
def rise_hurts(world: World, leg: int) -> bool:
    """Whether a rise of the leg's mark lowers the surplus of its account: through the perp and the coins behind it."""
    row = world.legs[leg]
    coins = _coins_of_contract(world, leg) if row.unified == 1 else 0.0
    if coins == 0.0:
        return bool(net_lots(world, leg) < 0)
    size = net_lots(world, leg) * row.units_per_lot * row.value_price
    rate = world.tiers[1, tier_column(world, leg, abs(size))] + row.closing_fee
    return bool(size + coins < rate * abs(size))


@kernel
def adverse_mark(world: World, leg: int, bar: int) -> float:
    """The bar's mark extreme that hurts the leg's account; the valuation price where the bar has no mark."""
    row = world.legs[leg]
    extreme = world.bars[leg, bar, MARK_HIGH if rise_hurts(world, leg) else MARK_LOW]
    if extreme == extreme:
        return float(extreme)
    value = world.bars[leg, bar, VALUE]
    return float(value) if value == value else float(row.value_price)


@kernel
def mark_on_the_way(world: World, leg: int, way: float) -> float:
    """Mark after the share ``way`` (0 to 1) of the straight line from the last valuation to the adverse extreme."""
    row = world.legs[leg]
    return float(row.value_price + way * (row.adverse - row.value_price))


@kernel
def notional_at(world: World, leg: int, lots: int, mark: float) -> float:
    """Notional (>= 0) of ``lots`` at ``mark``, in the margin asset."""
    row = world.legs[leg]
    if row.kind == INVERSE:
        return float(notional_inverse(lots * row.quote_per_lot, mark))
    return float(abs(lots) * row.units_per_lot * mark)


@kernel
def tier_column(world: World, leg: int, size: float) -> int:
    """Column of World.tiers that holds for a notional of ``size`` now; ``crypto.tiers.tier_index`` on all tables."""
    column, first = world.legs[leg].tier_end - 1, world.legs[leg].tier_first
    while column > first and size <= world.tiers[0, column]:
        column -= 1
    return int(column)


@kernel
def maintenance_at(world: World, leg: int, mark: float) -> float:
    """Maintenance margin of the leg's position at ``mark``, closing fee included, in the margin asset.

    Of several pairs in one contract each has its share of what the net position needs.
    """
    row = world.legs[leg]
    size = notional_at(world, leg, net_lots(world, leg), mark)
    first, end = row.tier_first, row.tier_end
    needed = maintenance(size, world.tiers[0, first:end], world.tiers[1, first:end], world.tiers[2, first:end])
    return float((needed + row.closing_fee * size) * contract_share(world, leg))


@kernel
def profit_at(world: World, leg: int, mark: float) -> float:
    """Unrealised profit of the leg's position at ``mark``, in the margin asset."""
    row = world.legs[leg]
    if row.kind == INVERSE:
        return float(unrealised_inverse(row.lots * row.quote_per_lot, row.entry, mark))
    return float(row.lots * row.units_per_lot * (mark - row.entry))


@kernel
def collateral_at(world: World, leg: int, way: float) -> float:
    """What the pair's spot leg adds to its perp's unified account when spot moves with the perp's mark."""
    if world.legs[leg].unified == 0:
        return 0.0
    value = coin_collateral(world, leg)
    return float(value * mark_on_the_way(world, leg, way) / world.legs[leg].value_price) if value != 0.0 else 0.0


@kernel
def surplus_at(world: World, wallet: int, asset: int, way: float) -> tuple[float, float]:
    """Equity less maintenance margin, and that margin, of one account after the share ``way`` of the move."""
    total = world.holdings[wallet, asset].balance
    needed = 0.0
    legs = world.legs
    for leg in range(1, legs.shape[0], 2):
        if legs[leg].wallet != wallet or legs[leg].settle_asset != asset:
            continue
        total += collateral_at(world, leg, way)
        if legs[leg].lots != 0:
            mark = mark_on_the_way(world, leg, way)
            total += profit_at(world, leg, mark)
            needed += maintenance_at(world, leg, mark)
    return total - needed, needed


@kernel
def is_short_of_margin(world: World, leg: int, surplus: float, needed: float) -> bool:
    """Whether the venue of ``leg`` liquidates an account with this surplus and maintenance margin."""
    return bool(is_liquidatable(surplus + needed, needed, world.legs[leg].at_equality == 1))


@kernel
def accounts_in_danger(world: World, bar: int) -> bool:
    """Measure every account at the adverse extremes of the bar into ``HOLDING.stressed``; whether any falls short.

    The extremes stay as they are for the bar, whatever is closed on the way there.
    """
    legs, holdings = world.legs, world.holdings
    for leg in range(1, legs.shape[0], 2):
        account = holdings[legs[leg].wallet, legs[leg].settle_asset]
        account.stressed = account.balance
    for leg in range(1, legs.shape[0], 2):
        if legs[leg].lots != 0 or legs[leg].unified == 1:
            account = holdings[legs[leg].wallet, legs[leg].settle_asset]
            legs[leg].adverse = adverse_mark(world, leg, bar)
            account.stressed += collateral_at(world, leg, 1.0)
            if legs[leg].lots != 0:
                mark = legs[leg].adverse
                account.stressed += profit_at(world, leg, mark) - maintenance_at(world, leg, mark)
    for leg in range(1, legs.shape[0], 2):
        if legs[leg].lots != 0 and holdings[legs[leg].wallet, legs[leg].settle_asset].stressed <= 0.0:
            return True
    return False


@kernel
def first_shortfall(world: World, leg: int) -> float:
    """Share of the move at which the account of ``leg`` first falls short; 2 when it never does.

    The surplus is concave along the straight line of marks, so between a start that carries the margin and an end that
    does not there is one crossing.
    """
    wallet, asset = world.legs[leg].wallet, world.legs[leg].settle_asset
    surplus, needed = surplus_at(world, wallet, asset, 0.0)
    if is_short_of_margin(world, leg, surplus, needed):
        return 0.0
    surplus, needed = surplus_at(world, wallet, asset, 1.0)
    if not is_short_of_margin(world, leg, surplus, needed):
        return 2.0
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        surplus, needed = surplus_at(world, wallet, asset, middle)
        if is_short_of_margin(world, leg, surplus, needed):
            high = middle
        else:
            low = middle
    return high


@kernel
def unit_of(world: World, leg: int) -> float:
    """Value of one unit of the leg's margin asset in account currency."""
    return float(asset_price(world, world.legs[leg].wallet, world.legs[leg].settle_asset))
