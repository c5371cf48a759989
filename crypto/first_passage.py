"""First passages of many barriers by one set of random paths. Spec: docs/specs/first_passage.md.

A path runs in **adverse units**: the log price times +1 (a rise hurts: short position) or -1 (long), starting at 0, so
barriers lie above it. Barriers are ordered, the nearest first, and the order holds at all times: a path has passed the
first k of them. That number is looked up once per record, a stretch of steps of which the loop keeps the highest value;
64 barriers therefore cost what one costs. Paths are never cut short, so they are the same whatever the barriers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crypto.compiled import jit, kernel
from crypto.market import Floats, Integers
from crypto.normals import PATH_BITS, normal, uniform, word_at

_PATH_SHIFT = np.uint64(PATH_BITS)
# Beyond this the maximum of a bridge exceeds a level with a probability below 1e-16.
_FAR = 18.5
CELLS = 1024
RECORD = 24  # steps of a record for which there is a faster loop


class Keys(NamedTuple):
    """Keys of the streams of a run (``np.uint64``): normals, and jumps or blocks."""

    normals: Any
    events: Any


class Diffusion(NamedTuple):
    """A jump diffusion in adverse units divided by the volatility of a step, so that a step's normal has weight 1.

    ``drift`` per step; ``gap_steps``: mean steps between jumps (inf: none); a jump is normal of ``jump_mean`` and
    ``jump_deviation``. ``antithetic``: paths 2k and 2k + 1 take opposite normals.
    """

    drift: float
    gap_steps: float
    jump_mean: float
    jump_deviation: float
    antithetic: bool


class Blocks(NamedTuple):
    """Bars to draw blocks from, in adverse units: ``change`` of each bar, and how far it went ``beyond`` the close
    before it at its worst. A block has ``length`` bars; after the last bar comes the first.
    """

    change: Floats
    beyond: Floats
    length: int


class Grid(NamedTuple):
    """``steps`` of a path in records of ``stride`` steps; the last may be shorter. Barriers hold for a record."""

    steps: int
    stride: int


class Barriers(NamedTuple):
    """Distances of barriers, ascending, and where to begin to look among them. ``barrier_rows`` builds it.

    ``row[r]``: the row that holds in record r; where it is another than before, the highest value starts anew.
    ``moves``: there is more than one. ``at[row]`` ends with inf. ``first[row, c]``: barriers below cell c, which is
    1 / ``cells_per_unit[row]`` wide.
    """

    at: Floats
    row: Integers
    moves: bool
    first: NDArray[np.int16]
    cells_per_unit: Floats


class Passages(NamedTuple):
    """Filled by the loops. ``changes[r, k]``: paths that came to have passed exactly k barriers in record r, less those
    that left that number; all begin with 0.

    ``passed[p]``: barriers that path p passed in the end, ``final[p]`` where it ended. ``trace[p, r]``: where the first
    paths stand at the ends of records (no rows keep none).
    """

    changes: Integers
    passed: Integers
    final: Floats
    trace: Floats


@kernel
def passed_barriers(barriers: Barriers, row: int, value: float) -> int:
    """How many of the ascending barriers of a row are at or below ``value``."""
    cell = int(min(max(0.0, value) * barriers.cells_per_unit[row], float(barriers.first.shape[1] - 1)))
    found = int(barriers.first[row, cell])
    # Without a branch, because whether a cell's barrier lies below is a coin toss; more than one in a cell is rare.
    found += int(barriers.at[row, found] <= value)
    while barriers.at[row, found] <= value:
        found += 1
    return found


@kernel
def bridge_maximum(start: float, end: float, draw: float, highest: float) -> float:
    """Highest value between ``start`` and ``end`` of a Brownian motion of variance 1 over the step, or ``highest``.

    ``draw``: uniform within (0, 1). Inverse of P(maximum > m) = exp(-2 (m - start)(m - end)).
    """
    exponent = 2.0 * (highest - start) * (highest - end)
    # -log(u) <= 1/u - 1, so most steps end here without a logarithm.
    if highest > start and highest > end and draw * (1.0 + exponent) >= 1.0:
        return highest
    change = end - start
    found = 0.5 * (start + end + math.sqrt(change * change - 2.0 * math.log(draw)))
    return max(found, highest)


@kernel
def jump_gap(model: Diffusion, keys: Keys, base: Any, number: int) -> float:
    """Steps until the next jump of a path, exponential."""
    return -math.log(uniform(word_at(keys.events, base + np.uint64(2 * number)))) * model.gap_steps


@jit
def walk_record(key: Any, counter: Any, drift: float, value: float, highest: float) -> Any:
    """``RECORD`` steps from ``value``; returns where they end, and the highest of their ends and ``highest``."""
    for step in range(RECORD):  # a length that the compiler knows
        value += drift + normal(word_at(key, counter + np.uint64(step)))
        highest = max(highest, value)
    return value, highest


@jit
def walk(key: Any, counter: Any, count: int, drift: float, sign: float, value: float, highest: float) -> Any:
    """The same for any number of steps, with the normals times ``sign``."""
    for step in range(count):
        value += drift + sign * normal(word_at(key, counter + np.uint64(step)))
        highest = max(highest, value)
    return value, highest


@jit
def walk_within(  # noqa: PLR0913, PLR0917 - compiled functions take plain numbers
    key: Any, bridge: Any, counter: Any, own: Any, count: int, drift: float, sign: float, value: float, highest: float
) -> Any:
    """The same with the highest value inside each step; ``own`` counts the draws of the bridge."""
    for step in range(count):
        before = value
        value += drift + sign * normal(word_at(key, counter + np.uint64(step)))
        if (highest - before) * (highest - value) < _FAR:
            draw = uniform(word_at(bridge, own + np.uint64(step)))
            highest = bridge_maximum(before, value, draw, highest)
    return value, highest


@kernel
def end_record(
    path: int, record: int, known: int, value: float, highest: float, barriers: Barriers, out: Passages
) -> Any:
    """Count a path's barriers at the end of a record; returns them, and the highest value that counts from here on."""
    row = barriers.row[record]
    if highest >= barriers.at[row, known]:
        passed = passed_barriers(barriers, row, highest)
        out.changes[record, known] -= 1
        out.changes[record, passed] += 1
        known = passed
    if path < out.trace.shape[0]:
        out.trace[path, record] = value
    following = record + 1
    if barriers.moves and following < barriers.row.size and barriers.row[following] != row:
        highest = value
    return known, highest


