"""Real market data through the product's own commands: yearly funding sums, a figure, and nine facts about the data.

The nine facts are those that any implementation must survive; what concerns the engine is shown here as the data
layer hands it over. Expected values stand in the notes that were made of the files when they were collected.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cli import app
from crypto.errors import DataError
from crypto.market import InstrumentHistory, MarketHistory, Settlements
from crypto.units import iso, parse_iso
from data.market import load_market
from data.quality import CheckOptions, Report, check_lake
from data.store.lake import Lake, SeriesKey

HOUR = 3_600_000
TOLERANCE_MS = 60_000

# Sum of all settlements per year, per cent of notional.
YEARLY_FUNDING = {
    "binance:linear:BTCUSDT": {2019: 2.31, 2020: 17.24, 2021: 30.61, 2022: 4.16, 2023: 7.87,
                               2024: 11.96, 2025: 5.13, 2026: 0.12},
    "binance:linear:ETHUSDT": {2020: 27.49, 2021: 37.54, 2022: 0.79, 2023: 8.26, 2024: 13.00, 2025: 4.93, 2026: -0.06},
    "binance:linear:XRPUSDT": {2020: 24.30, 2021: 48.14, 2022: 0.01, 2023: 8.20, 2024: 14.23, 2025: 3.53, 2026: -0.69},
    "binance:linear:SOLUSDT": {2024: 13.66, 2025: 0.35, 2026: -1.37},
    "bybit:linear:BTCUSDT": {2024: 12.02, 2025: 5.12, 2026: 0.29},
    "bybit:linear:ETHUSDT": {2024: 12.50, 2025: 4.83, 2026: 0.31},
    "bybit:linear:SOLUSDT": {2024: 14.05, 2025: 1.94, 2026: -0.15},
}  # fmt: skip


def carry(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """Run the command line and return what it printed with ``--json``."""
    code = app.run([*map(str, arguments), "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert code == 0, printed
    return printed


@pytest.fixture(scope="module", autouse=True)
def _only_data_commands() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:  # the other commands take seconds to load
        patch.setattr(app, "COMMAND_MODULES", ("cli.ingest", "cli.data"))
        yield


@pytest.fixture(scope="module")
def lake(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The real files that this module uses, ingested by the command line."""
    lake = Lake(tmp_path_factory.mktemp("real") / "lake")
    commands = [
        ("binance-usdm-1h-roshan7869", "binance"),
        ("binance-usdm-1h-saam0", "binance"),
        ("bybit-linear-1h-mohsenjfar", "bybit"),
        ("bybit-spot-misc", "bybit", "--resample", "1h", "--symbols", "BTCUSDT"),
        ("bybit-spot-perp-5m-2025h1-logashan", "bybit", "--resample", "1h"),
        ("hyperliquid-hippocritical", "hyperliquid"),
    ]
    for folder, venue, *more in commands:
        code = app.run(
            [
                "ingest",
                "freqtrade",
                str(shared_data / folder),
                "--venue",
                venue,
                "--lake",
                str(lake.root),
                *more,
                "--json",
            ]
        )
        assert code == 0, folder
    return lake


@pytest.fixture(scope="module")
def report(lake: Lake) -> Report:
    return check_lake(lake, options=CheckOptions(now_ms=parse_iso("2026-11-22")))


@pytest.fixture(scope="module")
def load(lake: Lake) -> Callable[..., MarketHistory]:
    def load(keys: list[str], start: str, end: str, timeframe: str = "1h") -> MarketHistory:
        return load_market(lake, keys, timeframe, start, end, tolerance_ms=TOLERANCE_MS)

    return load


def settlements_of(history: InstrumentHistory) -> Settlements:
    assert history.settlements is not None
    return history.settlements


def at(values: np.ndarray, market: MarketHistory, instant: str) -> float:
    return float(values[int(np.searchsorted(market.open_ms, parse_iso(instant)))])


