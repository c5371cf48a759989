"""Lean's data folder back into rows for the lake: ours to the last digit, and any other that has Lean's shape.

What the text leaves out (milliseconds of settlement stamps, which marks are the funding rows' own, where the rows came
from) is taken from the manifest, as long as the files are the ones that it describes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from crypto.errors import DataError
from crypto.market import Floats, Integers
from data.lean_folder.archives import unpacked
from data.lean_folder.layout import (
    BORROW,
    CRYPTO,
    CRYPTO_FUTURE,
    LINEAR_QUOTES,
    PRICE_SERIES,
    SYMBOL_PROPERTIES,
    TIMEFRAMES,
    Place,
    borrow_asset,
    settlement_mark_place,
    split_market,
)
from data.lean_folder.lines import read_bars, read_rates, stamps_in, values_in
from data.lean_folder.manifest import Record, is_unchanged, read_manifest
from data.lean_folder.properties import Key, quote_of, read_properties
from data.store.files import read_source
from data.store.freqtrade import Skipped
from data.store.pieces import Piece, check_filter, instrument_symbol
from data.store.rows import Columns, Origin
from data.store.series import Provenance, SeriesKey, SourceFile

_BAR_FILE = re.compile(
    r"(?P<type>crypto|cryptofuture)/(?P<market>[a-z0-9_]+)/"
    r"(?:(?P<long>hour|daily)/(?P<ticker>[a-z0-9_]+)_(?P<tick>trade|quote)"
    r"|minute/(?P<day_ticker>[a-z0-9_]+)/(?P<day>\d{8})_(?P<day_tick>trade|quote))\.zip"
)
_RATE_FILE = re.compile(r"(?P<type>cryptofuture)/(?P<market>[a-z0-9_]+)/margin_interest/(?P<ticker>[a-z0-9_]+)\.csv")
# Coin-margined perpetuals are quoted in USD everywhere but on dYdX, whose USD contracts are linear (lean.md 1.2).
_USD_IS_LINEAR = ("dydx",)


@dataclass(frozen=True, slots=True)
class FolderSeries:
    """One series found in a folder: its files with their days ("" where a file is not of one day)."""

    key: SeriesKey
    place: Place
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder holds: series, and files that were left alone with the reason."""

    root: Path
    series: tuple[FolderSeries, ...]
    skipped: tuple[Skipped, ...]
    records: Mapping[str, Record] = field(default_factory=dict)