@jit
def diffusion_passages(
    model: Diffusion, keys: Keys, bridge: Any, grid: Grid, barriers: Barriers, first_path: int, out: Passages
) -> None:
    """Run paths ``first_path`` up to the size of ``out.passed``; barriers, ``final`` and ``trace`` are in its units.

    ``bridge``: key of the draws inside steps, or None when only ends of steps count. The compiler makes one loop for
    each, because the longer one would slow the shorter.
    """
    for path in range(first_path, out.passed.size):
        source, sign = path, 1.0
        if model.antithetic:
            source = path >> 1
            sign = -1.0 if path & 1 else 1.0
        base = np.uint64(source) << _PATH_SHIFT
        own = np.uint64(path) << _PATH_SHIFT
        jumps = 0
        next_jump = jump_gap(model, keys, own, 0) if model.gap_steps < math.inf else math.inf
        value = 0.0
        highest = 0.0
        known = 0
        step = 0
        for record in range(barriers.row.size):
            end = min(grid.steps, step + grid.stride)
            while step < end:
                stop = int(math.ceil(next_jump)) if next_jump < end else end
                at = base + np.uint64(step)
                if bridge is not None:
                    value, highest = walk_within(
                        keys.normals, bridge, at, own + np.uint64(step), stop - step, model.drift, sign, value, highest
                    )
                elif stop - step == RECORD and not model.antithetic:
                    value, highest = walk_record(keys.normals, at, model.drift, value, highest)
                else:
                    value, highest = walk(keys.normals, at, stop - step, model.drift, sign, value, highest)
                step = stop
                while next_jump <= step:
                    size = normal(word_at(keys.events, own + np.uint64(2 * jumps + 1)))
                    value += model.jump_mean + model.jump_deviation * size
                    highest = max(highest, value)
                    jumps += 1
                    next_jump += jump_gap(model, keys, own, jumps)
            known, highest = end_record(path, record, known, value, highest, barriers, out)
        out.passed[path] = known
        out.final[path] = value


@jit
def block_passages(model: Blocks, keys: Keys, grid: Grid, barriers: Barriers, first_path: int, out: Passages) -> None:
    """The same with blocks of bars one after the other, in adverse units of the log price."""
    bars = model.change.size
    for path in range(first_path, out.passed.size):
        own = np.uint64(path) << _PATH_SHIFT
        block = 0
        left = 0
        bar = 0
        value = 0.0
        highest = 0.0
        known = 0
        step = 0
        for record in range(barriers.row.size):
            end = min(grid.steps, step + grid.stride)
            while step < end:
                if left == 0:
                    left = model.length
                    bar = int(uniform(word_at(keys.events, own + np.uint64(block))) * bars)
                    block += 1
                stop = min(end, step + left, step + bars - bar)
                left -= stop - step
                for _ in range(step, stop):
                    highest = max(highest, value + model.beyond[bar])
                    value += model.change[bar]
                    bar += 1
                step = stop
                if bar == bars:
                    bar = 0
            known, highest = end_record(path, record, known, value, highest, barriers, out)
        out.passed[path] = known
        out.final[path] = value


def barrier_rows(distances: Floats) -> Barriers:
    """Distances of shape (records, n), ascending along n, made ready for the loops."""
    moved = np.concatenate(([True], (distances[1:] != distances[:-1]).any(axis=1)))
    distinct = distances[moved]
    rows, count = distinct.shape
    at = np.full((rows, count + 1), np.inf)
    at[:, :count] = distinct
    reach = np.max(np.where(np.isfinite(distinct), distinct, 0.0), axis=1)
    reach = np.where(reach > 0, reach, 1.0)
    first = np.empty((rows, CELLS), dtype=np.int16)
    for row in range(rows):
        # A shade below each cell's edge, so that rounding of the product never skips a barrier.
        edges = np.arange(CELLS) * (reach[row] / CELLS) * (1 - 1e-12)
        edges[0] = -np.inf  # the first cell holds every value below it
        first[row] = np.searchsorted(distinct[row], edges, side="left")
    return Barriers(at, np.cumsum(moved) - 1, rows > 1, first, CELLS / reach)


def empty_passages(paths: int, grid: Grid, barriers: int, traced: int = 0) -> Passages:
    """Room for the results of ``paths`` paths; the first ``traced`` of them keep their values by record."""
    records = -(-grid.steps // grid.stride)
    return Passages(
        np.zeros((records, barriers + 1), dtype=np.int64),
        np.zeros(paths, dtype=np.int64),
        np.zeros(paths),
        np.zeros((traced, records)),
    )


def hits_until(out: Passages) -> Integers:
    """Paths that have passed barrier j by the end of record r, shape (records, barriers)."""
    exactly = np.cumsum(out.changes, axis=0)
    exactly[:, 0] += out.passed.size
    at_least: Integers = np.cumsum(exactly[:, ::-1], axis=1)[:, ::-1][:, 1:]
    return at_least
