"""Units spent of a venue's budgets, kept beside the lake: a process started again goes on with the count of the last.

Binance's funding bucket is 500 calls in 5 minutes: without this, two short fetches after each other could spend twice
that. Written at most once a second, so a kill loses a second of calls, which the unused tenth of a budget covers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from crypto.errors import DataError
from data.sources.limits import Limiter
from data.store.atomic import write_bytes

_EVERY_S = 1.0


class _Noted(msgspec.Struct):
    at_s: float
    spent: dict[str, list[tuple[float, int]]]


class SpentFile:
    """One venue's count in a file. ``now``: seconds of a clock that other processes share."""

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path, self._now = path, now
        self._written_s = 0.0

    def resume(self, limiter: Limiter) -> None:
        """Count what earlier processes spent; ``DataError`` naming a damaged file. One of the future is of now."""
        try:
            noted = msgspec.json.decode(self._path.read_bytes(), type=_Noted)
        except FileNotFoundError:
            return
        except msgspec.DecodeError as error:
            raise DataError(
                f"{self._path} is damaged: {error}", remedy="delete it, five minutes after the last fetch"
            ) from error
        since_s = max(0.0, self._now() - noted.at_s)
        limiter.resume({name: [(ago + since_s, units) for ago, units in calls] for name, calls in noted.spent.items()})

    def note(self, limiter: Limiter) -> None:
        """Write the count, unless it was written within the last second."""
        if not 0.0 <= self._now() - self._written_s < _EVERY_S:
            self.save(limiter)

    def save(self, limiter: Limiter) -> None:
        """Write the count; ``OutputError`` as ``atomic_write``."""
        self._written_s = self._now()
        write_bytes(self._path, msgspec.json.encode(_Noted(self._written_s, limiter.spent())))
