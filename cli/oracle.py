"""``carry oracle``: the composite price of an asset over venues, and whether it may be relied on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group

from cli.console import JsonFlag, emit, note, out, progress
from cli.oracle_view import plain, plain_series, readings_view, series_view, synthetic_notes
from crypto.errors import DataError, UsageError
from crypto.oracle import OracleReading, Source, evaluate
from crypto.oracle_composite import ALTS, MAJOR_ASSETS, MAJORS, Rules, Status
from crypto.units import iso, parse_iso, timeframe_ms
from data.oracle_series import INPUTS, WEIGHTS, OracleRequest, assets, rebuild
from data.oracle_snapshot import SnapshotRequest, parse_snapshot, read_snapshot
from data.store.delimited import parse_assignments
from data.store.lake import Lake

DEFAULT_LAKE = Path("data/lake")
EXIT_HALTED = 4
_MAX_SPREAD = {True: 0.005, False: 0.02}

LakeOption = Annotated[Path, typer.Option("--lake", help="Folder of the lake.")]
Asset = Annotated[list[str] | None, typer.Option("--asset", help="Base asset such as BTC; repeatable.")]
KindOption = Annotated[
    str, typer.Option("--kind", help="index: spot closes; mark: marks; last: perp trades, where no mark is held.")
]
Timeframe = Annotated[str, typer.Option("--timeframe", help="Bars at whose closes the composite is rebuilt.")]
Unit = Annotated[str, typer.Option("--unit", help="Common quote that every price is converted to.")]
Rates = Annotated[
    str, typer.Option("--quote-rate", help="Conversions given by hand, USDC=0.9998,USD=1; else spot series are used.")
]
Weights = Annotated[str, typer.Option("--weight", help="Weights by venue, binance=3,okx=2; others count 1.")]
Venues = Annotated[list[str] | None, typer.Option("--venue", help="Only this venue; repeatable.")]
MaxAge = Annotated[
    float | None, typer.Option("--max-age-s", help="Age limit in seconds [0 on stored bars, 3 majors, 10 others live].")
]
Quorum = Annotated[int, typer.Option("--quorum", help="Sources that make the value OK.")]
Snapshot = Annotated[
    Path | None,
    typer.Option("--snapshot", help="Snapshot of carry feed in place of the lake: its socket, a file, or -."),
]


def register(app: typer.Typer) -> None:
    """Add ``carry oracle`` to the command line."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Composite price of an asset over venues: weighted median, age limits, outliers, quorum.\n\n"
        "Example: carry oracle show --asset BTC",
    )
    group.command("show")(show)
    group.command("check")(check)
    app.add_typer(group, name="oracle")


def show(
    asset: Asset = None,
    at: Annotated[str, typer.Option("--at", help="Instant, ISO, UTC; the last held one when left out.")] = "",
    kind: KindOption = "index",
    timeframe: Timeframe = "1h",
    unit: Unit = "USDT",
    venue: Venues = None,
    max_age_s: MaxAge = None,
    quorum: Quorum = 3,
    quote_rate: Rates = "",
    weight: Weights = "",
    snapshot: Snapshot = None,
    lake: LakeOption = DEFAULT_LAKE,
    json: JsonFlag = False,
) -> None:
    """Composite of one instant: value, status, and what each venue said and why it was used or not.

    Example: carry oracle show --asset BTC --kind mark --at 2025-10-10T22:00

    Example: carry oracle show --asset BTC --snapshot recording/feed.sock
    """
    weights, rates = _weights(weight), _quote_rates(quote_rate, unit)
    if snapshot is not None:
        request = SnapshotRequest(kind, unit, weights, _widest_book)
        readings, instant = _of_snapshot(snapshot, asset or [], request, rates, max_age_s, quorum)
        notes: list[str] = []
    else:
        readings, notes, instant = {}, [], 0
        names = _asked(Lake(lake), asset, kind)
        with progress("Rebuilding the oracle", len(names)) as advance:
            for name in names:
                wanted = _request(name, kind, timeframe, unit, venue, max_age_s, quorum, rates, weights)
                series = rebuild(Lake(lake), wanted, at and _before(at, timeframe), at)
                readings[name], instant = series.reading(-1), int(series.close_ms[-1])
                notes += [*series.notes, *synthetic_notes(series)]
                advance(1)
    _warn_of_unused(weight, rates, _names(readings))
    payload = {
        "time": iso(instant),
        "unit": unit,
        "kind": kind,
        "assets": {name: plain(reading) for name, reading in readings.items()},
        "notes": list(dict.fromkeys(notes)),
    }
    emit(payload, json, lambda: out.print(readings_view(readings, instant, list(dict.fromkeys(notes)))))


