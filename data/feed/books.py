"""The books of a feed: what a connection brings of them, and what has to be asked for to bring them back into step."""

from __future__ import annotations

from data.streams.book_sources import BY_REST
from data.streams.books import BookTable
from data.streams.events import BookDelta, BookSnapshot
from data.streams.perps import Key
from data.streams.verdict import Verdict


class FeedBooks(BookTable):
    """Books, and what they lack. Nothing here asks for anything: a replay takes in the same events."""

    def __init__(self) -> None:
        super().__init__()
        self._wanted: set[Key] = set()
        self._gaps: dict[str, None] = {}

    def take(self, event: BookSnapshot | BookDelta, lacking: set[Key], received_ns: int) -> None:
        """A change or a snapshot from a stream. ``lacking``: the connection's books without a snapshot, kept here."""
        key = (event.venue, event.kind, event.symbol)
        verdict = self.apply(event, received_ns)
        if verdict.resync and event.venue in BY_REST:
            self._wanted.add(key)
        elif verdict.resync:
            lacking.add(key)
            if verdict is Verdict.GAP:
                self._gaps[event.symbol] = None
        elif verdict is Verdict.APPLIED:
            lacking.discard(key)

    def take_snapshot(self, event: BookSnapshot, received_ns: int) -> None:
        """A snapshot over REST."""
        if self.apply(event, received_ns).resync:
            self._wanted.add((event.venue, event.kind, event.symbol))

    def take_wanted(self) -> set[Key]:
        """Instruments whose book needs a snapshot over REST, since the last call."""
        wanted, self._wanted = self._wanted, set()
        return wanted

    def take_gaps(self) -> tuple[str, ...]:
        """Symbols whose book has to be subscribed again, since the last call."""
        gaps, self._gaps = tuple(self._gaps), {}
        return gaps
