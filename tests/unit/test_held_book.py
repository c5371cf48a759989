"""A held book on hand-made markets: its size, its stories with guards and without, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crypto.errors import RefusedError, UsageError
from crypto.pipeline.reasons import Reason
from crypto.settings import MarginEngine, NakedPolicy, PairSettings, Settings
from crypto.units import HOUR_MS
from research.laboratory.book_story import Story, story_of, story_payload
from research.laboratory.book_tables import story_table
from research.laboratory.held_book import Book, Disruption, book_settings, check_book, run_book
from tests.markets import BTC, BTC_BYBIT, NO_FEES, START, events, make_settings, one_pair, settlements

PAIRS = (PairSettings(*BTC),)
OPEN_MS = START + 3 * HOUR_MS
CALM = [100.0] * 5


def base(**tables: Any) -> Settings:
    margin = {"liquidity_gap": 0.0}
    return replace(
        make_settings([BTC], fees={"override": NO_FEES}, margin={**margin, "engine": MarginEngine.VENUE}, **tables),
    )


def tell(book: Book, path: list[float], *, guarded: bool, disruption: Disruption | None = None, **tables: Any) -> Story:
    history = one_pair(BTC, np.array(path), due=settlements([1.0], 1e-4))
    result, _ = run_book(base(**tables), history, book, OPEN_MS, disruption or Disruption(), guarded=guarded)
    return story_of(book, result, OPEN_MS, guarded=guarded)


def test_the_book_has_exactly_its_size() -> None:
    """100,000 x 0.15 x 5 = 75,000 of perps at 100."""
    story = tell(Book(PAIRS, 5.0, wallet_split=0.15), [*CALM, 100.0, 100.0, 100.0], guarded=False)
    assert story.result.perp_value[-1, 0] == pytest.approx(-75_000.0, rel=1e-9)
    assert story.result.spot_value[-1, 0] == pytest.approx(75_000.0, rel=1e-6)
    assert story.result.collateral_ratio[-1, 0] == pytest.approx(0.2, rel=1e-9)


@pytest.mark.parametrize(("leverage", "split"), [(3.0, 0.225), (5.0, 0.15), (9.0, 0.09)])
def test_without_a_split_a_tenth_of_the_capital_stays_free(leverage: float, split: float) -> None:
    book = Book(PAIRS, leverage)
    assert book.split == pytest.approx(split, rel=1e-12)
    assert book.capital * (1 - book.split) - book.notional == pytest.approx(0.1 * book.capital, rel=1e-9)


def test_without_guards_the_venue_liquidates_at_the_price_of_the_formula() -> None:
    """Margin 15,000, short 750 at 100. Tiers to 10 million: 15,000 + 750 (100 - P) = 750 P m - c at the first tiers."""
    book = Book(PAIRS, 5.0, wallet_split=0.15)
    story = tell(book, [*CALM, 135.0, 135.0, 135.0], guarded=False)
    first = story.liquidation
    assert first is not None
    price = float(first["mark_price"])
    # Between the price without any maintenance margin, and one with 1 % of it.
    assert 15_000 / 750 + 100 > price > (15_000 + 75_000) / (750 * 1.01)
    assert story.guard is None
    assert story.components["liquidation"] < 0.0


def test_with_guards_margin_is_moved_in_before_the_venue_acts() -> None:
    """The distance falls below 8 % at 112; 10,000 of spot cash wait."""
    book = Book(PAIRS, 5.0, wallet_split=0.15)
    path = [*CALM, 112.0, 112.0, 125.0, 125.0, 125.0]
    guarded, bare = (
        tell(book, path, guarded=on, risk={"min_sigmas": 0.0, "restore_sigmas": 0.0}) for on in (True, False)
    )
    assert bare.liquidation is not None
    assert guarded.liquidation is None
    assert guarded.guard is not None
    assert guarded.guard.reason == "liquidation_near"
    assert guarded.guard.time_ms == START + 5 * HOUR_MS
    assert guarded.guard.action in {"transfer", "reduce"}
    assert guarded.left == pytest.approx(1.0, abs=1e-9)
    assert guarded.components["naked"] == 0.0
    assert bare.components["liquidation"] < 0.0
    assert bare.left_hedged == pytest.approx(1.0 + bare.components["liquidation"] / 100_000.0, abs=1e-6)


def test_a_closed_book_is_not_opened_again() -> None:
    book = Book(PAIRS, 5.0, wallet_split=0.15)
    disruption = Disruption(recalled_ms=OPEN_MS + 2 * HOUR_MS)
    story = tell(replace(book, direction=-1), [100.0] * 14, guarded=False, disruption=disruption)
    closed = events(story.result, "trip_closed")
    assert [entry["reason"] for entry in closed] == [Reason.BORROW_RECALLED.name.lower()]
    assert len(events(story.result, "trip_opened")) == 1
    assert story.closed_ms is not None
    assert story.components["borrow"] < 0.0


def test_in_the_dark_nothing_is_sent() -> None:
    book = Book(PAIRS, 5.0, wallet_split=0.15)
    dark = Disruption(dark=((OPEN_MS + HOUR_MS, OPEN_MS + 20 * HOUR_MS),))
    path = [*CALM, 112.0, 112.0, 112.0, 112.0]
    lit, story = (tell(book, path, guarded=True, disruption=given) for given in (Disruption(), dark))
    assert lit.top_ups > 0.0 or lit.result.orders.size > 2
    assert story.guard is not None
    assert story.guard.action == ""
    assert story.result.orders.size == 2
    assert story.top_ups == 0.0


def test_the_payload_is_plain() -> None:
    story = tell(Book(PAIRS, 5.0), [*CALM, 100.0, 100.0], guarded=True)
    payload = story_payload(story)
    assert payload["equity_left"] == pytest.approx(1.0, abs=1e-3)
    assert payload["guards"] is True
    assert set(payload["components"]) >= {"basis", "liquidation", "adl", "naked"}


def test_a_split_that_the_spot_leg_cannot_stand_is_named_with_its_limit() -> None:
    with pytest.raises(UsageError, match=r"needs 150\.0% of it in spot, and 70\.0% is there") as caught:
        check_book(Book(PAIRS, 5.0, wallet_split=0.3))
    assert "at most 0.16" in caught.value.remedy


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"leverage": 0.0}, "leverage = 0"),
        ({"leverage": float("nan")}, "leverage = nan"),
        ({"wallet_split": 1.0}, "wallet split = 1"),
        ({"capital": -5.0}, "capital = -5"),
    ],
)
def test_wrong_books_are_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_book(replace(Book(PAIRS, 3.0), **change))


def test_legs_in_one_wallet_are_refused() -> None:
    with pytest.raises(RefusedError, match="share the wallet bybit:unified"):
        book_settings(Settings(), Book((PairSettings(*BTC_BYBIT),), 3.0), guarded=True)


def test_a_book_that_nobody_can_open_is_refused() -> None:
    history = one_pair(BTC, np.full(9, 100.0), volume=0.0)
    with pytest.raises(RefusedError, match="could not be opened|was not filled"):
        run_book(base(), history, Book(PAIRS, 3.0), OPEN_MS, guarded=True)


def test_a_leverage_that_follows_from_the_books_is_explained() -> None:
    """Binance's BTCUSDT ends at 125 or 150 by the table's date; 200 times the book asks for 220."""
    history = one_pair(BTC, np.full(9, 100.0))
    with pytest.raises(RefusedError, match=r"= 220 is above 1\d\d, .* 1\.1 times the book's leverage of 200"):
        run_book(base(), history, Book(PAIRS, 200.0), OPEN_MS, guarded=True)


def test_the_variants_differ_in_guards_only() -> None:
    book = Book(PAIRS, 3.0, naked_policy=NakedPolicy.WAIT)
    on, off = (book_settings(Settings(), book, guarded=given) for given in (True, False))
    assert replace(off, risk=on.risk) == on
    assert off.risk.naked_policy is NakedPolicy.WAIT
    assert off.risk.max_delta_fraction == on.risk.max_delta_fraction
    assert (off.risk.min_distance, off.risk.min_sigmas, off.risk.max_adl_light) == (0.0, 0.0, 5)


def test_borrowed_coins_that_cost_more_than_the_wallet_end_the_run() -> None:
    """Short 750 coins with 160,000 in the spot wallet: at 250 they cost 187,500."""
    book = Book(PAIRS, 5.0, -1, wallet_split=0.15)
    story = tell(book, [*CALM, 100.0, 250.0, 250.0, 250.0], guarded=False)
    assert story.used_up_ms == START + 6 * HOUR_MS
    assert story_payload(story)["status"].startswith("stopped")
    assert "wallet used up" in story_table([(story, story)])
