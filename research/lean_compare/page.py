"""The comparison as one self-contained HTML page in the style of the report."""

from __future__ import annotations

import numpy as np
from plotly.offline import get_plotlyjs

from data.lean_results import LeanResult
from data.stored_run import StoredRun
from research.lean_compare.model import Comparison, Difference, Section
from research.report.drawing import AMOUNT, Figure, finish, line, stacked_layout
from research.report.markup import key_value_table, row, synthetic_banner, table
from research.report.page import POLICY, card, chart, figure_json, script_safe
from research.report.script import SCRIPT
from research.report.style import style_sheet
from research.report.words import DASH, escape, instant, money, number

ROWS_SHOWN = 50
POINTS_PER_LINE = 3_000
SMALLEST_SHOWN = 1e-6  # account currency; what is smaller is rounding of the files
TITLES = {
    "order": "Orders",
    "fill": "Fills",
    "fee": "Fees",
    "funding": "Funding",
    "borrow": "Borrow",
    "equity": "Equity",
}


def render(comparison: Comparison, lean: LeanResult, run: StoredRun) -> str:
    """The page; it needs no network and no other file."""
    figure = equity_figure(comparison)
    title = f"{lean.id} on Lean and on the embedded engine"
    body = (
        _tiles(comparison)
        + _section("picture", "Picture", chart(figure))
        + "".join(_section(section.kind, TITLES[section.kind], _table(section)) for section in _differing(comparison))
        + _section("runs", "The two runs", _runs(lean, run))
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)} · Carry</title><style>{style_sheet()}</style></head><body>"
        '<a class="skip" href="#main">To the differences</a>'
        f"{_header(comparison, lean, run, title)}{_navigation(comparison)}"
        f'<main id="main">{body}</main><footer>Instants are UTC. Tables show the {ROWS_SHOWN} largest differences of a '
        "kind; differences.csv beside this page has all of them.</footer>"
        f'<script type="application/json" id="figures">{script_safe(figure_json({figure.key: figure}))}</script>'
        f"<script>{get_plotlyjs()}</script><script>{SCRIPT}</script></body></html>\n"
    )


def _differing(comparison: Comparison) -> list[Section]:
    return [section for section in comparison.sections if section.differences]


def _section(key: str, title: str, content: str) -> str:
    return f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{title}</h2>{content}</section>'


def _header(comparison: Comparison, lean: LeanResult, run: StoredRun, title: str) -> str:
    facts = {
        "Period": f"{instant(lean.start_ms)} to {instant(lean.end_ms)} UTC",
        "Lean": lean.lean_version or DASH,
        "Tolerance": f"{comparison.tolerance:g} {lean.account_currency} per item",
        "Pairs": ", ".join(run.instruments[1::2]),
    }
    items = "".join(f"<li>{escape(name)} <b>{escape(value)}</b></li>" for name, value in facts.items())
    kind, word = ("", "agree") if comparison.agree else (" bad", f"{comparison.count:,} differences")
    return (
        f'<header class="top"><p class="eyebrow">Carry comparison with Lean</p><h1>{escape(title)}</h1>'
        f'<ul class="facts">{items}<li><span class="status{kind}">{word}</span></li></ul>'
        f"{_banners(comparison, run)}</header>"
    )


def _banners(comparison: Comparison, run: StoredRun) -> str:
    banners = ""
    if run.provenance.get("synthetic"):
        banners += synthetic_banner("Prices and rates of this run were generated, not traded.")
    if run.status != "completed":
        banners += f'<div class="banner bad" role="alert">The engine\'s run {escape(run.status)}.</div>'
    cause = comparison.cause
    if cause is not None:
        banners += (
            f'<div class="banner bad" role="alert"><strong>Look here first:</strong> {escape(headline(cause))}</div>'
        )
    return banners


