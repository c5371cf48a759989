"""The auto-deleveraging of 2025-10-10 through our own ranking and allocation. Spec: docs/specs/laboratory.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from crypto.adl import LIGHTS, Positions, adl_rule
from crypto.adl_allocation import deleverage, settle
from crypto.adl_ranking import lights, scores
from crypto.adl_waterfall import MONEY
from crypto.market import Floats, Integers
from data.adl_sample import AdlSample

EVENT = ["coin", "time", "liquidated_user"]
STEPS_PER_UNIT = 100_000  # Hyperliquid's finest quantity step is 1e-5


@dataclass(frozen=True, slots=True)
class SampleStudy:
    """``reproduced``: events whose every position our allocation closes as the venue did. ``difference``: what both
    sides of all events exchanged, added up, in millionths: 0.

    ``by_light``, shape (5, 3): sampled positions, those closed whole, share of their value that was closed; lights are
    ours among the sampled positions of a coin and side. ``leverage`` and ``gain`` of each position at its
    closing, ``notional`` closed.
    """

    sample: AdlSample
    positions: int
    events: int
    several: int
    reproduced: int
    partial: int
    difference: int
    by_light: Floats
    leverage: Floats
    gain: Floats
    notional: Floats
    coins: int
    total_notional: float
    total_events: int


def study_sample(sample: AdlSample) -> SampleStudy:
    """Allocate every event anew, and rank the sampled positions of each coin."""
    reproduced = several = difference = 0
    groups = list(sample.events.groupby(EVENT, sort=True))
    for _, event in groups:
        book, taken, price = _book(event)
        score = scores(adl_rule("hyperliquid"), book, 1 / STEPS_PER_UNIT, price)
        side = -int(np.sign(book.lots[0]))
        outcome = deleverage(score, book.account, book.lots, bankrupt_side=side, wanted_lots=int(taken.sum()))
        reproduced += bool(outcome.uncovered_lots == 0 and np.array_equal(outcome.closed_lots, taken))
        several += len(event) > 1
        value = side * int(taken.sum()) * round(price * MONEY)
        exchanged = settle(outcome, value)
        difference += abs(sum(exchanged.values) + exchanged.uncovered_value - value)
    events = sample.events
    equity = events["account_value_realtime"].to_numpy()
    size, price = events["position_size"].to_numpy(), events["adl_price"].to_numpy()
    side = np.sign(size)
    return SampleStudy(
        sample=sample,
        positions=len(events),
        events=len(groups),
        several=several,
        reproduced=reproduced,
        partial=int((events["adl_size"].to_numpy() < np.abs(size) * (1 - 1e-12)).sum()),
        difference=difference,
        by_light=_by_light(events),
        leverage=np.where(equity > 0, np.abs(size) * price / np.where(equity > 0, equity, 1.0), np.nan),
        gain=side * (price / events["entry_price"].to_numpy() - 1),
        notional=events["adl_size"].to_numpy() * price,
        coins=len(sample.coins),
        total_notional=float(sample.coins["adl_notional"].sum()),
        total_events=int(sample.coins["num_events"].sum()),
    )


def _book(event: pd.DataFrame) -> tuple[Positions, Integers, float]:
    """Positions of one event, the lots that were taken of each, and their common closing price."""
    lots = _lots(event["position_size"])
    price = float(event["adl_price"].iloc[0])
    entry_value = lots / STEPS_PER_UNIT * event["entry_price"].to_numpy()
    # The account value includes the position's own profit at the closing price.
    wallet = event["account_value_realtime"].to_numpy() - (lots / STEPS_PER_UNIT * price - entry_value)
    account = np.arange(len(event), dtype=np.int64)
    return Positions(account, lots, entry_value, wallet, np.zeros(len(event))), _lots(event["adl_size"]), price


def _lots(sizes: pd.Series) -> Integers:
    lots: Integers = np.rint(sizes.to_numpy() * STEPS_PER_UNIT).astype(np.int64)
    return lots


def _by_light(events: pd.DataFrame) -> Floats:
    rows = np.zeros((LIGHTS, 3))
    closed, held = np.zeros(LIGHTS), np.zeros(LIGHTS)
    for _, group in events.groupby("coin", sort=True):
        book, taken, price = _book(group)
        score = scores(adl_rule("hyperliquid"), book, 1 / STEPS_PER_UNIT, price)
        for side in (1, -1):
            light = lights(score, book.account, book.lots, side, adl_rule("hyperliquid").light_by)
            for number in range(LIGHTS):
                here = light == number
                rows[number, 0] += here.sum()
                rows[number, 1] += (taken[here] == np.abs(book.lots[here])).sum()
                closed[number] += float(taken[here].sum()) / STEPS_PER_UNIT * price
                held[number] += float(np.abs(book.lots[here]).sum()) / STEPS_PER_UNIT * price
    rows[:, 2] = np.where(held > 0, closed / np.where(held > 0, held, 1.0), np.nan)
    return rows


def sample_payload(study: SampleStudy) -> dict[str, Any]:
    """The study as plain values."""
    return {
        "study": "adl-sample",
        "positions": study.positions,
        "events": study.events,
        "events_with_several_positions": study.several,
        "events_reproduced": study.reproduced,
        "positions_closed_in_part": study.partial,
        "money_difference_millionths": study.difference,
        "coins": study.coins,
        "total_notional": study.total_notional,
        "total_events": study.total_events,
        "lights": [
            {"light": light, "positions": int(row[0]), "closed_whole": int(row[1]), "share_of_notional": row[2]}
            for light, row in enumerate(study.by_light)
        ],
    }
