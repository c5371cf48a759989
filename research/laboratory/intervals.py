"""Confidence intervals of shares and of quantiles of times. Spec: docs/specs/laboratory.md."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from crypto.market import Floats, Integers


def normal_score(confidence: float) -> float:
    """How many deviations a two-sided interval of this confidence reaches."""
    return NormalDist().inv_cdf(0.5 + 0.5 * confidence)


def wilson(hits: Floats, trials: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Wilson's score interval (1927) of shares ``hits / trials``; never outside 0 to 1, also for none or all."""
    z = normal_score(confidence)
    share = hits / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    low, high = np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)
    # At the ends the bound is the share itself, which rounding may miss.
    return np.where(share == 0, 0.0, np.minimum(low, share)), np.where(share == 1, 1.0, np.maximum(high, share))


def paired_trials(passed: Integers, barriers: int) -> Floats:
    """Independent trials that antithetic pairs are worth, by barrier, shape (barriers,).

    ``passed``: barriers that each path passed, pair after pair. The variance of the mean of pairs is measured, and the
    number of independent paths with the same variance returned; where it is 0 the number of pairs.
    """
    first, second = passed[0::2], passed[1::2]
    pairs = first.size
    both = _at_least(np.minimum(first, second), barriers)
    share = (_at_least(first, barriers) + _at_least(second, barriers)) / (2 * pairs)
    # Var of a pair's mean: E[(a + b)^2] / 4 - p^2 with a, b of 0 or 1.
    variance = (2 * share + 2 * both / pairs) / 4 - share * share
    binomial = share * (1 - share)
    worth = np.where(variance > 0, binomial / np.where(variance > 0, variance, 1.0) * pairs, float(pairs))
    return np.maximum(worth, 1.0)


def _at_least(passed: Integers, barriers: int) -> Floats:
    counts = np.bincount(passed, minlength=barriers + 1)
    at_least: Floats = np.cumsum(counts[::-1])[::-1][1:].astype(np.float64)
    return at_least


def time_of_rank(hits_until: Integers, ends: Floats, rank: float) -> float:
    """Time by which ``rank`` (above 0) paths are hit, linear inside a record; NaN when there are fewer hits."""
    if not 0 < rank <= hits_until[-1]:
        return math.nan
    record = int(np.searchsorted(hits_until, rank, side="left"))
    before = float(hits_until[record - 1]) if record else 0.0
    begin = float(ends[record - 1]) if record else 0.0
    return begin + (float(ends[record]) - begin) * (rank - before) / (float(hits_until[record]) - before)


def time_quantile(hits_until: Integers, ends: Floats, quantile: float, confidence: float) -> tuple[float, float, float]:
    """Quantile of the times of those that were hit, with its distribution-free interval.

    The interval runs between the order statistics at n q +- z sqrt(n q (1 - q)), widened to whole ranks and kept within
    1 and n. NaN without hits.
    """
    total = int(hits_until[-1])
    if total == 0:
        return math.nan, math.nan, math.nan
    spread = normal_score(confidence) * math.sqrt(total * quantile * (1 - quantile))
    low = max(1, math.floor(total * quantile - spread))
    high = min(total, math.ceil(total * quantile + spread) + 1)
    middle = max(1.0, total * quantile)
    ranks = (middle, float(low), float(high))
    found = [time_of_rank(hits_until, ends, rank) for rank in ranks]
    return found[0], found[1], found[2]
