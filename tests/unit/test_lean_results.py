"""Reading what Lean writes: the recorded files of a real run, and damaged copies of them."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crypto.errors import DataError, UsageError
from data import lean_codes
from data.lean_codes import LeanSymbol
from data.lean_flows import CashFlow, flow_line, parse_line
from data.lean_results import LeanFill, read_lean_result

RECORDED = Path(__file__).parents[1] / "lean_stock" / "synthetic" / "lean-result"
START, END = 1_583_798_400_000, 1_584_576_000_000  # 2020-03-10 and 2020-03-19, UTC

Edit = Callable[[Any], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the recorded files."""
    return Path(shutil.copytree(RECORDED, tmp_path / "lean-result"))


def edit(path: Path, change: Edit) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def test_the_recorded_run_is_read_whole() -> None:
    result = read_lean_result(RECORDED)
    assert (result.id, result.start_ms, result.end_ms, result.account_currency) == ("TraceCarry", START, END, "USDT")
    assert (result.start_equity, result.end_equity, result.lean_version) == (100_000.0, 99_997.7886, "v2.5.0.0")
    assert [path.name for path in result.files] == [
        "TraceCarry.json",
        "TraceCarry-order-events.json",
        "TraceCarry-log.txt",
    ]
    spot, perp = result.orders
    assert spot.symbol == LeanSymbol("BTCUSDT", "binance", is_perp=False)
    assert spot.fills == (LeanFill(START, 0.9996, 8313.55, 0.0004, "BTC"),)
    assert (spot.quantity, spot.type, spot.status, spot.time_ms) == (1.0, "market", "filled", START)
    assert math.isnan(spot.limit_price)
    assert perp.symbol == LeanSymbol("BTCUSDT", "binance", is_perp=True)
    assert perp.fills == (LeanFill(START, -1.0, 8318.4, 3.32736, "USDT"),)
    assert result.time_ms.tolist() == list(range(START, END + 1, 3_600_000))
    assert (result.equity[0], result.equity[1], result.equity[-1]) == (100_000.0, 99_991.0407, 99_997.7886)
    assert result.flows is None
    assert result.totals == {}


def test_the_main_file_may_be_named_when_a_folder_holds_several_runs(folder: Path) -> None:
    for name in ("TraceCarry.json", "TraceCarry-summary.json", "TraceCarry-order-events.json"):
        text = (folder / name).read_text(encoding="utf-8").replace("TraceCarry", "Other")
        (folder / name.replace("TraceCarry", "Other")).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="2 Lean results: Other, TraceCarry"):
        read_lean_result(folder)
    assert read_lean_result(folder / "Other.json").id == "Other"
    with pytest.raises(UsageError, match="not the main file"):
        read_lean_result(folder / "Other-summary.json")


def test_payments_come_from_the_log_and_totals_from_statistics(folder: Path) -> None:
    flows = (
        CashFlow("funding", "binance:linear:BTCUSDT", START, -1.5),
        CashFlow("borrow", "binance:spot:BTCUSDT", END, -2e-7),
    )
    with (folder / "TraceCarry-log.txt").open("a", encoding="utf-8") as log:
        log.writelines(f"2020-03-10 08:00:00 {flow_line(flow)}\n" for flow in flows)
    edit(folder / "TraceCarry.json", lambda root: root["runtimeStatistics"].update(Funding="₮-1,234.50"))
    result = read_lean_result(folder)
    assert result.flows == flows
    assert result.totals == {"funding": -1234.5}


