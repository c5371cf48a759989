"""Post-trade: round trips, headline figures and the result of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crypto.ledger import COMPONENT_NAMES, Component
from crypto.market import Floats, Integers
from crypto.pipeline.orders import OrderStatus
from crypto.units import DAY_MS, HOUR_MS

DAYS_PER_YEAR = 365.0  # crypto trades every day
SHORTEST_ANNUALISED_YEARS = 30.0 / DAYS_PER_YEAR  # an annual return of less than a month means nothing
OUTSIDE_PAIRS = "outside pairs"

TRIP = np.dtype(
    [
        ("pair", "i8"),
        ("direction", "i8"),  # +1 long spot and short perp, -1 the reverse
        ("open_ms", "i8"),  # decision that opened it
        ("close_ms", "i8"),  # last fill that closed it; the last instant of the run when still open
        ("is_open", "i8"),
        ("reason", "i8"),  # crypto.pipeline.reasons.Reason of the exit
        ("quantity_base", "f8"),  # largest hedged base quantity
        ("notional", "f8"),  # spot value at entry
        ("open_basis_bps", "f8"),
        ("close_basis_bps", "f8"),
        ("basis", "f8"),
        ("delta", "f8"),
        ("funding", "f8"),
        ("borrow", "f8"),
        ("fees", "f8"),
        ("slippage", "f8"),
        ("liquidation", "f8"),
        ("adl", "f8"),
        ("naked", "f8"),
        ("pnl", "f8"),
        ("hours", "f8"),
    ],
    align=True,
)

TRIP_COMPONENTS = ("basis", "delta", "funding", "borrow", "fees", "slippage", "liquidation", "adl", "naked")


def daily_returns(time_ms: Integers, equity: Floats) -> Floats:
    """Simple returns between the last instants of consecutive UTC days; empty for less than two days."""
    if equity.size < 2:
        return np.empty(0)
    day = time_ms // DAY_MS
    last = np.append(np.flatnonzero(np.diff(day)), equity.size - 1)
    closes = equity[np.unique(np.concatenate(([0], last)))]
    returns: Floats = np.diff(closes) / closes[:-1]
    return returns


def drawdown(equity: Floats) -> tuple[float, int, int]:
    """Deepest fall from a peak as a negative fraction, and the positions of the peak and the trough."""
    peak = np.maximum.accumulate(equity)
    fall = equity / peak - 1.0
    trough = int(np.argmin(fall))
    return float(fall[trough]), int(np.argmax(equity[: trough + 1])), trough


def _annualised(time_ms: Integers, equity: Floats) -> Mapping[str, float | None]:
    years = float(time_ms[-1] - time_ms[0]) / (DAY_MS * 365.0)
    growth = float(equity[-1] / equity[0])
    returns = daily_returns(time_ms, equity)
    spread = float(np.std(returns, ddof=1)) if returns.size > 1 else math.nan
    enough = years >= SHORTEST_ANNUALISED_YEARS
    return {
        "years": years,
        "annual_return": growth ** (1.0 / years) - 1.0 if enough and growth > 0.0 else None,
        "annual_volatility": spread * math.sqrt(DAYS_PER_YEAR) if returns.size > 1 else None,
        "sharpe": float(np.mean(returns)) / spread * math.sqrt(DAYS_PER_YEAR) if spread > 0.0 else None,
    }


def fill_trips(trips: Any, time_ms: Integers, attribution: Floats, series: Floats, bar_ms: int) -> None:
    """Add size, components and closing basis to the round trips (rows of ``TRIP``, opened and closed by the run).

    ``attribution``: (T, P, C) by instant; ``series``: (T, P, ...) with basis_bps and perp value in columns 0 and 3. A
    trip owns the steps after the instant of its opening decision up to the instant that found it closed.
    """
    for trip in trips:
        pair = int(trip["pair"])
        first = int((trip["open_ms"] - time_ms[0]) // bar_ms)
        if trip["is_open"]:
            trip["close_ms"] = time_ms[-1]
            trip["close_basis_bps"] = series[-1, pair, 0]
        last = int((trip["close_ms"] - time_ms[0]) // bar_ms)
        total = attribution[first + 1 : last + 1, pair].sum(axis=0)
        for name in TRIP_COMPONENTS:
            trip[name] = total[Component[name.upper()]]
        trip["pnl"] = total.sum()
        trip["hours"] = (trip["close_ms"] - trip["open_ms"]) / HOUR_MS


def summarise(
    time_ms: Integers,
    equity: Floats,
    attribution: Floats,
    perp_value: Floats,
    pair_names: Sequence[str],
    orders: Any,
    traded: float,
    trips: Any,
) -> dict[str, Any]:
    """Headline figures of a run; see docs/specs/post_trade.md for each. Fractions are plain, None where undefined."""
    totals = attribution.sum(axis=0)
    deepest, peak, trough = drawdown(equity)
    start, end = float(equity[0]), float(equity[-1])
    filled = orders["filled_lots"] != 0
    return {
        "start_equity": start,
        "end_equity": end,
        "net_pnl": end - start,
        "net_return": end / start - 1.0,
        **_annualised(time_ms, equity),
        "max_drawdown": deepest,
        "max_drawdown_start_ms": int(time_ms[peak]),
        "max_drawdown_end_ms": int(time_ms[trough]),
        "round_trips": int(np.sum(trips["is_open"] == 0)),
        "open_trips": int(np.sum(trips["is_open"] == 1)),
        "time_in_market": float(np.mean(np.any(np.nan_to_num(perp_value) != 0.0, axis=1))),
        "turnover": traded / float(np.mean(equity)),
        "orders": int(orders.size),
        "fills": int(np.sum(filled)),
        "rejected": int(np.sum(orders["status"] == OrderStatus.REJECTED)),
        "cancelled": int(np.sum(orders["status"] == OrderStatus.CANCELLED)),
        "components": {name: float(value) for name, value in zip(COMPONENT_NAMES, totals.sum(axis=0), strict=True)},
        "pairs": {
            name: {**dict(zip(COMPONENT_NAMES, map(float, totals[row]), strict=True)), "pnl": float(totals[row].sum())}
            for row, name in enumerate((*pair_names, OUTSIDE_PAIRS))
        },
        "bars": int(time_ms.size - 1),
    }
