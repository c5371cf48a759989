"""Composite price of an asset over several venues, in arrays. Spec: docs/specs/oracle.md.

One formula for a live snapshot, a risk guard and a column of history: ``composite`` works in arrays that its caller
holds, ``composite_series`` runs it over every bar, ``crypto.oracle.evaluate`` wraps it for named sources.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crypto.compiled import jit, kernel
from crypto.errors import SettingsError
from crypto.market import Floats, Integers

Codes = NDArray[np.int8]


class Status(IntEnum):
    """``OK``: usable. ``DEGRADED``: usable to reduce risk, not to add any. ``HALT``: there is no price."""

    OK = 0
    DEGRADED = 1
    HALT = 2


class Verdict(IntEnum):
    """What became of a source: used, or why it was rejected."""

    USED = 0
    NO_PRICE = 1
    NO_QUOTE_RATE = 2
    BAD_AGE = 3
    STALE = 4
    OUTLIER = 5
    BAD_BOOK = 6


_OK, _DEGRADED, _HALT = int(Status.OK), int(Status.DEGRADED), int(Status.HALT)
_USED, _NO_PRICE, _NO_QUOTE_RATE = int(Verdict.USED), int(Verdict.NO_PRICE), int(Verdict.NO_QUOTE_RATE)
_BAD_AGE, _STALE, _OUTLIER = int(Verdict.BAD_AGE), int(Verdict.STALE), int(Verdict.OUTLIER)
# Sums of decimal weights are off by their rounding: 0.1 + 0.2 + 0.3 is more than twice 0.3. Within this part of the
# whole, half is half; otherwise the value would depend on the order in which equal weights are added.
_HALF_TOLERANCE = 1e-12


class Rules(NamedTuple):
    """Limits of the composite. Deviations and dispersion are fractions, times are milliseconds.

    A source is an outlier when it lies further from the median than ``mad_factor`` median absolute deviations, but
    never for less than ``deviation_floor`` and always for more than ``deviation_cap``.
    ``max_dispersion``: highest less lowest used price over the value, above which the value is degraded.
    ``recovery_ms``: how long the sources must have been clean before the value is OK again.
    """

    max_age_ms: float = 3_000.0
    mad_factor: float = 5.0
    deviation_floor: float = 0.003
    deviation_cap: float = 0.03
    max_dispersion: float = 0.01
    quorum: int = 3
    degraded_quorum: int = 2
    recovery_ms: float = 10_000.0


MAJORS = Rules()
ALTS = Rules(max_age_ms=10_000.0, deviation_floor=0.015, max_dispersion=0.03)
MAJOR_ASSETS = ("BTC", "ETH")  # assets that MAJORS are for


class Composite(NamedTuple):
    """Outcome for one instant. ``value`` is NaN when halted; the rest is over the used sources (NaN when none)."""

    value: float
    status: int
    used: int
    fresh: int  # with a usable price within the age limit, outliers included
    oldest_ms: float
    dispersion: float
    limit: float  # deviation from the median beyond which a source was an outlier


@kernel
def mid_price(bid: float, ask: float, max_spread: float) -> float:
    """Middle of a top of book; NaN when it is crossed, locked, empty or wider than the fraction ``max_spread``."""
    if not (bid > 0.0 and ask > bid):
        return math.nan
    mid = 0.5 * (bid + ask)
    return mid if ask - bid <= max_spread * mid else math.nan


@kernel
def deviation(price: float, value: float) -> float:
    """How far ``price`` lies above ``value``, as a fraction (negative: below)."""
    return price / value - 1.0


@kernel
def verdict_of(price: float, quote_rate: float, age_ms: float, max_age_ms: float) -> int:
    """Verdict on a source by itself, before it is compared with the others. An age of exactly the limit is fresh."""
    if not (0.0 < price < math.inf):
        return _NO_PRICE
    if not (0.0 < quote_rate < math.inf):
        return _NO_QUOTE_RATE
    if not age_ms >= 0.0:  # stamped after now, or not known
        return _BAD_AGE
    return _STALE if age_ms > max_age_ms else _USED


@kernel
def _insert(values: Any, order: Any, count: int, index: int) -> None:
    """Put ``index`` into the first ``count`` of ``order``, which are sorted by ``values``."""
    place = count
    while place > 0 and values[order[place - 1]] > values[index]:
        order[place] = order[place - 1]
        place -= 1
    order[place] = index


@kernel
def _middle(values: Any, order: Any, count: int) -> float:
    """Median of the first ``count`` (> 0) of ``order``: of an even number the mean of the two in the middle."""
    high: float = values[order[count // 2]]
    low: float = values[order[(count - 1) // 2]]
    return 0.5 * (low + high)


@kernel
def weighted_median(values: Any, weight: Any, order: Any, count: int) -> float:
    """Weighted median of the first ``count`` (> 0) of ``order``, which are sorted by ``values``.

    The lowest value at which the weights up to it reach half of all; where they reach it exactly, the mean of that
    value and the next. When one source has half of the weight or more, all count the same: none may decide alone.
    """
    total = 0.0
    largest = 0.0
    for place in range(count):
        total += weight[order[place]]
        largest = max(largest, weight[order[place]])
    slack = _HALF_TOLERANCE * total
    if 2.0 * largest >= total - slack:
        return _middle(values, order, count)
    place = 0
    below = weight[order[0]]
    while 2.0 * below < total - slack:
        place += 1
        below += weight[order[place]]
    value: float = values[order[place]]
    above: float = values[order[place + 1]] if 2.0 * below <= total + slack else value
    return 0.5 * (value + above)


@kernel
def composite(
    price: Any, quote_rate: Any, age_ms: Any, weight: Any, rules: Rules, verdict: Any, common: Any, order: Any
) -> Composite:
    """Composite of n sources at one instant.

    ``price`` in the source's own quote per base unit, ``quote_rate`` units of the common quote per unit of that quote,
    ``age_ms`` since the price was received, ``weight`` > 0; each of shape (n,), NaN: not known. Written to: ``verdict``
    (n,), and the work space ``common`` (2, n) and ``order`` (2, n) of whole numbers, whose contents don't matter.
    """
    fresh = 0
    for index in range(len(price)):
        verdict[index] = verdict_of(price[index], quote_rate[index], age_ms[index], rules.max_age_ms)
        if verdict[index] == _USED:
            common[0, index] = price[index] * quote_rate[index]
            _insert(common[0], order[0], fresh, index)
            fresh += 1
    if fresh == 0:
        return Composite(math.nan, _HALT, 0, 0, math.nan, math.nan, math.nan)
    median = _middle(common[0], order[0], fresh)
    for place in range(fresh):
        index = order[0, place]
        common[1, index] = abs(deviation(common[0, index], median))
        _insert(common[1], order[1], place, index)
    spread = _middle(common[1], order[1], fresh)
    limit = min(rules.deviation_cap, max(rules.mad_factor * spread, rules.deviation_floor))
    used = 0
    oldest = 0.0
    for place in range(fresh):
        index = order[0, place]
        if common[1, index] > limit:
            verdict[index] = _OUTLIER
        else:
            order[0, used] = index
            oldest = max(oldest, age_ms[index])
            used += 1
    if used == 0:
        return Composite(math.nan, _HALT, 0, fresh, math.nan, math.nan, limit)
    value = weighted_median(common[0], weight, order[0], used)
    dispersion = (common[0, order[0, used - 1]] - common[0, order[0, 0]]) / value
    if used < rules.degraded_quorum:
        return Composite(math.nan, _HALT, used, fresh, oldest, dispersion, limit)
    is_ok = used >= rules.quorum and dispersion <= rules.max_dispersion
    return Composite(value, _OK if is_ok else _DEGRADED, used, fresh, oldest, dispersion, limit)


@kernel
def after_recovery(status: int, time_ms: float, last_bad_ms: float, recovery_ms: float) -> int:
    """``status``, but OK is held back to DEGRADED until ``recovery_ms`` after the last instant that was not OK."""
    return _DEGRADED if status == _OK and time_ms - last_bad_ms < recovery_ms else status


class OracleArrays(NamedTuple):
    """Composite of every instant, shape (T,), and the verdict on every source, shape (T, n)."""

    value: Floats
    status: Codes
    used: Integers
    oldest_ms: Floats
    dispersion: Floats
    verdict: Codes


@jit
def _run(
    time_ms: Any, price: Any, quote_rate: Any, age_ms: Any, weight: Any, rules: Rules, to: OracleArrays, work: Any
) -> None:
    common, order = work
    last_bad = -math.inf
    for row in range(len(time_ms)):
        found = composite(price[row], quote_rate[row], age_ms[row], weight, rules, to.verdict[row], common, order)
        to.value[row] = found.value
        to.status[row] = after_recovery(found.status, time_ms[row], last_bad, rules.recovery_ms)
        to.used[row] = found.used
        to.oldest_ms[row] = found.oldest_ms
        to.dispersion[row] = found.dispersion
        if found.status != _OK:
            last_bad = float(time_ms[row])


def composite_series(
    time_ms: Integers, price: Floats, quote_rate: Floats, age_ms: Floats, weight: Floats, rules: Rules
) -> OracleArrays:
    """``composite`` at every instant of ``time_ms`` (T,), with recovery; inputs (T, n), ``weight`` (n,).

    ``SettingsError`` for rules or weights that make no sense.
    """
    check_rules(rules)
    check_weights(weight)
    rows, count = price.shape
    found = OracleArrays(
        np.empty(rows),
        np.empty(rows, np.int8),
        np.empty(rows, np.int64),
        np.empty(rows),
        np.empty(rows),
        np.empty((rows, count), np.int8),
    )
    work = (np.empty((2, count)), np.empty((2, count), np.int64))
    prices, rates, ages, weights = (
        np.ascontiguousarray(values, dtype=np.float64) for values in (price, quote_rate, age_ms, weight)
    )
    times = np.ascontiguousarray(time_ms, dtype=np.int64)
    _run(times, prices, rates, ages, weights, _of_one_type(rules), found, work)
    return found


def _of_one_type(rules: Rules) -> Rules:
    """The same rules with the types they are declared with: 3 and 3.0 would be compiled twice."""
    return Rules(
        float(rules.max_age_ms),
        float(rules.mad_factor),
        float(rules.deviation_floor),
        float(rules.deviation_cap),
        float(rules.max_dispersion),
        int(rules.quorum),
        int(rules.degraded_quorum),
        float(rules.recovery_ms),
    )


def check_rules(rules: Rules) -> None:
    """``SettingsError`` naming the first limit that makes no sense."""
    for name, limit in rules._asdict().items():
        if not (math.isfinite(limit) and limit >= 0):
            raise SettingsError(f"oracle {name} = {limit} is not a number from 0 on", remedy=f"give {name} >= 0")
    if not 1 <= rules.degraded_quorum <= rules.quorum:
        raise SettingsError(
            f"oracle quorum = {rules.quorum}, degraded_quorum = {rules.degraded_quorum}",
            remedy="give 1 <= degraded_quorum <= quorum",
        )
    if rules.deviation_floor > rules.deviation_cap:
        raise SettingsError(
            f"oracle deviation_floor = {rules.deviation_floor} is above deviation_cap = {rules.deviation_cap}",
            remedy="give a floor at or below the cap",
        )


def check_weights(weight: Floats) -> None:
    """``SettingsError`` unless every weight is a positive number."""
    if not (np.isfinite(weight) & (weight > 0.0)).all():
        raise SettingsError("an oracle weight is not a positive number", remedy="leave a source out instead")
