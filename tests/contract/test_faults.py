"""A venue that misbehaves: what passes is tried again, what does not ends in one message; what was fetched is kept."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from pathlib import Path

import pytest
from aiohttp import web

from crypto.errors import CarryError, OutputError, UsageError
from data.credentials import Credentials
from data.sources.client import Client, ClientOptions
from data.sources.completeness import Gap, Reason
from data.sources.endpoints.known import RESTS
from data.sources.faults import BanError, FetchError, UnknownSymbolError
from data.sources.job import FetchOutcome, FetchRequest, fetch
from data.sources.series import SeriesOptions, Source
from data.store.lake import Lake
from tests.contract.conftest import Fetch
from tests.contract.fake_venue import DAY, HOUR, T0, FakeVenue, Market, envelope, every

REST = SeriesOptions(Source.REST)
KEY, SECRET = "kEy-0123456789", "sEcReT-9876543210"


@pytest.fixture(autouse=True)
def rows(venue: FakeVenue) -> None:
    venue.markets["BTCUSDT"].settlements = every(4 * HOUR, T0, 2300, lambda n: n % 19)
    venue.now_ms = T0 + 2300 * 4 * HOUR  # the contract still trades: a venue that had stopped would not be whole


def held(outcome: FetchOutcome, lake: Lake) -> list[int]:
    return lake.read(outcome.series[0].key).time_ms.tolist()


PASSING = ["429", "503", "html", "truncated", "kick", "403"]


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_tried_again(
    venue: FakeVenue, fetched: Fetch, lake: Lake, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 403 has no Retry-After: the documented five minutes are shortened here, the wait is tested with the limiter.
    monkeypatch.setitem(RESTS["binance"].pause_s, 403, 0.01)
    venue.faults = [("fundingRate", fault), ("fundingRate", fault)]
    outcome = fetched("binance", "funding", T0, options=REST)
    assert outcome.series[0].status == "complete"
    assert held(outcome, lake) == [at for at, _ in venue.markets["BTCUSDT"].settlements]
    assert venue.faults == []


@pytest.mark.parametrize("fault", ["duplicates", "reversed"])
def test_disorder_is_no_loss(venue: FakeVenue, fetched: Fetch, lake: Lake, fault: str) -> None:
    venue.always["fundingRate"] = fault
    outcome = fetched("binance", "funding", T0, options=REST)
    assert outcome.series[0].status == "complete"
    assert held(outcome, lake) == [at for at, _ in venue.markets["BTCUSDT"].settlements]


def test_bybits_limit_in_the_envelope(venue: FakeVenue, fetched: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RESTS["bybit"].pause_s, 429, 0.01)
    venue.faults = [("funding", "10006"), ("funding", "429"), ("funding", "10006")]
    outcome = fetched("bybit", "funding", T0)
    assert outcome.series[0].status == "complete"


def test_retry_after_is_honoured(venue: FakeVenue, fetched: Fetch) -> None:
    venue.faults = [("fundingRate", "429")] * 3  # each says 0.05 s
    outcome = fetched("binance", "funding", T0, options=REST)
    assert 0.0 < outcome.waited_s < 0.151  # less by what a slow machine had waited already
    assert venue.faults == []


def clock_reads(venue: FakeVenue, count: int) -> list[float]:
    """How long each wait was that a client made of its own accord while it read the venue's clock ``count`` times."""
    slept: list[float] = []
    now = [0.0]

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    async def run() -> None:
        options = ClientOptions(base=venue.base)
        async with Client(RESTS["binance"], options, clock=lambda: now[0], sleep=sleep) as client:
            for _ in range(count):
                await client.read_clock()
                venue.headers = {}

    asyncio.run(run())
    return slept


def test_retry_after_is_waited_for_to_its_end(venue: FakeVenue) -> None:
    venue.faults = [("time", "429")] * 3  # each says 0.05 s
    assert clock_reads(venue, 1) == pytest.approx([0.05] * 3)


def test_the_venues_own_count_holds_calls_back(venue: FakeVenue) -> None:
    venue.headers = {"X-MBX-USED-WEIGHT-1M": "2395"}
    assert clock_reads(venue, 2) == [60.0]


