"""What ``carry fetch`` prints: one object for scripts, a table and reasons for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from cli.console import emit, note, out
from crypto.errors import CarryError
from crypto.units import iso

if TYPE_CHECKING:
    from data.sources.filters import MarketsOutcome
    from data.sources.job import FetchOutcome, SeriesOutcome
    from data.sources.tier_file import TiersOutcome

_GAPS_SHOWN = 8
_LEFT_OUT_SHOWN = 5
_COLOURS = {"complete": "green", "partial": "yellow", "failed": "bold red"}


def emit_series(outcome: FetchOutcome, lake: Path, json: bool) -> None:
    """Print notes and the outcome of every symbol."""
    for words in outcome.notes:
        note(f"note: {words}")
    emit(_plain(outcome, lake), json, lambda: out.print(_view(outcome, lake)))


def _plain(outcome: FetchOutcome, lake: Path) -> dict[str, Any]:
    return {
        "lake": str(lake),
        "status": outcome.status,
        "calls": outcome.calls,
        "waited_seconds": outcome.waited_s,
        "notes": list(outcome.notes),
        "series": [_plain_series(entry) for entry in outcome.series],
        "left_out": [{"symbol": symbol, "error": _plain_error(error)} for symbol, error in outcome.left_out.items()],
    }


def _plain_series(entry: SeriesOutcome) -> dict[str, Any]:
    return {
        "series": str(entry.key),
        "status": entry.status,
        "from": iso(entry.lo_ms),
        "to": iso(entry.hi_ms),
        "expected": entry.proof.expected,
        "rows": entry.proof.got,
        "added": entry.tally.added,
        "replaced": entry.tally.replaced,
        "completed": entry.tally.completed,
        "calls": entry.tally.calls,
        "archive_files": entry.tally.archive_files,
        "sources": [
            {
                "from": iso(span.lo_ms),
                "to": iso(span.hi_ms),
                "source": span.source,
                "rows": span.rows,
                "without_mark": span.without_mark,
            }
            for span in entry.sources
        ],
        "gaps": [
            {"from": iso(gap.lo_ms), "to": iso(gap.hi_ms), "rows": gap.rows, "reason": gap.reason.value}
            for gap in entry.proof.gaps
        ],
        "error": None if entry.error is None else _plain_error(entry.error),
    }


def _plain_error(error: CarryError) -> dict[str, str]:
    return {"message": error.message, "remedy": error.remedy}


def _view(outcome: FetchOutcome, lake: Path) -> Group:
    added = sum(entry.tally.added for entry in outcome.series)
    keys = [entry.key for entry in outcome.series]
    # One request is of one venue, kind, series and timeframe: said once, so that the rows fit 80 columns.
    what = f"{keys[0].venue} {keys[0].kind} {keys[0].series} {keys[0].timeframe}".rstrip() if keys else "no symbol"
    completed = sum(entry.tally.completed for entry in outcome.series)
    marks = f", {completed:,} held rows got their mark price" if completed else ""
    title = Text(f"{what}: {added:,} rows added to {lake}{marks}", style="bold")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("symbol", overflow="fold")
    for heading in ("expected", "held", "missing", "added", "calls", "files"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for entry in outcome.series:
        missing = sum(gap.rows for gap in entry.proof.gaps)
        expected = "" if entry.proof.expected is None else f"{entry.proof.expected:,}"
        counts = (expected, f"{entry.proof.got:,}", f"{missing:,}", f"{entry.tally.added:,}", f"{entry.tally.calls:,}")
        status = Text(entry.status.upper() if entry.status != "complete" else "complete", _COLOURS[entry.status])
        table.add_row(entry.key.symbol, *counts, f"{entry.tally.archive_files:,}", status)
    for symbol in outcome.left_out:
        table.add_row(symbol, "", "0", "", "0", "0", "0", Text("LEFT OUT", _COLOURS["failed"]))
    words = [line for entry in outcome.series for line in _explained(entry)]
    for symbol, error in outcome.left_out.items():
        words += [Text(f"{symbol} was left out", style="bold"), *_error_words(error)]
    return Group(title, table, *words)


def _explained(entry: SeriesOutcome) -> list[Text]:
    """A line per gap with its reason, and the error that ended the fetch."""
    lines = []
    if entry.proof.gaps or entry.error:
        lines.append(Text(str(entry.key), style="bold"))
    for gap in entry.proof.gaps[:_GAPS_SHOWN]:
        rows = f"{gap.rows:,} missing, " if gap.rows else ""
        lines.append(Text(f"  {rows}{iso(gap.lo_ms)} .. {iso(gap.hi_ms)}: {gap.reason.value}", style="dim"))
    if len(entry.proof.gaps) > _GAPS_SHOWN:
        lines.append(Text(f"  and {len(entry.proof.gaps) - _GAPS_SHOWN} more gaps: --json lists them", style="dim"))
    if entry.error is not None:
        lines += _error_words(entry.error)
    return lines


def _error_words(error: CarryError) -> list[Text]:
    return [Text(f"  {error.message}", style="red"), Text(f"  what to do: {error.remedy}")]


def emit_file(outcome: MarketsOutcome | TiersOutcome, noun: str, json: bool) -> None:
    """Print what was written to a file, and what was left out of it."""
    for words in outcome.notes:
        note(f"note: {words}")
    payload = {
        "file": str(outcome.path),
        noun: list(outcome.written),
        "left_out": outcome.left_out,
        "notes": list(outcome.notes),
    }

    def view() -> None:
        out.print(f"{len(outcome.written):,} {noun}: {outcome.path}", soft_wrap=True)
        for symbol, reason in list(outcome.left_out.items())[:_LEFT_OUT_SHOWN]:
            out.print(Text(f"  left out {symbol}: {reason}", style="dim"))
        if len(outcome.left_out) > _LEFT_OUT_SHOWN:
            out.print(Text(f"  and {len(outcome.left_out) - _LEFT_OUT_SHOWN} more: --json lists them", style="dim"))

    emit(payload, json, view)
