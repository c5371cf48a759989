"""Settlements that passed while no feed ran, or while its connection was gone, are read back: each recorded once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from data.feed.choice import adapters
from data.feed.clock import FeedClock
from data.feed.feed import Feed, FeedOptions, FeedPlan
from data.feed.funding_reader import RestFundingReader
from data.feed.options import FeedTimes
from data.feed.reading import RecordingReader
from data.feed.recorder import RecorderOptions
from data.feed.replay import replay
from data.feed.rest import RestClients
from data.feed.segment import Kind
from tests.contract.feed_harness import NEVER_SILENT, PATIENCE, binance_plan, bybit_plan, until
from tests.contract.feed_server import BYBIT_WHOLE, Act, Peer, VenueServer, binance_mark, bybit_ticker

HOUR = 3_600_000
S0 = 1_790_006_400_000  # 2026-09-21 16:00; the contracts here pay every eight hours
S1, S2, S3 = (S0 + number * 8 * HOUR for number in (1, 2, 3))
RATES = {S0 - 8 * HOUR: "0.5", S0: "0.00010000", S1: "0.00020000", S2: "-0.00030000", S3: "0.6"}
TIMES = replace(NEVER_SILENT, settlement_waits=(0.0, 0.2, 0.4, 30.0))


class ClockAt(FeedClock):
    """A feed's clock that shows the venue's time, and can be moved on."""

    def __init__(self, now_ms: int) -> None:
        self.move_to(now_ms)

    def move_to(self, now_ms: int) -> None:
        object.__setattr__(self, "start_ns", now_ms * 1_000_000 - time.monotonic_ns())

    def now_ns(self) -> int:
        return int(time.monotonic_ns() + self.start_ns)

    def wall_ms(self) -> int:
        return self.now_ns() // 1_000_000


class History:
    """A venue's funding history over REST, up to the moment ``now_ms``; ``refusals``: so many calls fail first."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.refusals = 0
        self.asked: list[tuple[int, int]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        query = request.query
        # Bybit takes no lower bound here: it gives the newest ``limit`` rows.
        range_ms = int(query.get("startTime", 0)), int(query["endTime"])
        if self.refusals:
            self.refusals -= 1
            return web.json_response({"code": -1008, "msg": "Server is currently overloaded"}, status=503)
        self.asked.append(range_ms)
        listed = [at for at in RATES if range_ms[0] <= at <= min(range_ms[1], self.now_ms)]
        if "fapi" in request.path:
            rows = [
                {"symbol": "BTCUSDT", "fundingTime": at + 2, "fundingRate": RATES[at], "markPrice": "60000.0"}
                for at in listed
            ]
            return web.json_response(rows)
        newest_first = [
            {"symbol": "BTCUSDT", "fundingRate": RATES[at], "fundingRateTimestamp": str(at)} for at in listed[::-1]
        ][: int(query["limit"])]
        result = {"category": "linear", "list": newest_first}
        return web.json_response({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 0})


@asynccontextmanager
async def serving(history: History) -> AsyncIterator[History]:
    app = web.Application()
    app.router.add_get("/{path:.*}", history.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    history.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield history
    finally:
        await runner.cleanup()


@asynccontextmanager
async def feeding(
    folder: Path, plan: FeedPlan, history: History, clock: ClockAt, times: FeedTimes = TIMES
) -> AsyncIterator[Feed]:
    """A feed that reads settled rates back from ``history``, in segments of one record each."""
    async with RestClients({plan.protocol.venue: history.url}) as clients:
        options = FeedOptions(folder, proxy=False, times=times, recorder=RecorderOptions(segment_bytes=1))
        feed = Feed([plan], options, RestFundingReader(clients), clock)
        task = asyncio.create_task(feed.run())
        try:
            yield feed
        finally:
            feed.stop()
            await asyncio.wait_for(task, PATIENCE)
    assert replay(RecordingReader(folder), adapters()).engine.fingerprint() == feed.engine.fingerprint()


def recorded(folder: Path) -> list[tuple[int, float]]:
    """Time and rate of every settlement of the recording, in order."""
    notes = [record.note() for record in RecordingReader(folder) if record.kind is Kind.NOTE]
    events = [note["event"] for note in notes if note["note"] == "settled"]
    return [(event["settlement_ms"], event["rate"]) for event in events]


def marks_from(start_ms: int, next_ms: int) -> Act:
    """Binance at that time: a mark every 20 ms, which announces the next settlement and no interval."""

    async def act(peer: Peer) -> None:
        began = time.monotonic()
        while True:
            now_ms = start_ms + round((time.monotonic() - began) * 1000.0)
            await peer.send(binance_mark("BTCUSDT", now_ms, 60_000.0, T=next_ms))
            await asyncio.sleep(0.02)

    return act


def ticker_at(time_ms: int, next_ms: int, then: Callable[[Peer], Any]) -> Act:
    """Bybit at that time: a whole ticker, which states the next settlement and the interval."""

    async def act(peer: Peer) -> None:
        await peer.acknowledge()
        fields = dict(BYBIT_WHOLE) | {"nextFundingTime": str(next_ms), "fundingIntervalHour": "8"}
        await peer.send(bybit_ticker("BTCUSDT", "snapshot", time_ms, time_ms, **fields))
        await then(peer)

    return act


async def first_run(folder: Path) -> None:
    """A run that began just after S0 and was stopped before S1."""
    async with (
        VenueServer(marks_from(S0 + 70_000, S1)) as venue,
        serving(History(S0 + 70_000)) as history,
        feeding(folder, binance_plan(venue.url), history, ClockAt(S0 + 70_000)),
    ):
        await until(lambda: recorded(folder))
    assert recorded(folder) == [(S0, 0.0001)]


@pytest.mark.asyncio
async def test_two_settlements_that_passed_while_no_feed_ran_are_recorded_once_each(tmp_path: Path) -> None:
    await first_run(tmp_path)
    later = S2 + 2 * HOUR
    async with VenueServer(marks_from(later, S3)) as venue, serving(History(later)) as history:
        history.refusals = 4  # two calls of two attempts each
        async with feeding(tmp_path, binance_plan(venue.url), history, ClockAt(later)) as feed:
            await until(lambda: len(recorded(tmp_path)) >= 3)
            assert feed.status()["settled_rates"] == 2
            held = feed.snapshot()["instruments"]["binance:linear:BTCUSDT"]["settled"]
            assert held == {"time_ms": S2, "rate": -0.0003}
        assert (history.refusals, history.asked[0][0]) == (0, S0 + 60_000)
        # A third run, and nothing is missing: what it asks for brings nothing new.
        history.asked.clear()
        async with feeding(tmp_path, binance_plan(venue.url), history, ClockAt(later)) as feed:
            await until(lambda: history.asked)
            assert history.asked[0][0] == S2 + 60_000
            held = feed.snapshot()["instruments"]["binance:linear:BTCUSDT"]["settled"]
            assert held == {"time_ms": S2, "rate": -0.0003}  # known from the run before
            assert feed.status()["settled_rates"] == 0
    assert recorded(tmp_path) == [(S0, 0.0001), (S1, 0.0002), (S2, -0.0003)]


@pytest.mark.asyncio
async def test_a_feed_that_was_stopped_before_a_settlement_and_started_after_it_has_it(tmp_path: Path) -> None:
    await first_run(tmp_path)
    later = S1 + 70_000
    async with (
        VenueServer(marks_from(later, S2)) as venue,
        serving(History(later)) as history,
        feeding(tmp_path, binance_plan(venue.url), history, ClockAt(later)),
    ):
        await until(lambda: len(recorded(tmp_path)) >= 2)
    assert recorded(tmp_path) == [(S0, 0.0001), (S1, 0.0002)]


@pytest.mark.asyncio
async def test_settlements_that_passed_while_the_connection_was_gone_are_recorded_once_each(tmp_path: Path) -> None:
    """Bybit states its interval, so it is known that two passed, and that none did before the third connection."""
    go, again, clock = asyncio.Event(), asyncio.Event(), ClockAt(S0 + 70_000)

    async def dropped(peer: Peer) -> None:
        await go.wait()
        peer.drop()

    async def dropped_again(peer: Peer) -> None:
        await again.wait()
        peer.drop()

    acts = (
        ticker_at(S0 + 70_000, S1, dropped),
        ticker_at(S2 + HOUR, S3, dropped_again),
        ticker_at(S2 + 2 * HOUR, S3, Peer.stay),
    )
    async with (
        VenueServer(*acts) as venue,
        serving(History(S2 + HOUR)) as history,
        feeding(tmp_path, bybit_plan(venue.url), history, clock) as feed,
    ):
        await until(lambda: recorded(tmp_path))
        clock.move_to(S2 + HOUR)
        go.set()
        await until(lambda: len(recorded(tmp_path)) >= 3)
        asked = len(history.asked)
        again.set()
        await until(lambda: len(venue.peers) == 3 and feed.engine.counts.frames == len(venue.sent) == 6)
        await asyncio.sleep(0.1)  # some rounds of what is done on time: it finds nothing to ask for
        assert len(history.asked) == asked
    assert recorded(tmp_path) == [(S0, 0.0001), (S1, 0.0002), (S2, -0.0003)]


@pytest.mark.asyncio
async def test_a_rate_that_could_not_be_read_is_asked_for_again_after_a_reconnect(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The network was down for longer than the feed tries."""
    go, clock = asyncio.Event(), ClockAt(S0 + 70_000)

    async def dropped(peer: Peer) -> None:
        await go.wait()
        peer.drop()

    times = replace(TIMES, settlement_waits=(0.0, 0.05))
    acts = (ticker_at(S0 + 70_000, S1, dropped), ticker_at(S0 + 2 * HOUR, S1, Peer.stay))
    async with VenueServer(*acts) as venue, serving(History(S0 + HOUR)) as history:
        history.refusals = 4
        async with feeding(tmp_path, bybit_plan(venue.url), history, clock, times):
            await until(lambda: "the venue published no funding for 2026-09-21T16:00:00Z" in caplog.text)
            assert recorded(tmp_path) == []
            clock.move_to(S0 + 2 * HOUR)
            go.set()
            await until(lambda: recorded(tmp_path))
    assert recorded(tmp_path) == [(S0, 0.0001)]


@pytest.mark.asyncio
async def test_what_is_known_is_in_every_segment_and_survives_runs_without_a_settlement(tmp_path: Path) -> None:
    plan = FeedPlan(adapters()["binance"], ())
    await first_run(tmp_path)
    for _ in range(2):  # runs that hear of nothing
        Feed([plan], FeedOptions(tmp_path)).recorder.close()
    feed = Feed([plan], FeedOptions(tmp_path))
    feed.recorder.close()
    assert feed.engine.settlements.has(("binance", "linear", "BTCUSDT"), S0)
    assert json.dumps(S0).encode() in max(tmp_path.glob("*.feed")).read_bytes()
