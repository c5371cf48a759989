"""A route without refused symbols, for the venues that name what they refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest

from data.streams.binance import Binance
from data.streams.bybit import Bybit
from data.streams.hyperliquid import Hyperliquid
from data.streams.okx import Okx
from data.streams.protocol import Channel, Route, Subscription
from data.streams.reduced import named_symbols_of, without


def route(protocol: Any, channel: Channel, *symbols: str, kind: str = "linear") -> Route:
    (found,) = protocol.routes([Subscription(kind, channel, symbols)])
    return found


def texts(found: Route) -> list[Any]:
    return [json.loads(text) for text in found.subscribe_frames]


def test_bybit_asks_for_the_other_topics_of_the_request() -> None:
    whole = route(Bybit(), Channel.PERP, "BTCUSDT", "NOPEUSDT")
    named = named_symbols_of(whole, "error:handler not found,topic:tickers.NOPEUSDT")
    assert named == {"NOPEUSDT"}
    less = without(whole, named)
    assert less is not None
    assert texts(less) == [{"op": "subscribe", "req_id": "linear-0-0", "args": ["tickers.BTCUSDT"]}]
    assert (less.streams, less.acknowledgements) == (("tickers.BTCUSDT",), {"linear-0-0"})
    assert without(whole, {"BTCUSDT", "NOPEUSDT"}) is None


def test_a_request_that_is_empty_then_is_not_sent_and_not_waited_for() -> None:
    names = [f"C{number}USDT" for number in range(11)]  # ten topics a request at spot
    less = without(route(Bybit(), Channel.TOP, *names, kind="spot"), {"C10USDT"})
    assert less is not None
    assert len(less.subscribe_frames) == 1
    assert less.acknowledgements == {"spot-0-0"}


def test_okx_leaves_the_swaps_three_streams_out_and_not_those_of_a_name_that_begins_alike() -> None:
    whole = route(Okx(), Channel.PERP, "BTC-USDT-SWAP", "ETH-USDT-SWAP")
    words = "60018: Wrong URL or channel:mark-price,instId:ETH-USDT-SWAP doesn't exist"
    assert named_symbols_of(whole, words) == {"ETH-USDT-SWAP"}  # and not ETH-USDT, the index
    less = without(whole, {"ETH-USDT-SWAP"})
    assert less is not None
    kept = {
        "mark-price:BTC-USDT-SWAP",
        "funding-rate:BTC-USDT-SWAP",
        "index-tickers:BTC-USDT",
        "index-tickers:ETH-USDT",
    }
    assert set(less.streams) == less.acknowledgements == kept
    (frame,) = texts(less)
    assert {f"{entry['channel']}:{entry['instId']}" for entry in frame["args"]} == kept


def test_hyperliquid_asks_once_per_stream() -> None:
    whole = route(Hyperliquid(), Channel.PERP, "BTC", "NOPE")
    named = named_symbols_of(whole, 'Invalid subscription {"type":"activeAssetCtx","coin":"NOPE"}')
    less = without(whole, named)
    assert less is not None
    assert texts(less) == [{"method": "subscribe", "subscription": {"type": "activeAssetCtx", "coin": "BTC"}}]
    assert less.acknowledgements == {"activeAssetCtx:BTC"}


@pytest.mark.parametrize("words", ["", "Too many requests", "BTCUSDT1", "BTCUSDT and ETHUSDT"])
def test_words_that_name_none_or_all_leave_nothing_out(words: str) -> None:
    assert named_symbols_of(route(Bybit(), Channel.PERP, "BTCUSDT", "ETHUSDT"), words) == frozenset()


def test_a_route_whose_streams_stand_in_its_address_is_not_reduced() -> None:
    assert without(route(Binance(), Channel.PERP, "BTCUSDT", "ETHUSDT"), {"BTCUSDT"}) is None
