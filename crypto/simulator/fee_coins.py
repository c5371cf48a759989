"""Fees paid in a venue's own coin: whether it covers one, and what paying it books. Spec: docs/specs/fees.md."""

from __future__ import annotations

from crypto import fees
from crypto.compiled import kernel
from crypto.ledger import Flow
from crypto.simulator.posting import note, post
from crypto.simulator.state import FEE_COIN_SHORT, World

_FEE = int(Flow.FEE)

COVER_TOLERANCE = 1e-9  # of a fee: representation error, so that exactly enough coins are enough in both engines


@kernel
def coins_for(world: World, leg: int, fee: float) -> float:
    """Coins that pay a fee of ``fee`` (account currency, positive: cost) of the leg now; 0.0: it is paid as usual.

    A rebate is paid as usual, and so is the whole of a fee that the coins in the leg's wallet do not cover.
    """
    row = world.legs[leg]
    if row.fee_coin < 0 or not fee > 0.0:
        return 0.0
    coin = world.coins[row.fee_coin]
    coins = fees.fee_in_coins(fee, row.discount, coin.price)
    held = world.holdings[row.wallet, coin.asset].treasury
    return float(min(coins, held)) if coins * (1.0 - COVER_TOLERANCE) <= held else 0.0


@kernel
def coins_to_charge(world: World, leg: int, order: int, fee: float) -> float:
    """``coins_for`` a fee that falls due now; the first one that a wallet's coins do not cover is noted."""
    coins = coins_for(world, leg, fee)
    if coins == 0.0 and fee > 0.0 and world.legs[leg].fee_coin >= 0:
        _note_shortage(world, leg, order, fee)
    return coins


@kernel
def _note_shortage(world: World, leg: int, order: int, fee: float) -> None:
    """Journal that a wallet's coins have run short; from now on its pairs expect fees without a discount."""
    row = world.legs[leg]
    coin = world.coins[row.fee_coin]
    if world.wallets[row.wallet].short == 1:
        return
    world.wallets[row.wallet].short = 1
    held = world.holdings[row.wallet, coin.asset].treasury
    needed = fees.fee_in_coins(fee, row.discount, coin.price)
    note(world, FEE_COIN_SHORT, row.pair, coin.asset, order, leg, coin.price, needed, held)
    for pair in range(world.pairs.shape[0]):
        if world.legs[2 * pair].wallet == row.wallet or world.legs[2 * pair + 1].wallet == row.wallet:
            world.pairs[pair].round_trip_cost = world.pairs[pair].usual_cost


@kernel
def pay_in_coins(world: World, leg: int, order: int, coins: float, fee_rate: float, price: float, base: float) -> float:
    """Book the fee of a fill at ``price`` as paid with ``coins``; returns its value in account currency (negative).

    No pair brought the coins in. The leg pays what they are worth to the account, of whose money it takes so much more.
    """
    row = world.legs[leg]
    coin = world.coins[row.fee_coin]
    value = -coins * coin.price
    held = world.holdings[row.wallet, coin.asset]
    held.balance -= coins
    held.treasury -= coins
    row.cash += value
    world.holdings[row.wallet, world.rules[0].account_asset].treasury -= value
    rate = fees.fee(1.0 - row.discount, fee_rate)
    post(world, _FEE, row.wallet, coin.asset, leg, order, -coins, value, price, rate, base)
    return float(value)


@kernel
def base_fee_rate(world: World, leg: int, value: float) -> float:
    """Fraction of a spot buy of ``value`` that its fee takes out of what is bought; 0 where it is paid otherwise."""
    row = world.legs[leg]
    if row.fee_in_base == 0 or coins_for(world, leg, fees.fee(value, row.taker)) > 0.0:
        return 0.0
    return float(row.taker)
