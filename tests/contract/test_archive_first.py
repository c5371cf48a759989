"""Binance funding: whole past months from the bulk archive, the rest from REST, and marks that REST adds later."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data.grid import Grid
from data.settlements import load_settlements
from data.sources.completeness import Reason
from data.sources.series import SeriesOptions, Source
from data.store.lake import Lake, SeriesKey
from tests.contract.conftest import Fetch
from tests.contract.fake_venue import DAY, HOUR, T0, FakeVenue, every, price, stamp

KEY = SeriesKey("binance", "linear", "BTCUSDT", "funding")
REST = SeriesOptions(Source.REST)
APRIL = stamp(2024, 4)
END = APRIL + 9 * DAY + 20 * HOUR + HOUR  # after the last settlement


def late(n: int) -> int:
    return n % 13


@pytest.fixture(autouse=True)
def rows(venue: FakeVenue) -> list[tuple[int, str]]:
    """8 h until the middle of February, then 4 h, some milliseconds late, until the tenth of April."""
    switch = stamp(2024, 2) + 14 * DAY
    slow = every(8 * HOUR, T0, (switch - T0) // (8 * HOUR), late)
    fast = every(4 * HOUR, switch, (APRIL + 10 * DAY - switch) // (4 * HOUR), late)
    venue.markets["BTCUSDT"].settlements = slow + fast
    venue.archive = True
    venue.interval_hours = lambda at: 8 if at < switch else 4
    venue.now_ms = APRIL + 10 * DAY
    return slow + fast


def files(venue: FakeVenue) -> list[str]:
    return [path.rsplit("/", 1)[1] for path, _ in venue.requests if path.endswith(".zip")]


def rest_calls(venue: FakeVenue) -> list[dict[str, str]]:
    return [query for path, query in venue.requests if path == "/fapi/v1/fundingRate"]


def test_the_archive_has_three_months_and_rest_the_remainder(
    venue: FakeVenue, fetched: Fetch, lake: Lake, rows: list[tuple[int, str]]
) -> None:
    outcome = fetched("binance", "funding", T0)
    (entry,) = outcome.series
    assert (entry.status, entry.error, entry.proof.gaps) == ("complete", None, ())
    held = lake.read(KEY)
    assert held.time_ms.tolist() == [at for at, _ in rows]
    assert held.columns["funding_rate"].tolist() == [float(rate) for _, rate in rows]
    assert (entry.proof.expected, entry.tally.added, entry.tally.archive_files) == (len(rows), len(rows), 3)
    assert files(venue) == [f"BTCUSDT-fundingRate-2024-0{month}.zip" for month in (1, 2, 3)]
    assert min(int(query["startTime"]) for query in rest_calls(venue)) == APRIL
    marks = held.columns["mark_price"]
    archived = held.time_ms < APRIL
    assert np.isnan(marks[archived]).all()
    assert marks[~archived].tolist() == [round(price(at), 2) for at, _ in rows if at >= APRIL]
    count = int(archived.sum())
    assert [(span.source, span.rows, span.without_mark, span.hi_ms) for span in entry.sources] == [
        ("archive", count, count, APRIL), ("rest", 60, 0, entry.hi_ms)]  # fmt: skip
    note = outcome.notes[-1]
    assert f"{count:,} of {len(rows):,} settlements came from the bulk archive, which tells no mark price" in note


def test_a_month_that_the_archive_lacks_comes_from_rest(
    venue: FakeVenue, fetched: Fetch, lake: Lake, rows: list[tuple[int, str]]
) -> None:
    venue.missing_files = {"BTCUSDT-fundingRate-2024-02.zip"}
    (entry,) = fetched("binance", "funding", T0).series
    assert (entry.status, entry.proof.gaps, entry.tally.archive_files) == ("complete", (), 2)
    assert lake.read(KEY).time_ms.tolist() == [at for at, _ in rows]
    assert [(span.source, span.lo_ms) for span in entry.sources] == [
        ("archive", T0), ("rest", stamp(2024, 2)), ("archive", stamp(2024, 3)), ("rest", APRIL)]  # fmt: skip


def test_rest_adds_the_marks_that_the_archive_lacks_and_the_archive_takes_none_away(
    venue: FakeVenue, fetched: Fetch, lake: Lake, rows: list[tuple[int, str]]
) -> None:
    fetched("binance", "funding", T0, END)
    (completed,) = fetched("binance", "funding", T0, END, options=REST).series
    count = sum(at < APRIL for at, _ in rows)
    assert (completed.tally.added, completed.tally.replaced, completed.tally.completed) == (0, 0, count)
    marks = [round(price(at), 2) for at, _ in rows]
    assert lake.read(KEY).columns["mark_price"].tolist() == marks
    assert [(span.source, span.rows, span.without_mark) for span in completed.sources] == [("rest", len(rows), 0)]
    venue.requests.clear()
    fetched("binance", "funding", T0, END, options=REST)
    assert rest_calls(venue) == []  # nothing is left to complete
    next(Path(lake.root).rglob("linear-BTCUSDT-funding.json")).unlink()
    for options in (SeriesOptions(), SeriesOptions(replace=True)):
        (again,) = fetched("binance", "funding", T0, END, options=options).series
        assert (again.tally.added, again.tally.replaced) == (0, 0)
        assert lake.read(KEY).columns["mark_price"].tolist() == marks


def test_a_part_of_the_marks_is_completed_and_written(
    venue: FakeVenue, fetched: Fetch, lake: Lake, rows: list[tuple[int, str]]
) -> None:
    """The second part brings nothing new but marks, under a label that the file has already."""
    fetched("binance", "funding", T0)
    for hi in (stamp(2024, 2), stamp(2024, 3)):
        fetched("binance", "funding", T0, hi, options=REST)
        held = lake.read(KEY)
        assert np.isnan(held.columns["mark_price"]).sum() == sum(hi <= at < APRIL for at, _ in rows)


def test_archive_and_rest_stamp_a_settlement_differently(
    venue: FakeVenue, fetched: Fetch, lake: Lake, rows: list[tuple[int, str]]
) -> None:
    """Milliseconds apart, also across the end of a month: one settlement stays one row."""
    venue.archive_shift_ms = lambda at: -40 if at == rows[rest_from][0] else 7

    rest_from = next(n for n, (at, _) in enumerate(rows) if at >= stamp(2024, 3))
    venue.missing_files = {"BTCUSDT-fundingRate-2024-02.zip"}
    (entry,) = fetched("binance", "funding", T0).series
    held = lake.read(KEY).time_ms
    assert (entry.status, len(held)) == ("complete", len(rows))
    assert np.abs(held - np.array([at for at, _ in rows])).max() <= 40
    (again,) = fetched("binance", "funding", T0, options=REST).series
    assert (again.status, again.tally.added, len(lake.read(KEY).time_ms)) == ("complete", 0, len(rows))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("bad zip", "BadZipFile File is not a zip file"),
        ("two files", "the zip holds 2 files, expected one"),
        ("four columns", "it has 4 columns"),
        ("swapped", "funding_interval_hours is"),
        ("texts", "column 3 holds texts or blanks where numbers are expected"),
        ("blanks", "column 1 holds texts or blanks where numbers are expected"),
        ("other month", "outside its month"),
        ("nanoseconds", "outside its month"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named_and_rest_goes_around_it(
    venue: FakeVenue, fetched: Fetch, lake: Lake, rows: list[tuple[int, str]], fault: str, words: str
) -> None:
    venue.archive_fault = ("BTCUSDT-fundingRate-2024-02.zip", fault)
    (entry,) = fetched("binance", "funding", T0).series
    assert entry.error is not None
    assert "BTCUSDT-fundingRate-2024-02.zip" in entry.error.message
    assert words in entry.error.message
    assert "--source rest goes around the archive" in entry.error.remedy
    january = [at for at, _ in rows if at < stamp(2024, 2)]
    assert (entry.status, lake.read(KEY).time_ms.tolist()) == ("partial", january)
    assert [(gap.lo_ms, gap.reason) for gap in entry.proof.gaps][:1] == [(stamp(2024, 2), Reason.NOT_FETCHED)]
    (around,) = fetched("binance", "funding", T0, options=REST).series
    assert (around.status, lake.read(KEY).time_ms.tolist()) == ("complete", [at for at, _ in rows])


def test_a_wrong_checksum_keeps_nothing(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    venue.bad_checksum = True
    (entry,) = fetched("binance", "funding", T0).series
    assert entry.error is not None
    assert "BTCUSDT-fundingRate-2024-01.zip: SHA-256" in entry.error.message
    assert "--source rest goes around the archive" in entry.error.remedy
    assert (entry.status, lake.has(KEY)) == ("failed", False)


@pytest.mark.parametrize("form", ["no header", "microseconds", "byte order mark", "other order", "empty month"])
def test_forms_that_the_archive_has_or_could_have(
    venue: FakeVenue, fetched: Fetch, lake: Lake, rows: list[tuple[int, str]], form: str
) -> None:
    venue.archive_fault = ("BTCUSDT-fundingRate-2024-02.zip", form)
    (entry,) = fetched("binance", "funding", T0).series
    assert (entry.status, lake.read(KEY).time_ms.tolist()) == ("complete", [at for at, _ in rows])
    assert entry.tally.archive_files == (2 if form == "empty month" else 3)


def test_rows_that_a_file_of_the_archive_lost_come_from_rest(
    venue: FakeVenue, fetched: Fetch, lake: Lake, rows: list[tuple[int, str]]
) -> None:
    venue.archive_fault = ("BTCUSDT-fundingRate-2024-03.zip", "rows lost")
    (entry,) = fetched("binance", "funding", T0).series
    assert (entry.status, entry.proof.gaps) == ("complete", ())
    assert lake.read(KEY).time_ms.tolist() == [at for at, _ in rows]


def test_an_answer_of_html_and_a_refusal_of_the_archive(venue: FakeVenue, fetched: Fetch) -> None:
    venue.always["monthly/fundingRate"] = "html"
    (entry,) = fetched("binance", "funding", T0).series
    assert entry.error is not None
    assert "an HTML page titled 'Just a moment...' instead of a file (6 attempts)" in entry.error.message
    assert "--source rest goes around the archive" in entry.error.remedy
    venue.always = {"monthly/fundingRate": "403"}
    (refused,) = fetched("binance", "funding", T0).series
    assert refused.error is not None
    assert "HTTP 403, the archive refuses this address" in refused.error.message


def test_months_long_before_the_listing_are_not_looked_for(venue: FakeVenue, fetched: Fetch) -> None:
    fetched("binance", "funding", stamp(2019, 9))
    assert files(venue)[0] == "BTCUSDT-fundingRate-2023-11.zip"
    assert len(rest_calls(venue)) <= 5


def test_a_run_pays_archive_rows_on_the_open_of_the_mark_bar(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    hi = stamp(2024, 2)
    fetched("binance", "funding", T0, hi)
    fetched("binance", "mark", T0, hi)
    fetched("binance", "bars", T0, hi)
    info = lake.info(SeriesKey("binance", "linear", "BTCUSDT", "bars", "1h"))
    settled = load_settlements(lake, lake.list(), info, Grid(T0, hi, "1h"), 60_000).settlements
    assert settled.mark_price.tolist() == [round(price(at), 2) for at in settled.time_ms.tolist()]
    assert settled.funding_rate.tolist() == [float(rate) for _, rate in every(8 * HOUR, T0, 93)][1:]


def test_the_journal_of_a_lake_says_what_came_from_where(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    fetched("binance", "funding", T0)
    noted = json.loads(next(Path(lake.root).rglob("linear-BTCUSDT-funding.json")).read_text())
    assert noted["archived"] == [[T0, APRIL]]
    origins = [origin.name for origin in lake.info(KEY).provenance.origins]
    assert origins == [f"BTCUSDT-fundingRate-2024-0{month}.zip" for month in (1, 2, 3)]
