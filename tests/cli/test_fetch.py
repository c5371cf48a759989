"""``carry fetch`` as a person and a script use it, against a venue on the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from crypto.instruments import Kind
from crypto.venues import registry
from data.settings import load_settings
from data.sources.client import ClientOptions
from data.store.lake import Lake, SeriesKey
from data.tiers import load_tiers
from tests.cli.command import Outcome, Run, only_commands, run
from tests.contract.fake_venue import DAY, HOUR, T0, FakeVenue, Market, every, serving

KEY, SECRET = "kEy-0123456789", "sEcReT-9876543210"


@pytest.fixture
def venue() -> Iterator[FakeVenue]:
    with serving(FakeVenue()) as running:
        running.markets["BTCUSDT"].settlements = every(8 * HOUR, T0, 300)
        yield running


@pytest.fixture
def carry(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, venue: FakeVenue
) -> Run:  # fmt: skip
    only_commands(monkeypatch, tmp_path, "cli.fetch", "cli.data")
    for name in ("CARRY_BINANCE_KEY", "CARRY_BINANCE_SECRET", "CARRY_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)

    def fetch(series: str, *arguments: object) -> Outcome:
        return run(capsys, "fetch", series, "--base-url", venue.base, *arguments)

    return fetch


FUNDING = ("--venue", "binance", "--symbol", "BTCUSDT", "--from", "2024-01-01", "--to", "2024-04-01")


def test_json_is_one_object_with_the_proof(carry: Run) -> None:
    outcome = carry("funding", *FUNDING, "--source", "rest", "--json")
    assert outcome.code == 0
    assert outcome.err == ""
    (series,) = outcome.json["series"]
    assert outcome.json["status"] == "complete"
    assert outcome.json["left_out"] == []
    assert series | {"calls": 0} == {
        "series": "binance:linear:BTCUSDT funding", "status": "complete", "from": "2024-01-01T00:00:00Z",
        "to": "2024-04-01T00:00:00Z", "expected": 273, "rows": 273, "added": 273, "replaced": 0, "calls": 0,
        "completed": 0, "archive_files": 0, "gaps": [], "error": None,
        "sources": [{"from": "2024-01-01T00:00:00Z", "to": "2024-04-01T00:00:00Z", "source": "rest", "rows": 273,
                     "without_mark": 0}],
    }  # fmt: skip
    rows = Lake(Path("data/lake")).read(SeriesKey("binance", "linear", "BTCUSDT", "funding"))
    assert rows.time_ms.tolist() == [T0 + n * 8 * HOUR for n in range(91 * 3)]


def test_the_archive_comes_first_and_rest_completes_its_rows(carry: Run, venue: FakeVenue) -> None:
    venue.archive = True
    first = carry("funding", *FUNDING, "--json")
    (series,) = first.json["series"]
    assert series["sources"] == [
        {"from": "2024-01-01T00:00:00Z", "to": "2024-04-01T00:00:00Z", "source": "archive", "rows": 273,
         "without_mark": 273}]  # fmt: skip
    assert (first.code, series["archive_files"], series["completed"]) == (0, 3, 0)
    (note,) = first.json["notes"]
    assert note.startswith("273 of 273 settlements came from the bulk archive, which tells no mark price")
    assert f"note: {note}" in first.err
    then = carry("funding", *FUNDING, "--source", "rest")
    assert (then.code, then.err) == (0, "")
    assert "0 rows added to data/lake, 273 held rows got their mark price" in then.out


def test_a_symbol_in_lower_case_is_suggested(carry: Run) -> None:
    refused = carry("funding", "--venue", "binance", "--symbol", "btcusdt", "--from", "2024-01-01")
    assert "lists no linear symbol 'btcusdt'" in refused.err
    assert "did you mean BTCUSDT?" in refused.err


def test_a_row_that_the_lake_may_not_hold_costs_no_rows_of_other_pages(carry: Run, venue: FakeVenue) -> None:
    rows = venue.markets["BTCUSDT"].settlements
    rows[150] = (rows[150][0], "nan")
    venue.page_cap = 100
    refused = carry("funding", *FUNDING, "--source", "rest", "--json")
    (series,) = refused.json["series"]
    assert (refused.code, series["status"], series["rows"]) == (4, "partial", 100)
    assert "binance GET /fapi/v1/fundingRate from 2024-02-03" in series["error"]["message"]
    assert "row 51: funding_rate is nan" in series["error"]["message"]


def test_people_get_a_table(carry: Run) -> None:
    outcome = carry("funding", *FUNDING)
    assert "273 rows added to data/lake" in outcome.out
    assert "complete" in outcome.out


def test_a_partial_fetch_is_named_and_has_its_exit_code(carry: Run, venue: FakeVenue) -> None:
    venue.page_cap = 100
    original = venue._fault
    venue._fault = lambda path: "418" if len(venue.asked("fundingRate")) > 2 else original(path)
    outcome = carry("funding", *FUNDING, "--source", "rest", "--json")
    assert outcome.code == 4
    (series,) = outcome.json["series"]
    assert (outcome.json["status"], series["status"], series["rows"]) == ("partial", "partial", 200)
    assert series["gaps"][-1]["reason"] == "not fetched"
    assert "7200 s" in series["error"]["message"]
    venue._fault = original
    early = carry("funding", *FUNDING, "--source", "rest")
    assert (early.code, early.out) == (4, "")
    assert "wants no calls until 20" in early.err
    assert "run the same command again after that" in early.err
    Path("data/lake/.fetch/binance.bans.json").unlink()  # as if the two hours were over
    again = carry("funding", *FUNDING, "--source", "rest")
    assert again.code == 0
    assert "73 rows added" in again.out


def test_an_unknown_symbol_among_others_is_named_and_they_are_kept(carry: Run, venue: FakeVenue) -> None:
    asked = ("--venue", "binance", "--symbol", "BTCUSD", "--symbol", "BTCUSDT", "--from", "2024-01-01")
    outcome = carry("funding", *asked, "--to", "2024-02-01", "--json")
    assert (outcome.code, outcome.json["status"]) == (4, "partial")
    assert [(entry["series"], entry["rows"]) for entry in outcome.json["series"]] == [
        ("binance:linear:BTCUSDT funding", 93)]  # fmt: skip
    (left_out,) = outcome.json["left_out"]
    assert left_out["symbol"] == "BTCUSD"
    assert "binance lists no linear symbol 'BTCUSD' (GET /fapi/v1/exchangeInfo)" in left_out["error"]["message"]
    shown = carry("funding", *asked, "--to", "2024-02-01")
    assert shown.code == 4
    assert ["BTCUSD", "0", "0", "0", "0", "LEFT", "OUT"] in [line.split() for line in shown.out.splitlines()]
    assert "did you mean BTCUSDT?" in shown.out
    assert "what to do: symbols look like BTCUSDT" in shown.out


@pytest.mark.parametrize("series", ["markets", "tiers"])
def test_a_file_without_a_symbol_that_was_asked_for_is_partial(carry: Run, series: str) -> None:
    outcome = carry(series, "--venue", "bybit", "--symbol", "BTCUSDT", "--symbol", "NOPE", "--json")
    assert outcome.code == 4
    assert len(outcome.json["instruments" if series == "markets" else "contracts"]) == 1
    assert "bybit lists no linear symbol 'NOPE'" in outcome.json["left_out"]["NOPE"]
    assert Path(outcome.json["file"]).exists()


def test_people_see_why(carry: Run, venue: FakeVenue, monkeypatch: pytest.MonkeyPatch) -> None:
    venue.always["fundingRate"] = "html"
    quick = ClientOptions(base=venue.base, first_backoff_s=0.001)
    monkeypatch.setattr("cli.fetch._client_options", lambda base_url: quick)
    outcome = carry("funding", *FUNDING, "--source", "rest")
    assert outcome.code == 4
    assert "FAILED" in outcome.out
    assert "an HTML page titled 'Just a moment...'" in " ".join(outcome.out.split())
    assert "what to do:" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("funding", "--venue", "kraken", "--symbol", "BTCUSDT", "--from", "2024-01-01"), 2, "unknown venue 'kraken'"),
        (("funding", "--venue", "binance", "--symbol", "NOPE", "--from", "2024-01-01"), 4, "lists no linear symbol"),
        (("funding", "--venue", "binance", "--from", "2024-01-01"), 2, "give either --symbol or --all"),
        (("funding", "--venue", "binance", "--symbol", "BTCUSDT", "--from", "soon"), 2, "--from: 'soon'"),
        (("funding", *FUNDING[:-1], "2023-01-01"), 2, "nothing lies between"),
        (("funding", "--venue", "binance", "--symbol", "BTCUSDT", "--from", "2124-01-01"), 2, "the venue's clock"),
        (("bars", *FUNDING, "--timeframe", "7m"), 2, "binance has no 7m bars"),
        (("bars", *FUNDING, "--kind", "option"), 2, "binance has no bars of kind option"),
        (("bars", *FUNDING, "--source", "ftp"), 2, "--source ftp is unknown"),
        (("mark", "--venue", "dydx", "--symbol", "BTCUSD", "--from", "2024-01-01"), 2, "no history of oracle prices"),
        (("borrow", "--venue", "okx", "--symbol", "USDT", "--from", "2024-01-01"), 2, "okx has no borrow"),
        (("markets", "--venue", "okx"), 2, "backtests know no fees"),
        (("tiers", "--venue", "okx"), 2, "tiers come from binance"),
        (("tiers", "--venue", "binance"), 4, "needs a key"),
    ],
)
def test_bad_input_is_one_message(carry: Run, arguments: tuple[str, ...], code: int, words: str) -> None:
    outcome = carry(*arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert words in outcome.err
    assert "what to do:" in outcome.err
    assert not list(Path("data").rglob("*.parquet"))


def test_every_perpetual(carry: Run, venue: FakeVenue) -> None:
    venue.markets["ETHUSDT"] = Market(settlements=every(4 * HOUR, T0, 100))
    outcome = carry("funding", "--venue", "bybit", "--all", "--from", "2024-01-01", "--to", "2024-01-10", "--json")
    assert [(entry["series"], entry["rows"]) for entry in outcome.json["series"]] == [
        ("bybit:linear:BTCUSDT funding", 27), ("bybit:linear:ETHUSDT funding", 54)]  # fmt: skip


def test_borrow_with_keys_that_are_shown_nowhere(carry: Run, venue: FakeVenue, tmp_path: Path) -> None:
    venue.markets["BTCUSDT"].borrow = [(T0 + n * DAY, "0.00024") for n in range(30)]
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[binance]\nkey = "{KEY}"\nsecret = "{SECRET}"\n')
    keys.chmod(0o600)
    asked = ("--venue", "binance", "--symbol", "USDT", "--from", "2024-01-01", "--to", "2024-02-01")
    outcome = carry("borrow", *asked, "--credentials", keys, "--json")
    assert outcome.code == 0
    assert outcome.json["series"][0]["rows"] == 30
    venue.key_refused = True
    refused = carry("borrow", "--venue", "binance", "--symbol", "BTC", *asked[4:], "--credentials", keys)
    assert refused.code == 4
    assert "the venue refuses the key" in " ".join(refused.out.split())
    keys.chmod(0o644)
    careless = carry("borrow", *asked, "--credentials", keys)
    assert careless.code == 6
    written = b"".join(path.read_bytes() for path in Path("data").rglob("*") if path.is_file())
    for shown in (outcome.out, outcome.err, refused.out, refused.err, careless.out, careless.err):
        assert KEY not in shown
        assert SECRET not in shown
    assert KEY.encode() not in written
    assert SECRET.encode() not in written


def test_markets_define_instruments_of_a_backtest(carry: Run, venue: FakeVenue, tmp_path: Path) -> None:
    venue.markets = {"WIFUSDT": Market(), "1000CATUSDT": Market()}
    perps = carry("markets", "--venue", "binance", "--json").json
    spots = carry("markets", "--venue", "binance", "--kind", "spot", "--symbol", "WIFUSDT", "--json").json
    assert perps["instruments"] == ["binance:linear:WIFUSDT", "binance:linear:1000CATUSDT"]
    config = tmp_path / "run.toml"
    pair = 'spot = "binance:spot:WIFUSDT"\nperp = "binance:linear:WIFUSDT"\n'
    config.write_text(f'[wallets."binance:spot"]\nUSDT = 1000\n\n[[pairs]]\n{pair}')
    settings = load_settings(config, instruments=[Path(perps["file"]), Path(spots["file"])])
    assert set(settings.instruments) == {"binance:spot:WIFUSDT", "binance:linear:WIFUSDT"}
    found = registry.instrument("binance:linear:WIFUSDT", settings.instruments)
    assert (found.kind, found.base, found.quote) == (Kind.LINEAR, "WIF", "USDT")
    assert (found.tick, found.lot, found.min_quantity) == (Decimal("0.1"), Decimal("0.001"), Decimal("0.001"))
    assert found.min_notional == 100
    text = Path(perps["file"]).read_text()
    assert 'base = "CAT"' in text
    assert 'multiplier = "1000"' in text


def test_tiers_are_read_by_the_calculator(carry: Run) -> None:
    outcome = carry("tiers", "--venue", "bybit", "--symbol", "BTCUSDT", "--json")
    assert outcome.json["contracts"] == ["BTC/USDT:USDT"]
    (table,) = load_tiers(Path(outcome.json["file"]), "bybit", "2026-01-01").history("bybit:linear:BTCUSDT")
    assert table.cap.tolist() == [300_000.0, 2_000_000.0]
    assert table.rate.tolist() == [0.0033, 0.005]
    assert table.deduction.tolist() == pytest.approx([0.0, 510.0])


def test_all_pages_of_tiers_are_read(carry: Run, venue: FakeVenue) -> None:
    venue.markets["ETHUSDT"] = Market()
    assert carry("tiers", "--venue", "bybit", "--json").json["contracts"] == ["BTC/USDT:USDT", "ETH/USDT:USDT"]
    assert [query.get("cursor") for query in venue.asked("risk-limit")] == [None, "page2"]


def test_binance_tiers_need_a_key(carry: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARRY_BINANCE_KEY", KEY)
    monkeypatch.setenv("CARRY_BINANCE_SECRET", SECRET)
    outcome = carry("tiers", "--venue", "binance", "--json")
    (table,) = load_tiers(Path(outcome.json["file"]), "binance", "2026-01-01").history("binance:linear:BTCUSDT")
    assert (table.rate.tolist(), table.deduction.tolist()) == ([0.004, 0.005], [0.0, 50.0])


def test_the_table_fits_80_columns(carry: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich cuts cells that don't fit with an ellipsis, and drops whole columns: the status was gone."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = carry(
        "bars", "--venue", "binance", "--symbol", "BTCUSDT", "--from", "2024-01-01", "--to", "2024-12-01",
        "--source", "rest",
    ).out  # fmt: skip
    assert "binance linear bars 1h: 8,040 rows added to data/lake" in shown
    (row,) = [line.split() for line in shown.splitlines() if line.strip().startswith("BTCUSDT")]
    assert (row[:4], row[-1]) == (["BTCUSDT", "8,040", "8,040", "0"], "complete")
    assert "…" not in shown


@pytest.mark.parametrize("address", ["ftp://host", "http://", "https:///path", "http:// x"])
def test_a_base_without_a_host_is_refused(carry: Run, address: str) -> None:
    ended = carry("funding", "--venue", "binance", "--symbol", "BTCUSDT", "--from", "2024-01-01", "--base-url", address)
    assert (ended.code, f"--base-url {address} is no address" in ended.err) == (2, True)


def test_a_lake_that_cannot_be_written_ends_every_symbol(carry: Run, venue: FakeVenue, tmp_path: Path) -> None:
    venue.markets["ETHUSDT"] = Market()
    (tmp_path / "lake" / "bybit").mkdir(parents=True)
    (tmp_path / "lake" / "bybit" / "linear").write_text("in the way")
    ended = carry(
        "bars", "--venue", "bybit", "--symbol", "BTCUSDT", "--symbol", "ETHUSDT", "--from", "2024-01-01",
        "--to", "2024-01-05", "--at-once", 1, "--lake", "lake", "--json",
    )  # fmt: skip
    assert ended.code == 5
    messages = [entry["error"]["message"] for entry in ended.json["series"]]
    assert [message.startswith("cannot write lake/bybit/linear/BTCUSDT") for message in messages] == [True, True]
    assert len(venue.asked("kline")) == 1  # of the first symbol
