"""Keeping to a venue's limits: units in a sliding window per budget, and staying away when told to."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

from data.sources.endpoints.base import Budget

# Part of each budget that is used: others on the same address (a browser, a bot) need some, and clocks differ.
USED_PART = 0.9

_TOLD_EVERY_S = 60.0

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


class Window:
    """Units spent in the last ``window_s`` seconds of one budget. Never more than 90 % of it in any such window."""

    def __init__(self, budget: Budget) -> None:
        self.limit = max(1, int(budget.limit * USED_PART))
        self._window_s = budget.window_s
        self._spent: deque[tuple[float, int]] = deque()
        self._sum = 0

    def wait(self, now: float, units: int) -> float:
        """Seconds from ``now`` until ``units`` more may be spent; 0 when they may be spent at once."""
        self._forget(now)
        left = self._sum + min(units, self.limit) - self.limit
        if left <= 0:
            return 0.0
        for at, spent in self._spent:
            left -= spent
            if left <= 0:
                return max(0.0, at + self._window_s - now)
        return self._window_s

    def spend(self, now: float, units: int) -> None:
        """Note units spent at ``now``."""
        self._spent.append((now, units))
        self._sum += units

    def spent(self, now: float) -> list[tuple[float, int]]:
        """Seconds before ``now`` and units of what still counts, oldest first."""
        self._forget(now)
        return [(now - at, units) for at, units in self._spent]

    def reported(self, now: float, used: int) -> None:
        """The venue counts ``used`` units, others' calls included: what we did not know of is noted as spent now."""
        self._forget(now)
        if used > self._sum:
            self.spend(now, used - self._sum)

    def _forget(self, now: float) -> None:
        while self._spent and self._spent[0][0] <= now - self._window_s:
            self._sum -= self._spent.popleft()[1]


class Limiter:
    """All budgets of one venue, first come first served. ``clock`` and ``sleep`` can be replaced in tests.

    ``on_wait`` gets the seconds left, at the beginning of a wait and every minute of it.
    """

    def __init__(
        self,
        budgets: Mapping[str, Budget],
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        on_wait: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._windows = {name: Window(budget) for name, budget in budgets.items()}
        self._headers = {name: budget.used_header for name, budget in budgets.items() if budget.used_header}
        self._clock, self._sleep, self._on_wait = clock, sleep, on_wait
        self._away_until = 0.0
        self._turn = asyncio.Lock()
        self.waited_s = 0.0

    async def acquire(self, weights: Mapping[str, int]) -> None:
        """Return when a call of these weights may be made, and note it as made."""
        async with self._turn:
            while (wait := self._wait(weights)) > 0:
                self._on_wait(wait)
                part = min(wait, _TOLD_EVERY_S)
                self.waited_s += part
                await self._sleep(part)
            now = self._clock()
            for name, units in weights.items():
                self._windows[name].spend(now, units)

    def stay_away(self, seconds: float) -> None:
        """No call before ``seconds`` from now: the venue said so."""
        self._away_until = max(self._away_until, self._clock() + seconds)

    def observe(self, weights: Mapping[str, int], headers: Mapping[str, str]) -> None:
        """Take over the venue's own count of the budgets that a call used, where its answer tells one."""
        for name in weights:
            text = headers.get(self._headers.get(name, ""), "")
            if text.isdigit():
                self._windows[name].reported(self._clock(), int(text))

    def spent(self) -> dict[str, list[tuple[float, int]]]:
        """How many seconds ago and how many units, of every call that still counts, by budget."""
        now = self._clock()
        return {name: window.spent(now) for name, window in self._windows.items()}

    def resume(self, spent: Mapping[str, Sequence[tuple[float, int]]]) -> None:
        """Count calls of an earlier process, oldest first; budgets that are no more are left out."""
        now = self._clock()
        for name, calls in spent.items():
            if name in self._windows:
                for ago_s, units in calls:
                    self._windows[name].spend(now - ago_s, units)

    def _wait(self, weights: Mapping[str, int]) -> float:
        now = self._clock()
        return max(
            self._away_until - now, *(self._windows[name].wait(now, units) for name, units in weights.items()), 0.0
        )
