"""A feed that runs against a server on the loopback, and what its recording and state say. Used by the feed's tests.

The venue's times are shrunk by ``SCALE``: its silence limit of 3 s (Binance marks) becomes 0.15 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.feed.choice import adapters
from data.feed.feed import Feed, FeedOptions, FeedPlan
from data.feed.options import FeedTimes
from data.feed.reading import RecordingReader
from data.feed.replay import replay
from data.feed.segment import Kind
from data.streams.binance import Binance
from data.streams.bybit import Bybit
from data.streams.protocol import Channel, Subscription

SCALE = 0.05
TIMES = FeedTimes(
    open_seconds=1.0, close_seconds=0.1, first_wait_seconds=0.02, most_wait_seconds=0.2, good_seconds=0.5,
    check_seconds=0.01, rotate_share=0.5, overlap_seconds=0.5, tick_seconds=0.01, silence_scale=SCALE,
    late_seconds=5.0,
)  # fmt: skip
NOW = 1_790_000_000_000
MARKS = "binance:linear:BTCUSDT"
TICKER = "bybit:linear:BTCUSDT"


def binance_plan(url: str, channel: Channel = Channel.PERP, **limits: Any) -> FeedPlan:
    protocol = Binance(url, url)
    protocol.limits = replace(protocol.limits, **limits)
    return FeedPlan(protocol, protocol.routes([Subscription("linear", channel, ("BTCUSDT",))]), (_key("binance"),))


def bybit_plan(url: str) -> FeedPlan:
    protocol = Bybit(url)
    return FeedPlan(protocol, protocol.routes([Subscription("linear", Channel.PERP, ("BTCUSDT",))]), (_key("bybit"),))


def _key(venue: str) -> tuple[str, str, str]:
    return (venue, "linear", "BTCUSDT")


@asynccontextmanager
async def running(folder: Path, plan: FeedPlan, times: FeedTimes = TIMES) -> AsyncIterator[Feed]:
    """A feed that runs; afterwards it was stopped, and its recording replayed to the same state."""
    feed = Feed([plan], FeedOptions(folder / "out", seed=7, proxy=False, times=times))
    task = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        feed.stop()
        await asyncio.wait_for(task, 5.0)
    assert replay(RecordingReader(folder / "out"), adapters()).engine.fingerprint() == feed.engine.fingerprint()


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds; five seconds are far more than any of these needs."""
    async with asyncio.timeout(5.0):
        while not condition():
            await asyncio.sleep(0.005)


def recorded(folder: Path) -> list[bytes]:
    """Every frame of the recording, in order."""
    records = RecordingReader(folder / "out")
    return [frame for record in records if record.kind is Kind.FRAMES for frame in record.frames()]


def reasons(folder: Path) -> list[str]:
    """Why connections ended, by the recording."""
    notes = [record.note() for record in RecordingReader(folder / "out") if record.kind is Kind.NOTE]
    return [note["reason"] for note in notes if note["note"] == "closed"]


def field(feed: Feed, instrument: str, name: str) -> Any:
    """Value of a field, or None when it is stale or unknown."""
    held = feed.snapshot([instrument])["instruments"][instrument]["fields"].get(name)
    return None if held is None or held["stale"] else held["value"]


def is_stale(feed: Feed, instrument: str) -> bool:
    return bool(feed.snapshot([instrument])["instruments"][instrument]["stale"])
