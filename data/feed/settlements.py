"""Settlements that have passed, changes of their interval, and reading back the rate that was really paid."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from crypto.errors import CarryError
from crypto.units import iso
from data.feed.names import instrument
from data.streams.events import FundingSettled
from data.streams.perps import Key

log = logging.getLogger(__name__)

HOUR_MS = 3_600_000
EARLY_MS = 60_000  # a venue may announce the next settlement so long before this one is over
RECENT_MS = 30 * 60_000  # our choice: a feed that starts so soon after a settlement may have been stopped around it
# They pay at every full hour and state no next settlement on their streams (venues.md 2.4, 2.5).
HOURLY = frozenset({"hyperliquid", "dydx"})


def next_hour_ms(time_ms: int) -> int:
    """The first full hour after ``time_ms``, UTC."""
    return (time_ms // HOUR_MS + 1) * HOUR_MS


@dataclass(frozen=True, slots=True)
class IntervalChange:
    """A contract's settlements changed their spacing, or the next one was moved.

    Hours are None where they are not known. ``next_ms`` replaces ``before_ms`` as the next settlement.
    """

    key: Key
    before_hours: float | None
    hours: float | None
    before_ms: int
    next_ms: int


class Schedule(msgspec.Struct, frozen=True, array_like=True):
    """What the watch holds of one contract: next settlement, interval, last settlement that passed."""

    key: Key
    next_ms: int
    hours: float | None
    passed_ms: int | None


@dataclass(slots=True)
class SettlementWatch:
    """Follows each contract's next settlement as the venue announces it. No clock of its own.

    Binance states no interval: there it is the step from a settlement that passed to the next one, where nothing can
    have settled unseen between the two. Bybit states it. All times are the venue's, so a clock of ours that is off
    changes nothing.
    """

    _next_ms: dict[Key, int] = field(default_factory=dict)
    _hours: dict[Key, float] = field(default_factory=dict)
    _passed: dict[Key, int] = field(default_factory=dict)
    _due: list[tuple[Key, int]] = field(default_factory=list)

    def seen(self, key: Key, next_ms: int, stated_hours: float | None, at_ms: int) -> IntervalChange | None:
        """The venue announces ``next_ms`` at ``at_ms``; returns the change when spacing or the next time changed."""
        if key not in self._next_ms and stated_hours:
            self._read_recent(key, next_ms - round(stated_hours * HOUR_MS), at_ms)
        before_ms = self._next_ms.get(key, next_ms)
        self._next_ms[key] = next_ms
        was_moved = False
        hours = stated_hours
        if next_ms != before_ms:
            if at_ms >= before_ms - EARLY_MS:
                self._mark_passed(key, before_ms)
                # Later than an hour after it others may have settled unseen: the step then says nothing.
                if at_ms - before_ms < HOUR_MS:
                    hours = hours or (next_ms - before_ms) / HOUR_MS
            else:
                was_moved = True
        before_hours = self._hours.get(key)
        if hours is not None and hours > 0.0:
            self._hours[key] = hours
        changed = hours is not None and before_hours is not None and hours != before_hours
        if not (changed or was_moved):
            return None
        return IntervalChange(key, before_hours, hours, before_ms, next_ms)

    def take_due(self, now_ms: Callable[[str], int]) -> list[tuple[Key, int]]:
        """Instruments and settlement times that have passed since the last call, each once. ``now_ms``: by venue."""
        now = {venue: now_ms(venue) for venue in {key[0] for key in self._next_ms}}
        for key, next_ms in self._next_ms.items():
            if 0 < next_ms <= now[key[0]]:
                self._mark_passed(key, next_ms)
        due, self._due = self._due, []
        return due

    def dump(self) -> list[Schedule]:
        """Everything that is held but what is due, which only a live feed asks for."""
        return [
            Schedule(key, next_ms, self._hours.get(key), self._passed.get(key))
            for key, next_ms in self._next_ms.items()
        ]

    def load(self, schedules: list[Schedule]) -> None:
        """Take over what ``dump`` gave, in place of what is held."""
        self._next_ms = {held.key: held.next_ms for held in schedules}
        self._hours = {held.key: held.hours for held in schedules if held.hours is not None}
        self._passed = {held.key: held.passed_ms for held in schedules if held.passed_ms is not None}

    def _read_recent(self, key: Key, settlement_ms: int, at_ms: int) -> None:
        """At the first word of a contract: have its last settlement read back when it was just now."""
        if 0 <= at_ms - settlement_ms < RECENT_MS:
            self._mark_passed(key, settlement_ms)

    def _mark_passed(self, key: Key, settlement_ms: int) -> None:
        if settlement_ms > self._passed.get(key, 0):
            self._passed[key] = settlement_ms
            self._due.append((key, settlement_ms))


def interval_words(change: IntervalChange) -> str:
    """The change in words."""
    if change.hours is not None and change.before_hours is not None and change.hours != change.before_hours:
        return f"settles every {change.hours:g} h instead of {change.before_hours:g} h; next {iso(change.next_ms)}"
    return f"next settlement moved from {iso(change.before_ms)} to {iso(change.next_ms)}"


class FundingReader(Protocol):
    """Where realised funding is read: a venue's REST interface, or a stand-in."""

    async def settled(self, key: Key, settlement_ms: int) -> FundingSettled | None:
        """Funding of an instrument (venue, kind, symbol) settled then; None while the venue has not published it.

        ``CarryError`` when the venue can't be asked.
        """
        ...


@dataclass(slots=True)
class SettlementReader:
    """Asks for the rate of each passed settlement, some seconds after it and again until the venue has it.

    ``now_ms``: the venue's time as we know it. ``settled`` is called with each rate that was found, ``failed`` with an
    error of our own.
    """

    reader: FundingReader
    waits_seconds: tuple[float, ...]
    now_ms: Callable[[str], int]
    settled: Callable[[FundingSettled], None]
    failed: Callable[[BaseException], None]
    found: int = 0
    missing: list[str] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def start(self, key: Key, settlement_ms: int) -> None:
        """Begin to ask for one settlement; returns at once."""
        task = asyncio.create_task(self._read(key, settlement_ms))
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    async def stop(self) -> None:
        """Give up what is still being asked for."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error)

    async def _read(self, key: Key, settlement_ms: int) -> None:
        name = instrument(*key)
        for wait in self.waits_seconds:
            await asyncio.sleep(max(0.0, settlement_ms / 1000.0 + wait - self.now_ms(key[0]) / 1000.0))
            try:
                event = await self.reader.settled(key, settlement_ms)
            except CarryError as error:
                log.warning("%s: settled funding of %s: %s", name, iso(settlement_ms), error.message)
                continue
            if event is not None:
                self.found += 1
                self.settled(event)
                return
        self.missing.append(f"{name} {iso(settlement_ms)}")
        log.warning("%s: the venue published no funding for %s", name, iso(settlement_ms))