def test_the_ledger_in_the_run_s_object_store_comes_before_the_log(folder: Path, tmp_path: Path) -> None:
    head = "time,time_ms,flow,wallet,asset,leg,order,amount,value,price,rate,quantity\n"
    rows = [
        f"x,{START},funding,binance:linear,USDT,binance:linear:BTCUSDT,-1,1.5,1.5,8000.0,0.0001,-1.0",
        f"x,{START},fee,binance:linear,USDT,binance:linear:BTCUSDT,0,-3.0,-3.0,8000.0,0.0004,-1.0",
        f"x,{END},funding_grace,binance:linear,USDT,binance:linear:BTCUSDT,-1,-0.5,-0.5,8000.0,0.0001,-1.0",
        f"x,{END},interest,binance:spot,BTC,binance:spot:BTCUSDT,-1,-1e-06,-0.008,8000.0,1e-06,-1.0",
    ]
    stored = folder / "storage" / "carry" / "ledger.csv"
    stored.parent.mkdir(parents=True)
    stored.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")
    edit(
        folder / "TraceCarry.json",
        lambda root: root["statistics"].update({"Carry funding": "1.00000000", "Carry equity": "99,997.5"}),
    )
    expected = (
        CashFlow("funding", "binance:linear:BTCUSDT", START, 1.5),
        CashFlow("funding", "binance:linear:BTCUSDT", END, -0.5),
        CashFlow("borrow", "binance:spot:BTCUSDT", END, -0.008),
    )
    result = read_lean_result(folder)
    assert result.flows == expected
    assert result.files[-1] == stored
    assert (result.own_equity, result.totals) == (99_997.5, {"funding": 1.0})
    elsewhere = shutil.move(stored, tmp_path / "ledger.csv")
    assert read_lean_result(folder).flows is None
    assert read_lean_result(folder, elsewhere).flows == expected
    for damaged, words in (
        (head.replace("value", "worth"), "no column value"),
        (head + rows[0].replace("1.5", "much"), "line 2: not a whole row"),
        (head + rows[0].replace("binance:linear:BTCUSDT", ""), "line 2: a payment without instrument"),
        (head + rows[0][:20], "line 2"),
    ):
        elsewhere.write_text(damaged, encoding="utf-8")
        with pytest.raises(DataError, match=words):
            read_lean_result(folder, elsewhere)
    with pytest.raises(DataError, match=r"nowhere.csv can't be read"):
        read_lean_result(folder, tmp_path / "nowhere.csv")
    for name in ("one", "two"):
        (folder / "storage" / name).mkdir()
        (folder / "storage" / name / "ledger.csv").write_text(head, encoding="utf-8")
    with pytest.raises(UsageError, match="holds 2 ledgers"):
        read_lean_result(folder)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"kind":"fee","instrument":"a","time_ms":1,"amount":1}',
        '{"kind":"funding","instrument":"a","time_ms":1}',
        '{"kind":"funding","instrument":"a","time_ms":1.5,"amount":1}',
        '{"kind":"funding","instrument":"a","time_ms":1,"amount":NaN}',
        '{"kind":"funding","instrument":"a","time_ms":1,"amount":"1"}',
    ],
)
def test_a_damaged_payment_line_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(DataError, match="log, line 7"):
        parse_line(f"2020-01-01 00:00:00 CARRY-FLOW {text}", "log, line 7")
    assert parse_line("2020-01-01 00:00:00 Launching analysis", "log, line 7") is None


@pytest.mark.parametrize(
    ("number", "kind", "market", "word"),
    [
        ("18N", 7, 16, "binance spot"),
        ("18R", 11, 16, "binance perp"),
        ("2UZ", 7, 37, "bybit spot"),
        ("2V3", 11, 37, "bybit perp"),
    ],
)
def test_an_identifier_says_market_and_kind(number: str, kind: int, market: int, word: str) -> None:
    assert int(number, 36) == 100 * market + kind  # how Lean packs them
    assert str(lean_codes.symbol(f"BTCUSDT {number}", "here")) == f"{word} BTCUSDT"


@pytest.mark.parametrize(
    "identifier",
    ["BTCUSDT", "SPY R735QTJ8XC9X", "BTCUSDT 18n", "ETHUSDT 2XR", "BTC US DT", None, 5, "BTCUSDT ", "AAPL 2T"],
)
def test_other_identifiers_are_refused_by_name(identifier: object) -> None:
    with pytest.raises(DataError, match="order 3"):
        lean_codes.symbol(identifier, "order 3")


