"""What is wrong, missing or odd in the lake, as typed findings. The checks: ``data.quality_*``; docs/specs/data.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from crypto.errors import DataError, UsageError
from crypto.funding import Segment, sums_by_year
from crypto.units import timeframe_ms
from data.findings import Finding, Severity
from data.quality_bars import check_bars
from data.quality_funding import check_funding
from data.quality_pairs import check_perp_prints, check_spot_and_perp
from data.store.lake import Lake, Series, SeriesKey
from data.store.pieces import instrument_symbol
from data.store.rows import TIMED_SERIES, Origin, check_rows


@dataclass(frozen=True, slots=True)
class ContractCalendar:
    """Settlement calendar of one perp: runs of one interval, how many settlements have a row, how many lack one.

    ``funding_by_year``: sum of the rates of each UTC year, per unit of notional.
    """

    key: SeriesKey
    segments: tuple[Segment, ...]
    settlements: int
    missing: int
    funding_by_year: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Report:
    """Outcome of a check: series looked at, findings (worst first), settlement calendars."""

    series: tuple[SeriesKey, ...]
    findings: tuple[Finding, ...]
    calendars: tuple[ContractCalendar, ...]

    def count(self, severity: Severity) -> int:
        """Number of findings of that severity."""
        return sum(finding.severity is severity for finding in self.findings)


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """Limits of the checks. ``now_ms``: a last bar that ends after it is unfinished (None: not looked at).

    ``tolerance_ms``: how far a settlement stamp may be off its hour. ``bad_print``: fraction by which a perp's high or
    low must pass mark and spot to be called a bad print. ``off_market_bps``: basis that is called off-market.
    """

    now_ms: int | None = None
    tolerance_ms: int = 60_000
    bad_print: float = 0.10
    off_market_bps: float = 100.0


def check_lake(
    lake: Lake,
    symbols: Sequence[str] = (),
    options: CheckOptions | None = None,
    on_series: Callable[[SeriesKey], None] | None = None,
) -> Report:
    """Check all series, or those of ``symbols`` (``BTCUSDT``, ``BTC/USDT`` or ``venue:kind:SYMBOL``).

    A series that cannot be read is a finding of severity error, not an exception. ``on_series`` is called before each.
    ``UsageError`` when a symbol is not in the lake; ``DataError`` when there is no lake or it is empty.
    """
    chosen_options = options or CheckOptions()
    keys = choose(lake.list(), symbols)
    findings: list[Finding] = []
    calendars: list[ContractCalendar] = []
    for key in keys:
        if on_series is not None:
            on_series(key)
        try:
            series = lake.read(key, check=False)
        except DataError as error:
            findings.append(Finding(Severity.ERROR, "unreadable", key, 1, None, f"{error.message}; {error.remedy}"))
            continue
        findings.extend(_check_series(series, chosen_options, calendars))
    broken = {finding.key for finding in findings if finding.severity is Severity.ERROR}
    findings.extend(_check_pairs(lake, [key for key in keys if key not in broken], chosen_options))
    order = {severity: rank for rank, severity in enumerate((Severity.ERROR, Severity.WARNING, Severity.INFO))}
    findings.sort(key=lambda finding: (order[finding.severity], finding.key, finding.kind))
    return Report(tuple(keys), tuple(findings), tuple(calendars))


def choose(held: Sequence[SeriesKey], symbols: Sequence[str]) -> list[SeriesKey]:
    """Series of the given symbols or instrument keys, all when none is given; errors as ``check_lake``."""
    if not held:
        raise DataError("the lake is empty", remedy="fill it with carry ingest or carry sample")
    if not symbols:
        return list(held)
    known = {key.symbol for key in held} | {key.instrument for key in held}
    wanted = {symbol if symbol in known else instrument_symbol(symbol) for symbol in symbols}
    for symbol in sorted(wanted - known):
        names = sorted({key.symbol for key in held})
        raise UsageError(f"--symbol {symbol} is not in the lake", remedy=f"held: {', '.join(names)}")
    return [key for key in held if key.symbol in wanted or key.instrument in wanted]


def _check_series(series: Series, options: CheckOptions, calendars: list[ContractCalendar]) -> Iterator[Finding]:
    if series.key.series == "borrow":
        yield from _check_borrow(series)
    elif series.key.series in TIMED_SERIES:
        yield from check_bars(series, options.now_ms)
    else:
        findings, calendar = check_funding(series, options.tolerance_ms)
        yield from findings
        if calendar is not None:
            calendars.append(
                ContractCalendar(
                    series.key,
                    calendar.segments,
                    len(series.time_ms),
                    len(calendar.missing_ms),
                    sums_by_year(series.time_ms, series.columns["funding_rate"].astype(np.float64)),
                )
            )


def _check_borrow(series: Series) -> Iterator[Finding]:
    try:
        check_rows(series.columns, "borrow", "", Origin(str(series.key)))
    except DataError as error:
        yield Finding(Severity.ERROR, "bad_rate", series.key, 1, None, f"{error.message}; {error.remedy}")


def _check_pairs(lake: Lake, keys: Sequence[SeriesKey], options: CheckOptions) -> Iterator[Finding]:
    """Checks across series of one symbol on one venue, at the same timeframe."""
    perps = [key for key in keys if key.kind in ("linear", "inverse") and key.series == "bars"]
    for key in perps:
        spot_key = SeriesKey(key.venue, "spot", key.symbol, "bars", key.timeframe)
        mark_key = SeriesKey(key.venue, key.kind, key.symbol, "mark", key.timeframe)
        perp = lake.read(key)
        spot = lake.read(spot_key) if spot_key in keys else None
        mark = lake.read(mark_key) if mark_key in keys else None
        if spot is not None:
            yield from check_spot_and_perp(spot, perp, options.off_market_bps, timeframe_ms(key.timeframe))
        yield from check_perp_prints(perp, [other for other in (mark, spot) if other is not None], options.bad_print)
