"""How old a field may be before it counts as stale, by venue. An age runs from the last message that confirmed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Field(IntEnum):
    """Fields of a perpetual, in the order of the table's rows."""

    MARK = 0
    INDEX = 1
    FUNDING_RATE = 2
    NEXT_SETTLEMENT = 3
    INTERVAL = 4


@dataclass(frozen=True, slots=True)
class StalenessLimits:
    """Longest ages in seconds. The interval is a rule that changes rarely and is confirmed by every funding message."""

    mark_seconds: float
    index_seconds: float
    funding_seconds: float
    top_seconds: float

    def of(self, field: Field) -> float:
        """The limit of one field."""
        by_field = {Field.MARK: self.mark_seconds, Field.INDEX: self.index_seconds}
        return by_field.get(field, self.funding_seconds)


# Three times what the venue promises, and not under 3 s; top of book: venues.md 7.2 (10 s for all but majors).
LIMITS: Final[Mapping[str, StalenessLimits]] = {
    # markPrice@1s: every second.
    "binance": StalenessLimits(mark_seconds=3.0, index_seconds=3.0, funding_seconds=3.0, top_seconds=10.0),
    # tickers: a message of the symbol every 100 ms while anything moves; venues.md 5.4.
    "bybit": StalenessLimits(mark_seconds=10.0, index_seconds=10.0, funding_seconds=10.0, top_seconds=10.0),
    # mark at least every 10 s, index at least every minute, funding every 30 to 90 s (OKX API guide).
    "okx": StalenessLimits(mark_seconds=30.0, index_seconds=180.0, funding_seconds=270.0, top_seconds=10.0),
    # the oracle is set every 3 s; venues.md 7.1.
    "hyperliquid": StalenessLimits(mark_seconds=9.0, index_seconds=9.0, funding_seconds=9.0, top_seconds=10.0),
    # no promise: prices come when they move, rates with them.
    "dydx": StalenessLimits(mark_seconds=60.0, index_seconds=60.0, funding_seconds=300.0, top_seconds=10.0),
}
