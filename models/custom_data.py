"""Funding, mark, index, oracle and borrow series as Lean data: rate rows of the exported folder, in backtest and live.

One row is ``yyyyMMdd HH:mm:ss,value`` in UTC, and is known at its stamp. A live feed appends whole lines to the same
files, which Lean polls. Each row costs 50 to 60 us in Lean (lean-measured.md I.3), so the pipeline's own numbers are
read once at the start (``data.lean_market``), and these are subscribed only where a stage asks for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from AlgorithmImports import (
    FileFormat,
    Globals,
    PythonData,
    QCAlgorithm,
    Resolution,
    Slice,
    SubscriptionDataConfig,
    SubscriptionDataSource,
    SubscriptionTransportMedium,
    TimeZones,
)

from crypto.errors import DataError
from crypto.instruments import Instrument
from models.legs import LegBook

_STAMP = "%Y%m%d %H:%M:%S"
_PLAIN = frozenset("0123456789.-")


class VenueRow(PythonData):
    """Base of the series: where its file is, and how a row is read."""

    market_suffix: ClassVar[str] = ""

    def get_source(self, config: SubscriptionDataConfig, date: datetime, is_live_mode: bool) -> SubscriptionDataSource:
        """The whole history in one file, which Lean polls when live. The ticker is ``market.name``."""
        market, _, ticker = config.symbol.value.lower().partition(".")
        path = f"{Globals.data_folder}/cryptofuture/{market}{self.market_suffix}/margin_interest/{ticker}.csv"
        return SubscriptionDataSource(path, SubscriptionTransportMedium.LOCAL_FILE, FileFormat.CSV)

    def reader(self, config: SubscriptionDataConfig, line: str, date: datetime, is_live_mode: bool) -> Any:
        """One row; None for an empty line. ``DataError`` for what Lean's own reader would misread."""
        if not line.strip():
            return None
        row = type(self)()
        row.symbol = config.symbol
        row.time = row.end_time = parse_stamp(line)
        row.value = parse_value(line)
        return row


class FundingRate(VenueRow):
    """Rate of a settlement, known at its instant; longs pay when it is positive."""


class MarkPrice(VenueRow):
    """Mark price at a settlement, which is where the ledger pays by it."""

    market_suffix = "mark"


class IndexPrice(VenueRow):
    """Index price at the close of each bar."""

    market_suffix = "index"


class OraclePrice(VenueRow):
    """The composite oracle over several venues (docs/specs/oracle.md), at the close of each bar; no row while HALT.

    Its ticker is ``carry.`` with asset and unit, such as ``carry.BTCUSDT``.
    """

    market_suffix = "oracle"


class VenueOraclePrice(VenueRow):
    """The oracle price that a venue publishes of its own, at the close of each bar."""

    market_suffix = "oracle"


class BorrowRate(VenueRow):
    """Borrow rate per hour, in force from its stamp on."""

    market_suffix = "borrow"


SERIES: Mapping[str, type[VenueRow]] = {
    "funding": FundingRate,
    "mark": MarkPrice,
    "index": IndexPrice,
    "oracle": OraclePrice,
    "venue_oracle": VenueOraclePrice,
    "borrow": BorrowRate,
}


def parse_stamp(line: str) -> datetime:
    """Naive UTC time of a row; ``DataError`` when it is written otherwise."""
    try:
        return datetime.strptime(line.partition(",")[0].strip("\ufeff "), _STAMP)  # noqa: DTZ007 - naive is UTC here
    except ValueError:
        raise DataError(f"row {line!r}: the stamp is not yyyyMMdd HH:mm:ss", remedy="write it so, in UTC") from None


def parse_value(line: str) -> float:
    """Value of a row; ``DataError`` for exponents, ``nan`` and everything else that is no plain decimal."""
    text = line.partition(",")[2].strip()
    try:
        value = float(text) if set(text) <= _PLAIN else math.nan
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise DataError(f"row {line!r}: {text!r} is not a plain decimal", remedy="write it without exponent")
    return value


class VenueSeries:
    """Series that a run subscribed, and the latest value of each: ``latest[key, series]``, key as in the settings.

    Perps of one asset may share a series (borrow, oracle), which is subscribed once. ``place_of``: market and ticker of
    the file that holds a series of a perp.
    """

    def __init__(
        self,
        algorithm: QCAlgorithm,
        book: LegBook,
        series: Sequence[str],
        place_of: Callable[[Instrument, str], tuple[str, str]],
    ) -> None:
        self.latest: dict[tuple[str, str], float] = {}
        self._keys: dict[Any, list[tuple[str, str]]] = {}
        for name in series:
            shared: dict[str, list[tuple[str, str]]] = {}
            for leg in book.legs[1::2]:
                market, ticker = place_of(leg.instrument, name)
                ticker = f"{market.removesuffix(SERIES[name].market_suffix)}.{ticker}"
                shared.setdefault(ticker, []).append((leg.instrument.key, name))
            for ticker, keys in shared.items():
                self._keys[algorithm.add_data(SERIES[name], ticker, Resolution.TICK, TimeZones.UTC).symbol] = keys

    def take(self, slice: Slice) -> None:  # noqa: A002 - Lean's name for it
        """Keep what the slice brought."""
        for symbol, keys in self._keys.items():
            if slice.contains_key(symbol):
                row: Any = slice[symbol]
                self.latest.update(dict.fromkeys(keys, row.value))
