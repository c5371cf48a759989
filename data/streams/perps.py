"""Latest mark, index and funding of many perpetuals in columns, so that an array of 600 marks is one step.

Nothing here reads a clock: the caller passes the time of receipt, nanoseconds of a monotonic clock of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from data.streams.events import PerpUpdate, WholePerpUpdate
from data.streams.staleness import LIMITS, Field, StalenessLimits
from data.streams.verdict import Verdict

Key = tuple[str, str, str]
"""Venue, kind, symbol."""

Rows = NDArray[np.int64] | slice

FIELDS: Final = len(Field)
# Plain numbers: hashing and comparing enumerations costs more than the rest of an update.
_MARK, _INDEX, _FUNDING_RATE, _NEXT_SETTLEMENT, _INTERVAL = (int(field) for field in Field)
_WHOLE: Final = slice(Field.MARK, Field.NEXT_SETTLEMENT + 1)  # what a whole message states; the interval it may not
_NO_TIME: Final = -1
_BEFORE_ALL: Final = np.iinfo(np.int64).min
# Venues whose partial messages change a snapshot: before it they mean nothing, after it absent means unchanged. The
# partial messages of others (OKX, dYdX) stand for themselves.
_DELTA_VENUES: Final = frozenset({"bybit"})


class PerpColumns(msgspec.Struct, frozen=True):
    """All of a table as plain values, columns by field and instrument; None is NaN. Names as in ``PerpTable``."""

    keys: list[Key]
    values: list[list[float | None]]
    received: list[list[int]]
    confirmed: list[list[int]]
    event_ms: list[list[int]]
    sequence: list[int]
    message_ms: list[int]
    has_snapshot: list[bool]


class PerpTable:
    """Columns by field and row by instrument; rows never move, so an index may be kept. 0 in ``confirmed``: never.

    ``values[field, row]``: NaN where there is none; settlement times in ms are exact in float64.
    ``received[field, row]``: ns (> 0) at which the value came; ``confirmed[field, row]``: ns of the last message that
    showed it to be current. ``event_ms[field, row]``: the venue's stamp of the value, negative where it has none.
    """

    def __init__(self, limits: Mapping[str, StalenessLimits] = LIMITS, capacity: int = 1024) -> None:
        self._limits = limits
        self._rows: dict[Key, int] = {}
        self._known: dict[tuple[str, str], tuple[list[str], Rows]] = {}
        self.keys: list[Key] = []
        self.values = np.full((FIELDS, capacity), math.nan)
        self.received = np.zeros((FIELDS, capacity), dtype=np.int64)
        self.confirmed = np.zeros((FIELDS, capacity), dtype=np.int64)
        self.event_ms = np.full((FIELDS, capacity), _BEFORE_ALL, dtype=np.int64)
        self._limit_ns = np.zeros((FIELDS, capacity), dtype=np.int64)
        self._sequence = np.full(capacity, _NO_TIME, dtype=np.int64)
        self._message_ms = np.full(capacity, _BEFORE_ALL, dtype=np.int64)
        self._has_snapshot = np.zeros(capacity, dtype=np.bool_)

    def __len__(self) -> int:
        return len(self.keys)

    def row(self, key: Key) -> int | None:
        """Row of an instrument; None when nothing was ever heard of it."""
        return self._rows.get(key)

    def apply(self, update: PerpUpdate, received_ns: int) -> Verdict:
        """Take one update in; the venue's order decides what is newer, not that of arrival."""
        row = self._row_of((update.venue, update.kind, update.symbol))
        refused = self._refusal(update, row)
        if refused is not None:
            return refused
        carried = _carried(update)
        stamp = _NO_TIME if update.event_ms is None else update.event_ms
        stamps = self.event_ms[:, row].tolist()
        fresh = [item for item in carried if stamp == _NO_TIME or stamp >= stamps[item[0]]]
        if carried and not fresh:
            return Verdict.OUT_OF_ORDER
        if self._repeats(update, row, carried, stamp):
            return Verdict.DUPLICATE
        if update.venue in _DELTA_VENUES:
            # What such a message does not carry it confirms; what was not stated since the snapshot stays unconfirmed.
            confirmed = self.confirmed[:, row]
            confirmed[confirmed > 0] = received_ns
        for field, value in fresh:
            self.values[field, row] = value
            self.event_ms[field, row] = stamp
            self.received[field, row] = self.confirmed[field, row] = received_ns
        if update.sequence is not None:
            self._sequence[row] = update.sequence
        self._message_ms[row] = stamp
        if update.snapshot:
            self._has_snapshot[row] = True
        return Verdict.APPLIED

    def apply_whole(self, updates: Sequence[WholePerpUpdate], received_ns: int) -> NDArray[np.bool_]:
        """Take in whole updates of one venue and kind (Binance's mark array).

        Returns which were applied; the others are duplicates or older than what is held.
        """
        rows = self._rows_of(updates)
        if rows is None:
            return np.array([self.apply(update, received_ns) is Verdict.APPLIED for update in updates], dtype=np.bool_)
        stamps = np.array([update.event_ms for update in updates], dtype=np.int64)
        incoming = np.empty((_INTERVAL, stamps.size))
        incoming[_MARK] = [update.mark for update in updates]
        incoming[_INDEX] = [update.index for update in updates]
        incoming[_FUNDING_RATE] = [update.funding_rate for update in updates]
        settlements = [update.next_settlement_ms or 0 for update in updates]
        incoming[_NEXT_SETTLEMENT] = np.array(settlements, dtype=np.int64)
        _drop_zeros(incoming)
        applied: NDArray[np.bool_] = stamps > self.event_ms[_MARK, rows]
        if not applied.all():
            applied |= self._changed(rows, stamps, incoming)
            rows, stamps, incoming = _numbers(rows)[applied], stamps[applied], incoming[:, applied]
        self.values[_WHOLE, rows] = incoming
        self.event_ms[_WHOLE, rows] = stamps
        self.received[_WHOLE, rows] = received_ns
        self.confirmed[_WHOLE, rows] = received_ns
        self._has_snapshot[rows] = True
        return applied

    def _changed(self, rows: Rows, stamps: NDArray[np.int64], incoming: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Rows with the stamp that is held and another value: which of two is newer then is not known, so the last."""
        held = self.values[_WHOLE, rows]
        same = ((incoming == held) | (np.isnan(incoming) & np.isnan(held))).all(axis=0)
        changed: NDArray[np.bool_] = (stamps == self.event_ms[_MARK, rows]) & ~same
        return changed

    def invalidate(self, venue: str, kind: str, symbols: Sequence[str] | None = None) -> int:
        """Make instruments stale until they are heard of again (connection lost); None: all of venue and kind.

        Values are kept for display. Stamps, sequences and snapshots are forgotten: what comes next is taken.
        Returns how many rows were held.
        """
        wanted = None if symbols is None else set(symbols)
        rows = [
            row
            for row, (of_venue, of_kind, symbol) in enumerate(self.keys)
            if of_venue == venue and of_kind == kind and (wanted is None or symbol in wanted)
        ]
        self.confirmed[:, rows] = 0
        self.event_ms[:, rows] = _BEFORE_ALL
        self._sequence[rows] = _NO_TIME
        self._message_ms[rows] = _BEFORE_ALL
        self._has_snapshot[rows] = False
        return len(rows)

    def stale(self, now_ns: int) -> NDArray[np.bool_]:
        """By field and row: no value, not confirmed since the connection was lost, or older than the venue's limit."""
        count = len(self)
        confirmed = self.confirmed[:, :count]
        too_old = now_ns - confirmed > self._limit_ns[:, :count]
        result: NDArray[np.bool_] = too_old | (confirmed == 0) | np.isnan(self.values[:, :count])
        return result

    def dump(self) -> PerpColumns:
        """Everything that is held, exactly."""
        count = len(self)
        values = [[None if math.isnan(value) else value for value in row] for row in self.values[:, :count].tolist()]
        return PerpColumns(
            list(self.keys), values, self.received[:, :count].tolist(), self.confirmed[:, :count].tolist(),
            self.event_ms[:, :count].tolist(), self._sequence[:count].tolist(), self._message_ms[:count].tolist(),
            self._has_snapshot[:count].tolist(),
        )  # fmt: skip

    def load(self, held: PerpColumns) -> None:
        """Take over what ``dump`` gave, into a table that holds nothing."""
        for key in held.keys:
            self._row_of(key)
        count = len(held.keys)
        self.values[:, :count] = [[math.nan if value is None else value for value in row] for row in held.values]
        self.received[:, :count] = held.received
        self.confirmed[:, :count] = held.confirmed
        self.event_ms[:, :count] = held.event_ms
        self._sequence[:count] = held.sequence
        self._message_ms[:count] = held.message_ms
        self._has_snapshot[:count] = held.has_snapshot

    def _row_of(self, key: Key) -> int:
        row = self._rows.get(key)
        if row is not None:
            return row
        row = len(self.keys)
        if row == self._sequence.size:
            self._grow()
        limits = self._limits[key[0]]
        self._limit_ns[:, row] = [round(limits.of(field) * 1e9) for field in Field]
        self._rows[key] = row
        self.keys.append(key)
        return row

    def _rows_of(self, updates: Sequence[PerpUpdate]) -> Rows | None:
        """Rows of the updates' symbols; None when one stands twice. The same come in the same order every second."""
        symbols = [update.symbol for update in updates]
        first = updates[0]
        known = self._known.get((first.venue, first.kind))
        if known is not None and known[0] == symbols:
            return known[1]
        if len(set(symbols)) != len(symbols):
            return None
        rows = _compact([self._row_of((first.venue, first.kind, symbol)) for symbol in symbols])
        self._known[first.venue, first.kind] = (symbols, rows)
        return rows

    def _grow(self) -> None:
        size = self._sequence.size
        for name, filler in (
            ("values", math.nan), ("received", 0), ("confirmed", 0), ("event_ms", _BEFORE_ALL), ("_limit_ns", 0),
        ):  # fmt: skip
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.full_like(column, filler)], axis=1))
        self._sequence = np.concatenate([self._sequence, np.full(size, _NO_TIME, dtype=np.int64)])
        self._message_ms = np.concatenate([self._message_ms, np.full(size, _BEFORE_ALL, dtype=np.int64)])
        self._has_snapshot = np.concatenate([self._has_snapshot, np.zeros(size, dtype=np.bool_)])

    def _refusal(self, update: PerpUpdate, row: int) -> Verdict | None:
        if update.venue in _DELTA_VENUES and not update.snapshot and not self._has_snapshot[row]:
            return Verdict.NEEDS_SNAPSHOT
        if update.sequence is None:
            return None
        held = self._sequence[row]
        if update.sequence < held:
            return Verdict.OUT_OF_ORDER
        if update.sequence == held:
            # The cross sequence counts the book's changes: marks may move while it stands still.
            stamp = _NO_TIME if update.event_ms is None else update.event_ms
            if stamp == self._message_ms[row]:
                return Verdict.DUPLICATE
            if stamp < self._message_ms[row]:
                return Verdict.OUT_OF_ORDER
        return None

    def _repeats(self, update: PerpUpdate, row: int, carried: Sequence[tuple[int, float]], stamp: int) -> bool:
        if update.sequence is not None or stamp == _NO_TIME or not carried:
            return False
        values, stamps = self.values[:, row].tolist(), self.event_ms[:, row].tolist()
        return all(
            stamps[field] == stamp and (values[field] == value or (math.isnan(value) and math.isnan(values[field])))
            for field, value in carried
        )


