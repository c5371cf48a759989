"""Reader of the public sample of Hyperliquid's auto-deleveraging of 2025-10-10, from a folder of the user's own.

The sample is not ours to pass on: it is read at run time and never copied.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from crypto.errors import DataError

EVENTS = "adl_events_high_leverage_sample.csv.gz"
COINS = "adl_by_coin_REALTIME.csv"
TIMING = "cascade_timing_results.json"
_EVENT_TEXTS = ("coin", "user", "liquidated_user")
_EVENT_NUMBERS = (
    "time",
    "adl_price",
    "adl_size",
    "position_size",
    "entry_price",
    "account_value_realtime",
    "closed_pnl",
)
_COIN_NUMBERS = ("adl_notional", "num_users", "num_events")
_REMEDY = "give the folder as its authors published it"


@dataclass(frozen=True, slots=True)
class AdlSample:
    """``events``: a row per deleveraged position; ``coins``: totals by coin; ``timeline``: (second, liquidations, adls)
    from the first liquidation on, in order.
    """

    events: pd.DataFrame
    coins: pd.DataFrame
    timeline: tuple[tuple[int, int, int], ...]
    data_hash: str


def read_adl_sample(folder: Path) -> AdlSample:
    """The sample in ``folder``. ``DataError`` names the file, row and value of anything missing or malformed."""
    if not folder.is_dir():
        raise DataError(f"--sample: there is no folder {folder}", remedy=_REMEDY)
    contents = {name: _content(folder / name) for name in (EVENTS, COINS, TIMING)}
    digest = hashlib.sha256()
    for name in sorted(contents):
        digest.update(contents[name])
    events = _table(folder / EVENTS, _EVENT_TEXTS, _EVENT_NUMBERS)
    for column in ("adl_price", "adl_size", "entry_price"):
        _refuse(folder / EVENTS, events, column, events[column] <= 0)
    _refuse(folder / EVENTS, events, "position_size", events["position_size"] == 0)
    coins = _table(folder / COINS, ("coin",), _COIN_NUMBERS)
    return AdlSample(events, coins, _timeline(folder / TIMING, contents[TIMING]), digest.hexdigest())


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}", remedy=_REMEDY) from error


def _table(path: Path, texts: tuple[str, ...], numbers: tuple[str, ...]) -> pd.DataFrame:
    try:
        found = pd.read_csv(path, dtype=dict.fromkeys(texts, str))
    except (ValueError, pd.errors.ParserError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is no table: {error}", remedy=_REMEDY) from error
    missing = [name for name in (*texts, *numbers) if name not in found.columns]
    if missing or found.empty:
        raise DataError(f"{path}: {f'column {missing[0]} is missing' if missing else 'no rows'}", remedy=_REMEDY)
    for name in numbers:
        found[name] = pd.to_numeric(found[name], errors="coerce")
        _refuse(path, found, name, ~np.isfinite(found[name].to_numpy(dtype=np.float64)))
    return found


def _refuse(path: Path, found: pd.DataFrame, name: str, wrong: Any) -> None:
    if np.any(wrong):
        row = int(np.argmax(np.asarray(wrong)))
        raise DataError(f"{path} row {row + 1}: {name} = {found[name].iloc[row]} is out of range", remedy=_REMEDY)


def _timeline(path: Path, content: bytes) -> tuple[tuple[int, int, int], ...]:
    try:
        rows = json.loads(content)["timeline"]
        return tuple((int(row["second"]), int(row["liquidations"]), int(row["adls"])) for row in rows)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} holds no timeline: {error}", remedy=_REMEDY) from error
