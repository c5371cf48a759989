"""Texts of flags, numbers as text, and the checks of a worked answer."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from crypto.errors import UsageError
from crypto.worked.answer import Answer, Check, exact, percent, rounded, signed_sum
from crypto.worked.inputs import by_symbol_or_all, number, parse_position, parse_tiers

# --- texts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e400", "abc", "", "1e300", "1e-300"])
def test_numbers_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--wallet"):
        number("--wallet", text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("BTCUSDT", "is not of the form"),
        ("BTCUSDT:up:1@2", "'up' is neither long nor short"),
        ("BTCUSDT:long:-1@2", "quantity = -1 is not above 0"),
        ("BTCUSDT:long:0@2", "quantity = 0 is not above 0"),
        ("BTCUSDT:long:1@nan", "entry = nan is not a number"),
        ("BTCUSDT:long:1@2@3", "entry: '2@3' is not a number"),
        (":long:1@2", "is not of the form"),
    ],
)
def test_positions_that_are_none(text: str, words: str) -> None:
    with pytest.raises(UsageError, match="--position") as caught:
        parse_position(text)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["BTCUSDT"], "is not of the form"),
        (["=0.1"], "is not of the form"),
        (["A=0.1", "A=0.2"], "given twice for A"),
        (["A=1"], "rate = 1 is not below 1"),
        (["A=0"], "rate = 0 is not above 0"),
        (["A=0.1/-5"], "deduction = -5 is negative"),
        (["A=0.1/"], "deduction: '' is not a number"),
        (["A=0.1/nan"], "deduction = nan is not a number"),
    ],
)
def test_tiers_that_are_none(texts: list[str], words: str) -> None:
    with pytest.raises(UsageError, match="--tier") as caught:
        parse_tiers(texts)
    assert words in caught.value.message


def test_a_value_for_all_symbols() -> None:
    assert by_symbol_or_all("--leverage", ["5", "A=3"], number) == {"": 5, "A": 3}
    with pytest.raises(UsageError, match="--leverage is given twice for all symbols: 5, 6"):
        by_symbol_or_all("--leverage", ["5", "6"], number)


@pytest.mark.parametrize(
    ("value", "given", "shown"),
    [
        (1_535_443.01, "1,535,443.01", "1,535,443.01"),
        (26_316.8933, "26,316.8933", "26,316.89"),
        (0.00001, "0.00001", "0.00001"),
        (8.0857084567, "8.0857084567", "8.0857085"),
        (16_300.0, "16,300", "16,300"),
        (0.0, "0", "0"),
        (-2.5, "-2.5", "-2.5"),
    ],
)
def test_numbers_as_text(value: float, given: str, shown: str) -> None:
    assert (exact(value), rounded(value)) == (given, shown)


def test_rates_and_sums_as_text() -> None:
    assert [percent(rate) for rate in (0.025, 0.07, 0.00055, 0.0)] == ["2.5%", "7%", "0.055%", "0%"]
    assert signed_sum([(-1, "a"), (2, "b"), (-3, "c")]) == "-a + b - c"


def test_a_check_that_fails_stops_the_answer() -> None:
    wrong = Check("one is two", 1.0, 2.0, 1.0)
    with pytest.raises(ArithmeticError, match="one is two"):
        Answer("liquidation", "x", {}, (), checks=(wrong,))
    with pytest.raises(ArithmeticError):
        Answer("liquidation", "x", {}, (), checks=(replace(wrong, right=math.nan),))