def test_a_ban_ends_the_fetch_and_keeps_what_was_got(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    venue.markets["ETHUSDT"] = venue.markets["BTCUSDT"]
    venue.faults = [("nothing", "")]
    original = venue._fault

    def third(path: str) -> str:
        return "418" if len(venue.asked("fundingRate")) >= 3 else original(path)

    venue._fault = third
    outcome = fetched("binance", "funding", T0, options=REST)
    (entry,) = outcome.series
    assert entry.status == "partial"
    assert entry.error is not None
    assert "binance GET /fapi/v1/fundingRate (symbol=BTCUSDT, startTime=" in entry.error.message
    assert "limit reached (ban); it wants no calls for 7200 s" in entry.error.message
    settlements = [at for at, _ in venue.markets["BTCUSDT"].settlements]
    assert held(outcome, lake) == settlements[:2000]
    (gap,) = entry.proof.gaps
    assert (gap.lo_ms, gap.reason) == (settlements[1999] + 1, Reason.NOT_FETCHED)
    venue._fault = original
    asked = len(venue.requests)
    with pytest.raises(BanError, match=rf"127.0.0.1:{venue.port} wants no calls until .*limit reached \(ban\)"):
        fetched("binance", "funding", T0, options=REST)
    assert len(venue.requests) == asked  # a call would make the ban longer
    (Path(lake.root) / ".fetch" / "binance.bans.json").unlink()  # as if the two hours were over
    again = fetched("binance", "funding", T0, options=REST)
    assert (again.series[0].status, again.series[0].tally.added) == ("complete", 300)
    assert held(again, lake) == settlements


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("html", "HTTP 200, and an HTML page titled 'Just a moment...' instead of JSON (6 attempts)"),
        ("truncated", "the answer is cut off or not JSON"),
        ("503", "HTTP 503"),
        ("kick", "the connection broke"),
        ("types", "the answer is not what the venue documents: Expected `int`"),
        ("wrong range", "asked for 2024-01-01T00:00:00Z"),
    ],
)
def test_what_stays_is_one_message(venue: FakeVenue, fetched: Fetch, lake: Lake, fault: str, words: str) -> None:
    venue.always["fundingRate"] = fault
    (entry,) = fetched("binance", "funding", T0, options=REST).series
    assert entry.status == "failed"
    assert entry.error is not None
    assert words in entry.error.message
    assert fault == "wrong range" or "binance GET /fapi/v1/fundingRate (symbol=BTCUSDT" in entry.error.message
    assert entry.error.remedy
    assert not lake.has(entry.key)


def test_a_silent_venue_is_given_up(venue: FakeVenue, fetched: Fetch) -> None:
    venue.always["fundingRate"] = "hang"
    (entry,) = fetched("binance", "funding", T0, timeout_s=1.0, attempts=2, options=REST).series
    assert entry.error is not None
    assert "no answer within 1 s (2 attempts)" in entry.error.message


def test_nobody_there(venue: FakeVenue, fetched: Fetch) -> None:
    with pytest.raises(FetchError, match=r"binance GET /fapi/v1/time: no connection .* \(2 attempts\)"):
        fetched("binance", "funding", T0, base="http://127.0.0.1:9", attempts=2, options=REST)


def test_empty_pages_are_named(venue: FakeVenue, fetched: Fetch) -> None:
    venue.always["fundingRate"] = "empty"
    (entry,) = fetched("binance", "funding", T0, options=REST).series
    assert entry.error is not None
    assert "answered that range with no rows" in entry.error.message
    venue.always = {}  # nothing was proven by it: the next fetch asks again
    (entry,) = fetched("binance", "funding", T0, options=REST).series
    assert (entry.status, entry.proof.got) == ("complete", 2300)


