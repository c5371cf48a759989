"""Random numbers, and first passages against closed forms and whole paths in memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from crypto import first_passage, normals
from crypto.first_passage import (
    RECORD,
    Blocks,
    Diffusion,
    Grid,
    Keys,
    Passages,
    barrier_rows,
    block_passages,
    bridge_maximum,
    diffusion_passages,
    empty_passages,
    hits_until,
)
from crypto.normals import PATH_BITS, normal, stream_key, sum_of_normals, uniform, word_at

KEYS = Keys(np.uint64(2024), np.uint64(7))
BRIDGE = np.uint64(99)


def probability_below(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def reflection(barrier: float, drift: float, time: float) -> float:
    """P(a Brownian motion of variance 1 and this drift reaches ``barrier`` > 0 by ``time``)."""
    root = math.sqrt(time)
    direct = probability_below((drift * time - barrier) / root)
    mirrored = math.exp(2 * drift * barrier) * probability_below((-barrier - drift * time) / root)
    return direct + mirrored


def words(count: int, key: int = 5) -> Any:
    with np.errstate(over="ignore"):
        return word_at(np.uint64(key), np.arange(count, dtype=np.uint64))


def run(
    model: Diffusion,
    grid: Grid,
    distances: Any,
    paths: int,
    *,
    bridge: Any = None,
    traced: int = 0,
    plain: bool = False,
) -> Passages:
    records = -(-grid.steps // grid.stride)
    rows = np.broadcast_to(np.asarray(distances, dtype=float), (records, np.shape(distances)[-1]))
    out = empty_passages(paths, grid, rows.shape[1], traced)
    loop = diffusion_passages.py_func if plain else diffusion_passages
    with np.errstate(over="ignore"):
        loop(model, KEYS, bridge, grid, barrier_rows(rows), 0, out)
    return out


def calm(drift: float = 0.0, *, antithetic: bool = False) -> Diffusion:
    return Diffusion(drift, math.inf, 0.0, 0.0, antithetic)


# --- random numbers -----------------------------------------------------------------------------------------------


def test_words_are_those_of_splitmix64() -> None:
    """First outputs for seed 1234567, as published with the reference implementation."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    with np.errstate(over="ignore"):
        assert [int(word_at(np.uint64(1234567), np.uint64(n))) for n in range(1, 5)] == expected


def test_layers_have_one_area_and_close_at_the_top() -> None:
    edges = normals._WIDTH[1:] * 2.0**52
    area = edges[0] * math.exp(-0.5 * edges[0] ** 2) + math.sqrt(math.pi / 2) * math.erfc(edges[0] / math.sqrt(2))
    height = np.exp(-0.5 * np.append(edges, 0.0) ** 2)
    np.testing.assert_allclose(edges * np.diff(height), area, rtol=1e-9)


def test_normals_follow_the_normal_distribution() -> None:
    with np.errstate(over="ignore"):
        drawn = np.sort([normal(word) for word in words(60_000)])
    expected = np.array([probability_below(x) for x in drawn])
    # Kolmogorov's distance, 0.1 % level.
    assert np.abs(expected - (np.arange(drawn.size) + 0.5) / drawn.size).max() < 1.95 / math.sqrt(drawn.size)


def test_the_tail_is_drawn() -> None:
    """All words of layer 0 with a place beyond the base: their normals lie beyond the tail's start, as the law says."""
    with np.errstate(over="ignore"):
        beyond = np.array([normals.outside(4.0 if k % 2 else -4.0, 0, word) for k, word in enumerate(words(20_000))])
    assert np.abs(beyond).min() > normals.TAIL
    assert (beyond > 0).sum() == 10_000
    share = 2 * probability_below(-4.0) / (2 * probability_below(-normals.TAIL))
    assert (np.abs(beyond) > 4.0).mean() == pytest.approx(share, abs=4 * math.sqrt(share / 20_000))


def test_uniforms_are_inside_zero_and_one() -> None:
    assert 0.0 < uniform(np.uint64(0)) < uniform(np.uint64(2**64 - 1)) < 1.0


def test_streams_have_keys_of_their_own() -> None:
    keys = {int(stream_key(seed, name)) for seed in range(3) for name in ("normals", "events", "bridge")}
    assert len(keys) == 9
    assert stream_key(1, "normals") == stream_key(1, "normals")


def test_the_drawing_loop_draws_the_normals_of_the_paths() -> None:
    with np.errstate(over="ignore"):
        one_by_one = [
            normal(word_at(np.uint64(3), (np.uint64(path) << np.uint64(PATH_BITS)) + np.uint64(step)))
            for path in range(3)
            for step in range(40)
        ]
    assert sum_of_normals(np.uint64(3), 3, 40) == pytest.approx(math.fsum(one_by_one), abs=1e-12)


