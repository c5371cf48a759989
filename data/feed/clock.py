"""The clock of a feed: wall time at its start plus monotonic time since, so that it never goes back or jumps."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class FeedClock:
    """Stamps of what is received. Steps of the wall clock (NTP, by hand) make nothing look older or younger.

    What leaves the process (rows for Lean, the time to ask for a settlement) goes by ``wall_ms`` instead.
    """

    _offset_ns: int = field(default_factory=lambda: time.time_ns() - time.monotonic_ns())

    def now_ns(self) -> int:
        """Nanoseconds since 1970."""
        return time.monotonic_ns() + self._offset_ns

    def wall_ms(self) -> int:
        """The wall clock, milliseconds since 1970."""
        return time.time_ns() // 1_000_000