def check(
    asset: Asset = None,
    start: Annotated[str, typer.Option("--from", help="Start, ISO, UTC.")] = "",
    end: Annotated[str, typer.Option("--to", help="End, ISO, UTC.")] = "",
    kind: KindOption = "index",
    timeframe: Timeframe = "1h",
    unit: Unit = "USDT",
    venue: Venues = None,
    max_age_s: MaxAge = None,
    quorum: Quorum = 3,
    quote_rate: Rates = "",
    weight: Weights = "",
    snapshot: Snapshot = None,
    lake: LakeOption = DEFAULT_LAKE,
    json: JsonFlag = False,
) -> None:
    """How often the composite was OK, degraded or halted over a range, when, and which venue was rejected and why.

    Exit code 4 when any instant is halted: then there was no price to rely on.

    Example: carry oracle check --asset BTC --kind last --from 2025-10-10 --to 2025-10-12
    """
    weights, rates = _weights(weight), _quote_rates(quote_rate, unit)
    payload: dict[str, Any]
    if snapshot is not None:
        request = SnapshotRequest(kind, unit, weights, _widest_book)
        readings, instant = _of_snapshot(snapshot, asset or [], request, rates, max_age_s, quorum)
        _warn_of_unused(weight, rates, _names(readings))
        payload = {"time": iso(instant), "assets": {name: plain(reading) for name, reading in readings.items()}}
        emit(payload, json, lambda: out.print(readings_view(readings, instant, [])))
        halted = any(reading.status is Status.HALT for reading in readings.values())
    else:
        names = _asked(Lake(lake), asset, kind)
        found = []
        with progress("Rebuilding the oracle", len(names)) as advance:
            for name in names:
                wanted = _request(name, kind, timeframe, unit, venue, max_age_s, quorum, rates, weights)
                found.append(rebuild(Lake(lake), wanted, start, end))
                advance(1)
        _warn_of_unused(
            weight, rates, {(item.key.venue, item.terms.quote) for series in found for item in series.sources}
        )
        payload = {"lake": str(lake), "kind": kind, "assets": [plain_series(series) for series in found]}
        emit(payload, json, lambda: out.print(Group(*(series_view(series) for series in found))))
        halted = any((series.arrays.status == Status.HALT).any() for series in found)
    if halted:
        raise typer.Exit(EXIT_HALTED)


def _rules(asset: str, quorum: int) -> Rules:
    base = MAJORS if asset in MAJOR_ASSETS else ALTS
    return base._replace(quorum=quorum, degraded_quorum=min(base.degraded_quorum, quorum))


def _request(
    asset: str,
    kind: str,
    timeframe: str,
    unit: str,
    venues: list[str] | None,
    max_age_s: float | None,
    quorum: int,
    rates: Mapping[str, float],
    weights: Mapping[str, float],
) -> OracleRequest:
    age_ms = 0 if max_age_s is None else round(1000.0 * _age_limit(max_age_s))
    return OracleRequest(
        asset, kind, timeframe, unit, _rules(asset, quorum), age_ms, tuple(venues or ()), weights, rates
    )


