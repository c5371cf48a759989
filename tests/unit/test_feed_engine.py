"""Engine, bars, choice of instruments: what follows from records, without a socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crypto.errors import DataError, UsageError
from data.feed.bars import MinuteBars
from data.feed.choice import adapter, adapters, make_plans
from data.feed.delay import Delay
from data.feed.engine import Engine
from data.feed.feed import Feed, FeedOptions
from data.feed.names import our_symbol, venue_symbol
from data.feed.notes import channel_note, settled_note, start_note
from data.feed.options import FeedTimes
from data.feed.reading import RecordingReader
from data.feed.recorder import RecorderOptions
from data.feed.replay import replay
from data.feed.view import Board
from data.streams.events import FundingSettled
from data.streams.protocol import Channel, Subscription
from tests.contract.feed_server import BYBIT_WHOLE, binance_mark, binance_top, bybit_ticker

NOW = 1_790_000_000_000
SECOND = 1_000_000_000
KEY = ("bybit", "linear", "BTCUSDT")


def encoded(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode()


def bybit_engine() -> Engine:
    (route,) = adapter("bybit").routes([Subscription("linear", Channel.PERP, ("BTCUSDT",))])
    engine = Engine(adapters())
    engine.note(start_note())
    engine.note(channel_note(1, route))
    engine.note({"note": "opened", "channel": 1})
    return engine


def test_a_value_is_stale_when_its_connection_is_lost_and_not_when_a_replacement_is_open() -> None:
    engine = bybit_engine()
    board = Board(engine, FeedTimes(), [KEY])
    engine.frames(1, [encoded(bybit_ticker("BTCUSDT", "snapshot", NOW, 5, **BYBIT_WHOLE))], SECOND)
    assert board.stale(SECOND) == []
    engine.note(channel_note(2, engine.channels[1].route))
    engine.note({"note": "opened", "channel": 2})
    engine.note({"note": "closed", "channel": 1, "reason": "replaced"})
    assert board.stale(SECOND) == []
    engine.note({"note": "closed", "channel": 2, "reason": "lost"})
    assert board.stale(SECOND) == ["bybit:linear:BTCUSDT"]
    held = board.snapshot(None, SECOND)["instruments"]["bybit:linear:BTCUSDT"]
    assert (held["stale"], held["fields"]["mark"]["value"], held["fields"]["mark"]["age_ms"]) == (True, 17_217.33, None)


def test_a_snapshot_has_value_times_and_age_of_each_field() -> None:
    engine = bybit_engine()
    board = Board(engine, FeedTimes())
    engine.frames(1, [encoded(bybit_ticker("BTCUSDT", "snapshot", NOW, 5, **BYBIT_WHOLE))], 100 * SECOND)
    engine.frames(1, [encoded(bybit_ticker("BTCUSDT", "delta", NOW + 4000, 6, markPrice="17300"))], 104 * SECOND)
    engine.note(
        settled_note(
            FundingSettled(venue="bybit", kind="linear", symbol="BTCUSDT", event_ms=NOW, settlement_ms=NOW, rate=-1e-5)
        )
    )
    answer = board.snapshot(["bybit:linear:BTCUSDT", "bybit:linear:X"], 106 * SECOND)
    held = answer["instruments"]["bybit:linear:BTCUSDT"]
    assert answer["unknown"] == ["bybit:linear:X"]
    assert held["fields"]["mark"] == {
        "value": 17_300.0, "event_ms": NOW + 4000, "received_ms": 104_000, "age_ms": 2000, "stale": False
    }  # fmt: skip
    # Not in the change: the value is the older one, and the change confirms that it still holds.
    index = held["fields"]["index"]
    assert (index["value"], index["event_ms"], index["received_ms"], index["age_ms"]) == (17_227.36, NOW, 100_000, 2000)
    assert held["fields"]["next_settlement_ms"]["value"] == 1_800_000_000_000
    assert held["settled"] == {"time_ms": NOW, "rate": -1e-5}
    row = board.row(KEY, 106 * SECOND)
    assert row is not None
    assert (row["mark"], row["interval_hours"], row["settled_rate"], row["age_ms"]) == (17_300.0, 8.0, -1e-5, 2000)
    assert row["stale"] == 0


def test_lateness_is_what_exceeds_the_best_delay_and_a_drifting_clock_is_none() -> None:
    delay = Delay(500.0, 500.0, 0)
    delay.measure(420.0, SECOND)
    assert (delay.least_ms, delay.late_ms) == (420.0, 0.0)
    delay.measure(1420.0, 11 * SECOND)  # 1 s more, of which 10 s * 0.01 % = 1 ms may be drift
    assert delay.late_ms == pytest.approx(999.0)
    drifting = Delay(0.0, 0.0, 0)
    for hour in range(1, 73):  # three days at 0.005 %
        drifting.measure(hour * 3_600_000 * 5e-5, hour * 3600 * SECOND)
        assert drifting.late_ms == 0.0


def test_frames_of_a_channel_that_was_never_opened_are_refused() -> None:
    with pytest.raises(DataError, match="frames of channel 7"):
        Engine(adapters()).frames(7, [b"{}"], 1)


def test_a_venue_that_is_not_known_is_refused() -> None:
    note = channel_note(1, adapter("bybit").routes([Subscription("linear", Channel.PERP, ("BTCUSDT",))])[0])
    note["route"]["venue"] = "elsewhere"
    with pytest.raises(DataError, match="venue 'elsewhere'"):
        Engine(adapters()).note(note)


@pytest.mark.asyncio
async def test_a_recording_of_several_segments_and_runs_ends_with_the_live_state(tmp_path: Path) -> None:
    plans = make_plans([], ["binance:linear:BTCUSDT", "binance:linear:ETHUSDT"], [], {})
    options = FeedOptions(tmp_path, recorder=RecorderOptions(segment_bytes=2000))
    for run in range(2):
        feed = Feed(plans, options)
        routes = [(feed.opening(route), route) for route in plans[0].routes]
        for channel, _ in routes:
            feed.opened(channel)
        for number in range(40):
            for channel, route in routes:
                symbol = ("BTCUSDT", "ETHUSDT")[number % 2]
                at = NOW + 1000 * run + number
                message = (
                    binance_mark(symbol, at, 100.0 + number)
                    if "market" in route.name
                    else binance_top(symbol, number, 100.0 + number, at)
                )
                assert feed.frames(channel, [encoded(message)], feed.now_ns()).data_frames == 1
        feed.recorder.close()
        reader = RecordingReader(tmp_path)
        assert replay(reader, adapters()).engine.fingerprint() == feed.engine.fingerprint()
        assert len(reader.paths) > 5 * (run + 1)
    # The last segment alone ends with the same: it begins with open channels and all that was held.
    alone = replay(RecordingReader(reader.paths[-1]), adapters())
    assert alone.engine.counts.events < 20
    assert alone.engine.fingerprint() == feed.engine.fingerprint()


@pytest.mark.asyncio
async def test_a_later_segment_holds_all_that_later_records_build_on(tmp_path: Path) -> None:
    """Bybit's changes without their snapshot, a settled rate, tops, and a connection that is lost afterwards."""
    plans = make_plans([], ["bybit:linear:BTCUSDT", "okx:linear:BTCUSDT", "hyperliquid:linear:BTC"], [], {})
    feed = Feed(plans, FeedOptions(tmp_path, recorder=RecorderOptions(segment_bytes=1)))
    channel = feed.opening(plans[0].routes[0])
    other = feed.opening(plans[2].routes[0])
    feed.opened(channel)
    feed.opened(other)
    at_ns = NOW * 1_000_000
    feed.frames(channel, [encoded(bybit_ticker("BTCUSDT", "snapshot", NOW, 5, **BYBIT_WHOLE))], at_ns)
    feed.frames(other, [encoded(HYPERLIQUID)], at_ns)
    event = FundingSettled(
        venue="bybit", kind="linear", symbol="BTCUSDT", event_ms=NOW, settlement_ms=NOW, rate=0.1, mark=None
    )  # fmt: skip
    feed._note(settled_note(event))
    feed.frames(
        channel, [encoded(bybit_ticker("BTCUSDT", "delta", NOW + 100, 6, markPrice="17300.00"))], at_ns + SECOND
    )
    feed.closed(channel, "lost")
    feed.recorder.close()
    paths = RecordingReader(tmp_path).paths
    assert len(paths) == 4
    alone = replay(RecordingReader(paths[-1]), adapters()).engine
    assert alone.counts.frames == 1
    assert alone.fingerprint() == feed.engine.fingerprint()
    assert replay(RecordingReader(tmp_path), adapters()).engine.fingerprint() == feed.engine.fingerprint()
    reading = alone.state.perp(KEY, at_ns + SECOND)
    assert reading is not None
    assert (reading.mark.value, reading.index.value, reading.mark.stale) == (17_300.0, 17_227.36, True)
    assert alone.settled[KEY].rate == 0.1
    assert alone.watch.dump() == feed.engine.watch.dump()
    assert alone.delays == feed.engine.delays


