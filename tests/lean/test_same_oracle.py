"""Where the price oracle degrades and halts, the adapter on the exported folder does what the embedded engine does.

The embedded engine's oracle comes out of the lake, the adapter's out of the folder that was exported from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from crypto.oracle_composite import Status
from crypto.pipeline.reasons import Reason
from crypto.settings import Settings
from crypto.simulator import state
from crypto.simulator.loop import run_python
from crypto.simulator.python_strategy import PythonPipeline
from crypto.simulator.setup import build
from data.lean_folder.export import ExportOptions, export
from data.lean_folder.layout import MANIFEST_NAME, composite_place
from data.lean_folder.live_rows import append_rate
from data.lean_folder.read_back import find_series
from data.lean_market import load_lean_market
from data.oracle_history import oracle_requests, with_oracle
from data.settings import load_settings
from data.store.lake import Lake
from data.store.rows import Columns
from data.store.series import Provenance, SeriesKey
from tests.lean import engine
from tests.lean.folder import PERP, columns
from tests.lean.run_parameters import CONFIG, PERIOD
from tests.lean.test_same_orders import assert_same, history_with_bars
from tests.lean.test_same_risk import HOUR_MS, START_MS, WATCHED, entry

OK, DEGRADED, HALT = int(Status.OK), int(Status.DEGRADED), int(Status.HALT)
ORACLE = '\n[oracle]\nenabled = true\nkind = "index"\n'
OTHERS = ("bybit", "okx", "atlantis")  # the last two have no filters here: prices only
Hours = Mapping[str, Mapping[int, float]]  # by venue: factor of the close in an hour of the run; NaN: no bar


def lake_of(folder: Path, hours: Hours) -> Lake:
    """The recorded market, and spot markets of other venues that print its prices but in some hours."""
    lake, origin = Lake(folder), Provenance("generated", synthetic=True)
    lake.write(SeriesKey("binance", "spot", "BTCUSDT", "bars", "1h"), columns("spot"), origin)
    lake.write(SeriesKey("binance", "linear", "BTCUSDT", "bars", "1h"), columns("perp"), origin)
    mark = {name: values for name, values in columns("mark").items() if name != "volume"}
    lake.write(SeriesKey("binance", "linear", "BTCUSDT", "mark", "1h"), mark, origin)
    lake.write(SeriesKey("binance", "linear", "BTCUSDT", "funding"), columns("funding"), origin)
    for venue in OTHERS:
        lake.write(SeriesKey(venue, "spot", "BTCUSDT", "bars", "1h"), _moved(hours.get(venue, {})), origin)
    return lake


def _moved(factors: Mapping[int, float]) -> Columns:
    rows = {name: values.copy() for name, values in columns("spot").items()}
    keep = np.ones(len(rows["time_ms"]), dtype=bool)
    for hour, factor in factors.items():
        (place,) = np.flatnonzero(rows["time_ms"] == START_MS + hour * HOUR_MS)
        keep[place] = not math.isnan(factor)
        for name in ("open", "high", "low", "close"):
            rows[name][place] *= factor
    return {name: values[keep] for name, values in rows.items()}


def silent(hours: Sequence[int]) -> dict[int, float]:
    return dict.fromkeys(hours, math.nan)


Ran = Callable[..., tuple[Any, Any, Any]]


@pytest.fixture
def ran(tmp_path: Path) -> Ran:
    """Both engines: the adapter, the embedded engine's world, and its market."""

    def run(hours: Hours, more: str = "", **changes: str) -> tuple[Any, Any, Any]:
        config, folder = tmp_path / "market.toml", tmp_path / "lean"
        config.write_text(CONFIG.read_text() + ORACLE + more)
        given = PERIOD | {name.replace("__", "."): value for name, value in changes.items()}
        settings = load_settings(config, [f"{name}={value}" for name, value in given.items()])
        lake = lake_of(tmp_path / "lake", hours)
        export(lake, folder, ExportOptions(with_sources=True))
        rows = {name: columns(name) for name in ("spot", "perp")}
        market = with_oracle(history_with_bars(folder, settings, (), rows), lake, settings)
        world = run_python(build(settings, market).world, PythonPipeline())
        algorithm = engine.new_algorithm(folder, {"config": str(config), **given})
        spot, perp = algorithm.double_securities
        engine.run(algorithm, engine.recorded_slices(), {"spot": spot, "perp": perp})
        assert_same(algorithm, world)
        journal = world.journal[: world.run[0].journal_rows]
        wanted = [entry(row) for row in journal if row.event in WATCHED]
        assert [entry(row) for row in algorithm.exchange.world.journal if row.event in WATCHED] == wanted
        return algorithm, world, market

    return run


