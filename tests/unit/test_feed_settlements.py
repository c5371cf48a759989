"""Settlements that passed, changed intervals, and rates that are read back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from crypto.errors import DataError
from data.feed.settlements import IntervalChange, SettlementReader, SettlementWatch, interval_words
from data.streams.events import FundingSettled

KEY = ("binance", "linear", "BTCUSDT")
HOUR = 3_600_000
EIGHT = 1_790_006_400_000  # 2026-09-21 16:00


def at(time_ms: int) -> Callable[[str], int]:
    """Every venue's clock stands there."""
    return lambda venue: time_ms


def test_a_passed_settlement_is_due_once_by_the_venues_word_or_by_the_clock() -> None:
    watch = SettlementWatch()
    watch.seen(KEY, EIGHT, None, EIGHT - HOUR)
    assert watch.take_due(at(EIGHT - 1)) == []
    assert watch.take_due(at(EIGHT)) == [(KEY, EIGHT)]
    assert watch.seen(KEY, EIGHT + 8 * HOUR, None, EIGHT + 1000) is None
    assert watch.take_due(at(EIGHT + 2000)) == []
    watch.seen(KEY, EIGHT + 16 * HOUR, None, EIGHT + 8 * HOUR + 10)
    assert watch.take_due(at(EIGHT + 8 * HOUR + 10)) == [(KEY, EIGHT + 8 * HOUR)]


def test_a_changed_interval_is_found_where_the_venue_states_none() -> None:
    watch = SettlementWatch()
    found = [
        watch.seen(KEY, next_ms, None, received_ms)
        for next_ms, received_ms in (
            (EIGHT, EIGHT - HOUR),
            (EIGHT + 8 * HOUR, EIGHT),
            (EIGHT + 9 * HOUR, EIGHT + 8 * HOUR),  # hourly from here on
            (EIGHT + 10 * HOUR, EIGHT + 9 * HOUR),
        )
    ]
    assert found == [None, None, IntervalChange(KEY, 8.0, 1.0, EIGHT + 8 * HOUR, EIGHT + 9 * HOUR), None]
    assert found[2] is not None
    assert interval_words(found[2]) == "settles every 1 h instead of 8 h; next 2026-09-22T01:00:00Z"


def test_a_changed_interval_is_found_where_the_venue_states_it() -> None:
    watch = SettlementWatch()
    assert watch.seen(KEY, EIGHT, 8.0, EIGHT - 2 * HOUR) is None
    assert watch.seen(KEY, EIGHT, 4.0, EIGHT - HOUR) == IntervalChange(KEY, 8.0, 4.0, EIGHT, EIGHT)


@pytest.mark.parametrize(("after_ms", "due"), [(20_000, [(KEY, EIGHT)]), (31 * 60_000, [])])
def test_a_feed_that_starts_soon_after_a_settlement_reads_it_back(after_ms: int, due: list[object]) -> None:
    """It may have been stopped while it waited for the rate; where the interval is stated, the last one is known."""
    watch = SettlementWatch()
    assert watch.seen(KEY, EIGHT + 8 * HOUR, 8.0, EIGHT + after_ms) is None
    assert watch.take_due(at(EIGHT + after_ms)) == due
    assert watch.seen(KEY, EIGHT + 8 * HOUR, 8.0, EIGHT + after_ms + 1) is None
    assert watch.take_due(at(EIGHT + after_ms + 1)) == []


def test_settlements_that_passed_unseen_make_no_interval() -> None:
    """Off for 20 h of an 8 h contract: the step from the last one seen is 16 h, and nothing has changed."""
    watch = SettlementWatch()
    announced = ((EIGHT, EIGHT - HOUR), (EIGHT + 8 * HOUR, EIGHT + 1), (EIGHT + 24 * HOUR, EIGHT + 21 * HOUR),
                 (EIGHT + 32 * HOUR, EIGHT + 24 * HOUR))  # fmt: skip
    assert [watch.seen(KEY, next_ms, None, at_ms) for next_ms, at_ms in announced] == [None] * 4
    assert watch.take_due(at(EIGHT + 24 * HOUR)) == [(KEY, EIGHT), (KEY, EIGHT + 8 * HOUR), (KEY, EIGHT + 24 * HOUR)]


def test_a_settlement_that_is_moved_before_its_time_is_a_change_and_not_due() -> None:
    watch = SettlementWatch()
    watch.seen(KEY, EIGHT, None, EIGHT - 7 * HOUR)
    change = watch.seen(KEY, EIGHT - 4 * HOUR, None, EIGHT - 6 * HOUR)
    assert change == IntervalChange(KEY, None, None, EIGHT, EIGHT - 4 * HOUR)
    assert interval_words(change).startswith("next settlement moved from 2026-09-21T16:00:00Z to 2026-09-21T12:00")
    assert watch.take_due(at(EIGHT - 4 * HOUR)) == [(KEY, EIGHT - 4 * HOUR)]


class Venue:
    """Answers what it is told to, in turn."""

    def __init__(self, *answers: float | Exception | None) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[tuple[str, str, str], int]] = []

    async def settled(self, key: tuple[str, str, str], settlement_ms: int) -> FundingSettled | None:
        self.asked.append((key, settlement_ms))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        venue, kind, symbol = key
        return answer and FundingSettled(
            venue=venue, kind=kind, symbol=symbol, event_ms=settlement_ms, settlement_ms=settlement_ms, rate=answer
        )


async def read(venue: Venue, waits: tuple[float, ...]) -> tuple[SettlementReader, list[float], list[BaseException]]:
    rates: list[float] = []
    errors: list[BaseException] = []
    reader = SettlementReader(venue, waits, at(EIGHT + 1), lambda event: rates.append(event.rate), errors.append)
    reader.start(KEY, EIGHT)
    async with asyncio.timeout(60.0):
        while not (rates or errors or reader.missing):
            await asyncio.sleep(0.001)
    await reader.stop()
    return reader, rates, errors


@pytest.mark.asyncio
async def test_the_rate_is_asked_for_until_the_venue_has_it() -> None:
    venue = Venue(None, DataError("HTTP 503", remedy="wait"), 0.0001, 0.5)
    reader, rates, errors = await read(venue, (0.0, 0.01, 0.02, 0.03))
    assert (rates, errors, reader.found) == ([0.0001], [], 1)
    assert venue.asked == [(KEY, EIGHT)] * 3


@pytest.mark.asyncio
async def test_a_rate_that_never_comes_is_named(caplog: pytest.LogCaptureFixture) -> None:
    reader, rates, _ = await read(Venue(None, None), (0.0, 0.01))
    assert rates == []
    assert reader.missing == ["binance:linear:BTCUSDT 2026-09-21T16:00:00Z"]
    assert "the venue published no funding for 2026-09-21T16:00:00Z" in caplog.text


@pytest.mark.asyncio
async def test_an_error_of_our_own_is_not_swallowed() -> None:
    _, _, errors = await read(Venue(ZeroDivisionError("ours")), (0.0,))
    assert isinstance(errors[0], ZeroDivisionError)
