"""Sums and returns per calendar day, month and year (UTC), for the tables and the calendar of the report.

A bar that closes at midnight belongs to the month it lies in, so results are counted by the millisecond before their
instant. Funding is counted by the date of its settlement instant, as venues list it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crypto.ledger import Flow
from crypto.market import Floats, Integers
from crypto.result import Records

FUNDING_FLOWS = (int(Flow.FUNDING), int(Flow.FUNDING_GRACE))
Months = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class ReturnTable:
    """``monthly[y, m]`` and ``yearly[y]`` are fractions of the equity before; NaN where the run has no bar."""

    years: tuple[int, ...]
    monthly: Floats
    yearly: Floats


def months_of_bars(time_ms: Integers) -> Months:
    """Month of every bar that closes at ``time_ms``."""
    months: Months = (np.asarray(time_ms, dtype=np.int64) - 1).astype("datetime64[ms]").astype("datetime64[M]")
    return months


def returns(time_ms: Integers, equity: Floats) -> ReturnTable:
    """Returns per month and year; row 0 of the equity is the start, not a bar."""
    if len(time_ms) < 2:
        return ReturnTable((), np.empty((0, 12)), np.empty(0))
    months = months_of_bars(time_ms[1:])
    ends = np.append(np.flatnonzero(months[1:] != months[:-1]), len(months) - 1)
    years, month_numbers = _year_and_month(months[ends])
    first = int(years[0])
    monthly = np.full((int(years[-1]) - first + 1, 12), np.nan)
    closing = equity[1:][ends]
    monthly[years - first, month_numbers] = _change(np.append(equity[0], closing))
    year_ends = np.append(np.flatnonzero(years[1:] != years[:-1]), len(years) - 1)
    yearly = np.full(len(monthly), np.nan)
    yearly[years[year_ends] - first] = _change(np.append(equity[0], closing[year_ends]))
    return ReturnTable(tuple(range(first, first + len(monthly))), monthly, yearly)


def _change(levels: Floats) -> Floats:
    before = np.where(levels[:-1] > 0.0, levels[:-1], np.nan)  # no return on nothing
    return np.asarray(levels[1:] / before - 1.0)


def _year_and_month(months: Months) -> tuple[Integers, Integers]:
    count = months.astype(np.int64)
    return 1970 + count // 12, count % 12


def monthly_sums(time_ms: Integers, change: Floats) -> tuple[Months, Floats]:
    """Months of the run and the sum of the rows of ``change`` (T, C) in each; row 0 is the start and is left out."""
    if len(time_ms) < 2:
        return np.empty(0, dtype="datetime64[M]"), np.empty((0, change.shape[1]))
    months = months_of_bars(time_ms[1:])
    starts = np.append(0, np.flatnonzero(months[1:] != months[:-1]) + 1)
    return months[starts], np.add.reduceat(change[1:], starts, axis=0)


@dataclass(frozen=True, slots=True)
class FundingCalendar:
    """Funding in account currency; ``daily[p, m, d]``: pair p, ``months[m]``, day d + 1; NaN without settlement."""

    months: Months
    daily: Floats


def funding_calendar(ledger: Records, pairs: int) -> FundingCalendar:
    """Funding and grace corrections of every pair by the UTC date of the settlement."""
    is_funding = np.isin(ledger["flow"], FUNDING_FLOWS) & (ledger["leg"] >= 0)
    rows = ledger[is_funding]
    if not len(rows):
        return FundingCalendar(np.empty(0, dtype="datetime64[M]"), np.empty((pairs, 0, 31)))
    days = rows["time_ms"].astype("datetime64[ms]").astype("datetime64[D]")
    month = days.astype("datetime64[M]")
    first, last = month.min(), month.max()
    months = np.arange(first, last + 1)
    daily = np.full((pairs, len(months), 31), np.nan)
    cells = (
        rows["leg"] // 2,
        (month - first).astype(np.int64),
        (days - month.astype("datetime64[D]")).astype(np.int64),
    )
    daily[cells] = 0.0
    np.add.at(daily, cells, rows["value"])
    return FundingCalendar(months, daily)


def total_of(daily: Floats) -> Floats:
    """Sum over the first axis; NaN only where every entry is NaN."""
    return np.where(np.isnan(daily).all(axis=0), np.nan, np.nansum(daily, axis=0))