def headline(difference: Difference) -> str:
    """A difference in one line of words."""
    where = f" {difference.instrument}" if difference.instrument else ""
    sides = f"Lean {difference.lean or 'has none'}; engine {difference.engine or 'has none'}"
    size = money(difference.amount)
    return f"{difference.kind}{where}, {instant(difference.time_ms)}: {difference.what} ({sides}; {size})"


def _navigation(comparison: Comparison) -> str:
    found = {section.kind: TITLES[section.kind] for section in _differing(comparison)}
    keys = {"picture": "Picture", **found, "runs": "The two runs"}
    links = "".join(f'<li><a href="#{key}">{title}</a></li>' for key, title in keys.items())
    return f'<nav aria-label="Sections"><ul>{links}</ul></nav>'


def _tiles(comparison: Comparison) -> str:
    items = "".join(
        f'<div class="tile"><dt>{TITLES[section.kind]}</dt><dd class="value">{_count(section)}</dd>'
        f'<dd class="detail">{escape(_detail(section))}</dd></div>'
        for section in comparison.sections
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in comparison.notes)
    listed = card("Notes", f'<ul class="notes">{notes}</ul>') if notes else ""
    return f'<dl class="tiles" aria-label="Differences by kind">{items}</dl><br>{listed}'


def _count(section: Section) -> str:
    if not section.compared and not section.differences:
        return DASH
    return "equal" if not section.differences else f"{len(section.differences):,}"


def _detail(section: Section) -> str:
    if not section.compared and not section.differences:
        return "nothing to compare one by one"
    if not section.differences:
        return f"all of {section.compared:,} compared"
    return f"of {section.compared:,} compared differ, largest {money(section.largest)}"


def equity_figure(comparison: Comparison) -> Figure:
    """Both equities over what is between them."""
    equity = comparison.equity
    apart = equity.lean - equity.engine
    apart = np.where(np.abs(apart) < SMALLEST_SHOWN, 0.0, apart)
    data = [
        line(equity.time_ms, equity.lean, "Lean", 0, POINTS_PER_LINE, width=2.4),
        line(equity.time_ms, equity.engine, "Embedded engine", 1, POINTS_PER_LINE, dash="dash"),
        line(equity.time_ms, apart, "Lean less engine", 2, POINTS_PER_LINE, axis="y2", fill="tozeroy", legend=False),
    ]
    rows = [("Equity, account currency", 0.62, AMOUNT), ("Lean less embedded engine", 0.38, ",.4~f")]
    largest = float(np.nanmax(np.abs(apart), initial=0.0))
    return finish(
        "equity",
        "Equity of both, and the difference",
        f"Largest difference {number(largest, 4)}; both with the closing fee of open perps taken off, as Lean counts.",
        f"Two lines of equity, largest difference {number(largest, 4)}.",
        data,
        stacked_layout(equity.time_ms, rows),
        460,
    )


def _table(section: Section) -> str:
    title = f"{len(section.differences):,} {_detail(section)}"
    rows = [
        row(
            instant(item.time_ms),
            [
                *(escape(text or DASH) for text in (item.instrument, item.what, item.lean, item.engine)),
                number(item.amount, 4) if item.amount else DASH,
            ],
            text_cells=4,
        )
        for item in section.differences[:ROWS_SHOWN]
    ]
    head = ["Time", "Instrument", "What", "Lean", "Embedded engine", "Size"]
    return card(title, table(title, head, rows, text_columns=5))


def _runs(lean: LeanResult, run: StoredRun) -> str:
    theirs = {
        "id": lean.id,
        "files": ", ".join(path.name for path in lean.files),
        "start equity": money(lean.start_equity),
        "end equity": money(lean.end_equity),
        "parameters": dict(lean.parameters),
    }
    ours = {"folder": run.directory.name, "status": run.status, **run.provenance}
    ours = {key: value for key, value in ours.items() if key not in {"sources", "notes"}}
    return card("Lean", key_value_table("Lean run", theirs)) + card("Engine", key_value_table("Engine run", ours))
