"""The venue's risk engine and the guards on a hosted world: the embedded engine's functions, asked where they matter.

Interpreted, one margin check and one look at the guards cost more than the rest of a bar. So after every full look the
marks are kept up to which an account carries its margin; while its balance has not fallen and no position changed, a
bar that stays well inside them can neither liquidate nor trip a guard, and the functions would find nothing to do.
Spec: docs/specs/lean.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from crypto.ledger import Flow
from crypto.pipeline.guards import DAY_HOURS
from crypto.simulator.deleveraging import deleverage_where_due
from crypto.simulator.exchange import note_attention
from crypto.simulator.hosted_rows import BAR, INSTANT
from crypto.simulator.liquidation import liquidate_where_due
from crypto.simulator.margin_check import use_tiers_of
from crypto.simulator.state import INVERSE, MARK_HIGH, MARK_LOW, VALUE, World
from crypto.simulator.watch import latch_concentration, liquidation_distance, watch

Extremes = tuple[float, float]  # lowest and highest mark of a bar, venue quote; NaN: none

_NEVER_MS = 9_223_372_036_854_775_807
_INSIDE = 1.0 - 1e-9  # of a limit: what is nearer is asked in full, so that rounding decides nothing
_FEES = (int(Flow.FEE), int(Flow.LIQUIDATION_FEE))
_BESIDE = (int(Flow.TAKEOVER), int(Flow.FUNDING_GRACE))


class ForcedFill(NamedTuple):
    """A fill that the venue decided and the ledger has booked; the fee (>= 0) is in the leg's settlement asset."""

    leg: int
    lots: int
    price: float
    fee: float


class _Held(NamedTuple):
    """A perp position of the last full look, and the mark that would liquidate its account if all moved alike."""

    pair: int
    leg: Any
    quote: Any
    row: Any  # of the pair
    border: float


