"""Timed events that no order causes: funding settlements, borrow hours, transfers that arrive."""

from __future__ import annotations

from crypto import funding
from crypto.compiled import kernel
from crypto.ledger import Component, Flow
from crypto.simulator.fills import charge_interest, coin_price, pay
from crypto.simulator.posting import attribute_treasury, note, post
from crypto.simulator.state import (
    INVERSE,
    MARK_FAIL,
    MARK_LAST_KNOWN,
    MARK_SKIP,
    NO_BORROW_RATE,
    NO_MARK,
    NO_RATE,
    POLICY,
    RATE_FAIL,
    RATE_LAST_KNOWN,
    RATE_SKIP,
    TRANSFER_ARRIVED,
    TRANSFER_SENT,
    World,
)
from crypto.units import HOUR_MS

_FUNDING = int(Flow.FUNDING)
_OUT, _IN, _TRANSFER_FEE = int(Flow.TRANSFER_OUT), int(Flow.TRANSFER_IN), int(Flow.TRANSFER_FEE)
_TRANSFER, _FEES = int(Component.TRANSFER), int(Component.FEES)


@kernel
def settle(world: World, leg: int) -> None:
    """Pay the leg's next settlement on the position of this instant; the missing-data policy was applied beforehand."""
    row = world.legs[leg]
    index = row.settle_next
    row.settle_next += 1
    flag = world.settlements[index].flag
    if flag & (RATE_SKIP | MARK_SKIP) == 0:
        row.grace_until_ms = world.settlements[index].time_ms + row.grace_ms if row.grace_ms > 0 else 0
        row.grace_row = index
    scan = world.rules[0].lean_scan_ms
    if row.lots == 0 or (scan > 0 and row.held_since_ms >= world.settlements[index].time_ms - scan):
        return
    run = world.run[0]
    if flag != 0 and not _apply_policy(world, leg, index, flag):
        return
    rate, mark = world.settlements[index].rate, world.settlements[index].mark
    run.settlements_paid += 1
    if row.kind == INVERSE:
        value = row.lots * row.quote_per_lot
        amount = funding.payment_inverse(value, mark, rate)
        pay(world, leg, -1, _FUNDING, amount, coin_price(world, leg), mark, rate, value / mark)
    else:
        base = row.lots * row.base_per_lot
        amount = funding.payment(base, mark / row.multiplier, rate)
        pay(world, leg, -1, _FUNDING, amount, 1.0, mark, rate, base)


@kernel
def _apply_policy(world: World, leg: int, index: int, flag: int) -> bool:
    """Count and journal what the policy did to this settlement; False when it is not paid."""
    run = world.run[0]
    note(
        world,
        POLICY,
        world.legs[leg].pair,
        0,
        -1,
        flag,
        world.settlements[index].mark,
        world.settlements[index].rate,
        0.0,
    )
    if flag & (RATE_FAIL | MARK_FAIL):
        run.status = NO_RATE if flag & RATE_FAIL else NO_MARK
        run.status_leg = leg
        run.status_row = index
        return False
    if flag & RATE_SKIP:
        run.rate_skipped += 1
    if flag & MARK_SKIP:
        run.mark_skipped += 1
    if flag & (RATE_SKIP | MARK_SKIP):
        return False
    if flag & RATE_LAST_KNOWN:
        run.rate_last_known += 1
    if flag & MARK_LAST_KNOWN:
        run.mark_last_known += 1
    return True


@kernel
def borrow_rate_at(world: World, pair: int, time_ms: int) -> float:
    """Hourly borrow rate in force at ``time_ms`` after the missing-data policy; NaN where there is none."""
    hour = time_ms // HOUR_MS - world.rules[0].start_ms // HOUR_MS
    return float(world.borrow[pair, min(max(hour, 0), world.borrow.shape[1] - 1)].rate)


@kernel
def usable_borrow_rate(world: World, pair: int) -> float:
    """The rate to charge now: counts what the policy did; 0 where it skips; stops the run where it fails."""
    run = world.run[0]
    hour = run.time_ms // HOUR_MS - world.rules[0].start_ms // HOUR_MS
    flag = world.borrow[pair, min(max(hour, 0), world.borrow.shape[1] - 1)].flag
    if flag == 3:
        run.status = NO_BORROW_RATE
        run.status_leg = 2 * pair
        run.status_row = hour
        return 0.0
    if flag == 2:
        run.borrow_skipped += 1
        return 0.0
    if flag == 1:
        run.borrow_last_known += 1
    return borrow_rate_at(world, pair, run.time_ms)


@kernel
def next_mark(time_ms: int, offset_ms: int) -> int:
    """First borrow hour mark after ``time_ms``."""
    return ((time_ms - offset_ms) // HOUR_MS + 1) * HOUR_MS + offset_ms


@kernel
def charge_borrow_hour(world: World, leg: int) -> None:
    """Interest at the venue's hour mark on the debt of a spot leg."""
    row = world.legs[leg]
    row.next_borrow_ms += HOUR_MS
    principal = row.debt + row.owed if row.compounds == 1 else row.debt
    if principal > 0.0:
        charge_interest(world, leg, principal, usable_borrow_rate(world, row.pair))


@kernel
def send_transfer(world: World, source: int, target: int, amount: float, delay_ms: int, fee: float) -> bool:
    """Move account currency between wallets.

    It is in no wallet of ours until it arrives. False when too many are on the way.
    """
    account = world.rules[0].account_asset
    transit = world.rules[0].transit
    transfers = world.transfers
    for index in range(transfers.shape[0]):
        if transfers[index].active == 0:
            transfers[index].source = source
            transfers[index].target = target
            transfers[index].asset = account
            transfers[index].amount = amount - fee
            transfers[index].arrive_ms = world.run[0].time_ms + delay_ms
            transfers[index].active = 1
            world.run[0].transfers_active += 1
            _shift(world, source, transit, account, amount, _OUT, _IN)
            if fee > 0.0:
                world.holdings[transit, account].balance -= fee
                world.holdings[transit, account].treasury -= fee
                post(world, _TRANSFER_FEE, transit, account, -1, -1, -fee, -fee, 1.0, 0.0, 0.0)
                attribute_treasury(world, transit, _FEES, -fee)
            note(world, TRANSFER_SENT, -1, 0, -1, 0, float(source), amount, float(target))
            return True
    return False


@kernel
def _shift(world: World, source: int, target: int, asset: int, amount: float, out: int, into: int) -> None:
    for wallet, signed, flow in ((source, -amount, out), (target, amount, into)):
        world.holdings[wallet, asset].balance += signed
        world.holdings[wallet, asset].treasury += signed
        post(world, flow, wallet, asset, -1, -1, signed, signed, 1.0, 0.0, 0.0)
        attribute_treasury(world, wallet, _TRANSFER, signed)


@kernel
def receive_transfer(world: World, index: int) -> None:
    """Credit a transfer that arrives now."""
    row = world.transfers[index]
    row.active = 0
    world.run[0].transfers_active -= 1
    _shift(world, world.rules[0].transit, row.target, row.asset, row.amount, _OUT, _IN)
    note(world, TRANSFER_ARRIVED, -1, 0, -1, 0, float(row.source), row.amount, float(row.target))


@kernel
def transfer_pending(world: World, source: int, target: int) -> bool:
    """Whether a transfer between the two wallets, either way, has not arrived yet."""
    if world.run[0].transfers_active == 0:
        return False
    transfers = world.transfers
    for index in range(transfers.shape[0]):
        row = transfers[index]
        if row.active == 1 and (
            (row.source == source and row.target == target) or (row.source == target and row.target == source)
        ):
            return True
    return False
