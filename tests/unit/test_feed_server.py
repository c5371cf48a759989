"""Snapshots over a Unix socket: requests, streams, clients that do not read, files that a killed feed left."""

from __future__ import annotations

import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from crypto.errors import OutputError, RefusedError
from data.feed.server import SnapshotServer


class Board:
    """What is served: a number per instrument, and padding that fills socket buffers quickly."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {"a": 1, "b": 2}
        self.padding = ""

    def describe(self, wanted: Collection[str] | None) -> dict[str, Any]:
        names = self.values if wanted is None else wanted
        return {"instruments": {name: self.values[name] for name in names if name in self.values}, "pad": self.padding}


@asynccontextmanager
async def serving(tmp_path: Path, board: Board) -> AsyncIterator[SnapshotServer]:
    server = SnapshotServer(tmp_path / "s", board.describe, lambda: {"up": True}, push_seconds=0.0)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class Client:
    """A program that asks; ``async with`` closes it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_unix_connection(self.path, limit=1 << 20)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)

    async def ask(self, request: str) -> None:
        self.writer.write(request.encode() + b"\n")
        await self.writer.drain()

    async def hear(self) -> dict[str, Any]:
        line = await asyncio.wait_for(self.reader.readline(), 60.0)
        answer: dict[str, Any] = json.loads(line)
        return answer


@pytest.mark.asyncio
async def test_a_snapshot_of_all_or_of_some(tmp_path: Path) -> None:
    async with serving(tmp_path, Board()) as server, Client(server.path) as client:
        await client.ask('{"get": "snapshot"}')
        assert (await client.hear())["instruments"] == {"a": 1, "b": 2}
        await client.ask('{"get": "snapshot", "instruments": ["b", "unheard-of"]}')
        assert (await client.hear())["instruments"] == {"b": 2}
        await client.ask('{"get": "status"}')
        assert await client.hear() == {"up": True}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "request_line", ["nonsense", "[1]", '{"get": "all"}', '{"get": "snapshot", "symbol": "a"}', '{"get": 5}', "{}"]
)
async def test_a_wrong_request_gets_a_reason_and_the_next_one_an_answer(tmp_path: Path, request_line: str) -> None:
    async with serving(tmp_path, Board()) as server, Client(server.path) as client:
        await client.ask(request_line)
        answer = await client.hear()
        assert answer["error"]
        assert answer["remedy"]
        await client.ask('{"get": "status"}')
        assert await client.hear() == {"up": True}


@pytest.mark.asyncio
async def test_a_stream_begins_whole_and_then_brings_what_changed(tmp_path: Path) -> None:
    board = Board()
    async with serving(tmp_path, board) as server, Client(server.path) as client:
        await client.ask('{"get": "stream", "instruments": ["a"]}')
        assert (await client.hear())["instruments"] == {"a": 1}
        board.values |= {"a": 7, "b": 8}
        server.publish(["a", "b"])
        update = await client.hear()
        assert (update["instruments"], update["dropped"]) == ({"a": 7}, 0)


@pytest.mark.asyncio
async def test_a_client_that_does_not_read_gets_the_newest_and_the_count_of_what_it_missed(tmp_path: Path) -> None:
    board = Board()
    async with serving(tmp_path, board) as server, Client(server.path) as slow, Client(server.path) as quick:
        board.padding = "x" * 300_000  # more than the socket's buffers take
        await slow.ask('{"get": "stream", "instruments": ["a"]}')
        async with asyncio.timeout(60.0):
            while not server.has_subscribers:
                await asyncio.sleep(0.001)
        await quick.ask('{"get": "snapshot", "instruments": ["a"]}')
        assert (await quick.hear())["instruments"] == {"a": 1}
        for value in range(2, 1002):
            board.values["a"] = value
            server.publish(["a"])  # never waits for the slow client
            if value % 100 == 0:
                await asyncio.sleep(0)
        await quick.ask('{"get": "snapshot", "instruments": ["a"]}')
        assert (await quick.hear())["instruments"] == {"a": 1001}

        taken, dropped, last = 0, 0, 0
        while last != 1001:
            update = await slow.hear()
            last = update["instruments"]["a"]
            dropped += update["dropped"]
            taken += 1
        assert dropped + taken - 1 == 1000  # the first one is the snapshot
        assert dropped > 900


@pytest.mark.asyncio
async def test_a_client_that_leaves_is_forgotten(tmp_path: Path) -> None:
    board = Board()
    async with serving(tmp_path, board) as server:
        async with Client(server.path) as client:
            await client.ask('{"get": "stream"}')
            await client.hear()
            assert server.clients == 1
        async with asyncio.timeout(60.0):
            while server.clients:
                await asyncio.sleep(0.001)
        server.publish(["a"])


@pytest.mark.asyncio
async def test_a_socket_file_that_was_left_is_replaced_and_only_the_owner_may_connect(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "s"))
    left.close()  # as after a kill: the file stays
    async with serving(tmp_path, Board()) as server:
        mode = server.path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) & 0o077 == 0
    assert not (tmp_path / "s").exists()


@pytest.mark.asyncio
async def test_a_path_that_is_too_long_for_a_socket_is_refused_with_what_to_do(tmp_path: Path) -> None:
    server = SnapshotServer(tmp_path / ("x" * 120), Board().describe, dict)
    with pytest.raises(OutputError, match="too long for a Unix socket"):
        await server.start()


@pytest.mark.asyncio
async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(OutputError, match=r"notes\.txt is there and is no socket"):
        await SnapshotServer(path, Board().describe, dict).start()
    assert path.read_text() == "mine"


@pytest.mark.asyncio
async def test_a_socket_that_another_feed_answers_is_left_to_it(tmp_path: Path) -> None:
    async with serving(tmp_path, Board()):
        with pytest.raises(RefusedError, match="another process serves"):
            await SnapshotServer(tmp_path / "s", Board().describe, dict).start()
        async with Client(tmp_path / "s") as client:
            await client.ask('{"get": "status"}')
            assert await client.hear() == {"up": True}


@pytest.mark.asyncio
async def test_clients_beyond_the_limit_are_told_so_and_the_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data.feed.server.MOST_CLIENTS", 2)
    async with (
        serving(tmp_path, Board()) as server,
        Client(tmp_path / "s") as first,
        Client(tmp_path / "s") as second,
    ):
        for client in (first, second):
            await client.ask('{"get": "status"}')
            await client.hear()
        async with Client(tmp_path / "s") as third:
            assert (await third.hear())["error"] == "2 clients are connected already"
            assert await third.reader.read() == b""
        assert server.clients == 2
        await first.ask('{"get": "status"}')
        assert await first.hear() == {"up": True}
