"""The double behaves as a real engine was recorded: order events, fees, fills and balances of every case."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest

from tests.lean import engine

lean = engine.lean
# Cases whose mechanism the adapter never uses, so the double has none: stops, updates, partial fills and the stock
# brokerage and margin models, which main.py replaces.
LEFT_OUT = {
    "market_partial_then_cancelled",
    "update_refused",
    "stop_market_buy_perp",
    "rejected_min_notional_spot",
    "rejected_buying_power_perp",
    "rejected_buying_power_spot",
}


class StockBrokerage(lean.DefaultBrokerageModel):
    """The stock models of the recording: futures fees on everything."""

    def get_fee_model(self, security: Any) -> Any:
        return lean.BinanceFuturesFeeModel()

    def get_fill_model(self, security: Any) -> Any:
        return TaggedFills()

    def get_slippage_model(self, security: Any) -> Any:
        return lean.NullSlippageModel.INSTANCE

    def get_margin_interest_rate_model(self, security: Any) -> Any:
        return lean.MarginInterestRateModel.NULL

    def get_leverage(self, security: Any) -> float:
        return 25.0

    def can_submit_order(self, security: Any, order: Any, message: Any) -> tuple[bool, None]:
        return True, None


class TaggedFills(lean.ImmediateFillModel):
    """The recording's fill model: a tag forces price and fee."""

    def market_fill(self, asset: Any, order: Any) -> Any:
        event = super().market_fill(asset, order)
        if order.tag.startswith("forced"):
            _, price, fee = order.tag.split(":")
            event.fill_price, event.message = float(price), "forced close"
            event.order_fee = lean.OrderFee(lean.CashAmount(float(fee), "USDT"))
        return event


class Recorder(lean.QCAlgorithm):
    def on_order_event(self, order_event: Any) -> None:
        pass

    def on_data(self, slice: Any) -> None:
        pass


def cases() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = defaultdict(lambda: {"events": []})
    path = engine.SYNTHETIC / "order-events.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["kind"] == "case":
            found[row["case"]] |= row
        elif row["kind"] == "event":
            found[row["case"]]["events"].append(row)
    return dict(found)


def prepared(case: dict[str, Any]) -> tuple[Any, Any, Any]:
    """An algorithm with the balances and prices that the recording had before the case."""
    properties = lean.SymbolProperties
    lean.SymbolPropertiesDatabase.entries = {
        ("binance", "BTCUSDT", lean.SecurityType.CRYPTO): properties("", "USDT", 1, 0.01, 0.00001, "BTCUSDT", 5),
        ("binance", "BTCUSDT", lean.SecurityType.CRYPTO_FUTURE): properties("", "USDT", 1, 0.1, 0.001, "BTCUSDT"),
    }
    algorithm = Recorder()
    algorithm.set_account_currency("USDT", case["before"]["usdt"])
    algorithm.set_brokerage_model(StockBrokerage())
    spot = algorithm.add_crypto("BTCUSDT", lean.Resolution.HOUR, "binance")
    perp = algorithm.add_crypto_future("BTCUSDT", lean.Resolution.HOUR, "binance")
    spot.base_currency.amount = spot.holdings.quantity = case["before"]["spot"]
    perp.holdings.quantity = case["before"]["perp"]
    perp.holdings.average_price = case["before"]["perp_average_price"]
    spot.price, perp.price = case["spot_price"], case["perp_price"]
    lean.double_set_time(engine.at(case["time"]))
    return algorithm, spot, perp


@pytest.mark.parametrize("name", [name for name in cases() if name not in LEFT_OUT])
def test_order_events_and_balances_are_those_of_the_recording(name: str) -> None:
    case = cases()[name]
    algorithm, spot, perp = prepared(case)
    security = {"CRYPTO": spot, "CRYPTO_FUTURE": perp}
    if not case["events"]:  # below a lot: no event, and the ticket is invalid
        ticket = algorithm.market_order(perp.symbol, 0.0004, tag="f")
        assert (ticket.status, algorithm.double_events) == (lean.OrderStatus.INVALID, [])
        return
    first = case["events"][0]
    sent, quantity = security[first["order"]["security_type"]], first["event"]["quantity"]
    if first["order"]["type"] == "MARKET":
        ticket = algorithm.market_order(sent.symbol, quantity, tag=first["order"]["tag"])
    else:
        limit = first["event"]["limit_price"]
        ticket = algorithm.limit_order(sent.symbol, quantity, limit, tag=first["order"]["tag"])
    _let_time_pass(algorithm, case, ticket, spot, perp)
    expected = [
        (row["event"]["status"], row["event"]["fill_quantity"], row["event"]["fill_price"],
         row["event"]["order_fee"]["amount"], row["event"]["order_fee"]["currency"])
        for row in case["events"]
    ]  # fmt: skip
    found = [
        (event.status.name, pytest.approx(event.fill_quantity, rel=1e-12), pytest.approx(event.fill_price, rel=1e-12),
         pytest.approx(event.order_fee.value.amount, rel=1e-12), event.order_fee.value.currency)
        for event, _ in algorithm.double_events
    ]  # fmt: skip
    assert found == expected
    if len({row["time"] for row in case["events"]}) == 1:
        after = case["events"][-1]["after"]
        assert algorithm.portfolio.cash_book["USDT"].amount == pytest.approx(after["usdt"], abs=1e-9)
        assert algorithm.portfolio.cash_book["BTC"].amount == pytest.approx(after["btc"], abs=1e-12)
        assert perp.holdings.quantity == pytest.approx(after["perp"], abs=1e-12)
        assert perp.holdings.average_price == pytest.approx(after["perp_average_price"], rel=1e-12)


def _let_time_pass(algorithm: Any, case: dict[str, Any], ticket: Any, spot: Any, perp: Any) -> None:
    """The slices up to the case's last event, with the recording's cancellation."""
    last = engine.at(case["events"][-1]["time"])
    for recorded in engine.recorded_slices():
        now = engine.at(recorded["time"])
        if not engine.at(case["time"]) < now <= last:
            continue
        bars = {spot: engine.bar_of(recorded["bars"]["spot"]), perp: engine.bar_of(recorded["bars"]["perp"])}
        if now == last and case["events"][-1]["event"]["status"] == "CANCELED":
            lean.double_set_time(now)
            ticket.cancel(case["events"][-1]["order"]["tag"])
            assert algorithm.double_orders[-1].tag == case["events"][-1]["order"]["tag"]
            return
        engine.step(algorithm, now, bars, is_first=True)
