"""Importing freqtrade's feather caches: names, columns, damage, the unfinished last bar, exact values."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather

from crypto.errors import DataError, UsageError
from data.store import freqtrade
from data.store.lake import Lake, SeriesKey
from data.store.pieces import Ingested, IngestOptions, ingest_piece, instrument_symbol

HOUR = 3_600_000
T0 = 1_577_836_800_000  # 2020-01-01 00:00 UTC
PRICES = ("open", "high", "low", "close")


def candles(times: list[int], closes: list[float], volume: float = 1.0) -> pa.Table:
    close = np.array(closes, dtype=float)
    arrays: dict[str, pa.Array] = {"date": pa.array(times, pa.int64()).cast(pa.timestamp("ms", "UTC"))}
    arrays |= {"open": pa.array(close), "high": pa.array(close), "low": pa.array(close), "close": pa.array(close)}
    return pa.table(arrays | {"volume": pa.array(np.full(len(close), volume))})


def save(path: Path, table: pa.Table) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    feather.write_feather(table, path, compression="lz4")
    return path


def hours(count: int, start: int = T0, step: int = HOUR) -> list[int]:
    return [start + i * step for i in range(count)]


def ingest(folder: Path, lake: Lake, options: IngestOptions | None = None, venue: str = "binance") -> list[Ingested]:
    found, _ = freqtrade.find_files(folder, venue)
    return [
        ingest_piece(lake, piece, options or IngestOptions()) for piece in freqtrade.read_files(found, "freqtrade test")
    ]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "binance"
    save(folder / "BTC_USDT-1h.feather", candles(hours(3), [100.0, 101.0, 102.0]))
    save(folder / "futures" / "BTC_USDT_USDT-1h-futures.feather", candles(hours(3), [100.5, 101.5, 102.5]))
    save(folder / "futures" / "BTC_USDT_USDT-8h-mark.feather", candles(hours(1), [100.25], volume=0.0))
    rates = candles([T0, T0 + 8 * HOUR + 17], [1e-4, -2.5e-5])
    zeros = pa.array(np.zeros(2))
    for name in ("high", "low", "close", "volume"):
        rates = rates.set_column(rates.schema.get_field_index(name), name, zeros)
    save(folder / "futures" / "BTC_USDT_USDT-8h-funding_rate.feather", rates)
    return folder


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("BTC_USDT-1h.feather", ("spot", "BTCUSDT", "bars", "1h")),
        ("BTC_USDT_USDT-1h-futures.feather", ("linear", "BTCUSDT", "bars", "1h")),
        ("BTC_USDC_USDC-4h-futures.feather", ("linear", "BTCUSDC", "bars", "4h")),
        ("BTC_USD_BTC-5m-futures.feather", ("inverse", "BTCUSD", "bars", "5m")),
        ("1000PEPE_USDT_USDT-1h-mark.feather", ("linear", "1000PEPEUSDT", "mark", "1h")),
        ("kPEPE_USDC_USDC-1h-index.feather", ("linear", "kPEPEUSDC", "index", "1h")),
        ("ETH_USDT_USDT-1h-funding_rate.feather", ("linear", "ETHUSDT", "funding", "")),
        ("ETH_USDT_USDT-8h-funding_rate.feather", ("linear", "ETHUSDT", "funding", "")),
        ("perp_BTC_USDT_USDT-5m.feather", ("linear", "BTCUSDT", "bars", "5m")),
        ("somebody7_BTC_USDT-1h_2024-11.feather", ("spot", "BTCUSDT", "bars", "1h")),
        ("BTC_USDT-1h-futures.feather", None),  # a pair without settle asset is spot, and says futures
        ("BTC_USDT_USDT_240329-1h-futures.feather", None),  # dated future
        ("BTC_USDT_ETH-1h-futures.feather", None),
        ("BTC_USDT-trades.feather", None),
        ("prices.feather", None),
    ],
)
def test_names_tell_the_series(name: str, expected: tuple[str, ...] | None) -> None:
    assert freqtrade.parse_name(name, "binance") == (None if expected is None else SeriesKey("binance", *expected))


@pytest.mark.parametrize("text", ["BTCUSDT", "BTC/USDT", "BTC/USDT:USDT", "BTC_USDT_USDT", "BTC-USDT"])
def test_a_symbol_may_be_written_as_people_write_it(text: str) -> None:
    assert instrument_symbol(text) == "BTCUSDT"


def test_a_folder_goes_into_the_lake_with_its_exact_values(folder: Path, lake: Lake) -> None:
    outcomes = ingest(folder, lake)
    assert [(str(outcome.merge.key), outcome.merge.added) for outcome in outcomes] == [
        ("binance:spot:BTCUSDT bars 1h", 3),
        ("binance:linear:BTCUSDT bars 1h", 3),
        ("binance:linear:BTCUSDT funding", 2),
        ("binance:linear:BTCUSDT mark 8h", 1),
    ]
    rates = lake.read(SeriesKey("binance", "linear", "BTCUSDT", "funding"))
    assert rates.time_ms.tolist() == [T0, T0 + 8 * HOUR + 17]  # stamps stay as the venue gave them
    assert rates.columns["funding_rate"].tolist() == [1e-4, -2.5e-5]
    (origin,) = rates.info.provenance.origins
    path = folder / origin.name
    assert origin.name == "futures/BTC_USDT_USDT-8h-funding_rate.feather"
    assert origin.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not rates.info.provenance.synthetic


values = st.floats(min_value=1e-9, max_value=1e9, allow_nan=False)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(values, values, values, values, st.floats(0, 1e12)), min_size=1, max_size=50),
    st.sampled_from(["s", "ms", "us", "ns"]),
    st.sampled_from(["uncompressed", "lz4", "zstd"]),
    st.sampled_from(["UTC", None]),
)
def test_values_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[float, ...]],
    unit: str,
    compression: str,
    zone: str | None,
) -> None:
    folder = tmp_path_factory.mktemp("freqtrade")
    expected = np.array(rows)
    dates = pa.array([stamp // 1000 for stamp in hours(len(rows))], pa.int64()).cast(pa.timestamp("s"))
    table = pa.table(
        {"date": dates.cast(pa.timestamp(unit, zone))} | {n: expected[:, i] for i, n in enumerate((*PRICES, "volume"))}
    )
    feather.write_feather(table, folder / "BTC_USDT-1h.feather", compression=compression)
    lake = Lake(folder / "lake")
    ingest(folder, lake)
    read = lake.read(SeriesKey("binance", "spot", "BTCUSDT", "bars", "1h"))
    assert read.time_ms.tolist() == hours(len(rows))
    for i, name in enumerate((*PRICES, "volume")):
        np.testing.assert_array_equal(read.columns[name].view(np.int64), expected[:, i].copy().view(np.int64))


def test_only_what_is_asked_for_is_taken(folder: Path) -> None:
    save(folder / "ETH_USDT-5m.feather", candles(hours(1), [1.0]))
    found, _ = freqtrade.find_files(folder, "binance")
    names = [file.name for file in freqtrade.select(found, ["BTC/USDT"], ["1h"])]
    assert names == [
        "BTC_USDT-1h.feather",
        "futures/BTC_USDT_USDT-1h-futures.feather",
        "futures/BTC_USDT_USDT-8h-funding_rate.feather",  # its label says nothing about its spacing
    ]
    with pytest.raises(UsageError, match="--symbols DOGEUSDT: no file is for it") as caught:
        freqtrade.select(found, ["DOGEUSDT"], [])
    assert "BTCUSDT, ETHUSDT" in caught.value.remedy
    with pytest.raises(UsageError, match="--timeframes 1d: no file is for it"):
        freqtrade.select(found, [], ["1d"])


def test_files_with_other_names_are_reported_not_swallowed(folder: Path) -> None:
    save(folder / "prices.feather", candles(hours(1), [1.0]))
    found, skipped = freqtrade.find_files(folder, "binance")
    assert len(found) == 4
    assert [(file.name, "--file" in file.reason) for file in skipped] == [("prices.feather", True)]


def test_a_file_of_any_name_can_be_named(tmp_path: Path, lake: Lake) -> None:
    path = save(tmp_path / "prices.feather", candles(hours(2), [1.0, 2.0]))
    key = SeriesKey("bybit", "spot", "BTCUSDT", "bars", "1h")
    ingest_piece(lake, freqtrade.read_file(freqtrade.single_file(path, key), "mine"), IngestOptions())
    assert lake.read(key).columns["close"].tolist() == [1.0, 2.0]
    with pytest.raises(UsageError, match="is not a .feather file"):
        freqtrade.single_file(tmp_path / "prices.csv", key)


def test_folders_without_anything_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder"):
        freqtrade.find_files(tmp_path / "nowhere", "binance")
    (tmp_path / "x.feather").touch()
    with pytest.raises(DataError, match="holds no feather file named as freqtrade names them"):
        freqtrade.find_files(tmp_path, "binance")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "does not exist"),
        (b"", r"is empty \(0 bytes\)"),
        (b"ARROW1 but no more", "truncated or not a feather file"),
        ("half", "truncated or not a feather file"),
    ],
)
def test_missing_empty_and_truncated_files_are_named(tmp_path: Path, content: bytes | str | None, words: str) -> None:
    path = save(tmp_path / "BTC_USDT-1h.feather", candles(hours(500), [1.0] * 500))
    found, _ = freqtrade.find_files(tmp_path, "binance")
    whole = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    with pytest.raises(DataError, match=words) as caught:
        freqtrade.read_file(found[0], "test")
    assert str(path) in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop_columns(["close"]), "has no column 'close'; it has date, open, high, low, volume"),
        (lambda t: t.set_column(0, "date", pa.array(["x", "y", "z"])), "column 'date' is string, not a date-time"),
        (lambda t: t.set_column(1, "open", pa.array(["1", "2", "3"])), "column 'open' is string, not a number"),
        (lambda t: t.set_column(1, "open", pa.array([1.0, None, 3.0])), "row 2: open is nan; prices must be"),
        (lambda t: t.set_column(3, "low", pa.array([1.0, 2.0, 0.0])), "row 3: low is 0; prices must be"),
        (lambda t: t.set_column(3, "low", pa.array([-1.0, 2.0, 1.0])), "row 1: low is -1; prices must be"),
        (lambda t: t.take([0, 2, 1]), "row 3: 2020-01-01T01:00:00Z comes after 2020-01-01T02:00:00Z"),
        (lambda t: t.take([0, 0, 1]), "row 2: 2020-01-01T00:00:00Z stands there twice"),
        (lambda t: t.slice(0, 0), "holds no rows"),
        (
            lambda t: t.set_column(
                0, "date", pa.array([datetime.datetime(2020, 1, 1), None, None], pa.timestamp("ms"))
            ),
            "row 2: date is missing",
        ),
    ],
)
def test_bad_rows_and_columns_are_named_and_nothing_is_written(
    tmp_path: Path, lake: Lake, change: Callable[[Any], Any], words: str
) -> None:
    path = tmp_path / "in" / "BTC_USDT-1h.feather"
    save(path, change(candles(hours(3), [1.0, 2.0, 3.0])))
    with pytest.raises(DataError, match=words) as caught:
        ingest(path.parent, lake)
    assert str(path) in caught.value.message
    assert not lake.root.exists()


def test_a_wrong_timeframe_is_noticed(tmp_path: Path, lake: Lake) -> None:
    save(tmp_path / "in" / "BTC_USDT-1h.feather", candles(hours(3, step=300_000), [1.0, 2.0, 3.0]))
    with pytest.raises(DataError, match="row 2: 2020-01-01T00:05:00Z does not open a 1h bar"):
        ingest(tmp_path / "in", lake)


def test_the_last_bar_stays_unless_asked_or_unfinished(tmp_path: Path) -> None:
    save(tmp_path / "in" / "BTC_USDT-1h.feather", candles(hours(3), [1.0, 2.0, 3.0]))
    over = T0 + 3 * HOUR
    for number, (options, rows, note) in enumerate(
        [
            (IngestOptions(), 3, None),
            (IngestOptions(now_ms=over), 3, None),
            (IngestOptions(now_ms=over - 1), 2, "left out the last bar, 2020-01-01T02:00:00Z (it is not over yet)"),
            (IngestOptions(drop_last=True), 2, "left out the last bar, 2020-01-01T02:00:00Z (--drop-last)"),
        ]
    ):
        (outcome,) = ingest(tmp_path / "in", Lake(tmp_path / str(number)), options)
        assert (outcome.merge.rows, outcome.notes) == (rows, (note,) if note else ())


def test_five_minutes_become_hours_and_join_hours(tmp_path: Path, lake: Lake) -> None:
    save(tmp_path / "a" / "BTC_USDT-1h.feather", candles(hours(1), [112.0], volume=12.0))
    save(
        tmp_path / "b" / "BTC_USDT-5m.feather", candles(hours(30, T0 + HOUR, 300_000), [float(i) for i in range(1, 31)])
    )
    ingest(tmp_path / "a", lake)
    (outcome,) = ingest(tmp_path / "b", lake, IngestOptions(resample="1h"))
    assert outcome.notes == ("made 1h bars of 5m bars, 1 incomplete left out",)
    series = lake.read(SeriesKey("binance", "spot", "BTCUSDT", "bars", "1h"))
    assert series.columns["open"].tolist() == [112.0, 1.0, 13.0]
    assert series.columns["close"].tolist() == [112.0, 12.0, 24.0]
    assert series.columns["volume"].tolist() == [12.0, 12.0, 12.0]
    assert not lake.has(SeriesKey("binance", "spot", "BTCUSDT", "bars", "5m"))


def test_longer_bars_are_kept_as_they_are(folder: Path, lake: Lake) -> None:
    outcomes = {str(outcome.merge.key): outcome.notes for outcome in ingest(folder, lake, IngestOptions(resample="1h"))}
    assert outcomes["binance:linear:BTCUSDT mark 8h"] == ("kept at 8h: 1h bars cannot be made of them",)


def test_too_little_for_one_bar_is_said(tmp_path: Path, lake: Lake) -> None:
    save(tmp_path / "in" / "BTC_USDT-5m.feather", candles(hours(3, step=300_000), [1.0, 2.0, 3.0]))
    with pytest.raises(UsageError, match="no complete bar is left"):
        ingest(tmp_path / "in", lake, IngestOptions(resample="1h"))
