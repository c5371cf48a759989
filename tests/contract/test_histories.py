"""Whole histories from a fake venue with each venue's page rules: every row arrives, once, with its value."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from crypto.errors import RefusedError
from data.credentials import Credentials
from data.sources.completeness import Gap, Reason
from data.sources.job import only_fetch
from data.sources.series import SeriesOptions, Source
from data.store.lake import Lake, SeriesKey
from tests.contract.conftest import Fetch
from tests.contract.fake_venue import DAY, HOUR, T0, FakeVenue, Market, every, price, stamp

REST = SeriesOptions(Source.REST)
NOW = T0 + 390 * DAY


def switching() -> list[tuple[int, str]]:
    """8 h, then 4 h, 1 h and 8 h again, late by up to 20 ms, as venues switch."""
    rows: list[tuple[int, str]] = []
    at = T0
    for interval, count in ((8, 300), (4, 400), (1, 900), (8, 60)):
        for _ in range(count):
            rows.append((at + len(rows) % 21, f"{(len(rows) % 500 - 250) / 1e6:.8f}"))
            at += interval * HOUR
    return [row for row in rows if row[0] < NOW - DAY]


@pytest.mark.parametrize("name", ["binance", "bybit"])
@pytest.mark.parametrize("cap", [10_000, 77])
def test_funding_whose_interval_switches(venue: FakeVenue, fetched: Fetch, lake: Lake, name: str, cap: int) -> None:
    rows = switching()
    venue.markets["BTCUSDT"].settlements = rows
    venue.page_cap = cap
    (outcome,) = fetched(name, "funding", T0 - 30 * DAY, rows[-1][0] + 2 * HOUR, options=REST).series
    assert (outcome.status, outcome.error) == ("complete", None)
    held = lake.read(SeriesKey(name, "linear", "BTCUSDT", "funding"))
    assert held.time_ms.tolist() == [at for at, _ in rows]
    assert held.columns["funding_rate"].tolist() == [float(rate) for _, rate in rows]
    assert (outcome.proof.expected, outcome.proof.got) == (len(rows), len(rows))
    assert outcome.proof.gaps == (Gap(T0 - 30 * DAY, T0, 0, Reason.BEFORE_FIRST),)
    if name == "binance":
        assert held.columns["mark_price"].tolist() == [round(price(at), 2) for at, _ in rows]


def test_binance_asks_from_last_plus_one(venue: FakeVenue, fetched: Fetch) -> None:
    venue.markets["BTCUSDT"].settlements = every(4 * HOUR, T0, 2300, lambda n: n % 19)
    fetched("binance", "funding", T0, options=REST)
    starts = [int(query["startTime"]) for query in venue.asked("fundingRate")]
    ends = [
        at + 1 for number, (at, _) in enumerate(venue.markets["BTCUSDT"].settlements) if number in (999, 1999, 2299)
    ]
    assert starts == [T0, *ends, ends[-1]]  # the empty answer at the end is asked for twice


def test_bybit_asks_backward_by_until(venue: FakeVenue, fetched: Fetch) -> None:
    settlements = every(8 * HOUR, T0, 450)
    venue.markets["BTCUSDT"].settlements = settlements
    fetched("bybit", "funding", T0 - HOUR, T0 + 449 * 8 * HOUR + 1)
    queries = venue.asked("funding/history")
    assert all("startTime" not in query for query in queries)
    assert [int(query["endTime"]) for query in queries] == [
        settlements[449][0], settlements[250][0] - 1, settlements[50][0] - 1, T0 - 1]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "series", "kind", "symbol", "venue_symbol"),
    [
        ("binance", "bars", "spot", "BTCUSDT", "BTCUSDT"),
        ("binance", "bars", "linear", "BTCUSDT", "BTCUSDT"),
        ("binance", "bars", "inverse", "BTCUSD", "BTCUSD"),
        ("binance", "mark", "linear", "BTCUSDT", "BTCUSDT"),
        ("binance", "index", "inverse", "BTCUSD", "BTCUSD"),
        ("bybit", "bars", "spot", "BTCUSDT", "BTCUSDT"),
        ("bybit", "bars", "inverse", "BTCUSDT", "BTCUSDT"),
        ("bybit", "mark", "linear", "BTCUSDT", "BTCUSDT"),
        ("bybit", "index", "linear", "BTCUSDT", "BTCUSDT"),
        ("okx", "mark", "linear", "BTCUSDT", "BTCUSDT"),
        ("okx", "bars", "linear", "BTCUSDT", "BTCUSDT"),
        ("hyperliquid", "bars", "linear", "BTC", "BTC"),
        ("dydx", "bars", "linear", "BTCUSD", "BTCUSD"),
    ],
)
def test_bars_and_prices(
    venue: FakeVenue, fetched: Fetch, lake: Lake, name: str, series: str, kind: str, symbol: str, venue_symbol: str
) -> None:
    hole = (T0 + 20 * HOUR, T0 + 23 * HOUR)
    venue.markets = {venue_symbol: Market(holes=[hole])}
    hours = 700 if name == "okx" else 2500
    (outcome,) = fetched(name, series, T0 - 10 * HOUR, T0 + hours * HOUR, kind=kind, symbols=(symbol,)).series
    assert (outcome.status, outcome.error) == ("complete", None)
    held = lake.read(SeriesKey(name, kind, symbol, series, "1h"))
    expected = [T0 + n * HOUR for n in range(hours) if not 20 <= n < 23]
    assert held.time_ms.tolist() == expected
    assert held.columns["open"].tolist() == [round(price(at), 2) for at in expected]
    assert held.columns["close"].tolist() == [round(price(at + HOUR), 2) for at in expected]
    assert [(gap.rows, gap.reason) for gap in outcome.proof.gaps] == [
        (10, Reason.BEFORE_FIRST), (3, Reason.VENUE_HAS_NONE)]  # fmt: skip
    assert outcome.proof.expected == hours + 10
    if series == "bars":
        # The fake's volume of 7 is in base units; inverse contracts count 7 contracts that are worth 700 or 500.
        base = {("binance", "inverse"): 700.0, ("bybit", "inverse"): 500.0, ("bybit", "spot"): 5.0}
        assert set(held.columns["volume"].tolist()) == {base.get((name, kind), 7.0)}


@pytest.mark.parametrize(("name", "symbol"), [("okx", "BTCUSDT"), ("hyperliquid", "BTC"), ("dydx", "BTCUSD")])
def test_funding_of_the_others(venue: FakeVenue, fetched: Fetch, lake: Lake, name: str, symbol: str) -> None:
    settlements = every(HOUR, T0, 620, lambda n: n * 7 % 300)
    venue.markets = {symbol: Market(settlements=settlements)}
    (outcome,) = fetched(name, "funding", T0 - 5 * DAY, T0 + 40 * DAY, symbols=(symbol,), options=REST).series
    assert outcome.status == "complete"
    held = lake.read(SeriesKey(name, "linear", symbol, "funding"))
    assert held.time_ms.tolist() == [at for at, _ in settlements]
    assert held.columns["funding_rate"].tolist() == [float(rate) for _, rate in settlements]


def test_archive_first_then_rest(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    venue.archive = True
    lo, hi = stamp(2024, 1) + 10 * DAY, stamp(2024, 4) + 3 * DAY
    (outcome,) = fetched("binance", "bars", lo, hi).series
    held = lake.read(SeriesKey("binance", "linear", "BTCUSDT", "bars", "1h"))
    assert held.time_ms.tolist() == list(range(lo, hi, HOUR))
    assert (outcome.tally.archive_files, outcome.status) == (2, "complete")  # February and March
    asked = [(int(query["startTime"]), int(query["endTime"]) + 1) for query in venue.asked("/klines") if query]
    assert asked == [(lo, stamp(2024, 2)), (stamp(2024, 4), hi)]
    names = [file.name for file in held.info.provenance.origins]
    assert names == ["BTCUSDT-1h-2024-02.zip", "BTCUSDT-1h-2024-03.zip"]


def test_an_archive_file_with_a_wrong_checksum_is_not_used(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    venue.archive, venue.bad_checksum = True, True
    (outcome,) = fetched("binance", "bars", stamp(2024, 1), stamp(2024, 3)).series
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "BTCUSDT-1h-2024-01.zip: SHA-256" in outcome.error.message
    assert not lake.has(outcome.key)


def test_a_contract_that_is_not_listed_any_more(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    venue.archive, venue.unlisted = True, {"LUNAUSDT"}
    end = stamp(2024, 3) + 5 * DAY
    venue.markets["LUNAUSDT"] = Market(end_ms=end)
    options = SeriesOptions(Source.ARCHIVE)
    lo, hi = stamp(2023, 12), stamp(2024, 5) + DAY
    (outcome, listed) = fetched("binance", "bars", lo, hi, symbols=("LUNAUSDT", "BTCUSDT"), options=options).series
    assert listed.status == "complete"
    assert len(venue.asked("exchangeInfo")) == 1
    assert (outcome.status, outcome.error, outcome.tally.archive_files) == ("complete", None, 3)
    assert lake.read(outcome.key).time_ms.tolist() == list(range(T0, end, HOUR))
    assert [(gap.lo_ms, gap.hi_ms, gap.reason) for gap in outcome.proof.gaps] == [
        (stamp(2023, 12), T0, Reason.BEFORE_FIRST),
        (end, stamp(2024, 5), Reason.ARCHIVE_HAS_NONE),
    ]
    (nothing,) = fetched("binance", "bars", T0, stamp(2024, 2), symbols=("NOPEUSDT",), options=options).series
    assert nothing.error is not None
    assert "does not list it, and its archive has no month of it" in nothing.error.message


def test_archive_funding_can_be_forced(venue: FakeVenue, fetched: Fetch) -> None:
    venue.archive = True
    venue.markets["BTCUSDT"].settlements = every(8 * HOUR, T0, 1000)
    options = SeriesOptions(Source.ARCHIVE)
    (outcome,) = fetched("binance", "funding", stamp(2024, 1), stamp(2024, 3), options=options).series
    assert (outcome.status, outcome.tally.archive_files, outcome.proof.got) == ("complete", 2, 60 * 3)
    assert venue.asked("fundingRate") == [{}] * 4  # two files, each with its checksum, and no call to REST


@pytest.mark.parametrize("name", ["binance", "bybit"])
def test_borrow_rates(venue: FakeVenue, fetched: Fetch, lake: Lake, name: str) -> None:
    venue.now_ms = None  # signed calls need clocks that agree
    venue.markets["BTCUSDT"].borrow = [(T0 + n * HOUR, f"{0.0001 + n * 1e-7:.8f}") for n in range(70 * 24)]
    keys = Credentials(name, "key", "secret", "test")
    (outcome,) = fetched(
        name, "borrow", T0 - DAY, T0 + 70 * DAY, kind="asset", symbols=("USDT",), credentials=keys
    ).series  # fmt: skip
    assert (outcome.status, outcome.proof.expected) == ("complete", None)
    held = lake.read(SeriesKey(name, "asset", "USDT", "borrow"))
    per_hour = 24 if name == "binance" else 1  # Binance tells a rate per day, Bybit per hour
    expected = [float(rate) / per_hour for _, rate in venue.markets["BTCUSDT"].borrow]
    np.testing.assert_allclose(held.columns["hourly_rate"], expected, rtol=1e-15)
    assert held.time_ms.tolist() == [at for at, _ in venue.markets["BTCUSDT"].borrow]


def test_several_symbols_at_once(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    names = tuple(f"C{n}USDT" for n in range(12))
    venue.markets = {name: Market(settlements=every(8 * HOUR, T0, 100 + n)) for n, name in enumerate(names)}
    outcome = fetched("bybit", "funding", T0, symbols=names)
    assert [entry.proof.got for entry in outcome.series] == [100 + n for n in range(12)]
    assert {key.symbol for key in lake.list()} == set(names)


def test_a_second_fetch_asks_for_nothing_and_a_third_only_for_what_is_new(
    venue: FakeVenue, fetched: Fetch, lake: Lake
) -> None:
    market = venue.markets["BTCUSDT"]
    market.settlements = every(8 * HOUR, T0, 900)
    fetched("binance", "funding", T0, T0 + 200 * DAY, options=REST)
    venue.requests.clear()
    (again,) = fetched("binance", "funding", T0, T0 + 200 * DAY, options=REST).series
    assert (again.status, again.tally.added, venue.asked("fundingRate")) == ("complete", 0, [])
    (more,) = fetched("binance", "funding", T0, T0 + 300 * DAY, options=REST).series
    assert (more.tally.added, more.proof.got) == (300, 900)
    assert min(int(query["startTime"]) for query in venue.asked("fundingRate")) == T0 + 200 * DAY


def test_the_unfinished_bar_is_left_out(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    venue.now_ms = T0 + 10 * HOUR + 1_800_000
    (outcome,) = fetched("binance", "bars", T0).series
    assert lake.read(outcome.key).time_ms.tolist() == [T0 + n * HOUR for n in range(10)]


def test_a_row_that_contradicts_a_held_one(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    venue.markets["BTCUSDT"].settlements = every(8 * HOUR, T0, 30)
    fetched("binance", "funding", T0, T0 + 10 * DAY, options=REST)
    venue.markets["BTCUSDT"].settlements[3] = (T0 + 24 * HOUR, "0.00500000")
    next(Path(lake.root).rglob("linear-BTCUSDT-funding.json")).unlink()
    (refused,) = fetched("binance", "funding", T0, T0 + 10 * DAY, options=REST).series
    assert refused.error is not None
    assert "contradicts the held" in refused.error.message
    (replaced,) = fetched(
        "binance", "funding", T0, T0 + 10 * DAY, options=SeriesOptions(Source.REST, replace=True)
    ).series
    assert (replaced.status, replaced.tally.replaced) == ("complete", 1)
    assert lake.read(replaced.key).columns["funding_rate"][3] == 0.005


def test_one_fetch_per_venue_and_lake(fetched: Fetch, lake: Lake, venue: FakeVenue) -> None:
    venue.markets["BTCUSDT"].settlements = every(8 * HOUR, T0, 3)
    with only_fetch(lake, "binance"):
        with pytest.raises(RefusedError, match="another carry fetch of binance"):
            fetched("binance", "funding", T0, options=REST)
        assert fetched("bybit", "funding", T0, T0 + DAY).series[0].status == "complete"


# --- ccxt's own paginator, on the same venue ------------------------------------------------------------------------


def ccxt_rows(venue: FakeVenue, name: str, **params: object) -> list[int]:
    import ccxt.async_support as exchanges  # noqa: PLC0415 - takes a second, and only these tests need it

    async def run() -> list[int]:
        kind = exchanges.binanceusdm if name == "binance" else exchanges.bybit
        exchange = kind({"enableRateLimit": False, "options": {"fetchMarkets": {"types": ["linear"]}}})
        exchange.timeout_on_exit = 0
        hosts = {key: url for key, url in exchange.urls["api"].items() if isinstance(url, str)}
        paths = {"fapiPublic": "/fapi/v1", "fapiPublicV2": "/fapi/v2", "fapiPublicV3": "/fapi/v3"}
        exchange.urls["api"] = {key: venue.base + paths.get(key, "") for key in hosts}
        market = {
            "id": "BTCUSDT", "symbol": "BTC/USDT:USDT", "base": "BTC", "quote": "USDT", "settle": "USDT",
            "type": "swap",
            "spot": False, "swap": True, "future": False, "option": False, "contract": True, "linear": True,
            "inverse": False, "active": True, "info": {"fundingInterval": "480"}, "precision": {}, "limits": {},
        }  # fmt: skip
        exchange.set_markets([market])
        try:
            rows = await exchange.fetch_funding_rate_history(
                "BTC/USDT:USDT", T0, None, {"paginate": True, "until": NOW, **params}
            )
        finally:
            await exchange.close()
        return [row["timestamp"] for row in rows]

    return asyncio.run(run())


def test_ccxts_paginator_loses_rows_of_binance_and_ours_does_not(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    # 4 h settlements: ccxt steps by 1000 x 8 h, and each call gives at most the first 1000 rows, half of that.
    settlements = every(4 * HOUR, T0, 2300, lambda n: n % 19)
    venue.markets["BTCUSDT"].settlements = settlements
    theirs = ccxt_rows(venue, "binance")
    (ours,) = fetched("binance", "funding", T0, options=REST).series
    lost = {at for at, _ in settlements} - set(theirs)
    assert len(theirs) == 1300  # 1000 of the first 2000, and the last 300
    assert len(lost) == 1000
    assert lake.read(ours.key).time_ms.tolist() == [at for at, _ in settlements]


def test_ccxts_paginator_cuts_off_the_old_end_of_bybit_and_ours_does_not(
    venue: FakeVenue, fetched: Fetch, lake: Lake
) -> None:
    # Ten calls of 200 rows by default; the first rows are missing, without an error.
    settlements = every(HOUR, T0, 4000)
    venue.markets["BTCUSDT"].settlements = settlements
    theirs = ccxt_rows(venue, "bybit")
    (ours,) = fetched("bybit", "funding", T0).series
    assert len(theirs) < len(settlements)
    assert min(theirs) > T0
    assert lake.read(ours.key).time_ms.tolist() == [at for at, _ in settlements]
