"""Importer for long funding tables: a row per settlement and symbol; CSV (also gzipped) or Parquet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from crypto.errors import CarryError, DataError, UsageError
from data.store.delimited import Layout, TextRows, chosen_rows, numbers, repaired, stamps, text_column, text_table
from data.store.files import read_source
from data.store.pieces import Piece, check_filter, instrument_symbol
from data.store.rows import Columns, Origin
from data.store.series import Provenance, SeriesKey


@dataclass(frozen=True, slots=True)
class TableLayout:
    """How a long table is to be read.

    ``text``: time column and unit, delimiter, row conditions and repairs, as for other text files; its ``columns`` may
    name ``symbol``, ``funding_rate`` and ``mark_price`` as the file calls them. ``suffix`` is put behind every symbol
    (``USDT`` where the file says BTC). ``symbols``: only these, all when empty.
    """

    text: Layout = field(default_factory=Layout)
    suffix: str = ""
    symbols: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.text.columns:
            if name not in ("symbol", "funding_rate", "mark_price"):
                raise UsageError(
                    f"--columns {name}=...: a funding table has no {name}",
                    remedy="it has symbol, funding_rate and, if known, mark_price",
                )

    def column(self, name: str) -> str:
        """What the file calls a column."""
        return self.text.columns.get(name, name)


def read_table(path: Path, venue: str, kind: str, layout: TableLayout, source: str) -> list[Piece]:
    """One piece per symbol, sorted by symbol. Rows of a symbol stay in the file's order and must ascend by time.

    ``DataError`` names file and row for what ``delimited.read_file`` refuses, too; ``UsageError`` a symbol asked for
    that the table does not have.
    """
    content, source_file = read_source(path, path.name)
    is_parquet = content[:4] == b"PAR1"
    rows = TextRows(
        _parquet(path, content, layout) if is_parquet else text_table(path, content, layout.text),
        Origin(str(path), 1 if is_parquet or layout.text.names else 2),
    )
    rows = chosen_rows(rows, layout.text.where)
    names = text_column(rows, layout.column("symbol")).to_pylist()
    columns: Columns = {
        "time_ms": stamps(rows, layout.text),
        "funding_rate": numbers(rows, layout.column("funding_rate")),
    }
    if layout.column("mark_price") in rows.table.column_names:
        columns["mark_price"] = numbers(rows, layout.column("mark_price"), may_be_empty=True)
    provenance = Provenance(source, (source_file,))
    return list(_pieces(names, columns, rows.origin, venue, kind, layout, provenance))


def _pieces(
    names: list[str],
    columns: Columns,
    origin: Origin,
    venue: str,
    kind: str,
    layout: TableLayout,
    provenance: Provenance,
) -> Iterator[Piece]:
    unique, places = np.unique(np.array(names, dtype=object).astype(str), return_inverse=True)
    order = np.argsort(places, kind="stable")
    cuts = np.searchsorted(places[order], np.arange(len(unique) + 1))
    keys = [_key(str(name), venue, kind, layout, origin, int(order[cuts[i]])) for i, name in enumerate(unique)]
    _check_one_each(keys, unique)
    check_filter("symbols", layout.symbols, (key.symbol for key in keys))
    for index, key in enumerate(keys):
        if layout.symbols and key.symbol not in layout.symbols:
            continue
        mine = order[cuts[index] : cuts[index + 1]]
        chosen: Columns = {name: values[mine] for name, values in columns.items()}
        held = replace(origin, places=mine if origin.places is None else origin.places[mine])
        ready, where, notes = repaired(chosen, held, layout.text.repair)
        yield Piece(key, ready, provenance, where, tuple(notes))


def _key(name: str, venue: str, kind: str, layout: TableLayout, origin: Origin, row: int) -> SeriesKey:
    try:
        return SeriesKey(venue, kind, instrument_symbol(name) + layout.suffix, "funding")
    except CarryError as error:
        raise DataError(f"{origin.row(row)}: {error.message}", remedy=error.remedy) from error


def _check_one_each(keys: list[SeriesKey], names: NDArray[np.str_]) -> None:
    seen: dict[str, str] = {}
    for key, name in zip(keys, names, strict=True):
        if key.symbol in seen:
            raise DataError(
                f"symbols {seen[key.symbol]!r} and {name!r} both mean {key.symbol}",
                remedy="read them one after the other with --where, if they are the same contract",
            )
        seen[key.symbol] = str(name)


def _parquet(path: Path, content: bytes, layout: TableLayout) -> pa.Table:
    """The needed columns as text, so that values are checked by one code for both kinds of file.

    A column of instants becomes whole units of the layout; numbers are written so that they are read back to the bit.
    """
    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is damaged: {error}", remedy="download it again") from error
    if table.num_rows == 0:
        raise DataError(f"{path} holds no rows", remedy="download it again, or leave it out")
    named = {layout.text.time_column, *(layout.column(name) for name in ("symbol", "funding_rate", "mark_price"))}
    wanted = [name for name in table.column_names if name in named | set(layout.text.where)]
    return pa.table({name: _as_text(table.column(name), layout.text.time_unit) for name in wanted})


def _as_text(values: pa.ChunkedArray, unit: str) -> pa.ChunkedArray:
    if pa.types.is_timestamp(values.type):
        if unit == "iso":
            raise UsageError("--time-unit iso: the column holds instants, not text", remedy="use --time-unit ms")
        ticks = pc.cast(values, pa.timestamp(unit, values.type.tz), safe=False)
        return pc.cast(pc.cast(ticks, pa.int64()), pa.string())
    if pa.types.is_floating(values.type):
        return pa.chunked_array([pa.array(["" if v is None else repr(v) for v in values.to_pylist()], pa.string())])
    return pc.fill_null(pc.cast(values, pa.string()), "")
