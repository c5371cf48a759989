"""Keeps one route connected: growing waits, the venue's limit on attempts, a new connection before a cut."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field

from data.feed.backoff import AttemptLimit, Backoff
from data.feed.options import FeedTimes
from data.feed.session import Ended, FrameSink, Session
from data.streams.protocol import Route, VenueProtocol
from data.streams.reduced import named_symbols_of, without

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Running:
    """A session, the task that runs it, and when it has to be replaced."""

    session: Session
    task: asyncio.Task[Ended]
    replace_at: float | None


@dataclass(slots=True)
class Supervisor:
    """Runs sessions of one route for ever. ``limit`` is shared by all routes of the venue.

    A symbol whose subscription is refused by name is left out of the next connection (``left_out``), so that the others
    are heard; the connection after a good one asks for all again.
    """

    route: Route
    protocol: VenueProtocol
    times: FeedTimes
    sink: FrameSink
    limit: AttemptLimit
    seed: int
    proxy: bool = True
    attempts: int = 0
    last_reason: str = ""
    left_out: set[str] = field(default_factory=set)
    _backoff: Backoff = field(init=False)

    def __post_init__(self) -> None:
        times = self.times
        # One stream of chance per route, so that routes that fall together do not come back together.
        chance = random.Random(f"{self.seed} {self.route.venue} {self.route.name}")  # noqa: S311 - spreads load
        self._backoff = Backoff(times.first_wait_seconds, times.most_wait_seconds, times.good_seconds, chance)

    async def run(self) -> None:
        """Connect, stay, reconnect; ends only by cancellation or by an error of our own."""
        current: _Running | None = None
        try:
            while True:
                if current is None:
                    current = await self._start()
                current = await self._follow(current)
        finally:
            if current is not None:
                await _stop(current)

    async def _start(self) -> _Running:
        loop = asyncio.get_running_loop()
        while (wait := self.limit.wait(loop.time())) > 0.0:
            log.warning("%s %s: the venue's limit on connections is used up for %.0f s", *self._name(), wait)
            await asyncio.sleep(wait)
        self.limit.spend(loop.time())
        self.attempts += 1
        route = without(self.route, self.left_out) if self.left_out else self.route
        session = Session(route or self.route, self.protocol, self.times, self.sink, proxy=self.proxy)
        lifetime = self.protocol.limits.lifetime_seconds
        replace_at = None if lifetime is None else loop.time() + lifetime * self.times.rotate_share
        return _Running(session, asyncio.create_task(session.run()), replace_at)

    async def _follow(self, current: _Running) -> _Running | None:
        """Wait until the session ends or is to be replaced; returns the one to follow next, None to start a new one."""
        loop = asyncio.get_running_loop()
        left = None if current.replace_at is None else max(0.0, current.replace_at - loop.time())
        done, _ = await asyncio.wait({current.task}, timeout=left)
        if not done:
            return await self._replace(current)
        await self._pause(current.task.result())
        return None

    async def _pause(self, ended: Ended) -> None:
        self.last_reason = ended.reason
        self._leave_out(ended)
        wait = self._backoff.next_wait(ended.lived_seconds, ended.retry_after_seconds)
        log.warning("%s %s: %s; next attempt in %.1f s", *self._name(), ended.reason, wait)
        await asyncio.sleep(wait)

    def _leave_out(self, ended: Ended) -> None:
        if ended.lived_seconds is not None and ended.lived_seconds >= self.times.good_seconds:
            self.left_out.clear()
        named = named_symbols_of(self.route, ended.refusal)
        if named and without(self.route, self.left_out | named) is not None:
            self.left_out |= named
            log.warning(
                "%s %s: %s left out, as the venue refuses it: check the symbol; the others are subscribed without it",
                *self._name(), ", ".join(sorted(named)),
            )  # fmt: skip

    async def _replace(self, old: _Running) -> _Running:
        """Open a second connection and close the first once the second delivers, so that nothing falls between them."""
        new = await self._start()
        live = asyncio.create_task(new.session.is_live.wait())
        try:
            await asyncio.wait(
                {live, new.task, old.task},
                timeout=self.times.overlap_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if live.done() or old.task.done():
                log.info("%s %s: replaced before the venue cuts it", *self._name())
                await _stop(old)
                return new
            return await self._keep(old, new)
        except BaseException:
            await _stop(new)
            raise
        finally:
            live.cancel()

    async def _keep(self, old: _Running, failed: _Running) -> _Running:
        """The replacement did not come about: stay with the old connection and try again later."""
        ended = failed.task.result() if failed.task.done() else Ended("the replacement stayed silent", None)
        await _stop(failed)
        self._leave_out(ended)
        wait = self._backoff.next_wait(ended.lived_seconds, ended.retry_after_seconds)
        log.warning("%s %s: replacement failed, %s; next in %.1f s", *self._name(), ended.reason, wait)
        old.replace_at = asyncio.get_running_loop().time() + wait
        return old

    def _name(self) -> tuple[str, str]:
        return self.route.venue, self.route.name


async def _stop(running: _Running) -> None:
    running.task.cancel()
    (outcome,) = await asyncio.gather(running.task, return_exceptions=True)
    if isinstance(outcome, Exception):  # an error of our own; being cancelled is none
        raise outcome
