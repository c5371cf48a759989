"""Limits: never more than allowed in any window, and staying away when told to. Time is simulated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import DataError
from data.sources.endpoints.base import Budget
from data.sources.endpoints.known import RESTS
from data.sources.limits import Limiter
from data.sources.spent import SpentFile


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> Awaitable[None]:
        assert seconds > 0
        self.now += seconds
        return asyncio.sleep(0)


def spend(limiter: Limiter, clock: Clock, calls: list[dict[str, int]], pause: float = 0.0) -> list[float]:
    async def run() -> list[float]:
        times = []
        for weights in calls:
            await limiter.acquire(weights)
            times.append(clock.now)
            clock.now += pause
        return times

    return asyncio.run(run())


@given(
    limit=st.integers(10, 50),
    window=st.sampled_from([1.0, 5.0, 60.0]),
    weights=st.lists(st.integers(1, 9), min_size=1, max_size=120),
    pause=st.sampled_from([0.0, 0.03, 0.4]),
)
def test_no_window_holds_more_than_the_limit(limit: int, window: float, weights: list[int], pause: float) -> None:
    clock = Clock()
    limiter = Limiter({"a": Budget(limit, window, "")}, clock, clock.sleep)
    times = spend(limiter, clock, [{"a": weight} for weight in weights], pause)
    for start in times:
        inside = sum(weight for at, weight in zip(times, weights, strict=True) if start <= at < start + window)
        assert inside <= limit * 0.9


def test_the_funding_bucket_of_500_calls_in_five_minutes() -> None:
    clock = Clock()
    rest = RESTS["binance"]
    limiter = Limiter(rest.budgets, clock, clock.sleep)
    route = rest.series["funding", "linear"].route
    times = spend(limiter, clock, [dict(route.weights)] * 1000)
    # 450 (90 %) at once, 450 after five minutes, 100 after ten.
    assert [times[0], times[449], times[450], times[899], times[900]] == [1000.0, 1000.0, 1300.0, 1300.0, 1600.0]


def test_several_budgets_are_kept_at_once() -> None:
    clock = Clock()
    limiter = Limiter({"a": Budget(10, 10.0, ""), "b": Budget(100, 60.0, "")}, clock, clock.sleep)
    times = spend(limiter, clock, [{"a": 3, "b": 30}] * 4)
    # a allows 9 in ten seconds, b 90 in a minute: three calls at once, the fourth waits for b.
    assert times == [1000.0, 1000.0, 1000.0, 1060.0]


def test_what_the_venue_counts_is_taken_over() -> None:
    clock = Clock()
    limiter = Limiter({"a": Budget(100, 60.0, "", "x-used")}, clock, clock.sleep)
    limiter.observe({"a": 1}, {"x-used": "85"})
    assert spend(limiter, clock, [{"a": 5}, {"a": 1}]) == [1000.0, 1060.0]


def test_staying_away_holds_every_call_back() -> None:
    clock = Clock()
    limiter = Limiter({"a": Budget(100, 60.0, "")}, clock, clock.sleep)
    limiter.stay_away(7.5)
    assert spend(limiter, clock, [{"a": 1}]) == [1007.5]
    assert limiter.waited_s == 7.5


def test_a_long_wait_is_told_every_minute() -> None:
    clock, told = Clock(), list[float]()
    limiter = Limiter({"a": Budget(100, 60.0, "")}, clock, clock.sleep, told.append)
    limiter.stay_away(150.0)
    assert spend(limiter, clock, [{"a": 1}]) == [1150.0]
    assert told == [150.0, 90.0, 30.0]
    assert limiter.waited_s == 150.0


@pytest.mark.parametrize(("venue", "name", "limit", "window"), [
    ("binance", "futures", 2400, 60.0), ("binance", "spot", 6000, 60.0), ("binance", "funding", 500, 300.0),
    ("bybit", "ip", 600, 5.0),
])  # fmt: skip
def test_the_limits_that_venues_document(venue: str, name: str, limit: int, window: float) -> None:
    budget = RESTS[venue].budgets[name]
    assert (budget.limit, budget.window_s) == (limit, window)


def test_the_count_outlives_the_process(tmp_path: Path) -> None:
    """450 of 500 calls in 5 minutes, spent by a process that ended 100 s ago: the next one has to wait 200 s."""
    budgets, wall, clock = RESTS["binance"].budgets, Clock(), Clock()
    file = SpentFile(tmp_path / "binance.spent.json", wall)
    first = Limiter(budgets, clock, clock.sleep)
    spend(first, clock, [{"funding": 1}] * 450)
    file.save(first)
    wall.now += 100.0
    clock = Clock()
    clock.now = 7.0  # another process: its monotonic clock starts anywhere
    second = Limiter(budgets, clock, clock.sleep)
    SpentFile(tmp_path / "binance.spent.json", wall).resume(second)
    assert spend(second, clock, [{"funding": 1}]) == [pytest.approx(207.0)]
    assert spend(second, clock, [{"futures": 5}]) == [pytest.approx(207.0)]


def test_a_count_is_written_once_a_second_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    wall, clock, path = Clock(), Clock(), tmp_path / "spent.json"
    limiter, file = Limiter({"a": Budget(10, 60.0, "")}, clock, clock.sleep), SpentFile(path, wall)
    written = []
    for _ in range(4):
        spend(limiter, clock, [{"a": 1}])
        file.note(limiter)
        written.append(path.read_bytes().count(b",1]"))
        wall.now += 0.4
    assert written == [1, 1, 1, 4]
    path.write_bytes(b"{")
    with pytest.raises(DataError, match="spent.json is damaged"):
        file.resume(limiter)
    path.unlink()
    file.resume(limiter)  # nothing was spent
