"""When to try again: growing waits with jitter, a venue's own waiting time, and a limit on attempts per window."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_MOST_DOUBLINGS = 32
MOST_SECONDS = 86_400.0  # our choice: a longer Retry-After is a fault of the venue, and a day's silence is enough


@dataclass(slots=True)
class Backoff:
    """Waits that double from ``first_seconds`` to ``most_seconds``, each times a random part of 1/2 .. 1.

    A connection that lived shorter than ``good_seconds`` counts as one more failure: a venue that accepts and then
    kicks is not called again at once.
    """

    first_seconds: float
    most_seconds: float
    good_seconds: float
    chance: random.Random
    failures: int = 0

    def next_wait(self, lived_seconds: float | None, retry_after_seconds: float | None = None) -> float:
        """Seconds to wait after a connection that lived so long, or None where none came about.

        ``retry_after_seconds``: what the venue asked for; the wait is never shorter.
        """
        if lived_seconds is not None and lived_seconds >= self.good_seconds:
            self.failures = 0
        full = min(self.most_seconds, self.first_seconds * 2.0 ** min(self.failures, _MOST_DOUBLINGS))
        self.failures += 1
        wait = full * self.chance.uniform(0.5, 1.0)
        return wait if retry_after_seconds is None else max(wait, retry_after_seconds)


@dataclass(slots=True)
class AttemptLimit:
    """At most ``most`` connection attempts in any ``window_seconds``, over all routes of a venue."""

    most: int
    window_seconds: float
    _times: deque[float] = field(default_factory=deque)

    def wait(self, now_seconds: float) -> float:
        """Seconds until the next attempt is allowed; 0 when it is now. Times are of a monotonic clock."""
        while self._times and self._times[0] <= now_seconds - self.window_seconds:
            self._times.popleft()
        if len(self._times) < self.most:
            return 0.0
        return self._times[0] + self.window_seconds - now_seconds

    def spend(self, now_seconds: float) -> None:
        """Count an attempt that is made now."""
        self._times.append(now_seconds)


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """A Retry-After header, seconds or an HTTP date, in seconds from ``now``, at most a day.

    None when it is absent or unreadable.

    Source: RFC 9110, section 10.2.3.
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), MOST_SECONDS)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max(0.0, (at - now).total_seconds()), MOST_SECONDS)
