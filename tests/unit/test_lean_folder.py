"""Export to Lean's data folder and back: what is written when, what is refused, and that nothing is lost on the way."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from crypto.errors import DataError, RefusedError, SettingsError, UsageError
from crypto.settings import InstrumentSettings
from data.lean_folder import export as exporting
from data.lean_folder import read_back
from data.lean_folder.export import ExportOptions, Outcome, export
from data.lean_folder.layout import MANIFEST_NAME, Place
from data.lean_folder.live_rows import append_rate
from data.lean_folder.properties import read_properties
from data.store.lake import Lake
from data.store.pieces import IngestOptions, ingest_piece
from data.store.rows import Columns
from data.store.series import Provenance, SeriesKey, SourceFile

T0 = 1_704_067_200_000  # 2024-01-01 00:00 UTC
HOUR = 3_600_000
MINUTE = 60_000
DAY = 24 * HOUR
RECORDED = Provenance("a download", (SourceFile("btc.csv", "ab" * 32),))

SPOT = SeriesKey("binance", "spot", "BTCUSDT", "bars", "1h")
PERP = SeriesKey("binance", "linear", "BTCUSDT", "bars", "1h")
MARK = SeriesKey("binance", "linear", "BTCUSDT", "mark", "1h")
FUNDING = SeriesKey("binance", "linear", "BTCUSDT", "funding")
MINUTES = SeriesKey("binance", "spot", "BTCUSDT", "bars", "1m")
BORROW = SeriesKey("binance", "asset", "BTC", "borrow")


def bars(count: int, step: int = HOUR, start: int = T0, price: float = 40_000.1, volume: bool = True) -> Columns:
    close = price + np.arange(count) * 0.1
    columns: Columns = {"time_ms": start + np.arange(count, dtype=np.int64) * step}
    columns |= {"open": close, "high": close + 7e-7, "low": close / 3, "close": close}
    return columns | ({"volume": np.arange(count) * 0.1} if volume else {})


def rates(times: list[int], values: list[float]) -> Columns:
    return {"time_ms": np.array(times, dtype=np.int64), "funding_rate": np.array(values)}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake(tmp_path / "lake")
    lake.write(SPOT, bars(48), RECORDED)
    lake.write(PERP, bars(48), RECORDED)
    lake.write(MARK, bars(48, volume=False), RECORDED)
    lake.write(FUNDING, rates([T0, T0 + 8 * HOUR + 17, T0 + 16 * HOUR], [1e-4, -8.4e-7, 1e-05]), RECORDED)
    return lake


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "lean"


def run(lake: Lake, root: Path, **options: object) -> Outcome:
    return export(lake, root, ExportOptions(**options))


def written(outcome: Outcome) -> dict[str, int]:
    return {item.series: item.written for item in outcome.series if item.written}


def back(root: Path, target: Path) -> Lake:
    lake = Lake(target)
    found = read_back.find_series(root)
    for piece in read_back.read_series(found, found.series):
        ingest_piece(lake, piece, IngestOptions())
    return lake


def files_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


# --- what is written ----------------------------------------------------------------------------------------------


def test_the_folder_has_what_an_engine_looks_for(lake: Lake, root: Path) -> None:
    run(lake, root)
    assert set(files_of(root)) == {
        MANIFEST_NAME,
        "symbol-properties/symbol-properties-database.csv",
        "market-hours/market-hours-database.json",
        "alternative/interest-rate/usa/interest-rate.csv",
        "crypto/binance/hour/btcusdt_trade.zip",
        "cryptofuture/binance/hour/btcusdt_trade.zip",
        "cryptofuture/binance/margin_interest/btcusdt.csv",
        "cryptofuture/binancemark/hour/btcusdt_trade.zip",
        "cryptofuture/binancemark/margin_interest/btcusdt.csv",
    }
    with zipfile.ZipFile(root / "cryptofuture/binancemark/hour/btcusdt_trade.zip") as archive:
        first = archive.read("btcusdt_trade_perp.csv").splitlines()[0]
    assert first == b"20240101 00:00,40000.1,40000.1000007,13333.366666666667,40000.1,0"


def test_settlements_stand_at_their_hour_with_plain_rates_and_the_mark_of_the_instant(lake: Lake, root: Path) -> None:
    run(lake, root)
    assert (root / "cryptofuture/binance/margin_interest/btcusdt.csv").read_text() == (
        "20240101 00:00:00,0.0001\n20240101 08:00:00,-0.00000084\n20240101 16:00:00,0.00001\n"
    )
    # opens of the mark bars 0, 8 and 16: 40000.1 plus a tenth per hour
    marks = (root / "cryptofuture/binancemark/margin_interest/btcusdt.csv").read_text()
    assert marks == "20240101 00:00:00,40000.1\n20240101 08:00:00,40000.9\n20240101 16:00:00,40001.7\n"


def test_a_funding_rows_own_mark_goes_before_the_mark_bar(lake: Lake, root: Path) -> None:
    columns = rates([T0, T0 + 8 * HOUR], [1e-4, 2e-4]) | {"mark_price": np.array([39_999.5, np.nan])}
    lake.write(FUNDING, columns, RECORDED)
    run(lake, root)
    marks = (root / "cryptofuture/binancemark/margin_interest/btcusdt.csv").read_text()
    assert marks == "20240101 00:00:00,39999.5\n20240101 08:00:00,40000.9\n"


def test_a_stamp_too_far_off_its_hour_is_refused(lake: Lake, root: Path) -> None:
    lake.write(FUNDING, rates([T0, T0 + 8 * HOUR + 120_000], [1e-4, 1e-4]), RECORDED)
    with pytest.raises(DataError, match="funding row 1"):
        run(lake, root)
    assert written(run(lake, root, tolerance_ms=200_000))[str(FUNDING)] == 2


def test_every_price_market_has_symbol_properties(lake: Lake, root: Path) -> None:
    lake.write(BORROW, {"time_ms": np.array([T0]), "hourly_rate": np.array([1e-6])}, RECORDED)
    run(lake, root)
    properties = read_properties(root)
    for key in (("binancemark", "BTCUSDT", "cryptofuture"), ("binanceborrow", "BTCUSDT", "cryptofuture")):
        assert properties[key][4] == "USDT"
    hours = json.loads((root / "market-hours/market-hours-database.json").read_text())["entries"]
    assert {"CryptoFuture-binancemark-[*]", "CryptoFuture-binanceborrow-[*]", "Crypto-binance-[*]"} <= set(hours)


def test_minutes_are_cut_into_days(lake: Lake, root: Path) -> None:
    lake.write(MINUTES, bars(3, MINUTE, T0 + DAY - 2 * MINUTE), RECORDED)
    run(lake, root)
    folder = root / "crypto/binance/minute/btcusdt"
    assert sorted(path.name for path in folder.iterdir()) == ["20240101_trade.zip", "20240102_trade.zip"]
    with zipfile.ZipFile(folder / "20240102_trade.zip") as archive:
        assert archive.read("20240102_btcusdt_minute_trade.csv").startswith(b"0,40000.299999999996,")  # 40000.1 + 0.2


# --- only what changed --------------------------------------------------------------------------------------------


def test_a_second_export_writes_nothing(lake: Lake, root: Path) -> None:
    first = run(lake, root)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    second = run(lake, root)
    assert written(second) == {}
    assert second.shared_written == ()
    assert sum(item.kept for item in second.series) == sum(item.written for item in first.series) == 5
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()} == before


def test_only_the_changed_day_is_written_again(lake: Lake, root: Path) -> None:
    lake.write(MINUTES, bars(2 * 1440, MINUTE), RECORDED)
    run(lake, root)
    lake.merge(MINUTES, bars(1440, MINUTE, T0 + 2 * DAY, 50_000.0), RECORDED)
    assert written(run(lake, root)) == {str(MINUTES): 1}
    lake.write(MINUTES, bars(1440, MINUTE), RECORDED)
    outcome = run(lake, root)
    assert written(outcome) == {}
    assert sorted(path.name for path in (root / "crypto/binance/minute/btcusdt").iterdir()) == ["20240101_trade.zip"]


def test_a_touched_file_with_the_same_content_is_not_written_again(lake: Lake, root: Path) -> None:
    run(lake, root)
    os.utime(root / "crypto/binance/hour/btcusdt_trade.zip", (1, 1))
    os.utime(lake.path(SPOT), (1, 1))
    assert written(run(lake, root)) == {}


def test_an_edited_or_deleted_file_is_written_again(lake: Lake, root: Path) -> None:
    run(lake, root)
    fresh = files_of(root)
    (root / "cryptofuture/binance/margin_interest/btcusdt.csv").write_text("20240101 00:00:00,9\n")
    (root / "crypto/binance/hour/btcusdt_trade.zip").unlink()
    (root / "market-hours/market-hours-database.json").write_text("{}")
    outcome = run(lake, root)
    assert written(outcome) == {str(FUNDING): 1, str(SPOT): 1}
    assert outcome.shared_written == ("market-hours/market-hours-database.json",)
    now = files_of(root)
    assert {name for name in fresh if now[name] != fresh[name]} <= {MANIFEST_NAME}


def test_a_new_mark_bar_changes_the_settlements_marks(lake: Lake, root: Path) -> None:
    run(lake, root)
    lake.write(MARK, bars(48, price=41_000.0, volume=False), RECORDED)
    assert written(run(lake, root)) == {str(MARK): 1, str(FUNDING): 1}  # the rates are as they were


def test_another_period_is_another_text(lake: Lake, root: Path) -> None:
    run(lake, root)
    outcome = run(lake, root, start_ms=T0 + HOUR, end_ms=T0 + 3 * HOUR)
    assert {item.series: (item.rows, item.first_ms) for item in outcome.series} == {
        str(key): (2, T0 + HOUR) for key in (SPOT, PERP, MARK)
    }
    assert [(item.name, item.reason) for item in outcome.skipped] == [(str(FUNDING), "no rows in the asked period")]


def test_a_series_that_left_the_lake_leaves_the_folder(lake: Lake, root: Path) -> None:
    run(lake, root)
    lake.path(MARK).unlink()
    outcome = run(lake, root)
    assert outcome.removed == (str(MARK),)
    assert not (root / "cryptofuture/binancemark/hour").exists()
    assert not (root / "cryptofuture/binancemark/margin_interest/btcusdt.csv").exists()  # no mark is known any more


def test_a_symbol_asked_for_leaves_the_others_alone(lake: Lake, root: Path) -> None:
    eth = SeriesKey("binance", "spot", "ETHUSDT", "bars", "1h")
    lake.write(eth, bars(3), RECORDED)
    run(lake, root)
    lake.write(eth, bars(4), RECORDED)
    outcome = run(lake, root, symbols=("ETH/USDT",))
    assert written(outcome) == {str(eth): 1}
    assert outcome.removed == outcome.shared_written == ()
    assert written(run(lake, root)) == {}


# --- closes of index and oracle, for custom data ------------------------------------------------------------------

INDEX = SeriesKey("binance", "linear", "BTCUSDT", "index", "1h")
INDEX_MINUTES = SeriesKey("binance", "linear", "BTCUSDT", "index", "1m")
CLOSES = "cryptofuture/binanceindex/margin_interest/btcusdt.csv"


@pytest.mark.parametrize("series", ["index", "oracle"])
def test_closes_stand_at_the_instant_at_which_they_are_known(
    lake: Lake, root: Path, tmp_path: Path, series: str
) -> None:
    key = SeriesKey("binance", "linear", "BTCUSDT", series, "1h")
    lake.write(key, bars(3, price=0.5, volume=False), RECORDED)
    run(lake, root)
    path = root / f"cryptofuture/binance{series}/margin_interest/btcusdt.csv"
    # The bar of 00:00 closes at 01:00; closes are 0.5 and a tenth more each hour.
    assert path.read_text() == ("20240101 01:00:00,0.5\n20240101 02:00:00,0.6\n20240101 03:00:00,0.7\n")
    back(root, tmp_path / "copy")
    assert Lake(tmp_path / "copy").path(key).read_bytes() == lake.path(key).read_bytes()


def test_a_feed_appends_to_the_closes_and_the_next_export_keeps_it(lake: Lake, root: Path) -> None:
    lake.write(INDEX, bars(2, price=0.5, volume=False), RECORDED)
    run(lake, root)
    place = Place("cryptofuture", "binanceindex", "BTCUSDT")
    append_rate(root, place, T0 + 3 * HOUR, 1.25)
    assert (root / CLOSES).read_text().endswith("20240101 02:00:00,0.6\n20240101 03:00:00,1.25\n")
    run(lake, root)
    assert (root / CLOSES).read_text().endswith("20240101 02:00:00,0.6\n20240101 03:00:00,1.25\n")
    lake.write(INDEX, bars(3, price=0.5, volume=False), RECORDED)  # the lake has caught up, with a value of its own
    run(lake, root)
    assert (root / CLOSES).read_text().endswith("20240101 02:00:00,0.6\n20240101 03:00:00,0.7\n")
    assert written(run(lake, root)) == {}


def test_of_two_lengths_the_hours_give_the_closes(lake: Lake, root: Path) -> None:
    lake.write(INDEX_MINUTES, bars(120, MINUTE, price=0.5, volume=False), RECORDED)
    run(lake, root)
    assert len((root / CLOSES).read_text().splitlines()) == 120
    lake.write(INDEX, bars(2, price=0.5, volume=False), RECORDED)  # from now on the minutes have no file of closes
    run(lake, root)
    assert len((root / CLOSES).read_text().splitlines()) == 2
    assert written(run(lake, root)) == {}


def test_instruments_without_filters_are_exported_as_prices_where_an_oracle_wants_them(
    lake: Lake, root: Path, tmp_path: Path
) -> None:
    keys = [
        SeriesKey("atlantis", "spot", "BTCUSDT", "bars", "1h"),
        SeriesKey("atlantis", "linear", "BTCUSDT", "mark", "1h"),
        SeriesKey("atlantis", "linear", "BTCUSDT", "funding"),
    ]
    lake.write(keys[0], bars(3), RECORDED)
    lake.write(keys[1], bars(3, price=0.5, volume=False), RECORDED)
    lake.write(keys[2], rates([T0], [1e-4]), RECORDED)
    outcome = run(lake, root, with_sources=True)
    assert {str(keys[0]), str(keys[1])} <= {item.series for item in outcome.series}
    assert [item.name for item in outcome.skipped] == [str(keys[2])]  # funding is for trading
    assert not [key for key in read_properties(root) if key[0] == "atlantis"]
    with pytest.raises(SettingsError, match="unknown venue 'atlantis'"):
        run(lake, root, with_sources=True, symbols=("atlantis:spot:BTCUSDT",))  # asked for to be traded
    copy = back(root, tmp_path / "copy")
    for key in keys[:2]:
        assert copy.path(key).read_bytes() == lake.path(key).read_bytes()


def test_prices_never_take_the_file_of_a_contract_that_is_traded(lake: Lake, root: Path) -> None:
    other = SeriesKey("binance", "linear", "BTC_USDT", "bars", "1h")
    lake.write(other, bars(3, price=1.5), RECORDED)
    outcome = run(lake, root, with_sources=True)
    assert {item.name: item.reason for item in outcome.skipped} == {
        str(other): f"prices only, and {PERP} has that file"
    }


# --- interrupted --------------------------------------------------------------------------------------------------


def test_an_interrupted_export_leaves_whole_files_and_the_next_one_finishes(
    lake: Lake, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.write(MINUTES, bars(3 * 1440, MINUTE), RECORDED)
    run(lake, tmp_path / "undisturbed")
    real, calls = exporting.write_bytes, []

    def fails_at_third(path: Path, content: bytes) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(path, content)

    monkeypatch.setattr(exporting, "write_bytes", fails_at_third)
    with pytest.raises(KeyboardInterrupt):
        run(lake, root)
    whole = files_of(tmp_path / "undisturbed")
    assert not [name for name in files_of(root) if name.endswith(".part")]
    assert all(whole[name] == content for name, content in files_of(root).items() if name != MANIFEST_NAME)
    monkeypatch.setattr(exporting, "write_bytes", real)
    run(lake, root)
    assert {name: files_of(root)[name] for name in whole if name != MANIFEST_NAME} == {
        name: content for name, content in whole.items() if name != MANIFEST_NAME
    }
    assert written(run(lake, root)) == {}


def test_unfinished_files_of_a_killed_export_are_taken_away(lake: Lake, root: Path) -> None:
    run(lake, root)
    part = root / "crypto/binance/hour/.btcusdt_trade.zip.1-0.part"
    part.write_bytes(b"x")
    run(lake, root)
    assert part.exists()  # the last export ended by itself, so nobody looks
    (root / ".carry-export-running").touch()
    run(lake, root)
    assert not part.exists()
    assert not (root / ".carry-export-running").exists()


def test_days_that_a_killed_export_left_are_taken_away(lake: Lake, root: Path) -> None:
    lake.write(MINUTES, bars(1440, MINUTE), RECORDED)
    run(lake, root)
    stray = root / "crypto/binance/minute/btcusdt/20231231_trade.zip"
    stray.write_bytes(b"x")
    lake.write(MINUTES, bars(1440, MINUTE, price=1.5), RECORDED)
    run(lake, root)
    assert not stray.exists()


# --- refused ------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_ours_is_not_written_to(lake: Lake, root: Path) -> None:
    root.mkdir()
    (root / "equity").mkdir()
    with pytest.raises(RefusedError, match="carry lean export did not write them"):
        run(lake, root)
    assert [path.name for path in root.iterdir()] == ["equity"]


@pytest.mark.parametrize("content", ['{"format":"carry-lean-0","tool":"","shared":{},"series":{}}', "{", "[]", "\xff"])
def test_a_damaged_manifest_is_named(lake: Lake, root: Path, content: str) -> None:
    root.mkdir()
    (root / MANIFEST_NAME).write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=MANIFEST_NAME):
        run(lake, root)


def test_what_cannot_be_exported_is_left_out_with_its_reason(lake: Lake, root: Path) -> None:
    lake.write(SeriesKey("binance", "spot", "BTCUSDT", "bars", "5m"), bars(3, 5 * MINUTE), RECORDED)
    lake.write(SeriesKey("binance", "spot", "WIFUSDT", "bars", "1h"), bars(3), RECORDED)
    lake.write(SeriesKey("atlantis", "spot", "BTCUSDT", "bars", "1h"), bars(3), RECORDED)
    reasons = {item.name: item.reason for item in run(lake, root).skipped}
    assert "Lean has no 5m bars" in reasons["binance:spot:BTCUSDT bars 5m"]
    assert "unknown instrument 'binance:spot:WIFUSDT'" in reasons["binance:spot:WIFUSDT bars 1h"]
    assert "unknown venue 'atlantis'" in reasons["atlantis:spot:BTCUSDT bars 1h"]


def test_what_was_asked_for_and_cannot_be_exported_is_an_error(lake: Lake, root: Path) -> None:
    lake.write(SeriesKey("binance", "spot", "WIFUSDT", "bars", "1h"), bars(3), RECORDED)
    lake.write(SeriesKey("binance", "spot", "ETHUSDT", "bars", "5m"), bars(3, 5 * MINUTE), RECORDED)
    lake.write(SeriesKey("binance", "linear", "ETHBTC", "bars", "1h"), bars(3), RECORDED)
    filters = InstrumentSettings("ETH", "BTC", *(Decimal(1),) * 4)
    with pytest.raises(SettingsError, match="WIFUSDT"):
        run(lake, root, symbols=("WIFUSDT",))
    with pytest.raises(DataError, match="Lean has no 5m bars"):
        run(lake, root, symbols=("binance:spot:ETHUSDT",))
    with pytest.raises(RefusedError, match="takes a perpetual quoted in BTC for an inverse contract"):
        run(lake, root, symbols=("ETHBTC",), overrides={"binance:linear:ETHBTC": filters})
    with pytest.raises(UsageError, match="--symbol DOGEUSDT: the lake holds no such symbol"):
        run(lake, root, symbols=("DOGEUSDT",))


def test_two_series_never_share_a_file(lake: Lake, root: Path) -> None:
    other = SeriesKey("binance", "linear", "btcusdt", "bars", "1h")
    lake.write(other, bars(3), RECORDED)
    filters = InstrumentSettings("BTC", "USDT", *(Decimal(1),) * 4)
    with pytest.raises(DataError, match="would share one file"):
        run(lake, root, overrides={"binance:linear:btcusdt": filters})


def test_a_value_that_lean_cannot_hold_is_named(lake: Lake, root: Path) -> None:
    columns = bars(3)
    columns["volume"] = np.array([1.0, 1e20, 1.0])
    lake.write(SPOT, columns, RECORDED)
    with pytest.raises(DataError, match=r"binance:spot:BTCUSDT bars 1h, row 2: volume 1000000"):
        run(lake, root)


def test_a_folder_that_is_not_leans_own_is_refused(lake: Lake, root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="symbol-properties-database.csv cannot be read"):
        run(lake, root, lean_data=tmp_path)


# --- back to the lake ---------------------------------------------------------------------------------------------


def test_a_lake_comes_back_byte_for_byte(lake: Lake, root: Path, tmp_path: Path) -> None:
    lake.write(MINUTES, bars(1441, MINUTE, T0 + 12 * HOUR), RECORDED)
    lake.write(SeriesKey("binance", "spot", "BTCUSDT", "bars", "1d"), bars(2, DAY), RECORDED)
    lake.write(SeriesKey("binance", "inverse", "BTCUSD", "bars", "1h"), bars(2), RECORDED)
    lake.write(SeriesKey("bybit", "linear", "BTCUSDT", "index", "1h"), bars(2, volume=False), RECORDED)
    lake.write(SeriesKey("bybit", "linear", "BTCUSDT", "oracle", "1h"), bars(2, volume=False), RECORDED)
    own = rates([T0 + 3, T0 + 8 * HOUR], [1e-4, -1e-7]) | {"mark_price": np.array([np.nan, 0.3])}
    lake.write(SeriesKey("bybit", "linear", "BTCUSDT", "funding"), own, RECORDED)
    none = rates([T0, T0 + 8 * HOUR], [0.0, -0.0]) | {"mark_price": np.full(2, np.nan)}
    lake.write(SeriesKey("bybit", "linear", "ETHUSDT", "funding"), none, Provenance("made up", synthetic=True))
    for asset in ("BTC", "USDT"):
        hourly = {"time_ms": np.array([T0 + 5, T0 + HOUR]), "hourly_rate": np.array([1.25e-7, 0.0])}
        lake.write(SeriesKey("bybit", "asset", asset, "borrow"), hourly, RECORDED)
    assert run(lake, root).skipped == ()
    again = back(root, tmp_path / "back")
    assert again.list() == lake.list()
    for key in lake.list():
        assert again.path(key).read_bytes() == lake.path(key).read_bytes(), key


def test_without_the_manifest_rows_come_back_at_their_hours(lake: Lake, root: Path, tmp_path: Path) -> None:
    run(lake, root)
    (root / MANIFEST_NAME).unlink()
    again = back(root, tmp_path / "back")
    assert again.list() == lake.list()
    assert again.read(PERP).columns["high"].tolist() == lake.read(PERP).columns["high"].tolist()
    funding = again.read(FUNDING)
    assert funding.time_ms.tolist() == [T0, T0 + 8 * HOUR, T0 + 16 * HOUR]
    assert funding.columns["funding_rate"].tolist() == [1e-4, -8.4e-7, 1e-05]
    assert funding.columns["mark_price"].tolist() == [40_000.1, 40_000.9, 40_001.7]
    assert again.info(PERP).provenance.source == "lean lean"
    assert [origin.name for origin in again.info(FUNDING).provenance.origins] == [
        "cryptofuture/binance/margin_interest/btcusdt.csv",
        "cryptofuture/binancemark/margin_interest/btcusdt.csv",
    ]


def test_changed_files_do_not_get_the_old_origin(lake: Lake, root: Path, tmp_path: Path) -> None:
    run(lake, root)
    (root / "cryptofuture/binance/margin_interest/btcusdt.csv").write_text("20240101 00:00:00,0.5\n")
    again = back(root, tmp_path / "back")
    assert again.read(FUNDING).columns["funding_rate"].tolist() == [0.5]
    assert again.info(FUNDING).provenance.source == "lean lean"


def sample_folder(root: Path) -> Path:
    """A folder of the shape of Lean's own sample data (lean.md 10.1), with rows made up for this test."""
    texts = {
        "cryptofuture/binance/hour/adausdt_trade.zip": ("adausdt_trade_perp.csv", "20221213 00:00,1,2,.5,1.5,7\r\n"),
        "cryptofuture/binance/minute/btcusd/20221213_trade.zip": (
            "20221213_btcusd_minute_trade_perp.csv",
            "0,1,2,1,1,7",
        ),
        "cryptofuture/binance/minute/btcusd/20221214_trade.zip": ("other name.csv", "60000,1,2,1,1,7"),
        "cryptofuture/dydx/minute/btcusd/20260101_trade.zip": ("x.csv", "0,1,2,1,1,7"),
        "crypto/coinbase/daily/btcusd_trade.zip": ("btcusd.csv", "20170101 00:00,1,2,1,1,7"),
        "crypto/bybit/minute/btcusdt/20221213_quote.zip": ("q.csv", "0,1,1,1,1,1,1,1,1,1,1"),
        "crypto/coinbase/second/btcusd/20161007_trade.zip": ("s.csv", "0,1,1,1,1,1"),
    }
    for name, (entry, text) in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(root / name, "w") as archive:
            archive.writestr(entry, text)
    interest = root / "cryptofuture/binance/margin_interest/btcusd.csv"
    interest.parent.mkdir(parents=True)
    interest.write_text("20221213 00:00:00,-0.00001869\n20221213 08:00:00,0.0001\n")
    return root


