"""Reverse carry: what is charged on borrowed coins, when, and how the debt is paid back."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from crypto.errors import DataError
from crypto.ledger import Flow
from crypto.market import RateSeries
from crypto.pipeline.orders import OrderReason, OrderStatus
from crypto.settings import MissingPolicy
from crypto.units import HOUR_MS, MINUTE_MS
from tests.markets import (
    BTC,
    BTC_BYBIT,
    NO_FEES,
    START,
    bars,
    enter,
    leave,
    make_settings,
    market,
    one_pair,
    perp,
    rows,
    run_script,
    settlements,
    spot,
    without,
)
from tests.replay import Replay, assert_sound

RATE = 1e-5
REVERSE = enter(-1_000_000, 100_000)  # sells 10 borrowed BTC, long 10 BTC of the perp


def borrowing(pair=BTC, rate: float | None = RATE, **policy):
    constants = {} if rate is None else {pair[0].split(":")[0]: {"BTC": rate}}
    borrow = {"enabled": True, "hourly_rate": constants, **policy}
    return make_settings([pair], fees={"override": NO_FEES}, borrow=borrow)


def hours_of(found) -> list[float]:
    return [float(stamp - START) / HOUR_MS for stamp in found["time_ms"]]


def test_binance_charges_at_borrow_and_at_each_full_hour_simple_interest() -> None:
    history = one_pair(BTC, 100.0, 7)
    result = run_script(borrowing(), history, {2: REVERSE})
    charged = rows(result, Flow.INTEREST)
    assert hours_of(charged) == [2 + 250 / HOUR_MS, 3, 4, 5, 6, 7]
    np.testing.assert_allclose(charged["amount"], -10 * RATE, rtol=1e-12)
    np.testing.assert_allclose(charged["value"], -10 * RATE * 100.0, rtol=1e-12)
    assert_sound(result, history, borrowing())


def test_bybit_charges_at_five_past_and_interest_bears_interest() -> None:
    settings = borrowing(BTC_BYBIT)
    history = one_pair(BTC_BYBIT, 100.0, 7)
    result = run_script(settings, history, {2: enter(-10_000_000, 10_000)})
    charged = rows(result, Flow.INTEREST)
    assert hours_of(charged) == pytest.approx([hour + 5 / 60 for hour in (2, 3, 4, 5, 6)])
    expected, owed = [], Fraction(10)
    for _ in range(5):
        expected.append(-owed * Fraction(RATE))
        owed *= 1 + Fraction(RATE)
    np.testing.assert_allclose(charged["amount"], [float(amount) for amount in expected], rtol=1e-12)
    assert_sound(result, history, settings)


def test_hours_are_charged_at_their_marks_on_bars_of_any_length() -> None:
    for bar_ms, bars_count in ((5 * MINUTE_MS, 84), (4 * HOUR_MS, 3)):
        first = 2 if bar_ms < HOUR_MS else 4
        result = run_script(borrowing(), one_pair(BTC, 100.0, bars_count, bar_ms=bar_ms), {first: REVERSE})
        end = bars_count * bar_ms // HOUR_MS
        assert hours_of(rows(result, Flow.INTEREST)) == [first + 250 / HOUR_MS, *range(first + 1, end + 1)]


def test_a_debt_is_paid_back_in_full_with_its_interest() -> None:
    # charged at 2:00:00.250, 3, 4, 5 and 6 o'clock: 10 BTC and 5 x 1e-4 are bought back, 50 lots more than were sold
    history = one_pair(BTC, 100.0, 12)
    settings = borrowing()
    result = run_script(settings, history, {2: REVERSE, 6: leave(1_000_050, -100_000)})
    assert float(rows(result, Flow.BORROW)["amount"].sum()) == pytest.approx(10.0, rel=1e-12)
    assert float(rows(result, Flow.REPAY)["amount"].sum()) == pytest.approx(-10.0005, rel=1e-12)
    assert rows(result, Flow.INTEREST).size == 5
    assert result.trips[0]["is_open"] == 0
    debt = Replay(result, history, settings).debts(int(result.time_ms[-1]))[0]
    assert abs(debt) < Fraction(1, 10**9)
    assert result.equity[-1] == pytest.approx(110_000.0 - 0.0005 * 100.0, abs=1e-9)
    assert_sound(result, history, settings)


def test_bought_coins_pay_interest_before_principal() -> None:
    # 0.1 BTC bought at 6:00 against 5e-4 owed: 0.0995 goes to principal, so later hours charge on 9.9005.
    history = one_pair(BTC, 100.0, 9)
    result = run_script(borrowing(), history, {2: REVERSE, 6: leave(10_000, -1_000)})
    charged = rows(result, Flow.INTEREST)
    np.testing.assert_allclose(charged["amount"][5:], -9.9005 * RATE, rtol=1e-12)
    assert_sound(result, history, borrowing())


def test_a_series_of_rates_is_charged_as_each_hour_finds_it() -> None:
    times = START + np.arange(0, 12, dtype=np.int64) * HOUR_MS
    series = RateSeries(times, np.arange(12) * 1e-6)
    history = one_pair(BTC, 100.0, 7, borrow={("binance", "BTC"): series})
    result = run_script(borrowing(rate=None), history, {2: REVERSE})
    np.testing.assert_allclose(rows(result, Flow.INTEREST)["rate"], np.array([2, 3, 4, 5, 6, 7]) * 1e-6, rtol=1e-12)


def test_the_rate_in_force_is_the_hours_own_when_the_run_starts_off_the_hour() -> None:
    times = START + np.arange(0, 12, dtype=np.int64) * HOUR_MS
    series = RateSeries(times, np.arange(12) * 1e-6)
    half = HOUR_MS // 2
    history = one_pair(BTC, 100.0, 12, bar_ms=half, start_ms=START + half, borrow={("binance", "BTC"): series})
    result = run_script(borrowing(rate=None), history, {2.5: REVERSE})
    charged = rows(result, Flow.INTEREST)
    assert hours_of(charged)[:4] == [2.5 + 250 / HOUR_MS, 3, 4, 5]
    np.testing.assert_allclose(charged["rate"][:4], np.array([2, 3, 4, 5]) * 1e-6, rtol=1e-12)


def test_a_series_in_the_lake_goes_before_the_constant() -> None:
    times = START + np.arange(0, 12, dtype=np.int64) * HOUR_MS
    history = one_pair(BTC, 100.0, 7, borrow={("binance", "BTC"): RateSeries(times, np.full(12, 3e-6))})
    result = run_script(borrowing(rate=9e-6), history, {2: REVERSE})
    np.testing.assert_array_equal(rows(result, Flow.INTEREST)["rate"], 3e-6)


def ending(hours: int):
    """Rates for the first ``hours`` hours only, then another piece much later."""
    times = START + np.concatenate([np.arange(0, hours), [400, 401]]).astype(np.int64) * HOUR_MS
    return {("binance", "BTC"): RateSeries(times, np.full(times.size, 2e-6))}


def test_a_missing_rate_fails_by_name_while_coins_are_borrowed() -> None:
    history = one_pair(BTC, 100.0, 9, borrow=ending(5))
    with pytest.raises(DataError) as caught:
        run_script(borrowing(rate=None), history, {2: REVERSE})
    assert "no borrow rate for 2024-01-01T05:00:00Z" in caught.value.message
    assert caught.value.message.startswith("binance:spot:BTCUSDT")
    assert "borrow.missing_rate" in caught.value.remedy
    assert caught.value.exit_code == 4


def test_a_missing_rate_fails_nobody_who_owes_nothing() -> None:
    result = run_script(borrowing(rate=None), one_pair(BTC, 100.0, 9, borrow=ending(5)), {})
    assert result.status == "completed"


def test_the_policy_skip_charges_nothing_for_the_hour_and_counts() -> None:
    settings = borrowing(rate=None, missing_rate=MissingPolicy.SKIP)
    result = run_script(settings, one_pair(BTC, 100.0, 9, borrow=ending(5)), {2: REVERSE})
    assert hours_of(rows(result, Flow.INTEREST)) == [2 + 250 / HOUR_MS, 3, 4]
    assert result.policies["missing borrow rate"] == {"policy": "skip", "last_known": 0, "skipped": 5}


def test_the_policy_last_known_charges_the_last_rate_within_its_age_and_counts() -> None:
    settings = borrowing(rate=None, missing_rate=MissingPolicy.LAST_KNOWN, max_age_hours=24.0)
    result = run_script(settings, one_pair(BTC, 100.0, 9, borrow=ending(5)), {2: REVERSE})
    np.testing.assert_array_equal(rows(result, Flow.INTEREST)["rate"], 2e-6)
    assert result.policies["missing borrow rate"] == {"policy": "last_known", "last_known": 5, "skipped": 0}
    limited = borrowing(rate=None, missing_rate=MissingPolicy.LAST_KNOWN, max_age_hours=2.0)
    with pytest.raises(DataError, match="07:00:00Z"):
        run_script(limited, one_pair(BTC, 100.0, 9, borrow=ending(5)), {2: REVERSE})


def test_rates_that_come_later_do_not_decide_whether_one_is_missing_now() -> None:
    settings = borrowing(rate=None, missing_rate=MissingPolicy.SKIP)
    past = START + np.array([0, 1, 2, 3, 4, 5, 10], dtype=np.int64) * HOUR_MS
    charged = []
    for later in (np.arange(30, 60), np.arange(31, 2_000, 24)):
        times = np.concatenate([past, START + later.astype(np.int64) * HOUR_MS])
        borrow = {("binance", "BTC"): RateSeries(times, np.full(times.size, 1e-6))}
        result = run_script(settings, one_pair(BTC, 100.0, 25, borrow=borrow), {2: REVERSE})
        charged.append(hours_of(rows(result, Flow.INTEREST)))
    assert charged[0] == charged[1]


@pytest.mark.parametrize("enabled", [False, True])
def test_spot_is_not_sold_short_without_permission_or_rate(enabled) -> None:
    settings = borrowing(rate=None)
    settings = replace(settings, borrow=replace(settings.borrow, enabled=enabled))
    result = run_script(settings, one_pair(BTC, 100.0, 9), {2: REVERSE})
    assert [int(order["status"]) for order in result.orders] == [OrderStatus.REJECTED]
    assert int(result.orders[0]["reason"]) == OrderReason.NO_BORROW
    assert rows(result, Flow.BORROW).size == 0
    np.testing.assert_array_equal(result.equity, 110_000.0)


def test_coins_that_are_held_are_sold_before_any_is_borrowed() -> None:
    # 4 BTC are bought first, then 10 sold: 6 are borrowed.
    history = one_pair(BTC, 100.0, 9)
    result = run_script(borrowing(), history, {1: enter(400_000, 0), 3: REVERSE})
    np.testing.assert_allclose(rows(result, Flow.BORROW)["amount"], [6.0], rtol=1e-12)
    np.testing.assert_allclose(rows(result, Flow.INTEREST)["amount"], -6 * RATE, rtol=1e-12)
    assert_sound(result, history, borrowing())


def test_an_unwound_short_sale_leaves_no_debt_that_goes_on_costing() -> None:
    # The perp prints nothing after the coins were sold; buying back loses 0.1% of the coins as a fee.

    perp_bars = without(bars(100.0, 40), slice(3, 30))
    history = market(spot(BTC[0], bars(100.0, 40)), perp(BTC[1], perp_bars, settlements([])))
    settings = make_settings([BTC], borrow={"enabled": True, "hourly_rate": {"binance": {"BTC": RATE}}})
    result = run_script(settings, history, {3: REVERSE})
    assert result.trips[0]["is_open"] == 0
    debt = Replay(result, history, settings).debts(int(result.time_ms[-1]))[0]
    lot = Fraction(1, 100_000)
    assert float(debt) < float(lot), f"{float(debt)} BTC stay borrowed"
    assert_sound(result, history, settings)
