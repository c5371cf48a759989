"""What has been fetched of a series: ranges proven to be whole, kept beside the lake so that a fetch can go on.

A range is noted after its rows are in the lake, and each file is replaced as a whole. So after a kill at any moment
the lake is readable, and at worst some rows are asked for again, which changes nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

from crypto.errors import DataError
from crypto.market import Integers
from data.store.atomic import write_bytes
from data.store.lake import Lake
from data.store.series import SeriesKey

FOLDER = ".fetch"  # the lake's listing leaves out names with a leading dot
_FORMAT = 1
_PART = re.compile(r"\..+\.(?P<process>\d+)-\d+\.part")

Range = tuple[int, int]


class _Noted(msgspec.Struct):
    format: int
    series: str
    covered: list[tuple[int, int, int]]
    empty: list[tuple[int, int]]
    archived: list[tuple[int, int]] = []


class Ledger:
    """Ranges of one series that are whole, and ranges of missing rows that the venue was asked for again in vain.

    ``archived``: whole ranges whose rows came from the bulk archive and have not been asked of REST since.
    """

    def __init__(self, lake: Lake, key: SeriesKey) -> None:
        self._lake, self._key = lake, key
        self._path = Path(lake.root) / FOLDER / key.venue / f"{key.kind}-{key.symbol}-{key.file_name}.json"
        self._covered: list[Range] = []
        self.empty: list[Range] = []
        self.archived: list[Range] = []
        self._load()

    @property
    def covered(self) -> list[Range]:
        """Whole ranges, ascending, apart from each other."""
        return list(self._covered)

    def missing(self, lo_ms: int, hi_ms: int) -> list[Range]:
        """Parts of a range that are not covered, ascending."""
        return subtract((lo_ms, hi_ms), self._covered)

    def add(self, from_rest: Iterable[Range], from_archive: Iterable[Range] = ()) -> None:
        """Note ranges whose rows are in the lake, by where they came from."""
        asked, taken = merged(from_rest), merged(from_archive)
        self._covered = merged([*self._covered, *asked, *taken])
        self.archived = _without(merged([*self.archived, *taken]), asked)

    def remove(self, lo_ms: int, hi_ms: int) -> None:
        """Take back that a range is whole."""
        self._covered = _without(self._covered, [(lo_ms, hi_ms)])
        self.archived = _without(self.archived, [(lo_ms, hi_ms)])

    def save(self) -> None:
        """Write the file as a whole, with the number of rows that the lake holds in each range."""
        times = self._times()
        counted = [(lo, hi, _count(times, lo, hi)) for lo, hi in self._covered]
        noted = _Noted(_FORMAT, str(self._key), counted, self.empty, self.archived)
        write_bytes(self._path, msgspec.json.encode(noted) + b"\n")

    def _load(self) -> None:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        try:
            noted = msgspec.json.decode(content, type=_Noted)
        except msgspec.DecodeError as error:
            raise DataError(
                f"{self._path} is damaged: {error}", remedy="delete it: the series is then fetched again"
            ) from error
        if noted.format != _FORMAT:
            raise DataError(f"{self._path} has format {noted.format}", remedy="delete it: the series is fetched again")
        times = self._times()
        # A range whose rows are not all there any more (the file was deleted or restored) is fetched again.
        self._covered = [(lo, hi) for lo, hi, rows in noted.covered if _count(times, lo, hi) >= rows]
        self.empty = noted.empty
        self.archived = common(noted.archived, self._covered)

    def _times(self) -> Integers:
        if not self._lake.has(self._key):
            return np.empty(0, dtype=np.int64)
        return self._lake.read(self._key, check=False).time_ms


def remove_leftovers(lake: Lake, key: SeriesKey) -> None:
    """Remove temporary files that killed processes left beside the series."""
    folder = lake.path(key).parent
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        match = _PART.fullmatch(path.name)
        if match and not _is_running(int(match["process"])):
            with suppress(OSError):  # another process may have removed it, and a leftover harms nobody
                path.unlink()


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The union of ranges, ascending, touching ones joined, empty ones dropped."""
    union: list[Range] = []
    for lo, hi in sorted(ranges):
        if lo >= hi:
            continue
        if union and lo <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], hi))
        else:
            union.append((lo, hi))
    return union


def subtract(whole: Range, parts: Iterable[Range]) -> list[Range]:
    """What is left of ``whole`` without ``parts``, ascending."""
    left: list[Range] = []
    at, end = whole
    for lo, hi in merged(parts):
        if hi <= at or lo >= end:
            continue
        if lo > at:
            left.append((at, lo))
        at = max(at, hi)
    if at < end:
        left.append((at, end))
    return left


def is_within(part: Range, wholes: Iterable[Range]) -> bool:
    """Whether one of the ranges holds all of ``part``."""
    return any(lo <= part[0] and part[1] <= hi for lo, hi in wholes)


def common(some: Iterable[Range], others: Iterable[Range]) -> list[Range]:
    """What lies in both sets of ranges, ascending."""
    known = merged(others)
    return [part for whole in merged(some) for part in subtract(whole, subtract(whole, known))]


def _without(wholes: Iterable[Range], parts: list[Range]) -> list[Range]:
    return [left for whole in wholes for left in subtract(whole, parts)]


def _count(times: Integers, lo: int, hi: int) -> int:
    return int(np.searchsorted(times, hi) - np.searchsorted(times, lo))


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
