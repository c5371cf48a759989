"""Laws of the oracle's composite, over random sources; the brute force shares no code with it."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crypto.oracle import Source, evaluate
from crypto.oracle_composite import MAJORS, Rules, Status, Verdict, composite_series

PRICES = st.one_of(
    st.floats(95.0, 105.0), st.floats(99.9, 100.1), st.floats(1.0, 1000.0), st.just(math.nan), st.just(0.0)
)
ROW = st.tuples(PRICES, st.sampled_from([0.0, 2999.0, 3000.0, 3001.0, -1.0, math.nan]), st.sampled_from([1, 2, 3]))
ROWS = st.lists(ROW, min_size=0, max_size=8)


def sources(rows: list[tuple[float, float, int]]) -> list[Source]:
    return [Source(f"v{index}", price, "USDT", age, float(weight)) for index, (price, age, weight) in enumerate(rows)]


def brute_force(rows: list[tuple[float, float, int]], rules: Rules) -> tuple[Fraction | None, Status, set[int]]:
    """The published rule in exact arithmetic: value, status and which rows are used."""
    fresh = {i: Fraction(price) for i, (price, age, _) in enumerate(rows) if price > 0 and 0 <= age <= rules.max_age_ms}
    if not fresh:
        return None, Status.HALT, set()
    median = statistics.median(fresh.values())
    off = {i: abs(price / median - 1) for i, price in fresh.items()}
    spread = statistics.median(off.values())
    floor, cap = Fraction(rules.deviation_floor), Fraction(rules.deviation_cap)
    limit = min(cap, max(Fraction(rules.mad_factor) * spread, floor))
    used = {i for i in fresh if off[i] <= limit}
    if len(used) < rules.degraded_quorum:
        return None, Status.HALT, used
    weights = {i: rows[i][2] for i in used}
    if 2 * max(weights.values()) >= sum(weights.values()):
        weights = dict.fromkeys(used, 1)
    # Every source as often as its weight says: the plain median of that list is the weighted one.
    value = statistics.median([fresh[i] for i in used for _ in range(weights[i])])
    dispersion = (max(fresh[i] for i in used) - min(fresh[i] for i in used)) / value
    is_ok = len(used) >= rules.quorum and dispersion <= Fraction(rules.max_dispersion)
    return value, Status.OK if is_ok else Status.DEGRADED, used


def is_at_a_border(rows: list[tuple[float, float, int]], rules: Rules) -> bool:
    """Whether a float could fall on the other side of a limit than the exact number."""
    fresh = [Fraction(price) for price, age, _ in rows if price > 0 and 0 <= age <= rules.max_age_ms]
    if not fresh:
        return False
    median = statistics.median(fresh)
    off = [abs(price / median - 1) for price in fresh]
    spread = statistics.median(off)
    limit = min(
        Fraction(rules.deviation_cap), max(Fraction(rules.mad_factor) * spread, Fraction(rules.deviation_floor))
    )
    close = Fraction(1, 10**12)
    kept = [price for price, deviation in zip(fresh, off, strict=True) if deviation <= limit]
    wide = (max(kept) - min(kept)) / median if kept else Fraction(0)
    return any(abs(deviation - limit) < close for deviation in off) or abs(wide - Fraction(rules.max_dispersion)) < (
        Fraction(1, 10)
        * Fraction(rules.max_dispersion)  # the exact value that divides is not the median: stay clear of it
    )


@given(ROWS)
def test_the_composite_is_what_exact_arithmetic_says(rows: list[tuple[float, float, int]]) -> None:
    if is_at_a_border(rows, MAJORS):
        return
    reading = evaluate(sources(rows), {}, "USDT")
    value, status, used = brute_force(rows, MAJORS)
    assert reading.status is status
    assert set(reading.used) == {f"v{index}" for index in used}
    if value is None:
        assert math.isnan(reading.value)
    else:
        assert math.isclose(reading.value, value, rel_tol=1e-14)


@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_sources_does_not_matter(rows: list[tuple[float, float, int]], random: object) -> None:
    given_order = sources(rows)
    shuffled = given_order.copy()
    random.shuffle(shuffled)
    first, second = evaluate(given_order, {}, "USDT"), evaluate(shuffled, {}, "USDT")
    assert (first.status, set(first.used), first.rejected) == (second.status, set(second.used), second.rejected)
    assert first.value == second.value or (math.isnan(first.value) and math.isnan(second.value))


@given(
    st.lists(st.floats(99.8, 100.2), min_size=3, max_size=7),
    st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=8, max_size=8),
    st.one_of(st.floats(1e-6, 1e6), st.sampled_from([0.0, math.nan, math.inf])),
)
def test_one_adversary_cannot_move_the_value_out_of_the_range_of_the_honest(
    honest: list[float], weights: list[float], attack: float
) -> None:
    rows = [Source(f"h{index}", price, "USDT", 0.0, weights[index]) for index, price in enumerate(honest)]
    reading = evaluate([*rows, Source("adversary", attack, "USDT", 0.0, weights[-1])], {}, "USDT")
    if reading.status is Status.OK:
        assert min(honest) <= reading.value <= max(honest)
    else:
        assert math.isnan(reading.value) or 0.97 * min(honest) <= reading.value <= 1.03 * max(honest)


@given(ROWS, st.sampled_from([2.0, 0.5, 1024.0]))
def test_the_unit_of_prices_does_not_matter(rows: list[tuple[float, float, int]], factor: float) -> None:
    """A power of two, so that not even the last bit may differ."""
    plain = evaluate(sources(rows), {}, "USDT")
    scaled = evaluate(sources([(price * factor, age, weight) for price, age, weight in rows]), {}, "USDT")
    assert (plain.status, plain.used) == (scaled.status, scaled.used)
    assert plain.value * factor == scaled.value or (math.isnan(plain.value) and math.isnan(scaled.value))


@given(st.lists(ROWS.filter(lambda rows: len(rows) == 5), min_size=1, max_size=12))
def test_the_compiled_series_is_the_plain_formula_to_the_bit(table: list[list[tuple[float, float, int]]]) -> None:
    price = np.array([[row[0] for row in rows] for rows in table])
    age = np.array([[row[1] for row in rows] for rows in table])
    weights = [row[2] for row in table[0]]
    rules = MAJORS._replace(recovery_ms=0)
    found = composite_series(
        np.arange(len(table)), price, np.ones(price.shape), age, np.array(weights, dtype=float), rules
    )
    for number, rows in enumerate(table):
        same_weights = [(row[0], row[1], weight) for row, weight in zip(rows, weights, strict=True)]
        reading = evaluate(sources(same_weights), {}, "USDT", rules)
        assert found.status[number] == reading.status
        assert [Verdict(code) for code in found.verdict[number]] == [item.verdict for item in reading.sources]
        np.testing.assert_array_equal(
            [found.value[number], found.dispersion[number], found.oldest_ms[number]],
            [reading.value, reading.dispersion, reading.oldest_ms],
        )
