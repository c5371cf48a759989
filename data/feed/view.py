"""The state of a feed as others see it: snapshots for programs, rows for Lean, what is stale."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from data.feed.engine import Engine
from data.feed.names import instrument
from data.feed.options import FeedTimes
from data.feed.rows import Value
from data.streams.perps import Key
from data.streams.staleness import Field
from data.streams.state import FieldReading, PerpReading
from data.streams.tops import TopReading


class Board:
    """Reads the engine's state at a moment. ``expected``: instruments that were asked for, heard of or not.

    ``book_levels``: how many levels of each book are shown; 0: no books.

    A value is stale when the state says so (too old, never confirmed on this connection), and all of a venue's values
    are when its messages come late: more than ``times.late_seconds`` later than at best.
    """

    def __init__(self, engine: Engine, times: FeedTimes, expected: Iterable[Key] = (), book_levels: int = 0) -> None:
        self._engine = engine
        self._book_levels = book_levels
        self._times = times
        self._names: dict[Key, str] = {}
        self._keys: dict[str, Key] = {}
        for key in expected:
            self.name(key)

    def name(self, key: Key) -> str:
        """``venue:kind:SYMBOL``."""
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = instrument(*key)
            self._keys[name] = key
        return name

    def names(self, keys: Iterable[Key]) -> list[str]:
        """Names of several instruments."""
        return [self.name(key) for key in keys]

    def instruments(self) -> dict[str, Key]:
        """Every instrument that was asked for or heard of, by name."""
        for key in self._engine.keys:
            self.name(key)
        return self._keys

    def snapshot(self, wanted: Collection[str] | None, now_ns: int) -> dict[str, Any]:
        """What a client gets: every field with value, times, age and whether it is stale. Ages in milliseconds.

        ``unknown`` lists what was asked for and is no instrument of this feed.
        """
        held = self.instruments()
        wanted = None if wanted is None else dict.fromkeys(wanted)  # each once
        names = held if wanted is None else [name for name in wanted if name in held]
        answer: dict[str, Any] = {
            "time_ms": now_ns // 1_000_000,
            "instruments": {name: self._describe(held[name], now_ns) for name in names},
        }
        unknown = [] if wanted is None else [name for name in wanted if name not in held]
        return answer | ({"unknown": unknown} if unknown else {})

    def stale(self, now_ns: int) -> list[str]:
        """Names of the instruments of which any field is stale, or of which nothing was ever heard."""
        state = self._engine.state
        ages = state.perps.stale(now_ns)
        ages[Field.INTERVAL] = False  # a rule that changes rarely, and that not every venue states
        stale_perps = {key for key, is_stale in zip(state.perps.keys, ages.any(axis=0), strict=True) if is_stale}
        return [name for name, key in self.instruments().items() if self._is_stale(key, stale_perps, now_ns)]

    def stale_books(self, now_ns: int) -> list[str]:
        """Names of the instruments whose book is out of step with the venue, too old or late."""
        stale = set(self._engine.books.stale(now_ns))
        return [name for name, key in self.instruments().items() if key in stale]

    def _is_stale(self, key: Key, stale_perps: Collection[Key], now_ns: int) -> bool:
        top = self._engine.state.top(key, now_ns)
        if top is None and self._engine.state.perps.row(key) is None:
            return True
        return key in stale_perps or (top is not None and top.stale) or self.is_late(key[0])

    def row(self, key: Key, now_ns: int) -> Mapping[str, Value] | None:
        """Values of a row for Lean; None when nothing was ever heard of the instrument."""
        perp = self._engine.state.perp(key, now_ns)
        top = self._engine.state.top(key, now_ns)
        if perp is None and top is None:
            return None
        described = self._describe(key, now_ns)
        settled = self._engine.settled.get(key)
        ages = [field["age_ms"] for field in described["fields"].values() if field["age_ms"] is not None]
        values: dict[str, Value] = {
            name: field["value"] for name, field in described["fields"].items() if name in _ROW_FIELDS
        }
        return (
            dict.fromkeys(_ROW_FIELDS)
            | values
            | {
                "settled_ms": None if settled is None else settled.settlement_ms,
                "settled_rate": None if settled is None else settled.rate,
                "age_ms": max(ages, default=None),
                "stale": int(described["stale"]),
            }
        )

    def _describe(self, key: Key, now_ns: int) -> dict[str, Any]:
        is_late = self.is_late(key[0])
        fields: dict[str, dict[str, Any]] = {}
        perp = self._engine.state.perp(key, now_ns)
        if perp is not None:
            fields |= {name: _perp_field(perp, name, is_late=is_late) for name in _PERP_FIELDS}
        top = self._engine.state.top(key, now_ns)
        if top is not None:
            fields |= {name: _top_field(top, name, is_late=is_late) for name in _TOP_FIELDS}
        settled = self._engine.settled.get(key)
        book = {"book": self._book(key, now_ns, is_late=is_late)} if self._book_levels else {}
        return {
            "stale": not fields or any(field["stale"] for name, field in fields.items() if name != "interval_hours"),
            "late": is_late,
            "fields": fields,
            "settled": None if settled is None else {"time_ms": settled.settlement_ms, "rate": settled.rate},
            **book,
        }

    def _book(self, key: Key, now_ns: int, *, is_late: bool) -> Mapping[str, Any]:
        """The best levels of the book; none while it is out of step with the venue."""
        book = self._engine.books.reading(key, now_ns, self._book_levels)
        if book is None:
            return _NO_BOOK
        return {
            "stale": book.stale or is_late,
            "sequence": book.sequence,
            "event_ms": book.event_ms,
            "received_ms": book.received_ns // 1_000_000 or None,
            "age_ms": round(book.age_seconds * 1000.0) if math.isfinite(book.age_seconds) else None,
            "bids": book.bids,
            "asks": book.asks,
        }

    def is_late(self, venue: str) -> bool:
        """Whether the venue's messages come so late that what they say is old although it was received just now."""
        delay = self._engine.delays.get(venue)
        return delay is not None and delay.late_ms > self._times.late_seconds * 1000.0


