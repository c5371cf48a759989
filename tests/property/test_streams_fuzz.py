"""Any bytes give events or a ``FrameError``; damaged, doubled, shuffled frames never leave a wrong state silently."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data.streams.binance import Binance, parse_depth_snapshot
from data.streams.book import LocalBook
from data.streams.bybit import Bybit
from data.streams.dydx import Dydx
from data.streams.events import BookDelta, BookSnapshot, Event, FrameError, PerpUpdate, TopOfBook
from data.streams.hyperliquid import Hyperliquid
from data.streams.okx import Okx
from data.streams.protocol import Channel, Route, Subscription, VenueProtocol
from data.streams.state import MarketState
from data.streams.verdict import Verdict

MARK = (
    '{"e":"markPriceUpdate","E":1562305380000,"s":"BTCUSDT","p":"11794.15","i":"11784.62","P":"11784.25",'
    '"r":"0.00038167","T":1562306400000,"st":1}'
)
TICKER = (
    '"data":{"symbol":"BTCUSDT","markPrice":"17217.33","indexPrice":"17227.36","nextFundingTime":"1673280000000",'
    '"fundingRate":"","fundingIntervalHour":"8"},"cs":24987956059,"ts":1673272861686}'
)
# Messages in the venues' forms; every branch of the parsers is in one of them.
FRAMES = {
    "binance": [
        f'{{"stream":"!markPrice@arr@1s","data":[{MARK}]}}',
        f'{{"stream":"btcusdt@markPrice@1s","data":{MARK}}}',
        f'{{"data":{MARK},"stream":"btcusdt@markPrice@1s"}}',
        ('{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":5,"s":"BTCUSDT","b":"61800.20","B":"2.5",'
        '"a":"61800.30","A":"2.51","T":1723161256313,"E":1723161256313}}'),
        ('{"stream":"btcusdt@trade","data":{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":5,"p":"1","q":"2","X":"MARKET",'
        '"m":false}}'),
        ('{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1,"T":1,"s":"BTCUSDT","U":1,"u":5,"pu":0,'
        '"b":[["1","2"]],"a":[["3","4"]]}}'),
        ('{"stream":"!forceOrder@arr","data":{"e":"forceOrder","E":1,"o":{"s":"B","S":"SELL","q":"1","p":"2","ap":"3",'
        '"T":4}}}'),
        '{"stream":"!contractInfo","data":{"e":"contractInfo","E":1,"s":"B","cs":"TRADING","dt":5}}',
        '{"result":null,"id":1}',
        '{"error":{"code":2,"msg":"bad"},"id":1}',
    ],
    "bybit": [
        '{"topic":"tickers.BTCUSDT","type":"snapshot",' + TICKER,
        '{"type":"delta","topic":"tickers.BTCUSDT",' + TICKER.replace('""', '"0.1"'),
        '{"topic":"orderbook.1.BTCUSDT","type":"snapshot","ts":1,"data":{"s":"B","b":[["1","2"]],"a":[["3","4"]],"u":7}}',
        '{"topic":"orderbook.50.BTCUSDT","type":"delta","ts":1,"data":{"s":"B","b":[["1","0"]],"a":[],"u":8,"seq":9}}',
        '{"topic":"publicTrade.B","type":"snapshot","ts":1,"data":[{"T":1,"s":"B","S":"Buy","v":"1","p":"2","i":"x"}]}',
        '{"topic":"allLiquidation.B","type":"snapshot","ts":1,"data":[{"T":1,"s":"B","S":"Sell","v":"1","p":"2"}]}',
        ('{"topic":"adlAlert.USDT","ts":1,"data":[{"c":"USDT","s":"B","b":1,"mb":2,"i_pr":-0.3,"pr":0,"adl_tt":1,'
        '"adl_sr":-0.25}]}'),
        ('{"topic":"insurance.USDT","type":"delta","ts":1,"data":[{"coin":"USDT","symbols":"B","balance":"1",'
        '"updateTime":"2"}]}'),
        '{"success":true,"ret_msg":"","req_id":"a","op":"subscribe"}',
    ],
    "okx": [
        '{"arg":{"channel":"mark-price","instId":"B-USDT-SWAP"},"data":[{"instId":"B-USDT-SWAP","markPx":"1","ts":"2"}]}',
        '{"arg":{"channel":"index-tickers","instId":"B-USDT"},"data":[{"instId":"B-USDT","idxPx":"1","ts":"2"}]}',
        ('{"arg":{"channel":"funding-rate","instId":"B-USDT-SWAP"},"data":[{"instId":"B-USDT-SWAP","fundingRate":"0.1",'
        '"fundingTime":"8","nextFundingTime":"16","settFundingRate":"0.2","settState":"settled","prevFundingTime":"1",'
        '"ts":"2"}]}'),
        ('{"arg":{"channel":"bbo-tbt","instId":"B-USDT"},"data":[{"asks":[["2","1","0","1"]],"bids":[["1","1","0","1"]],'
        '"ts":"3","seqId":4}]}'),
        ('{"arg":{"channel":"trades","instId":"B"},"data":[{"instId":"B","tradeId":"1","px":"1","sz":"1","side":"buy",'
        '"ts":"1"}]}'),
        '{"event":"subscribe","arg":{"channel":"mark-price","instId":"B"}}',
        '{"event":"error","code":"60012","msg":"bad"}',
    ],
    "hyperliquid": [
        '{"channel":"activeAssetCtx","data":{"coin":"B","ctx":{"funding":"0.1","oraclePx":"2","markPx":"3"}}}',
        '{"channel":"bbo","data":{"coin":"B","time":1,"bbo":[{"px":"1","sz":"2","n":3},null]}}',
        '{"channel":"l2Book","data":{"coin":"B","time":1,"levels":[[{"px":"1","sz":"2","n":3}],[]]}}',
        '{"channel":"trades","data":[{"coin":"B","side":"A","px":"1","sz":"2","time":3,"tid":4}]}',
        '{"channel":"subscriptionResponse","data":{"method":"subscribe","subscription":{"type":"bbo","coin":"B"}}}',
        '{"channel":"error","data":"bad"}',
    ],
    "dydx": [
        ('{"type":"subscribed","channel":"v4_markets","contents":{"markets":{"B-USD":{"oraclePrice":"1",'
        '"nextFundingRate":"0.1","status":"ACTIVE"}}}}'),
        ('{"type":"channel_data","channel":"v4_markets","contents":{"oraclePrices":{"B-USD":{"oraclePrice":"1",'
        '"effectiveAt":"2024-01-01T00:01:00.000Z"}}}}'),
        '{"type":"channel_batch_data","channel":"v4_markets","contents":[{"trading":{"B-USD":{"nextFundingRate":"0"}}}]}',
        '{"type":"error","message":"bad"}',
    ],
}  # fmt: skip
VENUES: dict[str, tuple[VenueProtocol, Subscription]] = {
    "binance": (Binance(), Subscription("linear", Channel.PERP)),
    "bybit": (Bybit(), Subscription("linear", Channel.PERP, ("BTCUSDT",))),
    "okx": (Okx(), Subscription("linear", Channel.PERP, ("BTC-USDT-SWAP",))),
    "hyperliquid": (Hyperliquid(), Subscription("linear", Channel.PERP, ("BTC",))),
    "dydx": (Dydx(), Subscription("linear", Channel.PERP)),
}
ROUTES: dict[str, Route] = {name: venue.routes([wanted])[0] for name, (venue, wanted) in VENUES.items()}
KEYS = sorted(
    {key for frames in FRAMES.values() for frame in frames for key in frame.split('"')[1::2] if key.isprintable()}
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5), st.sampled_from(KEYS),
    st.sampled_from(["", "0", "-1", "1e999", "nan", "inf", "1.5", "null", "99999999999999999999"]),
)  # fmt: skip
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
    ),
    max_leaves=12,
)  # fmt: skip
venue_names = st.sampled_from(sorted(VENUES))


def parse(name: str, frame: bytes | str) -> list[Event] | None:
    """Events; None when the frame was refused in the one way that is allowed."""
    venue, _ = VENUES[name]
    refusal = None
    found: list[Event] = []
    try:
        found = list(venue.parse(ROUTES[name], frame))
    except FrameError as error:
        refusal = error
    if refusal is not None:
        assert (refusal.venue, refusal.route) == (name, ROUTES[name].name)
        return None
    assert found
    return found


def assert_sane(events: list[Event]) -> None:
    """Whatever was read can be taken in, and leaves numbers that are finite, not negative where prices, or none."""
    state = MarketState()
    for _ in range(2):
        state.apply_all(events, 1)
    values = state.perps.values
    assert not any(math.isinf(value) for value in values.ravel().tolist())
    assert not (values[:2] <= 0.0).any()
    for event in events:
        assert event.venue in VENUES
        if isinstance(event, TopOfBook):
            reading = state.top((event.venue, event.kind, event.symbol), 1)
            assert reading is not None
            assert math.isnan(reading.bid) or 0.0 < reading.bid < math.inf


def test_the_examples_are_read() -> None:
    for name, frames in FRAMES.items():
        for frame in frames:
            assert parse(name, frame) is not None, frame


@given(venue_names, st.one_of(st.binary(max_size=200), st.text(max_size=200)))
@example("binance", '{"stream":"\ud800@trade","data":1}')
@example("bybit", "[" * 5000)
@example("okx", '{"arg":' * 5000)
@example("dydx", b"\xef\xbb\xbf{}")
def test_any_bytes(name: str, frame: bytes | str) -> None:
    events = parse(name, frame)
    if events is not None:
        assert_sane(events)


@given(venue_names, DOCUMENTS)
@settings(max_examples=300)
def test_any_document_of_the_venues_words(name: str, document: Any) -> None:
    events = parse(name, json.dumps(document))
    if events is not None:
        assert_sane(events)


@given(venue_names, st.data())
def test_a_truncated_frame_is_refused(name: str, data: st.DataObject) -> None:
    frame = data.draw(st.sampled_from(FRAMES[name])).encode()
    cut = data.draw(st.integers(0, len(frame) - 1))
    assert parse(name, frame[:cut]) is None


@given(venue_names, st.data())
@settings(max_examples=400)
def test_a_frame_with_flipped_bytes(name: str, data: st.DataObject) -> None:
    frame = bytearray(data.draw(st.sampled_from(FRAMES[name])).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    events = parse(name, bytes(frame))
    if events is not None:
        assert_sane(events)


def paths_of(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(document, dict):
        for key, value in document.items():
            yield from paths_of(value, (*path, key))
    elif isinstance(document, list):
        for at, value in enumerate(document):
            yield from paths_of(value, (*path, at))


@given(venue_names, st.data())
@settings(max_examples=400)
def test_a_frame_with_another_value_or_a_missing_field(name: str, data: st.DataObject) -> None:
    document = json.loads(data.draw(st.sampled_from(FRAMES[name])))
    *parents, last = data.draw(st.sampled_from(list(paths_of(document))))
    inner = document
    for step in parents:
        inner = inner[step]
    if isinstance(inner, dict) and data.draw(st.booleans()):
        del inner[last]
    else:
        inner[last] = data.draw(SCALARS)
    events = parse(name, json.dumps(document))
    if events is not None:
        assert_sane(events)


# --- order --------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 1), max_size=80), st.integers(0, 2**32 - 1))
def test_two_connections_with_the_same_changes_give_the_true_state(turns: list[int], seed: int) -> None:
    # A new connection is opened before the old one is closed: each message comes twice, in order on each connection.
    stream = bybit_stream(seed)
    state = MarketState()
    position = [0, 0]
    truth: dict[str, float] = {}
    for turn in turns:
        if position[turn] == len(stream):
            continue
        update = stream[position[turn]]
        is_new = position[turn] >= max(position)
        position[turn] += 1
        verdict = state.apply(update, 1)
        assert (verdict is Verdict.APPLIED) == is_new
        if is_new:
            truth |= {
                field: getattr(update, field) for field in ("mark", "index") if getattr(update, field) is not None
            }
        reading = state.perp(("bybit", "linear", "BTCUSDT"), 1)
        assert reading is not None
        assert (reading.mark.value, reading.index.value) == (truth["mark"], truth["index"])


def bybit_stream(seed: int) -> list[PerpUpdate]:
    """A snapshot and changes, each of which carries mark, index or both; the sequence may stand still."""
    shared: dict[str, Any] = {"venue": "bybit", "kind": "linear", "symbol": "BTCUSDT"}
    stream = [PerpUpdate(event_ms=1000, sequence=1, mark=1.0, index=2.0, **shared)]
    for number in range(1, 40):
        digit = (seed >> (number % 31)) & 3
        stream.append(
            PerpUpdate(
                event_ms=1000 + number, sequence=1 + number // 2, snapshot=False,
                mark=10.0 + number if digit != 1 else None, index=100.0 + number if digit != 2 else None, **shared,
            )
        )  # fmt: skip
    return stream


@pytest.fixture(scope="module")
def recorded(shared_data: Path) -> list[bytes]:
    path = shared_data / "binance-raw-ws-20240808-hftbacktest/usdm_btcusdt_20240808.gz"
    with gzip.open(path) as file:
        return [line.partition(b" ")[2].rstrip() for line in islice(file, 6000)]


@given(st.data())
@settings(max_examples=40)
def test_shuffled_and_doubled_quotes_leave_the_newest(recorded: list[bytes], data: st.DataObject) -> None:
    quotes = [frame for frame in recorded if b"@bookTicker" in frame[:40]]
    start = data.draw(st.integers(0, len(quotes) - 30))
    frames = quotes[start : start + 30]
    order = data.draw(st.permutations(frames + frames[:10]))
    state = MarketState()
    newest: dict[str, Any] = {}
    for at, frame in enumerate(order, start=1):
        quote = json.loads(frame)["data"]
        events = parse("binance", frame)
        assert events is not None
        refused = state.apply_all(events, at)
        if not newest or quote["u"] > newest["u"]:
            assert not refused
            newest = quote
        else:
            assert [verdict for _, verdict in refused] == [
                Verdict.DUPLICATE if quote["u"] == newest["u"] else Verdict.OUT_OF_ORDER
            ]
        reading = state.top(("binance", "linear", "BTCUSDT"), at)
        assert reading is not None
        assert (reading.bid, reading.ask) == (float(newest["b"]), float(newest["a"]))


@given(st.data())
@settings(max_examples=40)
def test_a_book_of_damaged_order_is_right_or_not_there(recorded: list[bytes], data: st.DataObject) -> None:
    events = book_events(recorded)
    true = LocalBook("binance", "linear", "BTCUSDT")
    tops: dict[int, TopOfBook | None] = {}
    for event in events:
        true.apply(event)
        if true.ready:
            tops[true.sequence] = true.top()
    delivered: list[BookSnapshot | BookDelta] = []
    for at, event in enumerate(events):
        fault = data.draw(st.sampled_from(["no"] * 12 + ["drop", "double", "late"])) if at > 8 else "no"
        if fault == "drop":
            continue
        delivered.append(event)
        if fault == "double":
            delivered.append(event)
        elif fault == "late" and len(delivered) > 1:
            delivered[-2:] = [delivered[-1], delivered[-2]]
    book = LocalBook("binance", "linear", "BTCUSDT")
    for event in delivered:
        verdict = book.apply(event)
        assert book.ready is (verdict in (Verdict.APPLIED, Verdict.DUPLICATE))
        if book.ready:
            assert book.top() == tops[book.sequence]
        else:
            assert book.top() is None
            assert not book.bids(1)


def book_events(recorded: list[bytes]) -> list[BookSnapshot | BookDelta]:
    """The first changes of the recording and its snapshot, whole enough for the best prices of so short a time."""
    found: list[BookSnapshot | BookDelta] = []
    for frame in recorded:
        if frame.startswith(b'{"lastUpdateId"'):
            found.append(parse_depth_snapshot("linear", "BTCUSDT", frame))
        elif b"@depth" in frame[:40]:
            events = parse("binance", frame) or []
            found += [event for event in events if isinstance(event, BookDelta)]
    assert len(found) > 60
    return found[:60]


@given(st.data())
@settings(max_examples=100)
def test_truncated_and_flipped_recorded_frames(recorded: list[bytes], data: st.DataObject) -> None:
    frame = bytearray(recorded[data.draw(st.integers(0, len(recorded) - 1))])
    cut = data.draw(st.integers(0, len(frame) - 1))
    assert parse("binance", bytes(frame[:cut])) is None
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
    events = parse("binance", bytes(frame))
    if events is not None:
        assert_sane(events)
