"""Tables of held books, with guards beside without."""

from __future__ import annotations

from collections.abc import Sequence

from research.laboratory.book_story import Story
from research.report.markup import coloured, row, table
from research.report.words import DASH, component_name, escape, instant, is_number, number, plain_words, share

Pairs = Sequence[tuple[Story, Story]]


def story_table(both: Pairs) -> str:
    """A row for each book and variant: first guard, liquidation, what is left."""
    rows = [row(name_of(story), _cells(story), text_cells=2) for pair in both for story in pair]
    head = ["Book", "First guard", "Liquidated", "At mark", "Nearest", "Moved to margin", "Lowest", "Left"]
    head.append("Naked leg aside")
    return table("Books with and without guards", head, rows, text_columns=3)


def component_table(both: Pairs) -> str:
    """Change of equity by component, of the capital, for each book and variant."""
    stories = [story for pair in both for story in pair]
    names = [name for name in stories[0].components if any(abs(story.components[name]) > 0.005 for story in stories)]
    rows = [
        row(name_of(story), [coloured(story.components[name], number(story.components[name])) for name in names])
        for story in stories
    ]
    return table("Change of equity by component, account currency", ["Book", *map(component_name, names)], rows)


def name_of(story: Story) -> str:
    """``10x with guards``."""
    return f"{story.book.leverage:g}x {'with' if story.guarded else 'without'} guards"


def _cells(story: Story) -> list[str]:
    event, guard = story.liquidation or story.deleveraging, story.guard
    first = DASH
    if guard is not None:
        first = f"{instant(guard.time_ms)} {plain_words(guard.reason)}"
        first += f", {guard.action}" if guard.action else ""
    forced = DASH
    if event is not None:
        forced = f"{instant(event['time_ms'])} {'' if event['event'] == 'liquidation' else 'deleveraged'}".strip()
    if story.used_up_ms is not None:
        forced = f"{instant(story.used_up_ms)} wallet used up"
    return [
        escape(first),
        escape(forced),
        f"{event['mark_price']:,.8g}" if event is not None else DASH,
        share(story.nearest) if is_number(story.nearest) else DASH,
        number(story.top_ups, 0) if story.top_ups else DASH,
        share(story.lowest, 2),
        coloured(story.left - 1.0, share(story.left, 2)),
        coloured(story.left_hedged - 1.0, share(story.left_hedged, 2)),
    ]
