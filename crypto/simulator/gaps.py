"""The named policies for missing funding rates, mark prices and borrow rates, applied before a run.

A policy that fails does so only when a position would have needed the number; until then the row carries the flag.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crypto.errors import DataError
from crypto.instruments import Pair
from crypto.market import Floats, InstrumentHistory, Integers, MarketHistory, RateSeries, Settlements
from crypto.settings import FundingClock, MissingPolicy, PriceSource, Settings
from crypto.simulator.state import (
    BORROW_RATE,
    MARK_FAIL,
    MARK_LAST_KNOWN,
    MARK_SKIP,
    RATE_FAIL,
    RATE_LAST_KNOWN,
    RATE_SKIP,
    SETTLEMENT,
)
from crypto.units import HOUR_MS

LEAN_INTERVAL_MS = 8 * HOUR_MS  # Lean's BinanceFutureMarginInterestRateModel, for every venue and contract

BORROW_KNOWN, BORROW_LAST_KNOWN, BORROW_SKIP, BORROW_FAIL = 0, 1, 2, 3

_RATE_FLAGS = {
    MissingPolicy.FAIL: RATE_FAIL,
    MissingPolicy.SKIP: RATE_SKIP,
    MissingPolicy.LAST_KNOWN: RATE_LAST_KNOWN,
}
_MARK_FLAGS = {
    MissingPolicy.FAIL: MARK_FAIL,
    MissingPolicy.SKIP: MARK_SKIP,
    MissingPolicy.LAST_KNOWN: MARK_LAST_KNOWN,
}
_BORROW_FLAGS = {
    MissingPolicy.FAIL: BORROW_FAIL,
    MissingPolicy.SKIP: BORROW_SKIP,
    MissingPolicy.LAST_KNOWN: BORROW_LAST_KNOWN,
}


@dataclass(frozen=True, slots=True)
class SettlementTable:
    """Settlements of all perp legs, grouped by leg; ``first[pair]`` is the first row of a pair's perp."""

    rows: Any  # dtype crypto.simulator.state.SETTLEMENT
    first: tuple[int, ...]


def settlement_table(
    histories: Sequence[InstrumentHistory], legs: Any, market: MarketHistory, settings: Settings, notes: list[str]
) -> SettlementTable:
    """All settlements with the missing-data policies applied; writes each leg's range into ``legs``."""
    columns: list[tuple[Floats, ...]] = []
    first: list[int] = []
    count = 0
    for leg in range(1, len(histories), 2):
        history = histories[leg]
        if history.settlements is None:
            raise DataError(
                f"{history.key} has no funding history", remedy="ingest its funding rates, or take the pair out"
            )
        table = _one_leg(history, history.settlements, market, settings)
        first.append(count)
        legs[leg].settle_next = count
        count += table[0].size
        legs[leg].settle_end = count
        columns.append(table)
        if table[0].size == 0:
            notes.append(f"{history.key}: no funding settlement in the period")
    rows = np.zeros(max(count, 1), SETTLEMENT).view(np.recarray)
    for name, parts in zip(
        ("time_ms", "rate", "mark", "hours", "alpha", "flag"), zip(*columns, strict=True), strict=True
    ):
        rows[name][:count] = np.concatenate(parts)
    return SettlementTable(rows, tuple(first))


def _one_leg(
    history: InstrumentHistory, rows: Settlements, market: MarketHistory, settings: Settings
) -> tuple[Any, ...]:
    if settings.funding.clock is FundingClock.LEAN:
        rows = lean_settlements(rows, market)
    rate, rate_flag = fill_missing(
        rows.time_ms, rows.funding_rate, settings.funding.missing_rate, settings.funding.max_age_hours, _RATE_FLAGS
    )
    if settings.funding.price is PriceSource.LAST:
        mark = _last_trade_at(history, market, rows.time_ms)
    else:
        mark = rows.mark_price
    mark, mark_flag = _fill_mark(history, rows, market, mark, settings)
    alpha = 1.0 - 0.5 ** (rows.interval_hours / settings.signal.forecast_half_life_hours)
    return rows.time_ms, rate, mark, rows.interval_hours, alpha, rate_flag | mark_flag


def lean_settlements(rows: Settlements, market: MarketHistory) -> Settlements:
    """What Lean's stock funding model pays over the market's period: 00, 08 and 16 UTC, by the last rate delivered.

    A stale rate is applied again, NaN stands before the first one, and the row of the last instant is never delivered.
    The mark is that of the instant where the contract has a settlement then. Spec: docs/specs/lean_stock.md.
    """
    start, end = int(market.open_ms[0]), int(market.open_ms[-1]) + market.bar_ms
    first = start // LEAN_INTERVAL_MS + 1
    time_ms = np.arange(first * LEAN_INTERVAL_MS, end + 1, LEAN_INTERVAL_MS, dtype=np.int64)
    known = np.flatnonzero(~np.isnan(rows.funding_rate) & (rows.time_ms < end))
    last = np.searchsorted(rows.time_ms[known], time_ms, side="right") - 1
    rate = np.full(time_ms.size, math.nan)
    rate[last >= 0] = rows.funding_rate[known][last[last >= 0]]
    mark = np.full(time_ms.size, math.nan)
    _, here, there = np.intersect1d(time_ms, rows.time_ms, return_indices=True)
    mark[here] = rows.mark_price[there]
    return Settlements(time_ms, rate, mark, np.full(time_ms.size, LEAN_INTERVAL_MS / HOUR_MS))


