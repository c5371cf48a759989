"""The local books of many instruments, each with the time at which it was last changed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from data.streams.book import BookState, LocalBook
from data.streams.events import BookDelta, BookSnapshot, Level
from data.streams.perps import Key
from data.streams.staleness import LIMITS, StalenessLimits
from data.streams.verdict import Verdict


class BookRow(msgspec.Struct, frozen=True, array_like=True):
    """One book and the time of its last change, ns; 0: none since it was dropped."""

    received_ns: int
    state: BookState


@dataclass(frozen=True, slots=True)
class BookReading:
    """A book at one moment, best levels first. ``stale``: not in step with the venue, or unchanged for too long."""

    sequence: int | None
    event_ms: int | None
    received_ns: int
    age_seconds: float
    stale: bool
    bids: Sequence[Level]
    asks: Sequence[Level]


@dataclass(slots=True)
class _Held:
    book: LocalBook
    received_ns: int = 0


class BookTable:
    """Books by instrument; ``verdicts`` counts what became of snapshots and changes."""

    def __init__(self, limits: Mapping[str, StalenessLimits] = LIMITS) -> None:
        self._limits = limits
        self._held: dict[Key, _Held] = {}
        self.verdicts: Counter[Verdict] = Counter()

    def __len__(self) -> int:
        return len(self._held)

    def apply(self, event: BookSnapshot | BookDelta, received_ns: int) -> Verdict:
        """Take one in; see ``LocalBook.apply``."""
        key = (event.venue, event.kind, event.symbol)
        held = self._held.get(key)
        if held is None:
            held = self._held[key] = _Held(LocalBook(*key))
        verdict = held.book.apply(event)
        self.verdicts[verdict] += 1
        if verdict is Verdict.APPLIED:
            held.received_ns = received_ns
        elif not held.book.ready:
            held.received_ns = 0
        return verdict

    def is_ready(self, key: Key) -> bool:
        """Whether the book is in step with the venue."""
        held = self._held.get(key)
        return held is not None and held.book.ready

    def invalidate(self, keys: Iterable[Key]) -> None:
        """Drop the books of these instruments, as after a lost connection."""
        for key in keys:
            if key in self._held:
                self._held[key].book.invalidate()
                self._held[key].received_ns = 0

    def reading(self, key: Key, now_ns: int, levels: int) -> BookReading | None:
        """The best ``levels`` of both sides with their age; None when nothing was ever heard of the book."""
        held = self._held.get(key)
        if held is None:
            return None
        book = held.book
        age = (now_ns - held.received_ns) / 1e9 if held.received_ns else math.inf
        return BookReading(
            book.sequence if book.ready else None, book.event_ms, held.received_ns, age,
            not book.ready or age > self._limits[key[0]].top_seconds, book.bids(levels), book.asks(levels),
        )  # fmt: skip

    def stale(self, now_ns: int) -> list[Key]:
        """Instruments whose book is stale."""
        readings = ((key, self.reading(key, now_ns, 0)) for key in self._held)
        return [key for key, reading in readings if reading is not None and reading.stale]

    def dump(self) -> list[BookRow]:
        """Everything that is held, exactly."""
        return [BookRow(held.received_ns, held.book.dump()) for held in self._held.values()]

    def row(self, key: Key) -> BookRow | None:
        """One of the rows of ``dump``."""
        held = self._held.get(key)
        return None if held is None else BookRow(held.received_ns, held.book.dump())

    def load(self, rows: Sequence[BookRow]) -> None:
        """Take over what ``dump`` gave, in place of what is held."""
        self._held = {row.state.key: _Held(LocalBook.restored(row.state), row.received_ns) for row in rows}
