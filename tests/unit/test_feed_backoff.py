"""Waits between connection attempts, and the limit on attempts."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest

from data.feed.backoff import AttemptLimit, Backoff, retry_after_seconds

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def make(seed: int = 1) -> Backoff:
    return Backoff(first_seconds=1.0, most_seconds=60.0, good_seconds=30.0, chance=random.Random(seed))  # noqa: S311 - jitter


def test_waits_double_up_to_the_limit_with_jitter_in_the_upper_half() -> None:
    backoff = make()
    full = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    waits = [backoff.next_wait(None) for _ in full]
    assert all(0.5 * most <= wait <= most for wait, most in zip(waits, full, strict=True))
    assert len({wait / most for wait, most in zip(waits, full, strict=True)}) == len(full)


def test_the_same_seed_gives_the_same_waits_and_another_one_others() -> None:
    def waits(seed: int) -> list[float]:
        backoff = make(seed)
        return [backoff.next_wait(None) for _ in range(5)]

    assert waits(1) == waits(1)
    assert waits(1) != waits(2)


def test_only_a_connection_that_lived_forgives_the_failures_before() -> None:
    backoff = make()
    for _ in range(4):
        backoff.next_wait(lived_seconds=0.1)  # accepted, then kicked
    assert backoff.next_wait(lived_seconds=29.9) >= 8.0
    assert backoff.next_wait(lived_seconds=30.0) <= 1.0


def test_the_wait_is_never_shorter_than_the_venue_asked_for() -> None:
    assert make().next_wait(None, retry_after_seconds=120.0) == 120.0


def test_many_failures_do_not_overflow() -> None:
    backoff = make()
    backoff.failures = 100_000
    assert 30.0 <= backoff.next_wait(None) <= 60.0


def test_attempts_are_limited_in_every_window() -> None:
    limit = AttemptLimit(most=3, window_seconds=300.0)
    times: list[float] = []
    now = 0.0
    while now < 1000.0:
        wait = limit.wait(now)
        if wait == 0.0:
            limit.spend(now)
            times.append(now)
            now += 10.0
        else:
            now += wait
    assert times[:7] == [0.0, 10.0, 20.0, 300.0, 310.0, 320.0, 600.0]
    assert all(later - earlier >= 300.0 for earlier, later in zip(times, times[3:], strict=False))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Thu, 01 Jan 2026 00:02:00 GMT", 120.0),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("Wed, 21 Oct 99999999999 07:28:00 GMT", None),
        ("9" * 400, 86_400.0),  # a broken proxy must not silence a feed for ever
        ("Fri, 01 Jan 2100 00:00:00 GMT", 86_400.0),
    ],
)
def test_retry_after_in_both_forms(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW) == seconds