class HostedRisk:
    """Liquidation, ADL and guards of one hosted run.

    ``statuses``: oracle status by pair and bar (0: good). ``prepare`` is called before positions change.
    """

    def __init__(self, world: World, statuses: Any, prepare: Callable[[], None]) -> None:
        self._world, self._rules, self._run = world, world.rules[0], world.run[0]
        self._prepare = prepare
        self._checks = self._rules.margin_engine == 1
        self._statuses = statuses.tolist() if statuses.any() else []
        self._perps = [(leg // 2, row) for leg, row in enumerate(world.legs) if leg % 2 == 1]
        holdings = world.holdings
        accounts = {(row.wallet, row.settle_asset): holdings[row.wallet, row.settle_asset] for _, row in self._perps}
        self._accounts = [(wallet, account) for (wallet, _), account in accounts.items()]
        self._events: dict[int, list[int]] = {}
        for number in range(max((row.adl_end for _, row in self._perps), default=0)):
            self._events.setdefault(world.adl_events[number].bar, []).append(number)
        self._lit = True  # a light of an earlier bar has to go out, also the one that the record starts with
        self._limit = min(self._rules.max_venue_fraction, self._rules.max_asset_fraction)
        self._limit *= (1.0 + self._rules.concentration_band) * _INSIDE
        self._sigmas_squared = self._rules.min_sigmas**2 * DAY_HOURS
        self._held: list[_Held] = []
        self._balances: list[tuple[Any, float]] = []
        self._is_calm = self._was_asked = False
        self._balances_hold = True  # none had less than at the last full look, when the venue acted last
        self.moved = True  # a position changed since the last full look
        self.is_naked = False  # a pair may have lost its hedge to the venue
        self.forced: list[ForcedFill] = []  # booked here and not yet by the host
        self.beside: list[tuple[int, float]] = []  # asset and amount that the venue booked because of them
        self._tiers_ms = self._next_tiers_ms()

    # -- the venue ---------------------------------------------------------------------------------------------------

    def act(self, time_ms: int, values: Sequence[float], marks: Sequence[Extremes]) -> None:
        """What the venue does to our perps now that the marks of a bar have moved: liquidation, then ADL.

        ``time_ms``: the bar's end; ``values``: valuation price of every leg there; ``marks`` by pair.
        """
        if not self._checks:
            return
        events = self._events.pop(self._bar_at(time_ms), []) if self._events else []
        is_safe = self._is_safe(values, marks)
        if not is_safe or events or self._lit:
            self._act(values, marks, events, is_safe=is_safe)
        if time_ms >= self._tiers_ms:  # the bar itself was under the tiers of its start
            use_tiers_of(self._world, time_ms)
            self._tiers_ms, self.moved = self._next_tiers_ms(), True

    def act_again(self, values: Sequence[float], marks: Sequence[Extremes]) -> None:
        """Check the margin once more, because the bar went on after it had filled a resting order of a perp."""
        if self._checks:
            booked, orders = self._show_bar(values, marks)
            liquidate_where_due(self._world, BAR)
            self._collect(booked, orders)

    def _act(self, values: Sequence[float], marks: Sequence[Extremes], events: Sequence[int], *, is_safe: bool) -> None:
        booked, orders = self._show_bar(values, marks)
        for number in events:
            self._world.adl_events[number].bar = BAR  # the record holds one bar
        if not is_safe:
            liquidate_where_due(self._world, BAR)
        deleverage_where_due(self._world, BAR)
        self._lit = any(row.adl_light >= 0 for _, row in self._perps)
        self.moved = self.moved or self._lit or bool(events)
        self._collect(booked, orders)

    def _show_bar(self, values: Sequence[float], marks: Sequence[Extremes]) -> tuple[int, int]:
        """Bring the bar's marks into the record; returns how many ledger rows and orders there are before."""
        self._prepare()
        bars = self._world.bars
        for pair, _ in self._perps:
            leg = 2 * pair + 1
            bars[leg, BAR, VALUE] = values[leg]
            bars[leg, BAR, MARK_LOW], bars[leg, BAR, MARK_HIGH] = marks[pair]
        return self._run.ledger_rows, self._run.order_rows

    def _next_tiers_ms(self) -> int:
        """When the next tier table takes effect."""
        if not self._checks:
            return _NEVER_MS
        tables = (self._world.tier_tables[row.table_next] for _, row in self._perps if row.table_next < row.table_end)
        return min((int(table.effective_ms) for table in tables), default=_NEVER_MS)

    def _is_safe(self, values: Sequence[float], marks: Sequence[Extremes]) -> bool:
        """Whether every account surely carries its margin at the bar's adverse marks."""
        self._balances_hold = True
        for account, balance in self._balances:
            if account.balance < balance:
                self._balances_hold = False
        if self.moved or not self._balances_hold:
            return all(row.lots == 0 for _, row in self._perps)
        for pair, leg, _, _, border in self._held:
            is_short = leg.lots < 0
            extreme = marks[pair][1 if is_short else 0]
            if extreme != extreme:
                extreme = values[2 * pair + 1]
            if not (extreme < border * _INSIDE if is_short else extreme * _INSIDE > border):
                return False
        return True

    def _collect(self, booked: int, orders: int) -> None:
        """Keep the forced fills, and what else the venue booked, for the host."""
        if self._run.order_rows == orders and self._run.ledger_rows == booked:
            return
        self.moved = self.is_naked = True
        fees: dict[int, float] = {}
        for entry in self._world.ledger[booked : self._run.ledger_rows]:
            if entry.flow in _FEES:
                fees[entry.order] = -entry.amount
            elif entry.flow in _BESIDE:
                self.beside.append((entry.asset, entry.amount))
        for order in self._world.orders[orders : self._run.order_rows]:
            self.forced.append(ForcedFill(order.leg, order.lots, order.average_price, fees[order.id]))

    # -- the guards --------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Let the guards look at every pair that was measured, and say what its position needs besides the signal."""
        self._was_asked = not (self._is_quiet() and (not self._statuses or self._oracle_is_good()))
        if self._was_asked:
            self._read_oracle()
            watch(self._world, INSTANT)
            self._keep_bounds()
        note_attention(self._world)

    def finish_look(self) -> None:
        """Measure what a decision may ask for and a bar without news did not need: how far limits are used."""
        if not self._was_asked:
            self._was_asked = True
            for pair, _ in self._perps:
                latch_concentration(self._world, pair)

    def _is_quiet(self) -> bool:
        """Whether no guard is on and surely none trips: far from liquidation and below every limit."""
        if not self._is_calm or self.moved or not self._balances_hold:
            return False
        gross = variance = 0.0
        nearest = math.inf
        for _, leg, quote, row, border in self._held:
            mark = leg.value_price
            distance = border / mark - 1.0 if leg.lots < 0 else 1.0 - border / mark
            nearest = min(nearest, distance)
            variance = max(variance, row.variance)
            gross += quote.notional
        nearest *= _INSIDE
        far = nearest > self._rules.min_distance and nearest * nearest > self._sigmas_squared * variance
        return bool(far and gross <= self._limit * self._run.equity)

    def _read_oracle(self) -> None:
        for pair, line in enumerate(self._statuses):
            self._world.oracle[pair, BAR] = line[self._bar_at(self._run.time_ms)]

    def _oracle_is_good(self) -> bool:
        bar = self._bar_at(self._run.time_ms)
        return all(line[bar] == 0 for line in self._statuses)

    def _bar_at(self, time_ms: int) -> int:
        """Number of the bar that closes at ``time_ms``."""
        return int((time_ms - self._rules.start_ms) // self._rules.bar_ms) - 1

    def _keep_bounds(self) -> None:
        """After a full look: the marks up to which nothing can happen, as long as balances and positions stay."""
        world = self._world
        self.is_naked = any(row.naked != 0 for row in world.pairs)
        self._is_calm = not any(row.guards or row.naked or row.unhedged_since_ms for row in world.pairs)
        self._balances_hold = True
        self._balances = [(account, account.balance) for _, account in self._accounts]
        self._held = [
            _Held(pair, leg, world.quotes[pair], world.pairs[pair], self._border(leg, world.pairs[pair].distance))
            for pair, leg in self._perps
            if leg.lots != 0
        ]
        self._is_calm = self._is_calm and all(held.border == held.border for held in self._held)
        self.moved = False

    def _border(self, leg: Any, distance: float) -> float:
        """The mark of a leg when all perps of its account have moved by ``distance`` against it; NaN: it says nothing.

        Coins that back an account move by themselves, and pairs of one contract are one position to the venue, so there
        the bounds of each leg's mark do not hold.
        """
        if not self._checks:
            return math.inf if leg.lots < 0 else 0.0
        if leg.unified == 1 or leg.kind == INVERSE or leg.shares_contract == 1:
            return math.nan
        return float(leg.value_price * (1.0 + distance if leg.lots < 0 else 1.0 - distance))

    # -- what a host shows -------------------------------------------------------------------------------------------

    def distance(self) -> float:
        """Smallest adverse move of all perps of an account that liquidates it, as a fraction; NaN without positions."""
        held = [2 * pair + 1 for pair, row in self._perps if row.lots != 0]
        if not held or not self._checks:
            return math.nan
        return min(liquidation_distance(self._world, leg, -1) for leg in held)
