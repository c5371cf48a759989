"""Guards: hand arithmetic of the amounts, latches, and what each one does in a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from crypto.pipeline import guards
from crypto.pipeline.orders import OrderReason
from crypto.result import BacktestResult
from crypto.settings import MarginEngine, Settings
from crypto.simulator.loop import run_compiled, run_python
from crypto.simulator.python_strategy import PythonPipeline
from crypto.simulator.setup import build
from crypto.simulator.state import KILL, REARMED, World
from crypto.simulator.strategy import rearm
from crypto.units import HOUR_MS, iso
from research.backtest import run_backtest
from tests.markets import (
    BTC,
    BTC_BYBIT,
    ETH,
    NO_FEES,
    START,
    bars,
    enter,
    events,
    make_settings,
    market,
    one_pair,
    perp,
    scripted,
    settlements,
    spot,
)

KEEN = {"warmup_hours": 0.0, "entry_edge_bps": -10_000.0, "cooldown_hours": 1000.0, "min_holding_hours": 1000.0}
LOOSE = {"pair_drawdown": 1.0, "basis_blowout_bps": 100_000.0, "flip_annual": -100.0}


class TestAmounts:
    def test_the_worked_example(self) -> None:
        """60 behind a short of 1,000: at +20 % it lacks 1,000 x 0.2 + 0.004 x 1,200 - 60 = 144.80."""
        assert guards.kept_fraction(60.0, -144.80) == pytest.approx(60 / 204.80)

    def test_what_is_kept_has_no_surplus_left(self) -> None:
        closed, surplus = Fraction(1500), Fraction(-1968, 10)
        keep = Fraction(guards.kept_fraction(float(closed), float(surplus)))
        assert float(closed + (surplus - closed) * keep) == pytest.approx(0.0, abs=1e-9)

    @pytest.mark.parametrize(("closed", "surplus", "keep"), [(1.0, 0.0, 1.0), (1.0, 5.0, 1.0), (-1.0, -2.0, 0.0)])
    def test_enough_keeps_everything_and_nothing_keeps_nothing(
        self, closed: float, surplus: float, keep: float
    ) -> None:
        assert guards.kept_fraction(closed, surplus) == keep

    def test_sigmas_are_daily(self) -> None:
        assert guards.in_sigmas(0.12, 0.01**2) == pytest.approx(0.12 / (0.01 * math.sqrt(24)))
        assert guards.in_sigmas(0.12, 0.0) == math.inf

    def test_the_sooner_way_wins_and_a_tie_goes_to_the_transfer(self) -> None:
        hour = 3_600_000
        assert guards.top_up_is_sooner(1_000, 250, hour)
        assert not guards.top_up_is_sooner(hour + 1, 250, hour)
        assert guards.top_up_is_sooner(hour + 1, guards.order_time(25, 10, 250, hour), hour)

    def test_orders_take_a_bar_for_each_part_of_the_volume(self) -> None:
        assert guards.order_time(10, 10, 250, 1000) == 250
        assert guards.order_time(25, 10, 250, 1000) == 2250
        assert guards.order_time(1, 0, 250, 1000) == math.inf


class TestLatch:
    def test_low(self) -> None:
        seen, on = [], False
        for value in (10.0, 4.9, 6.0, 9.9, 10.0, 6.0, 4.0):
            on = guards.latched_low(on, value, 5.0, 10.0)
            seen.append(on)
        assert seen == [False, True, True, True, False, False, True]

    def test_a_number_brought_back_to_the_limit_may_miss_it_by_its_rounding(self) -> None:
        assert not guards.latched_low(True, 0.2 - 1e-15, 0.08, 0.2)
        assert guards.latched_low(True, 0.1999, 0.08, 0.2)

    def test_high(self) -> None:
        seen, on = [], False
        for value in (1.0, 2.1, 1.5, 1.0, 1.5):
            on = guards.latched_high(on, value, 2.0, 1.0)
            seen.append(on)
        assert seen == [False, True, True, False, False]


def settings_of(wallets: Any, **tables: Any) -> Settings:
    return make_settings(
        [BTC],
        wallets,
        margin={"engine": MarginEngine.VENUE, "liquidity_gap": 0.0},
        fees={"override": NO_FEES},
        signal={**KEEN, **LOOSE, **tables.pop("signal", {})},
        risk={"max_pair_fraction": 1.0, "min_sigmas": 0.0, "restore_sigmas": 0.0, **tables.pop("risk", {})},
        portfolio={
            "collateral_ratio": 0.29,
            "min_collateral_ratio": 0.0001,
            "max_collateral_ratio": 50.0,
            "resize_band": 0.0,
            "deploy": 1.0,
            **tables.pop("portfolio", {}),
        },
        **tables,
    )


SLOW_RISE = np.array([100.0, 100.0, 100.0, 110.0, 120.0, 122.0, 122.0, 122.0, 122.0])


class TestDistance:
    def run(self, spot_cash: float, delay_ms: int = 1000) -> BacktestResult:
        """Pair of about 995 with 300 of collateral; at 122 the distance is (300 - 219 - 4.9) / 1,219 = 6 %."""
        wallets = {"binance:spot": {"USDT": 1000.0 + spot_cash}, "binance:linear": {"USDT": 300.0}}
        settings = settings_of(
            wallets, transfers={"delay_ms": delay_ms}, portfolio={"deploy": 1300.0 / (1300.0 + spot_cash)}
        )
        return run_backtest(settings, one_pair(BTC, SLOW_RISE, due=settlements([1.0], 1e-3)), compiled=False)

    def first_decision(self, result: BacktestResult) -> Any:
        return next(entry for entry in events(result, "decision") if entry["reason"] == "liquidation_near")

    def test_collateral_is_moved_in_where_there_is_cash(self) -> None:
        result = self.run(400.0)
        tripped = events(result, "guard_tripped")
        assert [entry["reason"] for entry in tripped] == ["liquidation_near"]
        assert tripped[0]["value"] < 0.08
        moved = [row for row in events(result, "transfer_sent") if row["time_ms"] >= tripped[0]["time_ms"]]
        assert moved[0]["to"] == "binance:linear"
        assert [entry["reason"] for entry in events(result, "guard_released")] == ["liquidation_near"]
        assert result.trips["is_open"].tolist() == [1]

    def test_the_amount_restores_the_distance(self) -> None:
        result = self.run(400.0)
        assert events(result, "guard_released")[0]["value"] == pytest.approx(0.2, abs=1e-6)

    def test_the_pair_is_cut_where_there_is_none(self) -> None:
        result = self.run(0.0)
        assert events(result, "guard_tripped")[0]["reason"] == "liquidation_near"
        assert self.first_decision(result)["action"] == "reduce"
        assert self.first_decision(result)["perp_lots"] > 0
        assert len(events(result, "liquidation")) == 0

    def test_the_pair_is_cut_where_the_transfer_takes_longer(self) -> None:
        result = self.run(400.0, delay_ms=7_200_000)
        assert self.first_decision(result)["action"] == "reduce"

    @pytest.mark.parametrize("compiled", [False, True])
    def test_a_unified_wallet_is_cut_by_what_is_missing_and_no_more(self, compiled: bool) -> None:
        """Coins count by half, tier 0.33 %: Q coins, hedged at any price, are liquidated at 1,500 = Q P (0.5 + 0.0033).

        At 280 that is near; 336 is 20 % away, so 1,500 / (336 x 0.5033) = 8.87 coins stay of about 10. Without the
        coins' own rise it would seem as if 100 of equity backed 2,800, and most of the pair had to go.
        """
        settings = make_settings(
            [BTC_BYBIT],
            {"bybit:unified": {"USDT": 1500.0}},
            margin={"engine": MarginEngine.VENUE, "collateral_ratio": {"bybit": {"BTC": 0.5}}},
            fees={"override": {key: {"maker": 0.0, "taker": 0.0} for key in BTC_BYBIT}},
            signal={**KEEN, **LOOSE},
            risk={"max_pair_fraction": 1.0, "min_sigmas": 0.0, "restore_sigmas": 0.0, "max_asset_fraction": 100.0,
                  "max_gross_leverage": 100.0, "max_venue_fraction": 1.0, "concentration_band": 100.0},
            portfolio={"collateral_ratio": 0.5, "min_collateral_ratio": 0.0001, "max_collateral_ratio": 50.0,
                       "resize_band": 0.0, "deploy": 1.0},
        )  # fmt: skip
        path = np.array([100.0, 100.0, 100.0, 280.0, 280.0, 280.0, 280.0])
        result = run_backtest(settings, one_pair(BTC_BYBIT, path, due=settlements([1.0], 1e-3)), compiled=compiled)
        held = np.abs(result.perp_value[:, 0]) / path
        assert held[2] == pytest.approx(9.96, abs=0.02)
        (tripped,), (released,) = events(result, "guard_tripped"), events(result, "guard_released")
        assert tripped["reason"] == released["reason"] == "liquidation_near"
        assert held[-1] == pytest.approx(1500 / (336 * 0.5033), abs=2e-3)
        assert released["value"] == pytest.approx(0.2, abs=3e-4)
        assert events(result, "liquidation") == []

    @pytest.mark.parametrize("compiled", [False, True])
    def test_low_collateral_of_a_unified_wallet_is_restored_in_one_cut(self, compiled: bool) -> None:
        """1,500 of equity less half of Q P, lost to the haircut, is wanted to be half of the perps' Q P: Q P = 1,500.

        So of the 2,240 at a price of 225 a third goes. A sale brings half its value, not all of it.
        """
        settings = make_settings(
            [BTC_BYBIT],
            {"bybit:unified": {"USDT": 1500.0}},
            margin={"engine": MarginEngine.VENUE, "collateral_ratio": {"bybit": {"BTC": 0.5}}},
            fees={"override": {key: {"maker": 0.0, "taker": 0.0} for key in BTC_BYBIT}},
            signal={**KEEN, **LOOSE},
            risk={"max_pair_fraction": 1.0, "min_sigmas": 0.0, "restore_sigmas": 0.0, "min_distance": 0.0,
                  "restore_distance": 0.0, "max_asset_fraction": 100.0, "max_gross_leverage": 100.0,
                  "concentration_band": 100.0},
            portfolio={"collateral_ratio": 0.5, "min_collateral_ratio": 0.2, "max_collateral_ratio": 50.0,
                       "resize_band": 0.0, "deploy": 1.0},
        )  # fmt: skip
        path = np.array([100.0, 100.0, 100.0, 225.0, 225.0, 225.0, 225.0])
        result = run_backtest(settings, one_pair(BTC_BYBIT, path, due=settlements([1.0], 1e-3)), compiled=compiled)
        cuts = [entry for entry in events(result, "decision") if entry["reason"] == "collateral_low"]
        assert [entry["action"] for entry in cuts] == ["reduce"]
        assert abs(result.perp_value[-1, 0]) == pytest.approx(1500.0, abs=0.5)
        assert result.collateral_ratio[-1, 0] == pytest.approx(0.5, abs=1e-3)

    def test_without_the_guard_the_venue_liquidates(self) -> None:
        wallets = {"binance:spot": {"USDT": 1000.0}, "binance:linear": {"USDT": 300.0}}
        off = settings_of(wallets, risk={"min_distance": 0.0, "restore_distance": 0.0})
        path = np.append(SLOW_RISE, [135.0, 135.0])
        due = settlements([1.0], 1e-3)
        assert len(events(run_backtest(off, one_pair(BTC, path, due=due), compiled=False), "liquidation")) == 1
        on = run_backtest(settings_of(wallets), one_pair(BTC, path, due=due), compiled=False)
        assert events(on, "liquidation") == []

    def test_in_volatility_units(self) -> None:
        """A far distance in price is near when the market moves a tenth an hour."""
        wallets = {"binance:spot": {"USDT": 1000.0}, "binance:linear": {"USDT": 300.0}}
        path = np.array([100.0, 100.0, 110.0, 100.0, 110.0, 100.0, 110.0, 100.0])
        due = settlements([1.0], 1e-3)
        calm = settings_of(wallets, risk={"min_distance": 0.01, "restore_distance": 0.02})
        wild = replace(calm, risk=replace(calm.risk, min_sigmas=3.0, restore_sigmas=4.0))
        assert events(run_backtest(calm, one_pair(BTC, path, due=due), compiled=False), "guard_tripped") == []
        found = events(run_backtest(wild, one_pair(BTC, path, due=due), compiled=False), "guard_tripped")
        assert found[0]["reason"] == "liquidation_near"
        assert found[0]["limit"] == 3.0


class TestOracle:
    def test_a_bad_oracle_forbids_opening_until_it_has_recovered(self) -> None:
        status = np.array([0, 2, 2, 0, 0, 0, 0, 0], dtype=np.int8)
        history = one_pair(BTC, 100.0, 8, due=settlements([1.0], 1e-3))
        wallets = {"binance:spot": {"USDT": 1000.0}, "binance:linear": {"USDT": 300.0}}
        settings = settings_of(wallets, signal={"warmup_hours": 2.0})
        free = run_backtest(settings, history, compiled=False)
        watched = run_backtest(settings, replace(history, oracle={"BTC": status}), compiled=False)
        opened = [events(result, "trip_opened")[0]["time_ms"] for result in (free, watched)]
        assert (opened[1] - opened[0]) // 3_600_000 == 4
        assert any(entry["reason"] == "oracle" and not entry["approved"] for entry in events(watched, "decision"))
        assert [entry["reason"] for entry in events(watched, "guard_released")] == ["oracle"]


class TestConcentration:
    def test_a_pair_that_outgrew_its_asset_limit_is_cut_back_to_it(self) -> None:
        """The rise makes the short's notional larger than its share of an equity that stays."""
        wallets = {"binance:spot": {"USDT": 1000.0}, "binance:linear": {"USDT": 900.0}}
        settings = settings_of(
            wallets,
            risk={"max_asset_fraction": 0.5, "concentration_band": 0.2, "min_distance": 0.0, "restore_distance": 0.0},
        )
        path = np.array([100.0, 100.0, 100.0, 130.0, 130.0, 130.0])
        result = run_backtest(settings, one_pair(BTC, path, due=settlements([1.0], 1e-3)), compiled=False)
        assert events(result, "guard_tripped")[0]["reason"] == "concentrated"
        assert abs(result.perp_value[-1, 0]) == pytest.approx(0.5 * result.equity[-1], rel=0.01)
        assert events(result, "guard_released")[0]["reason"] == "concentrated"


