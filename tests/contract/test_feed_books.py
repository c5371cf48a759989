"""Order books of a whole feed: gaps, changes before their snapshot, duplicates, disorder, crossed books.

After each fault: nothing is shown until the book is in step again, and a replay of the recording ends with the same
book (``running`` checks that). What the books have to hold is worked out by hand beside each script.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from data.feed.book_reader import RestBookReader
from data.feed.choice import adapters
from data.feed.engine import Engine
from data.feed.feed import Feed
from data.feed.reading import RecordingReader
from data.feed.rest import RestClients
from data.feed.segment import Kind
from data.streams.protocol import Channel
from tests.contract.feed_harness import (
    MARKS,
    NEVER_SILENT,
    TICKER,
    binance_plan,
    bybit_plan,
    reasons,
    recorded,
    running,
    until,
)
from tests.contract.feed_server import (
    Levels,
    Peer,
    VenueServer,
    binance_depth,
    binance_depth_answer,
    bybit_book,
)

BIDS: Levels = {99.0: 1.0, 98.0: 2.0, 97.0: 3.0, 96.0: 4.0}
ASKS: Levels = {101.0: 1.0, 102.0: 2.0}


class Depth:
    """The REST interface of Binance: answers with the next of its answers, a status among them refuses."""

    def __init__(self, *answers: dict[str, Any] | int) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.paths.append(request.path)
        self.asked.append(dict(request.query))
        await self.gate.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, int):
            return web.json_response({"code": -1008, "msg": "overloaded"}, status=answer)
        return web.json_response(answer)


@asynccontextmanager
async def reading(depth: Depth) -> AsyncIterator[RestBookReader]:
    app = web.Application()
    app.router.add_get("/{path:.*}", depth.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    depth.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with RestClients({"binance": depth.url}) as clients:
            yield RestBookReader(clients)
    finally:
        depth.gate.set()
        await runner.cleanup()


class Script:
    """An act that sends one frame at each step, when the test says so, and keeps the connection open."""

    def __init__(self, *frames: dict[str, Any]) -> None:
        self.frames = list(frames)
        self.steps: asyncio.Queue[int] = asyncio.Queue()

    def step(self, count: int = 1) -> None:
        """Send so many more."""
        self.steps.put_nowait(count)

    async def __call__(self, peer: Peer) -> None:
        while self.frames:
            for _ in range(await self.steps.get()):
                await peer.send(self.frames.pop(0))
        await peer.stay()


def shown(feed: Feed, name: str) -> tuple[int | None, list[tuple[float, float]], list[tuple[float, float]]] | None:
    """Number and best levels of the book as it is served; None while it is stale."""
    book = feed.snapshot([name])["instruments"][name]["book"]
    if book["stale"]:
        assert (book["bids"], book["asks"]) == ((), ())
        return None
    return book["sequence"], list(book["bids"]), list(book["asks"])


@pytest.mark.asyncio
async def test_binance_a_gap_makes_the_book_stale_until_a_new_snapshot_is_read(tmp_path: Path) -> None:
    script = Script(
        binance_depth(95, 105, 94, {99.0: 5.0}, {}),  # 95 <= 100 <= 105: the first after the snapshot 100
        binance_depth(106, 108, 105, {99.5: 1.5}, {101.0: 0.0}),
        binance_depth(112, 115, 111, {99.6: 9.0}, {}),  # 109 to 111 never came
        binance_depth(116, 118, 115, {}, {103.0: 7.0}),
    )
    depth = Depth(
        binance_depth_answer(100, BIDS, ASKS),
        binance_depth_answer(113, {99.7: 6.0, 98.0: 2.0}, {102.0: 2.0, 104.0: 1.0}),
    )
    async with (
        VenueServer(script) as venue,
        reading(depth) as books,
        running(tmp_path, binance_plan(venue.url, Channel.BOOK), NEVER_SILENT, books=books) as feed,
    ):
        assert shown(feed, MARKS) is None
        script.step()
        await until(lambda: shown(feed, MARKS) == (105, [(99.0, 5.0), (98.0, 2.0), (97.0, 3.0)], list(ASKS.items())))
        assert depth.paths == ["/fapi/v1/depth"]
        assert depth.asked == [{"symbol": "BTCUSDT", "limit": "1000"}]
        script.step()
        await until(lambda: shown(feed, MARKS) == (108, [(99.5, 1.5), (99.0, 5.0), (98.0, 2.0)], [(102.0, 2.0)]))
        depth.gate.clear()
        script.step()
        await until(lambda: shown(feed, MARKS) is None and len(depth.asked) == 2)
        assert feed.status()["books"]["stale"] == [MARKS]
        script.step()
        await until(lambda: feed.engine.counts.frames == 4)
        assert shown(feed, MARKS) is None
        depth.gate.set()
        # 112 <= 113 <= 115, then 115 is the one before 116: both kept changes are applied to the snapshot.
        asks = [(102.0, 2.0), (103.0, 7.0), (104.0, 1.0)]
        await until(lambda: shown(feed, MARKS) == (118, [(99.7, 6.0), (99.6, 9.0), (98.0, 2.0)], asks))
        assert feed.status()["books"]["updates"]["gap"] == 1
        assert len(venue.attempts) == 1
    assert recorded(tmp_path) == venue.sent


@pytest.mark.asyncio
async def test_binance_a_snapshot_that_is_older_than_the_first_change_is_read_again(tmp_path: Path) -> None:
    script = Script(binance_depth(106, 110, 105, {99.5: 1.5}, {}))
    depth = Depth(503, 503, binance_depth_answer(100, BIDS, ASKS), binance_depth_answer(107, BIDS, ASKS))
    async with (
        VenueServer(script) as venue,
        reading(depth) as books,
        running(tmp_path, binance_plan(venue.url, Channel.BOOK), NEVER_SILENT, books=books) as feed,
    ):
        script.step()
        await until(lambda: shown(feed, MARKS) == (110, [(99.5, 1.5), (99.0, 1.0), (98.0, 2.0)], list(ASKS.items())))
        assert len(depth.asked) == 4  # one refused twice, one too old
        assert feed.status()["books"]["updates"] == {"needs-snapshot": 1, "gap": 1, "applied": 1}


@pytest.mark.asyncio
async def test_binance_duplicates_and_older_changes_change_nothing(tmp_path: Path) -> None:
    change = binance_depth(95, 105, 94, {99.0: 5.0}, {})
    older = binance_depth(90, 94, 89, {99.9: 1.0}, {})
    script = Script(change, binance_depth(106, 108, 105, {99.0: 6.0}, {}), change, older, older)
    depth = Depth(binance_depth_answer(100, BIDS, ASKS))
    async with (
        VenueServer(script) as venue,
        reading(depth) as books,
        running(tmp_path, binance_plan(venue.url, Channel.BOOK), NEVER_SILENT, books=books) as feed,
    ):
        script.step()
        await until(lambda: shown(feed, MARKS))
        script.step(4)
        await until(lambda: feed.engine.counts.frames == 5)
        assert shown(feed, MARKS) == (108, [(99.0, 6.0), (98.0, 2.0), (97.0, 3.0)], list(ASKS.items()))
        assert feed.status()["books"]["updates"] == {"needs-snapshot": 1, "applied": 2, "duplicate": 3}
        assert len(depth.asked) == 1


@pytest.mark.asyncio
async def test_binance_a_lost_connection_empties_the_book_and_a_snapshot_alone_makes_none(tmp_path: Path) -> None:
    """What was asked for before the loss arrives after it: nobody keeps it up to date, so it is not shown."""
    go = asyncio.Event()

    async def dropped(peer: Peer) -> None:
        await peer.send(binance_depth(95, 105, 94, {}, {}))
        await go.wait()
        peer.drop()

    again = Script(binance_depth(201, 205, 200, {}, {}))
    depth = Depth(binance_depth_answer(100, BIDS, ASKS), binance_depth_answer(203, {50.0: 1.0}, {51.0: 1.0}))
    depth.gate.clear()
    async with (
        VenueServer(dropped, again) as venue,
        reading(depth) as books,
        running(tmp_path, binance_plan(venue.url, Channel.BOOK), NEVER_SILENT, books=books) as feed,
    ):
        await until(lambda: depth.asked)
        go.set()
        await until(lambda: len(venue.peers) == 2 and feed.status()["routes"][0]["connected"])
        depth.gate.set()
        await until(lambda: len(depth.answers) == 1)
        await asyncio.sleep(0.1)  # the answer is taken in
        assert shown(feed, MARKS) is None
        again.step()
        await until(lambda: shown(feed, MARKS) == (205, [(50.0, 1.0)], [(51.0, 1.0)]))


def say_bybit(script: Script) -> Any:
    async def act(peer: Peer) -> None:
        await peer.acknowledge()
        await script(peer)

    return act


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "fault",
    [
        bybit_book("delta", 13, {99.1: 1.0}, {}),  # 12 never came
        bybit_book("delta", 12, {101.0: 1.0}, {}),  # the best bid reaches the best ask
    ],
    ids=["gap", "crossed"],
)
async def test_bybit_a_gap_or_a_crossed_book_is_stale_until_it_was_subscribed_again(
    tmp_path: Path, fault: dict[str, Any]
) -> None:
    asked: list[tuple[str, list[str]]] = []
    go = asyncio.Event()

    async def act(peer: Peer) -> None:
        await peer.acknowledge()
        await peer.send(bybit_book("snapshot", 10, BIDS, ASKS), bybit_book("delta", 11, {99.0: 0.0}, {100.5: 4.0}))
        await go.wait()
        await peer.send(fault)
        for _ in range(2):
            request = await peer.hear()
            asked.append((request["op"], request["args"]))
            answer = {"success": True, "ret_msg": "", "conn_id": "c", "req_id": request["req_id"], "op": request["op"]}
            await peer.send(answer)
        await peer.send(bybit_book("delta", 14, {99.2: 1.0}, {}))  # still of the old subscription: of no use
        await held.wait()
        await peer.send(bybit_book("snapshot", 20, {98.5: 1.0}, {98.6: 1.0}), bybit_book("delta", 21, {98.4: 2.0}, {}))
        await peer.stay()

    held = asyncio.Event()
    async with (
        VenueServer(act) as venue,
        running(tmp_path, bybit_plan(venue.url, Channel.BOOK), NEVER_SILENT, segment_bytes=1) as feed,
    ):
        asks = [(100.5, 4.0), (101.0, 1.0), (102.0, 2.0)]
        await until(lambda: shown(feed, TICKER) == (11, [(98.0, 2.0), (97.0, 3.0), (96.0, 4.0)], asks))
        go.set()
        await until(lambda: shown(feed, TICKER) is None)
        await until(lambda: feed.engine.counts.frames == 7)
        assert asked == [("unsubscribe", ["orderbook.50.BTCUSDT"]), ("subscribe", ["orderbook.50.BTCUSDT"])]
        assert shown(feed, TICKER) is None
        held.set()
        await until(lambda: shown(feed, TICKER) == (21, [(98.5, 1.0), (98.4, 2.0)], [(98.6, 1.0)]))
        assert len(venue.attempts) == 1
    assert recorded(tmp_path) == venue.sent
    # Each segment begins with the books as they were: the last one alone has the same.
    paths = RecordingReader(tmp_path / "out").paths
    assert len(paths) > 3
    alone = Engine(adapters())
    for record in RecordingReader(paths[-1]):
        if record.kind is Kind.NOTE and record.note()["note"] == "closed":
            break
        alone.record(record)
    reading = alone.books.reading(("bybit", "linear", "BTCUSDT"), 0, 9)
    assert reading is not None
    assert (reading.sequence, list(reading.bids), list(reading.asks)) == (21, [(98.5, 1.0), (98.4, 2.0)], [(98.6, 1.0)])


@pytest.mark.asyncio
async def test_bybit_a_change_before_its_snapshot_is_no_book_and_duplicates_change_nothing(tmp_path: Path) -> None:
    script = Script(
        bybit_book("delta", 9, {99.9: 1.0}, {}),
        bybit_book("snapshot", 10, BIDS, ASKS),
        bybit_book("delta", 11, {99.0: 7.0}, {}),
        bybit_book("delta", 11, {99.0: 7.0}, {}),
        bybit_book("delta", 10, {99.9: 1.0}, {}),
        bybit_book("snapshot", 10, {50.0: 1.0}, {51.0: 1.0}),  # older than what is held
    )
    async with (
        VenueServer(say_bybit(script)) as venue,
        running(tmp_path, bybit_plan(venue.url, Channel.BOOK), NEVER_SILENT) as feed,
    ):
        script.step()
        await until(lambda: feed.engine.counts.frames == 2)
        assert shown(feed, TICKER) is None
        script.step(5)
        await until(lambda: feed.engine.counts.frames == 7)
        assert shown(feed, TICKER) == (11, [(99.0, 7.0), (98.0, 2.0), (97.0, 3.0)], list(ASKS.items()))
        updates = feed.status()["books"]["updates"]
        assert updates == {"needs-snapshot": 1, "applied": 2, "duplicate": 2, "out-of-order": 1}
        assert len(venue.peers[0].asked) == 1  # nothing was subscribed again


@pytest.mark.asyncio
async def test_bybit_a_snapshot_that_never_comes_ends_the_connection(tmp_path: Path) -> None:
    never = Script(bybit_book("delta", 9, {99.9: 1.0}, {}))
    good = Script(bybit_book("snapshot", 10, BIDS, ASKS))
    never.step()
    good.step()
    async with (
        VenueServer(say_bybit(never), say_bybit(good)) as venue,
        running(tmp_path, bybit_plan(venue.url, Channel.BOOK)) as feed,
    ):
        await until(lambda: shown(feed, TICKER))
    assert reasons(tmp_path)[0] == "changes without their snapshot for 1.5 s"


@pytest.mark.asyncio
async def test_a_crossed_snapshot_is_no_storm_of_requests(tmp_path: Path) -> None:
    """Every snapshot of the venue is crossed: it is asked for again once in a while, not at once each time."""
    depth = Depth(binance_depth_answer(100, {101.0: 1.0}, {101.0: 1.0}))
    script = Script(binance_depth(95, 105, 94, {}, {}))
    script.step()
    loop = asyncio.get_running_loop()
    async with (
        VenueServer(script) as venue,
        reading(depth) as books,
        running(tmp_path, binance_plan(venue.url, Channel.BOOK), NEVER_SILENT, books=books) as feed,
    ):
        began = loop.time()
        await until(lambda: len(depth.asked) >= 6)
        # At least half of 20, 40, 80, 160, 200 ms lie between them.
        assert loop.time() - began >= 0.25
        assert shown(feed, MARKS) is None
