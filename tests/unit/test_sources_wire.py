"""Parsers of venues' answers: recorded and documented payloads, wrong types, broken bytes."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.sources.wire import binance, bybit, dydx, hyperliquid, okx
from data.sources.wire.columns import Tier, split_multiple

PARSERS: list[Callable[[bytes], Any]] = [
    binance.bars, binance.coin_bars, binance.prices, binance.funding, binance.borrow, binance.tiers,
    binance.server_time,
    bybit.bars, bybit.inverse_bars, bybit.prices, bybit.funding, bybit.borrow, bybit.tiers, bybit.server_time,
    okx.spot_bars, okx.swap_bars, okx.prices, okx.funding, okx.server_time,
    hyperliquid.bars, hyperliquid.funding, hyperliquid.server_time,
    dydx.bars, dydx.funding, dydx.server_time,
    *(lambda content, of=module: of.listings(content, "linear") for module in (binance, bybit, okx, hyperliquid, dydx)),
]  # fmt: skip


def plain(columns: Any) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in columns.items()}


def test_binance_funding_as_documented() -> None:
    content = b"""[
     {"symbol": "BTCUSDT", "fundingRate": "-0.03750000", "fundingTime": 1570608000000, "markPrice": "34287.54619963"},
     {"symbol": "BTCUSDT", "fundingRate": "0.00010000", "fundingTime": 1570636800003, "markPrice": ""}]"""
    columns = plain(binance.funding(content))
    assert columns["time_ms"] == [1_570_608_000_000, 1_570_636_800_003]
    assert columns["funding_rate"] == [-0.0375, 0.0001]
    assert columns["mark_price"][0] == 34287.54619963
    assert math.isnan(columns["mark_price"][1])


def test_binance_bars_count_base_units() -> None:
    row = '[1499040000000,"0.01","0.8","0.015","0.02","148976.1",1499644799999,"2434.2",308,"1756.9","28.5","0"]'
    content = f"[{row}]".encode()
    assert plain(binance.bars(content))["volume"] == [148976.1]
    assert plain(binance.coin_bars(content))["volume"] == [2434.2]
    assert "volume" not in binance.prices(content)


def test_binance_borrow_is_per_hour() -> None:
    content = b'[{"asset":"BTC","dailyInterestRate":"0.00024000","timestamp":1694736000000,"vipLevel":0}]'
    assert plain(binance.borrow(content)) == {"time_ms": [1_694_736_000_000], "hourly_rate": [0.00001]}


def test_binance_tiers_of_coin_margined_contracts_are_in_coin() -> None:
    bracket = {"bracket": 1, "initialLeverage": 125, "qtyCap": 50, "qtyFloor": 0, "maintMarginRatio": 0.004, "cum": 0.0}
    content = json.dumps([{"symbol": "BTCUSD_PERP", "notionalCoef": 1.5, "brackets": [bracket]}]).encode()
    assert binance.tiers(content) == ({"BTCUSD_PERP": [Tier(0.0, 50.0, 0.004, 125.0, 0.0)]}, "")


def test_bybit_is_turned_around() -> None:
    rows = [["1670608800000", "17071", "17073", "17027", "17055.5", "268611", "15.74462667"],
            ["1670605200000", "17071.5", "17071.5", "17061", "17071", "4177", "0.24469757"]]  # fmt: skip
    content = json.dumps({"retCode": 0, "result": {"symbol": "BTCUSD", "list": rows}, "time": 1}).encode()
    columns = plain(bybit.bars(content))
    assert columns["time_ms"] == [1_670_605_200_000, 1_670_608_800_000]
    assert columns["close"] == [17071.0, 17055.5]
    assert plain(bybit.inverse_bars(content))["volume"] == [0.24469757, 15.74462667]


@pytest.mark.parametrize(
    ("maintenance", "initial", "leverage", "rate"),
    [("0.0033", "0.0067", "150.00", 0.0033), ("0.5", "1", "100.00", 0.005), ("0.005", "0.01", "100", 0.005)],
)
def test_bybit_tier_rates_are_fractions_or_per_cent(maintenance: str, initial: str, leverage: str, rate: float) -> None:
    row = {"id": 1, "symbol": "BTCUSD", "riskLimitValue": "150", "maintenanceMargin": maintenance,
           "initialMargin": initial, "isLowestRisk": 1, "maxLeverage": leverage, "mmDeduction": ""}  # fmt: skip
    ((tier,),) = bybit.tiers(json.dumps({"result": {"list": [row]}}).encode())[0].values()
    assert tier == Tier(0.0, 150.0, pytest.approx(rate, rel=1e-12), float(leverage), None)


def test_bybit_tier_rates_that_are_neither_are_refused() -> None:
    row = {"symbol": "A", "riskLimitValue": "1", "maintenanceMargin": "1", "initialMargin": "5", "maxLeverage": "7"}
    with pytest.raises(msgspec.ValidationError, match="neither fractions nor per cent"):
        bybit.tiers(json.dumps({"result": {"list": [row]}}).encode())


def test_okx_pays_the_realised_rate() -> None:
    row = {"fundingTime": "1703059200000", "fundingRate": "0.0001515032", "realizedRate": "0.00015", "instId": "X"}
    content = json.dumps({"code": "0", "data": [row], "msg": ""}).encode()
    assert plain(okx.funding(content)) == {"time_ms": [1_703_059_200_000], "funding_rate": [0.00015]}


def test_okx_swap_volume_is_in_coin() -> None:
    row = ["1597026383085", "3.7", "3.8", "3.6", "3.75", "8422410", "22698.348", "12698348.04", "1"]
    content = json.dumps({"code": "0", "data": [row]}).encode()
    assert plain(okx.swap_bars(content))["volume"] == [22698.348]
    assert plain(okx.spot_bars(content))["volume"] == [8_422_410.0]


def test_hyperliquid_rows_without_a_premium() -> None:
    content = b'[{"coin":"BTC","fundingRate":"0.0000033","time":1769916000079}]'
    assert plain(hyperliquid.funding(content)) == {"time_ms": [1_769_916_000_079], "funding_rate": [3.3e-6]}


def test_dydx_keeps_the_oracle_price() -> None:
    row = {"ticker": "BTC-USD", "rate": "0.0000125", "price": "90000.5", "effectiveAt": "2025-12-08T16:00:00.219Z"}
    columns = plain(dydx.funding(json.dumps({"historicalFunding": [row]}).encode()))
    assert columns == {"time_ms": [1_765_209_600_219], "funding_rate": [1.25e-5], "mark_price": [90000.5]}


@pytest.mark.parametrize(
    ("base", "coin", "units"),
    [("1000PEPE", "PEPE", 1000), ("1MBABYDOGE", "BABYDOGE", 1_000_000), ("1000000MOG", "MOG", 1_000_000),
     ("SHIB1000", "SHIB", 1000), ("1INCH", "1INCH", 1), ("BTC", "BTC", 1), ("10000LADYS", "LADYS", 10_000),
     ("C98", "C98", 1), ("1000X", "X", 1000)],
)  # fmt: skip
def test_multiples_of_coins(base: str, coin: str, units: int) -> None:
    assert split_multiple(base) == (coin, Decimal(units))


# --- broken answers -----------------------------------------------------------------------------------------------


@given(st.sampled_from(range(len(PARSERS))), st.binary(max_size=200))
def test_random_bytes_are_an_error_of_decoding_or_nothing(number: int, content: bytes) -> None:
    try:
        PARSERS[number](content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return


@given(
    st.sampled_from(range(len(PARSERS))),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["symbol", "list", "result", "data", "fundingTime", "symbols", "brackets", "time"]),
                inner,
            )
        ),
        max_leaves=12,
    ),
)
def test_any_json_is_an_error_of_decoding_or_rows(number: int, value: Any) -> None:
    try:
        PARSERS[number](json.dumps(value).encode())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return


def test_every_cut_of_an_answer_is_an_error() -> None:
    whole = b'[{"symbol":"BTCUSDT","fundingRate":"0.0001","fundingTime":1570636800003,"markPrice":"3.5"}]'
    for length in range(len(whole)):
        with pytest.raises(msgspec.DecodeError):
            binance.funding(whole[:length])


@pytest.mark.parametrize(
    "wrong",
    [
        '{"msg":"x"}',
        '[{"fundingRate":null,"fundingTime":1}]',
        '[{"fundingRate":"a","fundingTime":1}]',
        '[{"fundingRate":"1","fundingTime":"soon"}]',
        '[{"fundingRate":true,"fundingTime":1}]',
    ],
)
def test_wrong_types_are_named(wrong: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"Expected|missing required|Invalid"):
        binance.funding(wrong.encode())


# --- recorded payloads --------------------------------------------------------------------------------------------


def test_recorded_answers_of_bybit(shared_data: Path) -> None:
    folder = shared_data / "api-fixtures-nautilus" / "bybit"
    funding = plain(bybit.funding((folder / "http_get_funding_history.json").read_bytes()))
    assert funding == {"time_ms": [1_709_856_000_000, 1_709_884_800_000], "funding_rate": [0.00015, 0.0001]}
    bars = plain(bybit.bars((folder / "http_get_klines_linear.json").read_bytes()))
    assert bars["close"] == [27455.0]
    for name, kind in (
        ("linear", "linear"),
        ("linear_symbol_type", "linear"),
        ("inverse", "inverse"),
        ("spot", "spot"),
    ):
        content = (folder / f"http_get_instruments_{name}.json").read_bytes()
        listed, _ = bybit.listings(content, kind)
        assert [entry.venue_id for entry in listed] == [row["symbol"] for row in json.loads(content)["result"]["list"]]
    (stock,) = bybit.listings((folder / "http_get_instruments_linear_symbol_type.json").read_bytes(), "linear")[0]
    assert (stock.tick, stock.lot, stock.min_quantity, stock.min_notional) == (
        Decimal("0.01"), Decimal("0.001"), Decimal("0.001"), Decimal(1))  # fmt: skip


def test_recorded_answers_of_hyperliquid(shared_data: Path) -> None:
    folder = shared_data / "api-fixtures-nautilus" / "hyperliquid"
    funding = plain(hyperliquid.funding((folder / "http_funding_history.json").read_bytes()))
    assert funding["funding_rate"] == [0.0000125, -0.0000081, 0.0000033]
    listed, _ = hyperliquid.listings((folder / "http_meta_perp_sample.json").read_bytes(), "linear")
    assert [entry.symbol for entry in listed] == ["BTC", "ETH", "ATOM"]


@pytest.mark.parametrize(
    ("name", "parse", "rows"),
    [("binance/usdm__public__get_fapi_v1_fundingrate", binance.funding, 2),
     ("binance/usdm__public__get_fapi_v1_klines", binance.bars, 1),
     ("binance/spot__public__get_api_v3_klines", binance.bars, 1),
     ("binance/usdm__public__get_fapi_v1_premiumindexklines", binance.prices, 1),
     ("bybit/market__kline", bybit.bars, 3), ("bybit/market__mark-kline", bybit.prices, 1),
     ("bybit/market__index-kline", bybit.prices, 2), ("bybit/market__history-fund-rate", bybit.funding, 1),
     ("bybit/spot-margin-uta__historical-interest", bybit.borrow, 4)],
)  # fmt: skip
def test_documented_examples(shared_data: Path, name: str, parse: Callable[[bytes], Any], rows: int) -> None:
    columns = parse((shared_data / "api-doc-examples" / f"{name}.json").read_bytes())
    assert len(columns["time_ms"]) == rows


def test_every_symbol_of_a_recorded_exchange_info(shared_data: Path) -> None:
    (path,) = (shared_data / "exchange-info").glob("*.gz")
    content = gzip.decompress(path.read_bytes())
    listed, _ = binance.listings(content, "linear")
    raw = {row["symbol"]: row for row in json.loads(content)["symbols"]}
    assert {entry.venue_id for entry in listed} == set(raw)
    for entry in listed:
        filters = {row["filterType"]: row for row in raw[entry.venue_id]["filters"]}
        assert entry.tick == Decimal(filters["PRICE_FILTER"]["tickSize"])
        assert entry.lot == Decimal(filters["LOT_SIZE"]["stepSize"])
        assert entry.min_notional == Decimal(filters["MIN_NOTIONAL"]["notional"])
        assert entry.multiplier * 1 in (1, 1000, 10_000, 1_000_000)
    pepe = next(entry for entry in listed if entry.symbol == "1000PEPEUSDT")
    assert (pepe.base, pepe.multiplier) == ("PEPE", 1000)
