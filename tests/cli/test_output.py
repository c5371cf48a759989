"""Where a command writes is looked at before it reads or computes anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli import app
from crypto.errors import OutputError
from data.store.atomic import check_file, check_folder

# Each line also names data or a file that is not there: an error about that would mean that the command began to work.
COMMANDS = (
    "backtest --lake nowhere --out {blocked}/results",
    "backtest --lake nowhere --set output.directory={blocked}/results",
    "simulate montecarlo --lake nowhere --out {blocked}",
    "simulate adl --lake nowhere --out {blocked}/a/b",
    "simulate adl --sample nowhere --out {blocked}",
    "simulate replay --event 2025-10-10 --data nowhere --out {blocked}",
    "simulate stress --scenario nowhere.toml --out {blocked}",
    "funding summary --lake nowhere --out {blocked}/table.csv",
    "funding pairs --lake nowhere --out {folder}",
    "funding report --lake nowhere --out {blocked}/study",
    "lean export --lake nowhere --out {blocked}/lean",
    "lean config --config nowhere.toml --out {blocked}/config.json",
    "lean backtest --config nowhere.toml --out {blocked}",
    "lean compare nowhere --out {blocked}/results",
    "lean compare nowhere --result {blocked}/run",
    "ingest csv nowhere.csv --venue binance --kind spot --symbol BTCUSDT --timeframe 1h --lake {blocked}/lake",
    "ingest funding-table nowhere.csv --venue binance --lake {blocked}/lake",
    "ingest lean nowhere --lake {blocked}/lake",
    "ingest freqtrade nowhere --venue binance --lake {blocked}/lake",
    "fetch funding --venue binance --symbol NOSUCH --from 2024-01-01 --lake {blocked}/lake",
    "fetch markets --venue binance --lake {blocked}/lake",
    "feed export nowhere --lake {blocked}/lake",
    "sample --out {blocked}/lake",
)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_place_that_cannot_be_written_is_named_before_any_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder", encoding="utf-8")
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    code = app.run(line.format(blocked=blocked, folder=folder).split())
    error = capsys.readouterr().err
    assert code == 5, error
    assert str(blocked) in error or str(folder) in error
    assert "what to do:" in error
    assert sorted(tmp_path.iterdir()) == [blocked, folder]
    assert not list(folder.iterdir())


def test_looking_leaves_nothing_and_makes_nothing(tmp_path: Path) -> None:
    check_folder(tmp_path / "new" / "deeper")
    check_file(tmp_path / "new" / "table.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_needs_no_place_to_write(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder", encoding="utf-8")
    line = f"ingest csv nowhere.csv --venue binance --kind spot --symbol A --timeframe 1h --dry-run --lake {blocked}/l"
    assert app.run(line.split()) == 4
    assert "nowhere.csv" in capsys.readouterr().err


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="File name too long"):
        check_folder(tmp_path / ("a" * 300))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: run as another user")
def test_a_folder_without_the_right_to_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        check_folder(tmp_path / "results")