def guards(world: Any) -> list[tuple[int, int]]:
    """Hours of the run at which the oracle's guard tripped (+1) and was released (-1)."""
    rows = world.journal[: world.run[0].journal_rows]
    signs = {state.GUARD_TRIPPED: 1, state.GUARD_RELEASED: -1}
    return [
        ((int(row.time_ms) - START_MS) // HOUR_MS, signs[int(row.event)])
        for row in rows
        if row.event in signs and row.reason == Reason.ORACLE
    ]


def opened(world: Any) -> int:
    rows = world.journal[: world.run[0].journal_rows]
    first = next(row for row in rows if row.event == state.TRIP_OPENED)
    return (int(first.time_ms) - START_MS) // HOUR_MS


def test_venues_fall_silent_and_nothing_is_opened_until_they_are_back(ran: Ran) -> None:
    quiet = opened(ran({})[1])
    # Bars quiet-4 .. quiet-2: two venues silent, so two are left; quiet-1, quiet: one is left; then all are back.
    two, one = range(quiet - 4, quiet - 1), range(quiet - 1, quiet + 1)
    hours = {"bybit": silent([*two, *one]), "okx": silent([*two, *one]), "atlantis": silent(one)}
    algorithm, world, market = ran(hours)
    status = market.oracle["BTC"].tolist()
    assert status[quiet - 5 : quiet + 2] == [OK, DEGRADED, DEGRADED, DEGRADED, HALT, HALT, OK]
    # A close is known one hour after its bar opened; three good ones in a row release it.
    assert guards(world) == [(quiet - 3, 1), (quiet + 4, -1)]
    assert opened(world) == quiet + 4
    assert algorithm.exchange.world.oracle


def test_a_perp_far_off_the_composite_is_not_opened(ran: Ran) -> None:
    quiet = opened(ran({})[1])
    # All venues print 8 % more than the perp's mark for two bars: the composite is good, the perp is not.
    up = dict.fromkeys((quiet - 2, quiet - 1), 1.08)
    _, world, market = ran(dict.fromkeys(OTHERS, up))
    assert market.oracle["BTC"].tolist()[quiet - 2 : quiet] == [OK, OK]
    assert market.oracle[PERP].tolist()[quiet - 3 : quiet + 1] == [OK, DEGRADED, DEGRADED, OK]
    assert guards(world) == [(quiet - 1, 1), (quiet + 3, -1)]


def test_valued_on_its_last_trade_a_perp_is_compared_by_that(ran: Ran) -> None:
    last = {"data__valuation_price": "last", "funding__price": "last"}
    quiet = opened(ran({}, **last)[1])
    up = dict.fromkeys((quiet - 2, quiet - 1), 1.08)
    _, world, market = ran(dict.fromkeys(OTHERS, up), **last)
    assert market.oracle[PERP].tolist()[quiet - 3 : quiet + 1] == [OK, DEGRADED, DEGRADED, OK]
    assert guards(world)[0] == (quiet - 1, 1)


def test_limits_of_the_oracle_are_parameters_of_the_run(ran: Ran) -> None:
    """The folder holds prices and no verdicts, so Lean's optimizer reaches every limit."""
    hours = {"bybit": silent(range(190)), "okx": silent([40, 41])}
    assert ran(hours)[2].oracle["BTC"].tolist()[39:43] == [OK, DEGRADED, DEGRADED, OK]
    loose = ran(hours, oracle__quorum="2")
    assert loose[2].oracle["BTC"].tolist()[39:43] == [OK] * 4


# -- the composite as custom data ---------------------------------------------------------------------------------

COMPOSITE = "cryptofuture/carryoracle/margin_interest/btcusdt.csv"


def oracle_settings(folder: Path, *changes: str) -> Settings:
    config = folder / "market.toml"
    config.write_text(CONFIG.read_text() + ORACLE)
    return load_settings(config, [*(f"{name}={value}" for name, value in PERIOD.items()), *changes])


def exported(tmp_path: Path, hours: Hours, *changes: str, **options: Any) -> Any:
    """What ``carry lean export --config`` does with the oracle enabled."""
    requests = oracle_requests(oracle_settings(tmp_path, *changes))
    given = ExportOptions(with_sources=True, composites=requests, **options)
    return export(lake_of(tmp_path / "lake", hours), tmp_path / "lean", given)


def rows_of(folder: Path) -> dict[int, float]:
    lines = (folder / COMPOSITE).read_text().splitlines()
    stamps = [datetime.strptime(line[:17], "%Y%m%d %H:%M:%S").replace(tzinfo=UTC) for line in lines]
    return {round(at.timestamp() * 1000): float(line[18:]) for at, line in zip(stamps, lines, strict=True)}


def test_the_composite_stands_in_the_folder_bar_by_bar_but_not_while_it_halts(tmp_path: Path) -> None:
    hours = {
        "bybit": {30: math.nan, 31: 1.001},
        "okx": {30: math.nan, 31: 1.002},
        "atlantis": {30: math.nan, 31: 0.999},
    }
    exported(tmp_path, hours)
    spot, rows = columns("spot"), rows_of(tmp_path / "lean")
    closes = dict(zip((spot["time_ms"] + HOUR_MS).tolist(), spot["close"].tolist(), strict=True))
    halted, split = START_MS + 31 * HOUR_MS, START_MS + 32 * HOUR_MS
    assert set(rows) == set(closes) - {halted}
    # Binance 1 (weight 3), Bybit 1.001 (2), OKX 1.002 (2), Atlantis 0.999 (1): half of 8 is reached exactly at
    # Binance (1 + 3), so the price is the mean of it and the next, 1.0005.
    assert rows[split] == pytest.approx(closes[split] * 1.0005, rel=1e-12)
    others = set(rows) - {split}
    assert {time: rows[time] for time in others} == {time: closes[time] for time in others}  # all say the same
    record = json.loads((tmp_path / "lean" / MANIFEST_NAME).read_text())["composites"]["BTC"]
    assert list(record["files"]) == [COMPOSITE]
    assert record["rows"] == len(rows)


def composite_of(outcome: Any) -> tuple[int, int]:
    (found,) = (item for item in outcome.series if item.series == "composite oracle of BTC")
    return found.written, found.kept


def test_the_composite_is_written_again_only_when_its_prices_or_limits_change(tmp_path: Path) -> None:
    path = tmp_path / "lean" / COMPOSITE
    assert composite_of(exported(tmp_path, {})) == (1, 0)
    first = path.stat().st_mtime_ns
    assert composite_of(exported(tmp_path, {})) == (0, 1)
    assert path.stat().st_mtime_ns == first
    assert composite_of(exported(tmp_path, {}, "oracle.quorum=2")) == (0, 1)  # other limits, the same prices
    assert composite_of(exported(tmp_path, {"okx": {30: 1.001}, "bybit": {30: 1.001}})) == (1, 0)
    path.write_text(path.read_text() + "20300101 00:00:00,1\n")  # somebody edited it
    assert composite_of(exported(tmp_path, {"okx": {30: 1.001}, "bybit": {30: 1.001}})) == (1, 0)
    assert "2030" not in path.read_text()


def test_an_export_without_the_oracle_takes_the_composite_away(tmp_path: Path) -> None:
    exported(tmp_path, {})
    export(Lake(tmp_path / "lake"), tmp_path / "lean", ExportOptions(symbols=(PERP,)))
    assert (tmp_path / "lean" / COMPOSITE).is_file()  # only named symbols were touched
    export(Lake(tmp_path / "lake"), tmp_path / "lean", ExportOptions())
    assert not (tmp_path / "lean" / COMPOSITE).exists()
    assert json.loads((tmp_path / "lean" / MANIFEST_NAME).read_text())["composites"] == {}


def test_a_composite_that_the_bars_do_not_give_is_left_out_by_name(tmp_path: Path) -> None:
    exported(tmp_path, {})
    kraken = ("oracle.quorum=1", "oracle.degraded_quorum=1", 'oracle.sources={"BTC"=["kraken:spot:BTCUSDT"]}')
    outcome = exported(tmp_path, {}, *kraken)
    (left_out,) = (item for item in outcome.skipped if item.name == "composite of BTC")
    assert "kraken" in left_out.reason
    assert not (tmp_path / "lean" / COMPOSITE).exists()


def test_a_feed_appends_to_the_composite_and_the_next_export_keeps_it(tmp_path: Path) -> None:
    exported(tmp_path, {})
    last = max(rows_of(tmp_path / "lean"))
    append_rate(tmp_path / "lean", composite_place("BTC", "USDT"), last + HOUR_MS, 9876.5)
    assert composite_of(exported(tmp_path, {})) == (1, 0)  # checked once more
    assert rows_of(tmp_path / "lean")[last + HOUR_MS] == 9876.5
    assert composite_of(exported(tmp_path, {})) == (0, 1)


def test_reading_the_folder_back_leaves_the_composite_alone(tmp_path: Path) -> None:
    exported(tmp_path, {})
    keys = {str(item.key) for item in find_series(tmp_path / "lean").series}
    assert not any("carry" in key for key in keys)
    (tmp_path / "lean" / MANIFEST_NAME).unlink()
    assert not any("carry" in str(item.key) for item in find_series(tmp_path / "lean").series)


def test_a_run_subscribes_the_composite_once_for_all_perps_of_the_asset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added: list[tuple[str, str]] = []

    def add_data(_: Any, cls: Any, ticker: str, resolution: Any, zone: Any) -> Any:
        added.append((cls.__name__, ticker))
        return SimpleNamespace(symbol=ticker)

    monkeypatch.setattr(engine.lean.QCAlgorithm, "add_data", add_data, raising=False)
    exported(tmp_path, {})
    given = {"config": str(tmp_path / "market.toml"), **PERIOD, "series": "oracle"}
    algorithm = engine.new_algorithm(tmp_path / "lean", given)
    assert added == [("OraclePrice", "carry.BTCUSDT")]

    class Given(dict[Any, Any]):
        contains_key = dict.__contains__

    algorithm.series.take(Given({"carry.BTCUSDT": SimpleNamespace(value=8000.5)}))
    assert algorithm.series.latest == {(PERP, "oracle"): 8000.5}
    with pytest.raises(RuntimeError, match="made with other settings") as caught:
        engine.new_algorithm(tmp_path / "lean", {**given, "oracle.quorum": "2"})
    assert "carry lean export --config" in str(caught.value)


# -- refused at the start -----------------------------------------------------------------------------------------


def started(tmp_path: Path, options: ExportOptions, spoil: Callable[[Path], None] = lambda _: None) -> Any:
    config, folder = tmp_path / "market.toml", tmp_path / "lean"
    config.write_text(CONFIG.read_text() + ORACLE)
    export(lake_of(tmp_path / "lake", {}), folder, options)
    spoil(folder)
    return engine.new_algorithm(folder, {"config": str(config), **PERIOD})


def test_sources_that_were_not_exported_are_missed_by_name(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="fewer than oracle.quorum = 3") as caught:
        started(tmp_path, ExportOptions())
    assert "carry lean export --config" in str(caught.value)


def test_a_source_that_somebody_changed_is_refused(tmp_path: Path) -> None:
    def change(folder: Path) -> None:
        path = folder / "crypto/okx/hour/btcusdt_trade.zip"
        path.write_bytes(path.read_bytes() + b" ")

    with pytest.raises(RuntimeError, match=r"okx/hour/btcusdt_trade.zip is not the file that was exported"):
        started(tmp_path, ExportOptions(with_sources=True), change)


def test_a_source_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"okx/hour/btcusdt_trade.zip cannot be read"):
        started(
            tmp_path,
            ExportOptions(with_sources=True),
            lambda folder: (folder / "crypto/okx/hour/btcusdt_trade.zip").unlink(),
        )


