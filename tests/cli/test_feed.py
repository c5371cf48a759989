"""``carry feed`` from the command line: runs, signals, restarts, replay, export, wrong flags, no secret anywhere."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from cli.app import run
from data.feed.lock import take_lock
from data.feed.reading import RecordingReader
from data.feed.recorder import Recorder, RecorderOptions
from data.feed.segment import Kind
from tests.conftest import ROOT
from tests.contract.feed_server import (
    Peer,
    VenueServer,
    binance_depth,
    binance_depth_answer,
    binance_mark,
    binance_top,
)

NOW = 1_790_000_000_000
SECRETS = {name: f"planted-{name.lower()}-9f3a" for name in ("CARRY_BINANCE_KEY", "CARRY_BINANCE_SECRET",
                                                             "CARRY_BYBIT_KEY", "CARRY_BYBIT_SECRET")}  # fmt: skip


async def numbered(peer: Peer) -> None:
    """Top of book with ids that go on over all connections, so that a lost or doubled frame shows."""
    is_mark = "market" in peer.path
    for number in range(100_000):
        content = (
            binance_mark("BTCUSDT", NOW + number, 60_000.0)
            if is_mark
            else binance_top("BTCUSDT", number, 60_000.0, NOW)
        )
        await peer.send(content)
        await asyncio.sleep(0.002)


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", "feed", *arguments, cwd=ROOT, env=os.environ | SECRETS,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def tops(folder: Path) -> list[int]:
    """Ids of the recorded tops of book, in order."""
    records = RecordingReader(folder)
    frames = [json.loads(frame) for record in records if record.kind is Kind.FRAMES for frame in record.frames()]
    return [frame["data"]["u"] for frame in frames if frame["data"]["e"] == "bookTicker"]


def rows(folder: Path) -> list[int]:
    """Times of all rows of Lean's files; each line is whole and has every column."""
    times = []
    for path in sorted(folder.rglob("*.csv")):
        content = path.read_text()
        assert content.endswith("\n")
        lines = [line.split(",") for line in content.splitlines()]
        assert {len(line) for line in lines} == {14}
        times += [int(line[0]) for line in lines]
    return times


@pytest.mark.asyncio
async def test_ctrl_c_ends_with_130_and_a_summary_and_a_second_run_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "feed"
    async with VenueServer(numbered) as venue:
        flags = ("--venue", "binance", "--symbol", "binance:linear:BTCUSDT", "--url", f"binance={venue.url}",
                 "--out", str(out), "--no-settled", "--row-seconds", "0.7")  # fmt: skip
        first = await start(*flags, "--json")
        await until(lambda: has_rows(out))
        first.send_signal(signal.SIGINT)
        printed, said = await first.communicate()
        assert first.returncode == 130, said.decode()
        summary = json.loads(printed)
        assert summary["interrupted"]
        assert summary["frames"] > 0
        assert summary["recording"]["segments"] == ["000000001.feed"]
        assert not (out / "feed.sock").exists()
        before = rows(out / "rows")
        ids = tops(out)
        assert ids == list(range(len(ids)))

        second = await start(*flags)
        await until(lambda: (out / "000000002.feed").exists() and has_rows(out, len(before)))
        second.send_signal(signal.SIGTERM)
        printed, said = await second.communicate()
        assert second.returncode == 0, said.decode()
    assert b"000000002.feed" in printed
    times = rows(out / "rows")
    assert times[: len(before)] == before
    assert all(later - earlier >= 700 for earlier, later in pairwise(before))
    assert times == sorted(set(times))
    for path in out.rglob("*"):
        if path.is_file():
            assert b"planted-" not in path.read_bytes()
    assert b"planted-" not in printed + said
    for headers in venue.sent_headers:
        assert "planted-" not in str(headers)


def has_rows(out: Path, more_than: int = 0) -> bool:
    """Whether so many rows were written; the last may be half-written at this moment."""
    return sum(path.read_text().count("\n") for path in (out / "rows").rglob("*.csv")) > more_than


CHILD = """
import asyncio, sys
from pathlib import Path
from data.feed.choice import make_plans
from data.feed.feed import Feed, FeedOptions
out, url = Path(sys.argv[1]), sys.argv[2]
async def main():
    plans = make_plans([], ["binance:linear:BTCUSDT"], ["linear"], {"binance": url})
    await Feed(plans, FeedOptions(out, out / "rows", 0.7, out / "s", proxy=False)).run()
asyncio.run(main())
"""


def has_more(folder: Path, segments: int) -> bool:
    """Whether there are more segments than these, and tops of book in the newest."""
    paths = sorted(folder.glob("*.feed"))
    return len(paths) > segments and b'"e": "bookTicker"' in paths[-1].read_bytes()