class TestUnhedged:
    def test_work_that_stays_unhedged_is_stopped_and_flattened(self) -> None:
        """The perp stops trading right after the spot leg has filled, so its hedge waits for longer than allowed."""
        spot_bars, perp_bars = bars(100.0, 12), bars(100.0, 12)
        volume = perp_bars.volume.copy()
        volume[1:] = 0.0
        history = market(
            spot(BTC[0], spot_bars), perp(BTC[1], replace(perp_bars, volume=volume), settlements([]), bars(100.0, 12))
        )
        wallets = {"binance:spot": {"USDT": 1000.0}, "binance:linear": {"USDT": 300.0}}
        settings = settings_of(
            wallets, risk={"max_unhedged_hours": 2.0}, execution={"leg_timeout_bars": 1000, "first_leg": "spot"}
        )
        script = scripted({1.0: enter(900_000, -90_000)})
        world = build(settings, history).world
        ended = run_python(world, script)
        orders = np.asarray(ended.orders[: ended.run[0].order_rows])
        assert int(OrderReason.GUARD) in orders["reason"].tolist()


class TestKillSwitch:
    def test_it_stays_off_until_a_person_rearms_it(self) -> None:
        wallets = {"binance:spot": {"USDT": 1000.0}, "binance:linear": {"USDT": 300.0}}
        settings = settings_of(wallets, risk={"max_drawdown": 0.02}, signal={"cooldown_hours": 0.0})
        spot_path = np.array([100.0, 100.0, 100.0, 90.0, 90.0, 90.0, 90.0, 90.0, 90.0, 90.0])
        perp_path = np.array([100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 90.0, 90.0, 90.0, 90.0])
        history = one_pair(BTC, spot_path, perp_prices=perp_path, due=settlements([1.0], 1e-3))
        world = build(settings, history).world

        class RearmsAt(PythonPipeline):
            instant = 0

            def on_instant(self) -> None:
                self.instant += 1
                if self.instant == self.rearm_at:
                    rearm(self._world)
                super().on_instant()

        for rearm_at, trips in ((10**9, 1), (6, 2)):
            pipeline = RearmsAt()
            pipeline.rearm_at = rearm_at
            ended = run_python(build(settings, history).world, pipeline)
            assert int(ended.run[0].trip_rows) == trips
        assert int(world.run[0].trip_rows) == 0

    @pytest.mark.parametrize("run", [run_compiled, lambda world, **more: run_python(world, PythonPipeline(), **more)])
    @pytest.mark.parametrize(
        ("hours", "rearmed"),  # the spot falls in the third bar, so the switch is pulled at its close
        [
            ((), []),
            ((2.5,), []),  # before it was pulled: that says nothing about what comes
            ((3.0,), []),
            ((3.5,), [4.0]),  # obeyed after the decisions of the first close since
            ((5.0,), [5.0]),
            ((5.0, 6.0), [5.0]),  # it is on already
            ((1.0, 4.5, 4.75), [5.0]),
        ],
    )
    def test_the_settings_say_when_a_person_rearms(
        self, run: Callable[..., World], hours: tuple[float, ...], rearmed: list[float]
    ) -> None:
        wallets = {"binance:spot": {"USDT": 1000.0}, "binance:linear": {"USDT": 300.0}}
        dates = tuple(iso(int(START + hour * HOUR_MS)) for hour in hours)
        risk = {"max_drawdown": 0.02, "rearm": dates}
        settings = settings_of(wallets, risk=risk, signal={"cooldown_hours": 0.0})
        spot_path = np.array([100.0, 100.0, 100.0, 90.0, 90.0, 90.0, 90.0, 90.0, 90.0, 90.0])
        perp_path = np.array([100.0, 100.0, 100.0, 100.0, 100.0, 100.0, 90.0, 90.0, 90.0, 90.0])
        history = one_pair(BTC, spot_path, perp_prices=perp_path, due=settlements([1.0], 1e-3))
        setup = build(settings, history)
        ended = run(setup.world, rearm_ms=setup.rearm_ms)
        journal = ended.journal[: ended.run[0].journal_rows]
        at = {
            event: ((journal.time_ms[journal.event == event] - START) / HOUR_MS).tolist() for event in (KILL, REARMED)
        }
        assert at[KILL][0] == 3.0
        assert at[REARMED] == rearmed
        opened = ((ended.trips[: ended.run[0].trip_rows].open_ms - START) / HOUR_MS).tolist()
        assert len(opened) == 1 + len(rearmed)
        assert all(time > moment for time, moment in zip(opened[1:], rearmed, strict=True))

    @pytest.mark.parametrize(
        ("hours", "counts"),
        [
            ((), {"pulled": 1, "rearmed": 0, "dates to rearm": 0}),
            ((2.5, 5.0), {"pulled": 1, "rearmed": 1, "dates to rearm": 2}),
        ],
    )
    def test_the_result_counts_what_became_of_it(self, hours: tuple[float, ...], counts: dict[str, int]) -> None:
        dates = tuple(iso(int(START + hour * HOUR_MS)) for hour in hours)
        wallets = {"binance:spot": {"USDT": 1000.0}, "binance:linear": {"USDT": 300.0}}
        for limit, expected in ((0.02, counts), (0.5, counts | {"pulled": 0, "rearmed": 0} if hours else None)):
            settings = settings_of(wallets, risk={"max_drawdown": limit, "rearm": dates})
            spot_path = np.array([100.0, 100.0, 100.0, 90.0, 90.0, 90.0, 90.0, 90.0, 90.0])
            history = one_pair(BTC, spot_path, perp_prices=np.full(9, 100.0), due=settlements([1.0], 1e-3))
            result = run_backtest(settings, history, compiled=False)
            assert result.policies.get("kill switch") == expected


