"""Timelines of held books: the mark with what happened on it, liquidation distances, and what is left."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from crypto.market import Floats, Integers, MarketHistory
from research.laboratory.book_story import Story
from research.laboratory.drawing import GREY_SLOT, TEXT_SLOT, band, curve
from research.report.drawing import Figure, encode, finish, stacked_layout
from research.report.words import component_name, instant, number, percent, plain_words, share

Pairs = Sequence[tuple[Story, Story]]
SYMBOLS = {"guard": "circle", "liquidation": "x", "deleveraging": "diamond"}
WORDS = {"guard": "first guard", "liquidation": "liquidated", "deleveraging": "deleveraged"}


def marks_of(market: MarketHistory, key: str) -> tuple[Integers, Floats, Floats, Floats]:
    """Closes of the bars (ms), and low, high and close of the mark, else of the last trade."""
    history = market.instrument(key)
    bars = history.bars if history.mark is None else history.mark
    return market.open_ms + market.bar_ms, bars.low, bars.high, bars.close


def timeline_figure(
    key: str,
    title: str,
    market: MarketHistory,
    open_ms: int,
    both: Pairs,
    shocks: Sequence[tuple[int, int, str]] = (),
) -> Figure:
    """Mark, distances and equity of all books of one direction, from shortly before the opening.

    ``shocks``: from, to (ms) and name; shaded.
    """
    perp = both[0][0].book.pairs[0].perp
    time_ms, low, high, close = marks_of(market, perp)
    kept = time_ms >= open_ms - 6 * 3_600_000
    x = time_ms[kept].astype(np.float64)
    data = band(x, low[kept], high[kept], "range of the bar", GREY_SLOT)
    data.append(curve(x, close[kept], f"{perp.split(':')[2]} mark", TEXT_SLOT, width=1.6, hover="%{y:,.8~g}"))
    for slot, (bare, guarded) in enumerate(both):
        name = f"{bare.book.leverage:g}x"
        for story in (bare, guarded):
            data += _lines(story, slot, name)
        data += _markers(bare, guarded, slot, name, (time_ms, close))
    rows = [
        ("Mark, with liquidations and first guards", 0.42, ",.8~g"),
        ("Liquidation distance (dotted: without guards)", 0.29, ".0%"),
        ("Equity over equity at the opening (dotted: without guards)", 0.29, ".1%"),
    ]
    layout = stacked_layout(np.array([int(x[0]), int(x[-1])]), rows)
    layout["yaxis2"] |= {"rangemode": "tozero"}
    layout["hovermode"] = "closest"
    layout.pop("hoversubplots", None)
    layout["shapes"] = [_opening(open_ms), *(_shade(*shock[:2]) for shock in shocks)]
    layout["annotations"] += [_number(place, shock[0]) for place, shock in enumerate(shocks)]
    ends = "; ".join(
        f"{bare.book.leverage:g}x: {share(bare.left)} left without guards, {share(guarded.left)} with"
        for bare, guarded in both
    )
    note = "Cross: the venue liquidates. Circle: the first guard acts. Diamond: ADL. Grey line: the book opens."
    note += " Numbers: the shocks of the table above." if shocks else ""
    return finish(key, title, note, f"Timelines of {len(both)} books. {ends}.", data, layout, 820, is_time=False)


def _opening(open_ms: int) -> dict[str, Any]:
    where = {"xref": "x", "yref": "paper", "x0": open_ms, "x1": open_ms, "y0": 0, "y1": 1}
    return {"type": "line", **where, "line": {"width": 1, "color": "rgba(140,140,150,0.7)"}}


def _shade(start_ms: int, end_ms: int) -> dict[str, Any]:
    where = {"xref": "x", "yref": "paper", "x0": start_ms, "x1": end_ms, "y0": 0, "y1": 1}
    return {"type": "rect", **where, "line": {"width": 0}, "fillcolor": "rgba(213,94,0,0.10)", "layer": "below"}


def _number(place: int, start_ms: int) -> dict[str, Any]:
    """The number of a shock on the top edge; neighbours take turns in height."""
    where = {"xref": "x", "yref": "paper", "x": start_ms, "y": 0.995 - 0.022 * (place % 4)}
    text = {"text": str(place + 1), "showarrow": False, "font": {"size": 11}}
    return {**where, **text, "xanchor": "left", "yanchor": "top"}


def _lines(story: Story, slot: int, name: str) -> list[dict[str, Any]]:
    result, dash = story.result, "solid" if story.guarded else "dot"
    words = f"{name} {'with' if story.guarded else 'without'} guards"
    x = result.time_ms[story.opened :].astype(np.float64)
    distance = result.liquidation_distance[story.opened :, 0]
    equity = result.equity[story.opened :] / result.equity[story.opened]
    shared: dict[str, Any] = {"dash": dash, "group": name, "width": 1.8 if story.guarded else 1.5}
    near = curve(x, distance, words, slot, axis="y2", legend=False, hover=f"{words} %{{y:.1%}}", **shared)
    left = curve(x, equity, words, slot, axis="y3", legend=False, hover=f"{words} %{{y:.2%}}", **shared)
    return [near, left]


def _markers(bare: Story, guarded: Story, slot: int, name: str, marks: tuple[Integers, Floats]) -> list[dict[str, Any]]:
    """What happened to one leverage, on the line of the mark; the first marker carries the legend entry."""
    found: list[tuple[str, float, float, str]] = []
    for story in (bare, guarded):
        words = "with guards" if story.guarded else "without guards"
        for kind, event in (("liquidation", story.liquidation), ("deleveraging", story.deleveraging)):
            if event is not None:
                text = f"{name} {WORDS[kind]}, {words}: {number(event['mark_price'])}"
                found.append((kind, float(event["time_ms"]), float(event["mark_price"]), text))
    if guarded.guard is not None:
        price = _price_at(guarded.guard.time_ms, *marks)
        text = f"{name} first guard: {plain_words(guarded.guard.reason)}"
        found.append(("guard", float(guarded.guard.time_ms), price, text))
    traces = [_legend(slot, name)]
    for kind, time_ms, price, text in found:
        trace = _legend(slot, name) | {
            "x": encode(np.array([time_ms])),
            "y": encode(np.array([price])),
            "marker": {"symbol": SYMBOLS[kind], "size": 11, "line": {"width": 1}},
            "mode": "markers",
            "showlegend": False,
            "hovertemplate": f"{html.escape(text)}<br>{instant(time_ms)}<extra></extra>",
        }
        traces.append(trace)
    return traces


def _legend(slot: int, name: str) -> dict[str, Any]:
    """A legend entry without points of its own."""
    return curve(np.array([np.nan]), np.array([np.nan]), name, slot, group=name, hover="", width=2.4)


def _price_at(when_ms: int, time_ms: Integers, close: Floats) -> float:
    return float(close[min(int(np.searchsorted(time_ms, when_ms)), close.size - 1)])


def losses_figure(key: str, title: str, both: Pairs) -> Figure:
    """Components of the change of equity by leverage, without and with guards, as stacked bars in per cent."""
    names = [f"{story.book.leverage:g}x {'with' if story.guarded else 'without'}" for pair in both for story in pair]
    stories = [story for pair in both for story in pair]
    parts = list(stories[0].components)
    used = [name for name in parts if any(abs(story.components[name]) > 1e-6 * story.book.capital for story in stories)]
    data: list[dict[str, Any]] = []
    for name in used:
        y = [story.components[name] / float(story.result.equity[story.opened]) for story in stories]
        data.append(
            {"type": "bar", "name": component_name(name), "x": names, "y": y, "meta": {"slot": parts.index(name)},
             "hovertemplate": "%{y:+.2%}"}
        )  # fmt: skip
    total = [story.left - 1.0 for story in stories]
    dots = {"type": "scatter", "mode": "markers", "name": "Sum", "x": names, "y": total, "meta": {"slot": TEXT_SLOT}}
    data.append(dots | {"marker": {"symbol": "diamond", "size": 9}, "hovertemplate": "%{y:+.2%}"})
    layout: dict[str, Any] = {
        "margin": {"l": 64, "r": 16, "t": 24, "b": 40}, "barmode": "relative", "bargap": 0.35, "hovermode": "x unified",
        "legend": {"orientation": "h", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"},
        "xaxis": {"type": "category"}, "yaxis": {"tickformat": "+.2%", "nticks": 7}, "annotations": [],
    }  # fmt: skip
    words = "; ".join(f"{name} guards {percent(value)}" for name, value in zip(names, total, strict=True))
    note = "Share of the equity at the opening, from then to the end. Naked: the spot leg after its perp was closed."
    return finish(key, title, note, f"Stacked bars: {words}.", data, layout, 380, is_time=False)
