"""State by field: ages, the venue's order, changes before snapshots, lost connections, and arrays in one step."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.streams.binance_messages import MarkPrice
from data.streams.events import Aggressor, Event, PerpUpdate, TopOfBook, Trade
from data.streams.perps import PerpTable
from data.streams.staleness import LIMITS, Field, StalenessLimits
from data.streams.state import MarketState, PerpReading
from data.streams.tops import TopReading
from data.streams.verdict import Verdict

S = 1_000_000_000
BYBIT = ("bybit", "linear", "BTCUSDT")
BINANCE = ("binance", "linear", "BTCUSDT")
OKX = ("okx", "linear", "BTC-USDT-SWAP")


def perp(key: tuple[str, str, str], event_ms: int | None, **fields: Any) -> PerpUpdate:
    venue, kind, symbol = key
    return PerpUpdate(venue=venue, kind=kind, symbol=symbol, event_ms=event_ms, **fields)


def top(key: tuple[str, str, str], sequence: int | None, event_ms: int | None = None, **fields: Any) -> TopOfBook:
    venue, kind, symbol = key
    sides = {"bid": 10.0, "bid_quantity": 1.0, "ask": 11.0, "ask_quantity": 2.0} | fields
    return TopOfBook(venue=venue, kind=kind, symbol=symbol, event_ms=event_ms, sequence=sequence, **sides)


def mark(symbol: str, event_ms: int, price: float, rate: float | None = 0.0001) -> MarkPrice:
    return MarkPrice(
        symbol=symbol, event_ms=event_ms, mark=price, index=price + 1.0, funding_rate=rate,
        next_settlement_ms=8000,
    )  # fmt: skip


def read(state: MarketState, key: tuple[str, str, str], now_ns: int) -> PerpReading:
    reading = state.perp(key, now_ns)
    assert reading is not None
    return reading


def read_top(state: MarketState, key: tuple[str, str, str], now_ns: int) -> TopReading:
    reading = state.top(key, now_ns)
    assert reading is not None
    return reading


def whole_bybit(sequence: int, event_ms: int, **fields: Any) -> PerpUpdate:
    stated = {"mark": 100.0, "index": 99.0, "funding_rate": 0.0001, "next_settlement_ms": 5000, "interval_hours": 8.0}
    return perp(BYBIT, event_ms, sequence=sequence, **(stated | fields))


# --- perpetuals ---------------------------------------------------------------------------------------------------


def test_a_field_has_its_value_its_times_and_its_age() -> None:
    state = MarketState()
    assert state.perp(BYBIT, S) is None
    assert state.apply(whole_bybit(1, 1000), 5 * S) is Verdict.APPLIED
    reading = read(state, BYBIT, 7 * S)
    assert (reading.mark.value, reading.index.value, reading.funding_rate.value) == (100.0, 99.0, 0.0001)
    assert (reading.next_settlement.value, reading.interval.value) == (5000.0, 8.0)
    assert (reading.mark.event_ms, reading.mark.received_ns, reading.mark.age_seconds) == (1000, 5 * S, 2.0)
    assert not reading.mark.stale


def test_a_field_is_stale_just_after_its_venues_limit() -> None:
    limits = StalenessLimits(mark_seconds=2.0, index_seconds=3.0, funding_seconds=4.0, top_seconds=1.0)
    state = MarketState({"bybit": limits})
    state.apply(whole_bybit(1, 1000), 10 * S)
    stale_at: list[tuple[bool, ...]] = []
    for now_ns in (12 * S, 12 * S + 1, 13 * S + 1, 14 * S + 1):
        reading = read(state, BYBIT, now_ns)
        stale_at.append((reading.mark.stale, reading.index.stale, reading.funding_rate.stale, reading.interval.stale))
    assert stale_at == [
        (False, False, False, False),
        (True, False, False, False),
        (True, True, False, False),
        (True, True, True, True),
    ]


def test_a_bybit_change_before_its_snapshot_is_ignored() -> None:
    state = MarketState()
    change = perp(BYBIT, 1000, sequence=5, mark=1.0, snapshot=False)
    verdict = state.apply(change, S)
    assert verdict is Verdict.NEEDS_SNAPSHOT
    assert verdict.resync
    assert math.isnan(read(state, BYBIT, S).mark.value)
    assert read(state, BYBIT, S).mark.stale


def test_a_bybit_change_confirms_what_it_does_not_carry() -> None:
    state = MarketState()
    state.apply(whole_bybit(1, 1000), 10 * S)
    assert state.apply(perp(BYBIT, 1100, sequence=2, mark=101.0, snapshot=False), 25 * S) is Verdict.APPLIED
    reading = read(state, BYBIT, 26 * S)
    assert (reading.mark.value, reading.mark.received_ns, reading.mark.event_ms) == (101.0, 25 * S, 1100)
    assert (reading.funding_rate.value, reading.funding_rate.received_ns) == (0.0001, 10 * S)
    assert (reading.funding_rate.age_seconds, reading.funding_rate.stale) == (1.0, False)
    assert reading.funding_rate.event_ms == 1000


def test_nan_clears_a_field_and_none_keeps_it() -> None:
    state = MarketState()
    state.apply(whole_bybit(1, 1000), S)
    state.apply(perp(BYBIT, 1100, sequence=2, funding_rate=math.nan, next_settlement_ms=0, snapshot=False), 2 * S)
    reading = read(state, BYBIT, 2 * S)
    assert reading.mark.value == 100.0
    assert math.isnan(reading.funding_rate.value)
    assert math.isnan(reading.next_settlement.value)
    assert (reading.funding_rate.stale, reading.mark.stale) == (True, False)


def test_a_whole_update_clears_what_it_does_not_state_but_not_the_interval() -> None:
    state = MarketState()
    state.apply(whole_bybit(1, 1000), S)
    state.apply(perp(BYBIT, 1100, sequence=2, mark=7.0), 2 * S)
    reading = read(state, BYBIT, 2 * S)
    assert (reading.mark.value, reading.interval.value) == (7.0, 8.0)
    assert math.isnan(reading.index.value)
    assert math.isnan(reading.funding_rate.value)


@pytest.mark.parametrize(
    ("sequence", "event_ms", "verdict"),
    [
        (5, 1000, Verdict.DUPLICATE),
        (4, 2000, Verdict.OUT_OF_ORDER),
        (5, 999, Verdict.OUT_OF_ORDER),
        (5, 1001, Verdict.APPLIED),  # the cross sequence counts the book's changes: the mark moved without one
        (9, 1000, Verdict.APPLIED),
        (9, 999, Verdict.OUT_OF_ORDER),
    ],
)
def test_bybit_order(sequence: int, event_ms: int, verdict: Verdict) -> None:
    state = MarketState()
    state.apply(whole_bybit(5, 1000), S)
    assert state.apply(perp(BYBIT, event_ms, sequence=sequence, mark=1.0, snapshot=False), 2 * S) is verdict
    reading = read(state, BYBIT, 2 * S)
    assert reading.mark.value == (1.0 if verdict is Verdict.APPLIED else 100.0)
    assert reading.mark.received_ns == (2 * S if verdict is Verdict.APPLIED else S)


def test_a_repeated_message_makes_nothing_fresher() -> None:
    state = MarketState()
    update = perp(BINANCE, 1000, mark=1.0, index=2.0, funding_rate=None, next_settlement_ms=3)
    assert state.apply(update, S) is Verdict.APPLIED
    assert state.apply(update, 9 * S) is Verdict.DUPLICATE
    assert read(state, BINANCE, 9 * S).mark.age_seconds == 8.0
    assert read(state, BINANCE, 9 * S).mark.stale
    other = perp(BINANCE, 1000, mark=1.5, index=2.0, funding_rate=None, next_settlement_ms=3)
    assert state.apply(other, 9 * S) is Verdict.APPLIED
    assert state.apply(perp(BINANCE, 999, mark=1.0), 9 * S) is Verdict.OUT_OF_ORDER
    assert read(state, BINANCE, 9 * S).mark.value == 1.5
    assert state.verdicts == {Verdict.APPLIED: 2, Verdict.DUPLICATE: 1, Verdict.OUT_OF_ORDER: 1}


def test_okx_channels_keep_their_own_order() -> None:
    state = MarketState()
    assert state.apply(perp(OKX, 5000, mark=1.0, snapshot=False), S) is Verdict.APPLIED
    # The index channel is behind the mark channel: its own stamps count.
    assert state.apply(perp(OKX, 4000, index=2.0, snapshot=False), 2 * S) is Verdict.APPLIED
    assert state.apply(perp(OKX, 4999, mark=9.0, snapshot=False), 3 * S) is Verdict.OUT_OF_ORDER
    reading = read(state, OKX, 3 * S)
    assert (reading.mark.value, reading.index.value) == (1.0, 2.0)
    assert (reading.mark.age_seconds, reading.index.age_seconds) == (2.0, 1.0)
    assert reading.funding_rate.age_seconds == math.inf
    assert reading.funding_rate.stale


def test_updates_without_a_stamp_are_taken_as_they_come() -> None:
    key = ("hyperliquid", "linear", "BTC")
    state = MarketState()
    for price, at in ((1.0, 1), (2.0, 2), (1.0, 3)):
        assert state.apply(perp(key, None, mark=price), at * S) is Verdict.APPLIED
    reading = read(state, key, 3 * S)
    assert (reading.mark.value, reading.mark.event_ms, reading.mark.age_seconds) == (1.0, None, 0.0)


def test_a_price_of_zero_is_none_and_a_rate_of_zero_is_a_rate() -> None:
    state = MarketState()
    state.apply(perp(BINANCE, 1000, mark=0.0, index=0.0, funding_rate=0.0, next_settlement_ms=0), S)
    reading = read(state, BINANCE, S)
    assert math.isnan(reading.mark.value)
    assert math.isnan(reading.index.value)
    assert math.isnan(reading.next_settlement.value)
    assert reading.funding_rate.value == 0.0
    assert not reading.funding_rate.stale


def test_a_lost_connection_makes_stale_until_the_next_snapshot() -> None:
    state = MarketState()
    state.apply(whole_bybit(5, 1000), S)
    state.apply(top(BYBIT, 5, 1000), S)
    state.apply(perp(BINANCE, 1000, mark=1.0), S)
    assert state.invalidate("bybit", "linear") == 2
    reading = read(state, BYBIT, S)
    assert (reading.mark.value, reading.mark.stale, reading.mark.age_seconds) == (100.0, True, math.inf)
    assert read_top(state, BYBIT, S).stale
    assert not read(state, BINANCE, S).mark.stale
    assert state.apply(perp(BYBIT, 1100, sequence=6, mark=1.0, snapshot=False), S) is Verdict.NEEDS_SNAPSHOT
    # A restarted service may count from the beginning.
    assert state.apply(whole_bybit(1, 1200, mark=7.0, interval_hours=None), 2 * S) is Verdict.APPLIED
    again = read(state, BYBIT, 2 * S)
    assert (again.mark.value, again.mark.stale) == (7.0, False)
    # What the new snapshot does not state is not confirmed by it, nor by changes after it.
    state.apply(perp(BYBIT, 1300, sequence=2, mark=8.0, snapshot=False), 2 * S)
    assert (read(state, BYBIT, 2 * S).interval.value, read(state, BYBIT, 2 * S).interval.stale) == (8.0, True)


def test_only_the_named_symbols_are_invalidated() -> None:
    state = MarketState()
    other = ("bybit", "linear", "ETHUSDT")
    state.apply(whole_bybit(5, 1000), S)
    state.apply(perp(other, 1000, sequence=1, mark=3.0), S)
    assert state.invalidate("bybit", "linear", ["ETHUSDT"]) == 1
    assert not read(state, BYBIT, S).mark.stale
    assert read(state, other, S).mark.stale


def test_the_specification_states_the_limits_of_the_code(repository: Path) -> None:
    text = (repository / "docs/specs/streams.md").read_text(encoding="utf-8")
    _, _, table = text.partition("| venue | mark | index |")
    stated = {}
    for row in table.splitlines()[2 : 2 + len(LIMITS)]:
        venue, *seconds = (cell.strip() for cell in row.strip("|").split("|"))
        stated[venue.lower()] = StalenessLimits(*map(float, seconds))
    assert stated == LIMITS


# --- arrays -------------------------------------------------------------------------------------------------------


def test_an_array_in_one_step_equals_its_rows_one_by_one() -> None:
    rng = np.random.default_rng(5)
    together, one_by_one = MarketState(), MarketState()
    for step in range(40):
        symbols = [f"S{number}" for number in rng.permutation(30)[: rng.integers(8, 30)]]
        rows: list[Event] = [
            mark(symbol, int(rng.integers(0, 6)), float(rng.integers(0, 3)), None if rng.random() < 0.2 else 0.0)
            for symbol in symbols
        ]
        refused = together.apply_all(rows, (step + 1) * S)
        expected = [(row, one_by_one.apply(row, (step + 1) * S)) for row in rows]
        assert sorted(refused, key=str) == sorted(
            ((row, verdict) for row, verdict in expected if verdict is not Verdict.APPLIED), key=str
        )
    assert together.verdicts == one_by_one.verdicts
    assert together.verdicts[Verdict.DUPLICATE]
    assert together.verdicts[Verdict.OUT_OF_ORDER]
    for key in one_by_one.perps.keys:
        assert repr(together.perp(key, 50 * S)) == repr(one_by_one.perp(key, 50 * S))


def test_arrays_update_columns_in_place_and_grow() -> None:
    table = PerpTable(capacity=4)
    marks = table.values[Field.MARK]
    assert table.apply_whole([mark("A", 1, 10.0), mark("B", 1, 20.0)], S).tolist() == [True, True]
    assert marks[:2].tolist() == [10.0, 20.0]
    many = [mark(f"S{number}", 2, float(number + 1)) for number in range(9)]
    assert table.apply_whole(many, 2 * S).all()
    assert len(table) == 11
    assert table.row(("binance", "linear", "S8")) == 10
    assert table.values[Field.MARK, :11].tolist() == [10.0, 20.0, *[float(number + 1) for number in range(9)]]
    assert table.stale(4 * S)[Field.MARK].tolist() == [False] * 11
    assert table.stale(4 * S + 1)[Field.MARK].tolist() == [True] * 2 + [False] * 9


def test_a_symbol_that_stands_twice_in_an_array_is_taken_in_order() -> None:
    state = MarketState()
    rows: list[Event] = [mark(f"S{number}", 1, 1.0) for number in range(9)]
    again = mark("S0", 2, 5.0)
    old = mark("S1", 0, 9.0)
    assert state.apply_all([*rows, again, old], S) == [(old, Verdict.OUT_OF_ORDER)]
    assert read(state, ("binance", "linear", "S0"), S).mark.value == 5.0
    assert read(state, ("binance", "linear", "S1"), S).mark.value == 1.0


def test_mixed_events_of_one_frame() -> None:
    state = MarketState()
    coin = perp(("binance", "inverse", "BTCUSD_PERP"), 1, mark=3.0, index=3.0)
    rows: list[Event] = [coin, *[mark(f"S{number}", 1, 1.0) for number in range(9)]]
    assert state.apply_all(rows, S) == []
    assert state.verdicts == {Verdict.APPLIED: 10}
    assert read(state, ("binance", "inverse", "BTCUSD_PERP"), S).mark.value == 3.0


def test_events_that_are_no_state_are_left_alone() -> None:
    trade = Trade(
        venue="bybit", kind="linear", symbol="BTCUSDT", event_ms=1, trade_id="1", price=1.0, quantity=1.0,
        aggressor=Aggressor.BUYER,
    )  # fmt: skip
    state = MarketState()
    assert state.apply(trade, S) is None
    assert state.apply_all([trade], S) == []
    assert not state.verdicts


# --- tops ---------------------------------------------------------------------------------------------------------


def test_a_top_is_read_with_its_age() -> None:
    state = MarketState()
    assert state.top(BINANCE, S) is None
    assert state.apply(top(BINANCE, 7, 1000), S) is Verdict.APPLIED
    reading = read_top(state, BINANCE, 2 * S)
    assert (reading.bid, reading.bid_quantity, reading.ask, reading.ask_quantity) == (10.0, 1.0, 11.0, 2.0)
    assert (reading.event_ms, reading.received_ns, reading.age_seconds) == (1000, S, 1.0)
    assert not reading.stale
    assert read_top(state, BINANCE, 11 * S + 1).stale


@pytest.mark.parametrize(
    ("update", "verdict"),
    [
        (top(BINANCE, 7, 1000, bid=9.0), Verdict.DUPLICATE),
        (top(BINANCE, 6, 2000, bid=9.0), Verdict.OUT_OF_ORDER),
        (top(BINANCE, 7, 999, bid=9.0), Verdict.OUT_OF_ORDER),
        (top(BINANCE, 8, 1000, bid=9.0), Verdict.APPLIED),
        (top(BINANCE, 7, 1001, bid=9.0), Verdict.APPLIED),
        (top(BINANCE, 1, 2000, bid=9.0), Verdict.OUT_OF_ORDER),
    ],
)
def test_the_order_of_tops(update: TopOfBook, verdict: Verdict) -> None:
    state = MarketState()
    state.apply(top(BINANCE, 7, 1000), S)
    assert state.apply(update, 2 * S) is verdict
    assert read_top(state, BINANCE, 2 * S).bid == (9.0 if verdict is Verdict.APPLIED else 10.0)
    assert read_top(state, BINANCE, 2 * S).age_seconds == (0.0 if verdict is Verdict.APPLIED else 1.0)


def test_bybit_restates_a_quiet_book_and_restarts_its_numbers() -> None:
    state = MarketState()
    state.apply(top(BYBIT, 7, 1000), S)
    assert state.apply(top(BYBIT, 7, 4000), 4 * S) is Verdict.APPLIED
    assert read_top(state, BYBIT, 4 * S).age_seconds == 0.0
    assert state.apply(top(BYBIT, 1, 5000, bid=3.0), 5 * S) is Verdict.APPLIED
    assert read_top(state, BYBIT, 5 * S).bid == 3.0
    assert state.apply(top(BYBIT, 1, 5000, bid=4.0), 5 * S) is Verdict.DUPLICATE


def test_a_partial_top_needs_a_snapshot_and_keeps_the_other_side() -> None:
    state = MarketState()
    partial = top(BYBIT, 8, 1100, bid=9.0, ask=None, ask_quantity=None, snapshot=False)
    assert state.apply(partial, S) is Verdict.NEEDS_SNAPSHOT
    state.apply(top(BYBIT, 7, 1000), S)
    assert state.apply(partial, 2 * S) is Verdict.APPLIED
    assert (read_top(state, BYBIT, 2 * S).bid, read_top(state, BYBIT, 2 * S).ask) == (9.0, 11.0)
    emptied = top(BYBIT, 9, 1200, bid=math.nan, bid_quantity=math.nan, ask=None, ask_quantity=None, snapshot=False)
    state.apply(emptied, 3 * S)
    reading = read_top(state, BYBIT, 3 * S)
    assert math.isnan(reading.bid)
    assert reading.stale


def test_tops_without_ids_go_by_their_stamps() -> None:
    key = ("hyperliquid", "linear", "BTC")
    state = MarketState()
    assert state.apply(top(key, None, 1000), S) is Verdict.APPLIED
    assert state.apply(top(key, None, 1000), 2 * S) is Verdict.DUPLICATE
    assert state.apply(top(key, None, 1000, bid=9.0), 2 * S) is Verdict.APPLIED
    assert state.apply(top(key, None, 999), 2 * S) is Verdict.OUT_OF_ORDER


@pytest.mark.parametrize(
    ("sides", "crossed"),
    [
        ({"bid": 11.0}, True),
        ({"bid": 12.0}, True),
        ({"bid": None, "bid_quantity": None}, False),
        ({"ask": 0.0, "ask_quantity": 0.0}, False),
        ({"ask_quantity": 0.0}, False),
    ],
)
def test_a_crossed_or_one_sided_top_is_stale(sides: dict[str, Any], crossed: bool) -> None:
    state = MarketState()
    state.apply(top(BINANCE, 7, 1000, **sides), S)
    reading = read_top(state, BINANCE, S)
    assert (reading.stale, reading.crossed) == (True, crossed)
