"""ADL of our winning short in a run: closed at the queue's price by its rank, then covered by the pair's policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crypto.adl import adl_rule
from crypto.adl_population import PopulationModel, TierUsage, draw_population, own_outcome, stress
from crypto.errors import SettingsError
from crypto.ledger import Component, Flow
from crypto.pipeline.orders import Intent
from crypto.result import BacktestResult
from crypto.settings import MarginEngine, NakedPolicy
from crypto.simulator.setup import build
from crypto.simulator.state import MARK_LOW, VALUE
from tests.markets import (
    BTC,
    BTC_INVERSE,
    INVERSE_WALLETS,
    NO_FEES,
    enter,
    events,
    make_settings,
    one_pair,
    rows,
    run_script,
)

KEY = BTC[1]
FALL = np.array([100.0] * 40 + [55.0, 55.0, 55.0])
TEN_BTC = enter(1_000_000, -100_000)


def settings_of(wallet: float = 300.0, fund: float = 0.0, **adl: Any):
    return make_settings(
        [BTC],
        {"binance:spot": {"USDT": 1100.0}, "binance:linear": {"USDT": wallet}},
        margin={"engine": MarginEngine.VENUE, "liquidity_gap": 1.0},
        adl={
            "enabled": True,
            "open_interest": {KEY: 2_000_000.0},
            "insurance_fund": {KEY: fund},
            "smallest_position": 10_000.0,
            **adl,
        },
        risk={"naked_policy": NakedPolicy.FLATTEN},
        fees={"override": NO_FEES},
    )


def run(**settings: Any) -> BacktestResult:
    return run_script(settings_of(**settings), one_pair(BTC, FALL), {1.0: TEN_BTC})


def test_our_short_is_closed_as_the_queue_says() -> None:
    """``own_outcome`` ranks against every account of the same population; the run uses the table made before it."""
    settings, history = settings_of(), one_pair(BTC, FALL)
    world = build(settings, history).world
    bars, first, end = world.bars[1], int(world.legs[1].tier_first), int(world.legs[1].tier_end)
    (event,) = [row for row in world.adl_events if row.lots > 0]
    result = run()
    (found,) = events(result, "deleveraging")
    floor, rate, deduction, cap, leverage = world.tiers[:, first:end]
    kept = cap > 10_000.0
    low, high = np.maximum(floor[kept], 10_000.0), cap[kept]
    share = np.log(high / low) / np.log(high / low).sum()
    share[-1] = 1.0 - share[:-1].sum()
    columns = (low, high, leverage[kept], rate[kept], deduction[kept], share)
    model = PopulationModel(
        open_interest_lots=round(2_000_000.0 / 100.0 / 0.0001),
        unit=0.0001,
        tiers=TierUsage(*(tuple(column.tolist()) for column in columns)),
        liquidity_gap=1.0,
        seed=settings.run.seed + int(event.bar),
    )
    population = draw_population(model, bars[: int(event.bar), VALUE])
    mark = float(bars[int(event.bar), MARK_LOW])
    after = stress(population, mark, fund_balance=0.0, may_spend=0.0)
    own = own_outcome(
        population,
        adl_rule("binance"),
        after,
        mark,
        lots=-100_000,
        entry_price=100.0,
        wallet=300.0,
        maintenance=10 * mark * float(rate[0]),
    )
    # Short 10 from 100 at 55 on 300: profit 450 of 300, and 0.4 % of 550 on an equity of 750.
    assert found["score"] == pytest.approx((450 / 300) * (2.2 / 750), rel=1e-12)
    assert found["score"] == pytest.approx(own.score, rel=1e-12)
    assert found["lots"] == own.closed_lots
    assert own.closed_lots > 0


def test_price_between_mark_and_bankruptcy_and_the_cost_is_named() -> None:
    result = run()
    (found,) = events(result, "deleveraging")
    assert found["price"] > found["mark_price"] == 55.0
    lost = found["lots"] * 0.0001 * (found["price"] - found["mark_price"])
    parts = result.attribution.sum(axis=0)[0]
    assert parts[Component.ADL] == pytest.approx(-lost, rel=1e-9)
    assert rows(result, Flow.TAKEOVER).size == 0
    forced = result.orders[result.orders["intent"] == int(Intent.DELEVERAGE)]
    assert forced["filled_lots"].tolist() == [found["lots"]]
    np.testing.assert_allclose(result.attribution[1:].sum(axis=(1, 2)), np.diff(result.equity), atol=1e-9)


def test_a_low_leverage_stands_behind_in_the_queue() -> None:
    """In a fall that the front of the queue can carry, the same short on a thousand times the margin keeps its lots."""
    history = one_pair(BTC, np.where(FALL < 100.0, 75.0, FALL))
    closed = {
        wallet: events(run_script(settings_of(wallet), history, {1.0: TEN_BTC}), "deleveraging")
        for wallet in (300.0, 300_000.0)
    }
    assert len(closed[300.0]) == 1
    assert closed[300_000.0] == []


def test_a_fund_that_can_pay_prevents_it() -> None:
    assert events(run(fund=1e9), "deleveraging") == []


def test_a_long_is_not_closed_when_longs_are_liquidated() -> None:
    settings = replace(
        settings_of(), borrow=replace(settings_of().borrow, enabled=True, hourly_rate={"binance": {"BTC": 0.0}})
    )
    result = run_script(settings, one_pair(BTC, FALL), {1.0: enter(-1_000_000, 100_000)})
    assert result.orders.size > 0
    assert events(result, "deleveraging") == []


def test_the_same_seed_gives_the_same_queue() -> None:
    one, other = run(), run()
    assert one.journal == other.journal


@pytest.mark.parametrize("missing", ["open_interest", "insurance_fund"])
def test_what_the_model_needs_is_named(missing: str) -> None:
    with pytest.raises(SettingsError, match=f"adl.enabled needs adl.{missing} of {KEY}"):
        build(settings_of(**{missing: {}}), one_pair(BTC, FALL))


def test_inverse_contracts_are_refused() -> None:
    settings = make_settings([BTC_INVERSE], INVERSE_WALLETS, adl={"enabled": True})
    with pytest.raises(SettingsError, match="inverse contract"):
        build(settings, one_pair(BTC_INVERSE, 100.0, 4))
