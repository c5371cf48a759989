"""What a fill does to balances, positions, ledger and attribution.

Equity is always measured at the prices of the last valuation. A fill changes it by a fee, by slippage (fill against the
market's reference price) and by the rest: the reference against the valuation price, which belongs to basis and delta.
"""

from __future__ import annotations

import math

from crypto import borrow, fees, funding
from crypto.compiled import kernel
from crypto.ledger import Component, Flow
from crypto.simulator.fee_coins import coins_to_charge, pay_in_coins
from crypto.simulator.posting import attribute, move_cash, post
from crypto.simulator.state import INVERSE, MARK_FAIL, NO_MARK, NO_RATE, OPEN, RATE_FAIL, World

_TRADE, _REALISED, _FEE = int(Flow.TRADE), int(Flow.REALISED), int(Flow.FEE)
_BORROW, _REPAY, _INTEREST, _GRACE = int(Flow.BORROW), int(Flow.REPAY), int(Flow.INTEREST), int(Flow.FUNDING_GRACE)
_BASIS, _DELTA, _FEES = int(Component.BASIS), int(Component.DELTA), int(Component.FEES)
_SLIPPAGE, _FUNDING, _BORROWING = int(Component.SLIPPAGE), int(Component.FUNDING), int(Component.BORROW)

LOT_TOLERANCE = 1e-9  # of a lot: representation error of base amounts


@kernel
def count_spot_lots(world: World, leg: int) -> None:
    """Whole lots that the spot leg can sell, or (negative) has to buy back."""
    row = world.legs[leg]
    liability = row.debt + row.owed
    if liability > 0.0:
        row.lots = -int(math.ceil((liability - row.holding) / row.base_per_lot - LOT_TOLERANCE))
    else:
        row.lots = int(math.floor(row.holding / row.base_per_lot + LOT_TOLERANCE))


@kernel
def charge_interest(world: World, leg: int, principal: float, hourly_rate: float) -> None:
    """Charge one hour of interest on ``principal`` base units of the spot leg's debt."""
    row = world.legs[leg]
    amount = borrow.interest(principal, hourly_rate)
    if amount == 0.0:
        return
    row.owed += amount
    value = -amount * row.value_price
    post(
        world, _INTEREST, row.wallet, row.base_asset, leg, -1, -amount, value, row.value_price, hourly_rate, -principal
    )
    attribute(world, leg, _BORROWING, value)
    count_spot_lots(world, leg)


@kernel
def _repay(world: World, leg: int, order: int, received: float) -> float:
    """Use bought coins for interest first, then principal; returns what is left."""
    row = world.legs[leg]
    repaid = min(received, row.debt + row.owed)
    if repaid <= 0.0:
        return received
    interest = min(repaid, row.owed)
    row.owed -= interest
    row.debt -= repaid - interest
    if row.debt + row.owed < LOT_TOLERANCE * row.base_per_lot:
        row.debt = 0.0
        row.owed = 0.0
    world.holdings[row.wallet, row.base_asset].balance -= repaid
    post(world, _REPAY, row.wallet, row.base_asset, leg, order, -repaid, 0.0, row.value_price, 0.0, repaid)
    return float(received - repaid)


@kernel
def _borrow(world: World, leg: int, order: int, amount: float) -> None:
    row = world.legs[leg]
    row.debt += amount
    world.holdings[row.wallet, row.base_asset].balance += amount
    post(world, _BORROW, row.wallet, row.base_asset, leg, order, amount, 0.0, row.value_price, 0.0, amount)


