"""Keys are given to every command, and looked for in all that was printed, logged and written: they are nowhere."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.command import Outcome, run
from tests.conftest import ROOT
from tests.contract.fake_venue import DAY, HOUR, T0, FakeVenue, every, serving

KEY, SECRET = "kEy-planted-0123456789", "sEcReT-planted-9876543210"
FILE_KEY, FILE_SECRET = "kEy-of-a-file-2468013579", "sEcReT-of-a-file-9753108642"
PLANTED = (KEY, SECRET, FILE_KEY, FILE_SECRET, "signature=", "X-MBX-APIKEY", "X-BAPI-SIGN")
LAKE = ROOT / "data" / "sample" / "lake"
ASKED = ("--from", "2024-01-01", "--to", "2024-02-01")


@pytest.fixture
def venue() -> Iterator[FakeVenue]:
    with serving(FakeVenue()) as running:
        running.markets["BTCUSDT"].settlements = every(8 * HOUR, T0, 300)
        running.markets["BTCUSDT"].borrow = [(T0 + n * DAY, "0.00024") for n in range(31)]
        yield running


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Keys of Binance in the environment, of Bybit in a file outside of the folder in which commands work."""
    path = tmp_path / "keys.toml"
    path.write_text(f'[bybit]\nkey = "{FILE_KEY}"\nsecret = "{FILE_SECRET}"\n')
    path.chmod(0o600)
    for name, value in (("BINANCE_KEY", KEY), ("BINANCE_SECRET", SECRET), ("CREDENTIALS", str(path))):
        monkeypatch.setenv(f"CARRY_{name}", value)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return path


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, keys: Path) -> Iterator[list[Outcome]]:
    """What commands came to. At the end nothing of them, of the log and of the files may hold a secret."""
    caplog.set_level(logging.DEBUG)
    outcomes: list[Outcome] = []
    yield outcomes
    words = "\n".join(outcome.out + outcome.err for outcome in outcomes)
    # The server's own log is in the same process, and has the addresses that it was called by.
    logged = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("aiohttp"))
    for secret in PLANTED:
        assert secret not in words
        assert secret not in logged
        for name, text in contents(Path.cwd()).items():
            assert secret not in text, name


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder as text; Parquet, which is compressed, unpacked as well."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            text = path.read_bytes().decode("latin-1")
            if path.suffix == ".parquet":
                table = pq.read_table(path)
                text += f"{table.schema.metadata}{table.to_pydict()}"
            found[str(path.relative_to(folder))] = text
    return found


def test_fetching(
    capsys: pytest.CaptureFixture[str], venue: FakeVenue, shown: list[Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    def fetch(series: str, name: str, *arguments: object) -> int:
        shown.append(run(capsys, "fetch", series, "--venue", name, "--base-url", venue.base, *arguments))
        return shown[-1].code

    for name in ("binance", "bybit"):
        assert fetch("borrow", name, "--symbol", "USDT", *ASKED, "--json") == 0
        assert fetch("funding", name, "--symbol", "BTCUSDT", "--symbol", "NOPE", *ASKED) == 4
        assert fetch("tiers", name, "--symbol", "BTCUSDT") == 0
        assert fetch("markets", name) == 0
    signed = [query for path, query in venue.requests if "interestRateHistory" in path]
    assert signed
    assert all(query["signature"] for query in signed)  # the key was used
    venue.key_refused = True
    for name in ("binance", "bybit"):
        assert fetch("borrow", name, "--symbol", "BTC", *ASKED) == 4
    assert fetch("tiers", "binance") == 4
    venue.key_refused = False
    venue._binance_signed = lambda _, query: {"code": -1100, "msg": f"illegal: {KEY} {SECRET} in {query['asset']}"}
    assert fetch("borrow", "binance", "--symbol", "ETH", *ASKED, "--json") == 4
    assert "illegal: *** ***" in shown[-1].json["series"][0]["error"]["message"]
    venue.clock_offset_ms = 600_000
    assert fetch("borrow", "binance", "--symbol", "ETH", *ASKED) == 4
    venue.clock_offset_ms = 0
    venue.always["interestRateHistory"] = "418"
    assert fetch("borrow", "binance", "--symbol", "SOL", *ASKED) == 4
    assert {"binance.bans.json", "binance.spent.json"} <= {path.name for path in Path("data/lake/.fetch").iterdir()}
    assert caplog.records


def test_bad_key_files(capsys: pytest.CaptureFixture[str], venue: FakeVenue, shown: list[Outcome], keys: Path) -> None:
    asked = ("fetch", "borrow", "--venue", "bybit", "--symbol", "USDT", *ASKED, "--base-url", venue.base)
    keys.chmod(0o644)
    shown.append(run(capsys, *asked))
    keys.chmod(0o600)
    for text in (f"[bybit]\nkey = {FILE_KEY}\n", f'[bybit]\nkey = "{FILE_KEY}"\n', f'bybit = "{FILE_SECRET}"\n'):
        keys.write_text(text)
        shown.append(run(capsys, *asked, "--json"))
    assert [outcome.code for outcome in shown] == [6, 6, 6, 6]


def test_everything_else(
    capsys: pytest.CaptureFixture[str], shown: list[Outcome], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="numba")  # it logs each byte that it compiles

    def carry(*arguments: object) -> int:
        shown.append(run(capsys, *arguments))
        return shown[-1].code

    with socket.socket() as bound:  # bound and not listening: every connection is refused
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        flags = ("--url", f"binance=ws://{address}", "--rest-url", f"binance=http://{address}", "--out", "feed")
        assert carry("feed", "--venue", "binance", "--symbol", "BTCUSDT", *flags, "--duration", 1) == 4
    assert carry("feed", "replay", "feed", "--json") == 0
    short = ("--start", "2024-01-01", "--end", "2024-01-10")
    assert carry("backtest", *short, "--out", "results") == 0
    assert carry("funding", "report", "--lake", LAKE, "--out", "study") == 0
    assert carry("data", "check", "--lake", LAKE) in (0, 4)
    assert carry("venues", "--json") == 0
    assert carry("oracle", "show", "--asset", "BTC", "--snapshot", "feed/feed.sock") != 0
    names = {Path(name).name for name in contents(Path.cwd())}
    assert names >= {"000000001.feed", "journal.jsonl", "result.json", "report.html", "ledger.parquet"}
