"""``carry lean compare`` on the recorded files of a real Lean run, beside the engine under Lean's stock conventions."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cli import app
from data.results import write_results
from research.backtest import run_backtest
from tests.lean_stock.recorded import SYNTHETIC, stock_settings, synthetic_market
from tests.lean_stock.schedules import StaticCarry

RECORDED = SYNTHETIC / "lean-result"
PERIOD = ("2020-03-09T23:00", "2020-03-19")


@pytest.fixture(scope="module")
def engine_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the static carry on the embedded engine."""
    settings = stock_settings(f"run.start={PERIOD[0]}", f"run.end={PERIOD[1]}")
    directory = tmp_path_factory.mktemp("engine") / "static-0001"
    write_results(run_backtest(settings, synthetic_market(*PERIOD), strategy=StaticCarry()), directory)
    return directory


@pytest.fixture
def lean_result(tmp_path: Path) -> Path:
    """A copy of Lean's files that a test may damage."""
    return Path(shutil.copytree(RECORDED, tmp_path / "lean-result"))


def compare(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    """Exit code and JSON of a comparison."""
    capsys.readouterr()
    code = app.run(["lean", "compare", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def change(path: Path, edit: Any) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    edit(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def test_the_engine_agrees_with_the_files_that_lean_wrote(
    engine_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = compare(capsys, RECORDED, "--result", engine_run, "--out", tmp_path)
    assert code == 0
    assert found["verdict"] == "agree"
    assert found["sections"]["order"] == {"compared": 2, "differences": 0, "largest": 0.0}
    assert found["sections"]["equity"]["compared"] == 216
    # Lean rounds its chart to four decimals: nothing is above half a unit of the last.
    assert compare(capsys, RECORDED, "--result", engine_run, "--out", tmp_path, "--tolerance", "0.0000501")[0] == 0
    files = {name: Path(path) for name, path in found["files"].items()}
    assert set(files) == {"comparison.html", "comparison.json", "differences.csv"}
    assert {path.parent for path in files.values()} == {tmp_path / "lean-stock-lean-0001"}
    assert json.loads(files["comparison.json"].read_text(encoding="utf-8"))["verdict"] == "agree"
    page = files["comparison.html"].read_text(encoding="utf-8")
    assert "TraceCarry on Lean and on the embedded engine" in page
    assert "SYNTHETIC MARKET" in page


def test_one_changed_fill_makes_them_differ_and_is_named_first(
    engine_run: Path, lean_result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(lean_result / "TraceCarry-order-events.json", lambda events: events[3].update(fillPrice=8320.9))
    code, found = compare(capsys, lean_result, "--result", engine_run, "--out", tmp_path)
    assert code == 4
    assert found["verdict"] == "differ"
    assert (found["look_first"]["kind"], found["look_first"]["what"]) == ("fill", "price")
    assert found["look_first"]["amount"] == pytest.approx(2.5)
    with Path(found["files"]["differences.csv"]).open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["kind"], row["instrument"], row["time"]) == ("fill", "binance:linear:BTCUSDT", "2020-03-10T00:00:00Z")
    assert app.run(["lean", "compare", str(lean_result), "--result", str(engine_run), "--out", str(tmp_path)]) == 4
    shown = capsys.readouterr().out
    assert "verdict: DIFFER, 1 differences (tolerance 0.01 USDT per item)" in shown
    assert "8,320.9" in shown


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """The generated market as a lake, from its text files."""
    root = tmp_path / "lake"
    parts = (
        ("spot", "spot", "bars"),
        ("perp", "linear", "bars"),
        ("mark", "linear", "mark"),
        ("funding", "linear", "funding"),
    )
    for name, kind, series in parts:
        command = ["ingest", "csv", str(SYNTHETIC / f"{name}.csv"), "--venue", "binance", "--kind", kind]
        command += [
            "--symbol",
            "BTCUSDT",
            "--series",
            series,
            "--time-column",
            "time_ms",
            "--lake",
            str(root),
            "--json",
        ]
        command += [] if series == "funding" else ["--timeframe", "1h"]
        assert app.run(command) == 0
    return root


def test_without_a_result_the_engine_runs_over_lean_s_period(
    lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The settings' own strategy does not trade in these nine days, Lean's recorded one did: two orders are Lean's only.
    preset = Path(__file__).parents[2] / "config" / "lean-stock.toml"
    arguments = ["--config", preset, "--lake", lake, "--out", tmp_path / "out", "--set", "signal.warmup_hours=1000"]
    code, found = compare(capsys, RECORDED, *arguments, "--set", "run.start=", "--set", "run.end=")
    assert code == 4
    assert found["sections"]["order"]["differences"] == 2
    assert found["look_first"]["what"] == "only Lean sent it"
    engine = Path(found["engine"]["directory"])
    assert (
        json.loads((engine / "result.json").read_text(encoding="utf-8"))["provenance"]["start"]
        == "2020-03-09T23:00:00Z"
    )
    code, refused = compare(capsys, RECORDED, *arguments)
    assert (code, refused["exit_code"]) == (6, 6)
    assert "Lean starts 2020-03-10T00:00:00Z, run.start is 2019-12-31T23:00" in refused["error"]
    assert len(list((tmp_path / "out").iterdir())) == 2  # the run and the comparison; nothing for what was refused


def test_bad_input_is_refused_with_what_to_do(
    engine_run: Path, lean_result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*arguments: object) -> tuple[int, str]:
        code, answer = compare(capsys, *arguments)
        assert answer["remedy"]
        return code, answer["error"]

    assert refused(tmp_path / "nowhere")[0] == 4
    assert refused(lean_result, "--result", tmp_path / "nowhere") == (4, f"{tmp_path / 'nowhere'} holds no result.json")
    assert refused(lean_result, "--result", engine_run, "--config", "x.toml")[0] == 2
    assert refused(lean_result, "--result", engine_run, "--tolerance", "nan")[0] == 2
    assert refused(lean_result, "--result", engine_run, "--tolerance", "-1")[0] == 2
    copied = Path(shutil.copytree(engine_run, tmp_path / "copied-0001"))
    (copied / "ledger.parquet").write_bytes(b"PAR1")
    assert refused(lean_result, "--result", copied)[0] == 4
    (copied / "ledger.parquet").unlink()
    assert "ledger.parquet is missing" in refused(lean_result, "--result", copied)[1]
    main = lean_result / "TraceCarry.json"
    change(main, lambda root: root["algorithmConfiguration"].update(accountCurrency="USDC"))
    assert refused(lean_result, "--result", engine_run)[0] == 6
    main.write_bytes(main.read_bytes()[:500])
    code, words = refused(lean_result, "--result", engine_run)
    assert code == 4
    assert "TraceCarry.json is cut off or damaged" in words
