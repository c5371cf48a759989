"""Thinning of long lines for drawing: every bucket keeps its lowest and its highest point."""

from __future__ import annotations

import numpy as np

from crypto.market import Floats, Integers


def thin(values: Floats, limit: int) -> Integers:
    """Ascending positions of at most ``limit`` of ``values`` that keep the shape of the line.

    The values are cut into buckets of equal length; of each the positions of its minimum and its maximum are kept, and
    of a bucket without finite values its first position, so that gaps stay gaps. The first and the last are always
    kept. A line with no more than ``limit`` points is kept whole. ``limit`` is at least 4.
    """
    count = len(values)
    if limit < 4:
        raise ValueError(f"a line can't be thinned to {limit} points")
    if count <= limit:
        return np.arange(count, dtype=np.int64)
    width = -(-count // ((limit - 2) // 2))
    buckets = -(-count // width)
    padded = np.full(buckets * width, np.nan)
    padded[:count] = values
    grid = padded.reshape(buckets, width)
    is_finite = np.isfinite(grid)
    lowest = np.where(is_finite, grid, np.inf).argmin(axis=1)
    highest = np.where(is_finite, grid, -np.inf).argmax(axis=1)
    starts = np.arange(buckets, dtype=np.int64) * width
    return np.unique(np.concatenate((starts + lowest, starts + highest, [0, count - 1])))
