"""A feed end to end against a bare receive loop of the same library, with the same frames over the loopback."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from bench.comparison import Comparison, Direction
from bench.equality import require_same
from bench.feed_venue import make_frames
from bench.measure import Timing, cpu_seconds, in_turns, timed
from data.feed.choice import adapters
from data.feed.feed import Feed, FeedOptions, FeedPlan
from data.feed.reading import RecordingReader
from data.feed.replay import replay
from data.feed.segment import Kind
from data.streams.binance import Binance
from data.streams.perps import Key
from data.streams.protocol import Channel, Route, Subscription
from data.streams.state import MarketState

LEAST_OF_BARE_LOOP = 0.8
MOST_DECODING = 0.1
DECODED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class FeedSize:
    """Frames of one run, symbols among them, and how often each side is timed."""

    frames: int = 200_000
    symbols: int = 50
    seed: int = 11
    repeats: int = 7


@contextmanager
def venue(size: FeedSize) -> Iterator[str]:
    """The address of a server that sends the frames to whoever connects."""
    command = [sys.executable, "-m", "bench.feed_venue", str(size.symbols), str(size.frames), str(size.seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = int(process.stdout.readline()) if process.stdout is not None else 0
            yield f"ws://127.0.0.1:{port}"
        finally:
            process.kill()


async def receive_bare(route: Route, count: int, keep: list[bytes] | None = None) -> None:
    """The denominator: the library's own loop, bytes not even decoded to text."""
    async with connect(route.address, compression=None, proxy=None, ping_interval=None, close_timeout=0.1) as socket:
        for _ in range(count):
            frame = await socket.recv(decode=False)
            if keep is not None:
                keep.append(frame)
        socket.transport.abort()


async def send_receive_decode(plan: FeedPlan, frames: list[bytes]) -> None:
    """What a frame costs in all: the library at both ends, in one process, so that its time is both, and decoding."""
    parse, (route,) = plan.protocol.parse, plan.routes

    async def play(connection: ServerConnection) -> None:
        for frame in frames:
            await connection.send(frame, text=True)
        await connection.wait_closed()

    options = {"compression": None, "ping_interval": None, "close_timeout": 0.1}
    async with serve(play, "127.0.0.1", 0, **options) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}/", proxy=None, **options) as socket:
            for _ in frames:
                parse(route, await socket.recv(decode=False))


async def run_feed(plan: FeedPlan, count: int, folder: Path) -> Feed:
    """What is measured: a feed that receives, records, decodes and holds the state of every frame."""
    feed = Feed([plan], FeedOptions(folder, proxy=False))
    running = asyncio.create_task(feed.run())
    while feed.engine.counts.frames < count and not running.done():
        await asyncio.sleep(0.005)
    feed.stop()
    await running
    return feed


def time_bare(route: Route, count: int) -> Timing:
    """Seconds of one bare loop."""
    return timed(lambda: asyncio.run(receive_bare(route, count)))


def time_feed(plan: FeedPlan, count: int) -> Timing:
    """Seconds of one feed, with a recording of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return timed(lambda: asyncio.run(run_feed(plan, count, Path(folder))))


def time_decoding(plan: FeedPlan, frames: list[bytes]) -> Timing:
    """Seconds of decoding the frames to typed events, alone.

    In portions that were copied just before, because a feed decodes bytes that have just been received.
    """
    parse, (route,) = plan.protocol.parse, plan.routes

    def decode(portion: list[bytes]) -> None:
        for frame in portion:
            parse(route, frame)

    wall = cpu = 0.0
    for start in range(0, len(frames), DECODED_AT_ONCE):
        fresh = [bytes(bytearray(frame)) for frame in frames[start : start + DECODED_AT_ONCE]]
        timing = timed(partial(decode, fresh))
        wall, cpu = wall + timing.wall, cpu + timing.cpu
    return Timing(wall, cpu)


def require_equal_results(plan: FeedPlan, size: FeedSize, frames: list[bytes]) -> None:
    """Both sides got every frame, the recording holds them all, and the state is that of the events one by one."""
    (route,) = plan.routes
    bare: list[bytes] = []
    asyncio.run(receive_bare(route, size.frames, bare))
    require_same("frames of the bare loop", bare == frames, True)
    with tempfile.TemporaryDirectory() as folder:
        feed = asyncio.run(run_feed(plan, size.frames, Path(folder)))
        reader = RecordingReader(Path(folder))
        held = [frame for record in reader if record.kind is Kind.FRAMES for frame in record.frames()]
        require_same("frames of the recording", held == frames, True)
        again = replay(RecordingReader(Path(folder)), adapters()).engine
        require_same("state of the replay", again.fingerprint(), feed.engine.fingerprint())
    state = MarketState()
    for frame in frames:
        for event in plan.protocol.parse(route, frame):
            state.apply(event, 1)
    for key in plan.expected:
        require_same(f"top of {key[2]}", _prices(feed.engine.state, key), _prices(state, key))


def _prices(state: MarketState, key: Key) -> tuple[float, ...]:
    top = state.top(key, 1)
    return () if top is None else (top.bid, top.bid_quantity, top.ask, top.ask_quantity)


def compare(size: FeedSize) -> list[Comparison]:
    """Check both sides' frames and the state, then time them in turns."""
    frames = make_frames(size.symbols, size.frames, size.seed)
    with venue(size) as url:
        plan = _plan(url, size)
        require_equal_results(plan, size, frames)
        (route,) = plan.routes
        timings = in_turns(
            {
                "bare": partial(time_bare, route, size.frames),
                "feed": partial(time_feed, plan, size.frames),
                "decoding": partial(time_decoding, plan, frames),
                "frame": partial(timed, lambda: asyncio.run(send_receive_decode(plan, frames))),
            },
            size.repeats,
        )
    bare, ours, decoding, whole = (cpu_seconds(timings[name]) for name in ("bare", "feed", "decoding", "frame"))
    mean = sum(map(len, frames)) / len(frames)
    item = f"feed, {size.frames} frames of {mean:.0f} bytes"
    return [
        Comparison(
            item=item,
            unit="frames/s",
            denominator_name="bare receive loop of websockets",
            denominator=bare.rates(size.frames),
            figure_name="receive, record, decode, state",
            figure=ours.rates(size.frames),
            goal=LEAST_OF_BARE_LOOP,
            note="recording equals the frames sent; replay and plain state agree",
        ),
        Comparison(
            item=item,
            unit="s",
            denominator_name="sending, receiving and decoding, websockets at both ends",
            denominator=whole,
            figure_name="decoding to typed events",
            figure=decoding,
            goal=MOST_DECODING,
            direction=Direction.BELOW,
        ),
    ]


def _plan(url: str, size: FeedSize) -> FeedPlan:
    symbols = tuple(f"COIN{number}USDT" for number in range(size.symbols))
    protocol = Binance(url, url)
    routes = protocol.routes([Subscription("linear", Channel.TOP, symbols)])
    return FeedPlan(protocol, routes, tuple(("binance", "linear", symbol) for symbol in symbols))
