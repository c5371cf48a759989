"""Importer for the feather caches of freqtrade: bars, mark, index and funding of spot and perpetuals.

In a funding file the rate stands in ``open``, the stamp is the settlement, and the timeframe in its name says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import feather

from crypto.errors import DataError, UsageError
from crypto.market import Floats, Integers
from data.store.files import read_source
from data.store.pieces import Piece, check_filter, instrument_symbol
from data.store.rows import COLUMNS, PRICES, TIMED_SERIES, Columns, Origin
from data.store.series import Provenance, SeriesKey

# A lower-case word before the pair (``spot_``, ``perp_``, a person's name) and a tag after the timeframe are not
# freqtrade's, but are how people keep several downloads of one pair side by side.
_NAME = re.compile(
    r"(?:[a-z][a-z0-9]*_)?"
    r"(?P<base>[a-z]?[A-Z0-9]+)_(?P<quote>[A-Z0-9]+)(?:_(?P<settle>[A-Z0-9]+))?"
    r"-(?P<timeframe>\d+[mhd])(?:-(?P<candle>futures|mark|index|funding_rate))?(?:_[0-9-]+)?\.feather"
)
_SERIES = {None: "bars", "futures": "bars", "mark": "mark", "index": "index", "funding_rate": "funding"}


@dataclass(frozen=True, slots=True)
class Found:
    """A file that was recognised by its name, and the series it holds."""

    path: Path
    name: str
    key: SeriesKey


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was left alone, and why."""

    name: str
    reason: str


def find_files(folder: Path, venue: str) -> tuple[list[Found], list[Skipped]]:
    """Feather files below ``folder`` by series, and those whose names are not understood. Sorted by path.

    ``DataError`` when the folder is not there or holds no feather file that is understood.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder", remedy="name freqtrade's data folder, for example user_data/data/binance"
        )
    found: list[Found] = []
    skipped: list[Skipped] = []
    for path in sorted(folder.rglob("*.feather")):
        name = path.relative_to(folder).as_posix()
        key = parse_name(path.name, venue)
        if key is None:
            skipped.append(Skipped(name, "its name is not freqtrade's; ingest it with --file, --kind and --symbol"))
        else:
            found.append(Found(path, name, key))
    if not found:
        raise DataError(
            f"{folder} holds no feather file named as freqtrade names them ({len(skipped)} others)",
            remedy="names are like BTC_USDT-1h.feather and BTC_USDT_USDT-1h-futures.feather; for others use --file",
        )
    return found, skipped


def parse_name(name: str, venue: str) -> SeriesKey | None:
    """Series in a file of that name; None when the name does not say.

    Without settle asset it is spot; a settle asset equal to the quote is linear, equal to the base inverse.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    base, quote, settle, candle = match["base"], match["quote"], match["settle"], match["candle"]
    # A futures file without settle asset contradicts itself: no kind fits it.
    kind = {quote: "linear", base: "inverse"}.get(settle) if settle else ("spot" if candle is None else None)
    if kind is None:
        return None
    series = _SERIES[candle]
    return SeriesKey(venue, kind, base + quote, series, match["timeframe"] if series in TIMED_SERIES else "")


def select(found: Sequence[Found], symbols: Sequence[str], timeframes: Sequence[str]) -> list[Found]:
    """The files for these symbols and timeframes; empty means all. Funding has no timeframe and always stays.

    ``UsageError`` names a symbol or timeframe that no file is for.
    """
    wanted = [instrument_symbol(symbol) for symbol in symbols]
    check_filter("symbols", wanted, (file.key.symbol for file in found))
    check_filter("timeframes", timeframes, (file.key.timeframe for file in found if file.key.timeframe))
    return [
        file
        for file in found
        if (not wanted or file.key.symbol in wanted)
        and (not timeframes or not file.key.timeframe or file.key.timeframe in timeframes)
    ]


def read_file(file: Found, source: str) -> Piece:
    """Rows of a feather file as they stand. ``DataError`` names the file when it is damaged or has other columns."""
    content, origin = read_source(file.path, file.name)
    table = _table(file.path, content)
    columns = _funding(file.path, table) if file.key.series == "funding" else _bars(file.path, table, file.key.series)
    return Piece(file.key, columns, Provenance(source, (origin,)), Origin(str(file.path)))


def read_files(files: Sequence[Found], source: str) -> Iterator[Piece]:
    """Rows of the files one after another, so that one file at a time is in memory."""
    for file in files:
        yield read_file(file, source)


def single_file(path: Path, key: SeriesKey) -> Found:
    """A file whose series the user named, whatever the file is called."""
    if path.suffix != ".feather":
        raise UsageError(f"--file {path} is not a .feather file", remedy="for text files use: carry ingest csv")
    return Found(path, path.name, key)


def _table(path: Path, content: bytes) -> pa.Table:
    try:
        return feather.read_table(pa.BufferReader(content), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        detail = str(error).splitlines()[0]
        raise DataError(f"{path} is truncated or not a feather file: {detail}", remedy="download it again") from error


def _funding(path: Path, table: pa.Table) -> Columns:
    return {"time_ms": _stamps(path, table), "funding_rate": _numbers(path, table, "open")}


def _bars(path: Path, table: pa.Table, series: str) -> Columns:
    names = [*PRICES, "volume"] if "volume" in COLUMNS[series] else [*PRICES]
    return {"time_ms": _stamps(path, table), **{name: _numbers(path, table, name) for name in names}}


def _column(path: Path, table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise DataError(
            f"{path} has no column {name!r}; it has {', '.join(table.column_names) or 'none'}",
            remedy="freqtrade files have date, open, high, low, close, volume",
        )
    return table.column(name)


def _stamps(path: Path, table: pa.Table) -> Integers:
    column = _column(path, table, "date")
    if not pa.types.is_timestamp(column.type):
        raise DataError(
            f"{path}: column 'date' is {column.type}, not a date-time", remedy="convert it, or use: carry ingest csv"
        )
    if column.null_count:
        row = int(np.argmax(pc.is_null(column).to_numpy())) + 1
        raise DataError(f"{path}, row {row}: date is missing", remedy="remove that row at its source")
    return column.cast(pa.timestamp("ms"), safe=False).cast(pa.int64()).to_numpy()


def _numbers(path: Path, table: pa.Table, name: str) -> Floats:
    column = _column(path, table, name)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise DataError(f"{path}: column {name!r} is {column.type}, not a number", remedy="convert it to float64")
    return column.cast(pa.float64()).to_numpy()
