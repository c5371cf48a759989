"""Binance's bulk archive: monthly zip files with a SHA-256 beside each, and their CSV rows.

Layout and traps: docs/specs/sources.md. Older files have no header line, newer ones do; futures stamps are
milliseconds, spot stamps are microseconds from 2025-01-01 on.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from pyarrow import csv

from crypto.errors import DataError
from crypto.market import Floats, Integers
from crypto.units import HOUR_MS, iso, parse_iso
from data.sources.client import Client
from data.sources.faults import FetchError, short
from data.sources.wire.columns import Listing, ordered
from data.store.merge import SAME_SETTLEMENT_MS
from data.store.rows import COLUMNS, EARLIEST_MS, LATEST_MS, Columns
from data.store.series import SourceFile

_MARKETS = {"spot": "spot", "linear": "futures/um", "inverse": "futures/cm"}
_FOLDERS = {"bars": "klines", "mark": "markPriceKlines", "index": "indexPriceKlines"}
_MICROSECONDS_FROM = 10**14
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Also their places in a file without header. There is no column of mark prices.
_FUNDING_COLUMNS = ("calc_time", "funding_interval_hours", "last_funding_rate")
_LONGEST_INTERVAL_HOURS = 24
_AROUND = "--source rest goes around the archive"
_BROKEN = (DataError, pa.ArrowException, zipfile.BadZipFile, zlib.error, ValueError, IndexError, EOFError, RuntimeError)
_PRICES = ("open", "high", "low", "close")
# Open time, prices, volume, close time, and the volume in quote (USD-M, spot) or base (COIN-M).
_BASE_VOLUME_COLUMN = {"spot": 5, "linear": 5, "inverse": 7}


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """One monthly file: where it is, and the range whose rows it holds."""

    url: str
    name: str
    lo_ms: int
    hi_ms: int


def monthly_files(
    base: str, listing: Listing, series: str, timeframe: str, lo_ms: int, hi_ms: int
) -> Iterator[ArchiveFile]:
    """Files of the calendar months (UTC) that lie wholly within the range, ascending."""
    symbol = listing.pair if series == "index" and listing.kind == "inverse" else listing.venue_id
    folder = "fundingRate" if series == "funding" else _FOLDERS[series]
    middle = "fundingRate" if series == "funding" else timeframe
    deeper = "" if series == "funding" else f"/{timeframe}"
    for month, start, end in _months(lo_ms, hi_ms):
        name = f"{symbol}-{middle}-{month}.zip"
        url = f"{base}/{_MARKETS[listing.kind]}/monthly/{folder}/{symbol}{deeper}/{name}"
        yield ArchiveFile(url, name, start, end)


def whole_months(lo_ms: int, hi_ms: int) -> tuple[int, int]:
    """The range cut down to whole calendar months; both ends are ``lo_ms`` when it holds none."""
    months = list(_months(lo_ms, hi_ms))
    return (months[0][1], months[-1][2]) if months else (lo_ms, lo_ms)


async def read_month(client: Client, file: ArchiveFile, series: str, kind: str) -> tuple[Columns, SourceFile] | None:
    """Rows of one file after its checksum was verified; None when the archive does not have it.

    ``FetchError`` names the file when the checksum differs, the zip or CSV is broken, or a row is of another month.
    """
    content = await client.download(file.url)
    if content is None:
        return None
    noted = await client.download(f"{file.url}.CHECKSUM")
    digest = hashlib.sha256(content).hexdigest()
    if noted is None or noted.decode("ascii", "replace").split()[:1] != [digest]:
        said = "there is none" if noted is None else f"it says {noted.decode('ascii', 'replace')[:64]}"
        raise FetchError(
            f"{file.url}: SHA-256 {digest} is not what its CHECKSUM file says ({said})",
            remedy=f"run it again; {_AROUND}",
        )
    try:
        rows = parse_month(content, series, kind)
    except _BROKEN as error:
        words = error.message if isinstance(error, DataError) else f"{type(error).__name__} {error}"
        raise FetchError(f"{file.url}: {short(words)}", remedy=_AROUND) from error
    times = _settled(rows["time_ms"]) if series == "funding" else rows["time_ms"]
    if len(times) and (times[0] < file.lo_ms or times[-1] >= file.hi_ms):
        raise FetchError(
            f"{file.url} holds rows from {_shown(times[0])} to {_shown(times[-1])}, outside its month", remedy=_AROUND
        )
    return rows, SourceFile(file.name, digest)


def parse_month(content: bytes, series: str, kind: str) -> Columns:
    """Columns of the one CSV file in a zip, with or without header, sorted by time."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        if len(names) != 1:
            raise DataError(f"the zip holds {len(names)} files, expected one", remedy=_AROUND)
        text = archive.read(names[0]).removeprefix(_BYTE_ORDER_MARK)
    header, body = ("", text) if text[:1].isdigit() else _header_of(text)
    if not body.strip():
        return no_rows(series)
    table = csv.read_csv(io.BytesIO(body), read_options=csv.ReadOptions(autogenerate_column_names=True))
    if series == "funding":
        return ordered(_funding(table, header))
    result: Columns = {"time_ms": _milliseconds(_numbers(table, 0))}
    for number, name in enumerate(_PRICES, start=1):
        result[name] = _numbers(table, number).astype(np.float64)
    if series == "bars":
        result["volume"] = _numbers(table, _BASE_VOLUME_COLUMN[kind]).astype(np.float64)
    return ordered(result)


