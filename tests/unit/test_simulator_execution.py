"""Two-leg execution on the exchange: hedge on fill, timeouts, unwinds, partial fills, outages, latency, throttle."""

from __future__ import annotations

import numpy as np
import pytest

from crypto.pipeline.orders import Intent, OrderKind, OrderReason, OrderStatus
from crypto.settings import FillPrice, FirstLeg, Style
from crypto.units import HOUR_MS
from research.backtest import run_backtest
from tests.markets import (
    BTC,
    BTC_INVERSE,
    ETH,
    INVERSE_WALLETS,
    NO_FEES,
    START,
    bars,
    enter,
    events,
    every,
    leave,
    make_settings,
    market,
    one_pair,
    perp,
    run_script,
    settlements,
    spot,
    without,
)
from tests.replay import assert_sound

TEN = enter(1_001_002, -100_000)  # after 0.1% of the coins went as fee, a lot more than 10 BTC is left
FILLED, CANCELLED, REJECTED = int(OrderStatus.FILLED), int(OrderStatus.CANCELLED), int(OrderStatus.REJECTED)


def two_legs(spot_bars, perp_bars, due=None):
    return market(spot(BTC[0], spot_bars), perp(BTC[1], perp_bars, settlements([]) if due is None else due))


def story(result) -> list[tuple[str, int, str]]:
    """(intent, leg, status) of every order."""
    return [
        (Intent(int(o["intent"])).name.lower(), int(o["leg"]), OrderStatus(int(o["status"])).name.lower())
        for o in result.orders
    ]


def fills(result) -> list[tuple[str, float, int, float]]:
    """(instrument kind, hours after start, lots, price) of every fill."""
    return [
        (e["instrument"].split(":")[1], (e["time_ms"] - START) / HOUR_MS, e["lots"], e["price"])
        for e in events(result, "fill")
    ]


def test_the_second_leg_follows_the_fill_of_the_first_by_the_latency() -> None:
    result = run_script(make_settings([BTC], execution={"latency_ms": 400}), one_pair(BTC, 100.0, 8), {2: TEN})
    first, second = result.orders[:2]
    assert first["placed_ms"] == START + 2 * HOUR_MS
    assert first["arrival_ms"] == first["done_ms"] == second["placed_ms"] == START + 2 * HOUR_MS + 400
    assert second["done_ms"] == START + 2 * HOUR_MS + 800
    assert story(result) == [("open", 0, "filled"), ("hedge", 1, "filled")]


def test_an_order_fills_at_the_open_of_the_bar_in_which_it_arrives() -> None:
    path = np.array([100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0])
    late = run_script(make_settings([BTC], execution={"latency_ms": HOUR_MS + 5}), one_pair(BTC, path), {2: TEN})
    prompt = run_script(make_settings([BTC]), one_pair(BTC, path), {2: TEN})
    # bar k opens at path[k]; 02:00 is the open of bar 2
    assert [(kind, price) for kind, _, _, price in fills(prompt)] == [("spot", 102.0), ("linear", 102.0)]
    assert [(kind, price) for kind, _, _, price in fills(late)] == [("spot", 103.0), ("linear", 104.0)]


def test_fill_price_last_close_takes_the_price_that_the_decision_saw() -> None:
    path = np.array([100.0, 101.0, 102.0, 103.0, 104.0])
    gapped = bars(path)
    gapped.open[2] = 110.0
    gapped.high[2] = 110.0
    settings = make_settings([BTC], execution={"fill_price": FillPrice.LAST_CLOSE})
    result = run_script(settings, two_legs(gapped, gapped), {2: TEN})
    assert [price for *_, price in fills(result)] == [102.0, 102.0]


@pytest.mark.parametrize(
    ("choice", "spot_volume", "perp_volume", "first"),
    [
        (FirstLeg.SPOT, 1e9, 1e9, 0),
        (FirstLeg.PERP, 1e9, 1e9, 1),
        (FirstLeg.THIN, 1e9, 2e9, 0),
        (FirstLeg.THIN, 2e9, 1e9, 1),
    ],
)
def test_the_leg_that_goes_first_is_the_one_asked_for(choice, spot_volume, perp_volume, first) -> None:
    history = two_legs(bars(100.0, 8, spot_volume), bars(100.0, 8, perp_volume))
    result = run_script(make_settings([BTC], execution={"first_leg": choice}), history, {2: TEN})
    assert [int(leg) for leg in result.orders["leg"]] == [first, 1 - first]


