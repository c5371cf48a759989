"""Who pays when a contract's mark jumps: order book, margins, insurance fund, deleveraging. Spec: docs/specs/adl.md.

All money is whole millionths of the quote asset, so that what is paid and what is received are equal to the last unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from crypto.adl import AdlRule, close_price
from crypto.adl_allocation import deleverage
from crypto.adl_population import Population, forced_orders, positions_at
from crypto.adl_ranking import lights, queue_order, scores
from crypto.compiled import jit
from crypto.errors import DataError
from crypto.insurance import FundRule, Pool, spendable
from crypto.market import Floats, Integers

MONEY = 1_000_000  # smallest units of a quote unit
_MOST_MONEY = 2**60


class Fate(IntEnum):
    """What became of a liquidated position: sold with margin left, sold with the fund's help, or taken over by ADL."""

    SURPLUS = 0
    FUND = 1
    ADL = 2


@dataclass(frozen=True, slots=True)
class Balance:
    """Sums before and after at the new mark, in millionths. ``accounts`` after: all that stood at the old mark.

    ``book``: what those who bought the forced orders have gained or lost since. ``uncovered``: loss that nobody bore,
    left with the venue (0 or negative).
    """

    accounts_before: int
    fund_before: int
    accounts: int
    fund: int
    book: int
    uncovered: int

    @property
    def difference(self) -> int:
        """Money made or lost from nothing: 0."""
        return self.accounts + self.fund + self.book + self.uncovered - self.accounts_before - self.fund_before


@dataclass(frozen=True, slots=True)
class AdlWaterfall:
    """Outcome of a jump of the mark. ``side``: the losing one, +1 longs.

    Of the liquidated, in the order in which the move reached them, shape (m,): ``rows`` in the population, ``fill``
    prices of their forced orders, ``equity`` there, ``fund_paid``, ``fate``. Of the population, shape (n,): ``score``,
    ``light`` (-1: not in the queue), ``closed_lots`` (>= 0) and ``given_up`` by ADL. Money in millionths.
    """

    mark_price: float
    side: int
    rows: Integers
    fill: Floats
    equity: Integers
    fund_paid: Integers
    fate: Integers
    score: Floats
    light: Integers
    closed_lots: Integers
    given_up: Integers
    wanted_lots: int
    uncovered_lots: int
    balance: Balance


def run_waterfall(
    population: Population, rule: AdlRule, fund_rule: FundRule, mark_price: float, fund_balance: float
) -> AdlWaterfall:
    """Move the mark at once and settle everything. ``fund_balance`` (>= 0) in quote units, taken as its own peak.

    A position that the fund can't carry in full is closed against the queue: at its bankruptcy price, less what the
    fund did pay; at the mark where the venue's rule says so, and then the deficit stays with the venue.
    ``DataError`` for a mark or fund out of range, or amounts too large to add exactly.
    """
    _check(population, mark_price, fund_balance)
    unit = population.model.unit * MONEY
    side, rows, fill = forced_orders(population, mark_price)
    lots = population.lots
    per_lot = round(mark_price * unit)
    entry_value = _whole(lots * unit * population.entry_price)
    wallet = _whole(population.wallet * MONEY)
    fill_value = _whole(lots[rows] * unit * fill)
    equity = wallet[rows] + fill_value - entry_value[rows]
    fund = round(fund_balance * MONEY)
    # The rule speaks of quote units: one venue has a balance below which another rule holds.
    may_spend = min(fund, int(spendable(fund_rule, Pool(fund_balance, fund_balance)) * MONEY))
    paid, fate = np.zeros(rows.size, dtype=np.int64), np.zeros(rows.size, dtype=np.int64)
    _drain(equity, may_spend, fund_rule.keeps_surplus, paid, fate)

    taken_over = fate == Fate.ADL
    surplus = int(np.maximum(equity, 0).sum())
    bankrupt = rows[taken_over]
    close_value = entry_value[bankrupt] - wallet[bankrupt] - paid[taken_over]
    at_mark = np.array(
        [
            close_price(rule, abs(float(v) / (float(q) * unit)), mark_price) == mark_price
            for v, q in zip(entry_value[bankrupt] - wallet[bankrupt], lots[bankrupt], strict=True)
        ],
        dtype=bool,
    )
    close_value = np.where(at_mark, lots[bankrupt] * per_lot, close_value)
    # What the account owes at that closing, beyond what the fund has paid.
    unpaid = -(wallet[bankrupt] + close_value - entry_value[bankrupt]) - paid[taken_over]

    survives = np.ones(lots.size, dtype=bool)
    survives[rows] = False
    standing = np.where(survives, lots, 0)
    score = scores(rule, positions_at(population, mark_price, standing), population.model.unit, mark_price)
    light = lights(score, population.account, standing, -side, rule.light_by)
    wanted = int(np.abs(lots[bankrupt]).sum())
    outcome = deleverage(score, population.account, standing, bankrupt_side=side, wanted_lots=wanted)
    queue = queue_order(score, population.account, np.where(outcome.closed_lots > 0, standing, 0), -side)
    given_up, unborne = _exchange(lots[bankrupt], close_value, queue, outcome.closed_lots, per_lot)

    equity_at_mark = wallet + lots * per_lot - entry_value
    balance = Balance(
        accounts_before=_total(equity_at_mark),
        fund_before=fund,
        accounts=_total(equity_at_mark[survives]) - _total(given_up) + (0 if fund_rule.keeps_surplus else surplus),
        fund=fund - _total(paid) + (surplus if fund_rule.keeps_surplus else 0),
        book=_total(lots[rows[~taken_over]]) * per_lot - _total(fill_value[~taken_over]),
        uncovered=-_total(unpaid) - unborne,
    )
    return AdlWaterfall(
        mark_price, side, rows, fill, equity, paid, fate, score, light, outcome.closed_lots, given_up, wanted,
        outcome.uncovered_lots, balance,
    )  # fmt: skip


