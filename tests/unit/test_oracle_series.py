"""The oracle rebuilt from a lake: which series it takes, ages, conversions, and reading a feed's snapshot."""

from __future__ import annotations

import json
import math
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto.errors import DataError, UsageError
from crypto.oracle import evaluate
from crypto.oracle_composite import MAJORS, Status, Verdict
from data.contract_terms import ContractTerms, contract_terms, split_symbol
from data.oracle_series import OracleRequest, assets, rebuild, status_at
from data.oracle_snapshot import SnapshotRequest, parse_snapshot, read_snapshot
from data.store.lake import Lake, Provenance, SeriesKey

T0 = 1_704_067_200_000  # 2024-01-01
HOUR = 3_600_000


def put(
    lake: Lake,
    key: str,
    closes: list[float],
    *,
    series: str = "bars",
    volume: list[float] | None = None,
    start: int = 0,
) -> None:
    """Hourly bars whose k-th closes at T0 + (start + k + 1) hours; NaN leaves a bar out."""
    venue, kind, symbol = key.split(":")
    prices = np.array(closes)
    held = ~np.isnan(prices)
    columns: dict[str, Any] = {"time_ms": (T0 + (start + np.arange(len(prices))) * HOUR)[held]}
    columns |= dict.fromkeys(("open", "high", "low", "close"), prices[held])
    if series == "bars":
        columns["volume"] = np.ones(held.sum()) if volume is None else np.array(volume)[held]
    lake.write(SeriesKey(venue, kind, symbol, series, "1h"), columns, Provenance("by hand"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    put(lake, "binance:spot:BTCUSDT", [100.0, 101.0, 102.0, 103.0])
    put(lake, "bybit:spot:BTCUSDT", [100.1, 101.1, math.nan, 103.1])
    put(lake, "okx:spot:BTCUSDT", [100.2, 101.2, 102.2, 150.0])
    return lake


def test_value_and_status_at_each_close(lake: Lake) -> None:
    found = rebuild(lake, OracleRequest("BTC"))
    assert list((found.close_ms - T0) // HOUR) == [1, 2, 3, 4]
    # Weights 3, 2, 2 of 7: the middle one. Third close: bybit has no bar, two are left and count the same.
    # Fourth: okx is 45 % off.
    np.testing.assert_allclose(found.arrays.value, [100.1, 101.1, 102.1, 103.05], rtol=1e-14)
    assert [Status(code).name for code in found.arrays.status] == ["OK", "OK", "DEGRADED", "DEGRADED"]
    assert [source.key.venue for source in found.sources] == ["binance", "bybit", "okx"]
    assert Verdict(found.arrays.verdict[2, 1]) is Verdict.STALE
    assert Verdict(found.arrays.verdict[3, 2]) is Verdict.OUTLIER


def test_an_older_price_counts_only_when_its_age_is_allowed(lake: Lake) -> None:
    found = rebuild(lake, OracleRequest("BTC", max_age_ms=HOUR))
    assert found.arrays.value[2] == pytest.approx(102.0)  # bybit's 101.1 of an hour ago, binance, okx: the middle one
    assert found.arrays.oldest_ms[2] == HOUR
    assert found.arrays.used[2] == 3
    assert found.arrays.status[2] == Status.DEGRADED  # 101.1 and 102.2 lie 1.08 % apart


def test_a_bar_without_trades_is_no_new_price(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    for venue in ("binance", "bybit"):
        put(lake, f"{venue}:spot:BTCUSDT", [100.0, 100.0])
    put(lake, "okx:spot:BTCUSDT", [100.0, 100.0], volume=[1.0, 0.0])
    found = rebuild(lake, OracleRequest("BTC"))
    assert [Verdict(code).name for code in found.arrays.verdict[:, 2]] == ["USED", "STALE"]


def test_nothing_of_the_future_is_seen(lake: Lake) -> None:
    whole = rebuild(lake, OracleRequest("BTC"))
    cut = rebuild(lake, OracleRequest("BTC"), "2024-01-01T00:00", "2024-01-01T02:00")
    np.testing.assert_array_equal(cut.arrays.value, whole.arrays.value[:2])
    for venue in ("binance", "bybit", "okx"):
        put(lake, f"{venue}:spot:BTCUSDT", [100.0, 101.0, 999.0, 999.0])
    changed = rebuild(lake, OracleRequest("BTC"), "2024-01-01T00:00", "2024-01-01T01:00")
    assert changed.arrays.value[0] == 100.0


def test_one_series_per_venue_in_the_common_quote_first(lake: Lake) -> None:
    put(lake, "binance:spot:BTCUSDC", [500.0] * 4)
    found = rebuild(lake, OracleRequest("BTC"))
    assert [str(source.key) for source in found.sources if source.key.venue == "binance"] == [
        "binance:spot:BTCUSDT bars 1h"
    ]


def test_other_quotes_are_converted_by_the_lakes_spot_series(lake: Lake) -> None:
    put(lake, "kraken:spot:XBTUSD", [102.0, math.nan, math.nan, 105.0])
    put(lake, "coinbase:spot:BTCUSDC", [99.0] * 4)
    put(lake, "kraken:spot:USDTUSD", [1.02, 1.02, 1.02, 1.0])  # turned over: a dollar is 1 / 1.02 USDT
    found = rebuild(lake, OracleRequest("BTC"))
    by_venue = {source.key.venue: source for source in found.sources}
    assert by_venue["kraken"].terms == ContractTerms("BTC", "USD", 1.0)
    assert by_venue["kraken"].price[0] * by_venue["kraken"].quote_rate[0] == pytest.approx(100.0)
    assert Verdict(found.arrays.verdict[0, list(by_venue).index("kraken")]) is Verdict.USED
    assert Verdict(found.arrays.verdict[0, list(by_venue).index("coinbase")]) is Verdict.NO_QUOTE_RATE
    assert "no USDC/USDT spot series is held, so prices in USDC are rejected" in found.notes
    assert "USD converted to USDT by kraken:spot:USDTUSD" in found.notes
    stated = rebuild(lake, OracleRequest("BTC", quote_rates={"USDC": 1.01}))
    assert Verdict(stated.arrays.verdict[0, list(by_venue).index("coinbase")]) is Verdict.USED
    assert any("1 USDC = 1.01 USDT throughout, given by hand" in note for note in stated.notes)


def test_marks_are_per_base_unit_and_never_replaced_by_trades(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    put(lake, "binance:linear:1000PEPEUSDT", [0.01], series="mark")
    put(lake, "bybit:linear:1000PEPEUSDT", [0.01], series="mark")
    put(lake, "hyperliquid:linear:kPEPEUSDT", [0.01], series="mark")
    put(lake, "okx:linear:PEPEUSDT", [0.00001], series="bars")
    found = rebuild(lake, OracleRequest("PEPE", "mark"))
    assert [source.key.venue for source in found.sources] == ["binance", "bybit", "hyperliquid"]
    assert found.arrays.value[0] == pytest.approx(1e-5)
    assert [source.key.venue for source in rebuild(lake, OracleRequest("PEPE", "last")).sources] == ["okx"]


def test_the_reading_of_an_instant_says_the_same_as_the_series(lake: Lake) -> None:
    found = rebuild(lake, OracleRequest("BTC", rules=MAJORS._replace(recovery_ms=0)))
    for row in range(len(found.close_ms)):
        reading = found.reading(row)
        assert (reading.value, reading.status) == (found.arrays.value[row], found.arrays.status[row])
        assert [item.verdict for item in reading.sources] == [Verdict(code) for code in found.arrays.verdict[row]]


def test_status_at_instants_the_series_does_not_have_is_a_halt(lake: Lake) -> None:
    found = rebuild(lake, OracleRequest("BTC"))
    asked = np.array([T0, T0 + HOUR, T0 + HOUR + 1, T0 + 9 * HOUR])
    value, status = status_at(found, asked)
    assert [Status(int(code)).name for code in status] == ["HALT", "OK", "HALT", "HALT"]
    np.testing.assert_array_equal(np.isnan(value), [True, False, True, True])


def test_what_is_not_held_is_named(lake: Lake) -> None:
    with pytest.raises(DataError, match=r"no venue of the lake has DOGE .*spot bars of 1h") as caught:
        rebuild(lake, OracleRequest("DOGE"))
    assert "BTC" in caught.value.remedy
    with pytest.raises(UsageError, match="--venue kraken: no bars of BTC"):
        rebuild(lake, OracleRequest("BTC", venues=("kraken",)))
    with pytest.raises(UsageError, match="--kind median is unknown"):
        OracleRequest("BTC", "median")
    with pytest.raises(DataError, match="no 1h bar of BTC closes after 2025-01-01"):
        rebuild(lake, OracleRequest("BTC"), "2025-01-01", "2025-01-02")


def test_assets_of_a_lake(lake: Lake) -> None:
    put(lake, "binance:linear:ETHUSDT", [1.0])
    assert assets(lake.list(), "index") == {"BTC": {"binance", "bybit", "okx"}}
    assert assets(lake.list(), "last") == {"ETH": {"binance"}}


@pytest.mark.parametrize(
    ("symbol", "terms"),
    [
        ("BTCUSDT", ("BTC", "USDT", 1.0)),
        ("XBTUSD", ("BTC", "USD", 1.0)),
        ("BTCFDUSD", ("BTC", "FDUSD", 1.0)),
        ("1000PEPEUSDT", ("PEPE", "USDT", 1000.0)),
        ("1000000BOBUSDT", ("BOB", "USDT", 1e6)),
        ("1MBABYDOGEUSDT", ("BABYDOGE", "USDT", 1e6)),
        ("kPEPEUSDC", ("PEPE", "USDC", 1000.0)),
        ("SHIB1000USDT", ("SHIB", "USDT", 1000.0)),
        ("1INCHUSDT", ("1INCH", "USDT", 1.0)),
        ("KASUSDT", ("KAS", "USDT", 1.0)),
        ("USDT", None),
        ("BTC", None),
    ],
)
def test_symbols_tell_base_quote_and_multiplier(symbol: str, terms: tuple[str, str, float] | None) -> None:
    assert split_symbol(symbol) == (None if terms is None else ContractTerms(*terms))


def test_shipped_contracts_come_from_the_venues_table() -> None:
    assert contract_terms("binance", "linear", "1000SHIBUSDT") == ContractTerms("SHIB", "USDT", 1000.0)
    # An inverse contract is worth 100 dollars, but its price is for one bitcoin.
    assert contract_terms("binance", "inverse", "BTCUSD") == ContractTerms("BTC", "USD", 1.0)


# --- snapshots ----------------------------------------------------------------------------------------------------


def field(value: float | None, age_ms: int | None = 5, *, stale: bool = False) -> dict[str, Any]:
    """A field as ``carry feed`` describes it."""
    return {"value": value, "event_ms": T0, "received_ms": T0, "age_ms": age_ms, "stale": stale}


def book(bid: float | None, ask: float | None, age_ms: int | None = 5, *, stale: bool = False) -> dict[str, Any]:
    fields = {"bid": field(bid, age_ms, stale=stale), "ask": field(ask, age_ms, stale=stale)}
    return {"stale": stale, "late": False, "fields": fields, "settled": None}


def perp(mark: float | None, **kwargs: Any) -> dict[str, Any]:
    fields = {"mark": field(mark, **kwargs), "index": field(1.0)}
    return {"stale": False, "late": False, "fields": fields, "settled": None}


SNAPSHOT = {
    "time_ms": T0,
    "instruments": {
        "binance:spot:BTCUSDT": book(99.9, 100.1, 20),
        "binance:spot:BTCUSDC": book(1.0, 1.1),
        "bybit:spot:BTCUSDT": book(100.1, 99.9),
        "okx:spot:BTCUSDT": book(99.9, 100.1, stale=True),
        "kraken:spot:XBTUSD": book(None, 100.1, None),
        "kraken:spot:USDTUSD": book(0.9999, 1.0001),
        "bybit:spot:USDCUSDT": book(0.9998, 1.0),
        "okx:spot:USDCUSDT": book(0.5, 0.6, stale=True),
        "binance:linear:1000PEPEUSDT": perp(0.01),
        "hyperliquid:linear:kPEPEUSDC": perp(None),
        "binance:spot:STRANGE": book(1.0, 1.1),
    },
}


def parsed(content: object, kind: str = "index") -> Any:
    request = SnapshotRequest(kind, "USDT", {"binance": 3.0}, lambda _: 0.005)
    return parse_snapshot(json.dumps(content).encode(), "feed.json", request, MAJORS)


def test_books_of_a_snapshot_make_the_index() -> None:
    found = parsed(SNAPSHOT)
    assert found.time_ms == T0
    by_venue = {source.name: source for source in found.sources["BTC"]}
    binance = by_venue["binance"]  # the one in the common quote, not BTCUSDC
    assert (binance.price, binance.quote, binance.age_ms, binance.weight) == (100.0, "USDT", 20.0, 3.0)
    assert by_venue["bybit"].bad_book  # crossed
    assert by_venue["okx"].age_ms == math.inf
    assert math.isnan(by_venue["kraken"].price)
    assert not by_venue["kraken"].bad_book  # one side is not known: no price, which is not a bad book
    reading = evaluate(found.sources["BTC"], found.quote_rates, "USDT")
    assert {name: verdict.name for name, verdict in reading.rejected.items()} == {
        "bybit": "BAD_BOOK",
        "okx": "STALE",
        "kraken": "NO_PRICE",
    }


def test_conversions_come_from_the_snapshots_fresh_books() -> None:
    found = parsed(SNAPSHOT)
    assert found.quote_rates["USDC"] == pytest.approx(0.9999)  # okx's stale book is left out
    assert found.quote_rates["USD"] == pytest.approx(1.0, abs=1e-8)


def test_books_of_a_conversion_that_contradict_each_other_give_no_rate() -> None:
    """Two USDC books at 1.0 and 0.1: their middle, 0.55, would put three venues in USDC 45 % off, and agreeing."""
    instruments = {f"{venue}:spot:BTCUSDC": book(99.9, 100.1) for venue in ("a", "b", "c")}
    instruments |= {"a:spot:USDCUSDT": book(0.9999, 1.0001), "b:spot:USDCUSDT": book(0.09999, 0.10001)}
    found = parsed({"time_ms": T0, "instruments": instruments})
    assert "USDC" not in found.quote_rates
    reading = evaluate(found.sources["BTC"], found.quote_rates, "USDT")
    assert reading.status is Status.HALT
    assert {verdict.name for verdict in reading.rejected.values()} == {"NO_QUOTE_RATE"}
    # A third book decides: the one that is off goes, and the depegged rate 0.88 of the two others is used.
    instruments |= {"a:spot:USDCUSDT": book(0.8799, 0.8801), "c:spot:USDCUSDT": book(0.8799, 0.8801)}
    found = parsed({"time_ms": T0, "instruments": instruments})
    assert found.quote_rates["USDC"] == pytest.approx(0.88)
    assert evaluate(found.sources["BTC"], found.quote_rates, "USDT").value == pytest.approx(88.0)


def test_marks_of_a_snapshot_are_per_base_unit() -> None:
    pepe = {source.name: source for source in parsed(SNAPSHOT, "mark").sources["PEPE"]}
    assert (pepe["binance"].price, pepe["binance"].quote) == (1e-5, "USDT")
    assert math.isnan(pepe["hyperliquid"].price)
    assert pepe["hyperliquid"].quote == "USDC"
    with pytest.raises(UsageError, match="--kind last"):
        parsed(SNAPSHOT, "last")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "no object 'instruments'"),
        (b'{"error": "x"}', "no object 'instruments'"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"time_ms": ' + b"9" * 5_000 + b"}", "is not JSON"),
        (
            b'{"time_ms": 1, "instruments": {"a:linear:BTCUSDT": {"fields": {"mark": {"value": '
            + b"9" * 400
            + b"}}}}}",
            "mark value is too large",
        ),
        (b'{"instruments": {}}', "time_ms = None is not an instant"),
        (b'{"time_ms": true, "instruments": {}}', "time_ms = True is not an instant"),
        (b'{"time_ms": NaN, "instruments": {}}', "time_ms = nan is not an instant"),
        (b'{"time_ms": Infinity, "instruments": {}}', "time_ms = inf is not an instant"),
        (b'{"time_ms": 1e300, "instruments": {}}', "is not an instant"),
        (b'{"time_ms": -1, "instruments": {}}', "time_ms = -1 is not an instant"),
        (b'{"time_ms": 1, "instruments": {"BTC": {}}}', "'BTC' is not of the form"),
        (b'{"time_ms": 1, "instruments": {"a:spot:BTCUSDT": 3}}', "a:spot:BTCUSDT has no object 'fields'"),
        (b'{"time_ms": 1, "instruments": {"a:spot:BTCUSDT": {"fields": {"bid": 3}}}}', "bid is not an object"),
        (
            b'{"time_ms": 1, "instruments": {"a:linear:BTCUSDT": {"fields": {"mark": {"value": "3"}}}}}',
            "mark value = '3' is not a number",
        ),
    ],
)
def test_a_malformed_snapshot_is_refused_by_name(content: bytes, words: str) -> None:
    request = SnapshotRequest("index", "USDT", {}, lambda _: 0.005)
    with pytest.raises(DataError, match=words):
        parse_snapshot(content, "feed.json", request, MAJORS)


def test_a_snapshot_comes_from_a_file_or_from_the_feeds_socket(tmp_path: Path) -> None:
    content = json.dumps(SNAPSHOT).encode() + b"\n"
    (tmp_path / "feed.json").write_bytes(content)
    assert read_snapshot(tmp_path / "feed.json") == content
    path = tmp_path / "s"
    asked = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(1000))
                connection.sendall(content)

        thread = threading.Thread(target=answer)
        thread.start()
        assert read_snapshot(path) == content
        thread.join()
    assert asked == [b'{"get": "snapshot"}\n']
    with pytest.raises(DataError, match="cannot be read"):
        read_snapshot(tmp_path / "absent.json")