def _settled(stamps: Floats | Integers) -> Floats | Integers:
    """The full hours that stamps settle: Binance's are late by some milliseconds, others are left as they are."""
    hours = (stamps + HOUR_MS // 2) // HOUR_MS * HOUR_MS
    return np.where(np.abs(stamps - hours) <= SAME_SETTLEMENT_MS, hours, stamps)


def no_rows(series: str) -> Columns:
    """Columns of a series without a row: a month in which nothing was traded or settled."""
    empty: Columns = {name: np.empty(0) for name in COLUMNS[series]}
    return {**empty, "time_ms": np.empty(0, dtype=np.int64)}


def _funding(table: pa.Table, header: str) -> Columns:
    """Stamps and rates. The column of intervals must hold whole hours: read as a rate, it would pay 800 per cent."""
    names = [name.strip().strip('"') for name in header.split(",")] if header else list(_FUNDING_COLUMNS)
    if len(names) != table.num_columns or not set(_FUNDING_COLUMNS) <= set(names):
        raise DataError(
            f"it has {table.num_columns} columns ({', '.join(names)}), expected {', '.join(_FUNDING_COLUMNS)}",
            remedy=_AROUND,
        )
    times, hours, rates = (_numbers(table, names.index(name)) for name in _FUNDING_COLUMNS)
    wrong = (hours < 1) | (hours > _LONGEST_INTERVAL_HOURS) | (hours % 1 != 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"row {row + 1}: funding_interval_hours is {float(hours[row]):g}, no whole number of hours of a day",
            remedy=_AROUND,
        )
    return {"time_ms": _milliseconds(times), "funding_rate": rates.astype(np.float64)}


def _header_of(text: bytes) -> tuple[str, bytes]:
    first, _, rest = text.partition(b"\n")
    return first.decode("utf-8", "replace").strip(), rest


def _numbers(table: pa.Table, number: int) -> Floats | Integers:
    """A column as an array; ``DataError`` where it holds texts or blanks, which would become stamps of no time."""
    if number >= table.num_columns:
        raise DataError(f"it has {table.num_columns} columns, column {number + 1} is missing", remedy=_AROUND)
    column = table.column(number)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)) or column.null_count:
        raise DataError(f"column {number + 1} holds texts or blanks where numbers are expected", remedy=_AROUND)
    values: Floats | Integers = column.to_numpy()
    return values


def _shown(stamp: int) -> str:
    is_date = EARLIEST_MS <= stamp < LATEST_MS
    return iso(int(stamp)) if is_date else f"stamp {int(stamp)}"


def _milliseconds(stamps: Floats | Integers) -> Integers:
    whole: Integers = stamps.astype(np.int64)
    return np.where(whole > _MICROSECONDS_FROM, whole // 1000, whole)


def _months(lo_ms: int, hi_ms: int) -> Iterator[tuple[str, int, int]]:
    first = datetime.fromtimestamp(lo_ms / 1000, UTC)
    year, month = first.year, first.month
    while True:
        start = _month_ms(year, month)
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
        end = _month_ms(year, month)
        if end > hi_ms:
            return
        if start >= lo_ms:
            yield iso(start)[:7], start, end


def _month_ms(year: int, month: int) -> int:
    return parse_iso(f"{year:04d}-{month:02d}-01")
