"""One file of the lake: its Parquet form, its description of itself, and reading only the parts that are asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import crypto
from crypto.errors import DataError
from crypto.market import Floats, Integers
from data.store.atomic import atomic_write
from data.store.rows import COLUMNS, OPTIONAL, Columns
from data.store.series import Provenance, SeriesInfo, SeriesKey, SourceFile

FORMAT_VERSION = "1"
TOOL = f"carry {getattr(crypto, '__version__', '0')}"
# Small enough that a read of some months of a long series skips most of the file.
_ROW_GROUP_ROWS = 32_768
_INGEST_AGAIN = "delete it and ingest that series again"


def write_file(path: Path, columns: Mapping[str, Floats | Integers], provenance: Provenance) -> None:
    """Write columns as zstd Parquet with statistics, atomically. The same input gives the same bytes."""
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    with atomic_write(path) as temporary:
        pq.write_table(
            table.replace_schema_metadata(_metadata(provenance)),
            temporary,
            compression="zstd",
            write_statistics=True,
            row_group_size=_ROW_GROUP_ROWS,
        )


class LakeFile:
    """An opened series file. ``DataError`` names the file when it is damaged or not a lake file of this format."""

    def __init__(self, key: SeriesKey, path: Path) -> None:
        self._path = path
        try:
            self._file = pq.ParquetFile(path)
        except PermissionError as error:
            raise DataError(f"{path} may not be read", remedy="change its permissions") from error
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, error) from error
        _check_schema(key, path, self._file.schema_arrow)
        self._groups = self._stamps_of_groups()
        self.info = self._read_info(key)

    def columns(self, start_ms: int | None = None, end_ms: int | None = None) -> Columns:
        """Arrays of the row groups that touch ``start_ms <= time_ms < end_ms``: those rows, and maybe more."""
        wanted = [
            group
            for group, (first, last) in enumerate(self._groups)
            if not ((start_ms is not None and last < start_ms) or (end_ms is not None and first >= end_ms))
        ]
        try:
            table = self._file.read_row_groups(wanted, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self._path, error) from error
        if table.column("time_ms").null_count:
            raise DataError(f"{self._path} has rows without a stamp", remedy=_INGEST_AGAIN)
        return {name: np.ascontiguousarray(table.column(name).to_numpy()) for name in table.column_names}

    def _stamps_of_groups(self) -> list[tuple[int, int]]:
        """First and last stamp of each row group, from the file's statistics."""
        metadata = self._file.metadata
        column = self._file.schema_arrow.get_field_index("time_ms")
        statistics = [metadata.row_group(group).column(column).statistics for group in range(metadata.num_row_groups)]
        if not metadata.num_rows or any(entry is None or not entry.has_min_max for entry in statistics):
            raise DataError(f"{self._path} holds no rows or no statistics", remedy=_INGEST_AGAIN)
        return [(entry.min, entry.max) for entry in statistics]

    def _read_info(self, key: SeriesKey) -> SeriesInfo:
        metadata = self._file.schema_arrow.metadata or {}
        version = metadata.get(b"carry.format", b"none").decode()
        if version != FORMAT_VERSION:
            raise DataError(
                f"{self._path} has lake format {version}, this version reads {FORMAT_VERSION}", remedy=_INGEST_AGAIN
            )
        try:
            origins = tuple(
                SourceFile(entry["name"], entry["sha256"]) for entry in json.loads(metadata[b"carry.origins"])
            )
            provenance = Provenance(
                metadata[b"carry.source"].decode(),
                origins,
                {b"true": True, b"false": False}[metadata[b"carry.synthetic"]],
            )
            tool = metadata[b"carry.tool"].decode()
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"{self._path} lacks a part of its description: {error}", remedy=_INGEST_AGAIN) from error
        first_ms = min(first for first, _ in self._groups)
        last_ms = max(last for _, last in self._groups)
        return SeriesInfo(key, self._file.metadata.num_rows, first_ms, last_ms, provenance, tool)


def _metadata(provenance: Provenance) -> dict[bytes, bytes]:
    origins = [{"name": origin.name, "sha256": origin.sha256} for origin in provenance.origins]
    return {
        b"carry.format": FORMAT_VERSION.encode(),
        b"carry.source": provenance.source.encode(),
        b"carry.synthetic": b"true" if provenance.synthetic else b"false",
        b"carry.origins": json.dumps(origins).encode(),
        b"carry.tool": TOOL.encode(),
    }


def _damaged(path: Path, error: Exception) -> DataError:
    detail = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(f"{path} is damaged or not a Parquet file: {detail}", remedy=_INGEST_AGAIN)


def _check_schema(key: SeriesKey, path: Path, schema: pa.Schema) -> None:
    allowed = COLUMNS[key.series] + OPTIONAL.get(key.series, ())
    for name in COLUMNS[key.series]:
        if name not in schema.names:
            raise DataError(f"{path} has no column {name}", remedy=_INGEST_AGAIN)
    for column in schema:
        wanted = pa.int64() if column.name == "time_ms" else pa.float64()
        if column.name not in allowed or column.type != wanted:
            raise DataError(
                f"{path}: column {column.name} of type {column.type} does not belong there", remedy=_INGEST_AGAIN
            )
