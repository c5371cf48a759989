"""Parts that the figures share: thinned lines, panels on one time axis, and the finished figure.

Colours are palette slots in each trace's ``meta``, filled in by the page's script for light and dark. Long lines are
thinned and their numbers sent as base64 arrays, so that six years of minutes stay within a few hundred kilobytes.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crypto.market import Floats, Integers
from research.report.style import PALETTE_SIZE
from research.report.thinning import thin

DASHES = ("solid", "dash", "dot", "dashdot")
TOTAL_SLOT = -1  # the text colour
AMOUNT = ",.10~g"  # as many digits as a tick needs, be the account in cents or in coins
HOVER_FORMATS = {AMOUNT: ",.2f", ".1%": ".2%", ".0%": ".1%"}  # under the pointer, finer than on the ticks


@dataclass(frozen=True, slots=True)
class Figure:
    """One chart: ``label`` describes it in words for who can't see it, ``choices`` are alternative heat map values."""

    key: str
    title: str
    note: str
    label: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    height: int
    is_time: bool = True
    choices: list[dict[str, Any]] = field(default_factory=list)


def line(  # noqa: PLR0913 - one per property of a drawn line
    time_ms: Integers,
    values: Floats,
    name: str,
    slot: int,
    limit: int,
    *,
    axis: str = "y",
    dash: str = "solid",
    fill: str = "none",
    width: float = 1.4,
    legend: bool = True,
) -> dict[str, Any]:
    """A thinned line; NaN and infinite values are gaps."""
    kept = thin(values, limit)
    finite = np.where(np.isfinite(values[kept]), values[kept], np.nan)
    return {
        "type": "scatter",
        "mode": "lines" if len(kept) > 1 else "markers",
        "name": html.escape(name),
        "x": encode(time_ms[kept].astype(np.float64)),
        "y": encode(finite),
        "yaxis": axis,
        "line": {"width": width, "dash": dash},
        "fill": fill,
        "showlegend": legend,
        "hovertemplate": "%{y}",
        "meta": {"slot": slot, "known": int(np.isfinite(finite).sum())},
    }


def pair_line(
    time_ms: Integers,
    values: Floats,
    name: str,
    index: int,
    limit: int,
    *,
    axis: str = "y",
    legend: bool = True,
    group: str = "",
) -> dict[str, Any]:
    """The line of one pair or wallet: colour by its index, then dashes, and one legend entry for all its lines."""
    dash = DASHES[(index // PALETTE_SIZE) % len(DASHES)]
    drawn = line(time_ms, values, name, index % PALETTE_SIZE, limit, axis=axis, dash=dash, legend=legend)
    return drawn | {"legendgroup": html.escape(group or name)}


def encode(values: Floats) -> dict[str, str]:
    """Numbers as plotly.js reads them fastest: base64 of little-endian doubles."""
    return {"dtype": "f8", "bdata": base64.b64encode(values.astype("<f8").tobytes()).decode("ascii")}


def rounded(values: Floats) -> list[float | None]:
    """Values to four decimals, None where not finite."""
    return [round(float(v), 4) if np.isfinite(v) else None for v in values]


def heat_map(
    x: Sequence[str], y: Iterable[Any], first: Mapping[str, Any], *, gap: int, hover: str, ticks: str
) -> dict[str, Any]:
    """A heat map around zero; ``first``: the values ``z`` shown first and the limit ``zmax`` of their colours."""
    return {
        "type": "heatmap",
        "x": list(x),
        "y": list(y),
        "z": first["z"],
        "zmin": -first["zmax"],
        "zmax": first["zmax"],
        "xgap": gap,
        "ygap": gap,
        "hoverongaps": False,
        "hovertemplate": f"{hover}<extra></extra>",
        "meta": {"heat": True},
        "colorbar": {"thickness": 10, "outlinewidth": 0, "tickformat": ticks},
    }


def stacked_layout(time_ms: Integers, rows: Sequence[tuple[str, float, str]]) -> dict[str, Any]:
    """Layout of panels above each other on one time axis; each row is (title, share of the height, tick format)."""
    gap = 0.07 if len(rows) > 1 else 0.0
    room = 1.0 - gap * (len(rows) - 1)
    layout: dict[str, Any] = {
        "margin": {"l": 64, "r": 16, "t": 24, "b": 40},
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "legend": {"orientation": "h", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"},
        "xaxis": {
            "type": "date",
            "anchor": "y" if len(rows) == 1 else f"y{len(rows)}",
            "hoverformat": "%Y-%m-%d %H:%M",
        },
        "annotations": [],
    }
    if len(time_ms) > 1:
        layout["xaxis"]["range"] = [int(time_ms[0]), int(time_ms[-1])]
    top = 1.0
    for index, (title, part, tick_format) in enumerate(rows):
        bottom = max(0.0, top - part * room)
        axis = "yaxis" if index == 0 else f"yaxis{index + 1}"
        layout[axis] = {"domain": [bottom, top], "tickformat": tick_format, "anchor": "x", "nticks": 6}
        layout[axis]["hoverformat"] = HOVER_FORMATS.get(tick_format, tick_format)
        layout["annotations"].append(_panel_title(title, top))
        top = bottom - gap
    return layout


def _panel_title(title: str, top: float) -> dict[str, Any]:
    where = {"xref": "paper", "yref": "paper", "x": 0, "y": top, "xanchor": "left", "yanchor": "bottom"}
    return {"text": title, "showarrow": False, **where, "font": {"size": 12}}


def finish(
    key: str,
    title: str,
    note: str,
    label: str,
    data: list[dict[str, Any]],
    layout: dict[str, Any],
    height: int,
    *,
    is_time: bool = True,
) -> Figure:
    """The figure, with a word in its middle when no trace has a value to show."""
    if "legend" in layout:
        layout["legend"]["y"] = 1.0 + 24.0 / (height - 72)  # above the title of the first panel
    if not any(_has_value(trace) for trace in data):
        middle = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5, "showarrow": False}
        empty = {"text": "No values in this run", **middle, "font": {"size": 14}}
        layout["annotations"] = [*layout.get("annotations", []), empty]
        label += " No values in this run."
    return Figure(key, title, note, label, data, layout, height, is_time)


def _has_value(trace: dict[str, Any]) -> bool:
    if "known" in trace["meta"]:
        return bool(trace["meta"]["known"])
    return any(value is not None for value in trace["x"])
