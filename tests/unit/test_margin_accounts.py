"""Accounts that several pairs share, and coins that are margin: what the venue's check has to look at together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from crypto.ledger import Component, Flow
from crypto.liquidation_stages import Stage
from crypto.market import MarketHistory
from crypto.settings import FirstLeg, MarginEngine, Settings, Style
from crypto.simulator.exchange import measure_start
from crypto.simulator.liquidation import MOST_STEPS
from crypto.simulator.loop import grown, run_python, step_for_python
from crypto.simulator.outcome import outcome
from crypto.simulator.setup import build
from crypto.simulator.state import LIQUIDATION
from crypto.simulator.watch import liquidation_distance
from crypto.tiers import TierBook, TierRow, tier_table
from tests.markets import (
    BTC,
    BTC_ACROSS,
    BTC_BYBIT,
    ETH_BYBIT,
    HOUR_MS,
    NO_FEES,
    START,
    bars,
    enter,
    events,
    make_settings,
    market,
    move,
    one_pair,
    perp,
    rows,
    scripted,
    settlements,
    spot,
)

NOTHING_DUE = settlements([])


def flat_tiers(key: str, rate: float, effective_ms: int = 0) -> Any:
    return tier_table(key, "USDT", effective_ms, [TierRow(0, 1e12, rate, math.floor(1 / rate))], "made by hand")


def settings_of(pairs: Any, wallets: Any, **tables: Any) -> Settings:
    margin = {
        "engine": MarginEngine.VENUE,
        "liquidity_gap": 0.0,
        "liquidation_fee": {pair[1]: 0.0 for pair in pairs},
        "collateral_ratio": {"bybit": {"BTC": 0.9, "ETH": 0.9}},
        **tables.pop("margin", {}),
    }
    weights = [1.0 + 0.5 * number for number in range(len(pairs))]
    return make_settings(pairs, wallets, weights, margin=margin, fees={"override": NO_FEES}, **tables)


def run(settings: Settings, history: MarketHistory, book: TierBook, targets: Any) -> Any:
    script = scripted(targets)
    setup = build(settings, history, book)
    world = run_python(setup.world, script)
    return outcome(setup, world, history, settings, {}, {})


class TestNotListedYet:
    def test_a_pair_without_prices_does_not_switch_off_the_check_of_its_account(self) -> None:
        """BTC short 10 at 100 of 1,500 with coins at 0.9: 1500 = (1 + 10 x 1 %) P. ETH is listed later."""
        path = np.array([100.0, 100.0, 100.0, 100.0, 2000.0, 2000.0])
        absent = np.full(path.size, math.nan)
        history = market(
            spot(BTC_BYBIT[0], bars(path)),
            perp(BTC_BYBIT[1], bars(path), NOTHING_DUE),
            spot(ETH_BYBIT[0], bars(absent)),
            perp(ETH_BYBIT[1], bars(absent), NOTHING_DUE),
        )
        settings = settings_of([BTC_BYBIT, ETH_BYBIT], {"bybit:unified": {"USDT": 1500.0}})
        fees = settings.fees.override
        assert set(fees[BTC_BYBIT[1]].values()) == {0.0}
        book = TierBook([flat_tiers(pair[1], 0.01) for pair in (BTC_BYBIT, ETH_BYBIT)])
        result = run(settings, history, book, {1.0: {0: enter(10_000_000, -10_000)}})
        assert events(result, "liquidation")[0]["mark_price"] == pytest.approx(1500 / 1.1, rel=1e-9)
        assert np.isfinite(result.liquidation_distance[2:4, 0]).all()
        assert np.isfinite(result.collateral_ratio[2:4, 0]).all()


class TestCoinsBehindAPerp:
    def test_a_fall_liquidates_where_more_coins_than_the_perp_hedges_back_it(self) -> None:
        """15 coins at 0.9, a short of 10 from 100, and 1,100 owed: -1100 + 13.5 P + 10 (100 - P) = 0.1 P."""
        path = np.array([100.0, 100.0, 100.0, 60.0, 60.0, 20.0, 20.0])
        settings = settings_of([BTC_BYBIT], {"bybit:unified": {"USDT": 4000.0}})
        script = scripted({1.0: enter(15_000_000, -10_000)})
        world = grown(build(settings, one_pair(BTC_BYBIT, path), TierBook([flat_tiers(BTC_BYBIT[1], 0.01)])).world)
        measure_start(world)
        script.bind(world)
        for instant in range(1, 5):
            step_for_python(world, instant, 6)
            script.on_instant()
        assert [int(lots) for lots in world.legs.lots] == [15_000_000, -10_000]
        world.holdings[int(world.legs[1].wallet), int(world.legs[1].settle_asset)].balance = -1100.0
        assert liquidation_distance(world, 1, -1) == pytest.approx(1.0 - (100 / 3.4) / 60.0, rel=1e-9)
        step_for_python(world, 5, 6)
        (found,) = [row for row in world.journal[: world.run[0].journal_rows] if row.event == LIQUIDATION]
        assert found.price == pytest.approx(100 / 3.4, rel=1e-9)

    def test_the_fund_does_not_pay_a_deficit_that_coins_of_another_pair_back(self) -> None:
        """The fee of the larger short takes all equity, so the smaller goes as well: coins of 900 back what is owed."""
        across = ("binance:spot:ETHUSDT", ETH_BYBIT[1])
        flat, rise = np.full(7, 100.0), np.array([100.0, 100.0, 100.0, 100.0, 400.0, 400.0, 400.0])
        history = market(
            spot(BTC_BYBIT[0], bars(flat)),
            perp(BTC_BYBIT[1], bars(flat), NOTHING_DUE),
            spot(across[0], bars(rise)),
            perp(across[1], bars(rise), NOTHING_DUE),
        )
        settings = settings_of(
            [BTC_BYBIT, across],
            {"bybit:unified": {"USDT": 3000.0}, "binance:spot": {"USDT": 1100.0}},
            margin={"liquidation_fee": {BTC_BYBIT[1]: 0.9, across[1]: 0.0}},
        )
        book = TierBook([flat_tiers(BTC_BYBIT[1], 0.15), flat_tiers(across[1], 0.01)])
        plan = {0: enter(10_000_000, -10_000), 1: enter(100_000, -1_000)}
        result = run(settings, history, book, {1.0: plan})
        closed = {entry["instrument"] for entry in events(result, "liquidation")}
        assert closed == {BTC_BYBIT[1], across[1]}
        assert rows(result, Flow.TAKEOVER).size == 0


def test_a_tier_table_holds_for_the_bars_that_start_with_it_or_later() -> None:
    """New tiers from hour 5 on ask 50 % more than the margin: bar 4 (hour 4 to 5) is judged by the old ones."""
    history = one_pair(BTC, np.full(9, 100.0))
    wallets = {"binance:spot": {"USDT": 1000.0}, "binance:linear": {"USDT": 250.0}}
    settings = settings_of([BTC], wallets)
    book = TierBook([flat_tiers(BTC[1], 0.01), flat_tiers(BTC[1], 0.3, START + 5 * HOUR_MS)])
    result = run(settings, history, book, {1.0: enter(1_000_000, -100_000)})
    assert events(result, "liquidation")[0]["time_ms"] == START + 6 * HOUR_MS
    distance = result.liquidation_distance[:, 0]
    assert distance[4] > 0.2
    assert distance[5] == 0.0


def test_what_a_liquidation_in_part_leaves_hedged_is_no_naked_profit() -> None:
    """Bybit closes down to its lower tier. From then to the bar's end only the coins that lost their hedge count."""
    tiers = [TierRow(0, 600, 0.01, 20), TierRow(600, 1e9, 0.15, 5)]
    book = TierBook([tier_table(BTC_ACROSS[1], "USDT", 0, tiers, "made by hand")])
    path = np.array([100.0, 100.0, 100.0, 100.0, 119.0])
    history = one_pair(BTC_ACROSS, path)
    settings = settings_of([BTC_ACROSS], {"binance:spot": {"USDT": 1000.0}, "bybit:unified": {"USDT": 260.0}})
    result = run(settings, history, book, {1.0: enter(1_000_000, -10_000)})
    (found,) = events(result, "liquidation")
    mark, closed = found["mark_price"], found["lots"] * 0.001
    # 260 + 10 (100 - P) = 1.5 P - 84
    assert mark == pytest.approx(1344 / 11.5, rel=1e-9)
    assert 0 < closed < 10
    parts = result.attribution[4, 0]
    assert parts[Component.NAKED] == pytest.approx(closed * (119.0 - mark), rel=1e-9)
    assert parts[Component.DELTA] == pytest.approx(0.0, abs=1e-9)


