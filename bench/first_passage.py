"""First passages of random paths against the drawing of their normals alone, and 64 barriers against one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from bench.comparison import Comparison, Direction
from bench.equality import ResultsDifferError, require_same
from bench.measure import Sample, Timing, cpu_seconds, in_turns, timed
from crypto.first_passage import (
    RECORD,
    Diffusion,
    Grid,
    Keys,
    Passages,
    barrier_rows,
    diffusion_passages,
    empty_passages,
    hits_until,
)
from crypto.market import Floats, Integers
from crypto.normals import PATH_BITS, normal, stream_key, sum_of_normals, word_at

LEAST_SHARE_OF_DRAWING = 0.75
MOST_TIMES_ONE = 1.1
STEP_VOLATILITY = 0.006  # 56 % a year in hours
MAINTENANCE = 0.004
LEVERAGES = 64
CHECKED_PATHS = 300
SEED = 11


@dataclass(frozen=True, slots=True)
class FirstPassageSize:
    """Hourly steps of 30 days, and how often each side is timed."""

    paths: int = 20_000
    steps: int = 720
    repeats: int = 61  # short runs, so many: a busy machine makes some of them slower by a third
    counted: int = 9  # the fastest of them


def distances(leverages: Floats) -> Floats:
    """Barriers of shorts at these leverages in units of a step's volatility, nearest first."""
    return np.sort(np.log1p(1 / leverages - MAINTENANCE) / STEP_VOLATILITY)


def run(size: FirstPassageSize, barriers: Floats, *, within: bool = False) -> Passages:
    """What is measured: all paths, with the times at which they pass every barrier."""
    grid = Grid(size.steps, RECORD)
    rows = barrier_rows(np.tile(barriers, (-(-size.steps // RECORD), 1)))
    out = empty_passages(size.paths, grid, barriers.size)
    model = Diffusion(-0.5 * STEP_VOLATILITY, math.inf, 0.0, 0.0, antithetic=False)
    keys = Keys(stream_key(SEED, "normals"), stream_key(SEED, "events"))
    diffusion_passages(model, keys, stream_key(SEED, "bridge") if within else None, grid, rows, 0, out)
    return out


def by_hand(size: FirstPassageSize, barriers: Floats) -> Integers:
    """Hits by record and barrier of the first paths: whole paths in memory, every barrier compared at every step."""
    steps = np.arange(size.steps, dtype=np.uint64)
    key = stream_key(SEED, "normals")
    hits = np.zeros((-(-size.steps // RECORD), barriers.size), dtype=np.int64)
    for path in range(size.paths):
        with np.errstate(over="ignore"):
            words = word_at(key, (np.uint64(path) << np.uint64(PATH_BITS)) + steps)
            drawn = np.array([normal(word) for word in words])
        values = np.cumsum(drawn - 0.5 * STEP_VOLATILITY)
        for record in range(hits.shape[0]):
            hits[record] += values[: (record + 1) * RECORD].max() >= barriers
    return hits


def draw_numpy(size: FirstPassageSize) -> Timing:
    """As many normals from numpy's fastest generator."""
    generator = np.random.Generator(np.random.SFC64(SEED))
    return timed(partial(generator.standard_normal, size.paths * size.steps))


def compare(size: FirstPassageSize) -> list[Comparison]:
    """Check the counts against whole paths in memory, then time drawing, one barrier and 64 in turns."""
    one, many = distances(np.array([10.0])), distances(np.geomspace(1.5, 50.0, LEVERAGES))
    few = FirstPassageSize(CHECKED_PATHS, size.steps)
    if not np.array_equal(hits_until(run(few, many)), by_hand(few, many)):
        raise ResultsDifferError("hits by record and barrier differ from those of whole paths in memory")
    at_ten = int(hits_until(run(size, one))[-1, 0])
    require_same(
        "hits of one barrier beside 64",
        at_ten,
        int(hits_until(run(size, np.sort(np.append(many, one))))[-1][np.searchsorted(many, one[0])]),
    )
    key = stream_key(SEED, "normals")
    sum_of_normals(key, 1, 1)
    run(size, many, within=True)
    timings = in_turns(
        {
            "draw": partial(timed, partial(sum_of_normals, key, size.paths, size.steps)),
            "one": partial(timed, partial(run, size, one)),
            "many": partial(timed, partial(run, size, many)),
            "within": partial(timed, partial(run, size, many, within=True)),
            "numpy": partial(draw_numpy, size),
        },
        size.repeats,
    )
    seconds = {name: cpu_seconds(found).fastest(size.counted) for name, found in timings.items()}
    rates = {name: found.rates(size.paths * size.steps / 1e6) for name, found in seconds.items()}
    return [
        _rate(rates, "one", "first passage, one leverage", LEAST_SHARE_OF_DRAWING),
        _rate(rates, "many", f"first passage, {LEVERAGES} leverages", None),
        Comparison(
            item=f"{LEVERAGES} leverages on the same paths",
            unit="s",
            denominator_name="one leverage",
            denominator=seconds["one"],
            figure_name=f"{LEVERAGES} leverages",
            figure=seconds["many"],
            goal=MOST_TIMES_ONE,
            direction=Direction.BELOW,
            note="a leverage's hits are the same alone and among 64",
        ),
        _rate(rates, "within", f"{LEVERAGES} leverages, extremes inside steps", None),
        Comparison(
            item="normals drawn in the loop",
            unit="M/s",
            denominator_name="numpy Generator(SFC64).standard_normal",
            denominator=rates["numpy"],
            figure_name="SplitMix64 and ziggurat",
            figure=rates["draw"],
            note="the denominator of the items above is no slow one",
        ),
    ]


def _rate(rates: dict[str, Sample], name: str, item: str, goal: float | None) -> Comparison:
    return Comparison(
        item=item,
        unit="M steps/s",
        denominator_name="the same loop drawing its normals only",
        denominator=rates["draw"],
        figure_name="passages counted by record",
        figure=rates[name],
        goal=goal,
        note="hits equal those of whole paths in memory" if goal is not None else "",
    )
