"""Longer bars out of shorter ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from crypto.market import Floats, Integers
from data.store.rows import Columns


def resample(columns: Mapping[str, Floats | Integers], from_ms: int, to_ms: int) -> tuple[Columns, int]:
    """Bars of ``to_ms`` made of complete groups of sorted ``from_ms`` bars; and how many incomplete ones were left out.

    Open of the first, highest high, lowest low, close of the last, summed volume (when there is one). ``to_ms`` must be
    a whole multiple of ``from_ms``; ``ValueError`` otherwise.
    """
    if to_ms % from_ms:
        raise ValueError(f"{to_ms} ms is not a multiple of {from_ms} ms")
    times = columns["time_ms"]
    if len(times) == 0:
        return dict(columns), 0
    buckets = times // to_ms
    starts = np.flatnonzero(np.concatenate(([True], np.diff(buckets) != 0)))
    lengths = np.diff(np.append(starts, len(times)))
    complete = lengths == to_ms // from_ms
    result: Columns = {
        "time_ms": (buckets[starts] * to_ms)[complete],
        "open": columns["open"][starts][complete],
        "high": np.maximum.reduceat(columns["high"], starts)[complete],
        "low": np.minimum.reduceat(columns["low"], starts)[complete],
        "close": columns["close"][starts + lengths - 1][complete],
    }
    if "volume" in columns:
        result["volume"] = np.add.reduceat(columns["volume"], starts)[complete]
    return result, int((~complete).sum())
