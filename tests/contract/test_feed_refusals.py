"""A venue that refuses: handshakes, subscriptions, single symbols. Times: ``feed_harness``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from data.feed.feed import FeedPlan
from data.streams.bybit import Bybit
from data.streams.protocol import Channel, Subscription
from tests.contract.feed_harness import (
    MARKS,
    NEVER_SILENT,
    TICKER,
    all_taken,
    binance_plan,
    bybit_plan,
    bybit_says,
    field,
    heal,
    is_stale,
    reasons,
    recorded,
    running,
    until,
    whole,
)
from tests.contract.feed_server import Act, Peer, Refuse, VenueServer


@pytest.mark.asyncio
async def test_an_unknown_symbol_is_left_out_and_stops_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Bybit refuses a whole request for one bad topic, and names it."""
    asked: list[list[str]] = []

    async def bybit(peer: Peer) -> None:
        request = await peer.hear()
        asked.append(request["args"])
        bad = [topic for topic in request["args"] if "NOPE" in topic]
        answer = {"success": not bad, "ret_msg": f"error:handler not found,topic:{bad[0]}" if bad else "",
                  "req_id": request["req_id"], "op": "subscribe", "conn_id": "c"}  # fmt: skip
        await peer.send(answer)
        if not bad:
            await peer.send(whole(1))
        await peer.stay()

    symbols = ("NOPEUSDT", "BTCUSDT", "NOPE2USDT")
    async with VenueServer(bybit) as venue:
        protocol = Bybit(venue.url)
        routes = protocol.routes([Subscription("linear", Channel.PERP, symbols)])
        plan = FeedPlan(protocol, routes, tuple(("bybit", "linear", symbol) for symbol in symbols))
        async with running(tmp_path, plan, NEVER_SILENT) as feed:
            await until(lambda: field(feed, TICKER, "mark") == 17_217.33)
            assert feed.status()["routes"][0]["left_out"] == ["NOPE2USDT", "NOPEUSDT"]
            assert feed.status()["never_heard"] == ["bybit:linear:NOPEUSDT", "bybit:linear:NOPE2USDT"]
            assert is_stale(feed, "bybit:linear:NOPEUSDT")
            await all_taken(venue, feed)
    assert asked == [
        ["tickers.NOPEUSDT", "tickers.BTCUSDT", "tickers.NOPE2USDT"],
        ["tickers.BTCUSDT", "tickers.NOPE2USDT"],
        ["tickers.BTCUSDT"],
    ]
    assert recorded(tmp_path) == venue.sent
    assert "NOPEUSDT left out, as the venue refuses it" in caplog.text


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


@pytest.mark.asyncio
async def test_a_subscription_that_is_refused_or_never_acknowledged_is_tried_again(tmp_path: Path) -> None:
    async def refuse(peer: Peer) -> None:
        asked = await peer.hear()
        await peer.send({"success": False, "ret_msg": "error:handler not found", "req_id": asked["req_id"],
                         "op": "subscribe", "conn_id": "c"})  # fmt: skip
        await peer.stay()

    async def never_answer(peer: Peer) -> None:
        await peer.hear()
        await peer.send(whole(1))
        await peer.stay()

    acts = (refuse, never_answer, bybit_says(whole(10_001)))
    async with VenueServer(*acts) as venue, running(tmp_path, bybit_plan(venue.url)) as feed:
        await until(lambda: len(venue.attempts) == 3)
        await until(lambda: field(feed, TICKER, "mark") == 17_217.33)
    assert reasons(tmp_path)[:2] == [
        "subscription refused: error:handler not found",
        "subscription not acknowledged within 1.5 s",
    ]