@pytest.mark.parametrize(
    ("text", "words"), [("{", "cannot be read"), ('{"format": "carry-lean-0", "series": {}}', "has format")]
)
def test_a_folder_without_our_manifest_has_no_sources(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        started(
            tmp_path, ExportOptions(with_sources=True), lambda folder: (folder / MANIFEST_NAME).write_text(text) or None
        )


def test_without_the_oracle_nobody_looks_for_its_sources(tmp_path: Path) -> None:
    folder = tmp_path / "lean"
    export(lake_of(tmp_path / "lake", {}), folder, ExportOptions())
    (folder / MANIFEST_NAME).unlink()
    settings = load_settings(CONFIG, [f"{name}={value}" for name, value in PERIOD.items()])
    assert load_lean_market(folder, settings).oracle == {}


def test_prices_only_have_no_symbol_properties(tmp_path: Path) -> None:
    """Lean must not take a venue without filters for one that it can trade on."""
    folder = tmp_path / "lean"
    outcome = export(lake_of(tmp_path / "lake", {}), folder, ExportOptions(with_sources=True))
    assert {item.series for item in outcome.series} >= {f"{venue}:spot:BTCUSDT bars 1h" for venue in OTHERS}
    listed = (folder / "symbol-properties/symbol-properties-database.csv").read_text()
    assert "okx" not in listed
    assert "atlantis" not in listed
    assert "atlantis:spot:BTCUSDT bars 1h" in json.loads((folder / MANIFEST_NAME).read_text())["series"]