@kernel
def fill_spot(
    world: World, leg: int, order: int, lots: int, price: float, reference: float, fee_rate: float, borrow_rate: float
) -> tuple[float, float]:
    """Execute ``lots`` (signed) of a spot leg; returns fee and slippage in account currency (negative when they cost).

    A buy repays debt first; a sale beyond the holding borrows the rest and pays the hour at borrow where the venue asks
    it.
    """
    row = world.legs[leg]
    account = world.rules[0].account_asset
    valuation = row.value_price
    before = row.holding - row.debt - row.owed
    base = lots * row.base_per_lot
    quote = -lots * row.units_per_lot * price
    fee_value = -fees.fee(abs(quote), fee_rate)
    coins = coins_to_charge(world, leg, order, -fee_value)
    in_base = lots > 0 and row.fee_in_base == 1 and coins == 0.0
    slippage = -lots * row.units_per_lot * (price - reference)
    borrowed = 0.0
    if lots > 0:
        world.holdings[row.wallet, row.base_asset].balance += base
        post(world, _TRADE, row.wallet, row.base_asset, leg, order, base, -quote, price, 0.0, base)
        post(world, _TRADE, row.wallet, account, leg, order, quote, quote, price, 0.0, base)
        move_cash(world, leg, quote)
        received = base
        if in_base:
            fee_base = base - fees.base_after_fee(base, fee_rate)
            received = base - fee_base
            world.holdings[row.wallet, row.base_asset].balance -= fee_base
            fee_value = -fee_base * price
            post(world, _FEE, row.wallet, row.base_asset, leg, order, -fee_base, fee_value, price, fee_rate, base)
        elif coins > 0.0:
            fee_value = pay_in_coins(world, leg, order, coins, fee_rate, price, base)
        else:
            move_cash(world, leg, fee_value)
            post(world, _FEE, row.wallet, account, leg, order, fee_value, fee_value, price, fee_rate, base)
        row.holding += _repay(world, leg, order, received)
    else:
        borrowed = -base - row.holding
        if borrowed > LOT_TOLERANCE * row.base_per_lot:
            _borrow(world, leg, order, borrowed)
            row.holding = 0.0
        else:
            borrowed = 0.0
            row.holding = max(0.0, row.holding + base)
        world.holdings[row.wallet, row.base_asset].balance += base
        post(world, _TRADE, row.wallet, row.base_asset, leg, order, base, -quote, price, 0.0, base)
        post(world, _TRADE, row.wallet, account, leg, order, quote, quote, price, 0.0, base)
        if coins > 0.0:
            fee_value = pay_in_coins(world, leg, order, coins, fee_rate, price, base)
            move_cash(world, leg, quote)
        else:
            post(world, _FEE, row.wallet, account, leg, order, fee_value, fee_value, price, fee_rate, base)
            move_cash(world, leg, quote + fee_value)
    cash = quote if in_base else quote + fee_value
    after = row.holding - row.debt - row.owed
    total = (after - before) * valuation + cash
    attribute(world, leg, _FEES, fee_value)
    attribute(world, leg, _SLIPPAGE, slippage)
    attribute(world, leg, _DELTA, total - fee_value - slippage)
    if borrowed > 0.0 and row.charge_at_borrow == 1:
        charge_interest(world, leg, borrowed, borrow_rate)
    count_spot_lots(world, leg)
    return fee_value, slippage


@kernel
def _reduce_or_grow(held: int, lots: int) -> tuple[int, int]:
    """Split ``lots`` into the part that closes the held position and the part that opens."""
    if held == 0 or (held > 0) == (lots > 0):
        return 0, lots
    closing = min(abs(held), abs(lots))
    signed = closing if lots > 0 else -closing
    return signed, lots - signed


@kernel
def _average_entry(entry: float, held: int, price: float, opened: int, kind: int) -> float:
    """Average entry after opening: by quantity for linear, by value (harmonic) for inverse contracts."""
    if held == 0:
        return price
    old, new = abs(held), abs(opened)
    if kind == INVERSE:
        return (old + new) / (old / entry + new / price)
    return (old * entry + new * price) / (old + new)


@kernel
def _spot_reference(world: World, leg: int, bar: int) -> float:
    """Price of the pair's spot at the time of a perp fill: the bar's open where it printed, else its valuation."""
    spot = world.legs[leg].pair * 2
    price = world.bars[spot, bar, OPEN]
    if price == price:
        return float(price)
    return float(world.legs[spot].value_price)


@kernel
def fill_perp(
    world: World, leg: int, order: int, lots: int, price: float, reference: float, fee_rate: float, bar: int
) -> tuple[float, float]:
    """Execute ``lots`` (signed) of a perp leg; returns fee and slippage in account currency (negative: costs)."""
    row = world.legs[leg]
    traded = abs(lots) * row.quote_per_lot / price if row.kind == INVERSE else abs(lots) * row.units_per_lot * price
    fee = -fees.fee(traded, fee_rate)
    spot_price = _spot_reference(world, leg, bar)
    coins = coins_to_charge(world, leg, order, -fee)
    return book_perp(
        world, leg, order, lots, price, reference, fee, coins, fee_rate, spot_price, _FEE, _FEES, _SLIPPAGE
    )


