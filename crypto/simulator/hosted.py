"""The exchange's ledger and order desk for an engine that has its own clock, prices and matching (QuantConnect Lean).

The host tells what it saw and did: bars, fills, refusals, hours. Decisions, wallets, ledger and attribution are those
of the embedded engine, by the same functions. ``World`` is the same record with plain Python rows instead of arrays,
which interpreted code reads many times faster. Spec: docs/specs/lean.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from crypto import fees
from crypto.errors import InsolventError
from crypto.ledger import Flow
from crypto.margin import initial_margin, maintenance
from crypto.market import MarketHistory
from crypto.pipeline import execution, features, signal
from crypto.pipeline.orders import OrderKind, OrderReason, OrderStatus
from crypto.pipeline.risk import Approved
from crypto.pipeline.stages import Allocator, RiskGuard, SignalModel
from crypto.simulator import matching
from crypto.simulator.clock import (
    borrow_rate_at,
    charge_borrow_hour,
    next_mark,
    receive_transfer,
    settle,
    usable_borrow_rate,
)
from crypto.simulator.desk import finish, order_value, record_fill, send
from crypto.simulator.exchange import judge_equity, measure_position, measure_start
from crypto.simulator.fee_coins import coins_for
from crypto.simulator.fills import coin_price, fill_perp, fill_spot
from crypto.simulator.hosted_risk import Extremes, HostedRisk
from crypto.simulator.hosted_rows import BAR, INSTANT, Grid, Totals, plain
from crypto.simulator.loop import raise_for_gap
from crypto.simulator.margin_check import notional_at
from crypto.simulator.posting import note
from crypto.simulator.setup import Setup
from crypto.simulator.state import (
    INVERSE,
    KILL,
    MARK_FAIL,
    MARK_LAST_KNOWN,
    MARK_SKIP,
    OPEN,
    RUNNING,
    SPOT,
    VALUE,
    VOLUME,
)
from crypto.simulator.strategy import (
    account_of,
    act,
    close_finished,
    filters_of,
    is_quiet,
    note_decision,
    note_signal,
    rearm_where_pulled,
    switch_on,
)
from crypto.simulator.valuation import (
    ROUNDING,
    asset_price,
    free_cash,
    free_margin,
    measure_wallets,
    notional,
    revalue,
    stop_insolvent,
    unrealised,
)
from crypto.simulator.watch import stop_work
from crypto.units import iso

NEVER_MS = 9_223_372_036_854_775_807
_MARK_FLAGS = MARK_FAIL | MARK_LAST_KNOWN | MARK_SKIP
_BESIDE_THE_FILL = (int(Flow.INTEREST), int(Flow.FUNDING_GRACE))
_POST_ONLY = int(OrderKind.POST_ONLY)
_PLACED = int(OrderStatus.PLACED)
_CANCELLED, _REJECTED = int(OrderStatus.CANCELLED), int(OrderStatus.REJECTED)
_TIMEOUT = int(OrderReason.TIMEOUT)


class HostedExchange:
    """One run of the embedded engine's pipeline and ledger, driven from outside.

    ``send_order(order, leg, lots, limit_price)`` is how an order leaves (``limit_price`` NaN: at market); the host
    answers with ``filled`` or ``refused``, within the call or later. The book may end an order that the host still has
    (its time is over, a guard or the venue cancels it): the host asks ``is_working``. What the venue closed by force is
    booked here at once and stands in ``risk.forced`` until the host has followed.
    """

    def __init__(
        self,
        setup: Setup,
        send_order: Callable[[int, int, int, float], None],
    ) -> None:
        self._setup, self.world, self.names = setup, plain(setup.world), setup.names
        self._send = send_order
        self._rules, self.run = self.world.rules[0], self.world.run[0]
        self._rearm_ms = list(setup.rearm_ms)
        self._rules.latency_ms = 0  # the host fills at once, at the price that the decision saw
        self._bars = cast("Grid", self.world.bars)
        self.attribution = cast("Totals", self.world.attribution)
        self._attributed = [row.value_price for row in self.world.legs]
        self._values = list(self._attributed)
        legs = self.world.legs
        self._rows = [
            (2 * pair, 2 * pair + 1, legs[2 * pair], legs[2 * pair + 1], quote)
            for pair, quote in enumerate(self.world.quotes)
        ]
        self._marks = [(math.nan, math.nan)] * len(self.world.pairs)
        self._has_resting = self._rested_perp_filled = False
        self._rested_ms: dict[int, int] = {}  # end of the bar in which a resting order filled last
        self._planned: dict[int, float] = {}  # slippage of the order that is being sent, by leg
        holdings = self.world.holdings
        self._perps = [
            (leg, row, holdings[row.wallet, row.settle_asset])
            for leg, row in enumerate(self.world.legs)
            if leg % 2 == 1
        ]
        self._backings = list({id(backing): (row.wallet, backing) for _, row, backing in self._perps}.values())
        has_coins = any(holding.treasury != 0.0 for (_, asset), holding in holdings.items() if asset != 0)
        self._may_borrow = any(row.borrow_allowed == 1 for row in self.world.pairs)
        self._is_simple = not has_coins and all(row.kind != INVERSE and row.unified == 0 for row in self.world.legs)
        self._money = self._count_money()
        priced = setup.world.bars[len(legs) :, :, VALUE].tolist()
        self._coin_prices = list(
            enumerate(priced, start=len(legs))
        )  # by row and bar: what prices a coin that pays fees
        self.run.row = self.run.instant = INSTANT
        measure_start(self.world)
        self.risk = HostedRisk(self.world, setup.world.oracle, self.attribute_moves)

    # -- what the host saw -------------------------------------------------------------------------------------------

    def see(
        self, pair: int, spot: tuple[float, float], perp: tuple[float, float], mark: float, extremes: Extremes
    ) -> None:
        """Close and volume (contracts) of both legs in the bar that closed now, and the mark; no volume: no bar.

        Perps are valued on mark, or on the last trade where it is NaN; a spot that did not print moves with its perp.
        ``extremes``: lowest and highest mark of the bar, NaN where it had none.
        """
        self._marks[pair] = extremes
        spot_leg, perp_leg, spot_row, perp_row, quote = self._rows[pair]
        values, bars = self._values, self._bars
        before, price, volume = values[perp_leg], perp[0], perp[1]
        bars[perp_leg, BAR, VOLUME] = volume
        quote.perp_fresh = 1 if volume > 0.0 else 0
        if volume > 0.0:
            quote.perp, quote.perp_turnover = price / perp_row.multiplier, price * volume
            bars[perp_leg, BAR, OPEN] = values[perp_leg] = price
        if mark == mark:
            values[perp_leg] = mark
        price, volume = spot
        bars[spot_leg, BAR, VOLUME] = volume
        quote.spot_fresh = 1 if volume > 0.0 else 0
        if volume > 0.0:
            quote.spot, quote.spot_turnover = price / spot_row.multiplier, price * volume
            bars[spot_leg, BAR, OPEN] = values[spot_leg] = price
        elif before == before:
            values[spot_leg] *= values[perp_leg] / before

    def close_bar(self, time_ms: int) -> None:
        """All bars of the instant were seen: transfers arrive, the venue acts, legs have their new values.

        Resting orders fill next.
        """
        if self.run.transfers_active != 0:
            self._receive(time_ms)
        self.run.time_ms = time_ms
        world, values = self.world, self._values
        self.risk.act(time_ms, values, self._marks)
        if self._is_simple:
            for leg, row in enumerate(world.legs):
                row.value_price = values[leg]
            if self.risk.is_naked:  # what a pair without its hedge gains is attributed elsewhere, so not later
                self.attribute_moves()
        else:
            self._revalue(values)
        for _, leg, _, row, quote in self._rows:
            quote.time_ms = time_ms
            quote.mark = values[leg] / row.multiplier
            if self._may_borrow:
                quote.borrow_per_hour = borrow_rate_at(world, row.pair, time_ms)

    def _revalue(self, values: Sequence[float]) -> None:
        for leg, value in enumerate(values):
            self._bars[leg, BAR, VALUE] = value
        bar = (self.run.time_ms - self._rules.start_ms) // self._rules.bar_ms - 1
        for row, prices in self._coin_prices:
            self._bars[row, BAR, VALUE] = prices[bar]
        revalue(self.world, BAR)

    def measure(self) -> None:
        """Equity, and what each pair sees of its position: once the resting orders of the instant have filled.

        Those whose time is over end here; perps that a resting order filled are checked for their margin.
        """
        if self._has_resting:
            self._expire()
        if self._rested_perp_filled:
            self._rested_perp_filled = False
            self.risk.act_again(self._values, self._marks)
        world = self.world
        if self._is_simple:
            self._measure_simple()
        else:
            judge_equity(world, measure_wallets(world, INSTANT))
            for pair in range(len(world.pairs)):
                measure_position(world, pair, unrealised(world, 2 * pair + 1), notional(world, 2 * pair + 1))
        self.risk.look()

    def _measure_simple(self) -> None:
        """Where all money but the pairs' is account currency, equity is that money and the pairs' profit.

        That is cheaper than going through all wallets.
        """
        world = self.world
        for _, backing in self._backings:
            backing.unrealised = backing.notional = 0.0
        found = []
        for pair, (leg, row, backing) in enumerate(self._perps):
            gain = size = 0.0
            if row.lots != 0:
                gain, size = unrealised(world, leg), notional(world, leg)
                backing.unrealised += gain
                backing.notional += size
            found.append((pair, world.pairs[pair], gain, size))
        equity = self._money
        for pair, pair_row, gain, size in found:
            measure_position(world, pair, gain, size)
            equity += pair_row.pnl
        for wallet, backing in self._backings:
            margin = backing.balance + backing.unrealised
            if margin < 0.0 and margin < -ROUNDING * max(1.0, abs(equity)):
                stop_insolvent(world, wallet)
        judge_equity(world, equity)

    def _count_money(self) -> float:
        """Account currency that no pair brought in, over all wallets."""
        return float(sum(holding.treasury for (_, asset), holding in self.world.holdings.items() if asset == 0))

    def attribute_moves(self) -> None:
        """Attribute the price moves since the last time: before anything that changes a position, and when asked.

        As long as positions stay the same, the moves of linear legs add up to one move, which is cheaper than many. An
        inverse perp's do not, because its coin's price enters as a factor: those are attributed bar by bar.
        """
        if not self._is_simple:
            return
        now = [row.value_price for row in self.world.legs]
        for row, before in zip(self.world.legs, self._attributed, strict=True):
            row.value_price = before
        self._revalue(now)
        self._attributed = now

    def check(self, market: MarketHistory) -> None:
        """Stop where the ledger can't go on: ``DataError`` for a rate that is missing under the policy to fail.

        ``InsolventError`` for a wallet that lost more than it held.
        """
        if self.run.status == RUNNING:
            return
        raise_for_gap(self._setup, self.world, market)
        wallet = self.names.wallets[self.run.status_row]
        raise InsolventError(
            f"the margin of wallet {wallet} was used up at {iso(self.run.time_ms)}",
            remedy='hold more collateral, or let the venue liquidate before that with margin.engine = "venue"',
        )

    def _receive(self, until_ms: int) -> None:
        """Transfers that arrive up to ``until_ms``, in order of time."""
        if self.run.transfers_active == 0:
            return
        due = sorted((row.arrive_ms, index) for index, row in enumerate(self.world.transfers) if row.active == 1)
        for arrive_ms, index in due:
            if arrive_ms <= until_ms:
                self.run.time_ms = arrive_ms
                receive_transfer(self.world, index)

    def settle(self, leg: int, time_ms: int, last_price: float) -> Iterator[float]:
        """Funding due by ``time_ms`` on the position of this moment: the payments, in the settlement asset.

        ``last_price`` stands for the mark where funding is paid on the last trade; NaN: the mark of the rows.
        """
        row, settlements, before = self.world.legs[leg], self.world.settlements, self.run.time_ms
        while row.settle_next < row.settle_end and settlements[row.settle_next].time_ms <= time_ms:
            due = settlements[row.settle_next]
            if last_price == last_price:
                due.mark, due.flag = last_price, due.flag & ~_MARK_FLAGS
            self._receive(due.time_ms - 1)  # of one time, settlements come before arrivals
            booked, self.run.time_ms = self.run.ledger_rows, due.time_ms
            settle(self.world, leg)
            if self.run.ledger_rows > booked:
                yield self.world.ledger[booked].amount
        self.run.time_ms = before

    def charge_borrow(self, leg: int, time_ms: int) -> Iterator[float]:
        """Hours of interest due by ``time_ms`` on what the spot leg owes: amounts in its base asset, negative."""
        row, before = self.world.legs[leg], self.run.time_ms
        if row.debt > 0.0 and row.next_borrow_ms <= time_ms:
            self.attribute_moves()
            self.risk.moved = True
        while row.debt > 0.0 and row.next_borrow_ms <= time_ms:
            self._receive(row.next_borrow_ms - 1)
            booked, self.run.time_ms = self.run.ledger_rows, row.next_borrow_ms
            charge_borrow_hour(self.world, leg)
            if self.run.ledger_rows > booked:
                yield self.world.ledger[booked].amount
        self.run.time_ms = before

    def kill(self) -> None:
        """Close everything and stay off."""
        if self.run.killed == 0:
            self.run.killed = 1
            note(self.world, KILL, -1, 0, -1, 0, self.run.equity, self.run.peak_equity, 0.0)

    def rearm(self) -> None:
        """Trade again after the kill switch, from the present equity on."""
        if self.run.killed == 1:
            switch_on(self.world)

    def rearm_as_planned(self) -> None:
        """After the decisions of an instant: re-arm where the settings say that a person does by now (risk.rearm)."""
        while self._rearm_ms and self._rearm_ms[0] <= self.run.time_ms:
            rearm_where_pulled(self.world, self._rearm_ms.pop(0))

    # -- what the strategy wants -------------------------------------------------------------------------------------

    def begin_turn(self) -> None:
        """Before the pairs decide: stop the work that the kill switch or a guard forbids, end what is over."""
        for pair, (_, _, _, perp, _) in enumerate(self._rows):
            row = self.world.pairs[pair]
            if row.phase != execution.IDLE:
                stop_work(self.world, pair)
            if row.direction != 0 and perp.lots == 0:
                close_finished(self.world, pair)

    def decide(self, pair: int, model: SignalModel, allocator: Allocator, guard: RiskGuard) -> None:
        """All stages of one pair at this instant; orders wait in the book until ``work`` sends them.

        The series of its features, which Lean does not show, is not kept.
        """
        world, row = self.world, self.world.pairs[pair]
        end = world.legs[2 * pair + 1].settle_end
        seen = features.update(world.pairs, world.quotes, self._rules, world.settlements, end, pair)
        if row.phase != execution.IDLE:
            send(world, pair)
            return
        held = signal.position(world.pairs, pair, self.run.time_ms)
        found = model.evaluate(seen, held)
        if found.reason != row.last_signal:
            note_signal(world, pair, found, seen)
        if is_quiet(found, held.direction, world.quotes[pair].attention, self.run.killed):
            return
        self.risk.finish_look()
        account, filters = account_of(world, pair), filters_of(world, pair)
        target = allocator.allocate(found, seen, held, account, filters)
        decision = guard.review(target, seen, account, filters)
        approved = isinstance(decision, Approved)
        reason = decision.target.reason if isinstance(decision, Approved) else decision.reason
        note_decision(world, pair, target, approved, reason)
        if isinstance(decision, Approved):
            act(world, pair, seen, decision.target)
            self._money = self._count_money()  # a transfer between venues costs a fee

    def work(self) -> None:
        """Send what waits in the book, oldest first; what cannot fill now waits for the next bar or times out."""
        for _, _, spot, perp, _ in self._rows:
            if spot.order >= 0 or perp.order >= 0:
                break
        else:
            return
        orders, now = self.world.orders, self.run.time_ms
        while True:
            first, chosen = NEVER_MS, -1
            for leg, row in enumerate(self.world.legs):
                if row.order >= 0:
                    arrival_ms = orders[row.order].arrival_ms
                    if 0 <= arrival_ms <= now and arrival_ms < first:
                        first, chosen = arrival_ms, leg
            if chosen < 0:
                return
            self._work_leg(chosen)

    def _work_leg(self, leg: int) -> None:
        """One order at its arrival: it leaves, waits for the next bar, or ends. Follows ``matching.arrive``."""
        order = self.world.legs[leg].order
        entry = self.world.orders[order]
        if self.run.time_ms >= entry.deadline_ms:
            finish(self.world, order, _CANCELLED, _TIMEOUT)
            return
        if entry.kind == _POST_ONLY:
            entry.arrival_ms = -1
            self._has_resting = True
            self._send(order, leg, entry.lots, entry.limit_price)
            return
        entry.arrival_ms = self.run.time_ms + self._rules.bar_ms
        price = self._bars[leg, BAR, OPEN]
        lots, paid, reason = matching.fillable(self.world, leg, BAR, price)
        if reason != int(OrderReason.NONE):
            finish(self.world, order, _REJECTED, reason)
        elif lots != 0:
            self._planned[leg] = abs(paid / price - 1.0)
            self._send(order, leg, lots, math.nan)
            del self._planned[leg]

    def _expire(self) -> None:
        """Cancel resting orders whose time is over."""
        self._has_resting = False
        for row in self.world.legs:
            if row.order >= 0:
                entry = self.world.orders[row.order]
                if entry.arrival_ms == -1 and self.run.time_ms >= entry.deadline_ms:
                    finish(self.world, row.order, _CANCELLED, _TIMEOUT)
                elif entry.arrival_ms == -1:
                    self._has_resting = True

    def is_working(self, order: int) -> bool:
        """Whether an order of the book has not ended."""
        return bool(self.world.orders[order].status == _PLACED)

    def resting_lots(self, order: int, price: float) -> int:
        """Lots (signed) of a resting order that fill at ``price``, because the bar that closed now traded through it.

        0 for an order that has ended, that filled in this bar before, or whose leg has no bar: a host may ask again.
        """
        leg = self.world.orders[order].leg
        asked_before = self._rested_ms.get(order) == self.run.time_ms
        if asked_before or not self.is_working(order) or not self._bars[leg, BAR, VOLUME] > 0.0:
            return 0
        return int(matching.resting_lots(self.world, leg, BAR, price))

    # -- what the host did -------------------------------------------------------------------------------------------

    def filled(
        self, order: int, leg: int, lots: int, price: float, fee_rate: float, spot_open: float = math.nan
    ) -> list[tuple[str, float]]:
        """A fill of ``lots`` (signed) at ``price`` with the fee as a fraction of its value; ``order`` -1: not ours.

        ``spot_open``: open of the pair's spot bar that closed now, which splits the fill of a resting perp order into
        basis and delta. Returns what the venue books because of it and the host has not: asset and amount of interest
        charged at borrowing, and of a settlement corrected by a fill inside the venue's grace seconds.
        """
        self.attribute_moves()
        self.risk.moved = True
        world, row, booked = self.world, self.world.legs[leg], self.run.ledger_rows
        resting = order >= 0 and world.orders[order].kind == _POST_ONLY
        if resting:
            self._rested_ms[order] = self.run.time_ms
        reference = price if resting else self._bars[leg, BAR, OPEN]
        if row.kind == SPOT:
            fee, slippage = self._fill_spot(row, leg, order, lots, price, reference, fee_rate)
        else:
            self._rested_perp_filled = self._rested_perp_filled or resting
            spot, bars = leg - 1, self._bars
            last = bars[spot, BAR, OPEN]
            if resting:
                bars[spot, BAR, OPEN] = spot_open if bars[spot, BAR, VOLUME] > 0.0 else math.nan
            fee, slippage = fill_perp(world, leg, order, lots, price, reference, fee_rate, BAR)
            bars[spot, BAR, OPEN] = last
        extra = [
            (self.names.assets[entry.asset], entry.amount)
            for entry in world.ledger[booked : self.run.ledger_rows]
            if entry.flow in _BESIDE_THE_FILL
        ]
        if order >= 0:
            record_fill(world, order, lots, price, fee, slippage)
        return extra

    def _fill_spot(
        self, row: Any, leg: int, order: int, lots: int, price: float, reference: float, fee_rate: float
    ) -> tuple[float, float]:
        borrow_rate = 0.0
        if lots < 0 and -lots > row.lots and row.charge_at_borrow == 1:
            borrow_rate = usable_borrow_rate(self.world, row.pair)
        had_debt = row.debt > 0.0
        result = fill_spot(self.world, leg, order, lots, price, reference, fee_rate, borrow_rate)
        if row.debt > 0.0 and not had_debt:
            row.next_borrow_ms = next_mark(self.run.time_ms, row.borrow_offset_ms)
        return result

    def refused(self, order: int, reason: OrderReason) -> None:
        """The host did not take an order."""
        finish(self.world, order, _REJECTED, int(reason))

    def cancelled(self, order: int, reason: OrderReason) -> None:
        """An order was cancelled, what it had filled stays."""
        finish(self.world, order, _CANCELLED, int(reason))

    # -- what the host's models ask ----------------------------------------------------------------------------------

    def fee_coin(self, leg: int) -> str:
        """Asset in which the leg's fees may be paid besides the usual one; empty: none."""
        number = self.world.legs[leg].fee_coin
        return self.names.assets[self.world.coins[number].asset] if number >= 0 else ""

    def fee_in_coins(self, leg: int, fee: float) -> float:
        """Coins that pay a fee of ``fee`` in account currency now; 0: it is paid as usual."""
        return coins_for(self.world, leg, fee)

    def fee_of_coins(self, leg: int, coins: float) -> float:
        """The usual fee, account currency, for which the leg pays ``coins`` now."""
        row = self.world.legs[leg]
        return float(fees.fee_of_coins(coins, row.discount, self.world.coins[row.fee_coin].price))

    def settles_ms(self, leg: int) -> int:
        """Instant of the leg's next settlement; far in the future when there is none."""
        row = self.world.legs[leg]
        return int(self.world.settlements[row.settle_next].time_ms) if row.settle_next < row.settle_end else NEVER_MS

    def charges_ms(self, leg: int) -> int:
        """Next hour of borrow interest of a spot leg; far in the future when it owes nothing."""
        row = self.world.legs[leg]
        return int(row.next_borrow_ms) if row.debt > 0.0 else NEVER_MS

    def slippage(self, leg: int, contracts: float) -> float:
        """Slippage of a market order of ``contracts`` (> 0) as a fraction of the price, at the last bar's volume.

        An order of the book has the slippage that it was planned with.
        """
        if leg in self._planned:
            return self._planned[leg]
        row = self.world.legs[leg]
        share = matching.participation(self.world, leg, BAR, contracts / row.units_per_lot)
        return float(matching.slippage_fraction(row.half_spread, row.impact, share))

    def maintenance(self, leg: int, contracts: float) -> float:
        """Maintenance margin of ``contracts`` of a perp at its valuation price, closing fee included, account currency.

        Without the venue's margin engine: the initial margin.
        """
        world, row = self.world, self.world.legs[leg]
        size = notional_at(world, leg, contracts / row.units_per_lot, row.value_price)
        unit = coin_price(world, leg) if row.kind == INVERSE else 1.0
        if self._rules.margin_engine == 0:
            return float(initial_margin(size, self._rules.leverage) * unit)
        tiers = (world.tiers[column, row.tier_first : row.tier_end] for column in range(3))
        return float((maintenance(size, *tiers) + row.closing_fee * size) * unit)

    def affords(self, leg: int, contracts: float) -> bool:
        """Whether the leg's wallet carries an order that did not come from the book (signed contracts)."""
        world, row = self.world, self.world.legs[leg]
        lots = round(contracts / row.units_per_lot)
        closing = min(abs(lots), abs(row.lots)) if lots * row.lots < 0 else 0
        value = order_value(world, leg, abs(lots) - closing, row.value_price)
        if value == 0.0:
            return True
        if row.kind == SPOT:
            return bool(lots < 0 or value * (1.0 + row.taker) <= free_cash(world, row.wallet))
        need = value / self._rules.leverage + value * row.taker
        return bool(need <= free_margin(world, row.wallet, row.settle_asset))

    # -- what the account must show ----------------------------------------------------------------------------------

    def balances(self) -> dict[str, float]:
        """Net amount of every asset over all wallets, borrowed coins counted as negative."""
        world = self.world
        totals = dict.fromkeys(self.names.assets, 0.0)
        for (_, asset), holding in world.holdings.items():
            totals[self.names.assets[asset]] += holding.balance
        for row in world.legs:
            totals[self.names.assets[row.base_asset]] -= row.debt + row.owed
        return totals

    def price(self, asset: str) -> float:
        """Value of one unit of an asset in account currency, by the spot market that prices it; NaN: not yet known."""
        index = self.names.assets.index(asset)
        prices = (asset_price(self.world, wallet, index) for wallet in range(len(self.names.wallets)))
        return float(next((price for price in prices if price == price), math.nan))

    def position(self, leg: int) -> float:
        """Signed contracts of a perp leg, in the units that the venue counts orders in."""
        row = self.world.legs[leg]
        return float(row.lots * row.units_per_lot)
