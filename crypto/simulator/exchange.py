"""One step of the simulated exchange: everything that happens from one instant to the next, in time order.

At one time the order is: funding settlements, borrow hours, transfers that arrive, orders that arrive. At the end of
the step the mark moves, adverse extreme first: margin check, liquidation, takeover, then ADL. After that legs are
revalued on the bar that closed, resting orders are matched against it, perps that they filled are checked at the bar's
extreme as well, and the account is measured.
Then it is the strategy's turn. Settlements and borrow hours belong to the step that ends with them, arrivals to the
step that begins with them, so an order of one instant never meets a settlement of the same instant first.
"""

from __future__ import annotations

import math

from crypto import basis
from crypto.compiled import kernel
from crypto.pipeline import execution
from crypto.pipeline.guards import Guard
from crypto.pipeline.portfolio import (
    BELOW_TARGET,
    COLLATERAL_IS_HIGH,
    COLLATERAL_IS_LOW,
    DELTA_DRIFTED,
    GUARD_SHIFT,
    wanted_notional,
)
from crypto.pipeline.risk import drawdown_breached
from crypto.simulator.clock import borrow_rate_at, charge_borrow_hour, receive_transfer, settle
from crypto.simulator.deleveraging import deleverage_where_due
from crypto.simulator.liquidation import liquidate_where_due
from crypto.simulator.margin_check import net_lots, use_tiers_of
from crypto.simulator.matching import arrive, match_resting
from crypto.simulator.posting import note
from crypto.simulator.state import (
    BASIS_BPS,
    CLOSE,
    COLLATERAL,
    KILL,
    PERP_VALUE,
    PNL,
    RUNNING,
    SPOT_VALUE,
    VOLUME,
    World,
)
from crypto.simulator.valuation import (
    asset_price,
    measure_wallets,
    notional,
    pair_pnl,
    perp_base,
    revalue,
    spot_base,
    stop_insolvent,
    unrealised,
)
from crypto.simulator.watch import watch

_ORACLE = int(Guard.ORACLE)
_NEVER = 9_223_372_036_854_775_807
_SETTLEMENT, _BORROW, _TRANSFER, _ARRIVAL = 0, 1, 2, 3


@kernel
def _next_event(world: World, end_ms: int) -> tuple[int, int, int]:
    """Time, kind and row of the next event of the step that ends at ``end_ms``; kind is -1 when none is left.

    Events of one time come in the order of their kinds.
    """
    time_ms, kind, index = _NEVER, -1, -1
    legs = world.legs
    for leg in range(1, legs.shape[0], 2):
        if legs[leg].settle_next < legs[leg].settle_end:
            due = world.settlements[legs[leg].settle_next].time_ms
            if due <= end_ms and due < time_ms:
                time_ms, kind, index = due, _SETTLEMENT, leg
    for leg in range(0, legs.shape[0], 2):
        due = legs[leg].next_borrow_ms if legs[leg].debt > 0.0 else _NEVER
        if due <= end_ms and due < time_ms:
            time_ms, kind, index = due, _BORROW, leg
    if world.run[0].transfers_active > 0:
        due, row = _next_transfer(world)
        if due <= end_ms and due < time_ms:
            time_ms, kind, index = due, _TRANSFER, row
    due, leg = _next_arrival(world)
    if due < end_ms and due < time_ms:
        time_ms, kind, index = due, _ARRIVAL, leg
    return time_ms, kind, index


@kernel
def _next_transfer(world: World) -> tuple[int, int]:
    """Arrival time and row of the transfer that arrives first."""
    time_ms, index = _NEVER, -1
    for row in range(world.transfers.shape[0]):
        transfer = world.transfers[row]
        if transfer.active == 1 and transfer.arrive_ms < time_ms:
            time_ms, index = transfer.arrive_ms, row
    return time_ms, index


@kernel
def _next_arrival(world: World) -> tuple[int, int]:
    """Arrival time and leg of the working order that arrives first; resting orders have arrived."""
    time_ms, index = _NEVER, -1
    legs = world.legs
    for leg in range(legs.shape[0]):
        order = legs[leg].order
        if order >= 0:
            due = world.orders[order].arrival_ms
            if 0 <= due < time_ms:
                time_ms, index = due, leg
    return time_ms, index


