"""Auto-deleveraging: who ranks where, who is closed, at what value. Spec: docs/specs/adl.md.

A queue holds the positions of one contract and one side, most endangered first; ties go to the smaller account number,
then to the earlier row. Lots are whole and signed (long positive), values in the settlement asset.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType

import numpy as np

from crypto.compiled import jit, kernel
from crypto.errors import DataError, RefusedError, SettingsError
from crypto.instruments import Kind
from crypto.insurance import split_exactly
from crypto.market import Floats, Integers

LIGHTS = 5
_MOST_LOTS = 2**62  # sums of lots stay inside 64 bits

# A position whose own account is under water can't take anybody else's: last in every queue.
LAST = -math.inf

_DIGIT_BITS = 16
_DIGITS = 1 << _DIGIT_BITS
_LEVELS = 8  # 64 bits of the score in digits, then 64 of the account


class Score(IntEnum):
    """Published ranking formulas."""

    BINANCE = 0
    LEVERAGED_PNL = 1  # BitMEX, and Bybit after it
    OKX = 2
    HYPERLIQUID = 3
    HYPERLIQUID_INVERTED = 4  # for shorts entry / mark instead of mark / entry


class ClosePrice(StrEnum):
    """Price at which both sides are closed."""

    BANKRUPTCY = "bankruptcy"
    MARK = "mark"


class LightBy(StrEnum):
    """What the fifths of a queue are counted in."""

    ACCOUNTS = "accounts"
    LOTS = "lots"


@dataclass(frozen=True, slots=True)
class AdlRule:
    """A venue's ranking, closing price and lights. ``max_deviation``: bankruptcy prices further than this fraction from
    the mark are replaced by the mark; None: never.
    """

    score: Score
    close_price: ClosePrice = ClosePrice.BANKRUPTCY
    light_by: LightBy = LightBy.ACCOUNTS
    max_deviation: float | None = None


ADL_RULES: Mapping[str, AdlRule] = MappingProxyType(
    {
        "binance": AdlRule(Score.BINANCE),
        "bitmex": AdlRule(Score.LEVERAGED_PNL, light_by=LightBy.LOTS),
        "bybit": AdlRule(Score.LEVERAGED_PNL, light_by=LightBy.LOTS, max_deviation=0.05),
        "okx": AdlRule(Score.OKX, ClosePrice.MARK),
        "hyperliquid": AdlRule(Score.HYPERLIQUID, ClosePrice.MARK),
    }
)


@dataclass(frozen=True, slots=True)
class Positions:
    """Open positions of one contract, shape (n,), both sides.

    ``lots``: signed. ``entry_value``: signed value at entry in the settlement asset, of the sign of ``signed_value``.
    ``wallet``: what backs the position without its own unrealised profit: isolated margin, or the cross wallet with the
    profit of the account's other positions. ``maintenance``: maintenance margin at the mark.
    """

    account: Integers
    lots: Integers
    entry_value: Floats
    wallet: Floats
    maintenance: Floats

    def __post_init__(self) -> None:
        _check_lots(self.account, self.lots)
        for name in ("entry_value", "wallet", "maintenance"):
            _check_column(name, getattr(self, name), self.lots.size)
        if np.any(self.maintenance < 0):
            row = int(np.argmax(self.maintenance < 0))
            raise DataError(
                f"position row {row}: maintenance margin {self.maintenance[row]} is negative",
                remedy="give it as a size",
            )


@dataclass(frozen=True, slots=True)
class Deleveraging:
    """Outcome of a pass over the queue. ``closed_lots``: sizes (>= 0) by row, shape (n,). ``uncovered_lots``: what the
    queue could not take, because it was too short.
    """

    closed_lots: Integers
    wanted_lots: int
    uncovered_lots: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """What both sides of a deleveraging exchange, in smallest units.

    ``rows`` were closed and exchange ``values`` (aligned); ``uncovered_value`` belongs to the lots nobody took. All sum
    to the value that was asked.
    """

    rows: tuple[int, ...]
    values: tuple[int, ...]
    uncovered_value: int


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


def adl_rule(venue: str) -> AdlRule:
    """The published rule of ``venue``; ``SettingsError`` naming the known ones when there is none."""
    rule = ADL_RULES.get(venue)
    if rule is None:
        raise SettingsError(f"no ADL rule for venue {venue!r}", remedy=f"known venues: {', '.join(sorted(ADL_RULES))}")
    return rule


# --- values and prices --------------------------------------------------------------------------------------------


@kernel
def signed_value(quantity: float, price: float, inverse: bool) -> float:
    """Value of a position so that profit is value at mark minus value at entry, for longs and shorts alike.

    Linear: signed base quantity times price, in quote. Inverse: minus signed quote value over price, in coin.
    """
    if inverse:
        return -quantity / price
    return quantity * price


@kernel
def bankruptcy_value(entry_value: float, wallet: float) -> float:
    """Signed value at which the position has lost exactly its wallet; ``quantity`` over it is the bankruptcy price."""
    return entry_value - wallet


@kernel
def is_solvent_at(entry_value: float, close_value: float, wallet: float) -> bool:
    """Whether a counterparty that is closed at this value keeps equity of 0 or more (bankruptcy prices overlap)."""
    return wallet + close_value - entry_value >= 0


def close_price(rule: AdlRule, bankruptcy_price: float, mark_price: float) -> float:
    """Price at which a venue closes both sides; ``DataError`` when a price is not positive and finite."""
    for name, price in (("bankruptcy price", bankruptcy_price), ("mark price", mark_price)):
        if not (math.isfinite(price) and price > 0):
            raise DataError(f"{name} {price} is not a positive price", remedy="give finite prices above 0")
    if rule.close_price is ClosePrice.MARK:
        return mark_price
    limit = rule.max_deviation
    if limit is not None and abs(bankruptcy_price - mark_price) > limit * mark_price:
        return mark_price
    return bankruptcy_price


def deficit_price(mark_price: float, deficit: float, quantity_base: float) -> float:
    """Price of a linear contract at which closing makes the counterparties bear exactly ``deficit`` (>= 0).

    ``quantity_base``: signed quantity of the bankrupt position that is closed. With the whole deficit this is its
    bankruptcy price; with what the fund has left of it, a price between that and the mark.
    """
    if quantity_base == 0 or not math.isfinite(quantity_base):
        raise DataError(f"a deficit of {deficit} on a quantity of {quantity_base}", remedy="give a signed quantity")
    if not (math.isfinite(deficit) and deficit >= 0):
        raise DataError(f"deficit {deficit} is not a loss", remedy="give it as a finite size, 0 or more")
    if not (math.isfinite(mark_price) and mark_price > 0):
        raise DataError(f"mark price {mark_price} is not a positive price", remedy="give a finite price above 0")
    return mark_price + deficit / quantity_base


def lots_for_deficit(deficit: float, loss_per_lot: float) -> int:
    """Fewest whole lots that carry ``deficit`` when they are closed at the bankruptcy price.

    ``loss_per_lot``: base units per lot x |bankruptcy price - mark price|.
    """
    if not (math.isfinite(deficit) and deficit >= 0):
        raise DataError(f"deficit {deficit} is not a loss", remedy="give it as a finite size, 0 or more")
    if not (math.isfinite(loss_per_lot) and loss_per_lot > 0):
        raise DataError(f"loss per lot {loss_per_lot} is not positive", remedy="give lot x |bankruptcy - mark|")
    return math.ceil(deficit / loss_per_lot)


# --- scores -------------------------------------------------------------------------------------------------------


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


# --- queue --------------------------------------------------------------------------------------------------------


def queue_order(score: Floats, account: Integers, lots: Integers, side: int) -> Integers:
    """Rows of one side (+1 longs, -1 shorts), first to be closed first."""
    _check_queue(score, account, lots, side)
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
    _check_queue(score, account, lots, side)
    accounts_ahead, accounts, lots_ahead, all_lots = _ahead(score, account, lots, side, own_score, own_account)
    size = abs(own_lots)
    return Place(int(accounts_ahead), int(accounts) + 1, int(lots_ahead), size, int(all_lots) + size)


# --- allocation ---------------------------------------------------------------------------------------------------


@kernel
def _digit(score_bits: int, account: int, level: int) -> int:
    """16 bits of the rank, from the top: higher first. Integers made of a float's bits order as the float does."""
    if level < 4:
        key = score_bits
        if key == -0x8000000000000000:  # -0.0 ranks with 0.0
            key = 0
        elif key < 0:
            key ^= 0x7FFFFFFFFFFFFFFF
    else:
        key = -1 - account  # a smaller account ranks higher
        level -= 4
    if level == 0:
        return (key >> 48) + 0x8000
    return (key >> (48 - 16 * level)) & 0xFFFF


