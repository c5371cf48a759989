"""ADL over a million positions, scores included, against the selection and running sum it can't do without."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from bench.comparison import Comparison, Direction
from bench.equality import require_same, require_same_bits
from bench.measure import cpu_seconds, in_turns, timed
from crypto.adl import AdlRule, Positions, adl_rule
from crypto.adl_allocation import Deleveraging, deleverage
from crypto.adl_ranking import scores
from crypto.market import Floats, Integers

MOST_TIMES_SELECTION = 2.0
MARK_PRICE = 100.0
UNIT = 0.001


@dataclass(frozen=True, slots=True)
class AdlSize:
    """Positions of the queue's side, how many of them are closed whole, and how often each side is timed."""

    positions: int = 1_000_000
    closed: int = 50_000
    repeats: int = 9


def make_positions(count: int, seed: int) -> Positions:
    """Shorts with log-normal sizes, entries above and below the mark, 1 to 50 times leverage; accounts in no order."""
    rng = np.random.default_rng(seed)
    lots = -np.maximum(1, rng.lognormal(6.0, 2.0, count)).astype(np.int64)
    entry_value = lots * UNIT * MARK_PRICE * np.exp(rng.normal(0.05, 0.1, count))
    wallet = -entry_value / rng.uniform(1.0, 50.0, count)
    return Positions(rng.permutation(count).astype(np.int64), lots, entry_value, wallet, -0.005 * entry_value)


def rank_and_close(rule: AdlRule, positions: Positions, wanted: int) -> Deleveraging:
    """What is measured: scores of all positions at a new mark, and the allocation."""
    score = scores(rule, positions, UNIT, MARK_PRICE)
    return deleverage(score, positions.account, positions.lots, bankrupt_side=1, wanted_lots=wanted)


def select_and_sum(score: Floats, sizes: Integers, count: int) -> Integers:
    """The denominator: the best ``count`` rows of given scores by ``argpartition``, and their running sum of lots."""
    head = np.argpartition(-score, count - 1)[:count]
    running: Integers = np.cumsum(sizes[head])
    return running


def allocate_sorted(score: Floats, account: Integers, sizes: Integers, wanted: int) -> Integers:
    """The same allocation by a full sort."""
    order = np.lexsort((account, -score))
    running = np.cumsum(sizes[order])
    closed = np.zeros(sizes.size, dtype=np.int64)
    closed[order] = np.clip(wanted - (running - sizes[order]), 0, sizes[order])
    return closed


def compare(size: AdlSize) -> list[Comparison]:
    """Check the allocation against a full sort, then time it and its denominator in turns, per venue's formula."""
    positions = make_positions(size.positions, seed=30)
    sizes = -positions.lots
    return [_compare_venue(venue, positions, sizes, size) for venue in ("binance", "bybit")]


def _compare_venue(venue: str, positions: Positions, sizes: Integers, size: AdlSize) -> Comparison:
    rule = adl_rule(venue)
    score = scores(rule, positions, UNIT, MARK_PRICE)
    wanted = int(select_and_sum(score, sizes, size.closed)[-1])
    ours = rank_and_close(rule, positions, wanted)
    require_same(f"lots without a counterparty, {venue}", ours.uncovered_lots, 0)
    expected = allocate_sorted(score, positions.account, sizes, wanted)
    require_same_bits(f"closed lots, {venue}", ours.closed_lots, expected)
    timings = in_turns(
        {
            "selection": partial(timed, partial(select_and_sum, score, sizes, size.closed)),
            "ours": partial(timed, partial(rank_and_close, rule, positions, wanted)),
        },
        size.repeats,
    )
    return Comparison(
        item=f"ADL over {size.positions} positions, {venue}",
        unit="s",
        denominator_name="numpy argpartition and cumsum, scores given",
        denominator=cpu_seconds(timings["selection"]),
        figure_name="scores, ranking and allocation",
        figure=cpu_seconds(timings["ours"]),
        goal=MOST_TIMES_SELECTION,
        direction=Direction.BELOW,
        note="closed lots equal those of a full sort",
    )