def test_a_folder_in_leans_shape_is_read(tmp_path: Path) -> None:
    found = read_back.find_series(sample_folder(tmp_path / "Data"))
    assert [str(item.key) for item in found.series] == [
        "binance:inverse:BTCUSD bars 1m",
        "binance:inverse:BTCUSD funding",
        "binance:linear:ADAUSDT bars 1h",
        "coinbase:spot:BTCUSD bars 1d",
        "dydx:linear:BTCUSD bars 1m",
    ]
    assert {item.name: item.reason.split(":")[0] for item in found.skipped} == {
        "crypto/bybit/minute/btcusdt/20221213_quote.zip": "quote bars",
        "crypto/coinbase/second/btcusd/20161007_trade.zip": "not a file of minute, hour or daily bars, nor of rates",
    }
    pieces = {str(piece.key): piece for piece in read_back.read_series(found, found.series)}
    midnight = 1_670_889_600_000
    assert pieces["binance:inverse:BTCUSD bars 1m"].columns["time_ms"].tolist() == [midnight, midnight + DAY + MINUTE]
    assert pieces["binance:linear:ADAUSDT bars 1h"].columns["low"].tolist() == [0.5]
    assert pieces["binance:inverse:BTCUSD funding"].columns["funding_rate"].tolist() == [-0.00001869, 0.0001]
    only = read_back.find_series(tmp_path / "Data", "binance")
    assert {item.key.venue for item in only.series} == {"binance"}
    assert [str(item.key) for item in read_back.select(only, ["BTC/USD"], ["1m"])] == [
        "binance:inverse:BTCUSD bars 1m",
        "binance:inverse:BTCUSD funding",
    ]
    with pytest.raises(UsageError, match="--symbols XRPUSDT"):
        read_back.select(only, ["XRPUSDT"], [])


