"""The pager loses no row, whatever rule a venue pages by: compared with the rows that the venue holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import DataError
from data.sources.endpoints.base import Order
from data.sources.pages import Covered, PageRule, cover, joined
from data.store.rows import Columns

HOUR = 3_600_000
T0 = 1_704_067_200_000
Answer = Callable[[list[int], int, int, int], list[int]]


def oldest(rows: list[int], lo: int, hi: int, size: int) -> list[int]:
    return [at for at in rows if lo <= at < hi][:size]


def newest(rows: list[int], lo: int, hi: int, size: int) -> list[int]:
    return [at for at in rows if lo <= at < hi][-size:][::-1]


def newest_unbounded(rows: list[int], lo: int, hi: int, size: int) -> list[int]:
    """As OKX and dYdX: no lower bound."""
    return [at for at in rows if at < hi][-size:][::-1]


def walk(held: list[int], lo: int, hi: int, rule: PageRule, answer: Answer, size: int) -> tuple[list[Covered], int]:
    calls = 0

    async def fetch(start: int, end: int) -> Columns:
        nonlocal calls
        calls += 1
        assert start < end
        times = np.array(sorted(answer(held, start, end, size)), dtype=np.int64)
        return {"time_ms": times, "funding_rate": times.astype(np.float64)}

    async def run() -> list[Covered]:
        return [part async for part in cover(lo, hi, rule, fetch)]

    return asyncio.run(run()), calls


def times_of(parts: list[Covered]) -> list[int]:
    rows = [part.rows for part in parts if part.rows is not None]
    return joined(rows)["time_ms"].tolist() if rows else []


def check_partition(parts: list[Covered], lo: int, hi: int) -> None:
    """Ranges touch each other and cover everything once."""
    edges = sorted((part.lo_ms, part.hi_ms) for part in parts if part.lo_ms < part.hi_ms)
    assert edges[0][0] == lo
    assert edges[-1][1] == hi
    assert all(a[1] == b[0] for a, b in pairwise(edges)), edges


intervals = st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.integers(1, 30)), min_size=1, max_size=5)
late = st.integers(0, 900)


@given(
    segments=intervals,
    lateness=st.lists(late, min_size=1, max_size=7),
    dropped=st.sets(st.integers(0, 149), max_size=10),
    size=st.integers(1, 40),
    asked=st.tuples(st.integers(-50, 400), st.integers(1, 800)),
    answer=st.sampled_from([oldest, newest, newest_unbounded]),
    order=st.sampled_from(list(Order)),
)
def test_no_settlement_is_lost(
    segments: list[tuple[int, int]], lateness: list[int], dropped: set[int], size: int, asked: tuple[int, int],
    answer: Answer, order: Order,
) -> None:  # fmt: skip
    held, at = [], T0
    for hours, count in segments:
        for _ in range(count):
            held.append(at + lateness[len(held) % len(lateness)])
            at += hours * HOUR
    held = [stamp for number, stamp in enumerate(held) if number not in dropped]
    lo, hi = T0 + asked[0] * HOUR, T0 + (asked[0] + asked[1]) * HOUR
    rule = PageRule(order, 0, 0, bounded=answer is not newest_unbounded)
    parts, _ = walk(held, lo, hi, rule, answer, size)
    assert times_of(parts) == [stamp for stamp in held if lo <= stamp < hi]
    check_partition(parts, lo, hi)


@given(
    count=st.integers(1, 120),
    holes=st.sets(st.integers(0, 119), max_size=40),
    size=st.integers(1, 30),
    window=st.integers(1, 30),
    answer=st.sampled_from([oldest, newest, newest_unbounded]),
    order=st.sampled_from(list(Order)),
)
def test_no_bar_is_lost(
    count: int, holes: set[int], size: int, window: int, answer: Answer, order: Order
) -> None:  # fmt: skip
    held = [T0 + n * HOUR for n in range(count) if n not in holes]
    lo, hi = T0 - 5 * HOUR, T0 + 125 * HOUR
    rule = PageRule(order, HOUR, window * HOUR, bounded=answer is not newest_unbounded)
    parts, _ = walk(held, lo, hi, rule, answer, size)
    assert times_of(parts) == held
    check_partition(parts, lo, hi)


def test_binance_pages_forward_from_last_plus_one() -> None:
    held = [T0 + n * 8 * HOUR + n % 20 for n in range(2500)]
    asked: list[int] = []

    def answer(rows: list[int], lo: int, hi: int, size: int) -> list[int]:
        asked.append(lo)
        return oldest(rows, lo, hi, size)

    parts, calls = walk(held, T0, T0 + 2500 * 8 * HOUR, PageRule(Order.FORWARD, 0, 0), answer, 1000)
    assert times_of(parts) == held
    # Three pages, and one call that shows that nothing comes after the last row.
    assert asked == [T0, held[999] + 1, held[1999] + 1, held[2499] + 1]
    assert calls == 4


def test_bybit_pages_backward_by_until() -> None:
    held = [T0 + n * 8 * HOUR for n in range(450)]
    asked: list[int] = []

    def answer(rows: list[int], lo: int, hi: int, size: int) -> list[int]:
        asked.append(hi)
        return newest_unbounded(rows, lo, hi, size)

    end = T0 + 449 * 8 * HOUR + 1
    parts, _ = walk(held, T0 - HOUR, end, PageRule(Order.BACKWARD, 0, 0, bounded=False), answer, 200)
    assert times_of(parts) == held
    assert asked == [end, held[250], held[50], held[0]]


def test_a_venue_that_ignores_the_range_is_an_error() -> None:
    def ignoring(rows: list[int], lo: int, hi: int, size: int) -> list[int]:
        return rows[-size:]

    held = [T0 + n * HOUR for n in range(5000)]
    with pytest.raises(DataError, match="asked for 2024-01-01T00:00:00Z"):
        walk(held, T0, T0 + 100 * HOUR, PageRule(Order.FORWARD, HOUR, 0), ignoring, 10)


def test_two_values_for_one_stamp_are_an_error_and_equal_ones_are_one_row() -> None:
    times = np.array([T0, T0, T0 + 1], dtype=np.int64)
    assert joined([{"time_ms": times, "funding_rate": np.array([1.0, 1.0, 2.0])}])["time_ms"].tolist() == [T0, T0 + 1]
    with pytest.raises(DataError, match="two rows for 2024-01-01T00:00:00Z: funding_rate 1 and 3"):
        joined([{"time_ms": times, "funding_rate": np.array([1.0, 3.0, 2.0])}])