@kernel
def book_perp(
    world: World,
    leg: int,
    order: int,
    lots: int,
    price: float,
    reference: float,
    fee: float,
    coins: float,
    fee_rate: float,
    spot_price: float,
    fee_flow: int,
    fee_component: int,
    slippage_component: int,
) -> tuple[float, float]:
    """Book a perp fill with its ``fee`` (negative: cost, settlement asset) under the given flow and components.

    ``coins``: that pay it instead, 0.0: none. ``spot_price``: the pair's spot at that time, venue quote. Returns fee
    and slippage in account currency.
    """
    row = world.legs[leg]
    spot_value = world.legs[row.pair * 2].value_price
    closed, opened = _reduce_or_grow(row.lots, lots)
    if row.kind == INVERSE:
        unit = coin_price(world, leg)
        realised = closed * row.quote_per_lot * (1.0 / price - 1.0 / row.entry) if closed != 0 else 0.0
        unrealised = lots * row.quote_per_lot * (1.0 / price - 1.0 / row.value_price)
        slippage = lots * row.quote_per_lot * (1.0 / price - 1.0 / reference)
        base = lots * row.quote_per_lot / price
        world.holdings[row.wallet, row.settle_asset].balance += realised + fee
        row.coin += realised + fee
    else:
        unit = 1.0
        realised = closed * row.units_per_lot * (row.entry - price) if closed != 0 else 0.0
        unrealised = lots * row.units_per_lot * (row.value_price - price)
        slippage = -lots * row.units_per_lot * (price - reference)
        base = lots * row.base_per_lot
        move_cash(world, leg, realised if coins > 0.0 else realised + fee)
    if closed != 0:
        post(world, _REALISED, row.wallet, row.settle_asset, leg, order, realised, realised * unit, price, 0.0, base)
    if coins > 0.0:
        fee = pay_in_coins(world, leg, order, coins, fee_rate, price, base)
    else:
        post(world, fee_flow, row.wallet, row.settle_asset, leg, order, fee, fee * unit, price, fee_rate, base)
    if opened != 0:
        row.entry = _average_entry(row.entry, row.lots + closed, price, opened, row.kind)
    _settle_grace(world, leg, order, lots)
    _note_holding(world, leg, row.lots + lots)
    row.lots += lots
    if row.lots == 0:
        row.entry = 0.0
    delta = base * (spot_value - spot_price)
    attribute(world, leg, fee_component, fee * unit)
    attribute(world, leg, slippage_component, slippage * unit)
    attribute(world, leg, _DELTA, delta)
    attribute(world, leg, _BASIS, unrealised * unit - slippage * unit - delta)
    return float(fee * unit), float(slippage * unit)


@kernel
def _note_holding(world: World, leg: int, lots: int) -> None:
    """Since when the position is held as Lean's looks at its clock see it: flat between two of them is not seen."""
    row, now, scan = world.legs[leg], world.run[0].time_ms, world.rules[0].lean_scan_ms
    if lots == 0:
        row.flat_since_ms = now
    elif scan > 0 and row.lots == 0 and now // scan * scan > row.flat_since_ms:
        row.held_since_ms = now


@kernel
def coin_price(world: World, leg: int) -> float:
    """Valuation price of a perp leg's base asset in the wallet that it settles in."""
    row = world.legs[leg]
    return float(world.legs[world.holdings[row.wallet, row.base_asset].price_leg].value_price)


@kernel
def _settle_grace(world: World, leg: int, order: int, lots: int) -> None:
    """Correct the last settlement for a fill inside the venue's grace seconds, by the run's policy."""
    row, run = world.legs[leg], world.run[0]
    policy = world.rules[0].grace_policy
    if run.time_ms >= row.grace_until_ms or policy == funding.GRACE_INSTANT:
        return
    settled = world.settlements[row.grace_row]
    if settled.flag & (RATE_FAIL | MARK_FAIL) != 0:
        run.status = NO_RATE if settled.flag & RATE_FAIL != 0 else NO_MARK
        run.status_leg = leg
        run.status_row = row.grace_row
        return
    if row.kind == INVERSE:
        per_lot = row.quote_per_lot / settled.mark
        mark, unit = 1.0, coin_price(world, leg)
    else:
        per_lot = row.base_per_lot
        mark, unit = settled.mark / row.multiplier, 1.0
    before, after = row.lots * per_lot, (row.lots + lots) * per_lot
    amount = funding.grace_correction(before, after, mark, settled.rate, policy)
    if amount != 0.0:
        pay(world, leg, order, _GRACE, amount, unit, settled.mark, settled.rate, after - before)


@kernel
def pay(
    world: World, leg: int, order: int, flow: int, amount: float, unit: float, price: float, rate: float, base: float
) -> None:
    """Book a funding payment in the perp's settlement asset; ``unit`` is that asset's value in account currency."""
    row = world.legs[leg]
    if row.kind == INVERSE:
        world.holdings[row.wallet, row.settle_asset].balance += amount
        row.coin += amount
    else:
        move_cash(world, leg, amount)
    post(world, flow, row.wallet, row.settle_asset, leg, order, amount, amount * unit, price, rate, base)
    attribute(world, leg, _FUNDING, amount * unit)
