"""A hedged book of given leverage that is opened at one instant and then only held, with guards or without.

Spec: docs/specs/stress.md. Leverage is perp notional over equity of the perp wallet at the opening; the split is the
share of the capital in that wallet. Both together give the size: capital x split x leverage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from crypto import sizing
from crypto.errors import RefusedError, UsageError
from crypto.instruments import Instrument
from crypto.market import MarketHistory
from crypto.pipeline.features import Features
from crypto.pipeline.orders import OrderReason
from crypto.pipeline.portfolio import Account, Action, Filters, Target, perp_base_per_lot
from crypto.pipeline.reasons import Reason
from crypto.pipeline.risk import Approved, Refused
from crypto.pipeline.rules import values_of
from crypto.pipeline.signal import Position, Signal
from crypto.pipeline.stages import CarrySignal, LimitGuard, PairAllocator
from crypto.result import BacktestResult
from crypto.settings import NakedPolicy, PairSettings, Settings
from crypto.simulator.python_strategy import PythonPipeline
from crypto.simulator.setup import wallet_name
from crypto.simulator.state import World
from crypto.units import HOURS_PER_YEAR, iso
from crypto.venues.registry import pair as find_pair
from research.backtest import run_backtest

SPARE = 0.1  # of the capital: stays free in the spot wallet where no split is given
COST_MARGIN = 0.02  # of the spot leg: cash for fees and for the move between decision and fill
LEVERAGE_SLACK = 1.1  # the venue's leverage setting over the book's, so that fees do not stop the opening
WHOLE_YEAR_HOURS = 8_760.0


@dataclass(frozen=True, slots=True)
class Book:
    """What is held. ``direction``: +1 long spot and short perp, -1 the reverse. ``capital``: account currency.

    ``wallet_split``: share of the capital in the perp wallet; None: the largest that leaves a tenth of it free.
    ``borrow_annual``: rate paid on borrowed coins of a reverse book where the market holds none.
    """

    pairs: tuple[PairSettings, ...]
    leverage: float
    direction: int = 1
    wallet_split: float | None = None
    capital: float = 100_000.0
    naked_policy: NakedPolicy = NakedPolicy.FLATTEN
    borrow_annual: float = 0.05

    @property
    def split(self) -> float:
        """Share of the capital in the perp wallet."""
        return (1.0 - SPARE) / (1.0 + self.leverage) if self.wallet_split is None else self.wallet_split

    @property
    def notional(self) -> float:
        """Perp notional of the whole book at its opening."""
        return self.capital * self.split * self.leverage


def check_book(book: Book) -> None:
    """``UsageError`` for a book that can't be: no leverage, or a spot leg that the spot wallet can't pay."""
    if not (math.isfinite(book.leverage) and book.leverage > 0.0):
        raise UsageError(f"leverage = {book.leverage:g} is not above 0", remedy="for example 3")
    if not 0.0 < book.split < 1.0:
        raise UsageError(
            f"wallet split = {book.split:g} is not between 0 and 1", remedy="give the share of the perp wallet"
        )
    if not (math.isfinite(book.capital) and book.capital > 0.0):
        raise UsageError(f"capital = {book.capital:g} is not above 0", remedy="for example 100000")
    largest = 1.0 / (1.0 + book.leverage * (1.0 + COST_MARGIN))
    if book.direction > 0 and book.split > largest:
        raise UsageError(
            f"a book of {book.leverage:g} times {book.split:.1%} of the capital needs {book.leverage * book.split:.1%}"
            f" of it in spot, and {1.0 - book.split:.1%} is there",
            remedy=f"at {book.leverage:g} times the split is at most {largest:.4f}; leave it out to keep a tenth free",
        )


def book_settings(base: Settings, book: Book, *, guarded: bool) -> Settings:
    """``base`` with the book's wallets, pairs and limits. ``guarded`` False: no guard ever trips.

    The naked-leg policy and the hedging of drift are the same in both. ``RefusedError`` for legs in one wallet.
    """
    check_book(book)
    found = [find_pair(item.spot, item.perp, base.instruments) for item in book.pairs]
    wallets: dict[str, dict[str, float]] = {}
    for spot, perp in ((pair.spot, pair.perp) for pair in found):
        _refuse_shared(spot, perp)
        currency = base.run.account_currency
        for leg, share in ((spot, 1.0 - book.split), (perp, book.split)):
            wallets[wallet_name(leg)] = {currency: book.capital * share}
    ratio = 1.0 / book.leverage
    rates = {
        venue: dict.fromkeys(assets, book.borrow_annual / HOURS_PER_YEAR)
        for venue, assets in _borrowed([pair.spot for pair in found]).items()
    }
    changed = replace(
        base,
        wallets=wallets,
        pairs=book.pairs,
        portfolio=replace(
            base.portfolio,
            collateral_ratio=ratio,
            min_collateral_ratio=1e-6,
            max_collateral_ratio=max(100.0, ratio),
            perp_leverage=max(1.0, book.leverage * LEVERAGE_SLACK),
            resize_band=0.0,
        ),
        risk=replace(
            base.risk, max_pair_fraction=1.0, max_venue_fraction=1.0, max_gross_leverage=1.0,
            naked_policy=book.naked_policy,
        ),
        borrow=replace(base.borrow, enabled=book.direction < 0, hourly_rate=rates),
    )  # fmt: skip
    return changed if guarded else replace(changed, risk=_without_guards(changed))


def _without_guards(settings: Settings) -> Any:
    return replace(
        settings.risk,
        min_distance=0.0,
        restore_distance=0.0,
        min_sigmas=0.0,
        restore_sigmas=0.0,
        max_unhedged_hours=WHOLE_YEAR_HOURS,
        max_adl_light=5,
        concentration_band=100.0,
        max_drawdown=1.0,
    )


def _refuse_shared(spot: Instrument, perp: Instrument) -> None:
    if wallet_name(spot) == wallet_name(perp):
        raise RefusedError(
            f"{spot.key} and {perp.key} share the wallet {wallet_name(spot)}, which has no split",
            remedy="take a pair whose perp has a wallet of its own, such as binance:spot / binance:linear",
        )


def _borrowed(spots: Sequence[Instrument]) -> Mapping[str, list[str]]:
    assets: dict[str, list[str]] = {}
    for spot in spots:
        assets.setdefault(spot.venue, []).append(spot.base)
    return assets


@dataclass(frozen=True, slots=True)
class Disruption:
    """What the venue does to the book's strategy. ``dark``: spans (ms, end exclusive) in which nothing can be sent.

    ``recalled_ms``: from then on borrowed coins have to be given back; None: never.
    """

    dark: tuple[tuple[int, int], ...] = ()
    recalled_ms: int | None = None

    def is_dark(self, time_ms: int) -> bool:
        """Whether the venue answers nothing at that time."""
        return any(start <= time_ms < end for start, end in self.dark)


UNDISTURBED = Disruption()


class OpenAndHold:
    """All stages of the book: opens it at ``open_ms`` in its exact size, never again, never enlarges it.

    ``guarded``: afterwards the default signal may close it (flip, blow-out, drawdown); otherwise nothing does. In the
    dark spans of ``disruption`` no target is carried out.
    """

    def __init__(self, book: Book, open_ms: int, disruption: Disruption = UNDISTURBED, *, guarded: bool) -> None:
        self._book, self._open_ms, self._guarded, self._disruption = book, open_ms, guarded, disruption
        self._now_ms = 0
        self._signal: CarrySignal | None = None
        self._allocator: PairAllocator | None = None
        self._guard: LimitGuard | None = None

    def bind(self, rules: Any) -> None:
        """Take the rules of the run."""
        self._signal, self._allocator, self._guard = CarrySignal(rules), PairAllocator(rules), LimitGuard(rules)

    def evaluate(self, seen: Features, held: Position) -> Signal:
        """Enter at the one instant; then hold, or ask the default signal."""
        nothing = math.nan
        self._now_ms = seen.time_ms
        if held.direction == 0:
            if seen.time_ms != self._open_ms:
                return Signal(0, nothing, nothing, nothing, int(Reason.NONE))
            side = self._book.direction
            reason = Reason.ENTER_LONG_SPOT if side > 0 else Reason.ENTER_SHORT_SPOT
            return Signal(side, nothing, nothing, nothing, int(reason))
        recalled = self._disruption.recalled_ms
        if recalled is not None and held.direction < 0 and seen.time_ms >= recalled:
            return Signal(0, nothing, nothing, nothing, int(Reason.BORROW_RECALLED))
        if self._guarded and self._signal is not None:
            return self._signal.evaluate(seen, held)
        return Signal(held.direction, nothing, nothing, nothing, int(Reason.HOLD))

    def allocate(self, found: Signal, seen: Features, held: Position, account: Account, filters: Filters) -> Target:
        """The whole book at the opening; afterwards what the default allocator says."""
        if held.direction != 0 or found.direction == 0:
            if self._allocator is None:
                raise RuntimeError("the book was not bound to the rules of a run")
            return self._allocator.allocate(found, seen, held, account, filters)
        if not (seen.spot_fresh and seen.perp_fresh):
            stale = Reason.STALE_PERP if seen.spot_fresh else Reason.STALE_SPOT
            return Target(int(Action.REFUSED), found.direction, 0, 0, 0.0, int(stale))
        base = self._book.notional * filters.weight / seen.perp_price
        fee = filters.spot_fee_in_base if found.direction > 0 else 0.0
        per_lot = perp_base_per_lot(filters, seen.perp_price)
        spot_lots, perp_lots = sizing.hedged_lots(base, per_lot, filters.perp_step_lots, filters.spot_base_per_lot, fee)
        side = found.direction
        return Target(int(Action.OPEN), side, side * spot_lots, -side * perp_lots, 0.0, found.reason)

    def review(self, target: Target, seen: Features, account: Account, filters: Filters) -> Approved | Refused:
        """Nothing while the venue is dark; else the default guard's verdict."""
        if self._guard is None:
            raise RuntimeError("the book was not bound to the rules of a run")
        if self._disruption.is_dark(self._now_ms):
            return Refused(int(Reason.STALE_PERP))
        return self._guard.review(target, seen, account, filters)


