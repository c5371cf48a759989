"""One connection of a route: dial, subscribe, keep alive, watch for silence, say why it ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidProxy, InvalidStatus

from crypto.errors import UsageError
from data.feed.backoff import retry_after_seconds
from data.feed.connection import FrameConnection, open_connection
from data.feed.options import FeedTimes
from data.streams.book_sources import resubscription
from data.streams.events import Acknowledged, Heartbeat
from data.streams.protocol import Route, VenueProtocol

log = logging.getLogger(__name__)

Answer = Acknowledged | Heartbeat


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of frames: how many carried market data, and the messages that concern the connection itself.

    ``lacks_snapshot``: the connection sends changes of something whose snapshot it has not sent. ``only_old``: all the
    market data were older than what is held. ``resubscribe``: symbols whose book has a gap and has to be sent again.
    """

    data_frames: int
    answers: Sequence[Answer] = ()
    lacks_snapshot: bool = False
    only_old: bool = False
    resubscribe: Sequence[str] = ()


FIRST_SECONDS = 5.0  # for acknowledgements and snapshots, where the route sets no limit for its first message
_DIAL_ERRORS = (OSError, TimeoutError, InvalidHandshake, EOFError)  # what a venue or the network can cause


class FrameSink(Protocol):
    """What a connection reports to. All calls come from the event loop and must not block for long."""

    def now_ns(self) -> int:
        """Time that is given to what is received, nanoseconds since 1970; it never goes back."""
        ...

    def opening(self, route: Route) -> int:
        """A connection is dialled; returns the number of its channel."""
        ...

    def opened(self, channel: int) -> None:
        """It is open; frames may have come already."""
        ...

    def frames(self, channel: int, frames: list[bytes], received_ns: int) -> Taken:
        """What one read brought."""
        ...

    def closed(self, channel: int, reason: str) -> None:
        """It is closed, or could not be opened."""
        ...


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a connection ended. ``lived_seconds`` is None when it never opened; ``retry_after``: the venue's wish.

    ``refusal``: the venue's words when it refused a subscription.
    """

    reason: str
    lived_seconds: float | None
    retry_after_seconds: float | None = None
    refusal: str = ""


class Session:
    """One connection. ``run`` returns when it is over; ``is_live`` is set by the first data frame."""

    def __init__(
        self, route: Route, protocol: VenueProtocol, times: FeedTimes, sink: FrameSink, *, proxy: bool
    ) -> None:
        self._route = route
        self._protocol = protocol
        self._times = times
        self._sink = sink
        self._proxy = proxy
        self._loop = asyncio.get_running_loop()
        self._last_frame = 0.0
        self._waiting_acks = set(route.acknowledgements)
        self._refused = ""
        self._is_given_up = False
        self._lacks_since: float | None = None
        self._resubscribed: dict[str, float] = {}
        self._replies: asyncio.Queue[str] = asyncio.Queue()
        self.channel = 0
        self.is_live = asyncio.Event()

    async def run(self) -> Ended:
        """Dial and stay until the connection is lost, found dead, or this is cancelled."""
        self.channel = self._sink.opening(self._route)
        try:
            connection = await self._dial()
        except _DIAL_ERRORS as error:
            reason = _dial_reason(error)
            self._sink.closed(self.channel, reason)
            return Ended(reason, None, _wished_wait(error))
        except (InvalidProxy, ImportError):
            self._sink.closed(self.channel, "the proxy can't be used")
            # What the library says quotes the proxy's address, password and all.
            raise UsageError(
                "the proxy that the environment names can't be used: it is no HTTP proxy (http://host:port)",
                remedy="set HTTPS_PROXY to an HTTP proxy or unset it; SOCKS is not supported",
            ) from None
        except BaseException:
            self._sink.closed(self.channel, "stopped")
            raise
        opened = self._loop.time()
        reason = "stopped"
        try:
            self._sink.opened(self.channel)
            reason = await self._stay(connection, opened)
        finally:
            await self._hang_up(connection)
            self._sink.closed(self.channel, reason)
        return Ended(reason, self._loop.time() - opened, refusal=self._refused)

    async def _dial(self) -> FrameConnection:
        return await open_connection(
            self._route.address,
            self._take,
            now_ns=self._sink.now_ns,
            open_seconds=self._times.open_seconds,
            ping_seconds=self._protocol.heartbeat.protocol_ping_seconds * self._times.silence_scale,
            close_seconds=self._times.close_seconds,
            use_proxy=self._proxy,
        )

    def _take(self, frames: list[bytes], received_ns: int) -> None:
        taken = self._sink.frames(self.channel, frames, received_ns)
        for answer in taken.answers:
            self._answer(answer)
        for symbol in taken.resubscribe:
            self._resubscribe(symbol)
        if not taken.lacks_snapshot:
            self._lacks_since = None
        elif self._lacks_since is None:
            self._lacks_since = self._loop.time()
        # Nothing but old data counts as silence: after one message with a stamp of tomorrow all others are old, until a
        # new connection.
        if taken.data_frames and not (taken.only_old and self.is_live.is_set()):
            self._last_frame = self._loop.time()
            self.is_live.set()

    def _resubscribe(self, symbol: str) -> None:
        """Have a book sent whole again; one that has gaps all the time is left to the limit on missing snapshots."""
        now = self._loop.time()
        if now - self._resubscribed.get(symbol, -math.inf) < FIRST_SECONDS * self._times.silence_scale:
            return
        self._resubscribed[symbol] = now
        log.warning("%s %s: gap in the book of %s, subscribed again", self._route.venue, self._route.name, symbol)
        for text in resubscription(self._route, symbol):
            self._replies.put_nowait(text)

    def _answer(self, answer: Answer) -> None:
        if isinstance(answer, Heartbeat):
            if answer.reply:
                self._replies.put_nowait(answer.reply)
        elif not answer.ok:
            self._refused = answer.message or "no reason given"
        elif answer.request_id is not None:
            self._waiting_acks.discard(answer.request_id)

    async def _stay(self, connection: FrameConnection, opened: float) -> str:
        """The first reason of three: the connection was lost, it can't be written to, or it has gone quiet."""
        jobs: list[Coroutine[Any, Any, str]] = [_lost(connection), self._talk(connection), self._watch(opened)]
        tasks = [asyncio.create_task(job) for job in jobs]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            reasons = [task.result() for task in tasks if task in done]
            return f"subscription refused: {self._refused}" if self._refused else reasons[0]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _talk(self, connection: FrameConnection) -> str:
        """Subscribe at the venue's pace, then send heartbeats and replies for ever."""
        rule = self._protocol.heartbeat
        pause = 1.0 / self._protocol.limits.client_messages_per_second
        try:
            for number, text in enumerate(self._route.subscribe_frames):
                if number:
                    await asyncio.sleep(pause)
                await connection.send(text)
            while True:
                text = await self._next_text(rule.client_frame, rule.client_interval_seconds)
                await connection.send(text)
        except ConnectionClosed:
            return await _lost(connection)

    async def _next_text(self, heartbeat: str | None, interval_seconds: float) -> str:
        if heartbeat is None:
            return await self._replies.get()
        try:
            async with asyncio.timeout(interval_seconds * self._times.silence_scale):
                return await self._replies.get()
        except TimeoutError:
            return heartbeat

    async def _watch(self, opened: float) -> str:
        """Look for silence. A subscription on a route that doesn't carry it is accepted and stays silent."""
        check, was_held_up = self._times.check_seconds, False
        while not self._refused:
            due = self._loop.time() + check
            await asyncio.sleep(check)
            now = self._loop.time()
            # We were held up ourselves: what came meanwhile is not read yet, so silence counts at the next check only.
            was_held_up = now - due > check and not was_held_up
            if not was_held_up and (reason := self._fault(now, opened)):
                self._is_given_up = True
                return reason
        self._is_given_up = True
        return "subscription refused"

    def _fault(self, now: float, opened: float) -> str:
        """What is wrong with the connection at this moment; empty when nothing is."""
        scale = self._times.silence_scale
        first = (self._route.first_message_seconds or FIRST_SECONDS) * scale
        if self._lacks_since is not None and now - self._lacks_since > first:
            return f"changes without their snapshot for {first:g} s"
        if self._waiting_acks and now - opened > first:
            return f"subscription not acknowledged within {first:g} s"
        if self._route.first_message_seconds is not None and not self.is_live.is_set() and now - opened > first:
            return f"no data within {first:g} s of opening"
        silence = self._route.silence_seconds
        if silence is not None and self.is_live.is_set() and now - self._last_frame > silence * scale:
            return f"silent for {silence * scale:g} s"
        return ""

    async def _hang_up(self, connection: FrameConnection) -> None:
        """Close politely; one that we gave up is cut off at once, so that what it told is stale now and not later."""
        try:
            if not self._is_given_up:
                await connection.close()
        finally:
            connection.transport.abort()
            with contextlib.suppress(ConnectionClosed):
                await connection.wait_closed()


async def _lost(connection: FrameConnection) -> str:
    await connection.wait_closed()
    received, sent = connection.protocol.close_rcvd, connection.protocol.close_sent
    if received is not None:
        return f"closed by the venue, code {received.code}" + (f": {received.reason}" if received.reason else "")
    if sent is not None:
        return f"given up, code {sent.code}: {sent.reason}"
    return "connection lost without a word"


def _dial_reason(error: BaseException) -> str:
    if isinstance(error, InvalidStatus):
        return f"handshake answered with HTTP {error.response.status_code}"
    if isinstance(error, TimeoutError):
        return "no answer to the handshake in time"
    detail = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"cannot connect: {detail or type(error).__name__}"


def _wished_wait(error: BaseException) -> float | None:
    if not isinstance(error, InvalidStatus):
        return None
    now = datetime.now(UTC)
    wishes = [retry_after_seconds(value, now) for value in error.response.headers.get_all("Retry-After")]
    return max((wish for wish in wishes if wish is not None), default=None)
