"""Measures what the guards look at, sets and releases their latches, and stops work that stays unhedged.

Spec: docs/specs/guards.md. What a tripped guard asks for is the allocator's business (``crypto.pipeline.portfolio``).
"""

from __future__ import annotations

import math

from crypto.compiled import kernel
from crypto.pipeline import execution
from crypto.pipeline.guards import FARTHEST, Guard, in_sigmas, latched_high, latched_low
from crypto.pipeline.orders import OrderReason, OrderStatus
from crypto.pipeline.reasons import Reason
from crypto.simulator.desk import end_order, release
from crypto.simulator.margin_check import holds_position, maintenance_at, profit_at, rise_hurts, tier_column
from crypto.simulator.posting import note
from crypto.simulator.state import DISTANCE, GUARD_RELEASED, GUARD_TRIPPED, INVERSE, World
from crypto.simulator.valuation import coin_collateral, perp_base, spot_base
from crypto.units import HOUR_MS

_NEAR, _UNHEDGED, _LIGHT = int(Guard.LIQUIDATION_NEAR), int(Guard.UNHEDGED), int(Guard.ADL_LIGHT)
_CONCENTRATED, _ORACLE = int(Guard.CONCENTRATED), int(Guard.ORACLE)
_CANCELLED, _GUARDED = int(OrderStatus.CANCELLED), int(OrderReason.GUARD)
_R_NEAR, _R_UNHEDGED = int(Reason.LIQUIDATION_NEAR), int(Reason.UNHEDGED)
_R_LIGHT, _R_CONCENTRATED, _R_ORACLE = int(Reason.ADL_LIGHT), int(Reason.CONCENTRATED), int(Reason.ORACLE)

STEPS = 40


@kernel
def stressed_surplus(world: World, leg: int, only: int, move: float) -> float:
    """Margin surplus of the account of ``leg`` after an adverse ``move`` (fraction of mark), in its margin asset.

    ``only``: the one perp leg that moves; -1: all of them, each the way that hurts. Coins that back a unified wallet
    move with their pair's perp.
    """
    legs = world.legs
    wallet, asset = legs[leg].wallet, legs[leg].settle_asset
    total = world.holdings[wallet, asset].balance
    for other in range(1, legs.shape[0], 2):
        row = legs[other]
        if row.wallet != wallet or row.settle_asset != asset:
            continue
        moved = move if only < 0 or world.legs[only].contract == row.contract else 0.0
        side = 1.0 if rise_hurts(world, other) else -1.0
        if row.unified == 1:
            total += coin_collateral(world, other) * (1.0 + side * moved)
        if row.lots != 0:
            mark = max(row.value_price * (1.0 + side * moved), 1e-9 * row.value_price)
            total += profit_at(world, other, mark) - maintenance_at(world, other, mark)
    return float(total)


@kernel
def _linear_surplus(world: World, leg: int, only: int, move: float) -> tuple[float, float]:
    """``stressed_surplus`` of an account of linear contracts, and its slope in the move."""
    legs = world.legs
    wallet, asset = legs[leg].wallet, legs[leg].settle_asset
    surplus, slope = world.holdings[wallet, asset].balance, 0.0
    for other in range(1, legs.shape[0], 2):
        row = legs[other]
        if row.wallet != wallet or row.settle_asset != asset or (row.lots == 0 and row.unified == 0):
            continue
        side = 1.0 if rise_hurts(world, other) else -1.0
        share = 1.0 if only < 0 or only == other else 0.0
        grown = 1.0 + side * share * move
        if row.unified == 1:
            coins = coin_collateral(world, other)
            surplus += coins * grown
            slope += coins * side * share
        if row.lots == 0:
            continue
        size = row.lots * row.units_per_lot * row.value_price
        tier = tier_column(world, other, abs(size) * grown)
        rate = world.tiers[1, tier] + row.closing_fee
        surplus += size * grown - row.lots * row.units_per_lot * row.entry
        surplus += world.tiers[2, tier] - rate * abs(size) * grown
        slope += (size - rate * abs(size)) * side * share
    return surplus, slope


@kernel
def _linear_distance(world: World, leg: int, only: int) -> float:
    """The distance by Newton's steps; NaN where they do not settle.

    Tangents of a concave function lie above it, so each step comes nearer from the far side, by one tier or more.
    """
    surplus, slope = _linear_surplus(world, leg, only, 0.0)
    if surplus <= 0.0:
        return 0.0
    start, move = surplus, 0.0
    for _ in range(STEPS):
        if not slope < 0.0:
            return math.nan
        move = min(FARTHEST, move - surplus / slope)
        surplus, slope = _linear_surplus(world, leg, only, move)
        if abs(surplus) <= 1e-12 * start:
            return float(move)
        if surplus > 0.0:
            return FARTHEST if move == FARTHEST else math.nan
    return math.nan


