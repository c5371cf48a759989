"""Rows for Lean: plain numbers, whole lines, growing times, and going on after a restart."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import DataError, OutputError
from data.feed.rows import COLUMNS, RowWriter, Value, line, plain

NAME = "binance:linear:BTCUSDT"
DAY = 1_769_904_000_000  # 2026-02-01
VALUES: dict[str, Value] = dict.fromkeys(COLUMNS[1:])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (float("nan"), ""),
        (float("inf"), ""),
        (0.00001, "0.00001"),  # Python writes 1e-05, which Lean's parser reads as 62705
        (-8.4e-7, "-0.00000084"),
        (1e22, "10000000000000000000000"),
        (1.0003e4, "10003.0"),
        (1_800_000_000_000, "1800000000000"),
        (0, "0"),
    ],
)
def test_numbers_have_digits_sign_and_point_only(value: Value, text: str) -> None:
    assert plain(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_digit_is_lost(value: float) -> None:
    text = plain(value)
    assert set(text) <= set("-.0123456789")
    assert float(Decimal(text)) == value


def test_a_row_has_every_column_and_ends_its_line() -> None:
    values = VALUES | {"mark": 60_000.5, "predicted_rate": 1e-5, "stale": 0}
    assert line(DAY, values) == b"1769904000000,60000.5,,0.00001,,,,,,,,,,0\n"


def test_a_missing_column_is_an_error() -> None:
    with pytest.raises(KeyError, match="stale"):
        line(DAY, dict.fromkeys(COLUMNS[1:-1]))


def test_rows_keep_their_distance_and_never_go_back(tmp_path: Path) -> None:
    writer = RowWriter(tmp_path, row_seconds=1.0)
    written = []
    for now_ms in (DAY, DAY + 999, DAY + 1000, DAY - 600_000, DAY + 1500, DAY + 2100):
        if writer.is_due(NAME, now_ms):
            writer.write(NAME, now_ms, VALUES)
            written.append(now_ms)
    assert written == [DAY, DAY + 1000, DAY + 2100]
    assert (writer.rows, writer.held_back) == (3, 1)  # the clock was ten minutes back once


def test_a_day_has_a_file_of_its_own(tmp_path: Path) -> None:
    writer = RowWriter(tmp_path, row_seconds=1.0)
    for now_ms in (DAY - 1, DAY + 1000):
        assert writer.is_due(NAME, now_ms)
        writer.write(NAME, now_ms, VALUES)
    folder = tmp_path / "binance" / "linear" / "BTCUSDT"
    assert sorted(path.name for path in folder.iterdir()) == ["20260131.csv", "20260201.csv"]


def test_a_restart_goes_on_after_the_last_whole_row(tmp_path: Path) -> None:
    RowWriter(tmp_path, 1.0).write(NAME, DAY, VALUES)
    path = tmp_path / "binance" / "linear" / "BTCUSDT" / "20260201.csv"
    whole = path.read_bytes()
    path.write_bytes(whole + b"17699040")  # killed in the middle of a line
    again = RowWriter(tmp_path, 1.0)
    assert not again.is_due(NAME, DAY + 500)
    assert again.is_due(NAME, DAY + 1000)
    again.write(NAME, DAY + 1000, VALUES)
    assert path.read_bytes() == whole + b"1769904001000,,,,,,,,,,,,,\n"


def test_a_full_disk_is_named_and_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RowWriter(tmp_path, 1.0)
    writer.write(NAME, DAY, VALUES)
    path = writer.path(NAME, DAY)
    before, real = path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:5]))
    with pytest.raises(OutputError, match=r"20260201\.csv: No space left"):
        writer.write(NAME, DAY + 1000, VALUES)
    monkeypatch.undo()
    assert path.read_bytes() == before


def test_a_symbol_that_can_be_no_file_name_makes_no_file_and_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = RowWriter(tmp_path / "rows", 1.0)
    for symbol in ("../../evil", "..", ".hidden", "a/b", "a\0b", "a\nb", "x" * 300):
        assert not writer.is_due(f"binance:linear:{symbol}", DAY)
    assert writer.is_due("hyperliquid:linear:xyz:TSLA", DAY)
    assert writer.path("hyperliquid:linear:xyz:TSLA", DAY).parent.name == "xyz:TSLA"
    assert writer.is_due("binance:linear:币安人生USDT", DAY)
    assert not (tmp_path / "rows").exists()
    assert "can be no file's name" in caplog.text


def test_rows_that_are_held_back_by_a_clock_that_went_back_are_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = RowWriter(tmp_path, 1.0)
    values = dict.fromkeys(COLUMNS[1:], 1.0)
    writer.write("a:b:C", DAY + 600_000, values)
    assert not writer.is_due("a:b:C", DAY)
    assert not writer.is_due("a:b:C", DAY + 250)
    assert caplog.text.count("a:b:C: no rows for Lean for 600 s") == 1
    assert writer.is_due("a:b:C", DAY + 601_000)


def test_a_file_that_does_not_end_with_a_row_is_named(tmp_path: Path) -> None:
    writer = RowWriter(tmp_path, 1.0)
    path = writer.path("a:b:C", DAY)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"1790000000000,1\n" + b"\0" * 40 + b"\n")
    with pytest.raises(DataError, match="does not end with a row of a feed"):
        writer.is_due("a:b:C", DAY)


def test_a_long_file_is_gone_on_with_from_its_end(tmp_path: Path) -> None:
    first = RowWriter(tmp_path, 1.0)
    path = first.path("a:b:C", DAY)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(b"%d,1,2\n" % (DAY + number) for number in range(20_000)) + b"17")
    second = RowWriter(tmp_path, 1.0)
    assert not second.is_due("a:b:C", DAY + 20_998)
    assert second.is_due("a:b:C", DAY + 20_999)
    assert path.read_bytes().endswith(b"%d,1,2\n" % (DAY + 19_999))
