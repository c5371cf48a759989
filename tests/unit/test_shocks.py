"""Shocks on a market made by hand: what each one changes, to the bar, and what it leaves alone."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from crypto.errors import SettingsError
from crypto.market import MarketHistory, RateSeries
from crypto.shocks import gap_factor, shock
from crypto.stress import BookPart, BorrowRecall, FundingFlip, MarkSpike, Outage, PriceGap, StressScenario
from crypto.units import HOUR_MS
from crypto.venues.registry import instrument
from tests.markets import BTC, ETH, START, bars, every, market, perp, settlements, spot

HOURS = 24
OPEN_MS = START + 4 * HOUR_MS


def hand_market(pairs: tuple[tuple[str, str], ...] = (BTC,)) -> MarketHistory:
    path = np.linspace(100.0, 124.0, HOURS + 1)
    histories = []
    for spot_key, perp_key in pairs:
        due = settlements(every(8, HOURS), 1e-4, 100.0)
        histories += [spot(spot_key, bars(path)), perp(perp_key, bars(path), due, bars(path, volume=0.0))]
    return market(*histories)


def shocked(given: MarketHistory, **shocks: Any) -> MarketHistory:
    made = [instrument(item.key, {}) for item in given.instruments]
    return shock(given, StressScenario(name="test", **shocks), made, OPEN_MS)


def test_no_shock_changes_no_number() -> None:
    given = hand_market()
    found = shocked(given)
    for before, after in zip(given.instruments, found.instruments, strict=True):
        for name in ("bars", "mark", "settlements"):
            old, new = getattr(before, name), getattr(after, name)
            assert (old is None) == (new is None)
            for column in fields(old) if old is not None else ():
                np.testing.assert_array_equal(getattr(old, column.name), getattr(new, column.name))


def test_a_gap_lifts_everything_from_its_instant_on() -> None:
    """At hour 6 after the opening, which is the open of bar 10."""
    given = hand_market()
    found = shocked(given, price_gap=(PriceGap(at_hours=6, spot=0.1, perp=0.2),))
    for place, factor in ((0, 1.1), (1, 1.2)):
        before, after = given.instruments[place].bars, found.instruments[place].bars
        for name in ("open", "high", "low", "close"):
            expected = getattr(before, name) * np.where(np.arange(HOURS) >= 10, factor, 1.0)
            np.testing.assert_allclose(getattr(after, name), expected, rtol=1e-15)
        np.testing.assert_array_equal(after.volume, before.volume)
    mark = found.instruments[1].mark
    assert mark is not None
    assert mark.close[10] == pytest.approx(1.2 * 111.0, rel=1e-15)
    due = found.instruments[1].settlements
    assert due is not None
    assert due.mark_price == pytest.approx([100.0, 100.0, 120.0, 120.0], rel=1e-15)


def test_the_given_history_stays_as_it_is() -> None:
    given = hand_market()
    close = given.instruments[0].bars.close.copy()
    shocked(given, price_gap=(PriceGap(at_hours=1, spot=0.5),), outage=(Outage(at_hours=2, hours=3),))
    np.testing.assert_array_equal(given.instruments[0].bars.close, close)


@pytest.mark.parametrize(
    ("hour", "expected"),
    [(-1, 1.0), (0, 1.0), (1, 1.05), (2, 1.10), (4, 1.20), (6, 1.15), (8, 1.10), (12, 1.0), (20, 1.0)],
)
def test_a_gap_ramps_up_and_comes_back_on_straight_lines(hour: float, expected: float) -> None:
    """Four hours up to 1.2 and eight back."""
    time_ms = np.array([OPEN_MS + round(hour * HOUR_MS)])
    assert gap_factor(time_ms, OPEN_MS, 0.2, 4.0, 8.0)[0] == pytest.approx(expected, rel=1e-12)


def test_gaps_multiply_and_stay_within_their_assets() -> None:
    given = hand_market((BTC, ETH))
    gaps = (PriceGap(at_hours=2, spot=0.1, assets=("BTC",)), PriceGap(at_hours=2, spot=0.5))
    found = shocked(given, price_gap=gaps)
    ratio = [found.instruments[place].bars.close[-1] / given.instruments[place].bars.close[-1] for place in (0, 2)]
    assert ratio == pytest.approx([1.65, 1.5], rel=1e-14)


def test_ordered_prices_stay_ordered() -> None:
    found = shocked(hand_market(), price_gap=(PriceGap(at_hours=3, spot=-0.4, perp=0.7, over_hours=2.5),))
    for item in found.instruments:
        rows = item.bars
        assert np.all(rows.high >= np.maximum(rows.open, rows.close) - 1e-12)
        assert np.all(rows.low <= np.minimum(rows.open, rows.close) + 1e-12)


def test_the_next_settlements_have_the_rate() -> None:
    """Settlements at hours 0, 8, 16, 24 of the market; the flip begins at hour 8."""
    found = shocked(hand_market(), funding_flip=(FundingFlip(at_hours=4, rate=-0.003, settlements=2),))
    due = found.instruments[1].settlements
    assert due is not None
    assert due.funding_rate.tolist() == [1e-4, -0.003, -0.003, 1e-4]


def test_an_outage_takes_away_every_bar_that_it_touches() -> None:
    """Hours 5.5 to 7 after the opening: bars 9 and 10."""
    found = shocked(hand_market(), outage=(Outage(at_hours=5.5, hours=1.5),))
    for item in found.instruments:
        assert np.flatnonzero(np.isnan(item.bars.close)).tolist() == [9, 10]
    mark = found.instruments[1].mark
    assert mark is not None
    assert not np.isnan(mark.close).any()


def test_an_outage_of_one_side_and_of_the_mark() -> None:
    found = shocked(hand_market(), outage=(Outage(at_hours=0, hours=1, spot=False, mark_goes_on=False),))
    assert not np.isnan(found.instruments[0].bars.close).any()
    mark = found.instruments[1].mark
    assert mark is not None
    assert np.flatnonzero(np.isnan(mark.close)).tolist() == [4]


@pytest.mark.parametrize("move", [0.3, -0.3])
def test_a_spike_moves_one_extreme_of_one_mark_bar(move: float) -> None:
    given = hand_market()
    found = shocked(given, mark_spike=(MarkSpike(at_hours=3, move=move),))
    before, after = given.instruments[1].mark, found.instruments[1].mark
    assert before is not None
    assert after is not None
    changed = [
        name
        for name in ("open", "high", "low", "close")
        if not np.array_equal(getattr(before, name), getattr(after, name))
    ]
    name = "high" if move > 0 else "low"
    assert changed == [name]
    assert np.flatnonzero(getattr(before, name) != getattr(after, name)).tolist() == [7]
    assert getattr(after, name)[7] == pytest.approx(107.0 * (1 + move), rel=1e-15)
    np.testing.assert_array_equal(found.instruments[1].bars.high, given.instruments[1].bars.high)


def test_a_recall_changes_the_rate_from_its_hour_on() -> None:
    held = RateSeries(START + HOUR_MS * np.arange(HOURS, dtype=np.int64), np.full(HOURS, 1e-6))
    given = hand_market()
    given = market(*given.instruments, borrow={("binance", "BTC"): held})
    found = shocked(given, borrow_recall=(BorrowRecall(at_hours=6, hourly_rate=1e-3),))
    series = found.borrow["binance", "BTC"]
    at = {int(time): rate for time, rate in zip(series.time_ms, series.hourly_rate, strict=True)}
    assert at[START + 9 * HOUR_MS] == 1e-6
    assert at[START + 10 * HOUR_MS] == 1e-3
    assert at[START + 23 * HOUR_MS] == 1e-3


def test_without_a_held_series_the_book_s_rate_holds_before() -> None:
    recall = BorrowRecall(at_hours=6, hourly_rate=1e-3)
    found = shocked(hand_market(), borrow_recall=(recall,), book=BookPart(borrow_annual=0.0876))
    assert found.borrow["binance", "BTC"].hourly_rate[0] == pytest.approx(1e-5, rel=1e-12)


def test_the_hash_tells_scenarios_apart_and_the_note_stands() -> None:
    given = hand_market()
    one = shocked(given, price_gap=(PriceGap(at_hours=1, spot=0.1),))
    other = shocked(given, price_gap=(PriceGap(at_hours=1, spot=0.2),))
    assert len({given.data_hash, one.data_hash, other.data_hash}) == 3
    assert any("shocks of the scenario 'test'" in note for note in one.notes)


@pytest.mark.parametrize(
    ("shocks", "words"),
    [
        ({"price_gap": (PriceGap(at_hours=20, spot=0.1),)}, r"price_gap\.0\.at_hours = 20 lies after the end"),
        ({"outage": (Outage(), Outage(at_hours=99))}, r"outage\.1\.at_hours = 99"),
        ({"mark_spike": (MarkSpike(assets=("DOGE",)),)}, r"mark_spike\.0\.assets: DOGE is no base asset"),
    ],
)
def test_shocks_that_touch_nothing_are_named(shocks: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        shocked(hand_market(), **shocks)
