"""``carry simulate adl`` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data.adl_sample import COINS, EVENTS, TIMING
from tests.cli import command
from tests.cli.command import Outcome
from tests.conftest import needed

SMALL = "--open-interest 20000000"


def run(capsys: pytest.CaptureFixture[str], line: str) -> Outcome:
    return command.run(capsys, "simulate", "adl", *line.split())


def answer(capsys: pytest.CaptureFixture[str], line: str, out: Path) -> dict[str, Any]:
    return command.answer(capsys, "simulate", "adl", *line.split(), "--out", out)


def test_it_writes_a_page_and_prints_the_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = run(capsys, f"{SMALL} --out {tmp_path}")
    assert code == 0
    assert "made or lost over everybody: 0 millionths" in out
    assert "SYNTHETIC" in err
    assert sorted(path.name for path in (tmp_path / "adl-0001").iterdir()) == ["report.html", "result.json"]


@pytest.mark.parametrize("venue", ["binance", "bybit"])
@pytest.mark.parametrize("shock", ["-0.2", "0.3"])
def test_money_is_conserved_at_every_venue(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, venue: str, shock: str
) -> None:
    line = f"{SMALL} --shock {shock} --no-page --seed 5 --instrument {venue}:linear:BTCUSDT"
    if venue == "bybit":  # the sample holds Binance's prices only
        code, _, err = run(capsys, f"{line} --out {tmp_path}")
        assert code == 4
        assert "holds no bybit:linear:BTCUSDT" in err
        return
    found = answer(capsys, line, tmp_path)
    assert found["money_difference_millionths"] == 0
    assert found["losing_side"] == ("long" if shock.startswith("-") else "short")
    paid = found["fund_before"] - found["fund_after"] + found["surplus"]
    assert paid == pytest.approx(found["fund_paid"], abs=1e-6)


def test_a_large_fund_leaves_nothing_to_adl(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = answer(capsys, f"{SMALL} --fund 10000000 --no-page", tmp_path)
    assert found["adl_lots"] == found["liquidated"]["adl"] == 0
    assert all(row["closed"] in (0.0, None) for row in found["own"])


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("--shock nan", 2, "--shock = nan"),
        ("--shock 0", 2, "--shock = 0"),
        ("--shock -1.5", 2, "--shock = -1.5"),
        ("--open-interest 0", 2, "--open-interest = 0"),
        ("--fund -1", 2, "--fund = -1"),
        ("--liquidity-gap 2", 3, "liquidity_gap = 2.0"),
        ("--smallest 5000 --largest 4000", 2, "--smallest = 5000"),
        ("--notional 0", 2, "--notional = 0"),
        ("--side flat", 2, "--side"),
        ("--instrument binance:inverse:BTCUSD", 2, "is inverse"),
        ("--instrument dydx:linear:BTCUSDT", 2, "dydx has no ADL ranking"),
        ("--instrument venus:linear:BTCUSDT", 2, "venus"),
        ("--sample nowhere --shock -0.3", 2, "--shock contradicts --sample"),
        ("--sample nowhere", 4, "there is no folder nowhere"),
        ("--seed -1", 2, "--seed = -1"),
        ("--tier BTCUSDT=0.025/16300", 2, "names a symbol"),
        ("--tier BTCUSDT=0.025/16300", 2, "give RATE/DEDUCTION alone: --tier 0.025/16300"),
        ("--tier 0.025/16300/1", 2, "--tier: deduction: '16300/1' is not a number"),
        ("--tier much", 2, "for example --tier 0.025/16300"),
        ("--instrument binance:linear:NOSUCHUSDT", 4, "give --tier RATE/DEDUCTION, or --tiers FILE"),
    ],
)
def test_bad_input_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str, code: int, words: str
) -> None:
    found, _, err = run(capsys, f"--out {tmp_path} {line}")
    assert found == code, err
    assert words in err.replace("\n", " ")
    assert not list(tmp_path.iterdir())


def test_the_help_shows_the_form_that_the_tier_takes(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "--help")
    assert "RATE[/DEDUCTION]" in out
    assert "SYMBOL=" not in out


def test_a_tier_of_the_form_in_the_help_is_taken(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = answer(capsys, f"{SMALL} --no-page --tier 0.005/0", tmp_path)
    assert found["provenance"]["settings"]["tier"] == "0.005/0"


# --- the sample ---------------------------------------------------------------------------------------------------


def write_sample(folder: Path, **changes: Any) -> Path:
    """An episode of our own making: three shorts meet one liquidated long, the last of them in part."""
    folder.mkdir()
    events = pd.DataFrame(
        {
            "user": ["a", "b", "c"],
            "coin": "AB",
            "time": 1_000,
            "adl_price": 90.0,
            "adl_size": [2.0, 1.0, 0.5],
            "closed_pnl": [20.0, 10.0, 5.0],
            "position_size": [-2.0, -1.0, -4.0],
            "entry_price": 100.0,
            "account_value_realtime": [5.0, 10.0, 400.0],
            "liquidated_user": "z",
        }
        | changes
    )
    events.to_csv(folder / EVENTS, index=False)
    coins = {"coin": ["AB"], "adl_notional": [315.0], "num_users": [3], "num_events": [3]}
    pd.DataFrame(coins).to_csv(folder / COINS, index=False)
    rows = [{"second": 0, "liquidations": 1, "adls": 0}, {"second": 60, "liquidations": 3, "adls": 3}]
    (folder / TIMING).write_text(json.dumps({"timeline": rows}), encoding="utf-8")
    return folder


def test_an_episode_is_allocated_anew(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "episode")
    found = answer(capsys, f"--sample {folder}", tmp_path / "out")
    assert (found["events"], found["events_reproduced"], found["positions_closed_in_part"]) == (1, 1, 1)
    assert found["money_difference_millionths"] == 0
    page = (tmp_path / "out" / "adl-sample-0001" / "report.html").read_text(encoding="utf-8")
    assert "belongs to its authors" in page[: page.index("<script>")]


def test_another_order_than_ours_is_not_called_reproduced(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "episode", adl_size=[0.5, 1.0, 4.0])
    assert answer(capsys, f"--sample {folder} --no-page", tmp_path / "out")["events_reproduced"] == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"adl_price": [90.0, np.nan, 90.0]}, "row 2: adl_price = nan"),
        ({"adl_size": [2.0, 1.0, -1.0]}, "row 3: adl_size = -1.0"),
        ({"position_size": [0.0, -1.0, -4.0]}, "row 1: position_size = 0.0"),
    ],
)
def test_a_wrong_row_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    code, _, err = run(capsys, f"--sample {write_sample(tmp_path / 'episode', **changes)} --out {tmp_path / 'out'}")
    assert code == 4
    assert words in err


@pytest.mark.parametrize("name", [EVENTS, COINS, TIMING])
def test_a_damaged_file_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    folder = write_sample(tmp_path / "episode")
    (folder / name).write_bytes(b"\x1f\x8bnothing")
    code, _, err = run(capsys, f"--sample {folder} --out {tmp_path / 'out'}")
    assert code == 4
    assert name in err


def test_the_episode_of_2025_10_10(capsys: pytest.CaptureFixture[str], tmp_path: Path, shared_data: Path) -> None:
    folder = needed(shared_data / "hyperliquid-adl-2025-10-10-conejo", "ADL sample")
    found = answer(capsys, f"--sample {folder} --no-page", tmp_path)
    assert found["total_notional"] / 1e9 == pytest.approx(2.1, abs=0.01)
    assert found["events_reproduced"] == found["events"] > 100
    assert found["money_difference_millionths"] == 0
