"""A whole feed against a venue on the loopback that misbehaves on purpose.

After each fault: the state is right, or stale as soon as the route's limits say so; every frame that arrived is in the
recording, and a replay of it ends with the same state; connection attempts stay few. Times: ``feed_harness``.
"""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from data.feed.clock import FeedClock
from data.feed.feed import FeedPlan
from data.feed.reading import RecordingReader
from data.feed.segment import Kind
from data.streams.protocol import Channel
from tests.contract.feed_harness import (
    MARKS,
    NEVER_SILENT,
    NOW,
    PATIENCE,
    TICKER,
    TIMES,
    all_taken,
    binance_plan,
    bybit_plan,
    bybit_says,
    delta,
    field,
    heal,
    hear,
    is_stale,
    reasons,
    recorded,
    running,
    until,
    whole,
)
from tests.contract.feed_server import (
    Act,
    Peer,
    Refuse,
    VenueServer,
    binance_mark,
    binance_top,
)


def says(*frames: Any, then: Act | None = None) -> Act:
    """An act that sends frames and goes on with another, or keeps the connection open."""

    async def act(peer: Peer) -> None:
        await peer.send(*frames)
        await (Peer.stay(peer) if then is None else then(peer))

    return act


@pytest.mark.asyncio
async def test_dropped_connection_is_stale_at_once_and_comes_back(tmp_path: Path) -> None:
    first, go = binance_mark("BTCUSDT", NOW, 60_000.0), asyncio.Event()

    async def dropping(peer: Peer) -> None:
        await peer.send(first)
        await go.wait()
        peer.drop()

    async with VenueServer(dropping, heal) as venue, running(tmp_path, binance_plan(venue.url)) as feed:
        await until(lambda: field(feed, MARKS, "mark") == 60_000.0)
        go.set()
        await until(lambda: is_stale(feed, MARKS))
        await until(lambda: field(feed, MARKS, "mark") == 70_000.0)
        assert len(venue.attempts) == 2
        await all_taken(venue, feed)
    assert recorded(tmp_path) == venue.sent
    assert reasons(tmp_path)[0] == "connection lost without a word"


@pytest.mark.asyncio
async def test_half_open_socket_is_found_within_the_silence_limit(tmp_path: Path) -> None:
    first = binance_mark("BTCUSDT", NOW, 60_000.0)
    acts = (says(first, then=Peer.go_deaf), heal)
    async with VenueServer(*acts) as venue, running(tmp_path, binance_plan(venue.url)) as feed:
        await until(lambda: field(feed, MARKS, "mark") == 60_000.0)
        await until(lambda: is_stale(feed, MARKS))
        await until(lambda: field(feed, MARKS, "mark") == 70_000.0)
        await all_taken(venue, feed)
    assert recorded(tmp_path) == venue.sent
    assert reasons(tmp_path)[0] == "silent for 0.9 s"


@pytest.mark.asyncio
async def test_a_process_that_stood_still_does_not_take_that_for_the_venues_silence(tmp_path: Path) -> None:
    async with VenueServer(heal) as venue, running(tmp_path, binance_plan(venue.url)) as feed:
        await until(lambda: field(feed, MARKS, "mark") == 70_000.0)
        for _ in range(2):
            time.sleep(1.5)  # the whole process stands still, for longer than the limit of 0.9 s
            heard = feed.engine.counts.frames
            await until(lambda heard=heard: feed.engine.counts.frames > heard + 1)
        assert len(venue.attempts) == 1
        await all_taken(venue, feed)
    assert recorded(tmp_path) == venue.sent


@pytest.mark.asyncio
async def test_half_open_socket_of_a_quiet_stream_is_found_by_pings(tmp_path: Path) -> None:
    """On a route that may be quiet for ever pings, unanswered, tell within twice their 20 s: here 0.4 s."""
    first = binance_top("BTCUSDT", 1, 60_000.0, NOW)

    async def healthy(peer: Peer) -> None:
        await peer.send(binance_top("BTCUSDT", 2, 70_000.0, NOW + 1))
        await peer.stay()

    times = replace(TIMES, silence_scale=0.01)
    async with VenueServer(says(first, then=Peer.go_deaf), healthy) as venue:
        plan = binance_plan(venue.url, Channel.TOP)
        quiet = [replace(route, silence_seconds=None, first_message_seconds=None) for route in plan.routes]
        async with running(tmp_path, replace(plan, routes=quiet), times) as feed:
            await until(lambda: field(feed, MARKS, "bid") == 60_000.0)
            await until(lambda: is_stale(feed, MARKS))
            await until(lambda: field(feed, MARKS, "bid") == 70_000.0)
    assert reasons(tmp_path)[0] == "given up, code 1011: keepalive ping timeout"


