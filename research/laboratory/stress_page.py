"""The HTML page of a stress scenario."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from research.laboratory.book_figures import losses_figure, timeline_figure
from research.laboratory.book_tables import component_table, story_table
from research.laboratory.page import Section, StudyPage, charts, render_study
from research.laboratory.replay_page import DIRECTIONS, book_tiles
from research.laboratory.stress_study import Stress
from research.report.drawing import Figure
from research.report.markup import row, table
from research.report.page import card
from research.report.words import escape, instant, money


def render_stress(study: Stress, provenance: Mapping[str, Any]) -> str:
    """The page of a scenario, from its result and where its numbers come from."""
    figures: list[Figure] = []
    sections = [Section("shocks", "Shocks", card("In order of time", _shock_table(study)))]
    for direction in study.directions:
        key, title = DIRECTIONS[direction]
        both = [pair for pair in study.stories if pair[0].book.direction == direction]
        line = timeline_figure(f"{key}-timeline", title, study.market, study.open_ms, both, study.shocks)
        bars = losses_figure(f"{key}-losses", "Where the equity went", both)
        figures += [line, bars]
        content = charts([line]) + card("What happened", story_table(both)) + charts([bars])
        sections.append(Section(key, key.capitalize(), content + card("By component", component_table(both))))
    scenario = study.scenario
    return render_study(
        StudyPage(
            study="stress",
            title=f"Stress scenario {scenario.name}",
            facts={
                "Opened": f"{instant(study.open_ms)} UTC",
                "Bars": scenario.market.timeframe,
                "Pairs": ", ".join(pair.perp.split(":")[2] for pair in scenario.pairs),
                "Capital": money(scenario.book.capital),
                "ADL": "modelled" if scenario.adl.enabled else "off",
            },
            warnings=_warnings(study),
            tiles=book_tiles(study.stories),
            sections=sections,
            figures=figures,
            notes=[*_notes(study), *study.market.notes],
            provenance=provenance,
        )
    )


def _warnings(study: Stress) -> list[str]:
    what = "SYNTHETIC MARKET" if study.market.synthetic else "CHANGED MARKET"
    return [f"{what}. The shocks of this scenario are assumptions; its results are answers to what-if questions."]


def _shock_table(study: Stress) -> str:
    if not study.shocks:
        return '<p class="note">The scenario has no shock: the market goes on as it was.</p>'
    rows = [
        row(str(place), [escape(words), escape(instant(start)), escape(instant(end))], text_cells=3)
        for place, (start, end, words) in enumerate(study.shocks, start=1)
    ]
    return table("Shocks in order of time", ["#", "Shock", "From", "To"], rows, text_columns=4)


def _notes(study: Stress) -> list[str]:
    policy = study.scenario.book.naked_policy.value
    guards = (
        "Without guards: distance, unhedged, ADL, concentration, drawdown and the default signal's exits are off. The"
        f" policy for a naked leg ({policy}) and the hedging of drift are the same in both."
    )
    outage = (
        "In an outage no bar prints, so nothing fills, and neither orders nor transfers are sent; the venue's margin"
        " check goes on with the mark where that goes on."
    )
    return [
        "Leverage is perp notional over equity of the perp wallet at the opening.",
        guards,
        *([outage] if study.scenario.outage else []),
        "Volumes stay those of the market without shocks.",
    ]
