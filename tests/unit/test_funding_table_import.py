"""Long funding tables into the lake: layout, rows that are refused by number, CSV and Parquet alike."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from crypto.errors import DataError, UsageError
from data.store.delimited import Layout
from data.store.funding_table import TableLayout, read_table
from data.store.pieces import Piece

T0 = 1_704_067_200_000
H8 = 8 * 3_600_000
TEXT = (
    "timestamp,symbol,funding_rate\n"
    f"{T0 + H8 + 9},BTCUSDT,0.0001\n"
    f"{T0 + H8},ETHUSDT,-0.0002\n"
    f"{T0 + 2 * H8},BTCUSDT,0.0003\n"
    f"{T0 + 2 * H8 + 3},ETHUSDT,0\n"
)
TIME = Layout(time_column="timestamp")


def read(path: Path, layout: TableLayout | None = None) -> dict[str, Piece]:
    pieces = read_table(path, "binance", "linear", layout or TableLayout(TIME), "label")
    return {piece.key.symbol: piece for piece in pieces}


def write(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_a_table_becomes_one_piece_per_symbol(tmp_path: Path, name: str) -> None:
    found = read(write(tmp_path / name, TEXT))
    assert list(found) == ["BTCUSDT", "ETHUSDT"]
    assert list(found["BTCUSDT"].columns["time_ms"]) == [T0 + H8 + 9, T0 + 2 * H8]
    assert list(found["ETHUSDT"].columns["funding_rate"]) == [-0.0002, 0.0]
    assert str(found["BTCUSDT"].key) == "binance:linear:BTCUSDT funding"
    assert found["BTCUSDT"].provenance.source == "label"
    assert found["BTCUSDT"].provenance.origins[0].name == name


def test_parquet_gives_the_same_to_the_bit(tmp_path: Path) -> None:
    times = pd.to_datetime([T0 + H8, T0 + 2 * H8 + 1, T0 + H8], unit="ms", utc=True)
    rates = [0.1 + 0.2, -1e-7 / 3, 1e-5]
    frame = pd.DataFrame({"timestamp": times, "coin": ["BTC", "BTC", "ETH"], "rate": rates, "venue": "bybit"})
    frame.to_parquet(tmp_path / "table.parquet")
    layout = TableLayout(
        Layout(time_column="timestamp", columns={"symbol": "coin", "funding_rate": "rate"}, where={"venue": "bybit"}),
        suffix="USDT",
    )
    found = read(tmp_path / "table.parquet", layout)
    np.testing.assert_array_equal(found["BTCUSDT"].columns["funding_rate"], rates[:2])
    np.testing.assert_array_equal(found["BTCUSDT"].columns["time_ms"], [T0 + H8, T0 + 2 * H8 + 1])
    assert list(found) == ["BTCUSDT", "ETHUSDT"]


def test_marks_may_be_missing(tmp_path: Path) -> None:
    text = f"timestamp,symbol,funding_rate,mark_price\n{T0},BTCUSDT,0.1,\n{T0 + H8},BTCUSDT,0.1,42.5\n"
    found = read(write(tmp_path / "table.csv", text))["BTCUSDT"].columns["mark_price"]
    np.testing.assert_array_equal(found, [np.nan, 42.5])


def test_only_some_symbols(tmp_path: Path) -> None:
    path = write(tmp_path / "table.csv", TEXT)
    assert list(read(path, TableLayout(TIME, symbols=("ETHUSDT",)))) == ["ETHUSDT"]
    with pytest.raises(UsageError, match="--symbols DOGEUSDT: no file is for it"):
        read(path, TableLayout(TIME, symbols=("DOGEUSDT",)))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (f"{T0},BTCUSDT,0.5", r"row 6: .* comes after"),
        (f"{T0 + 2 * H8},BTCUSDT,0.5", r"row 6: .* stands there twice"),
        (f"{T0 + 3 * H8},BTCUSDT,x", "row 6: funding_rate 'x' is not a number"),
        (f"{T0 + 3 * H8},BTCUSDT,", "row 6: funding_rate is empty"),
        ("12345,BTCUSDT,0.1", "row 6: timestamp 12345 is outside"),
        (f"{T0 + 3 * H8},B?C,0.1", r"row 6: symbol 'B\?C' is not made of letters and digits"),
        (f"{T0 + 3 * H8},BTC/USDT,0.1", "symbols 'BTC/USDT' and 'BTCUSDT' both mean BTCUSDT"),
        (f"{T0 + 3 * H8},BTCUSDT", "truncated or malformed"),
    ],
)
def test_a_bad_row_is_refused_by_its_number(tmp_path: Path, row: str, words: str) -> None:
    path = write(tmp_path / "table.csv", TEXT + row + "\n")
    with pytest.raises(DataError, match=words):
        read(path)


def test_repairs_are_made_only_when_asked_and_per_symbol(tmp_path: Path) -> None:
    path = write(tmp_path / "table.csv", TEXT + f"{T0 + H8},ETHUSDT,-0.0002\n")
    with pytest.raises(DataError, match="row 6"):
        read(path)
    found = read(path, TableLayout(Layout(time_column="timestamp", repair=("sort", "dedupe"))))
    assert list(found["ETHUSDT"].columns["funding_rate"]) == [-0.0002, 0.0]
    assert found["ETHUSDT"].notes == ("sorted by time (2 rows moved)", "dropped 1 exact repeats of rows")
    assert found["BTCUSDT"].notes == ()


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="has no column 'symbol'"):
        read(write(tmp_path / "table.csv", "timestamp,funding_rate\n1,2\n"))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match="is damaged"):
        read(tmp_path / "bad.parquet")
    with pytest.raises(UsageError, match="a funding table has no open"):
        TableLayout(Layout(columns={"open": "o"}))
