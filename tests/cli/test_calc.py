"""``carry calc`` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli import command
from tests.cli.command import Outcome

BINANCE_FAQ = (
    "liquidation --venue binance --mode cross --wallet 1535443.01 --position BTCUSDT:long:109.488@32481.98"
    " --position ETHUSDT:long:3683.979@1456.84 --mark BTCUSDT=31967.27 --mark ETHUSDT=1335.18"
    " --tier BTCUSDT=0.025/16300 --tier ETHUSDT=0.10/135365"
)
SHORT = "--venue binance --wallet 10000 --position BTCUSDT:short:2@30000 --mark 32000"
ADL = "adl --venue binance --position ETHUSDT:short:10@4000 --mark 3600 --wallet 4000 --tier ETHUSDT=0.01"
SIZE = "size --spot binance:spot:BTCUSDT --perp binance:linear:BTCUSDT --price 60000"
BORROW = "borrow --venue binance --amount 1000 --from 2024-10-18T13:55 --until 2024-10-18T14:30"
FUNDING = "funding --side short --quantity 0.5 --mark 60000 --rate 0.0001"

LOST = "--position ABUSDT:long:1@200 --position ABUSDT:short:1@100"

COMMANDS = {
    "liquidation": BINANCE_FAQ,
    "margin": f"margin {SHORT} --leverage 10 --as-of 2024-11-01",
    "adl": f"{ADL} --other 5@3900/9000 --deficit 2000 --bankrupt 10",
    "size": f"{SIZE} --capital 10000 --leverage 3",
    "borrow": f"{BORROW} --hourly-rate 0.00001",
    "funding": f"{FUNDING} --venue binance --hours 72",
}


def run(capsys: pytest.CaptureFixture[str], line: str) -> Outcome:
    return command.run(capsys, "calc", *line.split())


def answer(capsys: pytest.CaptureFixture[str], line: str) -> dict[str, Any]:
    return command.answer(capsys, "calc", *line.split())


def test_the_venues_own_example(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, BINANCE_FAQ)
    assert code == 0
    result, working = out.split("Working")
    assert "26,316.89" in result
    assert "1,153.26" in result
    words = " ".join(working.split())
    assert "(1,535,443.01 - 448,192.89 - 356,512.51 + 16,300 - 109.488 x 32,481.98)" in words
    assert "/ (109.488 x 2.5% - 109.488) = 26,316.89" in words
    assert "put back: with BTCUSDT at 26,316.89, equity = maintenance margin" in words


def test_the_same_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, BINANCE_FAQ)
    prices = found["answer"]["liquidation"]
    assert [round(prices[symbol]["lower"], 2) for symbol in ("BTCUSDT", "ETHUSDT")] == [26_316.89, 1_153.26]
    assert prices["BTCUSDT"]["upper"] is None
    assert [check["holds"] for check in found["checks"]] == [True, True]
    assert found["tiers"][1]["deduction"] == 135_365


@pytest.mark.parametrize("name", COMMANDS)
def test_it_fits_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(capsys, COMMANDS[name])
    assert code == 0
    assert max(len(line) for line in out.splitlines()) <= 80
    assert "Working" in out
    assert "Checks" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_question_has_json_with_its_working(capsys: pytest.CaptureFixture[str], name: str) -> None:
    found = answer(capsys, COMMANDS[name])
    assert found["question"] == name
    assert found["steps"]
    for step in found["steps"]:
        assert step["formula"]
        assert step["numbers"]
    assert all(check["holds"] for check in found["checks"])
    assert found["checks"] or name == "margin"


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("margin", ("maintenance",), 270),
        ("adl", ("deficit", "price"), 3_800),
        ("size", ("perp", "order_quantity"), "0.1247"),
        ("borrow", ("interest",), 0.02),
        ("funding", ("payment",), 3),
    ],
)
def test_figures(capsys: pytest.CaptureFixture[str], name: str, path: tuple[str, ...], expected: Any) -> None:
    found: Any = answer(capsys, COMMANDS[name])["answer"]
    for key in path:
        found = found[key]
    assert found == expected if isinstance(expected, str) else found == pytest.approx(expected)


def test_tiers_of_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Short 40 at 100 with 2,000: 6,160 / 42 in the third tier of the file."""
    tiers = [
        {"minNotional": low, "maxNotional": high, "maintenanceMarginRate": rate, "maxLeverage": most}
        for low, high, rate, most in ((0, 1_000, 0.01, 50), (1_000, 5_000, 0.02, 25), (5_000, None, 0.05, 10))
    ]
    file = tmp_path / "tiers.json"
    file.write_text(json.dumps({"STEP/USDT:USDT": tiers}))
    line = "liquidation --venue binance --wallet 2000 --position STEPUSDT:short:40@100 --mark 100"
    found = answer(capsys, f"{line} --tiers {file}")
    assert found["answer"]["liquidation"]["STEPUSDT"]["upper"] == pytest.approx(6_160 / 42)
    assert (found["tiers"][0]["number"], found["tiers"][0]["source"]) == (3, "tiers.json")
    code, out, _ = run(capsys, f"{line} --tiers {file} --as-of 2024-01-01 --json")
    assert code == 2
    assert "--as-of with --tiers" in json.loads(out)["error"]


