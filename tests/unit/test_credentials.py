"""Keys: where they are found, which files are refused, and that they are shown nowhere."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path

import pytest

from crypto.errors import RefusedError
from data.credentials import find_credentials

KEY, SECRET = "kEy-0123456789", "sEcReT-9876543210"
ENVIRONMENT = {"CARRY_BINANCE_KEY": KEY, "CARRY_BINANCE_SECRET": SECRET}


def key_file(folder: Path, mode: int, text: str = f'[bybit]\nkey = "{KEY}"\nsecret = "{SECRET}"\n') -> Path:
    path = folder / "keys.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_environment_comes_first(tmp_path: Path) -> None:
    found = find_credentials("binance", ENVIRONMENT, key_file(tmp_path, 0o600))
    assert found is not None
    assert (found.key, found.secret, found.source) == (KEY, SECRET, "the environment")


def test_an_owner_only_file(tmp_path: Path) -> None:
    path = key_file(tmp_path, 0o600)
    for found in (find_credentials("bybit", {}, path), find_credentials("bybit", {"CARRY_CREDENTIALS": str(path)})):
        assert found is not None
        assert (found.key, found.secret) == (KEY, SECRET)
    assert find_credentials("binance", {}, path) is None
    assert find_credentials("binance", {}) is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601, 0o610, 0o777])
def test_a_file_that_others_have_rights_to_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(RefusedError, match=f"may be read by others \\(mode {mode:04o}\\)"):
        find_credentials("bybit", {}, key_file(tmp_path, mode))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'[bybit]\nkey = "{KEY}"\n', "lacks key or secret"),
        (f'[bybit]\nkey = "{KEY}"\nsecret = 5\n', "lacks key or secret"),
        (f"[bybit]\nkey = {SECRET}\n", "is not TOML"),
    ],
)
def test_a_malformed_file_is_named_without_its_content(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(RefusedError, match=words) as caught:
        find_credentials("bybit", {}, key_file(tmp_path, 0o600, text))
    shown = "".join(traceback.format_exception(caught.value))
    assert KEY not in shown.replace(text, "")
    assert SECRET not in shown


def test_half_a_pair_is_named(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="CARRY_BINANCE_SECRET is not set"):
        find_credentials("binance", {"CARRY_BINANCE_KEY": KEY})
    with pytest.raises(RefusedError, match="can't be read"):
        find_credentials("binance", {}, tmp_path / "absent.toml")


def test_nothing_shows_them() -> None:
    found = find_credentials("binance", ENVIRONMENT)
    shown = f"{found} {found!r} {[found]} {{'a': found}} {found!s}"
    assert KEY not in shown
    assert SECRET not in shown
    assert shown.startswith("Credentials(binance, from the environment)")
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(found)
