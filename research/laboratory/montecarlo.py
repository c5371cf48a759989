"""Probability and time of liquidation at many leverages from one set of paths. Spec: docs/specs/laboratory.md."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from crypto.errors import RefusedError, UsageError
from crypto.first_passage import (
    RECORD,
    Barriers,
    Blocks,
    Diffusion,
    Grid,
    Keys,
    Passages,
    barrier_rows,
    block_passages,
    diffusion_passages,
    empty_passages,
    hits_until,
)
from crypto.market import Floats, Integers
from crypto.normals import stream_key
from crypto.paths import JumpDiffusion, Returns, with_growth
from crypto.units import HOURS_PER_YEAR
from research.laboratory.barriers import MarginLadder, MarginQuestion, ladder
from research.laboratory.intervals import paired_trials, time_quantile, wilson

MOST_PATHS = 20_000_000
MOST_STEPS = 1 << 20
MOST_CELLS = 200_000_000  # records x barriers, of counts
BATCH = 2_000
FAN_PATHS = 4_000
DRAWN_PATHS = 36
FAN_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
TIME_QUANTILES = (0.1, 0.5, 0.9)
LEAST_RECORDS = 20  # instants of a study at which shares are known, where its steps allow


class Crossing(StrEnum):
    """What counts as reaching a price: any instant within a step, or its end only."""

    WITHIN = "within"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class PathModel:
    """What paths are made of: ``blocks`` of past bars of mean length ``block_steps``, or a jump ``diffusion``.

    ``growth``: rate a year at which the expected price grows; None: bars as they are (blocks only). ``step_hours``:
    length of a step.
    """

    step_hours: float
    growth: float | None
    returns: Returns | None = None
    block_steps: int = 24
    diffusion: JumpDiffusion | None = None
    antithetic: bool = False


@dataclass(frozen=True, slots=True)
class MonteCarloQuestion:
    """How likely is liquidation within ``steps`` steps?"""

    margin: MarginQuestion
    model: PathModel
    steps: int
    paths: int
    crossing: Crossing
    seed: int
    confidence: float

    def __post_init__(self) -> None:
        for name, value, most in (("--paths", self.paths, MOST_PATHS), ("steps", self.steps, MOST_STEPS)):
            if not 1 <= value <= most:
                raise UsageError(f"{name} = {value} is out of range", remedy=f"give 1 to {most}")
        if self.seed < 0 or self.seed >= 2**63:
            raise UsageError(f"--seed = {self.seed} is out of range", remedy="give a whole number from 0")
        if not 0.5 <= self.confidence < 1:
            raise UsageError(f"--confidence = {self.confidence} is out of range", remedy="give a fraction such as 0.95")
        if self.model.antithetic and self.paths % 2:
            raise UsageError(f"--paths = {self.paths} is odd with --antithetic", remedy="give an even number")
        if self.model.antithetic and self.model.diffusion is None:
            raise UsageError("--antithetic with blocks of past bars", remedy="give --model jump, or leave it out")


@dataclass(frozen=True, slots=True)
class MonteCarlo:
    """The answer. Columns of shape (n,) go by leverage, highest first; ``curve``: share liquidated by the end of each
    record, shape (records, n); ``hours``: ends of records.

    ``times``: quantiles of the time of those that were liquidated, each (value, low, high), shape (3, 3, n), in hours.
    ``fan``: quantiles of the price by record, ``paths``: some single price paths at ``path_hours``; ``barrier``:
    liquidation prices by record. ``convergence``: (paths so far, share, low, high) of some leverages.
    """

    question: MonteCarloQuestion
    ladder: MarginLadder
    hits: Integers
    probability: Floats
    low: Floats
    high: Floats
    times: Floats
    hours: Floats
    curve: Floats
    curve_low: Floats
    curve_high: Floats
    fan: Floats
    path_hours: Floats
    paths: Floats
    barrier: Floats
    convergence: dict[float, Floats]
    final: Floats


def run_montecarlo(question: MonteCarloQuestion, advance: Callable[[int], None] = lambda _: None) -> MonteCarlo:
    """Run the paths; ``advance(paths)`` tells progress. The same question gives the same answer to the bit."""
    grid, per_settlement = _grid(question)
    settlements = question.steps // per_settlement if per_settlement else 0
    rungs = ladder(question.margin, settlements)
    records = -(-grid.steps // grid.stride)
    count = rungs.leverages.size
    if records * (count + 1) > MOST_CELLS:
        raise RefusedError(f"{records} records of {count} leverages are too many", remedy="give fewer leverages")
    settled = np.arange(records) * grid.stride // per_settlement if per_settlement else np.zeros(records, dtype=int)
    distance = rungs.distance[settled]
    loop = _Loop.of(question)
    barriers = barrier_rows(distance / loop.unit)
    out = empty_passages(question.paths, grid, count, min(FAN_PATHS, question.paths))
    for first in range(0, question.paths, BATCH):
        end = min(question.paths, first + BATCH)
        loop.run(grid, barriers, first, out._replace(passed=out.passed[:end]))
        advance(end - first)
    return _answer(question, rungs, grid, distance, out, loop)


def _grid(question: MonteCarloQuestion) -> tuple[Grid, int]:
    """Steps and records, and the steps between settlements (0: no funding). Barriers move at ends of records only."""
    wanted = RECORD if question.steps >= LEAST_RECORDS * RECORD else max(1, question.steps // (2 * LEAST_RECORDS))
    if question.margin.funding_rate == 0:
        return Grid(question.steps, wanted), 0
    ratio = question.margin.funding_hours / question.model.step_hours
    between = round(ratio)
    if between < 1 or abs(ratio - between) > 1e-9:
        raise UsageError(
            f"--funding-interval-hours = {question.margin.funding_hours:g} is no multiple of a step of"
            f" {question.model.step_hours:g} hours",
            remedy="give an interval that steps divide",
        )
    stride = max(size for size in range(1, between + 1) if between % size == 0 and size <= max(wanted, 1))
    return Grid(question.steps, stride), between


@dataclass(frozen=True, slots=True)
class _Loop:
    """The compiled loop of a question, and the ``unit`` of its paths in log price."""

    question: MonteCarloQuestion
    unit: float
    model: Any
    keys: Keys
    bridge: Any

    @classmethod
    def of(cls, question: MonteCarloQuestion) -> _Loop:
        model, adverse = question.model, -question.margin.side
        keys = Keys(stream_key(question.seed, "normals"), stream_key(question.seed, "events"))
        if model.diffusion is not None:
            fitted = model.diffusion
            years = model.step_hours / HOURS_PER_YEAR
            unit = fitted.volatility * math.sqrt(years)
            loop = Diffusion(
                drift=adverse * fitted.log_drift(model.growth or 0.0) * years / unit,
                gap_steps=1 / (fitted.jump_rate * years) if fitted.jump_rate > 0 else math.inf,
                jump_mean=adverse * fitted.jump_mean / unit,
                jump_deviation=fitted.jump_deviation / unit,
                antithetic=model.antithetic,
            )
            bridge = stream_key(question.seed, "bridge") if question.crossing is Crossing.WITHIN else None
            return cls(question, unit, loop, keys, bridge)
        if model.returns is None:
            raise UsageError("there are neither bars nor a model to make paths of", remedy="give --instrument")
        moved = model.returns
        if model.growth is not None:
            moved = with_growth(moved, model.growth * model.step_hours / HOURS_PER_YEAR)
        change = np.ascontiguousarray(adverse * moved.change)
        beyond = change
        if question.crossing is Crossing.WITHIN:
            beyond = np.maximum(change, adverse * (moved.high if adverse > 0 else moved.low))
        return cls(question, 1.0, Blocks(change, beyond, model.block_steps), keys, None)

    def run(self, grid: Grid, barriers: Barriers, first: int, out: Passages) -> None:
        """Run the paths from ``first`` to the end of ``out.passed``."""
        if isinstance(self.model, Blocks):
            block_passages(self.model, self.keys, grid, barriers, first, out)
        else:
            diffusion_passages(self.model, self.keys, self.bridge, grid, barriers, first, out)


def _answer(
    question: MonteCarloQuestion, rungs: MarginLadder, grid: Grid, distance: Floats, out: Passages, loop: _Loop
) -> MonteCarlo:
    count = rungs.leverages.size
    until = hits_until(out)
    hits = until[-1]
    records = until.shape[0]
    ends = np.minimum(grid.steps, (np.arange(records) + 1) * grid.stride) * question.model.step_hours
    trials = np.full(count, float(question.paths))
    if question.model.antithetic:
        trials = paired_trials(out.passed, count)
    share = hits / question.paths
    low, high = wilson(share * trials, trials, question.confidence)
    curve = until / question.paths
    curve_low, curve_high = wilson(curve * trials, np.broadcast_to(trials, curve.shape), question.confidence)
    times = np.array(
        [[time_quantile(until[:, j], ends, q, question.confidence) for q in TIME_QUANTILES] for j in range(count)]
    ).transpose(1, 2, 0)
    entry, side = question.margin.entry_price, question.margin.side
    traced = entry * np.exp(-side * loop.unit * out.trace)
    fan = np.vstack([np.full(len(FAN_QUANTILES), entry), np.quantile(traced, FAN_QUANTILES, axis=0).T])
    path_hours, paths = _single_paths(question, loop)
    return MonteCarlo(
        question=question,
        ladder=rungs,
        hits=hits,
        probability=share,
        low=low,
        high=high,
        times=times,
        hours=ends,
        curve=curve,
        curve_low=curve_low,
        curve_high=curve_high,
        fan=fan,
        path_hours=path_hours,
        paths=paths,
        barrier=entry * np.exp(-side * distance),
        convergence=_convergence(question, rungs, out.passed, share),
        final=entry * np.exp(-side * loop.unit * out.final),
    )


def _single_paths(question: MonteCarloQuestion, loop: _Loop) -> tuple[Floats, Floats]:
    """The first paths again, with the price at every step or every few, shape (paths, points)."""
    stride = max(1, question.steps // 360)
    grid = Grid(question.steps, stride)
    drawn = min(DRAWN_PATHS, question.paths - question.paths % 2 or 1)
    records = -(-grid.steps // stride)
    out = empty_passages(drawn, grid, 1, drawn)
    loop.run(grid, barrier_rows(np.full((records, 1), np.inf)), 0, out)
    price = question.margin.entry_price * np.exp(-question.margin.side * loop.unit * out.trace)
    price = np.hstack([np.full((drawn, 1), question.margin.entry_price), price])
    ends = np.minimum(grid.steps, np.arange(records + 1) * stride)
    return ends * question.model.step_hours, price


def _convergence(
    question: MonteCarloQuestion, rungs: MarginLadder, passed: Integers, share: Floats
) -> dict[float, Floats]:
    """Running estimates of three leverages whose probabilities are about 0.1, 0.5 and 0.9, columns as in the result."""
    least = min(100, question.paths)
    sizes = np.unique(np.geomspace(least, question.paths, 120).astype(np.int64))
    if question.model.antithetic:
        sizes = np.unique(sizes + sizes % 2)
    found: dict[float, Floats] = {}
    for target in (0.9, 0.5, 0.1):
        column = int(np.argmin(np.abs(share - target)))
        running = np.cumsum(passed > column)[sizes - 1]
        part = running / sizes
        worth = float(paired_trials(passed, share.size)[column]) / question.paths if question.model.antithetic else 1.0
        low, high = wilson(part * sizes * worth, sizes * worth, question.confidence)
        found[float(rungs.leverages[column])] = np.column_stack([sizes, part, low, high])
    return found
