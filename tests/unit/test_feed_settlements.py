"""Settlements that passed, changed intervals, and rates that are read back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from crypto.errors import DataError
from data.feed.readback import SettlementReader, Wanted
from data.feed.settled_log import SettledLog
from data.feed.settlements import IntervalChange, SettlementWatch, interval_words
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


@pytest.mark.parametrize(
    ("known_ms", "after_ms", "hours", "due", "unsure"),
    [
        # Of a contract that an earlier run knows, everything later is missing, however long ago it was.
        (EIGHT - 16 * HOUR, 3 * HOUR, 8.0, [(KEY, EIGHT)], []),
        (EIGHT, 3 * HOUR, 8.0, [], []),
        # Without an interval there may have been one at the last full hour.
        (EIGHT - 16 * HOUR, 3 * HOUR + 5, None, [], [(KEY, EIGHT + 3 * HOUR)]),
        (EIGHT, 30_000, None, [], []),
        (None, 30_000, None, [], [(KEY, EIGHT)]),
        (None, 31 * 60_000, None, [], []),
    ],
)
def test_settlements_of_the_time_before_the_first_word(
    known_ms: int | None, after_ms: int, hours: float | None, due: list[object], unsure: list[object]
) -> None:
    watch = SettlementWatch()
    if known_ms is not None:
        watch.know(KEY, known_ms)
    watch.seen(KEY, EIGHT + 8 * HOUR, hours, EIGHT + after_ms)
    assert (watch.take_due(at(EIGHT + after_ms)), watch.take_unsure()) == (due, unsure)


def test_settlements_that_passed_unseen_make_no_interval() -> None:
    """Off for 20 h of an 8 h contract: the step from the last one seen is 16 h, and nothing has changed."""
    watch = SettlementWatch()
    announced = ((EIGHT, EIGHT - HOUR), (EIGHT + 8 * HOUR, EIGHT + 1), (EIGHT + 24 * HOUR, EIGHT + 21 * HOUR),
                 (EIGHT + 32 * HOUR, EIGHT + 24 * HOUR))  # fmt: skip
    assert [watch.seen(KEY, next_ms, None, at_ms) for next_ms, at_ms in announced] == [None] * 4
    assert watch.take_due(at(EIGHT + 24 * HOUR)) == [(KEY, EIGHT), (KEY, EIGHT + 8 * HOUR), (KEY, EIGHT + 24 * HOUR)]
    # At the first word there may just have been one; that of EIGHT + 16 h is among what is asked for at the second.
    assert watch.take_unsure() == [(KEY, EIGHT - HOUR), (KEY, EIGHT + 21 * HOUR)]


def test_a_settlement_that_is_moved_before_its_time_is_a_change_and_not_due() -> None:
    watch = SettlementWatch()
    watch.seen(KEY, EIGHT, None, EIGHT - 7 * HOUR)
    change = watch.seen(KEY, EIGHT - 4 * HOUR, None, EIGHT - 6 * HOUR)
    assert change == IntervalChange(KEY, None, None, EIGHT, EIGHT - 4 * HOUR)
    assert interval_words(change).startswith("next settlement moved from 2026-09-21T16:00:00Z to 2026-09-21T12:00")
    assert watch.take_due(at(EIGHT - 4 * HOUR)) == [(KEY, EIGHT - 4 * HOUR)]


class Venue:
    """Answers what it is told to, in turn: an error, or settlements with their rates."""

    def __init__(self, *answers: dict[int, float] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[Wanted] = []

    async def settled(self, wanted: Wanted) -> list[FundingSettled]:
        self.asked.append(wanted)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        venue, kind, symbol = wanted.key
        return [
            FundingSettled(venue=venue, kind=kind, symbol=symbol, event_ms=at, settlement_ms=at, rate=rate)
            for at, rate in answer.items()
        ]


class Desk:
    """A reader and what came of it. ``held``: settlements that are held before it begins."""

    def __init__(self, venue: Venue, waits: tuple[float, ...], now_ms: int, held: tuple[int, ...] = ()) -> None:
        self.found: list[tuple[int, float]] = []
        self.errors: list[BaseException] = []
        self.log = SettledLog()
        for settlement_ms in held:
            self.log.add(KEY, settlement_ms)
        self.reader = SettlementReader(venue, waits, at(now_ms), self.log, self._take, self.errors.append)

    def _take(self, event: FundingSettled) -> None:
        self.found.append((event.settlement_ms, event.rate))
        self.log.add(KEY, event.settlement_ms)

    async def read(self, settlement_ms: int, *, is_sure: bool = True) -> None:
        """Until the reader has done with it."""
        self.reader.start(KEY, settlement_ms, is_sure=is_sure)
        async with asyncio.timeout(60.0):
            while self.reader._tasks:
                await asyncio.sleep(0.001)
        await self.reader.stop()


@pytest.mark.asyncio
async def test_the_rate_is_asked_for_until_the_venue_has_it() -> None:
    venue = Venue({}, DataError("HTTP 503", remedy="wait"), {EIGHT: 0.0001}, {EIGHT: 0.5})
    desk = Desk(venue, (0.0, 0.01, 0.02, 0.03), EIGHT + 1)
    await desk.read(EIGHT)
    assert (desk.found, desk.errors, desk.reader.found) == ([(EIGHT, 0.0001)], [], 1)
    assert venue.asked == [Wanted(KEY, EIGHT - 60_000, EIGHT, EIGHT + 60_001)] * 3


@pytest.mark.asyncio
async def test_all_that_is_missing_since_the_last_one_that_is_held_is_asked_for_and_taken_once() -> None:
    rates = {EIGHT - 16 * HOUR: 0.1, EIGHT - 8 * HOUR: 0.2, EIGHT: 0.3, EIGHT + 8 * HOUR: 0.4}
    venue = Venue(DataError("HTTP 503", remedy="wait"), rates)
    desk = Desk(venue, (0.0, 0.01), EIGHT + 9 * HOUR, held=(EIGHT - 24 * HOUR, EIGHT - 16 * HOUR))
    await desk.read(EIGHT)
    assert venue.asked == [Wanted(KEY, EIGHT - 16 * HOUR + 60_000, EIGHT, EIGHT + 9 * HOUR + 60_000)] * 2
    assert desk.found == [(EIGHT - 8 * HOUR, 0.2), (EIGHT, 0.3), (EIGHT + 8 * HOUR, 0.4)]
    await desk.read(EIGHT + 8 * HOUR)  # came with the other one: not asked for
    assert len(venue.asked) == 2


@pytest.mark.asyncio
async def test_one_settlement_that_is_not_listed_yet_holds_back_none_that_is() -> None:
    """The missed one is listed, the newest not yet: it is asked for again, from the one that is held now."""
    venue = Venue({EIGHT - 8 * HOUR: 0.2}, {EIGHT: 0.3})
    desk = Desk(venue, (0.0, 0.01), EIGHT + 1000, held=(EIGHT - 16 * HOUR,))
    await desk.read(EIGHT)
    assert desk.found == [(EIGHT - 8 * HOUR, 0.2), (EIGHT, 0.3)]
    assert [wanted.since_ms for wanted in venue.asked] == [EIGHT - 16 * HOUR + 60_000, EIGHT - 8 * HOUR + 60_000]


@pytest.mark.asyncio
async def test_at_most_a_week_is_read_back_and_what_is_not_is_said(caplog: pytest.LogCaptureFixture) -> None:
    venue = Venue({EIGHT: 0.3})
    desk = Desk(venue, (0.0,), EIGHT, held=(EIGHT - 10 * 24 * HOUR,))
    await desk.read(EIGHT)
    assert venue.asked[0].since_ms == EIGHT - 7 * 24 * HOUR
    assert "settlements between 2026-09-11T16:00:00Z and 2026-09-14T16:00:00Z are not read back" in caplog.text


@pytest.mark.asyncio
async def test_a_settlement_that_may_not_have_been_is_not_missed_when_the_venue_lists_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    venue = Venue({}, {})
    desk = Desk(venue, (0.0, 0.01, 0.02), EIGHT + 10 * 60_000)
    await desk.read(EIGHT, is_sure=False)
    assert (len(venue.asked), desk.reader.missing, caplog.text) == (1, [], "")


@pytest.mark.asyncio
async def test_a_rate_that_never_comes_is_named(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(Venue({}, {}), (0.0, 0.01), EIGHT + 1)
    await desk.read(EIGHT)
    assert desk.found == []
    assert desk.reader.missing == ["binance:linear:BTCUSDT 2026-09-21T16:00:00Z"]
    assert "the venue published no funding for 2026-09-21T16:00:00Z" in caplog.text


@pytest.mark.asyncio
async def test_an_error_of_our_own_is_not_swallowed() -> None:
    desk = Desk(Venue(ZeroDivisionError("ours")), (0.0,), EIGHT + 1)
    await desk.read(EIGHT)
    assert isinstance(desk.errors[0], ZeroDivisionError)
