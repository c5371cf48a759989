"""Local books: each venue's rule of continuity, resynchronisation, and levels against a plain dictionary."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from data.streams.book import BookState, LocalBook
from data.streams.events import BookDelta, BookSnapshot, Level
from data.streams.verdict import Verdict

USDM = ("binance", "linear", "BTCUSDT")
SPOT = ("binance", "spot", "BTCUSDT")
BYBIT = ("bybit", "linear", "BTCUSDT")
BIDS: tuple[Level, ...] = ((99.0, 1.0), (98.0, 2.0))
ASKS: tuple[Level, ...] = ((101.0, 3.0), (102.0, 4.0))


def snapshot(
    key: tuple[str, str, str],
    sequence: int,
    event_ms: int | None = 1000,
    bids: tuple[Level, ...] = BIDS,
    asks: tuple[Level, ...] = ASKS,
) -> BookSnapshot:
    venue, kind, symbol = key
    return BookSnapshot(
        venue=venue, kind=kind, symbol=symbol, event_ms=event_ms, sequence=sequence, bids=bids, asks=asks
    )


def delta(
    key: tuple[str, str, str],
    first: int,
    last: int,
    previous: int | None = None,
    bids: tuple[Level, ...] = (),
    asks: tuple[Level, ...] = (),
    depth: int | None = None,
) -> BookDelta:
    venue, kind, symbol = key
    return BookDelta(
        venue=venue, kind=kind, symbol=symbol, event_ms=1000 + last, first_sequence=first, sequence=last,
        previous_sequence=previous, bids=bids, asks=asks, depth=depth,
    )  # fmt: skip


def test_a_snapshot_and_changes_make_a_book() -> None:
    book = LocalBook(*BYBIT)
    assert book.top() is None
    assert book.apply(snapshot(BYBIT, 10)) is Verdict.APPLIED
    assert (book.bids(5), book.asks(1)) == (BIDS, ASKS[:1])
    changes = delta(BYBIT, 11, 11, bids=((99.0, 0.0), (97.0, 5.0), (98.0, 6.0)), asks=((100.5, 1.0), (150.0, 0.0)))
    assert book.apply(changes) is Verdict.APPLIED
    assert book.bids(5) == ((98.0, 6.0), (97.0, 5.0))
    assert book.asks(5) == ((100.5, 1.0), (101.0, 3.0), (102.0, 4.0))
    top = book.top()
    assert top is not None
    assert (top.bid, top.bid_quantity, top.ask, top.ask_quantity) == (98.0, 6.0, 100.5, 1.0)
    assert (top.sequence, top.event_ms) == (11, 1011)


@pytest.mark.parametrize(
    ("key", "change", "verdict"),
    [
        # USD-M: the first change has U <= L <= u; the next pu = u before. L is 100.
        (USDM, delta(USDM, 95, 105, 94), Verdict.APPLIED),
        (USDM, delta(USDM, 95, 100, 94), Verdict.APPLIED),
        (USDM, delta(USDM, 101, 105, 100), Verdict.APPLIED),
        (USDM, delta(USDM, 95, 99, 94), Verdict.DUPLICATE),
        (USDM, delta(USDM, 102, 105, 101), Verdict.GAP),
        # Spot: the first change has U <= L + 1 <= u.
        (SPOT, delta(SPOT, 95, 101), Verdict.APPLIED),
        (SPOT, delta(SPOT, 101, 101), Verdict.APPLIED),
        (SPOT, delta(SPOT, 95, 100), Verdict.DUPLICATE),
        (SPOT, delta(SPOT, 102, 105), Verdict.GAP),
        # Bybit: u = the u before + 1.
        (BYBIT, delta(BYBIT, 101, 101), Verdict.APPLIED),
        (BYBIT, delta(BYBIT, 100, 100), Verdict.DUPLICATE),
        (BYBIT, delta(BYBIT, 102, 102), Verdict.GAP),
    ],
)
def test_the_first_change_after_a_snapshot(key: tuple[str, str, str], change: BookDelta, verdict: Verdict) -> None:
    book = LocalBook(*key)
    book.apply(snapshot(key, 100))
    assert book.apply(change) is verdict
    assert book.ready is (verdict is not Verdict.GAP)


@pytest.mark.parametrize(
    ("key", "first", "change", "verdict"),
    [
        (USDM, delta(USDM, 95, 105, 94), delta(USDM, 109, 110, 105), Verdict.APPLIED),
        (USDM, delta(USDM, 95, 105, 94), delta(USDM, 106, 110, 104), Verdict.GAP),
        (USDM, delta(USDM, 95, 105, 94), delta(USDM, 95, 105, 94), Verdict.DUPLICATE),
        (SPOT, delta(SPOT, 95, 105), delta(SPOT, 106, 110), Verdict.APPLIED),
        (SPOT, delta(SPOT, 95, 105), delta(SPOT, 107, 110), Verdict.GAP),
        (SPOT, delta(SPOT, 95, 105), delta(SPOT, 104, 110), Verdict.GAP),
        (BYBIT, delta(BYBIT, 101, 101), delta(BYBIT, 102, 102), Verdict.APPLIED),
        (BYBIT, delta(BYBIT, 101, 101), delta(BYBIT, 103, 103), Verdict.GAP),
        (BYBIT, delta(BYBIT, 101, 101), delta(BYBIT, 101, 101), Verdict.DUPLICATE),
    ],
)
def test_each_later_change(key: tuple[str, str, str], first: BookDelta, change: BookDelta, verdict: Verdict) -> None:
    book = LocalBook(*key)
    book.apply(snapshot(key, 100))
    assert book.apply(first) is Verdict.APPLIED
    assert book.apply(change) is verdict


def test_after_a_gap_nothing_is_shown_until_a_snapshot_that_reaches_the_kept_changes() -> None:
    book = LocalBook(*USDM)
    book.apply(snapshot(USDM, 100))
    assert book.apply(delta(USDM, 106, 110, 105)) is Verdict.GAP
    assert (book.ready, book.top(), book.bids(9), book.asks(9)) == (False, None, (), ())
    assert book.apply(delta(USDM, 111, 115, 110, bids=((99.5, 7.0),))) is Verdict.NEEDS_SNAPSHOT
    # A snapshot from before the kept changes does not reach them.
    assert book.apply(snapshot(USDM, 104)) is Verdict.GAP
    assert not book.ready
    assert book.apply(snapshot(USDM, 108)) is Verdict.APPLIED
    assert (book.sequence, book.bids(1)) == (115, ((99.5, 7.0),))


def test_changes_before_the_first_snapshot_are_kept() -> None:
    book = LocalBook(*SPOT)
    verdicts = [
        book.apply(delta(SPOT, 90, 95, bids=((99.9, 1.0),))),
        book.apply(delta(SPOT, 96, 102, bids=((99.5, 2.0),))),
        book.apply(snapshot(SPOT, 99, None)),
        book.apply(delta(SPOT, 103, 104)),
    ]
    assert verdicts == [Verdict.NEEDS_SNAPSHOT, Verdict.NEEDS_SNAPSHOT, Verdict.APPLIED, Verdict.APPLIED]
    assert book.bids(2) == ((99.5, 2.0), (99.0, 1.0))


def test_snapshots_in_the_stream_reset_and_old_ones_do_not() -> None:
    book = LocalBook(*BYBIT)
    book.apply(snapshot(BYBIT, 100, 5000))
    assert book.apply(snapshot(BYBIT, 100, 5000)) is Verdict.DUPLICATE
    assert book.apply(snapshot(BYBIT, 90, 4000, bids=((1.0, 1.0),))) is Verdict.OUT_OF_ORDER
    assert book.bids(1) == ((99.0, 1.0),)
    # A restart of the service numbers from 1 again.
    assert book.apply(snapshot(BYBIT, 1, 6000, bids=((50.0, 1.0),))) is Verdict.APPLIED
    assert book.apply(delta(BYBIT, 2, 2)) is Verdict.APPLIED
    assert book.bids(1) == ((50.0, 1.0),)


def test_a_crossed_book_is_dropped() -> None:
    book = LocalBook(*BYBIT)
    book.apply(snapshot(BYBIT, 100))
    assert book.apply(delta(BYBIT, 101, 101, bids=((101.0, 1.0),))) is Verdict.GAP
    assert not book.ready
    assert book.apply(snapshot(BYBIT, 102, bids=((101.0, 1.0),))) is Verdict.GAP
    assert book.top() is None


def test_a_lost_connection_empties_the_book() -> None:
    book = LocalBook(*BYBIT)
    book.apply(snapshot(BYBIT, 100))
    book.invalidate()
    assert (book.ready, book.top()) == (False, None)
    assert book.apply(delta(BYBIT, 101, 101)) is Verdict.NEEDS_SNAPSHOT


def test_a_book_that_is_dumped_and_restored_goes_on_as_the_first_would() -> None:
    waiting, ready, fresh = LocalBook(*USDM), LocalBook(*USDM), LocalBook(*USDM)
    waiting.apply(delta(USDM, 95, 105, 94, bids=((99.5, 7.0),)))
    ready.apply(snapshot(USDM, 100))
    ready.apply(delta(USDM, 95, 105, 94))
    fresh.apply(snapshot(USDM, 100))
    for book, following, verdict, sequence in (
        (waiting, snapshot(USDM, 100), Verdict.APPLIED, 105),
        (ready, delta(USDM, 106, 108, 105), Verdict.APPLIED, 108),
        (ready, delta(USDM, 106, 108, 104), Verdict.GAP, -1),  # not the first after its snapshot any more
        (fresh, delta(USDM, 95, 105, 94), Verdict.APPLIED, 105),
    ):
        again = LocalBook.restored(msgspec.convert(msgspec.to_builtins(book.dump()), BookState))
        assert again.dump() == book.dump()
        assert again.apply(following) is verdict
        assert again.sequence == sequence
    assert waiting.bids(1) == ()  # the restored one is another book


def test_a_book_takes_only_its_own_events() -> None:
    with pytest.raises(ValueError, match="bybit:linear:BTCUSDT was given an event of binance:spot"):
        LocalBook(*BYBIT).apply(snapshot(SPOT, 1))


def test_levels_against_a_plain_dictionary() -> None:
    chance = np.random.default_rng(3)
    book = LocalBook(*BYBIT)
    bids = {float(price): 1.0 for price in range(60, 100)}
    asks = {float(price): 1.0 for price in range(100, 140)}
    book.apply(snapshot(BYBIT, 0, bids=tuple(bids.items()), asks=tuple(asks.items())))
    for number in range(1, 400):
        changed_bids = tuple((float(chance.integers(50, 100)), float(chance.integers(3))) for _ in range(4))
        changed_asks = tuple((float(chance.integers(100, 150)), float(chance.integers(3))) for _ in range(4))
        for side, changes in ((bids, changed_bids), (asks, changed_asks)):
            for price, quantity in changes:
                side.pop(price, None)
                if quantity:
                    side[price] = quantity
        bids = dict(sorted(bids.items(), reverse=True)[:30])
        asks = dict(sorted(asks.items())[:30])
        assert (
            book.apply(delta(BYBIT, number, number, bids=changed_bids, asks=changed_asks, depth=30)) is Verdict.APPLIED
        )
        assert book.bids(1000) == tuple(bids.items())
        assert book.asks(1000) == tuple(asks.items())
