"""Joining new rows with held rows of the same series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crypto.errors import DataError
from crypto.market import Floats, Integers
from crypto.units import HOUR_MS, iso
from data.store.rows import Columns, Origin, take

# Volumes that are sums of shorter bars differ from the venue's own in the last bits; prices and rates must be equal.
VOLUME_RELATIVE_TOLERANCE = 1e-9
# Two pulls may stamp one settlement differently (00:00:00.000 and 00:00:00.017); this far off they are still one.
SAME_SETTLEMENT_MS = 60_000


@dataclass(frozen=True, slots=True)
class Merged:
    """Rows after a merge, sorted, and how many new rows were added, equal to held ones, or put in their place.

    ``completed``: how many of the equal ones brought a mark price that the held row lacked.
    """

    columns: Columns
    added: int
    identical: int
    replaced: int
    completed: int = 0


def merge_rows(
    held: Mapping[str, Floats | Integers],
    new: Mapping[str, Floats | Integers],
    series: str,
    origin: Origin,
    *,
    replace: bool,
) -> Merged:
    """Union of two sorted sets of rows by time. Equal rows keep the held form, ``DataError`` names a contradiction.

    A funding settlement is the same row when its stamps lie within a minute of the same full hour. A column that only
    one side has (``mark_price``) is NaN on the other and taken from whichever side knows it: a row without a mark price
    never takes one away, not even with ``replace``.
    """
    names = list(dict.fromkeys([*held, *new]))
    old, fresh = _with_columns(held, names), _with_columns(new, names)
    old_id, fresh_id = (_identity(rows["time_ms"], "funding_rate" in names) for rows in (old, fresh))
    common, in_old, in_fresh = np.intersect1d(old_id, fresh_id, assume_unique=False, return_indices=True)
    _check_one_row_each(fresh_id, fresh, origin)
    differs = _differing(old, fresh, in_old, in_fresh)
    if differs.any() and not replace:
        raise _contradiction(old, fresh, in_old, in_fresh, differs, series, origin)
    merged = {name: values.copy() for name, values in old.items()}
    for name, values in fresh.items():
        wins = differs & ~np.isnan(values[in_fresh]) if name == "mark_price" else differs
        merged[name][in_old[wins]] = values[in_fresh[wins]]
    filled = _fill_unknown(merged, fresh, in_old, in_fresh) & ~differs
    is_new = np.ones(len(fresh_id), dtype=bool)
    is_new[in_fresh] = False
    joined: Columns = {name: np.concatenate((merged[name], fresh[name][is_new])) for name in names}
    order = np.argsort(joined["time_ms"], kind="stable")
    replaced = int(differs.sum())
    return Merged(take(joined, order), int(is_new.sum()), len(common) - replaced, replaced, int(filled.sum()))


def _with_columns(rows: Mapping[str, Floats | Integers], names: list[str]) -> Columns:
    count = len(rows["time_ms"])
    return {name: rows[name] if name in rows else np.full(count, np.nan) for name in names}


def _identity(times: Floats | Integers, is_funding: bool) -> Integers:
    stamps: Integers = times.astype(np.int64, copy=False)
    if not is_funding:
        return stamps
    instants = (stamps + HOUR_MS // 2) // HOUR_MS * HOUR_MS
    return np.where(np.abs(stamps - instants) <= SAME_SETTLEMENT_MS, instants, stamps)


def _check_one_row_each(identity: Integers, rows: Columns, origin: Origin) -> None:
    twice = np.diff(identity) == 0
    if twice.any():
        index = int(np.argmax(twice)) + 1
        raise DataError(
            f"{origin.row(index)}: {iso(int(rows['time_ms'][index]))} settles the same hour as the row before",
            remedy="keep one funding row per settlement",
        )


def _differing(old: Columns, fresh: Columns, in_old: Integers, in_fresh: Integers) -> NDArray[np.bool_]:
    differs = np.zeros(len(in_old), dtype=bool)
    for name in old:
        if name == "time_ms":
            continue
        a, b = old[name][in_old], fresh[name][in_fresh]
        if name == "volume":
            differs |= np.abs(a - b) > VOLUME_RELATIVE_TOLERANCE * np.maximum(np.abs(a), np.abs(b))
        else:
            differs |= (a != b) & ~(np.isnan(a) | np.isnan(b))
    return differs


def _fill_unknown(merged: Columns, fresh: Columns, in_old: Integers, in_fresh: Integers) -> NDArray[np.bool_]:
    """Take mark prices that only the new rows know; which of the common rows that completed."""
    if "mark_price" not in merged:
        return np.zeros(len(in_old), dtype=bool)
    unknown = np.isnan(merged["mark_price"][in_old]) & ~np.isnan(fresh["mark_price"][in_fresh])
    merged["mark_price"][in_old[unknown]] = fresh["mark_price"][in_fresh[unknown]]
    return unknown


def _contradiction(
    old: Columns,
    fresh: Columns,
    in_old: Integers,
    in_fresh: Integers,
    differs: NDArray[np.bool_],
    series: str,
    origin: Origin,
) -> DataError:
    first = int(np.argmax(differs))
    a, b = int(in_old[first]), int(in_fresh[first])
    values = ", ".join(
        f"{name} {float(fresh[name][b]):.12g} (held {float(old[name][a]):.12g})"
        for name in old
        if name != "time_ms" and old[name][a] != fresh[name][b]
    )
    instant = iso(int(fresh["time_ms"][b]))
    is_last = a == len(old["time_ms"]) - 1 or b == len(fresh["time_ms"]) - 1
    remedy = "pass --replace to let the new rows win, or ingest into another lake"
    if is_last:
        remedy = f"the last row of a download is often an unfinished bar: {remedy}, or pass --drop-last to leave it out"
    return DataError(
        f"{origin.row(b)}: {instant} contradicts the held {series}: {values} ({int(differs.sum())} such rows)",
        remedy=remedy,
    )