@pytest.mark.asyncio
async def test_accept_then_kick_does_not_become_a_storm(tmp_path: Path) -> None:
    enough, held = asyncio.Event(), asyncio.Event()

    async def kick(peer: Peer) -> None:
        if enough.is_set():
            held.set()
            await peer.connection.wait_closed()
            return
        await peer.send(binance_mark("BTCUSDT", NOW, 60_000.0))
        await peer.connection.close(1008, "Too many requests")

    async with VenueServer(kick) as venue, running(tmp_path, binance_plan(venue.url), NEVER_SILENT) as feed:
        await until(lambda: len(venue.attempts) >= 9)
        # Waits are at least 10, 20, 40, 80, 100, 100, ... ms: half of 20 ms doubled up to 200 ms.
        waits = [later - earlier for earlier, later in pairwise(venue.attempts)]
        least = [0.01, 0.02, 0.04, 0.08, *[0.1] * (len(waits) - 4)]
        assert all(wait >= shortest for wait, shortest in zip(waits, least, strict=True))
        # A frame sent while the feed stops is nobody's: the next connection is held open, and by then all else arrived.
        enough.set()
        await asyncio.wait_for(held.wait(), PATIENCE)
        await until(lambda: is_stale(feed, MARKS))
        await all_taken(venue, feed)
    assert recorded(tmp_path) == venue.sent
    assert reasons(tmp_path)[0] == "closed by the venue, code 1008: Too many requests"


@pytest.mark.asyncio
async def test_attempts_stay_within_the_venues_limit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan = binance_plan("", connects=3, connects_window_seconds=300.0)
    async with VenueServer(Refuse(503)) as venue:
        moved = [replace(route, url=venue.url) for route in plan.routes]
        async with running(tmp_path, FeedPlan(plan.protocol, moved)):
            await until(lambda: "limit on connections is used up for" in caplog.text)
            assert len(venue.attempts) == 3
            await asyncio.sleep(0.3)  # longer than any other wait
            assert len(venue.attempts) == 3


@pytest.mark.asyncio
async def test_connection_is_replaced_before_the_venue_cuts_it_and_nothing_falls_between(tmp_path: Path) -> None:
    lifetime = 60.0  # of 24 h; replaced after 1/200 of it, so that no slow machine reaches the cut
    sent_marks: list[float] = []

    async def cut_after_lifetime(peer: Peer) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + lifetime
        while loop.time() < end:
            sent_marks.append(60_000.0 + len(sent_marks))
            await peer.send(binance_mark("BTCUSDT", NOW + len(sent_marks), sent_marks[-1]))
            await asyncio.sleep(0.01)
        await peer.connection.close(1001, "24 hours")

    plan = binance_plan("", lifetime_seconds=lifetime)
    times = replace(NEVER_SILENT, rotate_share=1 / 200)
    async with VenueServer(cut_after_lifetime) as venue:
        moved = [replace(route, url=venue.url) for route in plan.routes]
        began = asyncio.get_running_loop().time()
        async with running(tmp_path, FeedPlan(plan.protocol, moved, plan.expected), times) as feed:
            await until(lambda: field(feed, MARKS, "mark"))
            while len(venue.attempts) < 6:  # through several replacements
                assert field(feed, MARKS, "mark") is not None
                await asyncio.sleep(0.005)
            # Each dial follows the one before by 0.3 s or more; on a slow machine it arrives later, never sooner.
            assert all(at - began >= 0.3 * number for number, at in enumerate(venue.attempts))
    assert set(reasons(tmp_path)) == {"stopped"}
    taken, ends = whole_channels(tmp_path)
    assert len(taken) >= 5
    for number, frames in taken.items():  # of each connection all up to the moment at which we left it
        assert frames == venue.peers[number - 1].sent[: len(frames)]
    for number, last in ends.items():
        assert number + 1 not in taken or last > 0  # the next one had delivered before