@kernel
def _gather(lots: Integers, side: int, rows: Integers) -> tuple[int, int]:
    """Write the rows of one side to ``rows``; returns how many there are, and their lots."""
    count = 0
    total = 0
    for row in range(lots.size):
        size = lots[row] * side
        if size > 0:
            rows[count] = row
            count += 1
            total += size
    return count, total


@kernel
def _last_digit(weight: Integers, needed: int) -> tuple[int, int]:
    """The digit in which the last lot falls, and how many lots are needed of it."""
    last = weight.size - 1
    while weight[last] < needed:
        needed -= weight[last]
        last -= 1
    return last, needed


@jit
def _select(
    score_bits: Integers,
    account: Integers,
    lots: Integers,
    side: int,
    wanted: int,
    rows: Integers,
    weight: Integers,
    closed: Integers,
) -> int:
    """Close ``wanted`` lots from the top of the queue; returns the lots that were not there.

    Selection by digits of the rank: each pass finds the digit in which the last lot falls, closes everything above it
    and keeps only its rows. No sort, and at most eight passes over ever fewer rows. ``rows`` (n,) and ``weight``
    (2**16,) are room to work in, because compiled loops here allocate nothing.
    """
    count, total = _gather(lots, side, rows)
    needed = min(wanted, total)
    for level in range(_LEVELS):
        weight[:] = 0
        for k in range(count):
            row = rows[k]
            weight[_digit(score_bits[row], account[row], level)] += lots[row] * side
        last, needed = _last_digit(weight, needed)
        kept = 0
        for k in range(count):
            row = rows[k]
            digit = _digit(score_bits[row], account[row], level)
            if digit > last:
                closed[row] = lots[row] * side
            elif digit == last:
                rows[kept] = row
                kept += 1
        count = kept
        if count <= 1:
            break
    for k in range(count):  # one row, or several of one account with one score: in row order
        row = rows[k]
        closed[row] = min(lots[row] * side, needed)
        needed -= closed[row]
    return max(0, wanted - total)


