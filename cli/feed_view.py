"""What ``carry feed`` shows: a status line while it runs, log lines, and its summaries."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli import console
from crypto.units import iso

if TYPE_CHECKING:
    from data.feed.export import Exported
    from data.feed.feed import Feed
    from data.feed.replay import Replayed

REFRESH_SECONDS = 0.5
REPORT_SECONDS = 60.0
_STALE_SHOWN = 6
_LEVELS = {logging.WARNING: "yellow", logging.ERROR: "bold red"}


class _Lines(logging.Handler):
    """Log records as lines on stderr, above the status line where there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line: time, message."""
        time = iso(int(record.created * 1000.0))[11:19]
        console.err.print(Text(f"{time} {record.getMessage()}", style=_LEVELS.get(record.levelno, "")), soft_wrap=True)


@contextmanager
def logging_to_stderr() -> Iterator[None]:
    """Show what the feed has to say. The socket library keeps quiet: what ends a connection is said by the feed."""
    ours, library = logging.getLogger("data.feed"), logging.getLogger("websockets")
    handler = _Lines()
    before = (ours.level, library.level)
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    library.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        ours.setLevel(before[0])
        library.setLevel(before[1])


async def show(feed: Feed) -> None:
    """Keep a status line on a terminal; elsewhere write a line a minute. Runs until it is cancelled."""
    events = 0
    if console.is_json() or not console.err.is_terminal:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            status = feed.status()
            console.note(_line(status, (status["events"] - events) / REPORT_SECONDS))
            events = status["events"]
    with Live(console=console.err, auto_refresh=False, transient=True, redirect_stdout=False) as live:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            status = feed.status()
            live.update(Text(_line(status, (status["events"] - events) / REFRESH_SECONDS)), refresh=True)
            events = status["events"]


def _line(status: Mapping[str, Any], events_per_second: float) -> str:
    routes = status["routes"]
    connected = sum(route["connected"] for route in routes)
    venues = ", ".join(dict.fromkeys(route["venue"] for route in routes))
    stale = status["stale"]
    names = f" ({_some(stale)})" if stale else ""
    return (
        f"{venues}: {connected} of {len(routes)} connected, {events_per_second:,.0f} events/s, "
        f"{len(stale)} of {status['instruments']} stale{names}, recording {_size(status['recording']['bytes'])}"
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _STALE_SHOWN
    return ", ".join(names[:_STALE_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000.0:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000.0
    return f"{count:.1f} GB"


def summary(status: Mapping[str, Any]) -> Group:
    """The end of a run."""
    recording = status["recording"]
    routes = _table(("venue", "route", "connections", "last reason"))
    for route in status["routes"]:
        routes.add_row(route["venue"], route["route"], f"{route['attempts']}", route["reconnect_reason"] or "")
    lines = [
        f"{status['frames']:,} frames with {status['events']:,} events, {status['garbage_frames']} unreadable",
        (
            f"{status['instruments']} instruments, {status['settled_rates']} settled rates read back, "
            f"{status['interval_changes']} changes of a settlement schedule"
        ),
        f"recorded {_size(recording['bytes'])} in {', '.join(recording['segments'])} of {recording['folder']}",
    ]
    lines += [
        f"{cut['segment']}: cut {cut['torn_bytes']} torn bytes of an earlier run" for cut in recording["repaired"]
    ]
    books = status["books"]
    if books["held"]:
        lines.append(f"{books['held']} order books, {books['updates'].get('gap', 0)} gaps")
    lines += [
        f"{route['venue']} {route['route']}: refused and left out: {_some(route['left_out'])}; check the symbol"
        for route in status["routes"]
        if route["left_out"]
    ]
    if status["never_heard"]:
        lines.append(f"never heard of: {_some(status['never_heard'])}; check the symbol")
    if status["rows"] is not None:
        lines.append(f"{status['rows']['rows']:,} rows for Lean in {status['rows']['folder']}")
    return Group(*(Text(line) for line in lines), routes)


def replay_payload(replayed: Replayed, snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """A replay as plain values. Ages and staleness are those at its last record."""
    counts = replayed.engine.counts
    return {
        "segments": replayed.segments,
        "records": replayed.records,
        "from": iso(replayed.first_ns // 1_000_000),
        "to": iso(replayed.last_ns // 1_000_000),
        "torn_bytes": replayed.torn_bytes,
        "frames": counts.frames,
        "events": counts.events,
        "garbage_frames": counts.garbage,
        "state": replayed.engine.fingerprint(),
        "instruments": snapshot["instruments"],
    }


def replay_view(payload: Mapping[str, Any]) -> Group:
    """The same for people."""
    head = (
        f"{payload['records']:,} records of {payload['segments']} segments, {payload['from']} to {payload['to']}: "
        f"{payload['frames']:,} frames, {payload['events']:,} events, {payload['garbage_frames']} unreadable"
    )
    torn = f"{payload['torn_bytes']} bytes at the end belong to no whole record" if payload["torn_bytes"] else ""
    names = ("mark", "index", "predicted_rate", "bid", "ask")
    table = _table(("instrument", *names, "settled"))
    for name, held in payload["instruments"].items():
        values = [_number(held["fields"].get(field, {}).get("value")) for field in names]
        table.add_row(name, *values, _number(held["settled"] and held["settled"]["rate"]))
    warning = [Text(torn, style="yellow")] if torn else []
    return Group(Text(head), *warning, Text(f"state {payload['state']}"), table)


def export_payload(exported: Sequence[Exported], lake: Path) -> dict[str, Any]:
    """An export as plain values."""
    return {
        "lake": str(lake),
        "series": [
            {
                "series": str(part.merge.key),
                "added": part.merge.added,
                "identical": part.merge.identical,
                "rows": part.merge.rows,
                "incomplete_minutes": part.incomplete_minutes,
                "late_stamps": part.late_stamps,
            }
            for part in exported
        ],
    }


def export_view(payload: Mapping[str, Any]) -> Group:
    """The same for people."""
    table = _table(("series", "added", "held before", "incomplete minutes"))
    for part in payload["series"]:
        counts = (part["added"], part["identical"], part["incomplete_minutes"])
        table.add_row(part["series"], *(f"{count:,}" for count in counts))
    return Group(Text(f"{len(payload['series'])} series of {payload['lake']}"), table)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.10g}"


def _table(headings: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for at, heading in enumerate(headings):
        is_text = heading in {"route", "last reason"}
        table.add_column(heading, justify="right" if at and not is_text else "left", no_wrap=not is_text)
    return table
