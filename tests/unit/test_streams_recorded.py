"""Every recorded frame gives events or a named reason; books built from changes equal the venue's own best prices."""

from __future__ import annotations

import gzip
import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from data.streams.binance import Binance, parse_depth_snapshot
from data.streams.book import LocalBook
from data.streams.bybit import Bybit
from data.streams.events import (
    Acknowledged,
    AdlNotice,
    Aggressor,
    BookDelta,
    BookSnapshot,
    Event,
    FrameError,
    Heartbeat,
    Ignored,
    PerpUpdate,
    TopOfBook,
    Trade,
)
from data.streams.hyperliquid import Hyperliquid
from data.streams.okx import Okx
from data.streams.protocol import Channel, Route, Subscription, VenueProtocol
from data.streams.state import MarketState
from data.streams.verdict import Verdict

RECORDING = "binance-raw-ws-20240808-hftbacktest"
# Of SOURCES.md: frames by kind, and one REST snapshot in each file.
COUNTS = {
    "usdm": ("linear", {"bookTicker": 66_089, "trade": 21_313, "depth": 6_551}),
    "spot": ("spot", {"bookTicker": 28_040, "trade": 9_757, "depth": 3_451}),
}


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Local time in ns and frame of every line of a recording."""
    with gzip.open(path) as file:
        for line in file:
            stamp, _, frame = line.partition(b" ")
            yield int(stamp), frame.rstrip()


def first_route(venue: VenueProtocol, kind: str, symbol: str) -> Route:
    return venue.routes([Subscription(kind, Channel.TOP, (symbol,))])[0]


@pytest.fixture(scope="module", params=sorted(COUNTS))
def recording(request: pytest.FixtureRequest, shared_data: Path) -> tuple[str, list[tuple[int, bytes, list[Event]]]]:
    kind, _ = COUNTS[request.param]
    venue = Binance()
    route = first_route(venue, kind, "BTCUSDT")
    found: list[tuple[int, bytes, list[Event]]] = []
    for stamp, frame in lines(shared_data / RECORDING / f"{request.param}_btcusdt_20240808.gz"):
        if frame.startswith(b'{"lastUpdateId"'):
            found.append((stamp, frame, [parse_depth_snapshot(kind, "BTCUSDT", frame)]))
        else:
            found.append((stamp, frame, list(venue.parse(route, frame))))
    return request.param, found


def test_every_line_of_the_recording_is_one_event(recording: tuple[str, list[tuple[int, bytes, list[Event]]]]) -> None:
    name, found = recording
    _, counts = COUNTS[name]
    assert all(len(events) == 1 for _, _, events in found)
    kinds = Counter(type(events[0]).__name__ for _, _, events in found)
    tops = {"usdm": "FuturesTop", "spot": "SpotTop"}[name]
    assert kinds == {
        tops: counts["bookTicker"],
        "Trade": counts["trade"],
        "BookDelta": counts["depth"],
        "BookSnapshot": 1,
    }


def test_events_hold_what_the_frames_say(recording: tuple[str, list[tuple[int, bytes, list[Event]]]]) -> None:
    # Every 50th frame, read a second time with the standard library.
    name, found = recording
    seen = Counter[str]()
    for _, frame, (event,) in found[::50]:
        data = json.loads(frame).get("data")
        if isinstance(event, TopOfBook):
            assert (event.symbol, event.sequence, event.event_ms) == (data["s"], data["u"], data.get("E"))
            assert (event.bid, event.bid_quantity) == (float(data["b"]), float(data["B"]))
            assert (event.ask, event.ask_quantity) == (float(data["a"]), float(data["A"]))
        elif isinstance(event, Trade):
            assert (event.price, event.quantity, event.event_ms) == (float(data["p"]), float(data["q"]), data["T"])
            assert event.aggressor is (Aggressor.SELLER if data["m"] else Aggressor.BUYER)
        else:
            assert isinstance(event, BookDelta)
            assert (event.first_sequence, event.sequence, event.previous_sequence) == (
                data["U"],
                data["u"],
                data.get("pu"),
            )
            assert event.bids == tuple((float(price), float(quantity)) for price, quantity in data["b"])
            assert event.asks == tuple((float(price), float(quantity)) for price, quantity in data["a"])
        seen[type(event).__name__] += 1
    assert min(seen.values()) > 50, name


def test_one_takers_fills_walk_in_the_direction_of_its_side(
    recording: tuple[str, list[tuple[int, bytes, list[Event]]]],
) -> None:
    # Fills of one millisecond and side take one level after the other: buyers upwards, sellers downwards.
    _, found = recording
    trades = [event for _, _, (event,) in found if isinstance(event, Trade)]
    right = wrong = 0
    for before, after in pairwise(trades):
        if (before.event_ms, before.aggressor) != (after.event_ms, after.aggressor) or before.price == after.price:
            continue
        if (after.price > before.price) == (after.aggressor is Aggressor.BUYER):
            right += 1
        else:
            wrong += 1
    assert right > 1000
    assert right > 20 * wrong


def test_the_book_equals_the_venues_best_prices(recording: tuple[str, list[tuple[int, bytes, list[Event]]]]) -> None:
    name, found = recording
    kind, counts = COUNTS[name]
    quotes = [event for _, _, (event,) in found if isinstance(event, TopOfBook)]
    ids = [quote.sequence or 0 for quote in quotes]
    assert ids == sorted(ids)
    book = LocalBook("binance", kind, "BTCUSDT")
    verdicts: Counter[Verdict] = Counter()
    compared = same_id = 0
    for _, _, (event,) in found:
        if not isinstance(event, BookSnapshot | BookDelta):
            continue
        verdicts[book.apply(event)] += 1
        top = book.top()
        if top is None or top.sequence is None:
            continue
        # Best prices are published with every change of them: the last one up to this id holds at this id.
        quote = quotes[bisect_right(ids, top.sequence) - 1]
        assert (top.bid, top.bid_quantity, top.ask, top.ask_quantity) == (
            quote.bid,
            quote.bid_quantity,
            quote.ask,
            quote.ask_quantity,
        )
        compared += 1
        same_id += top.sequence == quote.sequence
    waiting = verdicts.pop(Verdict.NEEDS_SNAPSHOT)
    assert 0 < waiting < 10
    assert verdicts == {Verdict.APPLIED: counts["depth"] + 1 - waiting}
    assert compared == counts["depth"] + 1 - waiting
    assert same_id > 500


def test_a_lost_frame_is_found_at_once_and_a_snapshot_mends_it(
    recording: tuple[str, list[tuple[int, bytes, list[Event]]]],
) -> None:
    name, found = recording
    kind, _ = COUNTS[name]
    events = [event for _, _, (event,) in found if isinstance(event, BookSnapshot | BookDelta)]
    good, damaged = LocalBook("binance", kind, "BTCUSDT"), LocalBook("binance", kind, "BTCUSDT")
    for number, event in enumerate(events[:400]):
        good.apply(event)
        if number == 200:
            continue
        verdict = damaged.apply(event)
        assert (verdict is Verdict.GAP) == (number == 201)
        if number == 300:
            assert damaged.top() is None
            mended = BookSnapshot(
                venue="binance", kind=kind, symbol="BTCUSDT", event_ms=good.event_ms, sequence=good.sequence,
                bids=good.bids(100_000), asks=good.asks(100_000),
            )  # fmt: skip
            assert damaged.apply(mended) is Verdict.APPLIED
        if number >= 300:
            assert damaged.top() == good.top()
            assert damaged.bids(50) == good.bids(50)


def test_the_state_after_the_recording_is_its_last_quote(
    recording: tuple[str, list[tuple[int, bytes, list[Event]]]],
) -> None:
    name, found = recording
    kind, counts = COUNTS[name]
    state = MarketState()
    for stamp, _, events in found:
        assert state.apply_all(events, stamp) == []
    assert state.verdicts == {Verdict.APPLIED: counts["bookTicker"]}
    last_stamp, last = next((stamp, event) for stamp, _, (event,) in reversed(found) if isinstance(event, TopOfBook))
    reading = state.top(("binance", kind, "BTCUSDT"), last_stamp + 1_500_000_000)
    assert reading is not None
    assert (reading.bid, reading.ask, reading.age_seconds, reading.stale) == (last.bid, last.ask, 1.5, False)


# --- payloads of adapters and documentation -----------------------------------------------------------------------

BINANCE_EXPECTED = {
    "agg_trade_stream": "Trade",
    "book_ticker_stream": "FuturesTop",
    "depth_update_stream": "BookDelta",
    "kline_stream_closed": "not used: kline",
    "kline_stream_open": "not used: kline",
    "liquidation_stream": "ForcedOrder",
    "mark_price_stream": "MarkPrice",
    "ticker_stream": "not used: 24hrTicker",
    "trade_stream": "Trade",
}
BYBIT_EXPECTED = {
    "ws_auth_failure": "an answer to auth: refused",
    "ws_auth_success": "an answer to auth: accepted",
    "ws_kline": "not used: kline",
    "ws_order_response": "an answer to order.create: accepted",
    "ws_orderbook_delta": "TopOfBook",
    "ws_orderbook_snapshot": "TopOfBook",
    "ws_public_trade": "unknown topic trade",  # the sample's topic is trade.linear.BTCUSDT, which the venue has not
    "ws_subscription_ack": "Acknowledged",
    "ws_subscription_failure": "Acknowledged",
    "ws_ticker_linear": "PerpUpdate",
    "ws_ticker_option": "options are not followed",
    "websocket__public__all-liquidation": "ForcedOrder",
    "websocket__public__insurance-pool": "a request, not an answer",
    "websocket__public__insurance-pool_1": "InsuranceUpdate",
    "websocket__public__kline": "not used: kline",
    "websocket__public__orderbook_1": "BookDelta",
    "websocket__public__ticker_1": "options are not followed",
    "websocket__public__ticker_2": "a spot ticker carries no quote and no mark",
    "websocket__public__trade": "Trade",
}
BYBIT_KINDS = {
    "ws_ticker_option": "option",
    "websocket__public__ticker_1": "option",
    "websocket__public__ticker_2": "spot",
}


def described(events: list[Event]) -> str:
    """Class of the events, or why they were ignored."""
    names = {event.reason if isinstance(event, Ignored) else type(event).__name__ for event in events}
    assert len(names) == 1
    return names.pop()


def test_every_market_payload_of_binance(shared_data: Path) -> None:
    venue = Binance()
    route = first_route(venue, "linear", "BTCUSDT")
    folder = shared_data / "api-fixtures-nautilus/binance/futures/market_data_json"
    found = {path.stem: described(list(venue.parse(route, path.read_bytes()))) for path in folder.iterdir()}
    assert found == BINANCE_EXPECTED


def test_every_private_payload_of_binance_is_named_and_ignored(shared_data: Path) -> None:
    venue = Binance()
    folder = shared_data / "api-fixtures-nautilus/binance"
    count = 0
    for kind, name in (("linear", "futures"), ("spot", "spot")):
        for path in (folder / name / "user_data_json").iterdir():
            (event,) = venue.parse(first_route(venue, kind, "BTCUSDT"), path.read_bytes())
            assert isinstance(event, Ignored), path.name
            assert event.reason.startswith(("private: ", "a private message")), path.name
            count += 1
    assert count == 25  # 14 and 11 files


def test_every_payload_of_bybit(shared_data: Path) -> None:
    venue = Bybit()
    route = first_route(venue, "linear", "BTCUSDT")
    paths = sorted((shared_data / "api-fixtures-nautilus/bybit").glob("ws_*.json"))
    paths += sorted((shared_data / "api-doc-examples/bybit").glob("websocket__*.json"))
    public: dict[str, str] = {}
    private = 0
    for path in paths:
        if path.stem == "ws_account_position_with_open_time":
            # A row without its message.
            with pytest.raises(FrameError, match="neither a topic nor an answer"):
                venue.parse(route, path.read_bytes())
            continue
        found = list(venue.parse(replace(route, kind=BYBIT_KINDS.get(path.stem, "linear")), path.read_bytes()))
        if path.stem.startswith(("ws_account_", "websocket__private__")):
            (event,) = found
            assert isinstance(event, Ignored), path.name
            assert event.reason.startswith(("private: ", "a request, not an answer")), path.name
            private += 1
        else:
            public[path.stem] = described(found)
    assert public == BYBIT_EXPECTED
    assert private + len(public) + 1 == len(paths)


def test_the_linear_tickers_of_bybits_documentation(shared_data: Path) -> None:
    # Three messages in one file, with their names between them.
    text = (shared_data / "api-doc-examples/bybit/websocket__public__ticker.json.txt").read_text(encoding="utf-8")
    venue = Bybit()
    route = first_route(venue, "linear", "BTCUSDT")
    decoder = json.JSONDecoder()
    found: list[Event] = []
    at = text.find("{")
    while at >= 0:
        message, at = decoder.raw_decode(text, at)
        found += venue.parse(route, json.dumps(message))
        at = text.find("{", at)
    updates = [event for event in found if isinstance(event, PerpUpdate)]
    assert len(updates) == len(found) >= 2
    assert (updates[0].mark, updates[0].index, updates[0].funding_rate) == (66666.60, 115418.19, -0.005)
    assert (updates[0].next_settlement_ms, updates[0].interval_hours) == (1760342400000, 8.0)
    assert (updates[1].symbol, updates[1].mark, updates[1].funding_rate) == ("BTC-26DEC25", 121144.63, None)


def test_the_shortened_examples_of_bybits_documentation(shared_data: Path) -> None:
    venue = Bybit()
    route = first_route(venue, "linear", "BTCUSDT")
    found: dict[str, list[Event]] = {}
    for name in ("adl-alert", "orderbook"):
        path = shared_data / f"api-doc-examples/bybit/websocket__public__{name}.json.txt"
        # Printed with "..., " where rows were left out; without it, a comma may stand before a bracket.
        text = re.sub(r",(\s*\])", r"\1", path.read_text(encoding="utf-8").replace("...,", ""))
        found[name] = list(venue.parse(route, text))
    assert [(event.symbol, event.balance) for event in found["adl-alert"] if isinstance(event, AdlNotice)] == [
        ("FWOGUSDT", -5421.29889888),
        ("ZORAUSDT", 19873.46255153),
        ("BERAUSDT", 453.36427074),
    ]
    (book,) = found["orderbook"]
    assert isinstance(book, BookSnapshot)
    assert (book.sequence, book.depth, book.bids) == (18521288, 50, ((16493.5, 0.006), (16493.0, 0.1)))
    assert book.asks == ((16611.0, 0.029), (16612.0, 0.213))


def test_every_payload_of_hyperliquid(shared_data: Path) -> None:
    venue = Hyperliquid()
    route = first_route(venue, "linear", "BTC")
    folder = shared_data / "api-fixtures-nautilus/hyperliquid"
    reasons = {}
    for path in sorted(folder.glob("ws_*.json")):
        if path.stem != "ws_book_data":
            reasons[path.stem] = described(list(venue.parse(route, path.read_bytes())))
    assert reasons == {
        "ws_all_dexs_asset_ctxs": "contexts without names: subscribe to activeAssetCtx",
        "ws_allmids": "mids are neither marks nor quotes",
        "ws_user_fill_liquidation": "private: user",
    }
    # A book and a context without their envelopes.
    book = json.loads((folder / "ws_book_data.json").read_bytes())
    (snapshot,) = venue.parse(route, json.dumps({"channel": "l2Book", "data": book}))
    assert isinstance(snapshot, BookSnapshot)
    assert (snapshot.bids[0], snapshot.asks[0]) == ((98450.50, 2.5), (98451.00, 1.5))
    contexts = json.loads((folder / "ws_all_dexs_asset_ctxs.json").read_bytes())["data"]["ctxs"]
    count = 0
    for _, rows in contexts:
        for row in rows:
            data = {"coin": "X", "ctx": row}
            (update,) = venue.parse(route, json.dumps({"channel": "activeAssetCtx", "data": data}))
            assert isinstance(update, PerpUpdate)
            assert (update.mark, update.index) == (float(row["markPx"]), float(row["oraclePx"]))
            assert update.funding_rate == float(row["funding"])
            count += 1
    assert count > 250


def test_frames_of_other_venues_are_refused_or_named(shared_data: Path) -> None:
    """None of the frames of Kraken, for which there is no adapter, is taken for market data."""
    paths = sorted((shared_data / "api-fixtures-nautilus/kraken").glob("ws_*.json"))
    assert len(paths) > 25
    venues: list[tuple[VenueProtocol, str]] = [
        (Binance(), "BTCUSDT"),
        (Bybit(), "BTCUSDT"),
        (Okx(), "BTC-USDT-SWAP"),
        (Hyperliquid(), "BTC"),
    ]
    taken: list[str] = []
    for venue, symbol in venues:
        route = first_route(venue, "linear", symbol)
        for path in paths:
            with suppress(FrameError):
                events = venue.parse(route, path.read_bytes())
                if not all(isinstance(event, Ignored | Acknowledged | Heartbeat) for event in events):
                    taken.append(f"{venue.venue} {path.name}")
    assert taken == []
