"""How ``carry funding`` shows a frame: headings with units, digits by unit, notes below."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import out

if TYPE_CHECKING:
    import pandas as pd

    from research.funding.history import FundingHistories
    from research.funding.page import Study

_UNITS = (
    ("_percent_a_year", "%/y"),
    ("_percent_of_hours", "% h"),
    ("_percent_of_settlements", "%"),
    ("_percent", "%"),
    ("_hours_so_far", "h"),
    ("_hours", "h"),
    ("_days", "d"),
    ("_bps", "bps"),
    ("_utc", "UTC"),
)
_WORDS = {
    "intervals_hours": "every h",
    "mean_low95_percent_a_year": "low 95",
    "mean_high95_percent_a_year": "high 95",
    "positive_share_percent_of_hours": "> 0 % h",
    "mae_less_than_last_rate_percent_a_year": "better %/y",
    "mae_less_low95_percent_a_year": "low 95",
    "mae_less_high95_percent_a_year": "high 95",
    "current_run_hours_so_far": "so far h",
    "half_life_low95_hours": "low 95",
    "half_life_high95_hours": "high 95",
    "spot_leg": "spot leg",
}
# Left out on the terminal, where a row has to fit; files and --json have them.
_HIDDEN = {
    "kind", "base", "from_utc", "to_utc", "lowest_rate_percent", "highest_rate_percent", "mean_spread_low95_bps",
    "mean_spread_high95_bps", "spread_p05_bps", "spread_p95_bps", "rmse_percent_a_year", "holding_days",
    "complete_positive_runs", "complete_negative_runs", "window_hours", "flips_a_year",
}  # fmt: skip
_FOUR_DIGITS = re.compile(r"rate_percent|limit_percent|funding_percent")
_THREE_DIGITS = re.compile(r"phi.*|.*correlation.*|weight")


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values for JSON: instants as ISO text, numbers that are not finite are made null by the writer."""
    return [{str(name): _plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _plain(value: Any) -> Any:
    if hasattr(value, "strftime"):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return value


def table_view(
    title: str,
    table: pd.DataFrame,
    histories: FundingHistories,
    rows: int,
    words: Mapping[str, str],
    path: Path | None,
) -> Group:
    """The first ``rows`` of the table with what a reader must know."""
    head = f"{title}: {len(table):,} rows of {len(histories.contracts):,} contracts"
    parts: list[RenderableType] = [Text(head, style="bold")]
    if histories.synthetic:
        parts.append(Text("SYNTHETIC rates: generated, not settled anywhere", style="yellow"))
    parts.append(_grid(table, rows) if len(table) else Text("nothing to show"))
    if len(table) > rows:
        parts.append(Text(f"and {len(table) - rows:,} more rows: --rows, --out or --json", style="dim"))
    parts += [Text(text) for text in words.values()]
    parts += [Text(f"left out {name}: {reason}", style="yellow") for name, reason in histories.skipped]
    if path is not None:
        parts.append(Text(f"written to {path}"))
    return Group(*parts)


def _grid(table: pd.DataFrame, rows: int) -> Group:
    """Columns from the left as far as they fit; the rest is named below."""
    names = [str(name) for name in table.columns if name not in _HIDDEN]
    records = table.head(rows).to_dict("records")
    cells = {name: [cell(name, record[name]) for record in records] for name in names}
    shown = list(names)
    while len(shown) > 1 and _width(_made(table, shown, cells)) > out.width:
        shown.pop()
    grid = _made(table, shown, cells)
    more = [heading(name) for name in names if name not in shown]
    note = [Text(f"not shown here: {', '.join(more)} (a wider terminal, --out or --json)", style="dim")] if more else []
    return Group(grid, *note)


def _width(grid: Table) -> int:
    """Columns of a terminal that the grid takes when there is room for all of it."""
    wide = Console(width=1_000)
    lines = wide.render_lines(grid, wide.options, pad=False)
    return max(sum(segment.cell_length for segment in line) for line in lines)


def _made(table: pd.DataFrame, shown: Sequence[str], cells: Mapping[str, Sequence[str]]) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in shown:
        longest = max(len(text) for text in (*cells[name], *heading(name).split()))
        is_number = table[name].dtype.kind in "if"
        grid.add_column(heading(name), justify="right" if is_number else "left", width=longest)
    for values in zip(*(cells[name] for name in shown), strict=True):
        grid.add_row(*(Text(text, no_wrap=True) for text in values))
    return grid


def heading(name: str) -> str:
    """``break_even_days`` as ``break even d``."""
    if name in _WORDS:
        return _WORDS[name]
    for ending, unit in _UNITS:
        if name.endswith(ending):
            return f"{name.removesuffix(ending).replace('_', ' ')} {unit}"
    return name.replace("_", " ")


def cell(name: str, value: Any) -> str:
    """A value as text: digits by unit, ``never`` for a cost that is never paid."""
    if hasattr(value, "strftime"):
        return str(value.strftime("%Y-%m-%d %H:%M"))
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, int):
        return str(value) if name == "year" else f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):  # missing
        return ""
    if value in (float("inf"), float("-inf")):
        return "never" if name.startswith("break_even") else "inf"
    if _FOUR_DIGITS.fullmatch(name):
        return f"{value:,.4f}"
    if _THREE_DIGITS.fullmatch(name):
        return f"{value:,.3f}"
    return f"{value:,.0f}" if name == "interval_hours" else f"{value:,.2f}"


def report_view(made: Study, folder: Path) -> Group:
    """What the report found, in a few lines, and where it is."""
    screened = made.tables["screen"]
    paying = int((screened["net_percent_a_year"] > 0).sum())
    lines: list[RenderableType] = []
    if made.histories.synthetic:
        lines.append(Text("SYNTHETIC rates: generated, not settled anywhere", style="yellow"))
    lines += [
        Text(f"{len(made.histories.contracts):,} contracts; {paying:,} pay after costs", style="bold"),
        Text(made.survivorship),
        *(Text(f"left out {name}: {reason}", style="yellow") for name, reason in made.histories.skipped),
        Text(f"report: {folder / 'report.html'}"),
        Text(f"tables: {folder} ({len(made.tables)} as CSV and Parquet)"),
    ]
    return Group(*lines)
