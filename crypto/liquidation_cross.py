"""Liquidation prices of a cross margin account, one-way or hedge mode. Spec: docs/specs/liquidation.md."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from crypto.errors import UsageError
from crypto.instruments import Kind
from crypto.liquidation import Bounds, LiquidationRange, as_range, check_fee, price_bounds, reciprocal
from crypto.margin import Position, require_one_asset, require_positive
from crypto.market import Floats


@dataclass(frozen=True, slots=True)
class CrossAccount:
    """Positions that share one balance.

    ``wallet``: balance (> 0) in the margin asset without unrealised profit; collateral whose price does not follow a
    contract is in it after its haircut. ``positions``: several of one contract are its hedge-mode legs.
    ``moving_collateral``: contract key -> base units, after haircut, that are collateral and move with that contract's
    price (spot bought against a short in a unified account); only for linear contracts. ``closing_fee``: rate that the
    venue adds to the maintenance rate (0: none).
    """

    wallet: float
    positions: tuple[Position, ...]
    closing_fee: float = 0.0
    moving_collateral: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_positive("wallet", self.wallet)
        if not self.positions:
            raise UsageError("a cross account without positions has no liquidation price", remedy="give a position")
        require_one_asset(self.positions)
        groups = self.groups()
        for key, legs in groups.items():
            check_fee(legs[0].tiers, self.closing_fee)
            if len({(leg.mark_price, id(leg.tiers)) for leg in legs}) > 1:
                raise UsageError(f"{key}: legs differ in mark price or tiers", remedy="give one of each per contract")
            # Reading 1/price as the price makes all inverse contracts of a coin linear, but not next to linear ones.
            if legs[0].kind is Kind.INVERSE and key in self.moving_collateral:
                raise UsageError(f"{key}: an inverse contract's own coin is the wallet", remedy="add it to the wallet")
        for key, quantity in self.moving_collateral.items():
            if key not in groups:
                raise UsageError(f"collateral moves with {key}, which has no position", remedy="add it to the wallet")
            if not math.isfinite(quantity):
                raise UsageError(f"collateral that moves with {key} = {quantity} is not a number", remedy="give units")

    def groups(self) -> dict[str, tuple[Position, ...]]:
        """Positions by contract, in the order given."""
        keys = dict.fromkeys(item.tiers.key for item in self.positions)
        return {key: tuple(item for item in self.positions if item.tiers.key == key) for key in keys}

    def equity(self) -> float:
        """Wallet, moving collateral at mark and unrealised profit."""
        moving = (quantity * self.groups()[key][0].mark_price for key, quantity in self.moving_collateral.items())
        return self.wallet + math.fsum(moving) + math.fsum(item.unrealised for item in self.positions)

    def maintenance(self) -> float:
        """Maintenance margin of all positions at mark, closing fee included."""
        return math.fsum(self._needed(item) for item in self.positions)

    def bounds(self, key: str) -> Bounds:
        """Prices of contract ``key`` between which the account keeps its margin while all other marks stay."""
        legs = self.groups()[key]
        moving = self.moving_collateral.get(key, 0.0)
        mark = legs[0].mark_price
        here = math.fsum(item.unrealised for item in legs) + moving * mark
        elsewhere = self.maintenance() - math.fsum(self._needed(item) for item in legs)
        flat = self.equity() - here - elsewhere
        is_inverse = legs[0].kind is Kind.INVERSE
        signs = -1.0 if is_inverse else 1.0
        entries = [1 / leg.entry_price if is_inverse else leg.entry_price for leg in legs]
        quantities = [signs * leg.quantity for leg in legs]
        cash = flat - math.fsum(q * e for q, e in zip(quantities, entries, strict=True))
        border, incline, deduction = combined_tiers(legs, [abs(q) for q in quantities], self.closing_fee)
        found = price_bounds(cash, math.fsum(quantities) + moving, 1.0, 0.0, border, incline, deduction)
        return reciprocal(found) if is_inverse else found

    def ranges(self) -> dict[str, LiquidationRange]:
        """Liquidation prices by contract. ``InsolventError`` names a contract for which every price liquidates."""
        return {key: as_range(self.bounds(key), f"{key} cross") for key in self.groups()}

    def _needed(self, item: Position) -> float:
        return item.maintenance + self.closing_fee * item.notional


def combined_tiers(
    legs: Sequence[Position], sizes: Sequence[float], closing_fee: float
) -> tuple[Floats, Floats, Floats]:
    """Maintenance of all legs of one contract as one table over its price (inverse: over 1/price).

    Each leg has its own tier (Binance hedge mode). Returns borders (price), maintenance per unit of price, deduction.
    """
    borders = sorted({0.0}.union(*(_borders(leg, size) for leg, size in zip(legs, sizes, strict=True))))
    inclines, totals = [], []
    for border in borders:
        incline, total = 0.0, 0.0
        for leg, size in zip(legs, sizes, strict=True):
            index = int(np.searchsorted(np.array(_borders(leg, size)), border, side="right")) - 1
            incline += size * (float(leg.tiers.rate[index]) + closing_fee)
            total += float(leg.tiers.deduction[index])
        inclines.append(incline)
        totals.append(total)
    return np.array(borders), np.array(inclines), np.array(totals)


def _borders(leg: Position, size: float) -> list[float]:
    return [float(floor) / size for floor in leg.tiers.floor]


def cross_ranges(wallet: float, positions: Iterable[Position], closing_fee: float = 0.0) -> dict[str, LiquidationRange]:
    """Liquidation prices by contract of a cross account without moving collateral; errors as of ``CrossAccount``."""
    return CrossAccount(wallet, tuple(positions), closing_fee).ranges()
