"""Funding on the exchange: instants, amounts, position, grace seconds and missing numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crypto.errors import DataError
from crypto.ledger import Component, Flow
from crypto.market import InstrumentHistory
from crypto.settings import FirstLeg, GracePolicy, MissingPolicy, PriceSource
from crypto.units import DAY_MS, HOUR_MS, MINUTE_MS
from research.backtest import run_backtest
from tests.markets import (
    BTC,
    BTC_BYBIT,
    BTC_INVERSE,
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
    one_pair,
    perp,
    rows,
    run_script,
    settlements,
    spot,
    without,
)

TEN = enter(1_000_000, -100_000)  # 10 BTC long spot, 10 BTC short perp


def hours_of(found) -> list[float]:
    return [float(stamp - START) / HOUR_MS for stamp in found["time_ms"]]


def free(**tables):
    return make_settings([BTC], fees={"override": NO_FEES}, **tables)


@pytest.mark.parametrize("interval", [1, 4, 8])
def test_each_settlement_is_paid_once_at_its_own_instant(interval) -> None:
    due = settlements(every(interval, 24), 1e-4, 100.0, float(interval))
    result = run_script(free(), one_pair(BTC, 100.0, 24, due=due), {1: TEN})
    paid = rows(result, Flow.FUNDING)
    assert hours_of(paid) == [hour for hour in every(interval, 24) if hour > 1]
    np.testing.assert_allclose(paid["amount"], 10 * 100 * 1e-4, rtol=1e-12)
    assert result.policies["settlements paid"] == len(paid)


def test_a_contract_that_changes_its_interval_is_paid_at_the_instants_of_its_rows() -> None:
    due = settlements(
        [8, 16, 24, 28, 32, 33, 34], [1e-4, 2e-4, -1e-4, 3e-4, 0.0, 1e-5, 2e-5], 100.0, [8, 8, 8, 4, 4, 1, 1]
    )
    result = run_script(free(), one_pair(BTC, 100.0, 36, due=due), {1: TEN})
    paid = rows(result, Flow.FUNDING)
    assert hours_of(paid) == [8, 16, 24, 28, 32, 33, 34]
    np.testing.assert_allclose(paid["amount"], [0.1, 0.2, -0.1, 0.3, 0.0, 0.01, 0.02], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("bar_hours", "per_bar"), [(4, 4), (24, 24)])
def test_several_settlements_in_one_bar_are_all_paid(bar_hours, per_bar) -> None:
    due = settlements(every(1, 5 * bar_hours), 1e-4, 100.0, 1.0)
    history = one_pair(BTC, 100.0, 5, due=due, bar_ms=bar_hours * HOUR_MS)
    result = run_script(free(), history, {bar_hours: TEN})
    per_step = result.attribution[:, 0, Component.FUNDING]
    np.testing.assert_allclose(per_step, [0, 0, *[per_bar * 0.1] * 4], atol=1e-12)


def test_settlements_between_the_bars_of_a_finer_grid_are_paid_at_their_instant() -> None:
    due = settlements([1.0, 2.0], 1e-4, 100.0, 1.0)
    result = run_script(free(), one_pair(BTC, 100.0, 30, due=due, bar_ms=5 * MINUTE_MS), {0.5: TEN})
    assert hours_of(rows(result, Flow.FUNDING)) == [1.0, 2.0]


def test_funding_is_paid_on_the_mark_and_not_on_the_last_trade() -> None:
    due = settlements([8.0, 16.0], 1e-4, [80.0, 125.0])
    result = run_script(free(), one_pair(BTC, 100.0, 20, due=due), {1: TEN})
    paid = rows(result, Flow.FUNDING)
    np.testing.assert_allclose(paid["amount"], [10 * 80 * 1e-4, 10 * 125 * 1e-4], rtol=1e-12)
    np.testing.assert_array_equal(paid["price"], [80.0, 125.0])


def test_with_the_price_last_funding_is_paid_on_the_close_that_ends_at_the_instant() -> None:
    path = np.arange(100.0, 121.0)
    due = settlements([8.0, 16.0], 1e-4, 55.0)
    result = run_script(free(funding={"price": PriceSource.LAST}), one_pair(BTC, path, due=due), {1: TEN})
    paid = rows(result, Flow.FUNDING)
    np.testing.assert_allclose(paid["amount"], [10 * 108 * 1e-4, 10 * 116 * 1e-4], rtol=1e-12)
    assert result.policies["funding price"] == "last"


def test_a_long_pays_what_a_short_receives() -> None:
    due = settlements([8.0, 16.0], [1e-4, -2e-4])
    result = run_script(free(), one_pair(BTC, 100.0, 20, due=due), {1: enter(0, 100_000)})
    np.testing.assert_allclose(rows(result, Flow.FUNDING)["amount"], [-0.1, 0.2], rtol=1e-12)


def test_a_contract_of_a_thousand_coins_pays_on_the_price_of_its_contract() -> None:
    # 5,000 contracts of 1000 PEPE, marked at 0.02 each: 100 of notional
    due = settlements([8.0], 1e-3, 0.02)
    settings = make_settings([PEPE], fees={"override": NO_FEES})
    history = one_pair(PEPE, 2e-5, 20, perp_prices=0.02, due=due)
    result = run_script(settings, history, {1: enter(5_000_000, -5_000)})
    paid = rows(result, Flow.FUNDING)
    assert float(paid["amount"][0]) == pytest.approx(0.1, rel=1e-12)
    assert float(paid["quantity"][0]) == -5_000_000.0


def test_an_inverse_contract_pays_in_coin() -> None:
    # 100 contracts of 100 USD short at a mark of 20,000: 0.5 BTC x 1e-4 received in BTC
    due = settlements([8.0], 1e-4, 20_000.0)
    settings = make_settings([BTC_INVERSE], INVERSE_WALLETS, fees={"override": NO_FEES})
    result = run_script(settings, one_pair(BTC_INVERSE, 20_000.0, 20, due=due), {1: enter(50_000, -100)})
    paid = rows(result, Flow.FUNDING)
    assert float(paid["amount"][0]) == pytest.approx(0.5e-4, rel=1e-12)
    assert float(paid["value"][0]) == pytest.approx(1.0, rel=1e-12)
    assert result.asset_names[int(paid["asset"][0])] == "BTC"
    assert result.wallet_names[int(paid["wallet"][0])] == "binance:inverse"


def test_a_position_closed_before_the_instant_gets_nothing_and_one_opened_after_it_neither() -> None:
    due = settlements([8.0], 1e-4)
    result = run_script(free(), one_pair(BTC, 100.0, 20, due=due), {1: TEN, 5: leave(-1_000_000, 100_000), 10: TEN})
    assert rows(result, Flow.FUNDING).size == 0
    assert result.trips.size == 2


def test_settlements_before_the_run_pay_nothing_but_feed_the_forecast() -> None:
    due = settlements([-16.0, -8.0], [1e-4, 1e-4])
    settings = make_settings([BTC], signal={"warmup_hours": 1.0})
    result = run_backtest(settings, one_pair(BTC, 100.0, 6, due=due))
    assert rows(result, Flow.FUNDING).size == 0
    assert result.carry_annual[1, 0] == pytest.approx(1e-4 * 8760 / 8)


# grace seconds

GRACE_CASES = [
    # opening a short at the instant, 10 BTC at 100
    ("open", 1e-4, GracePolicy.INSTANT, []),
    ("open", 1e-4, GracePolicy.END_OF_GRACE, [0.1]),
    ("open", 1e-4, GracePolicy.ADVERSE, []),
    ("open", -1e-4, GracePolicy.INSTANT, []),
    ("open", -1e-4, GracePolicy.END_OF_GRACE, [-0.1]),
    ("open", -1e-4, GracePolicy.ADVERSE, [-0.1]),
    # closing one
    ("close", 1e-4, GracePolicy.INSTANT, []),
    ("close", 1e-4, GracePolicy.END_OF_GRACE, [-0.1]),
    ("close", 1e-4, GracePolicy.ADVERSE, [-0.1]),
    ("close", -1e-4, GracePolicy.INSTANT, []),
    ("close", -1e-4, GracePolicy.END_OF_GRACE, [0.1]),
    ("close", -1e-4, GracePolicy.ADVERSE, []),
]


@pytest.mark.parametrize(("what", "rate", "policy", "corrections"), GRACE_CASES)
def test_a_fill_inside_the_grace_counts_as_the_policy_says(what, rate, policy, corrections) -> None:
    plan = {8: TEN} if what == "open" else {1: TEN, 8: leave(-1_000_000, 100_000)}
    settings = free(funding={"grace": policy}, execution={"first_leg": FirstLeg.PERP})
    result = run_script(settings, one_pair(BTC, 100.0, 12, due=settlements([8.0], rate)), plan)
    grace = rows(result, Flow.FUNDING_GRACE)
    np.testing.assert_allclose(grace["amount"], corrections, rtol=1e-12)
    assert all(stamp == START + 8 * HOUR_MS + 250 for stamp in grace["time_ms"])
    paid = rows(result, Flow.FUNDING)["amount"]
    np.testing.assert_allclose(paid, [] if what == "open" else [10 * 100 * rate], rtol=1e-12)
    assert result.equity[-1] == pytest.approx(110_000.0 + sum(corrections) + sum(paid), abs=1e-9)


def test_bybit_publishes_no_grace_so_the_position_at_the_instant_counts() -> None:
    settings = make_settings([BTC_BYBIT], fees={"override": NO_FEES}, funding={"grace": GracePolicy.END_OF_GRACE})
    result = run_script(
        settings, one_pair(BTC_BYBIT, 100.0, 12, due=settlements([8.0], -1e-4)), {8: enter(10_000_000, -10_000)}
    )
    assert result.orders[1]["filled_lots"] == -10_000
    assert rows(result, Flow.FUNDING_GRACE).size == 0


@pytest.mark.parametrize("policy", list(GracePolicy))
@pytest.mark.parametrize("missing", ["rate", "mark"])
def test_a_settlement_without_a_number_never_brings_nan_into_the_books(policy, missing) -> None:
    # Nothing is held at the instant, so the policy "fail" has nothing to fail for; the fill comes inside the grace.
    numbers = {"rate": 1e-4, "mark": 100.0, missing: math.nan}
    settings = free(funding={"grace": policy})
    due = settlements([8.0], numbers["rate"], numbers["mark"])
    try:
        result = run_script(settings, one_pair(BTC, 100.0, 12, due=due), {8: TEN})
    except DataError as error:
        stopped = error.message  # the other policies need the number for the position that comes inside the grace
    else:
        stopped = ""
        assert np.all(np.isfinite(result.equity))
        assert np.all(np.isfinite(result.ledger["amount"]))
    assert not stopped or (policy is not GracePolicy.INSTANT and "2024-01-01T08:00:00Z" in stopped)


# missing numbers


@pytest.mark.parametrize(("missing", "what"), [("rate", "funding rate"), ("mark", "mark price")])
def test_the_policy_fail_names_contract_instant_and_setting(missing, what) -> None:
    values = {"rate": [1e-4, math.nan], "mark": [100.0, math.nan]}
    due = settlements([8.0, 16.0], **{missing: values[missing]})
    with pytest.raises(DataError) as caught:
        run_script(free(), one_pair(BTC, 100.0, 20, due=due), {1: TEN})
    assert (
        caught.value.message
        == f"binance:linear:BTCUSDT: no {what} for the settlement of 2024-01-01T16:00:00Z, while a position is held"
    )
    assert f"funding.missing_{missing}" in caught.value.remedy
    assert caught.value.exit_code == 4


def test_a_missing_rate_fails_nobody_who_holds_nothing() -> None:
    due = settlements([8.0, 16.0], [1e-4, math.nan])
    result = run_script(free(), one_pair(BTC, 100.0, 20, due=due), {1: TEN, 12: leave(-1_000_000, 100_000)})
    assert result.status == "completed"
    assert hours_of(rows(result, Flow.FUNDING)) == [8.0]


@pytest.mark.parametrize("missing", ["rate", "mark"])
def test_the_policy_skip_pays_nothing_and_counts(missing) -> None:
    values = {"rate": [1e-4, math.nan, 1e-4], "mark": [100.0, math.nan, 100.0]}
    due = settlements([8.0, 16.0, 24.0], **{missing: values[missing]})
    settings = free(funding={f"missing_{missing}": MissingPolicy.SKIP})
    result = run_script(settings, one_pair(BTC, 100.0, 26, due=due), {1: TEN})
    assert hours_of(rows(result, Flow.FUNDING)) == [8.0, 24.0]
    name = {"rate": "missing funding rate", "mark": "missing mark price"}[missing]
    assert result.policies[name] == {"policy": "skip", "last_known": 0, "skipped": 1}
    assert len(events(result, "policy")) == 1


def test_the_policy_last_known_uses_the_rate_before_and_counts() -> None:
    due = settlements([8.0, 16.0, 24.0], [3e-4, math.nan, 1e-4])
    settings = free(funding={"missing_rate": MissingPolicy.LAST_KNOWN})
    result = run_script(settings, one_pair(BTC, 100.0, 26, due=due), {1: TEN})
    np.testing.assert_allclose(rows(result, Flow.FUNDING)["amount"], [0.3, 0.3, 0.1], rtol=1e-12)
    assert result.policies["missing funding rate"] == {"policy": "last_known", "last_known": 1, "skipped": 0}


def test_the_last_known_rate_may_not_be_older_than_the_limit() -> None:
    due = settlements([8.0, 16.0], [3e-4, math.nan])
    settings = free(funding={"missing_rate": MissingPolicy.LAST_KNOWN, "max_age_hours": 7.9})
    with pytest.raises(DataError, match="16:00:00Z"):
        run_script(settings, one_pair(BTC, 100.0, 26, due=due), {1: TEN})


def test_the_last_known_mark_is_the_close_of_the_last_mark_bar() -> None:
    mark = bars(np.arange(200.0, 221.0))  # the bar that ends at hour h closes at 200 + h
    due = settlements([8.0], 1e-4, math.nan)
    history = market(spot(BTC[0], bars(100.0, 20)), perp(BTC[1], bars(100.0, 20), due, without(mark, slice(6, 12))))
    result = run_script(free(funding={"missing_mark": MissingPolicy.LAST_KNOWN}), history, {1: TEN})
    assert rows(result, Flow.FUNDING)["price"][0] == 206.0
    assert result.policies["missing mark price"]["last_known"] == 1


def test_the_last_known_mark_is_the_newest_of_settlements_and_mark_bars() -> None:
    # Mark bars end at 05:00, the settlement of 09:00 knew its mark: that one is newer.
    marks = [100.0 + hour for hour in range(30)]
    marks[10] = math.nan
    due = settlements(every(1, 29), 1e-4, marks, 1.0)
    history = market(
        spot(BTC[0], bars(100.0, 30)), perp(BTC[1], bars(100.0, 30), due, without(bars(50.0, 30), slice(5, 30)))
    )
    result = run_script(free(funding={"missing_mark": MissingPolicy.LAST_KNOWN}), history, {2: TEN})
    paid = rows(result, Flow.FUNDING)
    assert dict(zip(hours_of(paid), paid["price"], strict=True))[10.0] == 109.0


def test_a_mark_that_is_too_old_on_both_counts_fails() -> None:
    due = settlements([8.0], 1e-4, math.nan)
    mark = without(bars(100.0, 20), slice(2, 20))
    history = market(spot(BTC[0], bars(100.0, 20)), perp(BTC[1], bars(100.0, 20), due, mark))
    settings = free(funding={"missing_mark": MissingPolicy.LAST_KNOWN, "max_age_hours": 5.9})
    with pytest.raises(DataError, match="no mark price for the settlement of 2024-01-01T08:00:00Z"):
        run_script(settings, history, {1: TEN})


def test_a_perp_without_any_funding_history_is_refused() -> None:
    history = market(spot(BTC[0], bars(100.0, 5)), InstrumentHistory(BTC[1], bars(100.0, 5)))
    with pytest.raises(DataError, match="binance:linear:BTCUSDT has no funding history"):
        run_script(free(), history, {})


def test_daily_bars_pay_three_times_a_day() -> None:
    due = settlements(every(8, 96), 1e-4, 60_000.0)
    history = one_pair(BTC, 60_000.0, 4, due=due, bar_ms=DAY_MS)
    result = run_script(free(), history, {24: enter(100_000, -10_000)})
    np.testing.assert_allclose(result.attribution[:, 0, Component.FUNDING], [0, 0, 18, 18, 18], rtol=1e-9, atol=1e-12)
