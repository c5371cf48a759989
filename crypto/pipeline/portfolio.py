"""From a signal to a target in whole lots of both legs, within wallets and limits. Spec: docs/specs/portfolio.md.

Lots of a target are orders: signed changes, buy positive. All money is in account currency.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any, NamedTuple

from crypto import sizing
from crypto.compiled import kernel
from crypto.pipeline.features import Features
from crypto.pipeline.guards import (
    Guard,
    kept_fraction,
    order_time,
    top_up_is_sooner,
)
from crypto.pipeline.reasons import Reason
from crypto.pipeline.signal import Position, Signal


class Action(IntEnum):
    """What a target asks for. ``KEEP``: nothing. ``REFUSED``: wanted, but not possible, for the target's reason."""

    KEEP = 0
    OPEN = 1
    REDUCE = 2
    CLOSE = 3
    HEDGE = 4
    TRANSFER = 5
    REFUSED = 6


# what an account asks of a pair besides its signal, as bits of QUOTE.attention
COLLATERAL_IS_LOW, COLLATERAL_IS_HIGH, DELTA_DRIFTED, BELOW_TARGET = 1, 2, 4, 8

GUARD_SHIFT = 4  # bits of crypto.pipeline.guards.Guard follow from here
LIQUIDATION_IS_NEAR, ADL_IS_LIT, IS_CONCENTRATED = (
    int(guard) << GUARD_SHIFT for guard in (Guard.LIQUIDATION_NEAR, Guard.ADL_LIGHT, Guard.CONCENTRATED)
)

_KEEP, _OPEN, _REDUCE, _CLOSE = int(Action.KEEP), int(Action.OPEN), int(Action.REDUCE), int(Action.CLOSE)
_HEDGE, _TRANSFER, _REFUSED = int(Action.HEDGE), int(Action.TRANSFER), int(Action.REFUSED)
_HOLD, _KILLED = int(Reason.HOLD), int(Reason.KILLED)
_LOW, _HIGH, _DRIFT = int(Reason.COLLATERAL_LOW), int(Reason.COLLATERAL_HIGH), int(Reason.DELTA_DRIFT)
_RESIZE, _WAITING, _NO_CAPITAL = int(Reason.RESIZE), int(Reason.WAITING_FOR_TRANSFER), int(Reason.NO_CAPITAL)
_MIN_SIZE, _MIN_QUANTITY = int(Reason.BELOW_MIN_SIZE), int(Reason.BELOW_MIN_QUANTITY)
_MIN_NOTIONAL = int(Reason.BELOW_MIN_NOTIONAL)
_NAKED, _NEAR = int(Reason.NAKED), int(Reason.LIQUIDATION_NEAR)
_LIT, _CONCENTRATED = int(Reason.ADL_LIGHT), int(Reason.CONCENTRATED)

FLATTEN, REHEDGE, WAIT = 0, 1, 2  # codes of settings.NakedPolicy

PRICE_BUFFER = 0.005  # of the spot price: cash kept for the move between decision and fill
SMALLEST_TRANSFER = 0.01  # of the notional it is for: less is not worth sending
USEFUL_TOP_UP = 0.1  # of the collateral that is short: less is not worth waiting for


class Account(NamedTuple):
    """The account as one pair sees it."""

    equity: float
    killed: bool
    spot_cash: float  # free account currency in the spot leg's wallet
    perp_cash: float  # free margin in the perp leg's wallet
    shared_wallet: bool  # both legs in one wallet
    can_transfer: bool
    transfer_pending: bool
    margin_equity: float  # of the perp leg's wallet
    wallet_notional: float  # perp notional in that wallet, all pairs
    venue_notional: float  # perp notional on the perp leg's venue, all pairs
    gross_notional: float  # perp notional of the whole account
    pair_notional: float
    spot_base: float
    spot_lots: int
    perp_base: float
    perp_lots: int
    attention: int
    naked: int  # Reason for which the venue closed the perp leg; 0: hedged
    naked_ms: int  # since then
    closed_equity: float  # of the perp leg's wallet with its pairs closed; 0 unless a guard asks for margin
    distance_surplus: float  # margin over maintenance at the distance to restore, negative: missing; 0 unless asked for
    concentration: float  # share of the venue's or asset's limit that is used
    asset_notional: float  # perp notional in the pair's asset, all pairs
    perp_lots_per_bar: float  # that can fill in a bar; infinite without a limit
    transfer_ms: float  # until a transfer from the spot wallet arrives
    guard_variance: float  # hourly variance that the liquidation distance is held against


