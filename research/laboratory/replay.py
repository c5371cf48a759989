"""Books of several leverages through days of stress on real data, with and without guards.

Spec: docs/specs/stress.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crypto.market import MarketHistory
from crypto.settings import DataSettings, MarginSettings, NakedPolicy, PairSettings, PriceSource, RunSettings, Settings
from crypto.units import parse_iso
from research.backtest import load
from research.laboratory.book_story import Story, story_of, story_payload
from research.laboratory.episodes import Episode
from research.laboratory.held_book import Book, check_book, run_book

Advance = Callable[[], None]
DEFAULT_GAP = MarginSettings().liquidity_gap


@dataclass(frozen=True, slots=True)
class ReplayQuestion:
    """What is replayed. ``directions``: +1 carry, -1 reverse. ``liquidity_gap``: as ``margin.liquidity_gap``."""

    episode: Episode
    resolution: str
    pairs: tuple[PairSettings, ...]
    leverages: tuple[float, ...]
    directions: tuple[int, ...]
    wallet_split: float | None
    capital: float
    naked_policy: NakedPolicy
    borrow_annual: float
    liquidity_gap: float = DEFAULT_GAP

    def books(self) -> list[Book]:
        """One book for each direction and leverage; ``UsageError`` for one that can't be paid."""
        books = [
            Book(self.pairs, leverage, side, self.wallet_split, self.capital, self.naked_policy, self.borrow_annual)
            for side in self.directions
            for leverage in self.leverages
        ]
        for book in books:
            check_book(book)
        return books


@dataclass(frozen=True, slots=True)
class Replay:
    """``stories``: for each book the run without guards, then the one with them."""

    question: ReplayQuestion
    market: MarketHistory
    open_ms: int
    stories: tuple[tuple[Story, Story], ...]


def replay_settings(question: ReplayQuestion, lake: Path) -> Settings:
    """Settings of the episode's runs, before wallets and limits of a book.

    Bars shorter than an hour have no mark series, so perps are valued and checked on the last trade there.
    """
    episode = question.episode
    source = PriceSource.MARK if question.resolution == "1h" else PriceSource.LAST
    base = Settings()
    return replace(
        base,
        run=RunSettings(
            name=f"replay-{episode.name}", start=episode.load_from, end=episode.end, timeframe=question.resolution
        ),
        data=DataSettings(lake=str(lake), valuation_price=source),
        pairs=question.pairs,
        signal=replace(base.signal, warmup_hours=24.0),
        margin=replace(base.margin, liquidity_gap=question.liquidity_gap),
    )


def run_replay(question: ReplayQuestion, lake: Path, advance: Advance) -> Replay:
    """Load the days and run every book twice. ``DataError`` and ``RefusedError`` as in a backtest."""
    base = replay_settings(question, lake)
    market = load(base)
    open_ms = parse_iso(question.episode.start)
    stories = []
    for book in question.books():
        both = []
        for guarded in (False, True):
            result, _ = run_book(base, market, book, open_ms, guarded=guarded)
            both.append(story_of(book, result, open_ms, guarded=guarded))
            advance()
        stories.append((both[0], both[1]))
    return Replay(question, market, open_ms, tuple(stories))


def replay_payload(replay: Replay) -> dict[str, Any]:
    """The study as plain values."""
    question = replay.question
    return {
        "study": "replay",
        "event": question.episode.name,
        "title": question.episode.title,
        "resolution": question.resolution,
        "opened_ms": replay.open_ms,
        "pairs": [{"spot": pair.spot, "perp": pair.perp} for pair in question.pairs],
        "capital": question.capital,
        "naked_policy": question.naked_policy.value,
        "liquidity_gap": question.liquidity_gap,
        "runs": [story_payload(story) for both in replay.stories for story in both],
    }


def shown(stories: Sequence[tuple[Story, Story]], direction: int) -> list[tuple[Story, Story]]:
    """The books of one direction."""
    return [both for both in stories if both[0].book.direction == direction]
