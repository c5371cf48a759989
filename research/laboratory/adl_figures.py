"""Figures of a study of auto-deleveraging as plain plotly.js dictionaries."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from crypto.adl import LIGHTS
from crypto.adl_waterfall import MONEY, Fate
from crypto.market import Floats
from research.laboratory.adl_study import AdlStudy
from research.laboratory.drawing import CALM, GREY_SLOT, RISK, TEXT_SLOT, bars, curve, label, plane
from research.report.drawing import Figure, finish, rounded
from research.report.words import money, number, share

LIGHT_SLOTS = (7, 5, 0, 4, 1)  # grey, pale, blue, amber, vermilion: from safe to next
FATE_NAMES = {Fate.SURPLUS: "sold, margin left", Fate.FUND: "sold, fund paid", Fate.ADL: "closed against winners (ADL)"}
FATE_SLOTS = {Fate.SURPLUS: CALM, Fate.FUND: 4, Fate.ADL: RISK}
QUEUE_POINTS = 1_500


def adl_figures(study: AdlStudy) -> dict[str, Figure]:
    """All figures by key."""
    figures = (payers_figure(study), move_figure(study), queue_figure(study), lights_figure(study), own_figure(study))
    return {figure.key: figure for figure in figures}


def payers_figure(study: AdlStudy) -> Figure:
    """Who carries what liquidations lost beyond their margins, from the whole hole down to nothing."""
    uncovered = -study.outcome.balance.uncovered / MONEY
    parts = [
        ("insurance fund", study.fund_paid, 4),
        ("winners, by ADL", study.given_up, RISK),
        ("nobody (venue)", uncovered, GREY_SLOT),
    ]
    hole = math.fsum(value for _, value, _ in parts)
    names = ["lost beyond margins", *(name for name, _, _ in parts)]
    data = [
        bars(
            [names[0]], np.array([hole]), names[0], TEXT_SLOT, legend=False, hover="%{y:,.0f}", texts=[number(hole, 0)]
        )
    ]
    left = hole
    for name, value, slot in parts:
        left -= value
        text = f"{number(value, 0)}<br>{share(value / hole if hole else math.nan, 0)}"
        step = bars([name], np.array([value]), name, slot, legend=False, hover="%{y:,.0f}", texts=[text])
        data.append(step | {"base": [max(0.0, left)]})
    layout = plane("", "quote units", y={"tickformat": "~s", "rangemode": "tozero"})
    layout |= {"bargap": 0.35, "barmode": "overlay"}
    layout["xaxis"] |= {"type": "category"}
    layout["margin"]["t"] = 48
    note = "What winners give up is the difference between their closing price and the mark."
    words = (
        f"Of {money(hole)} lost beyond margins the fund pays {money(study.fund_paid)}, winners {money(study.given_up)}."
    )
    return finish("payers", "Who pays", note, words, data, layout, 380, is_time=False)


def move_figure(study: AdlStudy) -> Figure:
    """Forced closings along the move of the mark, by what became of them, and the fund beside them."""
    outcome, population = study.outcome, study.population
    notional = np.abs(population.lots[outcome.rows]) * population.model.unit * outcome.mark_price
    trigger = _trigger(study)
    data: list[dict[str, Any]] = []
    steps = _thinned(trigger.size)
    for fate in Fate:
        total = np.cumsum(np.where(outcome.fate == fate, notional, 0.0))
        hover = f"{FATE_NAMES[fate]}: %{{y:,.3~s}} at %{{x:,.6~g}}<extra></extra>"
        data.append(curve(trigger[steps], total[steps], FATE_NAMES[fate], FATE_SLOTS[fate], width=2.2, hover=hover))
    taken = np.where(study.keeps_surplus, np.maximum(outcome.equity, 0), 0)
    fund = (outcome.balance.fund_before + np.cumsum(taken - outcome.fund_paid)) / MONEY
    hover = "fund: %{y:,.3~s} at %{x:,.6~g}<extra></extra>"
    data.append(curve(trigger[steps], fund[steps], "insurance fund", TEXT_SLOT, axis="y2", dash="dot", hover=hover))
    ends = [population.mark_price, outcome.mark_price]
    layout = plane(
        "mark price on its way",
        "closed so far, quote units",
        x={"range": ends, "tickformat": ",.6~g"},
        y={"tickformat": "~s", "rangemode": "tozero"},
    )
    layout["yaxis2"] = {
        "overlaying": "y",
        "side": "right",
        "rangemode": "tozero",
        "tickformat": "~s",
        "showgrid": False,
        "title": {"text": "fund, quote units", "standoff": 6},
        "nticks": 5,
    }
    layout["margin"]["r"] = 64
    words = f"Cumulative forced closings while the mark moves from {ends[0]:,.6g} to {ends[1]:,.6g}, and the fund."
    return finish("move", "Along the move", "Read from left to right.", words, data, layout, 380, is_time=False)


def _trigger(study: AdlStudy) -> Floats:
    """Liquidation prices of the liquidated, in the order of the move."""
    gap, mark = study.question.liquidity_gap, study.outcome.mark_price
    fill = study.outcome.fill
    return (fill - gap * mark) / (1 - gap) if gap < 1 else np.linspace(study.population.mark_price, mark, fill.size)


def _thinned(count: int) -> Any:
    return np.unique(np.linspace(0, max(0, count - 1), min(count, QUEUE_POINTS)).astype(np.int64))


def queue_figure(study: AdlStudy) -> Figure:
    """The queue of winners from its head, coloured by light; the closed part is shaded."""
    outcome = study.outcome
    rows = np.flatnonzero(outcome.light >= 0)
    order = rows[np.argsort(-outcome.score[rows], kind="stable")]
    lots = np.abs(study.population.lots[order]).astype(np.float64)
    place = (np.cumsum(lots) - lots) / lots.sum() if lots.size else lots  # where each begins
    score = outcome.score[order]
    shown = np.where(score > 0, score, math.nan)
    data: list[dict[str, Any]] = []
    for light in reversed(range(LIGHTS)):
        here = np.flatnonzero(outcome.light[order] == light)
        here = here[_thinned(here.size)] if here.size else here
        data.append(
            curve(
                place[here],
                shown[here],
                f"light {light}",
                LIGHT_SLOTS[light],
                width=3.0,
                shape="hv",
                hover=f"light {light}: %{{x:.1%}} of the queue, score %{{y:.3g}}<extra></extra>",
            )
        )
    reach = float(outcome.closed_lots.sum() / lots.sum()) if lots.size else 0.0
    axis = {"type": "log", "dtick": 1, "tickformat": ".1~g"}
    layout = plane(
        "share of the queue's lots, from its head", "score", x={"tickformat": ".0%", "range": [0, 1]}, y=axis
    )
    layout["shapes"] = [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": 0,
            "x1": reach,
            "y0": 0,
            "y1": 1,
            "line": {"width": 0},
            "fillcolor": "rgba(200,90,20,0.13)",
            "layer": "below",
        }
    ]
    layout["annotations"].append(label(reach, 0.03, f"closed: {share(reach)}") | {"yref": "paper"})
    note = "Shaded: closed by ADL. Positions without a positive score are not drawn on this scale."
    words = f"Ranked queue of {rows.size} positions; ADL closes the first {share(reach)} of its lots."
    return finish("queue", "The queue, and how far ADL went", note, words, data, layout, 400, is_time=False)


def bars_by_light(
    by_light: Floats, words: tuple[str, str], hovers: tuple[str, str], title: str, top: float
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Share of the accounts and of the size on each light that ADL closed, with the layout; ``top`` ends the axis.

    ``by_light``: per light the accounts, how many of them were closed, and the share of the size.
    """
    names = [f"light {light}" for light in range(len(by_light))]
    data = [
        bars(names, shares, word, slot, hover=hover, texts=[share(value, 0) for value in shares])
        for shares, word, slot, hover in zip(
            (accounts_closed(by_light), by_light[:, 2]), words, (RISK, CALM), hovers, strict=True
        )
    ]
    layout = plane("", title, y={"tickformat": ".0%", "range": [0, top]})
    layout["xaxis"] |= {"type": "category"}
    layout |= {"barmode": "group", "bargap": 0.3}
    return data, layout