# --- closed form --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drift", [0.0, 0.04, -0.04])
def test_extremes_inside_steps_give_the_reflection_principle(drift: float) -> None:
    """At every record and barrier, with steps as coarse as a tenth of the horizon's deviation."""
    barriers, paths = np.array([2.0, 5.0, 9.0, 14.0]), 40_000
    grid = Grid(4 * RECORD, RECORD)
    shares = hits_until(run(calm(drift), grid, barriers, paths, bridge=BRIDGE)) / paths
    for record in range(4):
        for column, barrier in enumerate(barriers):
            expected = reflection(barrier, drift, (record + 1) * RECORD)
            assert shares[record, column] == pytest.approx(expected, abs=4.5 * math.sqrt(expected / paths))


def test_ends_of_steps_find_fewer_passages_by_the_known_shift() -> None:
    """Broadie, Glasserman and Kou (1997): looking only there is as if the barrier were 0.5826 deviations further."""
    paths, barrier = 60_000, 8.0
    share = hits_until(run(calm(), Grid(96, RECORD), [barrier], paths))[-1, 0] / paths
    assert share == pytest.approx(reflection(barrier + 0.5826, 0.0, 96), abs=4.5 * math.sqrt(0.4 / paths) + 0.002)
    assert share < reflection(barrier, 0.0, 96) - 0.03


def test_the_bridge_maximum_inverts_its_law() -> None:
    start, end = 0.3, -0.2
    for level in (0.35, 0.8, 2.0):
        draw = math.exp(-2 * (level - start) * (level - end))
        assert bridge_maximum(start, end, draw, -9.0) == pytest.approx(level, rel=1e-12)
        assert bridge_maximum(start, end, draw, level + 0.01) == level + 0.01


def test_jumps_come_at_their_rate_and_size() -> None:
    paths, steps = 20_000, 50
    out = run(Diffusion(0.0, 10.0, 2.0, 3.0, False), Grid(steps, 10), [1e9], paths)
    jumps = steps / 10.0
    assert out.final.mean() == pytest.approx(2.0 * jumps, abs=4 * math.sqrt((steps + jumps * 13) / paths))
    assert out.final.var() == pytest.approx(steps + jumps * (2.0**2 + 3.0**2), rel=0.06)


# --- brute force --------------------------------------------------------------------------------------------------

MODELS = {
    "calm": calm(0.01),
    "jumps": Diffusion(-0.02, 9.0, 0.5, 2.0, False),
    "pairs": Diffusion(0.01, 30.0, -0.5, 1.0, True),
}


