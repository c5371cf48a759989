"""Frames of the funding tables as HTML: words for column names, digits by unit, sorted in the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from research.report.markup import coloured
from research.report.words import DASH, escape, is_number, number, signed

_SIGNED = ("mean_", "forecast_", "net_", "median_percent", "funding_percent", "spread_", "mae_less", "limit_percent")
_DIGITS: Mapping[str, int] = {"phi": 3, "autocorrelation": 3, "correlation": 3, "rate_percent": 4, "limit_percent": 4}


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
    if isinstance(value, int) or name in ("year", "hour_utc"):
        return f"{int(value)}" if name in ("year", "hour_utc") else number(value, 0)
    digits = next((places for start, places in _DIGITS.items() if name.startswith(start)), 2)
    if any(name.startswith(start) for start in _SIGNED):
        return coloured(value, signed(value, digits))
    return number(value, digits)
