"""Scenario files: the shipped one, and every sort of mistake named by its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from crypto.errors import SettingsError
from crypto.settings import NakedPolicy
from crypto.stress import Direction
from data.stress import load_stress

SHIPPED = Path(__file__).parents[2] / "config" / "stress.toml"
PAIR = '[[pairs]]\nspot = "binance:spot:BTCUSDT"\nperp = "binance:linear:BTCUSDT"\n'


def load(tmp_path: Path, text: str, pair: str = PAIR) -> object:
    path = tmp_path / "scenario.toml"
    path.write_text(text + "\n" + pair, encoding="utf-8")
    return load_stress(path)


def test_the_shipped_scenario_holds_what_its_file_says() -> None:
    found = load_stress(SHIPPED)
    assert found.name == "squeeze"
    assert found.book.leverages == (3.0, 5.0, 10.0, 20.0)
    assert found.book.direction is Direction.BOTH
    assert found.book.naked_policy is NakedPolicy.FLATTEN
    assert [gap.at_hours for gap in found.price_gap] == [4.0, 14.0, 14.0]
    assert found.funding_flip[0].rate == -0.003
    assert [item.buy_back for item in found.borrow_recall] == [False, True]
    assert found.outage[0].mark_goes_on
    assert found.adl.enabled


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[book]\nleverage = [3]", r"book\.leverage is not a known key; did you mean book\.leverages\?"),
        ("[[price_gap]]\nmove = 0.1", r"price_gap\.0\.move is not a known key; known here: assets, at_hours"),
        ("[[price_gap]]\nspot = -1.0", r"price_gap\.0\.spot = -1\.0 must be from -0\.99 to 10"),
        ("[[price_gap]]\nat_hours = 3", r"price_gap\.0 moves nothing"),
        ("[[funding_flip]]\nrate = 0.5", r"funding_flip\.0\.rate = 0\.5 must be from -0\.05 to 0\.05"),
        ("[[borrow_recall]]\nat_hours = 3", r"borrow_recall\.0 changes nothing"),
        ("[[outage]]\nhours = 0", r"outage\.0\.hours = 0 must be above 0"),
        ("[[outage]]\nspot = false\nperp = false", r"outage\.0 takes nothing away"),
        ("[[mark_spike]]\nassets = ['btc']", r"mark_spike\.0\.assets\.0 = 'btc' must be an asset in capitals"),
        ("[book]\nleverages = []", r"book\.leverages is empty"),
        ("[book]\ndirection = 'long'", r"book\.direction = 'long' must be one of carry, reverse, both"),
        ("[book]\nwallet_split = 1", r"book\.wallet_split = 1 must be from 0 to below 1"),
        ("[risk]\nmax_drawdown = 2", r"risk\.max_drawdown = 2 must be above 0 and at most 1"),
        ("[[price_gap]]\nat_hours = inf\nspot = 0.1", r"price_gap\.0\.at_hours = .* must be a finite number"),
        ("[market]\ntimeframe = '7m'", r"market\.timeframe = '7m' must be one of"),
    ],
)
def test_mistakes_are_named_by_their_path(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        load(tmp_path, text)


def test_a_scenario_without_pairs_and_a_wrong_pair_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="pairs is empty"):
        load(tmp_path, "", "")
    with pytest.raises(SettingsError, match=r"pairs\.0\.perp = 'binance:spot:BTCUSDT' must be a perpetual"):
        load(tmp_path, "", PAIR.replace("linear", "spot"))


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="2 problems"):
        load(tmp_path, "[book]\ncapital = 0\n[[outage]]\nhours = -1")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml can't be read"):
        load_stress(tmp_path / "nowhere.toml")