@pytest.mark.asyncio
async def test_an_error_while_recording_ends_the_feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Feed(make_plans([], ["binance:linear:BTCUSDT"], [], {}), FeedOptions(tmp_path))
    channel = feed.opening(feed.supervisors[0].route)
    monkeypatch.setattr(feed.recorder, "_append", lambda record: (_ for _ in ()).throw(DataError("disk gone")))
    assert feed.frames(channel, [encoded(binance_mark("BTCUSDT", NOW, 1.0))], 1).data_frames == 0
    monkeypatch.undo()
    assert feed.engine.counts.frames == 0  # nothing is known that is not recorded
    feed.supervisors.clear()
    with pytest.raises(DataError, match="disk gone"):
        await feed.run()


# --- bars ---------------------------------------------------------------------------------------------------------


def bars_of(samples: list[tuple[float, float]]) -> tuple[list[int], list[list[float]], MinuteBars]:
    bars = MinuteBars()
    for second, price in samples:
        bars.add(round(60_000_000 + second * 1000), price)
    columns = bars.columns()
    prices = np.array([columns[name] for name in ("open", "high", "low", "close")]).T.tolist()
    return [int(time - 60_000_000) // 1000 for time in columns["time_ms"]], prices, bars


def test_whole_minutes_become_bars() -> None:
    prices = {0: 5.0, 20: 9.0, 40: 1.0, 59: 4.0, 60: 6.0}
    samples = [(float(at), prices.get(at, 5.0 if at < 60 else 6.0)) for at in range(122)]
    starts, found, bars = bars_of(samples)
    assert starts == [0, 60]
    assert found == [[5.0, 9.0, 1.0, 4.0], [6.0, 6.0, 6.0, 6.0]]
    assert bars.incomplete == 0


def test_minutes_with_a_gap_or_a_late_start_make_no_bar() -> None:
    late_start = [(at + 0.5, 1.0) for at in range(200)]
    assert bars_of(late_start)[0] == [60, 120]
    gap = [(float(at), 1.0) for at in range(200) if not 70 <= at < 77]
    starts, _, bars = bars_of(gap)
    assert (starts, bars.incomplete) == ([0, 120], 2)  # the minute's part before the gap, and after it


def test_stamps_that_go_back_are_counted_and_left_out() -> None:
    samples = [(float(at), 1.0) for at in range(62)]
    samples.insert(30, (20.0, 99.0))
    _, found, bars = bars_of(samples)
    assert (found, bars.late) == ([[1.0, 1.0, 1.0, 1.0]], 1)


# --- choice -------------------------------------------------------------------------------------------------------


def test_a_plain_symbol_is_taken_in_each_kind_that_a_venue_has() -> None:
    plans = make_plans(["binance", "bybit", "okx"], ["BTCUSDT"], ["linear", "spot"], {})
    assert [plan.expected for plan in plans] == [
        (("binance", "linear", "BTCUSDT"), ("binance", "spot", "BTCUSDT")),
        (("bybit", "linear", "BTCUSDT"), ("bybit", "spot", "BTCUSDT")),
        (("okx", "linear", "BTC-USDT-SWAP"), ("okx", "spot", "BTC-USDT")),
    ]
    assert {route.path.split("?")[0] for route in plans[0].routes} == {"/market/stream", "/public/stream", "/stream"}


def test_a_whole_name_brings_its_venue_and_nothing_else() -> None:
    (plan,) = make_plans([], ["hyperliquid:linear:BTC"], ["linear"], {"hyperliquid": "ws://localhost:9"})
    assert plan.expected == (("hyperliquid", "linear", "BTC"),)
    assert plan.routes[0].address == "ws://localhost:9/ws"


def test_without_symbols_binance_gives_all_perpetuals() -> None:
    (plan,) = make_plans(["binance"], [], ["linear"], {})
    assert plan.routes[0].streams == ("!markPrice@arr@1s",)


@pytest.mark.parametrize(
    ("venue", "kind", "ours", "theirs"),
    [
        ("okx", "linear", "BTCUSDT", "BTC-USDT-SWAP"),
        ("okx", "inverse", "BTCUSD", "BTC-USD-SWAP"),
        ("okx", "spot", "ETHUSDC", "ETH-USDC"),
        ("dydx", "linear", "BTCUSD", "BTC-USD"),
        ("hyperliquid", "linear", "BTC", "BTC"),
        ("binance", "linear", "1000PEPEUSDT", "1000PEPEUSDT"),
    ],
)
def test_names_both_ways(venue: str, kind: str, ours: str, theirs: str) -> None:
    assert venue_symbol(venue, kind, ours) == theirs
    assert our_symbol(venue, theirs) == ours


def test_a_symbol_that_cannot_be_taken_apart_is_named() -> None:
    with pytest.raises(UsageError, match="'BTC' of okx"):
        venue_symbol("okx", "linear", "BTC")


# --- settlements -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off_ms", [-600_000, 0, 600_000])
def test_a_clock_that_is_ten_minutes_off_neither_moves_nor_hides_a_settlement(off_ms: int) -> None:
    plan = make_plans([], ["binance:linear:BTCUSDT"], [], {})[0]
    engine = Engine(adapters())
    engine.note(start_note())
    engine.note(channel_note(1, plan.routes[0]))
    settlement = 1_790_006_400_000  # 2026-09-21 16:00
    for venue_ms, next_ms in ((-60_000, settlement), (-1000, settlement), (1000, settlement + 28_800_000)):
        frame = encoded(binance_mark("BTCUSDT", settlement + venue_ms, 60_000.0, T=next_ms))
        engine.frames(1, [frame], (settlement + venue_ms + off_ms) * 1_000_000)
    assert engine.take_interval_changes() == []
    assert engine.watch.take_due(lambda venue: 0) == [(("binance", "linear", "BTCUSDT"), settlement)]


HYPERLIQUID = {
    "channel": "activeAssetCtx",
    "data": {"coin": "BTC", "ctx": {"markPx": "60000.0", "oraclePx": "60001.0", "funding": "0.0000125"}},
}  # fmt: skip
DYDX = {
    "type": "subscribed", "connection_id": "c", "message_id": 1, "channel": "v4_markets",
    "contents": {"markets": {"BTC-USD": {"oraclePrice": "60000.0", "nextFundingRate": "0.0000125"}}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("venue", "symbol", "message"), [("hyperliquid", "BTC", HYPERLIQUID), ("dydx", "BTC-USD", DYDX)]
)
def test_venues_that_pay_every_hour_have_a_next_settlement_and_are_not_stale(
    venue: str, symbol: str, message: dict[str, Any]
) -> None:
    key = (venue, "linear", symbol)
    route = adapter(venue).routes([Subscription("linear", Channel.PERP, (symbol,))])[0]
    engine = Engine(adapters())
    engine.note(start_note())
    engine.note(channel_note(1, route))
    board = Board(engine, FeedTimes(), [key])
    hour = 1_790_006_400_000
    at_ns = (hour - 1000) * 1_000_000
    engine.frames(1, [encoded(message)], at_ns)
    (held,) = board.snapshot(None, at_ns)["instruments"].values()
    assert held["fields"]["next_settlement_ms"]["value"] == hour
    assert not held["stale"]
    assert board.stale(at_ns) == []
    assert engine.watch.take_due(lambda venue: hour - 1) == []
    engine.frames(1, [encoded(message)], (hour + 5) * 1_000_000)
    assert engine.watch.take_due(lambda venue: hour + 5) == [(key, hour)]
    assert engine.take_interval_changes() == []


def test_one_wrong_stamp_makes_nothing_late_and_ten_are_believed() -> None:
    delay = Delay(50.0, 50.0, 0)
    delay.measure(-86_400_000.0, SECOND)  # a stamp of tomorrow
    delay.measure(60.0, 2 * SECOND)
    assert delay.late_ms == pytest.approx(10.0, abs=0.5)
    for number in range(10):  # our machine slept for an hour
        delay.measure(-3_600_000.0, (3 + number) * SECOND)
    assert delay.least_ms == -3_600_000.0
    delay.measure(-3_590_000.0, 20 * SECOND)
    assert delay.late_ms == pytest.approx(10_000.0, abs=2.0)
