"""One-minute bars of prices as they arrive, and of minutes only in which nothing was missed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from data.store.rows import Columns

MINUTE_MS = 60_000
MOST_GAP_MS = 5_000  # our choice: marks come every second at Binance, at most every ten at others


@dataclass(slots=True)
class MinuteBars:
    """Open, high, low and close of each whole minute of one price.

    A minute counts when values came without a gap above five seconds from its start to the next minute: what the feed
    did not see makes no bar. Stamps that go back are left out and counted.
    """

    late: int = 0
    incomplete: int = 0
    _bars: list[tuple[int, float, float, float, float]] = field(default_factory=list)
    _last_ms: int = -1
    _since_ms: int = -1
    _minute: int = -1
    _prices: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    def add(self, time_ms: int, price: float) -> None:
        """A value that held at ``time_ms``."""
        if time_ms < self._last_ms:
            self.late += 1
            return
        minute = time_ms // MINUTE_MS
        has_gap = self._last_ms < 0 or time_ms - self._last_ms > MOST_GAP_MS
        if minute != self._minute or has_gap:
            self._finish(is_whole=not has_gap)
        if has_gap:
            self._since_ms = time_ms
        if minute != self._minute or has_gap:
            self._minute, self._prices = minute, (price, price, price, price)
        else:
            first, high, low, _ = self._prices
            self._prices = (first, max(high, price), min(low, price), price)
        self._last_ms = time_ms

    def columns(self) -> Columns:
        """The whole minutes so far, as the lake holds them; the one that is not over is left out."""
        rows = np.array(self._bars, dtype=np.float64).reshape(-1, 5)
        times = np.array([bar[0] for bar in self._bars], dtype=np.int64)
        return {"time_ms": times} | {name: rows[:, at] for at, name in enumerate(("open", "high", "low", "close"), 1)}

    def _finish(self, *, is_whole: bool) -> None:
        if self._minute < 0:
            return
        start_ms = self._minute * MINUTE_MS
        if is_whole and self._since_ms <= start_ms:
            self._bars.append((start_ms, *self._prices))
        else:
            self.incomplete += 1
