"""What a feed's engine holds, as plain attributes: a checkpoint writes them down and puts them back."""

from __future__ import annotations

from dataclasses import dataclass, field

from data.feed.books import FeedBooks
from data.feed.delay import Delay
from data.feed.settled_log import SettledLog
from data.feed.settlements import SettlementWatch
from data.streams.events import FundingSettled
from data.streams.perps import Key
from data.streams.protocol import Route, VenueProtocol
from data.streams.state import MarketState


@dataclass(slots=True)
class ChannelState:
    """One connection: its route and what came of it.

    ``perps``, ``tops``, ``books``: instruments of which it told either; ``lacking``, ``lacking_books``: those of which
    it sends changes without a snapshot.
    """

    route: Route
    protocol: VenueProtocol
    is_open: bool = False
    frames: int = 0
    garbage: int = 0
    last_ns: int = 0
    perps: set[Key] = field(default_factory=set)
    tops: set[Key] = field(default_factory=set)
    books: set[Key] = field(default_factory=set)
    lacking: set[Key] = field(default_factory=set)
    lacking_books: set[Key] = field(default_factory=set)


@dataclass(slots=True)
class Counts:
    """Totals since the start of the run."""

    frames: int = 0
    frame_bytes: int = 0
    events: int = 0
    garbage: int = 0
    refused_subscriptions: int = 0
    interval_changes: int = 0
    settled_rates: int = 0


class Held:
    """State, counts and channels. ``settled``: the last rate read back of each instrument."""

    def reset(self) -> None:
        """Hold nothing."""
        self.state = MarketState()
        self.books = FeedBooks()
        self.watch = SettlementWatch()
        self.counts = Counts()
        self.channels: dict[int, ChannelState] = {}
        self.settled: dict[Key, FundingSettled] = {}
        self.settlements = SettledLog()
        self.keys: set[Key] = set()
        self.delays: dict[str, Delay] = {}
