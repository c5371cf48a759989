"""What is written into Lean's data folder, character by character: numbers, rows, names, symbol properties, hours."""

from __future__ import annotations

import io
import json
import zipfile
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from crypto.errors import DataError, RefusedError
from crypto.instruments import Kind
from crypto.settings import InstrumentSettings
from crypto.venues.registry import instrument
from data.lean_folder.archives import packed, unpacked
from data.lean_folder.hours import hours_text
from data.lean_folder.layout import (
    Place,
    borrow_asset,
    borrow_ticker,
    check_valued_rightly,
    new_markets,
    place_of,
    split_market,
    ticker,
)
from data.lean_folder.lines import bar_rows, days_of, rate_rows, read_bars, read_rates
from data.lean_folder.plain_numbers import is_readable, plain, plain_texts
from data.lean_folder.properties import HEADER, price_row, properties_row, properties_text, read_properties
from data.store.rows import Columns, Origin
from data.store.series import SeriesKey
from tests.lean_reader import lean_decimal

T0 = 1_670_889_600_000  # 2022-12-13 00:00 UTC
HOUR = 3_600_000
MINUTE = 60_000
ORIGIN = Origin("series")


def bars(count: int, step: int, start: int = T0) -> Columns:
    times = start + np.arange(count, dtype=np.int64) * step
    close = np.arange(count) + 1.5
    return {"time_ms": times, "open": close, "high": close + 1, "low": close / 2, "close": close, "volume": close * 0}


# --- numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    # inputs and outcomes of a real engine: lean-measured.md K.1, lean-traces/text-traps.json
    [
        ("8.4e-7", "8.9277"),
        ("8.4E-07", "8.60707"),
        ("1e-05", "62705"),
        ("nan", "6752"),
        (".0001", "0.0001"),
        ("-.0001", "-0.0001"),
        (" 0.0001", "0.0001"),
        ("", "0"),
    ],
)
def test_the_reader_of_the_tests_reads_as_lean_did(text: str, value: str) -> None:
    assert lean_decimal(text) == Fraction(Decimal(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (8.4e-7, "0.00000084"),
        (1e-05, "0.00001"),
        (-2.5e-9, "-0.0000000025"),
        (0.1, "0.1"),
        (0.30000000000000004, "0.30000000000000004"),
        (1.0, "1"),
        (-0.0, "-0"),
        (1e15, "1000000000000000"),
        (123456789012345680.0, "123456789012345680"),
        (12143174.0, "12143174"),
    ],
)
def test_plain_numbers_have_no_exponent_and_no_needless_digit(value: float, text: str) -> None:
    assert plain(value) == text
    assert plain_texts(np.array([value]), "x", ORIGIN).to_pylist() == [text]
    assert lean_decimal(text) == Fraction(Decimal(text))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_no_number_has_no_text(value: float) -> None:
    with pytest.raises(ValueError, match="no decimal form"):
        plain(value)


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ("9223372036854775807", True),
        ("9223372036854775808", False),
        ("-0.9223372036854775807", True),
        ("0." + "0" * 27 + "1", True),
        ("0." + "0" * 28 + "1", False),
    ],
)
def test_what_leans_reader_can_hold(text: str, readable: bool) -> None:
    assert is_readable(text) is readable
    if readable:
        assert lean_decimal(text) == Fraction(Decimal(text))


def test_a_number_that_lean_would_wrap_around_is_refused_by_row() -> None:
    with pytest.raises(DataError, match=r"series, row 2: volume 10000000000000000000000 has more digits"):
        plain_texts(np.array([1.0, 1e22]), "volume", ORIGIN)
    with pytest.raises(DataError, match="row 1: rate 0.0000"):
        plain_texts(np.array([5e-324]), "rate", ORIGIN)


# --- rows ---------------------------------------------------------------------------------------------------------


def test_hour_and_daily_rows_carry_the_bars_open() -> None:
    block = bar_rows(bars(2, HOUR), "hour", ORIGIN)
    assert block.bytes_of(0, 2) == b"20221213 00:00,1.5,2.5,0.75,1.5,0\n20221213 01:00,2.5,3.5,1.25,2.5,0\n"
    assert block.bytes_of(1, 2) == b"20221213 01:00,2.5,3.5,1.25,2.5,0\n"
    assert block.bytes_of(1, 1) == b""
    daily = bar_rows(bars(1, 24 * HOUR), "daily", ORIGIN)
    assert daily.bytes_of(0, 1) == b"20221213 00:00,1.5,2.5,0.75,1.5,0\n"


