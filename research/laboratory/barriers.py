"""Liquidation prices of one position at many leverages, and how they move when funding drains its margin."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crypto.errors import RefusedError, UsageError
from crypto.instruments import Kind
from crypto.liquidation import ALWAYS, bounds_of_many, cash_inverse, cash_linear, tier_columns
from crypto.market import Floats
from crypto.tiers import TierTable, check_leverage, tier_of

MOST_LEVERAGES = 1_000


@dataclass(frozen=True, slots=True)
class MarginQuestion:
    """An isolated position at several leverages. Exactly one of ``wallet`` (its margin; the position is as large as the
    leverage allows) and ``notional`` (the margin is notional / leverage) is given, in quote units.

    ``side``: +1 long, -1 short. ``funding_rate``: fraction per ``funding_hours``, longs pay when it is positive.
    ``closing_fee``: fee rate that the venue adds to the maintenance rate.
    """

    tiers: TierTable
    side: int
    entry_price: float
    leverages: tuple[float, ...]
    wallet: float | None
    notional: float | None
    closing_fee: float = 0.0
    funding_rate: float = 0.0
    funding_hours: float = 8.0

    @property
    def kind(self) -> Kind:
        """Linear or inverse."""
        return Kind(self.tiers.key.split(":")[1])

    def notional_at(self, leverage: float) -> float:
        """Notional in quote units at a leverage."""
        if self.notional is not None:
            return self.notional
        if self.wallet is None:
            raise UsageError("--wallet and --notional are both missing", remedy="give one of them")
        return self.wallet * leverage


@dataclass(frozen=True, slots=True)
class MarginLadder:
    """Liquidation prices now, and distances by settlement count, shape (settlements + 1, n).

    ``distance[s, j]``: how far the log price has to move against the position at leverage j after s settlements; 0 or
    less: liquidated where it started; inf: no price liquidates.
    """

    leverages: Floats
    notional: Floats
    margin: Floats
    price: Floats
    distance: Floats


def largest_leverage(tiers: TierTable, entry_price: float, wallet: float | None, notional: float | None) -> float:
    """Largest leverage that the tiers allow a position of this notional, or of this wallet times it."""
    if notional is not None:
        return float(tiers.max_leverage[tier_of(tiers, _in_tier_unit(tiers, notional, entry_price))])
    size = _in_tier_unit(tiers, wallet or 0.0, entry_price)
    best = 0.0
    for floor, cap, most in zip(tiers.floor, tiers.cap, tiers.max_leverage, strict=True):
        leverage = min(float(most), float(cap) / size)
        if leverage * size > floor:
            best = max(best, leverage)
    if best < 1:
        raise RefusedError(
            f"{tiers.key}: a wallet of {wallet:,.12g} is beyond the last tier even without leverage",
            remedy="give a smaller wallet, or the venue's complete tiers",
        )
    return best


def ladder(question: MarginQuestion, settlements: int) -> MarginLadder:
    """Liquidation prices of every leverage, nearest first, after 0 to ``settlements`` settlements of funding.

    Funding is reckoned on the notional at entry. ``UsageError`` or ``RefusedError`` for a leverage that the tiers do
    not allow.
    """
    leverages = np.array(sorted(question.leverages, reverse=True))
    notional = np.array([question.notional_at(leverage) for leverage in leverages])
    sizes = np.array([_in_tier_unit(question.tiers, value, question.entry_price) for value in notional])
    for leverage, size in zip(leverages, sizes, strict=True):
        check_leverage(question.tiers, float(size), float(leverage))
    is_inverse = question.kind is Kind.INVERSE
    quantity = np.array(question.side * (notional if is_inverse else notional / question.entry_price), dtype=np.float64)
    margin = sizes / leverages
    paid = -question.side * question.funding_rate * sizes
    left = margin + np.arange(settlements + 1)[:, None] * paid
    # A formula of sums, which holds for columns as for the single numbers that it is declared for.
    cash_of: Callable[..., Any] = cash_inverse if is_inverse else cash_linear
    cash = np.array(cash_of(left, 0.0, 0.0, quantity, question.entry_price), dtype=np.float64)
    found = _prices(question, cash, quantity, is_inverse)
    ends = (found > 0) & np.isfinite(found)
    distance = question.side * (math.log(question.entry_price) - np.log(np.where(ends, found, question.entry_price)))
    distance = np.where(ends, distance, np.inf)
    return MarginLadder(leverages, notional, margin, found[0], _ordered(distance))


def _in_tier_unit(tiers: TierTable, notional: float, price: float) -> float:
    return notional / price if tiers.key.split(":")[1] == Kind.INVERSE.value else notional


def _prices(question: MarginQuestion, cash: Floats, quantity: Floats, is_inverse: bool) -> Floats:
    """Prices at which each is liquidated; 0 (long) or inf (short) where none does, the entry where every one does."""
    rows, count = cash.shape
    found = bounds_of_many(
        cash.ravel(),
        np.tile(quantity, rows),
        np.full(cash.size, is_inverse),
        np.full(cash.size, question.closing_fee),
        np.zeros(cash.size, dtype=np.int64),
        tier_columns([question.tiers]),
    )
    never = np.inf if question.side < 0 else 0.0
    end = found.upper if question.side < 0 else found.lower
    price = np.where(np.isnan(end) | (end <= 0), never, end)
    price = np.where(found.status == ALWAYS, question.entry_price, price)
    shaped: Floats = price.reshape(rows, count)
    return shaped


def _ordered(distance: Floats) -> Floats:
    """Distances that ascend along leverages; equal ones that rounding turned around are put right."""
    ordered = np.maximum.accumulate(distance, axis=1)
    if not np.allclose(ordered[np.isfinite(ordered)], distance[np.isfinite(ordered)], rtol=0, atol=1e-9):
        raise ArithmeticError("liquidation distances do not grow as leverage falls")
    return ordered


def parse_leverages(texts: Sequence[str]) -> tuple[float, ...]:
    """Leverages from ``3``, ``2,5,10`` or ``1:50:64`` (from, to, how many; evenly spaced by ratio); none twice."""
    found: list[float] = []
    for text in texts:
        for part in text.split(","):
            found += _span(part) if ":" in part else [_leverage(part)]
    if len(set(found)) != len(found):
        twice = next(value for value in found if found.count(value) > 1)
        raise UsageError(f"--leverage {twice:g} is given twice", remedy="give each once")
    if len(found) > MOST_LEVERAGES:
        raise UsageError(f"--leverage: {len(found)} are too many", remedy=f"give at most {MOST_LEVERAGES}")
    return tuple(found)


def even_ladder(low: float, high: float, count: int) -> list[float]:
    """``count`` leverages from ``low`` to ``high``, each the same multiple of the one before."""
    inner = [low * (high / low) ** (k / (count - 1)) for k in range(1, count - 1)]
    return [low, *inner, high]


def _span(text: str) -> list[float]:
    parts = text.split(":")
    if len(parts) != 3 or not parts[2].isdecimal() or not 2 <= int(parts[2]) <= MOST_LEVERAGES:
        raise UsageError(f"--leverage {text!r} is not of the form FROM:TO:COUNT", remedy="for example 1:50:64")
    low, high = _leverage(parts[0]), _leverage(parts[1])
    if not low < high:
        raise UsageError(f"--leverage {text!r} does not ascend", remedy="give the smaller leverage first")
    return even_ladder(low, high, int(parts[2]))


def _leverage(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise UsageError(f"--leverage {text!r} is not a number", remedy="for example 3, 2,5,10 or 1:50:64") from error
    if not (math.isfinite(value) and value >= 1):
        raise UsageError(f"--leverage = {text} is not 1 or more", remedy="give a leverage from 1 up")
    return value