class Filters(NamedTuple):
    """What both venues ask of the pair's orders."""

    weight: float
    spot_base_per_lot: float
    spot_fee: float  # taker rate
    spot_fee_in_base: float  # fraction of a bought quantity that the fee takes; 0 when it is paid in quote
    spot_min_lots: int
    spot_min_notional: float
    spot_closing_exempt: bool
    inverse: bool
    perp_base_per_lot: float
    perp_quote_per_lot: float  # inverse contracts
    perp_fee: float
    perp_step_lots: int
    perp_min_lots: int
    perp_min_notional: float
    perp_closing_exempt: bool


class Target(NamedTuple):
    """What to do with a pair: orders for both legs, or a transfer (positive: spot wallet to perp wallet)."""

    action: int
    direction: int
    spot_lots: int
    perp_lots: int
    transfer: float
    reason: int


@kernel
def _nothing(action: int, reason: int) -> Target:
    return Target(action, 0, 0, 0, 0.0, reason)


@kernel
def wanted_notional(equity: float, weight: float, rules: Any) -> float:
    """Notional at which the pair uses its share of the deployed capital, spot leg and collateral together."""
    return float(equity * rules.deploy * weight / (1.0 + rules.collateral_ratio))


@kernel
def _limited(wanted: float, account: Account, rules: Any) -> float:
    """``wanted`` more notional, cut to what the pair, venue and gross limits leave."""
    room = min(
        rules.max_pair_fraction * account.equity - account.pair_notional,
        rules.max_venue_fraction * account.equity - account.venue_notional,
        rules.max_gross_leverage * account.equity - account.gross_notional,
        rules.max_asset_fraction * account.equity - account.asset_notional,
    )
    return float(max(0.0, min(wanted, room)))


@kernel
def perp_base_per_lot(filters: Filters, perp_price: float) -> float:
    """Base units that one perp lot hedges when it is opened at ``perp_price``."""
    return filters.perp_quote_per_lot / perp_price if filters.inverse else filters.perp_base_per_lot


@kernel
def allocate(
    signal: Signal, features: Features, held: Position, account: Account, filters: Filters, rules: Any
) -> Target:
    """The pair's target at this instant."""
    if held.direction == 0:
        if signal.direction == 0 or account.killed:
            return _nothing(_KEEP, _KILLED if account.killed else signal.reason)
        return _grow(signal.direction, signal.reason, features, account, filters, rules)
    if account.naked != 0 and account.attention & DELTA_DRIFTED and not account.killed:
        return _cover(held.direction, features, account, filters, rules)
    if account.killed or signal.direction != held.direction:
        reason = _KILLED if account.killed else signal.reason
        return _shrink(held.direction, 0.0, reason, features, account, filters)
    if account.attention & (LIQUIDATION_IS_NEAR | COLLATERAL_IS_LOW):
        return _restore(held.direction, features, account, filters, rules)
    if account.attention & DELTA_DRIFTED:
        return _rehedge(features, account, filters)
    if account.attention & (ADL_IS_LIT | IS_CONCENTRATED):
        return _cut(held.direction, features, account, filters, rules)
    return _adjust(signal, features, held, account, filters, rules)


@kernel
def _restore(direction: int, features: Features, account: Account, filters: Filters, rules: Any) -> Target:
    """Bring back the liquidation distance, or else the collateral ratio."""
    if account.attention & LIQUIDATION_IS_NEAR:
        return _restore_distance(direction, features, account, filters, rules)
    return _restore_collateral(direction, features, account, filters, rules)


@kernel
def _cut(direction: int, features: Features, account: Account, filters: Filters, rules: Any) -> Target:
    """Reduce a pair that stands first in line for ADL, or whose venue or asset has become too large."""
    if account.attention & ADL_IS_LIT:
        return _shrink(direction, rules.adl_keep, _LIT, features, account, filters)
    return _shrink(direction, 1.0 / account.concentration, _CONCENTRATED, features, account, filters)


@kernel
def _adjust(
    signal: Signal, features: Features, held: Position, account: Account, filters: Filters, rules: Any
) -> Target:
    """Move collateral out that the perp wallet does not need, or enlarge a pair that is below its target."""
    if account.attention & COLLATERAL_IS_HIGH and account.can_transfer and not account.transfer_pending:
        excess = account.margin_equity - rules.collateral_ratio * account.wallet_notional
        amount = min(excess, account.perp_cash)
        if amount > SMALLEST_TRANSFER * account.wallet_notional:
            return Target(_TRANSFER, held.direction, 0, 0, -amount, _HIGH)
    if account.attention & BELOW_TARGET and signal.reason == _HOLD and signal.expected_net > rules.entry_edge:
        return _grow(held.direction, _RESIZE, features, account, filters, rules)
    return _nothing(_KEEP, signal.reason)


