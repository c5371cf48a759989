"""Funding and borrow payments in a Lean log: one line each, written by the algorithm and read back for comparisons.

Lean's result files know no payments: funding only moves cash. So the algorithm logs ``flow_line`` for each, and the
reader of results finds it again. Standard library only, because it also runs inside Lean's container.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass

from crypto.errors import DataError

PREFIX = "CARRY-FLOW "
FUNDING, BORROW = "funding", "borrow"
KINDS = (FUNDING, BORROW)


@dataclass(frozen=True, slots=True)
class CashFlow:
    """One payment: ``kind`` funding or borrow, by instrument key; ``amount`` in account currency, received positive."""

    kind: str
    instrument: str
    time_ms: int
    amount: float


def flow_line(flow: CashFlow) -> str:
    """The text to log for a payment."""
    return PREFIX + json.dumps(asdict(flow), separators=(",", ":"), allow_nan=False)


def parse_line(line: str, where: str) -> CashFlow | None:
    """The payment in a line of a log, None for any other line; ``DataError`` naming ``where`` for a damaged one."""
    _, mark, text = line.partition(PREFIX)
    if not mark:
        return None
    damaged = DataError(f"{where}: not a whole payment line: {line.strip()!r}", remedy="run the backtest on Lean again")
    try:
        values = json.loads(text)
        kind, instrument, time_ms, amount = (values[name] for name in ("kind", "instrument", "time_ms", "amount"))
    except (ValueError, TypeError, KeyError) as error:
        raise damaged from error
    is_time = isinstance(time_ms, int) and not isinstance(time_ms, bool)
    is_amount = isinstance(amount, int | float) and not isinstance(amount, bool) and math.isfinite(amount)
    if kind not in KINDS or not isinstance(instrument, str) or not is_time or not is_amount:
        raise damaged
    return CashFlow(kind, instrument, time_ms, float(amount))
