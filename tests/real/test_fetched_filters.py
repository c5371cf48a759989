"""A recorded exchangeInfo as the file that backtests read: each contract that trades, the shipped table's values."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from crypto.instruments import Kind
from crypto.units import parse_iso
from crypto.venues import registry
from crypto.venues.binance import BINANCE
from data.instruments_file import read_instruments
from data.sources.filters import write_markets
from data.sources.listings import Found
from data.sources.wire import binance
from data.store.lake import Lake


def test_filters_of_a_recorded_exchange_info(shared_data: Path, tmp_path: Path) -> None:
    (path,) = (shared_data / "exchange-info").glob("*.gz")
    content = gzip.decompress(path.read_bytes())
    raw = json.loads(content)["symbols"]
    listed, _ = binance.listings(content, "linear")
    outcome = write_markets(Found(listed), "binance", "linear", parse_iso("2026-03-31"), Lake(tmp_path))
    trading = {
        row["symbol"] for row in raw if row["status"] == "TRADING" and "PERPETUAL" in row["contractType"]
    }  # fmt: skip
    assert {key.rpartition(":")[2] for key in outcome.written} | set(outcome.left_out) == {row["symbol"] for row in raw}
    assert {key.rpartition(":")[2] for key in outcome.written} == trading
    assert set(outcome.left_out.values()) <= {"a dated contract", "does not trade"}
    tables = read_instruments(outcome.path, set(outcome.written))
    assert len(tables) == len(trading)
    assert tables["binance:linear:TUSDT"]["min_quantity"] == "1"  # the record says 0, with lots of 1
    # The shipped table was made of the same record by hand: base, multiplier and every filter have to agree.
    for (kind, symbol), shipped in BINANCE.instruments.items():
        if kind is Kind.LINEAR:
            table = tables[f"binance:linear:{symbol}"]
            assert (table["base"], table["quote"]) == (shipped.base, shipped.quote)
            for name in ("tick", "lot", "min_quantity", "min_notional", "multiplier"):
                assert str(table[name]) == f"{getattr(shipped, name).normalize():f}", (symbol, name)
    assert registry.venue("binance") is BINANCE