def whole_channels(folder: Path) -> tuple[dict[int, list[bytes]], dict[int, int]]:
    """Recorded frames by connection, and how many frames of the next one stand before the end of each."""
    frames: dict[int, list[bytes]] = {}
    ahead: dict[int, int] = {}
    for record in RecordingReader(folder / "out"):
        if record.kind is Kind.FRAMES:
            frames.setdefault(record.channel, []).extend(record.frames())
        elif record.note()["note"] == "closed":
            channel = record.note()["channel"]
            ahead[channel] = len(frames.get(channel + 1, []))
    return frames, ahead


@pytest.mark.asyncio
async def test_values_that_come_late_are_stale_although_they_were_received_just_now(tmp_path: Path) -> None:
    """What a slow consumer or a full pipe does to data: they keep coming, older and older."""
    clock, start = Shifted(), 5_000_000_000_000  # the venue's clock differs; only the growth of the delay counts

    async def falling_behind(peer: Peer) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(100_000):
            passed_ms = (loop.time() - began) * 1000.0
            await peer.send(binance_mark("BTCUSDT", round(start + passed_ms), 60_000.0 + number))
            await asyncio.sleep(0.02)

    async with (
        VenueServer(falling_behind) as venue,
        running(tmp_path, binance_plan(venue.url), NEVER_SILENT, clock) as feed,
    ):
        await until(lambda: field(feed, MARKS, "mark"))
        clock.shift_ns = 30_000_000_000  # from here on all that comes is half a minute older than it was
        held: dict[str, Any] = {}

        def comes_late() -> bool:
            held.update(feed.snapshot([MARKS])["instruments"][MARKS])
            return bool(held["late"]) and held["fields"]["mark"]["age_ms"] < 3000.0  # fresh by receipt alone

        await until(comes_late)
        assert held["stale"]
        assert held["fields"]["mark"]["stale"]


@pytest.mark.asyncio
async def test_slow_local_client_does_not_hold_up_the_feed(tmp_path: Path) -> None:
    plan_frames = [binance_mark("BTCUSDT", NOW + number, 60_000.0 + number) for number in range(3000)]
    begin = asyncio.Event()

    async def flood(peer: Peer) -> None:
        await begin.wait()
        await peer.send(*plan_frames)
        await peer.stay()

    async with (
        VenueServer(flood) as venue,
        running(tmp_path, binance_plan(venue.url), NEVER_SILENT, socket=tmp_path / "s") as feed,
    ):
        await until((tmp_path / "s").exists)
        _, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b'{"get": "stream"}\n')  # and never reads
        await until(lambda: feed.server is not None and feed.server.has_subscribers)
        begin.set()
        await until(lambda: feed.engine.counts.frames == 3000)
        assert field(feed, MARKS, "mark") == 62_999.0
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
    assert recorded(tmp_path) == venue.sent


@pytest.mark.asyncio
async def test_duplicates_change_nothing(tmp_path: Path) -> None:
    frames = [binance_top("BTCUSDT", 10, 60_000.0, NOW)] * 3
    plan = partial(binance_plan, channel=Channel.TOP)
    async with VenueServer(says(*frames)) as venue, running(tmp_path, plan(venue.url), NEVER_SILENT) as feed:
        await until(lambda: feed.engine.counts.frames == 3)
        assert field(feed, MARKS, "bid") == 60_000.0
        assert feed.status()["updates"] == {"applied": 1, "duplicate": 2}
    assert recorded(tmp_path) == venue.sent


@pytest.mark.asyncio
async def test_the_venues_order_counts_and_not_that_of_arrival(tmp_path: Path) -> None:
    frames = [binance_top("BTCUSDT", update, 60_000.0 + update, NOW + update) for update in (11, 13, 12, 10)]
    plan = partial(binance_plan, channel=Channel.TOP)
    async with VenueServer(says(*frames)) as venue, running(tmp_path, plan(venue.url), NEVER_SILENT) as feed:
        await until(lambda: feed.engine.counts.frames == 4)
        assert field(feed, MARKS, "bid") == 60_013.0
        assert feed.status()["updates"] == {"applied": 2, "out-of-order": 2}
    assert recorded(tmp_path) == venue.sent