def _asked(lake: Lake, asset: list[str] | None, kind: str) -> list[str]:
    """The assets asked for, else every one that two venues or more hold."""
    if asset:
        return list(dict.fromkeys(asset))
    if kind not in INPUTS:
        raise UsageError(f"--kind {kind} is unknown", remedy=f"use one of {', '.join(INPUTS)}")
    held = assets(lake.list(), kind)
    several = sorted(name for name, venues in held.items() if len(venues) > 1)
    if not several:
        raise DataError(
            f"no asset of the lake has inputs of the composite {kind} on two venues or more",
            remedy=f"name one with --asset (held: {', '.join(sorted(held)[:12]) or 'none'}), or try another --kind",
        )
    return several


def _of_snapshot(
    path: Path,
    asked: list[str],
    request: SnapshotRequest,
    rates: Mapping[str, float],
    max_age_s: float | None,
    quorum: int,
) -> tuple[dict[str, OracleReading], int]:
    conversions = MAJORS if max_age_s is None else MAJORS._replace(max_age_ms=1000.0 * _age_limit(max_age_s))
    held = parse_snapshot(read_snapshot(path), path.name, request, conversions)
    readings = {}
    for name in asked or _on_several_venues(held.sources):
        rules = _rules(name, quorum)
        if max_age_s is not None:
            rules = rules._replace(max_age_ms=conversions.max_age_ms)
        if name in held.sources:
            readings[name] = evaluate(held.sources[name], {**held.quote_rates, **rates}, request.unit, rules)
    missing = [name for name in asked if name not in readings]
    if missing or not readings:
        raise DataError(
            f"snapshot {path} has no {request.kind} source of {', '.join(missing) or 'one asset on two venues'}",
            remedy=f"it has {', '.join(sorted(held.sources)[:12]) or 'none'}",
        )
    return readings, held.time_ms


def _on_several_venues(sources: Mapping[str, tuple[Source, ...]]) -> list[str]:
    return [name for name, several in sources.items() if len(several) > 1]


def _widest_book(asset: str) -> float:
    return _MAX_SPREAD[asset in MAJOR_ASSETS]


def _age_limit(seconds: float) -> float:
    if not 0.0 <= seconds < math.inf:
        raise UsageError(f"--max-age-s {seconds:g} is not a number of seconds from 0 on", remedy="for example 3600")
    return seconds


def _weights(text: str) -> dict[str, float]:
    return {**WEIGHTS, **_numbers("weight", text)}


def _quote_rates(text: str, unit: str) -> dict[str, float]:
    rates = _numbers("quote-rate", text)
    if unit in rates:
        raise UsageError(
            f"--quote-rate {unit}={rates[unit]:g}: {unit} is the common quote, so its rate is 1",
            remedy="state other quotes in it, or name another common quote with --unit",
        )
    return rates


def _names(readings: Mapping[str, OracleReading]) -> set[tuple[str, str]]:
    """Venue and quote of every source."""
    return {(item.source.name, item.source.quote) for reading in readings.values() for item in reading.sources}


def _warn_of_unused(weight: str, rates: Mapping[str, float], sources: set[tuple[str, str]]) -> None:
    """Say which names of ``--weight`` and ``--quote-rate`` no source has: a slip of the pen would go unseen."""
    venues, quotes = {venue for venue, _ in sources}, {quote for _, quote in sources}
    for venue in sorted(set(parse_assignments("weight", weight)) - venues):
        note(f"--weight {venue}: no source is of that venue (sources: {', '.join(sorted(venues))})")
    for quote in sorted(set(rates) - quotes):
        note(f"--quote-rate {quote}: no source is quoted in it (quotes: {', '.join(sorted(quotes))})")


def _numbers(flag: str, text: str) -> dict[str, float]:
    result = {}
    for name, value in parse_assignments(flag, text).items():
        try:
            result[name] = float(value)
        except ValueError as error:
            raise UsageError(f"--{flag} {name}={value}: not a number", remedy=f"for example {name}=1") from error
        if not 0.0 < result[name] < math.inf:
            raise UsageError(f"--{flag} {name}={value}: not a number above 0", remedy=f"for example {name}=1")
    return result


def _before(at: str, timeframe: str) -> str:
    return iso(parse_iso(at) - timeframe_ms(timeframe))
