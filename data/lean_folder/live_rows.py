"""Rates of a running feed, appended to the same files that an export writes, so that Lean's poller sees them.

Each row goes into a log of its own as well (``carry-live/...``). A later export writes what the lake holds, and after
it the logged rows that the lake lacks, so nothing that a feed appended is lost.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from crypto.errors import DataError
from crypto.units import iso
from data.lean_folder.layout import Place
from data.lean_folder.lines import rate_rows, read_rates
from data.store.rows import Columns, Origin

LOG_FOLDER = "carry-live"
_VALUE = "value"


def log_path(root: Path, place: Place) -> Path:
    """Where appended rows of a rate file are logged."""
    return root / LOG_FOLDER / place.rate_path


def append_rate(root: Path, place: Place, time_ms: int, value: float) -> None:
    """Add one row to a rate file: a settlement's rate or mark price, or a borrow rate, at whole seconds.

    A row is one write of a whole line, log first. ``DataError`` when the stamp is not after the file's last one, or the
    number has more digits than Lean reads.
    """
    path = root / place.rate_path
    if time_ms % 1000:
        raise DataError(
            f"{path}: a row at {iso(time_ms)} is not at a whole second", remedy="give the settlement instant"
        )
    last = _last_stamp(path)
    if last is not None and time_ms <= last:
        raise DataError(
            f"{path}: a row at {iso(time_ms)} does not come after the last one, {iso(last)}",
            remedy="append rows in the order of time, each once: Lean drops late and repeated rows",
        )
    block = rate_rows(np.array([time_ms]), np.array([value]), _VALUE, Origin(str(path)))
    line = block.bytes_of(0, 1)
    _append(log_path(root, place), line)
    _append(path, line)


def logged_rows(root: Path, place: Place, after_ms: int, end_ms: int | None) -> Columns | None:
    """Appended rows later than ``after_ms`` and before ``end_ms``; None when there are none."""
    path = log_path(root, place)
    if not path.is_file():
        return None
    rows = read_rates(path.read_bytes(), str(path), _VALUE)
    times = rows["time_ms"]
    wanted = (times > after_ms) & (times < (np.iinfo(np.int64).max if end_ms is None else end_ms))
    return {name: values[wanted] for name, values in rows.items()} if wanted.any() else None


def _last_stamp(path: Path) -> int | None:
    """Stamp of the last line; only the end of the file is read."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 256))
        lines = file.read().splitlines()
    return int(read_rates(lines[-1] + b"\n", str(path), _VALUE)["time_ms"][0]) if lines else None


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