def findings(report: Report, kind: str, series: str) -> list[dict[str, Any]]:
    return [f.as_mapping() for f in report.findings if f.kind == kind and str(f.key) == series]


def whole_range(lake: Lake, key: str) -> tuple[str, str]:
    """From before the first settlement to after the last, so that no row falls out."""
    info = lake.info(SeriesKey(*key.split(":"), "funding"))
    return iso(info.first_ms // HOUR * HOUR - HOUR), iso(info.last_ms // HOUR * HOUR + HOUR)


@pytest.mark.parametrize("key", YEARLY_FUNDING)
def test_yearly_funding_sums(lake: Lake, load: Callable[..., MarketHistory], key: str) -> None:
    settled = settlements_of(load([key], *whole_range(lake, key)).instrument(key))
    years = pd.to_datetime(settled.time_ms, unit="ms").year
    for year, expected in YEARLY_FUNDING[key].items():
        assert f"{100 * np.nansum(settled.funding_rate[years == year]):.2f}" == f"{expected:.2f}", year


def test_the_command_line_shows_the_yearly_funding_sums(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    app.run(["data", "check", "--lake", str(lake.root), "--json"])  # other series of this lake have errors: exit 4
    printed = json.loads(capsys.readouterr().out)
    shown = {calendar["instrument"]: calendar["funding_by_year"] for calendar in printed["calendars"]}
    for key, years in YEARLY_FUNDING.items():
        assert {year: f"{100 * shown[key][str(year)]:.2f}" for year in years} == {
            year: f"{value:.2f}" for year, value in years.items()
        }, key


def test_funding_of_a_short_bitcoin_over_six_years(load: Callable[..., MarketHistory]) -> None:
    spot, perp = "binance:spot:BTCUSDT", "binance:linear:BTCUSDT"
    market = load([spot, perp], "2020-01-01", "2026-05-16")
    settled, closes = settlements_of(market.instrument(perp)), market.instrument(perp).bars.close
    assert len(settled.time_ms) == 6981
    assert round(float(np.sum(settled.funding_rate * settled.mark_price)), 2) == 35_033.54
    ended = (settled.time_ms - market.open_ms[0]) // HOUR - 1  # the hour that ends at the settlement
    assert round(float(np.sum(settled.funding_rate * closes[ended])), 2) == 35_035.49
    before = load([spot, perp], "2019-12-31T23:00", "2020-01-01")
    assert [before.instrument(key).bars.close[0] for key in (spot, perp)] == [7195.23, 7189.00]
    assert [market.instrument(key).bars.close[-1] for key in (spot, perp)] == [79_113.21, 79_074.00]


def test_fact_1_settlement_spacing_is_data_and_switches_within_a_symbol(
    lake: Lake, report: Report, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    intervals = {
        calendar.key.instrument: {segment.interval_hours for segment in calendar.segments}
        for calendar in report.calendars
    }
    assert intervals["binance:linear:BTCUSDT"] == intervals["bybit:linear:SOLUSDT"] == {8.0}
    assert intervals["binance:linear:KASUSDT"] == intervals["binance:linear:ONDOUSDT"] == {4.0}
    source = shared_data / "binance-usdm-539sym-gravestone" / "funding_all_symbols.csv.gz"
    expected = {
        "ENJUSDT": [(8.0, 157), (1.0, 43)],
        "ICXUSDT": [(8.0, 115), (1.0, 44), (4.0, 41)],
        "HYPEUSDT": [(4.0, 200)],
    }
    for symbol in expected:
        arguments = ("--venue", "binance", "--kind", "linear", "--symbol", symbol, "--series", "funding")
        layout = ("--time-column", "timestamp", "--where", f"symbol={symbol}", "--lake", tmp_path / "lake")
        carry(capsys, "ingest", "csv", source, *arguments, *layout)
    for calendar in carry(capsys, "data", "check", "--lake", tmp_path / "lake")["calendars"]:
        segments = [(segment["interval_hours"], segment["settlements"]) for segment in calendar["segments"]]
        assert segments == expected[calendar["instrument"].split(":")[2]]


def test_fact_2_late_stamps_are_brought_to_their_hour(
    lake: Lake, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shared_data / "freqtrade-testdata-futures"
    carry(capsys, "ingest", "freqtrade", folder, "--venue", "binance", "--lake", tmp_path / "lake")
    found = carry(capsys, "data", "check", "--lake", tmp_path / "lake")["findings"]
    late = next(finding for finding in found if finding["kind"] == "late_stamp")
    assert late["count"] > 0
    keys = ["hyperliquid:linear:BTCUSDC"]
    with pytest.raises(DataError, match=r"2023-05-23T08:23:53.040Z\) is 1433040 ms from the whole hour"):
        load_market(lake, keys, "4h", "2023-05-20", "2023-06-01", tolerance_ms=TOLERANCE_MS)
    market = load_market(lake, keys, "4h", "2023-05-20", "2023-06-01", tolerance_ms=1_500_000)
    settled = settlements_of(market.instrument(keys[0]))
    assert (settled.time_ms % HOUR == 0).all()
    assert parse_iso("2023-05-23T08:00") in settled.time_ms
    assert any("the largest by 1433040 ms" in note for note in market.notes)


def test_fact_3_mark_and_last_differ_and_mark_starts_late(load: Callable[..., MarketHistory]) -> None:
    key = "binance:linear:BTCUSDT"
    market = load([key], "2019-12-23T11:00", "2026-05-16")
    history = market.instrument(key)
    assert history.mark is not None
    apart = np.abs(history.mark.close / history.bars.close - 1) * 1e4
    assert iso(int(market.open_ms[np.nanargmax(apart)])) == "2020-03-13T02:00:00Z"
    assert round(float(np.nanmax(apart))) == 257
    early = load([key], "2019-12-01", "2020-01-01")
    settled = settlements_of(early.instrument(key))
    unmarked = settled.time_ms[np.isnan(settled.mark_price)]
    assert iso(int(unmarked[-1])) == "2019-12-23T08:00:00Z"
    assert len(unmarked) == 22 * 3 + 1  # 12-01 08:00 .. 12-23 08:00
    assert any(f"{len(unmarked)} of 93 settlements without a mark price" in note for note in early.notes)


def test_fact_4_clamped_rates(
    lake: Lake, report: Report, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for key, instant, rate in (
        ("binance:linear:BTCUSDT", "2020-03-13T08:00:00Z", -0.003),
        ("bybit:linear:SOLUSDT", "2025-10-11T00:00:00Z", -0.005),
    ):
        clamps = {
            (f["first"], f["samples"][0]["funding_rate"]) for f in findings(report, "clamped_rate", f"{key} funding")
        }
        assert (instant, rate) in clamps
    gravestone = shared_data / "binance-usdm-539sym-gravestone" / "funding_all_symbols.csv.gz"
    pool = ("--series", "funding", "--lake", tmp_path / "lake")
    alice = ("--venue", "binance", "--kind", "linear", "--symbol", "ALICEUSDT", "--time-column", "timestamp")
    carry(capsys, "ingest", "csv", gravestone, *alice, "--where", "symbol=ALICEUSDT", *pool)
    francy = shared_data / "btc-8h-spot-perp-funding-francypeng" / "Bybit_BTC_8h_all_data_final.csv.gz"
    inverse = ("--venue", "bybit", "--kind", "inverse", "--symbol", "BTCUSD", "--time-column", "Timestamp")
    carry(
        capsys, "ingest", "csv", francy, *inverse, "--time-unit", "iso", "--columns", "funding_rate=Funding Rate", *pool
    )
    found = carry(capsys, "data", "check", "--lake", tmp_path / "lake")["findings"]
    clamped = {
        (finding["series"], sample["time"], sample["funding_rate"])
        for finding in found
        if finding["kind"] == "clamped_rate"
        for sample in finding["samples"]
    }
    assert ("binance:linear:ALICEUSDT funding", "2026-02-28T00:00:00Z", -0.02) in clamped
    for instant in ("2020-03-13T00:00:00Z", "2020-03-13T16:00:00Z"):
        assert ("bybit:inverse:BTCUSD funding", instant, -0.00375) in clamped


def test_fact_5_the_spot_leg_is_missing_while_the_perp_trades(
    report: Report, load: Callable[..., MarketHistory]
) -> None:
    for symbol, hours in (("BTCUSDT", 36), ("ETHUSDT", 32), ("XRPUSDT", 32)):
        (finding,) = findings(report, "spot_missing", f"binance:spot:{symbol} bars 1h")
        assert finding["count"] == hours
    spot, perp = "binance:spot:BTCUSDT", "binance:linear:BTCUSDT"
    market = load([spot, perp], "2023-03-24", "2023-03-25")
    assert np.isnan(at(market.instrument(spot).bars.open, market, "2023-03-24T13:00"))
    assert np.isnan(at(market.instrument(spot).bars.volume, market, "2023-03-24T13:00"))
    assert at(market.instrument(perp).bars.volume, market, "2023-03-24T13:00") > 0


def test_fact_6_bad_prints_are_not_in_the_mark(report: Report, load: Callable[..., MarketHistory]) -> None:
    (finding,) = findings(report, "bad_print", "binance:linear:ETHUSDT bars 1h")
    samples: Mapping[str, Any] = {sample["time"]: sample for sample in finding["samples"]}
    assert samples["2020-03-13T02:00:00Z"]["high"] == 323.0
    assert samples["2021-05-19T13:00:00Z"]["low"] == 1400.73
    market = load(["binance:linear:ETHUSDT"], "2020-03-01", "2021-06-01")
    history = market.instrument("binance:linear:ETHUSDT")
    assert history.mark is not None
    assert at(history.bars.high, market, "2020-03-13T02:00") == 323.0
    assert at(history.mark.high, market, "2020-03-13T02:00") < 120.0
    assert at(history.bars.low, market, "2021-05-19T13:00") == 1400.73
    assert round(at(history.mark.low, market, "2021-05-19T13:00"), 1) == 1764.3


def test_fact_7_listing_hours_are_off_market(report: Report) -> None:
    for symbol, instant, basis_bps in (
        ("BTCUSDT", "2019-09-08T17:00:00Z", -350),
        ("ETHUSDT", "2019-11-27T08:00:00Z", -828),
    ):
        (finding,) = findings(report, "off_market_launch", f"binance:linear:{symbol} bars 1h")
        assert finding["severity"] == "warning"
        assert (finding["samples"][0]["time"], round(finding["samples"][0]["basis_bps"])) == (instant, basis_bps)
    (wild,) = findings(report, "listing_print", "hyperliquid:spot:UBTCUSDC bars 1h")
    assert wild["samples"][0]["open"] == 100_002_060.0


def test_fact_8_funding_turns_negative_for_long(lake: Lake, load: Callable[..., MarketHistory]) -> None:
    key = "binance:linear:ETHUSDT"
    settled = settlements_of(load([key], *whole_range(lake, key)).instrument(key))
    years = pd.to_datetime(settled.time_ms, unit="ms").year
    assert 0 < np.sum(settled.funding_rate[years == 2022]) < 0.01
    assert np.mean(settled.funding_rate[years == 2022] < 0) > 0.25
    assert np.mean(settled.funding_rate[years == 2021] < 0) < 0.10
    assert np.nansum(settled.funding_rate[years == 2026]) < 0


def test_fact_9_bars_carry_their_open_and_funding_its_instant(
    lake: Lake, shared_data: Path, load: Callable[..., MarketHistory]
) -> None:
    """freqtrade's ``date`` maps one to one; FrancyPeng's bars carry their end, eight hours later."""
    francy = shared_data / "btc-8h-spot-perp-funding-francypeng" / "Bybit_BTC_8h_all_data_final.csv.gz"
    with gzip.open(francy, "rt") as file:
        table = pd.read_csv(file, parse_dates=["Timestamp"])
    table = table[table.Timestamp.dt.year == 2020].set_index("Timestamp")
    spot = "binance:spot:BTCUSDT"
    market = load([spot], "2019-12-31", "2021-01-01", "8h")
    bars = market.instrument(spot).bars
    ours = pd.DataFrame(
        {"open": bars.open, "close": bars.close}, index=pd.to_datetime(market.open_ms, unit="ms")
    ).dropna()
    for shift, share in ((pd.Timedelta(hours=8), 1.0), (pd.Timedelta(0), 0.0)):
        joined = table.set_axis(table.index - shift).join(ours, how="inner")
        assert len(joined) > 1000
        equal = (joined.Open_spot == joined.open) & (joined.Close_spot == joined.close)
        assert equal.mean() == share
    with gzip.open(shared_data / "binance-usdm-539sym-gravestone" / "funding_all_symbols.csv.gz", "rt") as file:
        api = pd.read_csv(file)
    api = api[api.symbol == "BTCUSDT"]
    settled = settlements_of(
        load(["binance:linear:BTCUSDT"], "2026-01-01", "2026-04-01").instrument("binance:linear:BTCUSDT")
    )
    rates = dict(zip(settled.time_ms.tolist(), settled.funding_rate.tolist(), strict=True))
    assert len(api) == 200
    for stamp, rate in zip(api.timestamp, api.funding_rate, strict=True):
        assert rates[int(stamp) // HOUR * HOUR] == rate


def test_bybit_bitcoin_spot_has_no_hole_from_november_2024_to_august_2025(load: Callable[..., MarketHistory]) -> None:
    market = load(["bybit:spot:BTCUSDT", "bybit:linear:BTCUSDT"], "2024-11-01", "2025-08-09T15:00")
    for history in market.instruments:
        assert not np.isnan(history.bars.close).any()
    settled = settlements_of(market.instrument("bybit:linear:BTCUSDT"))
    assert not np.isnan(settled.funding_rate).any()
    assert not np.isnan(settled.mark_price).any()


def test_five_minute_folder_of_october_2025(
    shared_data: Path, tmp_path: Path, lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shared_data / "binance-5m-2025-10-harthor"
    printed = carry(
        capsys, "ingest", "freqtrade", folder, "--venue", "binance", "--resample", "1h", "--lake", tmp_path / "l"
    )
    assert printed["skipped"] == []
    assert {file["series"] for file in printed["files"]} == {
        f"binance:{kind}:{coin}USDT bars 1h" for kind in ("spot", "linear") for coin in ("BTC", "ETH")
    }
    for coin in ("BTC", "ETH"):
        key = SeriesKey("binance", "linear", f"{coin}USDT", "bars", "1h")
        made = Lake(tmp_path / "l").read(key)
        held = lake.read(key, made.info.first_ms, made.info.last_ms + 1)
        for name in ("open", "high", "low", "close"):
            np.testing.assert_array_equal(made.columns[name], held.columns[name])


def test_borrow_rates_from_a_daily_series(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared_data / "binance-margin-borrow-2023-09-killerninjaa" / "borrow_interest_raw.csv.gz"
    series = ("--venue", "binance", "--kind", "asset", "--symbol", "BTC", "--series", "borrow", "--where", "asset=BTC")
    layout = ("--time-column", "timestamp", "--columns", "daily_rate=dailyInterestRate", "--repair", "sort")
    printed = carry(capsys, "ingest", "csv", path, *series, *layout, "--lake", tmp_path / "lake")
    assert any("sorted by time" in note for note in printed["files"][0]["notes"])
    rates = Lake(tmp_path / "lake").read(SeriesKey("binance", "asset", "BTC", "borrow")).columns["hourly_rate"]
    assert 24 * rates.mean() == pytest.approx(4.4e-5, rel=0.05)