def test_minute_rows_carry_milliseconds_since_midnight() -> None:
    block = bar_rows(bars(2, MINUTE, T0 + 24 * HOUR - MINUTE), "minute", ORIGIN)
    assert block.bytes_of(0, 2) == b"86340000,1.5,2.5,0.75,1.5,0\n0,2.5,3.5,1.25,2.5,0\n"


def test_prices_without_volume_get_a_volume_of_zero() -> None:
    columns = bars(1, HOUR)
    columns["close"] = np.array([8e-9])
    columns.pop("volume")
    assert bar_rows(columns, "hour", ORIGIN).bytes_of(0, 1) == b"20221213 00:00,1.5,2.5,0.75,0.000000008,0\n"


def test_rate_rows_carry_seconds() -> None:
    block = rate_rows(np.array([T0 + 8 * HOUR]), np.array([-0.00001869]), "rate", ORIGIN)
    assert block.bytes_of(0, 1) == b"20221213 08:00:00,-0.00001869\n"  # the sample row of lean.md 2.1


def test_days_are_cut_at_midnight_utc() -> None:
    times = np.array([T0 - MINUTE, T0, T0 + HOUR, T0 + 72 * HOUR])
    assert days_of(times) == [("20221212", 0, 1), ("20221213", 1, 3), ("20221216", 3, 4)]


def test_rows_of_leans_own_sample_are_read() -> None:
    rows = read_bars(b"20221213 00:00,0.3067,0.3073,0.3054,0.3056,12143174\r\n20221213 01:00,1,2,.5,1,0", "f")
    assert rows["time_ms"].tolist() == [T0, T0 + HOUR]
    assert [rows[name].tolist() for name in ("open", "low", "volume")] == [[0.3067, 1], [0.3054, 0.5], [12143174, 0]]
    minute = read_bars(b"60000,1,2,.5,1,0\n", "f", "20221213")
    assert minute["time_ms"].tolist() == [T0 + MINUTE]
    rates = read_rates(b"20221213 08:00:00, -.0001\n", "f", "funding_rate")
    assert rates["time_ms"].tolist() == [T0 + 8 * HOUR]
    assert rates["funding_rate"].tolist() == [-0.0001]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"20221213 00:00:00,1\n20221213 08:00:00,8.4e-7\n", "f.csv, row 2: '20221213 08:00:00,8.4e-7'"),
        (b"20221213 00:00:00,nan\n", "row 1"),
        (b"time,rate\n20221213 00:00:00,1\n", "row 1: 'time,rate'"),
        (b"20221213 00:00:00,+1\n", "row 1"),
        (b"20221213 00:00,1\n", "f.csv: Failed to parse string: '20221213 00:00'"),
        (b"20221213 00:00:00,1,2\n", "Expected 2 columns, got 3"),
        (b"20221213 00:00:00,\n", "invalid value ''"),
        (b"", "f.csv holds no rows"),
    ],
)
def test_rows_that_lean_would_misread_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match="f.csv") as caught:
        read_rates(content, "f.csv", "rate")
    assert message in caught.value.message


# --- zip files ----------------------------------------------------------------------------------------------------


def test_equal_texts_give_equal_zip_files_with_one_entry() -> None:
    content = packed("btcusdt.csv", b"text\n")
    assert content == packed("btcusdt.csv", b"text\n")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["btcusdt.csv"]
        assert archive.infolist()[0].compress_type == zipfile.ZIP_DEFLATED
        assert archive.read("btcusdt.csv") == b"text\n"


