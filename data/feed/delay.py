"""How late a venue's messages come, told apart from clocks that differ."""

from __future__ import annotations

from dataclasses import dataclass

# Venues whose stamps are those of the message, not of an older value in it: only they tell how late data are.
STAMPED = frozenset({"binance", "bybit"})
# A stamp from further ahead than a clock can move is wrong unless so many follow it (a machine that slept); our choice.
JUMP_MS = 1000.0
JUMPS_TO_BELIEVE = 10
MOST_DRIFT = 1e-4  # of two clocks against each other; quartz without any correction is off by less than 0.005 %


@dataclass(slots=True)
class Delay:
    """Local time of receipt minus the venue's stamp, ms: of the last message, and the least that is possible.

    The least is the difference of the clocks and the shortest way; what the last one has beyond it is lateness. Clocks
    drift apart, so the least may grow by ``MOST_DRIFT`` of the time that passes. ``jumps``: stamps in a row that are
    too far ahead to be believed yet.
    """

    last_ms: float
    least_ms: float
    received_ns: int
    jumps: int = 0

    @property
    def late_ms(self) -> float:
        """How much later than at best the last message came."""
        return self.last_ms - self.least_ms

    def measure(self, apart_ms: float, received_ns: int) -> None:
        """One more message."""
        drifted_ms = self.least_ms + MOST_DRIFT * (received_ns - self.received_ns) / 1e6
        self.jumps = self.jumps + 1 if apart_ms < drifted_ms - JUMP_MS else 0
        if not 0 < self.jumps < JUMPS_TO_BELIEVE:
            self.least_ms = min(apart_ms, drifted_ms)
            self.jumps = 0
        self.last_ms, self.received_ns = apart_ms, received_ns
