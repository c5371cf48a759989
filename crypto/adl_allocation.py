"""Allocation of auto-deleveraging: who is closed, and what both sides exchange. Spec: docs/specs/adl.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crypto.adl import MOST_LOTS
from crypto.adl_ranking import check_queue
from crypto.compiled import jit, kernel
from crypto.errors import DataError
from crypto.insurance import split_exactly
from crypto.market import Floats, Integers

_DIGIT_BITS = 16
_DIGITS = 1 << _DIGIT_BITS
_LEVELS = 8  # 64 bits of the score in digits, then 64 of the account


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
    check_queue(score, account, lots, side)
    if wanted_lots < 0:
        raise DataError(f"wanted lots {wanted_lots} are negative", remedy="give the size that has to be closed")
    if wanted_lots > MOST_LOTS:
        raise DataError(f"wanted lots {wanted_lots} exceed {MOST_LOTS}", remedy="count in larger lots")
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
