"""Settlements that have passed, and changes of their interval, by what the venues announce."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from crypto.units import iso
from data.streams.perps import Key

HOUR_MS = 3_600_000
EARLY_MS = 60_000  # a venue may announce the next settlement so long before this one is over
RECENT_MS = 30 * 60_000  # our choice: how far back a feed without a recording before it looks for a settlement
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
    _unsure: list[tuple[Key, int]] = field(default_factory=list)

    def seen(self, key: Key, next_ms: int, stated_hours: float | None, at_ms: int) -> IntervalChange | None:
        """The venue announces ``next_ms`` at ``at_ms``; returns the change when spacing or the next time changed."""
        if key not in self._next_ms:
            self._look_back(key, next_ms, stated_hours, at_ms)
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
                    self._look_back(key, next_ms, stated_hours, at_ms)
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

    def take_unsure(self) -> list[tuple[Key, int]]:
        """Instruments of which settlements may have passed unseen, with the last full hour, where one may have been."""
        unsure, self._unsure = self._unsure, []
        return unsure

    def know(self, key: Key, settlement_ms: int) -> None:
        """The rate of this settlement is held from before: only later ones are of interest."""
        self._passed[key] = max(settlement_ms, self._passed.get(key, 0))

    def passed(self, key: Key) -> int | None:
        """The last settlement of which it is known that it passed."""
        return self._passed.get(key)

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

    def _look_back(self, key: Key, next_ms: int, stated_hours: float | None, at_ms: int) -> None:
        """At the first word of a contract, or of one that was silent for long: which settlements passed unseen?

        The last one is known where the interval is stated. Else one may have been at each full hour. Of a contract
        that no earlier run knows only what was just now counts.
        """
        known_ms = self._passed.get(key)
        last_ms = next_ms - round(stated_hours * HOUR_MS) if stated_hours else at_ms // HOUR_MS * HOUR_MS
        is_new = 0 <= at_ms - last_ms < RECENT_MS if known_ms is None else known_ms + EARLY_MS < last_ms <= at_ms
        if is_new and stated_hours:
            self._mark_passed(key, last_ms)
        elif is_new:
            self._unsure.append((key, last_ms))

    def _mark_passed(self, key: Key, settlement_ms: int) -> None:
        if settlement_ms > self._passed.get(key, 0):
            self._passed[key] = settlement_ms
            self._due.append((key, settlement_ms))


def interval_words(change: IntervalChange) -> str:
    """The change in words."""
    if change.hours is not None and change.before_hours is not None and change.hours != change.before_hours:
        return f"settles every {change.hours:g} h instead of {change.before_hours:g} h; next {iso(change.next_ms)}"
    return f"next settlement moved from {iso(change.before_ms)} to {iso(change.next_ms)}"
