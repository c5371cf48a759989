"""How ``carry oracle`` shows composites: for people, and as plain values for scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from crypto.oracle import OracleReading
from crypto.oracle_composite import Status, Verdict
from crypto.units import BPS, DAY_MS, HOUR_MS, iso
from data.oracle_series import OracleSeries

_EPISODES_SHOWN = 8
_STYLES = {Status.OK: "green", Status.DEGRADED: "yellow", Status.HALT: "bold red"}


def synthetic_note(series: OracleSeries) -> list[str]:
    """The note that prices were generated, if they were."""
    return ["SYNTHETIC prices: generated, not traded"] if series.synthetic else []


def assets_payload(readings: Mapping[str, OracleReading]) -> dict[str, Any]:
    """Composites by asset as JSON, each with what every source said and why it was used or not."""
    return {name: _plain(reading) for name, reading in readings.items()}


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


def readings_view(readings: Mapping[str, OracleReading], instant: int, notes: list[str]) -> Group:
    """Composites of one instant (ms since 1970, UTC) by asset, each over a table of its sources."""
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
    """Sources by row; prices in the common quote have a column of their own only where a source needs conversion."""
    is_converted = any(item.source.quote != reading.unit for item in reading.sources)
    common = (f"in {reading.unit}",) if is_converted else ()
    table = _table(("venue", "price", "quote", *common, "off, bps", "age", "weight", ""))
    for item in reading.sources:
        is_used = item.verdict is Verdict.USED
        table.add_row(
            item.source.name,
            _shown(item.source.price),
            item.source.quote,
            *([_shown(item.common_price)] if is_converted else []),
            f"{item.deviation / BPS:+.1f}" if np.isfinite(item.deviation) else "",
            _age(item.source.age_ms),
            f"{item.source.weight:g}",
            Text(item.verdict.name.lower().replace("_", " "), style="green" if is_used else "yellow"),
        )
    return table


def _age(age_ms: float) -> str:
    """Seconds up to an hour, then hours, then days; empty when it is not known."""
    if not np.isfinite(age_ms):
        return ""
    for unit, size_ms in (("d", DAY_MS), ("h", HOUR_MS)):
        if abs(age_ms) >= size_ms:
            return f"{age_ms / size_ms:,.1f} {unit}"
    return f"{age_ms / 1000:,.1f} s"


def _shown(price: float) -> str:
    return f"{price:,.10g}" if np.isfinite(price) else "none"


def _table(headings: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index == 0 or not heading else "right", overflow="fold")
    return table


def series_payload(series: OracleSeries) -> dict[str, Any]:
    """A rebuilt composite as JSON: how often it was OK, every stretch that was not, verdicts by source."""
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
            {"from": iso(first), "to": iso(last), "status": then.name, "instants": count}
            for first, last, then, count in _episodes(series)
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
    """Stretches of instants of one status that is not OK: first, last, status, and how many instants."""
    status = series.arrays.status
    groups = np.split(np.arange(len(status)), np.flatnonzero(np.diff(status)) + 1)
    return [
        (int(series.close_ms[rows[0]]), int(series.close_ms[rows[-1]]), Status(int(status[rows[0]])), len(rows))
        for rows in groups
        if status[rows[0]] != Status.OK
    ]


def _widest(series: OracleSeries) -> dict[str, Any] | None:
    """Instant at which the used prices, two or more, lay furthest apart; None when there were never two."""
    dispersion = np.where(series.arrays.used > 1, series.arrays.dispersion, np.nan)
    if not np.isfinite(dispersion).any():
        return None
    row = int(np.nanargmax(dispersion))
    return {
        "time": iso(int(series.close_ms[row])),
        "dispersion_bps": float(dispersion[row]) / BPS,
        "status": Status(int(series.arrays.status[row])).name,
    }


def series_view(series: OracleSeries) -> Group:
    """A rebuilt composite: share of each status, verdicts by source, its worst stretches."""
    plain = series_payload(series)
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
    for first, last, then, count in episodes[:_EPISODES_SHOWN]:
        parts.append(Text(f"{then.name} {iso(first)} .. {iso(last)}: {count:,} instants", _STYLES[then]))
    if len(episodes) > _EPISODES_SHOWN:
        parts.append(Text(f"and {len(episodes) - _EPISODES_SHOWN:,} more stretches; --json lists all", style="dim"))
    notes = [*series.notes, *synthetic_note(series)]
    return Group(*parts, *(Text(note, style="dim") for note in notes), Text())