def test_two_pairs_in_one_wallet_share_their_distance() -> None:
    """Both shorts move together: half the collateral each is one account's."""
    paths = np.full(9, 100.0)
    history = market(
        spot(BTC[0], bars(paths)),
        perp(BTC[1], bars(paths), settlements([1.0], 1e-3)),
        spot(ETH[0], bars(paths)),
        perp(ETH[1], bars(paths), settlements([1.0], 1e-3)),
    )
    settings = make_settings(
        [BTC, ETH],
        {"binance:spot": {"USDT": 2000.0}, "binance:linear": {"USDT": 600.0}},
        [1.0, 1.5],
        margin={"engine": MarginEngine.VENUE},
        fees={"override": NO_FEES},
        portfolio={"collateral_ratio": 0.2},
    )
    script = scripted({1.0: {0: enter(900_000, -90_000), 1: enter(90_000, -9_000)}})
    world = run_python(build(settings, history).world, script)
    assert [int(lots) for lots in world.legs.lots] == [900_000, -90_000, 90_000, -9_000]
    first = [int(world.legs[leg].tier_first) for leg in (1, 3)]
    rate = sum(900.0 * float(world.tiers[1, column]) for column in first) / 1800.0
    expected = (600.0 - rate * 1800.0) / (1800.0 * (1.0 + rate))
    np.testing.assert_allclose(world.pairs.distance, expected, rtol=1e-9)


