"""The HTML page of a Monte Carlo study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from crypto.market import Floats
from research.laboratory.montecarlo import Crossing, MonteCarlo
from research.laboratory.montecarlo_figures import montecarlo_figures, name_of
from research.laboratory.page import Section, StudyPage, Tile, charts, render_study, side_by_side
from research.report.markup import row, table
from research.report.page import card
from research.report.words import DASH, number, share

ROWS = 24


def render_montecarlo(result: MonteCarlo, provenance: Mapping[str, Any]) -> str:
    """The page of a study, from its result and where its numbers come from."""
    figures = montecarlo_figures(result)
    question = result.question
    word = "short" if question.margin.side < 0 else "long"
    symbol = question.margin.tiers.key.split(":")[2]
    days = question.steps * question.model.step_hours / 24
    sections = (
        Section("paths", "Paths", charts([figures["fan"]])),
        Section(
            "risk",
            "Probability",
            side_by_side(figures["probability"], figures["survival"]) + card("By leverage", _table(result), TABLE_NOTE),
        ),
        Section("time", "Time", side_by_side(figures["heat"], figures["times"]) + charts([figures["density"]])),
        Section("precision", "Precision", charts([figures["convergence"]])),
    )
    return render_study(
        StudyPage(
            study="Monte Carlo",
            title=f"Liquidation risk of a {symbol} {word} over {days:g} days",
            facts=_facts(result, days),
            warnings=_warnings(provenance),
            tiles=_tiles(result),
            sections=sections,
            figures=tuple(figures.values()),
            notes=_notes(result),
            provenance=provenance,
        )
    )


TABLE_NOTE = "Times are those of the paths that were liquidated, with the interval of their median in brackets."


def _warnings(provenance: Mapping[str, Any]) -> list[str]:
    if provenance.get("synthetic"):
        return [
            "SYNTHETIC PRICES. The paths are made of a generated market; the figures say nothing about any real one."
        ]
    return []


def _facts(result: MonteCarlo, days: float) -> dict[str, str]:
    question = result.question
    venue, kind, _ = question.margin.tiers.key.split(":")
    model = "blocks of past bars" if question.model.diffusion is None else "jump diffusion"
    size = (
        f"{number(question.margin.wallet, 0)} of margin"
        if question.margin.wallet is not None
        else f"{number(question.margin.notional, 0)} of notional"
    )
    return {
        "Venue": f"{venue}, {kind}, isolated",
        "Position": f"{size} from {question.margin.entry_price:,.8g}",
        "Horizon": f"{days:g} days in {question.steps:,} steps",
        "Paths": f"{question.paths:,}",
        "Model": model,
    }


def _tiles(result: MonteCarlo) -> list[Tile]:
    tiles = []
    for limit in (0.01, 0.05, 0.5):
        below = np.flatnonzero(result.high <= limit)
        value = name_of(float(result.ladder.leverages[below[0]])) if below.size else DASH
        detail = "highest leverage whose interval lies below" if below.size else "no leverage asked for is that safe"
        tiles.append(Tile(f"At most {share(limit, 0)} liquidated", value, detail))
    middle = int(np.argmin(np.abs(result.probability - 0.5)))
    low, high = share(result.low[middle]), share(result.high[middle])
    leverage = name_of(float(result.ladder.leverages[middle]))
    tiles.append(Tile(f"Probability at {leverage}", share(result.probability[middle]), f"{low} to {high}"))
    median = result.times[1, :, middle] / 24
    tiles.append(
        Tile(
            f"Median time at {leverage}",
            f"{number(median[0], 1)} d",
            f"{number(median[1], 1)} to {number(median[2], 1)} days",
        )
    )
    fan = result.fan[-1] / result.question.margin.entry_price - 1
    tiles.append(Tile("Price at the end", f"{100 * fan[1]:+.0f} to {100 * fan[5]:+.0f}%", "nine of ten paths"))
    return tiles


def _table(result: MonteCarlo) -> str:
    order = np.argsort(result.ladder.leverages)
    every = max(1, -(-order.size // ROWS))
    shown = [*order[:-1:every], order[-1]]
    rows = []
    for column in shown:
        price = float(result.ladder.price[column])
        entry = result.question.margin.entry_price
        has_price = 0 < price < float("inf")
        times = result.times[:, :, column] / 24
        rows.append(
            row(
                name_of(float(result.ladder.leverages[column])),
                [
                    number(result.ladder.notional[column], 0),
                    f"{price:,.8g}" if has_price else "never",
                    f"{price / entry - 1:+.1%}" if has_price else DASH,
                    share(result.probability[column], 2),
                    f"{share(result.low[column], 2)} \u2013 {share(result.high[column], 2)}",
                    number(times[0, 0], 1),
                    _with_interval(times[1]),
                    number(times[2, 0], 1),
                ],
            )
        )
    head = [
        "Leverage",
        "Notional",
        "Liquidated at",
        "Move",
        "Probability",
        f"{result.question.confidence:.0%} interval",
    ]
    head += ["10 %, days", "Median, days", "90 %, days"]
    return table("Probability and time of liquidation by leverage", head, rows)


def _with_interval(times: Floats) -> str:
    if not np.isfinite(times[0]):
        return DASH
    return f"{number(times[0], 1)} ({number(times[1], 1)} \u2013 {number(times[2], 1)})"


def _notes(result: MonteCarlo) -> list[str]:
    question = result.question
    model = question.model
    notes = [
        (
            "The liquidation price is that of an isolated position under the venue's maintenance tiers, with the tier"
            f" that holds there. Tiers: {question.margin.tiers.source}."
        ),
        "All leverages go through the same paths, so their differences are not noise.",
    ]
    growth = "as in the data" if model.growth is None else f"{model.growth:+.1%} a year"
    if model.diffusion is None:
        bars = 0 if model.returns is None else model.returns.change.size
        notes.append(
            f"Paths: blocks of {model.block_steps} bars, begun anywhere and joined end to end (circular block"
            f" bootstrap), from {bars:,} returns. Growth of the expected price: {growth}."
        )
    else:
        fitted = model.diffusion
        notes.append(
            f"Paths: jump diffusion of Merton with volatility {fitted.volatility:.1%} a year, {fitted.jump_rate:.3g}"
            f" jumps a year of mean {fitted.jump_mean:+.2%} and deviation {fitted.jump_deviation:.2%}. Growth of the"
            f" expected price: {growth}." + (" Paths in antithetic pairs." if model.antithetic else "")
        )
    within = (
        "the bar's own high or low counts"
        if model.diffusion is None
        else "the extreme between two steps is drawn from the Brownian bridge, exactly for the diffusion"
    )
    notes.append(
        f"Inside a step {within}."
        if question.crossing is Crossing.WITHIN
        else "Only ends of steps count, which finds fewer liquidations than a venue that checks all the time."
    )
    if question.margin.funding_rate:
        notes.append(
            f"Funding of {question.margin.funding_rate:+.4%} every {question.margin.funding_hours:g} hours on the"
            " notional at entry moves the margin, and with it the liquidation price, at every settlement."
        )
    notes.append(
        "Intervals: Wilson's for shares; for times the order statistics around the quantile. They hold for the noise of"
        " the draw, not for the choice of the model."
    )
    notes.append("What happens on the way is left out: no margin is added, no guard acts, open orders reserve nothing.")
    return notes
