"""``carry data``: what the lake holds, and what is wrong or odd in it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from cli.console import JsonFlag, emit, out, progress
from cli.options import DEFAULT_LAKE, LakeOption, Symbols
from crypto.funding import Segment
from crypto.units import iso
from data.findings import Finding, Severity
from data.quality import CheckOptions, ContractCalendar, Report, check_lake, choose
from data.store.lake import Lake, SeriesInfo

EXIT_ERRORS_FOUND = 4
_COLOURS = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
_SEGMENTS_SHOWN = 4


def register(app: typer.Typer) -> None:
    """Add ``carry data`` to the command line."""
    group = typer.Typer(
        no_args_is_help=True,
        help="What the lake holds, and what is wrong or odd in it.\n\nExample: carry data check --symbol BTCUSDT",
    )
    group.command("list")(data_list)
    group.command("check")(data_check)
    app.add_typer(group, name="data")


def data_list(lake: LakeOption = DEFAULT_LAKE, symbol: Symbols = None, json: JsonFlag = False) -> None:
    """List the series of the lake with their rows, first and last stamp and source.

    Example: carry data list --symbol BTCUSDT
    """
    held = Lake(lake)
    infos = [held.info(key) for key in choose(held.list(), symbol or ())]
    payload = {"lake": str(lake), "series": [_plain_info(info) for info in infos]}
    emit(payload, json, lambda: out.print(_list_view(infos, lake)))


def data_check(
    lake: LakeOption = DEFAULT_LAKE,
    symbol: Symbols = None,
    tolerance_ms: Annotated[int, typer.Option(help="How far a settlement stamp may be off its full hour.")] = 60_000,
    bad_print: Annotated[float, typer.Option(help="Fraction beyond mark and spot that makes a bad print.")] = 0.10,
    off_market_bps: Annotated[float, typer.Option(help="Basis that is called off-market, in basis points.")] = 100.0,
    json: JsonFlag = False,
) -> None:
    """Check the lake: gaps, unsorted or impossible bars, bad prints, missing spot, settlement calendars.

    Exit code 4 when there are errors, else 0. Warnings and infos are facts about the market or the venue's record that
    a backtest lives with: they are in its notes, too.

    Example: carry data check --symbol BTCUSDT --symbol ETHUSDT
    """
    held = Lake(lake)
    options = CheckOptions(time.time_ns() // 1_000_000, tolerance_ms, bad_print, off_market_bps)
    total = len(choose(held.list(), symbol or ()))
    with progress("Checking series", total) as advance:
        report = check_lake(held, symbol or (), options, on_series=lambda _: advance(1))
    emit(_plain_report(report, lake), json, lambda: out.print(_check_view(report, lake)))
    if report.count(Severity.ERROR):
        raise typer.Exit(EXIT_ERRORS_FOUND)


def _plain_info(info: SeriesInfo) -> dict[str, Any]:
    return {
        "series": str(info.key),
        "rows": info.rows,
        "first": iso(info.first_ms),
        "last": iso(info.last_ms),
        "source": info.provenance.source,
        "synthetic": info.provenance.synthetic,
        "files": [{"name": file.name, "sha256": file.sha256} for file in info.provenance.origins],
        "tool": info.tool,
    }


def _list_view(infos: Sequence[SeriesInfo], lake: Path) -> Group:
    table = _new_table(f"{len(infos)} series in {lake}", ("instrument", "series", "rows", "from", "to", "source"))
    sources = list(dict.fromkeys(_source(info) for info in infos))
    before = ""
    for info in infos:
        instrument = info.key.instrument if info.key.instrument != before else ""
        before = info.key.instrument
        span = (iso(info.first_ms)[:10], iso(info.last_ms)[:10])
        number = str(sources.index(_source(info)) + 1)
        table.add_row(instrument, info.key.file_name, f"{info.rows:,}", *span, number)
    return Group(table, *(Text(f"source {number}: {source}") for number, source in enumerate(sources, start=1)))


def _source(info: SeriesInfo) -> str:
    return f"SYNTHETIC, {info.provenance.source}" if info.provenance.synthetic else info.provenance.source


def _new_table(title: str, headings: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        is_number = heading in {"rows", "settlements", "missing", "source"} or heading.isdigit()
        table.add_column(heading, justify="right" if is_number else "left", no_wrap=True)
    return table


def _plain_report(report: Report, lake: Path) -> dict[str, Any]:
    return {
        "lake": str(lake),
        "series": len(report.series),
        "errors": report.count(Severity.ERROR),
        "warnings": report.count(Severity.WARNING),
        "infos": report.count(Severity.INFO),
        "findings": [finding.as_mapping() for finding in report.findings],
        "calendars": [_plain_calendar(calendar) for calendar in report.calendars],
    }


def _plain_calendar(calendar: ContractCalendar) -> dict[str, Any]:
    segments = [
        {
            "from": iso(segment.from_ms),
            "to": iso(segment.to_ms),
            "interval_hours": segment.interval_hours,
            "settlements": segment.count,
        }
        for segment in calendar.segments
    ]
    return {
        "instrument": calendar.key.instrument,
        "settlements": calendar.settlements,
        "missing": calendar.missing,
        "funding_by_year": {str(year): total for year, total in calendar.funding_by_year.items()},
        "segments": segments,
    }


def _check_view(report: Report, lake: Path) -> Group:
    counts = ", ".join(f"{report.count(severity)} {severity.value}s" for severity in Severity)
    parts: list[Table | Text] = [Text(f"{len(report.series)} series in {lake}: {counts}", style="bold")]
    for instrument in sorted({finding.key.instrument for finding in report.findings}):
        parts += [Text(), _findings_of(instrument, report.findings)]
    if report.calendars:
        parts += [Text(), _calendar_table(report.calendars), Text(), _funding_table(report.calendars)]
    return Group(*parts)


def _findings_of(instrument: str, findings: Sequence[Finding]) -> Table:
    """Findings about one instrument, worst first."""
    table = Table.grid(padding=(0, 2))
    table.title, table.title_justify, table.title_style = instrument, "left", "bold"
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        if finding.key.instrument == instrument:
            severity = Text(f"  {finding.severity.value}", style=_COLOURS[finding.severity])
            table.add_row(severity, finding.key.file_name, _words(finding))
    return table


def _words(finding: Finding) -> Text:
    first = "" if finding.first_ms is None else f", first {iso(finding.first_ms)[:16].replace('T', ' ')}"
    head = Text(f"{finding.kind} x {finding.count:,}{first}: ")
    return head.append(finding.message, style="dim")


def _calendar_table(calendars: Sequence[ContractCalendar]) -> Table:
    table = _new_table("Settlement calendars", ("instrument", "settlements", "missing", "intervals"))
    for calendar in calendars:
        shown = [_segment(segment) for segment in calendar.segments[:_SEGMENTS_SHOWN]]
        if len(calendar.segments) > _SEGMENTS_SHOWN:
            shown.append(f"and {len(calendar.segments) - _SEGMENTS_SHOWN} more")
        counts = (f"{calendar.settlements:,}", f"{calendar.missing:,}")
        table.add_row(calendar.key.instrument, *counts, "\n".join(shown))
    return table


def _funding_table(calendars: Sequence[ContractCalendar]) -> Table:
    """Funding per unit of notional by year, in per cent."""
    years = sorted({year for calendar in calendars for year in calendar.funding_by_year})
    table = _new_table("Funding that a long paid, % of notional", ("instrument", *map(str, years)))
    for calendar in calendars:
        sums = [calendar.funding_by_year.get(year) for year in years]
        table.add_row(calendar.key.instrument, *("" if total is None else f"{100 * total:.2f}" for total in sums))
    return table


def _segment(segment: Segment) -> str:
    return f"{segment.interval_hours:g}h {iso(segment.from_ms)[:10]} .. {iso(segment.to_ms)[:10]}"
