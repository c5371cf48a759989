"""``carry backtest``: the pipeline on the embedded exchange, from a settings file to a folder of results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli import console
from cli.output import writable_folder
from crypto.errors import InsolventError
from data.settings import load_settings
from research.backtest import BUNDLED_SAMPLE, FinishedRun, backtest, lake_of

DEFAULT_CONFIG = Path(__file__).parents[1] / "config" / "carry.toml"

Config = Annotated[Path, typer.Option("--config", "-c", help="Settings file; the default runs on the bundled sample.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Change one key, section.key=value; may be given again.")
]
Instruments = Annotated[
    list[Path] | None,
    typer.Option("--instruments", help="Filters of instruments, a file of carry fetch markets; may be given again."),
]
Start = Annotated[str | None, typer.Option("--start", help="First instant, ISO date, UTC.")]
End = Annotated[str | None, typer.Option("--end", help="Last instant, ISO date, UTC, exclusive.")]
Lake = Annotated[Path | None, typer.Option("--lake", help="Folder of the Parquet lake.")]
Output = Annotated[Path | None, typer.Option("--out", help="Folder for results.")]
Python = Annotated[bool, typer.Option("--python", help="Call the strategy's stages in Python instead of compiled.")]
NoReport = Annotated[bool, typer.Option("--no-report", help="Do not write the HTML report.")]


def register(app: typer.Typer) -> None:
    """Add ``carry backtest`` to the command line."""
    app.command("backtest")(run)


def run(
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    instruments: Instruments = None,
    start: Start = None,
    end: End = None,
    lake: Lake = None,
    out: Output = None,
    python: Python = False,
    no_report: NoReport = False,
    as_json: console.JsonFlag = False,
) -> None:
    """Backtest spot/perp pairs on the embedded exchange and write ledger, orders, journal and an HTML report.

    Without options it runs config/carry.toml on the bundled sample, which is synthetic.

    Example: carry backtest --config config/binance-six-years.toml --set portfolio.perp_leverage=3
    """
    changes = list(overrides or [])
    given = (("run.start", start), ("run.end", end), ("data.lake", lake), ("output.directory", out))
    changes += [f"{key}={value}" for key, value in given if value is not None]
    if no_report:
        changes.append("output.report=false")
    settings = load_settings(config, changes, instruments or ())
    writable_folder(Path(settings.output.directory))
    if lake_of(settings) == BUNDLED_SAMPLE:
        console.note("Input: the bundled sample market. It is SYNTHETIC; its results say nothing about real markets.")
    finished = backtest(settings, compiled=not python, stage=console.progress, announce=console.note)
    stopped = _stopped(finished)
    payload = _payload(finished)
    if stopped is not None:
        payload |= {"error": stopped.message, "remedy": stopped.remedy, "exit_code": stopped.exit_code}
    console.emit(payload, as_json, lambda: _show(finished))
    if stopped is not None:
        if as_json:  # the result says it; stdout carries one document
            raise typer.Exit(stopped.exit_code)
        raise stopped


def _stopped(finished: FinishedRun) -> InsolventError | None:
    """The error of a run that ended before its market did."""
    if finished.result.status == "completed":
        return None
    remedy = "lower portfolio.deploy, or raise portfolio.min_collateral_ratio; the files hold what happened until then"
    return InsolventError(f"the run {finished.result.status}", remedy=remedy)


def _payload(finished: FinishedRun) -> dict[str, Any]:
    result = finished.result
    return {
        "status": result.status,
        "synthetic": result.provenance["synthetic"],
        "directory": str(finished.directory),
        "files": {name: str(path) for name, path in finished.files.items()},
        "summary": result.summary,
        "policies": result.policies,
        "provenance": result.provenance,
    }


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2%}"


def _show(finished: FinishedRun) -> None:
    result, summary = finished.result, finished.result.summary
    provenance = result.provenance
    title = (
        f"{provenance['name']}: {provenance['start'][:10]} to {provenance['end'][:10]}, {provenance['timeframe']} bars"
    )
    if provenance["synthetic"]:
        title += "  [SYNTHETIC]"
    headline = _headline(summary, result.settings["run"]["account_currency"], result.policies.get("kill switch"))
    console.out.print(Panel(headline, title=title, expand=False))
    console.out.print(_pair_table(summary))
    shown = {name: path for name, path in finished.files.items() if name in {"report.html", "result.json"}}
    console.show_files(shown | {"all files": finished.directory})


def _headline(summary: Any, currency: str, kill_switch: Any) -> Text:
    sharpe = summary["sharpe"]
    ratio = "-" if sharpe is None else f"{sharpe:.2f}"
    orders = f"{summary['orders']} ({summary['rejected']} rejected, {summary['cancelled']} cancelled)"
    rows = {
        "equity": f"{summary['start_equity']:,.2f} -> {summary['end_equity']:,.2f} {currency}",
        "net return": f"{_percent(summary['net_return'])}   a year {_percent(summary['annual_return'])}",
        "risk": f"volatility {_percent(summary['annual_volatility'])} a year   Sharpe {ratio}",
        "drawdown": f"{_percent(summary['max_drawdown'])}   in market {summary['time_in_market']:.0%} of the time",
        "round trips": f"{summary['round_trips']} closed, {summary['open_trips']} open",
        "orders": f"{orders}   turnover {summary['turnover']:.1f}x",
    }
    for asset, found in summary.get("fee_coins", {}).items():
        held = [sum(wallet[part] for wallet in found["wallets"].values()) for part in ("start", "end")]
        counts = f"{found['fills']} fills, {found['fills_not_covered']} not covered"
        rows[f"fees in {asset}"] = f"{held[0]:,.4f} -> {held[1]:,.4f} {asset}   {counts}"
    if kill_switch is not None:
        rows["kill switch"] = (
            f"pulled {kill_switch['pulled']}, re-armed {kill_switch['rearmed']}"
            f" of {kill_switch['dates to rearm']} dates in risk.rearm"
        )
    return Text("\n".join(f"{name:12} {text}" for name, text in rows.items()))


def _pair_table(summary: Any) -> Table:
    shown = [name for name, value in summary["components"].items() if value != 0.0]
    table = Table(title="Where it came from", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("pair", no_wrap=True)
    for name in (*shown, "sum"):
        table.add_column(name, justify="right", no_wrap=True)
    for pair, parts in summary["pairs"].items():
        table.add_row(pair, *(f"{parts[name]:z,.0f}" for name in shown), f"{parts['pnl']:z,.0f}")
    total = summary["components"]
    table.add_section()
    table.add_row("all", *(f"{total[name]:z,.0f}" for name in shown), f"{summary['net_pnl']:z,.0f}")
    return table
