"""Importing delimited text: every bad input is one error that names file, row and what to do."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.errors import DataError, UsageError
from data.store.delimited import Layout, parse_assignments, read_file
from data.store.lake import Lake, SeriesKey
from data.store.pieces import IngestOptions, ingest_piece

BARS = SeriesKey("binance", "spot", "BTCUSDT", "bars", "1h")
FUNDING = SeriesKey("binance", "linear", "BTCUSDT", "funding")
BORROW = SeriesKey("binance", "asset", "USDT", "borrow")
T0 = 1_577_836_800_000  # 2020-01-01 00:00 UTC
HOUR = 3_600_000
HEADER = "time,open,high,low,close,volume\n"
ROWS = [f"{T0 + i * HOUR},{100 + i},{102 + i},{98 + i},{101 + i},{5 + i}\n" for i in range(4)]
GOOD = HEADER + "".join(ROWS)


def write(tmp_path: Path, text: str, name: str = "btc.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def ingest(path: Path, layout: Layout | None = None, key: SeriesKey = BARS) -> Lake:
    lake = Lake(path.parent / "lake")
    ingest_piece(lake, read_file(path, key, layout or Layout(), "csv test"), IngestOptions())
    return lake


def refused(path: Path, layout: Layout | None = None, key: SeriesKey = BARS) -> DataError:
    with pytest.raises(DataError) as caught:
        ingest(path, layout, key)
    assert path.name in caught.value.message
    assert caught.value.remedy
    assert not (path.parent / "lake").exists()
    return caught.value


def test_rows_come_back_as_written(tmp_path: Path) -> None:
    series = ingest(write(tmp_path, GOOD)).read(BARS)
    assert series.time_ms.tolist() == [T0 + i * HOUR for i in range(4)]
    assert series.columns["high"].tolist() == [102.0, 103.0, 104.0, 105.0]
    assert series.columns["volume"].tolist() == [5.0, 6.0, 7.0, 8.0]
    assert series.info.provenance.source == "csv test"


@pytest.mark.parametrize(
    ("unit", "stamp"),
    [
        ("s", "1577836800"),
        ("s", "1577836800.000"),
        ("ms", "1577836800000"),
        ("us", "1577836800000000"),
        ("iso", "2020-01-01T00:00:00Z"),
        ("iso", "2020-01-01 00:00:00"),
        ("iso", "2020-01-01T01:00:00+01:00"),
        ("iso", "2020-01-01"),
    ],
)
def test_time_units(tmp_path: Path, unit: str, stamp: str) -> None:
    path = write(tmp_path, HEADER + f"{stamp},1,1,1,1,1\n")
    assert ingest(path, Layout(time_unit=unit)).read(BARS).time_ms.tolist() == [T0]


@settings(max_examples=50)
@given(st.integers(T0, T0 + 10**11))
def test_seconds_with_decimals_keep_their_milliseconds(tmp_path_factory: pytest.TempPathFactory, stamp: int) -> None:
    text = f"time,funding_rate\n{stamp // 1000}.{stamp % 1000:03d},0.0001\n"
    path = write(tmp_path_factory.mktemp("csv"), text)
    assert read_file(path, FUNDING, Layout(time_unit="s"), "x").columns["time_ms"].tolist() == [stamp]


def test_other_names_no_header_other_delimiter_and_gzip(tmp_path: Path) -> None:
    text = GOOD.replace("time,open,high,low,close,volume", "ts;o;h;l;c;v;extra").replace(",", ";").replace("\n", ";x\n")
    text = text.replace("extra;x", "extra")
    columns = parse_assignments("columns", "open=o, high=h,low=l,close=c,volume=v")
    layout = Layout(time_column="ts", columns=columns, delimiter=";")
    path = tmp_path / "btc.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert ingest(path, layout).read(BARS).columns["close"].tolist() == [101.0, 102.0, 103.0, 104.0]
    bare = write(tmp_path, "".join(ROWS), "bare.csv")
    names = ("time", "open", "high", "low", "close", "volume")
    assert len(read_file(bare, BARS, Layout(names=names), "x").columns["time_ms"]) == 4


def test_funding_borrow_and_chosen_rows(tmp_path: Path) -> None:
    text = f"time,symbol,rate,mark\n{T0 + 17},BTC,0.0001,7200.5\n{T0},ETH,0.0002,130\n{T0 + 8 * HOUR},BTC,-0.00005,\n"
    layout = Layout(columns={"funding_rate": "rate", "mark_price": "mark"}, where={"symbol": "BTC"})
    columns = ingest(write(tmp_path, text), layout, FUNDING).read(FUNDING).columns
    assert columns["time_ms"].tolist() == [T0 + 17, T0 + 8 * HOUR]
    assert columns["funding_rate"].tolist() == [0.0001, -0.00005]
    assert columns["mark_price"][0] == 7200.5
    assert columns["mark_price"][1] != columns["mark_price"][1]
    daily = write(tmp_path, f"time,dailyInterestRate\n{T0},0.00024\n", "borrow.csv")
    rates = read_file(daily, BORROW, Layout(columns={"daily_rate": "dailyInterestRate"}), "x").columns["hourly_rate"]
    assert rates.tolist() == pytest.approx([0.00001], rel=1e-15)


# --- bad input


def test_missing_folder_and_empty_files(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "nowhere.csv").message
    assert "is empty (0 bytes)" in refused(write(tmp_path, "")).message
    assert "holds no rows" in refused(write(tmp_path, "\n\n")).message
    assert "has a header and no rows" in refused(write(tmp_path, HEADER)).message
    with pytest.raises(DataError, match="is a folder"):
        read_file(tmp_path, BARS, Layout(), "x")


def test_truncated_files(tmp_path: Path) -> None:
    cut = refused(write(tmp_path, GOOD[: GOOD.rindex(",")]))
    assert "truncated or malformed" in cut.message
    assert "Expected 6 columns, got 5" in cut.message
    assert "#5" in cut.message
    packed = tmp_path / "cut.csv.gz"
    packed.write_bytes(gzip.compress(GOOD.encode())[:-20])
    assert "truncated or not a gzip file" in refused(packed).message
    inside_a_number = read_file(write(tmp_path, GOOD[:-1]), BARS, Layout(), "x")
    assert inside_a_number.notes == ("the file does not end with a line end: check its last row",)


def test_binary_and_malformed_headers(tmp_path: Path) -> None:
    binary = tmp_path / "btc.csv"
    binary.write_bytes(b"\xff\xfe\x00\x01binary")
    assert "is not a text file in UTF-8" in refused(binary).message
    assert "row 1: column 'open' stands there twice" in refused(write(tmp_path, "time,open,open\n1,2,3\n")).message


def test_a_wrong_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    error = refused(write(tmp_path, GOOD), Layout(time_column="ts"))
    assert "has no column 'ts'; it has time, open, high, low, close, volume" in error.message
    error = refused(write(tmp_path, GOOD), Layout(columns={"close": "c"}))
    assert "has no column 'c'" in error.message
    assert "--columns" in error.remedy
    with pytest.raises(UsageError, match=r"--columns rate=\.\.\.: bars has no rate"):
        ingest(write(tmp_path, GOOD), Layout(columns={"rate": "close"}))


@pytest.mark.parametrize(
    ("unit", "stamp", "fits"),
    [
        ("s", "1577836800000", "pass --time-unit ms"),
        ("ms", "1577836800", "pass --time-unit s"),
        ("ms", "1577836800000000", "pass --time-unit us"),
        ("us", "1577836800000", "pass --time-unit ms"),
        ("ms", "20200101", "no unit fits"),
    ],
)
def test_a_wrong_time_unit_says_which_would_fit(tmp_path: Path, unit: str, stamp: str, fits: str) -> None:
    error = refused(write(tmp_path, HEADER + f"{stamp},1,1,1,1,1\n"), Layout(time_unit=unit))
    assert f"row 2: time {stamp} is outside 2009 .. 2100 as {unit}" in error.message
    assert fits in error.remedy


def test_text_that_is_no_time(tmp_path: Path) -> None:
    text = HEADER + ROWS[0] + "2020-01-01 01:00,1,1,1,1,1\n"
    assert "row 3: time '2020-01-01 01:00' is not a number" in refused(write(tmp_path, text)).message
    text = HEADER + "2020-01-01T00:00:00Z,1,1,1,1,1\n01.02.2020,1,1,1,1,1\n"
    assert "row 3: time '01.02.2020' is not an ISO" in refused(write(tmp_path, text), Layout(time_unit="iso")).message


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("nan", "row 4: low is nan; prices must be finite and greater than zero"),
        ("NaN", "row 4: low is nan; prices"),
        ("inf", "row 4: low is inf; prices"),
        ("0", "row 4: low is 0; prices"),
        ("-3.5", "row 4: low is -3.5; prices"),
        ("", "row 4: low is empty"),
        ("n/a", "row 4: low 'n/a' is not a number"),
        ('"1,5"', "row 4: low '1,5' is not a number"),
    ],
)
def test_a_bad_price_is_refused_by_its_row(tmp_path: Path, value: str, words: str) -> None:
    lines = [HEADER, *ROWS]
    lines[3] = f"{T0 + 2 * HOUR},102,104,{value},103,7\n"
    error = refused(write(tmp_path, "".join(lines)))
    assert words in error.message


def test_unsorted_rows_are_refused_or_sorted_when_asked(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + ROWS[0] + ROWS[2] + ROWS[1] + ROWS[3])
    error = refused(path)
    assert "row 4: 2020-01-01T01:00:00Z comes after 2020-01-01T02:00:00Z" in error.message
    assert "--repair sort" in error.remedy
    assert "stands there twice" not in error.message
    piece = read_file(path, BARS, Layout(repair=("sort",)), "x")
    assert piece.columns["open"].tolist() == [100.0, 101.0, 102.0, 103.0]
    assert piece.notes == ("sorted by time (2 rows moved)",)


def test_duplicates_are_refused_or_dropped_when_asked(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + ROWS[0] + ROWS[1] + ROWS[1] + ROWS[2])
    error = refused(path)
    assert "row 4: 2020-01-01T01:00:00Z stands there twice" in error.message
    assert "--repair dedupe" in error.remedy
    piece = read_file(path, BARS, Layout(repair=("dedupe",)), "x")
    assert piece.columns["open"].tolist() == [100.0, 101.0, 102.0]
    assert piece.notes == ("dropped 1 exact repeats of rows",)


def test_contradictory_duplicates_are_refused_even_with_dedupe(tmp_path: Path) -> None:
    other = ROWS[0].replace(",101,", ",101.5,")
    path = write(tmp_path, HEADER + other + ROWS[1] + ROWS[0])
    error = refused(path, Layout(repair=("sort", "dedupe")))
    assert "row 4: 2020-01-01T00:00:00Z stands in row 2 too, with other values" in error.message


def test_rows_are_named_by_their_place_in_the_file_after_repairs(tmp_path: Path) -> None:
    bad = f"{T0 - HOUR},1,1,-1,1,1\n"
    error = refused(write(tmp_path, HEADER + ROWS[0] + ROWS[1] + ROWS[1] + bad), Layout(repair=("sort", "dedupe")))
    assert "row 5: low is -1" in error.message


def test_flags_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--time-unit ns is unknown"):
        Layout(time_unit="ns")
    with pytest.raises(UsageError, match="--repair drop is unknown"):
        Layout(repair=("drop",))
    with pytest.raises(UsageError, match="--delimiter '' is not one character"):
        Layout(delimiter="")
    with pytest.raises(UsageError, match="--columns 'open' is not of the form name=value"):
        parse_assignments("columns", "open,close=c")
    with pytest.raises(UsageError, match="--where symbol=ETH: no row of .*btc.csv has it"):
        text = f"time,symbol,funding_rate\n{T0},BTC,0.0001\n"
        read_file(write(tmp_path, text), FUNDING, Layout(where={"symbol": "ETH"}), "x")
