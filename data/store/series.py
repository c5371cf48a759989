"""Names of series in the lake, and what is known of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from crypto.errors import UsageError
from crypto.market import Floats, Integers
from crypto.units import timeframe_ms
from data.store.rows import COLUMNS, TIMED_SERIES

KINDS = ("spot", "linear", "inverse", "asset")
_VENUE = re.compile(r"[a-z0-9][a-z0-9_]*")
_SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, order=True)
class SeriesKey:
    """Name of a series. ``kind``: spot, linear, inverse, or asset (borrow, ``symbol`` = asset).

    ``series``: bars, mark, index, oracle, funding or borrow; ``timeframe`` is empty for funding and borrow.
    ``UsageError`` names the part that is wrong.
    """

    venue: str
    kind: str
    symbol: str
    series: str
    timeframe: str = ""

    def __post_init__(self) -> None:
        if not _VENUE.fullmatch(self.venue):
            raise UsageError(f"venue {self.venue!r} is not a lower-case name", remedy="for example --venue binance")
        if self.kind not in KINDS:
            raise UsageError(f"kind {self.kind!r} is unknown", remedy=f"use one of {', '.join(KINDS)}")
        if not _SYMBOL.fullmatch(self.symbol):
            raise UsageError(f"symbol {self.symbol!r} is not made of letters and digits", remedy="for example BTCUSDT")
        if self.series not in COLUMNS:
            raise UsageError(f"series {self.series!r} is unknown", remedy=f"use one of {', '.join(COLUMNS)}")
        self._check_series_of_kind()
        self._check_timeframe()

    def _check_series_of_kind(self) -> None:
        if (self.kind == "asset") != (self.series == "borrow"):
            raise UsageError(
                f"series {self.series!r} does not belong to kind {self.kind!r}",
                remedy="borrow rates have kind asset and the asset as symbol; other series belong to an instrument",
            )
        if self.kind == "spot" and self.series != "bars":
            raise UsageError(f"spot has no {self.series} series", remedy="use kind linear or inverse for perpetuals")

    def _check_timeframe(self) -> None:
        if self.series in TIMED_SERIES:
            timeframe_ms(self.timeframe)
        elif self.timeframe:
            raise UsageError(
                f"{self.series} has no timeframe, but {self.timeframe!r} was given",
                remedy="leave it out: the rows tell their spacing",
            )

    @property
    def instrument(self) -> str:
        """``venue:kind:symbol``."""
        return f"{self.venue}:{self.kind}:{self.symbol}"

    @property
    def file_name(self) -> str:
        """``bars-1h`` or ``funding``."""
        return f"{self.series}-{self.timeframe}" if self.timeframe else self.series

    def __str__(self) -> str:
        """``binance:linear:BTCUSDT bars 1h``."""
        return f"{self.instrument} {self.series}{' ' + self.timeframe if self.timeframe else ''}"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that rows were read from: name without machine path, and the SHA-256 of its bytes."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is recorded beside rows: a label for people, the files read, whether the rows were generated."""

    source: str
    origins: tuple[SourceFile, ...] = ()
    synthetic: bool = False


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """What a lake file says about itself: row count, first and last stamp, where the rows came from, what wrote it."""

    key: SeriesKey
    rows: int
    first_ms: int
    last_ms: int
    provenance: Provenance
    tool: str


@dataclass(frozen=True, slots=True)
class Series:
    """Rows of a series as arrays of equal length, with what the file says about itself."""

    key: SeriesKey
    columns: Mapping[str, Floats | Integers]
    info: SeriesInfo

    @property
    def time_ms(self) -> Integers:
        """Stamps of the rows: bar open, settlement stamp as the venue gave it, or start of a rate."""
        return np.asarray(self.columns["time_ms"], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class MergeResult:
    """Counts of a merge. ``rows`` is what the series holds afterwards; ``completed``: see ``Merged``."""

    key: SeriesKey
    rows: int
    added: int
    identical: int
    replaced: int
    first_ms: int
    last_ms: int
    completed: int = 0