def find_series(root: Path, venue: str = "") -> Found:
    """Series in a folder of Lean's shape, of one venue or of all, sorted. ``DataError`` when there is none.

    Kinds come from the manifest, else from the folder's symbol properties, else from the ticker.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder", remedy="name Lean's data folder, for example data/lean")
    manifest = read_manifest(root)
    records = manifest.series if manifest else {}
    known = {record.place: record.key for record in records.values()}
    properties = read_properties(root) if (root / SYMBOL_PROPERTIES).is_file() else {}
    grouped: dict[Place, list[tuple[str, str]]] = {}
    skipped: list[Skipped] = []
    for place, path, day in _files(root, venue, skipped):
        grouped.setdefault(place, []).append((path, day))
    series = []
    for place, files in grouped.items():
        key = known.get(place) or _key_of(place, properties)
        if key is not None:
            series.append(FolderSeries(key, place, tuple(sorted(files, key=lambda file: (file[1], file[0])))))
    if not series:
        raise DataError(
            f"{root} holds no trade bars or rates of crypto{f' of {venue}' if venue else ''} in Lean's shape",
            remedy="name the folder that has crypto/ and cryptofuture/ in it; check --venue",
        )
    return Found(root, tuple(sorted(series, key=lambda item: item.key)), tuple(_by_folder(skipped)), records)


def select(found: Found, symbols: Sequence[str], timeframes: Sequence[str]) -> list[FolderSeries]:
    """The series of these symbols and bar lengths; empty means all. ``UsageError`` names one that no file is for."""
    wanted = [instrument_symbol(symbol) for symbol in symbols]
    check_filter("symbols", wanted, (item.key.symbol for item in found.series))
    check_filter("timeframes", timeframes, (item.key.timeframe for item in found.series if item.key.timeframe))
    return [
        item
        for item in found.series
        if (not wanted or item.key.symbol in wanted)
        and (not timeframes or not item.key.timeframe or item.key.timeframe in timeframes)
    ]


def read_series(found: Found, series: Iterable[FolderSeries], source: str = "") -> Iterator[Piece]:
    """Rows of the series one after another. ``source``: label for rows whose origin the manifest does not tell."""
    for item in series:
        yield _piece(found, item, source or f"lean {found.root.resolve().name}")


def _files(root: Path, venue: str, skipped: list[Skipped]) -> Iterator[tuple[Place, str, str]]:
    """Every file that belongs to a series, with its place and day; others of Lean's are noted."""
    for kind in (CRYPTO, CRYPTO_FUTURE):
        for path in sorted((root / kind).rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.is_dir() or path.name.startswith("."):
                continue
            place, day, reason = _parsed(name)
            if reason:
                skipped.append(Skipped(name, reason))
            elif place is not None and venue in ("", split_market(place.market)[0]):
                yield place, name, day


def _by_folder(skipped: Sequence[Skipped]) -> list[Skipped]:
    """One line for the files of a folder that were left alone for the same reason."""
    counts: dict[tuple[str, str], list[str]] = {}
    for file in skipped:
        counts.setdefault((file.name.rpartition("/")[0], file.reason), []).append(file.name)
    return [
        Skipped(names[0] if len(names) == 1 else f"{folder}/ ({len(names)} files)", reason)
        for (folder, reason), names in counts.items()
    ]


def _parsed(name: str) -> tuple[Place | None, str, str]:
    """Place and day of a file, or why it is left alone."""
    rate = _RATE_FILE.fullmatch(name)
    if rate:
        return Place(CRYPTO_FUTURE, rate["market"], rate["ticker"].upper()), "", ""
    bars = _BAR_FILE.fullmatch(name)
    if bars is None:
        return None, "", "not a file of minute, hour or daily bars, nor of rates"
    if (bars["tick"] or bars["day_tick"]) == "quote":
        return None, "", "quote bars: the lake holds trades"
    ticker = bars["ticker"] or bars["day_ticker"]
    return Place(bars["type"], bars["market"], ticker.upper(), bars["long"] or "minute"), bars["day"] or "", ""


def _key_of(place: Place, properties: Mapping[Key, Sequence[str]]) -> SeriesKey | None:
    """Series that a place holds by its name; None for the marks of settlements, which belong to the funding series."""
    venue, series = split_market(place.market)
    if series == BORROW:
        return SeriesKey(venue, "asset", borrow_asset(place.ticker), BORROW)
    kind = "spot" if place.security_type == CRYPTO else _perp_kind(place, venue, properties)
    if place.resolution:
        return SeriesKey(venue, kind, place.ticker, series, TIMEFRAMES[place.resolution])
    return None if series in PRICE_SERIES else SeriesKey(venue, kind, place.ticker, "funding")


def _perp_kind(place: Place, venue: str, properties: Mapping[Key, Sequence[str]]) -> str:
    quote = quote_of(properties, Place(CRYPTO_FUTURE, venue, place.ticker)) or quote_of(properties, place)
    is_usd = quote == "USD" if quote else place.ticker.endswith("USD") and not place.ticker.endswith(LINEAR_QUOTES)
    return "inverse" if is_usd and venue not in _USD_IS_LINEAR else "linear"


def _piece(found: Found, item: FolderSeries, source: str) -> Piece:
    record = found.records.get(str(item.key))
    is_own = record is not None and record.place == item.place and is_unchanged(found.root, record.files)
    columns, origins = _read(found.root, item)
    if item.key.series == "funding":
        marks = _settlement_marks(found.root, item.place, columns, origins)
        columns = _funding(columns, marks, record if is_own else None)
    elif is_own and record is not None:
        columns["time_ms"] = _stamps(columns, record)
    provenance = Provenance(source, tuple(origins), synthetic=bool(record and record.provenance.synthetic))
    if is_own and record is not None:
        provenance = record.provenance
    return Piece(item.key, columns, provenance, Origin(str(found.root / item.files[0][0])))


def _read(root: Path, item: FolderSeries) -> tuple[Columns, list[SourceFile]]:
    parts: list[Columns] = []
    origins: list[SourceFile] = []
    for name, day in item.files:
        content, origin = read_source(root / name, name)
        origins.append(origin)
        if item.place.resolution:
            text = unpacked(root / name, content, item.place.entry_name(day))
            parts.append(_bars(item.key, read_bars(text, str(root / name), day)))
        else:
            column = "hourly_rate" if item.key.series == BORROW else "funding_rate"
            parts.append(read_rates(content, str(root / name), column))
    joined: Columns = {column: np.concatenate([part[column] for part in parts]) for column in parts[0]}
    return joined, origins


def _bars(key: SeriesKey, columns: Columns) -> Columns:
    if key.series != "bars":
        columns.pop("volume")  # written as 0, because Lean wants one
    return columns


def _settlement_marks(root: Path, place: Place, rates: Columns, origins: list[SourceFile]) -> Floats | None:
    """Mark price at each settlement; None when the folder has none."""
    name = settlement_mark_place(place).rate_path
    if not (root / name).is_file():
        return None
    content, origin = read_source(root / name, name)
    origins.append(origin)
    marks = read_rates(content, str(root / name), "mark_price")
    prices = np.full(len(rates["time_ms"]), np.nan)
    _, rows, found = np.intersect1d(stamps_in(rates), stamps_in(marks), return_indices=True)
    prices[rows] = values_in(marks, "mark_price")[found]
    return prices


def _funding(rates: Columns, marks: Floats | None, record: Record | None) -> Columns:
    """Funding rows as the lake had them: with their own stamps, and with only those marks that were their own."""
    if record is None:
        return rates if marks is None else {**rates, "mark_price": marks}
    rates = {**rates, "time_ms": _stamps(rates, record)}
    if record.marks_filled is None:
        return rates
    own = np.full(len(rates["time_ms"]), np.nan) if marks is None else marks.copy()
    own[list(record.marks_filled)] = np.nan
    return {**rates, "mark_price": own}


def _stamps(columns: Columns, record: Record) -> Integers:
    times = stamps_in(columns)
    if record.stamp_offset_ms:
        # Rows that a feed appended after the export stand behind those that the record describes.
        offsets = np.zeros(len(times), dtype=np.int64)
        offsets[: len(record.stamp_offset_ms)] = record.stamp_offset_ms
        return times + offsets
    return times
