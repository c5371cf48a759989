"""Which settlements' rates are held, so that each is recorded once and what is missing can be asked for."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import Final

from crypto.units import DAY_MS
from data.streams.perps import Key

SAME_MS: Final = 60_000  # two stamps of one settlement differ by less: venues stamp blocks and announce early
MOST_BACK_MS: Final = 7 * DAY_MS  # our choice: what is older is history, which ``carry fetch funding`` has


@dataclass(slots=True)
class SettledLog:
    """Times of settlement by contract, of the last week before each contract's newest."""

    _times: dict[Key, list[int]] = field(default_factory=dict)

    def add(self, key: Key, settlement_ms: int) -> None:
        """The rate of this settlement is held."""
        times = self._times.setdefault(key, [])
        if not self.has(key, settlement_ms):
            insort(times, settlement_ms)
            del times[: bisect_left(times, times[-1] - MOST_BACK_MS)]

    def has(self, key: Key, settlement_ms: int) -> bool:
        """Whether the rate of this settlement is held."""
        times = self._times.get(key, [])
        at = bisect_left(times, settlement_ms - SAME_MS)
        return at < len(times) and times[at] <= settlement_ms + SAME_MS

    def before(self, key: Key, settlement_ms: int) -> int | None:
        """The last settlement before this one whose rate is held."""
        times = self._times.get(key, [])
        at = bisect_left(times, settlement_ms - SAME_MS)
        return times[at - 1] if at else None
