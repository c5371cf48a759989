"""The oracle reads what the feed really serves: a board filled with events, as JSON, through the oracle's parser."""

from __future__ import annotations

import json

import pytest

from crypto.oracle import evaluate
from crypto.oracle_composite import MAJORS, Status
from data.feed.engine import Engine
from data.feed.options import FeedTimes
from data.feed.view import Board
from data.oracle_snapshot import SnapshotRequest, parse_snapshot
from data.streams.events import PerpUpdate, TopOfBook

SECOND = 1_000_000_000
NOW_MS = 1_790_000_000_000


def a_board() -> Board:
    """Three venues' spot books and two venues' marks, all received at the second 100."""
    engine = Engine({})
    keys = []
    for venue, bid in (("binance", 99.9), ("bybit", 100.0), ("okx", 100.1)):
        keys.append((venue, "spot", "BTCUSDT"))
        top = TopOfBook(
            venue=venue, kind="spot", symbol="BTCUSDT", event_ms=NOW_MS, bid=bid, bid_quantity=1.0, ask=bid + 0.2,
            ask_quantity=1.0,
        )  # fmt: skip
        engine.state.apply(top, 100 * SECOND)
    for venue, mark in (("binance", 0.0100), ("bybit", 0.0101)):
        keys.append((venue, "linear", "1000PEPEUSDT"))
        update = PerpUpdate(
            venue=venue, kind="linear", symbol="1000PEPEUSDT", event_ms=NOW_MS, mark=mark, index=0.01,
            funding_rate=1e-4, next_settlement_ms=NOW_MS + 1, interval_hours=4.0,
        )  # fmt: skip
        engine.state.apply(update, 100 * SECOND)
    return Board(engine, FeedTimes(), keys)


def snapshot_at(second: float) -> bytes:
    return json.dumps(a_board().snapshot(None, int(second * SECOND))).encode()


def request(kind: str) -> SnapshotRequest:
    return SnapshotRequest(kind, "USDT", {}, lambda _: 0.005)


def test_books_that_the_feed_serves_make_an_index() -> None:
    held = parse_snapshot(snapshot_at(101), "board", request("index"), MAJORS)
    reading = evaluate(held.sources["BTC"], held.quote_rates, "USDT")
    assert reading.status is Status.OK
    assert reading.value == pytest.approx(100.1)  # middle of 100.0, 100.1 and 100.2
    assert reading.oldest_ms == 1000.0


def test_books_that_were_not_renewed_are_stale() -> None:
    held = parse_snapshot(snapshot_at(200), "board", request("index"), MAJORS)
    reading = evaluate(held.sources["BTC"], held.quote_rates, "USDT")
    assert reading.status is Status.HALT
    assert {verdict.name for verdict in reading.rejected.values()} == {"STALE"}


def test_marks_that_the_feed_serves_are_per_base_unit() -> None:
    held = parse_snapshot(snapshot_at(101), "board", request("mark"), MAJORS)
    assert sorted(source.price for source in held.sources["PEPE"]) == pytest.approx([1.00e-5, 1.01e-5])
