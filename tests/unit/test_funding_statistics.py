"""Statistics of funding against hand arithmetic and brute force that shares no code with them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto import funding_statistics as statistics

H = 3_600_000
T0 = 1_704_067_200_000  # 2024-01-01T00:00Z, a Monday


def hours(*values: float) -> np.ndarray:
    return T0 + (np.array(values) * H).astype(np.int64)


# --- means and their intervals ------------------------------------------------------------------------------------


def test_newey_west_by_hand() -> None:
    # 1, 2, 3, 6: mean 3, residuals -2, -1, 0, 3. Squares sum to 14; lag 1: 2 + 0 + 0 = 2; lag 2: 0 - 3 = -3.
    # One lag: 14 + 2 x 1/2 x 2 = 16, so half width is 1.96 x 4 / 4. Two lags: 14 + 2 (2/3 x 2 - 1/3 x 3) = 14.667.
    values = np.array([1.0, 2.0, 3.0, 6.0])
    one = statistics.mean_estimate(values, 1)
    assert (one.value, one.observations) == (3.0, 4)
    assert (one.low, one.high) == (pytest.approx(3 - 1.959964, rel=1e-6), pytest.approx(3 + 1.959964, rel=1e-6))
    two = statistics.mean_estimate(values, 2)
    assert two.high - two.value == pytest.approx(1.959964 * math.sqrt(44 / 3) / 4, rel=1e-6)


def test_without_lags_it_is_the_usual_interval_with_the_population_deviation() -> None:
    values = np.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])  # mean 5, population deviation 2
    found = statistics.mean_estimate(values, 0)
    assert found.high == pytest.approx(5.0 + 1.959964 * 2.0 / math.sqrt(8), rel=1e-6)


def test_unknown_values_are_left_out_and_too_few_have_no_interval() -> None:
    assert statistics.mean_estimate(np.array([1.0, np.nan, 3.0]), 0).value == 2.0
    single = statistics.mean_estimate(np.array([4.0]))
    assert (single.value, single.observations) == (4.0, 1)
    assert math.isnan(single.low)
    assert math.isnan(statistics.mean_estimate(np.array([])).value)


@pytest.mark.parametrize(("count", "lags"), [(0, 0), (1, 1), (100, 4), (365, 5), (1000, 6), (7000, 10)])
def test_lags_after_newey_and_west(count: int, lags: int) -> None:
    assert statistics.newey_west_lags(count) == lags


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Mean of a persistent series (coefficient 0.5) with known mean 0: with lags 95 %, without far less."""
    generator = np.random.default_rng(7)
    inside = {"with": 0, "without": 0}
    for _ in range(400):
        noise = generator.normal(size=1050)
        values = np.empty(1050)
        values[0] = noise[0]
        for index in range(1, 1050):
            values[index] = 0.5 * values[index - 1] + noise[index]
        for name, lags in (("with", 25), ("without", 0)):
            found = statistics.mean_estimate(values[50:], lags)
            inside[name] += found.low <= 0.0 <= found.high
    assert 0.91 <= inside["with"] / 400 <= 0.98
    assert inside["without"] / 400 < 0.85


@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 8)), min_size=1, max_size=30),
    st.sampled_from([0.05, 0.25, 0.5, 0.95, 1.0]),
)
def test_weighted_quantile_is_that_of_values_repeated_by_their_weight(rows: list[tuple[int, int]], q: float) -> None:
    values, weights = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    repeated = sorted(value for value, weight in rows for _ in range(weight))
    expected = repeated[max(0, math.ceil(q * len(repeated) - 1e-9) - 1)]
    assert statistics.weighted_quantiles(values, weights, (q,)) == (expected,)


# --- persistence --------------------------------------------------------------------------------------------------


def test_half_life() -> None:
    assert statistics.half_life(0.5, 8.0) == 8.0
    assert statistics.half_life(0.25, 8.0) == 4.0
    assert statistics.half_life(2.0**-0.5, 4.0) == pytest.approx(8.0)
    assert statistics.half_life(0.0, 8.0) == 0.0
    assert statistics.half_life(-0.3, 8.0) == 0.0
    assert statistics.half_life(1.0, 8.0) == math.inf
    assert math.isnan(statistics.half_life(math.nan, 8.0))


def test_autoregression_by_hand() -> None:
    # Pairs (0, 1), (1, 1), (2, 4): centred x -1, 0, 1, slope (4 - 1) / 2 = 1.5, intercept 2 - 1.5 = 0.5.
    # Residuals 0.5, -1, 0.5; robust variance 3/1 (0.25 + 0.25) / 2^2 = 0.375.
    found = statistics.autoregression(np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 4.0]), 8.0)
    assert found.phi.value == 1.5
    assert found.phi.observations == 3
    assert found.phi.high - found.phi.value == pytest.approx(1.959964 * math.sqrt(0.375), rel=1e-6)
    assert found.half_life_hours.value == math.inf