def test_every_status_of_lean_has_a_word_in_both_its_forms() -> None:
    texts = ("new", "submitted", "partiallyFilled", "filled", "canceled", "none")
    texts += ("invalid", "cancelPending", "updateSubmitted")
    words = [lean_codes.order_status(text, "event 1") for text in texts]
    assert words == [
        "new", "submitted", "partially_filled", "filled", "canceled", "none", "invalid", "cancel_pending",
        "update_submitted",
    ]  # fmt: skip
    assert [lean_codes.order_status(code, "event 1") for code in (0, 1, 2, 3, 5, 6, 7, 8, 9)] == words
    for wrong in (4, 10, "held", None, True):
        with pytest.raises(DataError, match="event 1"):
            lean_codes.order_status(wrong, "event 1")
    assert [lean_codes.order_type(code, "order 1") for code in (0, 1)] == ["market", "limit"]
    for wrong in (12, "market", False):
        with pytest.raises(DataError, match="order 1"):
            lean_codes.order_type(wrong, "order 1")


def test_a_folder_without_a_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_lean_result(tmp_path / "nowhere")
    (tmp_path / "result.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="holds no Lean result"):
        read_lean_result(tmp_path)


@pytest.mark.parametrize("name", ["TraceCarry.json", "TraceCarry-order-events.json"])
def test_a_truncated_or_missing_file_is_named(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=f"{name} is cut off or damaged at line"):
        read_lean_result(folder)
    (folder / name).write_bytes(b"\xff\xfe{}")
    with pytest.raises(DataError, match=f"{name} is"):
        read_lean_result(folder)
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{name} is missing"):
        read_lean_result(folder)


def test_a_run_that_ended_with_an_error_is_refused_with_lean_s_reason(folder: Path) -> None:
    edit(
        folder / "TraceCarry.json",
        lambda root: root["state"].update(Status="RuntimeError", RuntimeError="division by zero"),
    )
    for name in ("TraceCarry-summary.json", "TraceCarry-order-events.json"):
        (folder / name).unlink()  # Lean may not write them then
    with pytest.raises(DataError, match="status RuntimeError: division by zero"):
        read_lean_result(folder)


def _without(*keys: str) -> Edit:
    def change(root: Any) -> None:
        for key in keys[:-1]:
            root = root[key]
        del root[keys[-1]]

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without("algorithmConfiguration"), "has no algorithmConfiguration"),
        (_without("algorithmConfiguration", "endDate"), "has no algorithmConfiguration.endDate"),
        (_without("totalPerformance", "portfolioStatistics", "startEquity"), "startEquity = None is not a number"),
        (_without("charts", "Strategy Equity"), "no equity chart"),
        (_without("orders"), "has no orders"),
        (_without("orders", "2"), "order 2, which the result does not list"),
        (_without("orders", "1", "symbol"), "order 1 is not a whole order"),
        (lambda root: root["orders"]["1"].update(type=99), "order 1: order type 99"),
        (lambda root: root["orders"]["1"].update(createdTime="yesterday"), "createdTime = 'yesterday' is not a time"),
        (lambda root: root["algorithmConfiguration"].update(startDate="x"), "startDate = 'x' is not a time"),
    ],
)  # fmt: skip
def test_what_a_result_lacks_is_named(folder: Path, change: Edit, words: str) -> None:
    edit(folder / "TraceCarry.json", change)
    with pytest.raises(DataError, match=words):
        read_lean_result(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda events: events[3].update(algorithmId="Another"), "event 3 is of algorithm 'Another'"),
        (lambda events: events[1].update(status="gone"), "event 1: order status 'gone'"),
        (lambda events: events[1].update(fillPrice="dear"), "fillPrice = 'dear' is not a number"),
        (lambda events: events[2].pop("orderId"), "event 2 is not a whole order event"),
    ],
)  # fmt: skip
def test_order_events_of_another_run_or_damaged_are_named(folder: Path, change: Edit, words: str) -> None:
    edit(folder / "TraceCarry-order-events.json", change)
    with pytest.raises(DataError, match=words):
        read_lean_result(folder)