def test_a_folder_without_series_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a folder"):
        read_back.find_series(tmp_path / "absent")
    with pytest.raises(DataError, match="holds no trade bars or rates"):
        read_back.find_series(tmp_path)
    sample_folder(tmp_path)
    with pytest.raises(DataError, match="of kraken in Lean's shape"):
        read_back.find_series(tmp_path, "kraken")


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        (
            "cryptofuture/binance/margin_interest/btcusdt.csv",
            lambda _: b"20240101 00:00:00,1e-05\n",
            "btcusdt.csv, row 1",
        ),
        ("cryptofuture/binance/margin_interest/btcusdt.csv", lambda _: b"", "is empty"),
        ("crypto/binance/hour/btcusdt_trade.zip", lambda content: content[:100], "btcusdt_trade.zip is damaged"),
    ],
)
def test_damage_is_named(
    lake: Lake, root: Path, tmp_path: Path, name: str, spoil: Callable[[bytes], bytes], message: str
) -> None:
    run(lake, root)
    (root / name).write_bytes(spoil((root / name).read_bytes()))
    with pytest.raises(DataError) as caught:
        back(root, tmp_path / "back")
    assert message in caught.value.message


# --- rows of a running feed ---------------------------------------------------------------------------------------

RATES = Place("cryptofuture", "binance", "BTCUSDT")


