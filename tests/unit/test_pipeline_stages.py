"""Portfolio, risk and execution as plain functions, on accounts and pairs that the engine seldom gets into."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from crypto.pipeline import execution, portfolio, risk
from crypto.pipeline.features import Features
from crypto.pipeline.orders import Intent
from crypto.pipeline.portfolio import COLLATERAL_IS_LOW, DELTA_DRIFTED, Account, Action, Filters, Target
from crypto.pipeline.reasons import Reason
from crypto.pipeline.risk import Approved, Refused
from crypto.pipeline.rules import build_rules, values_of
from crypto.pipeline.signal import Position, Signal
from crypto.settings import FirstLeg
from crypto.units import HOUR_MS
from tests.markets import BTC, START, make_settings, move, one_pair, run_script

SEEN = Features(START, 100.0, 100.0, 0.0, 0.0, 1e-5, 0.1, 1e-4, 0.0, True, True, True)
FLAT = Account(
    1_000.0, False, 600.0, 400.0, False, True, False, 400.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, 0.0, 0, 0, 0, 0, 0.0, 0.0, 0.0,
    0.0, math.inf, 0.0, 0.0,
)  # fmt: skip
FILTERS = Filters(1.0, 0.01, 0.0, 0.0, 1, 5.0, False, False, 0.01, 0.0, 0.0, 1, 1, 5.0, False)
OPEN = Target(int(Action.OPEN), 1, 300, -300, 0.0, int(Reason.ENTER_LONG_SPOT))  # 3 units: 300 of notional
LONG = Position(1, HOUR_MS, 0.0, 0.0, False, 0.003, False)


def rules(**risk_limits):
    settings = make_settings([BTC], risk={"max_pair_fraction": 1.0, **risk_limits})
    return values_of(build_rules(settings, START, HOUR_MS))


def test_a_target_within_all_limits_is_approved() -> None:
    verdict = risk.review(OPEN, SEEN, FLAT, FILTERS, rules())
    assert (verdict.approved, verdict.reason) == (True, Reason.ENTER_LONG_SPOT)
    assert risk.decide(OPEN, verdict) == Approved(OPEN)


@pytest.mark.parametrize(
    ("seen", "account", "limits", "reason"),
    [
        ({}, {"killed": True}, {}, Reason.KILLED),
        ({"spot_fresh": False}, {}, {}, Reason.STALE_SPOT),
        ({"perp_fresh": False}, {}, {}, Reason.STALE_PERP),
        ({}, {}, {"max_pair_fraction": 0.299}, Reason.PAIR_LIMIT),
        ({}, {"pair_notional": 600.0}, {"max_pair_fraction": 0.8}, Reason.PAIR_LIMIT),
        ({}, {"venue_notional": 501.0}, {"max_venue_fraction": 0.8}, Reason.VENUE_LIMIT),
        ({}, {"gross_notional": 1_701.0}, {"max_gross_leverage": 2.0}, Reason.GROSS_LIMIT),
    ],
)
def test_new_risk_beyond_a_limit_is_refused_with_its_reason(seen, account, limits, reason) -> None:
    verdict = risk.review(OPEN, SEEN._replace(**seen), FLAT._replace(**account), FILTERS, rules(**limits))
    assert risk.decide(OPEN, verdict) == Refused(reason)


@pytest.mark.parametrize("action", [Action.CLOSE, Action.REDUCE, Action.HEDGE, Action.TRANSFER])
def test_what_reduces_risk_always_passes(action) -> None:
    target = OPEN._replace(action=int(action))
    stale = SEEN._replace(spot_fresh=False, perp_fresh=False)
    assert risk.review(target, stale, FLAT._replace(killed=True), FILTERS, rules()).approved


@pytest.mark.parametrize("action", [Action.KEEP, Action.REFUSED])
def test_a_target_that_asks_for_nothing_is_not_approved(action) -> None:
    target = OPEN._replace(action=int(action), reason=int(Reason.NO_CAPITAL))
    assert risk.review(target, SEEN, FLAT, FILTERS, rules()) == (False, Reason.NO_CAPITAL)


@pytest.mark.parametrize(("equity", "breached"), [(800.0, False), (799.99, True)])
def test_the_account_drawdown_is_counted_from_the_peak(equity, breached) -> None:
    assert risk.drawdown_breached(equity, 1_000.0, 0.2) is breached


def allocate(account: Account, filters: Filters = FILTERS, held: Position = LONG, direction: int = 1) -> Target:
    signal = Signal(direction, 0.0, 0.0, 0.0, int(Reason.HOLD if direction else Reason.FUNDING_FLIP))
    return portfolio.allocate(signal, SEEN, held, account, filters, rules())


def test_a_close_leaves_out_the_leg_that_its_venue_would_refuse() -> None:
    # 0.04 of spot are worth 4, below the minimum of 5; the perp's 3 units go
    held = FLAT._replace(spot_base=0.04, spot_lots=4, perp_base=-3.0, perp_lots=-300)
    assert allocate(held, direction=0)[:4] == (Action.CLOSE, 1, 0, 300)
    small_perp = FLAT._replace(spot_base=3.0, spot_lots=300, perp_base=-0.04, perp_lots=-4)
    assert allocate(small_perp, direction=0)[:4] == (Action.CLOSE, 1, -300, 0)
    exempt = FILTERS._replace(perp_closing_exempt=True)
    assert allocate(small_perp, exempt, direction=0)[:4] == (Action.CLOSE, 1, -300, 4)


def test_a_close_of_which_nothing_may_be_sent_is_refused() -> None:
    dust = FLAT._replace(spot_base=0.04, spot_lots=4, perp_base=-0.04, perp_lots=-4)
    assert allocate(dust, direction=0)[::5] == (Action.REFUSED, Reason.BELOW_MIN_NOTIONAL)


def test_a_short_spot_leg_is_bought_back_with_what_the_fee_takes() -> None:
    # 3 owed; a fee of 0.1% of the coins: 300.3003 lots, so 301
    held = FLAT._replace(spot_base=-3.0, spot_lots=-300, perp_base=3.0, perp_lots=300)
    short = LONG._replace(direction=-1)
    target = allocate(held, FILTERS._replace(spot_fee_in_base=0.001), short, 0)
    assert target[:4] == (Action.CLOSE, -1, 301, -300)


def test_a_reverse_pair_is_cut_on_both_sides_when_collateral_is_low() -> None:
    # nothing to transfer: 10 of equity behind 300 want 150; 140 / (300 x 1.5) = 31.1% goes, 206 lots of perp stay
    held = FLAT._replace(
        spot_cash=0.0, margin_equity=10.0, wallet_notional=300.0, spot_base=-3.0, spot_lots=-300, perp_base=3.0,
        perp_lots=300, attention=COLLATERAL_IS_LOW,
    )  # fmt: skip
    target = allocate(held, held=LONG._replace(direction=-1), direction=-1)
    assert target[:4] == (Action.REDUCE, -1, 94, -94)
    assert target.reason == Reason.COLLATERAL_LOW


@pytest.mark.parametrize(("base", "lots"), [(3.2, -20), (2.8, 20)])
def test_a_drift_is_traded_away_on_the_spot_leg(base, lots) -> None:
    held = FLAT._replace(spot_base=base, perp_base=-3.0, perp_lots=-300, attention=DELTA_DRIFTED)
    assert allocate(held)[:4] == (Action.HEDGE, 0, lots, 0)


def test_a_drift_below_the_smallest_order_is_left_alone() -> None:
    held = FLAT._replace(spot_base=3.04, perp_base=-3.0, perp_lots=-300, attention=DELTA_DRIFTED)
    assert allocate(held)[::5] == (Action.REFUSED, Reason.DELTA_DRIFT)


# execution: the state machine of one pair


def work(first_leg: FirstLeg, target: Target = OPEN):
    settings = make_settings([BTC], execution={"first_leg": first_leg})
    row = SimpleNamespace(perp_turnover=0.0, spot_turnover=0.0, phase=execution.IDLE)
    chosen = values_of(build_rules(settings, START, HOUR_MS))
    execution.start([row], 0, target, 10, chosen)
    return [row], chosen


def test_an_idle_pair_asks_for_nothing() -> None:
    row = SimpleNamespace(phase=execution.IDLE)
    assert execution.next_request([row], 0, None).side == -1


def test_a_request_that_could_not_be_sent_is_asked_for_again() -> None:
    pairs, chosen = work(FirstLeg.SPOT)
    first = execution.next_request(pairs, 0, chosen)
    execution.postpone(pairs, 0, first.side)
    assert execution.next_request(pairs, 0, chosen) == first
    execution.filled(pairs, 0, first.side, first.lots)
    execution.ended(pairs, 0, first.side, False)
    second = execution.next_request(pairs, 0, chosen)
    assert (second.side, second.lots, second.intent) == (execution.PERP_SIDE, -300, Intent.HEDGE)
    execution.postpone(pairs, 0, second.side)
    assert execution.next_request(pairs, 0, chosen) == second


@pytest.mark.parametrize(("done", "due"), [(0, 0), (9, 0), (10, -10), (155, -150), (299, -290), (300, -300)])
def test_a_hedge_is_due_in_whole_steps_of_what_has_filled(done, due) -> None:
    pairs, chosen = work(FirstLeg.SPOT)
    execution.next_request(pairs, 0, chosen)
    execution.filled(pairs, 0, execution.SPOT_SIDE, done)
    assert execution.second_due(pairs[0]) == due


def test_a_cancelled_first_leg_without_any_hedge_is_taken_back() -> None:
    pairs, chosen = work(FirstLeg.SPOT)
    execution.next_request(pairs, 0, chosen)
    execution.filled(pairs, 0, execution.SPOT_SIDE, 9)  # less than a step of the perp
    execution.ended(pairs, 0, execution.SPOT_SIDE, True)
    back = execution.next_request(pairs, 0, chosen)
    assert (back.side, back.lots, back.intent, back.reduce_only) == (execution.SPOT_SIDE, -9, Intent.UNWIND, True)


def test_more_transfers_than_can_be_on_their_way_stay_where_they_are() -> None:
    settings = make_settings([BTC], transfers={"delay_ms": 1_000 * HOUR_MS})
    result = run_script(settings, one_pair(BTC, 100.0, 80), {hour: move(1.0) for hour in range(1, 71)})
    transit = result.wallet_equity[-1, result.wallet_names.index("in transit")]
    assert transit == 64.0
    assert result.equity[-1] == 110_000.0