def test_the_thin_leg_of_an_inverse_pair_is_found_by_value_and_not_by_contracts() -> None:
    # spot: 10 BTC an hour = 200,000 USD; perp: 5,000 contracts of 100 USD = 500,000 USD an hour
    history = market(
        spot(BTC_INVERSE[0], bars(20_000.0, 8, 10.0)), perp(BTC_INVERSE[1], bars(20_000.0, 8, 5_000.0), settlements([]))
    )
    settings = make_settings([BTC_INVERSE], INVERSE_WALLETS)
    result = run_script(settings, history, {2: enter(5_006, -10)})
    assert int(result.orders["leg"][0]) == 0


def test_a_partial_fill_is_hedged_at_once_and_the_rest_follows() -> None:
    # 10% of 40 BTC may fill per bar: 4, 4, 2.01 BTC, each hedged in the same bar
    volume = np.full(12, 40.0)
    settings = make_settings([BTC], fees={"override": NO_FEES}, slippage={"max_participation": 0.1})
    history = one_pair(BTC, 100.0, 12, volume=volume)
    result = run_script(settings, history, {2: enter(1_000_000, -100_000)})
    done = fills(result)
    assert [(kind, lots) for kind, _, lots, _ in done] == [
        ("spot", 400_000), ("linear", -40_000),
        ("spot", 400_000), ("linear", -40_000),
        ("spot", 200_000), ("linear", -20_000),
    ]  # fmt: skip
    assert_sound(result, history, settings)


def test_a_partial_fill_too_small_to_hedge_waits_for_more() -> None:
    # 0.5 BTC = 50 USDT fill per bar; the perp takes nothing below 100, so the hedge of the first bar has to wait.
    settings = make_settings([BTC], fees={"override": NO_FEES}, slippage={"max_participation": 0.01})
    history = one_pair(BTC, 100.0, 14, volume=np.full(14, 50.0))
    result = run_script(settings, history, {2: enter(150_000, -15_000)})
    assert int(result.orders[0]["status"]) == FILLED
    net = sum(lots * (1e-5 if kind == "spot" else 1e-4) for kind, _, lots, _ in fills(result))
    assert abs(net) < 1e-9
    assert_sound(result, history, settings)


def test_no_order_of_a_leg_is_forgotten_when_its_hedge_is_refused() -> None:
    settings = make_settings([BTC], slippage={"max_participation": 0.01})
    history = one_pair(BTC, 100.0, 30, volume=np.full(30, 50.0))
    result = run_script(settings, history, {3: enter(1_000_000, -99_000)})
    open_orders = result.orders[result.orders["status"] == int(OrderStatus.PLACED)]
    assert open_orders.size == 0
    assert result.orders["reserved"].sum() == 0.0
    assert_sound(result, history, settings)


def test_a_hedge_that_can_not_be_filled_times_out_and_the_first_leg_is_taken_back() -> None:
    history = two_legs(bars(100.0, 30), without(bars(100.0, 30), slice(3, 12)))
    settings = make_settings([BTC], execution={"leg_timeout_bars": 3})
    result = run_script(settings, history, {3: TEN})
    assert story(result) == [("open", 0, "filled"), ("hedge", 1, "cancelled"), ("unwind", 0, "filled")]
    cancelled = result.orders[1]
    assert int(cancelled["reason"]) == OrderReason.TIMEOUT
    assert START + 6 * HOUR_MS <= cancelled["done_ms"] <= START + 7 * HOUR_MS
    # sold back to the last whole lot: what the fee left over is less than a lot
    assert abs(result.spot_value[-1, 0]) < 100.0 * 1e-5
    assert [trip["reason"] for trip in events(result, "trip_closed")] == ["leg_timeout"]
    assert_sound(result, history, settings)


@pytest.mark.parametrize("first_leg", [FirstLeg.SPOT, FirstLeg.PERP])
@pytest.mark.parametrize("side", [1, -1])
def test_whichever_leg_hangs_is_unwound_flat(first_leg, side) -> None:
    whole, broken = bars(100.0, 30), without(bars(100.0, 30), slice(3, 12))
    history = two_legs(whole, broken) if first_leg is FirstLeg.SPOT else two_legs(broken, whole)
    settings = make_settings(
        [BTC], fees={"override": NO_FEES}, execution={"first_leg": first_leg},
        borrow={"enabled": True, "hourly_rate": {"binance": {"BTC": 0.0}}},
    )  # fmt: skip
    result = run_script(settings, history, {3: enter(side * 1_000_000, -side * 100_000)})
    assert [kind for kind, *_ in story(result)] == ["open", "hedge", "unwind"]
    assert sum(lots for *_, lots, _ in fills(result)) == 0
    assert result.equity[-1] == pytest.approx(110_000.0)
    assert_sound(result, history, settings)


