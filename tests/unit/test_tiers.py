"""Leverage tiers: building, refusing bad tables, dates, the reader of the user's file, and the shipped tables."""

from __future__ import annotations

import gzip
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from crypto.errors import CarryError, DataError, RefusedError, UsageError
from crypto.tiers import TierBook, TierRow, TierTable, check_leverage, deductions, fixed_tier, tier_of, tier_table
from crypto.units import parse_iso
from crypto.venues.tiers_binance import BINANCE_TIERS
from crypto.venues.tiers_bybit import BYBIT_TIERS
from crypto.venues.tiers_hyperliquid import HYPERLIQUID_TIERS
from data.tiers import load_tiers

KEY = "binance:linear:BTCUSDT"
ROWS = [
    TierRow(0, 50_000, 0.004, 125, 0),
    TierRow(50_000, 250_000, 0.005, 100, 50),
    TierRow(250_000, 1_000_000, 0.01, 50, 1_300),
]


def table(rows: list[TierRow], date: str = "2024-01-01") -> TierTable:
    return tier_table(KEY, "USDT", parse_iso(date), rows, "by hand")


def changed(row: int, **values: Any) -> list[TierRow]:
    return [item._replace(**values) if number == row else item for number, item in enumerate(ROWS, start=1)]


def test_deductions_are_exact_on_fractions() -> None:
    floors = [Fraction(0), Fraction(50_000), Fraction(250_000), Fraction(1_000_000)]
    rates = [Fraction(4, 1000), Fraction(5, 1000), Fraction(1, 100), Fraction(25, 1000)]
    assert deductions(floors, rates) == [0, 50, 1_300, 16_300]


def test_a_cap_belongs_to_its_tier() -> None:
    found = table(ROWS)
    assert [tier_of(found, notional) for notional in (0, 50_000, 50_000.01, 250_000, 1_000_000)] == [0, 0, 1, 1, 2]


def test_columns_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        table(ROWS).rate[0] = 0.5


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param([], "has no tiers", id="empty"),
        pytest.param(changed(1, floor=10), "tier 1: floor = 10.*hole below", id="starts above 0"),
        pytest.param(changed(2, floor=40_000), "tier 2: floor = 40000 overlaps.*50000", id="overlap"),
        pytest.param(changed(2, floor=60_000), "tier 2: floor = 60000 leaves a hole.*50000", id="hole"),
        pytest.param(changed(3, rate=0.005, deduction=None), "tier 3.*rate = 0.005 does not rise", id="flat rate"),
        pytest.param(changed(3, rate=0.0045, deduction=None), "tier 3.*rate = 0.0045 does not rise", id="falling rate"),
        pytest.param(changed(1, rate=0.0), "tier 1: maintenance rate = 0 is not between", id="zero rate"),
        pytest.param(changed(3, rate=1.0, max_leverage=1), "tier 3: maintenance rate = 1 is not", id="rate of 1"),
        pytest.param(changed(2, rate=math.nan), "tier 2: rate = nan", id="NaN rate"),
        pytest.param(changed(2, cap=50_000), "tier 2: cap = 50000 is not a limit", id="empty tier"),
        pytest.param(changed(2, cap=math.inf), "tier 2: cap = inf is not a limit", id="unlimited in the middle"),
        pytest.param(changed(2, max_leverage=0.5), "tier 2: largest leverage = 0.5 is below 1", id="leverage below 1"),
        pytest.param(
            changed(3, max_leverage=120), "tier 3: .*above the initial margin", id="initial below maintenance"
        ),
        pytest.param(
            changed(1, max_leverage=20), "tier 2: largest leverage = 100 rises: the tier before has 20", id="leverage"
        ),
        pytest.param(changed(3, deduction=1_301), "tier 3: deduction = 1301 breaks.*1300", id="deduction"),
        pytest.param(changed(3, deduction=math.nan), "tier 3: deduction = nan breaks", id="NaN deduction"),
    ],
)
def test_a_wrong_table_is_refused_with_its_row_and_value(rows: list[TierRow], message: str) -> None:
    with pytest.raises(DataError, match=f"{KEY}.*{message}"):
        table(rows)


def test_limits_of_a_tier_are_kept() -> None:
    found = table(ROWS)
    check_leverage(found, 250_000, 100)
    with pytest.raises(RefusedError, match="leverage 101 is above 100, the largest for a notional of 250,000 USDT"):
        check_leverage(found, 250_000, 101)
    with pytest.raises(RefusedError, match="notional 1,000,001 USDT is beyond the last tier.*1,000,000"):
        tier_of(found, 1_000_001)
    for value in (math.nan, -1.0):
        with pytest.raises(UsageError, match=f"notional = {value}"):
            tier_of(found, value)
    for value in (0.5, math.nan, math.inf):
        with pytest.raises(UsageError, match=f"leverage = {value}"):
            check_leverage(found, 1, value)


def test_a_single_tier_given_by_hand() -> None:
    assert fixed_tier(KEY, "USDT", 0.025, 16_300).deduction.tolist() == [16_300]
    for deduction in (math.nan, -1.0):
        with pytest.raises(DataError, match=f"deduction = {deduction}"):
            fixed_tier(KEY, "USDT", 0.025, deduction)


