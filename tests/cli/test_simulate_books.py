"""``carry simulate replay`` and ``stress`` from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cli import app

SCENARIO = """
name = "small"
[market]
start = "2024-02-01"
end = "2024-02-06T12:00"
[book]
leverages = [10]
[[pairs]]
spot = "binance:spot:BTCUSDT"
perp = "binance:linear:BTCUSDT"
[[price_gap]]
at_hours = 6
spot = 0.15
perp = 0.15
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert app.run([*arguments, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SCENARIO, encoding="utf-8")
    return path


def test_a_scenario_runs_to_json_and_page(scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "simulate", "stress", "--scenario", str(scenario), "--out", str(tmp_path / "results"))
    bare, guarded = found["runs"]
    assert (bare["guards"], guarded["guards"]) == (False, True)
    assert bare["liquidation"] is not None  # a rise of 15 % is more than ten times leverage carries
    assert found["synthetic"] is True
    page = Path(found["files"]["report.html"]).read_text(encoding="utf-8")
    assert "SYNTHETIC MARKET" in page
    assert "price gap: spot +15%, perp +15%" in page
    without_library = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert "http://" not in without_library
    assert "https://" not in without_library
    stored = json.loads(Path(found["files"]["result.json"]).read_text(encoding="utf-8"))
    assert stored["runs"] == found["runs"]


def test_people_get_a_table(scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["simulate", "stress", "--scenario", str(scenario), "--out", str(tmp_path), "--no-page"]
    assert app.run(arguments) == 0
    captured = capsys.readouterr()
    assert "SYNTHETIC" in captured.err
    assert "carry (long spot, short perp)" in captured.out
    assert "report.html" not in captured.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["replay", "--event", "2020-03-12", "--liquidity-gap", "1.5"], 2, "--liquidity-gap = 1.5 is above 1"),
        (["replay", "--event", "2020-03-12", "--liquidity-gap", "-1"], 2, "--liquidity-gap = -1"),
        (["replay", "--event", "2008-09-15"], 2, "give one of 2020-03-12"),
        (["replay", "--event", "2020-03-12", "--resolution", "5m"], 2, "is not held for 2020-03-12"),
        (["replay", "--event", "2020-03-12", "--perp-leverage", "3,x"], 2, "--perp-leverage"),
        (["replay", "--event", "2020-03-12", "--perp-leverage", "0"], 2, "--perp-leverage"),
        (["replay", "--event", "2020-03-12", "--wallet-split", "0.5"], 2, "of it in spot"),
        (["replay", "--event", "2020-03-12", "--pair", "BTCUSDT"], 2, "SPOT/PERP"),
        (["replay", "--event", "2020-03-12", "--direction", "up"], 2, "--direction"),
        (["replay", "--event", "2020-03-12", "--naked", "pray"], 2, "--naked"),
        (["replay", "--event", "2020-03-12", "--data", "nowhere"], 4, "nowhere is not a folder"),
        (["stress", "--scenario", "nowhere.toml"], 3, "nowhere.toml"),
    ],
)
def test_mistakes_are_named(
    arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = run(capsys, "simulate", *arguments, "--out", str(tmp_path / "results"), code=code)
    assert words in found["error"] + found["remedy"]
    assert not (tmp_path / "results").exists()


def test_replay_needs_the_files_of_the_day(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "simulate", "replay", "--event", "2020-03-12", "--data", str(tmp_path), code=4)
    assert "is not there" in found["error"]
