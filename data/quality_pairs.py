"""Checks across series: a spot leg that is missing, off-market hours, perp prints far from mark and spot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from crypto.market import Floats, Integers
from crypto.units import HOUR_MS, iso
from data.findings import SAMPLE_ROWS, Finding, Sample, Severity
from data.store.series import Series

LAUNCH_MS = 72 * HOUR_MS


def check_spot_and_perp(spot: Series, perp: Series, off_market_bps: float, step: int) -> Iterator[Finding]:
    """Hours in which the perp has a bar and the spot leg has none, and closes too far apart (basis, in bps).

    Within 72 hours of the perp's first bar that is ``off_market_launch``, later ``wide_basis``.
    """
    yield from _spot_missing(spot, perp, step)
    times, in_spot, in_perp = np.intersect1d(spot.time_ms, perp.time_ms, assume_unique=True, return_indices=True)
    if len(times) == 0:
        return
    basis_bps = (perp.columns["close"][in_perp] / spot.columns["close"][in_spot] - 1) * 1e4
    wide = np.abs(basis_bps) > off_market_bps
    launch = times < int(perp.time_ms[0]) + LAUNCH_MS
    yield from _basis("off_market_launch", Severity.WARNING, perp, times, basis_bps, wide & launch)
    yield from _basis("wide_basis", Severity.INFO, perp, times, basis_bps, wide & ~launch)


def check_perp_prints(perp: Series, references: Sequence[Series], fraction: float) -> Iterator[Finding]:
    """Bars whose high or low passes the highest high or lowest low of all references (mark, spot) by ``fraction``.

    A liquidation that looked at such a print would be one that never happened: liquidation looks at mark.
    """
    if not references:
        return
    ceiling = _reference(perp, references, "high", np.fmax)
    floor = _reference(perp, references, "low", np.fmin)
    high, low = perp.columns["high"], perp.columns["low"]
    with np.errstate(invalid="ignore"):
        bad = np.flatnonzero((high > ceiling * (1 + fraction)) | (low < floor * (1 - fraction)))
    if len(bad) == 0:
        return
    samples: tuple[Sample, ...] = tuple(
        {
            "time": iso(int(perp.time_ms[row])),
            "high": float(high[row]),
            "reference_high": float(ceiling[row]),
            "low": float(low[row]),
            "reference_low": float(floor[row]),
        }
        for row in bad[:SAMPLE_ROWS]
    )
    names = " and ".join("mark" if other.key.series == "mark" else "spot" for other in references)
    message = f"highs or lows over {fraction:.0%} beyond {names}"
    yield Finding(Severity.WARNING, "bad_print", perp.key, len(bad), int(perp.time_ms[bad[0]]), message, samples)


def _spot_missing(spot: Series, perp: Series, step: int) -> Iterator[Finding]:
    """Perp bars without a spot bar, between the first and last spot bar."""
    times: Integers = perp.time_ms
    within = times[(times >= spot.time_ms[0]) & (times <= spot.time_ms[-1])]
    missing = np.setdiff1d(within, spot.time_ms, assume_unique=True)
    if len(missing) == 0:
        return
    outages = 1 + int((np.diff(missing) > step).sum())
    samples: tuple[Sample, ...] = tuple({"time": iso(int(time))} for time in missing[:SAMPLE_ROWS])
    message = f"the perp trades and the spot leg has no bar, in {outages} outages: no spot fill and no basis then"
    yield Finding(Severity.WARNING, "spot_missing", spot.key, len(missing), int(missing[0]), message, samples)


def _basis(
    kind: str,
    severity: Severity,
    perp: Series,
    times: Integers,
    basis_bps: Floats,
    chosen: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> Iterator[Finding]:
    rows = np.flatnonzero(chosen)
    if len(rows) == 0:
        return
    largest = rows[np.argmax(np.abs(basis_bps[rows]))]
    samples: tuple[Sample, ...] = tuple(
        {"time": iso(int(times[row])), "basis_bps": float(basis_bps[row])} for row in rows[:SAMPLE_ROWS]
    )
    where = "in the first 72 hours" if kind == "off_market_launch" else "after the first 72 hours"
    message = f"closes far from spot {where}, at most {basis_bps[largest]:+.0f} bps at {iso(int(times[largest]))}"
    yield Finding(severity, kind, perp.key, len(rows), int(times[rows[0]]), message, samples)


def _reference(perp: Series, references: Sequence[Series], column: str, extreme: np.ufunc) -> Floats:
    """Extreme of the references at each perp bar; NaN where none has a bar."""
    result: Floats = np.full(len(perp.time_ms), np.nan)
    for reference in references:
        places = np.minimum(np.searchsorted(reference.time_ms, perp.time_ms), len(reference.time_ms) - 1)
        found = reference.time_ms[places] == perp.time_ms
        result = extreme(result, np.where(found, reference.columns[column][places], np.nan))
    return result
