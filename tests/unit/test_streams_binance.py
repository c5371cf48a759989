"""Binance's streams: routes within the limits, every message, and answers. Values are the venue's own examples."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from crypto.errors import UsageError
from data.streams.binance import Binance, parse_depth_snapshot
from data.streams.events import (
    Acknowledged,
    Aggressor,
    BookDelta,
    BookSnapshot,
    ContractNotice,
    Event,
    ForcedOrder,
    FrameError,
    Ignored,
    Liquidated,
    PerpUpdate,
    TopOfBook,
    Trade,
    plain,
)
from data.streams.protocol import Channel, Route, Subscription

VENUE = Binance()
MARK = {
    "e": "markPriceUpdate", "E": 1562305380000, "s": "BTCUSDT", "p": "11794.15000000", "i": "11784.62659091",
    "P": "11784.25641265", "r": "0.00038167", "T": 1562306400000, "st": 1,
}  # fmt: skip


def route(kind: str = "linear", channel: Channel = Channel.TOP) -> Route:
    return VENUE.routes([Subscription(kind, channel, ("BTCUSDT",))])[0]


def events(message: Any, kind: str = "linear") -> list[Event]:
    return [plain(event) for event in VENUE.parse(route(kind), json.dumps(message))]


# --- routes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "symbols", "address"),
    [
        (Channel.PERP, (), "wss://fstream.binance.com/market/stream?streams=!markPrice@arr@1s"),
        (Channel.PERP, ("BTCUSDT",), "wss://fstream.binance.com/market/stream?streams=btcusdt@markPrice@1s"),
        (Channel.FORCED_ORDERS, (), "wss://fstream.binance.com/market/stream?streams=!forceOrder@arr"),
        (Channel.CONTRACTS, (), "wss://fstream.binance.com/market/stream?streams=!contractInfo"),
        (Channel.TOP, (), "wss://fstream.binance.com/public/stream?streams=!bookTicker"),
        (Channel.TOP, ("BTCUSDT",), "wss://fstream.binance.com/public/stream?streams=btcusdt@bookTicker"),
        (Channel.TRADES, ("BTCUSDT",), "wss://fstream.binance.com/public/stream?streams=btcusdt@trade"),
        (Channel.BOOK, ("BTCUSDT",), "wss://fstream.binance.com/public/stream?streams=btcusdt@depth@100ms"),
    ],
)
def test_each_futures_channel_goes_to_the_route_that_serves_it(
    channel: Channel, symbols: tuple[str, ...], address: str
) -> None:
    (found,) = VENUE.routes([Subscription("linear", channel, symbols)])
    assert found.address == address


def test_market_and_public_streams_never_share_a_connection() -> None:
    found = VENUE.routes(
        [
            Subscription("linear", Channel.PERP),
            Subscription("linear", Channel.TOP, ("BTCUSDT",)),
            Subscription("linear", Channel.FORCED_ORDERS),
            Subscription("spot", Channel.TOP, ("BTCUSDT",)),
        ]
    )
    assert [(one.name, one.streams) for one in found] == [
        ("linear-market-0", ("!markPrice@arr@1s", "!forceOrder@arr")),
        ("linear-public-0", ("btcusdt@bookTicker",)),
        ("spot-stream-0", ("btcusdt@bookTicker",)),
    ]
    assert found[2].address == "wss://stream.binance.com:9443/stream?streams=btcusdt@bookTicker"


def test_many_symbols_are_spread_over_connections_and_requests() -> None:
    symbols = tuple(f"S{number}USDT" for number in range(450))
    found = VENUE.routes([Subscription("linear", Channel.TOP, symbols)])
    assert [len(one.streams) for one in found] == [200, 200, 50]
    assert [stream for one in found for stream in one.streams] == [f"{symbol.lower()}@bookTicker" for symbol in symbols]
    asked = [json.loads(frame) for frame in found[0].subscribe_frames]
    assert [(one["method"], one["id"], len(one["params"])) for one in asked] == [
        ("SUBSCRIBE", 1, 50),
        ("SUBSCRIBE", 2, 50),
        ("SUBSCRIBE", 3, 50),
    ]
    assert found[0].acknowledgements == {"1", "2", "3"}
    in_address = found[0].path.removeprefix("/public/stream?streams=").split("/")
    assert in_address + [stream for one in asked for stream in one["params"]] == list(found[0].streams)
    assert not found[2].subscribe_frames
    assert not found[2].acknowledgements


def test_silence_is_that_of_the_liveliest_stream_and_liquidations_may_be_silent() -> None:
    marks, quiet = (
        VENUE.routes([Subscription("linear", Channel.PERP), Subscription("linear", Channel.FORCED_ORDERS)])[0],
        VENUE.routes([Subscription("linear", Channel.FORCED_ORDERS)])[0],
    )
    assert (marks.silence_seconds, marks.first_message_seconds) == (3.0, 5.0)
    assert (quiet.silence_seconds, quiet.first_message_seconds) == (None, None)


def test_names_outside_ascii_are_encoded_and_the_address_can_be_replaced() -> None:
    venue = Binance(futures_url="ws://127.0.0.1:9", spot_url="ws://127.0.0.1:8")
    (found,) = venue.routes([Subscription("linear", Channel.TOP, ("币安USDT",))])
    assert found.address == "ws://127.0.0.1:9/public/stream?streams=%E5%B8%81%E5%AE%89usdt@bookTicker"


@pytest.mark.parametrize(
    "subscription",
    [
        Subscription("inverse", Channel.PERP),
        Subscription("spot", Channel.PERP, ("BTCUSDT",)),
        Subscription("linear", Channel.ADL, ("USDT",)),
        Subscription("linear", Channel.TRADES),
        Subscription("spot", Channel.TOP),
    ],
)
def test_what_the_venue_does_not_have_is_refused(subscription: Subscription) -> None:
    with pytest.raises(UsageError, match=subscription.channel):
        VENUE.routes([subscription])


# --- messages -----------------------------------------------------------------------------------------------------


def test_a_mark_price_is_a_whole_update() -> None:
    expected = PerpUpdate(
        venue="binance", kind="linear", symbol="BTCUSDT", event_ms=1562305380000, mark=11794.15, index=11784.62659091,
        funding_rate=0.00038167, next_settlement_ms=1562306400000,
    )  # fmt: skip
    assert events(MARK) == [expected]
    assert events({"stream": "btcusdt@markPrice@1s", "data": MARK}) == [expected]
    assert events({"data": MARK, "stream": "btcusdt@markPrice@1s"}) == [expected]
    assert events([MARK]) == [expected]
    assert events({"stream": "!markPrice@arr@1s", "data": [MARK, MARK]}) == [expected, expected]


def test_delivery_and_coin_margined_rows_of_an_array() -> None:
    delivery = MARK | {"s": "BTCUSDT_261225", "r": "", "T": 0}
    coin = MARK | {"s": "BTCUSD_PERP"}
    first, second, third = events({"stream": "!markPrice@arr@1s", "data": [delivery, coin, MARK]})
    assert isinstance(first, PerpUpdate)
    assert isinstance(second, PerpUpdate)
    assert isinstance(third, PerpUpdate)
    assert (first.kind, first.mark, first.funding_rate, first.next_settlement_ms) == ("linear", 11794.15, None, None)
    assert (second.kind, second.symbol, second.funding_rate) == ("inverse", "BTCUSD_PERP", 0.00038167)
    assert (third.kind, third.funding_rate) == ("linear", 0.00038167)


def test_events_of_the_venue_are_written_with_our_names() -> None:
    (event,) = VENUE.parse(route(), json.dumps(MARK))
    written = json.loads(msgspec.json.encode(plain(event)))
    assert written["type"] == "perp"
    assert (written["mark"], written["funding_rate"], written["event_ms"]) == (11794.15, 0.00038167, 1562305380000)
    assert msgspec.json.decode(msgspec.json.encode(plain(event)), type=PerpUpdate) == plain(event)


def test_book_tickers_of_futures_and_spot() -> None:
    futures = {
        "e": "bookTicker", "u": 400900217, "E": 1568014460893, "T": 1568014460891, "s": "BNBUSDT", "b": "25.35190000",
        "B": "31.21000000", "a": "25.36520000", "A": "40.66000000", "st": 1, "ps": "BNBUSDT",
    }  # fmt: skip
    spot = {key: futures[key] for key in ("u", "s", "b", "B", "a", "A")}
    top = TopOfBook(
        venue="binance", kind="linear", symbol="BNBUSDT", event_ms=1568014460893, sequence=400900217, bid=25.3519,
        bid_quantity=31.21, ask=25.3652, ask_quantity=40.66,
    )  # fmt: skip
    assert events(futures) == [top]
    assert events({"stream": "bnbusdt@bookTicker", "data": futures}) == [top]
    assert events({"stream": "!bookTicker", "data": futures}) == [top]
    spot_top = msgspec.structs.replace(top, kind="spot", event_ms=None)
    assert events(spot, "spot") == [spot_top]
    assert events({"stream": "bnbusdt@bookTicker", "data": spot}, "spot") == [spot_top]


def test_the_maker_flag_names_the_other_side() -> None:
    trade = {"e": "trade", "E": 123456789, "s": "BTCUSDT", "t": 5933014, "p": "0.001", "q": "100", "T": 123456785}
    (bought,) = events(trade | {"m": False})
    (sold,) = events(trade | {"m": True, "X": "MARKET"})
    assert bought == Trade(
        venue="binance", kind="linear", symbol="BTCUSDT", event_ms=123456785, trade_id="5933014", price=0.001,
        quantity=100.0, aggressor=Aggressor.BUYER, sequence=5933014,
    )  # fmt: skip
    assert isinstance(sold, Trade)
    assert sold.aggressor is Aggressor.SELLER
    (fund,) = events(trade | {"m": True, "X": "INSURANCE_FUND"})
    assert isinstance(fund, Ignored)
    aggregate = {"e": "aggTrade", "E": 1, "a": 7, "s": "X", "p": "2", "q": "3", "f": 1, "l": 2, "T": 4, "m": True}
    (row,) = events(aggregate)
    assert isinstance(row, Trade)
    assert (row.aggregated, row.trade_id, row.event_ms, row.aggressor) == (True, "7", 4, Aggressor.SELLER)


def test_depth_updates_keep_their_three_ids() -> None:
    depth = {"e": "depthUpdate", "E": 123456789, "T": 123456788, "s": "BTCUSDT", "U": 157, "u": 160, "pu": 149,
             "b": [["0.0024", "10"]], "a": [["0.0026", "100"]]}  # fmt: skip
    expected = BookDelta(
        venue="binance", kind="linear", symbol="BTCUSDT", event_ms=123456789, first_sequence=157, sequence=160,
        previous_sequence=149, bids=((0.0024, 10.0),), asks=((0.0026, 100.0),),
    )  # fmt: skip
    assert events(depth) == [expected]
    without = {key: value for key, value in depth.items() if key != "pu"}
    with pytest.raises(FrameError, match="without pu"):
        events(without)
    (spot,) = events(without, "spot")
    assert isinstance(spot, BookDelta)
    assert spot.previous_sequence is None
    with pytest.raises(FrameError, match="first change after the last"):
        events(depth | {"U": 161})


def test_a_rest_snapshot_becomes_a_book() -> None:
    content = b'{"lastUpdateId":160,"E":5,"T":4,"bids":[["0.0024","10"]],"asks":[["0.0026","100"]]}'
    assert parse_depth_snapshot("linear", "BTCUSDT", content) == BookSnapshot(
        venue="binance", kind="linear", symbol="BTCUSDT", event_ms=5, sequence=160, bids=((0.0024, 10.0),),
        asks=((0.0026, 100.0),),
    )  # fmt: skip


def test_a_forced_sale_liquidated_a_long() -> None:
    order = {"s": "BTCUSDT", "S": "SELL", "o": "LIMIT", "f": "IOC", "q": "0.014", "p": "9910.00000000",
             "ap": "9910.12345678", "X": "FILLED", "l": "0.014", "z": "0.012", "T": 1568014460893}  # fmt: skip
    (sold,) = events({"e": "forceOrder", "E": 1568014460893, "o": order})
    assert sold == ForcedOrder(
        venue="binance", kind="linear", symbol="BTCUSDT", event_ms=1568014460893, liquidated=Liquidated.LONG,
        price=9910.12345678, quantity=0.012,
    )  # fmt: skip
    (bought,) = events({"stream": "!forceOrder@arr", "data": {"e": "forceOrder", "E": 1, "o": order | {"S": "BUY"}}})
    assert isinstance(bought, ForcedOrder)
    assert bought.liquidated is Liquidated.SHORT
    (unfilled,) = events({"e": "forceOrder", "E": 1, "o": order | {"ap": "0", "z": "0"}})
    assert isinstance(unfilled, ForcedOrder)
    assert (unfilled.price, unfilled.quantity) == (9910.0, 0.014)


def test_a_contract_notice() -> None:
    message = {"e": "contractInfo", "E": 1669647330467, "s": "IOTAUSDT", "ps": "IOTAUSDT", "ct": "PERPETUAL",
               "dt": 4133404800000, "ot": 1569398400000, "cs": "SETTLING"}  # fmt: skip
    assert events({"stream": "!contractInfo", "data": message}) == [
        ContractNotice(
            venue="binance", kind="linear", symbol="IOTAUSDT", event_ms=1669647330467, status="SETTLING",
            delivery_ms=4133404800000,
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"result": None, "id": 3}, Acknowledged(venue="binance", ok=True, request_id="3")),
        (
            {"error": {"code": 2, "msg": "Invalid request: unknown property"}, "id": 4},
            Acknowledged(venue="binance", ok=False, request_id="4", message="2: Invalid request: unknown property"),
        ),
        (
            {"code": 3, "msg": "Invalid JSON"},
            Acknowledged(venue="binance", ok=False, request_id=None, message="3: Invalid JSON"),
        ),
        ({"result": ["btcusdt@depth"], "id": 5}, Ignored(venue="binance", reason="an answer to another request")),
        ({"e": "ACCOUNT_UPDATE", "E": 1}, Ignored(venue="binance", reason="private: ACCOUNT_UPDATE")),
        ({"e": "kline", "E": 1}, Ignored(venue="binance", reason="not used: kline")),
        ({"e": "newThing", "E": 1}, Ignored(venue="binance", reason="unknown event newThing")),
    ],
)
def test_answers_and_what_is_ignored(message: Any, expected: Event) -> None:
    assert events(message) == [expected]


def test_new_fields_do_no_harm() -> None:
    assert events(MARK | {"ap": "1", "new": {"deep": [1, 2]}}) == events(MARK)


# --- garbage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "position"),
    [
        (b"", "byte 0"),
        (b"<html>", "byte 0"),
        (b'{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker"', "byte 55"),
        (b"\xff\xfe", "byte"),
        (json.dumps(MARK | {"p": "NaN"}).encode(), "$.p"),
        (json.dumps(MARK | {"p": "-1"}).encode(), "$.p"),
        (json.dumps(MARK | {"p": "abc"}).encode(), "$.p"),
        (json.dumps(MARK | {"E": 1.5}).encode(), "$.E"),
        (json.dumps(MARK | {"E": 10**30}).encode(), "$.E"),
        (b'{"stream":"!markPrice@arr@1s","data":[%s]}' % json.dumps(MARK | {"i": None}).encode(), "$.data[0].i"),
        (b"{}", "$"),
        (b"7", "$"),
        (b"[" * 100_000, "$"),
    ],
)
def test_garbage_names_venue_route_and_position_and_quotes_nothing(frame: bytes, position: str) -> None:
    with pytest.raises(FrameError) as caught:
        VENUE.parse(route(), frame)
    assert caught.value.message.startswith("binance linear-public-0: ")
    assert position in caught.value.message


def test_an_error_holds_no_text_of_the_frame() -> None:
    secret = "zT9secretKeyValue0123456789"  # noqa: S105 - a word to look for, not a password
    for message in (
        {"e": "trade", "E": secret},
        {"e": "trade", "E": 1, "s": "X", "t": 1, "p": secret, "q": "1", "T": 1, "m": False},
        {"e": "forceOrder", "E": 1, "o": {"S": secret}},
        {"e": secret * 5, "E": 1},
        {secret: 1},
        {"e": f"{secret} with a space", "E": 1},
    ):
        with pytest.raises(FrameError) as caught:
            VENUE.parse(route(), json.dumps(message))
        assert secret not in str(caught.value)
        assert secret not in caught.value.remedy
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


def test_messages_of_another_kind_are_refused() -> None:
    with pytest.raises(FrameError, match="futures message on a spot route"):
        events(MARK, "spot")
