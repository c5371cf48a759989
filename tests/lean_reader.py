"""How Lean reads numbers, written down from its source (StreamReaderExtensions.GetDecimal), for tests of what we write.

Every character counts as a digit, digits collect in a signed 64-bit integer, decimals are counted behind the point.
"""

from __future__ import annotations

from fractions import Fraction


def lean_decimal(text: str) -> Fraction:
    """The exact value that Lean takes from a text; ``ValueError`` where its decimal has no such scale."""
    value, decimals = 0, None
    digits = text.lstrip(" ")
    is_negative = digits.startswith("-")
    for letter in digits[1:] if is_negative else digits:
        if letter == ".":
            decimals = 0
            continue
        value = _wrapped(value * 10 + ord(letter) - ord("0"))
        decimals = None if decimals is None else decimals + 1
    if (decimals or 0) > 28:
        raise ValueError(f"{text}: a decimal of .NET has at most 28 decimals")
    size = Fraction(value % 2**64, 10 ** (decimals or 0))  # lo and mid: the bits of the integer, without its sign
    return -size if is_negative else size


def _wrapped(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63
