"""Writing the synthetic market to a lake: what is in the files, and what happens when it can't be written."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from crypto.errors import DataError, OutputError, RefusedError
from crypto.scenario import Scenario
from data.sample import step_count, write_sample
from data.store.lake import Lake
from data.store.series import Provenance, SeriesKey

BUNDLED = Path(__file__).parents[2] / "data" / "sample" / "lake"
HOUR_MS = 3_600_000
START_MS = 1_704_067_200_000


def digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_a_sample_holds_every_series_and_says_that_it_is_synthetic(tmp_path: Path) -> None:
    done: list[str] = []
    scenario = Scenario(seed=5, days=2)
    written = write_sample(tmp_path / "lake", scenario, progress=done.append)
    assert [str(info.key) for info in written.series] == [
        "binance:asset:BTC borrow",
        "binance:asset:ETH borrow",
        "binance:asset:PEPE borrow",
        "binance:asset:USDT borrow",
        "binance:linear:1000PEPEUSDT bars 1h",
        "binance:linear:1000PEPEUSDT funding",
        "binance:linear:1000PEPEUSDT mark 1h",
        "binance:linear:BTCUSDT bars 1h",
        "binance:linear:BTCUSDT funding",
        "binance:linear:BTCUSDT mark 1h",
        "binance:linear:ETHUSDT bars 1h",
        "binance:linear:ETHUSDT funding",
        "binance:linear:ETHUSDT mark 1h",
        "binance:spot:BTCUSDT bars 1h",
        "binance:spot:ETHUSDT bars 1h",
        "binance:spot:PEPEUSDT bars 1h",
    ]
    assert {info.provenance for info in written.series} == {
        Provenance("synthetic, carry sample, seed 5", (), synthetic=True)
    }
    assert done == ["BTC", "ETH", "PEPE", "borrow rates"]
    assert len(done) == step_count(scenario)
    assert [path.name for path in tmp_path.iterdir()] == ["lake"]  # no leftovers, hidden ones neither


def test_row_counts_and_the_missing_spot_rows(tmp_path: Path) -> None:
    written = write_sample(tmp_path / "lake", Scenario(seed=5, days=2))
    rows = {(info.key.kind, info.key.symbol, info.key.series): info.rows for info in written.series}
    assert rows["linear", "BTCUSDT", "bars"] == rows["linear", "BTCUSDT", "mark"] == 48
    assert rows["linear", "BTCUSDT", "funding"] == 6
    assert rows["linear", "1000PEPEUSDT", "funding"] == 12
    assert rows["asset", "USDT", "borrow"] == 48
    for symbol in ("BTCUSDT", "ETHUSDT", "PEPEUSDT"):
        assert rows["spot", symbol, "bars"] == 45
        held = Lake(tmp_path / "lake").read(SeriesKey("binance", "spot", symbol, "bars", "1h")).time_ms
        missing = sorted(set(range(START_MS, START_MS + 48 * HOUR_MS, HOUR_MS)) - set(held.tolist()))
        assert missing == [written.outage_start_ms + hour * HOUR_MS for hour in range(3)]
        assert written.outage_end_ms == missing[-1] + HOUR_MS
    assert written.start_ms == START_MS
    assert written.end_ms == START_MS + 48 * HOUR_MS
    assert written.start_ms < written.crash_ms < written.end_ms


def test_same_seed_same_bytes_and_other_seed_other_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 7), ("same", 7), ("other", 8)):
        write_sample(tmp_path / name, Scenario(seed=seed, days=2))
    one, same, other = (digests(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())


def test_no_value_is_missing_in_a_file(tmp_path: Path) -> None:
    write_sample(tmp_path / "lake", Scenario(seed=5, days=2, timeframe="15m"))
    for path in (tmp_path / "lake").rglob("*.parquet"):
        table = pq.read_table(path)
        for name in table.column_names:
            values = table.column(name)
            assert values.null_count == 0
            assert np.isfinite(values.to_numpy()).all()


def test_an_existing_empty_folder_is_used(tmp_path: Path) -> None:
    written = write_sample(tmp_path, Scenario(days=1))
    assert len(written.series) == 16
    assert [path.name for path in tmp_path.iterdir()] == ["binance"]


def test_a_folder_with_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RefusedError, match="is not empty") as caught:
        write_sample(tmp_path, Scenario(days=1))
    assert "--force" in caught.value.remedy
    assert digests(tmp_path).keys() == {"notes.txt"}


def test_force_replaces_an_earlier_sample_and_nothing_else(tmp_path: Path) -> None:
    root = tmp_path / "lake"
    write_sample(root, Scenario(seed=1, days=1, timeframe="5m"))
    (root / "notes.txt").write_text("mine")
    write_sample(root, Scenario(seed=2, days=1), force=True)
    write_sample(tmp_path / "fresh", Scenario(seed=2, days=1))
    left = digests(root)
    assert left.pop("notes.txt") == hashlib.sha256(b"mine").hexdigest()
    assert left == digests(tmp_path / "fresh")  # the 5m bars of the earlier sample are gone


def test_force_does_not_touch_recorded_series(tmp_path: Path) -> None:
    key = SeriesKey("binance", "asset", "BTC", "borrow")
    rates = {"time_ms": np.array([START_MS]), "hourly_rate": np.array([1e-6])}
    Lake(tmp_path).write(key, rates, Provenance("csv import"))
    before = digests(tmp_path)
    with pytest.raises(RefusedError, match="binance:asset:BTC borrow from 'csv import'"):
        write_sample(tmp_path, Scenario(days=1), force=True)
    assert digests(tmp_path) == before


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("x")
    with pytest.raises(OutputError, match="is a file"):
        write_sample(tmp_path / "lake", Scenario(days=1))


def test_an_output_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write the output folder") as caught:
        write_sample(tmp_path / "file" / "lake", Scenario(days=1))
    assert str(tmp_path / "file" / "lake") in caught.value.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: run as another user")
def test_a_read_only_folder_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        write_sample(tmp_path / "lake", Scenario(days=1))
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_fails_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    write = pq.write_table

    def failing(table: object, where: Path, **options: object) -> None:
        if "1000PEPEUSDT" in str(where):
            raise OSError(code, os.strerror(code), str(where))
        write(table, where, **options)

    monkeypatch.setattr(pq, "write_table", failing)
    with pytest.raises(OutputError) as caught:
        write_sample(tmp_path / "lake", Scenario(days=1))
    assert str(tmp_path / "lake") in caught.value.message
    assert os.strerror(code) in caught.value.message
    assert not any(tmp_path.iterdir())


def test_an_interruption_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupt(part: str) -> None:
        if part == "ETH":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path / "lake", Scenario(days=1), progress=interrupt)
    assert not any(tmp_path.iterdir())


def test_a_damaged_file_in_the_folder_is_named(tmp_path: Path) -> None:
    write_sample(tmp_path / "lake", Scenario(days=1))
    path = tmp_path / "lake" / "binance" / "linear" / "BTCUSDT" / "funding.parquet"
    path.write_bytes(b"not parquet")
    with pytest.raises(DataError, match=r"funding\.parquet"):
        write_sample(tmp_path / "lake", Scenario(days=1), force=True)


def test_the_bundled_sample_is_what_its_readme_says(tmp_path: Path) -> None:
    readme = (BUNDLED.parent / "README.md").read_text()
    assert "synthetic" in readme
    assert "carry sample --out data/sample/lake --seed 1 --days 180 --timeframe 1h" in readme
    write_sample(tmp_path / "lake", Scenario(seed=1, days=180, timeframe="1h"))
    made, bundled = Lake(tmp_path / "lake"), Lake(BUNDLED)
    assert made.list() == bundled.list()
    for key in made.list():
        fresh, held = made.read(key), bundled.read(key)
        assert held.info.provenance == Provenance("synthetic, carry sample, seed 1", (), synthetic=True)
        for name, values in fresh.columns.items():
            # Another processor may round the last bit of an exponential differently, and so a price by a tick.
            assert np.allclose(values, held.columns[name], rtol=1e-3, atol=2e-8), (key, name)


def test_the_bundled_sample_is_small() -> None:
    assert sum(path.stat().st_size for path in BUNDLED.rglob("*.parquet")) < 1_500_000