def test_beyond_the_last_step_in_stages_everything_is_closed() -> None:
    """A fifth of 500 billion at a time does not come below 100,000 in 64 steps; the margin is gone from the first."""
    settings = settings_of([BTC], {"binance:spot": {"USDT": 6e11}, "binance:linear": {"USDT": 2e11}})
    history = one_pair(BTC, np.array([100.0, 100.0, 100.0, 100.0, 200.0]))
    setup = build(settings, history, TierBook([flat_tiers(BTC[1], 0.01)]))
    setup.world.legs[1].stage = int(Stage.FIFTH)
    setup.world.legs[1].liquidation_fee = 1.0
    lots = 5_000_000_000 * 10_000
    script = scripted({1.0: enter(10 * lots, -lots)})
    world = run_python(setup.world, script)
    assert int(world.legs[1].lots) == 0
    steps = [row for row in world.journal[: world.run[0].journal_rows] if row.event == LIQUIDATION]
    assert len(steps) == MOST_STEPS + 1


class TestOrdersFilledInsideABar:
    def test_a_short_that_a_resting_order_opened_is_liquidated_in_the_same_bar(self) -> None:
        """Filled at 100 on the way to 150; the perp wallet of 260 is gone at 126 and what is beyond is the fund's."""
        path = np.array([100.0, 100.0, 100.0, 100.0, 150.0, 150.0])
        settings = settings_of(
            [BTC],
            {"binance:spot": {"USDT": 1100.0}, "binance:linear": {"USDT": 260.0}},
            execution={"style": Style.MAKER_FIRST, "first_leg": FirstLeg.PERP},
        )
        book = TierBook([flat_tiers(BTC[1], 0.01)])
        result = run(settings, one_pair(BTC, path), book, {2.0: enter(1_000_000, -100_000)})
        (fill, forced) = [entry for entry in events(result, "fill") if entry["instrument"] == BTC[1]]
        assert fill["time_ms"] == forced["time_ms"] == START + 4 * HOUR_MS
        assert result.status == "completed"
        assert rows(result, Flow.TAKEOVER)["amount"] == pytest.approx([10 * 50.0 - 260.0], rel=1e-9)


