"""A venue that answers an empty page though there are rows: asked twice, and never called complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from data.credentials import Credentials
from data.sources.completeness import Gap, Reason
from data.sources.job import SeriesOutcome
from data.sources.series import SeriesOptions, Source
from data.store.lake import Lake
from tests.contract.conftest import Fetch
from tests.contract.fake_venue import DAY, HOUR, T0, FakeVenue, envelope, every

END = T0 + 120 * DAY
EMPTY: dict[str, Any] = {"binance": [], "bybit": envelope({"list": []}, 0)}
WORDS = ("interestRateHistory", "interest-rate-history", "fundingRate", "funding/history")
Lost = Callable[[int, int], bool]


def answer_empty(monkeypatch: pytest.MonkeyPatch, name: str, lost: Lost, times: int) -> None:
    """Calls for a range that ``lost`` picks are answered without rows, ``times`` times."""
    answered, left = FakeVenue._answer, [times]

    def answer(self: FakeVenue, request: web.Request, query: dict[str, str]) -> web.Response:
        lo, hi = int(query.get("startTime", 0)), int(query.get("endTime", 1 << 60))
        if any(word in request.path for word in WORDS) and lost(lo, hi) and left[0]:
            left[0] -= 1
            return web.json_response(EMPTY[name])
        return answered(self, request, query)

    monkeypatch.setattr(FakeVenue, "_answer", answer)


@pytest.fixture
def borrowed(venue: FakeVenue, fetched: Fetch) -> Callable[[str], SeriesOutcome]:
    venue.now_ms = None  # signed calls need clocks that agree
    venue.markets["BTCUSDT"].borrow = [(T0 + n * HOUR, "0.00010000") for n in range(120 * 24)]

    def run(name: str) -> SeriesOutcome:
        keys = Credentials(name, "key", "secret", "test")
        (entry,) = fetched(name, "borrow", T0, END, kind="asset", symbols=("USDT",), credentials=keys).series
        return entry

    return run


# In the middle of the second window of 30 days from the end; the newest window; the rest of a window.
WINDOWS: list[tuple[Lost, int, int]] = [
    (lambda lo, hi: lo <= T0 + 75 * DAY < hi, 60, 90),
    (lambda lo, hi: lo <= T0 + 105 * DAY < hi, 90, 120),
]


@pytest.mark.parametrize("name", ["binance", "bybit"])
@pytest.mark.parametrize(("lost", "first_day", "last_day"), WINDOWS)
def test_a_window_that_was_empty_by_fault_is_asked_for_again(
    borrowed: Callable[[str], SeriesOutcome], lake: Lake, monkeypatch: pytest.MonkeyPatch, name: str, lost: Lost,
    first_day: int, last_day: int,
) -> None:  # fmt: skip
    answer_empty(monkeypatch, name, lost, times=1)
    entry = borrowed(name)
    assert (entry.status, entry.error, entry.proof.gaps) == ("complete", None, ())
    assert lake.read(entry.key).time_ms.tolist() == [T0 + n * HOUR for n in range(120 * 24)]


@pytest.mark.parametrize("name", ["binance", "bybit"])
@pytest.mark.parametrize(("lost", "first_day", "last_day"), WINDOWS)
def test_a_window_that_stays_empty_is_a_gap_and_partial(
    borrowed: Callable[[str], SeriesOutcome], lake: Lake, monkeypatch: pytest.MonkeyPatch, name: str, lost: Lost,
    first_day: int, last_day: int,
) -> None:  # fmt: skip
    with monkeypatch.context() as patched:
        answer_empty(patched, name, lost, times=1000)
        for _ in range(2):  # also the second run, which holds the range for fetched
            entry = borrowed(name)
            assert (entry.status, entry.error) == ("partial", None)
            assert entry.proof.gaps == (
                Gap(T0 + first_day * DAY - HOUR + 1, T0 + last_day * DAY, 0, Reason.EMPTY_TWICE),
            )
            assert not any(T0 + first_day * DAY <= at < T0 + last_day * DAY for at in lake.read(entry.key).time_ms)
    again = borrowed(name)  # the venue is well again: the hole is asked for once more
    assert (again.status, again.proof.gaps, again.tally.added) == ("complete", (), 30 * 24)


def test_a_page_that_was_empty_by_fault_loses_no_hour(
    borrowed: Callable[[str], SeriesOutcome], lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last 20 hours of a window, which are too few to be noticed in the rows."""
    lost: Lost = lambda lo, hi: lo == T0 + 90 * DAY and hi < T0 + 91 * DAY  # noqa: E731 - one of a kind with WINDOWS
    answer_empty(monkeypatch, "binance", lost, times=1)
    entry = borrowed("binance")
    assert entry.status == "complete"
    assert lake.read(entry.key).time_ms.tolist() == [T0 + n * HOUR for n in range(120 * 24)]