def test_a_zip_file_of_another_shape_is_named() -> None:
    assert unpacked(Path("a.zip"), packed("other.csv", b"x"), "wanted.csv") == b"x"
    both = io.BytesIO()
    with zipfile.ZipFile(both, "w") as archive:
        archive.writestr("one.csv", "1")
        archive.writestr("two.csv", "2")
    assert unpacked(Path("a.zip"), both.getvalue(), "two.csv") == b"2"
    with pytest.raises(DataError, match=r"a.zip holds one.csv, two.csv, but not three.csv"):
        unpacked(Path("a.zip"), both.getvalue(), "three.csv")
    with pytest.raises(DataError, match=r"a.zip is damaged"):
        unpacked(Path("a.zip"), packed("a", b"x" * 1000)[:40], "a")
    broken = bytearray(packed("a", b"x" * 1000))
    broken[35] ^= 0xFF
    with pytest.raises(DataError, match=r"a.zip is damaged"):
        unpacked(Path("a.zip"), bytes(broken), "a")


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "day", "path", "entry"),
    # Lean's own sample files, lean.md 10.1
    [
        (
            Place("cryptofuture", "binance", "ADAUSDT", "minute"),
            "20221213",
            "cryptofuture/binance/minute/adausdt/20221213_trade.zip",
            "20221213_adausdt_minute_trade_perp.csv",
        ),
        (
            Place("cryptofuture", "binance", "ADAUSDT", "hour"),
            "",
            "cryptofuture/binance/hour/adausdt_trade.zip",
            "adausdt_trade_perp.csv",
        ),
        (Place("crypto", "binance", "BTCUSDT", "hour"), "", "crypto/binance/hour/btcusdt_trade.zip", "btcusdt.csv"),
        (Place("crypto", "binance", "BTCUSDT", "daily"), "", "crypto/binance/daily/btcusdt_trade.zip", "btcusdt.csv"),
        (
            Place("crypto", "bybit", "BTCUSDT", "minute"),
            "20221213",
            "crypto/bybit/minute/btcusdt/20221213_trade.zip",
            "20221213_btcusdt_minute_trade.csv",
        ),
    ],
)
def test_paths_are_leans(place: Place, day: str, path: str, entry: str) -> None:
    assert place.bars_path(day) == path
    assert place.entry_name(day) == entry


@pytest.mark.parametrize(
    ("key", "quote", "path"),
    [
        (SeriesKey("binance", "linear", "BTCUSDT", "funding"), "USDT", "binance/margin_interest/btcusdt.csv"),
        (SeriesKey("binance", "inverse", "BTCUSD_PERP", "funding"), "USD", "binance/margin_interest/btcusd.csv"),
        (SeriesKey("binance", "asset", "BTC", "borrow"), "USDT", "binanceborrow/margin_interest/btcusdt.csv"),
        (SeriesKey("binance", "asset", "USDT", "borrow"), "USDC", "binanceborrow/margin_interest/usdtusdc.csv"),
    ],
)
def test_rates_stand_in_files_of_margin_interest(key: SeriesKey, quote: str, path: str) -> None:
    assert place_of(key, quote).rate_path == f"cryptofuture/{path}"


@pytest.mark.parametrize("series", ["mark", "index", "oracle"])
def test_prices_get_a_market_of_their_own(series: str) -> None:
    place = place_of(SeriesKey("bybit", "linear", "1000PEPEUSDT", series, "1h"), "USDT")
    assert place.bars_path() == f"cryptofuture/bybit{series}/hour/1000pepeusdt_trade.zip"
    assert split_market(place.market) == ("bybit", series)


def test_a_bar_length_that_lean_lacks_is_refused() -> None:
    with pytest.raises(DataError, match="Lean has no 5m bars, only 1m, 1h, 1d"):
        place_of(SeriesKey("binance", "spot", "BTCUSDT", "bars", "5m"), "USDT")


def test_tickers_hold_base_and_quote() -> None:
    assert ticker("BTCUSDT", "USDT") == "BTCUSDT"
    assert ticker("BTCUSD_PERP", "USD") == "BTCUSD"
    assert ticker("BTC", "USDC") == "BTCUSDC"
    assert ticker("kPEPE", "USDC") == "KPEPEUSDC"
    assert [borrow_asset(borrow_ticker(asset)) for asset in ("BTC", "USDT", "USDC")] == ["BTC", "USDT", "USDC"]


def test_new_markets_have_identifiers_that_lean_has_not_taken() -> None:
    markets = new_markets(["bybit", "hyperliquid", "bybit"])
    assert set(markets) == {
        "bybitmark", "bybitindex", "bybitoracle", "bybitborrow", "hyperliquid", "hyperliquidmark",
        "hyperliquidindex", "hyperliquidoracle", "hyperliquidborrow",
    }  # fmt: skip
    assert len(set(markets.values())) == len(markets)
    assert min(markets.values()) > 43  # the last identifier of Lean's own table
    assert max(markets.values()) < 1000
    assert markets == new_markets(["hyperliquid", "bybit"])


