"""Figures of a Monte Carlo study as plain plotly.js dictionaries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from crypto.market import Floats
from research.laboratory.drawing import GREY_SLOT, RISK, TEXT_SLOT, band, curve, label, log_axis, plane
from research.laboratory.montecarlo import FAN_QUANTILES, TIME_QUANTILES, MonteCarlo
from research.report.drawing import Figure, finish
from research.report.words import share

SHOWN_CURVES = 6
LEAST_HITS = 30
DENSITY_STRETCHES = 30
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def montecarlo_figures(result: MonteCarlo) -> dict[str, Figure]:
    """All figures by key."""
    columns = shown_columns(result)
    figures = (
        fan_figure(result, columns),
        probability_figure(result),
        survival_figure(result, columns),
        heat_figure(result),
        times_figure(result),
        density_figure(result, columns),
        convergence_figure(result),
    )
    return {figure.key: figure for figure in figures}


def shown_columns(result: MonteCarlo) -> list[int]:
    """Up to six leverages whose probabilities spread from rare to likely, highest leverage first."""
    targets = (0.95, 0.75, 0.5, 0.25, 0.1, 0.02)
    near = [int(np.argmin(np.abs(result.probability - target))) for target in targets]
    chosen = sorted(set(near))
    if len(chosen) < min(3, result.probability.size):
        chosen = sorted(set(np.linspace(0, result.probability.size - 1, SHOWN_CURVES).round().astype(int).tolist()))
    return chosen[:SHOWN_CURVES]


def name_of(leverage: float) -> str:
    """A leverage in words, such as 12.5x."""
    return f"{leverage:.3g}x"


def fan_figure(result: MonteCarlo, columns: Sequence[int]) -> Figure:
    """Quantiles of the price, some paths, and the liquidation prices of some leverages."""
    days = np.concatenate(([0.0], result.hours)) / 24
    fan = result.fan
    data: list[dict[str, Any]] = []
    for low, high, name in ((0, 6, "1 to 99 %"), (1, 5, "5 to 95 %"), (2, 4, "25 to 75 %")):
        data += band(days, fan[:, low], fan[:, high], name, 0, legend=True)
    data += _drawn_paths(result, columns)
    data.append(curve(days, fan[:, FAN_QUANTILES.index(0.5)], "median price", 0, width=2.4, hover="%{y:,.6~g}"))
    layout = plane("days held", "price, quote units", y={"tickformat": ",.6~g"})
    layout["margin"]["r"] = 84
    top, bottom = float(fan.max()), float(fan.min())
    reach = (bottom - 0.1 * (top - bottom), top + 0.15 * (top - bottom))
    apart = 0.045 * (reach[1] - reach[0])
    taken: list[float] = []
    ends = np.concatenate(([0.0], result.hours))[:-1] / 24
    for number, column in enumerate(reversed(columns)):
        price = result.barrier[:, column]
        if not np.isfinite(price).all() or price.min() <= 0 or not reach[0] <= price[0] <= reach[1]:
            continue
        if any(abs(float(price[-1]) - other) < apart for other in taken):
            continue  # the words beside the lines would cover each other
        taken.append(float(price[-1]))
        name = name_of(float(result.ladder.leverages[column]))
        x, y = np.append(ends, days[-1]), np.append(price, price[-1])
        data.append(
            curve(
                x,
                y,
                f"liquidation at {name}",
                RISK,
                width=1.5,
                dash=DASHES[number % len(DASHES)],
                shape="hv",
                legend=False,
                hover=f"{name}: %{{y:,.6~g}}<extra></extra>",
            )
        )
        text = f"{name} \u00b7 {share(result.probability[column], 0)}"
        layout["annotations"].append(label(float(days[-1]), float(price[-1]), text))
    layout["yaxis"]["range"] = [max(0.0, reach[0]), reach[1]]
    layout["xaxis"]["range"] = [0, float(days[-1])]
    word = "rises" if result.question.margin.side < 0 else "falls"
    note = (
        f"A path is liquidated where it {word} to a dashed line; at its right: leverage and the share that got there."
    )
    text = f"Fan chart of the price over {days[-1]:g} days with liquidation prices of {len(columns)} leverages."
    return finish("fan", "Where the price may go, and where it ends", note, text, data, layout, 560, is_time=False)


def _drawn_paths(result: MonteCarlo, columns: Sequence[int]) -> list[dict[str, Any]]:
    """Single paths in grey, cut with a cross where the middle one of the shown leverages is liquidated."""
    column = columns[len(columns) // 2]
    days = result.path_hours / 24
    record = np.minimum(np.searchsorted(result.hours, result.path_hours, side="left"), result.hours.size - 1)
    limit = result.barrier[record, column]
    adverse = -result.question.margin.side
    data, crossed_x, crossed_y = [], [], []
    for number, path in enumerate(result.paths):
        over = np.flatnonzero(adverse * (path - limit) >= 0)
        end = int(over[0]) + 1 if over.size else path.size
        if over.size:
            crossed_x.append(float(days[end - 1]))
            crossed_y.append(float(path[end - 1]))
        data.append(
            curve(
                days[:end],
                path[:end],
                "single paths",
                GREY_SLOT,
                width=0.8,
                opacity=0.55,
                legend=number == 0,
                group="paths",
                hover="",
            )
        )
    name = f"liquidated at {name_of(float(result.ladder.leverages[column]))}"
    cross = curve(
        np.array(crossed_x), np.array(crossed_y), name, RISK, mode="markers", hover="day %{x:.1f}: %{y:,.6~g}"
    )
    return [*data, cross | {"marker": {"symbol": "x", "size": 7}}]


def probability_figure(result: MonteCarlo) -> Figure:
    """Probability of liquidation against leverage with its interval."""
    x = result.ladder.leverages
    level = f"{result.question.confidence:.0%} interval"
    data = band(x, result.low, result.high, level, RISK, legend=True)
    mode = "lines+markers" if x.size <= 24 else "lines"
    data.append(curve(x, result.probability, "probability", RISK, width=2.2, mode=mode, hover="%{x:.3g}x: %{y:.2%}"))
    layout = plane(
        "leverage", "liquidated within the horizon", x=log_axis(x), y={"tickformat": ".0%", "rangemode": "tozero"}
    )
    if x.size == 1:
        layout["xaxis"] = {"title": {"text": "leverage"}, "tickvals": [float(x[0])]}
    text = f"Probability of liquidation from {share(result.probability.min())} to {share(result.probability.max())}."
    return finish(
        "probability", "Probability by leverage", "Wilson's interval.", text, data, layout, 380, is_time=False
    )


def survival_figure(result: MonteCarlo, columns: Sequence[int]) -> Figure:
    """Share that is not liquidated yet, over time."""
    days = np.concatenate(([0.0], result.hours)) / 24
    data: list[dict[str, Any]] = []
    for slot, column in enumerate(columns):
        name = name_of(float(result.ladder.leverages[column]))
        alive = 1.0 - np.concatenate(([0.0], result.curve[:, column]))
        high = 1.0 - np.concatenate(([0.0], result.curve_low[:, column]))
        low = 1.0 - np.concatenate(([0.0], result.curve_high[:, column]))
        data += band(days, low, high, name, slot, group=name)
        data.append(curve(days, alive, name, slot, width=2.0, group=name, hover="%{y:.2%} after %{x:.1f} days"))
    layout = plane("days held", "not liquidated yet", y={"tickformat": ".0%", "range": [0, 1.02]})
    layout["xaxis"]["range"] = [0, float(days[-1])]
    text = f"Survival curves of {len(columns)} leverages over {days[-1]:g} days."
    return finish(
        "survival", "Survival by leverage", "Shaded: interval of each.", text, data, layout, 380, is_time=False
    )


def heat_figure(result: MonteCarlo) -> Figure:
    """Share liquidated by time and leverage as a heat map."""
    days = result.hours / 24
    order = np.argsort(result.ladder.leverages)
    leverages = result.ladder.leverages[order]
    values = np.round(result.curve[:, order].T, 4)
    heat = {
        "type": "heatmap",
        "x": days.tolist(),
        "y": leverages.tolist(),
        "z": values.tolist(),
        "zmin": 0,
        "zmax": 1,
        "hovertemplate": "%{y:.3g}x, day %{x:.1f}: %{z:.1%} liquidated<extra></extra>",
        "meta": {"heat": True, "half": True},
        "colorbar": {"thickness": 10, "outlinewidth": 0, "tickformat": ".0%"},
    }
    layout = plane("days held", "leverage", y=log_axis(leverages) | {"showgrid": False})
    layout["xaxis"]["showgrid"] = False
    lines = []
    for level, dash in ((0.05, "dot"), (0.5, "solid")):
        reached = values >= level
        first = np.where(reached.any(axis=0), leverages[reached.argmax(axis=0)], math.nan)
        name = f"{share(level, 0)} liquidated"
        lines.append(
            curve(
                days, first, name, TEXT_SLOT, width=1.4, dash=dash, hover="%{y:.3g}x after %{x:.1f} days<extra></extra>"
            )
        )
    text = "Heat map of the share liquidated by leverage and day."
    return finish(
        "heat",
        "When, at which leverage",
        "Lines: where 5 % and half are gone.",
        text,
        [heat, *lines],
        layout,
        420,
        is_time=False,
    )


def times_figure(result: MonteCarlo) -> Figure:
    """Quantiles of the time until liquidation against leverage."""
    x = result.ladder.leverages
    # Quantiles of a handful of liquidations are noise.
    days: Floats = np.array(result.times / 24, dtype=np.float64)
    days[:, :, result.hits < LEAST_HITS] = math.nan
    data = band(x, days[0, 0], days[2, 0], "10 to 90 % of the liquidated", 2, legend=True)
    data += band(x, days[1, 1], days[1, 2], "interval of the median", 2)
    data.append(curve(x, days[1, 0], "median", 2, width=2.2, hover="%{x:.3g}x: %{y:.2f} days"))
    layout = plane("leverage", "days until liquidation", x=log_axis(x), y={"rangemode": "tozero"})
    note = f"Of the paths that were liquidated, where there are {LEAST_HITS} or more."
    names = ", ".join(share(quantile, 0) for quantile in TIME_QUANTILES)
    text = f"Quantiles ({names}) of the time until liquidation by leverage."
    return finish("times", "Time until liquidation", note, text, data, layout, 420, is_time=False)


def density_figure(result: MonteCarlo, columns: Sequence[int]) -> Figure:
    """Share of paths liquidated per day, over time."""
    # Some thirty stretches: shorter ones hold too few liquidations to show a shape.
    every = max(1, round(result.hours.size / DENSITY_STRETCHES))
    chosen = np.unique(np.append(np.arange(every - 1, result.hours.size, every), result.hours.size - 1))
    ends = np.concatenate(([0.0], result.hours[chosen])) / 24
    data: list[dict[str, Any]] = []
    for slot, column in enumerate(columns):
        name = name_of(float(result.ladder.leverages[column]))
        per_day = np.diff(np.concatenate(([0.0], result.curve[chosen, column]))) / np.diff(ends)
        y = np.where(per_day > 0, per_day, math.nan)
        hover = f"{name}, day %{{x:.1f}}: %{{y:.2%}} a day<extra></extra>"
        data.append(curve(ends, np.append(y, y[-1]), name, slot, shape="hv", hover=hover))
    axis = {"type": "log", "tickformat": ".3~%", "dtick": 1}
    layout = plane("days held", "of all paths, liquidated a day", y=axis)
    layout["xaxis"]["range"] = [0, float(ends[-1])]
    text = f"Distribution of the time until liquidation of {len(columns)} leverages."
    return finish("density", "Distribution of the time", "", text, data, layout, 380, is_time=False)


def convergence_figure(result: MonteCarlo) -> Figure:
    """Estimates against the number of paths."""
    data: list[dict[str, Any]] = []
    for slot, (leverage, rows) in enumerate(result.convergence.items()):
        name = name_of(leverage)
        data += band(rows[:, 0], rows[:, 2], rows[:, 3], name, slot, group=name)
        data.append(curve(rows[:, 0], rows[:, 1], name, slot, group=name, hover="%{x:,} paths: %{y:.2%}"))
    sizes = np.concatenate([rows[:, 0] for rows in result.convergence.values()])
    ticks = log_axis(sizes)
    ticks["ticktext"] = [f"{value:,.0f}" for value in ticks["tickvals"]]
    layout = plane("paths", "probability of liquidation", x=ticks, y={"tickformat": ".0%"})
    note = "The estimate and its interval after so many paths: it has settled when the band is narrow and level."
    text = "Running estimates of the probability against the number of paths."
    return finish("convergence", "Convergence", note, text, data, layout, 380, is_time=False)
