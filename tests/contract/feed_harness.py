"""A feed that runs against a server on the loopback, and what its recording and state say. Used by the feed's tests.

The venue's times are shrunk by ``SCALE``: its silence limit of 3 s (Binance marks) becomes 0.9 s, which a venue here
that speaks every 20 ms keeps even where the machine gives this process a twentieth of its time. Tests wait for
conditions, and give up after ``PATIENCE`` seconds only.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from data.feed.book_sync import BookReader
from data.feed.choice import adapters
from data.feed.clock import FeedClock
from data.feed.feed import Feed, FeedOptions, FeedPlan
from data.feed.options import FeedTimes
from data.feed.reading import RecordingReader
from data.feed.recorder import RecorderOptions
from data.feed.replay import replay
from data.feed.segment import Kind
from data.streams.binance import Binance
from data.streams.bybit import Bybit
from data.streams.protocol import Channel, Subscription
from tests.contract.feed_server import BYBIT_WHOLE, Act, Peer, VenueServer, binance_mark, bybit_ticker

SCALE = 0.3
TIMES = FeedTimes(
    open_seconds=30.0, close_seconds=5.0, first_wait_seconds=0.02, most_wait_seconds=0.2, good_seconds=30.0,
    check_seconds=0.01, rotate_share=0.5, overlap_seconds=30.0, tick_seconds=0.01, silence_scale=SCALE,
    late_seconds=5.0,
)  # fmt: skip
NEVER_SILENT = replace(TIMES, silence_scale=100.0)  # for tests in which no silence is to end a connection
PATIENCE = 60.0
NOW = 1_790_000_000_000
MARKS = "binance:linear:BTCUSDT"
TICKER = "bybit:linear:BTCUSDT"


def binance_plan(url: str, channel: Channel = Channel.PERP, **limits: Any) -> FeedPlan:
    protocol = Binance(url, url)
    protocol.limits = replace(protocol.limits, **limits)
    return FeedPlan(protocol, protocol.routes([Subscription("linear", channel, ("BTCUSDT",))]), (_key("binance"),))


def bybit_plan(url: str, channel: Channel = Channel.PERP) -> FeedPlan:
    protocol = Bybit(url)
    return FeedPlan(protocol, protocol.routes([Subscription("linear", channel, ("BTCUSDT",))]), (_key("bybit"),))


def _key(venue: str) -> tuple[str, str, str]:
    return (venue, "linear", "BTCUSDT")


@asynccontextmanager
async def running(
    folder: Path,
    plan: FeedPlan,
    times: FeedTimes = TIMES,
    clock: FeedClock | None = None,
    socket: Path | None = None,
    books: BookReader | None = None,
    segment_bytes: int = 1 << 20,
) -> AsyncIterator[Feed]:
    """A feed that runs; afterwards it was stopped, and its recording replayed to the same state."""
    options = FeedOptions(
        folder / "out", seed=7, proxy=False, times=times, socket=socket, book_levels=3,
        recorder=RecorderOptions(segment_bytes=segment_bytes),
    )  # fmt: skip
    feed = Feed([plan], options, clock=clock, book_reader=books)
    task = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        feed.stop()
        await asyncio.wait_for(task, PATIENCE)
    assert replay(RecordingReader(folder / "out"), adapters()).engine.fingerprint() == feed.engine.fingerprint()


async def until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds. What follows before the next ``await`` sees the moment at which it did."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


async def all_taken(venue: VenueServer, feed: Feed) -> None:
    """Have the venue say nothing more, and wait until the feed has all that it said: then nothing is on its way."""
    venue.hush()
    await until(lambda: feed.engine.counts.frames == len(venue.sent))


async def hear(reader: asyncio.StreamReader, wanted: Callable[[Any], object]) -> Any:
    """The next line of the feed's socket that is wanted."""
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = json.loads(await reader.readline())
            if wanted(answer):
                return answer


async def heal(peer: Peer) -> None:
    """A good Binance connection: a mark every 20 ms until the client goes."""
    for number in range(10_000):
        await peer.send(binance_mark("BTCUSDT", NOW + 1_000_000 + number, 70_000.0))
        await asyncio.sleep(0.02)


def whole(sequence: int, **changes: str) -> dict[str, Any]:
    return bybit_ticker("BTCUSDT", "snapshot", NOW + sequence, sequence, **(dict(BYBIT_WHOLE) | changes))


def delta(sequence: int, **data: str) -> dict[str, Any]:
    return bybit_ticker("BTCUSDT", "delta", NOW + sequence, sequence, **data)


def bybit_says(*frames: Any) -> Act:
    async def act(peer: Peer) -> None:
        await peer.acknowledge()
        await peer.send(*frames)
        await peer.stay()

    return act


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
