"""Shipped filters against what the venues themselves reported, where those files are at hand."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from crypto.instruments import Instrument, Kind
from crypto.venues.binance import BINANCE
from crypto.venues.bybit import BYBIT
from tests.conftest import needed

LINEAR = [item for (kind, _), item in BINANCE.instruments.items() if kind is Kind.LINEAR]


@pytest.fixture(scope="module")
def reported(shared_data: Path) -> dict[str, dict[str, Any]]:
    """Symbols of Binance's futures exchangeInfo of 2026-03-31."""
    path = needed(
        shared_data / "exchange-info" / "binance_fapi_exchangeInfo_2026-03-31_lbwnblb.json.gz",
        "exchangeInfo of Binance's futures",
    )
    with gzip.open(path, "rt") as file:
        return {symbol["symbol"]: symbol for symbol in json.load(file)["symbols"]}


@pytest.mark.parametrize("item", LINEAR, ids=lambda item: item.symbol)
def test_binance_linear_filters_equal_exchange_info(item: Instrument, reported: dict[str, dict[str, Any]]) -> None:
    symbol = reported[item.symbol]
    filters = {entry["filterType"]: entry for entry in symbol["filters"]}
    assert symbol["contractType"] == "PERPETUAL"
    assert (symbol["quoteAsset"], symbol["marginAsset"]) == (item.quote, item.settle)
    assert symbol["baseAsset"] == (f"{item.multiplier}{item.base}" if item.multiplier != 1 else item.base)
    assert Decimal(filters["PRICE_FILTER"]["tickSize"]) == item.tick
    assert Decimal(filters["LOT_SIZE"]["stepSize"]) == item.lot
    assert Decimal(filters["LOT_SIZE"]["minQty"]) == item.min_quantity
    assert Decimal(filters["MIN_NOTIONAL"]["notional"]) == item.min_notional
    # Market orders use a filter of their own; one lot size serves both only while they agree.
    assert Decimal(filters["MARKET_LOT_SIZE"]["stepSize"]) == item.lot
    assert Decimal(filters["MARKET_LOT_SIZE"]["minQty"]) == item.min_quantity


@pytest.mark.parametrize("item", LINEAR, ids=lambda item: item.symbol)
def test_binance_settlement_interval_equals_the_spacing_of_funding_rows(item: Instrument, shared_data: Path) -> None:
    path = needed(
        shared_data / "binance-usdm-539sym-gravestone" / "funding_all_symbols.csv.gz",
        "funding of all Binance contracts",
    )
    rows = pd.read_csv(path)
    stamps = rows.loc[rows["symbol"] == item.symbol, "timestamp"].sort_values()
    hours = (stamps.diff().dropna() / 3_600_000).round()
    assert len(hours) >= 100
    assert set(hours) == {item.settlement_interval_hours}


def test_bybit_spot_filters_equal_the_documented_reply(shared_data: Path) -> None:
    path = needed(
        shared_data / "api-doc-examples" / "bybit" / "market__instrument_2.json",
        "example reply of Bybit's spot instruments",
    )
    (symbol,) = json.loads(path.read_text())["result"]["list"]
    item = BYBIT.instruments[Kind.SPOT, symbol["symbol"]]
    assert Decimal(symbol["priceFilter"]["tickSize"]) == item.tick
    assert Decimal(symbol["lotSizeFilter"]["basePrecision"]) == item.lot
    assert Decimal(symbol["lotSizeFilter"]["minOrderAmt"]) == item.min_notional


def test_bybit_linear_filters_equal_the_documented_reply(shared_data: Path) -> None:
    path = needed(
        shared_data / "api-doc-examples" / "bybit" / "market__instrument.json.txt",
        "example reply of Bybit's linear instruments",
    )
    # The page prints several replies with comments between them; the first is the linear one.
    text = path.read_text()
    reply, _ = json.JSONDecoder().raw_decode(text[text.index("{") :])
    (symbol,) = reply["result"]["list"]
    item = BYBIT.instruments[Kind.LINEAR, symbol["symbol"]]
    assert Decimal(symbol["priceFilter"]["tickSize"]) == item.tick
    assert Decimal(symbol["lotSizeFilter"]["qtyStep"]) == item.lot
    assert Decimal(symbol["lotSizeFilter"]["minOrderQty"]) == item.min_quantity
    assert Decimal(symbol["lotSizeFilter"]["minNotionalValue"]) == item.min_notional
    assert symbol["fundingInterval"] == item.settlement_interval_hours * 60