def fill_missing(
    time_ms: Integers, values: Floats, policy: MissingPolicy, max_age_hours: float, flags: dict[MissingPolicy, int]
) -> tuple[Floats, Integers]:
    """Values with ``policy`` applied to NaN, and the flag per row (0: known). Too old for ``LAST_KNOWN`` means fail."""
    missing = np.isnan(values)
    flag = np.where(missing, flags[policy], 0).astype(np.int64)
    if policy is not MissingPolicy.LAST_KNOWN or not missing.any():
        return values, flag
    filled = values.copy()
    last = np.maximum.accumulate(np.where(missing, -1, np.arange(values.size)))
    for row in np.flatnonzero(missing):
        known = last[row]
        if known >= 0 and time_ms[row] - time_ms[known] <= max_age_hours * HOUR_MS:
            filled[row] = values[known]
        else:
            flag[row] = flags[MissingPolicy.FAIL]
    return filled, flag


def _bar_before(market: MarketHistory, time_ms: Integers) -> Integers:
    """Index of the last bar that has closed at each time; -1 where none has."""
    index: Integers = (time_ms - market.open_ms[0]) // market.bar_ms - 1
    return np.clip(index, -1, market.open_ms.size - 1)


def _last_trade_at(history: InstrumentHistory, market: MarketHistory, time_ms: Integers) -> Floats:
    """Close of the bar that ends at each time; NaN where there is no such bar."""
    bar = _bar_before(market, time_ms)
    return np.where(bar >= 0, history.bars.close[np.maximum(bar, 0)], math.nan)


def _fill_mark(
    history: InstrumentHistory, rows: Settlements, market: MarketHistory, mark: Floats, settings: Settings
) -> tuple[Floats, Integers]:
    """Marks with the policy applied; the last known mark is the newest of earlier settlements and closed mark bars."""
    policy, limit = settings.funding.missing_mark, settings.funding.max_age_hours
    filled, flag = fill_missing(rows.time_ms, mark, policy, limit, _MARK_FLAGS)
    if policy is not MissingPolicy.LAST_KNOWN or history.mark is None:
        return filled, flag
    filled = filled.copy()
    printed = np.flatnonzero(~np.isnan(history.mark.close))
    settled = np.flatnonzero(~np.isnan(mark))
    for row in np.flatnonzero(np.isnan(mark)):
        bar = _last_before(printed, int(_bar_before(market, rows.time_ms[row : row + 1])[0]))
        earlier = _last_before(settled, int(row))
        bar_ms = market.open_ms[bar] + market.bar_ms if bar >= 0 else -1
        if bar < 0 or (earlier >= 0 and rows.time_ms[earlier] >= bar_ms):
            continue
        if rows.time_ms[row] - bar_ms <= limit * HOUR_MS:
            filled[row] = history.mark.close[bar]
            flag[row] = MARK_LAST_KNOWN
    return filled, flag


def _last_before(positions: Integers, limit: int) -> int:
    """The largest of ascending ``positions`` that is not above ``limit``; -1 when there is none."""
    found = int(np.searchsorted(positions, limit, side="right")) - 1
    return int(positions[found]) if found >= 0 else -1


def borrow_table(pairs: Sequence[Pair], market: MarketHistory, settings: Settings) -> Any:
    """Hourly borrow rate of each pair's base asset from the start of the run, policy applied: (P, H) BORROW_RATE."""
    span = market.open_ms.size * market.bar_ms
    hours = int(span // HOUR_MS + 3) if settings.borrow.enabled else 1
    table = np.zeros((len(pairs), hours), BORROW_RATE).view(np.recarray)
    table.rate[:] = math.nan
    table.flag[:] = BORROW_FAIL
    if not settings.borrow.enabled:
        return table
    time_ms = (market.open_ms[0] // HOUR_MS + np.arange(hours, dtype=np.int64)) * HOUR_MS
    for number, pair in enumerate(pairs):
        owner, asset = pair.spot.venue, pair.spot.base
        constant = settings.borrow.hourly_rate.get(owner, {}).get(asset)
        series = market.borrow.get((owner, asset))
        if series is not None and series.time_ms.size:
            table.rate[number], table.flag[number] = _rate_at(series, time_ms, settings)
        elif constant is not None:
            table.rate[number] = constant
            table.flag[number] = BORROW_KNOWN
    return table


def _rate_at(series: RateSeries, time_ms: Integers, settings: Settings) -> tuple[Floats, Integers]:
    """Rate in force at each hour. A row holds as long as the one before it did, at least an hour."""
    spacing = np.diff(series.time_ms)
    holds = np.maximum(np.concatenate((spacing[:1], spacing)) if spacing.size else np.array([HOUR_MS]), HOUR_MS)
    index = np.searchsorted(series.time_ms, time_ms, side="right") - 1
    row = np.maximum(index, 0)
    age = np.where(index >= 0, time_ms - series.time_ms[row], np.iinfo(np.int64).max)
    values = np.where(index >= 0, series.hourly_rate[row], math.nan)
    is_last = index == series.time_ms.size - 1  # the row after it is not there because the series ends, not for a gap
    missing = np.where(is_last, age > holds[row], age >= holds[row])
    policy = settings.borrow.missing_rate
    flag = np.where(missing, _BORROW_FLAGS[policy], BORROW_KNOWN).astype(np.int64)
    if policy is MissingPolicy.LAST_KNOWN:
        flag = np.where(missing & (age > settings.borrow.max_age_hours * HOUR_MS), BORROW_FAIL, flag)
    return np.where(flag <= BORROW_LAST_KNOWN, values, math.nan), flag
