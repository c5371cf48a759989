"""The HTML page of the auto-deleveraging of 2025-10-10."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from crypto.adl import LIGHTS
from research.laboratory.adl_figures import bars_by_light
from research.laboratory.drawing import CALM, RISK, bars, curve, plane
from research.laboratory.page import Section, StudyPage, Tile, charts, render_study, side_by_side
from research.laboratory.sample_study import SampleStudy
from research.report.drawing import Figure, finish
from research.report.markup import row, table
from research.report.page import card
from research.report.words import money, number, share

COINS_SHOWN = 16


def render_sample(study: SampleStudy, provenance: Mapping[str, Any]) -> str:
    """The page of the episode, from the study and where its numbers come from."""
    figures = (timeline_figure(study), coins_figure(study), accounts_figure(study), lights_figure(study))
    sections = (
        Section("episode", "The episode", charts(figures[:1]) + charts(figures[1:2])),
        Section("accounts", "Who was closed", side_by_side(figures[2], figures[3]) + card("By light", _lights(study))),
    )
    return render_study(
        StudyPage(
            study="ADL study",
            title="Auto-deleveraging on Hyperliquid, 2025-10-10",
            facts={
                "Closed by ADL": f"{money(study.total_notional)} USD",
                "Coins": number(study.coins, 0),
                "Events": number(study.total_events, 0),
            },
            warnings=["The sample belongs to its authors. Keep this page to yourself."],
            tiles=_tiles(study),
            sections=sections,
            figures=figures,
            notes=_notes(study),
            provenance=provenance,
        )
    )


def timeline_figure(study: SampleStudy) -> Figure:
    """Liquidations and deleveragings by second from the first liquidation on."""
    rows = np.array(study.sample.timeline, dtype=np.float64)
    minutes = rows[:, 0] / 60
    data = [
        curve(minutes, np.cumsum(rows[:, column]), name, slot, width=2.2, shape="hv", hover="%{y:,} after %{x:.2f} min")
        for column, name, slot in ((1, "liquidations", RISK), (2, "deleveragings", CALM))
    ]
    first = next((second for second, _, closed in study.sample.timeline if closed), None)
    note = (
        "" if first is None else f"ADL begins {first} seconds after the first liquidation: before, the book takes all."
    )
    layout = plane("minutes since the first liquidation", "counted so far", y={"tickformat": ",d"})
    words = "Cumulative counts of liquidations and deleveragings."
    return finish("timeline", "Liquidations first, then both", note, words, data, layout, 360, is_time=False)


def coins_figure(study: SampleStudy) -> Figure:
    """Notional closed by ADL of the largest coins."""
    coins = study.sample.coins.sort_values("adl_notional", ascending=False).head(COINS_SHOWN)
    values = coins["adl_notional"].to_numpy(dtype=np.float64)
    trace = bars(coins["coin"].tolist(), values, "closed", RISK, legend=False, hover="%{x}: %{y:,.0f} USD")
    layout = plane("", "closed by ADL, USD", y={"tickformat": "~s"})
    layout["xaxis"] |= {"type": "category"}
    words = f"Bars of the notional closed in the {len(coins)} largest coins."
    rest = share(1 - values.sum() / study.total_notional)
    return finish("coins", "Where", f"The other coins hold {rest}.", words, [trace], layout, 340, is_time=False)


def accounts_figure(study: SampleStudy) -> Figure:
    """Leverage and gain of the sampled positions, as dots as large as what was closed."""
    known = np.isfinite(study.leverage) & (study.leverage > 0)
    size = np.clip(3 + 2.2 * np.log10(np.maximum(study.notional[known], 1.0)), 3, 20)
    trace = curve(
        study.leverage[known], study.gain[known], "positions", CALM, mode="markers", opacity=0.55, legend=False,
        hover="%{x:.3g}x, %{y:+.1%}<extra></extra>",
    )  # fmt: skip
    trace["marker"] = {"size": [round(float(value), 1) for value in size]}
    axis = {"type": "log", "dtick": 1, "tickformat": "~s"}
    layout = plane("notional over account value", "gain of the position", x=axis, y={"tickformat": "+.0%"})
    note = "The sample was picked for high leverage. Larger dots: more was closed."
    words = f"Scatter of {int(known.sum())} positions by leverage and gain."
    return finish("accounts", "Leverage and gain", note, words, [trace], layout, 400, is_time=False)


def lights_figure(study: SampleStudy) -> Figure:
    """Share closed by light."""
    hovers = ("%{y:.1%}", "%{y:.1%}")
    data, layout = bars_by_light(study.by_light, ("positions closed whole", "notional closed"), hovers, "closed", 1.15)
    note = "Among sampled positions of a coin and side. All of them were hit, so this says nothing about the rest."
    return finish(
        "lights", "By our light", note, "Bars of the share closed by light.", data, layout, 400, is_time=False
    )


def _tiles(study: SampleStudy) -> list[Tile]:
    gained = float((study.gain > 0).mean())
    return [
        Tile("Closed by ADL", f"{study.total_notional / 1e9:.2f} bn", "USD, all coins"),
        Tile("Sampled positions", number(study.positions, 0), f"in {study.events:,} events"),
        Tile("Reproduced", share(study.reproduced / study.events, 0), f"{study.reproduced} of {study.events} events"),
        Tile("With several positions", number(study.several, 0), "events that test the order"),
        Tile("In profit", share(gained), "of the sampled positions"),
        Tile("Money made or lost", number(study.difference, 0), "millionths, over all events"),
    ]


def _lights(study: SampleStudy) -> str:
    rows = [
        row(
            f"light {light}",
            [number(study.by_light[light, 0], 0), number(study.by_light[light, 1], 0), share(study.by_light[light, 2])],
        )
        for light in reversed(range(LIGHTS))
    ]
    return table("Sampled positions by light", ["Light", "Positions", "Closed whole", "Of notional"], rows)


def _notes(study: SampleStudy) -> list[str]:
    events = (
        f"Each of the {study.events:,} sampled events is allocated anew: Hyperliquid's published index ranks its"
        " sampled counterparties by their account values at that moment, and what they gave up together is taken from"
        " the top. An event is reproduced when every position is closed to the lot as the venue closed it."
    )
    several = (
        f"{study.several} events hold more than one sampled position, {study.partial} positions were closed in part;"
        " the others fit any order."
    )
    light = (
        "Lights are ours, among the sampled positions of a coin and side at its first closing price: the sample holds"
        " only accounts that were deleveraged, so shares of all accounts on a light can't be had from it."
    )
    conserved = "Money: what each side of an event exchanges is cut into whole millionths and adds up to the last one."
    return [events, several, light, conserved]
