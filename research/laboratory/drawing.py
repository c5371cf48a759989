"""Traces and layouts that the figures of the studies share; the page's script colours them by slot."""

from __future__ import annotations

import html
from typing import Any

import numpy as np

from crypto.market import Floats
from research.report.drawing import encode

GREY_SLOT = 7
TEXT_SLOT = -1
RISK, CALM = 1, 0  # palette slots of what hurts and what does not


def curve(  # noqa: PLR0913 - one per property of a drawn line
    x: Floats,
    y: Floats,
    name: str,
    slot: int,
    *,
    axis: str = "y",
    width: float = 1.8,
    dash: str = "solid",
    fill: str = "none",
    opacity: float = 1.0,
    legend: bool = True,
    group: str = "",
    hover: str = "%{y}",
    mode: str = "lines",
    shape: str = "linear",
) -> dict[str, Any]:
    """A line or markers; values that are not finite are gaps."""
    finite = np.where(np.isfinite(y), y, np.nan)
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": mode,
        "name": html.escape(name),
        "x": encode(np.asarray(x, dtype=np.float64)),
        "y": encode(np.asarray(finite, dtype=np.float64)),
        "yaxis": axis,
        "line": {"width": width, "dash": dash, "shape": shape},
        "fill": fill,
        "opacity": opacity,
        "showlegend": legend,
        "hovertemplate": hover,
        "meta": {"slot": slot, "known": int(np.isfinite(finite).sum())},
    }
    if group:
        trace["legendgroup"] = html.escape(group)
    if not hover:
        trace.pop("hovertemplate")
        trace["hoverinfo"] = "skip"
    return trace


def band(
    x: Floats,
    low: Floats,
    high: Floats,
    name: str,
    slot: int,
    *,
    axis: str = "y",
    group: str = "",
    legend: bool = False,
) -> list[dict[str, Any]]:
    """A shaded range between two lines."""
    shared: dict[str, Any] = {"axis": axis, "width": 0.0, "hover": "", "group": group}
    return [
        curve(x, low, name, slot, legend=False, **shared),
        curve(x, high, name, slot, legend=legend, fill="tonexty", **shared),
    ]


def bars(
    x: list[Any],
    y: Floats,
    name: str,
    slot: int,
    *,
    legend: bool = True,
    hover: str = "%{y}",
    texts: list[str] | None = None,
) -> dict[str, Any]:
    """Bars; ``texts`` stand above them."""
    trace: dict[str, Any] = {
        "type": "bar",
        "name": html.escape(name),
        "x": x,
        "y": [float(value) if np.isfinite(value) else None for value in y],
        "showlegend": legend,
        "hovertemplate": hover,
        "meta": {"slot": slot},
    }
    if texts is not None:
        trace |= {
            "text": texts,
            "textposition": "outside",
            "cliponaxis": False,
            "textfont": {"size": 11},
            "constraintext": "none",
        }
    return trace


def plane(
    x_title: str, y_title: str, *, x: dict[str, Any] | None = None, y: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Layout of one panel with titled axes; ``x`` and ``y`` add to the axes."""
    return {
        "margin": {"l": 68, "r": 18, "t": 30, "b": 48},
        "hovermode": "closest",
        "legend": {"orientation": "h", "x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"},
        "xaxis": {"title": {"text": x_title, "standoff": 8}, "zeroline": False} | (x or {}),
        "yaxis": {"title": {"text": y_title, "standoff": 8}, "nticks": 7, "automargin": True} | (y or {}),
        "annotations": [],
    }


def label(x: float, y: float, text: str, *, anchor: str = "left", shift: float = 4.0) -> dict[str, Any]:
    """A word beside a point."""
    return {"x": x, "y": y, "text": text, "showarrow": False, "xanchor": anchor, "xshift": shift, "font": {"size": 11}}


def log_axis(values: Floats) -> dict[str, Any]:
    """A logarithmic axis with ticks at round numbers in the range of ``values``."""
    low, high = float(values.min()), float(values.max())
    wanted = [step * 10.0**power for power in range(-3, 9) for step in (1, 2, 3, 5, 7)]
    ticks = [tick for tick in wanted if low * 0.999 <= tick <= high * 1.001]
    if len(ticks) > 12:
        ticks = [tick for tick in ticks if f"{tick:e}"[0] in "125"]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
