"""Loading a market: grid, missing bars, settlements with their marks, ranges without data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crypto.errors import DataError, SettingsError, UsageError
from crypto.market import MarketHistory
from data.market import load_market
from data.store.lake import Lake, Provenance, SeriesKey

HOUR = 3_600_000
T0 = 1_577_836_800_000  # 2020-01-01 00:00 UTC
SPOT, PERP = "binance:spot:BTCUSDT", "binance:linear:BTCUSDT"
COUNT = 48
REAL = Provenance("test source")

Columns = dict[str, np.ndarray]


def key(instrument: str, series: str, timeframe: str = "") -> SeriesKey:
    venue, kind, symbol = instrument.split(":")
    return SeriesKey(venue, kind, symbol, series, timeframe)


def bars(first_hour: int, count: int, price: float, step: int = HOUR, *, volume: bool = True) -> Columns:
    close = price + np.arange(count, dtype=float)
    columns = {"time_ms": T0 + first_hour * HOUR + step * np.arange(count, dtype=np.int64)}
    columns |= {"open": close, "high": close + 1, "low": close - 1, "close": close + 0.5}
    return columns | ({"volume": np.full(count, 3.0)} if volume else {})


def settlements(hours: list[int], rates: list[float], offset_ms: int = 0) -> Columns:
    return {"time_ms": T0 + HOUR * np.array(hours) + offset_ms, "funding_rate": np.array(rates)}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Spot hours -10 .. 47 without hours 5 and 6, perp 0 .. 47, mark 0 .. 48, funding each 8h from -16 to 48."""
    lake = Lake(tmp_path / "lake")
    spot = bars(-10, COUNT + 10, 90.0)
    spot = {name: np.delete(values, [15, 16]) for name, values in spot.items()}
    lake.write(key(SPOT, "bars", "1h"), spot, REAL)
    lake.write(key(PERP, "bars", "1h"), bars(0, COUNT, 200.0), REAL)
    lake.write(key(PERP, "mark", "1h"), bars(0, COUNT + 1, 300.0, volume=False), REAL)
    hours = list(range(-16, COUNT + 1, 8))
    lake.write(key(PERP, "funding"), settlements(hours, [hour * 1e-6 for hour in hours], 17), REAL)
    return lake


def load(
    lake: Lake, start: str = "", end: str = "", keys: tuple[str, ...] = (SPOT, PERP), timeframe: str = "1h"
) -> MarketHistory:
    return load_market(lake, keys, timeframe, start, end, tolerance_ms=60_000)


def test_the_grid_is_what_all_hold_and_has_no_holes(lake: Lake) -> None:
    market = load(lake)
    assert market.bar_ms == HOUR
    assert market.open_ms.tolist() == [T0 + i * HOUR for i in range(COUNT)]
    spot, perp = market.instrument(SPOT), market.instrument(PERP)
    assert np.flatnonzero(np.isnan(spot.bars.close)).tolist() == [5, 6]
    assert np.isnan(spot.bars.volume[5])
    assert spot.bars.open[[0, 4, 7]].tolist() == [100.0, 104.0, 107.0]
    assert perp.bars.close[[0, 47]].tolist() == [200.5, 247.5]
    assert spot.mark is None
    assert spot.settlements is None
    assert perp.mark is not None
    assert perp.mark.open[0] == 300.0
    assert perp.mark.volume.tolist() == [0.0] * COUNT


def test_settlements_lie_after_the_start_up_to_the_end(lake: Lake) -> None:
    settled = load(lake, "2020-01-01T08:00", "2020-01-02T00:00").instrument(PERP).settlements
    assert settled is not None
    assert settled.time_ms.tolist() == [T0 + 16 * HOUR, T0 + 24 * HOUR]  # not that at the start, but that at the end
    assert settled.funding_rate.tolist() == [16e-6, 24e-6]
    assert settled.mark_price.tolist() == [316.0, 324.0]  # open of the mark bar that starts there
    assert settled.interval_hours.tolist() == [8.0, 8.0]


def test_findings_are_noted(lake: Lake) -> None:
    assert load(lake).notes == (
        f"{SPOT} bars 1h: 2 of 48 bars missing, the first 2020-01-01T05:00:00Z",
        f"{PERP}: 6 of 6 settlement stamps brought to their hour, the largest by 17 ms",
    )
    assert load(lake).sources[f"{PERP} funding"] == "test source"


def test_a_missing_settlement_is_there_without_a_rate(lake: Lake) -> None:
    lake.path(key(PERP, "funding")).unlink()
    lake.write(key(PERP, "funding"), settlements([-8, 0, 8, 24, 32, 40, 48], [1e-4] * 7), REAL)
    market = load(lake)
    settled = market.instrument(PERP).settlements
    assert settled is not None
    assert settled.time_ms.tolist() == [T0 + hour * HOUR for hour in (8, 16, 24, 32, 40, 48)]
    assert np.isnan(settled.funding_rate).tolist() == [False, True, False, False, False, False]
    assert settled.interval_hours.tolist() == [8.0] * 6
    assert settled.mark_price[1] == 316.0
    assert f"{PERP}: 1 of 6 settlements without a row, the first 2020-01-01T16:00:00Z" in market.notes


