"""Each reality model by hand-made numbers, and the traps of Lean that it is there for (docs/specs/lean.md)."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from crypto.errors import DataError, RefusedError
from crypto.ledger import Flow
from crypto.pipeline.guards import Guard
from crypto.pipeline.orders import OrderReason
from crypto.simulator.hosted_risk import ForcedFill
from crypto.venues.registry import instrument
from tests.lean import engine
from tests.lean.folder import PERP, SPOT, columns

from models.custom_data import (  # isort: skip
    BorrowRate,
    FundingRate,
    IndexPrice,
    MarkPrice,
    OraclePrice,
    VenueOraclePrice,
    parse_value,
)
from models.fees import QuoteFees, fee_model  # isort: skip
from models.fills import FORCED, Forced, forced  # isort: skip
from models.legs import Leg  # isort: skip
from models.margin_calls import whole_pairs  # isort: skip
from models.orders import gross_fill  # isort: skip

lean = engine.lean
Started = Callable[..., Any]
HOUR = 3_600_000


def row(**values: Any) -> Any:
    return SimpleNamespace(**values)


def leg_of(key: str, **values: Any) -> Leg:
    return Leg(0, instrument(key, {}), row(**{"maker": 0.0001, "taker": 0.0003, "fee_in_base": 1} | values))


# -- fees ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "model"),
    [
        (SPOT, "BinanceFeeModel"),
        (PERP, "BinanceFuturesFeeModel"),
        ("binance:inverse:BTCUSD", "BinanceCoinFuturesFeeModel"),
        ("bybit:spot:BTCUSDT", "BybitFeeModel"),
        ("bybit:linear:BTCUSDT", "BybitFuturesFeeModel"),
    ],
)
def test_fee_models_are_leans_classes_with_our_rates(key: str, model: str) -> None:
    found: Any = fee_model(leg_of(key))
    assert (type(found).__name__, found.rates) == (model, (0.0001, 0.0003))


def test_spot_fees_in_quote_need_a_python_model() -> None:
    model = fee_model(leg_of(SPOT, fee_in_base=0))
    assert isinstance(model, QuoteFees)
    order = row(absolute_quantity=2.0, type=lean.OrderType.MARKET, is_marketable=True)
    fee = model.get_order_fee(lean.OrderFeeParameters(engine.plain_security(100.0), order)).value
    assert (fee.amount, fee.currency) == (pytest.approx(0.06), "USDT")  # 200 x 0.0003
    resting = row(absolute_quantity=2.0, type=lean.OrderType.LIMIT, is_marketable=False)
    assert model.get_order_fee(lean.OrderFeeParameters(engine.plain_security(100.0), resting)).value.amount == (
        pytest.approx(0.02)
    )


def test_a_python_fee_model_never_raises_because_lean_would_charge_dollars_ever_after() -> None:
    model = QuoteFees(leg_of(SPOT))
    assert model.get_order_fee(None).value.amount == 0.0


def test_a_base_fee_that_lean_took_out_of_the_quantity_is_put_back() -> None:
    # Recorded: an order for 1 BTC filled 0.9996 with a fee of 0.0004 BTC.
    assert gross_fill(instrument(SPOT, {}), 0.9996, 8313.07, 0.0004, "BTC") == (
        pytest.approx(1.0),
        pytest.approx(0.0004),
    )


def test_a_fee_in_a_third_asset_is_refused() -> None:
    with pytest.raises(RefusedError, match="fee in BNB"):
        gross_fill(instrument(PERP, {}), 1.0, 8000.0, 0.01, "BNB")


def test_a_coin_margined_fee_is_a_fraction_of_the_coin_value() -> None:
    # 100 contracts of 100 USD at 50,000 are 0.2 BTC; 0.0001 BTC of fee is one half of a thousandth.
    contracts, rate = gross_fill(instrument("binance:inverse:BTCUSD", {}), -100.0, 50_000.0, 0.0001, "BTC")
    assert (contracts, rate) == (-100.0, pytest.approx(0.0005))


# -- funding ------------------------------------------------------------------------------------------------------


def test_every_settlement_is_paid_once_on_its_own_rate_mark_and_position(finished: Started) -> None:
    algorithm = finished()
    rates = dict(zip(columns("funding")["time_ms"].tolist(), columns("funding")["funding_rate"].tolist(), strict=True))
    marks = dict(zip(columns("mark")["time_ms"].tolist(), columns("mark")["open"].tolist(), strict=True))
    fills = [(time, lots) for time, kind, lots in engine.filled(algorithm) if kind == "CryptoFuture"]
    expected = {}
    for time in sorted(rates):
        held = sum(lots for filled, lots in fills if filled < time)  # a fill of the instant comes after it
        if held and time <= algorithm.feed.end_ms:
            expected[time] = -Fraction(held, 10_000) * Fraction(marks[time]) * Fraction(rates[time])
    paid = {entry.time_ms: entry.amount for entry in algorithm.exchange.world.ledger if entry.flow == Flow.FUNDING}
    assert len(expected) >= 8
    assert paid == pytest.approx({time: float(value) for time, value in expected.items()}, rel=1e-12)


def test_a_position_opened_in_the_hour_before_is_paid_which_stock_lean_skips(finished: Started) -> None:
    algorithm = finished(signal__warmup_hours="31.0")
    opened = next(time for time, kind, _ in engine.filled(algorithm) if kind == "CryptoFuture")
    first = next(entry for entry in algorithm.exchange.world.ledger if entry.flow == Flow.FUNDING)
    assert (opened // HOUR % 8, first.time_ms - opened) == (7, HOUR)


def test_the_cash_book_has_every_payment(finished: Started) -> None:
    algorithm = finished()
    ledger = [entry for entry in algorithm.exchange.world.ledger if entry.asset == 0]
    total = sum((Fraction(entry.amount) for entry in ledger), Fraction(0))
    assert algorithm.portfolio.cash_book["USDT"].amount == pytest.approx(float(total), abs=1e-6)


def test_funding_on_the_last_trade_uses_leans_price(finished: Started) -> None:
    algorithm = finished(funding__price="last", data__valuation_price="last")
    closes = columns("perp")
    last = dict(zip((closes["time_ms"] + HOUR).tolist(), closes["close"].tolist(), strict=True))
    paid = [entry for entry in algorithm.exchange.world.ledger if entry.flow == Flow.FUNDING]
    assert paid
    assert [entry.price for entry in paid] == [last[entry.time_ms] for entry in paid]


# -- fills --------------------------------------------------------------------------------------------------------


def test_a_forced_fill_has_its_own_price_and_fee(started: Started) -> None:
    # The recorded case: 1.2 bought back at 9,138.96 for a fee of 39.5 while the market was elsewhere.
    algorithm = started()
    _, perp = algorithm.double_securities
    perp.price = 8462.0
    instruction = Forced(9138.96, 39.5, "USDT")
    order = lean.MarketOrder(1, lean.OrderType.MARKET, perp, 1.2, 0.0, instruction.tag)
    event = perp.fill_model.market_fill(perp, order)
    assert (event.fill_price, event.fill_quantity, event.message) == (9138.96, 1.2, FORCED)
    assert (event.order_fee.value.amount, event.order_fee.value.currency) == (39.5, "USDT")


def test_a_forced_fee_of_zero_becomes_a_token_because_lean_would_charge_its_own(started: Started) -> None:
    _, perp = started().double_securities
    perp.price = 100.0
    order = lean.MarketOrder(1, lean.OrderType.MARKET, perp, 1.0, 0.0, Forced(90.0, 0.0, "USDT").tag)
    assert 0.0 < perp.fill_model.market_fill(perp, order).order_fee.value.amount < 1e-6


@pytest.mark.parametrize("tag", ["", None, "carry:3", "liq"])
def test_other_tags_are_no_instruction(tag: str | None) -> None:
    assert forced(tag) is None


@pytest.mark.parametrize("tag", ["forced", "forced:x:1:USDT", "forced:1:2"])
def test_a_broken_instruction_is_refused(tag: str) -> None:
    with pytest.raises(RefusedError, match="not a forced fill"):
        forced(tag)


def test_a_market_order_pays_slippage_and_its_fee_on_the_fill_price(started: Started) -> None:
    algorithm = started(slippage__perp_half_spread_bps="2.0", slippage__impact_bps="10.0")
    _, perp = algorithm.double_securities
    perp.price = 10_000.0
    algorithm.exchange.see(0, (10_000.0, 50.0), (10_000.0, 100.0), math.nan, (math.nan, math.nan))
    order = lean.MarketOrder(1, lean.OrderType.MARKET, perp, 5.0, 0.0, "carry:0")
    event = perp.fill_model.market_fill(perp, order)
    # 2 bps of spread and 10 bps x 5 / 100 of the volume: 2.5 bps above 10,000; taker fee of VIP0 is 5 bps.
    assert event.fill_price == pytest.approx(10_002.5)
    assert event.order_fee.value.amount == pytest.approx(5 * 10_002.5 * 0.0005)


# -- buying power -------------------------------------------------------------------------------------------------


def seen(algorithm: Any, price: float) -> Any:
    for security in algorithm.double_securities:
        security.price = price
    algorithm.exchange.see(0, (price, 1e6), (price, 1e6), math.nan, (math.nan, math.nan))
    algorithm.exchange.close_bar(algorithm.feed.start_ms + HOUR)
    algorithm.exchange.measure()
    return algorithm.double_securities


def allowed(algorithm: Any, security: Any, quantity: float) -> bool:
    order = lean.MarketOrder(9, lean.OrderType.MARKET, security, quantity, 0.0, "")
    parameters = lean.HasSufficientBuyingPowerForOrderParameters(algorithm.portfolio, security, order)
    return bool(security.buying_power_model.has_sufficient_buying_power_for_order(parameters).is_sufficient)


def test_a_perp_has_the_money_of_its_own_wallet_only(started: Started) -> None:
    # 30,000 USDT in the perp wallet at 5x, taker 0.05%: N / 5 + 0.0005 N = 30,000 gives N = 149,625.9. Lean itself
    # would also count the 70,000 of the spot wallet.
    algorithm = started()
    _, perp = seen(algorithm, 10_000.0)
    assert allowed(algorithm, perp, 14.96)
    assert not allowed(algorithm, perp, 14.97)


def test_margin_does_not_stack_in_one_direction(started: Started) -> None:
    # Recorded in stock Lean: 9.9 BTC twice at leverage 10 on 10,000 USDT, both filled, 20x in the end.
    algorithm = started()
    _, perp = seen(algorithm, 10_000.0)
    algorithm.exchange.filled(-1, 1, 140_000, 10_000.0, 0.0005)  # 14 BTC
    algorithm.exchange.close_bar(algorithm.feed.start_ms + HOUR)
    algorithm.exchange.measure()
    assert not allowed(algorithm, perp, 1.0)
    assert allowed(algorithm, perp, -14.0)  # closing is always carried


def test_a_waiting_order_holds_its_money(started: Started) -> None:
    algorithm = started()
    spot, _ = seen(algorithm, 10_000.0)
    assert allowed(algorithm, spot, 6.9)
    algorithm.exchange.world.holdings[algorithm.exchange.world.legs[0].wallet, 0].reserved = 20_000.0
    assert not allowed(algorithm, spot, 6.9)
    assert allowed(algorithm, spot, 4.9)


def test_maintenance_margin_comes_from_the_venues_tiers(started: Started) -> None:
    # Binance BTCUSDT from 2021 (the earliest known, in force in 2020): 50,000 at 0.4%, then 0.5% less 50 USDT.
    algorithm = started()
    _, perp = seen(algorithm, 10_000.0)
    margin = perp.buying_power_model.get_maintenance_margin(lean.MaintenanceMarginParameters(perp, -10.0))
    assert margin.value == pytest.approx(100_000 * 0.005 - 50.0)


def test_leans_refusals_have_reasons(started: Started) -> None:
    desk = started().order_desk
    desk._exchange = row(world=row(orders=[row(leg=0), row(leg=1)]))
    assert desk._refusal(0, "Warning - Code: MinNotional - x") is OrderReason.BELOW_MIN_NOTIONAL
    assert desk._refusal(1, "OrderQuantityLessThanLotSize") is OrderReason.BELOW_MIN_QUANTITY
    assert desk._refusal(0, "Insufficient buying power") is OrderReason.NO_FUNDS
    assert desk._refusal(1, "Insufficient buying power") is OrderReason.NO_MARGIN


# -- liquidation --------------------------------------------------------------------------------------------------


def short_of_one(started: Started) -> Any:
    """Short 1 BTC at 10,000 on 1,000 USDT, without fees."""
    algorithm = started(margin__liquidity_gap="0.0")
    lean.double_set_time(algorithm.double_start)  # Lean's warm-up, which refuses orders, is over
    seen(algorithm, 10_000.0)
    wallet = algorithm.exchange.world.legs[1].wallet
    algorithm.exchange.filled(-1, 1, -10_000, 10_000.0, 0.0)
    algorithm.exchange.world.holdings[wallet, 0].balance = 1_000.0
    algorithm.exchange.measure()
    return algorithm


def marks_move(algorithm: Any, low: float, high: float) -> list[ForcedFill]:
    """What the venue closes in a bar whose mark ends where it began."""
    exchange = algorithm.exchange
    exchange.risk.act(exchange.run.time_ms + HOUR, [10_000.0, 10_000.0], [(low, high)])
    return list(exchange.risk.forced)


# Equity 1,000 - (P - 10,000) meets 0.4% of P at P = 11,000 / 1.004 = 10,956.17.


@pytest.mark.parametrize(("low", "high"), [(10_000.0, 10_956.0), (5_000.0, 10_900.0), (math.nan, math.nan)])
def test_nothing_is_closed_while_the_adverse_mark_carries_the_margin(started: Started, low: float, high: float) -> None:
    assert marks_move(short_of_one(started), low, high) == []


@pytest.mark.parametrize("is_fresh", [True, False])
def test_a_wallet_is_liquidated_on_mark_at_its_maintenance_margin(started: Started, is_fresh: bool) -> None:
    """Whether the guards have looked since the last fill, and so know the bounds, or not."""
    algorithm = short_of_one(started)
    algorithm.exchange.risk.moved = not is_fresh
    (fill,) = marks_move(algorithm, 9_000.0, 10_957.0)
    assert (fill.leg, fill.lots) == (1, 10_000)  # 2% fee a lot frees no margin at 0.4%: all of it
    assert fill.price == pytest.approx(11_000 / 1.004)  # the mark that triggers it, without a gap and a spread
    assert fill.fee == pytest.approx(min(0.02 * fill.price, 11_000 - fill.price))  # as far as there is equity


def test_bounds_do_not_outlive_the_balance_that_they_were_found_with(started: Started) -> None:
    algorithm = short_of_one(started)
    wallet = algorithm.exchange.world.legs[1].wallet
    algorithm.exchange.world.holdings[wallet, 0].balance = 500.0
    assert marks_move(algorithm, 10_000.0, 10_500.0)


def test_distance_to_liquidation_is_that_of_the_mark(started: Started) -> None:
    algorithm = short_of_one(started)
    assert algorithm.exchange.risk.distance() == pytest.approx(11_000 / 1.004 / 10_000 - 1)


def test_a_flat_book_has_no_distance(started: Started) -> None:
    algorithm = started()
    seen(algorithm, 10_000.0)
    assert math.isnan(algorithm.exchange.risk.distance())


def test_lean_follows_what_the_ledger_has_booked(started: Started) -> None:
    """The fill at the venue's price and fee, what it took over, and nothing twice."""
    algorithm = short_of_one(started)
    _, perp = algorithm.double_securities
    perp.holdings.quantity, perp.holdings.average_price = -1.0, 10_000.0
    wallet = algorithm.exchange.world.legs[1].wallet
    cash = algorithm.portfolio.cash_book["USDT"]
    cash.add_amount(algorithm.exchange.balances()["USDT"] - cash.amount)
    ledger_rows = algorithm.exchange.run.ledger_rows
    marks_move(algorithm, 10_000.0, 13_000.0)
    booked = algorithm.exchange.run.ledger_rows
    algorithm.order_desk.reconcile()  # while Lean has not followed there is nothing to compare
    algorithm.order_desk.follow()
    assert perp.holdings.quantity == 0.0
    assert algorithm.exchange.run.ledger_rows == booked > ledger_rows
    assert algorithm.exchange.world.holdings[wallet, 0].balance == pytest.approx(0.0, abs=1e-6)
    assert cash.amount == pytest.approx(algorithm.exchange.balances()["USDT"], abs=1e-6)
    assert not algorithm.exchange.risk.forced
    assert not algorithm.exchange.risk.beside


