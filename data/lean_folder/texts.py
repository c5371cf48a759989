"""The texts of one series: what goes into which file of the data folder, with what the text leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crypto.errors import DataError
from crypto.funding import settlement_instants
from crypto.market import Floats, Integers
from crypto.units import timeframe_ms
from data.lean_folder.layout import Place, closes_place, settlement_mark_place
from data.lean_folder.lines import bar_rows, days_of, rate_rows, stamps_in, values_in
from data.lean_folder.live_rows import logged_rows
from data.store.lake import Lake
from data.store.rows import Columns, Origin
from data.store.series import SeriesKey


@dataclass(frozen=True, slots=True)
class Text:
    """Content of one file. ``entry_name`` is the name inside the zip file, empty for a file that is not zipped."""

    path: str
    entry_name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Texts:
    """All files of a series. ``stamp_offset_ms`` and ``marks_filled`` as in the manifest's record."""

    files: tuple[Text, ...]
    rows: int
    first_ms: int
    last_ms: int
    stamp_offset_ms: tuple[int, ...] = ()
    marks_filled: tuple[int, ...] | None = None


def bar_texts(key: SeriesKey, place: Place, columns: Columns, closes: Text | None = None) -> Texts:
    """Bars: one file, or one per UTC day for minutes. ``closes``: the rate file that goes with them."""
    block = bar_rows(columns, place.resolution, Origin(str(key)))
    times = stamps_in(columns)
    if place.resolution == "minute":
        files = tuple(
            Text(place.bars_path(day), place.entry_name(day), block.bytes_of(first, last))
            for day, first, last in days_of(times)
        )
    else:
        files = (Text(place.bars_path(), place.entry_name(), block.bytes_of(0, block.rows)),)
    more = () if closes is None else (closes,)
    return Texts((*files, *more), len(times), int(times[0]), int(times[-1]))


def closes_text(key: SeriesKey, place: Place, columns: Columns, root: Path, end_ms: int | None) -> Text:
    """Closes of an index or oracle series, each at its bar's end, with rows that a feed appended since."""
    at = closes_place(place)
    closes = (stamps_in(columns) + timeframe_ms(key.timeframe), values_in(columns, "close"))
    return _rate_file(at, *_with_live(closes, root, at, end_ms), "close", Origin(str(key)))


def composite_text(
    asset: str, place: Place, times_ms: Integers, values: Floats, root: Path, end_ms: int | None
) -> Text:
    """The composite oracle of an asset, each price at its bar's close, with rows that a feed appended since."""
    rows = _with_live((times_ms, values), root, place, end_ms)
    return _rate_file(place, *rows, "value", Origin(f"composite of {asset}"))


def borrow_texts(key: SeriesKey, place: Place, columns: Columns, root: Path, end_ms: int | None) -> Texts:
    """Borrow rates: ``hourly_rate`` from its stamp on, with rows that a feed appended since."""
    stamps = stamps_in(columns)
    times = stamps // 1000 * 1000
    rows = _with_live((times, values_in(columns, "hourly_rate")), root, place, end_ms)
    file = _rate_file(place, *rows, "hourly_rate", Origin(str(key)))
    return Texts((file,), len(times), int(times[0]), int(times[-1]), _offsets(stamps - times))


def funding_texts(
    key: SeriesKey, place: Place, columns: Columns, root: Path, end_ms: int | None, lake: Lake, tolerance_ms: int
) -> Texts:
    """Funding rates at their settlement instants, and the mark price of each settlement in a file of its own.

    A stamp a second late would make Lean pay the rate before it (lean-measured.md K.1), so stamps are brought to their
    full hour; ``DataError`` for one that is further off than ``tolerance_ms``. The mark is the row's own, else the
    open of the mark bar that opens at the instant; settlements without either have no row.
    """
    stamps = stamps_in(columns)
    instants = settlement_instants(stamps, tolerance_ms)
    origin = Origin(str(key))
    rates = _with_live((instants, values_in(columns, "funding_rate")), root, place, end_ms)
    files = [_rate_file(place, *rates, "funding_rate", origin)]
    own = values_in(columns, "mark_price") if "mark_price" in columns else None
    unknown = np.ones(len(instants), dtype=bool) if own is None else np.isnan(own)
    marks = np.where(unknown, _bar_opens(lake, key, instants), np.nan if own is None else own)
    known = ~np.isnan(marks)
    mark_place = settlement_mark_place(place)
    mark_rows = _with_live((instants[known], marks[known]), root, mark_place, end_ms)
    if len(mark_rows[0]):
        files.append(_rate_file(mark_place, *mark_rows, "mark_price", origin))
    filled = None if own is None else tuple(int(row) for row in np.flatnonzero(unknown & known))
    offsets = _offsets(stamps - instants)
    return Texts(tuple(files), len(instants), int(instants[0]), int(instants[-1]), offsets, filled)


def mark_sources(held: Sequence[SeriesKey], funding: SeriesKey) -> list[SeriesKey]:
    """Mark bars of the contract, finest first."""
    found = [key for key in held if key.instrument == funding.instrument and key.series == "mark"]
    return sorted(found, key=lambda key: timeframe_ms(key.timeframe))


def _bar_opens(lake: Lake, funding: SeriesKey, instants: Integers) -> Floats:
    """Open of the mark bar that opens at each instant, NaN where there is none."""
    opens = np.full(len(instants), np.nan)
    for key in mark_sources(lake.list(), funding):
        missing = np.flatnonzero(np.isnan(opens))
        if not len(missing):
            break
        bars = lake.read(key, int(instants[0]), int(instants[-1]) + 1)
        _, wanted, found = np.intersect1d(instants[missing], bars.time_ms, assume_unique=True, return_indices=True)
        opens[missing[wanted]] = bars.columns["open"][found]
    return opens


def _with_live(rows: tuple[Integers, Floats], root: Path, place: Place, end_ms: int | None) -> tuple[Integers, Floats]:
    times, values = rows
    after_ms = int(times[-1]) if len(times) else -1
    live = logged_rows(root, place, after_ms, end_ms)
    if live is None:
        return rows
    return np.concatenate((times, live["time_ms"])), np.concatenate((values, live["value"]))


def _rate_file(place: Place, times_ms: Integers, values: Floats, column: str, origin: Origin) -> Text:
    repeated = np.diff(times_ms) <= 0
    if repeated.any():
        raise DataError(
            f"{origin.row(int(np.argmax(repeated)) + 1)}: stands in the same second as the row before",
            remedy="Lean keeps one rate per second: remove one of the rows",
        )
    block = rate_rows(times_ms, values, column, origin)
    return Text(place.rate_path, "", block.bytes_of(0, block.rows))


def _offsets(differences: Integers) -> tuple[int, ...]:
    return tuple(int(value) for value in differences) if differences.any() else ()
