"""Ranking for auto-deleveraging: scores, queues, lights, the place of one position. Spec: docs/specs/adl.md.

A queue holds the positions of one contract and one side, most endangered first; ties go to the smaller account number,
then to the earlier row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from crypto.adl import LIGHTS, AdlRule, LightBy, Positions, bankruptcy_value, check_lots, signed_value
from crypto.compiled import jit, kernel
from crypto.errors import DataError, RefusedError
from crypto.instruments import Kind
from crypto.market import Floats, Integers

# A position whose own account is under water can't take anybody else's: last in every queue.
LAST = -math.inf


@dataclass(frozen=True, slots=True)
class Place:
    """Where one position stands in its queue; ``accounts`` and ``lots`` count the whole queue, itself included."""

    accounts_ahead: int
    accounts: int
    lots_ahead: int
    own_lots: int
    lots: int

    @property
    def quantile(self) -> float:
        """Share of accounts that rank below or level with this position, itself included: 1.0 is next to be closed."""
        return 1.0 - self.accounts_ahead / self.accounts

    def light(self, light_by: LightBy) -> int:
        """0 (last fifth) to 4 (first fifth)."""
        if light_by is LightBy.ACCOUNTS:
            return light(self.accounts_ahead + 1, self.accounts)
        return light(self.lots_ahead + self.own_lots, self.lots)

    def closed(self, wanted_lots: int) -> int:
        """How many lots of this position are closed when ``wanted_lots`` are taken from the queue."""
        return max(0, min(self.own_lots, wanted_lots - self.lots_ahead))


@kernel
def binance_score(unrealised: float, wallet: float, maintenance: float) -> float:
    """max(0, profit) / max(1, wallet) x maintenance / equity; 0 when equity is 0 or less."""
    equity = wallet + unrealised
    if equity <= 0:
        return 0.0
    profit = unrealised if unrealised > 0 else 0.0
    return profit / (wallet if wallet > 1 else 1.0) * (maintenance / equity)


@kernel
def leveraged_pnl_score(mark_value: float, entry_value: float, bankrupt_value: float) -> float:
    """Profit fraction times effective leverage when in profit, divided by it when in loss (BitMEX)."""
    margin = mark_value - bankrupt_value
    if margin <= 0:
        return LAST
    profit = (mark_value - entry_value) / abs(entry_value)
    leverage = abs(mark_value) / margin
    return profit * leverage if profit > 0 else profit / leverage


@kernel
def okx_score(profit_ratio: float, margin_ratio: float) -> float:
    """Profit fraction divided by the margin ratio when in profit, times it when in loss; last at a ratio <= 0."""
    if margin_ratio <= 0:
        return LAST
    return profit_ratio / margin_ratio if profit_ratio > 0 else profit_ratio * margin_ratio


@kernel
def hyperliquid_score(price_ratio: float, notional: float, account_value: float) -> float:
    """Mark / entry x notional / account value; last when the account value is 0 or less."""
    if account_value <= 0:
        return LAST
    return price_ratio * (notional / account_value)


@kernel
def position_score(code: int, mark_value: float, entry_value: float, wallet: float, maintenance: float) -> float:
    """Score of one position by a ``Score`` code, else ``ValueError``. Values are signed as by ``signed_value``."""
    unrealised = mark_value - entry_value
    equity = wallet + unrealised
    if code == 0:
        return binance_score(unrealised, wallet, maintenance)
    if code == 1:
        return leveraged_pnl_score(mark_value, entry_value, bankruptcy_value(entry_value, wallet))
    if code == 2:
        # Without maintenance margin nothing is at risk: the ratio is infinite.
        if maintenance <= 0:
            return 0.0 if equity > 0 else LAST
        return okx_score(unrealised / abs(entry_value), equity / maintenance)
    if code in (3, 4):
        ratio = abs(mark_value) / abs(entry_value)
        if code == 4 and mark_value < 0:
            ratio = 1.0 / ratio
        return hyperliquid_score(ratio, abs(mark_value), equity)
    raise ValueError("unknown code of an ADL score")


@jit
def _scores(
    code: int,
    lots: Integers,
    entry_value: Floats,
    wallet: Floats,
    maintenance: Floats,
    value_per_lot: float,
    out: Floats,
) -> None:
    for row in range(lots.size):
        if lots[row] == 0:
            out[row] = LAST
        else:
            out[row] = position_score(code, lots[row] * value_per_lot, entry_value[row], wallet[row], maintenance[row])


def scores(rule: AdlRule, positions: Positions, unit: float, mark_price: float, kind: Kind = Kind.LINEAR) -> Floats:
    """Scores of all rows at one mark, shape (n,); rows without lots rank last.

    ``unit``: base units (linear) or quote value (inverse) per lot. ``DataError`` when the mark is not a positive price
    or an entry value contradicts the side of its lots; ``RefusedError`` for spot.
    """
    if kind is Kind.SPOT:
        raise RefusedError("a spot position has no ADL score", remedy="give a linear or inverse perpetual")
    for name, amount in (("mark price", mark_price), ("unit of a lot", unit)):
        if not (math.isfinite(amount) and amount > 0):
            raise DataError(f"{name} {amount} is not positive", remedy="give a finite number above 0")
    inverse = kind is Kind.INVERSE
    sign = np.sign(positions.lots) * (-1 if inverse else 1)
    wrong = (np.sign(positions.entry_value) != sign) & (positions.lots != 0)
    if np.any(wrong):
        row = int(np.argmax(wrong))
        raise DataError(
            f"position row {row}: {positions.lots[row]} lots with an entry value of {positions.entry_value[row]}",
            remedy="entry values carry the sign of adl.signed_value",
        )
    out = np.empty(positions.lots.size)
    _scores(
        int(rule.score),
        positions.lots,
        positions.entry_value,
        positions.wallet,
        positions.maintenance,
        signed_value(unit, mark_price, inverse),
        out,
    )
    return out


def queue_order(score: Floats, account: Integers, lots: Integers, side: int) -> Integers:
    """Rows of one side (+1 longs, -1 shorts), first to be closed first."""
    check_queue(score, account, lots, side)
    rows = np.flatnonzero(lots * side > 0)
    order = np.lexsort((rows, account[rows], -score[rows]))
    ordered: Integers = rows[order].astype(np.int64)
    return ordered


def light(rank: int, total: int) -> int:
    """Light of a rank counted from 1, in accounts or lots: 4 for the first fifth of ``total``, 0 for the last."""
    if not 1 <= rank <= total:
        raise DataError(f"rank {rank} is not within 1 to {total}", remedy="count ranks from 1")
    return LIGHTS - -(-LIGHTS * rank // total)


def lights(score: Floats, account: Integers, lots: Integers, side: int, light_by: LightBy) -> Integers:
    """Lights 0 to 4 of every row of one side, shape (n,); -1 for rows that do not stand in this queue."""
    order = queue_order(score, account, lots, side)
    out = np.full(lots.size, -1, dtype=np.int64)
    if order.size == 0:
        return out
    if light_by is LightBy.ACCOUNTS:
        rank, total = np.arange(1, order.size + 1, dtype=np.int64), order.size
    else:
        rank = np.cumsum(np.abs(lots[order]))
        total = int(rank[-1])
    # Integer division of the negated product rounds up; the product fits because all lots do LIGHTS times.
    out[order] = LIGHTS + (-LIGHTS * rank) // total
    return out


@jit
def _ahead(
    score: Floats, account: Integers, lots: Integers, side: int, own_score: float, own_account: int
) -> tuple[int, int, int, int]:
    accounts = accounts_ahead = all_lots = lots_ahead = 0
    for row in range(lots.size):
        size = lots[row] * side
        if size > 0:
            accounts += 1
            all_lots += size
            if score[row] > own_score or (score[row] == own_score and account[row] < own_account):
                accounts_ahead += 1
                lots_ahead += size
    return accounts_ahead, accounts, lots_ahead, all_lots


def place(
    score: Floats, account: Integers, lots: Integers, *, own_score: float, own_account: int, own_lots: int
) -> Place:
    """Where a position of our own (signed ``own_lots``) stands among the others of its side, which leave it out."""
    if own_lots == 0:
        raise DataError("our own position has 0 lots", remedy="only an open position stands in a queue")
    if math.isnan(own_score):
        raise DataError("our own ADL score is NaN", remedy="check mark price and wallet")
    side = 1 if own_lots > 0 else -1
    check_queue(score, account, lots, side)
    accounts_ahead, accounts, lots_ahead, all_lots = _ahead(score, account, lots, side, own_score, own_account)
    size = abs(own_lots)
    return Place(int(accounts_ahead), int(accounts) + 1, int(lots_ahead), size, int(all_lots) + size)


def check_queue(score: Floats, account: Integers, lots: Integers, side: int) -> None:
    """``DataError`` for a side that is none, columns that do not fit, or a score that is NaN."""
    if side not in {1, -1}:
        raise DataError(f"side {side} is neither long nor short", remedy="+1 is long, -1 is short")
    check_lots(account, lots)
    if score.dtype != np.float64 or score.shape != lots.shape:
        raise DataError(
            f"score has type {score.dtype} and shape {score.shape}", remedy=f"give float64 of shape {lots.shape}"
        )
    if bool(np.isnan(score).any()):
        row = int(np.argmax(np.isnan(score)))
        raise DataError(f"ADL score of row {row} (account {account[row]}) is NaN", remedy="check mark price and wallet")
