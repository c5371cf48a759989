import errno
import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import OutputError
from crypto.settings import Style
from data import results
from data.results import decimal_text, next_directory, plain_value, result_document, write_results
from tests.unit.report_fixture import HOUR, START, tiny_ledger, tiny_result, two_year_result

FILES = {
    "result.json",
    "ledger.parquet",
    "ledger.csv",
    "orders.parquet",
    "orders.csv",
    "trips.parquet",
    "trips.csv",
    "equity.parquet",
    "attribution.parquet",
    "wallet_attribution.parquet",
    "pairs.parquet",
    "journal.jsonl",
}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    write_results(tiny_result(), tmp_path / "run")
    return tmp_path / "run"


def rows(directory: Path, name: str) -> list[dict[str, Any]]:
    return pq.read_table(directory / f"{name}.parquet").to_pylist()


def test_every_file_is_written_and_named_in_the_answer(tmp_path: Path) -> None:
    paths = write_results(tiny_result(), tmp_path / "deep" / "run")
    assert set(paths) == FILES
    assert all(path.is_file() and path.parent == tmp_path / "deep" / "run" for path in paths.values())
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["run"]


def test_pages_appear_with_the_rest(tmp_path: Path) -> None:
    paths = write_results(tiny_result(), tmp_path / "run", pages={"report.html": "<p>é</p>"})
    assert paths["report.html"].read_text(encoding="utf-8") == "<p>é</p>"


def test_ledger_csv_to_the_letter(written: Path) -> None:
    assert (written / "ledger.csv").read_text(encoding="utf-8") == (
        "time_ms,time,flow,wallet,asset,pair,instrument,order,amount,value,price,rate,quantity\n"
        "1704067200000,2024-01-01T00:00:00.000Z,opening,binance:spot,USDT,,,,600.0,600.0,1.0,0.0,0.0\n"
        "1704070800000,2024-01-01T01:00:00.000Z,fee,binance:spot,BTC,BTC binance,binance:spot:BTCUSDT,0,"
        "-0.00001,-0.5,50000.0,0.001,0.01\n"
        "1704074400000,2024-01-01T02:00:00.000Z,funding,binance:linear,USDT,BTC binance,binance:linear:BTCUSDT,,"
        "8.0,8.0,50500.0,0.0001,-0.01\n"
    )


def test_orders_csv_to_the_letter(written: Path) -> None:
    lines = (written / "orders.csv").read_text(encoding="utf-8").splitlines()
    assert lines[1] == (
        "0,BTC binance,binance:spot:BTCUSDT,open,market,filled,none,100,100,"
        "1704067200000,2024-01-01T00:00:00.000Z,1704067200250,2024-01-01T00:00:00.250Z,,,"
        "1704070800000,2024-01-01T01:00:00.000Z,false,,50000.0,-0.5,-0.25,0.0"
    )
    assert lines[2] == (
        "1,BTC binance,binance:linear:BTCUSDT,hedge,post_only,rejected,no_margin,-100,0,"
        "1704067200000,2024-01-01T00:00:00.000Z,1704067200250,2024-01-01T00:00:00.250Z,"
        "1704070800000,2024-01-01T01:00:00.000Z,,,true,50100.5,,0.0,0.0,0.0"
    )


def test_trips_hold_names_and_both_forms_of_time(written: Path) -> None:
    (trip,) = rows(written, "trips")
    assert trip["pair"] == "BTC binance"
    assert trip["direction"] == "long_spot_short_perp"
    assert trip["reason"] == "funding_flip"
    assert trip["is_open"] is False
    assert trip["close_ms"] == START + 2 * HOUR
    assert trip["close"].isoformat() == "2024-01-01T02:00:00+00:00"
    assert trip["pnl"] == 5.0


def test_equity_is_the_sum_of_the_wallets(written: Path) -> None:
    table = rows(written, "equity")
    assert [row["total"] for row in table] == [1000.0, 997.0, 1006.0]
    assert [row["binance:spot"] for row in table] == [600.0, 597.0, 605.0]


