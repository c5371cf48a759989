"""Intervals of shares and of quantiles of times."""

from __future__ import annotations

import math

import numpy as np
import pytest

from research.laboratory.intervals import paired_trials, time_of_rank, time_quantile, wilson


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        # Newcombe (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_newcombes_table(hits: int, trials: int, low: float, high: float) -> None:
    found = wilson(np.array([float(hits)]), np.array([float(trials)]), 0.95)
    assert found[0][0] == pytest.approx(low, abs=5e-5)
    assert found[1][0] == pytest.approx(high, abs=5e-5)


def test_wilson_at_the_ends() -> None:
    low, high = wilson(np.array([0.0, 7.0]), np.array([7.0, 7.0]), 0.9)
    assert (low[0], high[1]) == (0.0, 1.0)


def test_pairs_are_worth_what_their_variance_says() -> None:
    rng = np.random.default_rng(4)
    passed = rng.integers(0, 4, 400)
    passed[1::2] = 3 - passed[0::2]  # strongly opposite
    worth = paired_trials(passed, 3)
    for barrier in range(3):
        hit = (passed > barrier).astype(float)
        means = (hit[0::2] + hit[1::2]) / 2
        share = hit.mean()
        expected = share * (1 - share) / means.var() * means.size if means.var() > 0 else means.size
        assert worth[barrier] == pytest.approx(expected, rel=1e-9)
    assert worth[0] > 400


def test_time_of_a_rank_is_linear_inside_its_record() -> None:
    hits, ends = np.array([0, 4, 4, 10]), np.array([8.0, 16.0, 24.0, 32.0])
    assert [time_of_rank(hits, ends, rank) for rank in (1, 4, 5, 10)] == [10.0, 16.0, 24 + 8 / 6, 32.0]
    assert math.isnan(time_of_rank(hits, ends, 11))
    assert math.isnan(time_of_rank(hits, ends, 0))


def test_the_interval_of_a_median_covers_it_as_often_as_it_says() -> None:
    """Exponential times on a fine grid, 400 samples of 60."""
    rng = np.random.default_rng(8)
    ends = np.linspace(0.02, 20.0, 1000)
    covered = 0
    for _ in range(400):
        hits = np.searchsorted(np.sort(rng.exponential(1.0, 60)), ends, side="right")
        value, low, high = time_quantile(hits, ends, 0.5, 0.95)
        assert low <= value <= high
        covered += low <= math.log(2) <= high
    assert covered / 400 == pytest.approx(0.96, abs=0.03)


def test_without_hits_there_is_no_time() -> None:
    assert all(
        math.isnan(value) for value in time_quantile(np.zeros(3, dtype=np.int64), np.arange(1.0, 4.0), 0.5, 0.95)
    )
