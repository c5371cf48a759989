"""Checks of the lake: each finding has a market made to show it, and a clean market shows none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crypto.errors import DataError, UsageError
from crypto.units import parse_iso
from data.findings import Finding, Severity
from data.quality import CheckOptions, Report, check_lake
from data.store.lake import Lake, Provenance, SeriesKey
from data.store.lakefile import write_file

HOUR = 3_600_000
T0 = 1_577_836_800_000  # 2020-01-01 00:00 UTC
SPOT = SeriesKey("binance", "spot", "BTCUSDT", "bars", "1h")
PERP = SeriesKey("binance", "linear", "BTCUSDT", "bars", "1h")
MARK = SeriesKey("binance", "linear", "BTCUSDT", "mark", "1h")
FUNDING = SeriesKey("binance", "linear", "BTCUSDT", "funding")
BORROW = SeriesKey("binance", "asset", "USDT", "borrow")
COUNT = 400

Columns = dict[str, np.ndarray]


def bars(count: int = COUNT, price: float = 100.0) -> Columns:
    close = np.full(count, price)
    columns = {name: close.copy() for name in ("open", "high", "low", "close")}
    return {"time_ms": T0 + HOUR * np.arange(count, dtype=np.int64)} | columns | {"volume": np.full(count, 7.0)}


def mark(count: int = COUNT) -> Columns:
    columns = bars(count)
    del columns["volume"]
    return columns


def settlements(hours: list[int], rate: float = 1e-4, offset_ms: int = 0) -> Columns:
    return {"time_ms": T0 + HOUR * np.array(hours) + offset_ms, "funding_rate": np.full(len(hours), rate)}


def without(columns: Columns, *rows: int) -> Columns:
    return {name: np.delete(values, rows) for name, values in columns.items()}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    lake.write(SPOT, bars(), Provenance("test"))
    lake.write(PERP, bars(), Provenance("test"))
    lake.write(MARK, mark(), Provenance("test"))
    lake.write(FUNDING, settlements(list(range(0, COUNT, 8))), Provenance("test"))
    lake.write(BORROW, {"time_ms": np.array([T0]), "hourly_rate": np.array([5e-6])}, Provenance("test"))
    return lake


def put(lake: Lake, key: SeriesKey, columns: Columns) -> None:
    """Write as another program might: without the checks of the lake."""
    write_file(lake.path(key), columns, Provenance("test"))


def only(report: Report, kind: str) -> Finding:
    assert [finding.kind for finding in report.findings] == [kind]
    return report.findings[0]


def test_a_clean_lake_has_no_findings(lake: Lake) -> None:
    seen: list[SeriesKey] = []
    report = check_lake(lake, options=CheckOptions(now_ms=T0 + COUNT * HOUR), on_series=seen.append)
    assert report.findings == ()
    assert set(seen) == set(report.series) == {SPOT, PERP, MARK, FUNDING, BORROW}
    (calendar,) = report.calendars
    assert (calendar.settlements, calendar.missing, len(calendar.segments)) == (50, 0, 1)
    assert calendar.segments[0].interval_hours == 8.0


def test_gaps(lake: Lake) -> None:
    for key, make in ((SPOT, bars), (PERP, bars), (MARK, mark)):  # all, so that no leg is missing alone
        put(lake, key, without(make(), 10, 11, 12, 200))
    report = check_lake(lake)
    assert {finding.kind for finding in report.findings} == {"gap"}
    finding = report.findings[0]
    assert (finding.severity, finding.count, finding.first_ms) == (Severity.WARNING, 4, T0 + 10 * HOUR)
    assert "in 2 gaps, the longest 3 bars from 2020-01-01T10:00:00Z" in finding.message
    assert finding.samples[0] == {"time": "2020-01-01T10:00:00Z", "missing": 3.0, "until": "2020-01-01T13:00:00Z"}


@pytest.mark.parametrize(
    ("kind", "column", "row", "value"),
    [
        ("duplicate", "time_ms", 5, T0 + 4 * HOUR),
        ("unsorted", "time_ms", 5, T0 - 5 * HOUR),
        ("off_grid", "time_ms", 5, T0 + 5 * HOUR + 1),
        ("bad_price", "close", 5, np.nan),
        ("bad_price", "low", 5, 0.0),
        ("ohlc", "high", 5, 99.0),
        ("ohlc", "low", 5, 101.0),
        ("bad_volume", "volume", 5, -1.0),
    ],
)
def test_bars_that_must_not_be_used(lake: Lake, kind: str, column: str, row: int, value: float) -> None:
    columns = bars()
    columns[column][row] = value
    put(lake, PERP, columns)
    finding = next(finding for finding in check_lake(lake).findings if finding.kind == kind)
    assert (finding.severity, finding.key, finding.count) == (Severity.ERROR, PERP, 1)
    assert finding.first_ms == columns["time_ms"][row]
    assert finding.samples[0]["close"] == pytest.approx(columns["close"][row], nan_ok=True)


def test_an_unreadable_series_is_a_finding(lake: Lake) -> None:
    path = lake.path(PERP)
    path.write_bytes(path.read_bytes()[:200])
    finding = only(check_lake(lake), "unreadable")
    assert finding.severity is Severity.ERROR
    assert str(path) in finding.message


def test_zero_volume_is_an_info(lake: Lake) -> None:
    columns = bars()
    columns["volume"][[3, 4]] = 0.0
    put(lake, PERP, columns)
    finding = only(check_lake(lake), "zero_volume")
    assert (finding.severity, finding.count) == (Severity.INFO, 2)


def test_an_unfinished_last_bar(lake: Lake) -> None:
    report = check_lake(lake, options=CheckOptions(now_ms=T0 + COUNT * HOUR - 1))
    assert {(finding.kind, finding.severity) for finding in report.findings} == {("unfinished", Severity.ERROR)}
    assert len(report.findings) == 3
    columns = bars()
    columns["volume"][-1] = 0.69  # the others have 7
    put(lake, PERP, columns)
    finding = only(check_lake(lake), "unfinished")
    assert (finding.severity, finding.first_ms) == (Severity.WARNING, T0 + (COUNT - 1) * HOUR)


def test_off_market_launch_hours_and_later_wide_basis(lake: Lake) -> None:
    columns = bars()
    columns["close"][[0, 71, 72]] = [96.5, 101.01, 98.9]  # basis -350, +101, -110 bps
    columns["low"] = np.minimum(columns["low"], columns["close"])
    columns["high"] = np.maximum(columns["high"], columns["close"])
    columns["close"][100] = 100.99  # within the limit
    columns["high"][100] = 100.99
    put(lake, PERP, columns)
    report = check_lake(lake)
    launch, later = report.findings
    assert (launch.kind, launch.severity, launch.count) == ("off_market_launch", Severity.WARNING, 2)
    assert launch.first_ms == T0
    assert launch.samples[0]["basis_bps"] == pytest.approx(-350.0)
    assert "at most -350 bps" in launch.message
    assert (later.kind, later.severity, later.count) == ("wide_basis", Severity.INFO, 1)


def test_bad_prints_need_both_references_passed(lake: Lake) -> None:
    columns = bars()
    columns["high"][50] = 111.0
    columns["low"][60] = 89.0
    columns["high"][70] = 111.0
    put(lake, PERP, columns)
    marks = mark()
    marks["high"][70] = 105.0  # 111 is within ten per cent of that
    put(lake, MARK, marks)
    finding = only(check_lake(lake), "bad_print")
    assert (finding.count, finding.first_ms) == (2, T0 + 50 * HOUR)
    assert finding.samples[0]["high"] == 111.0
    assert finding.samples[0]["reference_high"] == 100.0
    assert only(check_lake(lake, options=CheckOptions(bad_print=0.05)), "bad_print").count == 3


def test_wild_first_prints_of_a_listing(lake: Lake) -> None:
    columns = bars(24 * 61)
    columns["open"][0] = columns["high"][0] = 100_002_060.0
    lake.write(SeriesKey("hyperliquid", "spot", "UBTCUSDC", "bars", "1h"), columns, Provenance("test"))
    finding = only(check_lake(lake), "listing_print")
    assert (finding.count, finding.first_ms) == (1, T0)


def test_spot_missing_while_the_perp_trades(lake: Lake) -> None:
    put(lake, SPOT, without(bars(), 20, 21, 40))
    report = check_lake(lake)
    assert [finding.kind for finding in report.findings] == ["gap", "spot_missing"]
    finding = report.findings[1]
    assert (finding.key, finding.count, finding.first_ms) == (SPOT, 3, T0 + 20 * HOUR)
    assert "2 outages" in finding.message


def test_late_stamps_and_stamps_too_far_off(lake: Lake) -> None:
    put(lake, FUNDING, settlements([0, 8, 16], offset_ms=31))
    finding = only(check_lake(lake), "late_stamp")
    assert (finding.severity, finding.count) == (Severity.INFO, 3)
    assert "farthest by 31 ms" in finding.message
    late = settlements([0, 8, 16])
    late["time_ms"][1] += 1_433_040  # 24 minutes
    put(lake, FUNDING, late)
    finding = only(check_lake(lake), "bad_stamp")
    assert (finding.severity, finding.count) == (Severity.ERROR, 1)
    assert finding.first_ms == parse_iso("2020-01-01T08:23:53.040")
    assert only(check_lake(lake, options=CheckOptions(tolerance_ms=1_500_000)), "late_stamp").count == 1


def test_interval_switches_and_missing_settlements(lake: Lake) -> None:
    put(lake, FUNDING, settlements([0, 8, 16, 24, 40, 48, 56, 60, 64, 68]))
    report = check_lake(lake)
    missing, switch = report.findings
    assert (missing.kind, missing.severity, missing.count) == ("missing_settlement", Severity.WARNING, 1)
    assert missing.samples == ({"time": "2020-01-02T08:00:00Z"},)
    assert (switch.kind, switch.severity, switch.count) == ("interval_switch", Severity.INFO, 1)
    assert "8h -> 4h" in switch.message
    (calendar,) = report.calendars
    assert [(segment.interval_hours, segment.count) for segment in calendar.segments] == [(8.0, 7), (4.0, 3)]
    assert calendar.missing == 1


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([-0.003, 1e-4, 2e-4], [("clamped_rate", 1)]),  # a round figure
        ([-0.005025, 1e-4, -0.005025], [("clamped_rate", 2)]),  # reached twice
        ([-0.00302761, 1e-4, 2e-4], []),
        ([1e-4, 1e-4, 1e-4], []),  # the usual rate, not a limit
    ],
)
def test_clamped_rates(lake: Lake, rates: list[float], expected: list[tuple[str, int]]) -> None:
    put(lake, FUNDING, {"time_ms": T0 + 8 * HOUR * np.arange(3), "funding_rate": np.array(rates)})
    assert [(finding.kind, finding.count) for finding in check_lake(lake).findings] == expected


def test_rates_that_are_missing(lake: Lake) -> None:
    put(lake, FUNDING, {"time_ms": T0 + 8 * HOUR * np.arange(3), "funding_rate": np.array([1e-4, np.nan, 1e-4])})
    assert only(check_lake(lake), "bad_rate").severity is Severity.ERROR
    put(lake, FUNDING, settlements([0, 8, 16]))
    put(lake, BORROW, {"time_ms": np.array([T0, T0 + HOUR]), "hourly_rate": np.array([1e-6, np.nan])})
    assert only(check_lake(lake), "bad_rate").key == BORROW


def test_symbols_choose_series(lake: Lake) -> None:
    assert set(check_lake(lake, ["BTC/USDT"]).series) == {SPOT, PERP, MARK, FUNDING}
    assert check_lake(lake, ["binance:spot:BTCUSDT"]).series == (SPOT,)
    with pytest.raises(UsageError, match="--symbol DOGEUSDT is not in the lake"):
        check_lake(lake, ["DOGEUSDT"])


def test_no_lake_and_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no lake"):
        check_lake(Lake(tmp_path / "none"))
    with pytest.raises(DataError, match="the lake is empty"):
        check_lake(Lake(tmp_path))
