"""The tools of the benchmarks: ratios, repeats, equality checks that can fail, generated markets and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather
from rich.console import Console

from bench import __main__ as program
from bench import equality, machine, margin_checks, market_files, markets, panel, report
from bench.comparison import Comparison, Direction
from bench.equality import ResultsDifferError
from bench.measure import STATUS, Sample, Timing, cpu_seconds, in_turns, peak_memory_bytes, timed, wall_seconds
from bench.peers import process
from crypto.attribution import attribute_panel
from crypto.instruments import parse_key
from crypto.ledger import COMPONENT_NAMES, LEDGER
from crypto.pipeline.orders import ORDER
from crypto.pipeline.post_trade import TRIP
from crypto.result import BacktestResult
from crypto.settings import MarginEngine
from crypto.venues.binance import BINANCE
from data.store.freqtrade import parse_name

ROOT = Path(__file__).parents[2]
SMALL = panel.PanelSize(symbols=3, hours=50, repeats=2, pandas_repeats=2)


def test_the_fastest_measurements_of_a_sample() -> None:
    assert Sample((3.0, 1.0, 9.0, 2.0)).fastest(2).values == (1.0, 2.0)


def comparison(figure: float, goal: float | None, direction: Direction = Direction.AT_LEAST) -> Comparison:
    return Comparison("item", "unit", "limit", Sample((2.0,)), "ours", Sample((figure,)), goal, direction)


# --- Samples and ratios ----------------------------------------------------------------------------------------------


def test_a_sample_gives_median_and_spread() -> None:
    sample = Sample((4.0, 1.0, 2.0))
    assert sample.median == 2.0
    assert sample.spread == 1.5
    assert sample.rates(8.0).values == (2.0, 8.0, 4.0)


@pytest.mark.parametrize("values", [(), (1.0, 0.0), (-1.0,)])
def test_a_sample_refuses_what_no_clock_can_give(values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="positive measurements"):
        Sample(values)


def test_a_ratio_is_of_medians_and_not_of_means() -> None:
    found = Comparison("item", "unit", "limit", Sample((1.0, 2.0, 99.0)), "ours", Sample((3.0, 1.0, 500.0)))
    assert found.ratio == 1.5


@pytest.mark.parametrize(
    ("figure", "goal", "direction", "passed"),
    [
        (1.4, 0.7, Direction.AT_LEAST, True),
        (1.39, 0.7, Direction.AT_LEAST, False),
        (1.99, 1.0, Direction.BELOW, True),
        (2.0, 1.0, Direction.BELOW, False),
        (0.001, None, Direction.AT_LEAST, True),
    ],
)
def test_a_goal_is_met_from_its_own_side(figure: float, goal: float | None, direction: Direction, passed: bool) -> None:
    assert comparison(figure, goal, direction).passed is passed


def test_runs_are_timed_in_turns() -> None:
    calls: list[str] = []

    def run(name: str, seconds: float) -> Timing:
        calls.append(name)
        return Timing(wall=seconds, cpu=seconds / 2)

    timings = in_turns({"a": lambda: run("a", 1.0), "b": lambda: run("b", 3.0)}, 3)
    assert calls == ["a", "b", "a", "b", "a", "b"]
    assert wall_seconds(timings["b"]).values == (3.0, 3.0, 3.0)
    assert cpu_seconds(timings["a"]).values == (0.5, 0.5, 0.5)


def test_a_run_is_timed_once() -> None:
    calls: list[int] = []
    timing = timed(lambda: calls.append(sum(range(100_000))))
    assert len(calls) == 1
    assert timing.wall > 0.0
    assert timing.cpu > 0.0


@pytest.mark.skipif(not STATUS.exists(), reason="a process's own high-water mark is known on Linux only: run there")
def test_peak_memory_is_of_the_process_itself_and_not_of_its_parent() -> None:
    ballast = np.ones(32 * 2**20)
    assert peak_memory_bytes() > ballast.nbytes
    script = "from bench.measure import peak_memory_bytes; print(peak_memory_bytes())"
    answer = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=ROOT)
    assert 2**20 < int(answer.stdout) < ballast.nbytes


# --- Equality --------------------------------------------------------------------------------------------------------


def test_the_same_bits_pass_with_nan() -> None:
    values = np.array([1.0, np.nan, -0.0])
    equality.require_same_bits("values", values, values.copy())


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (np.array([1.0, 0.0, 3.0]), r"1 of 3 rows differ, first row 1: -0.0 against 0.0"),
        (np.array([1.0, -0.0, np.nextafter(3.0, 4.0)]), r"first row 2: 3.0"),
        (np.array([1.0, -0.0]), r"shape: \(3,\) against \(2,\)"),
        (np.array([1, 0, 3]), "type"),
    ],
)
def test_other_bits_fail(other: np.ndarray[Any, Any], message: str) -> None:
    with pytest.raises(ResultsDifferError, match=message):
        equality.require_same_bits("values", np.array([1.0, -0.0, 3.0]), other)


def test_closeness_is_measured_against_the_scale_of_each_element() -> None:
    left, right = np.array([1.0, 1e-9]), np.array([1.0 + 1e-10, 0.0])
    equality.require_close("sums", left, right, np.array([1e3, 1e4]), 1e-12)
    with pytest.raises(ResultsDifferError, match=r"sums: .* at \(1,\)"):
        equality.require_close("sums", left, right, np.array([1e3, 1e2]), 1e-12)


def test_nan_is_close_to_nothing() -> None:
    with pytest.raises(ResultsDifferError, match=r"at \(1,\)"):
        equality.require_close("sums", np.array([1.0, np.nan]), np.array([1.0, np.nan]), np.ones(2), 1e-12)


def make_result(**changes: Any) -> BacktestResult:
    ledger, orders = np.zeros(2, LEDGER), np.zeros(1, ORDER)
    trips = np.zeros(2, TRIP)
    trips["pair"] = [0, 1]
    series = np.full((3, 2), np.nan)
    result = BacktestResult(
        pair_names=("BTC", "ETH"),
        wallet_names=("w",),
        asset_names=("USDT",),
        instrument_keys=("a", "b", "c", "d"),
        component_names=COMPONENT_NAMES,
        time_ms=np.array([0, 1, 2]),
        wallet_equity=np.ones((3, 1)),
        pair_pnl=series,
        attribution=np.zeros((3, 3, 8)),
        wallet_attribution=np.zeros((3, 1, 8)),
        basis_bps=series,
        carry_annual=series,
        spot_value=series,
        perp_value=series,
        collateral_ratio=series,
        liquidation_distance=series,
        ledger=ledger,
        orders=orders,
        trips=trips,
        journal=({"time_ms": 1, "carry": float("nan")},),
        status="completed",
        summary={},
        policies={},
        provenance={},
        settings={},
    )
    return replace(result, **changes)


def test_two_equal_results_are_the_same() -> None:
    equality.require_same_result(make_result(), make_result())


def changed_ledger() -> np.ndarray[Any, Any]:
    ledger = np.zeros(2, LEDGER)
    ledger["amount"][1] = 5e-324
    return ledger


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ledger": changed_ledger()}, "ledger: 1 of 2 rows differ, first row 1"),
        ({"orders": np.zeros(2, ORDER)}, "orders, shape"),
        ({"attribution": np.full((3, 3, 8), -0.0)}, "attribution"),
        ({"journal": ()}, "length of the journal"),
        ({"journal": ({"time_ms": 2, "carry": float("nan")},)}, "journal, row 0"),
    ],
)
def test_two_results_that_differ_anywhere_are_not_the_same(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ResultsDifferError, match=message):
        equality.require_same_result(make_result(), make_result(**changes))


def test_every_array_of_a_result_is_compared() -> None:
    result = make_result()
    arrays = {name for name in BacktestResult.__slots__ if isinstance(getattr(result, name), np.ndarray)}
    assert arrays == set(equality.RESULT_ARRAYS)


def test_a_run_that_trades_nothing_or_stops_early_is_no_benchmark() -> None:
    market = replace(markets.make_market(25, seed=1), open_ms=np.array([0, 1]), bar_ms=1)
    equality.require_traded(make_result(), market)
    with pytest.raises(ResultsDifferError, match="never traded ETH"):
        equality.require_traded(make_result(trips=np.zeros(1, TRIP)), market)
    with pytest.raises(ResultsDifferError, match="status"):
        equality.require_traded(make_result(status="insolvent"), market)
    with pytest.raises(ResultsDifferError, match="last instant"):
        equality.require_traded(make_result(time_ms=np.array([0, 1])), market)


# --- Panel -----------------------------------------------------------------------------------------------------------


def test_the_three_forms_of_the_panel_agree() -> None:
    made = panel.make_panel(5, 200, seed=4)
    panel.check_equal(made, panel.long_frame(made))


@pytest.mark.parametrize("component", range(5))
def test_the_panel_check_notices_one_wrong_sum(component: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(made: panel.CarryPanel) -> Any:
        gains = attribute_panel(made)
        gains[2, component] += 1e-9
        return gains

    made = panel.make_panel(5, 200, seed=4)
    monkeypatch.setattr(panel, "attribute_panel", wrong)
    with pytest.raises(ResultsDifferError, match=f"{COMPONENT_NAMES[component]}, compiled against einsum"):
        panel.check_equal(made, panel.long_frame(made))


def test_the_panel_check_notices_a_wrong_group_by(monkeypatch: pytest.MonkeyPatch) -> None:
    made = panel.make_panel(5, 200, seed=4)
    right = panel.attribute_with_pandas(panel.long_frame(made))
    monkeypatch.setattr(panel, "attribute_with_pandas", lambda _: right * (1 + 1e-9))
    with pytest.raises(ResultsDifferError, match="compiled against pandas"):
        panel.check_equal(made, panel.long_frame(made))


def test_the_panel_read_touches_every_value() -> None:
    made = panel.make_panel(2, 9, seed=1)
    total = panel.read_memory(made)
    made.fees[1, 8] += 7.0
    assert panel.read_memory(made) == pytest.approx(total + 7.0)


def test_the_panel_item_has_both_goals() -> None:
    memory, pandas_form = panel.compare(SMALL)
    assert (memory.goal, pandas_form.goal) == (0.7, 10.0)
    assert len(memory.figure.values) == len(pandas_form.denominator.values) == 2


# --- Markets and their files -----------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_market_and_another_does_not() -> None:
    one, same, other = (markets.make_market(49, seed) for seed in (1, 1, 2))
    assert one.instruments[1].bars.close.tobytes() == same.instruments[1].bars.close.tobytes()
    assert one.instruments[1].bars.close.tobytes() != other.instruments[1].bars.close.tobytes()


def test_a_market_that_ends_on_a_settlement_is_refused() -> None:
    with pytest.raises(ValueError, match="48 hours end on a settlement"):
        markets.make_market(48, seed=1)


def test_generated_bars_hold_together() -> None:
    market = markets.make_market(501, seed=3)
    for history, leg in zip(market.instruments, markets.legs(), strict=True):
        for bars in filter(None, (history.bars, history.mark)):
            assert (bars.low <= np.minimum(bars.open, bars.close)).all()
            assert (bars.high >= np.maximum(bars.open, bars.close)).all()
            assert (bars.low > 0).all()
            assert (bars.open[1:] == bars.close[:-1]).all()
        assert all(-Decimal(repr(float(x))).as_tuple().exponent <= leg.decimals for x in history.bars.high)


def test_generated_settlements_stand_on_the_mark_of_their_instant() -> None:
    market = markets.make_market(100, seed=3)
    for history in market.instruments[1::2]:
        assert history.settlements is not None
        assert history.mark is not None
        hours = (history.settlements.time_ms - market.open_ms[0]) // 3_600_000
        assert hours.tolist() == list(range(8, 100, 8))
        assert (history.settlements.mark_price == history.mark.open[hours]).all()


def test_legs_are_instruments_of_the_venue() -> None:
    for leg in markets.legs():
        _, kind, symbol = parse_key(leg.key)
        instrument = BINANCE.instruments[kind, symbol]
        assert (instrument.base, instrument.quote) == (leg.base, "USDT")


def test_bars_and_ticks_of_all_legs_are_counted() -> None:
    market = markets.make_market(30, seed=5)
    exact = sum(
        Decimal(repr(float(close))) * 10**leg.decimals
        for history, leg in zip(market.instruments, markets.legs(), strict=True)
        for close in history.bars.close
    )
    assert markets.sum_close_ticks(market) == exact
    assert markets.count_bars(market) == 180
    market.instruments[0].bars.close[3] = np.nan
    assert markets.count_bars(market) == 179


def test_the_archive_for_nautilus_holds_every_leg(tmp_path: Path) -> None:
    market = markets.make_market(25, seed=6)
    market_files.write_npz(market, tmp_path / "bars.npz")
    with np.load(tmp_path / "bars.npz") as archive:
        assert archive["keys"].tolist() == [history.key for history in market.instruments]
        assert archive["decimals"].tolist() == [2, 1, 2, 2, 4, 4]
        assert (archive["leg3"][3] == market.instruments[3].bars.close).all()
        assert (archive["open_ms"] == market.open_ms).all()


def test_freqtrade_files_are_named_and_filled_as_the_importer_expects(tmp_path: Path) -> None:
    market = markets.make_market(25, seed=6)
    traded = market_files.write_freqtrade(market, tmp_path / "cache")
    assert [str(parse_name(path.name, "binance")) for path in traded] == [
        f"{leg.key} bars 1h" for leg in markets.legs()
    ]
    names = sorted(path.name for path in (tmp_path / "cache").rglob("*.feather"))
    assert len(names) == 12
    assert all(parse_name(name, "binance") is not None for name in names)
    table = feather.read_table(traded[1])
    assert table.schema.field("date").type == pa.timestamp("ms", tz="UTC")
    assert (table["close"].to_numpy() == market.instruments[1].bars.close).all()
    funding = feather.read_table(tmp_path / "cache" / "futures" / "BTC_USDT_USDT-1h-funding_rate.feather")
    assert market.instruments[1].settlements is not None
    assert (funding["open"].to_numpy() == market.instruments[1].settlements.funding_rate).all()


# --- Peers -----------------------------------------------------------------------------------------------------------


def test_an_importable_package_is_accepted() -> None:
    process.require(sys.executable, "json")


def test_a_missing_package_names_interpreter_package_and_remedy() -> None:
    with pytest.raises(process.PeerError, match="can't import no_such_peer") as caught:
        process.require(sys.executable, "no_such_peer")
    assert sys.executable in str(caught.value)
    assert "--peers-python" in str(caught.value)


def test_a_missing_interpreter_is_named(tmp_path: Path) -> None:
    with pytest.raises(process.PeerError, match="no-python"):
        process.require(str(tmp_path / "no-python"), "json")


def test_the_interpreter_of_the_peers_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(process.PYTHON_VARIABLE, raising=False)
    assert process.default_python() == sys.executable
    monkeypatch.setenv(process.PYTHON_VARIABLE, "other")
    assert process.default_python() == "other"


def test_a_script_answers_with_json_and_is_timed(tmp_path: Path) -> None:
    script = tmp_path / "peer.py"
    script.write_text("import sys, pathlib\nsum(range(10**6))\npathlib.Path(sys.argv[2]).write_text('{\"bars\": 7}')\n")
    answer = process.run_script([sys.executable, str(script)])
    assert answer.values == {"bars": 7}
    assert answer.wall > 0.0
    assert answer.cpu > 0.0


def test_a_script_that_fails_is_an_error_with_its_message(tmp_path: Path) -> None:
    script = tmp_path / "peer.py"
    script.write_text("raise SystemExit('the peer broke')\n")
    with pytest.raises(process.PeerError, match="ended with 1: the peer broke"):
        process.run_script([sys.executable, str(script)])


# --- Report and exit codes -------------------------------------------------------------------------------------------


def passing(_python: str, _repeats: int | None) -> list[Comparison]:
    """Pass."""
    return [comparison(1.5, 0.7)]


def missing(_python: str, _repeats: int | None) -> list[Comparison]:
    """Miss."""
    return [comparison(1.5, 0.7), comparison(1.0, 0.7)]


def differing(_python: str, _repeats: int | None) -> list[Comparison]:
    """Differ."""
    raise ResultsDifferError("ledger: row 3")


def without_peer(_python: str, _repeats: int | None) -> list[Comparison]:
    """No peer."""
    raise process.PeerError("can't import backtrader")


@pytest.mark.parametrize(
    ("item", "arguments", "code"),
    [
        (passing, [], 0),
        (missing, [], 1),
        (missing, ["--report-only"], 0),
        (differing, [], 2),
        (differing, ["--report-only"], 2),
        (without_peer, ["--report-only"], 3),
    ],
)
def test_exit_codes(
    item: Callable[[str, int | None], list[Comparison]],
    arguments: list[str],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(program, "ITEMS", {"item": item})
    assert program.main(arguments) == code


def test_only_the_items_asked_for_are_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "ITEMS", {"panel": passing, "six-years": differing})
    assert program.main(["--only", "panel"]) == 0
    assert program.main([]) == 2


def test_json_holds_machine_ratio_goal_and_every_measurement(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "ITEMS", {"item": missing})
    assert program.main(["--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["passed"] is False
    assert [item["ratio"] for item in document["items"]] == [0.75, 0.5]
    assert [item["passed"] for item in document["items"]] == [True, False]
    assert document["items"][1]["figure"] == {"name": "ours", "median": 1.0, "spread": 0.0, "values": [1.0]}
    assert {"cores", "cpu", "load", "python", "numpy", "numba", "pandas", "pyarrow"} <= set(document["machine"])


def test_the_table_shows_ratio_goal_and_result() -> None:
    console = Console(width=160)
    with console.capture() as captured:
        report.print_report(console, machine.describe(), missing("", None))
    text = captured.get()
    for expected in ("0.75", "at least 0.7", "pass", "0.5", "MISS", "cores"):
        assert expected in text


@pytest.mark.parametrize("text", ["0", "-1"])
def test_repeats_must_be_positive(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        program.parse_arguments(["--repeats", text])
    assert "not a positive whole number" in capsys.readouterr().err


def test_margin_checks_need_the_same_trades_and_no_forced_event() -> None:
    margin_checks.require_same_trades(make_result(), make_result())
    other = make_result(wallet_equity=np.array([[1.0], [1.0], [2.0]]))
    with pytest.raises(ResultsDifferError, match="wallet_equity"):
        margin_checks.require_same_trades(make_result(), other)
    forced = make_result(journal=({"time_ms": 1, "event": "liquidation"},))
    with pytest.raises(ResultsDifferError, match="1 forced events, first liquidation"):
        margin_checks.require_same_trades(forced, forced)


def test_margin_checks_differ_in_the_engine_only() -> None:
    checked, unchecked = (margin_checks.settings_with(kind) for kind in (MarginEngine.VENUE, MarginEngine.OFF))
    assert replace(unchecked, margin=checked.margin) == checked
