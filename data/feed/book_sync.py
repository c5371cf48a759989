"""Bringing books back into step that need a snapshot from elsewhere: Binance's streams bring changes only."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from crypto.errors import CarryError
from data.feed.backoff import Backoff
from data.feed.names import instrument
from data.feed.options import FeedTimes
from data.streams.events import BookSnapshot
from data.streams.perps import Key

log = logging.getLogger(__name__)


class BookReader(Protocol):
    """Where snapshots are read: a venue's REST interface, or a stand-in."""

    async def book(self, key: Key) -> BookSnapshot:
        """The instrument's book now. ``CarryError`` when the venue can't be asked."""
        ...


@dataclass(slots=True)
class BookSynchroniser:
    """Asks for a book's snapshot until the book is in step: at once, then after growing waits.

    ``is_waiting``: whether an open connection brings changes of the instrument and its book lacks a snapshot.
    ``deliver`` is called with each snapshot, ``failed`` with an error of our own. A book that falls out of step again
    soon after it was in step counts as one more failure, so that no fault of a venue becomes a storm of calls.
    """

    reader: BookReader
    times: FeedTimes
    seed: int
    is_waiting: Callable[[Key], bool]
    deliver: Callable[[BookSnapshot], None]
    failed: Callable[[BaseException], None]
    _tasks: dict[Key, asyncio.Task[None]] = field(default_factory=dict)
    _backoffs: dict[Key, Backoff] = field(default_factory=dict)
    _in_step_since: dict[Key, float] = field(default_factory=dict)

    def start(self, key: Key) -> None:
        """Begin to bring a book into step; returns at once, and does nothing when that is going on already."""
        if key not in self._tasks:
            self._tasks[key] = task = asyncio.create_task(self._bring(key))
            task.add_done_callback(lambda task: self._finished(key, task))

    async def stop(self) -> None:
        """Give up what is still being asked for."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _finished(self, key: Key, task: asyncio.Task[None]) -> None:
        del self._tasks[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error)

    async def _bring(self, key: Key) -> None:
        backoff = self._backoff(key)
        wait = self._first_wait(key, backoff)
        while True:
            await asyncio.sleep(wait)
            if not self.is_waiting(key):
                break
            try:
                self.deliver(await self.reader.book(key))
            except CarryError as error:
                log.warning("%s: snapshot of the book: %s", instrument(*key), error.message)
            if not self.is_waiting(key):
                break
            wait = backoff.next_wait(None)
        self._in_step_since[key] = asyncio.get_running_loop().time()

    def _first_wait(self, key: Key, backoff: Backoff) -> float:
        since = self._in_step_since.get(key)
        lived = None if since is None else asyncio.get_running_loop().time() - since
        if lived is None or lived >= self.times.good_seconds:
            backoff.failures = 0
            return 0.0
        return backoff.next_wait(lived)

    def _backoff(self, key: Key) -> Backoff:
        if key not in self._backoffs:
            chance = random.Random(f"{self.seed} book {key}")  # noqa: S311 - spreads load
            times = self.times
            self._backoffs[key] = Backoff(times.first_wait_seconds, times.most_wait_seconds, times.good_seconds, chance)
        return self._backoffs[key]
