"""Numbers as Lean can read them: the shortest exact decimal without exponent.

Lean's reader takes every character for a digit (``8.4e-7`` becomes 8.9277, lean-measured.md K.1) and collects digits in
a signed 64-bit integer with at most 28 decimals (StreamReaderExtensions.GetDecimal). What does not fit is refused here.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto.errors import DataError
from crypto.market import Floats
from data.store.rows import Origin

MOST_DECIMALS = 28
LARGEST_DIGITS = 2**63 - 1
# Up to 18 characters hold at most 18 digits, which always fit into 64 bits, and fewer than 28 decimals.
_SURELY_FITS = 18


def plain(value: float) -> str:
    """Shortest decimal text that reads back as the same float64, without exponent: ``0.00000084``, ``1``, ``-0``.

    ``ValueError`` for infinity and NaN.
    """
    if not np.isfinite(value):
        raise ValueError(f"{value} has no decimal form")
    text = format(Decimal(repr(float(value))), "f")
    return text.removesuffix(".0")


def is_readable(text: str) -> bool:
    """Whether Lean's reader gets the exact value of a plain decimal text."""
    digits = text.removeprefix("-")
    whole, _, decimals = digits.partition(".")
    return len(decimals) <= MOST_DECIMALS and int(whole + decimals) <= LARGEST_DIGITS


def plain_texts(values: Floats, column: str, origin: Origin) -> pa.Array:
    """Plain texts of many values, in Arrow's buffers.

    ``DataError`` names the first row whose value Lean could not read: it has more digits or decimals than Lean keeps.
    """
    texts = pc.cast(pa.array(values), pa.string())
    texts = _without_exponents(texts)
    longest = pc.max(pc.binary_length(texts)).as_py()
    if longest is not None and longest > _SURELY_FITS:
        _check_long_ones(texts, column, origin)
    return texts


def _without_exponents(texts: pa.Array) -> pa.Array:
    has_exponent = pc.match_substring(texts, "e")
    if not pc.any(has_exponent).as_py():
        return texts
    places = np.flatnonzero(has_exponent.to_numpy(zero_copy_only=False))
    replaced = [format(Decimal(texts[int(place)].as_py()), "f") for place in places]
    return pc.replace_with_mask(texts, has_exponent, pa.array(replaced, pa.string()))


def _check_long_ones(texts: pa.Array, column: str, origin: Origin) -> None:
    long_ones = pc.greater(pc.binary_length(texts), _SURELY_FITS)
    for place in np.flatnonzero(long_ones.to_numpy(zero_copy_only=False)):
        text = texts[int(place)].as_py()
        if not is_readable(text):
            raise DataError(
                f"{origin.row(int(place))}: {column} {text} has more digits than Lean's reader keeps",
                remedy=f"Lean keeps {MOST_DECIMALS} decimals and 18 to 19 digits; round that value at its source",
            )
