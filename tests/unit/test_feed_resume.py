"""What a new run learns of the runs before it: settled rates of notes, of checkpoints and of frames."""

from __future__ import annotations

import json
from pathlib import Path

from data.feed.choice import adapter, adapters
from data.feed.engine import Engine
from data.feed.notes import channel_note, known_note, settled_note, start_note
from data.feed.recorder import Recorder, RecorderOptions
from data.feed.resume import last_settled
from data.feed.segment import MAGIC
from data.streams.events import FundingSettled
from data.streams.protocol import Channel, Subscription

EIGHT = 1_743_580_800_000
OKX = {
    "arg": {"channel": "funding-rate", "instId": "BTC-USDT-SWAP"},
    "data": [
        {
            "instId": "BTC-USDT-SWAP", "fundingRate": "0.0000182", "fundingTime": "1743609600000",
            "nextFundingRate": "", "nextFundingTime": "1743638400000", "settFundingRate": "0.0000145",
            "settState": "settled", "prevFundingTime": "1743580800000", "ts": "1743588686291",
        }
    ],
}  # fmt: skip


def settled(symbol: str, settlement_ms: int, rate: float) -> FundingSettled:
    return FundingSettled(
        venue="binance", kind="linear", symbol=symbol, event_ms=settlement_ms, settlement_ms=settlement_ms, rate=rate
    )


def rates(folder: Path) -> dict[str, tuple[int, float]]:
    return {event.symbol: (event.settlement_ms, event.rate) for event in last_settled(folder, adapters())}


def test_the_newest_rate_of_each_contract_counts(tmp_path: Path) -> None:
    assert rates(tmp_path) == {}
    before = [settled("A", 1, 0.1), settled("B", 5, 0.5)]
    recorder = Recorder(tmp_path, RecorderOptions(), lambda: [start_note(), known_note(before)])
    recorder.note(1, settled_note(settled("A", 3, 0.3)))
    recorder.note(2, settled_note(settled("A", 2, 0.2)))  # one that was missed, read back later
    recorder.close()
    assert rates(tmp_path) == {"A": (3, 0.3), "B": (5, 0.5)}


def test_a_checkpoint_holds_them_and_a_segment_without_a_record_is_passed_over(tmp_path: Path) -> None:
    engine = Engine(adapters())
    engine.note(start_note())
    engine.note(settled_note(settled("A", 7, 0.7)))
    recorder = Recorder(tmp_path, RecorderOptions(), engine.prelude)
    recorder.close()
    (tmp_path / "000000002.feed").write_bytes(MAGIC + b"\x05")  # killed within its first write
    assert rates(tmp_path) == {"A": (7, 0.7)}


def test_rates_that_a_venue_states_in_its_stream_count_as_recorded(tmp_path: Path) -> None:
    (route, *_) = adapter("okx").routes([Subscription("linear", Channel.PERP, ("BTC-USDT-SWAP",))])
    recorder = Recorder(tmp_path, RecorderOptions(), lambda: [start_note(), channel_note(1, route)])
    recorder.frames(1, 1, [json.dumps(OKX).encode(), b'{"settFundingRate":'])
    recorder.close()
    assert rates(tmp_path) == {"BTC-USDT-SWAP": (EIGHT, 0.0000145)}


def test_a_rate_that_is_stated_again_counts_once() -> None:
    (route, *_) = adapter("okx").routes([Subscription("linear", Channel.PERP, ("BTC-USDT-SWAP",))])
    engine = Engine(adapters())
    engine.note(start_note())
    engine.note(channel_note(1, route))
    engine.frames(1, [json.dumps(OKX).encode()] * 3, 1)
    assert engine.counts.settled_rates == 1
    assert engine.settlements.has(("okx", "linear", "BTC-USDT-SWAP"), EIGHT)
