"""The double behaves as a real engine was recorded: order events, fees, fills and balances of every case."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import timedelta
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


# -- what the engine's source says, and no recording shows ----------------------------------------------------------


def test_keywords_go_to_leans_own_constructor_which_refuses_them() -> None:
    class Own(lean.SecurityMarginModel):
        def __init__(self, check: object) -> None:
            super().__init__()
            self.check = check

    assert Own("by position").check == "by position"
    with pytest.raises(TypeError, match="no constructor of Lean's takes check"):
        Own(check="by name")


def test_a_model_without_the_method_is_refused_when_it_is_set() -> None:
    class Nothing(StockBrokerage):
        def get_slippage_model(self, security: Any) -> Any:
            return object()

    algorithm = Recorder()
    algorithm.set_brokerage_model(Nothing())
    lean.SymbolPropertiesDatabase.entries = {
        ("binance", "BTCUSDT", lean.SecurityType.CRYPTO): lean.SymbolProperties("", "USDT", 1, 0.01, 0.001, "BTCUSDT")
    }
    with pytest.raises(NotImplementedError, match="object lacks get_slippage_approximation"):
        algorithm.add_crypto("BTCUSDT", lean.Resolution.HOUR, "binance")


def test_an_order_during_warm_up_gets_an_invalid_ticket_and_no_event() -> None:
    algorithm, _, perp = prepared(next(iter(cases().values())))
    algorithm.set_start_date(engine.at("2030-01-01T00:00:00Z"))
    assert algorithm.market_order(perp.symbol, 1.0).status == lean.OrderStatus.INVALID
    assert algorithm.double_events == []


def test_buying_power_is_asked_before_every_fill_of_a_resting_order() -> None:
    algorithm, _, perp = prepared(next(iter(cases().values())))
    ticket = algorithm.limit_order(perp.symbol, 1.0, perp.price - 1.0)
    poor = lean.HasSufficientBuyingPowerForOrderResult(False, "none left")
    perp.buying_power_model.has_sufficient_buying_power_for_order = lambda _: poor
    lean.double_set_time(algorithm.time + timedelta(hours=1))
    algorithm.double_scan()
    assert ticket.status == lean.OrderStatus.INVALID


def test_a_volume_of_zero_leaves_the_one_before() -> None:
    _, _, perp = prepared(next(iter(cases().values())))
    for volume, shown in ((5.0, 5.0), (0.0, 5.0), (2.0, 2.0)):
        perp.double_take(lean.TradeBar(open=1.0, high=1.0, low=1.0, close=1.0, volume=volume))
        assert perp.volume == shown


@pytest.mark.parametrize(("key", "is_taken"), [("run/ledger.csv", True), ("v1.2/ledger.csv", False), ("a+b", False)])
def test_the_object_store_takes_keys_of_its_own_pattern(key: str, is_taken: bool) -> None:
    store = lean.QCAlgorithm().object_store
    if is_taken:
        assert store.save(key, "text")
    else:
        with pytest.raises(ValueError, match="path is not supported"):
            store.save(key, "text")


def test_what_no_decimal_holds_does_not_reach_lean() -> None:
    with pytest.raises(OverflowError, match="nan is no decimal"):
        lean.QCAlgorithm().plot("chart", "series", float("nan"))
