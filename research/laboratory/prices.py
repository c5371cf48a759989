"""Price series of a study, read from the lake onto a grid without holes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crypto.errors import DataError
from crypto.instruments import parse_key
from crypto.market import Bars, Floats, Integers
from crypto.units import iso, timeframe_ms
from data.store.lake import Lake
from data.store.series import SeriesKey
from research.laboratory.provenance import data_hash


@dataclass(frozen=True, slots=True)
class PriceSeries:
    """Bars of one series; NaN where the lake has none. ``source`` says where they were recorded or generated."""

    key: SeriesKey
    time_ms: Integers
    bars: Bars
    bar_ms: int
    data_hash: str
    synthetic: bool
    source: str

    @property
    def last_close(self) -> float:
        """The latest price."""
        known = self.bars.close[np.isfinite(self.bars.close)]
        return float(known[-1])

    @property
    def span(self) -> str:
        """First and last instant in words."""
        return f"{iso(int(self.time_ms[0]))} to {iso(int(self.time_ms[-1]) + self.bar_ms)}"


def read_prices(
    lake: Path, instrument: str, series: str, timeframe: str, start_ms: int | None, end_ms: int | None
) -> PriceSeries:
    """A series of the lake between two instants (the end exclusive). ``DataError`` when it is not held or empty."""
    venue, kind, symbol = parse_key(instrument)
    key = SeriesKey(venue, kind.value, symbol, series, timeframe)
    found = Lake(lake).read(key, start_ms, end_ms)
    time_ms = found.columns["time_ms"]
    if not time_ms.size:
        info = found.info
        raise DataError(
            f"{key}: no rows in the asked range; held from {iso(info.first_ms)} to {iso(info.last_ms)}",
            remedy="change --start and --end, or leave them out",
        )
    bar_ms = timeframe_ms(timeframe)
    grid = np.arange(int(time_ms[0]), int(time_ms[-1]) + 1, bar_ms, dtype=np.int64)
    at = (time_ms - grid[0]) // bar_ms
    columns: list[Floats] = []
    for name in ("open", "high", "low", "close"):
        column = np.full(grid.size, np.nan)
        column[at] = found.columns[name]
        columns.append(column)
    opened, high, low, close = columns
    bars = Bars(opened, high, low, close, np.zeros(grid.size))
    provenance = found.info.provenance
    hashed = data_hash([time_ms, *(found.columns[name] for name in ("open", "high", "low", "close"))])
    return PriceSeries(key, grid, bars, bar_ms, hashed, provenance.synthetic, provenance.source)