@pytest.mark.parametrize(("name", "page"), [("binance", 1), ("binance", 2), ("bybit", 3), ("bybit", 11)])
def test_an_empty_page_that_was_a_fault_loses_no_settlement(
    venue: FakeVenue, fetched: Fetch, lake: Lake, name: str, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page with that number is empty though there are rows: the end of the walk must not believe it."""
    answers = {"binance": [], "bybit": envelope({"category": "linear", "list": []}, 0)}
    answered = FakeVenue._answer

    def answer(self: FakeVenue, request: web.Request, query: dict[str, str]) -> web.Response:
        asked = len(self.asked("fundingRate")) + len(self.asked("funding/history"))
        is_funding = "fundingRate" in request.path or "funding/history" in request.path
        return web.json_response(answers[name]) if is_funding and asked == page else answered(self, request, query)

    monkeypatch.setattr(FakeVenue, "_answer", answer)
    outcome = fetched(name, "funding", T0, T0 + 2300 * 4 * HOUR, options=REST)
    if page == 1:  # not one row: said, and asked for again by the next fetch
        assert outcome.series[0].status == "failed"
        outcome = fetched(name, "funding", T0, T0 + 2300 * 4 * HOUR, options=REST)
    assert (outcome.series[0].status, outcome.series[0].proof.gaps) == ("complete", ())
    assert held(outcome, lake) == [at for at, _ in venue.markets["BTCUSDT"].settlements]


def test_an_empty_page_of_days_loses_no_bars(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    """The first day of a long history is looked for with daily bars: an empty answer there hid all before."""
    venue.markets["BTCUSDT"] = Market(T0, T0 + 390 * DAY)
    venue.faults = [("v1/klines", "empty")]
    hi = T0 + 380 * DAY
    outcome = fetched("binance", "bars", T0 - 900 * DAY, hi, options=SeriesOptions(Source.REST))
    assert held(outcome, lake) == list(range(T0, hi, HOUR))


def test_a_venue_that_stopped_settling_is_no_whole_history(venue: FakeVenue, fetched: Fetch) -> None:
    """Settlements that should have come after the last row are missing, and asked for once more."""
    venue.markets["BTCUSDT"].settlements = every(8 * HOUR, T0, 30)
    (entry,) = fetched("binance", "funding", T0, T0 + 20 * DAY, options=REST).series
    assert (entry.proof.got, entry.proof.expected) == (30, 60)
    assert entry.proof.gaps == (Gap(T0 + 10 * DAY, T0 + 20 * DAY, 30, Reason.EMPTY_TWICE),)
    assert (entry.status, entry.error) == ("partial", None)


@pytest.mark.parametrize(("name", "series"), [("binance", "bars"), ("binance", "mark"), ("bybit", "index")])
def test_bars_that_stop_while_the_contract_trades_are_no_whole_history(
    venue: FakeVenue, fetched: Fetch, lake: Lake, name: str, series: str
) -> None:
    """Empty pages at the end look like a venue that has no more: the next fetch asks for them again."""
    venue.markets["BTCUSDT"] = Market(end_ms=T0 + 10 * DAY)
    asked = (name, series, T0, T0 + 20 * DAY)
    (entry,) = fetched(*asked, options=REST).series
    assert (entry.proof.got, entry.proof.expected) == (240, 480)
    assert entry.proof.gaps == (Gap(T0 + 10 * DAY, T0 + 20 * DAY, 240, Reason.EMPTY_TWICE),)
    assert (entry.status, entry.error) == ("partial", None)
    (quiet,) = fetched(name, series, T0, T0 + 11 * DAY, options=REST).series  # a day may be an outage
    assert (quiet.status, quiet.proof.gaps) == (
        "complete", (Gap(T0 + 10 * DAY, T0 + 11 * DAY, 24, Reason.VENUE_HAS_NONE),))  # fmt: skip
    venue.markets["BTCUSDT"] = Market()
    (again,) = fetched(*asked, options=REST).series
    assert (again.status, again.proof.got, again.tally.added) == ("complete", 480, 240)
    assert held(fetched(*asked, options=REST), lake) == list(range(T0, T0 + 20 * DAY, HOUR))


@pytest.mark.parametrize("symbols", [("BTCUSDT", "BTCUSDT"), ("BTCUSDT", "BTC/USDT", "BTC/USDT:USDT")])
def test_one_symbol_in_several_spellings_is_fetched_once(
    venue: FakeVenue, fetched: Fetch, symbols: tuple[str, ...]
) -> None:
    (entry,) = fetched("binance", "funding", T0, T0 + 20 * DAY, symbols=symbols, options=REST).series
    assert (entry.tally.added, len(venue.asked("fundingRate"))) == (120, 2)


def test_a_lake_that_cannot_be_made_is_named(venue: FakeVenue, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    request = FetchRequest("binance", "funding", "linear", ("BTCUSDT",), T0, None, "")
    for path in (tmp_path / "file", Path("/proc/lake")):
        with pytest.raises(OutputError, match=f"cannot write {path}/.fetch/binance.lock: "):
            fetch(request, Lake(path), client_options=ClientOptions(base=venue.base))


def test_unknown_names(venue: FakeVenue, fetched: Fetch) -> None:
    with pytest.raises(UnknownSymbolError, match="binance lists no linear symbol 'BTCUSD'.*did you mean BTCUSDT"):
        fetched("binance", "funding", T0, symbols=("BTCUSD",), options=REST)
    with pytest.raises(UnknownSymbolError, match=r"binance GET /api/v3/exchangeInfo \(symbol=NOPE\): .*Invalid symbol"):
        fetched("binance", "bars", T0, kind="spot", symbols=("NOPE",))
    with pytest.raises(UsageError, match="unknown venue 'binanc'; did you mean binance"):
        fetched("binanc", "funding", T0)
    with pytest.raises(UsageError, match="no mark of hyperliquid linear"):
        fetched("hyperliquid", "mark", T0)
    with pytest.raises(UsageError, match="bybit has no 8h bars"):
        fetched("bybit", "bars", T0, timeframe="8h")


@pytest.mark.parametrize(
    ("name", "kind", "word"), [("binance", "linear", "lists no"), ("binance", "spot", "Invalid symbol")]
)
def test_an_unknown_symbol_is_left_out_and_stops_no_other(
    venue: FakeVenue, fetched: Fetch, lake: Lake, name: str, kind: str, word: str
) -> None:
    venue.markets = {"BTCUSDT": Market(), "ETHUSDT": Market()}
    asked = ("BTCUSDT", "NOPE", "ETHUSDT", "NOWHERE")
    outcome = fetched(name, "bars", T0, T0 + 30 * HOUR, kind=kind, symbols=asked)
    assert outcome.status == "partial"
    assert [(entry.key.symbol, entry.status, entry.proof.got) for entry in outcome.series] == [
        ("BTCUSDT", "complete", 30), ("ETHUSDT", "complete", 30)]  # fmt: skip
    assert list(outcome.left_out) == ["NOPE", "NOWHERE"]
    for symbol, error in outcome.left_out.items():
        assert word in error.message
        assert symbol in error.message
        assert error.remedy.startswith("symbols look like BTCUSDT")
    with pytest.raises(UnknownSymbolError, match=r"NOPE.*; .*NOWHERE"):
        fetched(name, "bars", T0, T0 + 30 * HOUR, kind=kind, symbols=("NOPE", "NOWHERE"))


def test_a_listed_name_that_no_file_can_have_stops_no_other(venue: FakeVenue, lake: Lake) -> None:
    """Venues list contracts with names outside of ASCII."""
    venue.markets = {"BTCUSDT": Market(), "\u5e01USDT": Market()}
    request = FetchRequest("binance", "bars", "linear", (), T0, T0 + 30 * HOUR, "1h", every_symbol=True)
    outcome = fetch(request, lake, client_options=ClientOptions(base=venue.base))
    assert [(entry.key.symbol, entry.status) for entry in outcome.series] == [("BTCUSDT", "complete")]
    assert outcome.status == "partial"
    assert "is not made of letters and digits" in outcome.left_out["\u5e01USDT"].message


def test_a_range_before_listing(venue: FakeVenue, fetched: Fetch) -> None:
    (entry,) = fetched("binance", "funding", T0 - 300 * DAY, T0 - 100 * DAY, options=REST).series
    assert entry.error is not None
    assert "binance listed it on 2024-01-01T00:00:00Z, after that range" in entry.error.message
    assert entry.error.remedy == "use --from 2024-01-01T00:00:00Z or later".replace("T00:00:00Z", "")


def test_a_delisted_contract(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    venue.ends_ms = venue.markets["BTCUSDT"].end_ms = T0 + 50 * DAY
    (after,) = fetched("binance", "bars", T0 + 60 * DAY, T0 + 70 * DAY).series
    assert after.error is not None
    assert "its trading ended on 2024-02-20T00:00:00Z" in after.error.message
    (across,) = fetched("binance", "bars", T0 + 40 * DAY, T0 + 70 * DAY).series
    assert (across.status, across.proof.got) == ("complete", 240)
    assert [(gap.rows, gap.reason) for gap in across.proof.gaps] == [(480, Reason.AFTER_END)]


@pytest.mark.parametrize("name", ["binance", "bybit"])
def test_a_key_without_permission(venue: FakeVenue, fetched: Fetch, name: str) -> None:
    venue.now_ms = None
    venue.key_refused = True
    keys = Credentials(name, KEY, SECRET, "test")
    (entry,) = fetched(name, "borrow", T0, T0 + DAY, kind="asset", symbols=("USDT",), credentials=keys).series
    assert entry.error is not None
    assert f"{name} GET" in entry.error.message
    assert "the venue refuses the key" in entry.error.message
    assert "may read" in entry.error.remedy
    (without,) = fetched(name, "borrow", T0, T0 + DAY, kind="asset", symbols=("USDT",)).series
    assert without.error is not None
    assert f"CARRY_{name.upper()}_KEY" in without.error.remedy


def test_a_venue_that_echoes_the_key_gets_it_into_no_message_or_log(
    venue: FakeVenue, fetched: Fetch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    venue.now_ms = None
    original = venue._binance_signed

    def echo(_: str, query: dict[str, str]) -> object:
        assert query["signature"]
        return {"code": -1100, "msg": f"Illegal characters in {KEY} {SECRET}"}

    venue._binance_signed = echo
    keys = Credentials("binance", KEY, SECRET, "test")
    (entry,) = fetched("binance", "borrow", T0, T0 + DAY, kind="asset", symbols=("USDT",), credentials=keys).series
    venue._binance_signed = original
    assert entry.error is not None
    chain: BaseException | None = entry.error
    shown = ""
    while chain is not None:
        shown += f"{chain} {chain!r}"
        chain = chain.__cause__
    assert "Illegal characters in *** ***" in shown
    logged = time.monotonic() + 60.0  # the server writes its own log of the call after it has answered
    while "/sapi/v1/margin/interestRateHistory" not in caplog.text and time.monotonic() < logged:
        time.sleep(0.01)
    assert "/sapi/v1/margin/interestRateHistory" in caplog.text
    assert KEY not in caplog.text
    assert SECRET not in caplog.text
    assert KEY not in shown
    assert SECRET not in shown
    assert "signature" not in shown


def test_a_clock_ten_minutes_off_is_named(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    venue.now_ms = None
    venue.clock_offset_ms = 600_000
    outcome = fetched("binance", "funding", T0, T0 + DAY, options=REST)
    assert outcome.series[0].status == "complete"
    (note,) = outcome.notes
    # Half of the time that the call took is not known: a second or two on a machine that stood still meanwhile.
    assert re.search(r"this machine's clock is (599|60[0-9]) s behind binance's \(GET /fapi/v1/time\)", note)
    keys = Credentials("binance", KEY, SECRET, "test")
    (entry,) = fetched("binance", "borrow", T0, T0 + DAY, kind="asset", symbols=("USDT",), credentials=keys).series
    assert entry.error is not None
    assert re.search(r"(599|60[0-9]) s behind", entry.error.message)
    assert "set the clock" in entry.error.remedy


def test_bars_end_at_the_venues_clock(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    venue.now_ms = None
    venue.clock_offset_ms = -3 * HOUR
    venue.markets["BTCUSDT"].end_ms = 2 * T0
    start = (time.time_ns() // 1_000_000 // HOUR - 30) * HOUR
    (entry,) = fetched("binance", "bars", start).series
    assert lake.read(entry.key).time_ms[-1] + HOUR <= venue.now()


def test_one_symbol_that_fails_leaves_the_others_alone(venue: FakeVenue, fetched: Fetch) -> None:
    venue.markets["ETHUSDT"] = venue.markets["BTCUSDT"]
    answer = venue._binance

    def broken(path: str, query: dict[str, str]) -> tuple[object, ...]:
        if query.get("symbol") == "ETHUSDT":
            return ({"code": -1130, "msg": "Data sent for parameter is not valid."}, 400)
        return answer(path, query)

    venue._binance = broken
    good, bad = fetched("binance", "funding", T0, symbols=("BTCUSDT", "ETHUSDT"), options=REST).series
    assert (good.status, bad.status) == ("complete", "failed")
    assert isinstance(bad.error, CarryError)
    assert "HTTP 400" in bad.error.message


def test_a_second_fetch_knows_what_the_first_spent(venue: FakeVenue, fetched: Fetch, lake: Lake) -> None:
    first = fetched("binance", "funding", T0, options=REST)
    noted = json.loads((Path(lake.root) / ".fetch" / "binance.spent.json").read_text())["spent"]
    assert len(noted["funding"]) == first.series[0].tally.calls
    venue.markets["ETHUSDT"] = venue.markets["BTCUSDT"]
    fetched("binance", "funding", T0, symbols=("ETHUSDT",), options=REST)
    noted = json.loads((Path(lake.root) / ".fetch" / "binance.spent.json").read_text())["spent"]
    assert len(noted["funding"]) == 2 * first.series[0].tally.calls
