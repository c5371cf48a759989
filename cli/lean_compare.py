"""``carry lean compare``: a Lean backtest against the embedded engine, item by item."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from cli import console
from cli.lean import lean_app
from cli.output import writable_folder
from crypto.errors import UsageError

if TYPE_CHECKING:
    from crypto.settings import Settings
    from research.lean_compare.job import FinishedComparison

DEFAULT_CONFIG = Path(__file__).parents[1] / "config" / "carry.toml"
DIFFER_EXIT_CODE = 4
ROWS_SHOWN = 5

ResultDir = Annotated[Path, typer.Argument(metavar="RESULT_DIR", help="Folder of Lean's result, or its <id>.json.")]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="Settings that Lean ran with.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Change one key, section.key=value; may be given again.")
]
Lake = Annotated[Path | None, typer.Option("--lake", help="Folder of the Parquet lake.")]
Result = Annotated[
    Path | None, typer.Option("--result", help="Folder of a finished run to compare with, not a new one.")
]
Ledger = Annotated[
    Path | None, typer.Option("--ledger", help="ledger.csv from Lean's object store, where it is not in RESULT_DIR.")
]
Output = Annotated[Path | None, typer.Option("--out", callback=writable_folder, help="Folder for results.")]
Tolerance = Annotated[float, typer.Option("--tolerance", min=0.0, help="Account currency that an item may differ by.")]


def register(_: typer.Typer) -> None:
    """Add ``compare`` to ``carry lean``."""
    lean_app.command("compare")(run)


def run(
    result_dir: ResultDir,
    config: Config = None,
    overrides: Overrides = None,
    lake: Lake = None,
    result: Result = None,
    ledger: Ledger = None,
    out: Output = None,
    tolerance: Tolerance = 0.01,
    as_json: console.JsonFlag = False,
) -> None:
    """Compare a Lean backtest with the embedded engine: orders, fills, fees, funding, borrow and equity.

    Runs the engine with the same settings over Lean's period, or reads a finished run (--result). Writes all
    differences and a page with the picture. Ends with exit code 4 when they differ.

    Example: carry lean compare backtests/2026-01-31_10-00-00 --config config/carry.toml
    """
    if not math.isfinite(tolerance):
        raise UsageError(f"--tolerance {tolerance} is not a finite amount", remedy="give an amount such as 0.01")
    from data.lean_results import read_lean_result
    from research.lean_compare import job

    if result is not None and (config is not None or overrides or lake is not None):
        raise UsageError("--result brings its own settings", remedy="leave out --config, --set and --lake")
    if result is not None:
        writable_folder(out or result.parent)
        with console.progress("Reading Lean's result"):
            lean = read_lean_result(result_dir, ledger)
        finished = job.compare_with_run(lean, result, tolerance, out=out, stage=console.progress)
    else:
        settings = _settings(config, overrides, lake, out)
        with console.progress("Reading Lean's result"):
            lean = read_lean_result(result_dir, ledger)
        finished = job.compare_with_settings(lean, settings, tolerance, stage=console.progress, announce=console.note)
    payload = job.summary(finished.comparison, finished.lean, finished.run)
    payload |= {"directory": finished.directory, "files": finished.files}
    console.emit(payload, as_json, lambda: _show(finished))
    if not finished.comparison.agree:
        raise typer.Exit(DIFFER_EXIT_CODE)


def _settings(config: Path | None, overrides: list[str] | None, lake: Path | None, out: Path | None) -> Settings:
    from data.settings import load_settings

    given = (("data.lake", lake), ("output.directory", out))
    changes = [*(overrides or []), *(f"{key}={value}" for key, value in given if value is not None)]
    settings = load_settings(config or DEFAULT_CONFIG, changes)
    writable_folder(Path(settings.output.directory))
    return settings


def _show(finished: FinishedComparison) -> None:
    from research.lean_compare.page import TITLES, headline

    comparison = finished.comparison
    table = Table(title=f"{finished.lean.id}: Lean and the embedded engine", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("", "compared", "differ", "largest"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    for section in comparison.sections:
        counts = (f"{section.compared:,}", f"{len(section.differences):,}")
        table.add_row(TITLES[section.kind], *counts, f"{section.largest:,.4f}" if section.differences else "")
    console.out.print(table)
    for section in comparison.sections:
        for item in section.differences[:ROWS_SHOWN]:
            console.out.print(Text(headline(item)), soft_wrap=True)
        if len(section.differences) > ROWS_SHOWN:
            console.out.print(Text(f"  and {len(section.differences) - ROWS_SHOWN:,} more of {section.kind}"))
    for note in comparison.notes:
        console.out.print(Text(f"note: {note}"), soft_wrap=True)
    currency = finished.lean.account_currency
    verdict = "agree" if comparison.agree else f"DIFFER, {comparison.count:,} differences"
    left_out = f"; not compared one by one: {', '.join(comparison.not_compared)}" if comparison.not_compared else ""
    words = f"verdict: {verdict} (tolerance {comparison.tolerance:g} {currency} per item){left_out}"
    console.out.print(Text(words), soft_wrap=True)
    for path in finished.files.values():
        console.out.print(Text(str(path)), soft_wrap=True)
