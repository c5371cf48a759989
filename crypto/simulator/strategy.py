"""The pipeline applied to the simulated exchange at one instant: from each pair's quote to orders and transfers.

``decide_all`` runs the default stages in compiled code. ``crypto.simulator.python_strategy`` runs the same functions
as Python objects that a user can replace one by one; it enters compiled code through the functions marked ``@jit``.
"""

from __future__ import annotations

import math

from crypto import basis
from crypto.compiled import jit, kernel
from crypto.pipeline import execution, features, portfolio, risk, signal
from crypto.pipeline.features import Features
from crypto.pipeline.guards import guarded_distance
from crypto.pipeline.portfolio import COLLATERAL_IS_LOW, LIQUIDATION_IS_NEAR, Account, Action, Filters, Target
from crypto.pipeline.reasons import Reason
from crypto.pipeline.signal import Signal
from crypto.simulator.clock import send_transfer, transfer_pending
from crypto.simulator.desk import commit, order_value, send
from crypto.simulator.fee_coins import base_fee_rate
from crypto.simulator.matching import fillable_lots
from crypto.simulator.posting import note
from crypto.simulator.reduction import closed_equity, surplus_at_distance
from crypto.simulator.state import (
    CARRY_ANNUAL,
    DECISION,
    INVERSE,
    KILL,
    REARMED,
    SIGNAL,
    TRIP_CLOSED,
    TRIP_OPENED,
    World,
)
from crypto.simulator.valuation import (
    free_cash,
    free_margin,
    margin_equity,
    notional,
    perp_base,
    spot_base,
    wallet_notional,
)
from crypto.simulator.watch import stop_work

_KEEP, _OPEN, _TRANSFER = int(Action.KEEP), int(Action.OPEN), int(Action.TRANSFER)
_LEG_TIMEOUT = int(Reason.LEG_TIMEOUT)


@kernel
def filters_of(world: World, pair: int) -> Filters:
    """The venues' filters and fees for a pair."""
    spot, perp = world.legs[2 * pair], world.legs[2 * pair + 1]
    return Filters(
        world.pairs[pair].weight,
        spot.base_per_lot,
        spot.taker,
        base_fee_rate(world, 2 * pair, _largest_buy(world, pair) if spot.fee_coin >= 0 else 0.0),
        spot.min_lots,
        spot.min_notional,
        spot.closing_exempt == 1,
        perp.kind == INVERSE,
        perp.base_per_lot,
        perp.quote_per_lot,
        perp.taker,
        perp.step_lots,
        perp.min_lots,
        perp.min_notional,
        perp.closing_exempt == 1,
    )


@kernel
def _largest_buy(world: World, pair: int) -> float:
    """What a spot buy of the pair may come to: all that it is to hold and can be paid for, or all that it owes."""
    spot, rules = world.legs[2 * pair], world.rules[0]
    wanted = portfolio.wanted_notional(world.run[0].equity, world.pairs[pair].weight, rules)
    owed = order_value(world, 2 * pair, spot.lots, spot.value_price)
    return float(max(min(wanted, free_cash(world, spot.wallet)), owed))


@kernel
def account_of(world: World, pair: int) -> Account:
    """The account as the pair sees it now."""
    run, rules = world.run[0], world.rules[0]
    spot, perp = world.legs[2 * pair], world.legs[2 * pair + 1]
    same_venue = world.wallets[spot.wallet].venue == world.wallets[perp.wallet].venue
    shared = spot.wallet == perp.wallet
    gross, on_venue, in_asset = 0.0, 0.0, 0.0
    for other in range(world.pairs.shape[0]):
        size = notional(world, 2 * other + 1)
        gross += size
        if world.wallets[world.legs[2 * other + 1].wallet].venue == world.wallets[perp.wallet].venue:
            on_venue += size
        if world.legs[2 * other + 1].base_asset == perp.base_asset:
            in_asset += size
    in_account_currency = perp.settle_asset == rules.account_asset
    perp_cash = free_margin(world, perp.wallet, perp.settle_asset)
    if in_account_currency:
        perp_cash = min(perp_cash, free_cash(world, perp.wallet))
    closed, missing = 0.0, 0.0
    if world.quotes[pair].attention & (LIQUIDATION_IS_NEAR | COLLATERAL_IS_LOW) != 0:
        closed = closed_equity(world, 2 * pair + 1)
        distance = guarded_distance(world.pairs[pair].guard_variance, rules.restore_distance, rules.restore_sigmas)
        missing = surplus_at_distance(world, 2 * pair + 1, distance) if rules.margin_engine == 1 else 0.0
    return Account(
        run.equity,
        run.killed == 1,
        free_cash(world, spot.wallet),
        perp_cash,
        shared and in_account_currency,
        in_account_currency and not shared and (same_venue or rules.cross_venue == 1),
        transfer_pending(world, spot.wallet, perp.wallet),
        margin_equity(world, perp.wallet, perp.settle_asset),
        wallet_notional(world, perp.wallet, perp.settle_asset),
        on_venue,
        gross,
        notional(world, 2 * pair + 1),
        spot_base(world, 2 * pair),
        spot.lots,
        perp_base(world, 2 * pair + 1),
        perp.lots,
        world.quotes[pair].attention,
        world.pairs[pair].naked,
        run.time_ms - world.pairs[pair].naked_since_ms,
        closed,
        missing,
        world.pairs[pair].concentration,
        in_asset,
        fillable_lots(world, 2 * pair + 1, run.instant - 1),
        float(rules.transfer_delay_ms if same_venue else rules.cross_venue_delay_ms),
        world.pairs[pair].guard_variance,
    )