def test_appended_rows_stay_until_the_lake_has_them(lake: Lake, root: Path, tmp_path: Path) -> None:
    run(lake, root)
    append_rate(root, RATES, T0 + DAY, 3.5e-7)
    rates_file = root / RATES.rate_path
    assert rates_file.read_text().endswith("20240101 16:00:00,0.00001\n20240102 00:00:00,0.00000035\n")
    live = rates_file.read_bytes()
    assert written(run(lake, root))[str(FUNDING)] == 1
    assert rates_file.read_bytes() == live
    assert written(run(lake, root)) == {}
    assert back(root, tmp_path / "back").read(FUNDING).time_ms.tolist()[-1] == T0 + DAY
    # the lake learns another rate for that settlement: the lake is the source of truth
    lake.merge(FUNDING, rates([T0 + DAY], [4e-7]), RECORDED)
    run(lake, root)
    assert rates_file.read_text().endswith("20240101 16:00:00,0.00001\n20240102 00:00:00,0.0000004\n")


def test_appended_rows_come_in_order_and_in_numbers_that_lean_reads(lake: Lake, root: Path) -> None:
    run(lake, root)
    with pytest.raises(DataError, match="does not come after the last one, 2024-01-01T16:00:00Z"):
        append_rate(root, RATES, T0 + 16 * HOUR, 1e-4)
    with pytest.raises(DataError, match="not at a whole second"):
        append_rate(root, RATES, T0 + DAY + 1, 1e-4)
    with pytest.raises(DataError, match="more digits"):
        append_rate(root, RATES, T0 + DAY, 5e-324)
    assert not (root / "carry-live").exists()
    new = Place("cryptofuture", "binanceborrow", "ETHUSDT")
    append_rate(root, new, T0, 1e-6)
    assert (root / new.rate_path).read_text() == "20240101 00:00:00,0.000001\n"