class TestDeficitOfAUnifiedWallet:
    def test_the_fund_bears_what_coins_do_not_cover(self) -> None:
        """A short of 10 against half a coin: with a gap of 1 it closes at 400, which costs 3,000 of the 950 left."""
        path = np.array([100.0, 100.0, 100.0, 100.0, 400.0, 400.0])
        settings = settings_of([BTC_BYBIT], {"bybit:unified": {"USDT": 1000.0}}, margin={"liquidity_gap": 1.0})
        book = TierBook([flat_tiers(BTC_BYBIT[1], 0.01)])
        result = run(settings, one_pair(BTC_BYBIT, path), book, {1.0: enter(500_000, -10_000)})
        (found,) = events(result, "liquidation")
        assert found["price"] == pytest.approx(400.0)
        # 950 + 0.45 P + 10 (100 - P) = 0.1 P
        assert found["mark_price"] == pytest.approx(1950 / 9.65, rel=1e-9)
        left = 950 - 3000 + 0.45 * found["mark_price"]
        assert rows(result, Flow.TAKEOVER)["amount"] == pytest.approx([-left], rel=1e-9)
        assert result.status == "completed"


def test_rounding_of_money_in_transit_ends_no_run() -> None:
    settings = settings_of(
        [BTC_ACROSS],
        {"binance:spot": {"USDT": 5000.0}, "bybit:unified": {"USDT": 100.0}},
        transfers={"cross_venue": True, "cross_venue_delay_ms": 3 * HOUR_MS, "cross_venue_fee": 1.0},
    )
    targets = {1.0: move(333.3), 2.0: move(100.1)}
    result = run(settings, one_pair(BTC_ACROSS, 100.0, 10), TierBook([flat_tiers(BTC_ACROSS[1], 0.01)]), targets)
    assert len(events(result, "transfer_arrived")) == 2
    transit = result.wallet_names.index("in transit")
    assert result.wallet_equity[-1, transit] < 0.0
    assert result.status == "completed"


def test_a_contract_of_two_pairs_is_noted_because_its_tier_is_that_of_their_net_position() -> None:
    other = ("bybit:spot:BTCUSDT", BTC[1])
    history = market(
        spot(BTC[0], bars(100.0, 4)), perp(BTC[1], bars(100.0, 4), NOTHING_DUE), spot(other[0], bars(100.0, 4))
    )
    settings = settings_of([BTC, other], {"binance:spot": {"USDT": 1000.0}})
    words = f"{BTC[1]} is the perp of several pairs: its tier is that of their net"
    assert any(words in note for note in build(settings, history).notes)
    assert not any("is the perp of" in note for note in build(settings_of([BTC], None), one_pair(BTC, 100.0, 4)).notes)
