"""``carry funding`` and ``carry ingest funding-table``: every command prints, writes and fails as it should."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cli import app
from tests.cli.command import Outcome, Run, only_commands, run

T0 = 1_704_067_200_000
H8 = 8 * 3_600_000
TABLES = (
    "rates", "summary", "years", "signs", "caps", "seasonality", "persistence", "spread", "forecast", "carry",
    "screen", "pairs",
)  # fmt: skip


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake that ``carry ingest funding-table`` filled: three symbols on two venues."""
    folder = tmp_path_factory.mktemp("funding")
    generator = np.random.default_rng(1)
    frames = [
        pd.DataFrame(
            {
                "timestamp": T0 + np.arange(120) * H8,
                "symbol": symbol,
                "funding_rate": np.round(mean + 1e-4 * generator.normal(size=120), 8),
            }
        )
        for symbol, mean in (("BTCUSDT", 1e-4), ("ETHUSDT", 3e-4), ("ALICEUSDT", -2e-4))
    ]
    pd.concat(frames).to_csv(folder / "table.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "COMMAND_MODULES", ("cli.ingest",))
        for venue in ("binance", "bybit"):
            arguments = ("ingest", "funding-table", folder / "table.csv", "--venue", venue, "--lake", folder / "lake")
            assert app.run([str(argument) for argument in arguments]) == 0
    return folder / "lake"


@pytest.fixture
def carry(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lake: Path) -> Run:
    """Run ``carry`` in an empty folder, on the lake unless another is named."""
    only_commands(monkeypatch, tmp_path, "cli.ingest", "cli.funding")

    def on_the_lake(*arguments: object) -> Outcome:
        return run(capsys, *arguments, *(() if "--lake" in arguments else ("--lake", lake)))

    return on_the_lake


def test_a_long_table_becomes_a_series_per_symbol(carry: Run, lake: Path) -> None:
    table = lake.parent / "table.csv"
    code, printed, _ = carry("ingest", "funding-table", table, "--venue", "okx", "--dry-run", "--json")
    assert code == 0
    assert [(file["series"], file["added"]) for file in json.loads(printed)["files"]] == [
        (f"okx:linear:{symbol} funding", 120) for symbol in ("ALICEUSDT", "BTCUSDT", "ETHUSDT")
    ]
    code, printed, _ = carry("ingest", "funding-table", table, "--venue", "binance", "--symbols", "BTC/USDT", "--json")
    (file,) = json.loads(printed)["files"]
    assert (code, file["added"], file["identical"]) == (0, 0, 120)
    code, _, said = carry("ingest", "funding-table", table, "--venue", "binance", "--time-column", "when")
    assert code == 4
    assert "has no column 'when'" in said


@pytest.mark.parametrize("command", TABLES)
def test_every_table_for_people_and_for_scripts(carry: Run, command: str) -> None:
    code, printed, _ = carry("funding", command)
    assert code == 0
    assert "of 6 contracts" in printed
    code, printed, _ = carry("funding", command, "--json")
    found = json.loads(printed)
    assert (code, found["contracts"], found["synthetic"], found["skipped"]) == (0, 6, False, [])
    assert isinstance(found["rows"], list)


def test_a_table_as_a_file_and_cut_on_the_terminal(carry: Run, tmp_path: Path) -> None:
    code, printed, _ = carry("funding", "rates", "--symbol", "BTCUSDT", "--out", "rates.csv", "--rows", "3")
    assert code == 0
    assert "and 237 more rows" in printed
    assert len(pd.read_csv("rates.csv")) == 240
    code, _, said = carry("funding", "rates", "--out", "rates.txt")
    assert code == 2
    assert "ends in neither" in said


@pytest.mark.parametrize("width", [60, 80, 120])
def test_tables_fit_the_terminal_in_whole_columns(carry: Run, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for command in TABLES:
        code, printed, _ = carry("funding", command)
        assert code == 0
        assert max(len(line) for line in printed.splitlines()) <= width
        assert "…" not in printed
    assert "not shown here" in printed


def test_choices_change_the_result(carry: Run) -> None:
    def rows(*arguments: object) -> list[dict[str, float]]:
        code, printed, _ = carry("funding", *arguments, "--symbol", "binance:linear:BTCUSDT", "--json")
        assert code == 0
        found: list[dict[str, float]] = json.loads(printed)["rows"]
        return found

    assert len(rows("seasonality", "--by", "weekday")) == 7
    assert [row["lag_hours"] for row in rows("persistence", "--lags", "8,24")] == [8, 24]
    assert {row["horizon"] for row in rows("forecast", "--horizons", "48", "--half-lives", "12")} == {
        "next settlement",
        "48 h",
    }
    (net,) = rows("carry", "--cost-bps", "10", "--holding-days", "5")
    assert (net["round_trip_bps"], net["holding_days"]) == (10.0, 5.0)
    (year,) = rows("years", "--from", "2024-01-02", "--to", "2024-01-03")
    assert year["settlements"] == 3


def test_survivorship_and_settings_are_printed(carry: Run) -> None:
    _, printed, _ = carry("funding", "screen")
    assert "Survivors only: all 6 contracts" in " ".join(printed.split())
    code, printed, _ = carry("funding", "pairs", "--most", "1", "--venue", "binance", "--json")
    found = json.loads(printed)
    assert (code, "Survivors only" in found["survivorship"]) == (0, True)
    assert found["settings"].startswith("[[pairs]]\nspot = ")
    assert sum(row["tradable"] for row in found["rows"]) == 1


def test_predicted_rates(carry: Run) -> None:
    frame = pd.DataFrame({"time_ms": [T0 + H8 - 60_000], "settlement_ms": [T0 + H8], "predicted_rate": [1e-4]})
    frame.to_csv("predicted.csv", index=False)
    one = ("--symbol", "binance:linear:BTCUSDT", "--predicted", "predicted.csv")
    code, printed, _ = carry("funding", "forecast", *one, "--json")
    assert code == 0
    assert [row["predictions"] for row in json.loads(printed)["rows"]] == [1, 0, 0, 0, 0]
    code, _, said = carry("funding", "forecast", "--predicted", "predicted.csv")
    assert code == 2
    assert "--predicted is of one contract" in said


def test_report(carry: Run, tmp_path: Path) -> None:
    code, printed, _ = carry("funding", "report", "--out", "study", "--json")
    assert code == 0
    found = json.loads(printed)
    assert found["folder"] == "study"
    assert "report.html" in found["files"]
    assert {path.name for path in (tmp_path / "study").iterdir()} == set(found["files"])
    code, _, said = carry("funding", "report", "--out", "study")
    assert code == 2
    assert "--out study exists already" in said
    for number in (1, 2):
        code, printed, _ = carry("funding", "report", "--symbol", "BTCUSDT")
        assert code == 0
        assert f"results/funding-000{number}/report.html" in printed


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("summary", "--symbol", "DOGEUSDT"), 2, "--symbol DOGEUSDT is not in the lake"),
        (("summary", "--venue", "okx"), 2, "--venue okx has no funding here"),
        (("summary", "--lake", "absent"), 4, "there is no lake"),
        (("summary", "--from", "yesterday"), 2, "'yesterday' is not an ISO date"),
        (("summary", "--from", "2031-01-01"), 4, "no funding history can be used"),
        (("seasonality", "--by", "moon"), 2, "--by moon is unknown"),
        (("persistence", "--lags", "8,x"), 2, "--lags '8,x' is not a list of numbers"),
        (("persistence", "--lags", "8.7"), 2, "--lags '8.7': 8.7 is not whole hours"),
        (("persistence", "--lags", "1e30"), 2, "1e+30 is not whole hours"),
        (("forecast", "--horizons", "0.5"), 2, "--horizons '0.5': 0.5 is not whole hours"),
        (("pairs", "--least-net", "nan"), 2, "the least net carry is not a number"),
        (("forecast", "--half-lives", "0"), 2, "has a number that is not positive"),
        (("forecast", "--symbol", "binance:linear:BTCUSDT", "--predicted", "no.csv"), 4, "no.csv cannot be read"),
        (("carry", "--holding-days", "0"), 2, "--holding-days"),
        (("carry", "--fee-tier", "VIP77"), 2, "fee tier 'VIP77'"),
        (("screen", "--cost-bps", "-1"), 2, "--cost-bps"),
    ],
)
def test_bad_input(carry: Run, arguments: tuple[str, ...], code: int, words: str) -> None:
    ended, _, said = carry("funding", *arguments)
    assert ended == code
    assert words in said
