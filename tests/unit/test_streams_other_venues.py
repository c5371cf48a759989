"""OKX, Hyperliquid and dYdX: routes, messages and answers, in the forms that the venues' documentation shows."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from crypto.errors import UsageError
from data.streams.dydx import Dydx
from data.streams.events import (
    Acknowledged,
    Aggressor,
    BookSnapshot,
    ContractNotice,
    Event,
    FrameError,
    FundingSettled,
    Heartbeat,
    Ignored,
    PerpUpdate,
    TopOfBook,
    Trade,
)
from data.streams.hyperliquid import Hyperliquid
from data.streams.okx import Okx
from data.streams.protocol import Channel, Subscription, VenueProtocol

OKX = Okx()
HYPERLIQUID = Hyperliquid()
DYDX = Dydx()
EXAMPLES: dict[str, tuple[VenueProtocol, Subscription]] = {
    "okx": (OKX, Subscription("linear", Channel.PERP, ("BTC-USDT-SWAP",))),
    "hyperliquid": (HYPERLIQUID, Subscription("linear", Channel.PERP, ("BTC",))),
    "dydx": (DYDX, Subscription("linear", Channel.PERP)),
}


def events(venue: str, message: Any) -> list[Event]:
    protocol, subscription = EXAMPLES[venue]
    frame = message if isinstance(message, str) else json.dumps(message)
    return list(protocol.parse(protocol.routes([subscription])[0], frame))


def okx(channel: str, instrument: str, **row: Any) -> dict[str, Any]:
    return {"arg": {"channel": channel, "instId": instrument}, "data": [row]}


def perp(venue: str, symbol: str, event_ms: int | None, *, snapshot: bool = True, **fields: Any) -> PerpUpdate:
    kind = "inverse" if symbol == "BTC-USD-SWAP" else "linear"
    return PerpUpdate(venue=venue, kind=kind, symbol=symbol, event_ms=event_ms, snapshot=snapshot, **fields)


# --- OKX ----------------------------------------------------------------------------------------------------------


def test_an_okx_perpetual_takes_three_streams() -> None:
    (found,) = OKX.routes([Subscription("linear", Channel.PERP, ("BTC-USDT-SWAP", "ETH-USDT-SWAP"))])
    assert found.address == "wss://ws.okx.com:8443/ws/v5/public"
    assert found.streams == (
        "mark-price:BTC-USDT-SWAP", "funding-rate:BTC-USDT-SWAP", "index-tickers:BTC-USDT",
        "mark-price:ETH-USDT-SWAP", "funding-rate:ETH-USDT-SWAP", "index-tickers:ETH-USDT",
    )  # fmt: skip
    (frame,) = found.subscribe_frames
    asked = json.loads(frame)
    assert asked["op"] == "subscribe"
    assert tuple(f"{one['channel']}:{one['instId']}" for one in asked["args"]) == found.streams
    assert found.acknowledgements == set(found.streams)
    assert OKX.heartbeat.client_frame == "ping"


def test_okx_requests_stay_small() -> None:
    symbols = tuple(f"S{number}-USDT-SWAP" for number in range(400))
    found = OKX.routes([Subscription("linear", Channel.PERP, symbols)])
    assert [len(one.streams) for one in found] == [1000, 200]
    sizes = [len(json.loads(frame)["args"]) for frame in found[0].subscribe_frames]
    assert sizes == [50] * 20


def test_okx_marks_indices_and_tops() -> None:
    assert events("okx", okx("mark-price", "BTC-USDT-SWAP", instId="BTC-USDT-SWAP", markPx="42310.6", ts="1")) == [
        perp("okx", "BTC-USDT-SWAP", 1, mark=42310.6, snapshot=False)
    ]
    for pair, swap in (("BTC-USDT", "BTC-USDT-SWAP"), ("BTC-USD", "BTC-USD-SWAP")):
        assert events("okx", okx("index-tickers", pair, instId=pair, idxPx="0.1", ts="2")) == [
            perp("okx", swap, 2, index=0.1, snapshot=False)
        ]
    (dated,) = events("okx", okx("mark-price", "BTC-USDT-261225", instId="BTC-USDT-261225", markPx="1", ts="1"))
    assert isinstance(dated, Ignored)
    bids, asks = [["8476.97", "256", "0", "12"]], [["8476.98", "415", "0", "13"]]
    assert events("okx", okx("bbo-tbt", "BTC-USDT", bids=bids, asks=asks, ts="1597026383085", seqId=123456)) == [
        TopOfBook(
            venue="okx", kind="spot", symbol="BTC-USDT", event_ms=1597026383085, sequence=123456, bid=8476.97,
            bid_quantity=256.0, ask=8476.98, ask_quantity=415.0,
        )
    ]  # fmt: skip
    (empty,) = events("okx", okx("bbo-tbt", "BTC-USDT", bids=[], asks=asks, ts="1", seqId=1))
    assert isinstance(empty, TopOfBook)
    assert (empty.bid, empty.ask) == (None, 8476.98)


def test_okx_funding_is_that_of_the_next_settlement_and_names_the_settled_one() -> None:
    row = {
        "instId": "BTC-USDT-SWAP", "fundingRate": "0.0000182", "fundingTime": "1743609600000",
        "nextFundingRate": "", "nextFundingTime": "1743638400000", "settFundingRate": "0.0000145",
        "settState": "settled", "prevFundingTime": "1743580800000", "ts": "1743588686291",
    }  # fmt: skip
    update, settled = events("okx", okx("funding-rate", "BTC-USDT-SWAP", **row))
    assert update == perp(
        "okx", "BTC-USDT-SWAP", 1743588686291, funding_rate=0.0000182, next_settlement_ms=1743609600000,
        interval_hours=8.0, snapshot=False,
    )  # fmt: skip
    assert settled == FundingSettled(
        venue="okx", kind="linear", symbol="BTC-USDT-SWAP", event_ms=1743588686291, settlement_ms=1743580800000,
        rate=0.0000145,
    )  # fmt: skip
    for change in ({"settState": "processing"}, {"prevFundingTime": ""}, {"settFundingRate": ""}):
        assert len(events("okx", okx("funding-rate", "BTC-USDT-SWAP", **row | change))) == 1
    (bare,) = events("okx", okx("funding-rate", "X-USDT-SWAP", instId="X-USDT-SWAP", fundingRate="", fundingTime=""))
    assert isinstance(bare, PerpUpdate)
    assert bare.funding_rate is not None
    assert math.isnan(bare.funding_rate)
    assert (bare.next_settlement_ms, bare.interval_hours, bare.event_ms) == (0, None, None)


def test_okx_trades_and_answers() -> None:
    row = {"instId": "BTC-USDT", "tradeId": "9", "px": "3", "sz": "4", "side": "sell", "ts": "5", "count": "2"}
    (trade,) = events("okx", okx("trades", "BTC-USDT", **row))
    assert trade == Trade(
        venue="okx", kind="spot", symbol="BTC-USDT", event_ms=5, trade_id="9", price=3.0, quantity=4.0,
        aggressor=Aggressor.SELLER, aggregated=True,
    )  # fmt: skip
    assert events("okx", "pong") == [Heartbeat(venue="okx")]
    argument = {"channel": "mark-price", "instId": "BTC-USDT-SWAP"}
    assert events("okx", {"event": "subscribe", "arg": argument, "connId": "a4d3ae55"}) == [
        Acknowledged(venue="okx", ok=True, request_id="mark-price:BTC-USDT-SWAP")
    ]
    assert events("okx", {"event": "error", "code": "60012", "msg": "Invalid request", "connId": "a"}) == [
        Acknowledged(venue="okx", ok=False, message="60012: Invalid request")
    ]
    assert events("okx", {"event": "notice", "code": "64008", "msg": "closing soon"}) == [
        Ignored(venue="okx", reason="notice 64008: closing soon")
    ]
    assert events("okx", {"arg": {"channel": "orders"}, "data": []}) == [Ignored(venue="okx", reason="private: orders")]


@pytest.mark.parametrize(
    "subscription",
    [
        Subscription("linear", Channel.PERP),
        Subscription("linear", Channel.PERP, ("BTC-USD-SWAP",)),
        Subscription("spot", Channel.TOP, ("BTC-USDT-SWAP",)),
        Subscription("spot", Channel.PERP, ("BTC-USDT",)),
        Subscription("linear", Channel.ADL, ("BTC-USDT-SWAP",)),
    ],
)
def test_okx_refuses_what_it_has_not(subscription: Subscription) -> None:
    with pytest.raises(UsageError, match="okx"):
        OKX.routes([subscription])


# --- Hyperliquid --------------------------------------------------------------------------------------------------


def test_hyperliquid_asks_for_one_stream_at_a_time() -> None:
    (found,) = HYPERLIQUID.routes(
        [Subscription("linear", Channel.PERP, ("BTC", "kPEPE")), Subscription("linear", Channel.TOP, ("BTC",))]
    )
    assert found.address == "wss://api.hyperliquid.xyz/ws"
    assert [json.loads(frame) for frame in found.subscribe_frames] == [
        {"method": "subscribe", "subscription": {"type": "activeAssetCtx", "coin": "BTC"}},
        {"method": "subscribe", "subscription": {"type": "activeAssetCtx", "coin": "kPEPE"}},
        {"method": "subscribe", "subscription": {"type": "bbo", "coin": "BTC"}},
    ]
    assert found.acknowledgements == {"activeAssetCtx:BTC", "activeAssetCtx:kPEPE", "bbo:BTC"}


def test_hyperliquid_messages() -> None:
    context = {"funding": "0.0000125", "openInterest": "688.11", "prevDayPx": "10", "dayNtlVlm": "1", "premium": None,
               "oraclePx": "14.32", "markPx": "14.3161", "midPx": None, "impactPxs": None}  # fmt: skip
    assert events("hyperliquid", {"channel": "activeAssetCtx", "data": {"coin": "BTC", "ctx": context}}) == [
        perp("hyperliquid", "BTC", None, mark=14.3161, index=14.32, funding_rate=0.0000125, interval_hours=1.0)
    ]
    bbo = {"coin": "BTC", "time": 9, "bbo": [{"px": "1.5", "sz": "2", "n": 1}, None]}
    assert events("hyperliquid", {"channel": "bbo", "data": bbo}) == [
        TopOfBook(venue="hyperliquid", kind="linear", symbol="BTC", event_ms=9, bid=1.5, bid_quantity=2.0)
    ]
    book = {"coin": "BTC", "time": 9, "levels": [[{"px": "1", "sz": "2", "n": 3}], [{"px": "4", "sz": "5", "n": 6}]]}
    assert events("hyperliquid", {"channel": "l2Book", "data": book}) == [
        BookSnapshot(
            venue="hyperliquid", kind="linear", symbol="BTC", event_ms=9, sequence=9, bids=((1.0, 2.0),),
            asks=((4.0, 5.0),),
        )
    ]  # fmt: skip
    rows = [{"coin": "BTC", "side": "A", "px": "1", "sz": "2", "hash": "0x", "time": 3, "tid": 4, "users": ["a", "b"]}]
    assert events("hyperliquid", {"channel": "trades", "data": rows}) == [
        Trade(
            venue="hyperliquid", kind="linear", symbol="BTC", event_ms=3, trade_id="4", price=1.0, quantity=2.0,
            aggressor=Aggressor.SELLER,
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            {
                "channel": "subscriptionResponse",
                "data": {"method": "subscribe", "subscription": {"type": "bbo", "coin": "BTC"}},
            },
            Acknowledged(venue="hyperliquid", ok=True, request_id="bbo:BTC"),
        ),
        (
            {"channel": "error", "data": "Invalid subscription"},
            Acknowledged(venue="hyperliquid", ok=False, message="Invalid subscription"),
        ),
        ({"channel": "pong"}, Heartbeat(venue="hyperliquid")),
        ("Websocket connection established.", Ignored(venue="hyperliquid", reason="the greeting")),
        ({"channel": "new"}, Ignored(venue="hyperliquid", reason="unknown channel new")),
    ],
)
def test_hyperliquid_answers(message: Any, expected: Event) -> None:
    assert events("hyperliquid", message) == [expected]


# --- dYdX ---------------------------------------------------------------------------------------------------------


def test_dydx_has_one_stream_for_all() -> None:
    (found,) = DYDX.routes([Subscription("linear", Channel.PERP, ("BTC-USD", "ETH-USD"))])
    assert found.address == "wss://indexer.dydx.trade/v4/ws"
    assert json.loads(found.subscribe_frames[0]) == {"type": "subscribe", "channel": "v4_markets", "batched": False}
    assert DYDX.routes([]) == []


def test_dydx_first_message_prices_and_changes() -> None:
    market = {"ticker": "BTC-USD", "status": "ACTIVE", "oraclePrice": "43250.00", "nextFundingRate": "0.0001"}
    first = {"type": "subscribed", "connection_id": "c", "message_id": 1, "channel": "v4_markets"}
    assert events("dydx", first | {"contents": {"markets": {"BTC-USD": market}}}) == [
        Acknowledged(venue="dydx", ok=True, request_id="v4_markets"),
        perp("dydx", "BTC-USD", None, mark=43250.0, index=43250.0, funding_rate=0.0001, interval_hours=1.0),
        ContractNotice(venue="dydx", kind="linear", symbol="BTC-USD", event_ms=None, status="ACTIVE"),
    ]
    data = {"type": "channel_data", "connection_id": "c", "message_id": 5, "channel": "v4_markets", "version": "1.0.0"}
    # 2024-01-01T00:01:00Z: 1704067200 s is the start of 2024.
    price = {"oraclePrice": "43300.00", "effectiveAt": "2024-01-01T00:01:00.250Z", "marketId": 0}
    assert events("dydx", data | {"contents": {"oraclePrices": {"BTC-USD": price}}}) == [
        perp("dydx", "BTC-USD", 1704067260250, mark=43300.0, index=43300.0, snapshot=False)
    ]
    change = {"trading": {"BTC-USD": {"nextFundingRate": "0.0002"}, "ETH-USD": {"openInterest": "5"}}}
    assert events("dydx", data | {"contents": change}) == [
        perp("dydx", "BTC-USD", None, funding_rate=0.0002, interval_hours=1.0, snapshot=False)
    ]
    batch = data | {"type": "channel_batch_data", "contents": [change, {"oraclePrices": {"BTC-USD": price}}]}
    assert len(events("dydx", batch)) == 2


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"type": "error", "message": "Invalid"}, Acknowledged(venue="dydx", ok=False, message="Invalid")),
        ({"type": "connected", "connection_id": "c"}, Ignored(venue="dydx", reason="connected: no data")),
        ({"type": "channel_data", "channel": "v4_trades"}, Ignored(venue="dydx", reason="not used: v4_trades")),
    ],
)  # fmt: skip
def test_dydx_answers(message: Any, expected: Event) -> None:
    assert events("dydx", message) == [expected]


# --- garbage ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("venue", "message", "text"),
    [
        ("okx", {}, "neither a channel nor an answer"),
        ("okx", okx("mark-price", "X", instId="X", markPx="", ts="1"), "$.data[0].markPx"),
        ("okx", okx("funding-rate", "X", instId="X", fundingRate="x", fundingTime="1"), "fundingRate"),
        ("okx", okx("funding-rate", "X", instId="X", fundingRate="1", fundingTime="1.5"), "no time"),
        ("okx", okx("trades", "X", instId="X", tradeId="1", px="1", sz="1", side="up", ts="1"), "$.data[0].side"),
        ("hyperliquid", {}, "no channel"),
        ("hyperliquid", {"channel": "activeAssetCtx", "data": {"coin": "X", "ctx": {"markPx": "-1"}}}, "markPx"),
        ("hyperliquid", {"channel": "bbo", "data": {"coin": "X", "time": 1, "bbo": [None]}}, "bbo"),
        ("dydx", {}, "no type"),
        ("dydx", {"type": "channel_data", "channel": "v4_markets"}, "no contents"),
        (
            "dydx",
            {
                "type": "channel_data",
                "channel": "v4_markets",
                "contents": {"oraclePrices": {"X": {"oraclePrice": "1", "effectiveAt": "soon"}}},
            },
            "no ISO time",
        ),
    ],
)
def test_garbage_is_refused(venue: str, message: Any, text: str) -> None:
    with pytest.raises(FrameError) as caught:
        events(venue, message)
    assert text in caught.value.message
    assert caught.value.message.startswith(f"{venue} linear-public-0: ")
