"""``carry oracle``: the composite price of an asset over venues, and whether it may be relied on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group

from cli import oracle_view
from cli.console import JsonFlag, emit, out, progress
from cli.options import DEFAULT_LAKE, LakeOption, Venues, flattened
from crypto.errors import DataError, UsageError
from crypto.oracle import OracleReading, Source, evaluate
from crypto.oracle_composite import ALTS, MAJOR_ASSETS, MAJORS, Rules, Status
from crypto.units import iso, parse_iso, timeframe_ms
from data.oracle_series import INPUTS, WEIGHTS, OracleRequest, OracleSeries, assets, rebuild
from data.oracle_snapshot import SnapshotRequest, parse_snapshot, read_snapshot
from data.store.delimited import parse_assignments
from data.store.lake import Lake

EXIT_HALTED = 4
_MAX_SPREAD = {True: 0.005, False: 0.02}


@dataclass(frozen=True, slots=True)
class Asked:
    """Which composite is asked for, of what, and under which rules."""

    asset: Annotated[list[str] | None, typer.Option("--asset", help="Base asset such as BTC; repeatable.")] = None
    kind: Annotated[
        str, typer.Option("--kind", help="index: spot closes; mark: marks; last: perp trades, where no mark is held.")
    ] = "index"
    timeframe: Annotated[str, typer.Option("--timeframe", help="Bars at whose closes the composite is rebuilt.")] = "1h"
    unit: Annotated[str, typer.Option("--unit", help="Common quote that every price is converted to.")] = "USDT"
    venue: Venues = None
    max_age_s: Annotated[
        float | None,
        typer.Option("--max-age-s", help="Age limit in seconds [0 on stored bars, 3 majors, 10 others live]."),
    ] = None
    quorum: Annotated[int, typer.Option("--quorum", help="Sources that make the value OK.")] = 3
    quote_rate: Annotated[
        str,
        typer.Option("--quote-rate", help="Conversions given by hand, USDC=0.9998,USD=1; else spot series are used."),
    ] = ""
    weight: Annotated[str, typer.Option("--weight", help="Weights by venue, binance=3,okx=2; others count 1.")] = ""
    snapshot: Annotated[
        Path | None,
        typer.Option("--snapshot", help="Snapshot of carry feed in place of the lake: its socket, a file, or -."),
    ] = None
    lake: LakeOption = DEFAULT_LAKE


def register(app: typer.Typer) -> None:
    """Add ``carry oracle`` to the command line."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Composite price of an asset over venues: weighted median, age limits, outliers, quorum.\n\n"
        "Example: carry oracle show --asset BTC",
    )
    group.command("show")(flattened(show))
    group.command("check")(flattened(check))
    app.add_typer(group, name="oracle")


def show(
    *,
    at: Annotated[str, typer.Option("--at", help="Instant, ISO, UTC; the last held one when left out.")] = "",
    asked: Asked,
    json: JsonFlag = False,
) -> None:
    """Composite of one instant: value, status, and what each venue said and why it was used or not.

    Example: carry oracle show --asset BTC --kind mark --at 2025-10-10T22:00

    Example: carry oracle show --asset BTC --snapshot recording/feed.sock
    """
    notes: list[str] = []
    if asked.snapshot is not None:
        readings, instant = _of_snapshot(asked.snapshot, asked)
    else:
        readings, instant = {}, 0
        for name, series in _rebuilt(asked, at and _before(at, asked.timeframe), at):
            readings[name], instant = series.reading(-1), int(series.close_ms[-1])
            notes += [*series.notes, *oracle_view.synthetic_note(series)]
    payload = {
        "time": iso(instant),
        "unit": asked.unit,
        "kind": asked.kind,
        "assets": oracle_view.assets_payload(readings),
        "notes": list(dict.fromkeys(notes)),
    }
    emit(payload, json, lambda: out.print(oracle_view.readings_view(readings, instant, list(dict.fromkeys(notes)))))