@kernel
def _handle(world: World, kind: int, index: int) -> None:
    if kind == _SETTLEMENT:
        settle(world, index)
    elif kind == _BORROW:
        charge_borrow_hour(world, index)
    elif kind == _TRANSFER:
        receive_transfer(world, index)
    else:
        arrive(world, index)


@kernel
def advance(world: World, instant: int) -> int:
    """Bring the exchange from ``instant`` - 1 to ``instant`` (bar ``instant`` - 1 closes); returns the run status."""
    run, rules = world.run[0], world.rules[0]
    run.instant = instant
    run.row = instant
    end_ms = rules.start_ms + instant * rules.bar_ms
    while run.status == RUNNING:
        time_ms, kind, index = _next_event(world, end_ms)
        if kind < 0:
            break
        run.time_ms = time_ms
        _handle(world, kind, index)
    run.time_ms = end_ms
    if run.status != RUNNING:
        return int(run.status)
    bar = instant - 1
    if rules.margin_engine == 1:
        liquidate_where_due(world, bar)
        deleverage_where_due(world, bar)
        use_tiers_of(world, end_ms)  # the bar itself was under the tiers of its start
    revalue(world, bar)
    if _match_all_resting(world, bar) and rules.margin_engine == 1:
        liquidate_where_due(world, bar)  # the bar went on after it had filled an order inside it
    measure(world, instant)
    return int(run.status)


@kernel
def _match_all_resting(world: World, bar: int) -> bool:
    """Match resting orders against the bar; whether a perp position changed."""
    changed = False
    for leg in range(world.legs.shape[0]):
        order = world.legs[leg].order
        if order >= 0 and world.orders[order].arrival_ms == -1:
            held = world.legs[leg].lots
            match_resting(world, leg, bar)
            changed = changed or (leg % 2 == 1 and world.legs[leg].lots != held)
    return changed


@kernel
def measure(world: World, instant: int) -> None:
    """Record equity, profit and exposure of the instant, and what every pair sees of it."""
    judge_equity(world, measure_wallets(world, instant))
    for pair in range(world.pairs.shape[0]):
        _measure_pair(world, instant, pair)
    look(world, instant)
    world.run[0].row = instant + 1


@kernel
def look(world: World, instant: int) -> None:
    """Let the guards look at every pair that was measured, and say what its position needs besides the signal."""
    watch(world, instant)
    note_attention(world)


@kernel
def note_attention(world: World) -> None:
    """Say what every pair's position needs besides the signal."""
    for pair in range(world.pairs.shape[0]):
        world.quotes[pair].attention = _attention(world, pair)


@kernel
def judge_equity(world: World, equity: float) -> None:
    """Keep the account's equity and its peak, and pull the kill switch when it fell too far."""
    run = world.run[0]
    run.equity = equity
    run.peak_equity = max(run.peak_equity, equity)
    if run.killed == 0 and drawdown_breached(equity, run.peak_equity, world.rules[0].max_drawdown):
        run.killed = 1
        note(world, KILL, -1, 0, -1, 0, equity, run.peak_equity, 0.0)


@kernel
def measure_start(world: World) -> None:
    """Quotes before the first bar: the opening prices stand in for nothing, so every pair starts stale."""
    if world.rules[0].margin_engine == 1:
        use_tiers_of(world, world.rules[0].start_ms)
    for pair in range(world.pairs.shape[0]):
        world.quotes[pair].time_ms = world.rules[0].start_ms
        world.quotes[pair].collateral_ratio = math.nan
        world.quotes[pair].borrow_per_hour = math.nan


