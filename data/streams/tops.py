"""Latest best bid and ask of every instrument."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from data.streams.events import TopOfBook
from data.streams.staleness import LIMITS, StalenessLimits
from data.streams.verdict import Verdict

Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class TopReading:
    """Best bid and ask at one moment, NaN for an empty side. ``stale``: too old, a side missing, crossed or locked."""

    key: Key
    bid: float
    bid_quantity: float
    ask: float
    ask_quantity: float
    event_ms: int | None
    received_ns: int
    age_seconds: float
    crossed: bool
    stale: bool


class _Top:
    """What is held of one instrument. ``confirmed_ns`` 0: not since the connection was lost."""

    __slots__ = ("ask", "ask_quantity", "bid", "bid_quantity", "confirmed_ns", "event_ms", "received_ns", "sequence")

    def __init__(self) -> None:
        self.bid = self.bid_quantity = self.ask = self.ask_quantity = math.nan
        self.event_ms: int | None = None
        self.sequence: int | None = None
        self.received_ns = 0
        self.confirmed_ns = 0


class TopRow(msgspec.Struct, frozen=True, array_like=True):
    """One instrument's top as plain values; None is NaN or none. Names as in ``_Top``."""

    key: Key
    bid: float | None
    bid_quantity: float | None
    ask: float | None
    ask_quantity: float | None
    event_ms: int | None
    sequence: int | None
    received_ns: int
    confirmed_ns: int


class TopTable:
    """Tops by instrument. The venue's order decides what is newer: update ids where there are some, else stamps."""

    def __init__(self, limits: Mapping[str, StalenessLimits] = LIMITS) -> None:
        self._limits = limits
        self._tops: dict[Key, _Top] = {}

    def __len__(self) -> int:
        return len(self._tops)

    def apply(self, update: TopOfBook, received_ns: int) -> Verdict:
        """Take one update in."""
        key = (update.venue, update.kind, update.symbol)
        top = self._tops.get(key)
        if top is None:
            top = self._tops[key] = _Top()
        verdict = _order(top, update)
        if verdict is not Verdict.APPLIED:
            return verdict
        top.bid, top.bid_quantity = _side(top.bid, top.bid_quantity, update.bid, update.bid_quantity, update.snapshot)
        top.ask, top.ask_quantity = _side(top.ask, top.ask_quantity, update.ask, update.ask_quantity, update.snapshot)
        top.event_ms, top.sequence = update.event_ms, update.sequence
        top.received_ns = top.confirmed_ns = received_ns
        return Verdict.APPLIED

    def invalidate(self, venue: str, kind: str, symbols: Sequence[str] | None = None) -> int:
        """Make tops stale until heard of again and forget their sequences; returns how many."""
        wanted = None if symbols is None else set(symbols)
        count = 0
        for (of_venue, of_kind, symbol), top in self._tops.items():
            if of_venue == venue and of_kind == kind and (wanted is None or symbol in wanted):
                top.confirmed_ns = 0
                top.sequence = top.event_ms = None
                count += 1
        return count

    def dump(self) -> list[TopRow]:
        """Everything that is held, exactly."""
        return [
            TopRow(
                key, _or_none(top.bid), _or_none(top.bid_quantity), _or_none(top.ask), _or_none(top.ask_quantity),
                top.event_ms, top.sequence, top.received_ns, top.confirmed_ns,
            )
            for key, top in self._tops.items()
        ]  # fmt: skip

    def load(self, rows: Sequence[TopRow]) -> None:
        """Take over what ``dump`` gave, in place of what is held."""
        self._tops = {}
        for row in rows:
            top = self._tops[row.key] = _Top()
            top.bid, top.bid_quantity = _or_nan(row.bid), _or_nan(row.bid_quantity)
            top.ask, top.ask_quantity = _or_nan(row.ask), _or_nan(row.ask_quantity)
            top.event_ms, top.sequence = row.event_ms, row.sequence
            top.received_ns, top.confirmed_ns = row.received_ns, row.confirmed_ns

    def reading(self, key: Key, now_ns: int) -> TopReading | None:
        """What is known, with its age; None when nothing was ever heard."""
        top = self._tops.get(key)
        if top is None:
            return None
        age = (now_ns - top.confirmed_ns) / 1e9 if top.confirmed_ns else math.inf
        crossed = top.bid >= top.ask
        missing = math.isnan(top.bid) or math.isnan(top.ask)
        return TopReading(
            key, top.bid, top.bid_quantity, top.ask, top.ask_quantity, top.event_ms, top.received_ns, age, crossed,
            stale=age > self._limits[key[0]].top_seconds or crossed or missing,
        )  # fmt: skip


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _order(top: _Top, update: TopOfBook) -> Verdict:
    if not top.confirmed_ns:
        return Verdict.APPLIED if update.snapshot else Verdict.NEEDS_SNAPSHOT
    # Bybit numbers from 1 again after a restart of its service, with a snapshot.
    if update.venue == "bybit" and update.snapshot and update.sequence == 1 and top.sequence != 1:
        return Verdict.APPLIED
    if update.sequence is not None and top.sequence is not None and update.sequence != top.sequence:
        return Verdict.APPLIED if update.sequence > top.sequence else Verdict.OUT_OF_ORDER
    if update.event_ms is None or top.event_ms is None:
        return Verdict.DUPLICATE if update.sequence is not None else Verdict.APPLIED
    if update.event_ms != top.event_ms:
        # The same id with a newer stamp: the venue states again what still holds.
        return Verdict.APPLIED if update.event_ms > top.event_ms else Verdict.OUT_OF_ORDER
    return Verdict.DUPLICATE if update.sequence is not None or _same(top, update) else Verdict.APPLIED


def _same(top: _Top, update: TopOfBook) -> bool:
    held = (top.bid, top.bid_quantity, top.ask, top.ask_quantity)
    stated = (update.bid, update.bid_quantity, update.ask, update.ask_quantity)
    return all(a == b or (b is None and math.isnan(a)) for a, b in zip(held, stated, strict=True))


def _side(
    price: float, quantity: float, new_price: float | None, new_quantity: float | None, snapshot: bool
) -> tuple[float, float]:
    """A side after the update: unchanged where a partial one is silent, NaN where it is empty."""
    if new_price is None and not snapshot:
        return price, quantity
    if not new_price or new_quantity is None or new_quantity == 0.0:
        return math.nan, math.nan
    return new_price, new_quantity
