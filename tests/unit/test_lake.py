"""The lake: atomic files, what may enter, merging, reading parts, damage."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import DataError, OutputError, UsageError
from data.store import atomic
from data.store.atomic import atomic_write, write_text
from data.store.lake import Lake, Provenance, SeriesKey, SourceFile
from data.store.resample import resample

HOUR = 3_600_000
T0 = 1_577_836_800_000  # 2020-01-01 00:00 UTC
BARS = SeriesKey("binance", "linear", "BTCUSDT", "bars", "1h")
FUNDING = SeriesKey("binance", "linear", "BTCUSDT", "funding")
REAL = Provenance("a test")


def bars(closes: list[float], start: int = T0, step: int = HOUR) -> dict[str, np.ndarray]:
    close = np.array(closes, dtype=float)
    return {
        "time_ms": start + step * np.arange(len(close), dtype=np.int64),
        "open": close - 1,
        "high": close + 2,
        "low": close - 2,
        "close": close,
        "volume": np.full(len(close), 5.0),
    }


def funding(times: list[int], rates: list[float]) -> dict[str, np.ndarray]:
    return {"time_ms": np.array(times, dtype=np.int64), "funding_rate": np.array(rates)}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# --- atomic files


def test_text_is_written_whole_with_the_permissions_of_a_new_file(tmp_path: Path) -> None:
    target = tmp_path / "made" / "result.json"
    write_text(target, "{}\n")
    assert target.read_bytes() == b"{}\n"
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    assert files_below(tmp_path) == ["made/result.json", "plain"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no"), SystemExit(1)])
def test_any_exception_leaves_the_old_file_and_no_temporary_one(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "old.txt"
    target.write_text("old")
    with pytest.raises(type(error)), atomic_write(target) as temporary:
        temporary.write_text("half of the ne")
        raise error
    assert target.read_text() == "old"
    assert files_below(tmp_path) == ["old.txt"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "may write"),
        (errno.EDQUOT, "quota"),
    ],
)
def test_a_failing_disk_is_an_output_error_that_names_path_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic.os, "fsync", fail)
    target = tmp_path / "result.json"
    with pytest.raises(OutputError) as caught:
        write_text(target, "{}")
    assert str(target) in caught.value.message
    assert words in caught.value.remedy
    assert files_below(tmp_path) == []


def test_a_disk_that_takes_no_more_bytes_leaves_nothing(tmp_path: Path) -> None:
    """A real failure of the write call: the process may write 100 bytes per file."""
    code = (
        "import resource, signal, sys\n"
        "from data.store.atomic import write_text\n"
        "from crypto.errors import OutputError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try:\n    write_text(sys.argv[1], 'x' * 1000)\n"
        "except OutputError as error:\n    sys.exit(error.exit_code)\n"
    )
    command = [sys.executable, "-B", "-c", code, str(tmp_path / "big.txt")]
    result = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert result.returncode == 5, result.stderr
    assert files_below(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: run as another user")
def test_a_folder_without_permission_is_an_output_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        write_text(tmp_path / "x", "x")


def test_a_file_where_a_folder_should_be_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Not a directory|File exists"):
        write_text(tmp_path / "file" / "x", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="Is a directory"):
        write_text(tmp_path / "folder", "x")


def test_a_folder_of_the_lake_that_may_not_be_read_is_named_and_not_left_out(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permission is refused by a stand-in, as the tests may run as root."""
    venue = lake.root / "binance"
    venue.mkdir(parents=True)
    entries, is_file = Path.iterdir, Path.is_file

    def refuse(path: Path) -> None:
        if path == venue or venue in path.parents:
            raise PermissionError(13, "Permission denied", str(path))

    def iterdir(path: Path) -> Iterator[Path]:
        refuse(path)
        return entries(path)

    def guarded_is_file(path: Path) -> bool:
        refuse(path)
        return is_file(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    monkeypatch.setattr(Path, "is_file", guarded_is_file)
    with pytest.raises(DataError, match="binance may not be read"):
        lake.list()
    for call in (lake.has, lake.info, lake.read):
        with pytest.raises(DataError, match=r"bars-1h\.parquet may not be read"):
            call(BARS)


def test_an_error_about_another_file_is_the_callers(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "x"):
        (tmp_path / "input").read_bytes()
    assert files_below(tmp_path) == []


# --- keys


def test_paths_are_the_documented_ones(lake: Lake) -> None:
    borrow = SeriesKey("binance", "asset", "USDT", "borrow")
    paths = [lake.path(key).relative_to(lake.root).as_posix() for key in (BARS, FUNDING, borrow)]
    assert paths == [
        "binance/linear/BTCUSDT/bars-1h.parquet",
        "binance/linear/BTCUSDT/funding.parquet",
        "binance/asset/USDT/borrow.parquet",
    ]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (("../x", "spot", "BTCUSDT", "bars", "1h"), r"venue '\.\./x'"),
        (("binance", "perp", "BTCUSDT", "bars", "1h"), "kind 'perp'"),
        (("binance", "spot", "BTC/USDT", "bars", "1h"), "symbol 'BTC/USDT'"),
        (("binance", "spot", "BTCUSDT", "candles", "1h"), "series 'candles'"),
        (("binance", "spot", "BTCUSDT", "bars", "7m"), "timeframe '7m'"),
        (("binance", "spot", "BTCUSDT", "bars", ""), "timeframe ''"),
        (("binance", "spot", "BTCUSDT", "funding", ""), "spot has no funding"),
        (("binance", "linear", "BTCUSDT", "funding", "8h"), "funding has no timeframe"),
        (("binance", "linear", "USDT", "borrow", ""), "does not belong to kind"),
    ],
)
def test_a_malformed_key_is_refused_by_its_part(parts: tuple[str, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SeriesKey(*parts)


# --- writing and reading


def test_a_series_comes_back_as_it_was_written(lake: Lake) -> None:
    columns = bars([100.0, 101.5, 100.1 + 0.2])
    origin = SourceFile("BTC.feather", "ab" * 32)
    lake.write(BARS, columns, Provenance("somewhere", (origin,), synthetic=True))
    series = lake.read(BARS)
    assert list(series.columns) == ["time_ms", "open", "high", "low", "close", "volume"]
    for name, values in columns.items():
        np.testing.assert_array_equal(series.columns[name], values)
    assert series.info.provenance == Provenance("somewhere", (origin,), synthetic=True)
    assert (series.info.rows, series.info.first_ms, series.info.last_ms) == (3, T0, T0 + 2 * HOUR)
    assert lake.list() == [BARS]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        lake = Lake(tmp_path / name)
        lake.write(BARS, bars([100.0, 101.0]), REAL)
        contents.append(lake.path(BARS).read_bytes())
    assert contents[0] == contents[1]


def test_a_range_reads_only_its_rows_and_its_part_of_the_file(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 70_000  # three row groups of 32,768
    lake.write(BARS, bars([100.0 + i for i in range(count)]), REAL)
    groups: list[list[int]] = []
    original = pq.ParquetFile.read_row_groups

    def spy(self: pq.ParquetFile, row_groups: list[int], **options: object) -> pa.Table:
        groups.append(list(row_groups))
        return original(self, row_groups, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", spy)
    start, end = T0 + 40_000 * HOUR, T0 + 40_003 * HOUR
    assert lake.read(BARS, start, end).columns["close"].tolist() == [40_100.0, 40_101.0, 40_102.0]
    assert groups == [[1]]
    assert len(lake.read(BARS, T0 + count * HOUR, None).time_ms) == 0
    assert len(lake.read(BARS, None, T0).time_ms) == 0


@pytest.mark.parametrize(
    ("column", "row", "value", "words"),
    [
        ("close", 1, np.nan, "row 2: close is nan; prices must be finite and greater than zero"),
        ("low", 2, 0.0, "row 3: low is 0;"),
        ("open", 0, -5.0, "row 1: open is -5;"),
        ("high", 1, np.inf, "row 2: high is inf;"),
        ("volume", 1, -1.0, "row 2: volume is -1; volume must be finite and not negative"),
        ("time_ms", 2, T0 + HOUR, "row 3: 2020-01-01T01:00:00Z stands there twice"),
        ("time_ms", 2, T0 - HOUR, "row 3: 2019-12-31T23:00:00Z comes after 2020-01-01T01:00:00Z, so the rows are not"),
        ("time_ms", 2, T0 + 2 * HOUR + 1, "does not open a 1h bar"),
        ("time_ms", 2, T0 * 1000, "row 3: stamp 1577836800000000 ms is outside 2009 .. 2100"),
    ],
)
def test_a_row_that_may_not_enter_is_refused_by_its_number(
    lake: Lake, column: str, row: int, value: float, words: str
) -> None:
    columns = bars([100.0, 101.0, 102.0])
    columns[column][row] = value
    with pytest.raises(DataError, match=words):
        lake.write(BARS, columns, REAL)
    assert not lake.has(BARS)


def test_missing_unknown_and_unequal_columns_are_refused(lake: Lake) -> None:
    columns = bars([100.0])
    with pytest.raises(DataError, match="column rate is unknown"):
        lake.write(BARS, columns | {"rate": np.ones(1)}, REAL)
    with pytest.raises(DataError, match="columns differ in length"):
        lake.write(BARS, columns | {"close": np.ones(2)}, REAL)
    del columns["volume"]
    with pytest.raises(DataError, match="column volume is missing"):
        lake.write(BARS, columns, REAL)
    with pytest.raises(DataError, match="holds no rows"):
        lake.write(FUNDING, funding([], []), REAL)


def test_an_interrupted_write_keeps_the_old_series(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.write(BARS, bars([100.0]), REAL)

    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pq, "write_table", interrupt)
    with pytest.raises(KeyboardInterrupt):
        lake.merge(BARS, bars([100.0, 101.0]), REAL)
    monkeypatch.undo()
    assert lake.read(BARS).columns["close"].tolist() == [100.0]
    assert files_below(lake.root) == ["binance/linear/BTCUSDT/bars-1h.parquet"]


# --- damage


def test_damaged_files_are_named(lake: Lake) -> None:
    lake.write(BARS, bars([100.0 + i for i in range(500)]), REAL)
    path = lake.path(BARS)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not parquet at all", whole[:-4] + b"PARX"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="damaged or not a Parquet file") as caught:
            lake.read(BARS)
        assert str(path) in caught.value.message
        assert "ingest that series again" in caught.value.remedy
    middle = bytearray(whole)
    middle[100:400] = bytes(300)  # pages destroyed, footer intact
    path.write_bytes(bytes(middle))
    with pytest.raises(DataError, match=r"bars-1h\.parquet"):
        lake.read(BARS)


def test_parquet_of_others_is_not_taken_for_a_lake_file(lake: Lake) -> None:
    lake.write(BARS, bars([100.0]), REAL)
    path = lake.path(BARS)
    pq.write_table(pa.table({"time_ms": [T0], "close": [1.0]}), path)
    with pytest.raises(DataError, match="has no column open"):
        lake.read(BARS)
    pq.write_table(pa.table({name: pa.array(values) for name, values in bars([1.5]).items()}), path)
    with pytest.raises(DataError, match="lake format none, this version reads 1"):
        lake.read(BARS)
    stray = lake.root / "binance" / "linear" / "BTCUSDT" / "prices.parquet"
    stray.touch()
    with pytest.raises(DataError, match=r"prices\.parquet is not a series of a lake"):
        lake.list()


def test_what_is_not_held_is_named_with_what_is(lake: Lake) -> None:
    with pytest.raises(DataError, match="there is no lake at"):
        lake.read(BARS)
    lake.write(BARS, bars([100.0]), REAL)
    with pytest.raises(
        DataError, match="holds no binance:linear:BTCUSDT bars 5m; held: binance:linear:BTCUSDT bars 1h"
    ):
        lake.read(SeriesKey("binance", "linear", "BTCUSDT", "bars", "5m"))
    with pytest.raises(DataError, match="holds no binance:linear:BTCUSD bars 1h; held: binance:linear:BTCUSDT"):
        lake.info(SeriesKey("binance", "linear", "BTCUSD", "bars", "1h"))


# --- merging


def test_rows_are_appended_and_equal_rows_change_nothing(lake: Lake) -> None:
    lake.merge(BARS, bars([100.0, 101.0]), REAL)
    content = lake.path(BARS).read_bytes()
    again = lake.merge(BARS, bars([100.0, 101.0]), REAL)
    assert (again.added, again.identical, again.replaced) == (0, 2, 0)
    assert lake.path(BARS).read_bytes() == content
    more = lake.merge(BARS, bars([101.0, 102.0], T0 + HOUR), Provenance("another"))
    assert (more.rows, more.added, more.identical) == (3, 1, 1)
    assert lake.read(BARS).columns["close"].tolist() == [100.0, 101.0, 102.0]
    assert lake.info(BARS).provenance.source == "a test; another"


def test_rows_before_and_between_are_put_in_order(lake: Lake) -> None:
    lake.merge(BARS, bars([102.0], T0 + 2 * HOUR), REAL)
    lake.merge(BARS, bars([100.0, 101.0]), REAL)
    assert lake.read(BARS).columns["close"].tolist() == [100.0, 101.0, 102.0]


def test_a_contradiction_is_refused_unless_replacing(lake: Lake) -> None:
    lake.merge(BARS, bars([100.0, 101.0, 102.0]), REAL)
    other = bars([100.0, 101.0, 102.0, 103.0])
    other["close"][1] = 101.5
    with pytest.raises(
        DataError, match=r"row 2: 2020-01-01T01:00:00Z contradicts .* close 101\.5 \(held 101\) \(1 such"
    ):
        lake.merge(BARS, other, REAL)
    assert lake.read(BARS).columns["close"].tolist() == [100.0, 101.0, 102.0]
    result = lake.merge(BARS, other, REAL, replace=True)
    assert (result.added, result.identical, result.replaced) == (1, 2, 1)
    assert lake.read(BARS).columns["close"].tolist() == [100.0, 101.5, 102.0, 103.0]


def test_a_contradiction_in_a_last_row_says_that_it_may_be_unfinished(lake: Lake) -> None:
    lake.merge(BARS, bars([100.0, 101.0]), REAL)
    with pytest.raises(DataError) as caught:
        lake.merge(BARS, bars([101.7, 102.0], T0 + HOUR), REAL)
    assert "unfinished bar" in caught.value.remedy
    assert "--drop-last" in caught.value.remedy


def test_volumes_that_differ_in_the_last_bits_agree(lake: Lake) -> None:
    lake.merge(BARS, bars([100.0]), REAL)
    other = bars([100.0])
    other["volume"][0] = np.nextafter(5.0, 6.0)
    assert lake.merge(BARS, other, REAL).identical == 1
    other["volume"][0] = 5.001
    with pytest.raises(DataError, match=r"volume 5\.001 \(held 5\)"):
        lake.merge(BARS, other, REAL)


def test_one_settlement_stamped_twice_is_one(lake: Lake) -> None:
    lake.merge(FUNDING, funding([T0 + 17, T0 + 8 * HOUR], [1e-4, 2e-4]), REAL)
    result = lake.merge(FUNDING, funding([T0, T0 + 8 * HOUR + 3, T0 + 16 * HOUR], [1e-4, 2e-4, 3e-4]), REAL)
    assert (result.added, result.identical) == (1, 2)
    assert lake.read(FUNDING).time_ms.tolist() == [T0 + 17, T0 + 8 * HOUR, T0 + 16 * HOUR]
    with pytest.raises(DataError, match="contradicts"):
        lake.merge(FUNDING, funding([T0 + 2], [5e-4]), REAL)
    with pytest.raises(DataError, match="row 2: .* settles the same hour as the row before"):
        lake.merge(FUNDING, funding([T0 + 24 * HOUR, T0 + 24 * HOUR + 5], [1e-4, 1e-4]), REAL)


def test_a_mark_price_is_taken_from_whichever_side_knows_it(lake: Lake) -> None:
    lake.merge(FUNDING, funding([T0, T0 + 8 * HOUR], [1e-4, 2e-4]), REAL)
    known = funding([T0 + 8 * HOUR, T0 + 16 * HOUR], [2e-4, 3e-4]) | {"mark_price": np.array([7200.0, np.nan])}
    lake.merge(FUNDING, known, Provenance("with marks"))
    np.testing.assert_array_equal(lake.read(FUNDING).columns["mark_price"], [np.nan, 7200.0, np.nan])


def test_a_row_without_a_mark_price_never_takes_one_away(lake: Lake) -> None:
    marked = funding([T0, T0 + 8 * HOUR], [1e-4, 2e-4]) | {"mark_price": np.array([7100.0, 7200.0])}
    lake.merge(FUNDING, marked, REAL)
    bare = funding([T0, T0 + 8 * HOUR], [1e-4, 5e-4])
    result = lake.merge(FUNDING, bare, Provenance("archive"), replace=True)
    assert (result.identical, result.replaced, result.completed) == (1, 1, 0)
    held = lake.read(FUNDING).columns
    assert (held["funding_rate"].tolist(), held["mark_price"].tolist()) == ([1e-4, 5e-4], [7100.0, 7200.0])
    unknown = bare | {"mark_price": np.array([np.nan, np.nan])}
    assert lake.merge(FUNDING, unknown, Provenance("archive"), replace=True).completed == 0
    assert lake.read(FUNDING).columns["mark_price"].tolist() == [7100.0, 7200.0]
    other = funding([T0], [1e-4]) | {"mark_price": np.array([7101.0])}
    with pytest.raises(DataError, match=r"mark_price 7101 \(held 7100\)"):
        lake.merge(FUNDING, other, REAL)


def test_rows_that_only_complete_held_ones_are_written(lake: Lake) -> None:
    """Also when the file's description stays as it is."""
    lake.merge(FUNDING, funding([T0, T0 + 8 * HOUR], [1e-4, 2e-4]), REAL)
    result = lake.merge(FUNDING, funding([T0], [1e-4]) | {"mark_price": np.array([7100.0])}, REAL)
    assert (result.added, result.identical, result.completed) == (0, 1, 1)
    np.testing.assert_array_equal(lake.read(FUNDING).columns["mark_price"], [7100.0, np.nan])


def test_generated_and_recorded_rows_are_not_mixed(lake: Lake) -> None:
    lake.merge(BARS, bars([100.0]), REAL)
    with pytest.raises(DataError, match="held rows are recorded, those of .* generated"):
        lake.merge(BARS, bars([100.0]), Provenance("sample", synthetic=True))


def test_a_dry_run_checks_and_writes_nothing(lake: Lake) -> None:
    assert lake.merge(BARS, bars([100.0]), REAL, dry_run=True).added == 1
    assert not lake.root.exists()
    lake.merge(BARS, bars([100.0]), REAL)
    with pytest.raises(DataError, match="contradicts"):
        lake.merge(BARS, bars([99.0]), REAL, dry_run=True)


@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_merging_in_any_order_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, owners: list[str], random: Random
) -> None:
    everything = bars([100.0 + i for i in range(len(owners))])
    parts = [{name: values[np.array(owners) == owner] for name, values in everything.items()} for owner in "ab"]
    parts = [part for part in parts if len(part["time_ms"])]
    random.shuffle(parts)
    lake = Lake(tmp_path_factory.mktemp("lake"))
    for part in [*parts, *parts]:
        lake.merge(BARS, part, REAL)
    np.testing.assert_array_equal(lake.read(BARS).columns["close"], everything["close"])


# --- resampling


@given(
    st.lists(st.tuples(*[st.integers(1, 1000)] * 5), min_size=1, max_size=60),
    st.sets(st.integers(0, 59), max_size=10),
    st.integers(0, 11),
)
def test_resampled_bars_equal_those_made_row_by_row(
    rows: list[tuple[int, ...]], missing: set[int], offset: int
) -> None:
    kept = [(offset + i, row) for i, row in enumerate(rows) if i not in missing]
    names = ("open", "high", "low", "close", "volume")
    columns = {name: np.array([row[i] for _, row in kept], dtype=float) for i, name in enumerate(names)}
    columns["time_ms"] = np.array([T0 + place * 300_000 for place, _ in kept], dtype=np.int64)
    groups: dict[int, list[tuple[int, ...]]] = {}
    for place, row in kept:
        groups.setdefault(place // 12, []).append(row)
    whole = {hour: group for hour, group in groups.items() if len(group) == 12}
    result, incomplete = resample(columns, 300_000, HOUR)
    assert incomplete == len(groups) - len(whole)
    assert result["time_ms"].tolist() == [T0 + hour * HOUR for hour in whole]
    assert result["open"].tolist() == [group[0][0] for group in whole.values()]
    assert result["high"].tolist() == [max(row[1] for row in group) for group in whole.values()]
    assert result["low"].tolist() == [min(row[2] for row in group) for group in whole.values()]
    assert result["close"].tolist() == [group[-1][3] for group in whole.values()]
    assert result["volume"].tolist() == [sum(row[4] for row in group) for group in whole.values()]
