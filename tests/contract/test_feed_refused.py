"""A venue that does not let a feed in, on the loopback: refused handshakes, dead names, nobody there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.contract.feed_harness import (
    MARKS,
    binance_plan,
    field,
    heal,
    is_stale,
    reasons,
    running,
    until,
)
from tests.contract.feed_server import (
    Act,
    Refuse,
    VenueServer,
)


@pytest.mark.asyncio
async def test_handshake_429_waits_as_long_as_the_venue_says(tmp_path: Path) -> None:
    acts = (Refuse(429, {"Retry-After": "1"}), heal)
    async with VenueServer(*acts) as venue, running(tmp_path, binance_plan(venue.url)) as feed:
        assert is_stale(feed, MARKS)
        await until(lambda: field(feed, MARKS, "mark") == 70_000.0)
        first, second = venue.attempts
        assert second - first >= 1.0
    assert reasons(tmp_path)[0] == "handshake answered with HTTP 429"


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [403, 418, 500, 503])
async def test_other_refusals_are_tried_again_with_growing_waits(tmp_path: Path, status: int) -> None:
    acts: Sequence[Act] = (Refuse(status), Refuse(status), Refuse(status), heal)
    async with VenueServer(*acts) as venue, running(tmp_path, binance_plan(venue.url)) as feed:
        await until(lambda: field(feed, MARKS, "mark") == 70_000.0)
        assert len(venue.attempts) == 4
    assert set(reasons(tmp_path)[:3]) == {f"handshake answered with HTTP {status}"}


@pytest.mark.asyncio
async def test_dns_failure_is_a_reason_and_heals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = socket.getaddrinfo, []

    def resolve(host: Any, *rest: Any, **options: Any) -> Any:
        if host != "venue.invalid":
            return real(host, *rest, **options)
        asked.append(host)
        if len(asked) < 3:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real("127.0.0.1", *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with VenueServer(heal) as venue:
        plan = binance_plan(f"ws://venue.invalid:{venue.port}")
        async with running(tmp_path, plan) as feed:
            assert is_stale(feed, MARKS)
            await until(lambda: field(feed, MARKS, "mark") == 70_000.0)
    assert len(asked) == 3
    assert reasons(tmp_path)[0] == "cannot connect: Name or service not known"


@pytest.mark.asyncio
async def test_nobody_listening_is_a_reason(tmp_path: Path) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{bound.getsockname()[1]}"
        async with running(tmp_path, binance_plan(url)) as feed:
            await until(lambda: feed.supervisors[0].attempts >= 3)
            assert is_stale(feed, MARKS)
    assert reasons(tmp_path)[0].startswith("cannot connect: ")


@pytest.mark.asyncio
@pytest.mark.parametrize("value", ["Wed, 21 Oct 99999999999 07:28:00 GMT", "1\r\nRetry-After: 2"])
async def test_a_retry_after_that_is_nonsense_or_stands_twice_does_not_end_the_feed(tmp_path: Path, value: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 429 No\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with running(tmp_path, binance_plan(url)):
        await until(lambda: "handshake answered with HTTP 429" in reasons(tmp_path))
    server.close()
    await server.wait_closed()
