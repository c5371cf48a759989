"""Forced events, guards and the liquidation distance in the report."""

from __future__ import annotations

import json
import re

import numpy as np

from research.report.page import render
from tests.unit.report_fixture import HOUR, START, tiny_result

PAIR = {"pair": "BTC binance"}
JOURNAL = (
    {"time_ms": START + HOUR, "event": "guard_tripped", **PAIR, "reason": "liquidation_near", "value": 0.05,
     "limit": 0.08},
    {"time_ms": START + HOUR, "event": "liquidation", **PAIR, "instrument": "binance:linear:BTCUSDT", "lots": 1200,
     "mark_price": 129.5, "price": 131.25, "fee": 5.18},
    {"time_ms": START + 2 * HOUR, "event": "takeover", **PAIR, "instrument": "binance:linear:BTCUSDT",
     "mark_price": 129.5, "value": 12.5},
    {"time_ms": START + 2 * HOUR, "event": "kill_switch", "equity": 800.0, "peak_equity": 1000.0},
)  # fmt: skip


def keys_of_figures(page: str) -> set[str]:
    found = re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return set(json.loads(found[1].replace("\\u003c", "<"))["figures"])


def test_forced_events_and_guards_stand_in_one_table() -> None:
    page = render(tiny_result(journal=JOURNAL))
    section = page[page.index("What the venue and the guards did") :]
    rows = re.findall(r"<tr>(<th scope=\"row\">.*?)</tr>", section[: section.index("</table>")])
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in rows]
    none = "\u2013"
    assert cells[0][:4] == ["2024-01-01 01:00", "guard tripped", "BTC binance", "liquidation near"]
    assert cells[0][4:] == [none, none, none, "0.0500", "0.0800"]
    assert cells[1][1:4] == ["liquidation", "BTC binance", "binance:linear:BTCUSDT"]
    assert cells[1][4:] == ["1,200", "129.5", "131.25", "5.18", none]
    assert cells[2][7] == "12.50"
    assert cells[3][7:] == ["800.00", "1,000.00"]


def test_a_run_without_them_has_no_such_table() -> None:
    assert "What the venue and the guards did" not in render(tiny_result())


def test_names_in_events_are_escaped() -> None:
    entry = {**JOURNAL[0], "pair": "<b>x</b>"}
    assert "<b>x</b>" not in render(tiny_result(journal=(entry,)))


def test_the_distance_is_drawn_only_where_one_is_held() -> None:
    assert "distance" in keys_of_figures(render(tiny_result()))
    nothing = np.full((3, 1), np.nan)
    assert "distance" not in keys_of_figures(render(tiny_result(liquidation_distance=nothing)))