def check(
    *,
    start: Annotated[str, typer.Option("--from", help="Start, ISO, UTC.")] = "",
    end: Annotated[str, typer.Option("--to", help="End, ISO, UTC.")] = "",
    asked: Asked,
    json: JsonFlag = False,
) -> None:
    """How often the composite was OK, degraded or halted over a range, when, and which venue was rejected and why.

    Exit code 4 when any instant is halted: then there was no price to rely on.

    Example: carry oracle check --asset BTC --kind last --from 2025-10-10 --to 2025-10-12
    """
    payload: dict[str, Any]
    if asked.snapshot is not None:
        readings, instant = _of_snapshot(asked.snapshot, asked)
        payload = {
            "time": iso(instant),
            "assets": oracle_view.assets_payload(readings),
        }
        emit(payload, json, lambda: out.print(oracle_view.readings_view(readings, instant, [])))
        halted = any(reading.status is Status.HALT for reading in readings.values())
    else:
        found = [series for _, series in _rebuilt(asked, start, end)]
        payload = {
            "lake": str(asked.lake),
            "kind": asked.kind,
            "assets": [oracle_view.series_payload(series) for series in found],
        }
        emit(payload, json, lambda: out.print(Group(*(oracle_view.series_view(series) for series in found))))
        halted = any((series.arrays.status == Status.HALT).any() for series in found)
    if halted:
        raise typer.Exit(EXIT_HALTED)


def _rules(asset: str, quorum: int) -> Rules:
    base = MAJORS if asset in MAJOR_ASSETS else ALTS
    return base._replace(quorum=quorum, degraded_quorum=min(base.degraded_quorum, quorum))


def _rebuilt(asked: Asked, start: str, end: str) -> Iterator[tuple[str, OracleSeries]]:
    """The composite of each asset over a range, one after the other."""
    weights, rates = _weights(asked.weight), _quote_rates(asked.quote_rate)
    age_ms = 0 if asked.max_age_s is None else round(1000.0 * _age_limit(asked.max_age_s))
    lake = Lake(asked.lake)
    names = _assets(lake, asked)
    _check_venues(asked.weight, {key.venue for key in lake.list()})
    with progress("Rebuilding the oracle", len(names)) as advance:
        for name in names:
            rules = _rules(name, asked.quorum)
            venues = tuple(asked.venue or ())
            request = OracleRequest(
                name, asked.kind, asked.timeframe, asked.unit, rules, age_ms, venues, weights, rates
            )
            yield name, rebuild(lake, request, start, end)
            advance(1)


def _assets(lake: Lake, asked: Asked) -> list[str]:
    """The assets asked for, else every one that two venues or more hold."""
    if asked.asset:
        return list(dict.fromkeys(asked.asset))
    kind = asked.kind
    if kind not in INPUTS:
        raise UsageError(f"--kind {kind} is unknown", remedy=f"use one of {', '.join(INPUTS)}")
    held = assets(lake.list(), kind)
    several = sorted(name for name, venues in held.items() if len(venues) > 1)
    if not several:
        raise DataError(
            f"no asset of the lake has a {kind} input on two venues or more",
            remedy=f"name one with --asset (held: {', '.join(sorted(held)[:12]) or 'none'}), or try another --kind",
        )
    return several


def _of_snapshot(path: Path, asked: Asked) -> tuple[dict[str, OracleReading], int]:
    """The composite of each asset of a snapshot, and the snapshot's instant."""
    rates = _quote_rates(asked.quote_rate)
    request = SnapshotRequest(asked.kind, asked.unit, _weights(asked.weight), _widest_book)
    held = parse_snapshot(read_snapshot(path), path.name, request, MAJORS)
    readings = {}
    wanted = asked.asset or []
    for name in wanted or _on_several_venues(held.sources):
        rules = _rules(name, asked.quorum)
        if asked.max_age_s is not None:
            rules = rules._replace(max_age_ms=1000.0 * _age_limit(asked.max_age_s))
        if name in held.sources:
            readings[name] = evaluate(held.sources[name], {**held.quote_rates, **rates}, request.unit, rules)
    missing = [name for name in wanted if name not in readings]
    if missing or not readings:
        raise DataError(
            f"snapshot {path} has no {request.kind} source of {', '.join(missing) or 'one asset on two venues'}",
            remedy=f"it has {', '.join(sorted(held.sources)[:12]) or 'none'}",
        )
    _check_venues(asked.weight, {item.source.name for reading in readings.values() for item in reading.sources})
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


def _check_venues(text: str, venues: set[str]) -> None:
    """A weight of a venue that gives no price would change nothing, and nobody would notice the slip."""
    for name in _numbers("weight", text):
        if name not in venues:
            close = get_close_matches(name, sorted(venues), n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise UsageError(
                f"--weight {name}: no price comes from a venue of that name{hint}",
                remedy=f"venues are {', '.join(sorted(venues)) or 'none'}",
            )


def _quote_rates(text: str) -> dict[str, float]:
    return _numbers("quote-rate", text)


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
