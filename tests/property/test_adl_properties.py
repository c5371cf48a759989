"""Insurance fund and ADL: money is conserved to the last unit, and the selection agrees with a sort."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import event, given
from hypothesis import strategies as st

from crypto.adl import LightBy
from crypto.adl_allocation import deleverage, settle
from crypto.adl_ranking import lights, place, queue_order
from crypto.insurance import RollingPeak, socialise, split_exactly, waterfall

# --- conservation over all accounts -------------------------------------------------------------------------------


@dataclass
class Account:
    """Whole numbers of the smallest unit: cash paid in, lots held, and what they cost (negative: were sold for)."""

    wallet: int
    lots: int = 0
    cost: int = 0

    def equity(self, mark: int) -> int:
        return self.wallet + self.lots * mark - self.cost

    def trade(self, lots: int, value: int) -> None:
        self.lots += lots
        self.cost += value


@dataclass
class Scene:
    mark: int
    accounts: list[Account]  # the last one is liquidated, the one before it takes what the book fills
    scores: list[float]
    fund: int
    limit: int
    fee: int
    filled: int
    fill_price: int
    keeps_surplus: bool


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    side = draw(st.sampled_from([1, -1]))
    others = draw(st.lists(st.integers(-1000, 1000), min_size=0, max_size=8))
    lots = side * draw(st.integers(1, 2000))
    accounts = [
        Account(draw(st.integers(0, 10**9)), size, size * draw(st.integers(1, 10**5))) for size in [*others, 0, lots]
    ]
    accounts[-1].wallet = draw(st.integers(-(10**6), 10**8))
    accounts[-1].cost = lots * draw(st.integers(1, 10**6))
    fund = draw(st.integers(0, 10**7))
    return Scene(
        mark=draw(st.integers(1, 10**6)),
        accounts=accounts,
        scores=[draw(st.floats(allow_nan=False)) for _ in accounts],
        fund=fund,
        limit=draw(st.integers(0, fund)),
        fee=draw(st.integers(0, 10**6)),
        filled=side * draw(st.integers(0, abs(lots))),
        fill_price=draw(st.integers(1, 10**6)),
        keeps_surplus=draw(st.booleans()),
    )


def total(accounts: list[Account], mark: int) -> int:
    return sum(account.equity(mark) for account in accounts)


def deleverage_others(others: list[Account], fund: Account, scene: Scene, rest: int, value: int, deficit: int) -> int:
    """Close the other accounts against what is left of the bankrupt one; returns the loss that nobody took."""
    side = 1 if rest > 0 else -1
    queue = np.array([account.lots for account in others], dtype=np.int64)
    score = np.array(scene.scores[: len(others)], dtype=np.float64)
    numbers = np.arange(len(others), dtype=np.int64)
    outcome = deleverage(score, numbers, queue, bankrupt_side=side, wanted_lots=abs(rest))
    paid = settle(outcome, value)
    equities = sum(account.equity(scene.mark) for account in others)
    for row, part in zip(paid.rows, paid.values, strict=True):
        size = int(outcome.closed_lots[row])
        assert others[row].lots * side <= -size
        others[row].trade(size * side, part)
    fund.trade(outcome.uncovered_lots * side, paid.uncovered_value)
    forgone = equities - sum(account.equity(scene.mark) for account in others)
    loss = paid.uncovered_value - outcome.uncovered_lots * side * scene.mark
    assert forgone + loss == deficit
    return max(0, loss)


@given(scenes())
def test_liquidation_fund_and_adl_sum_to_zero_over_all_accounts(scene: Scene) -> None:
    mark, (*others, maker, bankrupt) = scene.mark, scene.accounts
    fund = Account(scene.fund)
    everyone = [*scene.accounts, fund]
    before, lots_before = total(everyone, mark), sum(account.lots for account in everyone)

    bankrupt.trade(-scene.filled, -scene.filled * scene.fill_price)
    maker.trade(scene.filled, scene.filled * scene.fill_price)
    rest, equity = bankrupt.lots, bankrupt.equity(mark)
    cover = waterfall(equity, scene.fee, scene.fund, scene.limit, keeps_surplus=scene.keeps_surplus)
    to_fund = int(cover.fee_paid + cover.surplus - cover.fund_paid)
    bankrupt.wallet -= to_fund
    fund.wallet += to_fund
    assert fund.wallet == cover.balance
    assert total(everyone, mark) == before

    value = rest * mark + int(cover.left)
    bankrupt.trade(-rest, -value)
    assert bankrupt.equity(mark) == cover.returned
    if cover.left == 0 or rest == 0:
        fund.trade(rest, value)  # the fund takes over what the book did not, or what is left of an empty position
        event("fund takes over")
        assert total(everyone, mark) == before
        assert sum(account.lots for account in everyone) == lots_before
        return

    loss = deleverage_others(others, fund, scene, rest, value, int(cover.left))
    assert total(everyone, mark) == before
    assert sum(account.lots for account in everyone) == lots_before

    event("socialised" if loss else "covered by ADL")
    shares = socialise(loss, [account.equity(mark) for account in others])
    for account, share in zip(others, shares.shares, strict=True):
        solvent = account.equity(mark) >= 0
        account.wallet -= share
        assert (account.equity(mark) >= 0) is solvent
        fund.wallet += share
    assert sum(shares.shares) + shares.unpaid == loss
    assert total(everyone, mark) == before


# --- selection against a sort -------------------------------------------------------------------------------------

few_scores = st.sampled_from([-math.inf, -2.5, -1e-310, -0.0, 0.0, 1.0, 1.0 + 2**-52, 3.0, 1e300, math.inf])
queues = st.lists(
    st.tuples(
        st.one_of(few_scores, st.floats(allow_nan=False)),
        st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1)),
        st.one_of(st.integers(-5, 5), st.integers(-(10**12), 10**12)),
    ),
    max_size=40,
)


def columns(queue: list[tuple[float, int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    score = np.array([row[0] for row in queue], dtype=np.float64)
    account = np.array([row[1] for row in queue], dtype=np.int64)
    return score, account, np.array([row[2] for row in queue], dtype=np.int64)


def sorted_rows(queue: list[tuple[float, int, int]], side: int) -> list[int]:
    return sorted((k for k, row in enumerate(queue) if row[2] * side > 0), key=lambda k: (-queue[k][0], queue[k][1], k))


@given(queues, st.sampled_from([1, -1]), st.data())
def test_selection_is_the_head_of_the_sorted_queue(
    queue: list[tuple[float, int, int]], side: int, data: st.DataObject
) -> None:
    order = sorted_rows(queue, side)
    held = sum(abs(queue[row][2]) for row in order)
    wanted = data.draw(st.one_of(st.integers(0, held + 10), st.integers(0, 20)))
    score, account, lots = columns(queue)
    outcome = deleverage(score, account, lots, bankrupt_side=-side, wanted_lots=wanted)
    expected, left = [0] * len(queue), wanted
    for row in order:
        expected[row] = min(left, abs(queue[row][2]))
        left -= expected[row]
    assert outcome.closed_lots.tolist() == expected
    assert outcome.uncovered_lots == left
    assert queue_order(score, account, lots, side).tolist() == order


@given(queues, st.integers(0, 100))
def test_long_and_short_mirror(queue: list[tuple[float, int, int]], wanted: int) -> None:
    score, account, lots = columns(queue)
    one = deleverage(score, account, lots, bankrupt_side=1, wanted_lots=wanted)
    other = deleverage(score, account, -lots, bankrupt_side=-1, wanted_lots=wanted)
    assert one.closed_lots.tolist() == other.closed_lots.tolist()


@given(queues, few_scores, st.integers(1, 100), st.integers(0, 200))
def test_our_place_says_what_the_selection_does(
    queue: list[tuple[float, int, int]], own_score: float, own_lots: int, wanted: int
) -> None:
    others = [row for row in queue if row[1] != 7]
    score, account, lots = columns(others)
    where = place(score, account, lots, own_score=own_score, own_account=7, own_lots=-own_lots)
    whole = columns([*others, (own_score, 7, -own_lots)])
    outcome = deleverage(*whole, bankrupt_side=1, wanted_lots=wanted)
    assert where.closed(wanted) == outcome.closed_lots[-1]
    for light_by in LightBy:
        assert where.light(light_by) == lights(*whole, -1, light_by)[-1]


@given(queues, st.sampled_from(list(LightBy)))
def test_lights_never_rise_down_the_queue(queue: list[tuple[float, int, int]], light_by: LightBy) -> None:
    score, account, lots = columns(queue)
    shown = lights(score, account, lots, 1, light_by)
    order = sorted_rows(queue, 1)
    in_order = [int(shown[row]) for row in order]
    assert in_order == sorted(in_order, reverse=True)
    assert not order or in_order[-1] == 0
    assert all(0 <= value <= 4 for value in in_order)


# --- exact cuts and windows ---------------------------------------------------------------------------------------


@given(st.integers(-(10**30), 10**30), st.lists(st.integers(0, 10**18), min_size=1, max_size=30).filter(any))
def test_parts_sum_to_the_whole_within_a_unit_of_their_share(amount: int, weights: list[int]) -> None:
    parts = split_exactly(amount, weights)
    assert sum(parts) == amount
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - amount * weight) < sum(weights)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(-50, 50)), min_size=1, max_size=40), st.integers(1, 40))
def test_rolling_peak_against_the_whole_history(steps: list[tuple[int, int]], window: int) -> None:
    peak, now, past = RollingPeak(window), 0, []
    for wait, value in steps:
        now += wait
        past.append((now, value))
        ends = [time for time, _ in past[1:]] + [None]
        held = [
            v for (start, v), end in zip(past, ends, strict=True) if end is None or (end > start and end > now - window)
        ]
        assert peak.update(now, value) == max(held)
