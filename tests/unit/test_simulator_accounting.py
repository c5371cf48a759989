"""Ledger, attribution, wallets and transfers: everything that moves money is in the ledger, once, in time order."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest

from crypto.ledger import Component, Flow
from crypto.simulator.loop import run_compiled
from crypto.simulator.setup import build
from crypto.units import HOUR_MS
from research.backtest import run_backtest
from tests.markets import (
    BTC,
    BTC_ACROSS,
    BTC_BYBIT,
    BTC_INVERSE,
    ETH,
    INVERSE_WALLETS,
    NO_FEES,
    PEPE,
    START,
    bars,
    enter,
    events,
    every,
    leave,
    make_settings,
    market,
    move,
    one_pair,
    perp,
    rows,
    run_script,
    settlements,
    spot,
    without,
)
from tests.replay import Replay, assert_attribution_sums, assert_sound, wallets_of_legs

SWING = np.concatenate([np.full(12, 1.0), 1.0 + 0.1 * np.sin(np.arange(80) / 5.0)])


def earning(hours: float, rate: float = 1e-3, mark: float = 100.0):
    return settlements(every(8, hours), rate, mark)


@pytest.mark.parametrize(
    ("pair", "price", "units", "wallets"),
    [
        (BTC, 100.0, 1.0, None),
        (PEPE, 2e-5, 1000.0, None),
        (BTC_INVERSE, 20_000.0, 1.0, INVERSE_WALLETS),
        (BTC_BYBIT, 100.0, 1.0, None),
    ],
)
def test_attribution_and_replay_agree_with_equity_for_every_kind_of_pair(pair, price, units, wallets) -> None:
    drift = np.linspace(1.0, 1.01, SWING.size)
    history = one_pair(
        pair, price * SWING, perp_prices=price * units * SWING * drift, due=earning(90, mark=price * units)
    )
    settings = make_settings([pair], wallets, signal={"warmup_hours": 1.0})
    result = run_backtest(settings, history)
    assert result.summary["fills"] >= 2
    assert_sound(result, history, settings)
    replay = Replay(result, history, settings)
    for instant in (1, 20, 45, 70):
        again = replay.equity(instant, wallets_of_legs(result, settings))
        assert float(sum(again.values())) == pytest.approx(result.equity[instant], rel=1e-9)


def test_equal_moves_of_both_legs_cancel() -> None:
    path = 100.0 * SWING
    settings = make_settings([BTC], fees={"override": NO_FEES})
    result = run_script(settings, one_pair(BTC, path), {3: enter(1_000_000, -100_000)})
    np.testing.assert_allclose(result.equity, 110_000.0, rtol=0, atol=1e-6)
    moves = result.attribution[:, 0]
    np.testing.assert_allclose(moves[:, Component.BASIS], 0.0, atol=1e-9)
    np.testing.assert_allclose(moves[:, Component.DELTA], 0.0, atol=1e-9)


def test_a_wider_basis_costs_a_short_perp_what_it_widened() -> None:
    # 10 BTC short; the perp goes from 100 to 101 while spot stays: 10 x 1 lost, all of it basis.
    perp_path = np.concatenate([np.full(10, 100.0), np.full(11, 101.0)])
    settings = make_settings([BTC], fees={"override": NO_FEES})
    history = one_pair(BTC, 100.0, 20, perp_prices=perp_path)
    result = run_script(settings, history, {3: enter(1_000_000, -100_000)})
    parts = result.attribution.sum(axis=0)[0]
    assert parts[Component.BASIS] == pytest.approx(-10.0)
    assert np.delete(parts, Component.BASIS) == pytest.approx(np.zeros(parts.size - 1), abs=1e-9)


def test_an_unhedged_spot_leg_is_all_delta() -> None:
    # 10 BTC long from 100 to 103
    path = np.concatenate([np.full(10, 100.0), np.full(11, 103.0)])
    settings = make_settings([BTC], fees={"override": NO_FEES})
    result = run_script(settings, one_pair(BTC, path), {3: enter(1_000_000, 0)})
    assert result.attribution.sum(axis=0)[0, Component.DELTA] == pytest.approx(30.0)
    assert result.equity[-1] == pytest.approx(110_030.0)


def test_slippage_is_the_distance_from_the_open_and_the_gap_before_it_is_not() -> None:
    # Decision at the close of 100, next open 101, half spread 10 bps: 10 BTC bought at 101 x 1.001.
    opens_at_101 = bars(np.concatenate([np.full(4, 100.0), np.full(7, 101.0)]))
    jump = without(opens_at_101, [])
    jump.open[3], jump.close[3], jump.low[3], jump.high[3] = 101.0, 101.0, 101.0, 101.0
    history = market(spot(BTC[0], jump), perp(BTC[1], jump, settlements([])))
    settings = make_settings([BTC], fees={"override": NO_FEES}, slippage={"spot_half_spread_bps": 10.0})
    result = run_script(settings, history, {3: enter(1_000_000, 0)})
    assert result.orders[0]["average_price"] == pytest.approx(101.0 * 1.001, rel=1e-12)
    assert result.orders[0]["slippage_value"] == pytest.approx(-10 * 0.101, rel=1e-9)
    assert result.attribution.sum(axis=0)[0, Component.SLIPPAGE] == pytest.approx(-1.01)
    assert result.equity[-1] == pytest.approx(110_000.0 - 1.01)


def test_two_pairs_never_spend_the_same_cash() -> None:
    due = earning(58, 2e-3)
    history = market(
        spot(BTC[0], bars(100.0, 60)), perp(BTC[1], bars(100.0, 60), due),
        spot(ETH[0], bars(100.0, 60)), perp(ETH[1], bars(100.0, 60), due),
    )  # fmt: skip
    settings = make_settings([BTC, ETH], signal={"warmup_hours": 1.0}, portfolio={"deploy": 1.0})
    result = run_backtest(settings, history)
    assert set(result.orders["pair"]) == {0, 1}
    held: dict[tuple[int, int], Fraction] = defaultdict(Fraction)
    for row in result.ledger:
        held[int(row["wallet"]), int(row["asset"])] += Fraction(float(row["amount"]))
        assert held[int(row["wallet"]), int(row["asset"])] >= -Fraction(1, 10**9), row
    assert_sound(result, history, settings)


def test_money_held_back_for_orders_is_all_given_back() -> None:
    due = settlements(every(8, 158), [2e-3] * 8 + [-2e-3] * 12)
    history = one_pair(BTC, 100.0, 160, due=due)
    settings = make_settings([BTC], signal={"warmup_hours": 1.0, "forecast_half_life_hours": 1.0})
    world = run_compiled(build(settings, history).world)
    assert world.run[0].order_rows >= 4
    np.testing.assert_allclose(world.holdings.reserved, 0.0, atol=1e-9)
    np.testing.assert_allclose(world.pairs["committed"], 0.0, atol=1e-9)


# transfers


def test_a_transfer_is_in_transit_for_its_delay_and_changes_no_equity() -> None:
    settings = make_settings([BTC], transfers={"delay_ms": 2 * HOUR_MS + 1})
    history = one_pair(BTC, 100.0, 12)
    result = run_script(settings, history, {3: move(500.0)})
    out, into = rows(result, Flow.TRANSFER_OUT), rows(result, Flow.TRANSFER_IN)
    sent, arrived = START + 3 * HOUR_MS, START + 5 * HOUR_MS + 1
    names = result.wallet_names
    assert [(row["time_ms"], names[row["wallet"]], row["amount"]) for row in out] == [
        (sent, "binance:spot", -500.0),
        (arrived, "in transit", -500.0),
    ]
    assert [(row["time_ms"], names[row["wallet"]], row["amount"]) for row in into] == [
        (sent, "in transit", 500.0),
        (arrived, "binance:linear", 500.0),
    ]
    np.testing.assert_array_equal(result.equity, 110_000.0)
    transit = result.wallet_equity[:, names.index("in transit")]
    assert transit[4] == transit[5] == 500.0
    assert transit[6] == transit[-1] == 0.0
    assert_sound(result, history, settings)


def test_a_transfer_across_venues_costs_its_fee_once() -> None:
    wallets = {"binance:spot": {"USDT": 70_000.0}, "bybit:unified": {"USDT": 40_000.0}}
    transfers = {"cross_venue": True, "cross_venue_fee": 1.5, "cross_venue_delay_ms": 1_800_000}
    settings = make_settings([BTC_ACROSS], wallets, transfers=transfers)
    history = one_pair(BTC_ACROSS, 100.0, 12)
    result = run_script(settings, history, {3: move(500.0)})
    assert [float(row["amount"]) for row in rows(result, Flow.TRANSFER_FEE)] == [-1.5]
    assert result.equity[-1] == pytest.approx(110_000.0 - 1.5)
    assert dict(zip(result.wallet_names, result.wallet_equity[-1], strict=True)) == {
        "binance:spot": 69_500.0,
        "bybit:unified": 40_498.5,
        "in transit": 0.0,
    }
    assert rows(result, Flow.TRANSFER_IN)[-1]["time_ms"] == START + 3 * HOUR_MS + 1_800_000
    assert_sound(result, history, settings)


def test_a_transfer_across_venues_needs_permission() -> None:
    wallets = {"binance:spot": {"USDT": 100_000.0}, "bybit:unified": {"USDT": 1_000.0}}
    settings = make_settings([BTC_ACROSS], wallets, signal={"warmup_hours": 1.0})
    result = run_backtest(settings, one_pair(BTC_ACROSS, 100.0, 40, due=earning(39, 2e-3)))
    assert result.orders.size >= 2  # as much as the smaller wallet allows
    assert not events(result, "transfer_sent")


def test_cash_is_moved_to_the_wallet_that_is_short_before_an_entry() -> None:
    wallets = {"binance:spot": {"USDT": 110_000.0}, "binance:linear": {"USDT": 0.0}}
    settings = make_settings([BTC], wallets, signal={"warmup_hours": 1.0})
    history = one_pair(BTC, 100.0, 40, due=earning(39, 2e-3))
    result = run_backtest(settings, history)
    first = events(result, "transfer_sent")[0]
    assert (first["from"], first["to"]) == ("binance:spot", "binance:linear")
    # 0.9 x 110,000 / 1.5 of notional needs half of it as collateral and the perp's taker fee
    assert first["amount"] == pytest.approx(66_000.0 * (0.5 + 0.0005), rel=1e-9)
    assert first["time_ms"] < events(result, "order")[0]["time_ms"]
    assert_sound(result, history, settings)


def test_every_approved_transfer_is_sent() -> None:
    # The price falls by two thirds: the short's profit is not in the balance yet, so not all that is wanted can move.
    path = np.concatenate([np.full(12, 100.0), np.full(40, 35.0)])
    settings = make_settings([BTC], signal={"warmup_hours": 1.0}, portfolio={"resize_band": 0.0})
    history = one_pair(BTC, path, due=earning(50))
    result = run_backtest(settings, history)
    approved = [entry for entry in events(result, "decision") if entry["action"] == "transfer" and entry["approved"]]
    sent = events(result, "transfer_sent")
    assert len(sent) >= 1
    assert [entry["time_ms"] for entry in approved] == [entry["time_ms"] for entry in sent]
    assert all(entry["amount"] > 1.0 for entry in sent)  # crumbs are not worth a transfer
    assert_sound(result, history, settings)


# wallets and prices that pairs share


def test_two_perps_on_one_spot_market_keep_their_books_apart_through_an_outage() -> None:
    linear_path = 20_000.0 * np.concatenate([SWING, np.full(20, 1.0)])
    inverse_path = linear_path * np.linspace(1.0, 1.05, linear_path.size)
    spot_bars = without(bars(linear_path), slice(40, 52))
    due = settlements(every(8, 110), 1e-3, 20_000.0)
    history = market(
        spot(BTC[0], spot_bars), perp(BTC[1], bars(linear_path), due), perp(BTC_INVERSE[1], bars(inverse_path), due)
    )
    wallets = {
        "binance:spot": {"USDT": 70_000.0},
        "binance:linear": {"USDT": 20_000.0},
        "binance:inverse": {"BTC": 1.0},
    }
    settings = make_settings([BTC, BTC_INVERSE], wallets, signal={"warmup_hours": 1.0})
    result = run_backtest(settings, history)
    assert set(result.orders["pair"]) == {0, 1}
    assert_attribution_sums(result)


def test_coins_of_one_wallet_have_one_price_for_pairs_with_spot_legs_on_two_venues() -> None:
    across = ("bybit:spot:BTCUSDT", "binance:inverse:BTCUSD")
    path = 20_000.0 * SWING
    due = settlements(every(8, 90), 1e-3, 20_000.0)
    history = market(
        spot(BTC[0], bars(path)), spot(across[0], bars(path * np.linspace(1.0, 1.02, path.size))),
        perp(BTC_INVERSE[1], bars(path), due),
    )  # fmt: skip
    wallets = {
        "binance:spot": {"USDT": 50_000.0},
        "bybit:unified": {"USDT": 50_000.0},
        "binance:inverse": {"BTC": 2.0},
    }
    settings = make_settings([BTC_INVERSE, across], wallets, signal={"warmup_hours": 1.0})
    result = run_backtest(settings, history)
    assert set(result.orders["pair"]) == {0, 1}
    assert_attribution_sums(result)


def test_a_coin_held_from_the_start_is_collateral_and_moves_with_its_price() -> None:
    path = np.concatenate([np.full(6, 20_000.0), np.full(6, 21_000.0)])
    settings = make_settings([BTC_INVERSE], INVERSE_WALLETS)
    result = run_script(settings, one_pair(BTC_INVERSE, path), {})
    assert result.attribution.sum(axis=0)[-1, Component.COLLATERAL] == pytest.approx(1_000.0)
    assert result.equity[-1] == pytest.approx(91_000.0)


def test_a_round_trip_owns_what_its_pair_earned_between_entry_and_exit() -> None:
    due = settlements([8.0, 16.0, 24.0], 1e-3)
    result = run_script(
        make_settings([BTC]),
        one_pair(BTC, 100.0, 40, due=due),
        {3: enter(1_001_000, -100_000), 20: leave(-999_999, 100_000)},
    )
    trip = result.trips[0]
    # 10 BTC short at 100: 1 at 08:00 and 1 at 16:00; fees 0.1% of 1001 and of 999.999, 0.05% of 1000 twice
    assert trip["funding"] == pytest.approx(2.0)
    assert trip["fees"] == pytest.approx(-(1.001 + 0.999999 + 0.5 + 0.5))
    assert trip["pnl"] == pytest.approx(2.0 - 3.000999)
    assert trip["quantity_base"] == pytest.approx(10.0)
    assert trip["open_ms"] == START + 3 * HOUR_MS
    assert trip["is_open"] == 0
    # sold 9.99999 of 9.99999... bought 10.01 less 0.1%: the coins left stay with the pair, not with the trip
    assert result.pair_pnl[-1, 0] == pytest.approx(2.0 - 3.000999)
