"""Importer for delimited text (CSV, also gzipped): any column names, four time units, nothing dropped in silence."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from crypto.errors import DataError, UsageError
from crypto.market import Floats, Integers
from crypto.units import iso
from data.store.files import read_source
from data.store.pieces import Piece
from data.store.rows import COLUMNS, EARLIEST_MS, LATEST_MS, OPTIONAL, Columns, Origin, check_order, take
from data.store.series import Provenance, SeriesKey

TIME_UNITS = ("s", "ms", "us", "iso")
REPAIRS = ("sort", "dedupe")
_PER_MS = {"s": 0.001, "ms": 1.0, "us": 1000.0}
_HOURS_PER_DAY = 24


@dataclass(frozen=True, slots=True)
class Layout:
    """How a text file is to be read.

    ``columns``: our name -> its name where they differ; ``daily_rate`` may stand for ``hourly_rate`` (divided by 24).
    ``names``: column names of a file without header. ``where``: column -> value that rows must have to be read.
    ``repair``: ``sort`` and ``dedupe`` (drops exact repeats only).
    """

    time_column: str = "time"
    time_unit: str = "ms"
    columns: Mapping[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    where: Mapping[str, str] = field(default_factory=dict)
    repair: tuple[str, ...] = ()
    delimiter: str = ","

    def __post_init__(self) -> None:
        if self.time_unit not in TIME_UNITS:
            raise UsageError(f"--time-unit {self.time_unit} is unknown", remedy=f"use one of {', '.join(TIME_UNITS)}")
        for repair in self.repair:
            if repair not in REPAIRS:
                raise UsageError(f"--repair {repair} is unknown", remedy=f"use {' or '.join(REPAIRS)}")
        if len(self.delimiter) != 1:
            raise UsageError(
                f"--delimiter {self.delimiter!r} is not one character", remedy="for example --delimiter ';'"
            )


def parse_assignments(flag: str, text: str) -> dict[str, str]:
    """``a=b,c=d`` as a mapping; ``UsageError`` names the flag and the part that is malformed."""
    result: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = part.partition("=")
        if not (name and equals and value):
            raise UsageError(
                f"--{flag} {part!r} is not of the form name=value", remedy=f"for example --{flag} open=o,high=h"
            )
        result[name] = value
    return result


def read_file(path: Path, key: SeriesKey, layout: Layout, source: str) -> Piece:
    """Rows of a text file for the series ``key``; what was repaired is in the piece's notes.

    ``DataError`` names file and row for a file that is missing, empty, truncated, lacks a column, has stamps that do
    not fit the time unit or text that is not a number, is unsorted or has duplicates. Rows are counted as an editor
    counts lines.
    """
    _check_mapping(key, layout)
    content, source_file = read_source(path, path.name)
    origin = Origin(str(path), 1 if layout.names else 2)
    rows = chosen_rows(TextRows(text_table(path, content, layout), origin), layout.where)
    columns, origin, notes = repaired(_columns(rows, key, layout), rows.origin, layout.repair)
    if not content.endswith((b"\n", b"\r")):
        notes.append("the file does not end with a line end: check its last row")
    return Piece(key, columns, Provenance(source, (source_file,)), origin, tuple(notes))


@dataclass(frozen=True, slots=True)
class TextRows:
    """Text columns, and where each row stands in the file."""

    table: pa.Table
    origin: Origin


def _check_mapping(key: SeriesKey, layout: Layout) -> None:
    known = [
        *COLUMNS[key.series][1:],
        *OPTIONAL.get(key.series, ()),
        *(["daily_rate"] if key.series == "borrow" else []),
    ]
    for name in layout.columns:
        if name not in known:
            raise UsageError(f"--columns {name}=...: {key.series} has no {name}", remedy=f"it has {', '.join(known)}")


def text_table(path: Path, content: bytes, layout: Layout) -> pa.Table:
    """All columns as text. ``DataError`` where a row has more or fewer fields than the header."""
    body = content.rstrip(b"\r\n\t ") + b"\n"
    if not body.strip():
        raise DataError(f"{path} holds no rows", remedy="download it again, or leave it out")
    header = list(layout.names) or _header(path, body, layout.delimiter)
    try:
        table = csv.read_csv(
            io.BytesIO(body),
            read_options=csv.ReadOptions(use_threads=False, column_names=header, skip_rows=0 if layout.names else 1),
            parse_options=csv.ParseOptions(delimiter=layout.delimiter, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise _malformed(path, str(error)) from error
    if table.num_rows == 0:
        raise DataError(f"{path} has a header and no rows", remedy="download it again, or leave it out")
    return table


def _header(path: Path, body: bytes, delimiter: str) -> list[str]:
    try:
        line = body.split(b"\n", 1)[0].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not a text file in UTF-8",
            remedy="convert it, or for .feather use: carry ingest freqtrade --file",
        ) from error
    names = [name.strip().strip('"') for name in line.rstrip("\r").split(delimiter)]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise DataError(
            f"{path}, row 1: column {min(repeated)!r} stands there twice", remedy="give each column its own name"
        )
    return names


def _malformed(path: Path, detail: str) -> DataError:
    what = detail.removeprefix("CSV parse error: ").splitlines()[0]
    return DataError(
        f"{path} is truncated or malformed: {what}",
        remedy="download it again; each row needs as many fields as the header",
    )


def chosen_rows(rows: TextRows, conditions: Mapping[str, str]) -> TextRows:
    """Only the rows in which each named column has the wanted text."""
    if not conditions:
        return rows
    keep: NDArray[np.bool_] = np.ones(rows.table.num_rows, dtype=bool)
    for name, value in conditions.items():
        keep &= pc.equal(text_column(rows, name), value).to_numpy()
        if not keep.any():
            raise UsageError(
                f"--where {name}={value}: no row of {rows.origin.name} has it",
                remedy=f"look at column {name} of the file",
            )
    return TextRows(rows.table.filter(pa.array(keep)), replace(rows.origin, places=np.flatnonzero(keep)))


def text_column(rows: TextRows, name: str) -> pa.ChunkedArray:
    """A column as text; ``DataError`` with the columns there are when the file has none of that name."""
    if name not in rows.table.column_names:
        raise DataError(
            f"{rows.origin.name} has no column {name!r}; it has {', '.join(rows.table.column_names)}",
            remedy="name the file's columns with --time-column and --columns, for example --columns open=o,close=c",
        )
    return rows.table.column(name)


def _columns(rows: TextRows, key: SeriesKey, layout: Layout) -> Columns:
    columns: Columns = {"time_ms": stamps(rows, layout)}
    for name in COLUMNS[key.series][1:]:
        if name == "hourly_rate" and "daily_rate" in layout.columns:
            columns[name] = numbers(rows, layout.columns["daily_rate"]) / _HOURS_PER_DAY
        else:
            columns[name] = numbers(rows, layout.columns.get(name, name))
    for name in OPTIONAL.get(key.series, ()):
        if name in layout.columns or name in rows.table.column_names:
            columns[name] = numbers(rows, layout.columns.get(name, name), may_be_empty=True)
    return columns


def numbers(rows: TextRows, name: str, *, may_be_empty: bool = False) -> Floats:
    """A column as numbers, an allowed empty field as NaN; ``DataError`` names the first row that is no number."""
    text = pc.utf8_trim_whitespace(text_column(rows, name))
    if may_be_empty:
        text = pc.if_else(pc.equal(text, ""), "nan", text)
    try:
        return pc.cast(text, pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        index = _first_failure(text, pa.float64())
        found = text[index].as_py()
        what = "is empty" if found == "" else f"{found!r} is not a number"
        raise DataError(
            f"{rows.origin.row(index)}: {name} {what}", remedy="correct or remove that row at its source"
        ) from error


def _first_failure(text: pa.ChunkedArray, kind: pa.DataType) -> int:
    """Index of the first text that cannot be cast, by halving."""
    low, high = 0, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            pc.cast(text.slice(low, middle - low), kind)
            low = middle
        except pa.ArrowInvalid:
            high = middle
    return low


def stamps(rows: TextRows, layout: Layout) -> Integers:
    """The time column in milliseconds; ``DataError`` names the first row that does not fit the time unit."""
    text = pc.utf8_trim_whitespace(text_column(rows, layout.time_column))
    if layout.time_unit == "iso":
        return _iso_stamps(rows, text, layout.time_column)
    try:
        values = pc.cast(text, pa.int64()).to_numpy().astype(np.float64)
    except pa.ArrowInvalid:
        values = numbers(rows, layout.time_column)
    found = values / _PER_MS[layout.time_unit]
    inside = (found >= EARLIEST_MS) & (found < LATEST_MS)
    if not inside.all():
        index = int(np.argmin(inside))
        raise _wrong_unit(rows, index, float(values[index]), layout)
    return np.rint(found).astype(np.int64)


def _wrong_unit(rows: TextRows, index: int, value: float, layout: Layout) -> DataError:
    fitting = [unit for unit, per_ms in _PER_MS.items() if EARLIEST_MS <= value / per_ms < LATEST_MS]
    remedy = "no unit fits: check --time-column"
    if fitting:
        instant = iso(round(value / _PER_MS[fitting[0]]))
        remedy = f"read as {fitting[0]} it is {instant}: pass --time-unit {fitting[0]}"
    return DataError(
        f"{rows.origin.row(index)}: {layout.time_column} {value:.16g} is outside 2009 .. 2100 as {layout.time_unit}",
        remedy=remedy,
    )


def _iso_stamps(rows: TextRows, text: pa.ChunkedArray, name: str) -> Integers:
    for kind in (pa.timestamp("us", "UTC"), pa.timestamp("us")):  # with and without an offset; without, it is UTC
        try:
            microseconds = pc.cast(text, kind).cast(pa.int64()).to_numpy()
        except pa.ArrowInvalid:
            continue
        return microseconds // 1000
    index = _first_failure(text, pa.timestamp("us", "UTC"))
    if index == 0:
        index = _first_failure(text, pa.timestamp("us"))
    raise DataError(
        f"{rows.origin.row(index)}: {name} {text[index].as_py()!r} is not an ISO date-time",
        remedy="write 2024-01-31T08:00:00Z, or pass --time-unit s, ms or us for numbers",
    )


def repaired(columns: Columns, origin: Origin, repairs: Sequence[str]) -> tuple[Columns, Origin, list[str]]:
    """Apply the asked repairs, then refuse what is still unsorted or repeated, naming rows of the file."""
    notes: list[str] = []
    if "sort" in repairs:
        order = np.argsort(columns["time_ms"], kind="stable")
        moved = int((order != np.arange(len(order))).sum())
        if moved:
            columns, origin = take(columns, order), _chosen(origin, order)
            notes.append(f"sorted by time ({moved} rows moved)")
    if "dedupe" in repairs:
        repeats = _repeats(columns, origin)
        if repeats.any():
            columns, origin = take(columns, ~repeats), _chosen(origin, np.flatnonzero(~repeats))
            notes.append(f"dropped {int(repeats.sum())} exact repeats of rows")
    check_order(columns["time_ms"], origin)
    return columns, origin, notes


def _chosen(origin: Origin, rows: Integers) -> Origin:
    return replace(origin, places=rows if origin.places is None else origin.places[rows])


def _repeats(columns: Columns, origin: Origin) -> NDArray[np.bool_]:
    """Rows that equal the row before them in every column. ``DataError`` when only the stamp is equal."""
    same_time = np.concatenate(([False], np.diff(columns["time_ms"]) == 0))
    equal = same_time.copy()
    for values in columns.values():
        equal[1:] &= (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
    if (same_time & ~equal).any():
        index = int(np.argmax(same_time & ~equal))
        instant = iso(int(columns["time_ms"][index]))
        raise DataError(
            f"{origin.row(index)}: {instant} stands in row {origin.number(index - 1)} too, with other values",
            remedy="decide at the source which row is right; --repair dedupe drops exact repeats only",
        )
    return equal
