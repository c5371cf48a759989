"""The event loop: the default strategy as one compiled loop, or any Python pipeline called between steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from crypto.compiled import jit, kernel
from crypto.errors import DataError
from crypto.market import MarketHistory
from crypto.simulator.exchange import advance, measure_start
from crypto.simulator.setup import Setup
from crypto.simulator.state import COMPLETED, GROW, NO_BORROW_RATE, NO_MARK, NO_RATE, RUNNING, World
from crypto.simulator.strategy import decide_all, prepare_all, rearm_where_pulled
from crypto.units import HOUR_MS, iso

Progress = Callable[[int, int], None]  # instants done, instants in all

CHUNKS = 50  # progress reports, and chances for Ctrl-C, in a compiled run
ROWS_PER_LEG = 128  # record rows that one step may write per leg, a liquidation of liquidation.MOST_STEPS included
SPARE_ROWS = 256


class Strategy(Protocol):
    """A strategy written in Python: called at each instant after the exchange has advanced to it."""

    def bind(self, world: World) -> None:
        """Take (new views of) the world's arrays; called at the start and whenever record arrays have grown."""

    def on_instant(self) -> None:
        """Look at the world and act on it through ``crypto.simulator.strategy.act``."""


@kernel
def has_room(world: World) -> bool:
    """Whether every append-only record can take what one step may write."""
    run = world.run[0]
    need = ROWS_PER_LEG * world.legs.shape[0] + SPARE_ROWS
    return bool(
        run.ledger_rows + need <= world.ledger.shape[0]
        and run.order_rows + need <= world.orders.shape[0]
        and run.journal_rows + need <= world.journal.shape[0]
        and run.trip_rows + need <= world.trips.shape[0]
    )


@kernel
def step(world: World, instant: int) -> int:
    """Advance to ``instant``; ``GROW`` when a record array is too small and nothing was done."""
    if not has_room(world):
        return GROW
    return advance(world, instant)


@jit
def run_span(world: World, first: int, last: int, final: int) -> tuple[int, int]:
    """Steps ``first`` to ``last`` with the default strategy; returns the status and the next instant to do."""
    for instant in range(first, last + 1):
        status = step(world, instant)
        if status != RUNNING:
            return status, instant
        if instant < final:
            decide_all(world)
    return RUNNING, last + 1


def grown(world: World) -> World:
    """The same world with twice the room in its append-only records."""
    bigger = {}
    for name in ("ledger", "orders", "journal", "trips"):
        old = getattr(world, name)
        new = np.zeros(max(2 * old.size, 2 * SPARE_ROWS + ROWS_PER_LEG * world.legs.size * 2), old.dtype).view(
            np.recarray
        )
        new[: old.size] = old
        bigger[name] = new
    return world._replace(**bigger)


@jit
def step_for_python(world: World, instant: int, final: int) -> int:
    """One step, and before the last instant the tables that a Python strategy reads."""
    status = step(world, instant)
    if status == RUNNING and instant < final:
        prepare_all(world)
    return status


def compile_loop(world: World) -> None:
    """Have the loop of the default strategy compiled, or its machine code loaded, without doing a step."""
    run_span(world, 1, 0, 0)


def rearm_instants(world: World, rearm_ms: Sequence[int]) -> dict[int, int]:
    """Instants after whose decisions a person's re-arming is obeyed, each with the date of the last one: closes count
    from 1, and the first at or after the date is the one.
    """
    start_ms, bar_ms = int(world.rules[0].start_ms), int(world.rules[0].bar_ms)
    return {max(1, -((start_ms - date_ms) // bar_ms)): date_ms for date_ms in sorted(rearm_ms)}


def run_compiled(world: World, progress: Progress | None = None, rearm_ms: Sequence[int] = ()) -> World:
    """Run the default strategy to the end of the market; the returned world holds the records.

    ``rearm_ms``: when a person re-arms the kill switch.
    """
    bars = world.bars.shape[1]
    measure_start(world)
    rearming = rearm_instants(world, rearm_ms)
    instant, chunk = 1, max(1, bars // CHUNKS)
    while instant <= bars:
        last = min([instant + chunk - 1, bars, *(stop for stop in rearming if stop >= instant)])
        status, instant = run_span(world, instant, last, bars)
        if status == GROW:
            world = grown(world)
        elif status != RUNNING:
            return world
        elif instant - 1 in rearming:
            rearm_where_pulled(world, rearming[instant - 1])
        if progress is not None:
            progress(instant - 1, bars)
    world.run[0].status = COMPLETED
    return world


def run_python(
    world: World, strategy: Strategy, progress: Progress | None = None, rearm_ms: Sequence[int] = ()
) -> World:
    """Run a Python strategy to the end of the market; same exchange, same order of events."""
    bars = world.bars.shape[1]
    measure_start(world)
    rearming = rearm_instants(world, rearm_ms)
    strategy.bind(world)
    chunk = max(1, bars // CHUNKS)
    instant = 1
    while instant <= bars:
        status = step_for_python(world, instant, bars)
        if status == GROW:
            world = grown(world)
            strategy.bind(world)
            continue
        if status != RUNNING:
            return world
        if instant < bars:
            strategy.on_instant()
        if instant in rearming:
            rearm_where_pulled(world, rearming[instant])
        if progress is not None and instant % chunk == 0:
            progress(instant, bars)
        instant += 1
    world.run[0].status = COMPLETED
    return world


def raise_for_gap(setup: Setup, world: World, market: MarketHistory) -> None:
    """``DataError`` when the run stopped at a number that is missing and whose policy is to fail."""
    run = world.run[0]
    status = int(run.status)
    if status not in {NO_RATE, NO_MARK, NO_BORROW_RATE}:
        return
    key = setup.names.instruments[int(run.status_leg)]
    if status == NO_BORROW_RATE:
        when = iso((int(market.open_ms[0]) // HOUR_MS + int(run.status_row)) * HOUR_MS)
        raise DataError(
            f"{key}: no borrow rate for {when}, while the base asset is borrowed",
            remedy="ingest borrow rates, set borrow.hourly_rate, or set borrow.missing_rate to skip or last_known",
        )
    what, setting = ("funding rate", "missing_rate") if status == NO_RATE else ("mark price", "missing_mark")
    when = iso(int(world.settlements[int(run.status_row)].time_ms))
    raise DataError(
        f"{key}: no {what} for the settlement of {when}, while a position is held",
        remedy=f"ingest it, or set funding.{setting} to skip or last_known (with funding.max_age_hours)",
    )
