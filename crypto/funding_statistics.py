"""Statistics of funding rates on their true settlement spacing. Spec: docs/specs/funding_research.md.

Rates enter as fractions per hour (rate / interval), so that settlements of 1, 4 and 8 hours can be compared; a NaN is
a settlement without a rate. Intervals of confidence are 95 %, two-sided, and each function names its method.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crypto.basis import NEVER, break_even_hours
from crypto.market import Floats, Integers
from crypto.units import HOUR_MS

Z_95 = 1.959963984540054  # normal quantile of 97.5 %


class Estimate(NamedTuple):
    """A value with its 95 % interval and the number of observations; NaN where there are too few."""

    value: float
    low: float
    high: float
    observations: int


_UNKNOWN = Estimate(math.nan, math.nan, math.nan, 0)


def newey_west_lags(count: int) -> int:
    """Lags of the Bartlett kernel for ``count`` observations: floor(4 (n / 100)^(2/9)), Newey and West 1994."""
    return int(4.0 * (count / 100.0) ** (2.0 / 9.0)) if count else 0


def mean_estimate(values: Floats, lags: int | None = None) -> Estimate:
    """Mean of the known values in order of time, with an interval that allows for serial correlation.

    Variance of the mean after Newey and West 1987: Bartlett weights 1 - k / (L + 1) on the autocovariances up to L =
    ``lags`` (``newey_west_lags`` when None), normal quantile. NaN bounds with fewer than two values.
    """
    known = values[np.isfinite(values)]
    count = len(known)
    if count < 2:
        return Estimate(float(known[0]) if count else math.nan, math.nan, math.nan, count)
    mean = float(known.mean())
    residual = known - mean
    reach = min(count - 1, newey_west_lags(count) if lags is None else lags)
    variance = float(residual @ residual)
    for lag in range(1, reach + 1):
        variance += 2.0 * (1.0 - lag / (reach + 1.0)) * float(residual[lag:] @ residual[:-lag])
    half = Z_95 * math.sqrt(max(variance, 0.0)) / count
    return Estimate(mean, mean - half, mean + half, count)


def weighted_quantiles(values: Floats, weights: Floats, shares: tuple[float, ...]) -> tuple[float, ...]:
    """The lowest known value at which the weights up to it reach each share of all of them; NaN without any."""
    known = np.isfinite(values)
    if not known.any():
        return tuple(math.nan for _ in shares)
    order = np.argsort(values[known], kind="stable")
    ascending, below = values[known][order], np.cumsum(weights[known][order])
    # A relative hair below, so that the rounding of a running sum does not skip the value that reaches a share exactly.
    places = np.searchsorted(below, np.array(shares) * below[-1] * (1.0 - 1e-12))
    return tuple(float(ascending[min(place, len(ascending) - 1)]) for place in places)


class Autoregression(NamedTuple):
    """First-order autoregression of settlements ``interval_hours`` apart: coefficient and half-life in hours."""

    interval_hours: float
    phi: Estimate
    half_life_hours: Estimate


def autoregression(rate_per_hour: Floats, next_per_hour: Floats, interval_hours: float) -> Autoregression:
    """Regression of each rate on the one before it, from pairs that lie ``interval_hours`` apart.

    Ordinary least squares with an intercept; standard error robust to changing variance (White 1980, with n / (n - 2)),
    normal quantile. The half-life rises with the coefficient, so its bounds are those of the coefficient's bounds. The
    coefficient comes out low by about (1 + 3 phi) / n (Kendall 1954), which is not corrected.
    """
    known = np.isfinite(rate_per_hour) & np.isfinite(next_per_hour)
    before, after = rate_per_hour[known], next_per_hour[known]
    count = len(before)
    centred = before - before.mean() if count else before
    square = float(centred @ centred)
    if count < 3 or square <= 0.0:
        unknown = _UNKNOWN._replace(observations=count)
        return Autoregression(interval_hours, unknown, unknown)
    phi = float(centred @ after) / square
    residual = after - after.mean() - phi * centred
    error = math.sqrt(count / (count - 2) * float((centred * residual) @ (centred * residual))) / square
    found = Estimate(phi, phi - Z_95 * error, phi + Z_95 * error, count)
    lives = [half_life(coefficient, interval_hours) for coefficient in found[:3]]
    return Autoregression(interval_hours, found, Estimate(lives[0], lives[1], lives[2], count))


def half_life(phi: float, interval_hours: float) -> float:
    """Hours in which a deviation halves when ``phi`` of it is left after each interval; 0 if phi <= 0, inf if >= 1."""
    if not phi > 0.0:
        return math.nan if math.isnan(phi) else 0.0
    return math.inf if phi >= 1.0 else interval_hours * math.log(0.5) / math.log(phi)


def equal_spacing_pairs(times_ms: Integers, interval_hours: Floats) -> dict[float, Integers]:
    """Rows i by spacing in hours, where rows i and i + 1 are neighbours of one interval with nothing missing between.

    ``times_ms`` are settlement instants; a spacing that differs from the interval in force (a hole, a switch) is left
    out.
    """
    spacing = np.diff(times_ms) / HOUR_MS
    steady = (spacing == interval_hours[1:]) & (spacing == interval_hours[:-1])
    return {float(hours): np.flatnonzero(steady & (spacing == hours)) for hours in np.unique(spacing[steady])}


def autocorrelation(times_ms: Integers, rate_per_hour: Floats, lag_hours: float) -> tuple[float, int]:
    """Correlation of rates exactly ``lag_hours`` apart and the number of such pairs; NaN with fewer than three.

    Both sides are centred and scaled by the moments of all known rates, as usual for an autocorrelation. Without any
    correlation it would lie within 1.96 / sqrt(pairs) of zero in 95 % of cases (Bartlett 1946).
    """
    known = np.isfinite(rate_per_hour)
    times, rates = times_ms[known], rate_per_hour[known]
    if len(times) < 3:
        return math.nan, 0
    wanted = times + round(lag_hours * HOUR_MS)
    places = np.minimum(np.searchsorted(times, wanted), len(times) - 1)
    first = np.flatnonzero(times[places] == wanted)
    variance = float(np.var(rates))
    if len(first) < 3 or variance <= 0.0:
        return math.nan, len(first)
    centred = rates - rates.mean()
    return float((centred[first] * centred[places[first]]).mean()) / variance, len(first)


class Runs(NamedTuple):
    """Stretches of one sign: ``sign`` +1 or -1, rows (first, last), hours covered, and whether the data cut it off."""

    sign: NDArray[np.int8]
    first: Integers
    last: Integers
    hours: Floats
    is_cut: NDArray[np.bool_]


def sign_runs(rate: Floats, interval_hours: Floats) -> Runs:
    """Runs of the sign of known rates. A rate of zero carries the sign before it; zeros at the start are left out.

    ``hours`` sums the intervals of the rows of a run. The first and last run are cut: they may be longer than is seen.
    """
    known = np.flatnonzero(np.isfinite(rate))
    sign = np.sign(rate[known]).astype(np.int8)
    nonzero = np.flatnonzero(sign)
    if not len(nonzero):
        empty = np.empty(0, np.int64)
        return Runs(np.empty(0, np.int8), empty, empty, np.empty(0), np.empty(0, np.bool_))
    known, sign = known[nonzero[0] :], sign[nonzero[0] :]
    carried = np.maximum.accumulate(np.where(sign != 0, np.arange(len(sign)), 0))
    sign = sign[carried]
    starts = np.concatenate(([0], np.flatnonzero(np.diff(sign)) + 1))
    ends = np.concatenate((starts[1:], [len(sign)])) - 1
    hours = np.add.reduceat(interval_hours[known], starts)
    is_cut = np.zeros(len(starts), dtype=bool)
    is_cut[[0, -1]] = True
    return Runs(sign[starts], known[starts], known[ends], hours, is_cut)


def hourly_accrual(times_ms: Integers, rate: Floats, interval_hours: Floats) -> tuple[int, Floats]:
    """Funding spread evenly over the hours of its own interval: first hour (its start, ms) and rate of each hour.

    The hours of a settlement are those that end with it. Hours that no settlement covers, or one without a rate, are
    NaN. The sum over any stretch of whole intervals is the sum of their rates. Intervals must be whole hours.
    """
    if not len(times_ms):
        return 0, np.empty(0)
    ends = times_ms // HOUR_MS
    counts = np.rint(interval_hours).astype(np.int64)
    first = int(ends[0] - counts[0])
    hours = np.full(int(ends[-1]) - first, np.nan)
    rows = np.repeat(np.arange(len(ends)), counts)
    offsets = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    hours[np.repeat(ends - counts, counts) + offsets - first] = (rate / counts)[rows]
    return first * HOUR_MS, hours


def window_sums(first_ms: int, hourly: Floats, window_hours: int) -> tuple[Integers, Floats]:
    """Sums of hourly accrual over windows aligned to UTC midnight 1970: window ends (ms) and sums.

    Windows with an hour that is not known, and those that the series covers only in part, are left out.
    """
    begin = -(-first_ms // (window_hours * HOUR_MS)) * window_hours
    skip = int(begin - first_ms // HOUR_MS)
    count = max(0, (len(hourly) - skip) // window_hours)
    sums = hourly[skip : skip + count * window_hours].reshape(count, window_hours).sum(axis=1)
    ends = (begin + (np.arange(count, dtype=np.int64) + 1) * window_hours) * HOUR_MS
    known = np.isfinite(sums)
    return ends[known], sums[known]


def correlation(left: Floats, right: Floats) -> Estimate:
    """Pearson correlation of two series on one clock, with an interval that allows for their persistence.

    Fisher's z with standard error 1 / sqrt(m - 3), where m = n (1 - r1 r2) / (1 + r1 r2) is the number of independent
    observations and r1, r2 are the lag-one autocorrelations (Bartlett 1935); m is at most n.
    """
    count = len(left)
    if count < 5 or not (np.ptp(left) > 0.0 and np.ptp(right) > 0.0):
        return _UNKNOWN._replace(observations=count)
    value = float(np.corrcoef(left, right)[0, 1])
    product = _lag_one(left) * _lag_one(right)
    independent = min(float(count), count * (1.0 - product) / (1.0 + product))
    if independent <= 3.0 or abs(value) >= 1.0:
        return Estimate(value, math.nan, math.nan, count)
    half = Z_95 / math.sqrt(independent - 3.0)
    centre = math.atanh(value)
    return Estimate(value, math.tanh(centre - half), math.tanh(centre + half), count)


def _lag_one(values: Floats) -> float:
    centred = values - values.mean()
    return float(centred[1:] @ centred[:-1]) / float(centred @ centred)


def rank_correlation(left: Floats, right: Floats) -> float:
    """Spearman's correlation: Pearson's of the ranks, equal values share their mean rank. NaN with fewer than three."""
    if len(left) < 3 or not (np.ptp(left) > 0.0 and np.ptp(right) > 0.0):
        return math.nan
    return float(np.corrcoef(_ranks(left), _ranks(right))[0, 1])


def _ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts).astype(np.float64)
    return (last - (counts - 1) / 2.0)[inverse]


def forecast_weights(interval_hours: Floats, half_life_hours: float) -> Floats:
    """Weight of each settlement in the strategy's forecast: 1 - 0.5^(interval / half-life)."""
    return np.asarray(1.0 - 0.5 ** (interval_hours / half_life_hours))


def ahead_mean(times_ms: Integers, first_ms: int, hourly: Floats, horizon_hours: int) -> Floats:
    """Mean hourly rate over the ``horizon_hours`` after each instant; NaN where an hour of it is not known."""
    total = np.concatenate(([0.0], np.cumsum(np.nan_to_num(hourly))))
    unknown = np.concatenate(([0], np.cumsum(~np.isfinite(hourly))))
    begin = (times_ms - first_ms) // HOUR_MS
    end = begin + horizon_hours
    inside = (begin >= 0) & (end <= len(hourly))
    low, high = np.where(inside, begin, 0), np.where(inside, end, 0)
    complete = inside & (unknown[high] == unknown[low])
    return np.where(complete, (total[high] - total[low]) / horizon_hours, np.nan)


def hours_to_pay(cost: float, rate_per_hour: float) -> float:
    """Hours of ``rate_per_hour`` that pay ``cost`` (fractions of notional); infinite when it never does."""
    if math.isnan(cost) or math.isnan(rate_per_hour):
        return math.nan
    hours = break_even_hours(cost, rate_per_hour)
    return math.inf if hours == NEVER else hours
