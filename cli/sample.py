"""``carry sample``: a synthetic market, written to a lake."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from cli import console
from crypto.scenario import MAX_DAYS, TIMEFRAME_MINUTES, Scenario
from crypto.units import iso
from data.sample import WrittenSample, label, step_count, write_sample
from data.store.series import SeriesInfo

Out = Annotated[Path, typer.Option("--out", help="Folder of the lake to make.")]
Seed = Annotated[int, typer.Option("--seed", help="Whole number from 0; the same seed makes the same files.")]
Days = Annotated[int, typer.Option("--days", help=f"Length of the market from 2024-01-01, 1 to {MAX_DAYS} days.")]
Timeframe = Annotated[str, typer.Option("--timeframe", help=f"Length of the bars: {', '.join(TIMEFRAME_MINUTES)}.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an earlier sample in that folder.")]


def register(app: typer.Typer) -> None:
    """Add ``carry sample`` to the command line."""
    app.command("sample")(sample)


def sample(
    out: Out = Path("data/lake"),
    seed: Seed = 1,
    days: Days = 180,
    timeframe: Timeframe = "1h",
    force: Force = False,
    as_json: console.JsonFlag = False,
) -> None:
    """Generate a synthetic market: spot, perpetuals, marks, funding and borrow rates of BTC, ETH and PEPE.

    Volatility clusters, the basis mean-reverts around bull and bear phases, there is one crash and one outage of the
    spot market. Every file is labelled as synthetic.

    Example: carry sample --out sample-lake --seed 7 --days 365
    """
    scenario = Scenario(seed=seed, days=days, timeframe=timeframe)
    with console.progress("Generating", step_count(scenario)) as advance:
        written = write_sample(out, scenario, force=force, progress=lambda _: advance(1))
    console.emit(_payload(written), as_json, lambda: _show(written))


def _payload(written: WrittenSample) -> dict[str, Any]:
    scenario = written.scenario
    return {
        "out": str(written.root),
        "synthetic": True,
        "source": label(scenario),
        "seed": scenario.seed,
        "days": scenario.days,
        "timeframe": scenario.timeframe,
        "start": iso(written.start_ms),
        "end": iso(written.end_ms),
        "crash": iso(written.crash_ms),
        "spot_outage": {"from": iso(written.outage_start_ms), "to": iso(written.outage_end_ms)},
        "series": [_series(info) for info in written.series],
    }


def _series(info: SeriesInfo) -> dict[str, Any]:
    return {
        "instrument": info.key.instrument,
        "series": info.key.series,
        "timeframe": info.key.timeframe,
        "rows": info.rows,
        "first": iso(info.first_ms),
        "last": iso(info.last_ms),
    }


def _show(written: WrittenSample) -> None:
    table = Table()
    table.add_column("instrument")
    table.add_column("series")
    table.add_column("rows", justify="right")
    for info in written.series:
        table.add_row(info.key.instrument, info.key.file_name, f"{info.rows:,}")
    console.out.print(table)
    lines = (
        f"SYNTHETIC market with seed {written.scenario.seed}: no real prices.",
        f"from {iso(written.start_ms)} to {iso(written.end_ms)}",
        f"crash at {iso(written.crash_ms)}",
        f"no spot from {iso(written.outage_start_ms)} to {iso(written.outage_end_ms)}",
        f"written to {written.root}",
    )
    for line in lines:
        console.out.print(Text(line), soft_wrap=True)
