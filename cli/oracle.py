"""``carry oracle``: the composite price of an asset over venues, and whether it may be relied on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from cli.console import JsonFlag, emit, out, progress
from crypto.errors import DataError, UsageError
from crypto.oracle import OracleReading, Source, evaluate
from crypto.oracle_composite import ALTS, MAJOR_ASSETS, MAJORS, Rules, Status, Verdict
from crypto.units import BPS, iso, parse_iso, timeframe_ms
from data.oracle_series import INPUTS, WEIGHTS, OracleRequest, OracleSeries, assets, rebuild
from data.oracle_snapshot import SnapshotRequest, parse_snapshot, read_snapshot
from data.store.delimited import parse_assignments
from data.store.lake import Lake

DEFAULT_LAKE = Path("data/lake")
EXIT_HALTED = 4
_MAX_SPREAD = {True: 0.005, False: 0.02}
_EPISODES_SHOWN = 8
_STYLES = {Status.OK: "green", Status.DEGRADED: "yellow", Status.HALT: "bold red"}

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
    weights, rates = _weights(weight), _quote_rates(quote_rate)
    if snapshot is not None:
        request = SnapshotRequest(kind, unit, weights, _widest_book)
        readings, instant = _of_snapshot(snapshot, asset or [], request, rates, max_age_s, quorum)
        _check_venues(weight, {item.source.name for reading in readings.values() for item in reading.sources})
        notes: list[str] = []
    else:
        readings, notes, instant = {}, [], 0
        names = _asked(Lake(lake), asset, kind)
        _check_venues(weight, {key.venue for key in Lake(lake).list()})
        with progress("Rebuilding the oracle", len(names)) as advance:
            for name in names:
                wanted = _request(name, kind, timeframe, unit, venue, max_age_s, quorum, rates, weights)
                series = rebuild(Lake(lake), wanted, at and _before(at, timeframe), at)
                readings[name], instant = series.reading(-1), int(series.close_ms[-1])
                notes += [*series.notes, *_synthetic(series)]
                advance(1)
    payload = {
        "time": iso(instant),
        "unit": unit,
        "kind": kind,
        "assets": {name: _plain(reading) for name, reading in readings.items()},
        "notes": list(dict.fromkeys(notes)),
    }
    emit(payload, json, lambda: out.print(_readings_view(readings, instant, list(dict.fromkeys(notes)))))


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
    weights, rates = _weights(weight), _quote_rates(quote_rate)
    payload: dict[str, Any]
    if snapshot is not None:
        request = SnapshotRequest(kind, unit, weights, _widest_book)
        readings, instant = _of_snapshot(snapshot, asset or [], request, rates, max_age_s, quorum)
        _check_venues(weight, {item.source.name for reading in readings.values() for item in reading.sources})
        payload = {"time": iso(instant), "assets": {name: _plain(reading) for name, reading in readings.items()}}
        emit(payload, json, lambda: out.print(_readings_view(readings, instant, [])))
        halted = any(reading.status is Status.HALT for reading in readings.values())
    else:
        names = _asked(Lake(lake), asset, kind)
        _check_venues(weight, {key.venue for key in Lake(lake).list()})
        found = []
        with progress("Rebuilding the oracle", len(names)) as advance:
            for name in names:
                wanted = _request(name, kind, timeframe, unit, venue, max_age_s, quorum, rates, weights)
                found.append(rebuild(Lake(lake), wanted, start, end))
                advance(1)
        payload = {"lake": str(lake), "kind": kind, "assets": [_plain_series(series) for series in found]}
        emit(payload, json, lambda: out.print(Group(*(_series_view(series) for series in found))))
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
            f"no asset of the lake has a {kind} input on two venues or more",
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
    held = parse_snapshot(read_snapshot(path), path.name, request, MAJORS)
    readings = {}
    for name in asked or _on_several_venues(held.sources):
        rules = _rules(name, quorum)
        if max_age_s is not None:
            rules = rules._replace(max_age_ms=1000.0 * _age_limit(max_age_s))
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


def _synthetic(series: OracleSeries) -> list[str]:
    return ["SYNTHETIC prices: generated, not traded"] if series.synthetic else []


def _plain(reading: OracleReading) -> dict[str, Any]:
    return {
        "value": reading.value,
        "status": reading.status.name,
        "oldest_ms": reading.oldest_ms,
        "dispersion_bps": reading.dispersion / BPS,
        "used": list(reading.used),
        "rejected": {name: verdict.name.lower() for name, verdict in reading.rejected.items()},
        "sources": [
            {
                "venue": item.source.name,
                "price": item.source.price,
                "quote": item.source.quote,
                "common_price": item.common_price,
                "deviation_bps": item.deviation / BPS,
                "age_ms": item.source.age_ms,
                "weight": item.source.weight,
                "verdict": item.verdict.name.lower(),
            }
            for item in reading.sources
        ],
    }


def _readings_view(readings: Mapping[str, OracleReading], instant: int, notes: list[str]) -> Group:
    parts: list[Table | Text] = []
    for name, reading in readings.items():
        value = "no value" if np.isnan(reading.value) else f"{reading.value:,.10g} {reading.unit}"
        parts.append(
            Text.assemble(
                (f"{name} {value}  ", "bold"), (reading.status.name, _STYLES[reading.status]), f"  at {iso(instant)}"
            )
        )
        parts.append(_sources_table(reading))
    return Group(*parts, *(Text(note, style="dim") for note in notes))


def _sources_table(reading: OracleReading) -> Table:
    table = _table(("venue", "price", "quote", f"in {reading.unit}", "off, bps", "age, s", "weight", ""))
    for item in reading.sources:
        is_used = item.verdict is Verdict.USED
        table.add_row(
            item.source.name,
            _shown(item.source.price),
            item.source.quote,
            _shown(item.common_price),
            f"{item.deviation / BPS:+.1f}" if np.isfinite(item.deviation) else "",
            f"{item.source.age_ms / 1000:,.1f}" if np.isfinite(item.source.age_ms) else "",
            f"{item.source.weight:g}",
            Text(item.verdict.name.lower().replace("_", " "), style="green" if is_used else "yellow"),
        )
    return table


def _shown(price: float) -> str:
    return f"{price:,.10g}" if np.isfinite(price) else "none"


def _table(headings: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index == 0 or not heading else "right", no_wrap=True)
    return table


def _plain_series(series: OracleSeries) -> dict[str, Any]:
    status = series.arrays.status
    return {
        "asset": series.request.asset,
        "unit": series.request.unit,
        "timeframe": series.request.timeframe,
        "from": iso(int(series.close_ms[0])),
        "to": iso(int(series.close_ms[-1])),
        "synthetic": series.synthetic,
        "instants": {item.name: int((status == item).sum()) for item in Status},
        "episodes": [
            {"from": iso(first), "to": iso(last), "status": worst.name, "instants": count}
            for first, last, worst, count in _episodes(series)
        ],
        "widest": _widest(series),
        "sources": [
            {
                "series": str(source.key),
                "quote": source.terms.quote,
                "multiplier": source.terms.multiplier,
                "weight": source.weight,
                "verdicts": {
                    item.name.lower(): int((series.arrays.verdict[:, index] == item).sum())
                    for item in Verdict
                    if (series.arrays.verdict[:, index] == item).any()
                },
            }
            for index, source in enumerate(series.sources)
        ],
        "notes": list(series.notes),
    }


def _episodes(series: OracleSeries) -> list[tuple[int, int, Status, int]]:
    """Stretches of instants that were not OK: first, last, worst status, and how many instants."""
    status = series.arrays.status
    bad = np.flatnonzero(status != Status.OK)
    groups = np.split(bad, np.flatnonzero(np.diff(bad) > 1) + 1) if len(bad) else []
    return [
        (int(series.close_ms[rows[0]]), int(series.close_ms[rows[-1]]), Status(int(status[rows].max())), len(rows))
        for rows in groups
    ]


def _widest(series: OracleSeries) -> dict[str, Any] | None:
    """Instant at which the used prices lay furthest apart."""
    dispersion = series.arrays.dispersion
    if not np.isfinite(dispersion).any():
        return None
    row = int(np.nanargmax(dispersion))
    return {
        "time": iso(int(series.close_ms[row])),
        "dispersion_bps": float(dispersion[row]) / BPS,
        "status": Status(int(series.arrays.status[row])).name,
    }


def _series_view(series: OracleSeries) -> Group:
    plain = _plain_series(series)
    total = len(series.close_ms)
    head = Text.assemble((f"{plain['asset']} {series.request.kind}", "bold"), f"  {plain['from']} .. {plain['to']}  ")
    for status in Status:
        count = plain["instants"][status.name]
        head.append(f"{status.name} {count:,} ({100 * count / total:.2f} %)  ", _STYLES[status] if count else "dim")
    table = _table(("venue", "quote", "weight", "used", "rejected"))
    for source in plain["sources"]:
        verdicts = dict(source["verdicts"])
        used = verdicts.pop("used", 0)
        why = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in verdicts.items())
        table.add_row(source["series"], source["quote"], f"{source['weight']:g}", f"{used:,}", why or "none")
    parts: list[Table | Text] = [head, table]
    if plain["widest"]:
        widest = plain["widest"]
        parts.append(Text(f"widest: {widest['dispersion_bps']:.1f} bps at {widest['time']} ({widest['status']})"))
    episodes = sorted(_episodes(series), key=lambda item: (-int(item[2]), -item[3]))
    for first, last, worst, count in episodes[:_EPISODES_SHOWN]:
        parts.append(Text(f"{worst.name} {iso(first)} .. {iso(last)}: {count:,} instants", _STYLES[worst]))
    if len(episodes) > _EPISODES_SHOWN:
        parts.append(Text(f"and {len(episodes) - _EPISODES_SHOWN:,} more stretches; --json lists all", style="dim"))
    notes = [*series.notes, *_synthetic(series)]
    return Group(*parts, *(Text(note, style="dim") for note in notes), Text())