def test_a_hedge_that_is_filled_in_part_keeps_what_it_hedges() -> None:
    # The perp gives 2 BTC an hour for three hours, then nothing: 6 BTC stay hedged, 4 are sold again.
    perp_bars = bars(100.0, 30, 20.0)
    settings = make_settings(
        [BTC], fees={"override": NO_FEES}, slippage={"max_participation": 0.1}, execution={"first_leg": FirstLeg.SPOT}
    )
    history = two_legs(bars(100.0, 30), perp_bars)
    result = run_script(settings, history, {3: enter(1_000_000, -100_000)})
    held_spot = sum(lots for kind, _, lots, _ in fills(result) if kind == "spot")
    held_perp = sum(lots for kind, _, lots, _ in fills(result) if kind == "linear")
    assert held_perp < 0
    assert held_spot == -10 * held_perp
    assert_sound(result, history, settings)


def test_nothing_fills_on_a_leg_that_does_not_print() -> None:
    history = two_legs(without(bars(100.0, 30), slice(3, 5)), bars(100.0, 30))
    settings = make_settings([BTC], execution={"first_leg": FirstLeg.SPOT, "leg_timeout_bars": 6})
    result = run_script(settings, history, {3: TEN})
    done = fills(result)
    # bars 3 and 4 are missing; bar 5 prints, but only when it has closed is its volume known
    assert done[0][:2] == ("spot", 6.0)
    assert done[1][0] == "linear"
    assert_sound(result, history, settings)


def test_an_outage_longer_than_the_timeout_cancels_and_nothing_was_traded() -> None:
    history = two_legs(without(bars(100.0, 30), slice(3, 20)), bars(100.0, 30))
    result = run_script(make_settings([BTC], execution={"first_leg": FirstLeg.SPOT}), history, {3: TEN})
    assert story(result) == [("open", 0, "cancelled")]
    assert result.equity[-1] == 110_000.0


def test_an_exit_through_an_outage_is_tried_again_until_both_legs_are_flat() -> None:
    due = settlements(every(8, 60), [2e-3, 2e-3, -5e-3, -5e-3, -5e-3, -5e-3, -5e-3, -5e-3])
    history = two_legs(without(bars(100.0, 60), slice(17, 26)), bars(100.0, 60), due)
    signal = {"warmup_hours": 1.0, "min_holding_hours": 1.0, "forecast_half_life_hours": 0.01}
    settings = make_settings([BTC], signal=signal)
    result = run_backtest(settings, history)
    assert result.trips[0]["is_open"] == 0
    assert result.perp_value[-1, 0] == 0.0
    assert abs(result.spot_value[-1, 0]) < 5.0
    assert result.orders.size < 20
    assert_sound(result, history, settings)


def test_an_order_later_than_its_timeout_is_cancelled() -> None:
    settings = make_settings([BTC], execution={"latency_ms": 3 * HOUR_MS, "leg_timeout_bars": 3})
    result = run_script(settings, one_pair(BTC, 100.0, 12), {2: TEN})
    assert story(result) == [("open", 0, "cancelled")]


def test_slippage_is_half_the_spread_and_the_share_of_the_last_bars_volume() -> None:
    # 10.01002 BTC of 1,001.002: 1% of the volume, impact 20 bps x 1% = 0.2 bps, half spread 3 bps
    settings = make_settings(
        [BTC],
        fees={"override": NO_FEES},
        slippage={"spot_half_spread_bps": 3.0, "impact_bps": 20.0, "max_participation": 0.5},
    )
    history = two_legs(bars(100.0, 10, 1_001.002), bars(100.0, 10))
    result = run_script(settings, history, {2: TEN})
    assert result.orders[0]["average_price"] == pytest.approx(100.0 * (1 + 3.2e-4), rel=1e-12)
    closing = run_script(settings, history, {2: TEN, 5: leave(-1_001_002, 100_000)})
    assert closing.orders[2]["average_price"] == pytest.approx(100.0 * (1 - 3.2e-4), rel=1e-12)


def test_orders_beyond_the_throttle_are_refused_but_never_the_hedge_of_a_filled_leg_for_long() -> None:
    settings = make_settings([BTC], fees={"override": NO_FEES}, execution={"max_orders_per_hour": 1})
    history = one_pair(BTC, 100.0, 12)
    result = run_script(settings, history, {2: enter(1_000_000, -100_000)})
    assert int(OrderReason.THROTTLED) in set(result.orders["reason"])
    net = sum(lots * (1e-5 if kind == "spot" else 1e-4) for kind, _, lots, _ in fills(result))
    assert abs(net) < 1e-9  # hedged, or taken back
    assert_sound(result, history, settings)


