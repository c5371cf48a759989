"""Files of the bulk archive: layout of names, old and new CSV forms, stamps in two units."""

from __future__ import annotations

import io
import zipfile

import pytest

from crypto.errors import DataError
from data.sources.archive import monthly_files, parse_month
from data.sources.wire.columns import Listing
from tests.contract.fake_venue import stamp

BTC = Listing("binance", "linear", "BTCUSDT", "BTCUSDT", "BTC", "USDT", "USDT", is_trading=True, pair="BTCUSDT")
COIN = Listing("binance", "inverse", "BTCUSD", "BTCUSD_PERP", "BTC", "USD", "BTC", is_trading=True, pair="BTCUSD")
HEADER = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_volume,taker_quote_volume,ignore\n"


def packed(*texts: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for number, text in enumerate(texts):
            archive.writestr(f"{number}.csv", text)
    return content.getvalue()


@pytest.mark.parametrize("header", ["", HEADER])
def test_bars_with_and_without_header(header: str) -> None:
    row = "1577836800000,7189.43,7190.52,7170.15,7171.55,2449.049,1577840399999,17576407.6,3688,996.198,7149370.0,0\n"
    columns = parse_month(packed(header + row), "bars", "linear")
    assert {name: values.tolist() for name, values in columns.items()} == {
        "time_ms": [1_577_836_800_000], "open": [7189.43], "high": [7190.52], "low": [7170.15], "close": [7171.55],
        "volume": [2449.049],
    }  # fmt: skip
    assert parse_month(packed(header + row), "bars", "inverse")["volume"].tolist() == [17576407.6]
    assert "volume" not in parse_month(packed(header + row), "mark", "linear")


def test_spot_stamps_in_microseconds() -> None:
    row = "1735689600000000,93576.0,94509.42,93489.03,94401.14,755.99,1735693199999999,1,2,3,4,0\n"
    assert parse_month(packed(row), "bars", "spot")["time_ms"].tolist() == [1_735_689_600_000]


def test_funding() -> None:
    text = "calc_time,funding_interval_hours,last_funding_rate\n1704067200000,8,0.00037409\n1704096000009,8,-0.0001\n"
    columns = parse_month(packed(text), "funding", "linear")
    assert columns["time_ms"].tolist() == [1_704_067_200_000, 1_704_096_000_009]
    assert columns["funding_rate"].tolist() == [0.00037409, -0.0001]
    assert "mark_price" not in columns


def test_only_whole_months_of_the_range() -> None:
    files = list(monthly_files("B", BTC, "bars", "1h", stamp(2023, 11) + 1, stamp(2024, 3) + 5))
    assert [(file.url, file.lo_ms, file.hi_ms) for file in files] == [
        (f"B/futures/um/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-{month}.zip", lo, hi)
        for month, lo, hi in (
            ("2023-12", stamp(2023, 12), stamp(2024, 1)),
            ("2024-01", stamp(2024, 1), stamp(2024, 2)),
            ("2024-02", stamp(2024, 2), stamp(2024, 3)),
        )
    ]


@pytest.mark.parametrize(
    ("listing", "series", "url"),
    [
        (BTC, "mark", "B/futures/um/monthly/markPriceKlines/BTCUSDT/1h/BTCUSDT-1h-2024-01.zip"),
        (BTC, "index", "B/futures/um/monthly/indexPriceKlines/BTCUSDT/1h/BTCUSDT-1h-2024-01.zip"),
        (BTC, "funding", "B/futures/um/monthly/fundingRate/BTCUSDT/BTCUSDT-fundingRate-2024-01.zip"),
        (COIN, "bars", "B/futures/cm/monthly/klines/BTCUSD_PERP/1h/BTCUSD_PERP-1h-2024-01.zip"),
        (COIN, "index", "B/futures/cm/monthly/indexPriceKlines/BTCUSD/1h/BTCUSD-1h-2024-01.zip"),
    ],
)
def test_where_files_lie(listing: Listing, series: str, url: str) -> None:
    (file,) = monthly_files("B", listing, series, "1h", stamp(2024, 1), stamp(2024, 2))
    assert file.url == url


def test_a_zip_of_two_files_is_refused() -> None:
    with pytest.raises(DataError, match="holds 2 files"):
        parse_month(packed("1", "2"), "bars", "linear")
