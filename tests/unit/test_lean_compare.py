"""A Lean run beside a run of the engine, both made by hand: every difference is found, sized and named."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto.errors import DataError, RefusedError, SettingsError
from crypto.settings import AccountModel, DiscountSettings, Settings
from crypto.units import HOUR_MS
from data.lean_codes import LeanSymbol
from data.lean_flows import CashFlow
from data.lean_results import LeanResult, read_lean_result
from data.settings import load_settings, settings_as_mapping, settings_from_mapping
from data.stored_run import StoredRun
from research.lean_compare.checks import check_run, settings_for
from research.lean_compare.differences import compare
from research.lean_compare.job import differences_csv
from research.lean_compare.model import Comparison, Difference
from research.lean_compare.page import headline, render
from research.lean_compare.trades import engine_trades, instruments_of
from tests.lean_stock.recorded import PERP, SPOT, SYNTHETIC, stock_settings

CONFIG = Path(__file__).parents[2] / "config"
START = 1_583_798_400_000  # 2020-03-10, UTC
TAKER, PERP_PRICE, SPOT_PRICE = 0.0004, 8318.4, 8313.55
TOLERANCE = 0.01


@pytest.fixture(scope="module")
def lean() -> LeanResult:
    """What a real Lean wrote for one bitcoin of carry on the generated market."""
    return read_lean_result(SYNTHETIC / "lean-result")


@pytest.fixture(scope="module")
def run(lean: LeanResult) -> StoredRun:
    """The same run as the engine would store it, written by hand from Lean's numbers and the input's closes."""
    with (SYNTHETIC / "perp.csv").open(encoding="utf-8") as file:
        closes = {int(row["time_ms"]) + HOUR_MS: float(row["close"]) for row in csv.DictReader(file)}
    time_ms = np.concatenate(([START - HOUR_MS], lean.time_ms))
    price = np.array([0.0, 0.0, *(closes[int(time)] for time in time_ms[2:])])
    changes = ("run.start=2020-03-09T23:00", "run.end=2020-03-19")
    return StoredRun(
        directory=Path("results/by-hand-0001"),
        status="completed",
        settings=stock_settings(*changes),
        provenance={"synthetic": True, "config_hash": "c", "data_hash": "d"},
        instruments=(SPOT, PERP),
        orders=[order(0, SPOT, 100_000), order(1, PERP, -1_000)],
        ledger=[
            fee_row(0, SPOT, "BTC", 1.0, SPOT_PRICE, -0.0004, -0.0004 * SPOT_PRICE),
            fee_row(1, PERP, "USDT", -1.0, PERP_PRICE, -TAKER * PERP_PRICE, -TAKER * PERP_PRICE),
        ],
        time_ms=time_ms,
        equity=np.concatenate(([100_000.0], lean.equity)) + TAKER * price,
        perp_value=-price[:, None],
    )


def order(number: int, instrument: str, lots: int, **changes: Any) -> dict[str, Any]:
    row = {"id": number, "instrument": instrument, "lots": lots, "placed_ms": START, "status": "filled"}
    return {**row, "kind": "market", "reason": "none", "limit_price": math.nan, **changes}


def fee_row(
    number: int, instrument: str, asset: str, quantity: float, price: float, amount: float, value: float
) -> dict[str, Any]:
    row = {"time_ms": START, "flow": "fee", "asset": asset, "instrument": instrument, "order": number}
    return {**row, "quantity": quantity, "price": price, "amount": amount, "value": value, "rate": TAKER}


def funding_row(time_ms: int, value: float, flow: str = "funding", instrument: str = PERP) -> dict[str, Any]:
    row = {"time_ms": time_ms, "flow": flow, "asset": "USDT", "instrument": instrument, "order": None}
    return {**row, "quantity": -1.0, "price": PERP_PRICE, "amount": value, "value": value, "rate": 0.0001}


def changed(rows: Any, index: int, **values: Any) -> list[Any]:
    return [{**row, **values} if number == index else row for number, row in enumerate(rows)]


def refill(lean: LeanResult, **values: Any) -> LeanResult:
    """The Lean run with the fill of its perp order changed."""
    spot, perp = lean.orders
    return replace(lean, orders=(spot, replace(perp, fills=(replace(perp.fills[0], **values),))))


def of(comparison: Comparison, kind: str) -> tuple[Difference, ...]:
    return next(section.differences for section in comparison.sections if section.kind == kind)


def counts(comparison: Comparison) -> dict[str, int]:
    return {section.kind: len(section.differences) for section in comparison.sections if section.differences}


def compared(comparison: Comparison) -> dict[str, int]:
    return {section.kind: section.compared for section in comparison.sections}


def test_equal_runs_agree(lean: LeanResult, run: StoredRun) -> None:
    found = compare(lean, run, TOLERANCE)
    assert found.agree
    assert found.cause is None
    assert compared(found) == {"order": 2, "fill": 2, "fee": 2, "funding": 0, "borrow": 0, "equity": 216}
    assert any("1 of 217 samples" in note for note in found.notes)
    np.testing.assert_allclose(found.equity.lean, found.equity.engine, rtol=0, atol=1e-9)


def test_one_changed_fill_is_named_first(lean: LeanResult, run: StoredRun) -> None:
    worse = replace(refill(lean, price=8330.4), equity=lean.equity + np.where(lean.time_ms > START, 500.0, 0.0))
    found = compare(worse, run, TOLERANCE)
    assert not found.agree
    assert counts(found) == {"fill": 1, "equity": 216}
    cause = found.cause
    assert cause is not None
    assert (cause.kind, cause.instrument, cause.time_ms, cause.what) == ("fill", PERP, START, "price")
    assert cause.amount == pytest.approx(12.0)
    words = headline(cause)
    assert "8,330.4" in words
    assert "8,318.4" in words


def test_a_fill_is_compared_by_time_and_quantity_and_within_latency(lean: LeanResult, run: StoredRun) -> None:
    assert of(compare(refill(lean, time_ms=START + 1_000), run, TOLERANCE), "fill")[0].what == "time"
    slow = replace(run, settings=replace(run.settings, execution=replace(run.settings.execution, latency_ms=1_000)))
    assert compare(refill(lean, time_ms=START + 1_000), slow, TOLERANCE).agree
    (short,) = of(compare(refill(lean, quantity=-0.9), run, TOLERANCE), "fill")
    assert short.what == "quantity"
    assert short.amount == pytest.approx(831.84)


def test_a_second_fill_of_one_side_is_a_difference(lean: LeanResult, run: StoredRun) -> None:
    more = [*run.ledger, fee_row(1, PERP, "USDT", -0.5, 8000.0, 0.0, 0.0)]
    (extra,) = of(compare(lean, replace(run, ledger=more), TOLERANCE), "fill")
    assert (extra.what, extra.lean, extra.amount) == ("only the engine filled it", "", 4_000.0)
    (extra,) = of(compare(lean, replace(run, ledger=run.ledger[:1]), TOLERANCE), "fill")
    assert (extra.what, extra.engine) == ("only Lean filled it", "")


def test_a_fee_is_compared_in_account_currency(lean: LeanResult, run: StoredRun) -> None:
    (fee,) = of(compare(refill(lean, fee=3.5), run, TOLERANCE), "fee")
    assert (fee.instrument, fee.what) == (PERP, "fee of order #2")
    assert fee.amount == pytest.approx(3.5 - 3.32736)
    assert compare(refill(lean, fee=3.5), run, 0.2).agree
    with pytest.raises(DataError, match="pays its fee in BNB"):
        compare(refill(lean, fee_currency="BNB"), run, TOLERANCE)


def test_a_fee_in_a_venues_own_coin_counts_at_the_engines_price(lean: LeanResult, run: StoredRun) -> None:
    # 0.01 BNB at 300 are 3 USDT, as the engine paid; at the opening price of 200 they would be 2
    on = {"binance": DiscountSettings(enabled=True)}
    wallets = {**run.settings.wallets, "binance:spot": {"USDT": 0.0, "BNB": 1.0}}
    settings = replace(
        run.settings, wallets=wallets, fees=replace(run.settings.fees, discount=on),
        run=replace(run.settings.run, account=AccountModel.VENUE),
    )  # fmt: skip
    opening = {
        **fee_row(0, "", "BNB", 0.0, 200.0, 1.0, 200.0), "flow": "opening", "time_ms": START - HOUR_MS, "order": None
    }  # fmt: skip
    paid = fee_row(1, PERP, "BNB", -1.0, PERP_PRICE, -0.01, -3.0)
    ours = replace(run, settings=settings, ledger=[opening, run.ledger[0], paid])
    theirs = refill(lean, fee=0.01, fee_currency="BNB")
    assert compared(compare(theirs, ours, TOLERANCE))["fee"] == 2
    assert not of(compare(theirs, ours, TOLERANCE), "fee")
    (fee,) = of(compare(refill(lean, fee=0.02, fee_currency="BNB"), ours, TOLERANCE), "fee")
    assert fee.amount == pytest.approx(3.0)


def test_orders_that_only_one_side_sent(lean: LeanResult, run: StoredRun) -> None:
    fewer = replace(run, orders=run.orders[:1], ledger=run.ledger[:1])
    (lonely,) = of(compare(lean, fewer, TOLERANCE), "order")
    assert (lonely.what, lonely.engine) == ("only Lean sent it", "")
    assert lonely.amount == pytest.approx(8318.4)
    extra = [*run.orders, order(2, SPOT, 500, kind="post_only", limit_price=9_000.0, status="cancelled")]
    (lonely,) = of(compare(lean, replace(run, orders=extra), TOLERANCE), "order")
    assert (lonely.what, lonely.lean) == ("only the engine sent it", "")
    assert lonely.amount == pytest.approx(0.005 * 9_000)


@pytest.mark.parametrize(
    ("change", "what", "amount"),
    [
        ({"placed_ms": START + HOUR_MS}, "time", 0.0),
        ({"lots": -1_100}, "quantity", 831.84),
        ({"status": "rejected", "reason": "no_margin"}, "outcome", 8318.4),
        ({"kind": "post_only", "limit_price": 8_300.0}, "type", 8318.4),
    ],
)
def test_orders_that_differ(lean: LeanResult, run: StoredRun, change: Any, what: str, amount: float) -> None:
    found = compare(lean, replace(run, orders=changed(run.orders, 1, **change)), TOLERANCE)
    (difference,) = of(found, "order")
    assert difference.what == what
    assert difference.amount == pytest.approx(amount)
    assert ("no_margin" in difference.engine) == ("reason" in change)


def test_limit_prices_are_compared_and_orders_over_a_bar_apart_are_not_one(lean: LeanResult, run: StoredRun) -> None:
    spot, perp = lean.orders
    resting = replace(lean, orders=(spot, replace(perp, type="limit", limit_price=8_300.0)))
    orders = changed(run.orders, 1, kind="post_only", limit_price=8_301.0)
    (difference,) = of(compare(resting, replace(run, orders=orders), TOLERANCE), "order")
    assert (difference.what, difference.amount) == ("limit price", 1.0)
    late = replace(run, orders=changed(run.orders, 1, placed_ms=START + HOUR_MS + 1))
    words = [item.what for item in of(compare(lean, late, TOLERANCE), "order")]
    assert words == ["only Lean sent it", "only the engine sent it"]


def test_payments_are_compared_one_by_one_when_lean_logged_them(lean: LeanResult, run: StoredRun) -> None:
    times = [START + hours * HOUR_MS for hours in (8, 16, 24)]
    told = tuple(CashFlow("funding", PERP, time, 1.0) for time in times[:2])
    told += (CashFlow("borrow", SPOT, times[0], -0.5),)
    paid = [funding_row(times[0], 1.004), funding_row(times[1], 1.5), funding_row(times[2], 3.0)]
    paid += [funding_row(times[1], -0.25, "funding_grace"), funding_row(times[0], -0.5, "interest", SPOT)]
    found = compare(replace(lean, flows=told), replace(run, ledger=[*run.ledger, *paid]), TOLERANCE)
    assert compared(found)["funding"] == 3
    assert compared(found)["borrow"] == 1
    missing, wrong = of(found, "funding")  # the largest first; the grace correction counts for its time
    assert (missing.what, missing.time_ms, missing.amount) == ("only the engine booked it", times[2], 3.0)
    assert (wrong.what, wrong.time_ms, wrong.amount) == ("amount", times[1], 0.25)
    assert counts(found) == {"funding": 2}


def test_payments_in_total_or_not_at_all(lean: LeanResult, run: StoredRun) -> None:
    paid = replace(run, ledger=[*run.ledger, funding_row(START + 8 * HOUR_MS, 7.75)])
    assert compare(replace(lean, totals={"funding": 7.751}), paid, TOLERANCE).agree
    (total,) = of(compare(replace(lean, totals={"funding": 7.0}), paid, TOLERANCE), "funding")
    assert total.amount == pytest.approx(0.75)
    silent = compare(lean, paid, TOLERANCE)
    assert silent.agree
    assert silent.not_compared == ("funding",)
    assert any("the engine booked 1, +7.75 in all" in note for note in silent.notes)


def test_equity_counts_the_closing_fee_and_says_when_valuations_differ(lean: LeanResult, run: StoredRun) -> None:
    later = np.where(run.time_ms > START + 10 * HOUR_MS, 0.02, 0.0)
    found = of(compare(lean, replace(run, equity=run.equity + later), TOLERANCE), "equity")
    assert len(found) == 216 - 10
    assert found[0].time_ms == START + 11 * HOUR_MS  # equal in size, so by time
    assert found[0].amount == pytest.approx(0.02)
    flat = replace(run, perp_value=np.zeros_like(run.perp_value))
    assert len(of(compare(lean, flat, TOLERANCE), "equity")) == 216
    on_mark = replace(flat, settings=load_settings(CONFIG / "lean-stock.toml", ["data.valuation_price=mark"]))
    drawn = compare(lean, on_mark, TOLERANCE)
    assert drawn.agree
    assert drawn.not_compared == ("equity",)
    assert any("data.valuation_price" in note for note in drawn.notes)
    assert drawn.equity.time_ms.size == 216
    own = compare(replace(lean, own_equity=float(run.equity[-1]) + 0.5), on_mark, TOLERANCE)
    (end,) = of(own, "equity")
    assert (end.what, end.time_ms) == ("equity of the algorithm's own ledger at the end", lean.end_ms)
    assert end.amount == pytest.approx(0.5)
    assert compare(replace(lean, own_equity=float(run.equity[-1])), on_mark, TOLERANCE).not_compared == ()


def test_contracts_of_multiplied_and_inverse_perps(run: StoredRun) -> None:
    keys = ("binance:spot:PEPEUSDT", "binance:linear:1000PEPEUSDT", "binance:spot:BTCUSDT", "binance:inverse:BTCUSD")
    other = replace(
        run,
        settings=Settings(),
        instruments=keys,
        orders=[order(0, keys[1], 5), order(1, keys[3], 2)],
        ledger=[
            fee_row(0, keys[1], "USDT", 5_000.0, 0.01, -1e-5, -1e-5),  # 5 contracts of 1000 PEPE
            fee_row(1, keys[3], "BTC", 0.01, 20_000.0, -1e-6, -0.02),  # 200 USD in contracts of 100
        ],
    )
    pepe, inverse = engine_trades(other, instruments_of(other))
    assert (pepe.quantity, pepe.executions[0].quantity) == (5.0, 5.0)
    assert (inverse.quantity, inverse.executions[0].quantity) == (2.0, 2.0)
    assert inverse.executions[0].fee == 0.02


def test_orders_in_no_state_or_of_other_instruments_are_refused(lean: LeanResult, run: StoredRun) -> None:
    spot, perp = lean.orders
    with pytest.raises(DataError, match="order 2 of Lean run TraceCarry has status none"):
        compare(replace(lean, orders=(spot, replace(perp, status="none"))), run, TOLERANCE)
    foreign = replace(perp, symbol=LeanSymbol("ETHUSDT", "binance", is_perp=True))
    with pytest.raises(RefusedError, match="trades binance perp ETHUSDT"):
        compare(replace(lean, orders=(spot, foreign)), run, TOLERANCE)


def test_settings_take_the_period_of_the_lean_run(lean: LeanResult) -> None:
    for start in ("", "2020-03-10", "2020-03-09T23:00"):
        settings = settings_for(lean, stock_settings(f"run.start={start}", "run.end=2020-03-19"))
        assert (settings.run.start, settings.run.end) == ("2020-03-09T23:00:00Z", "2020-03-19T00:00:00Z")


def test_carry_s_own_algorithm_has_its_warm_up_before_lean_s_start(lean: LeanResult) -> None:
    # main.py: Lean starts on the day in which the warm-up ends, never before the run; 09T05:00 + 30 h lies on the 10th.
    ours = replace(lean, own_equity=1.0)
    changes = ["run.end=2020-03-18T20:00", "signal.warmup_hours=30"]
    settings = settings_for(ours, stock_settings("run.start=2020-03-09T05:00", *changes))
    assert (settings.run.start, settings.run.end) == ("2020-03-09T05:00", "2020-03-18T20:00")
    with pytest.raises(RefusedError, match="Lean starts 2020-03-10T00:00:00Z, run.start is 2020-03-07"):
        settings_for(ours, stock_settings("run.start=2020-03-07", *changes))
    told = {"run.start": "2020-03-09T05:00:00Z", "run.end": "2020-03-18T20:00:00Z"}
    for start in ("", "2020-03-09T05:00"):
        run = settings_for(replace(ours, parameters=told), stock_settings(f"run.start={start}", "run.end=")).run
        assert (run.start, run.end) == ("2020-03-09T05:00:00Z", "2020-03-18T20:00:00Z")
    with pytest.raises(RefusedError, match=r"Lean ends 2020-03-18T20:00:00Z, run.end is 2020-03-19"):
        settings_for(replace(ours, parameters=told), stock_settings("run.start=", "run.end=2020-03-19"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["run.start=2020-01-01"], "Lean starts 2020-03-10T00:00:00Z, run.start is 2020-01-01"),
        (["run.end=2020-03-20"], "Lean ends 2020-03-19T00:00:00Z, run.end is 2020-03-20"),
        (["wallets.lean:cash_book.USDT=5000"], "Lean begins with 100,000.00, the wallets hold 5,000.00"),
        (["run.account_currency=USDC"], "Lean has USDT, run.account_currency is USDC"),
        (
            ["pairs.0.spot=binance:spot:ETHUSDT", "pairs.0.perp=binance:linear:ETHUSDT"],
            "Lean trades binance spot BTCUSDT, the pairs have binance:spot:ETHUSDT, binance:linear:ETHUSDT",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused_by_name(lean: LeanResult, changes: list[str], words: str) -> None:
    settings = stock_settings("run.start=", "run.end=", *changes)
    with pytest.raises(RefusedError) as caught:
        settings_for(lean, settings)
    assert words in caught.value.message
    assert "--config" in caught.value.remedy


def test_parameters_of_the_lean_run_must_be_those_of_the_settings(lean: LeanResult) -> None:
    settings = stock_settings("run.start=", "run.end=")
    same = {
        "portfolio.perp_leverage": "25.0",
        "fees.spot_buy_fee_in_base": "True",
        "funding.price": "last",
        "ticker": "X",
    }
    settings_for(replace(lean, parameters=same), settings)
    with pytest.raises(RefusedError, match=r"portfolio.perp_leverage = 5, the settings have 25"):
        settings_for(replace(lean, parameters={"portfolio.perp_leverage": "5"}), settings)


def test_a_stored_run_of_another_period_is_refused(lean: LeanResult, run: StoredRun) -> None:
    check_run(lean, run)
    with pytest.raises(RefusedError, match="run.end is 2020-03-18T23:00:00Z"):
        check_run(lean, replace(run, time_ms=run.time_ms[:-1]))


@pytest.mark.parametrize("name", ["carry", "lean-stock", "two-venues", "bybit", "2025-10-10"])
def test_settings_come_back_from_their_plain_values(name: str) -> None:
    settings = load_settings(CONFIG / f"{name}.toml")
    stored = json.loads(json.dumps(settings_as_mapping(settings)))
    assert settings_from_mapping(stored, "here") == settings
    stored["run"]["timeframe"] = "7h"
    with pytest.raises(SettingsError, match=r"settings of here\n.*run.timeframe"):
        settings_from_mapping(stored, "here")


def test_without_common_instants_the_picture_is_empty_and_says_so(lean: LeanResult, run: StoredRun) -> None:
    found = compare(lean, replace(run, time_ms=run.time_ms + 60_000), TOLERANCE)
    assert compared(found)["equity"] == 0
    assert found.not_compared == ("equity",)
    assert "No values in this run" in render(found, lean, run)


def test_files_hold_every_difference_and_the_page_is_self_contained(lean: LeanResult, run: StoredRun) -> None:
    found = compare(refill(lean, price=8330.4, fee=9.0), replace(run, equity=run.equity + 1.0), TOLERANCE)
    rows = list(csv.DictReader(io.StringIO(differences_csv(found))))
    assert len(rows) == found.count == 218
    assert [row["kind"] for row in rows[:3]] == ["fill", "fee", "equity"]
    assert float(rows[1]["amount"]) == pytest.approx(9.0 - 3.32736)
    page = render(found, replace(lean, id="<b>x"), run)
    assert "&lt;b&gt;x" in page
    assert "<b>x on" not in page
    assert "Look here first" in page
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    assert page.count('<section id="') == 1 + 3 + 1  # the picture, the kinds that differ, the two runs
