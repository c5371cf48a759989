"""Funding histories of contracts out of the lake, on the settlement instants and intervals that their rows tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crypto.errors import DataError, UsageError
from crypto.funding import Segment, settlement_instants
from crypto.market import Floats, Integers
from crypto.units import HOUR_MS, HOURS_PER_YEAR, iso, parse_iso
from data.contract_terms import contract_terms
from data.quality import choose
from data.quality_funding import check_funding
from data.store.lake import Lake, Series, SeriesKey

DEFAULT_TOLERANCE_MS = 60_000


def require_positive(**values: float) -> None:
    """``UsageError`` naming the first of ``values`` that is not a finite number above zero."""
    for name, value in values.items():
        if not (np.isfinite(value) and value > 0):
            raise UsageError(f"{name} = {value} is not a number above 0", remedy=f"give a positive {name}")


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate at which a contract's settlements look clamped by the venue, and how many were."""

    funding_rate: float
    hits: int
    first_ms: int


@dataclass(frozen=True, slots=True)
class FundingHistory:
    """Settlements of one contract. Rates are fractions per their own interval; longs pay when positive.

    ``interval_hours``: hours since the settlement before, missing ones counted. ``missing``: settlements that the
    calendar expects and no row gives. ``synthetic``: the rates were generated, not recorded.
    """

    key: SeriesKey
    base: str
    time_ms: Integers
    rate: Floats
    interval_hours: Floats
    missing: int
    segments: tuple[Segment, ...]
    limits: tuple[Limit, ...]
    source: str
    synthetic: bool

    @property
    def name(self) -> str:
        """``binance BTCUSDT``, with the kind where it is inverse."""
        suffix = " inverse" if self.key.kind == "inverse" else ""
        return f"{self.key.venue} {self.key.symbol}{suffix}"

    @property
    def rate_per_hour(self) -> Floats:
        """Rates spread over their own intervals."""
        return self.rate / self.interval_hours

    @property
    def annual(self) -> Floats:
        """Simple annual rates, fractions."""
        return self.rate_per_hour * HOURS_PER_YEAR

    @property
    def hours(self) -> float:
        """Hours that the settlements cover."""
        return float(self.interval_hours.sum())

    def last(self, days: float, end_ms: int) -> FundingHistory:
        """Only the settlements of the ``days`` before ``end_ms`` (included); limits and calendar stay those of all."""
        kept = (self.time_ms > end_ms - days * 24 * HOUR_MS) & (self.time_ms <= end_ms)
        shorter = {name: getattr(self, name)[kept] for name in ("time_ms", "rate", "interval_hours")}
        return replace(self, **shorter)


@dataclass(frozen=True, slots=True)
class FundingHistories:
    """Contracts that were read, one at least (else ``DataError``), and those that could not be, with the reason."""

    contracts: tuple[FundingHistory, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.contracts:
            raise DataError("there is no funding history to look at", remedy="choose fewer filters, or ingest funding")

    @property
    def end_ms(self) -> int:
        """Instant of the last settlement of any contract."""
        return max(int(contract.time_ms[-1]) for contract in self.contracts)

    @property
    def synthetic(self) -> bool:
        """Whether any contract's rates were generated."""
        return any(contract.synthetic for contract in self.contracts)


def load(
    lake: Path | str,
    symbols: Sequence[str] | str = (),
    *,
    venues: Sequence[str] | str = (),
    start: str = "",
    end: str = "",
    tolerance_ms: int = DEFAULT_TOLERANCE_MS,
    on_contract: Callable[[int, int], None] | None = None,
) -> FundingHistories:
    """Histories of the lake's funding series: of ``symbols`` (``BTCUSDT`` or ``venue:kind:SYMBOL``), all when none.

    A single symbol or venue may be given as text.

    ``start`` (included) and ``end`` (excluded) are ISO, UTC. A contract with stamps farther than ``tolerance_ms`` off a
    whole hour is kept out and named in ``skipped`` with the reason. ``on_contract(done, total)`` reports progress.
    ``UsageError`` for a symbol or venue that is not held, ``DataError`` when nothing is left.
    """
    symbols, venues = ((given,) if isinstance(given, str) else given for given in (symbols, venues))
    held = Lake(Path(lake))
    keys = [key for key in choose(held.list(), symbols) if key.series == "funding"]
    known = sorted({key.venue for key in keys})
    for venue in venues:
        if venue not in known:
            raise UsageError(f"--venue {venue} has no funding here", remedy=f"held: {', '.join(known) or 'none'}")
    keys = [key for key in keys if not venues or key.venue in venues]
    if not keys:
        raise DataError(
            f"the lake {lake} holds no funding" + (f" of {', '.join(symbols)}" if symbols else ""),
            remedy="ingest it: carry ingest freqtrade, carry ingest csv --series funding, carry ingest funding-table",
        )
    low = parse_iso(start) if start else None
    high = parse_iso(end) if end else None
    if low is not None and high is not None and low >= high:
        raise UsageError(f"nothing lies between {start} and {end}", remedy="give a start that is earlier than the end")
    contracts, skipped = [], []
    for done, key in enumerate(keys, start=1):
        history = _read(held.read(key, low, high), tolerance_ms)
        if isinstance(history, FundingHistory):
            contracts.append(history)
        else:
            skipped.append((str(key), history))
        if on_contract is not None:
            on_contract(done, len(keys))
    if not contracts:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped[:3])
        raise DataError(f"no funding history can be used: {reasons}", remedy="see carry data check; widen the range")
    return FundingHistories(tuple(contracts), tuple(skipped))


def _read(series: Series, tolerance_ms: int) -> FundingHistory | str:
    """The history of a series, or why there is none."""
    if len(series.time_ms) < 2:
        return f"{len(series.time_ms)} settlements in the range: at least two tell an interval"
    findings, calendar = check_funding(series, tolerance_ms)
    if calendar is None:
        return next(finding.message for finding in findings if finding.kind == "bad_stamp")
    terms = contract_terms(series.key.venue, series.key.kind, series.key.symbol)
    return FundingHistory(
        series.key,
        series.key.symbol if terms is None else terms.base,
        settlement_instants(series.time_ms, tolerance_ms),
        series.columns["funding_rate"].astype(np.float64, copy=False),
        calendar.interval_hours,
        len(calendar.missing_ms),
        calendar.segments,
        tuple(
            Limit(float(finding.samples[0]["funding_rate"]), finding.count, _instant(finding.first_ms or 0))
            for finding in findings
            if finding.kind == "clamped_rate"
        ),
        series.info.provenance.source,
        series.info.provenance.synthetic,
    )


def _instant(stamp_ms: int) -> int:
    return (stamp_ms + HOUR_MS // 2) // HOUR_MS * HOUR_MS


def span(contract: FundingHistory) -> str:
    """``2020-01-01 .. 2026-05-16`` for people."""
    return f"{iso(int(contract.time_ms[0]))[:10]} .. {iso(int(contract.time_ms[-1]))[:10]}"
