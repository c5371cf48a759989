"""How long venues want no calls from this address, kept beside the lake: a ban outlives the process that earned it.

A call during a ban makes it longer (Binance: from two minutes up to three days). ``LAKE/.fetch/VENUE.bans.json`` holds
for each host until when, in words and in milliseconds since 1970, and what the venue said; a person may read it and
delete it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from crypto.errors import DataError
from crypto.units import iso
from data.sources.ledger import FOLDER
from data.store.atomic import write_bytes
from data.store.lake import Lake

# A pause shorter than this is over before another process could ask.
_SHORTEST_S = 1.0


class Ban(msgspec.Struct):
    """``until``: as ``until_ms``, for people. ``noted_ms``: when we were told. ``said``: the venue's answer."""

    until: str
    until_ms: int
    noted_ms: int
    said: str


class Bans:
    """The bans of one venue in a file, which is read each time: a feed that runs for weeks hears of those of a fetch.

    ``now``: seconds of a clock that other processes share.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self.path, self._now = path, now

    def left_s(self, host: str) -> float:
        """Seconds until that host may be called; 0 when it may be now. ``DataError`` names a damaged file."""
        ban = self._read().get(host)
        if ban is None:
            return 0.0
        # A clock that was set back since may not make a ban longer than it was.
        return max(0.0, ban.until_ms - max(self._now_ms(), ban.noted_ms)) / 1000

    def words(self, host: str) -> str:
        """``until 2026-01-31T00:00:00Z (HTTP 418 ...)`` of a host that is banned."""
        ban = self._read().get(host)
        return "until now" if ban is None else f"until {ban.until} ({ban.said})"

    def note(self, host: str, seconds: float, said: str) -> None:
        """Remember that ``host`` wants no call for ``seconds``; ended bans are dropped. ``OutputError`` as a write."""
        if seconds < _SHORTEST_S:
            return
        now = self._now_ms()
        until = now + round(1000 * seconds)
        held = {name: ban for name, ban in self._read().items() if ban.until_ms > now}
        if host not in held or held[host].until_ms < until:
            held[host] = Ban(iso(until), until, now, said)
        write_bytes(self.path, msgspec.json.format(msgspec.json.encode(held), indent=1) + b"\n")

    def _read(self) -> dict[str, Ban]:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=dict[str, Ban])
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            raise DataError(
                f"{self.path} is damaged: {error}", remedy="delete it, if no ban of this address is running"
            ) from error

    def _now_ms(self) -> int:
        return int(1000 * self._now())


def bans_of(lake: Lake, venue: str) -> Bans:
    """The bans of a venue that were noted in a lake."""
    return Bans(Path(lake.root) / FOLDER / f"{venue}.bans.json")
