"""A small Lean data folder of the recorded synthetic market, written with the product's own row and zip functions."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from crypto.venues.registry import instrument
from data.lean_folder import layout, lines
from data.lean_folder.archives import packed
from data.lean_folder.properties import price_row, properties_text
from data.store.rows import Columns, Origin

MARKET = Path(__file__).parents[1] / "lean_stock" / "synthetic"
SPOT, PERP = "binance:spot:BTCUSDT", "binance:linear:BTCUSDT"
PERP_PLACE = layout.Place(layout.CRYPTO_FUTURE, "binance", "BTCUSDT", "hour")
SPOT_PLACE = layout.Place(layout.CRYPTO, "binance", "BTCUSDT", "hour")
MARK_PLACE = layout.Place(layout.CRYPTO_FUTURE, "binancemark", "BTCUSDT", "hour")


def columns(name: str) -> Columns:
    """Columns of one of the recorded input files."""
    with (MARKET / f"{name}.csv").open(newline="") as source:
        rows = list(csv.DictReader(source))
    return {key: np.array([int(row[key]) if key == "time_ms" else float(row[key]) for row in rows]) for key in rows[0]}


def write(path: Path, content: bytes) -> None:
    """A file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_bars(root: Path, place: layout.Place, rows: Columns) -> None:
    """A zip of hour bars."""
    block = lines.bar_rows(rows, place.resolution, Origin(place.ticker))
    write(root / place.bars_path(), packed(place.entry_name(), block.bytes_of(0, block.rows)))


def write_rates(root: Path, place: layout.Place, rows: Columns, column: str) -> None:
    """A rate file."""
    block = lines.rate_rows(rows["time_ms"], rows[column], column, Origin(place.ticker))
    write(root / place.rate_path, block.bytes_of(0, block.rows))


def write_folder(
    root: Path, given: Mapping[str, Columns] | None = None, venue: str = "binance", perp_key: str = PERP
) -> Path:
    """The whole folder, of the recorded input files or of ``given`` columns of spot, perp, mark and funding."""
    rows = given or {name: columns(name) for name in ("spot", "perp", "mark", "funding")}
    traded = instrument(perp_key.replace("binance", venue), {})
    ticker = layout.ticker(traded.symbol, traded.quote)
    spot, perp = replace(SPOT_PLACE, market=venue), replace(PERP_PLACE, market=venue, ticker=ticker)
    mark = replace(MARK_PLACE, market=f"{venue}mark", ticker=ticker)
    write_bars(root, spot, rows["spot"])
    write_bars(root, perp, rows["perp"])
    write_bars(root, mark, rows["mark"])
    write_rates(root, perp, rows["funding"], "funding_rate")
    listed = [instrument(SPOT.replace("binance", venue), {}), traded]
    text = properties_text(listed, [price_row(mark, traded.quote, "mark prices")])
    write(root / layout.SYMBOL_PROPERTIES, text.encode())
    return root
