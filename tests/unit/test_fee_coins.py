"""Fees paid in a venue's own coin: hand arithmetic on flat markets, running short, rebates, what is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto import fees
from crypto.errors import DataError, SettingsError
from crypto.ledger import Component, Flow
from crypto.market import Bars, MarketHistory
from crypto.result import BacktestResult
from crypto.settings import AccountModel, DiscountSettings, FirstLeg, Settings, Style
from crypto.simulator.loop import run_compiled
from crypto.simulator.setup import build
from data.settings import load_settings
from research.backtest import load, run_backtest
from research.report.page import render
from tests.markets import (
    BTC,
    BTC_ACROSS,
    BTC_BYBIT,
    BTC_INVERSE,
    ETH,
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
    without,
)
from tests.replay import assert_attribution_sums, assert_sound

BNB = "binance:spot:BNBUSDT"
ON = {"discount": {"binance": DiscountSettings(enabled=True)}}
HOURS = 12
CONFIG = Path(__file__).parents[2] / "config" / "carry.toml"
ONE_BTC = enter(100_000, -10_000)  # lots of 0.00001 and 0.0001 BTC


def wallets(spot_coins: float = 1.0, perp_coins: float = 0.5) -> dict[str, dict[str, float]]:
    return {
        "binance:spot": {"USDT": 70_000.0, "BNB": spot_coins},
        "binance:linear": {"USDT": 40_000.0, "BNB": perp_coins},
    }


def paying(held: Mapping[str, Any] | None = None, pairs: Any = (BTC,), **tables: Any) -> Settings:
    return make_settings(list(pairs), held or wallets(), fees={**ON, **tables.pop("fees", {})}, **tables)


def flat(coin: Bars | float = 300.0, price: float = 30_000.0, hours: int = HOURS) -> MarketHistory:
    """BTC at one price; the coin on its own path."""
    given = bars(coin, hours) if isinstance(coin, float) else coin
    spot_bars = bars(price, hours)
    return market(spot(BTC[0], spot_bars), perp(BTC[1], spot_bars, settlements([])), spot(BNB, given))


def charged(result: BacktestResult) -> list[tuple[str, str, float]]:
    """Leg, asset and amount of every fee."""
    return [
        (result.instrument_keys[row["leg"]], result.asset_names[row["asset"]], float(row["amount"]))
        for row in rows(result, Flow.FEE)
    ]


def balance(result: BacktestResult, wallet: str, asset: str) -> float:
    ledger = result.ledger
    mine = (ledger["wallet"] == result.wallet_names.index(wallet)) & (
        ledger["asset"] == result.asset_names.index(asset)
    )
    return math.fsum(ledger["amount"][mine])


# the formula


def test_a_fee_of_30_at_25_per_cent_off_is_a_fortieth_of_three_coins_at_300() -> None:
    coins = fees.fee_in_coins(Fraction(30), Fraction(1, 4), Fraction(300))
    assert coins == Fraction(3, 40)
    assert fees.fee_of_coins(coins, Fraction(1, 4), Fraction(300)) == 30


# fills


def test_both_legs_pay_in_the_coin_and_a_spot_buy_keeps_all_of_it() -> None:
    # spot: 30,000 x 0.1 % = 30, less 25 % 22.5, at 300: 0.075. perp: 30,000 x 0.05 % = 15, less 10 % 13.5: 0.045.
    settings, history = paying(), flat()
    result = run_script(settings, history, {3: ONE_BTC})
    assert charged(result) == [
        (BTC[0], "BNB", pytest.approx(-0.075, rel=1e-12)),
        (BTC[1], "BNB", pytest.approx(-0.045, rel=1e-12)),
    ]
    assert balance(result, "binance:spot", "BTC") == 1.0
    assert balance(result, "binance:spot", "USDT") == 40_000.0
    assert balance(result, "binance:linear", "USDT") == 40_000.0
    assert balance(result, "binance:spot", "BNB") == pytest.approx(0.925, rel=1e-12)
    assert balance(result, "binance:linear", "BNB") == pytest.approx(0.455, rel=1e-12)
    assert result.equity[0] == 110_000.0 + 1.5 * 300.0
    assert result.equity[-1] == pytest.approx(110_450.0 - 36.0, rel=1e-12)
    assert result.attribution.sum(axis=0)[0, Component.FEES] == pytest.approx(-36.0, rel=1e-12)
    assert [float(row["rate"]) for row in rows(result, Flow.FEE)] == pytest.approx([0.00075, 0.00045], rel=1e-12)
    assert_sound(result, history, settings)


def test_a_sale_and_a_reducing_fill_pay_in_the_coin_too() -> None:
    # 1 BTC in and out at 30,000: twice 22.5 and twice 13.5
    result = run_script(paying(), flat(), {3: ONE_BTC, 6: leave(-100_000, 10_000)})
    assert [amount for _, _, amount in charged(result)] == pytest.approx([-0.075, -0.045, -0.075, -0.045], rel=1e-12)
    assert balance(result, "binance:spot", "USDT") == 70_000.0
    assert result.equity[-1] == pytest.approx(110_450.0 - 72.0, rel=1e-12)


def test_rates_of_the_settings_take_the_place_of_the_venues() -> None:
    given = DiscountSettings(enabled=True, spot=0.5, linear=0.0)
    result = run_script(paying(fees={"discount": {"binance": given}}), flat(), {3: ONE_BTC})
    assert [amount for _, _, amount in charged(result)] == pytest.approx([-0.05, -0.05], rel=1e-12)


def test_a_makers_fee_is_in_the_coin_as_well() -> None:
    # post-only at 30,000, filled when the next bar dips; the maker of the spot leg pays 0.04 %: 12 x 0.75 / 300
    path = bars(30_000.0, HOURS)
    path.low[4:] = 29_000.0
    even = bars(30_000.0, HOURS)
    history = market(spot(BTC[0], path), perp(BTC[1], even, settlements([])), spot(BNB, bars(300.0, HOURS)))
    settings = paying(
        fees={"override": {BTC[0]: {"maker": 0.0004}}},
        execution={"style": Style.MAKER_FIRST, "first_leg": FirstLeg.SPOT},
    )
    result = run_script(settings, history, {3: ONE_BTC})
    assert charged(result)[0] == (BTC[0], "BNB", pytest.approx(-0.03, rel=1e-12))


def test_a_rebate_is_paid_as_usual() -> None:
    rebate = {BTC[0]: {"taker": -0.001}, BTC[1]: {"taker": -0.0002}}
    result = run_script(paying(fees={"override": rebate}), flat(), {3: ONE_BTC})
    assert charged(result) == [
        (BTC[0], "BTC", pytest.approx(0.001, rel=1e-12)),
        (BTC[1], "USDT", pytest.approx(6.0, rel=1e-12)),
    ]
    assert balance(result, "binance:spot", "BNB") == 1.0
    assert not events(result, "fee_coin_short")


def test_what_a_wallet_does_not_hold_is_paid_whole_in_the_usual_currency() -> None:
    # coins for one buy of half a BTC (0.0375) and not for two; the second takes 0.1 % of what is bought
    half = enter(50_000, 0)
    settings, history = paying(wallets(0.05, 0.0)), flat()
    result = run_script(settings, history, {3: half, 5: half, 7: half})
    assert charged(result) == [
        (BTC[0], "BNB", pytest.approx(-0.0375, rel=1e-12)),
        (BTC[0], "BTC", pytest.approx(-0.0005, rel=1e-9)),
        (BTC[0], "BTC", pytest.approx(-0.0005, rel=1e-9)),
    ]
    assert balance(result, "binance:spot", "BNB") == pytest.approx(0.0125, rel=1e-12)
    (short,) = events(result, "fee_coin_short")  # said once, not at every fill
    assert (short["instrument"], short["asset"]) == (BTC[0], "BNB")
    assert (short["needed"], short["held"], short["price"]) == (
        pytest.approx(0.0375, rel=1e-12),
        pytest.approx(0.0125, rel=1e-12),
        300.0,
    )
    assert_sound(result, history, settings)


def test_a_wallet_that_starts_without_the_coin_never_pays_in_it() -> None:
    result = run_script(paying(wallets(1.0, 0.0)), flat(), {3: ONE_BTC})
    assert [asset for _, asset, _ in charged(result)] == ["BNB", "USDT"]
    assert not events(result, "fee_coin_short")


def test_exactly_enough_is_enough() -> None:
    result = run_script(paying(wallets(0.075, 0.0)), flat(), {3: enter(100_000, 0)})
    assert charged(result) == [(BTC[0], "BNB", -0.075)]
    assert balance(result, "binance:spot", "BNB") == 0.0


def test_coin_margined_perps_pay_in_their_own_coin() -> None:
    held = {"binance:spot": {"USDT": 70_000.0, "BNB": 1.0}, "binance:inverse": {"BTC": 1.0}}
    spot_bars = bars(30_000.0, HOURS)
    history = market(
        spot(BTC_INVERSE[0], spot_bars), perp(BTC_INVERSE[1], spot_bars, settlements([])), spot(BNB, bars(300.0, HOURS))
    )
    settings = paying(held, [BTC_INVERSE])
    result = run_script(settings, history, {3: enter(100_000, -300)})
    assert [asset for _, asset, _ in charged(result)] == ["BNB", "BTC"]
    assert_sound(result, history, settings)


# the coin's price


def test_the_price_is_the_last_close_before_the_fill_and_no_later_one() -> None:
    # the decision at hour 3 fills at the open of the bar that begins then; the coin's close at hour 3 is 303
    path = np.array([300.0, 301.0, 302.0, 303.0, 999.0, *np.full(HOURS - 4, 999.0)])
    result = run_script(paying(), flat(bars(path)), {3: enter(100_000, 0)})
    assert charged(result)[0][2] == pytest.approx(-22.5 / 303.0, rel=1e-12)


def test_what_the_coins_gain_is_collateral_and_not_the_pairs() -> None:
    # 0.925 + 0.455 coins are left when the price goes from 300 to 330: 1.38 x 30
    path = np.concatenate([np.full(6, 300.0), np.full(HOURS - 5, 330.0)])
    settings, history = paying(), flat(bars(path))
    result = run_script(settings, history, {3: ONE_BTC})
    parts = result.attribution.sum(axis=0)
    assert parts[1, Component.COLLATERAL] == pytest.approx(41.4, rel=1e-12)
    assert parts[0, Component.COLLATERAL] == 0.0
    assert result.pair_pnl[-1, 0] == pytest.approx(-36.0, rel=1e-9)
    assert_attribution_sums(result)
    assert_sound(result, history, settings)


def test_a_gap_keeps_the_last_close_and_is_noted() -> None:
    path = without(bars(np.linspace(300.0, 312.0, HOURS + 1)), [2, 3, 4])
    result = run_script(paying(), flat(path), {4: enter(100_000, 0)})
    assert charged(result)[0][2] == pytest.approx(-22.5 / 302.0, rel=1e-12)
    assert any("BNBUSDT: 3 bars without a trade" in note for note in result.provenance["notes"])


def test_what_became_of_the_coins_is_in_the_result() -> None:
    path = np.concatenate([np.full(6, 300.0), np.full(HOURS - 5, 330.0)])
    result = run_script(paying(wallets(0.08, 0.5)), flat(bars(path)), {3: ONE_BTC, 8: leave(-50_000, 0)})
    figures = result.summary["fee_coins"]["BNB"]
    # the sale of half a BTC would need 15 x 0.75 / 330 = 0.0341, and 0.005 are left
    assert figures.keys() == {"wallets", "gain_of_price", "fills", "fills_not_covered", "fees"}
    assert figures["wallets"] == {
        "binance:spot": {"start": 0.08, "paid": pytest.approx(0.075), "end": pytest.approx(0.005)},
        "binance:linear": {"start": 0.5, "paid": pytest.approx(0.045), "end": pytest.approx(0.455)},
    }
    assert figures["gain_of_price"] == pytest.approx(0.46 * 30.0)
    assert (figures["fills"], figures["fills_not_covered"]) == (2, 1)
    assert figures["fees"] == {"BNB": pytest.approx(36.0), "USDT": pytest.approx(15.0)}
    page = render(result)
    for words in ("Fees in the venue&#x27;s own coin", "2 fills paid in BNB, 1 not covered", "0.455000", "+13.80"):
        assert words in page


def test_a_run_without_the_discount_says_nothing_of_it() -> None:
    result = run_script(make_settings([BTC]), flat(), {3: ONE_BTC})
    assert "fee_coins" not in result.summary
    assert "own coin" not in render(result)


# the strategy


def test_sizing_buys_no_more_than_the_hedge_while_the_coin_pays() -> None:
    due = settlements(every(8, 60), 1e-3, 30_000.0)
    history = one_pair(BTC, 30_000.0, 60, due=due)
    coin = spot(BNB, bars(300.0, 60))
    with_coin = market(*history.instruments, coin)
    result = run_backtest(paying(wallets(5.0, 5.0), signal={"warmup_hours": 1.0}), with_coin)
    usual = run_backtest(make_settings([BTC], signal={"warmup_hours": 1.0}), history)
    bought, sold = (int(lots) for lots in result.orders["filled_lots"][:2])
    assert {bought, sold} == {max(bought, sold), -max(bought, sold) // 10}  # a spot lot is a tenth of a perp lot
    assert sum(int(lots) * size for lots, size in zip(usual.orders["filled_lots"][:2], (1, 10), strict=True)) > 0


def test_the_signal_counts_on_the_discount_until_the_coins_run_short() -> None:
    # both legs in and out: 2 x (0.1 % x 0.75 + 0.05 % x 0.9) = 0.24 %; without discount 2 x 0.15 % = 0.3 %
    fresh = build(paying(), flat()).world
    assert fresh.pairs[0].round_trip_cost == pytest.approx(0.0024, rel=1e-12)
    due = settlements(every(8, 60), 1e-3, 30_000.0)
    history = market(*one_pair(BTC, 30_000.0, 60, due=due).instruments, spot(BNB, bars(300.0, 60)))
    world = run_compiled(build(paying(wallets(1e-6, 1e-6), signal={"warmup_hours": 1.0}), history).world)
    assert world.run[0].order_rows > 0
    assert world.pairs[0].round_trip_cost == pytest.approx(0.003, rel=1e-12)


# what is refused


def refused(settings: Settings, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        build(settings, flat())


def test_what_cannot_pay_fees_is_refused_by_name() -> None:
    bybit = {"discount": {"bybit": DiscountSettings(enabled=True)}}
    refused(make_settings([BTC_BYBIT], fees=bybit), "bybit has no discount that orders of a program get.*MNT")
    refused(paying(make_settings([BTC]).wallets), "no wallet that pays fees on binance holds BNB")
    refused(make_settings([BTC], fees={"discount": {"kraken": DiscountSettings(enabled=True)}}), "unknown venue")
    refused(make_settings([BTC_BYBIT], fees=ON), "no pair trades on binance")
    held = {"binance:spot": wallets()["binance:spot"], "bybit:unified": {"USDT": 1.0, "BNB": 1.0}}
    refused(paying(held, [BTC_ACROSS]), 'wallets."bybit:unified".* holds BNB')
    refused(paying(run={"account": AccountModel.LEAN}), "has no fee discount")


def test_a_pair_in_the_coin_itself_is_refused() -> None:
    bnb = (BNB, "binance:linear:BNBUSDT")
    refused(paying(pairs=[BTC, bnb]), "trades BNB.*out of what the pair has hedged")


def test_a_switched_off_table_changes_nothing() -> None:
    off = make_settings([BTC], fees={"discount": {"binance": DiscountSettings(enabled=False)}})
    result = run_script(off, flat(), {3: ONE_BTC})
    assert [asset for _, asset, _ in charged(result)] == ["BTC", "USDT"]


def test_a_coin_without_a_price_is_refused_with_what_to_fetch() -> None:
    history = flat()
    with pytest.raises(DataError, match="no bars of binance:spot:BNBUSDT") as caught:
        build(paying(), market(*history.instruments[:2]))
    assert "carry fetch bars --venue binance --kind spot --symbol BNBUSDT" in caught.value.remedy
    with pytest.raises(DataError, match="has no bar at 2024-01-01"):
        build(paying(), flat(without(bars(300.0, HOURS), [0])))
    two_days = without(bars(300.0, 48), slice(5, 30))
    with pytest.raises(DataError, match="no bar from 2024-01-01T05:00.*more than a day"):
        build(paying(), flat(two_days, hours=48))
    build(paying(), flat(without(bars(300.0, 48), slice(5, 29)), hours=48))  # a day exactly is still known


def test_a_lake_without_the_coin_is_refused_before_anything_runs() -> None:
    changes = ["fees.discount.binance.enabled=true", "wallets.binance:spot.BNB=3"]
    with pytest.raises(DataError, match="no bars of binance:spot:BNBUSDT"):
        load(_sample(changes))


def _sample(changes: list[str]) -> Settings:
    return load_settings(CONFIG, changes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("fees.discount.binance.spot=1.0", "fees.discount.binance.spot = 1.0 must be zero or more and below 1"),
        ("fees.discount.binance.linear=-0.1", "must be zero or more and below 1"),
        ("fees.discount.binance.inverse=0.1", "not a known key"),
        ("fees.discount.Binance.enabled=true", "must be the name of a venue"),
    ],
)
def test_settings_out_of_range_are_refused(change: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        _sample([change])


def test_two_pairs_share_the_coins_of_a_wallet() -> None:
    spot_bars, eth = bars(30_000.0, HOURS), bars(3_000.0, HOURS)
    history = market(
        spot(BTC[0], spot_bars), perp(BTC[1], spot_bars, settlements([])),
        spot(ETH[0], eth), perp(ETH[1], eth, settlements([])), spot(BNB, bars(300.0, HOURS)),
    )  # fmt: skip
    # 0.075 for 1 BTC leaves 0.005; 1 ETH needs 3 x 0.75 / 300 = 0.0075
    settings = make_settings([BTC, ETH], wallets(0.08, 0.5), [2.0, 1.0], fees=ON)
    result = run_script(settings, history, {3: {0: enter(100_000, 0), 1: enter(10_000, 0)}})
    assert [(key, asset) for key, asset, _ in charged(result)] == [(BTC[0], "BNB"), (ETH[0], "ETH")]
    assert_sound(result, history, settings)
