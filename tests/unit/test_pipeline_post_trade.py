"""Headline figures of a run, from series made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crypto.ledger import Component
from crypto.pipeline.orders import ORDER
from crypto.pipeline.post_trade import OUTSIDE_PAIRS, TRIP, daily_returns, drawdown, summarise
from crypto.units import DAY_MS, HOUR_MS
from tests.markets import START


def test_daily_returns_are_taken_between_last_instants_of_days() -> None:
    times = START + np.array([0, 12, 23, 24, 36, 47, 48, 60]) * HOUR_MS
    equity = np.array([100.0, 90.0, 110.0, 50.0, 60.0, 121.0, 7.0, 60.5])
    assert daily_returns(times, equity) == pytest.approx([0.1, 0.1, -0.5])


def test_a_single_instant_has_no_daily_return() -> None:
    assert daily_returns(np.array([START]), np.array([1.0])).size == 0


def test_the_deepest_fall_is_from_the_peak_before_it() -> None:
    deepest, peak, trough = drawdown(np.array([100.0, 120.0, 90.0, 130.0, 104.0, 140.0]))
    assert deepest == pytest.approx(-0.25)
    assert (peak, trough) == (1, 2)


def test_no_fall_is_no_drawdown() -> None:
    assert drawdown(np.array([1.0, 2.0, 3.0]))[0] == 0.0


def figures(equity, times=None, orders=None, trips=None):
    count = len(equity)
    times = START + np.arange(count, dtype=np.int64) * DAY_MS if times is None else times
    attribution = np.zeros((count, 2, len(Component)))
    attribution[1:, 0, Component.FUNDING] = np.diff(equity)
    perp_value = np.zeros((count, 1))
    perp_value[count // 2 :] = -50.0
    return summarise(
        times, np.asarray(equity), attribution, perp_value, ["BTC"],
        np.zeros(0, ORDER) if orders is None else orders, 300.0, np.zeros(0, TRIP) if trips is None else trips,
    )  # fmt: skip


def test_a_year_of_one_percent_a_day_is_annualised_by_compounding() -> None:
    equity = 100.0 * 1.001 ** np.arange(366)
    found = figures(equity)
    assert found["years"] == pytest.approx(1.0)
    assert found["annual_return"] == pytest.approx(1.001**365 - 1.0)
    assert found["net_return"] == pytest.approx(1.001**365 - 1.0)
    assert found["annual_volatility"] == pytest.approx(0.0, abs=1e-9)
    assert found["max_drawdown"] == 0.0


def test_volatility_and_sharpe_of_returns_worked_out_by_hand() -> None:
    # returns +10%, -10%, +10%: mean 1/30, sample deviation 0.11547
    found = figures([100.0, 110.0, 99.0, 108.9])
    deviation = math.sqrt(((0.1 - 1 / 30) ** 2 * 2 + (-0.1 - 1 / 30) ** 2) / 2)
    assert found["annual_volatility"] == pytest.approx(deviation * math.sqrt(365))
    assert found["sharpe"] == pytest.approx((1 / 30) / deviation * math.sqrt(365))
    assert found["annual_return"] is None  # three days say nothing about a year
    assert found["max_drawdown"] == pytest.approx(-0.1)


def test_pairs_components_and_turnover_add_up() -> None:
    found = figures([100.0, 110.0, 130.0, 120.0])
    assert found["components"]["funding"] == pytest.approx(20.0)
    assert found["pairs"]["BTC"]["pnl"] == pytest.approx(20.0)
    assert found["pairs"][OUTSIDE_PAIRS]["pnl"] == 0.0
    assert found["turnover"] == pytest.approx(300.0 / 115.0)
    assert found["time_in_market"] == 0.5
    assert found["bars"] == 3


def test_orders_and_trips_are_counted_by_their_state() -> None:
    orders = np.zeros(4, ORDER)
    orders["status"] = [1, 2, 3, 1]
    orders["filled_lots"] = [5, 2, 0, -5]
    trips = np.zeros(3, TRIP)
    trips["is_open"] = [0, 0, 1]
    found = figures([100.0, 101.0], orders=orders, trips=trips)
    assert [found[name] for name in ("orders", "fills", "rejected", "cancelled")] == [4, 3, 1, 1]
    assert (found["round_trips"], found["open_trips"]) == (2, 1)
