"""Tiered liquidation prices of many positions as one compiled loop, against the same formula position by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bench.comparison import Comparison, Direction
from bench.equality import require_same_bits
from bench.measure import Sample, cpu_seconds, in_turns, timed
from crypto.liquidation import bounds_of_many, inverse_bounds, linear_bounds, tier_columns
from crypto.tiers import TierRow, TierTable, fixed_tier, tier_table

LEAST_TIMES_PLAIN = 30.0
ROWS = (
    TierRow(0.0, 1_000.0, 0.01, 50.0),
    TierRow(1_000.0, 5_000.0, 0.02, 25.0),
    TierRow(5_000.0, 50_000.0, 0.05, 10.0),
)


@dataclass(frozen=True, slots=True)
class LiquidationSize:
    """Positions, and how often each side is timed."""

    positions: int = 50_000
    repeats: int = 5


def make_positions(count: int, seed: int) -> tuple[list[TierTable], dict[str, Any]]:
    """Tier tables, and columns of long and short, linear and inverse positions of 1 to 50 times leverage."""
    rng = np.random.default_rng(seed)
    linear = tier_table("x:linear:AB", "B", 0, ROWS, "bench")
    inverse = tier_table("x:inverse:AB", "A", 0, ROWS, "bench")
    table = rng.integers(0, 3, count)
    is_inverse = table == 1
    quantity = rng.choice([-1.0, 1.0], count) * rng.uniform(0.5, 60.0, count)
    entry = rng.uniform(50.0, 150.0, count)
    margin = rng.uniform(0.02, 1.2, count) * np.abs(quantity) * np.where(is_inverse, 1.0 / entry, entry)
    columns = {
        "cash": margin + np.where(is_inverse, quantity / entry, -quantity * entry),
        "quantity": quantity,
        "is_inverse": is_inverse,
        "closing_fee": rng.choice([0.0, 0.0006], count),
        "table": table,
    }
    return [linear, inverse, fixed_tier("x:linear:D", "B", 0.02)], columns


def one_by_one(tables: Sequence[TierTable], columns: dict[str, Any]) -> list[tuple[float, float, int]]:
    """The same in plain Python."""
    plain = [(table.floor.tolist(), table.rate.tolist(), table.deduction.tolist()) for table in tables]
    rows = zip(*[columns[name].tolist() for name in columns], strict=True)
    return [
        (inverse_bounds if inverse else linear_bounds)(cash, quantity, fee, *plain[table])
        for cash, quantity, inverse, fee, table in rows
    ]


def compare(size: LiquidationSize) -> list[Comparison]:
    """Check that both forms give the same prices to the bit, then time them in turns."""
    tables, columns = make_positions(size.positions, seed=7)
    compiled = partial(bounds_of_many, **columns, tiers=tier_columns(tables))
    plain = partial(one_by_one, tables, columns)
    expected = plain()
    for number, (name, found) in enumerate(zip(("lower", "upper", "status"), compiled(), strict=True)):
        require_same_bits(f"{name} prices", np.array([row[number] for row in expected], dtype=found.dtype), found)
    timings = in_turns({"plain": partial(timed, plain), "compiled": partial(timed, compiled)}, size.repeats)
    return [
        Comparison(
            item=f"tiered liquidation price of {size.positions} positions",
            unit="k positions/s",
            denominator_name="plain Python, the same function",
            denominator=_rate(size, cpu_seconds(timings["plain"])),
            figure_name="bounds_of_many",
            figure=_rate(size, cpu_seconds(timings["compiled"])),
            goal=LEAST_TIMES_PLAIN,
            direction=Direction.AT_LEAST,
            note="both gave the same prices to the bit",
        )
    ]


def _rate(size: LiquidationSize, seconds: Sample) -> Sample:
    return Sample(tuple(size.positions / 1e3 / value for value in seconds.values))