@kernel
def liquidation_distance(world: World, leg: int, only: int) -> float:
    """Smallest adverse move (fraction, at most ``FARTHEST``) that brings the account of ``leg`` to maintenance."""
    if world.legs[leg].kind != INVERSE and world.rules[0].shared_contracts == 0:  # then so are all of its asset
        found = _linear_distance(world, leg, only)
        if found == found:
            return found
    if not holds_position(world, leg):
        return FARTHEST
    if stressed_surplus(world, leg, only, 0.0) <= 0.0:
        return 0.0
    if stressed_surplus(world, leg, only, FARTHEST) > 0.0:
        return FARTHEST
    low, high = 0.0, FARTHEST
    at_low, at_high = stressed_surplus(world, leg, only, low), stressed_surplus(world, leg, only, high)
    for _ in range(STEPS):
        # The surplus of a linear account is concave, so the chord crosses on the safe side and converges quickly.
        middle = low + (high - low) * at_low / (at_low - at_high)
        if world.legs[leg].kind == INVERSE:
            middle = 0.5 * (low + high)
        found = stressed_surplus(world, leg, only, middle)
        if abs(found) <= 1e-12 * abs(at_low) or middle <= low or middle >= high:
            return float(middle)
        if found > 0.0:
            low, at_low = middle, found
        else:
            high, at_high = middle, found
    return float(low)


@kernel
def _is_idle(world: World, pair: int, instant: int) -> bool:
    """Whether a pair holds nothing, no guard is on and its oracle is good: nothing can trip or let go then."""
    row = world.pairs[pair]
    flat = row.direction == 0 and row.guards == 0 and world.legs[2 * pair + 1].lots == 0
    return bool(flat and world.oracle[pair, instant - 1] == 0)


@kernel
def _may_be_crowded(world: World) -> bool:
    """Whether all perps together exceed the smaller of the venue's and the asset's share; below it no part can."""
    rules, total = world.rules[0], 0.0
    for pair in range(world.pairs.shape[0]):
        total += world.quotes[pair].notional
    return bool(total > min(rules.max_venue_fraction, rules.max_asset_fraction) * world.run[0].equity)


@kernel
def watch(world: World, instant: int) -> None:
    """Look at every pair after the measurement of an instant."""
    rules, crowded = world.rules[0], _may_be_crowded(world)
    for pair in range(world.pairs.shape[0]):
        row = world.pairs[pair]
        leg = 2 * pair + 1
        if _is_idle(world, pair, instant):
            row.distance, row.unhedged_since_ms = FARTHEST, 0
            row.oracle_good += 1
            world.series[instant, pair, DISTANCE] = math.nan
            continue
        has_perp = world.legs[leg].lots != 0
        if rules.margin_engine == 1:
            _measure_account(world, pair, has_perp)
            world.series[instant, pair, DISTANCE] = row.distance if has_perp else math.nan
            _latch_distance(world, pair, has_perp)
        _latch_unhedged(world, pair)
        _latch_light(world, pair)
        if crowded or row.guards & _CONCENTRATED != 0:
            latch_concentration(world, pair)
        _latch_oracle(world, pair, instant)
        if row.direction == 0:
            row.guards &= _ORACLE


@kernel
def _measure_account(world: World, pair: int, has_perp: bool) -> None:
    """Distance and variance of the pair's account; taken over from an earlier pair in the same account."""
    row, leg = world.pairs[pair], 2 * pair + 1
    row.distance, row.account_variance = FARTHEST, 0.0
    if not has_perp:
        return
    for other in range(pair):
        before = world.legs[2 * other + 1]
        same = before.wallet == world.legs[leg].wallet and before.settle_asset == world.legs[leg].settle_asset
        if same and before.lots != 0:
            row.distance = world.pairs[other].distance
            row.account_variance = world.pairs[other].account_variance
            return
    row.distance = liquidation_distance(world, leg, -1)
    row.account_variance = _account_variance(world, leg)


@kernel
def _account_variance(world: World, leg: int) -> float:
    """Hourly variance of the account's perps as if they moved together: volatilities weighted by notional."""
    legs = world.legs
    total, weighted = 0.0, 0.0
    for pair in range(world.pairs.shape[0]):
        other = legs[2 * pair + 1]
        if other.lots != 0 and other.wallet == legs[leg].wallet and other.settle_asset == legs[leg].settle_asset:
            size = world.quotes[pair].notional
            total += size
            weighted += size * math.sqrt(max(0.0, world.pairs[pair].variance))
    return float((weighted / total) ** 2) if total > 0.0 else 0.0


@kernel
def _set(world: World, pair: int, guard: int, reason: int, on: bool, value: float, limit: float) -> None:
    """Bring a latch to ``on`` and journal the change."""
    row = world.pairs[pair]
    was = row.guards & guard != 0
    if on == was:
        return
    row.guards = row.guards | guard if on else row.guards & ~guard
    note(world, GUARD_TRIPPED if on else GUARD_RELEASED, pair, reason, -1, 0, value, limit, 0.0)


