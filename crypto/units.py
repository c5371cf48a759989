"""Units of time and rates, and the text form of instants. Nothing here reads a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from crypto.compiled import kernel
from crypto.errors import UsageError

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
# Whole, so that exact arithmetic on fractions stays exact; 365 days, the convention of venues' annual rates.
HOURS_PER_YEAR = 8760
BPS = 1e-4

_TIMEFRAMES = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "6h": 6 * HOUR_MS,
    "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@kernel
def annualised(rate: float, interval_hours: float) -> float:
    """Simple annual rate of ``rate`` per ``interval_hours`` (> 0): rate x 8760 / interval, not compounded."""
    return rate * HOURS_PER_YEAR / interval_hours


def timeframe_ms(timeframe: str) -> int:
    """Length in milliseconds of a bar named as venues name it (``5m``, ``1h``); ``UsageError`` when unknown."""
    if timeframe not in _TIMEFRAMES:
        raise UsageError(f"timeframe {timeframe!r} is unknown", remedy=f"use one of {', '.join(_TIMEFRAMES)}")
    return _TIMEFRAMES[timeframe]


def iso(time_ms: int) -> str:
    """UTC text of an instant, ``2020-01-01T08:00:00Z``; milliseconds are shown only where there are some."""
    # numpy writes any year: a stamp in the wrong unit must still be printable in the message that refuses it.
    return str(np.datetime64(int(time_ms), "ms")).removesuffix(".000") + "Z"


def parse_iso(text: str) -> int:
    """Milliseconds since 1970 of an ISO date or date-time; without offset it is UTC. ``UsageError`` when malformed."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is not an ISO date or date-time", remedy="write 2024-01-31 or 2024-01-31T08:00:00Z"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)