@pytest.mark.asyncio
async def test_an_older_sequence_number_is_ignored_and_a_jump_forward_is_taken(tmp_path: Path) -> None:
    """Bybit's cross sequence counts what happens in the book, so tickers skip numbers; going back is what is wrong."""
    frames = [whole(100), delta(150, markPrice="17300.00"), delta(120, markPrice="1.00")]
    async with (
        VenueServer(bybit_says(*frames)) as venue,
        running(tmp_path, bybit_plan(venue.url), NEVER_SILENT) as feed,
    ):
        await until(lambda: feed.engine.counts.frames == 4)
        assert field(feed, TICKER, "mark") == 17_300.0
        assert field(feed, TICKER, "index") == 17_227.36  # not in the change, so unchanged
    assert recorded(tmp_path) == venue.sent


@pytest.mark.asyncio
async def test_a_change_before_its_snapshot_is_no_value_and_a_snapshot_that_never_comes_is_asked_for(
    tmp_path: Path,
) -> None:
    async def never_whole(peer: Peer) -> None:
        await peer.acknowledge()
        await peer.send(*(delta(sequence, markPrice="17300.00") for sequence in (100, 101, 102)))
        await peer.stay()

    async with (
        VenueServer(never_whole, bybit_says(whole(200))) as venue,
        running(tmp_path, bybit_plan(venue.url)) as feed,
    ):
        await until(lambda: feed.engine.counts.frames >= 4)
        assert feed.status()["updates"]["needs-snapshot"] == 3
        assert field(feed, TICKER, "mark") is None
        assert is_stale(feed, TICKER)
        await until(lambda: field(feed, TICKER, "mark") == 17_217.33)
        assert len(venue.peers[1].asked) == 1  # it was subscribed again
    assert recorded(tmp_path) == venue.sent
    assert reasons(tmp_path)[0] == "changes without their snapshot for 1.5 s"


@pytest.mark.asyncio
async def test_clock_skew_of_ten_minutes_changes_no_value_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def ahead(peer: Peer) -> None:
        for number in range(10_000):
            await peer.send(binance_mark("BTCUSDT", time.time_ns() // 1_000_000 + 600_000, 60_000.0 + number))
            await asyncio.sleep(0.02)

    async with VenueServer(ahead) as venue, running(tmp_path, binance_plan(venue.url), NEVER_SILENT) as feed:
        await until(lambda: (field(feed, MARKS, "mark") or 0.0) > 60_002.0)
        await until(lambda: "our clock is" in caplog.text)
        assert feed.status()["clocks"]["binance"]["least_apart_ms"] == pytest.approx(-600_000, abs=2_000)
        assert not is_stale(feed, MARKS)
        await all_taken(venue, feed)
    assert recorded(tmp_path) == venue.sent
    assert "s behind binance's: set it (NTP)" in caplog.text


@pytest.mark.asyncio
async def test_a_subscription_that_stays_silent_is_found_and_tried_again(tmp_path: Path) -> None:
    async with VenueServer(Peer.stay, heal) as venue, running(tmp_path, binance_plan(venue.url)) as feed:
        assert is_stale(feed, MARKS)
        await until(lambda: field(feed, MARKS, "mark") == 70_000.0)
        assert venue.paths[0] == "/market/stream?streams=btcusdt@markPrice@1s"
    assert reasons(tmp_path)[0] == "no data within 1.5 s of opening"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "garbage", [b"", b"<html>502</html>", b'{"stream":', b"[[[[", b"\xff\xfe", b'{"e":"markPriceUpdate","p":"NaN"}']
)
async def test_a_garbage_frame_is_recorded_counted_and_does_no_harm(tmp_path: Path, garbage: bytes) -> None:
    good = binance_mark("BTCUSDT", NOW, 60_000.0)
    later = binance_mark("BTCUSDT", NOW + 1, 60_001.0)
    async with (
        VenueServer(says(good, garbage, later)) as venue,
        running(tmp_path, binance_plan(venue.url), NEVER_SILENT) as feed,
    ):
        await until(lambda: feed.engine.counts.frames == 3)
        assert field(feed, MARKS, "mark") == 60_001.0
        assert feed.status()["garbage_frames"] == 1
        assert len(venue.attempts) == 1
    assert recorded(tmp_path) == venue.sent


@pytest.mark.asyncio
async def test_nothing_but_garbage_counts_as_silence(tmp_path: Path) -> None:
    async def garbage_only(peer: Peer) -> None:
        while True:
            await peer.send(b"not json")
            await asyncio.sleep(0.01)

    async with VenueServer(garbage_only, heal) as venue, running(tmp_path, binance_plan(venue.url)) as feed:
        await until(lambda: field(feed, MARKS, "mark") == 70_000.0)
    assert reasons(tmp_path)[0] == "no data within 1.5 s of opening"


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
async def test_a_streaming_client_hears_at_once_that_a_lost_connection_made_values_stale(tmp_path: Path) -> None:
    async def once(peer: Peer) -> None:
        await peer.send(binance_mark("BTCUSDT", NOW, 60_000.0))
        await gone.wait()
        peer.drop()

    gone = asyncio.Event()

    def is_old(answer: Any) -> bool:
        return bool(answer["instruments"][MARKS]["fields"]["mark"]["stale"])

    clock = Standing()  # time alone makes nothing stale here
    async with (
        VenueServer(once, Refuse(503)) as venue,
        running(tmp_path, binance_plan(venue.url), NEVER_SILENT, clock, tmp_path / "s") as feed,
    ):
        await until(lambda: field(feed, MARKS, "mark") == 60_000.0)
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b'{"get": "stream"}\n')
        assert not is_old(await hear(reader, bool))
        gone.set()
        await hear(reader, is_old)
        writer.close()


