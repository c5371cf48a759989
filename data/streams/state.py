"""Latest state of every instrument, each field with the time at which it was received and the venue's own time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from data.streams.events import Event, PerpUpdate, TopOfBook, WholePerpUpdate
from data.streams.perps import Key, PerpTable
from data.streams.staleness import LIMITS, Field, StalenessLimits
from data.streams.tops import TopReading, TopTable
from data.streams.verdict import Verdict

# From so many whole updates on, columns are faster than one by one.
_MANY = 8


@dataclass(frozen=True, slots=True)
class FieldReading:
    """One field as it is known. ``value`` NaN: none. ``age_seconds`` since it was last confirmed; infinite: never."""

    value: float
    event_ms: int | None
    received_ns: int
    age_seconds: float
    stale: bool


@dataclass(frozen=True, slots=True)
class PerpReading:
    """All of a perpetual at one moment: ``next_settlement`` ms, ``interval`` hours, ``funding_rate`` per interval."""

    key: Key
    mark: FieldReading
    index: FieldReading
    funding_rate: FieldReading
    next_settlement: FieldReading
    interval: FieldReading


class MarketState:
    """Perpetuals and tops of book. Every call that depends on time is given it (ns of one monotonic clock)."""

    def __init__(self, limits: Mapping[str, StalenessLimits] = LIMITS) -> None:
        self.perps = PerpTable(limits)
        self.tops = TopTable(limits)
        self.verdicts: Counter[Verdict] = Counter()

    def apply(self, event: Event, received_ns: int) -> Verdict | None:
        """Take one event in; None for kinds of events that are no state (trades, answers, books)."""
        if isinstance(event, PerpUpdate):
            verdict = self.perps.apply(event, received_ns)
        elif isinstance(event, TopOfBook):
            verdict = self.tops.apply(event, received_ns)
        else:
            return None
        self.verdicts[verdict] += 1
        return verdict

    def apply_all(self, events: Sequence[Event], received_ns: int) -> list[tuple[Event, Verdict]]:
        """Take in the events of one frame; returns those that were not applied as they stand, with the verdict."""
        whole, others = _split(events)
        refused: list[tuple[Event, Verdict]] = []
        if whole:
            applied = self.perps.apply_whole(whole, received_ns)
            count = int(applied.sum())
            self.verdicts[Verdict.APPLIED] += count
            if count < len(whole):
                refused += [(whole[at], self._old(whole[at])) for at in (~applied).nonzero()[0]]
        for event in others:
            verdict = self.apply(event, received_ns)
            if verdict is not None and verdict is not Verdict.APPLIED:
                refused.append((event, verdict))
        return refused

    def _old(self, update: PerpUpdate) -> Verdict:
        row = self.perps.row((update.venue, update.kind, update.symbol))
        is_held = row is not None and update.event_ms == self.perps.event_ms[Field.MARK, row]
        verdict = Verdict.DUPLICATE if is_held else Verdict.OUT_OF_ORDER
        self.verdicts[verdict] += 1
        return verdict

    def invalidate(self, venue: str, kind: str, symbols: Sequence[str] | None = None) -> int:
        """Make instruments stale until heard of again, as after a lost connection; None: all of venue and kind."""
        return self.perps.invalidate(venue, kind, symbols) + self.tops.invalidate(venue, kind, symbols)

    def perp(self, key: Key, now_ns: int) -> PerpReading | None:
        """A perpetual's fields with their ages; None when nothing was ever heard of it."""
        row = self.perps.row(key)
        if row is None:
            return None
        stale = self.perps.stale(now_ns)[:, row]
        mark, index, rate, settlement, interval = (
            self._field(field, row, now_ns, bool(stale[field])) for field in Field
        )
        return PerpReading(key, mark, index, rate, settlement, interval)

    def top(self, key: Key, now_ns: int) -> TopReading | None:
        """An instrument's best bid and ask with their age; None when nothing was ever heard of it."""
        return self.tops.reading(key, now_ns)

    def _field(self, field: Field, row: int, now_ns: int, stale: bool) -> FieldReading:
        confirmed = int(self.perps.confirmed[field, row])
        event_ms = int(self.perps.event_ms[field, row])
        return FieldReading(
            value=float(self.perps.values[field, row]),
            event_ms=event_ms if event_ms >= 0 else None,
            received_ns=int(self.perps.received[field, row]),
            age_seconds=(now_ns - confirmed) / 1e9 if confirmed else math.inf,
            stale=stale,
        )


def _split(events: Sequence[Event]) -> tuple[Sequence[WholePerpUpdate], Sequence[Event]]:
    """Updates that can go in together, and the rest in order."""
    if len(events) < _MANY:
        return [], events
    if issubclass(type(events[0]), WholePerpUpdate) and len(set(map(type, events))) == 1:
        return cast(Sequence[WholePerpUpdate], events), []
    of = next((found for found in map(type, events) if issubclass(found, WholePerpUpdate)), None)
    if of is None:
        return [], events
    whole: list[Any] = [event for event in events if event.__class__ is of]
    return whole, [event for event in events if event.__class__ is not of]