def test_tiers_of_a_date(capsys: pytest.CaptureFixture[str]) -> None:
    """On 264,000 of notional: 1% and 1,300 in 2021, 0.4% and nothing in 2026."""
    line = "margin --venue binance --wallet 1000000 --position BTCUSDT:long:6.6@40000 --mark 40000"
    then, now = answer(capsys, f"{line} --as-of 2021-05-19"), answer(capsys, line)
    assert then["answer"]["maintenance"] == pytest.approx(264_000 * 0.01 - 1_300)
    assert now["answer"]["maintenance"] == pytest.approx(264_000 * 0.004)
    assert [found["tiers"][0]["since"] for found in (then, now)] == ["2021-03-18", "2026-05-07"]


def test_isolated_without_mark_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Bybit inverse: 60,000 (1 + 0.5%) / (1.2 + 0.12)."""
    line = "liquidation --venue bybit --mode isolated --kind inverse --leverage 10 --position BTCUSD:long:60000@50000"
    code, out, err = run(capsys, f"{line} --json")
    assert code == 0
    assert err == "No --mark: the position is valued at its entry price.\n"
    assert json.loads(out)["answer"]["liquidation"]["BTCUSD"]["lower"] == pytest.approx(60_300 / 1.32)


def test_filters_of_a_settings_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "carry.toml"
    shipped = (Path(__file__).parents[2] / "config" / "carry.toml").read_text(encoding="utf-8")
    file.write_text(f'{shipped}\n[instruments."binance:linear:BTCUSDT"]\nlot = "0.01"\nmin_quantity = "0.01"\n')
    found = answer(capsys, f"{SIZE} --target 0.1299 --config {file}")["answer"]
    assert found["perp"]["order_quantity"] == "0.12"


WRONG = [
    (f"{BINANCE_FAQ} --margin 5", 2, "--margin contradicts --mode cross"),
    (f"{BINANCE_FAQ} --mode isolated", 2, "--wallet contradicts --mode isolated"),
    (f"{BINANCE_FAQ} --tier BTCUSDT=0.1", 2, "--tier is given twice for BTCUSDT"),
    (f"{BINANCE_FAQ} --kind spot", 2, "--kind = 'spot'"),
    (f"liquidation {SHORT} --as-of yesterday", 2, "--as-of: 'yesterday'"),
    (f"liquidation {SHORT} --as-of 2020-01-01", 4, "--as-of: leverage tiers of binance:linear:BTCUSDT are known from"),
    (f"liquidation {SHORT} --tiers nowhere.json", 4, "nowhere.json"),
    (f"liquidation {SHORT} --wallet 0", 2, "--wallet = 0 is not above 0"),
    (f"liquidation {SHORT} --wallet -5", 2, "--wallet = -5 is not above 0"),
    (f"liquidation {SHORT} --wallet nan", 2, "--wallet = nan is not a number"),
    (f"liquidation {SHORT} --wallet lots", 2, "--wallet: 'lots' is not a number"),
    (f"liquidation {SHORT} --mark BTCUSDT=nan", 2, "--mark BTCUSDT = nan is not a number"),
    (f"liquidation {SHORT} --venue binanze", 2, "--venue = 'binanze' is unknown; did you mean binance?"),
    (f"margin {SHORT} --position BTCUSTD:long:1@2 --mark BTCUSTD=2", 4, "--position BTCUSTD"),
    (f"margin {SHORT} --leverage 126 --as-of 2024-11-01", 6, "--leverage 126: binance:linear:BTCUSDT: leverage 126 is"),
    (f"margin {SHORT} --leverage 0.5", 2, "--leverage 0.5: binance:linear:BTCUSDT: leverage = 0.5 is not 1 or more"),
    (
        "margin --venue binance --wallet 5 --position BTCUSDT:long:1000000@40000 --mark 40000",
        6,
        "--position BTCUSDT: binance:linear:BTCUSDT: notional 40,000,000,000 USDT is beyond the last tier",
    ),
    (
        f"liquidation --venue binance --wallet 50 {LOST} --hedge --mark 150 --tier ABUSDT=0.01",
        7,
        "--position ABUSDT: binance:linear:ABUSDT cross: margin is below maintenance at every price",
    ),
    (f"{ADL} --deficit 5", 2, "--bankrupt is missing"),
    (f"{ADL} --deficit nan --bankrupt 5", 2, "--deficit = nan"),
    (f"{ADL} --taker 0.1", 2, "--taker = 0.1: only OKX's score counts it"),
    (f"{ADL} --venue bybit", 2, "--tier: bybit ranks without maintenance margin"),
    (f"{ADL} --venue kraken", 2, "--venue = 'kraken' is unknown"),
    (f"{SIZE} --target 1 --capital 1", 2, "--target and --capital are both given"),
    (f"{SIZE} --target 0.0001", 6, "--target = 0.0001 gives 1 perp lots"),
    (f"{SIZE} --target 1 --perp binance:linear:BTCUSTD", 3, "--perp: unknown instrument 'binance:linear:BTCUSTD'"),
    (f"{SIZE} --target 1 --spot kraken:spot:BTCUSDT", 3, "--spot: unknown venue 'kraken'"),
    (f"{SIZE} --target 1 --perp binance:spot:BTCUSDT", 3, "is not a perpetual"),
    (f"{SIZE} --target 1 --perp-fee 1.5", 2, "--perp-fee = 1.5 is not below 1"),
    (BORROW, 2, "the rate is missing"),
    (f"{BORROW} --hourly-rate 0.1 --daily-rate 0.1", 2, "--hourly-rate and --daily-rate contradict each other"),
    (f"{BORROW} --daily-rate -0.1", 2, "--daily-rate = -0.1 is negative"),
    (f"{BORROW} --daily-rate 0.1 --until 2024-10-01", 2, "is before --from"),
    (f"{BORROW} --daily-rate 0.1 --free-hours 1.5", 2, "--free-hours = 1.5 is not a whole number"),
    (f"{BORROW} --daily-rate 0.1 --until soon", 2, "--until: 'soon'"),
    (f"{FUNDING} --side up", 2, "--side: 'up' is neither long nor short"),
    (f"{FUNDING} --rate 5", 2, "--rate = 5.0 is not a fraction"),
    (f"{FUNDING} --interval-hours 0", 2, "--interval-hours = 0 is not above 0"),
    (f"{FUNDING} --cost 0.1 --venue binance", 2, "--cost and --venue contradict each other"),
    (f"{FUNDING} --slippage-bps 2", 2, "--slippage-bps = 2 without --venue"),
]


@pytest.mark.parametrize(("line", "exit_code", "words"), WRONG)
def test_bad_input_names_flag_and_value(
    capsys: pytest.CaptureFixture[str], line: str, exit_code: int, words: str
) -> None:
    code, out, _ = run(capsys, f"{line} --json")
    found = json.loads(out)
    assert (code, found["exit_code"]) == (exit_code, exit_code), found
    assert words in found["error"]
    assert found["remedy"]


def test_an_error_for_people_is_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, f"{BINANCE_FAQ} --margin 5")
    assert (code, out) == (2, "")
    assert err == "error: --margin contradicts --mode cross\nwhat to do: leave it out, or give --mode isolated\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_of_the_help_run(capsys: pytest.CaptureFixture[str], name: str) -> None:
    group = __import__("cli.calc", fromlist=[name])
    text = " ".join((getattr(group, name).__doc__ or "").split())
    examples = [part.strip().removeprefix("carry calc ") for part in text.split("Example: ")[1:]]
    assert examples
    for line in examples:
        assert answer(capsys, line)["question"] == name
