"""Auto-deleveraging: venues' rules, positions, values and closing prices. Spec: docs/specs/adl.md.

Lots are whole and signed (long positive), values in the settlement asset. Who ranks where is in ``adl_ranking``, who is
closed in ``adl_allocation``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType

import numpy as np

from crypto.compiled import kernel
from crypto.errors import DataError, SettingsError
from crypto.market import Floats, Integers

LIGHTS = 5
MOST_LOTS = 2**62  # sums of lots stay inside 64 bits


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
        check_lots(self.account, self.lots)
        for name in ("entry_value", "wallet", "maintenance"):
            _check_column(name, getattr(self, name), self.lots.size)
        if np.any(self.maintenance < 0):
            row = int(np.argmax(self.maintenance < 0))
            raise DataError(
                f"position row {row}: maintenance margin {self.maintenance[row]} is negative",
                remedy="give it as a size",
            )


def adl_rule(venue: str) -> AdlRule:
    """The published rule of ``venue``; ``SettingsError`` naming the known ones when there is none."""
    rule = ADL_RULES.get(venue)
    if rule is None:
        raise SettingsError(f"no ADL rule for venue {venue!r}", remedy=f"known venues: {', '.join(sorted(ADL_RULES))}")
    return rule


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


def check_lots(account: Integers, lots: Integers) -> None:
    """``DataError`` when account and lots are no int64 columns of one length, or too large to add exactly."""
    for name, column in (("account", account), ("lots", lots)):
        if column.ndim != 1 or column.dtype != np.int64 or column.size != lots.size:
            raise DataError(
                f"{name} has type {column.dtype} and shape {column.shape}", remedy="give int64 columns of one length"
            )
    # In floating point, because the exact sum is what must not overflow.
    total = float(np.abs(lots.astype(np.float64)).sum())
    if total > MOST_LOTS / LIGHTS:
        raise DataError(f"{total:g} lots are too many to count exactly", remedy="count in larger lots")


def _check_column(name: str, column: Floats, size: int) -> None:
    if column.dtype != np.float64 or column.shape != (size,):
        raise DataError(
            f"{name} has type {column.dtype} and shape {column.shape}", remedy=f"give float64 of shape ({size},)"
        )
    if not bool(np.isfinite(column).all()):
        row = int(np.argmin(np.isfinite(column)))
        raise DataError(f"{name}, row {row}: {column[row]}", remedy="give finite amounts")
