"""Binance's brackets at two dates: they load through the product's reader, obey the recurrence, match what ships."""

from __future__ import annotations

import gzip
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto.units import parse_iso
from crypto.venues.tiers_binance import BINANCE_TIERS
from data.tiers import load_tiers

FILES = {
    "2024-10-24": ("binance_leverage_tiers_2024-10-24_freqtrade.json.gz", 349, 2_805),
    "2026-05-07": ("binance_leverage_tiers_2026-05-07_roshan7869.json.gz", 719, 5_915),
}


def listed(path: Path) -> dict[str, list[dict[str, Any]]]:
    with gzip.open(path) as file:
        content: dict[str, list[dict[str, Any]]] = json.load(file)
    return content


@pytest.mark.parametrize("date", FILES, ids=lambda date: f"L14-{date}")
def test_every_published_deduction_follows_the_recurrence(shared_data: Path, date: str) -> None:
    name, contracts, tiers = FILES[date]
    path = shared_data / "leverage-tiers" / name
    book = load_tiers(path, "binance", date)
    content = listed(path)
    assert len(book.keys) == len(content) == contracts
    checked = mismatches = 0
    for symbol, rows in content.items():
        pair, _, expiry = symbol.partition("-")
        key = "binance:linear:" + pair.split(":", maxsplit=1)[0].replace("/", "") + (f"_{expiry}" if expiry else "")
        table = book.as_of(key, parse_iso(date))
        cumulated = Fraction(0)
        previous = Fraction(0)
        for number, row in enumerate(rows):
            rate = Fraction(str(row["maintenanceMarginRate"]))
            cumulated += Fraction(str(row["minNotional"])) * (rate - previous)
            previous = rate
            checked += 1
            published = float(row["info"]["cum"])
            # Published to the cent at most; the built one is exact but for the last bits.
            mismatches += abs(published - float(cumulated)) > 1e-6 * max(1.0, published)
            mismatches += abs(table.deduction[number] - float(cumulated)) > 1e-9 * max(1.0, published)
    assert (checked, mismatches) == (tiers, 0)


@pytest.mark.parametrize("date", FILES)
def test_shipped_tables_are_what_the_files_say(shared_data: Path, date: str) -> None:
    book = load_tiers(shared_data / "leverage-tiers" / FILES[date][0], "binance", date)
    shipped = [table for table in BINANCE_TIERS.tables() if table.effective_ms == parse_iso(date)]
    assert len(shipped) == 7
    for table in shipped:
        (given,) = book.history(table.key)
        for column in ("floor", "cap", "rate", "deduction", "max_leverage"):
            assert np.allclose(getattr(table, column), getattr(given, column), rtol=1e-12, atol=0), table.key