def test_a_table_holds_from_its_date_on() -> None:
    early, late = table(ROWS), table(ROWS[:2], "2025-01-01")
    book = TierBook([late, early])
    assert book.as_of(KEY, parse_iso("2024-12-31T23:59:59.999")) is early
    assert book.as_of(KEY, parse_iso("2025-01-01")) is late
    with pytest.raises(DataError, match=r"known from 2024-01-01T00:00:00Z on, not at 2023-12-31"):
        book.as_of(KEY, parse_iso("2023-12-31"))
    with pytest.raises(DataError, match="no leverage tiers for bybit:linear:ETHUSDT"):
        book.as_of("bybit:linear:ETHUSDT", 0)
    with pytest.raises(DataError, match="two tier tables"):
        TierBook([early, table(ROWS[:1])])
    replaced = table(ROWS[:1])
    merged = book.merged(TierBook([replaced]))
    assert merged.history(KEY) == (replaced, late)


def tier(floor: float, cap: float | None, rate: Any, leverage: float, **info: Any) -> dict[str, Any]:
    return {
        "minNotional": floor, "maxNotional": cap, "maintenanceMarginRate": rate, "maxLeverage": leverage, "info": info,
    }  # fmt: skip


def write(folder: Path, content: Any) -> Path:
    path = folder / "tiers.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_the_users_file_is_read(tmp_path: Path) -> None:
    first = tier(0, 100, 0.01, 50, cum="0.0")
    listed = {
        "BTC/USDT:USDT": [first, tier(100, 200, "0.02", 25, cum="1.0")],
        "BTC/USD:BTC": [tier(0, None, 0.005, 100, mmDeduction="")],
        "ETH/USDT:USDT-250328": [{key: value for key, value in first.items() if key != "info"}],
    }
    packed = tmp_path / "tiers.json.gz"
    packed.write_bytes(gzip.compress(json.dumps(listed).encode()))
    for path in (packed, write(tmp_path, listed)):
        book = load_tiers(path, "bybit", "2025-02-03")
        assert book.keys == ("bybit:inverse:BTCUSD", "bybit:linear:BTCUSDT", "bybit:linear:ETHUSDT_250328")
        linear = book.as_of("bybit:linear:BTCUSDT", parse_iso("2025-02-03"))
        assert (linear.currency, linear.rate.tolist(), linear.deduction.tolist()) == ("USDT", [0.01, 0.02], [0, 1])
        inverse = book.history("bybit:inverse:BTCUSD")[0]
        assert (inverse.currency, inverse.cap.tolist()) == ("BTC", [math.inf])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("{", "is not JSON", id="cut off"),
        pytest.param([1], "no object of symbols", id="list"),
        pytest.param({"BTCUSDT": [tier(0, 1, 0.01, 50)]}, "'BTCUSDT' is not a contract symbol", id="symbol"),
        pytest.param({"A/B:B": []}, "A/B:B has no list of tiers", id="no tiers"),
        pytest.param({"A/B:B": [5]}, "A/B:B tier 1 is 5, not an object", id="not an object"),
        pytest.param({"A/B:B": [{"minNotional": 0}]}, "A/B:B tier 1 lacks maxNotional", id="missing"),
        pytest.param({"A/B:B": [tier(0, 1, "x", 50)]}, "tier 1: maintenanceMarginRate = 'x'", id="text"),
        pytest.param({"A/B:B": [tier(0, 1, True, 50)]}, "maintenanceMarginRate = True", id="truth value"),
        pytest.param({"A/B:B": [tier(0, 1, None, 50)]}, "maintenanceMarginRate = None", id="null"),
        pytest.param({"A/B:B": [tier(0, 1, 0.01, 50, cum="NaN")]}, "tier 1: cum = 'NaN'", id="NaN deduction"),
        pytest.param(
            {"A/B:B": [tier(0, 100, 0.01, 50), tier(90, 200, 0.02, 25)]},
            "A/B:B: .*tier 2: floor = 90 overlaps",
            id="overlap",
        ),
        pytest.param(
            {"A/B:B": [tier(0, 100, 0.01, 50), tier(100, 200, 0.02, 25, mmDeduction="2")]},
            "tier 2: deduction = 2 breaks continuity.*ask for 1",
            id="deduction",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_contract_tier_and_value(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"tiers.json.*{message}"):
        load_tiers(write(tmp_path, content), "binance", "2025-01-01")


def test_a_missing_file_or_malformed_date_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent.json does not exist"):
        load_tiers(tmp_path / "absent.json", "binance", "2025-01-01")
    with pytest.raises(CarryError, match="yesterday"):
        load_tiers(write(tmp_path, {"A/B:B": [tier(0, 1, 0.01, 50)]}), "binance", "yesterday")


@pytest.mark.parametrize(
    ("book", "key", "date", "last_deduction"),
    [
        (BINANCE_TIERS, "binance:linear:BTCUSDT", "2021-05-19", 100_016_300),  # L11
        (BINANCE_TIERS, "binance:linear:BTCUSDT", "2024-10-24", 421_481_450),  # peers.md 2.1
        (BYBIT_TIERS, "bybit:linear:BTCUSDT", "2026-09-25", 1_710),  # the venue's mmDeduction
        (BYBIT_TIERS, "bybit:inverse:BTCUSD", "2024-01-01", 0),
        (HYPERLIQUID_TIERS, "hyperliquid:linear:BTC", "2025-10-10", 1_875_000),  # the venue's text
        (HYPERLIQUID_TIERS, "hyperliquid:linear:ETH", "2025-10-10", 1_333_333.33),
    ],
)
def test_shipped_tables_give_the_published_deductions(
    book: TierBook, key: str, date: str, last_deduction: float
) -> None:
    assert book.as_of(key, parse_iso(date)).deduction[-1] == pytest.approx(last_deduction, abs=0.01)


def test_every_shipped_table_names_its_source() -> None:
    tables = [*BINANCE_TIERS.tables(), *BYBIT_TIERS.tables(), *HYPERLIQUID_TIERS.tables()]
    assert len(tables) == 15 + 2 + 4
    assert all(len(found.source) > 20 for found in tables)