def test_a_transfer_is_sooner_than_orders_that_do_not_fill() -> None:
    never = guards.order_time(5.0, 0.0, 250.0, HOUR_MS)
    assert never == math.inf
    assert guards.top_up_is_sooner(10.0 * HOUR_MS, never, HOUR_MS)


def _two_shorts(eth_size: int) -> Any:
    """A calm BTC pair and an ETH pair that swings by a fifth an hour in one wallet; the run's world at its end."""
    swing = np.array([100.0 if hour % 2 else 120.0 for hour in range(25)])
    due = settlements([1.0], 1e-3)
    history = market(
        spot(BTC[0], bars(100.0, 24)),
        perp(BTC[1], bars(100.0, 24), due),
        spot(ETH[0], bars(swing)),
        perp(ETH[1], bars(swing), due),
    )
    settings = make_settings(
        [BTC, ETH],
        {"binance:spot": {"USDT": 20_000.0}, "binance:linear": {"USDT": 4_000.0}},
        [1.0, 1.5],
        margin={"engine": MarginEngine.VENUE},
        fees={"override": NO_FEES},
        portfolio={"collateral_ratio": 0.2},
        risk={"min_distance": 0.0, "restore_distance": 0.0, "min_sigmas": 2.0, "restore_sigmas": 3.0},
    )
    script = scripted({1.0: {0: enter(8_000_000, -800_000), 1: enter(10 * eth_size, -eth_size)}})
    return run_python(build(settings, history).world, script)


def test_a_small_wild_pair_in_a_calm_account_is_left_alone() -> None:
    """Far away in the account's volatility, near in the pair's own; its contract alone can't bring the account down."""
    world = _two_shorts(eth_size=1_000)
    wild = float(world.pairs[1].variance)
    assert world.pairs[1].distance / math.sqrt(wild * 24) < 2.0
    assert int(world.pairs[1].guards) == 0
    assert int(world.pairs[0].guards) == 0


def test_a_large_wild_pair_trips_with_its_account() -> None:
    world = _two_shorts(eth_size=80_000)
    assert int(world.pairs[1].guards) & int(guards.Guard.LIQUIDATION_NEAR)
    assert int(world.pairs[0].guards) & int(guards.Guard.LIQUIDATION_NEAR)
    wild = 80.0 * float(world.legs[3].value_price)
    volatility = (8_000.0 * math.sqrt(world.pairs[0].variance) + wild * math.sqrt(world.pairs[1].variance)) / (
        8_000.0 + wild
    )
    assert math.sqrt(world.pairs[0].account_variance) == pytest.approx(volatility, rel=1e-9)