def test_autoregression_of_a_steady_decay_is_exact() -> None:
    values = 5.0 + 0.5 ** np.arange(10.0)
    found = statistics.autoregression(values[:-1], values[1:], 4.0)
    assert found.phi.value == pytest.approx(0.5)
    assert found.half_life_hours.value == pytest.approx(4.0)
    assert found.half_life_hours.low == pytest.approx(4.0, rel=1e-6)


def test_autoregression_finds_the_coefficient_of_simulated_rates_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    inside = 0
    for _ in range(300):
        noise = generator.standard_t(5, size=1200)
        values = np.zeros(1200)
        for index in range(1, 1200):
            values[index] = 0.7 * values[index - 1] + noise[index]
        found = statistics.autoregression(values[200:-1], values[201:], 8.0)
        inside += found.phi.low <= 0.7 <= found.phi.high
    assert 0.91 <= inside / 300 <= 0.98


def test_constant_or_few_rates_have_no_coefficient() -> None:
    for values in (np.ones(50), np.array([1.0, 2.0]), np.array([])):
        assert math.isnan(statistics.autoregression(values[:-1], values[1:], 8.0).phi.value)


def test_pairs_are_neighbours_of_one_interval_without_a_hole_or_a_switch() -> None:
    # 8, 8, (one missing) 16 -> the last part of it is 8, then a switch to 4.
    times = hours(0, 8, 16, 32, 40, 44, 48)
    intervals = np.array([8.0, 8.0, 8.0, 8.0, 8.0, 4.0, 4.0])
    found = statistics.equal_spacing_pairs(times, intervals)
    assert {spacing: list(rows) for spacing, rows in found.items()} == {8.0: [0, 1, 3], 4.0: [5]}


def test_autocorrelation_by_hand_and_at_exact_lags_only() -> None:
    # 1, -1, 1, -1 every 8 h: variance 1, neighbours -1, two apart +1. At 4 h there is no pair.
    times, rates = hours(0, 8, 16, 24), np.array([1.0, -1.0, 1.0, -1.0])
    assert statistics.autocorrelation(times, rates, 8) == (-1.0, 3)
    assert math.isnan(statistics.autocorrelation(times, rates, 16)[0])  # two pairs are too few
    assert statistics.autocorrelation(times, rates, 4)[1] == 0
    # With a switch to 4 h the lag of 8 h still joins rows that lie 8 h apart, also when they are not neighbours.
    times = hours(0, 8, 16, 20, 24, 28)
    assert statistics.autocorrelation(times, np.arange(6.0), 8)[1] == 4


# --- runs ---------------------------------------------------------------------------------------------------------


def test_runs_by_hand() -> None:
    rate = np.array([0.0, 1.0, 0.0, 2.0, -1.0, np.nan, -1.0, 3.0])
    interval = np.array([8.0, 8.0, 8.0, 4.0, 4.0, 4.0, 4.0, 1.0])
    runs = statistics.sign_runs(rate, interval)
    assert list(runs.sign) == [1, -1, 1]  # the zero at the start is left out, the one inside carries the sign before
    assert list(zip(runs.first, runs.last, strict=True)) == [(1, 3), (4, 6), (7, 7)]
    assert list(runs.hours) == [20.0, 8.0, 1.0]  # the row without a rate counts nothing
    assert list(runs.is_cut) == [True, False, True]


def test_no_run_without_a_sign() -> None:
    for rate in (np.zeros(3), np.array([]), np.array([np.nan])):
        assert len(statistics.sign_runs(rate, np.ones(len(rate))).sign) == 0


@given(st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, math.nan]), min_size=1, max_size=40))
def test_runs_equal_a_plain_walk(values: list[float]) -> None:
    walked: list[list[float]] = []
    sign = 0.0
    for value in values:
        if math.isnan(value):
            continue
        new = math.copysign(1.0, value) if value else sign
        if not new:
            continue
        if new != sign:
            walked.append([new, 0.0])
        sign = new
        walked[-1][1] += 8.0
    runs = statistics.sign_runs(np.array(values), np.full(len(values), 8.0))
    assert [[float(sign), float(length)] for sign, length in zip(runs.sign, runs.hours, strict=True)] == walked


# --- common clock -------------------------------------------------------------------------------------------------


def test_accrual_spreads_each_rate_over_its_own_hours() -> None:
    first, hourly = statistics.hourly_accrual(hours(8, 12, 13), np.array([0.8, 0.2, np.nan]), np.array([8.0, 4.0, 1.0]))
    assert first == T0
    np.testing.assert_allclose(hourly, [0.1] * 8 + [0.05] * 4 + [np.nan])


