"""The frame that the pages of all studies share: header, tiles, sections, charts, provenance in one file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plotly.offline import get_plotlyjs

from research.report.drawing import Figure
from research.report.markup import key_value_table
from research.report.page import POLICY, card, chart, script_safe
from research.report.script import SCRIPT
from research.report.style import DARK, LIGHT, style_sheet
from research.report.words import escape


@dataclass(frozen=True, slots=True)
class Tile:
    """A headline figure: what it is, its value, and one line about it."""

    name: str
    value: str
    detail: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: its key (anchor), title and HTML."""

    key: str
    title: str
    content: str


@dataclass(frozen=True, slots=True)
class StudyPage:
    """All that a study's page shows. ``warnings`` are banners, ``notes`` the assumptions, listed at the end."""

    study: str
    title: str
    facts: Mapping[str, str]
    warnings: Sequence[str]
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    figures: Sequence[Figure]
    notes: Sequence[str]
    provenance: Mapping[str, Any]


def render_study(page: StudyPage) -> str:
    """The page as one HTML file that asks for nothing from the network."""
    sections = [*page.sections, Section("method", "Method and assumptions", _notes(page.notes))]
    sections.append(Section("provenance", "Provenance", _provenance(page.provenance)))
    links = "".join(f'<li><a href="#{item.key}">{escape(item.title)}</a></li>' for item in sections)
    body = "".join(
        f'<section id="{item.key}" aria-labelledby="{item.key}-title">'
        f'<h2 id="{item.key}-title">{escape(item.title)}</h2>{item.content}</section>'
        for item in sections
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(page.title)} · Carry {escape(page.study)}</title><style>{style_sheet()}</style></head><body>"
        '<a class="skip" href="#main">To the results</a>'
        f'{_header(page)}<nav aria-label="Sections"><ul>{links}</ul></nav>'
        f'<main id="main">{_tiles(page.tiles)}{body}</main>'
        "<footer>Charts: drag to zoom, double-click to go back, click a name to hide it. Made by Carry; one file, no"
        " network.</footer>"
        f'<script type="application/json" id="figures">{script_safe(_figure_json(page.figures))}</script>'
        f"<script>{get_plotlyjs()}</script><script>{SCRIPT}</script></body></html>\n"
    )


def charts(figures: Iterable[Figure]) -> str:
    """Figures one below the other."""
    return "".join(chart(figure) for figure in figures)


def side_by_side(*figures: Figure) -> str:
    """Figures beside each other where the window is wide enough."""
    return f'<div class="two">{charts(figures)}</div>'


def _figure_json(figures: Sequence[Figure]) -> str:
    drawn = {
        figure.key: {
            "data": figure.data,
            "layout": figure.layout,
            "height": figure.height,
            "time": False,
            "choices": figure.choices,
        }
        for figure in figures
    }
    return json.dumps({"light": LIGHT, "dark": DARK, "figures": drawn}, allow_nan=False, separators=(",", ":"))


def _header(page: StudyPage) -> str:
    items = "".join(f"<li>{escape(name)} <b>{escape(value)}</b></li>" for name, value in page.facts.items())
    banners = "".join(f'<div class="banner warn" role="note">{escape(text)}</div>' for text in page.warnings)
    return (
        f'<header class="top"><p class="eyebrow">Carry {escape(page.study)}</p><h1>{escape(page.title)}</h1>'
        f'<ul class="facts">{items}</ul>{banners}</header>'
    )


def _tiles(tiles: Sequence[Tile]) -> str:
    items = "".join(
        f'<div class="tile"><dt>{escape(tile.name)}</dt><dd class="value">{escape(tile.value)}</dd>'
        f'<dd class="detail">{escape(tile.detail)}</dd></div>'
        for tile in tiles
    )
    return f'<dl class="tiles" aria-label="Headline figures">{items}</dl>'


def _notes(notes: Sequence[str]) -> str:
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<div class="card"><ul class="notes">{listed}</ul></div>'


def _provenance(provenance: Mapping[str, Any]) -> str:
    shown = {key: value for key, value in provenance.items() if key != "settings"}
    settings = {key: value for key, value in dict(provenance.get("settings", {})).items() if value is not None}
    return card("Versions, hashes and seed", key_value_table("Provenance", shown)) + card(
        "Flags", key_value_table("Flags of the command", settings)
    )
