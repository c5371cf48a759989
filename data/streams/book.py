"""A local order book from a snapshot and changes, kept only while every change is known to be there.

Binance USD-M: the first change after the snapshot L has U <= L <= u, each later one pu = the u before.
Binance spot:  the first has U <= L + 1 <= u, each later one U = the u before + 1.
Bybit:         the snapshot comes in the stream, each change has u = the u before + 1.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from data.streams.events import BookDelta, BookSnapshot, Level, TopOfBook
from data.streams.verdict import Verdict

MOST_WAITING: Final = 10_000


class BookState(msgspec.Struct, frozen=True, array_like=True):
    """A book as plain values. ``waiting``: changes that came before the snapshot which they need."""

    key: tuple[str, str, str]
    ready: bool
    is_first: bool
    sequence: int
    event_ms: int | None
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    waiting: list[BookDelta]


class _Side:
    """Levels of one side, best last in ``_order``: prices of asks are kept negated."""

    __slots__ = ("_order", "_quantities", "_sign")

    def __init__(self, sign: float) -> None:
        self._sign = sign
        self._order: list[float] = []
        self._quantities: dict[float, float] = {}

    def __len__(self) -> int:
        return len(self._order)

    def replace(self, levels: Iterable[Level]) -> None:
        self._quantities = {self._sign * price: quantity for price, quantity in levels if quantity > 0.0}
        self._order = sorted(self._quantities)

    def change(self, levels: Iterable[Level]) -> None:
        quantities, order = self._quantities, self._order
        for price, quantity in levels:
            place = self._sign * price
            if quantity > 0.0:
                if place not in quantities:
                    insort(order, place)
                quantities[place] = quantity
            elif place in quantities:
                del quantities[place]
                del order[bisect_left(order, place)]

    def trim(self, depth: int) -> None:
        for place in self._order[:-depth]:
            del self._quantities[place]
        del self._order[:-depth]

    def all(self) -> tuple[Level, ...]:
        return self.best(len(self._order))

    def best(self, count: int) -> tuple[Level, ...]:
        places = self._order[: -count - 1 : -1]
        return tuple((self._sign * place, self._quantities[place]) for place in places)


class LocalBook:
    """One instrument's book. ``ready`` only while it equals the venue's at ``sequence``."""

    def __init__(self, venue: str, kind: str, symbol: str) -> None:
        self._key = (venue, kind, symbol)
        self._bids = _Side(1.0)
        self._asks = _Side(-1.0)
        self._waiting: deque[BookDelta] = deque(maxlen=MOST_WAITING)
        self._is_first = True
        self.ready = False
        self.sequence = -1
        self.event_ms: int | None = None

    def apply(self, event: BookSnapshot | BookDelta) -> Verdict:
        """Take a snapshot or a change in. After GAP and NEEDS_SNAPSHOT the book is empty and waits for a snapshot.

        Changes that come while it waits are kept, because a REST snapshot is older than they are.
        """
        if (event.venue, event.kind, event.symbol) != self._key:
            raise ValueError(f"a book of {':'.join(self._key)} was given an event of {event.venue}:{event.kind}")
        return self._snapshot(event) if isinstance(event, BookSnapshot) else self._delta(event)

    def invalidate(self) -> None:
        """Drop everything, as after a lost connection."""
        self._waiting.clear()
        self._drop()

    def dump(self) -> BookState:
        """Everything that is held, exactly."""
        return BookState(
            self._key, self.ready, self._is_first, self.sequence, self.event_ms, self._bids.all(), self._asks.all(),
            list(self._waiting),
        )  # fmt: skip

    @classmethod
    def restored(cls, state: BookState) -> LocalBook:
        """The book of which ``dump`` gave the state."""
        book = cls(*state.key)
        book._bids.replace(state.bids)
        book._asks.replace(state.asks)
        book._waiting.extend(state.waiting)
        book.ready, book._is_first = state.ready, state.is_first
        book.sequence, book.event_ms = state.sequence, state.event_ms
        return book

    def bids(self, count: int) -> tuple[Level, ...]:
        """Best ``count`` bids; none while not ready."""
        return self._bids.best(count)

    def asks(self, count: int) -> tuple[Level, ...]:
        """Best ``count`` asks; none while not ready."""
        return self._asks.best(count)

    def top(self) -> TopOfBook | None:
        """Best bid and ask at ``sequence``; None while not ready."""
        if not self.ready:
            return None
        venue, kind, symbol = self._key
        bid, bid_quantity = self._bids.best(1)[0] if len(self._bids) else (None, None)
        ask, ask_quantity = self._asks.best(1)[0] if len(self._asks) else (None, None)
        return TopOfBook(
            venue=venue, kind=kind, symbol=symbol, event_ms=self.event_ms, sequence=self.sequence, bid=bid,
            bid_quantity=bid_quantity, ask=ask, ask_quantity=ask_quantity,
        )  # fmt: skip

    def _snapshot(self, event: BookSnapshot) -> Verdict:
        if self.ready and self._is_old(event):
            return Verdict.DUPLICATE if event.sequence == self.sequence else Verdict.OUT_OF_ORDER
        self._bids.replace(event.bids)
        self._asks.replace(event.asks)
        self.ready, self._is_first = True, True
        self.sequence, self.event_ms = event.sequence, event.event_ms
        if self._is_crossed():
            self._drop()
            return Verdict.GAP
        return self._take_waiting()

    def _is_old(self, event: BookSnapshot) -> bool:
        if event.event_ms is None or self.event_ms is None:
            return event.sequence <= self.sequence
        # A restart of Bybit's service numbers from 1 again, so time decides first.
        return event.event_ms < self.event_ms or (event.event_ms == self.event_ms and event.sequence <= self.sequence)

    def _take_waiting(self) -> Verdict:
        waiting = list(self._waiting)
        self._waiting.clear()
        for position, delta in enumerate(waiting):
            if self._delta(delta) is Verdict.GAP:
                # The snapshot is older than the first kept change: keep them for the next one.
                self._waiting.clear()
                self._waiting.extend(waiting[position:])
                return Verdict.GAP
        return Verdict.APPLIED

    def _delta(self, event: BookDelta) -> Verdict:
        if not self.ready:
            self._waiting.append(event)
            return Verdict.NEEDS_SNAPSHOT
        if self._is_over(event):
            return Verdict.DUPLICATE
        if not self._follows(event):
            self._drop()
            self._waiting.append(event)
            return Verdict.GAP
        self._bids.change(event.bids)
        self._asks.change(event.asks)
        if event.depth is not None:
            self._bids.trim(event.depth)
            self._asks.trim(event.depth)
        self._is_first = False
        self.sequence, self.event_ms = event.sequence, event.event_ms
        if self._is_crossed():
            self._drop()
            return Verdict.GAP
        return Verdict.APPLIED

    def _is_over(self, event: BookDelta) -> bool:
        # On USD-M the change that ends at the snapshot's own id is the first one, and states what the snapshot holds.
        if self._is_first and event.previous_sequence is not None:
            return event.sequence < self.sequence
        return event.sequence <= self.sequence

    def _follows(self, event: BookDelta) -> bool:
        if event.previous_sequence is None:
            return (
                event.first_sequence <= self.sequence + 1
                if self._is_first
                else event.first_sequence == self.sequence + 1
            )
        if self._is_first:
            return event.first_sequence <= self.sequence <= event.sequence or event.previous_sequence == self.sequence
        return event.previous_sequence == self.sequence

    def _is_crossed(self) -> bool:
        if not len(self._bids) or not len(self._asks):
            return False
        return self._bids.best(1)[0][0] >= self._asks.best(1)[0][0]

    def _drop(self) -> None:
        self.ready, self._is_first = False, True
        self.sequence, self.event_ms = -1, None
        self._bids.replace(())
        self._asks.replace(())