@kernel
def features_of(world: World, pair: int) -> Features:
    """Bring the pair's features to now."""
    end = world.legs[2 * pair + 1].settle_end
    seen = features.update(world.pairs, world.quotes, world.rules[0], world.settlements, end, pair)
    world.series[world.run[0].instant, pair, CARRY_ANNUAL] = seen.carry_annual if seen.warm else math.nan
    return seen


@kernel
def close_finished(world: World, pair: int) -> None:
    """End the pair's round trip when its work is over and nothing but dust is left."""
    row, rules = world.pairs[pair], world.rules[0]
    if row.direction == 0 or row.phase != execution.IDLE or world.legs[2 * pair + 1].lots != 0:
        return
    spot = world.legs[2 * pair]
    value = order_value(world, 2 * pair, spot.lots, spot.value_price)
    if abs(spot.lots) >= spot.min_lots and value >= spot.min_notional:
        return
    reason = row.exit_reason if row.exit_reason != 0 else _LEG_TIMEOUT
    note(world, TRIP_CLOSED, pair, reason, row.trip, row.direction, row.pnl - row.trip_start_pnl, 0.0, 0.0)
    trip = world.trips[row.trip]
    trip.close_ms = world.run[0].time_ms
    trip.is_open = 0
    trip.reason = reason
    quote = world.quotes[pair]
    trip.close_basis_bps = basis.basis(quote.spot, quote.perp) * 1e4
    row.direction = 0
    row.naked = 0
    row.trip = -1
    row.cooldown_until_ms = world.run[0].time_ms + rules.cooldown_ms


@kernel
def _open_trip(world: World, pair: int, seen: Features, target: Target) -> None:
    row, run = world.pairs[pair], world.run[0]
    row.direction = target.direction
    row.open_ms = run.time_ms
    row.entry_basis = seen.basis
    row.exit_reason = 0
    row.trip_start_pnl = row.pnl
    row.trip_peak_pnl = 0.0
    row.trip_notional = order_value(world, 2 * pair, target.spot_lots, world.legs[2 * pair].value_price)
    row.trip = run.trip_rows
    run.trip_rows += 1
    trip = world.trips[row.trip]
    trip.pair = pair
    trip.direction = target.direction
    trip.open_ms = run.time_ms
    trip.is_open = 1
    trip.notional = row.trip_notional
    trip.open_basis_bps = seen.basis * 1e4
    note(
        world,
        TRIP_OPENED,
        pair,
        target.reason,
        row.trip,
        target.direction,
        seen.spot_price,
        row.trip_notional,
        seen.basis,
    )


@kernel
def act(world: World, pair: int, seen: Features, target: Target) -> None:
    """Carry out an approved target: a transfer, or the start of two-leg work."""
    row, rules = world.pairs[pair], world.rules[0]
    spot, perp = world.legs[2 * pair], world.legs[2 * pair + 1]
    if target.action == _TRANSFER:
        source, destination = spot.wallet, perp.wallet
        if target.transfer < 0.0:
            source, destination = perp.wallet, spot.wallet
        same = world.wallets[source].venue == world.wallets[destination].venue
        delay = rules.transfer_delay_ms if same else rules.cross_venue_delay_ms
        fee = 0.0 if same else rules.cross_venue_fee
        amount = min(abs(target.transfer), free_cash(world, source))
        if amount > fee:
            send_transfer(world, source, destination, amount, delay, fee)
        return
    if target.action == _OPEN:
        if row.direction == 0:
            _open_trip(world, pair, seen, target)
    else:
        row.exit_reason = target.reason
    execution.start(world.pairs, pair, target, perp.step_lots, rules)
    if target.action == _OPEN:
        commit(world, pair, target)
    send(world, pair)