class BookPipeline(PythonPipeline):
    """The default pipeline around ``OpenAndHold``."""

    def __init__(self, stages: OpenAndHold) -> None:
        super().__init__(signal_model=stages, allocator=stages, risk_guard=stages)
        self._stages = stages

    def bind(self, world: World) -> None:
        """Hand the rules of the run on."""
        self._stages.bind(values_of(world.rules))
        super().bind(world)


def run_book(
    base: Settings,
    market: MarketHistory,
    book: Book,
    open_ms: int,
    disruption: Disruption = UNDISTURBED,
    *,
    guarded: bool,
) -> tuple[BacktestResult, Settings]:
    """Open the book at ``open_ms`` and hold it to the end of the market; returns the result and its settings.

    ``RefusedError`` when it could not be opened, with the reason of the order or of the refusal.
    """
    settings = book_settings(base, book, guarded=guarded)
    stages = OpenAndHold(book, open_ms, disruption, guarded=guarded)
    try:
        result = run_backtest(settings, market, strategy=BookPipeline(stages))
    except RefusedError as error:
        if "portfolio.perp_leverage" not in error.message:
            raise
        # nobody gave that number: it follows from the book's
        asked = f"that is {LEVERAGE_SLACK:g} times the book's leverage of {book.leverage:g}, so that fees fit"
        raise RefusedError(f"{error.message}; {asked}", remedy=error.remedy) from error
    opened = {entry["pair"] for entry in result.journal if entry["event"] == "trip_opened"}
    for name in result.pair_names:
        if name not in opened:
            refused = [entry for entry in result.journal if entry["event"] == "decision" and entry["pair"] == name]
            why = refused[-1]["reason"].replace("_", " ") if refused else "no price at that instant"
            raise RefusedError(
                f"the book of {name} could not be opened at {iso(open_ms)}: {why}",
                remedy="lower the leverage or the capital, or choose another period",
            )
    _refuse_unfilled(result, open_ms)
    return result, settings


def _refuse_unfilled(result: BacktestResult, open_ms: int) -> None:
    """A leg whose opening order was refused leaves no book to speak of."""
    for order in result.orders:
        if order["placed_ms"] == open_ms and order["filled_lots"] == 0:
            why = OrderReason(int(order["reason"])).name.lower().replace("_", " ")
            raise RefusedError(
                f"{result.instrument_keys[int(order['leg'])]}: the opening order was not filled: {why}",
                remedy="lower the leverage or the capital, or choose a later opening",
            )