# --- symbol properties and market hours ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "row"),
    [
        (
            "binance:linear:BTCUSDT",
            "binance,BTCUSDT,cryptofuture,binance:linear:BTCUSDT,USDT,1,0.1,0.0001,BTCUSDT,100",
        ),
        (
            "binance:linear:1000PEPEUSDT",
            "binance,1000PEPEUSDT,cryptofuture,binance:linear:1000PEPEUSDT,USDT,1,0.0000001,1,1000PEPEUSDT,5",
        ),
        ("binance:inverse:BTCUSD", "binance,BTCUSD,cryptofuture,binance:inverse:BTCUSD,USD,100,0.1,1,BTCUSD_PERP,"),
        ("binance:spot:BTCUSDT", "binance,BTCUSDT,crypto,binance:spot:BTCUSDT,USDT,1,0.01,0.00001,BTCUSDT,5"),
        ("bybit:linear:BTCUSDT", "bybit,BTCUSDT,cryptofuture,bybit:linear:BTCUSDT,USDT,1,0.1,0.001,BTCUSDT,0.001"),
    ],
)
def test_symbol_properties_have_our_filters(key: str, row: str) -> None:
    # Binance's column is a notional, Bybit's a quantity (lean.md 5.1); the filters are those of the venues' tables.
    assert properties_row(instrument(key, {})) == row


@pytest.mark.parametrize(("symbol", "base", "quote"), [("ETHBTC", "ETH", "BTC"), ("BTCUSD1", "BTC", "USD1")])
def test_contracts_that_lean_takes_for_inverse_are_refused(symbol: str, base: str, quote: str) -> None:
    one = Decimal(1)
    override = InstrumentSettings(base, quote, one, one, one, one)
    found = instrument(f"binance:linear:{symbol}", {f"binance:linear:{symbol}": override})
    assert found.kind is Kind.LINEAR
    with pytest.raises(RefusedError, match="value it wrongly"):
        check_valued_rightly(found)
    assert symbol not in properties_text([found, instrument("binance:spot:BTCUSDT", {})], [])


def test_leans_own_symbols_are_kept_behind_ours_and_prices_come_last(tmp_path: Path) -> None:
    lean = (
        f"{HEADER}\n\n# comment\nbinance,BTCUSDT,cryptofuture,BTCUSDT,USDT,1,0.1,0.001,BTCUSDT\n"
        "kraken,BTCUSD,crypto,BTCUSD,USD,1,0.1,0.1,XBTUSD\n"
    )
    mark = price_row(Place("cryptofuture", "binancemark", "BTCUSDT"), "USDT", "mark")
    text = properties_text([instrument("binance:linear:BTCUSDT", {})], [mark], lean)
    assert text.splitlines()[0] == HEADER
    assert [line.split(",")[0] for line in text.splitlines()[1:]] == ["binance", "kraken", "binancemark"]
    path = tmp_path / "symbol-properties" / "symbol-properties-database.csv"
    path.parent.mkdir()
    path.write_text(text)
    assert read_properties(tmp_path)["binance", "BTCUSDT", "cryptofuture"][7] == "0.0001"
    with pytest.raises(DataError, match="too few columns"):
        properties_text([], [], f"{HEADER}\nbinance,BTCUSDT,crypto\n")


def test_market_hours_are_always_open_and_us_equities_are_there() -> None:
    entries = json.loads(hours_text([("crypto", "binance"), ("cryptofuture", "binancemark")]))["entries"]
    assert set(entries) == {"Equity-usa-[*]", "Crypto-binance-[*]", "CryptoFuture-binancemark-[*]"}
    always = entries["CryptoFuture-binancemark-[*]"]
    assert always["dataTimeZone"] == always["exchangeTimeZone"] == "UTC"
    assert always["sunday"] == [{"start": "00:00:00", "end": "1.00:00:00", "state": "market"}]
    assert entries["Equity-usa-[*]"]["saturday"] == []
    kept = json.loads(hours_text([("crypto", "bybit")], '{"entries": {"Forex-oanda-[*]": {"holidays": []}}}'))
    assert set(kept["entries"]) == {"Forex-oanda-[*]", "Crypto-bybit-[*]"}
    with pytest.raises(DataError, match="not the JSON expected"):
        hours_text([], "[]")