@jit
def _drain(equity: Integers, may_spend: int, keeps_surplus: bool, paid: Integers, fate: Integers) -> None:
    """Run the fund through the liquidations in order; writes what it pays and what becomes of each."""
    available = may_spend
    for row in range(equity.size):
        if equity[row] >= 0:
            if keeps_surplus:
                available += equity[row]
            continue
        payment = min(-equity[row], available)
        available -= payment
        paid[row] = payment
        fate[row] = 1 if payment == -equity[row] else 2


def _exchange(
    bankrupt_lots: Integers, close_value: Integers, queue: Integers, closed_lots: Integers, per_lot: int
) -> tuple[Integers, int]:
    """What each counterparty gives up against the mark, and what belongs to lots that nobody took.

    Bankrupt positions meet the queue in order. A position's value is cut in proportion to lots, each cut the difference
    of rounded-down running totals, so that the parts sum to it.
    """
    given_up = np.zeros(closed_lots.size, dtype=np.int64)
    unborne = 0
    at = 0
    left = int(closed_lots[queue[0]]) if queue.size else 0
    for lots, value in zip(bankrupt_lots.tolist(), close_value.tolist(), strict=True):
        size, sign = abs(lots), 1 if lots > 0 else -1
        done, cut = 0, 0
        while done < size and at < queue.size:
            part = min(size - done, left)
            done += part
            left -= part
            mark = value * done // size
            given_up[queue[at]] += mark - cut - sign * part * per_lot
            cut = mark
            if left == 0:
                at += 1
                left = int(closed_lots[queue[at]]) if at < queue.size else 0
        unborne += value - cut - sign * (size - done) * per_lot
    return given_up, unborne


def _check(population: Population, mark_price: float, fund_balance: float) -> None:
    if not (np.isfinite(mark_price) and mark_price > 0):
        raise DataError(f"mark price {mark_price} is not a positive price", remedy="give a finite price above 0")
    if not (np.isfinite(fund_balance) and fund_balance >= 0):
        raise DataError(f"insurance fund {fund_balance} is not 0 or more", remedy="give its balance in quote units")
    price = max(mark_price, float(population.entry_price.max()))
    total = float(np.abs(population.lots).sum()) * population.model.unit * price * MONEY
    if max(total, fund_balance * MONEY) > _MOST_MONEY:
        raise DataError(f"amounts of {total / MONEY:g} are too large to add exactly", remedy="give less open interest")


def _whole(amounts: Floats) -> Integers:
    whole: Integers = np.rint(amounts).astype(np.int64)
    return whole


def _total(amounts: Integers) -> int:
    return int(amounts.sum())
