"""Numbers, instants and names as the report prints them. All text is escaped for HTML here."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np

DASH = "\u2013"
MINUS = "\u2212"


def escape(text: object) -> str:
    """``text`` safe inside HTML elements and quoted attributes."""
    return html.escape(str(text), quote=True)


def number(value: Any, digits: int = 2) -> str:
    """Thousands separated by commas, a true minus sign; a dash for what is missing or not finite."""
    if not is_number(value):
        return DASH
    text = f"{abs(value):,.{digits}f}"
    is_zero = not text.strip("0.,")
    return MINUS + text if value < 0 and not is_zero else text


def signed(value: Any, digits: int = 2) -> str:
    """Like ``number`` with a plus sign before gains."""
    text = number(value, digits)
    return f"+{text}" if text != DASH and value > 0 and text.strip("0.,") else text


def percent(fraction: Any, digits: int = 2) -> str:
    """A fraction as per cent with sign."""
    return f"{signed(fraction * 100.0, digits)}%" if is_number(fraction) else DASH


def share(fraction: Any, digits: int = 1) -> str:
    """A fraction as per cent without plus sign."""
    return f"{number(fraction * 100.0, digits)}%" if is_number(fraction) else DASH


def component_name(name: str) -> str:
    """Heading of a component of the attribution."""
    return "ADL" if name == "adl" else name.capitalize()


def money(value: Any) -> str:
    """An amount of account currency: cents below a million, whole units above."""
    return number(value, 0 if is_number(value) and abs(value) >= 1e6 else 2)


def signed_money(value: Any) -> str:
    """Like ``money`` with a plus sign before gains."""
    return signed(value, 0 if is_number(value) and abs(value) >= 1e6 else 2)


def instant(time_ms: Any) -> str:
    """``2024-03-01 08:00`` in UTC; a dash when missing."""
    if not is_number(time_ms):
        return DASH
    return str(np.datetime64(int(time_ms), "ms").astype("datetime64[m]")).replace("T", " ")


def day(time_ms: Any) -> str:
    """``2024-03-01`` in UTC; a dash when missing."""
    return instant(time_ms)[:10] if is_number(time_ms) else DASH


def is_number(value: Any) -> TypeGuard[float]:
    """Whether ``value`` is a finite number (and no bool)."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.number):
        return False
    return math.isfinite(value)


def lookup(mapping: Mapping[str, Any], *keys: str) -> Any:
    """Value at the path of ``keys``, or None where any step is missing."""
    value: Any = mapping
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def plain_words(name: str) -> str:
    """A code name such as ``carry_below_cost`` as words."""
    return name.replace("_", " ")
