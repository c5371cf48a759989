"""Bybit's streams: routes within the limits, every message, and answers. Values are the venue's own examples."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from crypto.errors import UsageError
from data.streams.bybit import Bybit
from data.streams.events import (
    Acknowledged,
    AdlNotice,
    Aggressor,
    BookDelta,
    BookSnapshot,
    Event,
    ForcedOrder,
    FrameError,
    Heartbeat,
    Ignored,
    InsuranceUpdate,
    Liquidated,
    PerpUpdate,
    TopOfBook,
    Trade,
)
from data.streams.protocol import Channel, Route, Subscription

VENUE = Bybit()
TICKER = {
    "topic": "tickers.BTCUSDT", "type": "snapshot", "cs": 24987956059, "ts": 1673272861686,
    "data": {"symbol": "BTCUSDT", "markPrice": "17217.33", "indexPrice": "17227.36", "nextFundingTime": "1673280000000",
             "fundingRate": "-0.000212", "fundingIntervalHour": "8", "bid1Price": "17215.50", "ask1Price": "17216.00"},
}  # fmt: skip


def route(kind: str = "linear") -> Route:
    return VENUE.routes([Subscription(kind, Channel.TOP, ("BTCUSDT",))])[0]


def events(message: Any, kind: str = "linear") -> list[Event]:
    return list(VENUE.parse(route(kind), json.dumps(message)))


def ticker(**fields: Any) -> dict[str, Any]:
    return TICKER | {"type": "delta", "data": {"symbol": "BTCUSDT", **fields}}


def book(depth: int, kind: str, bids: Any, asks: Any, update: int = 5) -> dict[str, Any]:
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": update, "seq": 7}
    return {"topic": f"orderbook.{depth}.BTCUSDT", "ts": 1687940967466, "type": kind, "data": data, "cts": 1}


# --- routes -------------------------------------------------------------------------------------------------------


def test_requests_stay_within_the_limits_of_arguments_and_characters() -> None:
    symbols = tuple(f"{number:012d}USDT" for number in range(1500))
    found = VENUE.routes([Subscription("linear", Channel.PERP, symbols)])
    # A topic: 8 characters of "tickers.", 16 of the symbol, two quotes and a comma: 27; 777 of them fit in 21,000.
    assert [len(one.streams) for one in found] == [777, 723]
    for one in found:
        requests = [json.loads(frame) for frame in one.subscribe_frames]
        assert [topic for request in requests for topic in request["args"]] == list(one.streams)
        assert max(len(request["args"]) for request in requests) == 100
        assert {request["req_id"] for request in requests} == one.acknowledgements
        assert sum(len(json.dumps(topic)) + 1 for topic in one.streams) <= 21_000
        assert one.address == "wss://stream.bybit.com/v5/public/linear"


def test_spot_takes_ten_arguments_a_request() -> None:
    symbols = tuple(f"S{number}USDT" for number in range(25))
    (found,) = VENUE.routes([Subscription("spot", Channel.TOP, symbols)])
    assert [len(json.loads(frame)["args"]) for frame in found.subscribe_frames] == [10, 10, 5]
    assert found.path == "/v5/public/spot"


def test_kinds_have_connections_of_their_own_and_topics_their_names() -> None:
    found = VENUE.routes(
        [
            Subscription("linear", Channel.PERP, ("BTCUSDT",)),
            Subscription("linear", Channel.TRADES, ("BTCUSDT",)),
            Subscription("linear", Channel.BOOK, ("BTCUSDT",)),
            Subscription("linear", Channel.FORCED_ORDERS, ("BTCUSDT",)),
            Subscription("linear", Channel.ADL, ("USDT",)),
            Subscription("linear", Channel.INSURANCE, ("USDT",)),
            Subscription("inverse", Channel.PERP, ("BTCUSD",)),
        ]
    )
    assert [one.streams for one in found] == [
        ("tickers.BTCUSDT", "publicTrade.BTCUSDT", "orderbook.50.BTCUSDT", "allLiquidation.BTCUSDT", "adlAlert.USDT",
         "insurance.USDT"),
        ("tickers.BTCUSD",),
    ]  # fmt: skip
    assert VENUE.heartbeat.client_frame == '{"op":"ping"}'
    assert VENUE.heartbeat.client_interval_seconds == 20.0


@pytest.mark.parametrize(
    "subscription",
    [
        Subscription("linear", Channel.PERP),
        Subscription("spot", Channel.PERP, ("BTCUSDT",)),
        Subscription("option", Channel.TOP, ("X",)),
        Subscription("linear", Channel.CONTRACTS, ("X",)),
    ],
)
def test_what_the_venue_does_not_have_is_refused(subscription: Subscription) -> None:
    with pytest.raises(UsageError, match="bybit has no"):
        VENUE.routes([subscription])


# --- messages -----------------------------------------------------------------------------------------------------


def test_a_ticker_snapshot_and_a_change() -> None:
    assert events(TICKER) == [
        PerpUpdate(
            venue="bybit", kind="linear", symbol="BTCUSDT", event_ms=1673272861686, sequence=24987956059,
            mark=17217.33, index=17227.36, funding_rate=-0.000212, next_settlement_ms=1673280000000, interval_hours=8.0,
        )
    ]  # fmt: skip
    assert events(ticker(markPrice="17218.00")) == [
        PerpUpdate(
            venue="bybit", kind="linear", symbol="BTCUSDT", event_ms=1673272861686, sequence=24987956059, mark=17218.0,
            snapshot=False,
        )
    ]  # fmt: skip


def test_the_order_of_keys_does_not_matter() -> None:
    turned = dict(reversed(list(TICKER.items())))
    assert events(turned) == events(TICKER)


def test_an_empty_text_clears_and_an_absent_field_does_not() -> None:
    (cleared,) = events(ticker(fundingRate="", nextFundingTime="", markPrice="1"))
    assert isinstance(cleared, PerpUpdate)
    assert cleared.funding_rate is not None
    assert math.isnan(cleared.funding_rate)
    assert cleared.next_settlement_ms == 0
    assert (cleared.mark, cleared.index, cleared.interval_hours) == (1.0, None, None)
    whole = TICKER | {"data": {"symbol": "BTC-26DEC25", "markPrice": "2", "indexPrice": "1", "fundingRate": ""}}
    (dated,) = events(whole)
    assert isinstance(dated, PerpUpdate)
    assert (dated.mark, dated.index, dated.funding_rate, dated.next_settlement_ms) == (2.0, 1.0, None, None)


@pytest.mark.parametrize("text", ["nan", "inf", "1_0", " 1", "1e999", "abc", "0x1", "١"])
def test_a_text_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(FrameError, match=r"no number|wrong kind"):
        events(ticker(markPrice=text, fundingRate=""))
    with pytest.raises(FrameError, match=r"no number|wrong kind"):
        events(ticker(markPrice=text))


def test_the_first_level_is_a_top_of_book() -> None:
    top = TopOfBook(
        venue="bybit", kind="spot", symbol="BTCUSDT", event_ms=1687940967466, sequence=5, bid=30247.2,
        bid_quantity=30.028, ask=30248.7, ask_quantity=0.892,
    )  # fmt: skip
    snapshot = book(1, "snapshot", [["30247.20", "30.028"]], [["30248.70", "0.892"]])
    assert events(snapshot, "spot") == [top]
    (change,) = events(book(1, "delta", [["30247.20", "0"], ["30246", "2"]], []))
    assert isinstance(change, TopOfBook)
    assert (change.bid, change.bid_quantity, change.ask, change.snapshot) == (30246.0, 2.0, None, False)
    (emptied,) = events(book(1, "delta", [["30247.20", "0"]], []))
    assert isinstance(emptied, TopOfBook)
    assert emptied.bid is not None
    assert math.isnan(emptied.bid)
    (one_sided,) = events(book(1, "snapshot", [], [["1", "2"]]))
    assert isinstance(one_sided, TopOfBook)
    assert (one_sided.bid, one_sided.ask) == (None, 1.0)


def test_deeper_books_come_as_snapshots_and_changes() -> None:
    levels = {"bids": ((30247.2, 30.028),), "asks": ((30248.7, 0.0),)}
    shared = {"venue": "bybit", "kind": "linear", "symbol": "BTCUSDT", "event_ms": 1687940967466, "depth": 50}
    message = book(50, "snapshot", [["30247.20", "30.028"]], [["30248.70", "0"]])
    assert events(message) == [BookSnapshot(sequence=5, **shared, **levels)]
    assert events(message | {"type": "delta"}) == [
        BookDelta(first_sequence=5, sequence=5, previous_sequence=None, **shared, **levels)
    ]


def test_trades_liquidations_notices_and_pools() -> None:
    trade = {"T": 1672304486865, "s": "BTCUSDT", "S": "Buy", "v": "0.001", "p": "16578.50", "L": "PlusTick",
             "i": "20f43950", "BT": False, "seq": 1783284617}  # fmt: skip
    found = events(
        {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": 1, "data": [trade, trade | {"S": "Sell"}]}
    )
    assert found[0] == Trade(
        venue="bybit", kind="linear", symbol="BTCUSDT", event_ms=1672304486865, trade_id="20f43950", price=16578.5,
        quantity=0.001, aggressor=Aggressor.BUYER, sequence=1783284617,
    )  # fmt: skip
    assert isinstance(found[1], Trade)
    assert found[1].aggressor is Aggressor.SELLER

    closed = {"T": 1739502302929, "s": "ROSEUSDT", "S": "Sell", "v": "20000", "p": "0.04499"}
    (short,) = events({"topic": "allLiquidation.ROSEUSDT", "type": "snapshot", "ts": 2, "data": [closed]})
    assert short == ForcedOrder(
        venue="bybit", kind="linear", symbol="ROSEUSDT", event_ms=1739502302929, liquidated=Liquidated.SHORT,
        price=0.04499, quantity=20000.0,
    )  # fmt: skip

    alert = {"c": "USDT", "s": "FWOGUSDT", "b": -5421.29889888, "mb": -5421.2, "i_pr": -0.3, "pr": 0, "adl_tt": 10000,
             "adl_sr": -0.25}  # fmt: skip
    (notice,) = events({"topic": "adlAlert.USDT", "type": "snapshot", "ts": 1757736794000, "data": [alert]})
    assert notice == AdlNotice(
        venue="bybit", kind="linear", symbol="FWOGUSDT", event_ms=1757736794000, coin="USDT", balance=-5421.29889888,
        peak_balance_8h=-5421.2, drawdown_8h=0.0, trigger_drawdown=-0.3, trigger_balance=10000.0, stop_drawdown=-0.25,
    )  # fmt: skip

    pool = {"coin": "USDT", "symbols": "GOATUSDT", "balance": "20352.32665441", "updateTime": "1747722930000"}
    (balance,) = events({"topic": "insurance.USDT", "type": "delta", "ts": 3, "data": [pool]})
    assert balance == InsuranceUpdate(
        venue="bybit", event_ms=1747722930000, coin="USDT", symbols="GOATUSDT", balance=20352.32665441, snapshot=False
    )


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            {"success": True, "ret_msg": "", "conn_id": "c", "req_id": "linear-0-0", "op": "subscribe"},
            Acknowledged(venue="bybit", ok=True, request_id="linear-0-0"),
        ),
        (
            {"success": False, "ret_msg": "Invalid topic: x", "conn_id": "c", "op": "subscribe"},
            Acknowledged(venue="bybit", ok=False, message="Invalid topic: x"),
        ),
        ({"success": True, "ret_msg": "pong", "conn_id": "c", "req_id": "", "op": "ping"}, Heartbeat(venue="bybit")),
        ({"op": "pong", "args": ["1675418560633"], "conn_id": "c"}, Heartbeat(venue="bybit")),
        (
            {"op": "auth", "success": False, "retCode": 10003, "retMsg": "Invalid apikey", "connId": "c"},
            Ignored(venue="bybit", reason="an answer to auth: refused"),
        ),
        ({"op": "subscribe", "args": ["x"]}, Ignored(venue="bybit", reason="a request, not an answer")),
        ({"topic": "order", "data": []}, Ignored(venue="bybit", reason="private: order")),
        ({"topic": "newThing.X", "data": 1}, Ignored(venue="bybit", reason="unknown topic newThing")),
        (
            {"topic": "publicTrade.X", "ts": 1, "data": []},
            Ignored(venue="bybit", reason="no trades in the message"),
        ),
    ],
)
def test_answers_and_what_is_ignored(message: Any, expected: Event) -> None:
    assert events(message) == [expected]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({}, "neither a topic nor an answer"),
        ({"topic": "orderbook.x.BTC", "ts": 1, "type": "delta", "data": book(1, "delta", [], [])["data"]}, "depth"),
        ({"topic": "tickers.X", "ts": 1, "data": {}}, "bybit linear-public-0: a value of the wrong kind at $.data"),
        (TICKER | {"ts": "soon"}, "$.ts"),
        (TICKER | {"type": "partial"}, "$.type"),
        (
            {"topic": "publicTrade.X", "ts": 1, "data": [{"T": 1, "s": "X", "S": "Up", "v": "1", "p": "1", "i": ""}]},
            "S",
        ),
    ],
)
def test_garbage_is_refused(message: Any, text: str) -> None:
    with pytest.raises(FrameError) as caught:
        events(message)
    assert text in caught.value.message