@kernel
def _latch_distance(world: World, pair: int, has_perp: bool) -> None:
    """Too near liquidation in price or in volatility; lets go only when both are well away again.

    The account counts with its volatility. The pair alone counts with its own, which may be higher, when only its
    contract moves; that distance is never smaller than the account's, so it is asked for only where that one is short.
    """
    row, rules = world.pairs[pair], world.rules[0]
    distance, on = row.distance, row.guards & _NEAR != 0
    near = latched_low(on, distance, rules.min_distance, rules.restore_distance)
    sigmas = in_sigmas(distance, row.account_variance)
    row.guard_variance = row.account_variance
    edge = rules.restore_sigmas if on else rules.min_sigmas
    if has_perp and sigmas >= edge and in_sigmas(distance, row.variance) < edge:
        alone = in_sigmas(liquidation_distance(world, 2 * pair + 1, 2 * pair + 1), row.variance)
        if alone < sigmas:
            sigmas, row.guard_variance = alone, row.variance
    close = sigmas < edge and distance < FARTHEST
    tripped = has_perp and (near or close)
    if tripped:
        row.calm_until_ms = world.run[0].time_ms + rules.cooldown_ms
    limit = rules.min_distance if near else rules.min_sigmas
    if not tripped:
        limit = rules.restore_distance
    _set(world, pair, _NEAR, _R_NEAR, tripped, distance if near or not tripped else sigmas, limit)


@kernel
def drift_fraction(world: World, pair: int) -> float:
    """Unhedged base quantity over the larger leg; 0 for an empty pair."""
    spot, perp = spot_base(world, 2 * pair), perp_base(world, 2 * pair + 1)
    size = max(abs(spot), abs(perp))
    return float(abs(spot + perp) / size) if size > 0.0 else 0.0


@kernel
def _latch_unhedged(world: World, pair: int) -> None:
    """Unhedged for longer than allowed, whatever work is under way."""
    row, rules, run = world.pairs[pair], world.rules[0], world.run[0]
    drift = drift_fraction(world, pair)
    if row.direction == 0 or drift <= rules.max_delta_fraction or row.naked != 0:
        row.unhedged_since_ms = 0
        _set(world, pair, _UNHEDGED, _R_UNHEDGED, False, drift, rules.max_delta_fraction)
        return
    if row.unhedged_since_ms == 0:
        row.unhedged_since_ms = run.time_ms
    waited = run.time_ms - row.unhedged_since_ms
    _set(world, pair, _UNHEDGED, _R_UNHEDGED, waited >= rules.max_unhedged_ms, drift, waited / HOUR_MS)


@kernel
def _latch_light(world: World, pair: int) -> None:
    """The ADL light of our leg at the last examined move; falls to nothing when no move is examined."""
    leg, rules = world.legs[2 * pair + 1], world.rules[0]
    on = world.pairs[pair].guards & _LIGHT != 0
    light = float(leg.adl_light) if leg.lots != 0 else -1.0
    tripped = latched_high(on, light, rules.max_adl_light - 0.5, rules.max_adl_light - 1.5)
    _set(world, pair, _LIGHT, _R_LIGHT, tripped, light, rules.max_adl_light)


@kernel
def latch_concentration(world: World, pair: int) -> None:
    """Perp notional of the pair's asset, or of its venue, beyond its share of equity by more than the band."""
    rules, equity = world.rules[0], world.run[0].equity
    on_venue, in_asset = 0.0, 0.0
    perp = world.legs[2 * pair + 1]
    for other in range(world.pairs.shape[0]):
        leg = world.legs[2 * other + 1]
        size = world.quotes[other].notional
        if world.wallets[leg.wallet].venue == world.wallets[perp.wallet].venue:
            on_venue += size
        if leg.base_asset == perp.base_asset:
            in_asset += size
    if not equity > 0.0:
        return
    used = max(on_venue / rules.max_venue_fraction, in_asset / rules.max_asset_fraction) / equity
    on = world.pairs[pair].guards & _CONCENTRATED != 0
    tripped = perp.lots != 0 and latched_high(on, used, 1.0 + rules.concentration_band, 1.0)
    world.pairs[pair].concentration = used
    _set(world, pair, _CONCENTRATED, _R_CONCENTRATED, tripped, used, 1.0 + rules.concentration_band)


@kernel
def _latch_oracle(world: World, pair: int, instant: int) -> None:
    """The composite price of the pair's asset is stale or its venues disagree; lets go after enough good bars."""
    rules, row = world.rules[0], world.pairs[pair]
    status = world.oracle[pair, instant - 1]
    row.oracle_good = row.oracle_good + 1 if status == 0 else 0
    on = row.guards & _ORACLE != 0
    bad = status != 0 or (on and row.oracle_good < rules.oracle_recovery_bars)
    _set(world, pair, _ORACLE, _R_ORACLE, bad, float(status), 0.0)


@kernel
def stop_work(world: World, pair: int) -> None:
    """Cancel a pair's orders and end its work, where the kill switch or the unhedged timer asks for it."""
    row = world.pairs[pair]
    if row.phase == execution.IDLE:
        return
    killed = world.run[0].killed == 1 and row.opening == 1
    if not killed and row.guards & _UNHEDGED == 0:
        return
    for leg in (2 * pair, 2 * pair + 1):
        if world.legs[leg].order >= 0:
            end_order(world, world.legs[leg].order, _CANCELLED, _GUARDED)
    release(world, pair, 1.0)
    execution.abandon(world.pairs, pair)
    row.unhedged_since_ms = 0
