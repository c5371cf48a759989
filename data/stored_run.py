"""Reader of a run's folder of results, as ``data.results`` writes it: settings, orders, fills, payments and equity."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crypto.errors import DataError
from crypto.market import Floats, Integers
from crypto.settings import Settings
from data.settings import settings_from_mapping

_REMEDY = "give a folder that carry backtest wrote, such as results/carry-0001"


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run from its files. Rows of ``orders`` and ``ledger`` are mappings by column name, in the order of the files.

    ``perp_value``: signed exposure of each pair's perp at ``time_ms``, shape (T, P).
    """

    directory: Path
    status: str
    settings: Settings
    provenance: Mapping[str, Any]
    instruments: tuple[str, ...]  # two per pair
    orders: Sequence[Mapping[str, Any]]
    ledger: Sequence[Mapping[str, Any]]
    time_ms: Integers
    equity: Floats
    perp_value: Floats


def read_run(directory: Path) -> StoredRun:
    """The run in ``directory``; ``DataError`` names a file that is missing or damaged."""
    path = directory / "result.json"
    try:
        document = json.loads(path.read_bytes())
        settings, provenance = document["settings"], document["provenance"]
        instruments, status = tuple(document["instruments"]), str(document["status"])
    except FileNotFoundError as error:
        raise DataError(f"{directory} holds no result.json", remedy=_REMEDY) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} is damaged or not a result of Carry: {error}", remedy=_REMEDY) from error
    equity = _table(directory, "equity", ("time_ms", "total"))
    pairs = _table(directory, "pairs", ("perp_value",))
    count = len(instruments) // 2
    return StoredRun(
        directory=directory,
        status=status,
        settings=settings_from_mapping(settings, str(path)),
        provenance=provenance,
        instruments=instruments,
        orders=_table(directory, "orders", ("id", "instrument", "lots", "placed_ms", "status", "kind")).to_pylist(),
        ledger=_table(directory, "ledger", ("time_ms", "flow", "asset", "instrument", "amount", "value")).to_pylist(),
        time_ms=equity.column("time_ms").to_numpy(),
        equity=equity.column("total").to_numpy(),
        perp_value=np.asarray(pairs.column("perp_value").to_numpy()).reshape(-1, count),
    )


def _table(directory: Path, name: str, needed: Sequence[str]) -> pa.Table:
    path = directory / f"{name}.parquet"
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing", remedy=_REMEDY) from error
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path} is damaged: {error}", remedy=_REMEDY) from error
    absent = [column for column in needed if column not in table.column_names]
    if absent:
        raise DataError(f"{path} has no column {absent[0]}", remedy=_REMEDY)
    return table