@kernel
def _quote_bar(world: World, instant: int, pair: int) -> None:
    """What printed in the bar that closed at this instant."""
    quote, bar = world.quotes[pair], instant - 1
    spot, perp = 2 * pair, 2 * pair + 1
    quote.time_ms = world.run[0].time_ms
    close = world.bars[spot, bar, CLOSE]
    quote.spot_fresh = 1 if close == close else 0
    if quote.spot_fresh == 1:
        quote.spot = close / world.legs[spot].multiplier
        quote.spot_turnover = close * world.bars[spot, bar, VOLUME]
    close = world.bars[perp, bar, CLOSE]
    quote.perp_fresh = 1 if close == close else 0
    if quote.perp_fresh == 1:
        quote.perp = close / world.legs[perp].multiplier
        quote.perp_turnover = close * world.bars[perp, bar, VOLUME]
    quote.mark = world.legs[perp].value_price / world.legs[perp].multiplier
    quote.borrow_per_hour = borrow_rate_at(world, pair, world.run[0].time_ms)


@kernel
def _measure_pair(world: World, instant: int, pair: int) -> None:
    _quote_bar(world, instant, pair)
    measure_position(world, pair, unrealised(world, 2 * pair + 1), notional(world, 2 * pair + 1))
    quote, series = world.quotes[pair], world.series
    fresh = quote.spot_fresh == 1 and quote.perp_fresh == 1
    series[instant, pair, PNL] = world.pairs[pair].pnl
    series[instant, pair, BASIS_BPS] = basis.basis(quote.spot, quote.perp) * 1e4 if fresh else math.nan
    series[instant, pair, SPOT_VALUE] = spot_base(world, 2 * pair) * quote.spot
    series[instant, pair, PERP_VALUE] = perp_base(world, 2 * pair + 1) * quote.mark
    series[instant, pair, COLLATERAL] = quote.collateral_ratio


@kernel
def measure_position(world: World, pair: int, gain: float, size: float) -> None:
    """Profit of a pair and the margin behind its perp, at the prices of the quote.

    ``gain``: unrealised profit of the perp, settlement asset; ``size``: its absolute notional, account currency.
    """
    row, quote = world.pairs[pair], world.quotes[pair]
    perp = 2 * pair + 1
    row.pnl = pair_pnl(world, pair, gain)
    if row.direction != 0:
        gained = row.pnl - row.trip_start_pnl
        row.trip_peak_pnl = max(row.trip_peak_pnl, gained)
    quote.notional = size
    leg = world.legs[perp]
    backing = world.holdings[leg.wallet, leg.settle_asset]
    backed = backing.notional
    price = asset_price(world, leg.wallet, leg.settle_asset)
    equity = (backing.balance + backing.unrealised) * price + backing.collateral
    quote.collateral_ratio = equity / backed if backed > 0.0 else math.nan
    if backed > 0.0 and equity <= 0.0 and world.rules[0].lean_account == 0 and net_lots(world, perp) != 0:
        stop_insolvent(world, leg.wallet)


@kernel
def _attention(world: World, pair: int) -> int:
    """What the pair's position needs besides the signal, as bits (crypto.pipeline.portfolio)."""
    row, quote, rules = world.pairs[pair], world.quotes[pair], world.rules[0]
    if row.direction == 0:
        return int((row.guards & _ORACLE) << GUARD_SHIFT)
    if row.phase != execution.IDLE:
        return 0
    bits = 0
    if quote.collateral_ratio < rules.min_collateral_ratio:
        bits |= COLLATERAL_IS_LOW
    elif quote.collateral_ratio > rules.max_collateral_ratio:
        bits |= COLLATERAL_IS_HIGH
    hedge = perp_base(world, 2 * pair + 1)
    drift = abs(spot_base(world, 2 * pair) + hedge)
    if row.naked != 0 and hedge != 0.0 and drift <= rules.max_delta_fraction * abs(hedge):
        row.naked = 0
        row.exit_reason = 0
    if drift > rules.max_delta_fraction * abs(hedge):
        bits |= DELTA_DRIFTED
    bits |= row.guards << GUARD_SHIFT
    if rules.resize_band > 0.0 and world.run[0].time_ms >= row.calm_until_ms:
        wanted = wanted_notional(world.run[0].equity, row.weight, rules)
        if wanted > quote.notional * (1.0 + rules.resize_band):
            bits |= BELOW_TARGET
    return int(bits)