def test_a_venue_fill_that_lean_does_not_take_stops_the_run(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    algorithm = short_of_one(started)
    marks_move(algorithm, 10_000.0, 13_000.0)
    monkeypatch.setattr(lean.QCAlgorithm, "double_fill", lambda *_: None)
    with pytest.raises(RefusedError, match="left the venue's fill forced:"):
        algorithm.order_desk.follow()


def test_a_resting_order_that_the_book_has_ended_never_fills(started: Started) -> None:
    algorithm = started(execution__style="maker_first")
    spot, _ = algorithm.double_securities
    slices = engine.recorded_slices()[1:]
    for number, recorded in enumerate(slices):
        bars = dict(zip(algorithm.double_securities, map(engine.bar_of, recorded["bars"].values()), strict=True))
        engine.step(algorithm, engine.at(recorded["time"]), bars, number == 0)
        pending = list(algorithm.double_pending())
        if pending:
            break
    (order,) = pending
    spot.bar = lean.TradeBar(open=1.0, high=1.0, low=1.0, close=1.0, volume=1e6)  # far through the limit
    order.placed = algorithm.double_start
    assert spot.fill_model.limit_fill(spot, order).fill_quantity == order.quantity
    assert spot.fill_model.limit_fill(spot, order).status == lean.OrderStatus.FILLED
    algorithm.exchange.world.pairs[0].guards = int(Guard.UNHEDGED)
    algorithm.exchange.begin_turn()  # the guard ends the work
    event = spot.fill_model.limit_fill(spot, order)
    assert (event.fill_quantity, event.status) == (0, order.status)  # no change, so no event
    algorithm.order_desk.follow()
    assert not list(algorithm.double_pending())


def test_a_margin_call_on_one_leg_becomes_one_on_the_pair(started: Started) -> None:
    # Recorded (C.3): Lean asks for 2.211 of 2.5 short perp and 0.26546 of 2.499 spot, each for all that is short. Both
    # together need the fraction 1 / (2.5 / 2.211 + 2.499 / 0.26546) of each.
    algorithm = started()
    spot, perp = seen(algorithm, 10_000.0)
    algorithm.exchange.filled(-1, 0, 249_900, 10_000.0, 0.0)
    algorithm.exchange.filled(-1, 1, -25_000, 10_000.0, 0.0)
    now = engine.at("2020-03-10T01:00:00Z")
    requests = [
        lean.SubmitOrderRequest(lean.OrderType.MARKET, item.type, item.symbol, quantity, 0, 0, now, "Margin Call")
        for item, quantity in ((perp, 2.211), (spot, -0.26546))
    ]
    share = 1 / (2.5 / 2.211 + 2.499 / 0.26546)
    found = algorithm.on_margin_call(requests)
    assert [(request.symbol, request.quantity) for request in found] == [
        (spot.symbol, pytest.approx(-math.ceil(share * 249_900) * 0.00001)),
        (perp.symbol, pytest.approx(math.ceil(share * 25_000) * 0.0001)),
    ]


def test_requests_for_other_securities_stay_so_that_leans_list_is_never_empty(started: Started) -> None:
    algorithm = started()
    other = row(symbol="OTHER", quantity=1.0)
    assert whole_pairs(algorithm.legs.legs, [other]) == [other]


# -- brokerage model ----------------------------------------------------------------------------------------------


def order_of(security: Any, quantity: float, kind: Any = lean.OrderType.MARKET) -> Any:
    return lean.Order(1, kind, security, quantity, 0.0, "")


def test_orders_below_the_venues_minimums_are_refused_with_a_tuple(started: Started) -> None:
    algorithm = started()
    spot, perp = seen(algorithm, 10_000.0)
    model = algorithm._brokerage
    assert model.can_submit_order(perp, order_of(perp, 0.02), None) == (True, None)
    is_allowed, message = model.can_submit_order(perp, order_of(perp, 0.009), None)  # 90 USDT, Binance asks 100
    assert (is_allowed, message.code) == (False, "MinNotional")
    is_allowed, message = model.can_submit_order(spot, order_of(spot, 0.000001), None)
    assert (is_allowed, message.code) == (False, "MinQuantity")
    is_allowed, message = model.can_submit_order(spot, order_of(spot, 1.0, lean.OrderType.STOP_MARKET), None)
    assert (is_allowed, message.code) == (False, "OrderType")
    assert model.can_update_order(spot, order_of(spot, 1.0), None, None)[0] is False


def test_a_closing_order_may_be_below_the_notional_minimum(started: Started) -> None:
    algorithm = started()
    _, perp = seen(algorithm, 10_000.0)
    algorithm.exchange.filled(-1, 1, -90, 10_000.0, 0.0)
    assert algorithm._brokerage.can_submit_order(perp, order_of(perp, 0.009), None) == (True, None)


def test_hidden_conversion_feeds_keep_leans_defaults(started: Started) -> None:
    algorithm = started()
    properties = lean.SymbolProperties("", "USDT", 1, 0.01, 0.001, "BNBUSDT")
    feed = lean.Crypto(lean.Symbol("BNBUSDT", lean.SecurityType.CRYPTO, "binance"), properties, None, None)
    model = algorithm._brokerage
    assert model.get_margin_interest_rate_model(feed) is lean.MarginInterestRateModel.NULL
    assert type(model.get_fill_model(feed)) is lean.ImmediateFillModel
    assert model.get_leverage(feed) == 1.0


def test_custom_data_securities_keep_leans_defaults(started: Started) -> None:
    algorithm = started()
    data = lean.Security(lean.Symbol("BTC", lean.SecurityType.BASE, "empty"), None, None, None)
    assert algorithm.legs.of(data) == ()
    assert algorithm._brokerage.get_margin_interest_rate_model(data) is lean.MarginInterestRateModel.NULL


def test_models_enter_python_only_where_lean_has_none(started: Started) -> None:
    spot, perp = started().double_securities
    assert spot.margin_interest_rate_model is lean.MarginInterestRateModel.NULL
    assert perp.margin_interest_rate_model.__class__.__name__ == "FundingModel"
    assert {type(item.fee_model).__module__ for item in (spot, perp)} <= engine.DOUBLE_MODULES
    assert {type(item.slippage_model) for item in (spot, perp)} == {lean.NullSlippageModel}
    assert perp.leverage == 5.0


def test_spot_and_perp_are_found_on_their_own_venue(started: Started) -> None:
    markets = started()._brokerage.default_markets
    assert markets == {lean.SecurityType.CRYPTO: "binance", lean.SecurityType.CRYPTO_FUTURE: "binance"}


def test_symbol_properties_are_ours_before_a_security_is_added(started: Started) -> None:
    _, perp = started().double_securities
    found = perp.symbol_properties
    assert (found.minimum_price_variation, found.lot_size, found.minimum_order_size) == (0.1, 0.0001, 0.0001)


# -- custom data --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "market"),
    [
        (FundingRate, "binance"), (MarkPrice, "binancemark"), (IndexPrice, "binanceindex"),
        (VenueOraclePrice, "binanceoracle"), (BorrowRate, "binanceborrow"), (OraclePrice, "carryoracle"),
    ],
)  # fmt: skip
def test_custom_rows_are_read_from_the_exported_folder(cls: Any, market: str) -> None:
    lean.Globals.data_folder = "folder"
    venue = "CARRY" if cls is OraclePrice else "BINANCE"
    config = lean.SubscriptionDataConfig(lean.Symbol(f"{venue}.BTCUSDT", lean.SecurityType.BASE, "empty"))
    now = engine.at("2020-03-10T08:00:00Z")
    source = cls().get_source(config, now, False)
    assert source.source == f"folder/cryptofuture/{market}/margin_interest/btcusdt.csv"
    found = cls().reader(config, "20200310 08:00:00,-0.00012345", now, False)
    assert (found.value, found.time, found.end_time) == (-0.00012345, now, now)
    assert cls().reader(config, "\n", now, False) is None


@pytest.mark.parametrize("text", ["8.4e-7", "1e-05", "nan", "", "0.01%", "1.2.3"])
def test_what_lean_would_misread_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="plain decimal"):
        parse_value(f"20200310 08:00:00,{text}")