@kernel
def _cash_per_notional(direction: int, filters: Filters, rules: Any) -> tuple[float, float]:
    """Cash that one unit of notional takes in the spot and in the perp wallet."""
    perp = rules.collateral_ratio + filters.perp_fee
    if direction > 0:
        return 1.0 + filters.spot_fee + PRICE_BUFFER, perp
    return rules.collateral_ratio + filters.spot_fee, perp


@kernel
def _funding_transfer(wanted: float, spot_need: float, perp_need: float, account: Account) -> float:
    """Cash to move (positive: to the perp wallet) so that ``wanted`` notional fits both wallets better.

    0 when it does.
    """
    spot_short = wanted * spot_need - account.spot_cash
    perp_short = wanted * perp_need - account.perp_cash
    amount = 0.0
    if spot_short > 0.0 and perp_short < 0.0:
        amount = -min(spot_short, -perp_short)
    elif perp_short > 0.0 and spot_short < 0.0:
        amount = min(perp_short, -spot_short)
    return amount if abs(amount) > SMALLEST_TRANSFER * wanted else 0.0


@kernel
def _grow(direction: int, reason: int, features: Features, account: Account, filters: Filters, rules: Any) -> Target:
    """Open or enlarge the pair towards its wanted notional, moving cash between wallets first where that helps."""
    wanted = wanted_notional(account.equity, filters.weight, rules) - account.pair_notional
    wanted = _limited(wanted, account, rules)
    spot_need, perp_need = _cash_per_notional(direction, filters, rules)
    if account.shared_wallet:
        affordable = account.perp_cash / (spot_need + perp_need)
    else:
        if account.can_transfer:
            if account.transfer_pending:
                return _nothing(_REFUSED, _WAITING)
            amount = _funding_transfer(wanted, spot_need, perp_need, account)
            if amount != 0.0:
                return Target(_TRANSFER, direction, 0, 0, amount, _WAITING)
        affordable = min(account.spot_cash / spot_need, account.perp_cash / perp_need)
    size = min(wanted, affordable)
    if size < rules.min_pair_notional:
        return _nothing(_REFUSED, _NO_CAPITAL if affordable < rules.min_pair_notional else _MIN_SIZE)
    per_lot = perp_base_per_lot(filters, features.perp_price)
    fee = filters.spot_fee_in_base if direction > 0 else 0.0
    spot_lots, perp_lots = sizing.hedged_lots(
        size / features.spot_price, per_lot, filters.perp_step_lots, filters.spot_base_per_lot, fee
    )
    check = sizing.joint_minimum(
        spot_lots,
        perp_lots,
        spot_lots * filters.spot_base_per_lot * features.spot_price,
        perp_lots * per_lot * features.perp_price,
        filters.spot_min_lots,
        filters.perp_min_lots,
        filters.spot_min_notional,
        filters.perp_min_notional,
    )
    if check != sizing.OK:
        return _nothing(_REFUSED, _MIN_QUANTITY if check == sizing.BELOW_MIN_QUANTITY else _MIN_NOTIONAL)
    return Target(_OPEN, direction, direction * spot_lots, -direction * perp_lots, 0.0, reason)


@kernel
def _spot_change(direction: int, target_base: float, account: Account, filters: Filters) -> int:
    """Spot lots (signed) that bring the spot leg down to ``target_base`` hedged units, never below it."""
    if direction > 0:
        if target_base <= 0.0:
            return -account.spot_lots
        surplus = account.spot_base - target_base
        return -int(math.floor(surplus / filters.spot_base_per_lot + sizing.LOT_TOLERANCE)) if surplus > 0.0 else 0
    surplus = -account.spot_base - target_base
    if surplus <= 0.0:
        return 0
    received = filters.spot_base_per_lot * (1.0 - filters.spot_fee_in_base)
    if target_base <= 0.0:
        return int(math.ceil(surplus / received - sizing.LOT_TOLERANCE))
    return int(math.floor(surplus / received + sizing.LOT_TOLERANCE))


