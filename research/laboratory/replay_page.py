"""The HTML page of a replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from research.laboratory.book_figures import losses_figure, timeline_figure
from research.laboratory.book_story import Story
from research.laboratory.book_tables import component_table, story_table
from research.laboratory.page import Section, StudyPage, Tile, charts, render_study
from research.laboratory.replay import Replay, shown
from research.report.drawing import Figure
from research.report.page import card
from research.report.words import instant, money, share

DIRECTIONS = {1: ("carry", "Carry: long spot, short perp"), -1: ("reverse", "Reverse: short spot, long perp")}


def render_replay(replay: Replay, provenance: Mapping[str, Any]) -> str:
    """The page of a study, from its result and where its numbers come from."""
    figures: list[Figure] = []
    sections: list[Section] = []
    question = replay.question
    for direction in question.directions:
        key, title = DIRECTIONS[direction]
        both = shown(replay.stories, direction)
        line = timeline_figure(f"{key}-timeline", title, replay.market, replay.open_ms, both)
        bars = losses_figure(f"{key}-losses", "Where the equity went", both)
        figures += [line, bars]
        content = charts([line]) + card("What happened", story_table(both)) + charts([bars])
        sections.append(Section(key, key.capitalize(), content + card("By component", component_table(both))))
    names = ", ".join(pair.perp.split(":")[2] for pair in question.pairs)
    return render_study(
        StudyPage(
            study="replay",
            title=f"{question.episode.title}: {names} books on {question.episode.name}",
            facts={
                "Opened": f"{instant(replay.open_ms)} UTC",
                "Until": f"{question.episode.end.replace('T', ' ')} UTC",
                "Bars": question.resolution,
                "Capital": money(question.capital),
                "Naked leg": question.naked_policy.value,
            },
            warnings=[],
            tiles=book_tiles(replay.stories),
            sections=sections,
            figures=figures,
            notes=[*_notes(replay), *replay.market.notes],
            provenance=provenance,
        )
    )


def book_tiles(stories: Sequence[tuple[Story, Story]]) -> list[Tile]:
    """Headline figures of books without guards and with them."""
    bare = [pair[0] for pair in stories]
    guarded = [pair[1] for pair in stories]
    worst, best = min(bare, key=_left), min(guarded, key=_left)
    acted = [story for story in guarded if story.guard is not None]
    first = min((story.guard.time_ms for story in acted if story.guard is not None), default=None)
    return [
        Tile("Liquidated without guards", f"{_liquidated(bare)} of {len(bare)}", "books"),
        Tile("Liquidated with guards", f"{_liquidated(guarded)} of {len(guarded)}", "books"),
        Tile("Guards acted on", f"{len(acted)} of {len(guarded)}", f"first {instant(first)}"),
        Tile("Least left without", share(worst.left_hedged, 2), _of(worst)),
        Tile("Least left with", share(best.left_hedged, 2), _of(best)),
    ]


def _left(story: Story) -> float:
    return story.left_hedged


def _of(story: Story) -> str:
    return f"{DIRECTIONS[story.book.direction][0]}, {story.book.leverage:g}x, naked leg aside"


def _liquidated(stories: list[Story]) -> int:
    return sum(story.liquidation is not None for story in stories)


def _notes(replay: Replay) -> list[str]:
    question = replay.question
    split = (
        f"The perp wallet holds {question.wallet_split:.1%} of the capital."
        if question.wallet_split is not None
        else "The perp wallet holds 0.9 / (1 + leverage) of the capital, so that a tenth of it stays free as spot cash."
    )
    guards = (
        "Without guards: distance, unhedged, ADL, concentration, drawdown and the default signal's exits are off. The"
        f" policy for a naked leg ({question.naked_policy.value}) and the hedging of drift are the same in both."
    )
    luck = (
        "In a bar the margin is checked on the adverse extreme of the mark, in one pass; the spot leg is sold at the"
        " next open. What the naked leg gained or lost until then stands under Naked and is luck, not skill."
    )
    gap = (
        f"A forced order fills {question.liquidity_gap:.0%} of the way from the mark that triggers it to the bar's"
        " extreme, which is an assumption without a source."
    )
    notes = [
        f"Leverage is perp notional over equity of the perp wallet at the opening. {split}",
        guards,
        gap,
        "A closed book is not opened again.",
        luck,
    ]
    if question.resolution != "1h":
        notes.append(
            "Bars of this length have no mark series, so margin is checked on opens and closes of the last trade."
        )
    if -1 in question.directions:
        notes.append(
            f"Borrowed coins cost {question.borrow_annual:.1%} a year, an assumption: no borrow rates of those days are"
            " held. That the coins can be had is assumed as well."
        )
    return notes
