"""Funding and borrow payments of a Lean run, read back for comparisons.

Lean's result files know no payments: funding only moves cash. Carry's algorithm leaves its ledger as ``ledger.csv`` in
Lean's object store; any other algorithm may log ``flow_line`` for each payment.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from crypto.errors import DataError
from crypto.ledger import Flow

PREFIX = "CARRY-FLOW "
_AGAIN = "run the backtest on Lean again, to its end"
FUNDING, BORROW = "funding", "borrow"
KINDS = (FUNDING, BORROW)
LEDGER_KINDS = {"funding": FUNDING, "funding_grace": FUNDING, "interest": BORROW}  # by flow of the ledger
_OTHER_FLOWS = {flow.name.lower() for flow in Flow} - LEDGER_KINDS.keys()


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
    damaged = DataError(f"{where}: not a whole payment line: {line.strip()!r}", remedy=_AGAIN)
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


def read_ledger(path: Path) -> tuple[CashFlow, ...]:
    """Payments in a ledger with the columns time_ms, flow, leg (instrument key) and value, in the file's order.

    ``DataError`` names the file, and the line where one is damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            absent = {"time_ms", "flow", "leg", "value"}.difference(rows.fieldnames or ())
            if absent:
                raise DataError(f"{path} has no column {min(absent)}: not a ledger", remedy=_AGAIN)
            found = (_ledger_flow(row, f"{path}, line {rows.line_num}") for row in rows)
            return tuple(flow for flow in found if flow is not None)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} can't be read: {error}", remedy=_AGAIN) from error


def _ledger_flow(row: Mapping[str, str | None], where: str) -> CashFlow | None:
    kind = LEDGER_KINDS.get(row["flow"] or "")
    if kind is None:
        if row["flow"] in _OTHER_FLOWS:
            return None
        raise DataError(f"{where}: not a whole row: flow {row['flow']!r} is unknown", remedy=_AGAIN)
    try:
        flow = CashFlow(kind, row["leg"] or "", int(row["time_ms"] or ""), float(row["value"] or ""))
    except ValueError as error:
        raise DataError(f"{where}: not a whole row: {error}", remedy=_AGAIN) from error
    if not flow.instrument or not math.isfinite(flow.amount):
        raise DataError(f"{where}: a payment without instrument or amount", remedy=_AGAIN)
    return flow