def test_the_throttle_counts_the_orders_of_each_clock_hour() -> None:
    settings = make_settings([BTC, ETH], weights=[1.0, 2.0], execution={"max_orders_per_hour": 3})
    flat = bars(100.0, 12)
    history = market(
        spot(BTC[0], flat), perp(BTC[1], flat, settlements([])), spot(ETH[0], flat), perp(ETH[1], flat, settlements([]))
    )
    plan = {2: {0: TEN, 1: enter(100_000, -10_000)}, 5: {1: enter(100_000, -10_000)}}
    result = run_script(settings, history, plan)
    sent = result.orders[result.orders["reason"] != int(OrderReason.THROTTLED)]
    opening = sent[(sent["reduce_only"] == 0)]
    hours, counts = np.unique(opening["placed_ms"] // HOUR_MS, return_counts=True)
    assert counts.max() <= 3
    assert set(hours - START // HOUR_MS) == {2, 5}


def test_a_resting_order_is_filled_when_the_market_goes_through_it_and_hedged_at_once() -> None:
    dip = bars(100.0, 12)
    dip.low[4] = 99.5
    settings = make_settings([BTC], execution={"style": Style.MAKER_FIRST, "first_leg": FirstLeg.SPOT})
    history = two_legs(dip, bars(100.0, 12))
    result = run_script(settings, history, {3: TEN})
    first, second = result.orders[:2]
    assert int(first["kind"]) == OrderKind.POST_ONLY
    assert first["done_ms"] == second["placed_ms"] == START + 5 * HOUR_MS
    assert second["done_ms"] == START + 5 * HOUR_MS + 250
    assert_sound(result, history, settings)


def test_a_post_only_order_that_would_take_rests_at_the_open_instead() -> None:
    # Decision at 100; the next bar opens at 98: a buy at 100 would take, so it rests at 98 and fills when 97 trades.
    path = bars(100.0, 10)
    for column in (path.open, path.low, path.high, path.close):
        column[3:] = 98.0
    path.low[4] = 97.0
    settings = make_settings([BTC], execution={"style": Style.MAKER_FIRST, "first_leg": FirstLeg.SPOT})
    result = run_script(settings, two_legs(path, path), {3: TEN})
    assert float(result.orders[0]["limit_price"]) == 98.0
    assert result.orders[0]["average_price"] == 98.0


def test_a_resting_order_that_is_only_partly_filled_is_hedged_for_that_part() -> None:
    dip = bars(100.0, 12, 40.0)
    dip.low[4] = 99.5
    settings = make_settings(
        [BTC], fees={"override": NO_FEES}, slippage={"max_participation": 0.1},
        execution={"style": Style.MAKER_FIRST, "first_leg": FirstLeg.SPOT, "leg_timeout_bars": 3},
    )  # fmt: skip
    history = two_legs(dip, bars(100.0, 12))
    result = run_script(settings, history, {3: enter(1_000_000, -100_000)})
    assert [(kind, lots) for kind, _, lots, _ in fills(result)] == [("spot", 400_000), ("linear", -40_000)]
    assert story(result) == [("open", 0, "cancelled"), ("hedge", 1, "filled")]
    assert_sound(result, history, settings)


def test_a_buy_that_the_wallet_can_not_pay_is_cut_or_refused() -> None:
    # 30% up between decision and fill: 70,000 USDT pay for less than was reserved
    jump = bars(100.0, 10)
    for column in (jump.open, jump.high, jump.low, jump.close):
        column[3:] = 130.0
    settings = make_settings([BTC], fees={"override": NO_FEES}, execution={"first_leg": FirstLeg.SPOT})
    history = two_legs(jump, bars(100.0, 10))
    result = run_script(settings, history, {3: enter(69_000_000, -6_900_000)})
    spent = sum(lots * 1e-5 * price for kind, _, lots, price in fills(result) if kind == "spot" and lots > 0)
    assert spent <= 70_000.0
    assert result.wallet_equity[:, result.wallet_names.index("binance:spot")].min() >= 0.0
    assert_sound(result, history, settings)


def test_a_perp_order_without_margin_is_refused_and_the_spot_leg_taken_back() -> None:
    wallets = {"binance:spot": {"USDT": 70_000.0}, "binance:linear": {"USDT": 10.0}}
    history = one_pair(BTC, 100.0, 12)
    settings = make_settings([BTC], wallets, fees={"override": NO_FEES})
    result = run_script(settings, history, {2: enter(1_000_000, -100_000)})
    assert int(OrderReason.NO_MARGIN) in set(result.orders["reason"])
    net = sum(lots * (1e-5 if kind == "spot" else 1e-4) for kind, _, lots, _ in fills(result))
    assert abs(net) <= 1e-4
    assert_sound(result, history, settings)
