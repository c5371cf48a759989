"""Rates that venues predicted for a coming settlement: from a table, or from the rows that a feed wrote."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd

from crypto.errors import DataError
from data.feed.rows import COLUMNS as ROW_COLUMNS
from data.store.series import SeriesKey

PREDICTED = ("time_ms", "settlement_ms", "predicted_rate")


def read_predictions(path: Path, contract: SeriesKey) -> pd.DataFrame:
    """Frame with ``time_ms`` (when it was known), ``settlement_ms`` and ``predicted_rate`` (fraction per interval).

    ``path`` is a CSV or Parquet table of these columns, or a folder of rows that ``carry feed`` wrote: then the rows of
    ``contract`` are read, without stale ones. ``DataError`` names the file and what is wrong with it.
    """
    frame = _of_rows(path, contract) if path.is_dir() else _of_table(path)
    if frame.empty:
        raise DataError(f"{path} has no predicted rates of {contract.instrument}", remedy="check the path")
    for name in PREDICTED:
        kinds = "iuf" if name == "predicted_rate" else "iu"
        if frame[name].dtype.kind not in kinds or frame[name].isna().any():
            raise DataError(f"{path}: column {name!r} has values that are no numbers", remedy="correct the file")
    if not np.isfinite(frame["predicted_rate"]).all():
        raise DataError(f"{path}: column 'predicted_rate' has an infinite value", remedy="correct the file")
    return frame


def _of_table(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        words = str(error).strip()  # pandas ends its words with a line feed
        raise DataError(f"{path} cannot be read as predicted rates: {words}", remedy="check the file") from error
    missing = [name for name in PREDICTED if name not in frame.columns]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}", remedy=f"it needs {', '.join(PREDICTED)}")
    return frame


def _of_rows(folder: Path, contract: SeriesKey) -> pd.DataFrame:
    """Rows of all days, oldest first. A last line that is still being written is left out."""
    files = sorted(folder.joinpath(contract.venue, contract.kind, contract.symbol).glob("*.csv"))
    if not files:
        raise DataError(
            f"{folder} holds no rows of {contract.instrument}",
            remedy="name the folder that carry feed writes rows to (--rows), which holds VENUE/KIND/SYMBOL",
        )
    frame = pd.concat([_day(path) for path in files], ignore_index=True)
    is_known = frame["predicted_rate"].notna() & (frame["next_settlement_ms"] > 0) & (frame["stale"] == 0)
    chosen = frame.loc[is_known, ["time_ms", "next_settlement_ms", "predicted_rate"]]
    return chosen.astype({"next_settlement_ms": "int64"}).set_axis(list(PREDICTED), axis=1)


def _day(path: Path) -> pd.DataFrame:
    try:
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        return pd.read_csv(io.BytesIO(whole), names=list(ROW_COLUMNS), dtype={"time_ms": "int64"})
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as rows of a feed: {error}", remedy="check the file") from error
