"""Checks of a funding series: stamps, settlement calendar, missing settlements, clamped rates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from crypto.errors import DataError
from crypto.funding import Calendar, settlement_calendar, settlement_instants
from crypto.market import Integers
from crypto.units import HOUR_MS, iso
from data.findings import SAMPLE_ROWS, Finding, Sample, Severity, finding_of_rows
from data.store.series import Series

# Venues cap the rate of a settlement at a few tenths of a per cent or more, in steps of 1.25 basis points.
_SMALLEST_CLAMP = 0.001
_CLAMP_STEP = 0.000125
_STEP_TOLERANCE = 1e-9


def check_funding(series: Series, tolerance_ms: int) -> tuple[list[Finding], Calendar | None]:
    """Findings about a funding series and its settlement calendar; None when its stamps do not allow one."""
    rates = series.columns["funding_rate"]
    bad = ~np.isfinite(rates)
    findings = finding_of_rows(Severity.ERROR, "bad_rate", series, bad, "rates that are missing")
    try:
        instants = settlement_instants(series.time_ms, tolerance_ms)
        calendar = settlement_calendar(instants)
    except DataError as error:
        far = np.abs((series.time_ms + HOUR_MS // 2) % HOUR_MS - HOUR_MS // 2) > tolerance_ms
        if far.any():
            text = f"stamps over {tolerance_ms} ms beside their full hour, so there is no settlement calendar: "
            text += "check them, or allow more with --tolerance-ms (data.settlement_tolerance_ms in the settings)"
            return [*findings, *finding_of_rows(Severity.ERROR, "bad_stamp", series, far, text)], None
        message = f"no settlement calendar: {error.message}; {error.remedy}"
        return [*findings, Finding(Severity.ERROR, "bad_stamp", series.key, 1, None, message)], None
    findings.extend(_stamps(series, instants))
    findings.extend(_missing(series, calendar))
    findings.extend(_switches(series, calendar))
    if not bad.any():
        findings.extend(_clamps(series))
    return findings, calendar


def _stamps(series: Series, instants: Integers) -> Iterator[Finding]:
    offsets = np.abs(series.time_ms - instants)
    if offsets.any():
        message = f"stamps beside their full hour, the farthest by {int(offsets.max())} ms; they are brought to it"
        yield from finding_of_rows(Severity.INFO, "late_stamp", series, offsets > 0, message)


def _missing(series: Series, calendar: Calendar) -> Iterator[Finding]:
    missing = calendar.missing_ms
    if len(missing):
        samples: tuple[Sample, ...] = tuple({"time": iso(int(time))} for time in missing[:SAMPLE_ROWS])
        message = "settlements that the calendar expects have no row: see funding.missing_rate in the settings"
        yield Finding(
            Severity.WARNING, "missing_settlement", series.key, len(missing), int(missing[0]), message, samples
        )


def _switches(series: Series, calendar: Calendar) -> Iterator[Finding]:
    later = calendar.segments[1:]
    if later:
        intervals = " -> ".join(f"{segment.interval_hours:g}h" for segment in calendar.segments[: SAMPLE_ROWS + 1])
        more = " ..." if len(calendar.segments) > SAMPLE_ROWS + 1 else ""
        samples: tuple[Sample, ...] = tuple(
            {"time": iso(segment.from_ms), "interval_hours": segment.interval_hours} for segment in later[:SAMPLE_ROWS]
        )
        message = f"the settlement interval changes: {intervals}{more}"
        yield Finding(Severity.INFO, "interval_switch", series.key, len(later), later[0].from_ms, message, samples)


def _clamps(series: Series) -> Iterator[Finding]:
    """The lowest and highest rate, where it looks like a venue's limit: reached twice, or a round figure."""
    rates = series.columns["funding_rate"]
    for extreme in (float(rates.min()), float(rates.max())):
        reached = rates == extreme
        steps = extreme / _CLAMP_STEP
        is_round = abs(steps - round(steps)) < _STEP_TOLERANCE * abs(steps)
        if abs(extreme) >= _SMALLEST_CLAMP and (is_round or int(reached.sum()) > 1):
            message = f"rates at {extreme:+.6g}, which looks like the venue's limit"
            yield from finding_of_rows(Severity.INFO, "clamped_rate", series, reached, message)
