"""Appending to the ledger, the journal and the attribution. Nothing else writes them."""

from __future__ import annotations

from crypto.compiled import kernel
from crypto.ledger import Component
from crypto.simulator.state import World

_DELTA, _FEES, _SLIPPAGE = int(Component.DELTA), int(Component.FEES), int(Component.SLIPPAGE)
_NAKED = int(Component.NAKED)


@kernel
def post(
    world: World,
    flow: int,
    wallet: int,
    asset: int,
    leg: int,
    order: int,
    amount: float,
    value: float,
    price: float,
    rate: float,
    quantity: float,
) -> None:
    """Append one ledger row at the current event time; moves no balance itself."""
    run = world.run[0]
    row = world.ledger[run.ledger_rows]
    row.time_ms = run.time_ms
    row.flow = flow
    row.wallet = wallet
    row.asset = asset
    row.leg = leg
    row.order = order
    row.amount = amount
    row.value = value
    row.price = price
    row.rate = rate
    row.quantity = quantity
    run.ledger_rows += 1


@kernel
def note(
    world: World, event: int, pair: int, reason: int, order: int, lots: int, price: float, value: float, other: float
) -> None:
    """Append one journal entry at the current event time."""
    run = world.run[0]
    row = world.journal[run.journal_rows]
    row.time_ms = run.time_ms
    row.event = event
    row.pair = pair
    row.reason = reason
    row.order = order
    row.lots = lots
    row.price = price
    row.value = value
    row.other = other
    run.journal_rows += 1


@kernel
def attribute(world: World, leg: int, component: int, value: float) -> None:
    """Add ``value`` (account currency) to a leg's component of the step that ends at the current instant.

    While the venue has closed a pair's hedge, what its price risk and its trades bring counts as ``NAKED``.
    """
    if world.pairs[leg // 2].naked != 0 and component in (_DELTA, _FEES, _SLIPPAGE):
        component = _NAKED
    world.attribution[world.run[0].row, leg, component] += value


@kernel
def attribute_treasury(world: World, wallet: int, component: int, value: float) -> None:
    """The same for what a wallet gains or loses outside every pair."""
    world.attribution[world.run[0].row, world.legs.shape[0] + wallet, component] += value


@kernel
def move_cash(world: World, leg: int, amount: float) -> None:
    """Change a leg's wallet balance in account currency."""
    legs = world.legs
    world.holdings[legs[leg].wallet, world.rules[0].account_asset].balance += amount
    legs[leg].cash += amount
