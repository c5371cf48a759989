"""Frames of the funding tables as HTML: words for column names, digits by unit, sorted in the page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from research.report.markup import coloured
from research.report.words import DASH, escape, is_number, number, signed

_SIGNED = re.compile(
    r"(mean_|forecast_|net_|hold_net_|median_|p05_|p95_|spread_p|mae_less_).*(percent_a_year|bps)|mean_spread_.*"
    r"|funding_percent_\d+|limit_percent|(lowest|highest)_rate_percent|mean_error_.*"
)
_DIGITS = (
    (re.compile(r"phi.*|.*correlation.*"), 3),
    (re.compile(r".*_rate_percent|limit_percent"), 4),
    (re.compile(r"half_life.*"), 1),
    (re.compile(r".*_run_hours.*|interval_hours|positive_share.*|holds_apart"), 0),
)


def frame_table(
    caption: str, frame: pd.DataFrame, heads: Mapping[str, str], *, text: Sequence[str] = (), kind: str = "dense"
) -> str:
    """``frame`` as a table with the columns and headings of ``heads``; columns in ``text`` are left-aligned words."""
    head = "".join(
        f'<th scope="col"{" class=text" if name in text else ""}>{escape(title)}</th>' for name, title in heads.items()
    )
    records = frame[list(heads)].to_dict("records")
    rows = "".join(f"<tr>{''.join(_cell(name, row[name], name in text) for name in heads)}</tr>" for row in records)
    empty = f'<tr><td class="text" colspan="{len(heads)}">None</td></tr>' if not records else ""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table class="{kind}">'
        f'<caption class="only-read">{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}{empty}</tbody></table></div>"
    )


def _cell(name: str, value: Any, is_text: bool) -> str:
    if is_text:
        shown = f"{value:%Y-%m-%d}" if isinstance(value, pd.Timestamp) else value
        return f'<td class="text">{escape(shown) or DASH}</td>'
    if isinstance(value, pd.Timestamp):
        return f'<td data-value="{value.timestamp():.0f}">{value:%Y-%m-%d}</td>'
    if isinstance(value, bool):
        return f"<td>{'yes' if value else DASH}</td>"
    order = f"{float(value):.10g}" if is_number(value) else ("1e300" if value == float("inf") else "")
    return f'<td data-value="{order}">{shown_number(name, value)}</td>'


def shown_number(name: str, value: Any) -> str:
    """A number with the digits of its unit; gains and losses in their colours where the sign matters."""
    if value == float("inf"):
        return "never" if name.startswith("break_even") else "\u221e"
    if name == "hour_utc":
        return f"{int(value):02d}:00"
    if isinstance(value, int):
        return number(value, 0)
    digits = next((places for pattern, places in _DIGITS if pattern.fullmatch(name)), 2)
    if _SIGNED.fullmatch(name):
        return coloured(value, signed(value, digits))
    return number(value, digits)
