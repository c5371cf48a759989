"""Binance's bulk archive: monthly zip files with a SHA-256 beside each, and their CSV rows.

Layout and traps: docs/specs/sources.md. Older files have no header line, newer ones do; futures stamps are
milliseconds, spot stamps are microseconds from 2025-01-01 on.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
from pyarrow import csv

from crypto.errors import DataError
from crypto.market import Floats, Integers
from crypto.units import iso, parse_iso
from data.sources.client import Client
from data.sources.faults import FetchError
from data.sources.wire.columns import Listing, ordered
from data.store.rows import Columns
from data.store.series import SourceFile

_MARKETS = {"spot": "spot", "linear": "futures/um", "inverse": "futures/cm"}
_FOLDERS = {"bars": "klines", "mark": "markPriceKlines", "index": "indexPriceKlines"}
_MICROSECONDS_FROM = 10**14
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
            remedy="run it again; --source rest goes around the archive",
        )
    try:
        rows = parse_month(content, series, kind)
    except (DataError, pa.ArrowException, zipfile.BadZipFile, ValueError, IndexError) as error:
        words = error.message if isinstance(error, DataError) else str(error).splitlines()[0]
        raise FetchError(f"{file.url}: {words}", remedy="--source rest goes around the archive") from error
    times = rows["time_ms"]
    if len(times) and (times[0] < file.lo_ms or times[-1] >= file.hi_ms):
        raise FetchError(
            f"{file.url} holds rows from {iso(int(times[0]))} to {iso(int(times[-1]))}, outside its month",
            remedy="--source rest goes around the archive",
        )
    return rows, SourceFile(file.name, digest)


def parse_month(content: bytes, series: str, kind: str) -> Columns:
    """Columns of the one CSV file in a zip, with or without header, sorted by time."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        if len(names) != 1:
            raise DataError(f"the zip holds {len(names)} files, expected one", remedy="")
        text = archive.read(names[0])
    has_header = not text[:1].isdigit()
    options = csv.ReadOptions(autogenerate_column_names=True, skip_rows=1 if has_header else 0)
    table = csv.read_csv(io.BytesIO(text), read_options=options)
    columns = [table.column(number).to_numpy() for number in range(table.num_columns)]
    if series == "funding":
        # calc_time, funding_interval_hours, last_funding_rate: no mark price.
        return ordered({"time_ms": _milliseconds(columns[0]), "funding_rate": columns[2].astype(np.float64)})
    result: Columns = {"time_ms": _milliseconds(columns[0])}
    for name, values in zip(_PRICES, columns[1:5], strict=True):
        result[name] = values.astype(np.float64)
    if series == "bars":
        result["volume"] = columns[_BASE_VOLUME_COLUMN[kind]].astype(np.float64)
    return ordered(result)


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
