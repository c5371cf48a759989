"""Columns of a series as arrays, and the checks that every row must pass before it enters the lake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crypto.errors import DataError
from crypto.market import Floats, Integers
from crypto.units import iso, timeframe_ms

Columns = dict[str, Floats | Integers]

PRICES = ("open", "high", "low", "close")
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "bars": ("time_ms", *PRICES, "volume"),
    "mark": ("time_ms", *PRICES),
    "index": ("time_ms", *PRICES),
    "oracle": ("time_ms", *PRICES),
    "funding": ("time_ms", "funding_rate"),
    "borrow": ("time_ms", "hourly_rate"),
}
OPTIONAL: Mapping[str, tuple[str, ...]] = {"funding": ("mark_price",)}
TIMED_SERIES = ("bars", "mark", "index", "oracle")
EARLIEST_MS = 1_230_768_000_000  # 2009-01-01, the year of the first bitcoin block
LATEST_MS = 4_102_444_800_000  # 2100-01-01


@dataclass(frozen=True, slots=True)
class Origin:
    """Where rows come from, for messages: ``name`` of the file and the number that a reader gives its first data row.

    ``places``: zero-based data row in the file of each row, when rows were left out or moved.
    """

    name: str
    first_row: int = 1
    places: Integers | None = None

    def row(self, index: int) -> str:
        """Words for the row with that zero-based index."""
        return f"{self.name}, row {self.number(index)}"

    def number(self, index: int) -> int:
        """Number that a reader of the file gives the row with that zero-based index."""
        return (index if self.places is None else int(self.places[index])) + self.first_row


def check_rows(columns: Mapping[str, Floats | Integers], series: str, timeframe: str, origin: Origin) -> None:
    """Raise ``DataError`` naming file, row and column for the first row that the lake may not hold.

    Stamps must be within 2009 .. 2100, on the timeframe's grid (series of bars), strictly ascending; prices finite and
    positive, volume finite and not negative, rates finite. Only the optional ``mark_price`` may be NaN.
    """
    times = columns["time_ms"]
    if len(times) == 0:
        raise DataError(
            f"{origin.name} holds no rows", remedy="check that the download finished, or leave the file out"
        )
    check_order(times, origin)
    _check_range(times, origin)
    if series in TIMED_SERIES:
        _check_grid(times, timeframe, origin)
    for name, values in columns.items():
        if name != "time_ms":
            _check_values(name, values, origin)


def check_order(times: Floats | Integers, origin: Origin) -> None:
    """Raise ``DataError`` naming the first row that is a duplicate of, or earlier than, the row before it."""
    steps = np.diff(times)
    if not (steps <= 0).any():
        return
    index = int(np.argmax(steps <= 0)) + 1
    here, before = iso(int(times[index])), iso(int(times[index - 1]))
    if steps[index - 1] == 0:
        raise DataError(
            f"{origin.row(index)}: {here} stands there twice",
            remedy="remove the duplicate row, or for a CSV file pass --repair dedupe",
        )
    raise DataError(
        f"{origin.row(index)}: {here} comes after {before}, so the rows are not sorted by time",
        remedy="sort the file by time, or for a CSV file pass --repair sort",
    )


def _check_range(times: Floats | Integers, origin: Origin) -> None:
    outside = (times < EARLIEST_MS) | (times >= LATEST_MS)
    if outside.any():
        index = int(np.argmax(outside))
        raise DataError(
            f"{origin.row(index)}: stamp {int(times[index])} ms is outside 2009 .. 2100",
            remedy="stamps are milliseconds since 1970 UTC; check the time unit",
        )


def _check_grid(times: Floats | Integers, timeframe: str, origin: Origin) -> None:
    off = times % timeframe_ms(timeframe) != 0
    if off.any():
        index = int(np.argmax(off))
        raise DataError(
            f"{origin.row(index)}: {iso(int(times[index]))} does not open a {timeframe} bar",
            remedy="bars carry their open time; check the timeframe and the time zone",
        )


def _check_values(name: str, values: Floats | Integers, origin: Origin) -> None:
    if name in PRICES:
        bad, rule = ~(np.isfinite(values) & (values > 0)), "prices must be finite and greater than zero"
    elif name == "volume":
        bad, rule = ~(np.isfinite(values) & (values >= 0)), "volume must be finite and not negative"
    elif name == "mark_price":
        bad, rule = (
            ~(np.isnan(values) | (np.isfinite(values) & (values > 0))),
            "a mark price must be greater than zero, or missing",
        )
    else:
        bad, rule = ~np.isfinite(values), "rates must be finite"
    if bad.any():
        index = int(np.argmax(bad))
        raise DataError(
            f"{origin.row(index)}: {name} is {float(values[index]):g}; {rule}",
            remedy="correct or remove that row at its source; Carry drops no rows by itself",
        )


def take(columns: Mapping[str, Floats | Integers], rows: slice | NDArray[np.bool_] | Integers) -> Columns:
    """The same columns with only the chosen rows (mask, slice or index array)."""
    taken: Columns = {}
    for name, values in columns.items():
        taken[name] = values[rows]
    return taken
