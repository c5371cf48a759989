"""Funding settlements of a perp for a run: stamps brought to their instants, marks found, missing ones made visible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crypto.errors import DataError
from crypto.funding import Calendar, settlement_calendar, settlement_instants
from crypto.market import Floats, Integers, Settlements
from crypto.units import DAY_MS, HOUR_MS, iso, timeframe_ms
from data.grid import Grid
from data.store.lake import Lake, Series, SeriesInfo, SeriesKey

# Rows beside the range tell the interval at its borders; further ones need not even be well formed.
_CONTEXT_MS = 7 * DAY_MS


@dataclass(frozen=True, slots=True)
class LoadedSettlements:
    """Settlements of a range, what the funding file says of itself, and findings for the reader of results."""

    settlements: Settlements
    info: SeriesInfo
    notes: tuple[str, ...]


def load_settlements(
    lake: Lake, held: Sequence[SeriesKey], perp_bars: SeriesInfo, grid: Grid, tolerance_ms: int
) -> LoadedSettlements:
    """Settlements with ``start < instant <= end`` of the grid.

    Stamps are brought to the nearest full hour (``DataError`` beyond ``tolerance_ms``, or when two belong to one hour).
    Settlements that the calendar expects while the perp has bars, but that have no row, get a NaN rate. The mark is the
    funding file's own, else the open of a mark bar of any timeframe that opens at the instant, else NaN.
    ``DataError`` when no funding is held for the perp.
    """
    key = _funding_key(held, perp_bars.key)
    rows, instants, calendar = _read(lake, key, grid, tolerance_ms)
    offsets = np.abs(rows.time_ms - instants)
    expected, intervals = _expected(instants, calendar, perp_bars, grid)
    inside = (expected > grid.start_ms) & (expected <= grid.end_ms)
    times = expected[inside]
    rates = _looked_up(times, instants, rows.columns["funding_rate"])
    marks = _marks(lake, held, key, times, grid)
    if "mark_price" in rows.columns:
        own = _looked_up(times, instants, rows.columns["mark_price"])
        marks = np.where(np.isnan(own), marks, own)
    settlements = Settlements(times, rates, marks, intervals[inside])
    used = (instants > grid.start_ms) & (instants <= grid.end_ms)
    return LoadedSettlements(settlements, rows.info, tuple(_notes(key.instrument, settlements, offsets[used])))


def _funding_key(held: Sequence[SeriesKey], perp: SeriesKey) -> SeriesKey:
    key = SeriesKey(perp.venue, perp.kind, perp.symbol, "funding")
    if key not in held:
        raise DataError(
            f"the lake holds no {key}, so its funding would be left out",
            remedy="ingest its funding file (carry ingest freqtrade, or carry ingest csv --series funding)",
        )
    return key


def _read(lake: Lake, key: SeriesKey, grid: Grid, tolerance_ms: int) -> tuple[Series, Integers, Calendar]:
    """Rows in and around the range, their instants, the calendar; the whole series when there are fewer than two."""
    rows = lake.read(key, grid.start_ms - _CONTEXT_MS, grid.end_ms + _CONTEXT_MS)
    if len(rows.time_ms) < 2:
        rows = lake.read(key)
    try:
        instants = settlement_instants(rows.time_ms, tolerance_ms)
        return rows, instants, settlement_calendar(instants)
    except DataError as error:
        first = f" (rows counted from {iso(int(rows.time_ms[0]))})"
        raise DataError(f"{key}: {error.message}{first}", remedy=error.remedy) from error


def _expected(instants: Integers, calendar: Calendar, perp: SeriesInfo, grid: Grid) -> tuple[Integers, Floats]:
    """Every settlement that has a row or should have one, with hours since the one before."""
    before = _backward(instants, calendar, max(grid.start_ms, perp.first_ms))
    bars_end_ms = perp.last_ms + timeframe_ms(perp.key.timeframe)  # a row of that very instant is often not there yet
    after = _forward(instants, calendar, min(grid.end_ms, bars_end_ms - 1))
    expected = np.sort(np.concatenate((before, instants, calendar.missing_ms, after)))
    first = calendar.interval_hours[:1]
    return expected, np.concatenate((first, np.diff(expected) / HOUR_MS))


def _backward(instants: Integers, calendar: Calendar, from_ms: int) -> Integers:
    """Settlements expected before the first row and after ``from_ms``, at the first known interval."""
    step = int(calendar.interval_hours[0] * HOUR_MS)
    count = max(0, (int(instants[0]) - from_ms - 1) // step)
    return instants[0] - step * np.arange(count, 0, -1, dtype=np.int64)


def _forward(instants: Integers, calendar: Calendar, to_ms: int) -> Integers:
    """Settlements expected after the last row up to ``to_ms``, at the last known interval."""
    step = int(calendar.interval_hours[-1] * HOUR_MS)
    count = max(0, (to_ms - int(instants[-1])) // step)
    return instants[-1] + step * np.arange(1, count + 1, dtype=np.int64)


def _looked_up(times: Integers, known: Integers, values: Floats | Integers) -> Floats:
    """Value at each of ``times``, NaN where ``known`` (ascending) has none."""
    result = np.full(len(times), np.nan)
    if len(known) == 0:
        return result
    places = np.minimum(np.searchsorted(known, times), len(known) - 1)
    found = known[places] == times
    result[found] = values[places[found]]
    return result


def _marks(lake: Lake, held: Sequence[SeriesKey], funding: SeriesKey, times: Integers, grid: Grid) -> Floats:
    """Open of the mark bar that starts at each instant: the grid's timeframe first, then others, finest first."""
    marks = np.full(len(times), np.nan)
    sources = [key for key in held if key.instrument == funding.instrument and key.series == "mark"]
    sources.sort(key=lambda key: (timeframe_ms(key.timeframe) != grid.bar_ms, timeframe_ms(key.timeframe)))
    for key in sources:
        unknown = np.isnan(marks)
        if not unknown.any():
            break
        rows = lake.read(key, int(times[0]), int(times[-1]) + 1)
        marks = np.where(unknown, _looked_up(times, rows.time_ms, rows.columns["open"]), marks)
    return marks


def _notes(instrument: str, settlements: Settlements, offsets: Integers) -> list[str]:
    notes = []
    late = offsets[offsets > 0]
    total = len(settlements.time_ms)
    if len(late):
        moved = f"{len(late)} of {total} settlement stamps brought to their hour"
        notes.append(f"{instrument}: {moved}, the largest by {int(late.max())} ms")
    for name, values in (("a row", settlements.funding_rate), ("a mark price", settlements.mark_price)):
        missing = np.isnan(values)
        if missing.any():
            first = iso(int(settlements.time_ms[np.argmax(missing)]))
            notes.append(f"{instrument}: {int(missing.sum())} of {total} settlements without {name}, the first {first}")
    return notes