@pytest.mark.asyncio
async def test_kill_9_at_any_moment_leaves_a_readable_recording_and_a_restart_doubles_nothing(tmp_path: Path) -> None:
    chance = random.Random(5)  # noqa: S311 - moments of a test
    kept: list[int] = []
    out = tmp_path / "feed"
    for life in range(3):
        async with VenueServer(numbered) as venue:
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, str(out), venue.url, cwd=ROOT)
            await until(partial(has_more, out, life))
            await asyncio.sleep(chance.uniform(0.0, 0.5))
            child.kill()
            assert await child.wait() == -signal.SIGKILL
        held = tops(out)
        assert held[: len(kept)] == kept  # what was recorded before is still there
        new = held[len(kept) :]
        assert new == list(range(len(new)))  # and of this life everything up to the kill, once, in order
        kept = held
    times = rows(out / "rows") if (out / "rows").exists() else []
    assert times == sorted(set(times))
    assert len(list(out.glob("*.feed"))) == 3


async def connected(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The feed's socket, as soon as it listens."""
    async with asyncio.timeout(120.0):
        while True:
            try:
                return await asyncio.open_unix_connection(path)
            except OSError:
                await asyncio.sleep(0.02)


@pytest.mark.asyncio
async def test_books_are_kept_recorded_and_replayed(tmp_path: Path) -> None:
    out = tmp_path / "feed"
    answer = binance_depth_answer(100, {99.0: 1.0, 98.0: 2.0, 97.0: 3.0}, {101.0: 1.0})

    async def depth(request: web.Request) -> web.Response:
        assert request.path == "/fapi/v1/depth"
        return web.json_response(answer)

    async def books(peer: Peer) -> None:
        if "market" not in peer.path:
            assert peer.path == "/public/stream?streams=btcusdt@bookTicker/btcusdt@depth@100ms"
            await peer.send(binance_depth(95, 105, 94, {99.5: 4.0}, {}))
        await peer.stay()

    app = web.Application()
    app.router.add_get("/{path:.*}", depth)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with VenueServer(books) as venue:
        feed = await start(
            "--venue", "binance", "--symbol", "binance:linear:BTCUSDT", "--url", f"binance={venue.url}", "--book", "2",
            "--rest-url", f"binance=http://127.0.0.1:{runner.addresses[0][1]}", "--out", str(out), "--no-settled",
            "--json",
        )  # fmt: skip
        reader, writer = await connected(out / "feed.sock")
        book: dict[str, Any] = {"stale": True}
        async with asyncio.timeout(120.0):
            while book["stale"]:
                writer.write(b'{"get": "snapshot"}\n')
                instruments = json.loads(await reader.readline())["instruments"]
                book = instruments["binance:linear:BTCUSDT"]["book"]
                await asyncio.sleep(0.05)
        writer.close()
        feed.send_signal(signal.SIGTERM)
        printed, said = await feed.communicate()
    await runner.cleanup()
    assert feed.returncode == 0, said.decode()
    assert (book["sequence"], book["bids"], book["asks"]) == (105, [[99.5, 4.0], [99.0, 1.0]], [[101.0, 1.0]])
    summary = json.loads(printed)
    assert summary["books"]["updates"] == {"needs-snapshot": 1, "applied": 1}
    again = await start("replay", str(out), "--json")
    printed, _ = await again.communicate()
    assert json.loads(printed)["state"] == summary["state"]


def test_replay_and_export_of_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "feed"

    async def three_minutes(peer: Peer) -> None:
        if "market" not in peer.path:
            await peer.stay()
            return
        start_ms = 1_790_000_040_000  # a full minute
        prices = [100.0 + second % 7 for second in range(181)]
        await peer.send(
            *(binance_mark("BTCUSDT", start_ms + 1000 * at, price) for at, price in enumerate(prices)),
        )
        await peer.stay()

    async def record() -> None:
        async with VenueServer(three_minutes) as venue:
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, str(out), venue.url, cwd=ROOT)
            await until(lambda: list(out.glob("*.feed")) and len(marks(out)) == 181)
            child.kill()
            await child.wait()

    asyncio.run(record())
    assert run(["feed", "replay", str(out), "--json"]) == 0
    replayed = json.loads(capsys.readouterr().out)
    held = replayed["instruments"]["binance:linear:BTCUSDT"]["fields"]
    assert (replayed["frames"], held["mark"]["value"]) == (181, 100.0 + 180 % 7)
    assert run(["feed", "replay", str(out / "000000001.feed")]) == 0
    assert replayed["state"] in capsys.readouterr().out

    lake = tmp_path / "lake"
    assert run(["feed", "export", str(out), "--lake", str(lake), "--json"]) == 0
    series = {part["series"]: part for part in json.loads(capsys.readouterr().out)["series"]}
    assert set(series) == {"binance:linear:BTCUSDT mark 1m", "binance:linear:BTCUSDT index 1m"}
    assert series["binance:linear:BTCUSDT mark 1m"]["added"] == 3
    assert run(["feed", "export", str(out), "--lake", str(lake), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["series"]
    assert {(part["added"], part["identical"]) for part in again} == {(0, 3)}


def marks(folder: Path) -> list[dict[str, Any]]:
    records = RecordingReader(folder)
    return [json.loads(frame) for record in records if record.kind is Kind.FRAMES for frame in record.frames()]


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["--venue", "binanse"], "unknown venue 'binanse'; did you mean binance?", 2),
        (["--venue", "bybit"], "bybit has no stream for all perpetuals", 2),
        (["--symbol", "binance:perp:BTCUSDT"], "binance has no perp feed", 2),
        (["--symbol", "binance:BTCUSDT"], "is not venue:kind:SYMBOL", 2),
        (["--symbol", "BTCUSDT", "--kind", "future"], "--kind 'future' is unknown", 2),
        (["--symbol", "BTCUSDT", "--url", "localhost:9"], "--url 'localhost:9' is not venue=ws://host:port", 2),
        (["--venue", "bybit", "--symbol", "BTCUSDT", "--url", "okx=ws://localhost:9"], "okx is not asked for", 2),
        (["--symbol", "BTC/USDT"], "symbol 'BTC/USDT' of binance is no symbol of ours", 2),
        (["--venue", "binance", "--url", "binance=ws://127.0.0.1:99999"], "is no address: Port out of range", 2),
        (["--venue", "binance", "--url", "binance=ws://ho..st"], "is no address", 2),
        (["--venue", "binance", "--book", "5"], "--book needs instruments", 2),
        (["--venue", "okx", "--symbol", "BTCUSDT", "--book", "5"], "--book: books of okx are not kept", 2),
        (
            ["--symbol", "BTCUSDT", "--rest-url", "binance=ws://x:1"],
            "--rest-url 'binance=ws://x:1' is not venue=http",
            2,
        ),
        (["--symbol", "BTCUSDT", "--rest-url", "bybti=http://x:1"], "--rest-url bybti=...: bybti is not asked for", 2),
        (["--venue", "binance", "--url", "binance=ws://"], "is no scheme, host and port", 2),
        (["--venue", "binance", "--url", "binance=ws://me:planted@host"], "holds a name or password", 2),
        (["replay", "no-such-folder"], "no-such-folder does not exist", 4),
        (["replay", "README.md"], "README.md is not a segment of a feed recording", 4),
        (["export", "docs"], "docs holds no segment", 4),
    ],
)
def test_what_is_wrong_is_named(
    arguments: list[str], message: str, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert run(["feed", *arguments, "--json"]) == code
    answer = json.loads(capsys.readouterr().out)
    assert message in answer["error"]
    assert answer["remedy"]
    assert "planted" not in str(answer)


@pytest.mark.parametrize("proxy", ["foo://me:planted-pw@127.0.0.1:1", "socks5://me:planted-pw@127.0.0.1:1"])
def test_a_proxy_that_cannot_be_used_is_said_without_its_password(
    proxy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    flags = ["--symbol", "binance:linear:BTCUSDT", "--venue", "binance", "--out", str(tmp_path), "--no-settled"]
    assert run(["feed", *flags, "--duration", "5", "--json"]) == 2
    said = capsys.readouterr()
    assert "the proxy that the environment names can't be used" in json.loads(said.out)["error"]
    assert "planted-pw" not in said.out + said.err
    assert all(b"planted-pw" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_rows_folder_that_another_feed_writes_into_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = take_lock(tmp_path / "rows", "writes rows into", "--rows")
    flags = ["--venue", "binance", "--out", str(tmp_path / "other"), "--rows", str(tmp_path / "rows")]
    assert run(["feed", *flags, "--no-settled", "--json"]) == 6
    os.close(lock)
    assert "another feed writes rows into" in json.loads(capsys.readouterr().out)["error"]


def test_nothing_received_is_an_error_that_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as bound:  # bound and not listening: every connection is refused
        bound.bind(("127.0.0.1", 0))
        url = f"binance=ws://127.0.0.1:{bound.getsockname()[1]}"
        flags = ["--symbol", "binance:linear:BTCUSDT", "--venue", "binance", "--url", url, "--out", str(tmp_path)]
        assert run(["feed", *flags, "--duration", "3", "--no-settled", "--json"]) == 4
    answer = json.loads(capsys.readouterr().out)
    assert "nothing was received from any venue: binance linear-market-0: cannot connect" in answer["error"]
    assert answer["remedy"]
    assert run(["feed", "replay", str(tmp_path), "--json"]) == 0  # what was tried is kept


def test_a_folder_that_another_feed_records_into_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder(tmp_path, RecorderOptions(), list)
    assert run(["feed", "--venue", "binance", "--out", str(tmp_path), "--no-settled", "--json"]) == 6
    recorder.close()
    assert "another feed records into" in json.loads(capsys.readouterr().out)["error"]
