"""``carry sample`` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from cli import sample
from cli.app import make_app


@pytest.fixture
def app() -> typer.Typer:
    made = make_app()
    sample.register(made)
    return made


def run(app: typer.Typer, *arguments: object) -> Result:
    return CliRunner().invoke(app, ["sample", *map(str, arguments)], prog_name="carry")


def test_help_has_an_example_and_every_flag(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["sample", "--help"], env={"COLUMNS": "160", "NO_COLOR": "1"})
    assert result.exit_code == 0
    assert "Example: carry sample --out" in result.output
    for flag in ("--out", "--seed", "--days", "--timeframe", "--force", "--json"):
        assert flag in result.output


def test_json_says_what_was_made(app: typer.Typer, tmp_path: Path) -> None:
    result = run(app, "--out", tmp_path / "lake", "--seed", 3, "--days", 2, "--timeframe", "5m", "--json")
    assert result.exit_code == 0
    made = json.loads(result.stdout)
    assert made["synthetic"] is True
    assert made["source"] == "synthetic, carry sample, seed 3"
    assert (made["seed"], made["days"], made["timeframe"]) == (3, 2, "5m")
    assert (made["start"], made["end"]) == ("2024-01-01T00:00:00Z", "2024-01-03T00:00:00Z")
    assert made["start"] < made["spot_outage"]["from"] < made["spot_outage"]["to"] <= made["crash"] < made["end"]
    assert made["out"] == str(tmp_path / "lake")
    assert len(made["series"]) == 16
    assert {
        "instrument": "binance:linear:BTCUSDT",
        "series": "bars",
        "timeframe": "5m",
        "rows": 576,
        "first": "2024-01-01T00:00:00Z",
        "last": "2024-01-02T23:55:00Z",
    } in made["series"]
    assert len(list((tmp_path / "lake").rglob("*.parquet"))) == 16


def test_people_are_told_that_the_market_is_synthetic(app: typer.Typer, tmp_path: Path) -> None:
    result = run(app, "--out", tmp_path / "lake", "--days", 1)
    assert result.exit_code == 0
    assert "SYNTHETIC market with seed 1" in result.stdout
    assert "binance:linear:1000PEPEUSDT" in result.stdout
    assert f"written to {tmp_path / 'lake'}" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--days", -3), "days = -3"),
        (("--days", 0), "days = 0"),
        (("--seed", -1), "seed = -1"),
        (("--timeframe", "7h"), "timeframe = '7h'"),
    ],
)
def test_a_wrong_value_exits_with_2_and_writes_nothing(
    app: typer.Typer, tmp_path: Path, arguments: tuple[object, ...], words: str
) -> None:
    result = run(app, "--out", tmp_path / "lake", *arguments, "--json")
    assert result.exit_code == 2
    answer = json.loads(result.stdout)
    assert words in answer["error"]
    assert answer["remedy"]
    assert not any(tmp_path.iterdir())


def test_a_days_value_that_is_no_number_exits_with_2(app: typer.Typer, tmp_path: Path) -> None:
    result = run(app, "--out", tmp_path / "lake", "--days", "many")
    assert result.exit_code == 2
    assert "--days" in result.stderr
    assert not any(tmp_path.iterdir())


def test_a_folder_with_files_needs_force(app: typer.Typer, tmp_path: Path) -> None:
    first = run(app, "--out", tmp_path / "lake", "--days", 1)
    again = run(app, "--out", tmp_path / "lake", "--days", 1, "--json")
    forced = run(app, "--out", tmp_path / "lake", "--days", 2, "--force", "--json")
    assert (first.exit_code, again.exit_code, forced.exit_code) == (0, 6, 0)
    assert "is not empty" in json.loads(again.stdout)["error"]
    assert json.loads(forced.stdout)["days"] == 2


def test_an_output_below_a_file_exits_with_5(app: typer.Typer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    result = run(app, "--out", tmp_path / "file" / "lake", "--days", 1)
    assert result.exit_code == 5
    assert f"cannot write the output folder {tmp_path / 'file' / 'lake'}" in result.stderr