@pytest.mark.asyncio
async def test_a_streaming_client_hears_that_values_grew_too_old(tmp_path: Path) -> None:
    """The connection stays open and its route may be silent: only time goes by."""

    async def once(peer: Peer) -> None:
        await peer.send(binance_mark("BTCUSDT", NOW, 60_000.0))
        await peer.stay()

    clock = Standing()
    async with (
        VenueServer(once) as venue,
        running(tmp_path, binance_plan(venue.url), NEVER_SILENT, clock, tmp_path / "s") as feed,
    ):
        await until(lambda: field(feed, MARKS, "mark") == 60_000.0)
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(b'{"get": "stream"}\n')
        first = await hear(reader, bool)
        assert not first["instruments"][MARKS]["stale"]
        clock.shift_ns = 4_000_000_000  # Binance's marks are good for 3 s
        await hear(reader, lambda answer: answer["instruments"][MARKS]["stale"])
        writer.close()


class Shifted(FeedClock):
    """A feed's clock that can be moved on."""

    shift_ns = 0

    def now_ns(self) -> int:
        return super().now_ns() + self.shift_ns

    def __setattr__(self, name: str, value: int) -> None:
        object.__setattr__(self, name, value)


class Standing(Shifted):
    """One that stands still until it is moved."""

    def now_ns(self) -> int:
        return NOW * 1_000_000 + self.shift_ns


@pytest.mark.asyncio
async def test_a_flood_of_garbage_is_counted_and_not_a_flood_of_log_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flood = [b'{"broken":'] * 1000
    async with VenueServer(says(*flood)) as venue, running(tmp_path, binance_plan(venue.url), NEVER_SILENT) as feed:
        await until(lambda: feed.engine.counts.garbage == 1000)
        assert caplog.text.count("unreadable so far") == 10  # 1, 2, 4, ... 512


@pytest.mark.asyncio
async def test_a_stamp_of_tomorrow_does_not_make_a_connection_useless(tmp_path: Path) -> None:
    """All that follows is older than it: stale by its age, and a new connection forgets the stamp."""

    async def poisoned(peer: Peer) -> None:
        await peer.send(binance_mark("BTCUSDT", NOW + 86_400_000, 1.0))
        for number in range(10_000):
            await peer.send(binance_mark("BTCUSDT", NOW + number, 60_000.0))
            await asyncio.sleep(0.01)

    async with VenueServer(poisoned, heal) as venue, running(tmp_path, binance_plan(venue.url)) as feed:
        await until(lambda: field(feed, MARKS, "mark") == 70_000.0)
    assert reasons(tmp_path)[0] == "silent for 0.9 s"