@kernel
def note_signal(world: World, pair: int, found: Signal, seen: Features) -> None:
    """Journal a signal when its reason differs from the pair's last one."""
    row = world.pairs[pair]
    if found.reason != row.last_signal:
        row.last_signal = found.reason
        note(world, SIGNAL, pair, found.reason, -1, found.direction, seen.basis, found.expected_net, seen.carry_annual)


@kernel
def note_decision(world: World, pair: int, target: Target, approved: bool, reason: int) -> None:
    """Journal a decision: every approved one, and a refusal when its reason differs from the last."""
    row = world.pairs[pair]
    code = reason + 1000 * target.action
    if approved or (target.action != _KEEP and code != row.last_decision):
        side = 1.0 if approved else 0.0
        note(
            world,
            DECISION,
            pair,
            reason,
            target.action,
            target.perp_lots,
            target.transfer,
            float(target.spot_lots),
            side,
        )
    row.last_decision = code


@kernel
def is_quiet(found: Signal, direction: int, attention: int, killed: int) -> bool:
    """Whether nothing can follow from a signal, so that the later stages need not be asked."""
    return found.direction == direction and attention == 0 and (killed == 0 or direction == 0)


@kernel
def decide(world: World, pair: int) -> None:
    """All stages of the default pipeline for one pair."""
    row, run = world.pairs[pair], world.run[0]
    seen = features_of(world, pair)
    if row.phase != execution.IDLE:
        send(world, pair)
        return
    held = signal.position(world.pairs, pair, run.time_ms)
    found = signal.evaluate(seen, held, world.rules[0])
    note_signal(world, pair, found, seen)
    if is_quiet(found, held.direction, world.quotes[pair].attention, run.killed):
        return
    account, filters = account_of(world, pair), filters_of(world, pair)
    target = portfolio.allocate(found, seen, held, account, filters, world.rules[0])
    verdict = risk.review(target, seen, account, filters, world.rules[0])
    note_decision(world, pair, target, verdict.approved, verdict.reason)
    if verdict.approved:
        act(world, pair, seen, target)


@kernel
def decide_all(world: World) -> None:
    """The strategy's turn at one instant."""
    for pair in range(world.pairs.shape[0]):
        stop_work(world, pair)
        close_finished(world, pair)
    for pair in range(world.pairs.shape[0]):
        decide(world, pair)


@kernel
def prepare_all(world: World) -> None:
    """What ``decide`` does before the signal, for every pair; Python stages read the tables and go on from there."""
    for pair in range(world.pairs.shape[0]):
        stop_work(world, pair)
        close_finished(world, pair)
    for pair in range(world.pairs.shape[0]):
        features.store(world.features, pair, features_of(world, pair))
        if world.pairs[pair].phase == execution.IDLE:
            signal.store(world.positions, pair, signal.position(world.pairs, pair, world.run[0].time_ms))


@jit
def situation_of(world: World, pair: int) -> tuple[Account, Filters]:
    """``account_of`` and ``filters_of``, for Python."""
    return account_of(world, pair), filters_of(world, pair)


@jit
def signal_found(world: World, pair: int, found: Signal, seen: Features) -> None:
    """``note_signal``, for Python."""
    note_signal(world, pair, found, seen)


@jit
def decision_made(world: World, pair: int, seen: Features, target: Target, approved: bool, reason: int) -> None:
    """Journal a decision and carry it out when it was approved, for Python."""
    note_decision(world, pair, target, approved, reason)
    if approved:
        act(world, pair, seen, target)


@kernel
def switch_on(world: World) -> None:
    """Trade again after the kill switch, from the present equity on."""
    run = world.run[0]
    run.killed = 0
    run.peak_equity = run.equity
    note(world, REARMED, -1, 0, -1, 0, run.equity, run.peak_equity, 0.0)


@jit
def rearm(world: World) -> None:
    """``switch_on``, for Python; a person decides that."""
    switch_on(world)


def rearm_where_pulled(world: World, date_ms: int) -> None:
    """Obey a person who re-arms at ``date_ms``: a switch that is on and was pulled before that."""
    run, row = world.run[0], int(world.run[0].journal_rows) - 1
    if run.killed == 0:
        return
    while row >= 0 and world.journal[row].event != KILL:
        row -= 1
    if row >= 0 and world.journal[row].time_ms < date_ms:
        switch_on(world)


@jit
def send_due(world: World, pair: int) -> None:
    """Send what the pair's work in progress asks for, for Python."""
    send(world, pair)