def test_settlements_before_the_first_and_after_the_last_row_are_expected_while_the_perp_trades(lake: Lake) -> None:
    lake.write(key(PERP, "funding"), settlements([16, 24], [1e-4, 2e-4]), REAL)
    settled = load(lake).instrument(PERP).settlements
    assert settled is not None
    # the bars end at hour 48: a row of that very instant may not have been recorded yet, so none is expected
    assert settled.time_ms.tolist() == [T0 + hour * HOUR for hour in (8, 16, 24, 32, 40)]
    assert np.isnan(settled.funding_rate).tolist() == [True, False, False, True, True]
    late_start = bars(20, 8, 200.0)
    lake.write(key(PERP, "bars", "1h"), late_start, REAL)
    settled = load(lake, "2020-01-01", "2020-01-03").instrument(PERP).settlements
    assert settled is not None
    assert settled.time_ms.tolist() == [T0 + 16 * HOUR, T0 + 24 * HOUR]


def test_an_interval_switch_and_the_row_before_the_range(lake: Lake) -> None:
    lake.write(key(PERP, "funding"), settlements([-8, 0, 8, 12, 16, 20, 21, 22, 23, 24], [1e-4] * 10), REAL)
    settled = load(lake, "2020-01-01", "2020-01-02").instrument(PERP).settlements
    assert settled is not None
    assert settled.interval_hours.tolist() == [8, 4, 4, 4, 1, 1, 1, 1]
    settled = load(lake, "2020-01-01T12:00", "2020-01-01T21:00").instrument(PERP).settlements
    assert settled is not None
    assert settled.interval_hours.tolist() == [4, 4, 1]


def test_the_mark_of_a_settlement_comes_from_any_mark_series_that_opens_there(lake: Lake) -> None:
    lake.path(key(PERP, "mark", "1h")).unlink()
    lake.write(key(PERP, "mark", "8h"), bars(0, 6, 400.0, 8 * HOUR, volume=False), REAL)
    market = load(lake)
    perp = market.instrument(PERP)
    assert perp.mark is None  # 8h bars are not spread over hours
    assert f"{PERP}: no mark bars of 1h or shorter are held" in market.notes
    assert perp.settlements is not None
    np.testing.assert_array_equal(perp.settlements.mark_price, [401.0, 402.0, 403.0, 404.0, 405.0, np.nan])
    lake.write(key(PERP, "mark", "4h"), bars(4, 12, 500.0, 4 * HOUR, volume=False), REAL)
    perp = load(lake).instrument(PERP)
    assert perp.settlements is not None
    assert perp.settlements.mark_price.tolist() == [501.0, 503.0, 505.0, 507.0, 509.0, 511.0]


def test_the_funding_files_own_mark_is_preferred(lake: Lake) -> None:
    own = settlements([0, 8, 16], [1e-4] * 3) | {"mark_price": np.array([1.0, 999.0, np.nan])}
    lake.write(key(PERP, "funding"), own, REAL)
    settled = load(lake, "2020-01-01", "2020-01-01T16:00").instrument(PERP).settlements
    assert settled is not None
    assert settled.mark_price.tolist() == [999.0, 316.0]


def test_shorter_bars_are_put_together_and_longer_ones_refused(lake: Lake) -> None:
    market = load(lake, timeframe="4h")
    spot = market.instrument(SPOT).bars
    assert len(market.open_ms) == 12
    assert np.flatnonzero(np.isnan(spot.close)).tolist() == [1]  # hours 5 and 6 are missing
    assert spot.open[0] == 100.0
    assert spot.close[0] == 103.5
    assert spot.volume[0] == 12.0
    assert any("put together" in text for text in market.notes)
    with pytest.raises(DataError, match=f"holds no {SPOT} bars 5m; held: {SPOT} bars 1h"):
        load(lake, timeframe="5m")


def test_ranges_are_checked(lake: Lake) -> None:
    with pytest.raises(
        DataError, match=f"no {SPOT} bars 1h between 2018-01-01.* and 2018-02-01.*held: {SPOT} .*2019-12-31T14"
    ):
        load(lake, "2018-01-01", "2018-02-01")
    with pytest.raises(DataError, match=f"no {SPOT} bars 1h from 2021-01-01T00:00:00Z on; held: "):
        load(lake, "2021-01-01", "")
    with pytest.raises(DataError, match=f"no {PERP} bars 1h before 2019-12-31T23:00:00Z; held: "):
        load(lake, "", "2019-12-31T23:00")
    with pytest.raises(UsageError, match="end 2020-01-01 is not after start 2020-01-02"):
        load(lake, "2020-01-02", "2020-01-01")
    with pytest.raises(UsageError, match="start: '1st of May' is not an ISO date"):
        load(lake, "1st of May", "")
    with pytest.raises(UsageError, match="start 2020-01-01T00:30 does not open a 1h bar"):
        load(lake, "2020-01-01T00:30", "")
    lake.write(key(PERP, "bars", "1h"), bars(100, 3, 10.0), REAL)
    with pytest.raises(DataError, match="the series have no time in common"):
        load(lake)


