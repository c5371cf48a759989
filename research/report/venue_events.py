"""What the venue did by force and what the guards did, as a figure of the liquidation distance and a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from crypto.result import BacktestResult
from research.report.drawing import Figure, finish, pair_line, stacked_layout
from research.report.markup import row, table
from research.report.words import DASH, escape, instant, is_number, lookup, number, plain_words, share

FORCED = ("liquidation", "takeover", "deleveraging")
GUARDS = ("guard_tripped", "guard_released", "kill_switch", "rearmed")
MOST_ROWS = 200


def distance_figure(result: BacktestResult, limit: int) -> Figure | None:
    """Liquidation distance of every pair's account with the guard's limits; None when no position had one."""
    if not np.isfinite(result.liquidation_distance).any():
        return None
    data = [
        pair_line(result.time_ms, result.liquidation_distance[:, pair], name, pair, limit)
        for pair, name in enumerate(result.pair_names)
    ]
    layout = stacked_layout(result.time_ms, [("Adverse move of all marks to maintenance margin", 1.0, ".0%")])
    layout["yaxis"] |= {"rangemode": "tozero"}
    layout["shapes"] = []
    for key in ("min_distance", "restore_distance"):
        level = lookup(result.settings, "risk", key)
        if is_number(level) and level > 0:
            where = {"xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": level, "y1": level}
            stroke = {"width": 1, "dash": "dot", "color": "rgba(140,140,150,0.9)"}
            layout["shapes"].append({"type": "line", **where, "line": stroke})
    nearest = float(np.nanmin(result.liquidation_distance))
    note = "How far the marks may move against the position before the venue liquidates. Dotted: the guard's limits."
    words = f"Line chart of the liquidation distance, at worst {share(nearest)}."
    return finish("distance", "Liquidation distance", note, words, data, layout, 340)


def venue_events_table(result: BacktestResult) -> str:
    """Liquidations, takeovers, deleveragings and changes of guards in order of time; empty when there are none."""
    found = [entry for entry in result.journal if entry["event"] in (*FORCED, *GUARDS)]
    if not found:
        return ""
    rows = [row(instant(entry["time_ms"]), _cells(entry), text_cells=3) for entry in found[:MOST_ROWS]]
    left = len(found) - MOST_ROWS
    foot = [row(f"{left:,} more in journal.jsonl", [""] * 8, kind="total")] if left > 0 else []
    head = ["Time", "Event", "Pair", "Reason or instrument", "Lots", "Mark", "Price", "Value", "Limit"]
    return table("Forced events and guards", head, rows, foot=foot, text_columns=4)


def _cells(entry: Mapping[str, Any]) -> list[str]:
    """Event, pair, reason or instrument; then lots, mark, price, value and limit."""
    about = plain_words(str(entry["reason"])) if "reason" in entry else entry.get("instrument")
    words = [plain_words(str(entry["event"])), entry.get("pair"), about]
    value = entry.get("fee", entry.get("value", entry.get("equity")))
    numbers = [
        number(entry.get("lots"), 0),
        _price(entry.get("mark_price")),
        _price(entry.get("price")),
        number(value, 4 if entry["event"] in GUARDS[:2] else 2),
        number(entry.get("limit", entry.get("peak_equity")), 4 if "limit" in entry else 2),
    ]
    return [escape(word) if word else DASH for word in words] + numbers


def _price(value: Any) -> str:
    return f"{value:,.8g}" if is_number(value) else DASH