def _compact(rows: list[int]) -> Rows:
    """Rows as a slice where they follow each other: columns are then copied at once."""
    if rows == list(range(rows[0], rows[0] + len(rows))):
        return slice(rows[0], rows[0] + len(rows))
    return np.array(rows, dtype=np.int64)


def _numbers(rows: Rows) -> NDArray[np.int64]:
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows


def _carried(update: PerpUpdate) -> list[tuple[int, float]]:
    """Fields that the update states, as row and value, with NaN for none."""
    carried: list[tuple[int, float]] = []
    is_whole = update.snapshot
    if is_whole or update.mark is not None:
        carried.append((_MARK, update.mark or math.nan))
    if is_whole or update.index is not None:
        carried.append((_INDEX, update.index or math.nan))
    if is_whole or update.funding_rate is not None:
        carried.append((_FUNDING_RATE, math.nan if update.funding_rate is None else update.funding_rate))
    if is_whole or update.next_settlement_ms is not None:
        carried.append((_NEXT_SETTLEMENT, update.next_settlement_ms or math.nan))
    if update.interval_hours is not None:
        carried.append((_INTERVAL, update.interval_hours or math.nan))
    return carried


def _drop_zeros(incoming: NDArray[np.float64]) -> None:
    """In place: a price or a time of 0 is none; a rate of 0 is a rate."""
    zeros = incoming == 0.0
    zeros[_FUNDING_RATE] = False
    if zeros.any():
        incoming[zeros] = math.nan
