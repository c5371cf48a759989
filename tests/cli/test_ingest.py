"""``carry ingest`` and ``carry data``: what is printed, exit codes, and that bad input leaves nothing behind."""

from __future__ import annotations

import errno
import os
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather

from data.store import atomic
from data.store.lake import Lake, Provenance, SeriesKey
from tests.cli.command import Run, only_commands, run

T0 = 1_577_836_800_000  # 2020-01-01 00:00 UTC
HOUR = 3_600_000
CSV = "time,open,high,low,close,volume\n" + "".join(f"{T0 + i * HOUR},100,102,98,{101 + i},5\n" for i in range(3))


@pytest.fixture
def carry(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run ``carry`` with arguments in an empty folder; only the commands under test are loaded."""
    only_commands(monkeypatch, tmp_path, "cli.ingest", "cli.data")

    return partial(run, capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "binance"
    (folder / "futures").mkdir(parents=True)
    dates = pa.array([T0 + i * HOUR for i in range(24)], pa.int64()).cast(pa.timestamp("ms", "UTC"))
    price = pa.array(np.full(24, 100.0))
    bars = pa.table({"date": dates} | dict.fromkeys(("open", "high", "low", "close", "volume"), price))
    feather.write_feather(bars, folder / "BTC_USDT-1h.feather")
    feather.write_feather(bars, folder / "futures" / "BTC_USDT_USDT-1h-futures.feather")
    rates = bars.set_column(1, "open", pa.array(np.full(24, 1e-4))).take([0, 8, 16])
    feather.write_feather(rates, folder / "futures" / "BTC_USDT_USDT-1h-funding_rate.feather")
    return folder


def csv_arguments(path: Path) -> tuple[object, ...]:
    instrument = ("--venue", "binance", "--kind", "spot", "--symbol", "BTC/USDT", "--timeframe", "1h")
    return ("ingest", "csv", path, *instrument)


def test_a_folder_into_the_default_lake(carry: Run, folder: Path) -> None:
    outcome = carry("ingest", "freqtrade", folder, "--venue", "binance", "--json")
    assert outcome.code == 0
    assert [(file["series"], file["added"]) for file in outcome.json["files"]] == [
        ("binance:spot:BTCUSDT bars 1h", 24),
        ("binance:linear:BTCUSDT funding", 3),
        ("binance:linear:BTCUSDT bars 1h", 24),
    ]
    listed = carry("data", "list", "--json").json["series"]
    assert {entry["series"]: entry["rows"] for entry in listed} == {
        "binance:spot:BTCUSDT bars 1h": 24,
        "binance:linear:BTCUSDT funding": 3,
        "binance:linear:BTCUSDT bars 1h": 24,
    }
    assert {entry["source"] for entry in listed} == {"freqtrade binance"}
    checked = carry("data", "check", "--json")
    assert (checked.code, checked.json["errors"], checked.json["findings"]) == (0, 0, [])
    assert checked.json["calendars"][0]["segments"][0]["interval_hours"] == 8.0


def test_people_get_tables(carry: Run, folder: Path) -> None:
    outcome = carry("ingest", "freqtrade", folder, "--venue", "binance")
    assert "51 rows added: data/lake" in outcome.out
    assert "binance:linear:BTCUSDT funding" in outcome.out
    listed = carry("data", "list").out
    assert "3 series in data/lake" in listed
    assert "source 1: freqtrade binance" in listed
    checked = carry("data", "check").out
    assert "3 series in data/lake: 0 errors, 0 warnings, 0 infos" in checked
    assert "8h 2020-01-01 .. 2020-01-01" in checked


def test_a_dry_run_writes_nothing(carry: Run, folder: Path, tmp_path: Path) -> None:
    outcome = carry("ingest", "freqtrade", folder, "--venue", "binance", "--dry-run")
    assert outcome.code == 0
    assert "51 rows would be added (dry run, nothing written)" in outcome.out
    assert not (tmp_path / "data").exists()


def test_again_adds_nothing_and_skipped_files_are_named(carry: Run, folder: Path) -> None:
    carry("ingest", "freqtrade", folder, "--venue", "binance")
    (folder / "other.feather").write_bytes(b"x")
    outcome = carry("ingest", "freqtrade", folder, "--venue", "binance", "--symbols", "BTCUSDT", "--json")
    assert [(file["added"], file["identical"]) for file in outcome.json["files"]] == [(0, 24), (0, 3), (0, 24)]
    assert [file["file"] for file in outcome.json["skipped"]] == ["other.feather"]


def test_one_file_of_any_name(carry: Run, folder: Path, tmp_path: Path) -> None:
    path = (folder / "BTC_USDT-1h.feather").rename(tmp_path / "mine.feather")
    instrument = ("--venue", "bybit", "--kind", "spot", "--symbol", "BTCUSDT", "--timeframe", "1h")
    outcome = carry("ingest", "freqtrade", "--file", path, *instrument, "--resample", "4h", "--json")
    assert outcome.code == 0, outcome
    (file,) = outcome.json["files"]
    assert (file["series"], file["added"]) == ("bybit:spot:BTCUSDT bars 4h", 6)


def test_csv(carry: Run, tmp_path: Path) -> None:
    path = tmp_path / "btc.csv"
    path.write_text(CSV)
    assert carry(*csv_arguments(path)).code == 0
    key = SeriesKey("binance", "spot", "BTCUSDT", "bars", "1h")
    assert Lake(tmp_path / "data" / "lake").read(key).columns["close"].tolist() == [101.0, 102.0, 103.0]


@pytest.mark.parametrize(
    ("content", "arguments", "code", "words"),
    [
        (None, (), 4, "does not exist"),
        ("", (), 4, "is empty"),
        (CSV[:-10], (), 4, "truncated or malformed"),
        (CSV.replace("98,102", "98,nan"), (), 4, "row 3: close is nan"),
        (CSV.replace("98,102", "98,0"), (), 4, "row 3: close is 0"),
        (CSV.replace("98,102", "98,-1"), (), 4, "row 3: close is -1"),
        (CSV + CSV.splitlines()[1] + "\n", (), 4, "row 5: 2020-01-01T00:00:00Z comes after"),
        (CSV + CSV.splitlines()[3] + "\n", (), 4, "row 5: 2020-01-01T02:00:00Z stands there twice"),
        (CSV, ("--time-column", "ts"), 4, "has no column 'ts'"),
        (CSV, ("--time-unit", "s"), 4, "pass --time-unit ms"),
        (CSV, ("--time-unit", "days"), 2, "--time-unit days is unknown"),
        (CSV, ("--series", "candles"), 2, "series 'candles' is unknown"),
        (CSV, ("--timeframe", "7m"), 2, "timeframe '7m' is unknown"),
        (CSV, ("--venue", "../x"), 2, "venue '../x'"),
        (CSV, ("--columns", "open"), 2, "--columns 'open' is not of the form"),
    ],
)
def test_bad_input_is_one_message_an_exit_code_and_no_file(
    carry: Run, tmp_path: Path, content: str | None, arguments: tuple[str, ...], code: int, words: str
) -> None:
    path = tmp_path / "btc.csv"
    if content is not None:
        path.write_text(content)
    outcome = carry(*csv_arguments(path), *arguments)
    assert outcome.code == code, outcome
    assert outcome.out == ""
    assert words in outcome.err
    assert outcome.err.count("error: ") == 1
    assert "what to do: " in outcome.err
    assert not (tmp_path / "data").exists()
    as_json = carry(*csv_arguments(path), *arguments, "--json")
    assert as_json.code == code
    assert as_json.json["exit_code"] == code
    assert as_json.json["error"]


def test_folder_or_file_but_not_both(carry: Run, folder: Path) -> None:
    for arguments in ((), (folder, "--file", folder / "BTC_USDT-1h.feather")):
        outcome = carry("ingest", "freqtrade", *arguments, "--venue", "binance")
        assert outcome.code == 2
        assert "either a folder or --file" in outcome.err


@pytest.mark.parametrize(
    ("venue", "meant"), [("binanse", "binance"), ("bybitt", "bybit"), ("kraken", None), ("okx", None)]
)
def test_a_venue_that_looks_like_a_slip_is_pointed_out(carry: Run, folder: Path, venue: str, meant: str | None) -> None:
    outcome = carry("ingest", "freqtrade", folder, "--venue", venue, "--json")
    assert outcome.code == 0
    assert outcome.json["files"][0]["series"].startswith(f"{venue}:spot")
    assert (f"if {meant} was meant" in outcome.err) if meant else ("was meant" not in outcome.err)


def test_unknown_symbols_and_missing_lakes(carry: Run, folder: Path) -> None:
    outcome = carry("ingest", "freqtrade", folder, "--venue", "binance", "--symbols", "DOGEUSDT")
    assert outcome.code == 2
    assert "--symbols DOGEUSDT" in outcome.err
    for command in ("list", "check"):
        assert carry("data", command).code == 4
    carry("ingest", "freqtrade", folder, "--venue", "binance")
    outcome = carry("data", "check", "--symbol", "DOGEUSDT")
    assert outcome.code == 2
    assert "--symbol DOGEUSDT is not in the lake" in outcome.err


def test_contradictory_rows_need_replace(carry: Run, tmp_path: Path) -> None:
    path = tmp_path / "btc.csv"
    path.write_text(CSV)
    carry(*csv_arguments(path))
    path.write_text(CSV.replace("98,102", "98,101.75"))
    outcome = carry(*csv_arguments(path))
    assert outcome.code == 4
    assert (
        "row 3: 2020-01-01T01:00:00Z contradicts the held binance:spot:BTCUSDT bars 1h: close 101.75 (held 102)"
        in outcome.err
    )
    assert "--replace" in outcome.err
    assert carry(*csv_arguments(path), "--replace", "--json").json["files"][0]["replaced"] == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_failing_disk_ends_with_five_and_no_half_file(
    carry: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    path = tmp_path / "btc.csv"
    path.write_text(CSV)
    monkeypatch.setattr(atomic.os, "fsync", fail)
    outcome = carry(*csv_arguments(path))
    assert outcome.code == 5
    assert "cannot write data/lake/binance/spot/BTCUSDT/bars-1h.parquet" in outcome.err
    assert [item for item in (tmp_path / "data").rglob("*") if item.is_file()] == []


def test_interruption_keeps_what_was_done_and_leaves_no_half_file(
    carry: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    original = os.fsync

    def interrupt(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 2:  # the first series syncs its file and its folder
            raise KeyboardInterrupt
        original(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", interrupt)
    outcome = carry("ingest", "freqtrade", folder, "--venue", "binance")
    assert outcome.code == 130
    files = [item.name for item in (tmp_path / "data").rglob("*") if item.is_file()]
    assert files == ["bars-1h.parquet"]
    monkeypatch.undo()


def test_errors_found_by_the_check_end_with_four(carry: Run, tmp_path: Path) -> None:
    times = T0 + HOUR * np.arange(3)
    columns = {"time_ms": times} | {name: np.full(3, 100.0) for name in ("open", "high", "low", "close", "volume")}
    columns["high"] = np.array([100.0, 90.0, 100.0])
    key = SeriesKey("binance", "spot", "BTCUSDT", "bars", "1h")
    Lake(tmp_path / "data" / "lake").write(key, columns, Provenance("test"))
    outcome = carry("data", "check")
    assert outcome.code == 4
    assert "1 errors" in outcome.out
    assert "ohlc x 1, first 2020-01-01 01:00" in outcome.out
    outcome = carry("data", "check", "--json")
    assert outcome.code == 4
    assert outcome.json["findings"][0]["samples"][0]["high"] == 90.0


def test_generated_data_are_labelled(carry: Run, tmp_path: Path) -> None:
    key = SeriesKey("binance", "asset", "USDT", "borrow")
    rates = {"time_ms": np.array([T0]), "hourly_rate": np.array([1e-6])}
    Lake(tmp_path / "data" / "lake").write(key, rates, Provenance("sample", synthetic=True))
    assert "SYNTHETIC, sample" in carry("data", "list").out
    assert carry("data", "list", "--json").json["series"][0]["synthetic"] is True


@pytest.mark.parametrize("command", [("ingest", "freqtrade"), ("ingest", "csv"), ("data", "list"), ("data", "check")])
def test_help_shows_an_example(carry: Run, command: tuple[str, ...]) -> None:
    outcome = carry(*command, "--help")
    assert outcome.code == 0
    assert f"Example: carry {' '.join(command)}" in outcome.out
