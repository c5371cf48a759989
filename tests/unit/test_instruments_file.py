"""Files of instrument filters: what is taken from them, and what is refused."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from crypto.errors import SettingsError
from data.instruments_file import read_instruments
from data.settings import load_settings

TABLE = """[instruments."binance:linear:WIFUSDT"]
base = "WIF"
quote = "USDT"
tick = "0.0001"
lot = "0.1"
min_quantity = "0.1"
min_notional = "5"
"""
CONFIG = """[wallets."binance:spot"]
USDT = 1000
[[pairs]]
spot = "binance:spot:BTCUSDT"
perp = "binance:linear:BTCUSDT"
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_only_what_is_wanted(tmp_path: Path) -> None:
    path = write(tmp_path, "markets.toml", TABLE + TABLE.replace("WIFUSDT", "TIAUSDT"))
    found = read_instruments(path, {"binance:linear:WIFUSDT", "binance:linear:XUSDT"})
    assert list(found) == ["binance:linear:WIFUSDT"]
    assert found["binance:linear:WIFUSDT"]["lot"] == "0.1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tick = ", "is not valid TOML"),
        ("[run]\n", "holds something else"),
        ("instruments = 5", "holds something else"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"markets.toml {words}"):
        read_instruments(write(tmp_path, "markets.toml", text), set())
    with pytest.raises(SettingsError, match=r"absent.toml can't be read"):
        read_instruments(tmp_path / "absent.toml", set())


def test_the_settings_own_table_wins_and_others_are_left_out(tmp_path: Path) -> None:
    table = TABLE.replace("WIFUSDT", "BTCUSDT").replace("WIF", "BTC")
    first = write(tmp_path, "a.toml", table + TABLE)
    second = write(tmp_path, "b.toml", table.replace('lot = "0.1"', 'lot = "0.05"'))
    plain = load_settings(write(tmp_path, "run.toml", CONFIG), instruments=[first, second])
    assert {key: item.lot for key, item in plain.instruments.items()} == {"binance:linear:BTCUSDT": Decimal("0.05")}
    own = '[instruments."binance:linear:BTCUSDT"]\nlot = 0.001\n'
    mine = load_settings(write(tmp_path, "own.toml", CONFIG + own), instruments=[first, second])
    assert mine.instruments["binance:linear:BTCUSDT"].lot == Decimal("0.001")
