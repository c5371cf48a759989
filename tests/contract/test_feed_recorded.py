"""Frames that a venue really sent, through a socket and a whole feed: none is lost, the last top of book is held."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from data.streams.protocol import Channel
from tests.contract.feed_harness import MARKS, TIMES, binance_plan, recorded, running, until
from tests.contract.feed_server import Peer, VenueServer

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
