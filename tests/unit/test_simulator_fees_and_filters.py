"""Fees as the venues take them, and the venues' filters, decided for both legs before either is sent."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from crypto.errors import DataError, SettingsError
from crypto.instruments import Kind
from crypto.ledger import Flow
from crypto.pipeline.orders import OrderReason, OrderStatus
from crypto.settings import FirstLeg, InstrumentSettings, Style
from crypto.simulator.setup import build
from crypto.venues.registry import instrument
from research.backtest import run_backtest
from tests.markets import (
    BTC,
    BTC_BYBIT,
    BTC_INVERSE,
    ETH,
    INVERSE_WALLETS,
    NO_FEES,
    PEPE,
    bars,
    enter,
    events,
    every,
    leave,
    make_settings,
    market,
    one_pair,
    perp,
    rows,
    run_script,
    settlements,
    spot,
)
from tests.replay import Replay, assert_sound

TEN = enter(1_000_000, -100_000)
SOON = {"warmup_hours": 1.0}


def fee_rows(result) -> list[tuple[str, float]]:
    found = rows(result, Flow.FEE)
    return [(result.asset_names[int(row["asset"])], float(row["amount"])) for row in found]


def test_a_spot_buy_pays_in_coins_and_a_perp_in_its_settlement_asset() -> None:
    # VIP0: 0.1% of 10 BTC, and 0.05% of 1,000 USDT
    result = run_script(make_settings([BTC]), one_pair(BTC, 100.0, 6), {1: TEN})
    assert fee_rows(result) == [("BTC", pytest.approx(-0.01, rel=1e-9)), ("USDT", pytest.approx(-0.5, rel=1e-12))]
    assert result.equity[-1] == pytest.approx(110_000.0 - 1.0 - 0.5)


def test_a_spot_sale_pays_in_quote() -> None:
    plan = {1: TEN, 3: leave(-999_000, 100_000)}
    result = run_script(make_settings([BTC]), one_pair(BTC, 100.0, 6), plan)
    assert fee_rows(result)[2] == ("USDT", pytest.approx(-0.999, rel=1e-12))


def test_the_fee_of_a_spot_buy_is_taken_in_quote_when_settings_say_so() -> None:
    settings = make_settings([BTC], fees={"spot_buy_fee_in_base": False})
    result = run_script(settings, one_pair(BTC, 100.0, 6), {1: TEN})
    assert fee_rows(result)[0] == ("USDT", pytest.approx(-1.0, rel=1e-12))
    bought = result.ledger[(result.ledger["asset"] == result.asset_names.index("BTC"))]["amount"].sum()
    assert bought == pytest.approx(10.0, rel=1e-12)


def test_an_inverse_contract_pays_its_fee_in_coin() -> None:
    # 100 contracts of 100 USD at 20,000: 0.5 BTC x 0.05%
    settings = make_settings([BTC_INVERSE], INVERSE_WALLETS)
    result = run_script(settings, one_pair(BTC_INVERSE, 20_000.0, 6), {1: enter(50_000, -100)})
    assert fee_rows(result)[1] == ("BTC", pytest.approx(-0.5 * 0.0005, rel=1e-12))


@pytest.mark.parametrize(
    ("fees", "spot_rate", "perp_rate"),
    [
        ({"tier": {"binance": "VIP3"}}, 0.0006, 0.00032),
        ({"override": {BTC[0]: {"taker": 0.002}}}, 0.002, 0.0005),
        ({"override": {BTC[1]: {"maker": 0.0, "taker": 0.0001}}}, 0.001, 0.0001),
        ({"override": {BTC[1]: {"maker": -0.0001, "taker": -0.0002}}}, 0.001, -0.0002),
    ],
)
def test_tiers_and_overrides_decide_the_rate(fees, spot_rate, perp_rate) -> None:
    result = run_script(make_settings([BTC], fees=fees), one_pair(BTC, 100.0, 6), {1: TEN})
    paid = rows(result, Flow.FEE)
    np.testing.assert_allclose(paid["rate"], [spot_rate, perp_rate], rtol=1e-12)
    np.testing.assert_allclose(paid["value"], [-1000 * spot_rate, -1000 * perp_rate], rtol=1e-9)


@pytest.mark.parametrize(
    ("fees", "words"),
    [
        ({"tier": {"binance": "VIP99"}}, "VIP99"),
        ({"override": {BTC[1]: {"takers": 0.1}}}, "takers"),
    ],
)
def test_an_unknown_tier_or_fee_is_refused_by_name(fees, words) -> None:
    with pytest.raises(SettingsError, match=words):
        run_script(make_settings([BTC], fees=fees), one_pair(BTC, 100.0, 6), {})


def test_a_resting_order_pays_the_maker_fee_at_its_limit() -> None:
    # The limit rests at 100; the bar from 03:00 dips to 99, below it. VIP1: maker 0.09%, then the perp's taker 0.04%.
    dip = bars(100.0, 8)
    dip.low[3] = 99.0
    history = market(spot(BTC[0], dip), perp(BTC[1], bars(100.0, 8), settlements([])))
    execution = {"style": Style.MAKER_FIRST, "first_leg": FirstLeg.SPOT}
    settings = make_settings([BTC], fees={"tier": {"binance": "VIP1"}}, execution=execution)
    result = run_script(settings, history, {2: TEN})
    paid = rows(result, Flow.FEE)
    np.testing.assert_allclose(paid["rate"], [0.0009, 0.0004], rtol=1e-12)
    assert float(paid["price"][0]) == 100.0
    assert result.orders[0]["slippage_value"] == 0.0


def test_touching_the_limit_does_not_fill_it() -> None:
    execution = {"style": Style.MAKER_FIRST, "first_leg": FirstLeg.SPOT, "leg_timeout_bars": 2}
    result = run_script(make_settings([BTC], execution=execution), one_pair(BTC, 100.0, 8), {2: TEN})
    assert [int(order["status"]) for order in result.orders] == [OrderStatus.CANCELLED]
    assert int(result.orders[0]["reason"]) == OrderReason.TIMEOUT
    assert result.equity[-1] == 110_000.0


@pytest.mark.parametrize("mark", [90.0, 110.0])
@pytest.mark.parametrize("side", [-1, 1])
def test_a_perp_rests_at_its_last_close_and_not_at_the_mark(mark, side) -> None:
    execution = {"style": Style.MAKER_FIRST, "first_leg": FirstLeg.PERP}
    history = market(spot(BTC[0], bars(100.0, 8)), perp(BTC[1], bars(100.0, 8), settlements([]), bars(mark, 8)))
    result = run_script(make_settings([BTC], execution=execution), history, {2: enter(0, side * 100_000)})
    assert float(result.orders[0]["limit_price"]) == 100.0


def test_the_cost_of_a_round_trip_counts_the_exit_at_the_taker_fee() -> None:
    # in: spot maker 0.0675%, perp taker 0.04%; out: spot taker 0.08%, perp taker 0.04%
    execution = {"style": Style.MAKER_FIRST, "first_leg": FirstLeg.SPOT}
    settings = make_settings([BTC_BYBIT], fees={"tier": {"bybit": "VIP1"}}, execution=execution)
    world = build(settings, one_pair(BTC_BYBIT, 100.0, 6)).world
    assert world.pairs[0].round_trip_cost == pytest.approx(0.000675 + 0.0004 + 0.0008 + 0.0004, rel=1e-12)


HEDGED = [
    (BTC, 43_210.5, 1, None),
    (ETH, 2_345.67, 1, None),
    (PEPE, 1.234e-5, 1000, None),
    (BTC_BYBIT, 43_210.5, 1, None),
    (BTC_INVERSE, 43_210.5, 1, INVERSE_WALLETS),
]


@pytest.mark.parametrize(("pair", "price", "units", "wallets"), HEDGED)
@pytest.mark.parametrize("in_base", [True, False])
@pytest.mark.parametrize("first_leg", [FirstLeg.SPOT, FirstLeg.PERP])
def test_both_legs_hold_the_same_base_quantity_after_an_entry(pair, price, units, wallets, in_base, first_leg) -> None:
    settings = make_settings(
        [pair], wallets, signal=SOON, fees={"spot_buy_fee_in_base": in_base}, execution={"first_leg": first_leg}
    )
    due = settlements(every(8, 40), 2e-3, price * units)
    history = one_pair(pair, price, 30, perp_prices=price * units, due=due)
    result = run_backtest(settings, history)
    spot_leg, perp_leg = (instrument(key, {}) for key in pair)
    balance = Replay(result, history, settings).balances(int(result.time_ms[-1]))
    wallet = "bybit:unified" if pair is BTC_BYBIT else "binance:spot"
    net = balance[wallet, spot_leg.base]
    lots = sum(int(order["filled_lots"]) for order in result.orders if order["leg"] == 1)
    contracts = lots * Fraction(perp_leg.value_per_lot)
    short = -contracts / Fraction(price) if perp_leg.kind is Kind.INVERSE else -contracts
    assert short * Fraction(price) > 10_000  # it is a real position
    assert abs(net - short) < Fraction(spot_leg.lot)
    assert_sound(result, history, settings)


def test_the_hedge_is_a_multiple_of_what_both_legs_can_trade() -> None:
    # spot in lots of 0.003, perp in lots of 0.002: both can only do 0.006
    instruments = {
        BTC[0]: InstrumentSettings(lot=Decimal("0.003"), min_quantity=Decimal("0.003")),
        BTC[1]: InstrumentSettings(lot=Decimal("0.002"), min_quantity=Decimal("0.002")),
    }
    settings = make_settings([BTC], signal=SOON, fees={"override": NO_FEES}, instruments=instruments)
    result = run_backtest(settings, one_pair(BTC, 100.0, 12, due=settlements(every(8, 20), 2e-3)))
    spot_lots, perp_lots = (int(order["filled_lots"]) for order in result.orders[:2])
    assert spot_lots * 3 == -perp_lots * 2
    assert perp_lots % 3 == 0


# filters


def refused_with(result) -> list[str]:
    return [entry["reason"] for entry in events(result, "decision") if not entry["approved"]]


@pytest.mark.parametrize(
    ("capital", "instruments", "reason"),
    [
        # 0.9 x 140 / 1.5 = 84 of notional: below the perp's 100
        (70.0, {}, "below_min_notional"),
        # the spot venue asks for 90
        (
            70.0,
            {
                BTC[0]: InstrumentSettings(min_notional=Decimal(90)),
                BTC[1]: InstrumentSettings(min_notional=Decimal(1)),
            },
            "below_min_notional",
        ),
        # 0.84 BTC wanted, at least 1 of the perp, then of spot
        (70.0, {BTC[1]: InstrumentSettings(min_quantity=Decimal(1))}, "below_min_quantity"),
        (70.0, {BTC[0]: InstrumentSettings(min_quantity=Decimal(1))}, "below_min_quantity"),
        # a perp lot of 1 BTC rounds 0.84 to nothing
        (70.0, {BTC[1]: InstrumentSettings(lot=Decimal(1), min_quantity=Decimal(1))}, "below_min_quantity"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("compiled", [True, False])
def test_a_pair_below_a_filter_of_either_leg_is_refused_before_any_order(
    capital, instruments, reason, compiled
) -> None:
    wallets = {"binance:spot": {"USDT": capital}, "binance:linear": {"USDT": capital}}
    settings = make_settings(
        [BTC], wallets, signal=SOON, portfolio={"min_pair_notional": 10.0}, instruments=instruments,
        transfers={"delay_ms": 0},
    )  # fmt: skip
    result = run_backtest(settings, one_pair(BTC, 100.0, 30, due=settlements(every(8, 40), 2e-3)), compiled=compiled)
    assert result.orders.size == 0
    assert refused_with(result) == [reason]
    assert result.trips.size == 0


def test_a_pair_smaller_than_the_smallest_wanted_is_refused_with_its_reason() -> None:
    # 0.5 x 160,000 / 1.5 = 53,333 wanted, the wallets could do 99,000, and nothing below 80,000 is worth it
    wallets = {"binance:spot": {"USDT": 100_000.0}, "binance:linear": {"USDT": 60_000.0}}
    portfolio = {"deploy": 0.5, "min_pair_notional": 80_000.0}
    settings = make_settings([BTC], wallets, signal=SOON, portfolio=portfolio)
    result = run_backtest(settings, one_pair(BTC, 100.0, 30, due=settlements(every(8, 40), 2e-3)))
    assert result.orders.size == 0
    assert refused_with(result) == ["below_min_size"]


def test_a_wallet_without_money_is_a_reason() -> None:
    wallets = {"binance:spot": {"USDT": 100_000.0}, "bybit:unified": {"USDT": 0.0}}
    pair = (BTC[0], BTC_BYBIT[1])
    result = run_backtest(
        make_settings([pair], wallets, signal=SOON), one_pair(pair, 100.0, 30, due=settlements(every(8, 40), 2e-3))
    )
    assert result.orders.size == 0
    assert refused_with(result) == ["no_capital"]


def test_a_close_may_be_below_the_minimum_where_the_venue_lets_it() -> None:
    # 1.5 BTC of perp opened at 150 of notional, closed at 75: below 100, but it only reduces.
    path = np.concatenate([np.full(5, 100.0), np.full(8, 50.0)])
    plan = {1: enter(150_150, -15_000), 7: leave(-150_000, 15_000)}
    result = run_script(make_settings([BTC]), one_pair(BTC, path), plan)
    assert [int(order["status"]) for order in result.orders] == [OrderStatus.FILLED] * 4
    assert result.trips[0]["is_open"] == 0


def test_an_opening_order_of_the_same_size_is_refused_by_the_venue() -> None:
    result = run_script(make_settings([BTC]), one_pair(BTC, 50.0, 12), {1: enter(0, -15_000)})
    assert int(result.orders[0]["reason"]) == OrderReason.BELOW_MIN_NOTIONAL
    assert int(result.orders[0]["status"]) == OrderStatus.REJECTED


def test_dust_of_spot_that_may_not_be_sold_does_not_keep_a_round_trip_open() -> None:
    # After a fall to 1% the 0.15 BTC of spot are worth 0.15: the venue takes nothing below 5.
    path = np.concatenate([np.full(5, 100.0), np.full(30, 1.0)])
    rates = [2e-3] * 1 + [-2e-3] * 4
    settings = make_settings(
        [BTC], {"binance:spot": {"USDT": 140.0}, "binance:linear": {"USDT": 140.0}},
        signal={"warmup_hours": 1.0, "min_holding_hours": 1.0, "forecast_half_life_hours": 0.01},
        portfolio={"resize_band": 0.0},
    )  # fmt: skip
    result = run_backtest(settings, one_pair(BTC, path, due=settlements(every(8, 32), rates, 1.0)))
    assert result.orders.size <= 4
    assert result.trips[0]["is_open"] == 0
    assert result.perp_value[-1, 0] == 0.0


def test_every_fill_is_whole_lots_in_the_ledger() -> None:
    settings = make_settings([BTC], signal=SOON, slippage={"max_participation": 0.013})
    volume = np.full(40, 12_345.678)
    result = run_backtest(settings, one_pair(BTC, 100.0, 40, due=settlements(every(8, 40), 2e-3), volume=volume))
    traded = rows(result, Flow.TRADE)
    coins = traded[traded["asset"] == result.asset_names.index("BTC")]["amount"]
    assert coins.size > 2
    np.testing.assert_allclose(coins / 1e-5, np.round(coins / 1e-5), rtol=1e-12)


# settings that do not fit together


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pairs": []}, "no pair"),
        ({"pairs": [BTC, BTC]}, "listed twice"),
        ({"wallets": {"binance:margin": {"USDT": 1.0}}}, "binance:margin"),
        ({"wallets": {"binance:spot": {"DOGE": 1.0}}}, "DOGE"),
        ({"wallets": {"binance:spot": {"USDT": 0.0}}}, "hold nothing"),
        ({"run": {"account_currency": "EUR"}}, "EUR"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(change, words) -> None:
    pairs = change.pop("pairs", [BTC])
    wallets = change.pop("wallets", None) or {"binance:spot": {"USDT": 1_000.0}}
    settings = make_settings(pairs or [BTC], wallets, **change)
    if not pairs:
        settings = replace(settings, pairs=())
    with pytest.raises(SettingsError, match=words):
        run_backtest(settings, one_pair(BTC, 100.0, 6))


def test_a_market_without_one_of_the_legs_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="binance:spot:ETHUSDT"):
        run_backtest(make_settings([ETH]), one_pair(BTC, 100.0, 6))


def test_a_coin_that_has_no_first_price_can_not_be_held_at_the_start() -> None:
    path = np.concatenate([[np.nan], np.full(6, 20_000.0)])
    with pytest.raises(DataError, match="BTC is held at the start"):
        run_backtest(
            make_settings([BTC_INVERSE], INVERSE_WALLETS), one_pair(BTC_INVERSE, path, perp_prices=np.full(7, 2e4))
        )


def test_an_override_that_makes_a_spot_lot_a_thousand_coins_keeps_the_books_balanced() -> None:
    instruments = {PEPE[0]: InstrumentSettings(multiplier=Decimal(1000))}
    settings = make_settings([PEPE], instruments=instruments)
    path = np.concatenate([np.full(5, 0.02), np.full(8, 0.03)])
    try:
        result = run_script(settings, one_pair(PEPE, path), {1: enter(10_000, -10_000)})
    except SettingsError:
        return  # refusing it is as good
    assert result.attribution[:, -1].sum() == pytest.approx(0.0, abs=1e-9)
    change = result.equity[-1] - result.equity[0]
    assert result.attribution.sum() == pytest.approx(change, rel=1e-9, abs=1e-6)
