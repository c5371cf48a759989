"""Rows for Lean's live custom data: one file per instrument and UTC day, one whole line per write.

Lean polls such a file and keeps its place by time. What was measured: with rows 0.7 s apart ``Resolution.TICK`` lost
none and ``Resolution.SECOND`` lost 15 of 57; with rows 2.5 s apart neither lost any; a row not later than its
predecessor is dropped; the row that stood there before the first poll is skipped; letters in a number are read as
digits. So rows keep a distance, times only grow, numbers have no exponent, there is no header and no blank line, and
every row is complete in itself: a row that Lean does miss costs a moment, never a value. Spec: docs/specs/feed.md.
"""

from __future__ import annotations

import errno
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from crypto.errors import DataError, OutputError

log = logging.getLogger(__name__)

COLUMNS = (
    "time_ms",
    "mark",
    "index",
    "predicted_rate",
    "next_settlement_ms",
    "interval_hours",
    "bid",
    "bid_quantity",
    "ask",
    "ask_quantity",
    "settled_ms",
    "settled_rate",
    "age_ms",
    "stale",
)
LEAST_TICK_SECONDS = 0.7  # the closest rows of which Resolution.TICK was seen to lose none
LEAST_SECOND_SECONDS = 2.5  # the same for Resolution.SECOND

_LONGEST_SYMBOL_BYTES = 200  # of a file name's 255
_TAIL_BYTES = 1 << 16  # far more than the longest row
_WORTH_SAYING_MS = 1000

Value = float | int | None


def plain(value: Value) -> str:
    """A number as Lean's parsers read it: digits, sign and point only; empty when there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return format(Decimal(repr(value)), "f")


def line(time_ms: int, values: Mapping[str, Value]) -> bytes:
    """One row with its line feed. ``values`` has a value for each column but ``time_ms``; others are a ``KeyError``."""
    return ",".join([str(time_ms), *(plain(values[name]) for name in COLUMNS[1:])]).encode() + b"\n"


@dataclass(slots=True)
class RowWriter:
    """Appends rows at least ``row_seconds`` apart per instrument. A restart goes on after the last row of the file."""

    folder: Path
    row_seconds: float
    rows: int = 0
    held_back: int = 0
    _last_ms: dict[str, int] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def is_due(self, instrument: str, now_ms: int) -> bool:
        """Whether the instrument's next row may be written. A clock that went back holds rows until it caught up.

        Never for a symbol that can be no file's name: venues' symbols come from outside.
        """
        if not _is_file_name(symbol := instrument.split(":", 2)[-1]):
            self._say_once(instrument, "%s: no rows, because %.60r can be no file's name", instrument[:100], symbol)
            return False
        last = self._last(instrument, now_ms)
        if now_ms <= last:
            self.held_back += 1
            if last - now_ms > _WORTH_SAYING_MS:
                seconds = (last - now_ms) / 1000.0
                text = "%s: no rows for Lean for %.0f s, until the clock has passed the last one: it went back"
                self._say_once(instrument, text, instrument, seconds)
            return False
        self._told.discard(instrument)
        return now_ms - last >= self.row_seconds * 1000.0

    def write(self, instrument: str, now_ms: int, values: Mapping[str, Value]) -> None:
        """Append one row. ``instrument``: venue:kind:SYMBOL. ``OutputError`` names a file that can't be written."""
        path = self.path(instrument, now_ms)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _append(path, line(now_ms, values))
        except OSError as error:
            raise OutputError(
                f"cannot write {path}: {os.strerror(error.errno or 0)}",
                remedy="free space there or name another folder (--rows)",
            ) from error
        self._last_ms[instrument] = now_ms
        self.rows += 1

    def path(self, instrument: str, now_ms: int) -> Path:
        """``folder/binance/linear/BTCUSDT/20260131.csv``."""
        day = datetime.fromtimestamp(now_ms / 1000.0, UTC).strftime("%Y%m%d")
        return self.folder.joinpath(*instrument.split(":", 2), f"{day}.csv")

    def _say_once(self, instrument: str, text: str, *values: object) -> None:
        if instrument not in self._told:
            self._told.add(instrument)
            log.warning(text, *values)

    def _last(self, instrument: str, now_ms: int) -> int:
        if instrument not in self._last_ms:
            self._last_ms[instrument] = _resume(self.path(instrument, now_ms))
        return self._last_ms[instrument]


def _append(path: Path, row: bytes) -> None:
    """One write, so that a reader sees the line whole or not at all; what a full disk took of it is cut off again."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        before = os.fstat(descriptor).st_size
        if os.write(descriptor, row) != len(row):
            os.ftruncate(descriptor, before)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)


def _resume(path: Path) -> int:
    """Time of the last whole row of a file that is there already, cutting a half-written line after it; else 0.

    ``DataError`` names a file whose end is no row of ours.
    """
    try:
        with path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            start = file.seek(max(0, size - _TAIL_BYTES))
            content = file.read()
            end = content.rfind(b"\n") + 1
            if end < len(content):
                file.truncate(start + end)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {os.strerror(error.errno or 0)}", remedy="name another folder (--rows)"
        ) from error
    if not end and not start:
        return 0
    stamp = content[:end].rstrip(b"\n").rpartition(b"\n")[2].split(b",", 1)[0]
    if not stamp.isdigit():
        raise DataError(f"{path} does not end with a row of a feed", remedy="move it away, or name another --rows")
    return int(stamp)


def _is_file_name(symbol: str) -> bool:
    # Control characters, a NUL among them, would break lines and calls.
    return (
        symbol.isprintable()
        and "/" not in symbol
        and symbol[:1] != "."
        and 0 < _bytes(symbol) <= (_LONGEST_SYMBOL_BYTES)
    )


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
