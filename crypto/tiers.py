"""Leverage tiers of a contract: maintenance rate, deduction, leverage by notional. Spec: docs/specs/margin.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from crypto.compiled import kernel
from crypto.errors import DataError, RefusedError, UsageError
from crypto.instruments import parse_key
from crypto.market import Floats
from crypto.units import iso

# Venues publish deductions rounded to cents or to eight digits of a coin, and rates as short decimals.
DEDUCTION_TOLERANCE = 1e-6


class TierRow(NamedTuple):
    """One tier as a venue lists it. It holds for notionals above ``floor`` up to and including ``cap``.

    ``rate``: maintenance margin rate. ``max_leverage``: largest leverage that may be chosen. ``deduction``: maintenance
    amount that the venue publishes (checked against the recurrence), or None where it publishes none.
    """

    floor: float
    cap: float
    rate: float
    max_leverage: float
    deduction: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TierTable:
    """Tiers of one contract from ``effective_ms`` on; columns of shape (n,), ascending by notional.

    ``key``: ``venue:kind:SYMBOL``. Floors, caps and deductions are in the margin asset ``currency``: quote for linear
    contracts, base (coin) for inverse ones. ``cap`` of the last tier is ``inf`` where the venue names no limit.
    """

    key: str
    currency: str
    effective_ms: int
    floor: Floats
    cap: Floats
    rate: Floats
    deduction: Floats
    max_leverage: Floats
    source: str


@kernel
def next_deduction(previous: float, floor: float, rate: float, previous_rate: float) -> float:
    """Deduction of the tier that starts at ``floor``: what keeps the maintenance margin continuous there."""
    return previous + floor * (rate - previous_rate)


@kernel
def tier_index(notional: float, floor: Floats) -> int:
    """Index of the tier with floor < ``notional`` <= next floor; 0 for a notional of 0. The last has no upper end."""
    index = len(floor) - 1
    while index > 0 and notional <= floor[index]:
        index -= 1
    return index


def deductions(floors: Sequence[float], rates: Sequence[float]) -> list[float]:
    """Deductions of all tiers from their floors and rates (ascending, same length); the first is 0."""
    found = [rates[0] * 0]
    for index in range(1, len(rates)):
        found.append(next_deduction(found[-1], floors[index], rates[index], rates[index - 1]))
    return found


def tier_table(key: str, currency: str, effective_ms: int, rows: Iterable[TierRow], source: str) -> TierTable:
    """Validated table from rows in ascending order.

    ``DataError`` names the contract, row (from 1) and value of a tier that overlaps the one before, leaves a hole, has
    a rate that does not rise or is not within (0, 1), a leverage that rises or whose initial margin is below the
    maintenance margin, or a published deduction that breaks continuity.
    """
    parse_key(key)
    listed = list(rows)
    if not listed:
        raise _wrong(key, 0, "the table has no tiers")
    _check_rows(key, listed)
    for row, (before, after) in enumerate(pairwise(listed), start=2):
        _check_order(key, row, before, after)
    built = deductions([row.floor for row in listed], [row.rate for row in listed])
    _check_deductions(key, listed, built)
    columns = [np.array(column, dtype=np.float64) for column in zip(*[row[:4] for row in listed], strict=True)]
    columns.append(np.array(built))
    for column in columns:
        column.setflags(write=False)
    floor, cap, rate, max_leverage, deduction = columns
    return TierTable(key, currency, effective_ms, floor, cap, rate, deduction, max_leverage, source)


def fixed_tier(key: str, currency: str, rate: float, deduction: float = 0.0, max_leverage: float = 1.0) -> TierTable:
    """A table of one tier without end, for a rate and deduction that are known by themselves; as ``DataError`` above.

    The deduction is taken as given, so below the notional where the tier starts the maintenance margin is too small.
    """
    row = TierRow(0.0, math.inf, rate, max_leverage)
    table = tier_table(key, currency, 0, [row], "given by hand")
    if not (math.isfinite(deduction) and deduction >= 0):
        raise _wrong(key, 1, f"deduction = {deduction} is not zero or more")
    return replace(table, deduction=np.array([deduction]))


def _check_rows(key: str, rows: Sequence[TierRow]) -> None:
    if rows[0].floor != 0:
        raise _wrong(key, 1, f"floor = {rows[0].floor:g}: the first tier starts at 0, this leaves a hole below it")
    for number, row in enumerate(rows, start=1):
        for name in ("floor", "rate", "max_leverage"):
            if not math.isfinite(getattr(row, name)):
                raise _wrong(key, number, f"{name} = {getattr(row, name)} is not a number")
        if not row.cap > row.floor or (math.isinf(row.cap) and number < len(rows)):
            raise _wrong(key, number, f"cap = {row.cap:g} is not a limit above floor = {row.floor:g}")
        if not 0 < row.rate < 1:
            raise _wrong(key, number, f"maintenance rate = {row.rate:g} is not between 0 and 1 (1% is 0.01)")
        if row.max_leverage < 1:
            raise _wrong(key, number, f"largest leverage = {row.max_leverage:g} is below 1")
        if row.rate * row.max_leverage > 1:
            raise _wrong(
                key,
                number,
                f"maintenance rate = {row.rate:g} is above the initial margin of leverage {row.max_leverage:g}",
            )


def _check_order(key: str, number: int, before: TierRow, row: TierRow) -> None:
    if row.floor < before.cap:
        raise _wrong(key, number, f"floor = {row.floor:g} overlaps the tier before, which ends at {before.cap:g}")
    if row.floor > before.cap:
        raise _wrong(key, number, f"floor = {row.floor:g} leaves a hole: the tier before ends at {before.cap:g}")
    if not row.rate > before.rate:
        raise _wrong(key, number, f"maintenance rate = {row.rate:g} does not rise: the tier before has {before.rate:g}")
    if row.max_leverage > before.max_leverage:
        raise _wrong(
            key, number, f"largest leverage = {row.max_leverage:g} rises: the tier before has {before.max_leverage:g}"
        )


def _check_deductions(key: str, rows: Sequence[TierRow], built: Sequence[float]) -> None:
    for number, (row, expected) in enumerate(zip(rows, built, strict=True), start=1):
        if row.deduction is None:
            continue
        # A NaN must fail the comparison.
        if not abs(row.deduction - expected) <= DEDUCTION_TOLERANCE * max(1.0, expected):
            raise _wrong(
                key,
                number,
                f"deduction = {row.deduction:.12g} breaks continuity: floors and rates ask for {expected:.12g}",
            )


def _wrong(key: str, number: int, problem: str) -> DataError:
    where = f"{key} tier {number}" if number else key
    return DataError(f"{where}: {problem}", remedy="fetch the venue's tiers again, or correct the row")


def tier_of(table: TierTable, notional: float) -> int:
    """Index of the tier of ``notional`` (>= 0). ``RefusedError`` when it is beyond the last tier."""
    if not notional >= 0:
        raise UsageError(
            f"{table.key}: notional = {notional} is not zero or more", remedy="give the size of the position"
        )
    if notional > table.cap[-1]:
        raise RefusedError(
            f"{table.key}: notional {notional:,.12g} {table.currency} is beyond the last tier, which ends at"
            f" {table.cap[-1]:,.12g}",
            remedy="make the position smaller, or give the venue's complete tiers",
        )
    return tier_index(notional, table.floor)


def check_leverage(table: TierTable, notional: float, leverage: float) -> None:
    """``RefusedError`` when ``leverage`` is above what the tier of ``notional`` allows; ``UsageError`` when below 1."""
    if not (math.isfinite(leverage) and leverage >= 1):
        raise UsageError(f"{table.key}: leverage = {leverage} is not 1 or more", remedy="give a leverage from 1 up")
    largest = table.max_leverage[tier_of(table, notional)]
    if leverage > largest:
        raise RefusedError(
            f"{table.key}: leverage {leverage:g} is above {largest:g}, the largest for a notional of {notional:,.12g}"
            f" {table.currency}",
            remedy=f"choose leverage {largest:g} or less, or a smaller position",
        )


class TierBook:
    """Tier tables of many contracts and dates; a table holds from its date until the next one of the same contract."""

    def __init__(self, tables: Iterable[TierTable]) -> None:
        by_key: dict[str, list[TierTable]] = {}
        for table in tables:
            by_key.setdefault(table.key, []).append(table)
        for key, found in by_key.items():
            found.sort(key=lambda table: table.effective_ms)
            for earlier, later in pairwise(found):
                if earlier.effective_ms == later.effective_ms:
                    raise DataError(
                        f"{key}: two tier tables are effective from {iso(later.effective_ms)}", remedy="keep one"
                    )
        self._by_key: Mapping[str, tuple[TierTable, ...]] = {key: tuple(found) for key, found in by_key.items()}

    @property
    def keys(self) -> tuple[str, ...]:
        """Contracts that have a table, in alphabetical order."""
        return tuple(sorted(self._by_key))

    def history(self, key: str) -> tuple[TierTable, ...]:
        """All tables of a contract, earliest first; ``DataError`` when there is none."""
        if key not in self._by_key:
            raise DataError(
                f"no leverage tiers for {key}", remedy="give a tier file of the venue that lists it, or name its tiers"
            )
        return self._by_key[key]

    def as_of(self, key: str, time_ms: int) -> TierTable:
        """The table valid at ``time_ms``. ``DataError`` when the contract has none, or none that early."""
        history = self.history(key)
        valid = [table for table in history if table.effective_ms <= time_ms]
        if not valid:
            raise DataError(
                f"leverage tiers of {key} are known from {iso(history[0].effective_ms)} on, not at {iso(time_ms)}",
                remedy="give a tier file of that time",
            )
        return valid[-1]

    def merged(self, other: TierBook) -> TierBook:
        """Both books; where both have a table of one contract and date, the one of ``other`` holds."""
        tables = {(table.key, table.effective_ms): table for table in self.tables()}
        tables |= {(table.key, table.effective_ms): table for table in other.tables()}
        return TierBook(tables.values())

    def tables(self) -> tuple[TierTable, ...]:
        """Every table, by contract, then by date."""
        return tuple(table for key in self.keys for table in self._by_key[key])