_NO_BOOK: Mapping[str, Any] = {
    "stale": True, "sequence": None, "event_ms": None, "received_ms": None, "age_ms": None, "bids": (), "asks": (),
}  # fmt: skip
# Our name of a field -> attribute of the reading.
_PERP_FIELDS: Mapping[str, str] = {
    "mark": "mark",
    "index": "index",
    "predicted_rate": "funding_rate",
    "next_settlement_ms": "next_settlement",
    "interval_hours": "interval",
}
_TOP_FIELDS = ("bid", "bid_quantity", "ask", "ask_quantity")
_WHOLE_NUMBERS = ("next_settlement_ms",)
_ROW_FIELDS = (*_PERP_FIELDS, *_TOP_FIELDS)


def _perp_field(perp: PerpReading, name: str, *, is_late: bool) -> dict[str, Any]:
    field: FieldReading = getattr(perp, _PERP_FIELDS[name])
    value = None if math.isnan(field.value) else field.value
    if value is not None and name in _WHOLE_NUMBERS:
        value = int(value)
    return _field(value, field.event_ms, field.received_ns, field.age_seconds, stale=field.stale or is_late)


def _top_field(top: TopReading, name: str, *, is_late: bool) -> dict[str, Any]:
    value: float = getattr(top, name)
    return _field(
        None if math.isnan(value) else value, top.event_ms, top.received_ns, top.age_seconds, stale=top.stale or is_late
    )


def _field(value: Value, event_ms: int | None, received_ns: int, age_seconds: float, *, stale: bool) -> dict[str, Any]:
    return {
        "value": value,
        "event_ms": event_ms,
        "received_ms": received_ns // 1_000_000 or None,
        "age_ms": round(age_seconds * 1000.0) if math.isfinite(age_seconds) else None,
        "stale": stale,
    }
