"""What Lean recorded, and the same markets for the embedded engine."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crypto.ledger import Flow
from crypto.market import Bars, Floats, InstrumentHistory, MarketHistory, Settlements
from crypto.result import BacktestResult
from crypto.settings import Settings
from crypto.units import HOUR_MS, parse_iso
from data.settings import load_settings

CONFIG = Path(__file__).parents[2] / "config" / "lean-stock.toml"
SYNTHETIC = Path(__file__).parent / "synthetic"  # recorded on a generated market: ORIGIN.md
SPOT, PERP = "binance:spot:BTCUSDT", "binance:linear:BTCUSDT"


def stock_settings(*changes: str) -> Settings:
    """The preset of Lean's stock conventions with ``section.key=value`` changes."""
    return load_settings(CONFIG, list(changes))


def document(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _columns(name: str) -> dict[str, Floats]:
    with (SYNTHETIC / f"{name}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {column: np.array([float(row[column]) for row in rows]) for column in rows[0]}


def synthetic_market(start: str, end: str) -> MarketHistory:
    """The generated market of the recordings, bars that open in [start, end), settlements in (start, end]."""
    first, last = parse_iso(start), parse_iso(end)
    bars: dict[str, Bars] = {}
    open_ms = np.arange(first, last, HOUR_MS, dtype=np.int64)
    for name in ("spot", "perp", "mark"):
        columns = _columns(name)
        chosen = (columns["time_ms"] >= first) & (columns["time_ms"] < last)
        assert columns["time_ms"][chosen].astype(np.int64).tolist() == open_ms.tolist()
        bars[name] = Bars(*(columns[key][chosen] for key in ("open", "high", "low", "close", "volume")))
    rows = _columns("funding")
    chosen = (rows["time_ms"] > first) & (rows["time_ms"] <= last)
    time_ms = rows["time_ms"][chosen].astype(np.int64)
    due = Settlements(time_ms, rows["funding_rate"][chosen], np.full(time_ms.size, np.nan), np.full(time_ms.size, 8.0))
    histories = (InstrumentHistory(SPOT, bars["spot"]), InstrumentHistory(PERP, bars["perp"], bars["mark"], due))
    return MarketHistory(HOUR_MS, open_ms, histories, data_hash="generated", synthetic=True)


@dataclass(frozen=True)
class Fill:
    """One fill as both engines report it; quantity is what arrived, the fee counts in account currency."""

    time_ms: int
    leg: str
    quantity: float
    price: float
    fee: float


def recorded_fills(events: list[list[Any]]) -> list[Fill]:
    """Fills of a recorded list of order events."""
    return [
        Fill(parse_iso(time), leg, quantity, price, fee * (price if currency == "BTC" else 1.0))
        for time, _, leg, status, quantity, price, fee, currency in events
        if status == "FILLED"
    ]


def engine_fills(result: BacktestResult) -> list[Fill]:
    """Fills of a run, from the one fee row that each of them has."""
    return list(_engine_fills(result))


def _engine_fills(result: BacktestResult) -> Iterator[Fill]:
    account = result.settings["run"]["account_currency"]
    for row in result.ledger[result.ledger["flow"] == int(Flow.FEE)]:
        in_base = result.asset_names[row["asset"]] != account
        taken = float(row["amount"]) if in_base else 0.0
        leg = "spot" if row["leg"] % 2 == 0 else "perp"
        yield Fill(int(row["time_ms"]), leg, float(row["quantity"]) + taken, float(row["price"]), -float(row["value"]))


def balance_after(result: BacktestResult, asset: str) -> dict[int, float]:
    """Balance of an asset after the last flow of each time, over all wallets."""
    rows = result.ledger[result.ledger["asset"] == result.asset_names.index(asset)]
    return dict(zip(rows["time_ms"].tolist(), np.cumsum(rows["amount"]).tolist(), strict=True))