def deleverage(
    score: Floats, account: Integers, lots: Integers, *, bankrupt_side: int, wanted_lots: int
) -> Deleveraging:
    """Close exactly ``wanted_lots`` of the side opposite to the bankrupt one, highest score first, the last in part.

    Arrays of shape (n,); rows that may not take part are given 0 lots. A queue that is too short closes whole and
    leaves ``uncovered_lots``. ``DataError`` on NaN scores, a side other than +1 or -1, or negative ``wanted_lots``.
    """
    side = -bankrupt_side
    _check_queue(score, account, lots, side)
    if wanted_lots < 0:
        raise DataError(f"wanted lots {wanted_lots} are negative", remedy="give the size that has to be closed")
    if wanted_lots > _MOST_LOTS:
        raise DataError(f"wanted lots {wanted_lots} exceed {_MOST_LOTS}", remedy="count in larger lots")
    closed = np.zeros(lots.size, dtype=np.int64)
    if wanted_lots == 0:
        return Deleveraging(closed, 0, 0)
    bits = np.ascontiguousarray(score).view(np.int64)
    rows, weight = np.empty(lots.size, dtype=np.int64), np.empty(_DIGITS, dtype=np.int64)
    uncovered = _select(bits, account, lots, side, wanted_lots, rows, weight, closed)
    return Deleveraging(closed, wanted_lots, int(uncovered))


def settle(outcome: Deleveraging, value: int) -> Settlement:
    """Exact values of a deleveraging. ``value``: all wanted lots at the closing price, smallest units, any sign.

    The bankrupt side receives what the counterparties pay and the other way round, so nothing is made or lost. Parts
    are cut in proportion to lots in row order.
    """
    rows = tuple(int(row) for row in np.flatnonzero(outcome.closed_lots))
    weights = [int(outcome.closed_lots[row]) for row in rows]
    parts = split_exactly(value, [*weights, outcome.uncovered_lots])
    return Settlement(rows, parts[:-1], parts[-1])


# --- checks -------------------------------------------------------------------------------------------------------


def _check_lots(account: Integers, lots: Integers) -> None:
    for name, column in (("account", account), ("lots", lots)):
        if column.ndim != 1 or column.dtype != np.int64 or column.size != lots.size:
            raise DataError(
                f"{name} has type {column.dtype} and shape {column.shape}", remedy="give int64 columns of one length"
            )
    # In floating point, because the exact sum is what must not overflow.
    total = float(np.abs(lots.astype(np.float64)).sum())
    if total > _MOST_LOTS / LIGHTS:
        raise DataError(f"{total:g} lots are too many to count exactly", remedy="count in larger lots")


def _check_column(name: str, column: Floats, size: int) -> None:
    if column.dtype != np.float64 or column.shape != (size,):
        raise DataError(
            f"{name} has type {column.dtype} and shape {column.shape}", remedy=f"give float64 of shape ({size},)"
        )
    if not bool(np.isfinite(column).all()):
        row = int(np.argmin(np.isfinite(column)))
        raise DataError(f"{name}, row {row}: {column[row]}", remedy="give finite amounts")


def _check_queue(score: Floats, account: Integers, lots: Integers, side: int) -> None:
    if side not in {1, -1}:
        raise DataError(f"side {side} is neither long nor short", remedy="+1 is long, -1 is short")
    _check_lots(account, lots)
    if score.dtype != np.float64 or score.shape != lots.shape:
        raise DataError(
            f"score has type {score.dtype} and shape {score.shape}", remedy=f"give float64 of shape {lots.shape}"
        )
    if bool(np.isnan(score).any()):
        row = int(np.argmax(np.isnan(score)))
        raise DataError(f"ADL score of row {row} (account {account[row]}) is NaN", remedy="check mark price and wallet")
