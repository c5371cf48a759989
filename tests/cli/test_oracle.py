"""``carry oracle``: what is printed, exit codes, files and snapshots."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.store.lake import Lake, Provenance, SeriesKey
from tests.cli.command import Run, only_commands, run

T0 = 1_704_067_200_000
HOUR = 3_600_000


@pytest.fixture
def carry(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    only_commands(monkeypatch, tmp_path, "cli.oracle")
    lake = Lake(tmp_path / "data" / "lake")
    for venue, closes in (("binance", [100.0, 100.0]), ("bybit", [100.1, 100.1]), ("okx", [99.9, 250.0])):
        prices = np.array(closes)
        columns = {"time_ms": T0 + np.arange(2) * HOUR, "volume": np.ones(2)}
        columns |= dict.fromkeys(("open", "high", "low", "close"), prices)
        lake.write(SeriesKey(venue, "spot", "BTCUSDT", "bars", "1h"), columns, Provenance("by hand"))

    return partial(run, capsys)


def test_show_for_scripts(carry: Run) -> None:
    code, printed, _ = carry("oracle", "show", "--asset", "BTC", "--json")
    assert code == 0
    found = json.loads(printed)
    assert found["time"] == "2024-01-01T02:00:00Z"
    btc = found["assets"]["BTC"]
    assert (btc["value"], btc["status"], btc["used"]) == (100.05, "DEGRADED", ["binance", "bybit"])
    assert btc["rejected"] == {"okx": "outlier"}
    okx = next(source for source in btc["sources"] if source["venue"] == "okx")
    assert okx["deviation_bps"] == pytest.approx((250 / 100.05 - 1) * 1e4)


def test_show_for_people_at_an_instant(carry: Run) -> None:
    code, printed, _ = carry("oracle", "show", "--at", "2024-01-01T01:00")
    assert code == 0
    assert "BTC 100 USDT" in printed
    assert "OK" in printed
    assert printed.count("used") == 3


def test_check_counts_and_ends_with_4_when_there_was_no_price(carry: Run) -> None:
    code, printed, _ = carry("oracle", "check", "--asset", "BTC", "--json")
    assert code == 0
    (btc,) = json.loads(printed)["assets"]
    assert btc["instants"] == {"OK": 1, "DEGRADED": 1, "HALT": 0}
    assert btc["episodes"] == [
        {"from": "2024-01-01T02:00:00Z", "to": "2024-01-01T02:00:00Z", "status": "DEGRADED", "instants": 1}
    ]
    assert btc["sources"][2]["verdicts"] == {"used": 1, "outlier": 1}
    code, printed, _ = carry("oracle", "check", "--asset", "BTC", "--venue", "okx")
    assert code == 4
    assert "HALT 2 (100.00 %)" in printed


def test_a_snapshot(carry: Run, tmp_path: Path) -> None:
    def field(value: float) -> dict[str, Any]:
        return {"value": value, "age_ms": 100, "stale": False}

    instruments = {
        f"{venue}:spot:BTC{quote}": {"fields": {"bid": field(price - 0.1), "ask": field(price + 0.1)}}
        for venue, quote, price in (("a", "USDT", 100.0), ("b", "USDT", 100.0), ("c", "USDC", 102.0))
    }
    instruments["a:spot:USDCUSDT"] = {"fields": {"bid": field(0.9795), "ask": field(0.9805)}}
    path = tmp_path / "feed.json"
    path.write_text(json.dumps({"time_ms": T0, "instruments": instruments}))
    code, printed, _ = carry("oracle", "check", "--snapshot", path, "--json")
    assert (code, json.loads(printed)["assets"]["BTC"]["status"]) == (0, "OK")
    code, printed, _ = carry("oracle", "check", "--snapshot", path, "--max-age-s", "0.05", "--json")
    assert code == 4
    assert set(json.loads(printed)["assets"]["BTC"]["rejected"].values()) == {"stale"}
    code, printed, _ = carry("oracle", "show", "--snapshot", path, "--weight", "d=2", "--json")
    assert (code, json.loads(printed)["remedy"]) == (2, "venues are a, b, c")
    code, printed, _ = carry("oracle", "show", "--asset", "ETH", "--snapshot", path, "--json")
    assert code == 4
    assert "no index source of ETH" in json.loads(printed)["error"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("show", "--asset", "DOGE"), 4, "no venue of the lake has DOGE"),
        (("show", "--kind", "vwap"), 2, "--kind vwap is unknown"),
        (("show", "--kind", "mark"), 4, "no asset of the lake has a mark input"),
        (("show", "--asset", "BTC", "--quote-rate", "USDC=x"), 2, "--quote-rate USDC=x: not a number"),
        (("show", "--asset", "BTC", "--weight", "okx=-1"), 2, "--weight okx=-1: not a number above 0"),
        (
            ("show", "--asset", "BTC", "--weight", "okex=2"),
            2,
            "--weight okex: no price comes from a venue of that name; did",
        ),
        (("check", "--asset", "BTC", "--weight", "okex=2"), 2, "did you mean okx?"),
        (("show", "--asset", "BTC", "--weight", "okx"), 2, "--weight 'okx' is not of the form name=value"),
        (("show", "--asset", "BTC", "--quote-rate", "USDC=nan"), 2, "--quote-rate USDC=nan: not a number above 0"),
        (("show", "--asset", "BTC", "--max-age-s", "nan"), 2, "--max-age-s nan is not a number of seconds"),
        (("check", "--asset", "BTC", "--max-age-s", "inf"), 2, "--max-age-s inf is not a number of seconds"),
        (("show", "--asset", "BTC", "--at", "noon"), 2, "'noon' is not an ISO date"),
        (("show", "--asset", "BTC", "--quorum", "0"), 3, "quorum = 0"),
        (("check", "--lake", "absent"), 4, "there is no lake"),
    ],
)
def test_bad_input(carry: Run, arguments: tuple[str, ...], code: int, words: str) -> None:
    ended, _, said = carry("oracle", *arguments)
    assert ended == code
    assert words in said
