"""Realised funding read back after a settlement: from a stream's announcement to the recording, over REST."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from crypto.errors import DataError
from data.feed.choice import adapters, make_plans
from data.feed.export import export
from data.feed.feed import Feed, FeedOptions
from data.feed.funding_reader import RestFundingReader
from data.feed.names import our_symbol
from data.feed.notes import settled_note, start_note
from data.feed.reading import RecordingReader
from data.feed.recorder import Recorder, RecorderOptions
from data.feed.replay import replay
from data.store.lake import Lake
from data.store.series import Provenance, SeriesKey
from tests.contract.feed_harness import PATIENCE, TIMES, until
from tests.contract.feed_server import Peer, VenueServer, binance_mark


class Rest:
    """Answers every GET with the next of its answers, the last one again and again; keeps what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if length := re.search(rb"content-length: (\d+)", head, re.IGNORECASE):
                    await reader.readexactly(int(length[1]))
                parts = urlsplit(head.split(b" ")[1].decode())
                self.asked.append((parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}))
                body = json.dumps(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        except asyncio.IncompleteReadError:
            return  # the client is done
        finally:
            writer.close()


@asynccontextmanager
async def serving(rest: Rest) -> AsyncIterator[Rest]:
    server = await asyncio.start_server(rest.play, "127.0.0.1", 0)
    rest.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield rest
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.asyncio
async def test_rates_of_binance_and_bybit_at_their_settlement() -> None:
    at = 1_709_856_000_000
    binance = Rest([{"symbol": "BTCUSDT", "fundingRate": "0.00010000", "fundingTime": at + 3, "markPrice": "61000.5"}])
    row = {"symbol": "BTCUSDT", "fundingRate": "-0.00015", "fundingRateTimestamp": str(at)}
    older = row | {"fundingRate": "0.5", "fundingRateTimestamp": str(at - 28_800_000)}
    bybit = Rest({"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "list": [row, older]}, "time": at})
    async with (
        serving(binance),
        serving(bybit),
        RestFundingReader({"binance": binance.url, "bybit": bybit.url}) as reader,
    ):
        first = await reader.settled(("binance", "linear", "BTCUSDT"), at)
        second = await reader.settled(("bybit", "linear", "BTCUSDT"), at)
    assert first is not None
    assert second is not None
    assert (first.rate, first.mark, first.settlement_ms, first.event_ms) == (0.0001, 61_000.5, at, at + 3)
    assert (second.rate, second.mark, second.settlement_ms) == (-0.00015, None, at)
    assert binance.asked[0][0] == "/fapi/v1/fundingRate"
    assert int(binance.asked[0][1]["startTime"]) <= at <= int(binance.asked[0][1]["endTime"])
    assert bybit.asked[0][0] == "/v5/market/funding/history"
    assert int(bybit.asked[0][1]["endTime"]) >= at


# Rows in the forms of the venues' documentation: OKX "Get funding rate history", Hyperliquid "fundingHistory", dYdX
# "historicalFunding"; stamps as they were seen (dYdX stamps the block, some tenths of a second late).
HOUR = 1_765_209_600_000  # 2025-12-08 16:00
OTHERS: dict[str, tuple[str, str, Any, int, float, float | None]] = {
    "okx": ("BTC-USDT-SWAP", "/api/v5/public/funding-rate-history", {"code": "0", "msg": "", "data": [
        {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "formulaType": "withRate", "fundingRate": "0.0000746604960499",
         "realizedRate": "0.0000746572360545", "fundingTime": str(HOUR), "method": "current_period"},
        {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "formulaType": "withRate", "fundingRate": "0.5",
         "realizedRate": "0.5", "fundingTime": str(HOUR - 28_800_000), "method": "current_period"},
    ]}, HOUR, 0.0000746572360545, None),
    "hyperliquid": ("BTC", "/info", [
        {"coin": "BTC", "fundingRate": "-0.0000081", "premium": "-0.00012500", "time": HOUR + 43}
    ], HOUR + 43, -0.0000081, None),
    "dydx": ("BTC-USD", "/v4/historicalFunding/BTC-USD", {"historicalFunding": [
        {"ticker": "BTC-USD", "rate": "0.00000625", "price": "91234.5", "effectiveAtHeight": "64000000",
         "effectiveAt": "2025-12-08T16:00:00.219Z"},
        {"ticker": "BTC-USD", "rate": "0.5", "price": "91000", "effectiveAtHeight": "63990000",
         "effectiveAt": "2025-12-08T15:00:00.301Z"},
    ]}, HOUR + 219, 0.00000625, 91_234.5),
}  # fmt: skip


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", OTHERS)
async def test_rates_of_the_other_venues_at_their_settlement(venue: str) -> None:
    symbol, path, answer, event_ms, rate, mark = OTHERS[venue]
    rest = Rest(answer)
    async with serving(rest), RestFundingReader({venue: rest.url}) as reader:
        found = await reader.settled((venue, "linear", symbol), HOUR)
        later = await reader.settled((venue, "linear", symbol), HOUR + 3_600_000)
    assert found is not None
    assert (found.venue, found.symbol, found.settlement_ms, found.event_ms) == (venue, symbol, HOUR, event_ms)
    assert (found.rate, found.mark) == (rate, mark)
    assert later is None  # what it lists is of another settlement
    assert rest.asked[0][0] == path


@pytest.mark.asyncio
async def test_a_rate_that_is_not_there_yet_is_none_and_a_refusal_is_an_error() -> None:
    async with serving(Rest([])) as rest, RestFundingReader({"binance": rest.url}) as reader:
        assert await reader.settled(("binance", "linear", "BTCUSDT"), 1_709_856_000_000) is None
    unknown = Rest({"code": -1121, "msg": "Invalid symbol."})
    async with serving(unknown) as rest, RestFundingReader({"binance": rest.url}) as reader:
        with pytest.raises(DataError, match="binance GET /fapi/v1/fundingRate"):
            await reader.settled(("binance", "linear", "NOSUCH"), 1_709_856_000_000)


@pytest.mark.asyncio
async def test_a_settlement_that_passes_is_read_back_recorded_and_replayed(tmp_path: Path) -> None:
    settlement = time.time_ns() // 1_000_000 + 300
    row = {"symbol": "BTCUSDT", "fundingRate": "0.00031000", "fundingTime": settlement, "markPrice": "60000.0"}

    heard = asyncio.Event()  # the venue announces this settlement until the feed has heard of it, however late that is

    async def announcing(peer: Peer) -> None:
        for _ in range(10_000):
            now = time.time_ns() // 1_000_000
            is_ahead = now < settlement or not heard.is_set()
            following = settlement if is_ahead else settlement + 8 * 3_600_000
            await peer.send(binance_mark("BTCUSDT", now, 60_000.0, T=following))
            await asyncio.sleep(0.02)

    rest = Rest([], [row])  # not there at the first try
    async with VenueServer(announcing) as venue, serving(rest), RestFundingReader({"binance": rest.url}) as reader:
        plans = make_plans([], ["binance:linear:BTCUSDT"], [], {"binance": venue.url})
        # Only the route of marks: the other stays out of this test.
        plans = [replace(plans[0], routes=[route for route in plans[0].routes if "market" in route.name])]
        times = replace(TIMES, settlement_waits=(0.0, 0.1, 0.2), silence_scale=1.0)
        feed = Feed(plans, FeedOptions(tmp_path, proxy=False, times=times), reader)
        task = asyncio.create_task(feed.run())
        await until(feed.engine.watch.dump)
        heard.set()
        await until(lambda: feed.engine.settled)
        held = feed.snapshot()["instruments"]["binance:linear:BTCUSDT"]["settled"]
        feed.stop()
        await asyncio.wait_for(task, PATIENCE)
    assert held == {"time_ms": settlement, "rate": 0.00031}
    assert len(rest.asked) == 2
    engine = replay(RecordingReader(tmp_path), adapters()).engine
    assert engine.settled["binance", "linear", "BTCUSDT"].rate == 0.00031
    assert engine.fingerprint() == feed.engine.fingerprint()


@pytest.mark.asyncio
@pytest.mark.parametrize("venue", OTHERS)
async def test_an_exported_rate_is_the_row_that_history_has_and_not_a_second_one(venue: str, tmp_path: Path) -> None:
    symbol, _, answer, event_ms, rate, mark = OTHERS[venue]
    async with serving(Rest(answer)) as rest, RestFundingReader({venue: rest.url}) as reader:
        found = await reader.settled((venue, "linear", symbol), HOUR)
    assert found is not None
    recorder = Recorder(tmp_path / "feed", RecorderOptions(), lambda: [start_note()])
    recorder.note(1, settled_note(found))
    recorder.close()
    lake = Lake(tmp_path / "lake")
    key = SeriesKey(venue, "linear", our_symbol(venue, symbol), "funding")
    history = {"time_ms": np.array([event_ms]), "funding_rate": np.array([rate])}
    if mark is not None:
        history["mark_price"] = np.array([mark])
    lake.merge(key, history, Provenance("history"))
    (exported,) = export(RecordingReader(tmp_path / "feed"), adapters(), lake)
    assert (exported.merge.added, exported.merge.rows) == (0, 1)
    assert lake.read(key).columns["time_ms"].tolist() == [event_ms]
