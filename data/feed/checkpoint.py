"""The whole state of an engine as one note, with which every later segment of a recording begins.

So such a segment can be replayed by itself: what it ends with is what a replay of the whole recording ends with.
"""

from __future__ import annotations

from typing import Any

import msgspec

from data.feed.delay import Delay
from data.feed.held import Held
from data.feed.settlements import Schedule
from data.streams.books import BookRow
from data.streams.events import FundingSettled
from data.streams.perps import Key, PerpColumns
from data.streams.state import MarketState
from data.streams.tops import TopRow

NOTE = "checkpoint"


class ChannelKeys(msgspec.Struct, frozen=True):
    """What a connection told of; see ``held.ChannelState``."""

    channel: int
    perps: list[Key]
    tops: list[Key]
    lacking: list[Key]
    books: list[Key] = []
    lacking_books: list[Key] = []


class Checkpoint(msgspec.Struct, frozen=True):
    """Everything that later records build on. Counts are of a run and not in it."""

    perps: PerpColumns
    tops: list[TopRow]
    keys: list[Key]
    settled: list[FundingSettled]
    schedules: list[Schedule]
    delays: dict[str, tuple[float, float, int, int]]
    channels: list[ChannelKeys]
    books: list[BookRow] = []


def checkpoint_note(held: Held) -> dict[str, Any]:
    """The note; it follows those that open the channels."""
    written = Checkpoint(
        perps=held.state.perps.dump(),
        tops=held.state.tops.dump(),
        keys=sorted(held.keys),
        settled=list(held.settled.values()),
        schedules=held.watch.dump(),
        delays={
            venue: (delay.last_ms, delay.least_ms, delay.received_ns, delay.jumps)
            for venue, delay in held.delays.items()
        },
        channels=[
            ChannelKeys(
                number,
                sorted(channel.perps),
                sorted(channel.tops),
                sorted(channel.lacking),
                sorted(channel.books),
                sorted(channel.lacking_books),
            )
            for number, channel in held.channels.items()
        ],
        books=held.books.dump(),
    )
    return {"note": NOTE, "state": msgspec.to_builtins(written)}


def restore(held: Held, note: dict[str, Any]) -> None:
    """Hold what the note says, whatever was held; the counts stay."""
    written = msgspec.convert(note["state"], Checkpoint)
    state = MarketState()
    state.verdicts = held.state.verdicts
    state.perps.load(written.perps)
    state.tops.load(written.tops)
    held.state = state
    held.books.load(written.books)
    held.keys = set(written.keys)
    held.settled = {(event.venue, event.kind, event.symbol): event for event in written.settled}
    for key, event in held.settled.items():
        held.settlements.add(key, event.settlement_ms)
    held.watch.load(written.schedules)
    held.delays = {venue: Delay(*values) for venue, values in written.delays.items()}
    for keys in written.channels:
        channel = held.channels[keys.channel]
        channel.perps, channel.tops, channel.lacking = set(keys.perps), set(keys.tops), set(keys.lacking)
        channel.books, channel.lacking_books = set(keys.books), set(keys.lacking_books)
