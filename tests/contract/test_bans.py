"""A ban outlives the process that earned it: the next one sends nothing before it ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import pytest

from crypto.errors import DataError
from data.feed.book_reader import RestBookReader
from data.feed.funding_reader import RestFundingReader
from data.feed.readback import Wanted
from data.feed.rest import RestClients
from data.sources.bans import Bans, bans_of
from data.sources.client import Client, ClientOptions
from data.sources.endpoints.known import RESTS
from data.sources.faults import BanError
from data.sources.filters import fetch_markets
from data.sources.job import FetchRequest, fetch
from data.sources.series import SeriesOptions, Source
from data.sources.tier_file import fetch_tiers
from data.store.lake import Lake
from tests.contract.conftest import Fetch
from tests.contract.fake_venue import DAY, HOUR, T0, FakeVenue, every

REST = SeriesOptions(Source.REST)
HOST = "fapi.binance.com"


@pytest.fixture
def clock() -> list[float]:
    return [1_769_860_800.0]  # 2026-01-31T12:00:00Z


@pytest.fixture
def bans(tmp_path: Path, clock: list[float]) -> Callable[[], Bans]:
    """Another process each time."""
    return lambda: Bans(tmp_path / "x" / "binance.bans.json", lambda: clock[0])


def test_the_end_of_a_ban_is_kept(bans: Callable[[], Bans], clock: list[float]) -> None:
    assert bans().left_s(HOST) == 0.0
    bans().note(HOST, 7200.0, "HTTP 418: limit reached (ban)")
    clock[0] += 3000.0
    assert bans().left_s(HOST) == 4200.0
    assert bans().left_s("api.binance.com") == 0.0
    assert bans().words(HOST) == "until 2026-01-31T14:00:00Z (HTTP 418: limit reached (ban))"
    bans().note(HOST, 60.0, "HTTP 429")  # a shorter one ends no longer one
    assert bans().left_s(HOST) == 4200.0
    clock[0] += 4200.0
    assert bans().left_s(HOST) == 0.0
    bans().note("api.binance.com", 60.0, "HTTP 429")
    assert list(json.loads(bans().path.read_text())) == ["api.binance.com"]  # the ended one was dropped


def test_a_clock_that_was_set_back_makes_no_ban_longer(bans: Callable[[], Bans], clock: list[float]) -> None:
    bans().note(HOST, 1000.0, "HTTP 418")
    clock[0] -= 86_400.0
    assert bans().left_s(HOST) == 1000.0


def test_a_short_pause_is_not_written(bans: Callable[[], Bans]) -> None:
    bans().note(HOST, 0.9, "HTTP 429")
    assert not bans().path.exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"host": {"until": "soon"}}', '{"host": 7}'])
def test_a_damaged_file_is_named(bans: Callable[[], Bans], content: str) -> None:
    bans().note(HOST, 60.0, "x")
    bans().path.write_text(content)
    with pytest.raises(DataError, match="binance.bans.json is damaged"):
        bans().left_s(HOST)


def banned(venue: FakeVenue, seconds: str) -> None:
    """Every call is answered 418 with that Retry-After."""
    venue.retry_after = seconds
    venue.always["fundingRate"] = "418"


def test_no_process_calls_before_a_long_ban_ends(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    venue.markets["BTCUSDT"].settlements = every(8 * HOUR, T0, 60)
    banned(venue, "3600")
    (entry,) = fetched("binance", "funding", T0, T0 + 20 * DAY, options=REST).series
    assert isinstance(entry.error, BanError)
    noted = json.loads((Path(lake.root) / ".fetch" / "binance.bans.json").read_text())
    host = f"127.0.0.1:{venue.port}"
    assert 3_000_000 < noted[host]["until_ms"] - 1000 * time.time() < 3_600_000
    venue.always, sent = {}, len(venue.requests)
    calls: list[Callable[[], object]] = [
        lambda: fetched("binance", "funding", T0, T0 + 20 * DAY, options=REST),
        lambda: fetched("binance", "bars", T0, T0 + 20 * DAY),
        lambda: fetch_markets("binance", "linear", (), lake, ClientOptions(base=venue.base)),
        lambda: fetch_tiers("binance", "linear", (), lake, ClientOptions(base=venue.base)),
    ]
    for call in calls:
        with pytest.raises(BanError) as caught:
            call()
        message = caught.value.message
        assert f"binance GET /fapi/v1/time: not called, {host} wants no calls until 20" in message
        assert noted[host]["until"] in message
        assert "run the same command again after that" in caught.value.remedy
    assert len(venue.requests) == sent
    assert fetched("bybit", "bars", T0, T0 + DAY).series[0].status == "complete"  # another venue


def test_a_ban_whose_end_is_told_by_a_date_or_in_words(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    """An HTTP date, and Binance's own words: "Way too many requests; IP banned until 1769860800000."."""
    path = Path(lake.root) / ".fetch" / "binance.bans.json"
    end = (time.time_ns() // 10**9 + 5000) * 1000
    venue.now_ms = None
    forms = {
        formatdate(end / 1000, usegmt=True): "IP banned",
        "": f"Way too many requests; IP banned until {end}. Please use the websocket for live updates.",
    }
    for header, words in forms.items():
        venue.retry_after, venue.ban_words = header, words
        venue.always["fundingRate"] = "418"
        (entry,) = fetched("binance", "funding", T0, T0 + 20 * DAY, options=REST).series
        assert isinstance(entry.error, BanError)
        (ban,) = json.loads(path.read_text()).values()
        assert abs(ban["until_ms"] - end) < 2000
        path.unlink()
    venue.retry_after, venue.ban_words = "soon", "IP banned until further notice"
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(RESTS["binance"].pause_s, 418, 1000.0)  # what documents say: then that counts
        (entry,) = fetched("binance", "funding", T0, T0 + 20 * DAY, options=REST).series
    assert "it wants no calls for 1000 s" in str(entry.error)


def test_an_archive_that_is_too_busy_is_given_its_time_and_rest_is_not_held_back(venue: FakeVenue) -> None:
    venue.faults = [("monthly", "429")] * 2  # each says 0.05 s
    now, slept = [0.0], list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    async def run() -> bytes | None:
        options = ClientOptions(base=venue.base)
        async with Client(RESTS["binance"], options, clock=lambda: now[0], sleep=sleep) as client:
            found = await client.download(
                "https://data.binance.vision/data/futures/um/monthly/x/x-fundingRate-2024-01.zip"
            )
            assert client.limiter.waited_s == 0.0
            return found

    assert asyncio.run(run()) is None  # not there, which the third call told
    assert slept == [0.05, 0.05]


def test_the_others_stop_when_one_symbol_is_banned(venue: FakeVenue, fetched: Fetch) -> None:
    names = tuple(f"C{n}USDT" for n in range(9))
    venue.markets = dict.fromkeys(names, venue.markets["BTCUSDT"])
    banned(venue, "3600")
    outcome = fetched("binance", "funding", T0, T0 + 20 * DAY, symbols=names, options=REST)
    assert {type(entry.error) for entry in outcome.series} == {BanError}
    assert len(venue.asked("fundingRate")) <= 8  # those that were on their way at the same time


def test_a_short_ban_is_waited_for_by_the_next_process_which_says_so(
    venue: FakeVenue, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data.sources.client._WORTH_A_NOTE_S", 0.5)
    venue.markets["BTCUSDT"].settlements = every(8 * HOUR, T0, 60)
    path = Path(lake.root) / ".fetch" / "binance.bans.json"
    Bans(path).note(f"127.0.0.1:{venue.port}", 1.5, "HTTP 429 Too Many Requests: limit reached")
    told: list[str] = []
    outcome = fetch(
        FetchRequest("binance", "funding", "linear", ("BTCUSDT",), T0, T0 + 20 * DAY, "", REST),
        lake,
        client_options=ClientOptions(base=venue.base),
        on_wait=told.append,
    )
    assert outcome.series[0].status == "complete"
    assert 0.5 < outcome.waited_s <= 1.5
    assert len(told) == 1
    assert "binance: its limits allow the next call at 20" in told[0]


def test_a_ban_of_the_archive_holds_back_no_other_host(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    """The file names hosts; only the one that said so is left alone."""
    venue.markets["BTCUSDT"].settlements = every(8 * HOUR, T0, 200)
    Bans(Path(lake.root) / ".fetch" / "binance.bans.json").note("data.binance.vision", 3600.0, "HTTP 429")
    (entry,) = fetched("binance", "funding", T0, T0 + 60 * DAY).series
    assert (entry.status, entry.error) == ("complete", None)


def test_a_ban_that_another_process_notes_meanwhile_holds(bans: Callable[[], Bans]) -> None:
    running = bans()
    assert running.left_s(HOST) == 0.0
    bans().note(HOST, 7200.0, "HTTP 418")
    assert running.left_s(HOST) == 7200.0
    running.path.unlink()  # a person knows better
    assert running.left_s(HOST) == 0.0


def test_a_feed_sends_nothing_while_a_ban_lasts_and_notes_its_own(venue: FakeVenue, lake: Lake) -> None:
    """Settled rates and snapshots of books: a refusal is an error that is said, and asked again later."""
    bans = bans_of(lake, "binance")
    key = ("binance", "linear", "BTCUSDT")

    async def read() -> None:
        async with RestClients({"binance": venue.base}, lake) as clients:
            await RestFundingReader(clients).settled(Wanted(key, T0 - HOUR, T0, T0 + HOUR))

    async def book() -> None:
        async with RestClients({"binance": venue.base}, lake) as clients:
            await RestBookReader(clients).book(key)

    banned(venue, "7200")
    with pytest.raises(BanError, match="it wants no calls for 7200 s"):
        asyncio.run(read())
    assert bans.left_s(f"127.0.0.1:{venue.port}") > 7000.0
    asked = len(venue.requests)
    for call in (read, book):
        with pytest.raises(BanError, match="wants no calls until .*HTTP 418"):
            asyncio.run(call())
    with pytest.raises(BanError, match="wants no calls until .*HTTP 418"):  # and a fetch knows of it
        fetch_markets("binance", "linear", (), lake, ClientOptions(base=venue.base))
    assert len(venue.requests) == asked
    bans.path.unlink()
    venue.always = {}
    asyncio.run(read())
    assert len(venue.requests) == asked + 1
