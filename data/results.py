"""Writes a finished run to a directory: JSON, Parquet, CSV and the journal.

Everything is written aside, in a directory next to the asked one, which is renamed at the end: a reader finds a whole
result or none. Codes are written as their lower-case names, and pairs, wallets, assets and instruments by name.
Instants stand twice, as integer milliseconds (``..._ms``) and as a UTC timestamp; CSV has ISO 8601.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from crypto.errors import OutputError
from crypto.ledger import Flow
from crypto.market import Integers
from crypto.pipeline.orders import Intent, OrderKind, OrderReason, OrderStatus
from crypto.pipeline.reasons import Reason
from crypto.result import BacktestResult, Records
from data.result_folder import output_error, write_folder

NO_PAIR = "(none)"  # name in the attribution of what no pair owns
CSV_TABLES = ("ledger", "orders", "trips")
DIRECTIONS = {1: "long_spot_short_perp", -1: "short_spot_long_perp"}

Names = NDArray[np.object_]


def next_directory(base: Path, name: str) -> Path:
    """``base/name-NNNN`` with the number after the highest there is, from 0001. The directory is not created.

    Raises ``OutputError`` when ``name`` is no plain file name or ``base`` can't be read.
    """
    if not re.fullmatch(r"[\w][\w .+-]*", name):
        raise OutputError(
            f"run name {name!r} can't be part of a directory name",
            remedy="set run.name to letters, digits, '-', '_', '.', '+' and spaces, beginning with a letter or digit",
        )
    pattern = re.compile(re.escape(name) + r"-(\d+)")
    try:
        entries = [entry.name for entry in base.iterdir()] if base.exists() else []
    except OSError as error:
        raise output_error(base, error) from error
    numbers = [int(match.group(1)) for entry in entries if (match := pattern.fullmatch(entry))]
    return base / f"{name}-{max(numbers, default=0) + 1:04d}"


def write_results(
    result: BacktestResult, directory: Path, *, pages: Mapping[str, str] | None = None
) -> Mapping[str, Path]:
    """Write every file of ``result`` into the new ``directory``; returns file name -> path.

    ``pages``: further text files by name, such as ``report.html``, which appear together with the rest.
    Raises ``OutputError`` when the directory exists already or can't be written; nothing half-written is left.
    """
    return write_folder(directory, lambda folder: _write_files(result, folder, pages or {}))


def write_texts(directory: Path, texts: Mapping[str, str]) -> Mapping[str, Path]:
    """Write text files by name into the new ``directory``, all or none; returns name -> path, errors as above."""

    def fill(folder: Path) -> None:
        for name, text in texts.items():
            _write_text(folder / name, text)

    return write_folder(directory, fill)


def _write_files(result: BacktestResult, directory: Path, pages: Mapping[str, str]) -> None:
    tables = _tables(result)
    for name, table in tables.items():
        pq.write_table(table, directory / f"{name}.parquet", compression="zstd")
    for name in CSV_TABLES:
        _write_csv(tables[name], directory / f"{name}.csv")
    _write_text(directory / "result.json", json.dumps(result_document(result), indent=2, allow_nan=False) + "\n")
    _write_journal(result.journal, directory / "journal.jsonl")
    for name, text in pages.items():
        _write_text(directory / name, text)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _write_journal(journal: Iterable[Mapping[str, Any]], path: Path) -> None:
    entries = sorted(journal, key=lambda entry: int(entry["time_ms"]))  # stable, and linear when already in order
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for number, entry in enumerate(entries):
            plain = plain_value(entry, f"journal[{number}]")
            file.write(json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n")


def result_document(result: BacktestResult) -> dict[str, Any]:
    """What ``result.json`` holds: names, status, summary, policies, provenance and settings as plain JSON values."""
    document = {
        "status": result.status,
        "pairs": result.pair_names,
        "wallets": result.wallet_names,
        "assets": result.asset_names,
        "instruments": result.instrument_keys,
        "components": result.component_names,
        "summary": result.summary,
        "policies": result.policies,
        "provenance": result.provenance,
        "settings": result.settings,
    }
    return {key: plain_value(value, key) for key, value in document.items()}


def plain_value(value: Any, where: str = "value") -> Any:
    """``value`` as JSON types: NaN and infinity become null, numpy values plain ones, ``Decimal`` a string.

    Raises ``TypeError`` naming ``where`` for a type that has no plain form.
    """
    if isinstance(value, Enum):
        return value.name.lower() if isinstance(value, IntEnum) else plain_value(value.value, where)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal | Path):
        return str(value)
    if isinstance(value, np.generic | np.ndarray):
        return plain_value(value.tolist(), where)
    if isinstance(value, Mapping):
        return {str(key): plain_value(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise TypeError(f"{where} is a {type(value).__name__}, which has no plain JSON form")


def _tables(result: BacktestResult) -> dict[str, pa.Table]:
    return {
        "ledger": _ledger_table(result),
        "orders": _order_table(result),
        "trips": _trip_table(result),
        "equity": _equity_table(result),
        "attribution": _panel_table(result, "pair", (*result.pair_names, NO_PAIR), _components(result)),
        "wallet_attribution": _panel_table(result, "wallet", result.wallet_names, _wallet_components(result)),
        "pairs": _panel_table(result, "pair", result.pair_names, _pair_series(result)),
    }


def _ledger_table(result: BacktestResult) -> pa.Table:
    rows = result.ledger
    columns: dict[str, Any] = _instants(rows, "time")
    columns |= {
        "flow": _coded(rows["flow"], Flow),
        "wallet": _named(rows["wallet"], result.wallet_names),
        "asset": _named(rows["asset"], result.asset_names),
        "pair": _named(_pair_of_leg(rows["leg"]), result.pair_names, none=-1),
        "instrument": _named(rows["leg"], result.instrument_keys, none=-1),
        "order": pa.array(rows["order"], mask=rows["order"] == -1),
    }
    return pa.table(columns | _plain(rows, ("amount", "value", "price", "rate", "quantity")))


def _order_table(result: BacktestResult) -> pa.Table:
    rows = result.orders
    columns = _plain(rows, ("id",))
    columns |= {
        "pair": _named(rows["pair"], result.pair_names, none=-1),
        "instrument": _named(rows["leg"], result.instrument_keys, none=-1),
        "intent": _coded(rows["intent"], Intent),
        "kind": _coded(rows["kind"], OrderKind),
        "status": _coded(rows["status"], OrderStatus),
        "reason": _coded(rows["reason"], OrderReason),
    }
    columns |= _plain(rows, ("lots", "filled_lots"))
    for name in ("placed", "arrival", "deadline", "done"):
        columns |= _instants(rows, name, zero_is_none=True)
    columns["reduce_only"] = pa.array(rows["reduce_only"] != 0)
    return pa.table(columns | _plain(rows, ("limit_price", "average_price", "fee_value", "slippage_value", "reserved")))


def _trip_table(result: BacktestResult) -> pa.Table:
    rows = result.trips
    columns: dict[str, Any] = {
        "pair": _named(rows["pair"], result.pair_names),
        "direction": pa.array([DIRECTIONS[int(direction)] for direction in rows["direction"]], pa.string()),
    }
    columns |= _instants(rows, "open") | _instants(rows, "close")
    columns["is_open"] = pa.array(rows["is_open"] != 0)
    columns["reason"] = _coded(rows["reason"], Reason)
    return pa.table(columns | _plain(rows, [name for name in rows.dtype.names or () if name not in columns]))


def _equity_table(result: BacktestResult) -> pa.Table:
    columns: dict[str, Any] = {"time_ms": pa.array(result.time_ms), "time": _timestamps(result.time_ms)}
    columns["total"] = pa.array(result.equity)
    for index, wallet in enumerate(result.wallet_names):
        columns[f"wallet {wallet}" if wallet in columns else wallet] = pa.array(result.wallet_equity[:, index])
    return pa.table(columns)


def _components(result: BacktestResult) -> dict[str, NDArray[np.float64]]:
    return {name: result.attribution[:, :, index] for index, name in enumerate(result.component_names)}


def _wallet_components(result: BacktestResult) -> dict[str, NDArray[np.float64]]:
    return {name: result.wallet_attribution[:, :, index] for index, name in enumerate(result.component_names)}


def _pair_series(result: BacktestResult) -> dict[str, NDArray[np.float64]]:
    names = (
        "pair_pnl", "basis_bps", "carry_annual", "spot_value", "perp_value", "collateral_ratio", "liquidation_distance",
    )  # fmt: skip
    return {name: getattr(result, name) for name in names}


def _panel_table(
    result: BacktestResult, axis: str, names: Sequence[str], values: Mapping[str, NDArray[np.float64]]
) -> pa.Table:
    """One row per instant and name, time first; ``values`` are (T, len(names)) arrays."""
    count = len(result.time_ms)
    time_ms = np.repeat(result.time_ms, len(names))
    codes = np.tile(np.arange(len(names), dtype=np.int32), count)
    named = pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(list(names), pa.string()))
    columns: dict[str, Any] = {"time_ms": pa.array(time_ms), "time": _timestamps(time_ms), axis: named}
    return pa.table(columns | {name: pa.array(array.reshape(-1)) for name, array in values.items()})


def _plain(rows: Records, names: Iterable[str]) -> dict[str, Any]:
    return {name: pa.array(np.ascontiguousarray(rows[name])) for name in names}


def _instants(rows: Records, name: str, *, zero_is_none: bool = False) -> dict[str, Any]:
    time_ms = np.ascontiguousarray(rows[f"{name}_ms"])
    mask = time_ms == 0 if zero_is_none else np.zeros(len(time_ms), dtype=bool)
    return {f"{name}_ms": pa.array(time_ms, mask=mask), name: _timestamps(time_ms, mask)}


def _timestamps(time_ms: Integers, mask: NDArray[np.bool_] | None = None) -> pa.Array:
    return pa.array(time_ms, mask=mask).cast(pa.timestamp("ms", tz="UTC"))


def _coded(codes: Integers, words: type[IntEnum]) -> pa.Array:
    return _named(codes, [words(code).name.lower() for code in range(len(words))])


def _named(indices: Integers, names: Sequence[str], *, none: int | None = None) -> pa.Array:
    """Names of ``indices``, null where the index is ``none``; an index out of range is a fault of the caller."""
    mask = np.zeros(len(indices), dtype=bool) if none is None else indices == none
    wrong = ~mask & ((indices < 0) | (indices >= len(names)))
    if wrong.any():
        raise ValueError(f"code {indices[wrong][0]} is none of {len(names)} names, first in row {wrong.argmax()}")
    codes = pa.array(indices.astype(np.int32), mask=mask)
    return pa.DictionaryArray.from_arrays(codes, pa.array(list(names), pa.string()))


def _pair_of_leg(legs: Integers) -> Integers:
    return np.where(legs < 0, -1, legs // 2)


def decimal_text(number: float) -> str:
    """Shortest decimal that reads back as ``number``, without exponent; empty for NaN."""
    if math.isnan(number):
        return ""
    text = repr(number)
    return np.format_float_positional(number, unique=True, trim="0") if "e" in text else text


def _write_csv(table: pa.Table, path: Path) -> None:
    columns = [_csv_cells(table.column(name)) for name in table.column_names]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.column_names)
        writer.writerows(zip(*columns, strict=True))


def _csv_cells(column: pa.ChunkedArray) -> list[str]:
    if pa.types.is_timestamp(column.type):
        return _cells(column.cast(pa.int64()), _iso)
    if pa.types.is_floating(column.type):
        return _cells(column, decimal_text)
    if pa.types.is_boolean(column.type):
        return _cells(column, lambda value: "true" if value else "false")
    return _cells(column, str)


def _cells(column: pa.ChunkedArray, text: Callable[[Any], str]) -> list[str]:
    return ["" if value is None else text(value) for value in column.to_pylist()]


def _iso(time_ms: int) -> str:
    return f"{np.datetime64(time_ms, 'ms')}Z"
