"""The whole state of an engine as one note, with which every later segment of a recording begins.

So such a segment can be replayed by itself: what it ends with is what a replay of the whole recording ends with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from data.feed.delay import Delay
from data.feed.settlements import Schedule
from data.streams.books import BookRow
from data.streams.events import FundingSettled
from data.streams.perps import Key, PerpColumns
from data.streams.state import MarketState
from data.streams.tops import TopRow

if TYPE_CHECKING:
    from data.feed.engine import Engine

NOTE = "checkpoint"


class ChannelKeys(msgspec.Struct, frozen=True):
    """What a connection told of; see ``engine.ChannelState``."""

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


def checkpoint_note(engine: Engine) -> dict[str, Any]:
    """The note; it follows those that open the channels."""
    held = Checkpoint(
        perps=engine.state.perps.dump(),
        tops=engine.state.tops.dump(),
        keys=sorted(engine.keys),
        settled=list(engine.settled.values()),
        schedules=engine.watch.dump(),
        delays={
            venue: (delay.last_ms, delay.least_ms, delay.received_ns, delay.jumps)
            for venue, delay in engine.delays.items()
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
            for number, channel in engine.channels.items()
        ],
        books=engine.books.dump(),
    )
    return {"note": NOTE, "state": msgspec.to_builtins(held)}


def restore(engine: Engine, note: dict[str, Any]) -> None:
    """Put the engine into the state of the note, whatever it held; its counts stay."""
    held = msgspec.convert(note["state"], Checkpoint)
    state = MarketState()
    state.verdicts = engine.state.verdicts
    state.perps.load(held.perps)
    state.tops.load(held.tops)
    engine.state = state
    engine.books.load(held.books)
    engine.keys = set(held.keys)
    engine.settled = {(event.venue, event.kind, event.symbol): event for event in held.settled}
    for key, event in engine.settled.items():
        engine.settlements.add(key, event.settlement_ms)
    engine.watch.load(held.schedules)
    engine.delays = {venue: Delay(*values) for venue, values in held.delays.items()}
    for keys in held.channels:
        channel = engine.channels[keys.channel]
        channel.perps, channel.tops, channel.lacking = set(keys.perps), set(keys.tops), set(keys.lacking)
        channel.books, channel.lacking_books = set(keys.books), set(keys.lacking_books)
