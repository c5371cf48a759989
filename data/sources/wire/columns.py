"""What parsers give: columns as the lake holds them, listings of instruments, leverage tiers."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import numpy as np

from data.store.rows import Columns, take

# Contracts on a multiple of a coin write the multiple before or after its name: 1000PEPE, 1MBABYDOGE, SHIB1000.
_MULTIPLE = re.compile(r"(?P<before>10{3,6}|1M)(?P<coin>[A-Z][A-Z0-9]*)|(?P<name>[A-Z][A-Z0-9]*?)(?P<after>10{3,6})")


class OpenHighLowClose(msgspec.Struct, array_like=True, gc=False):
    """Start of a row of mark or index bars; further elements are left out."""

    time_ms: int
    open: float
    high: float
    low: float
    close: float


class Candle(msgspec.Struct, array_like=True, gc=False):
    """Start of a row of traded bars; further elements are left out."""

    time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class Tier(NamedTuple):
    """One leverage tier: notional from ``floor`` to ``cap`` (quote, or coin for inverse), rates as fractions."""

    floor: float
    cap: float
    rate: float
    max_leverage: float
    deduction: float | None


@dataclass(frozen=True, slots=True)
class Listing:
    """An instrument as a venue lists it. ``symbol``: ours, ``venue_id``: the venue's; filters are decimals or None.

    ``listed_ms``/``ends_ms``: first and last instant of trading where the venue tells, else None. ``multiplier``: as in
    ``crypto.instruments.Instrument``. ``is_perpetual`` is false for dated contracts. ``is_archive_only``: not listed
    any more, so only the bulk archive may know it.
    """

    venue: str
    kind: str
    symbol: str
    venue_id: str
    base: str
    quote: str
    settle: str
    is_trading: bool
    is_perpetual: bool = True
    listed_ms: int | None = None
    ends_ms: int | None = None
    tick: Decimal | None = None
    lot: Decimal | None = None
    min_quantity: Decimal | None = None
    min_notional: Decimal | None = None
    multiplier: Decimal = Decimal(1)
    pair: str = ""
    is_archive_only: bool = False


def price_columns(rows: Sequence[Any]) -> Columns:
    """Columns ``time_ms, open, high, low, close`` of rows with those attributes, sorted by time."""
    return ordered(
        {
            "time_ms": np.array([row.time_ms for row in rows], dtype=np.int64),
            "open": np.array([row.open for row in rows], dtype=np.float64),
            "high": np.array([row.high for row in rows], dtype=np.float64),
            "low": np.array([row.low for row in rows], dtype=np.float64),
            "close": np.array([row.close for row in rows], dtype=np.float64),
        }
    )


def bar_columns(rows: Sequence[Any]) -> Columns:
    """``price_columns`` with ``volume``."""
    unordered: Columns = {
        "time_ms": np.array([row.time_ms for row in rows], dtype=np.int64),
        "open": np.array([row.open for row in rows], dtype=np.float64),
        "high": np.array([row.high for row in rows], dtype=np.float64),
        "low": np.array([row.low for row in rows], dtype=np.float64),
        "close": np.array([row.close for row in rows], dtype=np.float64),
        "volume": np.array([row.volume for row in rows], dtype=np.float64),
    }
    return ordered(unordered)


def rate_columns(
    times_ms: Sequence[int], name: str, rates: Sequence[float], mark: Sequence[float] | None = None
) -> Columns:
    """Columns ``time_ms`` and ``name``, and ``mark_price`` where it is given (NaN: not known), sorted by time."""
    columns: Columns = {"time_ms": np.array(times_ms, dtype=np.int64), name: np.array(rates, dtype=np.float64)}
    if mark is not None:
        columns["mark_price"] = np.array(mark, dtype=np.float64)
    return ordered(columns)


def ordered(columns: Columns) -> Columns:
    """The same rows by ascending time; unchanged where they are in order, as most venues send them."""
    times = columns["time_ms"]
    if len(times) < 2 or bool((times[1:] > times[:-1]).all()):
        return columns
    return take(columns, np.argsort(times, kind="stable"))


def optional_price(text: str | None) -> float:
    """A price that may be missing: NaN for an empty text, null or zero."""
    return float(text) if text and float(text) > 0 else math.nan


def split_multiple(base: str) -> tuple[str, Decimal]:
    """Coin and base units per contract: ``1000PEPE`` is (PEPE, 1000), ``1MBABYDOGE`` (BABYDOGE, 1000000), ``BTC`` 1."""
    match = _MULTIPLE.fullmatch(base)
    if match is None:
        return base, Decimal(1)
    digits = match["before"] or match["after"]
    return match["coin"] or match["name"], Decimal(1_000_000 if digits == "1M" else digits)
