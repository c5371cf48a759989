"""Frames that a venue really sent, through a socket and a whole feed: none is lost, the last top of book is held."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from data.feed.feed import FeedPlan
from data.streams.binance import Binance
from data.streams.protocol import Channel, Subscription
from tests.contract.feed_harness import MARKS, TIMES, binance_plan, recorded, running, until
from tests.contract.feed_server import Peer, VenueServer
from tests.contract.test_feed_books import Depth, reading

FRAMES = 5000


@pytest.mark.asyncio
async def test_five_thousand_recorded_frames_of_binance(tmp_path: Path, shared_data: Path) -> None:
    path = shared_data / "binance-raw-ws-20240808-hftbacktest" / "usdm_btcusdt_20240808.gz"
    with gzip.open(path, "rb") as file:
        frames = [line.split(b" ", 1)[1].strip() for line in islice(file, FRAMES)]
    messages = [json.loads(frame) for frame in frames]
    tops = [message["data"] for message in messages if message.get("data", {}).get("e") == "bookTicker"]
    last = max(tops, key=lambda top: top["u"])

    async def play(peer: Peer) -> None:
        await peer.send(*frames)
        await peer.stay()

    times = replace(TIMES, silence_scale=1.0, late_seconds=1e12)  # sent faster than they came in 2024
    async with VenueServer(play) as venue, running(tmp_path, binance_plan(venue.url, Channel.TOP), times) as feed:
        await until(lambda: feed.engine.counts.frames == FRAMES)
        held = feed.snapshot([MARKS])["instruments"][MARKS]["fields"]
        assert feed.status()["garbage_frames"] == 0
        assert [held[name]["value"] for name in ("bid", "bid_quantity", "ask", "ask_quantity")] == [
            float(last[name]) for name in ("b", "B", "a", "A")
        ]
    assert recorded(tmp_path) == frames


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("file", "kind", "path"), [("usdm", "linear", "/fapi/v1/depth"), ("spot", "spot", "/api/v3/depth")]
)
async def test_the_book_of_recorded_changes_and_their_snapshot_ends_at_the_venues_own_best_prices(
    tmp_path: Path, shared_data: Path, file: str, kind: str, path: str
) -> None:
    with gzip.open(shared_data / "binance-raw-ws-20240808-hftbacktest" / f"{file}_btcusdt_20240808.gz", "rb") as lines:
        played = [line.split(b" ", 1)[1].strip() for line in islice(lines, FRAMES)]
    (snapshot,) = [json.loads(frame) for frame in played if frame.startswith(b'{"lastUpdateId"')]
    frames = [frame for frame in played if not frame.startswith(b'{"lastUpdateId"')]
    messages = [json.loads(frame)["data"] for frame in frames]
    last_id = [message["u"] for message in messages if message.get("e") == "depthUpdate"][-1]
    # A best price is published with each change: the last one up to the book's number holds at that number.
    best = [message for message in messages if "B" in message and message["u"] <= last_id][-1]

    async def play(peer: Peer) -> None:
        await peer.send(*frames)
        await peer.stay()

    name, times = f"binance:{kind}:BTCUSDT", replace(TIMES, silence_scale=1.0, late_seconds=1e12)
    async with VenueServer(play) as venue, reading(Depth(snapshot)) as books:
        protocol = Binance(venue.url, venue.url)
        routes = protocol.routes([Subscription(kind, Channel.BOOK, ("BTCUSDT",))])
        plan = FeedPlan(protocol, routes, (("binance", kind, "BTCUSDT"),))
        async with running(tmp_path, plan, times, books=books) as feed:
            await until(lambda: feed.engine.counts.frames == len(frames) and not feed.status()["books"]["stale"])
            held = feed.snapshot([name])["instruments"][name]["book"]
            assert held["sequence"] == last_id
            assert [held["bids"][0], held["asks"][0]] == [
                (float(best["b"]), float(best["B"])), (float(best["a"]), float(best["A"])),
            ]  # fmt: skip
            assert "gap" not in feed.status()["books"]["updates"]
    assert recorded(tmp_path) == frames