def test_hours_of_a_missing_settlement_are_not_known() -> None:
    # 8 h calendar, the settlement at 16 is missing: the one at 24 covers 16 .. 24.
    first, hourly = statistics.hourly_accrual(hours(8, 24), np.array([0.8, 0.8]), np.array([8.0, 8.0]))
    assert first == T0
    np.testing.assert_array_equal(np.isnan(hourly), [False] * 8 + [True] * 8 + [False] * 8)
    ends, sums = statistics.window_sums(first, hourly, 8)
    assert list((ends - T0) // H) == [8, 24]
    np.testing.assert_allclose(sums, [0.8, 0.8])
    assert len(statistics.window_sums(first, hourly, 24)[0]) == 0


def test_windows_are_aligned_to_midnight_and_whole() -> None:
    # Hourly data from 05:00 to 27:00: the only whole 8 h windows end at 16:00 and 24:00.
    ends, sums = statistics.window_sums(T0 + 5 * H, np.ones(22), 8)
    assert list((ends - T0) // H) == [16, 24]
    assert list(sums) == [8.0, 8.0]


@given(st.lists(st.tuples(st.sampled_from([1, 4, 8]), st.integers(-1000, 1000)), min_size=1, max_size=40))
def test_accrual_loses_nothing(rows: list[tuple[int, int]]) -> None:
    intervals = np.array([float(interval) for interval, _ in rows])
    times = T0 + (np.cumsum(intervals) * H).astype(np.int64)
    rates = np.array([rate / 1e6 for _, rate in rows])
    first, hourly = statistics.hourly_accrual(times, rates, intervals)
    assert first == T0
    assert len(hourly) == intervals.sum()
    assert math.isclose(hourly.sum(), rates.sum(), abs_tol=1e-12)


def test_mean_ahead_is_the_mean_of_the_hours_after_an_instant() -> None:
    hourly = np.array([1.0, 2.0, 3.0, np.nan, 5.0, 6.0])
    times = hours(-1, 0, 1, 2, 4, 5)
    found = statistics.ahead_mean(times, T0, hourly, 2)
    np.testing.assert_array_equal(found, [np.nan, 1.5, 2.5, np.nan, 5.5, np.nan])


# --- correlation --------------------------------------------------------------------------------------------------


def test_correlation_by_hand() -> None:
    # Deviations -2 .. 2 and -2, 0, -1, 1, 2: products 4 + 0 + 0 + 1 + 4 = 9 over 10.
    left, right = np.array([1.0, 2, 3, 4, 5]), np.array([1.0, 3, 2, 4, 5])
    found = statistics.correlation(left, right)
    assert found.value == pytest.approx(0.9)
    # Lag-one autocorrelations (4 + ... ): left (2 + 0 + 0 + 2) / 10 = 0.4, right (0 + 0 - 1 + 2) / 10 = 0.1:
    # 5 (1 - 0.04) / (1 + 0.04) = 4.615 independent ones.
    half = 1.959964 / math.sqrt(5 * 0.96 / 1.04 - 3)
    assert found.low == pytest.approx(math.tanh(math.atanh(0.9) - half), rel=1e-6)
    assert found.high == pytest.approx(math.tanh(math.atanh(0.9) + half), rel=1e-6)


def test_alternating_series_count_no_more_than_they_are() -> None:
    # Autocorrelations of opposite sign would make more independent observations than there are.
    slow = np.array([1.0, 2, 3, 4, 5, 6, 7, 8])
    fast = np.array([1.0, -1, 1.5, -1, 1, -1.5, 1, -1])
    # Deviations -3.5 .. 3.5 (squares 42) times fast (squares 10.5): -5.5 over sqrt(42 x 10.5) = 21.
    found = statistics.correlation(slow, fast)
    assert found.value == pytest.approx(-5.5 / 21)
    half = 1.959964 / math.sqrt(8 - 3)
    assert found.high == pytest.approx(math.tanh(math.atanh(-5.5 / 21) + half), rel=1e-6)


def test_persistence_widens_the_interval() -> None:
    generator = np.random.default_rng(1)
    white = generator.normal(size=(2, 500))
    slow = white.copy()
    for index in range(1, 500):
        slow[:, index] += 0.9 * slow[:, index - 1]
    widths = [found.high - found.low for found in (statistics.correlation(*white), statistics.correlation(*slow))]
    assert widths[1] > 2 * widths[0]


def test_rank_correlation_with_ties() -> None:
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: sum of products of deviations 4.5, squares 4.5 and 5.
    found = statistics.rank_correlation(np.array([1.0, 7, 7, 9]), np.array([0.1, 0.2, 0.3, 100.0]))
    assert found == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert statistics.rank_correlation(np.array([1.0, 2, 3]), np.array([9.0, 8, -7])) == pytest.approx(-1.0)
    assert math.isnan(statistics.rank_correlation(np.ones(5), np.arange(5.0)))


# --- costs --------------------------------------------------------------------------------------------------------


def test_hours_to_pay() -> None:
    # The worked example of the signal's spec: 32 bps at 0.01 % per 8 h take 256 hours.
    assert statistics.hours_to_pay(0.0032, 0.0001 / 8) == pytest.approx(256.0)
    assert statistics.hours_to_pay(0.0032, -0.0001) == math.inf
    assert statistics.hours_to_pay(0.0, -0.0001) == 0.0
    assert math.isnan(statistics.hours_to_pay(math.nan, 0.1))


def test_forecast_weights_of_the_signals_spec() -> None:
    np.testing.assert_allclose(statistics.forecast_weights(np.array([8.0, 72.0]), 72.0), [1 - 2 ** (-1 / 9), 0.5])