def test_attribution_has_a_row_per_instant_and_pair_and_one_for_no_pair(written: Path) -> None:
    table = rows(written, "attribution")
    assert [(row["time_ms"] - START) // HOUR for row in table] == [0, 0, 1, 1, 2, 2]
    assert [row["pair"] for row in table] == ["BTC binance", "(none)"] * 3
    assert (table[2]["basis"], table[2]["fees"], table[4]["funding"], table[5]["collateral"]) == (-2.5, -0.5, 8.0, 1.0)


def test_pair_series_keep_nan_as_nan(written: Path) -> None:
    table = rows(written, "pairs")
    assert np.isnan(table[0]["basis_bps"])
    assert [row["basis_bps"] for row in table[1:]] == [4.0, 6.0]


def test_wallet_attribution_has_a_row_per_instant_and_wallet(written: Path) -> None:
    table = rows(written, "wallet_attribution")
    assert [row["wallet"] for row in table] == ["binance:spot", "binance:linear"] * 3
    assert table[5]["collateral"] == 1.0


def test_result_json_is_plain_and_nan_is_null(written: Path) -> None:
    text = (written / "result.json").read_text(encoding="utf-8")
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert document["summary"]["sharpe"] is None
    assert document["provenance"] == {
        "config_hash": "aa11",
        "data_hash": "bb22",
        "seed": 7,
        "versions": {"numpy": "1.26.4"},
    }
    assert document["status"] == "completed"
    assert document["policies"]["missing_mark"]["applied"] == 3
    assert document["settings"]["run"]["name"] == "tiny"


def test_journal_is_one_object_per_line_in_time_order(tmp_path: Path) -> None:
    journal = ({"time_ms": START + 5, "n": 1}, {"time_ms": START, "n": 2}, {"time_ms": START + 5, "n": 3})
    write_results(tiny_result(journal=journal), tmp_path / "run")
    lines = (tmp_path / "run" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["n"] for line in lines] == [2, 1, 3]


def test_journal_lines_hold_numpy_values_and_nan_as_plain_json(written: Path) -> None:
    lines = (written / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines[0] == f'{{"time_ms":{START},"event":"decision","pair":"BTC binance","edge_bps":12.5}}'
    assert lines[1] == f'{{"time_ms":{START + HOUR},"event":"fill","order":0,"note":null}}'


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (float("inf"), None),
        (Decimal("0.10"), "0.10"),
        (Style.TAKER, "taker"),
        (np.float64("nan"), None),
        (np.array([1.0, np.nan]), [1.0, None]),
        ((1, True, None), [1, True, None]),
        ({1: Path("a")}, {"1": "a"}),
    ],
    ids=str,
)
def test_plain_value(value: Any, plain: Any) -> None:
    assert plain_value(value) == plain


def test_a_value_without_json_form_is_named() -> None:
    with pytest.raises(TypeError, match=r"summary\.odd is a set"):
        result_document(tiny_result(summary={"odd": {1}}))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_decimal_text_reads_back_exactly_and_has_no_exponent(number: float) -> None:
    text = decimal_text(number)
    assert "e" not in text.lower()
    assert float(Fraction(text)) == number


@pytest.mark.parametrize(
    ("number", "text"),
    [(1e-5, "0.00001"), (1e22, "10000000000000000000000.0"), (0.1, "0.1"), (-250.0, "-250.0"), (float("nan"), "")],
)
def test_decimal_text_examples(number: float, text: str) -> None:
    assert decimal_text(number) == text


def test_an_existing_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        write_results(tiny_result(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]
    assert not list((tmp_path / "run").iterdir())


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "_write_journal", full_disk)  # after the tables are written
    with pytest.raises(OutputError, match="No space left on device") as caught:
        write_results(tiny_result(), tmp_path / "run")
    assert caught.value.exit_code == 5
    assert str(tmp_path / "run") in caught.value.message
    assert not list(tmp_path.iterdir())


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "_write_journal", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_results(tiny_result(), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_the_base_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="could not be written"):
        write_results(tiny_result(), tmp_path / "file" / "run")
    with pytest.raises(OutputError, match="could not be written"):
        next_directory(tmp_path / "file", "run")


def test_next_directory_counts_on_from_the_highest(tmp_path: Path) -> None:
    assert next_directory(tmp_path / "none", "a") == tmp_path / "none" / "a-0001"
    for name in ("a-0001", "a-0007", "ab-0009", "a-x", ".a-0008.partial-00"):
        (tmp_path / name).mkdir()
    assert next_directory(tmp_path, "a") == tmp_path / "a-0008"
    assert not (tmp_path / "a-0008").exists()


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a\nb"])
def test_a_run_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="can't be part of a directory name"):
        next_directory(tmp_path, name)


@pytest.mark.parametrize(("field", "code"), [("flow", 14), ("flow", -1), ("wallet", -1), ("leg", 2), ("asset", 9)])
def test_a_code_without_a_name_is_a_fault(tmp_path: Path, field: str, code: int) -> None:
    ledger = tiny_ledger()
    ledger[field][1] = code
    with pytest.raises(ValueError, match="is none of"):
        write_results(tiny_result(ledger=ledger), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_run_without_rows_writes_headers(tmp_path: Path) -> None:
    base = tiny_result()
    empty = tiny_result(ledger=base.ledger[:0], orders=base.orders[:0], trips=base.trips[:0], journal=())
    write_results(empty, tmp_path / "run")
    assert (tmp_path / "run" / "trips.csv").read_text().startswith("pair,direction,open_ms,open,")
    assert (tmp_path / "run" / "journal.jsonl").read_text() == ""
    assert rows(tmp_path / "run", "ledger") == []


def test_two_years_read_back_to_the_bit(tmp_path: Path) -> None:
    result = two_year_result(hours=2_000)
    write_results(result, tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "attribution.parquet")
    funding = table.column("funding").to_numpy().reshape(2_001, 3)
    assert np.array_equal(funding, result.attribution[:, :, 2])
    lines = (tmp_path / "run" / "ledger.csv").read_text().splitlines()[1:]
    assert np.array_equal([float(line.split(",")[8]) for line in lines], result.ledger["amount"])
