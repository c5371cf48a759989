"""Reader of what Lean writes for a backtest: result, summary, order events and log. Spec: docs/specs/lean_stock.md.

Lean names the files after the algorithm's id: ``<id>.json``, ``<id>-summary.json``, ``<id>-order-events.json`` and
``<id>-log.txt``. Numbers are read as float64; times are integer milliseconds, UTC.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crypto.errors import DataError, UsageError
from crypto.market import Floats, Integers
from crypto.units import parse_iso
from data.lean_codes import LeanSymbol, order_status, order_type, symbol
from data.lean_flows import BORROW, FUNDING, CashFlow, parse_line, read_ledger

EVENTS, SUMMARY, LOG = "-order-events.json", "-summary.json", "-log.txt"
STORAGE, LEDGER = "storage", "ledger.csv"  # where a run's object store is, and what Carry's algorithm leaves in it
COMPLETED = "Completed"
_AGAIN = "run the backtest on Lean again, to its end"
_TOTALS = {FUNDING: ("Carry funding", "Funding"), BORROW: ("Carry borrow", "Borrow")}  # statistics, account currency
_OWN_EQUITY = "Carry equity"  # statistic of Carry's algorithm: equity of its own ledger


@dataclass(frozen=True, slots=True)
class LeanFill:
    """One fill. ``quantity`` (signed) is what arrived: a fee in base is taken off already."""

    time_ms: int
    quantity: float
    price: float
    fee: float
    fee_currency: str


@dataclass(frozen=True, slots=True)
class LeanOrder:
    """One order with its fills; ``quantity`` is signed, ``limit_price`` NaN for a market order."""

    id: int
    symbol: LeanSymbol
    time_ms: int
    quantity: float
    type: str
    limit_price: float
    status: str
    message: str
    fills: tuple[LeanFill, ...]


@dataclass(frozen=True, slots=True)
class LeanResult:
    """A finished Lean backtest.

    ``start_ms``, ``end_ms``: first and last instant, the end being the midnight after Lean's inclusive end date.
    ``equity`` at ``time_ms`` has the closing fee of open perps taken off, as Lean counts, to four decimals.
    ``flows`` is None when nothing lists the payments; ``totals`` are what the algorithm's statistics say, if they do.
    ``own_equity``: equity of the ledger that Carry's algorithm keeps, at the end; None for another algorithm.
    """

    id: str
    files: tuple[Path, ...]
    start_ms: int
    end_ms: int
    account_currency: str
    start_equity: float
    end_equity: float
    parameters: Mapping[str, str]
    lean_version: str
    orders: tuple[LeanOrder, ...]
    time_ms: Integers
    equity: Floats
    flows: tuple[CashFlow, ...] | None
    totals: Mapping[str, float]
    own_equity: float | None


def read_lean_result(path: Path, ledger: Path | None = None) -> LeanResult:
    """The Lean run in a folder, or the one whose ``<id>.json`` is named.

    Payments come from ``ledger`` (the file that Carry's algorithm leaves in Lean's object store), else from the one
    below the folder's ``storage``, else from lines of the log. ``DataError`` names a file that is missing, damaged or
    of another run, and a run that did not complete.
    """
    base = _find(path)
    main = base.with_name(f"{base.name}.json")
    document = _Document(main, _read_json(main))
    _refuse_failed(document)
    events_path, log_path = base.with_name(base.name + EVENTS), base.with_name(base.name + LOG)
    events = _read_json(events_path)
    if not isinstance(events, list):
        raise DataError(f"{events_path} is not a list of order events", remedy=_AGAIN)
    start_ms, end_ms = _period(document)
    statistics = document.get("totalPerformance.portfolioStatistics", dict)
    time_ms, equity = _equity(document)
    totals, own_equity = _statistics(document)
    ledger = _stored_ledger(base.parent) if ledger is None else ledger
    flows = _logged_flows(log_path) if ledger is None else read_ledger(ledger)
    return LeanResult(
        id=base.name,
        files=tuple(file for file in (main, events_path, log_path, ledger) if file is not None and file.is_file()),
        start_ms=start_ms,
        end_ms=end_ms,
        account_currency=document.get("algorithmConfiguration.accountCurrency", str),
        start_equity=_number(statistics.get("startEquity"), f"{main}: startEquity"),
        end_equity=_number(statistics.get("endEquity"), f"{main}: endEquity"),
        parameters={key: str(value) for key, value in document.get("algorithmConfiguration.parameters", dict).items()},
        lean_version=str(document.root.get("serverStatistics", {}).get("LEAN Version", "")),
        orders=_orders(document, _fills(events, events_path, base.name)),
        time_ms=time_ms,
        equity=equity,
        flows=flows,
        totals=totals,
        own_equity=own_equity,
    )


def _find(path: Path) -> Path:
    """Path of the files without their endings."""
    remedy = "give the folder in which Lean wrote <id>.json and <id>-order-events.json"
    if not path.exists():
        raise DataError(f"Lean result {path} does not exist", remedy=remedy)
    if path.is_file():
        if path.suffix != ".json" or path.name.endswith((EVENTS, SUMMARY)):
            raise UsageError(f"{path} is not the main file of a Lean result", remedy="name <id>.json, or its folder")
        return path.with_suffix("")
    endings = (EVENTS, SUMMARY)
    found = sorted(
        {file.name.removesuffix(end) for file in path.iterdir() for end in endings if file.name.endswith(end)}
    )
    if not found:  # a run that fails may write its main file only (lean-measured.md E); its state says why
        found = sorted(file.stem for file in path.glob("*.json") if _is_main(file))
    if len(found) == 1:
        return path / found[0]
    if found:
        raise UsageError(f"{path} holds {len(found)} Lean results: {', '.join(found)}", remedy="name one <id>.json")
    raise DataError(f"{path} holds no Lean result", remedy=remedy)


def _is_main(path: Path) -> bool:
    try:
        return "algorithmConfiguration" in json.loads(path.read_bytes())
    except (ValueError, TypeError, OSError):
        return False


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing from the Lean result", remedy=_AGAIN) from error
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}", remedy="check its permissions") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text", remedy=_AGAIN) from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is cut off or damaged at line {error.lineno}, column {error.colno}: {error.msg}", remedy=_AGAIN
        ) from error


@dataclass(frozen=True, slots=True)
class _Document:
    """A JSON file whose values are fetched by dotted path, with an error that names file and path."""

    path: Path
    root: Any

    def get(self, dotted: str, kind: type | tuple[type, ...]) -> Any:
        value: Any = self.root
        for part in dotted.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if not isinstance(value, kind):
            raise DataError(f"{self.path} has no {dotted}: not a Lean result, or not a whole one", remedy=_AGAIN)
        return value


def _refuse_failed(document: _Document) -> None:
    status = document.get("state.Status", str)
    if status != COMPLETED:
        why = document.root["state"].get("RuntimeError") or "no reason is given"
        raise DataError(f"the Lean run of {document.path} ended with status {status}: {why}", remedy=_AGAIN)


def _number(value: Any, where: str) -> float:
    """A number that Lean writes as such or as text."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise DataError(f"{where} = {value!r} is not a number", remedy=_AGAIN)
    return number


