"""Checks that two ways of computing a result agree. A speed without them is worth nothing, so they run first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crypto.market import MarketHistory
from crypto.result import BacktestResult

RESULT_ARRAYS = (
    "time_ms",
    "wallet_equity",
    "pair_pnl",
    "attribution",
    "wallet_attribution",
    "basis_bps",
    "carry_annual",
    "spot_value",
    "perp_value",
    "collateral_ratio",
    "liquidation_distance",
    "ledger",
    "orders",
    "trips",
)


class ResultsDifferError(Exception):
    """Two ways that must give the same result do not; the message names the value and where they part."""


def require_same(name: str, left: object, right: object) -> None:
    """The two plain values are equal."""
    if left != right:
        raise ResultsDifferError(f"{name}: {left!r} against {right!r}")


def require_same_bits(name: str, left: NDArray[Any], right: NDArray[Any]) -> None:
    """The two arrays have the same type, shape and bytes; NaN equals NaN of the same bits, 0.0 differs from -0.0."""
    require_same(f"{name}, type", left.dtype, right.dtype)
    require_same(f"{name}, shape", left.shape, right.shape)
    if left.tobytes() == right.tobytes():
        return
    rows = [k for k in range(left.shape[0]) if left[k].tobytes() != right[k].tobytes()] if left.ndim else [0]
    raise ResultsDifferError(
        f"{name}: {len(rows)} of {left.shape[0] if left.ndim else 1} rows differ, first row {rows[0]}: "
        f"{left[rows[0]] if left.ndim else left} against {right[rows[0]] if right.ndim else right}"
    )


def require_close(
    name: str, left: NDArray[np.float64], right: NDArray[np.float64], scale: NDArray[np.float64], tolerance: float
) -> None:
    """The arrays differ by at most ``tolerance * scale``, element by element; NaN anywhere fails.

    For sums, ``scale`` is the sum of the absolute terms: rounding errors are relative to it, not to a total in which
    terms cancel.
    """
    require_same(f"{name}, shape", left.shape, right.shape)
    excess = np.abs(left - right) - tolerance * scale
    if not bool((excess <= 0.0).all()):
        worst = np.unravel_index(int(np.argmax(np.where(np.isnan(excess), np.inf, excess))), excess.shape)
        raise ResultsDifferError(
            f"{name}: {left[worst]!r} against {right[worst]!r} at {tuple(int(k) for k in worst)}, "
            f"more than {tolerance:g} of {scale[worst]!r} apart"
        )


def require_traded(result: BacktestResult, market: MarketHistory) -> None:
    """The run reached the last bar and every pair was traded: a run that does nothing would be fast for nothing."""
    require_same("status of the run", result.status, "completed")
    require_same("last instant of the run", int(result.time_ms[-1]), int(market.open_ms[-1]) + market.bar_ms)
    traded = {int(pair) for pair in result.trips["pair"]}
    idle = [name for pair, name in enumerate(result.pair_names) if pair not in traded]
    if idle:
        raise ResultsDifferError(f"the run never traded {', '.join(idle)}, so its speed says nothing")


def require_same_result(left: BacktestResult, right: BacktestResult) -> None:
    """Ledger, orders, round trips and every series of two runs are equal to the bit, and so is the journal."""
    for name in RESULT_ARRAYS:
        require_same_bits(name, getattr(left, name), getattr(right, name))
    require_same("length of the journal", len(left.journal), len(right.journal))
    for row, (one, other) in enumerate(zip(left.journal, right.journal, strict=True)):
        # As text, because NaN is not equal to itself.
        require_same(f"journal, row {row}", repr(dict(one)), repr(dict(other)))
