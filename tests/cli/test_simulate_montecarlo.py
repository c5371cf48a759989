"""``carry simulate montecarlo`` as a user calls it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli import command
from tests.cli.command import Outcome

QUICK = "--days 5 --paths 400 --leverage 3,10,25"
JUMP = "--model jump --volatility 0.6 --jump-rate 12 --jump-mean -0.02 --jump-deviation 0.06 --price 60000"


def run(capsys: pytest.CaptureFixture[str], line: str) -> Outcome:
    return command.run(capsys, "simulate", "montecarlo", *line.split())


def answer(capsys: pytest.CaptureFixture[str], line: str, out: Path) -> dict[str, Any]:
    return command.answer(capsys, "simulate", "montecarlo", *line.split(), "--out", out)


def test_it_writes_a_page_and_its_result(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = run(capsys, f"{QUICK} --out {tmp_path}")
    assert code == 0
    assert "3 leverages, short, 5 days, 400 paths" in out
    assert "SYNTHETIC" in err
    folder = tmp_path / "montecarlo-0001"
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "result.json"]
    found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert [row["leverage"] for row in found["leverages"]] == [3.0, 10.0, 25.0]
    provenance = found["provenance"]
    assert len(provenance["config_hash"]) == len(provenance["data_hash"]) == 64
    assert provenance["seed"] == 1
    assert {"carry", "numpy", "numba"} <= set(provenance["versions"])


def test_json_is_the_whole_result_and_repeats(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    one, again = (answer(capsys, f"{QUICK} --no-page", tmp_path) for _ in range(2))
    assert one["files"] != again["files"]
    del one["files"], again["files"]
    assert one == again
    probabilities = [row["probability"] for row in one["leverages"]]
    assert probabilities == sorted(probabilities)
    other = answer(capsys, f"{QUICK} --no-page --seed 2", tmp_path)
    assert other["provenance"]["config_hash"] != one["provenance"]["config_hash"]


def test_the_same_study_of_the_same_data_elsewhere_has_the_same_hashes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, repository: Path
) -> None:
    copied = shutil.copytree(repository / "data" / "sample" / "lake", tmp_path / "lake")
    here = answer(capsys, f"{QUICK} --no-page", tmp_path)["provenance"]
    there = answer(capsys, f"{QUICK} --lake {copied}", tmp_path / "results")["provenance"]
    assert [there[name] for name in ("config_hash", "data_hash")] == [
        here[name] for name in ("config_hash", "data_hash")
    ]


def test_a_jump_diffusion_by_flags_needs_no_prices(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = answer(capsys, f"{QUICK} {JUMP} --side long --antithetic --crossing close --no-page", tmp_path)
    assert found["entry_price"] == 60000
    assert found["model"]["jump_rate"] == 12
    assert found["provenance"]["data_hash"] == ""
    assert all(row["liquidation_price"] < 60000 for row in found["leverages"])


def test_a_jump_diffusion_is_fitted_without_its_flags(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = answer(capsys, f"{QUICK} --model jump --no-page", tmp_path)
    assert 0.2 < found["model"]["volatility"] < 1.5


def test_without_leverages_it_takes_64_up_to_the_tiers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = answer(capsys, "--days 2 --paths 50 --wallet 50000 --as-of 2024-11-01 --no-page", tmp_path)
    leverages = [row["leverage"] for row in found["leverages"]]
    assert len(leverages) == 64
    # 3,000,000 at most at 75 times, 12,000,000 at 50: the wallet allows 60 times.
    assert (leverages[0], leverages[-1]) == (1.0, 60.0)


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("--wallet 1000 --notional 1000", 2, "--wallet and --notional contradict"),
        ("--wallet 0", 2, "--wallet = 0"),
        ("--wallet nan", 2, "--wallet = nan"),
        ("--notional -5", 2, "--notional = -5"),
        ("--price nan", 2, "--price = nan"),
        ("--leverage 1000", 6, "leverage 1000 is above"),
        ("--notional 1e13", 6, "beyond the last tier"),
        ("--leverage 0.5", 2, "--leverage = 0.5"),
        ("--instrument binanc:linear:BTCUSDT", 2, "did you mean binance"),
        ("--instrument binance:spot:BTCUSDT", 2, "is spot"),
        ("--instrument BTCUSDT", 3, "--instrument"),
        ("--instrument binance:linear:BTCUSDX", 4, "holds no binance:linear:BTCUSDX"),
        ("--side up", 2, "--side"),
        ("--model garch", 2, "--model = 'garch'"),
        ("--volatility 0.5", 2, "--volatility contradicts --model bootstrap"),
        ("--antithetic", 2, "--antithetic contradicts --model bootstrap"),
        ("--model jump --volatility 0.5", 2, "--jump-rate is missing"),
        ("--model jump --block-hours 24", 2, "--block-hours contradicts"),
        ("--model jump --drift sample", 2, "--drift sample contradicts"),
        (f"{JUMP} --start 2024-02-01", 2, "have no use"),
        ("--days 0", 2, "--days = 0"),
        ("--days 0.01", 2, "no whole number of bars"),
        ("--paths 0", 2, "--paths = 0"),
        ("--crossing often", 2, "--crossing = 'often'"),
        ("--series last", 2, "--series = 'last'"),
        ("--start 2031-01-01", 4, "no rows in the asked range"),
        ("--start 2024-01-01 --end 2024-01-01T05:00", 4, "too few"),
        ("--start yesterday", 2, "--start"),
        ("--tier 0.01 --as-of 2024-11-01", 2, "contradict each other"),
        ("--tier 0.01", 2, "--leverage is missing"),
        ("--tier 0.2 --leverage 10", 2, "below the maintenance rate"),
        ("--taker 0.001", 2, "--taker = 0.001"),
        ("--funding-rate nan", 2, "--funding-rate = nan"),
        ("--funding-rate 0.001 --funding-interval-hours 0.7", 2, "no multiple of a step"),
        ("--confidence 1.5", 2, "--confidence = 1.5"),
        ("--seed -1", 2, "--seed = -1"),
        ("--lake nowhere", 4, "nowhere"),
    ],
)
def test_bad_input_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, code: int, words: str
) -> None:
    found, _, err = run(capsys, f"--paths 20 --out {tmp_path} {line}")
    assert found == code, err
    assert words in err.replace("\n", " ")
    assert not list(tmp_path.iterdir())