def test_rates_that_began_later_are_named_and_whole(
    venue: FakeVenue, borrowed: Callable[[str], SeriesOutcome], lake: Lake
) -> None:
    venue.markets["BTCUSDT"].borrow = [row for row in venue.markets["BTCUSDT"].borrow if row[0] >= T0 + 70 * DAY]
    entry = borrowed("binance")
    assert entry.status == "complete"
    assert entry.proof.gaps == (Gap(T0, T0 + 70 * DAY, 0, Reason.BEFORE_FIRST),)


def test_bybits_backward_pages_that_end_long_after_the_listing(
    venue: FakeVenue, fetched: Fetch, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is older than a page answered without rows is hidden, twice: 300 days of a contract that was listed."""
    venue.markets["BTCUSDT"].settlements = every(8 * HOUR, T0, 1170)
    seen = T0 + 300 * DAY
    with monkeypatch.context() as patched:
        answer_empty(patched, "bybit", lambda _, hi: hi < seen, times=1000)
        for _ in range(2):
            (entry,) = fetched("bybit", "funding", T0 - 10 * DAY, T0 + 390 * DAY).series
            assert entry.status == "partial"
            assert [(gap.lo_ms, gap.reason) for gap in entry.proof.gaps] == [
                (T0 - 10 * DAY, Reason.BEFORE_FIRST), (T0, Reason.EMPTY_TWICE)]  # fmt: skip
            assert entry.proof.gaps[1].hi_ms == lake.read(entry.key).time_ms[0]
    (again,) = fetched("bybit", "funding", T0 - 10 * DAY, T0 + 390 * DAY).series
    assert (again.status, again.proof.got, again.proof.expected) == ("complete", 1170, 1170)
    assert lake.read(again.key).time_ms.tolist() == [T0 + n * 8 * HOUR for n in range(1170)]


def test_a_hole_of_a_page_between_rows_is_partial_until_the_venue_fills_it(
    venue: FakeVenue, fetched: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new end is fetched while the pages before it are hidden: what lies between stays a gap."""
    venue.markets["BTCUSDT"].settlements = every(8 * HOUR, T0, 1170)
    fetched("bybit", "funding", T0, T0 + 50 * DAY)
    with monkeypatch.context() as patched:
        answer_empty(patched, "bybit", lambda _, hi: T0 + 50 * DAY <= hi < T0 + 200 * DAY, times=1000)
        (entry,) = fetched("bybit", "funding", T0, T0 + 390 * DAY).series
    assert entry.status == "partial"
    assert [gap.reason for gap in entry.proof.gaps] == [Reason.EMPTY_TWICE]
    assert entry.proof.gaps[0].rows == 1170 - entry.proof.got > 400
    (again,) = fetched("bybit", "funding", T0, T0 + 390 * DAY).series
    assert (again.status, again.proof.got) == ("complete", 1170)


def test_binances_newest_page_that_stays_empty(
    venue: FakeVenue, fetched: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue.markets["BTCUSDT"].settlements = every(8 * HOUR, T0, 1170)
    options = SeriesOptions(Source.REST)
    with monkeypatch.context() as patched:
        answer_empty(patched, "binance", lambda lo, _: lo > T0 + 300 * DAY, times=1000)
        (entry,) = fetched("binance", "funding", T0, T0 + 390 * DAY, options=options).series
    assert (entry.status, entry.proof.got, entry.proof.expected) == ("partial", 1000, 1170)
    assert [(gap.rows, gap.reason) for gap in entry.proof.gaps] == [(170, Reason.EMPTY_TWICE)]
    (again,) = fetched("binance", "funding", T0, T0 + 390 * DAY, options=options).series
    assert (again.status, again.proof.got) == ("complete", 1170)
