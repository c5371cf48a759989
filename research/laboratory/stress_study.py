"""A stress scenario run: shocks on a market, books with guards and without. Spec: docs/specs/stress.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from crypto.errors import SettingsError
from crypto.instruments import Instrument
from crypto.market import MarketHistory
from crypto.settings import DataSettings, RunSettings, Settings
from crypto.shocks import shock
from crypto.stress import Direction, StressScenario
from crypto.units import HOUR_MS, iso
from crypto.venues.registry import pair as find_pair
from research.backtest import load
from research.laboratory.book_story import Story, story_of, story_payload
from research.laboratory.held_book import Book, Disruption, check_book, run_book

DIRECTIONS = {Direction.CARRY: (1,), Direction.REVERSE: (-1,), Direction.BOTH: (1, -1)}


@dataclass(frozen=True, slots=True)
class Stress:
    """``stories``: for each book the run without guards, then the one with them. ``market``: with its shocks.

    ``shocks``: from, to (ms) and name, in order of time.
    """

    scenario: StressScenario
    market: MarketHistory
    open_ms: int
    directions: tuple[int, ...]
    stories: tuple[tuple[Story, Story], ...]
    shocks: tuple[tuple[int, int, str], ...]


def stress_settings(scenario: StressScenario) -> Settings:
    """Settings of the scenario's runs, before wallets and limits of a book."""
    part = scenario.market
    return replace(
        Settings(),
        run=RunSettings(
            name=scenario.name, start=part.start, end=part.end, timeframe=part.timeframe, seed=scenario.seed
        ),
        data=DataSettings(lake=part.lake),
        pairs=scenario.pairs,
        signal=scenario.signal,
        risk=scenario.risk,
        margin=scenario.margin,
        adl=scenario.adl,
        slippage=scenario.slippage,
        execution=scenario.execution,
        transfers=scenario.transfers,
    )


def books_of(scenario: StressScenario) -> list[Book]:
    """One book for each direction and leverage; ``UsageError`` for one that can't be paid."""
    part = scenario.book
    books = [
        Book(
            scenario.pairs, leverage, side, part.wallet_split or None, part.capital, part.naked_policy,
            part.borrow_annual,
        )
        for side in DIRECTIONS[part.direction]
        for leverage in part.leverages
    ]  # fmt: skip
    for book in books:
        check_book(book)
    return books


def run_stress(scenario: StressScenario, advance: Callable[[], None]) -> Stress:
    """Load the market, lay the shocks on it and run every book twice."""
    base = stress_settings(scenario)
    books = books_of(scenario)
    market = load(replace(base, borrow=replace(base.borrow, enabled=True)))
    open_ms = int(market.open_ms[0]) + round(scenario.book.open_after_hours * HOUR_MS)
    _refuse_off_grid(scenario, market, open_ms)
    shocked = shock(market, scenario, _instruments(scenario), open_ms)
    disruption = disruption_of(scenario, open_ms)
    stories = []
    for book in books:
        both = []
        for guarded in (False, True):
            result, _ = run_book(base, shocked, book, open_ms, disruption, guarded=guarded)
            both.append(story_of(book, result, open_ms, guarded=guarded))
            advance()
        stories.append((both[0], both[1]))
    directions = DIRECTIONS[scenario.book.direction]
    return Stress(scenario, shocked, open_ms, directions, tuple(stories), shocks_of(scenario, shocked, open_ms))


def _refuse_off_grid(scenario: StressScenario, market: MarketHistory, open_ms: int) -> None:
    """The book is opened at a bar's close, so that instant has to be one."""
    end_ms = int(market.open_ms[-1])
    if (open_ms - int(market.open_ms[0])) % market.bar_ms or not int(market.open_ms[0]) < open_ms < end_ms:
        raise SettingsError(
            f"book.open_after_hours = {scenario.book.open_after_hours:g}: {iso(open_ms)} is no close of a bar inside"
            f" the market, which ends at {iso(end_ms + market.bar_ms)}",
            remedy="give whole bars from market.start on, and less than the market's length",
        )


def _instruments(scenario: StressScenario) -> list[Instrument]:
    found = [find_pair(item.spot, item.perp, {}) for item in scenario.pairs]
    return [leg for pair in found for leg in (pair.spot, pair.perp)]


def disruption_of(scenario: StressScenario, open_ms: int) -> Disruption:
    """What the shocks do to the strategy itself: dark spans, and the recall of borrowed coins."""
    dark = tuple(
        (open_ms + round(item.at_hours * HOUR_MS), open_ms + round((item.at_hours + item.hours) * HOUR_MS))
        for item in scenario.outage
    )
    recalls = [open_ms + round(item.at_hours * HOUR_MS) for item in scenario.borrow_recall if item.buy_back]
    return Disruption(dark, min(recalls, default=None))


def shocks_of(scenario: StressScenario, market: MarketHistory, open_ms: int) -> tuple[tuple[int, int, str], ...]:
    """All shocks with their names, in order of time."""
    end_ms = int(market.open_ms[-1]) + market.bar_ms
    found: list[tuple[float, float, str]] = []
    for gap in scenario.price_gap:
        words = f"price gap: spot {gap.spot:+.0%}, perp {gap.perp:+.0%}"
        found.append((gap.at_hours, gap.at_hours + max(1.0, gap.over_hours + gap.return_hours), words))
    for flip in scenario.funding_flip:
        hours = 8.0 * flip.settlements
        found.append((flip.at_hours, flip.at_hours + hours, f"funding {flip.rate:+.3%}"))
    for recall in scenario.borrow_recall:
        words = "borrow recalled" if recall.buy_back else f"borrow {recall.hourly_rate * 8760:.0%} a year"
        found.append((recall.at_hours, recall.at_hours + 1.0, words))
    found += [(item.at_hours, item.at_hours + item.hours, "venue outage") for item in scenario.outage]
    found += [(item.at_hours, item.at_hours + 1.0, f"mark spike {item.move:+.0%}") for item in scenario.mark_spike]
    spans = [
        (open_ms + round(start * HOUR_MS), min(end_ms, open_ms + round(end * HOUR_MS)), words)
        for start, end, words in found
    ]
    return tuple(sorted(spans))


def stress_payload(study: Stress) -> dict[str, Any]:
    """The study as plain values."""
    return {
        "study": "stress",
        "scenario": study.scenario.name,
        "opened_ms": study.open_ms,
        "synthetic": study.market.synthetic,
        "shocks": [{"from_ms": start, "to_ms": end, "what": words} for start, end, words in study.shocks],
        "runs": [story_payload(story) for both in study.stories for story in both],
    }
