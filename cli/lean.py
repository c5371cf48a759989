"""``carry lean``: the lake as Lean's data folder, Lean's configuration, and a backtest on Lean."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from cli import console
from cli.console import JsonFlag
from cli.output import writable_file, writable_folder
from crypto.errors import UsageError
from crypto.settings import Settings
from crypto.units import DAY_MS, iso, parse_iso

if TYPE_CHECKING:
    from data.lean_config import LeanJob
    from data.lean_folder.export import Outcome
    from data.lean_log import LeanLog
    from data.lean_runner import LeanRun

# Other files of the command group hang their commands on this object with lean_app.command(...) when they are imported,
# and are named in cli.app.COMMAND_MODULES after this one.
lean_app = typer.Typer(
    no_args_is_help=True,
    help="Run the same strategy on QuantConnect Lean.\n\nExample: carry lean export",
)

PROJECT = Path(__file__).resolve().parent.parent
DEFAULT_CONFIG = Path("config/carry.toml")
DEFAULT_DATA = Path("data/lean")
DEFAULT_RESULTS = Path("backtests")

DataOption = Annotated[Path, typer.Option("--data", help="Lean's data folder, as carry lean export wrote it.")]
ConfigOption = Annotated[Path, typer.Option("--config", help="Settings file of the run.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="One setting as section.key=value; may be repeated.")
]
StartOption = Annotated[str, typer.Option("--start", help="First instant, ISO, UTC; overrides run.start.")]
EndOption = Annotated[str, typer.Option("--end", help="Last instant (excluded), ISO, UTC; overrides run.end.")]
LauncherOption = Annotated[
    Path | None,
    typer.Option("--launcher", help="Folder with QuantConnect.Lean.Launcher.dll; or set CARRY_LEAN_LAUNCHER."),
]
VenvOption = Annotated[
    Path | None, typer.Option("--python-venv", help="Python environment that the launcher uses; default: this one.")
]


def register(app: typer.Typer) -> None:
    """Add ``carry lean`` to the command line."""
    app.add_typer(lean_app, name="lean")


@lean_app.command("export")
def export(
    lake: Annotated[Path, typer.Option("--lake", help="Folder of the lake.")] = Path("data/lake"),
    out: Annotated[
        Path, typer.Option("--out", callback=writable_folder, help="Lean's data folder to write.")
    ] = DEFAULT_DATA,
    symbol: Annotated[
        list[str] | None, typer.Option("--symbol", help="Only this symbol or venue:kind:SYMBOL; may be repeated.")
    ] = None,
    start: Annotated[str, typer.Option("--from", help="First instant, ISO date or date-time, UTC.")] = "",
    end: Annotated[str, typer.Option("--to", help="Instant after the last row, ISO, UTC.")] = "",
    lean_data: Annotated[
        Path | None,
        typer.Option("--data-folder-of-lean", help="Lean's own Data folder: its symbols and hours are kept as well."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings file whose instruments, tolerance and oracle count.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Write the lake as Lean's data folder; a series that did not change is not touched.

    Trade bars of spot and perpetuals, funding, mark, index and borrow rates, symbol properties and market hours. What
    Lean could not read or would value wrongly is left out and named.

    Example: carry lean export --symbol BTCUSDT --from 2024-01-01
    """
    from data.lean_folder import export as exporter
    from data.oracle_history import oracle_requests
    from data.settings import load_settings
    from data.store.lake import Lake

    settings = load_settings(config) if config else Settings()
    options = exporter.ExportOptions(
        symbols=tuple(symbol or ()),
        start_ms=parse_iso(start) if start else None,
        end_ms=parse_iso(end) if end else None,
        tolerance_ms=settings.data.settlement_tolerance_ms,
        overrides=settings.instruments,
        lean_data=lean_data,
        with_sources=settings.oracle.enabled,
        composites=oracle_requests(settings) if settings.oracle.enabled else (),
    )
    with console.progress("Exporting series", exporter.job_count(Lake(lake), options)) as advance:
        outcome = exporter.export(Lake(lake), out, options, advance)
    console.emit(_export_values(outcome), json, lambda: _show_export(outcome))


@lean_app.command("config")
def config_command(
    config: ConfigOption = DEFAULT_CONFIG,
    changes: SetOption = None,
    start: StartOption = "",
    end: EndOption = "",
    data: DataOption = DEFAULT_DATA,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", callback=writable_file, help="File to write; default: backtests/NAME-SEED/lean-config.json."
        ),
    ] = None,
    launcher: LauncherOption = None,
    venv: VenvOption = None,
    json: JsonFlag = False,
) -> None:
    """Write one configuration of Lean's launcher for one run. Settings and data are checked before.

    Start it with: dotnet QuantConnect.Lean.Launcher.dll --config FILE. Results go to the folder of the file.

    Example: carry lean config --config config/carry.toml --set signal.holding_hours=240
    """
    from data import lean_config

    job = _job(config, _overrides(changes, start, end), data)
    path = out or DEFAULT_RESULTS / job.job_id / lean_config.CONFIG_NAME
    content = lean_config.launcher_config(job, path.parent, launcher, venv)
    lean_config.write_config(path, content)
    values = {"file": str(path), "job_id": job.job_id, "period": _period_values(job), "config": content}
    console.emit(values, json, lambda: _show_config(path, job))


