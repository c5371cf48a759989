"""``carry backtest`` from the command line, on the bundled sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import Outcome, run

SHORT = ["--start", "2024-01-01", "--end", "2024-01-20"]


def carry(capsys: pytest.CaptureFixture[str], *arguments: str) -> Outcome:
    return run(capsys, "backtest", *arguments)


def test_it_runs_out_of_the_box_and_says_that_its_input_is_synthetic(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = carry(capsys, *SHORT, "--out", str(tmp_path))
    assert code == 0
    assert "SYNTHETIC" in err
    assert "SYNTHETIC" in out
    directory = tmp_path / "sample-0001"
    names = {path.name for path in directory.iterdir()}
    assert names >= {
        "result.json", "report.html", "ledger.parquet", "ledger.csv", "orders.parquet", "orders.csv", "journal.jsonl",
    }  # fmt: skip


def test_json_is_one_document_with_the_hashes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = carry(capsys, *SHORT, "--out", str(tmp_path), "--no-report", "--json")
    printed: dict[str, Any] = json.loads(out)
    assert code == 0
    assert printed["synthetic"] is True
    assert printed["status"] == "completed"
    assert len(printed["provenance"]["config_hash"]) == len(printed["provenance"]["data_hash"]) == 64
    assert "report.html" not in printed["files"]
    assert (
        json.loads(Path(printed["files"]["result.json"]).read_text(encoding="utf-8"))["summary"] == printed["summary"]
    )


def test_a_second_run_is_the_same_and_takes_the_next_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert carry(capsys, *SHORT, "--out", str(tmp_path), "--no-report", "--json")[0] == 0
    for name in ("ledger.parquet", "orders.parquet", "trips.parquet", "journal.jsonl", "attribution.parquet"):
        assert (tmp_path / "sample-0001" / name).read_bytes() == (tmp_path / "sample-0002" / name).read_bytes()


def test_stages_in_python_write_the_same_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flags in ([], ["--python"]):
        assert carry(capsys, *SHORT, "--out", str(tmp_path), "--no-report", "--json", *flags)[0] == 0
    one, two = (tmp_path / name / "ledger.parquet" for name in ("sample-0001", "sample-0002"))
    assert one.read_bytes() == two.read_bytes()


BAD_INPUT = [
    (["--config", "no-such-file.toml"], 3, "no-such-file.toml"),
    (["--set", "signal.entry_edge=3"], 3, "signal.entry_edge"),
    (["--set", "portfolio.deploy=2"], 3, "portfolio.deploy"),
    (["--set", "pairs.0.spot=binance:spot:NOPEUSDT"], 3, "NOPEUSDT"),
    (["--set", "pairs.0.spot=kraken:spot:BTCUSDT"], 3, "kraken"),
    (["--start", "2031-01-01", "--end", "2031-02-01"], 4, "2024-01-01"),
    (["--start", "2023-12-30"], 4, "run.start 2023-12-30T00:00:00Z is more than a day away from all data"),
    (["--end", "2024-07-01"], 4, "bars are held from 2024-01-01T00:00:00Z to 2024-06-29T00:00:00Z"),
    (["--start", "2024-02-01", "--end", "2024-01-01"], 3, "run."),
    (["--lake", "no-such-lake"], 4, "no-such-lake"),
    (["--nonsense"], 2, "nonsense"),
]


@pytest.mark.parametrize(("arguments", "code", "named"), BAD_INPUT, ids=[" ".join(row[0]) for row in BAD_INPUT])
def test_bad_input_gets_one_message_and_leaves_nothing(
    arguments: list[str], code: int, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out_folder = tmp_path / "results"
    found, out, err = carry(capsys, *arguments, "--out", str(out_folder))
    assert found == code
    assert named in err
    assert "Traceback" not in out + err
    assert not out_folder.exists()


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = tmp_path / "taken"
    taken.write_text("x")
    code, _, err = carry(capsys, *SHORT, "--out", str(taken))
    assert code == 5
    assert "taken" in err


def test_ctrl_c_ends_with_130_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("data.results._write_journal", interrupt)
    code, _, err = carry(capsys, *SHORT, "--out", str(tmp_path), "--no-report")
    assert code == 130
    assert "interrupted" in err
    assert list(tmp_path.iterdir()) == []


def test_a_kill_switch_that_was_pulled_stands_in_the_summary(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*SHORT, "--out", str(tmp_path), "--no-report"]
    limits = ["--set", "risk.max_drawdown=0.0001", "--set", 'risk.rearm=["2024-01-02"]']
    assert "kill switch" not in carry(capsys, *flags)[1]
    assert "kill switch  pulled 1, re-armed 0 of 1 dates in risk.rearm" in carry(capsys, *flags, *limits)[1]