def path_by_hand(model: Diffusion, steps: int, path: int) -> tuple[np.ndarray, np.ndarray]:
    """Value at the end of each step, and the highest of the instants that count in it: before and after each jump."""
    own, drawn = np.uint64(path) << np.uint64(PATH_BITS), np.uint64(path // 2 if model.antithetic else path)
    base, sign = drawn << np.uint64(PATH_BITS), -1.0 if model.antithetic and path % 2 else 1.0

    def event(number: int) -> Any:
        return word_at(KEYS.events, own + np.uint64(number))

    values, highs, value, jumps = [], [], 0.0, 0
    next_jump = -math.log(uniform(event(0))) * model.gap_steps
    for step in range(steps):
        value += model.drift + sign * normal(word_at(KEYS.normals, base + np.uint64(step)))
        highs.append(value)
        while next_jump <= step + 1:
            value += model.jump_mean + model.jump_deviation * normal(event(2 * jumps + 1))
            highs[-1] = max(highs[-1], value)
            jumps += 1
            next_jump -= math.log(uniform(event(2 * jumps))) * model.gap_steps
        values.append(value)
    return np.array(values), np.array(highs)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("stride", [RECORD, 7])
def test_counts_equal_those_of_whole_paths(name: str, stride: int) -> None:
    """Paths one by one in plain Python, compared with every barrier at every step."""
    barriers, steps, paths = np.geomspace(0.5, 30.0, 40), 100, 60
    out = run(MODELS[name], Grid(steps, stride), barriers, paths, traced=3)
    expected = np.zeros((-(-steps // stride), barriers.size), dtype=np.int64)
    for path in range(paths):
        with np.errstate(over="ignore"):
            values, highs = path_by_hand(MODELS[name], steps, path)
        assert out.final[path] == pytest.approx(values[-1], abs=1e-10)
        for record in range(expected.shape[0]):
            expected[record] += highs[: (record + 1) * stride].max() >= barriers
        if path < 3:
            np.testing.assert_allclose(out.trace[path, :-1], values[stride - 1 :: stride][: out.trace.shape[1] - 1])
    np.testing.assert_array_equal(hits_until(out), expected)


def test_pairs_take_opposite_normals() -> None:
    out = run(calm(0.25, antithetic=True), Grid(60, 1), [np.inf], 8, traced=8)
    together = out.trace[0::2] + out.trace[1::2]
    np.testing.assert_allclose(together, np.tile(2 * 0.25 * np.arange(1, 61), (4, 1)), atol=1e-12)


def test_a_barrier_gets_the_same_hits_alone_and_among_others() -> None:
    many = np.geomspace(0.4, 60.0, 64)
    grid = Grid(240, RECORD)
    together = hits_until(run(calm(), grid, many, 500, bridge=BRIDGE))
    for column in (0, 20, 40, 63):
        alone = hits_until(run(calm(), grid, many[column : column + 1], 500, bridge=BRIDGE))
        np.testing.assert_array_equal(alone[:, 0], together[:, column])


def test_batches_do_not_change_anything() -> None:
    grid, rows = Grid(50, 10), barrier_rows(np.tile([2.0, 5.0], (5, 1)))
    whole, parts = empty_passages(90, grid, 2), empty_passages(90, grid, 2)
    diffusion_passages(MODELS["jumps"], KEYS, BRIDGE, grid, rows, 0, whole)
    for first, end in ((0, 40), (40, 90)):
        diffusion_passages(MODELS["jumps"], KEYS, BRIDGE, grid, rows, first, parts._replace(passed=parts.passed[:end]))
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


def test_barriers_that_move_towards_a_path_liquidate_it_where_it_stands() -> None:
    grid = Grid(60, 10)
    distances = np.linspace(12.0, -6.0, 6)[:, None] + np.array([0.0, 1.5, 4.0])
    out = run(calm(), grid, distances, 400)
    whole = run(calm(), Grid(60, 1), [np.inf], 400, traced=400).trace
    values = np.hstack([np.zeros((400, 1)), whole])
    expected = np.zeros((6, 3), dtype=np.int64)
    gone = np.zeros((400, 3), dtype=bool)
    for record in range(6):
        stretch = values[:, record * 10 : record * 10 + 11]  # from the value at which the barriers moved
        gone |= stretch.max(axis=1)[:, None] >= distances[record]
        expected[record] = gone.sum(axis=0)
    np.testing.assert_array_equal(hits_until(out), expected)


def blocks_by_hand(model: Blocks, steps: int, path: int) -> tuple[np.ndarray, np.ndarray]:
    """Value at the end of each step, and the highest inside it."""
    own = np.uint64(path) << np.uint64(PATH_BITS)
    values, highs, value = [], [], 0.0
    for step in range(steps):
        block, inside = divmod(step, model.length)
        if inside == 0:
            with np.errstate(over="ignore"):
                begin = int(uniform(word_at(KEYS.events, own + np.uint64(block))) * model.change.size)
        bar = (begin + inside) % model.change.size
        highs.append(max(value + model.beyond[bar], value + model.change[bar]))
        value += model.change[bar]
        values.append(value)
    return np.array(values), np.array(highs)


@pytest.mark.parametrize("length", [1, 5, 64])
def test_blocks_equal_bars_joined_by_hand(length: int) -> None:
    rng = np.random.default_rng(3)
    change = rng.normal(0, 1, 37)
    model = Blocks(change, change + rng.exponential(0.5, 37), length)
    grid, barriers = Grid(90, 8), np.geomspace(0.3, 25, 16)
    out = empty_passages(60, grid, 16, 60)
    block_passages(model, KEYS, grid, barrier_rows(np.tile(barriers, (12, 1))), 0, out)
    expected = np.zeros((12, 16), dtype=np.int64)
    for path in range(60):
        values, highs = blocks_by_hand(model, 90, path)
        assert out.final[path] == pytest.approx(values[-1], abs=1e-12)
        for record in range(12):
            expected[record] += highs[: (record + 1) * 8].max() >= barriers
    np.testing.assert_array_equal(hits_until(out), expected)


# --- two forms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bridge", [None, BRIDGE])
@pytest.mark.parametrize("name", MODELS)
def test_compiled_and_plain_loops_give_the_same_bits(name: str, bridge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Grid(2 * RECORD + 3, RECORD)
    compiled = run(MODELS[name], grid, [1.0, 3.0, 8.0], 12, bridge=bridge, traced=4)
    for loop in ("walk", "walk_within", "walk_record"):
        monkeypatch.setattr(first_passage, loop, getattr(first_passage, loop).py_func)
    plain = run(MODELS[name], grid, [1.0, 3.0, 8.0], 12, bridge=bridge, traced=4, plain=True)
    for one, other in zip(compiled, plain, strict=True):
        assert one.tobytes() == other.tobytes()


def test_compiled_and_plain_blocks_give_the_same_bits() -> None:
    change = np.random.default_rng(1).normal(0, 1, 20)
    model, grid = Blocks(change, change + 0.1, 6), Grid(30, 7)
    rows = barrier_rows(np.tile([1.0, 2.0], (5, 1)))
    one, other = empty_passages(9, grid, 2, 2), empty_passages(9, grid, 2, 2)
    block_passages(model, KEYS, grid, rows, 0, one)
    with np.errstate(over="ignore"):
        block_passages.py_func(model, KEYS, grid, rows, 0, other)
    for left, right in zip(one, other, strict=True):
        assert left.tobytes() == right.tobytes()


def test_many_barriers_in_one_cell_and_infinite_ones() -> None:
    barriers = np.array([0.0, 1e-9, 2e-9, 3e-9, 5.0, np.inf, np.inf])
    rows = barrier_rows(barriers[None, :])
    for value, expected in ((-1.0, 0), (0.0, 1), (2.5e-9, 3), (4.9, 4), (5.0, 5), (1e300, 5)):
        assert first_passage.passed_barriers(rows, 0, value) == expected
