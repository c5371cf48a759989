"""``carry lean`` and ``carry ingest lean``: what is printed, exit codes, and that bad input starts nothing."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import pytest

from data.store.lake import Lake
from tests.cli.command import Run, only_commands, run
from tests.fake_lean import make_launcher, make_program, make_venv

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data" / "sample" / "lake"
CONFIG = ROOT / "config" / "carry.toml"


@pytest.fixture
def carry(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run ``carry`` with arguments in an empty folder; only the commands under test are loaded."""
    only_commands(monkeypatch, tmp_path, "cli.ingest", "cli.lean")
    monkeypatch.delenv("CARRY_LEAN_LAUNCHER", raising=False)

    return partial(run, capsys)


@pytest.fixture
def exported(carry: Run) -> Run:
    """The bundled sample stands in data/lean."""
    assert carry("lean", "export", "--lake", SAMPLE).code == 0
    return carry


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Flags for a launcher that is played by a script, and its environment."""
    make_program(tmp_path / "bin" / "dotnet", "dotnet")
    (tmp_path / "libpython.so").write_bytes(b"")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONNET_PYDLL", str(tmp_path / "libpython.so"))
    return ["--launcher", make_launcher(tmp_path / "launcher"), "--python-venv", make_venv(tmp_path / "venv")]


def test_export_says_what_it_wrote_and_a_second_one_nothing(carry: Run) -> None:
    first = carry("lean", "export", "--lake", SAMPLE, "--json").json
    assert first["folder"] == "data/lean"
    assert {entry["files_kept"] for entry in first["series"]} == {0}
    assert first["skipped"] == first["series_removed"] == []
    rows = {entry["series"]: entry["rows"] for entry in first["series"]}
    assert rows["binance:linear:BTCUSDT funding"] == 540  # 180 days, three a day
    second = carry("lean", "export", "--lake", SAMPLE, "--json").json
    assert {entry["files_written"] for entry in second["series"]} == {0}
    shown = carry("lean", "export", "--lake", SAMPLE)
    assert shown.out.startswith("0 files written (0.0 MB), 19 unchanged: data/lean")


def test_export_names_what_it_left_out(carry: Run) -> None:
    done = carry("lean", "export", "--lake", SAMPLE, "--symbol", "BTCUSDT", "--from", "2024-06-28T17:00Z")
    assert done.code == 0
    assert "binance:linear:BTCUSDT funding: left out, no rows in the asked period" in done.out
    assert "ETHUSDT" not in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--lake", "absent"], 4, "there is no lake at absent"),
        (["--symbol", "WIFUSDT"], 2, "--symbol WIFUSDT"),
        (["--out", "foreign"], 6, "carry lean export did not write them"),
        (["--data-folder-of-lean", "foreign"], 4, "symbol-properties-database.csv"),
        (["--from", "yesterday"], 2, "'yesterday' is not an ISO date"),
    ],
)
def test_export_refuses(carry: Run, arguments: list[str], code: int, words: str) -> None:
    Path("foreign").mkdir()
    Path("foreign/file").write_text("")
    lake = [] if "--lake" in arguments else ["--lake", SAMPLE]
    refused = carry("lean", "export", *lake, *arguments, "--json")
    assert refused.code == refused.json["exit_code"] == code
    assert words in refused.json["error"]
    assert refused.json["remedy"]


def test_the_sample_goes_to_lean_and_back(exported: Run) -> None:
    done = exported("ingest", "lean", "data/lean", "--venue", "binance", "--lake", "back", "--json")
    assert done.code == 0
    source, target = Lake(SAMPLE), Lake(Path("back"))
    assert target.list() == source.list()
    for key in source.list():
        assert target.path(key).read_bytes() == source.path(key).read_bytes()
    again = exported("ingest", "lean", "data/lean", "--lake", "back", "--symbols", "BTCUSDT", "--timeframes", "1h")
    assert again.out.startswith("0 rows added")
    assert exported("ingest", "lean", "nothing").code == 4


def test_an_oracle_without_its_sources_is_refused_before_anything_runs(exported: Run) -> None:
    for command in ("config", "backtest"):
        refused = exported("lean", command, "--config", CONFIG, "--set", "oracle.enabled=true", "--json")
        assert refused.code == 4
        assert "fewer than oracle.quorum = 3" in refused.json["error"]
        assert "carry lean export --config" in refused.json["remedy"]


def test_config_renders_a_run(exported: Run) -> None:
    done = exported("lean", "config", "--config", CONFIG, "--set", "run.seed=9", "--end", "2024-03-01", "--json")
    assert done.code == 0, done.out
    assert done.json["file"] == "backtests/sample-9/lean-config.json"
    written = json.loads(Path(done.json["file"]).read_text())
    assert written == done.json["config"]
    assert written["algorithm-id"] == "sample-9"
    assert written["parameters"] == {
        "config": "config/carry.toml",
        "run.seed": "9",
        "run.end": "2024-03-01T00:00:00Z",
        "run.start": "2024-01-01T00:00:00Z",
    }
    shown = exported("lean", "config", "--config", CONFIG, "--out", "here.json")
    assert shown.out.splitlines()[0] == "here.json"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("signal.holding_huors=3", "did you mean signal.holding_hours?"),
        ("portfolio.deploy=7", "portfolio.deploy"),
        ("signal.holding_hours=long", "must be a finite number"),
    ],
)
def test_wrong_parameters_are_refused(exported: Run, change: str, words: str) -> None:
    for command in ("config", "backtest"):
        refused = exported("lean", command, "--config", CONFIG, "--set", change, "--json")
        assert refused.code == 3
        assert words in refused.json["error"]
    assert not Path("backtests").exists()


def test_backtest_runs_on_the_launcher(exported: Run, launcher: list[object]) -> None:
    done = exported("lean", "backtest", "--config", CONFIG, *launcher, "--json")
    assert done.code == 0, done.out
    assert done.json["results"] == "backtests/sample-1-0001"
    assert done.json["period"] == {"start": "2024-01-01T00:00:00Z", "end": "2024-06-29T00:00:00Z"}
    assert (done.json["orders"], done.json["data_points"], done.json["lean_version"]) == (4, 12_468, "2.5.0.0")
    shown = exported("lean", "backtest", "--config", CONFIG, *launcher)
    assert shown.out.startswith("sample-1 ran on Lean 2.5.0.0 (launcher), 1.2 s in Lean's loop")
    assert "backtests/sample-1-0002" in shown.out


def test_backtest_checks_before_it_starts(
    carry: Run, launcher: list[object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    missing = carry("lean", "backtest", "--config", CONFIG, *launcher, "--json")
    assert (missing.code, missing.json["error"]) == (4, "Lean's data folder data/lean does not exist")
    carry("lean", "export", "--lake", SAMPLE)
    monkeypatch.setenv("FAKE_LEAN", "runtime error")
    failed = carry("lean", "backtest", "--config", CONFIG, *launcher)
    assert failed.code == 6
    assert "no such key" in failed.err
    assert "console.log" in failed.err
    monkeypatch.setenv("PATH", str(tmp_path))
    nothing = carry("lean", "backtest", "--config", CONFIG, "--json")
    assert (nothing.code, "no Lean was found" in nothing.json["error"]) == (6, True)
