"""The grid of a run, and bars of the lake laid on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crypto.errors import DataError, UsageError
from crypto.market import Bars, Floats, Integers
from crypto.units import iso, parse_iso, timeframe_ms
from data.store.lake import Lake, SeriesInfo, SeriesKey
from data.store.resample import resample
from data.store.rows import PRICES

_REMEDY = "choose start and end within what is held, or ingest more"


@dataclass(frozen=True, slots=True)
class Grid:
    """Bar opens from ``start_ms`` (included) to ``end_ms`` (excluded), one every ``timeframe``."""

    start_ms: int
    end_ms: int
    timeframe: str

    @property
    def bar_ms(self) -> int:
        """Length of a bar in milliseconds."""
        return timeframe_ms(self.timeframe)

    @property
    def open_ms(self) -> Integers:
        """Open of each bar."""
        return np.arange(self.start_ms, self.end_ms, self.bar_ms, dtype=np.int64)


def choose_series(held: Sequence[SeriesKey], instrument: str, series: str, timeframe: str) -> SeriesKey | None:
    """The series at that timeframe, or the longest shorter one that it can be made of; None when neither is held.

    A longer one is never spread over shorter bars: that would invent prices.
    """
    wanted = timeframe_ms(timeframe)
    candidates = [key for key in held if key.instrument == instrument and key.series == series]
    usable = [key for key in candidates if wanted % timeframe_ms(key.timeframe) == 0]
    return max(usable, key=lambda key: timeframe_ms(key.timeframe), default=None)


def make_grid(infos: Sequence[SeriesInfo], timeframe: str, start: str, end: str) -> Grid:
    """Grid from ISO ``start`` and ``end`` (UTC, end excluded); an empty one is what all of ``infos`` hold in common.

    ``UsageError`` when a bound is malformed, not on the grid, or the two are in the wrong order; ``DataError`` naming
    what is held when the series have no time in common or one has nothing between the bounds.
    """
    bar_ms = timeframe_ms(timeframe)
    first = max(_ceil(info.first_ms, bar_ms) for info in infos)
    last = min((info.last_ms + timeframe_ms(info.key.timeframe)) // bar_ms * bar_ms for info in infos)
    start_ms = _bound("start", start, bar_ms, timeframe) if start else first
    end_ms = _bound("end", end, bar_ms, timeframe) if end else last
    if start and end and end_ms <= start_ms:
        raise UsageError(f"end {end} is not after start {start}", remedy="give a later end")
    common = DataError(f"the series have no time in common; {held_span(infos)}", remedy=_REMEDY)
    if not (start or end) and end_ms <= start_ms:
        raise common
    for info in infos:
        if info.last_ms < start_ms or info.first_ms >= end_ms:
            asked = f"between {iso(start_ms)} and {iso(end_ms)}"
            if end_ms <= start_ms:  # only one of them was given
                asked = f"from {iso(start_ms)} on" if start else f"before {iso(end_ms)}"
            raise DataError(f"no {info.key} {asked}; {held_span(infos)}", remedy=_REMEDY)
    if end_ms <= start_ms:
        raise common
    return Grid(start_ms, end_ms, timeframe)


def held_span(infos: Sequence[SeriesInfo]) -> str:
    """``held: ... from .. to ..`` for messages."""
    return "held: " + ", ".join(f"{info.key} {iso(info.first_ms)} .. {iso(info.last_ms)}" for info in infos)


def read_bars(lake: Lake, key: SeriesKey, grid: Grid) -> tuple[Bars, int]:
    """Bars of the series on the grid, NaN where none is held (volume 0 where it has none); and how many are missing.

    A series of shorter bars is put together; a bar of which a part is missing counts as missing.
    """
    columns = dict(lake.read(key, grid.start_ms, grid.end_ms).columns)
    if timeframe_ms(key.timeframe) != grid.bar_ms:
        columns, _ = resample(columns, timeframe_ms(key.timeframe), grid.bar_ms)
    count = (grid.end_ms - grid.start_ms) // grid.bar_ms
    times: Integers = columns["time_ms"].astype(np.int64, copy=False)
    places = (times - grid.start_ms) // grid.bar_ms
    prices = {name: _placed(columns[name], places, count) for name in PRICES}
    volume = _placed(columns["volume"], places, count) if "volume" in columns else np.zeros(count)
    return Bars(**prices, volume=volume), count - len(places)


def _placed(values: Floats | Integers, places: Integers, count: int) -> Floats:
    result = np.full(count, np.nan)
    result[places] = values
    return result


def _ceil(time_ms: int, step: int) -> int:
    return -(-time_ms // step) * step


def _bound(name: str, text: str, bar_ms: int, timeframe: str) -> int:
    try:
        instant = parse_iso(text)
    except UsageError as error:
        raise UsageError(f"{name}: {error.message}", remedy=error.remedy) from error
    if instant % bar_ms:
        raise UsageError(f"{name} {text} does not open a {timeframe} bar", remedy=f"e.g. {iso(_ceil(instant, bar_ms))}")
    return instant