def _instant(text: Any, where: str) -> int:
    try:
        return parse_iso(text)
    except (UsageError, TypeError, AttributeError) as error:
        raise DataError(f"{where} = {text!r} is not a time", remedy=_AGAIN) from error


def _period(document: _Document) -> tuple[int, int]:
    """First instant, and the midnight that ends Lean's last day (it writes 23:59:59)."""
    start, end = (document.get(f"algorithmConfiguration.{key}", str) for key in ("startDate", "endDate"))
    last = _instant(end, f"{document.path}: endDate")
    whole_seconds = -(-last // 1000) * 1000
    return _instant(start, f"{document.path}: startDate"), whole_seconds + (1000 if end.endswith("59Z") else 0)


def _equity(document: _Document) -> tuple[Integers, Floats]:
    """Times and closes of the equity chart, a point per time (the last one of a time counts)."""
    root = document.get("charts", dict).get("Strategy Equity", {})
    values = root.get("series", {}).get("Equity", {}).get("values")
    if not isinstance(values, list) or not values:
        raise DataError(f"{document.path} has no equity chart", remedy=_AGAIN)
    points: dict[int, float] = {}
    for number, point in enumerate(values):
        where = f"{document.path}: point {number} of the equity chart"
        if not isinstance(point, list) or len(point) < 2:
            raise DataError(f"{where} is {point!r}", remedy=_AGAIN)
        points[round(_number(point[0], where) * 1000)] = _number(point[-1], where)
    times = sorted(points)
    return np.array(times, dtype=np.int64), np.array([points[time] for time in times])


def _orders(document: _Document, fills: Mapping[int, Sequence[tuple[LeanFill, str]]]) -> tuple[LeanOrder, ...]:
    table = document.get("orders", dict)
    unknown = sorted(fills.keys() - {int(key) for key in table if str(key).isdecimal()})
    if unknown:
        raise DataError(
            f"the order events beside {document.path} have order {unknown[0]}, which the result does not list",
            remedy="the files are of different runs: " + _AGAIN,
        )
    return tuple(_order(document.path, key, table[key], fills) for key in sorted(table, key=int))


def _order(path: Path, key: str, row: Any, events: Mapping[int, Sequence[tuple[LeanFill, str]]]) -> LeanOrder:
    where = f"{path}: order {key}"
    if not isinstance(row, dict) or not isinstance(row.get("symbol"), dict):
        raise DataError(f"{where} is not a whole order", remedy=_AGAIN)
    mine = events.get(int(key), ())
    limit = row.get("limitPrice")
    return LeanOrder(
        id=int(key),
        symbol=symbol(row["symbol"].get("id"), where),
        time_ms=_instant(row.get("createdTime"), f"{where}: createdTime"),
        quantity=_number(row.get("quantity"), f"{where}: quantity"),
        type=order_type(row.get("type"), where),
        limit_price=math.nan if limit is None else _number(limit, f"{where}: limitPrice"),
        status=order_status(row.get("status"), where),
        message=" ".join(text for _, text in mine if text),
        fills=tuple(fill for fill, _ in mine if fill.quantity != 0.0),
    )


def _fills(events: Sequence[Any], path: Path, algorithm: str) -> dict[int, list[tuple[LeanFill, str]]]:
    """Events by order: what they filled (0 for a change of state) and their message."""
    found: dict[int, list[tuple[LeanFill, str]]] = {}
    for number, event in enumerate(events):
        where = f"{path}: event {number}"
        if not isinstance(event, dict) or not isinstance(event.get("orderId"), int):
            raise DataError(f"{where} is not a whole order event", remedy=_AGAIN)
        if event.get("algorithmId", algorithm) != algorithm:
            raise DataError(
                f"{where} is of algorithm {event['algorithmId']!r}, the result is of {algorithm!r}",
                remedy="keep the files of one run together",
            )
        order_status(event.get("status"), where)
        fill = LeanFill(
            round(_number(event.get("time"), f"{where}: time") * 1000),
            _number(event.get("fillQuantity", 0.0), f"{where}: fillQuantity"),
            _number(event.get("fillPrice", 0.0), f"{where}: fillPrice"),
            _number(event.get("orderFeeAmount", 0.0), f"{where}: orderFeeAmount"),
            str(event.get("orderFeeCurrency", "")),
        )
        found.setdefault(event["orderId"], []).append((fill, str(event.get("message", ""))))
    return found


def _stored_ledger(folder: Path) -> Path | None:
    """The ledger in the run's own object store; None when there is none."""
    found = sorted(folder.glob(f"{STORAGE}/*/{LEDGER}"))
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in found)
        raise UsageError(f"{folder} holds {len(found)} ledgers: {names}", remedy="name one with --ledger")
    return found[0] if found else None


def _logged_flows(path: Path) -> tuple[CashFlow, ...] | None:
    """Payments that the algorithm logged; None when it logged none."""
    if not path.is_file():
        return None
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = (parse_line(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1))
    return tuple(flow for flow in found if flow is not None) or None


def _statistics(document: _Document) -> tuple[dict[str, float], float | None]:
    """Totals of payments by kind, and the equity of the algorithm's own ledger, among the run's statistics."""
    totals: dict[str, float] = {}
    for kind, names in _TOTALS.items():
        for name in names:
            value = _statistic(document, name)
            if value is not None:
                totals.setdefault(kind, value)
    return totals, _statistic(document, _OWN_EQUITY)


def _statistic(document: _Document, name: str) -> float | None:
    """A summary statistic, else a runtime statistic; both are texts with signs and separators."""
    for table in ("statistics", "runtimeStatistics"):
        values = document.root.get(table)
        text = values.get(name) if isinstance(values, dict) else None
        if text is not None:
            return _number(re.sub(r"[^0-9.eE+-]", "", str(text)), f"{document.path}: {table}.{name}")
    return None