def test_unknown_instruments_are_named(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no binance:spot:BTCUSD bars 1h; held: binance:spot:BTCUSDT"):
        load(lake, keys=("binance:spot:BTCUSD",))
    with pytest.raises(SettingsError, match="'BTCUSDT' is not of the form venue:kind:SYMBOL"):
        load(lake, keys=("BTCUSDT",))
    with pytest.raises(DataError, match="there is no lake"):
        load(Lake(tmp_path / "none"))


def test_a_perp_without_funding_is_refused(lake: Lake) -> None:
    lake.path(key(PERP, "funding")).unlink()
    with pytest.raises(DataError, match=f"holds no {PERP} funding, so its funding would be left out"):
        load(lake)


def test_a_stamp_beyond_the_tolerance_is_refused_by_name(lake: Lake) -> None:
    with pytest.raises(
        DataError, match=f"{PERP} funding: funding row 0: .* is 17 ms from the whole hour, tolerance 16"
    ):
        load_market(lake, [PERP], "1h", "", "", tolerance_ms=16)


def test_a_stamp_far_off_outside_the_range_does_not_matter(lake: Lake) -> None:
    hours = [-1000, -992, *range(-16, COUNT + 1, 8)]
    columns = settlements(hours, [1e-4] * len(hours))
    columns["time_ms"][0] += 1_500_000
    lake.write(key(PERP, "funding"), columns, REAL)
    settled = load(lake).instrument(PERP).settlements
    assert settled is not None
    assert len(settled.time_ms) == 6


def test_borrow_rates_start_with_the_one_that_holds_at_the_start(lake: Lake) -> None:
    rates = {
        "time_ms": T0 + HOUR * np.array([-30, -20, 3, 5, 90]),
        "hourly_rate": np.array([1.0, 2.0, 3.0, 4.0, 5.0]) * 1e-6,
    }
    lake.write(SeriesKey("binance", "asset", "USDT", "borrow"), rates, REAL)
    assets = [("binance", "USDT"), ("binance", "BTC")]
    market = load_market(lake, [SPOT], "1h", "2020-01-01", "2020-01-02", tolerance_ms=60_000, borrow_assets=assets)
    assert list(market.borrow) == [("binance", "USDT")]
    assert market.borrow["binance", "USDT"].time_ms.tolist() == [T0 + hour * HOUR for hour in (-20, 3, 5)]
    assert market.borrow["binance", "USDT"].hourly_rate.tolist() == [2e-6, 3e-6, 4e-6]


def test_the_hash_covers_every_value_and_the_range(lake: Lake) -> None:
    first = load(lake).data_hash
    assert first == load(lake).data_hash
    assert len(first) == 64
    assert load(lake, "2020-01-01T01:00").data_hash != first
    assert load(lake, keys=(SPOT,)).data_hash != first
    for instrument, series, timeframe, column in (
        (SPOT, "bars", "1h", "volume"),
        (PERP, "mark", "1h", "low"),
        (PERP, "funding", "", "funding_rate"),
    ):
        series_key = key(instrument, series, timeframe)
        held = dict(lake.read(series_key).columns)
        changed = held | {column: held[column].copy()}
        changed[column][-2] = np.nextafter(changed[column][-2], 1e9)
        lake.write(series_key, changed, REAL)
        assert load(lake).data_hash != first, column
        lake.write(series_key, held, REAL)
    assert load(lake).data_hash == first


def test_one_generated_series_makes_the_market_synthetic(lake: Lake) -> None:
    assert not load(lake).synthetic
    lake.write(key(PERP, "mark", "1h"), bars(0, COUNT + 1, 300.0, volume=False), Provenance("sample", synthetic=True))
    assert load(lake).synthetic


def test_rows_after_the_end_change_nothing_before_it(lake: Lake) -> None:
    """No bar, mark or rate of the future is seen."""
    before = load(lake, "2020-01-01", "2020-01-02")
    for series in ("bars", "mark"):
        columns = dict(lake.read(key(PERP, series, "1h")).columns)
        for name in ("open", "high", "low", "close"):
            columns[name] = np.where(columns["time_ms"] > T0 + 24 * HOUR, columns[name] * 7, columns[name])
        lake.write(key(PERP, series, "1h"), columns, REAL)
    rates = dict(lake.read(key(PERP, "funding")).columns)
    rates["funding_rate"] = np.where(rates["time_ms"] > T0 + 25 * HOUR, 0.5, rates["funding_rate"])
    lake.write(key(PERP, "funding"), rates, REAL)
    assert load(lake, "2020-01-01", "2020-01-02").data_hash == before.data_hash
