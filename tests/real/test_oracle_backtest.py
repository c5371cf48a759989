"""A backtest under the oracle guard on real prices: the crash of 2025-10-10, with a venue that strays and one outage.

Lighter's hourly closes lay 0.43 to 0.98 % off Binance's and Bybit's at four closes of that day, and it has no bar that
closes at 05:00. The statuses are worked out from the file's closes: with three sources the middle one is the median,
two of them lie close together, so the floor of 0.3 % decides, and two used sources are degraded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from crypto.errors import DataError
from crypto.market import MarketHistory
from crypto.result import BacktestResult
from crypto.settings import OracleKind, PriceSource, Settings
from crypto.units import HOUR_MS, parse_iso
from data.store.lake import Lake, Provenance, SeriesKey
from research.backtest import load, run_backtest
from tests.markets import BTC, NO_FEES, events, make_settings

START, END = "2025-10-10T12:00", "2025-10-11T14:00"
SOURCES = ("binance:linear:BTCUSDT", "bybit:linear:BTCUSDT", "lighter:linear:BTCUSDC")
DEGRADED = ("2025-10-10T15:00", "2025-10-10T22:00", "2025-10-11T00:00", "2025-10-11T03:00", "2025-10-11T05:00")
CANDLE = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}


def put(lake: Lake, key: str, rows: pd.DataFrame, times: Any, timeframe: str) -> None:
    venue, kind, symbol = key.split(":")
    columns = {name: rows[name].to_numpy(np.float64) for name in CANDLE} | {"time_ms": times}
    lake.write(SeriesKey(venue, kind, symbol, "bars", timeframe), columns, Provenance("real"))


@pytest.fixture(scope="module")
def lake(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hourly perps and Binance's funding of one collection, Binance's spot of five minutes of another."""
    root = tmp_path_factory.mktemp("oracle_backtest") / "lake"
    lake, folder = Lake(root), shared_data / "multi-venue-1h-0xknxwledge"
    candles = pd.read_parquet(folder / "candles.BTC-ETH-SOL.parquet")
    candles = candles[candles["coin"] == "BTC"].rename(columns={short: name for name, short in CANDLE.items()})
    for key in SOURCES:
        rows = candles[candles["venue"] == key.partition(":")[0]].iloc[:-1]
        put(lake, key, rows, rows["timestamp"].astype("int64").to_numpy() // 1000, "1h")
    rates = pd.read_parquet(folder / "funding_rates.BTC-ETH-SOL.parquet")
    rates = rates[(rates["coin"] == "BTC") & (rates["venue"] == "binance")]
    funding = {
        "time_ms": rates["timestamp"].astype("int64").to_numpy() // 1000,
        "funding_rate": rates["funding_rate"].to_numpy(np.float64),
        "mark_price": np.full(len(rates), np.nan),
    }
    lake.write(SeriesKey("binance", "linear", "BTCUSDT", "funding"), funding, Provenance("real"))
    traded = pd.read_feather(shared_data / "binance-5m-2025-10-harthor" / "spot_BTC_USDT-5m.feather")
    put(lake, BTC[0], traded, traded["date"].dt.as_unit("ms").astype("int64").to_numpy(), "5m")
    return root


def settings_of(lake: Path, warmup_hours: float, **oracle: Any) -> Settings:
    """A pair that wants to open at the first close after its warm-up, whatever it costs."""
    return make_settings(
        [BTC],
        run={"start": START, "end": END},
        data={"lake": str(lake), "valuation_price": PriceSource.LAST},
        funding={"price": PriceSource.LAST},
        fees={"override": NO_FEES},
        signal={"warmup_hours": warmup_hours, "entry_edge_bps": -10_000.0, "flip_annual": -100.0},
        oracle={
            "enabled": True,
            "kind": OracleKind.LAST,
            "sources": {"BTC": SOURCES},
            "quote_rates": {"USDC": 1.0},
            **oracle,
        },
    )


def run(lake: Path, warmup_hours: float, **oracle: Any) -> tuple[MarketHistory, BacktestResult]:
    settings = settings_of(lake, warmup_hours, **oracle)
    history = load(settings)
    return history, run_backtest(settings, history, compiled=False)


def times(result: BacktestResult, event: str) -> list[int]:
    return [entry["time_ms"] for entry in events(result, event)]


def test_the_status_at_every_close_of_the_day(lake: Path) -> None:
    history = load(settings_of(lake, 3.0))
    closes = history.open_ms + HOUR_MS
    expected = np.isin(closes, [parse_iso(text) for text in DEGRADED]).astype(np.int8)
    np.testing.assert_array_equal(history.oracle["BTC"], expected)
    np.testing.assert_array_equal(history.oracle[BTC[1]], expected)  # Binance itself is never 3 % off the composite
    assert not history.synthetic
    assert {f"{key} bars 1h" for key in SOURCES} < history.sources.keys()
    assert "oracle of BTC: 1 USDC = 1 USDT throughout, given by hand" in history.notes


def test_nothing_is_opened_until_three_good_bars_have_passed(lake: Path) -> None:
    """Degraded at 15:00, so free to open at 18:00; a run that does not watch it opens at the first rate, at 16:00."""
    _, free = run(lake, 3.0, enabled=False)
    _, watched = run(lake, 3.0)
    assert times(free, "decision")[0] == parse_iso("2025-10-10T16:00")
    assert times(watched, "guard_tripped")[0] == parse_iso("2025-10-10T15:00")
    assert times(watched, "guard_released")[0] == parse_iso("2025-10-10T18:00")
    refused = [entry for entry in events(watched, "decision") if not entry["approved"]]
    # One entry until the reason changes.
    assert [(entry["time_ms"], entry["reason"]) for entry in refused] == [(parse_iso("2025-10-10T16:00"), "oracle")]
    assert times(watched, "trip_opened")[0] - times(free, "trip_opened")[0] == 2 * HOUR_MS
    assert free.policies["price oracle"] == "off"


def test_a_night_of_bad_bars_holds_the_guard_until_the_morning(lake: Path) -> None:
    """Bad at 22:00, 00:00, 03:00 and 05:00 (the outage), never three good ones between: released at 08:00."""
    _, result = run(lake, 10.0)
    assert times(result, "guard_tripped") == [parse_iso("2025-10-10T15:00"), parse_iso("2025-10-10T22:00")]
    assert times(result, "guard_released") == [parse_iso("2025-10-10T18:00"), parse_iso("2025-10-11T08:00")]
    assert times(result, "trip_opened")[0] >= parse_iso("2025-10-11T08:00")
    assert result.policies["price oracle"] == {
        "policy": "last",
        "BTC ok": 21,
        "BTC degraded": 5,
        "BTC halt": 0,
        f"{BTC[1]} ok": 21,
        f"{BTC[1]} degraded": 5,
        f"{BTC[1]} halt": 0,
    }


def test_an_open_pair_stays_open_while_the_guard_holds(lake: Path) -> None:
    _, result = run(lake, 3.0)
    assert result.trips["is_open"].tolist() == [1]


def test_a_source_that_the_lake_lacks_is_refused(lake: Path) -> None:
    settings = settings_of(lake, 3.0, sources={"BTC": (*SOURCES, "okx:linear:BTCUSDT")})
    with pytest.raises(DataError, match="oracle of BTC: no bars of okx:linear:BTCUSDT of 1h or shorter are held"):
        load(settings)


def test_a_stated_rate_is_needed_for_a_quote_without_spot_series(lake: Path) -> None:
    with pytest.raises(DataError, match="lighter:linear:BTCUSDC bars 1h has no usable price") as caught:
        load(settings_of(lake, 3.0, quote_rates={}))
    assert "oracle.quote_rates.USDC" in caught.value.remedy
