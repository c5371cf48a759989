"""What the commands that run books on the simulated exchange share: compiling first, and their table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from cli import console
from crypto.units import iso

if TYPE_CHECKING:
    from research.laboratory.book_story import Story

_DIRECTIONS = {1: "carry (long spot, short perp)", -1: "reverse (short spot, long perp)"}


def compile_first() -> None:
    """Say that the simulator is about to be compiled, when it is."""
    from crypto.compiled import is_compiled
    from crypto.simulator.loop import step_for_python

    if not is_compiled(step_for_python):
        console.note("Compiling the simulator; this happens once for each version and takes about half a minute.")


def show_by_direction(directions: Iterable[int], stories: Sequence[tuple[Story, Story]]) -> None:
    """A table of the books of each direction: 1 is carry, -1 reverse."""
    for direction in directions:
        _show_stories(_DIRECTIONS[direction], [both for both in stories if both[0].book.direction == direction])


def _show_stories(title: str, both: Sequence[tuple[Story, Story]]) -> None:
    """A line for each book without guards and with them."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("book", "guards"):
        table.add_column(name, no_wrap=True)
    table.add_column("first guard", overflow="fold")
    table.add_column("liquidated", overflow="fold")
    for name in ("nearest", "lowest", "left", "aside"):
        table.add_column(name, justify="right", no_wrap=True)
    for pair in both:
        for story in pair:
            table.add_row(f"{story.book.leverage:g}x" if not story.guarded else "", *_cells(story))
    console.out.print(table)
    console.out.print("aside: left, without what a naked leg gained or lost", style="dim")


def _cells(story: Story) -> list[str]:
    guard, event = story.guard, story.liquidation or story.deleveraging
    first = "-" if guard is None else f"{short(guard.time_ms)} {guard.reason.replace('_', ' ')}"
    if guard is not None and guard.action:
        first += f", {guard.action}"
    forced = "-" if event is None else f"{short(event['time_ms'])} at {event['mark_price']:,.6g}"
    if event is not None and event["event"] == "deleveraging":
        forced += " by ADL"
    if story.used_up_ms is not None:
        forced = f"{short(story.used_up_ms)} wallet used up"
    nearest = "-" if story.nearest != story.nearest else f"{story.nearest:.1%}"
    shares = [f"{value:.2%}" for value in (story.lowest, story.left, story.left_hedged)]
    return ["on" if story.guarded else "off", first, forced, nearest, *shares]


def short(time_ms: int) -> str:
    """``03-12 11:00``."""
    return iso(time_ms)[5:16].replace("T", " ")