@kernel
def _shrink(direction: int, keep: float, reason: int, features: Features, account: Account, filters: Filters) -> Target:
    """Reduce both legs to the fraction ``keep`` of the perp position; 0 closes. Orders below a minimum are left out."""
    perp_now = abs(account.perp_lots)
    step = filters.perp_step_lots
    perp_left = int(math.floor(perp_now * keep / step)) * step
    left_base = abs(account.perp_base) * perp_left / perp_now if perp_now > 0 else 0.0
    spot_lots = _spot_change(direction, left_base, account, filters)
    value = abs(spot_lots) * filters.spot_base_per_lot * features.spot_price
    if abs(spot_lots) < filters.spot_min_lots or (
        value < filters.spot_min_notional and not filters.spot_closing_exempt
    ):
        spot_lots = 0
    perp_lots = direction * (perp_now - perp_left)
    per_lot = perp_base_per_lot(filters, features.perp_price)
    value = abs(perp_lots) * per_lot * features.perp_price
    below = abs(perp_lots) < filters.perp_min_lots or value < filters.perp_min_notional
    if below and not filters.perp_closing_exempt:
        perp_lots = 0
    if spot_lots == 0 and perp_lots == 0:
        return _nothing(_REFUSED, _MIN_NOTIONAL)
    return Target(_CLOSE if perp_left == 0 else _REDUCE, direction, spot_lots, perp_lots, 0.0, reason)


@kernel
def _restore_collateral(direction: int, features: Features, account: Account, filters: Filters, rules: Any) -> Target:
    """Top the perp wallet up from the spot wallet, or reduce the pair where the spot wallet has too little cash."""
    need = rules.collateral_ratio * account.wallet_notional - account.margin_equity
    if account.can_transfer:
        if account.transfer_pending:
            return _nothing(_KEEP, _WAITING)
        amount = min(need, account.spot_cash)
        if amount > USEFUL_TOP_UP * need:
            return Target(_TRANSFER, direction, 0, 0, amount, _LOW)
    # What selling all spot brings for the perps that are left; in one wallet coins count already, after their haircut.
    freed = account.wallet_notional if account.can_transfer else 0.0
    if account.shared_wallet:
        freed = account.closed_equity - account.margin_equity
    cut = need / (rules.collateral_ratio * account.wallet_notional + freed)
    return _shrink(direction, max(0.0, 1.0 - cut), _LOW, features, account, filters)


@kernel
def _restore_distance(direction: int, features: Features, account: Account, filters: Filters, rules: Any) -> Target:
    """Bring the account's liquidation distance back, by a transfer or by a cut of the pair, whichever helps sooner."""
    keep = kept_fraction(account.closed_equity, account.distance_surplus)
    if account.can_transfer:
        if account.transfer_pending:
            return _nothing(_KEEP, _WAITING)
        need = -account.distance_surplus
        amount = min(need, account.spot_cash)
        orders_ms = order_time(
            (1.0 - keep) * abs(account.perp_lots), account.perp_lots_per_bar, rules.latency_ms, rules.bar_ms
        )
        enough = amount >= need and amount > 0.0
        if enough and top_up_is_sooner(account.transfer_ms, orders_ms, rules.bar_ms):
            return Target(_TRANSFER, direction, 0, 0, amount, _NEAR)
    if keep >= 1.0:
        return _nothing(_KEEP, _NEAR)
    return _shrink(direction, keep, _NEAR, features, account, filters)


@kernel
def _cover(direction: int, features: Features, account: Account, filters: Filters, rules: Any) -> Target:
    """What the run's policy does with a spot leg whose hedge the venue has closed."""
    if rules.naked_policy == WAIT and account.naked_ms < rules.naked_wait_ms:
        return _nothing(_KEEP, _NAKED)
    if rules.naked_policy == REHEDGE:
        per_lot = perp_base_per_lot(filters, features.perp_price)
        drift = abs(account.spot_base + account.perp_base)
        step = filters.perp_step_lots
        lots = int(math.floor(drift / per_lot / step + sizing.LOT_TOLERANCE)) * step
        value = lots * per_lot * features.perp_price
        margin = value * (rules.collateral_ratio + filters.perp_fee)
        if lots >= filters.perp_min_lots and value >= filters.perp_min_notional and margin <= account.perp_cash:
            return Target(_HEDGE, direction, 0, -direction * lots, 0.0, _NAKED)
    if account.perp_lots == 0:
        return _shrink(direction, 0.0, account.naked, features, account, filters)
    return _rehedge(features, account, filters)


@kernel
def _rehedge(features: Features, account: Account, filters: Filters) -> Target:
    """Trade the spot leg by the net delta of the pair."""
    drift = account.spot_base + account.perp_base
    received = filters.spot_base_per_lot * (1.0 - filters.spot_fee_in_base)
    if drift > 0.0:
        lots = -int(math.floor(drift / filters.spot_base_per_lot + sizing.LOT_TOLERANCE))
    else:
        lots = int(math.ceil(-drift / received - sizing.LOT_TOLERANCE))
    value = abs(lots) * filters.spot_base_per_lot * features.spot_price
    if abs(lots) < filters.spot_min_lots or value < filters.spot_min_notional:
        return _nothing(_REFUSED, _DRIFT)
    return Target(_HEDGE, 0, lots, 0, 0.0, _DRIFT)
