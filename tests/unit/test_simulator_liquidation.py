"""The venue's margin check in a run: when it liquidates, at which price, what it takes, and what the pair does then.

Hand market: spot and perp at 100, short 10 BTC on a perp wallet of 300. Maintenance is 0.4 %, so the account is
liquidated at 300 + 10 x (100 - P) = 0.04 P, which is P = 1300 / 10.04.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from crypto.errors import DataError, RefusedError, SettingsError
from crypto.ledger import Component, Flow
from crypto.market import MarketHistory
from crypto.pipeline.orders import Intent, OrderReason
from crypto.result import BacktestResult
from crypto.settings import EarlyTiers, MarginEngine, NakedPolicy, Settings
from crypto.simulator.loop import run_python
from crypto.simulator.python_strategy import PythonPipeline
from crypto.simulator.setup import build
from crypto.tiers import TierBook, TierRow, tier_table
from research.backtest import outcome, run_backtest
from tests.markets import (
    BTC,
    BTC_BYBIT,
    BTC_INVERSE,
    ETH_BYBIT,
    INVERSE_WALLETS,
    NO_FEES,
    Script,
    bars,
    enter,
    events,
    make_settings,
    market,
    one_pair,
    perp,
    rows,
    run_script,
    scripted,
    settlements,
    spot,
)

LIQUIDATION_PRICE = 1300 / 10.04
MAINTENANCE = 0.04 * LIQUIDATION_PRICE
KEY = BTC[1]
WALLETS = {"binance:spot": {"USDT": 1000.0}, "binance:linear": {"USDT": 300.0}}
TEN_BTC = enter(1_000_000, -100_000)
TEN_ON_BYBIT = enter(10_000_000, -10_000)


def path(*prices: float) -> np.ndarray:
    """A path that is flat at 100 for three hours and then goes through ``prices``."""
    return np.array([100.0, 100.0, 100.0, 100.0, *prices])


def settings_of(wallets: Any = WALLETS, fee: float = 0.02, gap: float = 0.0, **tables: Any) -> Settings:
    margin = {"engine": MarginEngine.VENUE, "liquidation_fee": {KEY: fee}, "liquidity_gap": gap}
    return make_settings(
        [BTC], wallets, margin={**margin, **tables.pop("margin", {})}, fees={"override": NO_FEES}, **tables
    )


def run(settings: Settings, history: MarketHistory, plan: Any = TEN_BTC) -> BacktestResult:
    return run_script(settings, history, {1.0: plan})


def perp_balance(result: BacktestResult) -> float:
    wallet = result.wallet_names.index("binance:linear")
    chosen = result.ledger[(result.ledger["wallet"] == wallet)]
    return float(chosen["amount"].sum())


class TestTrigger:
    def test_a_rise_below_the_liquidation_price_changes_nothing(self) -> None:
        result = run(settings_of(), one_pair(BTC, path(LIQUIDATION_PRICE - 1e-6, 100.0)))
        assert events(result, "liquidation") == []
        assert result.orders.size == 2

    def test_the_liquidation_price_itself_liquidates(self) -> None:
        result = run(settings_of(), one_pair(BTC, path(LIQUIDATION_PRICE + 1e-6, 100.0)))
        (found,) = events(result, "liquidation")
        assert found["mark_price"] == pytest.approx(LIQUIDATION_PRICE, rel=1e-12)
        assert found["lots"] == 100_000

    def test_a_spike_of_the_mark_inside_a_bar_liquidates(self) -> None:
        history = one_pair(BTC, path(100.0, 100.0))
        mark = history.instruments[1].mark
        assert mark is not None
        high = mark.high.copy()
        high[4] = 140.0
        spiked = replace(history.instruments[1], mark=replace(mark, high=high))
        result = run(settings_of(), replace(history, instruments=(history.instruments[0], spiked)))
        assert events(result, "liquidation")[0]["mark_price"] == pytest.approx(LIQUIDATION_PRICE, rel=1e-12)

    def test_a_spike_of_the_last_trade_does_not(self) -> None:
        history = one_pair(BTC, path(100.0, 100.0), mark=bars(100.0, 5))
        perp = history.instruments[1]
        high = perp.bars.high.copy()
        high[4] = 140.0
        spiked = replace(perp, bars=replace(perp.bars, high=high))
        result = run(settings_of(), replace(history, instruments=(history.instruments[0], spiked)))
        assert events(result, "liquidation") == []

    def test_without_the_engine_the_run_ends_where_the_wallet_is_used_up(self) -> None:
        result = run(settings_of(margin={"engine": MarginEngine.OFF}), one_pair(BTC, path(150.0, 150.0)))
        assert result.status.startswith("stopped")
        assert result.status.endswith("was used up; a venue would have liquidated before")

    def test_with_the_engine_nobody_says_that_a_venue_would_have_liquidated(self) -> None:
        """10 borrowed BTC sold at 100 leave 2,000; at 300 they cost 3,000, and no margin level is kept for them."""
        borrow = {"enabled": True, "hourly_rate": {"binance": {"BTC": 0.0}}}
        history = one_pair(BTC, path(300.0, 300.0))
        result = run(settings_of(borrow=borrow), history, enter(-1_000_000, 100_000))
        assert result.status.startswith(
            "stopped at 2024-01-01T04:00:00Z: the margin of wallet binance:spot was used up"
        )
        assert "would have liquidated" not in result.status
        assert "borrowed coins" in result.status

    def test_funding_that_drains_the_margin_moves_the_liquidation_price(self) -> None:
        """A payment of 10 x 100 x 10 % = 100 leaves 200: 1200 = 10.04 P."""
        due = settlements([3.0], -0.1, 100.0)
        result = run(settings_of(), one_pair(BTC, path(150.0, 150.0), due=due))
        assert rows(result, Flow.FUNDING)["amount"].tolist() == [-100.0]
        assert events(result, "liquidation")[0]["mark_price"] == pytest.approx(1200 / 10.04, rel=1e-12)


class TestMoney:
    def test_the_fee_is_paid_from_what_is_there(self) -> None:
        """2 % of 10 x 129.48 is 25.90, the margin left is 5.18."""
        result = run(settings_of(fee=0.02), one_pair(BTC, path(150.0, 150.0)))
        assert rows(result, Flow.LIQUIDATION_FEE)["amount"] == pytest.approx([-MAINTENANCE], rel=1e-9)
        assert perp_balance(result) == pytest.approx(0.0, abs=1e-9)
        assert result.policies["margin engine"]["paid to the insurance fund"] == pytest.approx(MAINTENANCE, rel=1e-9)

    def test_a_fill_beyond_bankruptcy_is_borne_by_the_fund(self) -> None:
        """At a gap of 0.3 the fill is 0.3 of the way from 129.48 to 150; the account is bankrupt at 130."""
        result = run(settings_of(gap=0.3), one_pair(BTC, path(150.0, 150.0)))
        fill = LIQUIDATION_PRICE + 0.3 * (150.0 - LIQUIDATION_PRICE)
        assert events(result, "liquidation")[0]["price"] == pytest.approx(fill, rel=1e-12)
        assert rows(result, Flow.TAKEOVER)["amount"] == pytest.approx([10 * (fill - 130.0)], rel=1e-9)
        assert perp_balance(result) == pytest.approx(0.0, abs=1e-9)
        parts = result.attribution.sum(axis=0)[0]
        assert parts[Component.LIQUIDATION] == pytest.approx(-MAINTENANCE, rel=1e-9)

    def test_order_and_fill_are_on_record(self) -> None:
        result = run(settings_of(), one_pair(BTC, path(150.0, 150.0)))
        forced = result.orders[result.orders["intent"] == int(Intent.LIQUIDATION)]
        assert forced["lots"].tolist() == [100_000]
        assert forced["reason"].tolist() == [int(OrderReason.LIQUIDATED)]
        assert forced["average_price"] == pytest.approx([LIQUIDATION_PRICE], rel=1e-12)

    def test_a_forced_fill_is_turnover(self) -> None:
        """Spot and perp of 1,000 each, then 10 x 129.48 bought by force, after which all margin left is the fund's."""
        result = run(settings_of(fee=0.02), one_pair(BTC, path(150.0, 150.0)))
        equity = [1300.0] * 4 + [10 * 150.0] * 2
        assert result.equity == pytest.approx(equity, rel=1e-9)
        traded = 2000.0 + 10 * LIQUIDATION_PRICE
        assert result.summary["turnover"] == pytest.approx(traded / np.mean(equity), rel=1e-9)

    def test_forced_fills_without_a_fee_and_in_parts_are_turnover_too(self) -> None:
        """A spot lot is 0.00001 BTC, a perp lot 0.0001; by the orders, which the figure is not made of."""
        result = run(settings_of(fee=0.0), one_pair(BTC, path(150.0, 150.0)))
        assert len(events(result, "liquidation")) > 1
        size = np.abs(result.orders["filled_lots"]) * np.where(result.orders["leg"] == 0, 1e-5, 1e-4)
        traded = float(np.sum(size * result.orders["average_price"]))
        assert result.summary["turnover"] * np.mean(result.equity) == pytest.approx(traded, rel=1e-9)

    def test_components_of_a_round_trip_add_up_to_its_profit(self) -> None:
        result = run(settings_of(fee=0.02), one_pair(BTC, path(150.0, 150.0)))
        assert result.trips["liquidation"] == pytest.approx([-MAINTENANCE], abs=1e-9)
        parts = ("basis", "delta", "funding", "borrow", "fees", "slippage", "liquidation", "adl", "naked")
        assert sum(result.trips[name][0] for name in parts) == pytest.approx(result.trips["pnl"][0], abs=1e-9)

    @pytest.mark.parametrize("gap", [0.0, 0.3, 1.0])
    @pytest.mark.parametrize("fee", [0.0, 0.001, 0.02])
    def test_attribution_adds_up_to_the_change_of_equity(self, gap: float, fee: float) -> None:
        result = run(settings_of(fee=fee, gap=gap), one_pair(BTC, path(150.0, 120.0, 90.0, 95.0)))
        change = np.diff(result.equity)
        np.testing.assert_allclose(result.attribution[1:].sum(axis=(1, 2)), change, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(np.diff(result.pair_pnl[:, 0]), result.attribution[1:, 0].sum(axis=1), atol=1e-9)


class TestStages:
    TIERS = TierBook(
        [
            tier_table(
                KEY,
                "USDT",
                0,
                [TierRow(0, 500, 0.01, 20), TierRow(500, 800, 0.05, 10), TierRow(800, 1e9, 0.10, 5)],
                "made by hand",
            )
        ]
    )

    def run_staged(self, fee: float) -> BacktestResult:
        settings, history = settings_of(fee=fee), one_pair(BTC, path(1360 / 11 + 1e-7, 120.0))
        setup = build(settings, history, self.TIERS)
        world = run_python(setup.world, scripted({1.0: TEN_BTC}))
        return outcome(setup, world, history, settings, {}, {})

    def test_only_the_lots_that_restore_the_margin_are_closed(self) -> None:
        """Deductions 20 and 60. 300 + 10 (100 - P) = P - 60 at P = 1360 / 11; then 0.1 P a BTC is freed at 0.02 P.

        The bar ends there, so next to nothing is missing.
        """
        result = self.run_staged(0.02)
        (found,) = events(result, "liquidation")
        assert found["mark_price"] == pytest.approx(1360 / 11, rel=1e-12)
        assert found["lots"] <= 2

    def test_the_rest_is_still_hedged_and_the_excess_of_spot_is_sold(self) -> None:
        result = self.run_staged(0.02)
        assert result.perp_value[-1, 0] < -1000.0


class TestOneContractOfTwoPairs:
    """Spot on two venues, the perp of both is Binance's: to the venue that is one position, in one tier.

    Tiers as above: 1 % to 500, 5 % less 20 to 800, then 10 % less 60; 300 in the perp wallet, everything at 100.
    """

    OTHER = ("bybit:spot:BTCUSDT", KEY)

    def run(self, plans: Any, *prices: float) -> BacktestResult:
        settings = make_settings(
            [BTC, self.OTHER],
            {**WALLETS, "bybit:unified": {"USDT": 1000.0}},
            [1.0, 1.5],
            margin={"engine": MarginEngine.VENUE, "liquidation_fee": {KEY: 0.02}, "liquidity_gap": 0.0},
            fees={"override": {**NO_FEES, self.OTHER[0]: {"maker": 0.0, "taker": 0.0}}},
            borrow={"enabled": True, "hourly_rate": {"bybit": {"BTC": 0.0}, "binance": {"BTC": 0.0}}},
        )
        walk = bars(path(*prices))
        history = market(spot(BTC[0], walk), perp(KEY, walk, settlements([])), spot(self.OTHER[0], walk))
        setup = build(settings, history, TestStages.TIERS)
        script = Script({1.0: plans})
        world = run_python(setup.world, PythonPipeline(signal_model=script, allocator=script, risk_guard=script))
        return outcome(setup, world, history, settings, {}, {})

    def test_two_shorts_stand_in_the_tier_of_their_sum(self) -> None:
        """5 + 5 short: 300 + 10 (100 - P) = P - 60, as for one pair of 10; each alone it would be at 1340 / 10.5."""
        result = self.run({0: enter(500_000, -50_000), 1: enter(5_000_000, -50_000)}, 1360 / 11 - 1e-6, 100.0)
        assert events(result, "liquidation") == []
        result = self.run({0: enter(500_000, -50_000), 1: enter(5_000_000, -50_000)}, 1360 / 11 + 1e-6, 100.0)
        assert events(result, "liquidation")[0]["mark_price"] == pytest.approx(1360 / 11, rel=1e-9)
        assert any("net position" in note for note in result.provenance["notes"])

    def test_a_long_and_a_short_are_netted(self) -> None:
        """9 short and 3 long: 300 + 6 (100 - P) = 0.6 P - 60 at P = 960 / 6.6; apart it would be at 960 / 6.93."""
        plans = {0: enter(900_000, -90_000), 1: enter(-3_000_000, 30_000)}
        assert events(self.run(plans, 960 / 6.6 - 1e-6, 100.0), "liquidation") == []
        found = events(self.run(plans, 960 / 6.6 + 1e-6, 100.0), "liquidation")
        assert found[0]["mark_price"] == pytest.approx(960 / 6.6, rel=1e-9)
        assert found[0]["pair"] == "BTC binance"  # its short makes the net position

    def test_a_whole_liquidation_closes_the_net_position_and_money_adds_up(self) -> None:
        result = self.run({0: enter(900_000, -90_000), 1: enter(-3_000_000, 30_000)}, 200.0, 200.0, 200.0)
        assert result.status == "completed"
        assert sum(entry["lots"] for entry in events(result, "liquidation")) == 60_000
        wallet = result.wallet_names.index("binance:linear")
        assert result.wallet_equity[-1, wallet] == pytest.approx(0.0, abs=1e-6)
        change = np.diff(result.equity)
        np.testing.assert_allclose(result.attribution[1:].sum(axis=(1, 2)), change, rtol=1e-9, atol=1e-9)

    def test_what_cancels_out_after_a_liquidation_does_not_end_the_run(self) -> None:
        """1 short and 5 long: 300 - 4 (100 - P) = 0.04 P at P = 100 / 3.96, where the fee takes all that is left.

        1 and 1 are held on against each other in an empty wallet. At 30 the spot legs are worth 930 and 1,350.
        """
        result = self.run({0: enter(100_000, -10_000), 1: enter(-5_000_000, 50_000)}, 10.0, 10.0, 30.0, 30.0)
        (found,) = events(result, "liquidation")
        assert (found["pair"], found["lots"]) == ("BTC bybit/binance", -40_000)
        assert found["mark_price"] == pytest.approx(100 / 3.96, rel=1e-9)
        assert result.status == "completed"
        assert result.equity[-1] == pytest.approx(930.0 + 1350.0, rel=1e-9)
        assert np.isin(result.liquidation_distance[4:], (1.0,)).all()  # nothing is left that a price could hurt
        np.testing.assert_allclose(
            result.attribution[1:].sum(axis=(1, 2)), np.diff(result.equity), rtol=1e-9, atol=1e-9
        )

    def test_the_distance_is_that_of_the_net_position(self) -> None:
        result = self.run({0: enter(500_000, -50_000), 1: enter(5_000_000, -50_000)}, 110.0, 110.0)
        assert result.liquidation_distance[-1] == pytest.approx([1360 / 11 / 110 - 1] * 2, rel=1e-9)


class TestNakedPolicy:
    PRICES = path(150.0, 150.0, 160.0, 160.0, 160.0)

    def settings(self, policy: NakedPolicy, hours: float = 2.0, wallets: Any = WALLETS) -> Settings:
        return settings_of(
            wallets,
            risk={"naked_policy": policy, "naked_wait_hours": hours, "max_pair_fraction": 1.0},
            signal={
                "warmup_hours": 0.0,
                "entry_edge_bps": -10_000.0,
                "cooldown_hours": 1000.0,
                "min_holding_hours": 0.0,
            },
            portfolio={"collateral_ratio": 0.29, "min_collateral_ratio": 0.01, "deploy": 1.0},
        )

    def result(self, policy: NakedPolicy, wallets: Any = WALLETS) -> BacktestResult:
        due = settlements([1.0], 1e-3, 100.0)
        history = one_pair(BTC, self.PRICES, due=due)
        return run_backtest(self.settings(policy, wallets=wallets), history, compiled=False)

    def sold_at(self, result: BacktestResult) -> list[float]:
        done = result.orders[(result.orders["leg"] == 0) & (result.orders["filled_lots"] < 0)]
        return [float(price) for price in done["average_price"]]

    def test_flatten_sells_at_the_next_open(self) -> None:
        result = self.result(NakedPolicy.FLATTEN)
        assert len(events(result, "liquidation")) == 1
        assert self.sold_at(result) == [150.0]
        assert result.spot_value[-1, 0] == pytest.approx(0.0, abs=0.01)
        assert events(result, "trip_closed")[0]["reason"] == "liquidated"

    def test_wait_holds_for_its_hours_and_its_gain_is_named(self) -> None:
        result = self.result(NakedPolicy.WAIT)
        assert self.sold_at(result) == [160.0]
        naked = result.attribution.sum(axis=0)[0, Component.NAKED]
        held = float(result.orders["filled_lots"][0]) * 1e-5
        assert naked == pytest.approx(held * (160.0 - events(result, "liquidation")[0]["mark_price"]), rel=1e-9)

    def test_rehedge_opens_the_perp_again_where_the_margin_allows_it(self) -> None:
        """The spot wallet's spare cash cannot be used, so without margin the pair is flattened instead."""
        poor = self.result(NakedPolicy.REHEDGE)
        assert self.sold_at(poor) == [150.0]


class TestUnifiedWallet:
    def settings(self, ratio: float, **margin: Any) -> Settings:
        return make_settings(
            [BTC_BYBIT],
            {"bybit:unified": {"USDT": 1500.0}},
            margin={
                "engine": MarginEngine.VENUE,
                "collateral_ratio": {"bybit": {"BTC": ratio}},
                "liquidity_gap": 0.0,
                **margin,
            },
            fees={"override": NO_FEES},
        )

    def test_spot_in_the_same_wallet_backs_the_short(self) -> None:
        result = run_script(self.settings(1.0), one_pair(BTC_BYBIT, path(200.0, 400.0, 800.0)), {1.0: TEN_ON_BYBIT})
        assert events(result, "liquidation") == []

    def test_after_a_haircut_a_large_rise_still_liquidates(self) -> None:
        """Balance 500, spot 9.5 P, short 10 (100 - P), maintenance m 10 P: 1500 = (0.5 + 10 m) P."""
        settings = self.settings(0.95)
        result = run_script(settings, one_pair(BTC_BYBIT, path(2000.0, 4000.0)), {1.0: TEN_ON_BYBIT})
        world = build(settings, one_pair(BTC_BYBIT, path(200.0))).world
        rate = float(world.tiers[1, 0])
        (found,) = events(result, "liquidation")
        assert found["mark_price"] == pytest.approx(1500 / (0.5 + 10 * rate), rel=1e-9)
        assert rows(result, Flow.TAKEOVER).size == 0

    def test_a_coin_without_a_ratio_is_named(self) -> None:
        settings = make_settings(
            [ETH_BYBIT], {"bybit:unified": {"USDT": 1000.0}}, margin={"engine": MarginEngine.VENUE}
        )
        book = TierBook([tier_table(ETH_BYBIT[1], "USDT", 0, [TierRow(0, 1e9, 0.01, 50)], "made by hand")])
        with pytest.raises(SettingsError, match="no collateral ratio for ETH on bybit"):
            build(settings, one_pair(ETH_BYBIT, path(100.0)), book)


class TestInverse:
    def test_a_short_hedged_by_its_own_coin_is_never_liquidated(self) -> None:
        book = TierBook([tier_table(BTC_INVERSE[1], "BTC", 0, [TierRow(0, 1e9, 0.01, 50)], "made by hand")])
        settings = make_settings(
            [BTC_INVERSE], INVERSE_WALLETS, margin={"engine": MarginEngine.VENUE}, fees={"override": NO_FEES}
        )
        history = one_pair(BTC_INVERSE, path(500.0, 5000.0))
        world = build(settings, history, book).world
        assert world.tiers.shape == (5, 1)
        result = run_backtest(replace(settings, margin=replace(settings.margin, engine=MarginEngine.OFF)), history)
        assert result.status == "completed"


class TestRefusals:
    def test_a_contract_without_tiers_is_named(self) -> None:
        settings = make_settings([BTC_INVERSE], INVERSE_WALLETS, margin={"engine": MarginEngine.VENUE})
        with pytest.raises(DataError, match="no leverage tiers for binance:inverse:BTCUSD"):
            build(settings, one_pair(BTC_INVERSE, 100.0, 4))

    def test_a_run_before_the_first_table_fails_where_asked_and_is_noted_otherwise(self) -> None:
        history = one_pair(BTC, 100.0, 4, start_ms=1_577_836_800_000)
        with pytest.raises(DataError, match="the run starts at 2020-01-01"):
            build(settings_of(margin={"tiers_before_first": EarlyTiers.FAIL}), history)
        assert any("leverage tiers of 2021-03-18" in note for note in build(settings_of(), history).notes)

    def test_a_leverage_above_the_first_tier_is_named(self) -> None:
        with pytest.raises(RefusedError, match=r"perp_leverage = 130 is above 125"):
            build(settings_of(portfolio={"perp_leverage": 130.0}), one_pair(BTC, 100.0, 4))

    def test_an_order_into_a_tier_with_less_leverage_is_rejected(self) -> None:
        book = TierBook(
            [tier_table(KEY, "USDT", 0, [TierRow(0, 500, 0.01, 20), TierRow(500, 900, 0.1, 3)], "made by hand")]
        )
        for lots, reason in ((-70_000, OrderReason.LEVERAGE_TOO_HIGH), (-95_000, OrderReason.BEYOND_TIERS)):
            setup = build(settings_of(), one_pair(BTC, 100.0, 4), book)
            world = run_python(setup.world, scripted({1.0: enter(-10 * lots, lots)}))
            refused = np.asarray(world.orders[: world.run[0].order_rows])
            assert int(reason) in refused["reason"].tolist()


def test_fund_and_account_together_keep_every_unit() -> None:
    """What the ledger says we paid and got from the venue is what the fund's counters say, and nothing is left over."""
    result = run(settings_of(gap=0.5, fee=0.01), one_pair(BTC, path(150.0, 90.0, 200.0)))
    ours = sum(
        (Fraction(float(row["value"])) for flow in (Flow.LIQUIDATION_FEE, Flow.TAKEOVER) for row in rows(result, flow)),
        start=Fraction(0),
    )
    fund = result.policies["margin engine"]
    theirs = Fraction(fund["paid to the insurance fund"]) - Fraction(fund["borne by the insurance fund"])
    assert float(ours + theirs) == pytest.approx(0.0, abs=1e-9)
