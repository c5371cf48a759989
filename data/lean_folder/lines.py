"""Lean's text rows from arrays and back: bars of minutes, hours and days, and rates.

Stamps are UTC, prices are not scaled, there is no header.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from crypto.errors import DataError
from crypto.market import Floats, Integers
from crypto.units import DAY_MS, parse_iso
from data.lean_folder.plain_numbers import plain_texts
from data.store.rows import PRICES, Columns, Origin

_LONG_STAMP = "%Y%m%d %H:%M:%S"
_BAR_STAMP = "%Y%m%d %H:%M"
# What a row of Lean's may consist of: anything else would be taken for a digit there.
_ALLOWED = b"0123456789.,: -\r\n"
_PLACES_OF_LONG_STAMP = [0, 1, 2, 3, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]  # of 2024-01-31T08:00:00


@dataclass(frozen=True, slots=True)
class Block:
    """Text rows in one piece of memory; ``ends[i]`` is where row i ends."""

    text: memoryview
    ends: Integers

    def bytes_of(self, first: int, last: int) -> bytes:
        """Rows first (included) to last (excluded) as bytes."""
        begin = int(self.ends[first - 1]) if first else 0
        return bytes(self.text[begin : int(self.ends[last - 1])]) if last > first else b""

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.ends)


def stamps_in(columns: Columns) -> Integers:
    """The stamps of columns."""
    return columns["time_ms"]  # type: ignore[return-value]  # the one column of integers


def values_in(columns: Columns, name: str) -> Floats:
    """A column of numbers."""
    return columns[name]  # type: ignore[return-value]  # only time_ms holds integers


def bar_rows(columns: Columns, resolution: str, origin: Origin) -> Block:
    """``stamp,open,high,low,close,volume``; prices without volume (mark, index) get a volume of 0.

    The stamp is the bar's open: milliseconds since midnight for minutes, ``yyyyMMdd HH:mm`` else.
    ``DataError`` names a value that Lean could not read.
    """
    times = stamps_in(columns)
    stamps = pc.cast(pa.array(times % DAY_MS), pa.string()) if resolution == "minute" else _stamps(times, seconds=False)
    numbers = [plain_texts(values_in(columns, name), name, origin) for name in PRICES]
    if "volume" in columns:
        numbers.append(plain_texts(values_in(columns, "volume"), "volume", origin))
    else:
        numbers.append(pa.array(["0"] * len(times), pa.string()))
    return _joined(stamps, numbers)


def rate_rows(times_ms: Integers, values: Floats, column: str, origin: Origin) -> Block:
    """``yyyyMMdd HH:mm:ss,value``; stamps are whole seconds. ``DataError`` names a value that Lean could not read."""
    return _joined(_stamps(times_ms, seconds=True), [plain_texts(values, column, origin)])


def read_bars(content: bytes, name: str, day: str = "") -> Columns:
    """Rows of a bars text as columns; ``day`` (yyyymmdd) for minute bars. ``DataError`` names file and reason."""
    names = ["stamp", *PRICES, "volume"]
    table = _table(content, name, names, pa.int64() if day else pa.string())
    if day:
        times = table.column("stamp").to_numpy() + parse_iso(f"{day[:4]}-{day[4:6]}-{day[6:]}")
    else:
        times = _parsed_stamps(table.column("stamp"), _BAR_STAMP, name)
    return {"time_ms": times, **{column: table.column(column).to_numpy() for column in names[1:]}}


def read_rates(content: bytes, name: str, column: str) -> Columns:
    """Rows of a rate file as ``time_ms`` and ``column``. ``DataError`` names file and reason."""
    table = _table(content, name, ["stamp", column], pa.string())
    return {
        "time_ms": _parsed_stamps(table.column("stamp"), _LONG_STAMP, name),
        column: table.column(column).to_numpy(),
    }


def days_of(times_ms: Integers) -> list[tuple[str, int, int]]:
    """UTC days (yyyymmdd) of ascending stamps, each with its first row and the row after its last."""
    days = times_ms // DAY_MS
    cuts = np.flatnonzero(np.diff(days)) + 1
    first = np.concatenate(([0], cuts))
    last = np.concatenate((cuts, [len(days)]))
    names = np.datetime_as_string(days[first].astype("datetime64[D]"))
    return [(str(name).replace("-", ""), int(a), int(b)) for name, a, b in zip(names, first, last, strict=True)]


def _joined(stamps: pa.Array, numbers: list[pa.Array]) -> Block:
    ended = pc.binary_join_element_wise(numbers[-1], "", "\n")
    rows = pc.binary_join_element_wise(stamps, *numbers[:-1], ended, ",")
    _, offsets, text = rows.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32, count=len(rows) + 1)[1:].astype(np.int64)
    return Block(memoryview(text) if text is not None else memoryview(b""), ends)


def _stamps(times_ms: Integers, *, seconds: bool) -> pa.Array:
    """``20240131 08:00`` or, with seconds, ``20240131 08:00:00``."""
    iso = np.datetime_as_string((times_ms // 1000).astype("datetime64[s]"))
    letters = iso.view(np.uint32).reshape(len(times_ms), -1)
    places = _PLACES_OF_LONG_STAMP if seconds else _PLACES_OF_LONG_STAMP[:-3]
    text = np.ascontiguousarray(letters[:, places].astype(np.uint8))
    text[:, 8] = ord(" ")
    offsets = np.arange(0, text.size + 1, len(places), dtype=np.int32)
    return pa.StringArray.from_buffers(len(times_ms), pa.py_buffer(offsets), pa.py_buffer(text))


def _table(content: bytes, name: str, names: list[str], stamp_type: pa.DataType) -> pa.Table:
    _check_characters(content, name)
    types = {column: pa.float64() for column in names[1:]} | {"stamp": stamp_type}
    try:
        return arrow_csv.read_csv(
            io.BytesIO(content),
            read_options=arrow_csv.ReadOptions(column_names=names, use_threads=False),
            convert_options=arrow_csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        if not content.strip():
            raise DataError(f"{name} holds no rows", remedy="export or download it again") from error
        raise DataError(f"{name} is not as Lean writes it: {error}", remedy="export or download it again") from error


def _check_characters(content: bytes, name: str) -> None:
    """Refuse exponents, ``nan`` and headers by row: Lean would silently take their letters for digits."""
    if not content.translate(None, _ALLOWED):
        return
    for number, line in enumerate(content.splitlines(), start=1):
        if line.translate(None, _ALLOWED):
            shown = line[:60].decode("utf-8", "replace")
            raise DataError(
                f"{name}, row {number}: {shown!r} is more than digits, points, colons, blanks and minus signs",
                remedy="Lean reads every other character as a digit: write plain decimals and no header",
            )


def _parsed_stamps(column: pa.ChunkedArray, form: str, name: str) -> Integers:
    try:
        stamps = pc.strptime(column, format=form, unit="ms", error_is_null=False)
    except pa.ArrowInvalid as error:
        raise DataError(f"{name}: {error}", remedy=f"stamps there are written {form} in UTC") from error
    times: Integers = stamps.cast(pa.int64()).to_numpy()
    return times
