"""Strict reader of a stress scenario: TOML into ``crypto.stress``, with every problem of the file at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from crypto.stress import StressScenario
from data.settings import load_table, refuse_problems
from data.settings_rules import (
    ASSET,
    FREE_NAMES,
    POSITIVE,
    RANGES,
    YEAR_HOURS,
    Rule,
    above,
    between,
    check_pairs,
)

REMEDY = "config/stress.toml explains every key with its unit, range and default"
HOURS = between(0, YEAR_HOURS)
MOVE = between(-0.99, 10)

STRESS_RANGES: Mapping[str, Rule] = {
    **RANGES,
    "name": RANGES["run.name"],
    "seed": RANGES["run.seed"],
    "market.start": RANGES["run.start"],
    "market.end": RANGES["run.end"],
    "market.timeframe": RANGES["run.timeframe"],
    "book.leverages.*": above(0, 200),
    "book.wallet_split": Rule("from 0 to below 1", lambda value: 0 <= value < 1),
    "book.capital": POSITIVE,
    "book.open_after_hours": HOURS,
    "book.borrow_annual": between(0, 87.6),
    "price_gap.*.at_hours": HOURS,
    "price_gap.*.spot": MOVE,
    "price_gap.*.perp": MOVE,
    "price_gap.*.over_hours": HOURS,
    "price_gap.*.return_hours": HOURS,
    "price_gap.*.assets.*": ASSET,
    "funding_flip.*.at_hours": HOURS,
    "funding_flip.*.rate": between(-0.05, 0.05),
    "funding_flip.*.settlements": between(1, 1_000_000),
    "funding_flip.*.assets.*": ASSET,
    "borrow_recall.*.at_hours": HOURS,
    "borrow_recall.*.hourly_rate": between(0, 0.01),
    "borrow_recall.*.assets.*": ASSET,
    "outage.*.at_hours": HOURS,
    "outage.*.hours": above(0, YEAR_HOURS),
    "mark_spike.*.at_hours": HOURS,
    "mark_spike.*.move": MOVE,
    "mark_spike.*.assets.*": ASSET,
}


def load_stress(path: Path) -> StressScenario:
    """The scenario of a file. ``SettingsError`` lists every problem, one per line, or says why it can't be read."""
    scenario, problems = load_table(path, StressScenario, STRESS_RANGES, FREE_NAMES)
    if not problems:
        problems = [*check_pairs(scenario.pairs), *_check(scenario)]
    refuse_problems(f"scenario file {path}", problems, REMEDY)
    return scenario


def _check(scenario: StressScenario) -> Iterator[str]:
    if not scenario.book.leverages:
        yield "book.leverages is empty: name at least one, such as [3, 5, 10]"
    for place, gap in enumerate(scenario.price_gap):
        if gap.spot == 0.0 and gap.perp == 0.0:
            yield f"price_gap.{place} moves nothing: give spot, perp or both"
    for place, recall in enumerate(scenario.borrow_recall):
        if recall.hourly_rate == 0.0 and not recall.buy_back:
            yield f"borrow_recall.{place} changes nothing: give hourly_rate, or buy_back = true"
    for place, outage in enumerate(scenario.outage):
        if not (outage.spot or outage.perp):
            yield f"outage.{place} takes nothing away: leave spot or perp true"
