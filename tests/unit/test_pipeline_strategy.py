"""The default strategy: when it enters, leaves, resizes, moves collateral and stops. Numbers are worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from crypto.ledger import Component
from crypto.pipeline.features import Features
from crypto.pipeline.portfolio import Account, Action, Filters, Target
from crypto.pipeline.reasons import Reason
from crypto.pipeline.risk import Approved, Refused
from crypto.pipeline.signal import Position, Signal
from crypto.settings import FirstLeg
from crypto.simulator.python_strategy import PythonPipeline
from crypto.units import HOUR_MS
from research.backtest import run_backtest
from tests.markets import (
    BTC,
    ETH,
    NO_FEES,
    START,
    bars,
    events,
    every,
    make_settings,
    market,
    one_pair,
    perp,
    settlements,
    spot,
    without,
)
from tests.replay import assert_sound

LAST_RATE = {"forecast_half_life_hours": 0.001}  # the forecast is the last settled rate
SOON = {"warmup_hours": 1.0, "min_holding_hours": 1.0, **LAST_RATE}
CALM = {"basis_blowout_bps": 9_999.0, "pair_drawdown": 1.0, "basis_reversion": 0.0}


def run(
    prices: Any = 100.0, count: int = 60, rate: Any = 1e-3, *, perp_prices: Any = None, compiled: bool = True, **tables
):
    hours = count if np.ndim(prices) == 0 else np.size(prices) - 1
    due = settlements(every(8, hours), rate)
    tables["signal"] = {**SOON, **tables.get("signal", {})}
    settings = make_settings([BTC], **tables)
    history = one_pair(BTC, prices, count, perp_prices=perp_prices, due=due)
    result = run_backtest(settings, history, compiled=compiled)
    assert_sound(result, history, settings)
    return result


def closes(result) -> list[tuple[float, str]]:
    return [((e["time_ms"] - START) / HOUR_MS, e["reason"]) for e in events(result, "trip_closed")]


def opens(result) -> list[float]:
    return [(e["time_ms"] - START) / HOUR_MS for e in events(result, "trip_opened")]


def reasons(result, event: str = "signal") -> list[str]:
    return [e["reason"] for e in events(result, event)]


def step_path(count: int, at: int, before: float, after: float) -> np.ndarray:
    """A price that is ``after`` from the instant ``at`` on."""
    return np.where(np.arange(count + 1) < at, before, after)


# entry


@pytest.mark.parametrize(("rate", "enters"), [(4.44e-5, False), (4.45e-5, True)])
@pytest.mark.parametrize("compiled", [True, False])
def test_an_entry_needs_more_than_costs_and_edge(rate, enters, compiled) -> None:
    # 720 h / 8 h = 90 settlements; cost 2 x (0.1% + 0.05%) = 30 bps, edge 10 bps: 40 bps / 90 = 4.4444e-5 a settlement
    result = run(rate=rate, compiled=compiled)
    assert bool(opens(result)) is enters
    if not enters:
        assert reasons(result)[-1] == "carry_below_cost"
        assert result.orders.size == 0


def test_spread_and_basis_count_in_the_decision() -> None:
    # half spreads of 2 and 3 bps add 2 x 5 = 10 bps: 50 bps / 90 = 5.5556e-5
    spread = {"slippage": {"spot_half_spread_bps": 2.0, "perp_half_spread_bps": 3.0}}
    assert not opens(run(rate=5.55e-5, **spread))
    assert opens(run(rate=5.56e-5, **spread))


def test_the_basis_is_expected_to_go_part_of_the_way_to_its_mean() -> None:
    # The basis jumps from 0 to 40 bps at 30:00; half-life 1 h: the mean is then at 20 bps, half of the other 20 counts.
    perp_path = step_path(60, 30, 100.0, 100.4)
    signal = {"basis_half_life_hours": 1.0, "basis_reversion": 0.5, "entry_edge_bps": 0.0, "holding_hours": 80.0}
    # 10 settlements and 10 bps against 30 bps: needs 2e-4 a settlement
    assert opens(run(100.0, rate=2.01e-4, perp_prices=perp_path, signal=signal)) == [30.0]
    assert not opens(run(100.0, rate=1.99e-4, perp_prices=perp_path, signal=signal))


def test_expected_net_break_even_and_forecast_are_in_the_journal() -> None:
    result = run(rate=1e-3)
    first = next(e for e in events(result, "signal") if e["reason"] == "enter_long_spot")
    assert first["expected_net_bps"] == pytest.approx(90 * 10 - 30, rel=1e-9)
    assert first["carry_annual"] == pytest.approx(1e-3 * 3 * 365, rel=1e-9)


def test_nothing_is_entered_before_the_warm_up_is_over() -> None:
    result = run(signal={"warmup_hours": 20.0})
    assert opens(result) == [20.0]
    assert reasons(result)[0] == "warming_up"
    assert np.isnan(result.carry_annual[:20, 0]).all()


def test_the_forecast_halves_the_weight_of_old_rates_each_half_life() -> None:
    # half-life 8 h and rows every 8 h: each row weighs a half; 1e-4, 3e-4, 5e-4 give 2e-4, then 3.5e-4
    result = run(count=20, rate=[1e-4, 3e-4, 5e-4], signal={"forecast_half_life_hours": 8.0})
    per_year = 3 * 365
    for instant, mean in ((7, 1e-4), (8, 2e-4), (15, 2e-4), (16, 3.5e-4)):
        assert result.carry_annual[instant, 0] == pytest.approx(mean * per_year, rel=1e-9)


def test_carry_follows_the_real_spacing_of_settlements() -> None:
    due = settlements([0.0, 8.0, 12.0, 13.0], 1e-4, 100.0, [8, 8, 4, 1])
    result = run_backtest(make_settings([BTC], signal=SOON), one_pair(BTC, 100.0, 20, due=due))
    yearly = [result.carry_annual[instant, 0] for instant in (8, 12, 13)]
    assert yearly == pytest.approx([1e-4 * 8760 / 8, 1e-4 * 8760 / 4, 1e-4 * 8760])


def test_reverse_carry_is_taken_when_it_pays_more_than_its_borrow() -> None:
    # 90 x 1e-4 = 90 bps less 30 bps and 720 h x r: at r = 7.5e-6 (54 bps) 6 bps are left, below the edge of 10
    def at(hourly: float):
        return run(rate=-1e-4, borrow={"enabled": True, "hourly_rate": {"binance": {"BTC": hourly}}})

    assert [e["direction"] for e in events(at(6.9e-6), "trip_opened")] == [-1]
    assert not opens(at(7.0e-6))
    assert not opens(run(rate=-1e-4))  # borrowing is off


def test_a_stale_leg_is_not_entered() -> None:
    due = settlements(every(8, 30), 1e-3)
    for broken, word in ((0, "stale_spot"), (1, "stale_perp")):
        legs = [bars(100.0, 30), bars(100.0, 30)]
        legs[broken] = without(legs[broken], slice(5, 12))
        history = market(spot(BTC[0], legs[0]), perp(BTC[1], legs[1], due, bars(100.0, 30)))
        result = run_backtest(make_settings([BTC], signal={**SOON, "warmup_hours": 8.0}), history)
        assert word in reasons(result)
        assert opens(result) == [13.0]


# exit


@pytest.mark.parametrize(("rate", "flips"), [(-1.8e-5, False), (-1.9e-5, True)])
def test_a_flip_of_funding_ends_the_position(rate, flips) -> None:
    # -2% a year is -0.02 / (3 x 365) = -1.826e-5 a settlement
    result = run(rate=[1e-3] * 3 + [rate] * 5)
    assert closes(result) == ([(25.0, "funding_flip")] if flips else [])
    assert ("funding_flip" in reasons(result)) is flips


def test_a_flip_before_the_minimum_holding_time_waits() -> None:
    result = run(rate=[1e-3, 1e-3, *[-1e-3] * 6], signal={"min_holding_hours": 30.0})
    entry = opens(result)[0]
    assert closes(result)[0] == (entry + 31.0, "funding_flip")


@pytest.mark.parametrize(("perp_price", "leaves"), [(101.4, False), (101.6, True)])
def test_a_basis_that_blows_out_ends_the_position(perp_price, leaves) -> None:
    path = step_path(60, 30, 100.0, perp_price)
    result = run(perp_prices=path, signal={"pair_drawdown": 1.0, "basis_reversion": 0.0})
    assert closes(result)[:1] == ([(31.0, "basis_blowout")] if leaves else [])


@pytest.mark.parametrize(("perp_price", "leaves"), [(102.8, False), (102.9, True)])
def test_a_pair_that_loses_too_much_is_closed(perp_price, leaves) -> None:
    # entry fees of 0.15% and one funding of 0.1% on the way: 2.8% + 0.15% - n x 0.1% against 3%
    path = step_path(40, 30, 100.0, perp_price)
    result = run(100.0, 40, rate=[1e-3, *[0.0] * 5], perp_prices=path, signal={**CALM, "pair_drawdown": 0.03})
    assert closes(result)[:1] == ([(31.0, "pair_drawdown")] if leaves else [])


def test_a_drawdown_is_counted_from_the_peak_of_the_trip() -> None:
    # First 2% are won, then lost and 1.5% more: 3.5% from the peak, though only 1.65% from the entry.
    path = np.concatenate([np.full(15, 100.0), np.full(10, 98.0), np.full(16, 101.5)])
    result = run(100.0, 40, rate=[1e-3, *[0.0] * 5], perp_prices=path, signal={**CALM, "pair_drawdown": 0.03})
    assert closes(result)[:1] == [(26.0, "pair_drawdown")]


def test_after_an_exit_the_pair_cools_down() -> None:
    path = np.where(np.arange(101) == 30, 101.6, 100.0)
    signal = {"pair_drawdown": 1.0, "basis_reversion": 0.0, "cooldown_hours": 24.0}
    result = run(100.0, 100, perp_prices=path, signal=signal)
    left = closes(result)[0][0]
    assert opens(result)[1] == left + 24.0
    assert "cooldown" in reasons(result)


@pytest.mark.parametrize("compiled", [True, False])
def test_an_account_drawdown_closes_everything_for_good(compiled) -> None:
    # 66,000 short, the perp 3% dearer: 1,980 of 110,000 lost, above 1%
    path = step_path(100, 30, 100.0, 103.0)
    result = run(100.0, 100, perp_prices=path, signal=CALM, risk={"max_drawdown": 0.01}, compiled=compiled)
    assert [(e["time_ms"] - START) / HOUR_MS for e in events(result, "kill_switch")] == [30.0]
    assert closes(result) == [(31.0, "killed")]
    assert len(opens(result)) == 1
    assert result.perp_value[-1, 0] == 0.0
    assert events(result, "order")[-1]["time_ms"] < START + 32 * HOUR_MS


def test_an_open_trip_is_reported_as_open_at_the_end() -> None:
    result = run()
    assert result.trips[-1]["is_open"] == 1
    assert result.trips[-1]["close_ms"] == result.time_ms[-1]
    assert result.summary["open_trips"] == 1
    assert result.status == "completed"


# collateral


def test_low_collateral_is_topped_up_from_the_spot_wallet() -> None:
    # 110,000 x 0.45 / 1.5 = 33,000 of notional; the price rises by a half, the perp wallet loses 16,500 of 18,000.
    wallets = {"binance:spot": {"USDT": 92_000.0}, "binance:linear": {"USDT": 18_000.0}}
    path = step_path(60, 30, 100.0, 150.0)
    result = run(path, wallets=wallets, portfolio={"deploy": 0.45, "resize_band": 0.0}, signal=CALM)
    sent = [e for e in events(result, "transfer_sent") if e["time_ms"] >= START + 30 * HOUR_MS]
    assert (sent[0]["from"], sent[0]["to"]) == ("binance:spot", "binance:linear")
    notional = -result.perp_value[30, 0]
    margin = result.wallet_equity[30, result.wallet_names.index("binance:linear")]
    assert margin / notional < 0.25
    assert sent[0]["amount"] == pytest.approx(0.5 * notional - margin, rel=1e-9)
    assert result.collateral_ratio[31, 0] == pytest.approx(0.5, rel=1e-6)
    assert "collateral_low" in reasons(result, "decision")
    assert not closes(result)


def test_low_collateral_without_cash_elsewhere_cuts_both_legs() -> None:
    path = step_path(60, 30, 100.0, 130.0)
    result = run(path, portfolio={"resize_band": 0.0, "deploy": 0.99}, signal=CALM, fees={"override": NO_FEES})
    cut = [o for o in result.orders if o["placed_ms"] >= START + 30 * HOUR_MS]
    assert {int(o["leg"]) for o in cut} == {0, 1}
    assert all(o["reduce_only"] == 1 for o in cut)
    sold, bought = (
        sum(o["filled_lots"] for o in cut if o["leg"] == 0),
        sum(o["filled_lots"] for o in cut if o["leg"] == 1),
    )
    assert sold < 0
    assert sold == -10 * bought
    assert result.collateral_ratio[-1, 0] > 0.25
    assert not closes(result)


def test_too_much_collateral_is_swept_back() -> None:
    # The price falls by 30%: margin 33,000 + 19,800 against 46,200 is more than one to one.
    path = step_path(60, 30, 100.0, 70.0)
    result = run(path, portfolio={"resize_band": 0.0}, signal=CALM, fees={"override": NO_FEES})
    sent = [e for e in events(result, "transfer_sent") if e["time_ms"] >= START + 30 * HOUR_MS]
    assert (sent[0]["from"], sent[0]["to"]) == ("binance:linear", "binance:spot")
    notional = -result.perp_value[30, 0]
    margin = result.wallet_equity[30, result.wallet_names.index("binance:linear")]
    assert margin / notional > 1.0
    assert sent[0]["amount"] == pytest.approx(margin - 0.5 * notional, rel=1e-9)
    assert "collateral_high" in reasons(result, "decision")


# sizing


def test_the_first_entry_uses_the_deployed_share_of_equity() -> None:
    # 0.9 x 110,000 / (1 + 0.5) = 66,000
    result = run(fees={"override": NO_FEES})
    assert -result.perp_value[-1, 0] == pytest.approx(66_000.0, rel=1e-6)
    assert result.spot_value[-1, 0] == pytest.approx(66_000.0, rel=1e-6)


@pytest.mark.parametrize(
    ("risk", "most"),
    [
        ({"max_pair_fraction": 0.3}, 33_000.0),
        ({"max_venue_fraction": 0.2}, 22_000.0),
        ({"max_gross_leverage": 0.1}, 11_000.0),
    ],
)
def test_limits_cut_the_size(risk, most) -> None:
    result = run(fees={"override": NO_FEES}, risk=risk)
    assert -result.perp_value[-1, 0] == pytest.approx(most, rel=1e-5)


def test_weights_share_the_capital() -> None:
    due = settlements(every(8, 30), 1e-3)
    flat = bars(100.0, 30)
    history = market(spot(BTC[0], flat), perp(BTC[1], flat, due), spot(ETH[0], flat), perp(ETH[1], flat, due))
    settings = make_settings([BTC, ETH], weights=[3.0, 1.0], signal=SOON, fees={"override": NO_FEES})
    result = run_backtest(settings, history)
    assert -result.perp_value[-1] == pytest.approx([66_000 * 0.75, 66_000 * 0.25], rel=1e-5)


def test_a_pair_that_has_become_too_small_is_enlarged() -> None:
    # At 70 the position is worth 46,200 and 66,000 are wanted: more than 25% above.
    path = step_path(60, 30, 100.0, 70.0)
    result = run(path, signal=CALM, fees={"override": NO_FEES})
    assert "resize" in reasons(result, "decision")
    assert -result.perp_value[-1, 0] == pytest.approx(66_000.0, rel=0.01)
    steady = run(path, signal=CALM, fees={"override": NO_FEES}, portfolio={"resize_band": 0.0})
    assert "resize" not in reasons(steady, "decision")


def test_a_drift_of_delta_is_hedged_again() -> None:
    # 1% interest an hour on borrowed coins: after three hours the short spot leg is more than 2% too large.
    borrow = {"enabled": True, "hourly_rate": {"binance": {"BTC": 0.01}}}
    signal = {**CALM, "holding_hours": 8.0, "flip_annual": -1e9}
    result = run(100.0, 20, rate=-0.2, borrow=borrow, signal=signal, fees={"override": NO_FEES})
    again = [o for o in result.orders if o["placed_ms"] >= START + 3 * HOUR_MS]
    assert "delta_drift" in reasons(result, "decision")
    assert again
    assert all(int(o["leg"]) == 0 and int(o["lots"]) > 0 for o in again)
    drift = np.abs(result.spot_value[4:, 0] + result.perp_value[4:, 0]) / result.perp_value[4:, 0]
    assert drift.max() < 0.035


# stages of one's own


class NeverLong:
    """Signal model of a user: short spot at a given hour, flat later."""

    def __init__(self, enter: int, leave: int) -> None:
        self._enter, self._leave = START + enter * HOUR_MS, START + leave * HOUR_MS
        self.seen: list[Features] = []

    def evaluate(self, seen: Features, held: Position) -> Signal:
        self.seen.append(seen)
        wanted = -1 if self._enter <= seen.time_ms < self._leave else 0
        reason = Reason.ENTER_SHORT_SPOT if wanted else Reason.FUNDING_FLIP
        return Signal(wanted, 0.0, math.nan, math.nan, int(reason))


def test_a_signal_of_ones_own_replaces_the_default() -> None:
    model = NeverLong(5, 9)
    settings = make_settings([BTC], borrow={"enabled": True, "hourly_rate": {"binance": {"BTC": 1e-6}}})
    history = one_pair(BTC, np.arange(100.0, 121.0), due=settlements(every(8, 20), 1e-3))
    result = run_backtest(settings, history, strategy=PythonPipeline(signal_model=model))
    assert opens(result) == [5.0]
    assert [int(trip["direction"]) for trip in result.trips] == [-1]
    assert closes(result) == [(10.0, "funding_flip")]
    # a stage sees the bar that has closed, never the next
    assert [seen.spot_price for seen in model.seen[:3]] == [101.0, 102.0, 103.0]
    assert result.provenance["strategy"] == "python"
    assert_sound(result, history, settings)


class HalfSize:
    """Allocator of a user: 5 BTC once."""

    def allocate(self, found: Signal, seen: Features, held: Position, account: Account, filters: Filters) -> Target:
        if held.direction == 0 and found.direction > 0:
            return Target(int(Action.OPEN), 1, 500_501, -50_000, 0.0, found.reason)
        return Target(int(Action.KEEP), 0, 0, 0, 0.0, found.reason)


class NoNewRisk:
    """Risk guard of a user that refuses everything."""

    def review(self, target: Target, seen: Features, account: Account, filters: Filters) -> Approved | Refused:
        return Refused(int(Reason.GROSS_LIMIT))


def test_an_allocator_and_a_guard_of_ones_own_replace_theirs() -> None:
    settings = make_settings([BTC], signal=SOON)
    history = one_pair(BTC, 100.0, 20, due=settlements(every(8, 20), 1e-3))
    sized = run_backtest(settings, history, strategy=PythonPipeline(allocator=HalfSize()))
    assert -sized.perp_value[-1, 0] == pytest.approx(500.0)
    refused = run_backtest(settings, history, strategy=PythonPipeline(risk_guard=NoNewRisk()))
    assert refused.orders.size == 0
    assert reasons(refused, "decision") == ["gross_limit"]


def test_perp_first_pays_the_same_for_the_same_trade() -> None:
    one = run(execution={"first_leg": FirstLeg.SPOT})
    other = run(execution={"first_leg": FirstLeg.PERP})
    totals = [result.attribution.sum(axis=(0, 1))[Component.FEES] for result in (one, other)]
    assert totals[0] == pytest.approx(totals[1], rel=1e-12)
