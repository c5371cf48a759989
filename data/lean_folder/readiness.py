"""Whether a data folder holds what a run on Lean needs, found out from its manifest before anything is started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from crypto.errors import DataError, RefusedError
from crypto.instruments import Instrument, Kind
from crypto.settings import PriceSource, Settings
from crypto.units import HOUR_MS, iso, parse_iso, timeframe_ms
from crypto.venues.discounts import fee_coins
from crypto.venues.registry import instrument
from data.lean_folder.layout import BORROW, CRYPTO, CRYPTO_FUTURE, check_valued_rightly, resolution_of, ticker
from data.lean_folder.manifest import Manifest, Record, is_unchanged, read_manifest
from data.lean_folder.properties import read_properties
from data.store.series import SeriesKey

_EXPORT = "bring the folder up to date with carry lean export"


@dataclass(frozen=True, slots=True)
class Period:
    """First instant of a run and the one after its last, in milliseconds."""

    start_ms: int
    end_ms: int


def check_ready(root: Path, settings: Settings) -> Period:
    """The period of the run that the folder ``root`` can serve: the settings', else what all legs hold in common.

    ``DataError`` names what is missing: the folder, symbol properties, bars, funding, mark or borrow rates of the
    period. ``RefusedError`` for a folder that is not ours or was changed, and for a contract that Lean values wrongly.
    """
    manifest = _own_manifest(root)
    instruments = _instruments(settings)
    _check_properties(root, instruments)
    bars = [_record(manifest, item, "bars", settings.run.timeframe) for item in instruments]
    period = _period(settings, bars)
    needed = [*bars, *_others(manifest, settings, instruments, period)]
    for record in needed:
        if not is_unchanged(root, record.files):
            raise RefusedError(f"files of {record.key} in {root} are not those that were exported", remedy=_EXPORT)
    return period


def _own_manifest(root: Path) -> Manifest:
    if not root.is_dir():
        raise DataError(f"Lean's data folder {root} does not exist", remedy="write it with carry lean export")
    manifest = read_manifest(root)
    if manifest is None:
        raise RefusedError(
            f"{root} was not written by carry lean export, so nothing vouches for its numbers",
            remedy="export the lake with carry lean export; carry ingest lean reads a folder of Lean's into the lake",
        )
    return manifest


def _instruments(settings: Settings) -> list[Instrument]:
    keys = dict.fromkeys(key for pair in settings.pairs for key in (pair.spot, pair.perp))
    keys |= dict.fromkeys(coin.market for coin in fee_coins(settings))
    found = [instrument(key, settings.instruments) for key in keys]
    for item in found:
        check_valued_rightly(item)
    return found


def _check_properties(root: Path, instruments: list[Instrument]) -> None:
    properties = read_properties(root)
    for item in instruments:
        kind = CRYPTO if item.kind is Kind.SPOT else CRYPTO_FUTURE
        key = (item.venue, ticker(item.symbol, item.quote), kind)
        if key not in properties:
            raise DataError(f"{root} has no symbol properties of {item.key} ({','.join(key)})", remedy=_EXPORT)


def _record(manifest: Manifest, item: Instrument, series: str, timeframe: str = "") -> Record:
    key = SeriesKey(item.venue, item.kind.value, item.symbol, series, timeframe)
    if timeframe:
        resolution_of(timeframe, str(key))
    record = manifest.series.get(str(key))
    if record is None:
        raise DataError(f"the data folder has no {key}", remedy=_EXPORT)
    return record


def _period(settings: Settings, bars: list[Record]) -> Period:
    bar_ms = timeframe_ms(settings.run.timeframe)
    held = Period(max(item.first_ms for item in bars), min(item.last_ms for item in bars) + bar_ms)
    start = parse_iso(settings.run.start) if settings.run.start else held.start_ms
    end = parse_iso(settings.run.end) if settings.run.end else held.end_ms
    if start >= end:
        raise DataError(
            f"no period is left: {iso(start)} to {iso(end)}",
            remedy="set run.start before run.end, within what all legs hold in common; carry data list shows that",
        )
    for item in bars:
        _check_covered(item, Period(start, end), bar_ms, first_may_be_late_ms=0)
    return Period(start, end)


def _check_covered(record: Record, period: Period, step_ms: int, *, first_may_be_late_ms: int) -> None:
    is_late = record.first_ms > period.start_ms + first_may_be_late_ms
    if is_late or record.last_ms + step_ms < period.end_ms:
        raise DataError(
            f"{record.key} in the data folder reaches from {iso(record.first_ms)} to {iso(record.last_ms + step_ms)}, "
            f"the run from {iso(period.start_ms)} to {iso(period.end_ms)}",
            remedy=f"choose run.start and run.end within it, or ingest more and {_EXPORT}",
        )


def _others(manifest: Manifest, settings: Settings, instruments: list[Instrument], period: Period) -> Iterator[Record]:
    """Funding and marks of every perp, and borrow rates where spot is borrowed."""
    needs_mark = PriceSource.MARK in (settings.data.valuation_price, settings.funding.price)
    bar_ms = timeframe_ms(settings.run.timeframe)
    for item in instruments:
        if item.kind is Kind.SPOT:
            if settings.borrow.enabled:
                yield from _borrow(manifest, item, settings.borrow.hourly_rate, period)
            continue
        interval_ms = item.settlement_interval_hours * HOUR_MS
        funding = _record(manifest, item, "funding")
        _check_covered(funding, period, interval_ms, first_may_be_late_ms=interval_ms)
        yield funding
        if needs_mark:
            mark = _record(manifest, item, "mark", settings.run.timeframe)
            _check_covered(mark, period, bar_ms, first_may_be_late_ms=0)
            yield mark


def _borrow(
    manifest: Manifest, item: Instrument, given: Mapping[str, Mapping[str, float]], period: Period
) -> Iterator[Record]:
    """Rates of the spot leg's base asset, unless the settings give one."""
    if item.base in given.get(item.venue, {}):
        return
    key = SeriesKey(item.venue, "asset", item.base, BORROW)
    record = manifest.series.get(str(key))
    if record is None:
        raise DataError(
            f"the data folder has no {key}, and settings give no rate",
            remedy=f"{_EXPORT}, set borrow.hourly_rate.{item.venue}, or set borrow.enabled to false",
        )
    _check_covered(record, period, period.end_ms - period.start_ms, first_may_be_late_ms=HOUR_MS)
    yield record
