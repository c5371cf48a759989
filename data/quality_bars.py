"""Checks of one series of bars: order, holes, impossible prices, listing noise, an unfinished last bar."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from crypto.market import Integers
from crypto.units import DAY_MS, iso, timeframe_ms
from data.findings import SAMPLE_ROWS, Finding, Sample, Severity, finding_of_rows
from data.store.rows import PRICES
from data.store.series import Series

LISTING_MS = 30 * DAY_MS
LISTING_FACTOR = 3.0
_THIN_LAST_BAR = 0.1
_BARS_TO_COMPARE = 168


def check_bars(series: Series, now_ms: int | None) -> Iterator[Finding]:
    """All findings about one series of bars, mark or index. ``now_ms`` as in ``CheckOptions``."""
    times = series.time_ms
    step = timeframe_ms(series.key.timeframe)
    yield from _order(series)
    yield from finding_of_rows(
        Severity.ERROR, "off_grid", series, times % step != 0, f"stamps that open no {series.key.timeframe} bar"
    )
    yield from _prices(series)
    if len(times) and (np.diff(times) > 0).all():
        yield from _gaps(series, step)
        yield from _listing_prints(series)
        yield from _last_bar(series, step, now_ms)


def _order(series: Series) -> Iterator[Finding]:
    steps = np.concatenate(([1], np.diff(series.time_ms)))
    yield from finding_of_rows(Severity.ERROR, "duplicate", series, steps == 0, "rows with the stamp of the row before")
    yield from finding_of_rows(Severity.ERROR, "unsorted", series, steps < 0, "rows earlier than the row before")


def _prices(series: Series) -> Iterator[Finding]:
    prices = np.stack([series.columns[name] for name in PRICES])
    bad = ~(np.isfinite(prices) & (prices > 0)).all(axis=0)
    yield from finding_of_rows(Severity.ERROR, "bad_price", series, bad, "prices that are missing, zero or negative")
    opening, high, low, close = prices
    outside = (high < np.maximum(opening, close)) | (low > np.minimum(opening, close)) | (high < low)
    yield from finding_of_rows(
        Severity.ERROR, "ohlc", series, outside & ~bad, "open or close outside low .. high, or low above high"
    )
    if "volume" in series.columns:
        volume = series.columns["volume"]
        wrong = ~(np.isfinite(volume) & (volume >= 0))
        yield from finding_of_rows(Severity.ERROR, "bad_volume", series, wrong, "volume that is missing or negative")
        yield from finding_of_rows(Severity.INFO, "zero_volume", series, volume == 0, "bars in which nothing traded")


def _gaps(series: Series, step: int) -> Iterator[Finding]:
    times: Integers = series.time_ms
    spacing = np.diff(times)
    before = np.flatnonzero(spacing > step)
    if len(before) == 0:
        return
    missing = spacing[before] // step - 1
    longest = before[np.argmax(missing)]
    samples: tuple[Sample, ...] = tuple(
        {"time": iso(int(times[row]) + step), "missing": float(count), "until": iso(int(times[row + 1]))}
        for row, count in zip(before[:SAMPLE_ROWS], missing[:SAMPLE_ROWS], strict=True)
    )
    message = (
        f"bars missing in {len(before)} gaps, the longest {int(missing.max())} bars "
        f"from {iso(int(times[longest]) + step)}"
    )
    yield Finding(
        Severity.WARNING, "gap", series.key, int(missing.sum()), int(times[before[0]]) + step, message, samples
    )


def _listing_prints(series: Series) -> Iterator[Finding]:
    """First prints of a listing far from where the market settled: the median close after the first 30 days."""
    times = series.time_ms
    early = times < times[0] + LISTING_MS
    later = ~early & (times < times[0] + 2 * LISTING_MS)
    if not later.any():
        return
    settled = float(np.median(series.columns["close"][later]))
    far = (series.columns["high"] > settled * LISTING_FACTOR) | (series.columns["low"] < settled / LISTING_FACTOR)
    yield from finding_of_rows(
        Severity.WARNING,
        "listing_print",
        series,
        early & far,
        f"prices in the first 30 days over {LISTING_FACTOR:g} times off the later median {settled:.6g}: "
        "start after them",
    )


def _last_bar(series: Series, step: int, now_ms: int | None) -> Iterator[Finding]:
    last = np.arange(len(series.time_ms)) == len(series.time_ms) - 1
    if now_ms is not None and int(series.time_ms[-1]) + step > now_ms:
        yield from finding_of_rows(
            Severity.ERROR, "unfinished", series, last, "the last bar is not over yet: ingest again with --replace"
        )
        return
    if "volume" not in series.columns or len(last) <= _BARS_TO_COMPARE:
        return
    volume = series.columns["volume"]
    usual = float(np.median(volume[-_BARS_TO_COMPARE - 1 : -1]))
    if volume[-1] < _THIN_LAST_BAR * usual:
        yield from finding_of_rows(
            Severity.WARNING,
            "unfinished",
            series,
            last,
            f"the last bar traded under a tenth of the usual {usual:.6g}: it may be unfinished",
        )