@lean_app.command("backtest")
def backtest(
    config: ConfigOption = DEFAULT_CONFIG,
    changes: SetOption = None,
    start: StartOption = "",
    end: EndOption = "",
    data: DataOption = DEFAULT_DATA,
    out: Annotated[
        Path, typer.Option("--out", callback=writable_folder, help="Folder in which the run gets a folder.")
    ] = DEFAULT_RESULTS,
    launcher: LauncherOption = None,
    venv: VenvOption = None,
    any_version: Annotated[
        bool, typer.Option("--any-lean-version", help="Also a Lean that the adapter was not measured on.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Run main.py on Lean: a launcher folder where one is named, else the lean command line with Docker.

    Settings, data folder and Lean's version are checked before anything is started.

    Example: carry lean backtest --config config/carry.toml --launcher Lean/Launcher/bin/Release
    """
    from data import lean_engine, lean_runner
    from data.results import next_directory

    job = _job(config, _overrides(changes, start, end), data)
    engine = lean_engine.find_engine(launcher, venv, os.environ, any_version=any_version)
    if not (job.project / "main.py").is_file():
        raise UsageError(f"{job.project} has no main.py", remedy="run the command from a checkout of the repository")
    results = next_directory(out, job.job_id)
    days = (job.period.end_ms - job.period.start_ms) / DAY_MS
    with console.progress("Running on Lean, days", days) as advance:
        run = lean_runner.run_backtest(engine, job, results, os.environ, _Days(job, advance))
    console.emit(_run_values(run, job), json, lambda: _show_run(run, job))


class _Days:
    """Moves a progress bar by the days that Lean has done since its last line."""

    def __init__(self, job: LeanJob, advance: Any) -> None:
        self._period, self._advance, self._done = job.period, advance, job.period.start_ms

    def __call__(self, log: LeanLog) -> None:
        reached = min(log.reached_ms or self._done, self._period.end_ms)
        days = max(0, reached - self._done) / DAY_MS
        self._done = max(reached, self._done)
        self._advance(days)


def _overrides(changes: list[str] | None, start: str, end: str) -> list[str]:
    given = list(changes or [])
    given += [f"run.start={start}"] if start else []
    return given + ([f"run.end={end}"] if end else [])


def _job(config: Path, overrides: list[str], data: Path) -> LeanJob:
    """A job whose settings and data are right; raises for the first thing that is not."""
    from data.lean_config import make_job
    from data.lean_folder.readiness import check_ready
    from data.lean_market import load_lean_market
    from data.settings import load_settings

    settings = load_settings(config, overrides)
    period = check_ready(data, settings)
    if settings.oracle.enabled:
        load_lean_market(data, settings)  # its sources are looked at as the run will, which takes under a second
    return make_job(PROJECT, config, overrides, settings, data, period)


def _export_values(outcome: Outcome) -> dict[str, Any]:
    return {
        "folder": str(outcome.root),
        "series": [
            {
                "series": item.series,
                "rows": item.rows,
                "first": iso(item.first_ms),
                "last": iso(item.last_ms),
                "files_written": item.written,
                "files_kept": item.kept,
                "bytes_written": item.bytes_written,
            }
            for item in outcome.series
        ],
        "skipped": [{"series": item.name, "reason": item.reason} for item in outcome.skipped],
        "shared_files_written": list(outcome.shared_written),
        "series_removed": list(outcome.removed),
    }


def _show_export(outcome: Outcome) -> None:
    written = sum(item.written for item in outcome.series)
    kept = sum(item.kept for item in outcome.series)
    size = sum(item.bytes_written for item in outcome.series)
    headline = f"{written:,} files written ({size / 1e6:,.1f} MB), {kept:,} unchanged: {outcome.root}"
    console.out.print(Text(headline, style="bold"), soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("series", overflow="fold")
    for heading in ("rows", "written", "kept"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("from", "to"):
        table.add_column(heading, no_wrap=True)
    for item in outcome.series:
        counts = (f"{item.rows:,}", f"{item.written:,}", f"{item.kept:,}")
        table.add_row(item.series, *counts, iso(item.first_ms)[:10], iso(item.last_ms)[:10])
    console.out.print(table)
    for skipped in outcome.skipped:
        console.out.print(Text(f"{skipped.name}: left out, {skipped.reason}", style="yellow"), soft_wrap=True)
    for name in outcome.removed:
        console.out.print(Text(f"{name}: removed, the lake no longer holds it", style="yellow"), soft_wrap=True)


def _period_values(job: LeanJob) -> dict[str, str]:
    return {"start": iso(job.period.start_ms), "end": iso(job.period.end_ms)}


def _show_config(path: Path, job: LeanJob) -> None:
    period = _period_values(job)
    console.out.print(Text(f"{path}", style="bold"), soft_wrap=True)
    console.out.print(Text(f"job {job.job_id}, {period['start']} to {period['end']}"), soft_wrap=True)


def _run_values(run: LeanRun, job: LeanJob) -> dict[str, Any]:
    return {
        "results": str(run.results),
        "job_id": run.job_id,
        "engine": run.engine,
        "lean_version": run.version,
        "period": _period_values(job),
        "seconds": run.seconds,
        "data_points": run.data_points,
        "orders": run.orders,
        "errors": list(run.errors),
    }


def _show_run(run: LeanRun, job: LeanJob) -> None:
    period = _period_values(job)
    took = "" if run.seconds is None else f", {run.seconds:,.1f} s in Lean's loop"
    console.out.print(Text(f"{run.job_id} ran on Lean {run.version} ({run.engine}){took}", style="bold"))
    console.out.print(Text(f"{period['start']} to {period['end']}, {run.orders:,} orders"), soft_wrap=True)
    for error in run.errors:
        console.out.print(Text(f"Lean reported: {error}", style="yellow"), soft_wrap=True)
    console.out.print(Text(f"all files    {run.results}"), soft_wrap=True)
