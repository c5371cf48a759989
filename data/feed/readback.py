"""Reading back the rates that were really paid: of a settlement that has just passed, and of those that were missed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from crypto.errors import CarryError
from crypto.units import iso
from data.feed.names import instrument
from data.feed.settled_log import MOST_BACK_MS, SAME_MS, SettledLog
from data.streams.events import FundingSettled
from data.streams.perps import Key

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Settlements of an instrument (venue, kind, symbol): later than ``since_ms``, not later than ``until_ms``.

    ``settlement_ms``: the one that is waited for, by the venue's announcement; stamps within a minute of it are its.
    """

    key: Key
    since_ms: int
    settlement_ms: int
    until_ms: int


class FundingReader(Protocol):
    """Where realised funding is read: a venue's REST interface, or a stand-in."""

    async def settled(self, wanted: Wanted) -> Sequence[FundingSettled]:
        """What the venue lists of these, oldest first. ``CarryError`` when the venue can't be asked."""
        ...


@dataclass(slots=True)
class SettlementReader:
    """Asks for the rate of each passed settlement, some seconds after it and again until the venue has it.

    With each it asks for all that is missing since the last one that is held, at most a week. ``now_ms``: the venue's
    time as we know it. ``held``: what is recorded already. ``settled`` is called with each rate that was found and has
    to enter it into ``held``; ``failed`` with an error of our own.
    """

    reader: FundingReader
    waits_seconds: tuple[float, ...]
    now_ms: Callable[[str], int]
    held: SettledLog
    settled: Callable[[FundingSettled], None]
    failed: Callable[[BaseException], None]
    found: int = 0
    missing: list[str] = field(default_factory=list)
    _tasks: dict[tuple[Key, int], asyncio.Task[None]] = field(default_factory=dict)

    def start(self, key: Key, settlement_ms: int, *, is_sure: bool = True) -> None:
        """Begin to ask for one settlement; returns at once. ``is_sure``: whether there was one at that time.

        Does nothing when its rate is held or being asked for.
        """
        asking = (key, settlement_ms)
        if asking in self._tasks or self.held.has(key, settlement_ms):
            return
        self._tasks[asking] = task = asyncio.create_task(self._read(key, settlement_ms, is_sure=is_sure))
        task.add_done_callback(lambda task: self._finished(asking, task))

    async def stop(self) -> None:
        """Give up what is still being asked for."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _finished(self, asking: tuple[Key, int], task: asyncio.Task[None]) -> None:
        del self._tasks[asking]
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error)

    async def _read(self, key: Key, settlement_ms: int, *, is_sure: bool) -> None:
        name, venue = instrument(*key), key[0]
        # One that passed long ago is asked for at once, and again after the same waits.
        first_ms = max(settlement_ms, self.now_ms(venue) - round(self.waits_seconds[0] * 1000.0))
        for wait in self.waits_seconds:
            await asyncio.sleep(max(0.0, first_ms / 1000.0 + wait - self.now_ms(venue) / 1000.0))
            if self.held.has(key, settlement_ms):
                return  # it came with another one
            asked_ms = self.now_ms(venue)
            try:
                events = await self.reader.settled(self._wanted(key, settlement_ms, asked_ms))
            except CarryError as error:
                log.warning("%s: settled funding of %s: %s", name, iso(settlement_ms), error.message)
                continue
            self._take(key, events)
            if self.held.has(key, settlement_ms) or not (is_sure or asked_ms - settlement_ms < SAME_MS):
                return
        if is_sure:
            self.missing.append(f"{name} {iso(settlement_ms)}")
            log.warning("%s: the venue published no funding for %s", name, iso(settlement_ms))

    def _wanted(self, key: Key, settlement_ms: int, now_ms: int) -> Wanted:
        last_ms = self.held.before(key, settlement_ms)
        earliest_ms = settlement_ms - MOST_BACK_MS
        if last_ms is None:
            since_ms = settlement_ms - SAME_MS
        else:
            since_ms = max(last_ms + SAME_MS, earliest_ms)
            if last_ms < earliest_ms:
                log.warning(
                    "%s: settlements between %s and %s are not read back: carry fetch funding has them",
                    instrument(*key), iso(last_ms), iso(earliest_ms),
                )  # fmt: skip
        return Wanted(key, since_ms, settlement_ms, max(settlement_ms, now_ms) + SAME_MS)

    def _take(self, key: Key, events: Sequence[FundingSettled]) -> None:
        for event in events:
            if not self.held.has(key, event.settlement_ms):
                self.found += 1
                self.settled(event)