def accounts_closed(by_light: Floats) -> Floats:
    """Share of the accounts on each light that ADL closed; NaN on a light without accounts."""
    found: Floats = by_light[:, 1] / np.where(by_light[:, 0] > 0, by_light[:, 0], math.nan)
    return found


def lights_figure(study: AdlStudy) -> Figure:
    """Share of accounts and of lots on each light that were deleveraged."""
    hovers = ("%{y:.1%} of accounts", "%{y:.1%} of lots")
    data, layout = bars_by_light(study.by_light, ("accounts", "lots"), hovers, "deleveraged", 1.12)
    closed = enumerate(accounts_closed(study.by_light))
    words = "; ".join(f"light {light}: {share(value)} of accounts" for light, value in closed)
    return finish(
        "lights", "Who was hit, by light", "Lights as they stood before ADL.", words, data, layout, 400, is_time=False
    )


def own_figure(study: AdlStudy) -> Figure:
    """Our position's fate by leverage and gain."""
    own = study.own
    texts = [[f"{light}" if light >= 0 else "" for light in row] for row in own.light.tolist()]
    heat: dict[str, Any] = {
        "type": "heatmap",
        "x": [f"{leverage:g}x" for leverage in own.leverages],
        "y": [f"{gain:+.0%}" for gain in own.gains],
        "z": [rounded(row) for row in own.closed],
        "text": texts,
        "texttemplate": "%{text}",
        "zmin": 0,
        "zmax": 1,
        "xgap": 2,
        "ygap": 2,
        "hoverongaps": False,
        "hovertemplate": "%{x} at entry, %{y}: %{z:.0%} closed, light %{text}<extra></extra>",
        "meta": {"heat": True, "half": True},
        "colorbar": {"thickness": 10, "outlinewidth": 0, "tickformat": ".0%"},
    }
    layout = plane("our leverage at entry", "our gain at the new mark, of its price")
    layout["xaxis"] |= {"type": "category", "showgrid": False}
    layout["yaxis"] |= {"type": "category", "showgrid": False, "nticks": len(own.gains)}
    word = "short" if study.question.own_side < 0 else "long"
    note = f"Colour: share of our {word} that ADL closes. Number: its light. Blank: liquidated itself."
    if study.question.own_side == study.outcome.side:
        note = f"Our {word} is on the losing side, of which ADL closes nothing. Blank: liquidated itself."
    words = f"Heat map of the share of our {word} that ADL closes, by leverage and gain."
    return finish("own", "Our own position", note, words, [heat], layout, 440, is_time=False)
