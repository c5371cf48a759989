"""Market history in memory: what the simulator reads. Built by ``data.market`` from the lake, or by tests by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Bars:
    """Open, high, low, close on the history's grid.

    NaN where the venue has no bar. ``volume`` in base units (0 for mark).
    """

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


@dataclass(frozen=True, slots=True)
class Settlements:
    """Funding settlements of one perp, ascending by instant, at most one per instant.

    ``time_ms``: the instant (whole hours, UTC), after stamps were brought to it.
    ``funding_rate``: fraction per interval that ends at the instant; longs pay when positive; NaN: expected, missing.
    ``mark_price``: mark price of that instant (open of the mark bar that starts then), venue quote; NaN = missing.
    ``interval_hours``: hours since the settlement before.
    """

    time_ms: Integers
    funding_rate: Floats
    mark_price: Floats
    interval_hours: Floats


@dataclass(frozen=True, slots=True)
class RateSeries:
    """Hourly borrow rate of an asset: ``hourly_rate[i]`` (fraction per hour) holds from ``time_ms[i]`` on."""

    time_ms: Integers
    hourly_rate: Floats


@dataclass(frozen=True, slots=True)
class InstrumentHistory:
    """History of one instrument.

    ``mark`` and ``settlements`` are None for spot; ``mark`` is None when no mark series is held.
    """

    key: str
    bars: Bars
    mark: Bars | None = None
    settlements: Settlements | None = None


@dataclass(frozen=True, slots=True)
class MarketHistory:
    """All instruments of a run on one grid.

    ``open_ms[k]`` is the open of bar k; it is complete at ``open_ms[k] + bar_ms``. The grid has no holes: a missing bar
    is NaN.
    ``borrow`` maps (venue, asset) to its rate series. ``data_hash`` is the SHA-256 over every value read.
    ``oracle`` maps an asset to the status of its composite price at every bar's close, int8 of shape (T,), 0: good
    (``crypto.oracle_composite.Status``); an asset that is not in it is not watched. A perp's instrument key maps to the
    status for that perp, which is also bad while its own price lies off the composite; the worse of the two counts.
    ``synthetic`` is true when any series was generated. ``sources`` says per series where it came from.
    ``notes`` are findings that a reader of results must know (repaired stamps, expected settlements without a row,
    ...).
    """

    bar_ms: int
    open_ms: Integers
    instruments: tuple[InstrumentHistory, ...]
    borrow: Mapping[tuple[str, str], RateSeries] = field(default_factory=dict)
    oracle: Mapping[str, NDArray[np.int8]] = field(default_factory=dict)
    data_hash: str = ""
    synthetic: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def instrument(self, key: str) -> InstrumentHistory:
        """History of the instrument with that key; ``KeyError`` when it is not held."""
        for history in self.instruments:
            if history.key == key:
                return history
        raise KeyError(key)
