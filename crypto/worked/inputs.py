"""Texts of flags read into numbers, with errors that name flag and value. Spec: docs/specs/calculator.md."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from fractions import Fraction

from crypto.errors import CarryError, UsageError
from crypto.instruments import Kind

# Beyond these no amount, price or size of a market lies, and arithmetic on floats begins to fail.
SMALLEST, LARGEST = 1e-15, 1e15

_POSITION = re.compile(r"(?P<symbol>[^:=@/\s]+):(?P<side>[^:]*):(?P<quantity>[^@]*)@(?P<entry>.*)")
_SIDES = {"long": 1, "short": -1}
ALL = ""


@dataclass(frozen=True, slots=True)
class Held:
    """A position as it was given. ``quantity`` is a size (> 0); ``side`` +1 long, -1 short."""

    symbol: str
    side: int
    quantity: float
    entry_price: float

    @property
    def text(self) -> str:
        """The position in words."""
        return f"{self.symbol} {'long' if self.side > 0 else 'short'}"


def number(flag: str, value: float | str) -> float:
    """A finite number of a size that markets have; ``UsageError`` names flag and value."""
    try:
        found = float(value)
    except ValueError as error:
        raise UsageError(f"{flag}: {value!r} is not a number", remedy="write it plainly, such as 1535443.01") from error
    if not math.isfinite(found):
        raise UsageError(f"{flag} = {value} is not a number", remedy="write it plainly, such as 1535443.01")
    if found != 0 and not SMALLEST <= abs(found) <= LARGEST:
        raise UsageError(
            f"{flag} = {value} is out of range", remedy=f"give 0, or a size of {SMALLEST:g} to {LARGEST:g}"
        )
    return found


def positive(flag: str, value: float | str) -> float:
    """As ``number``, above 0."""
    found = number(flag, value)
    if not found > 0:
        raise UsageError(f"{flag} = {value} is not above 0", remedy="give a positive number")
    return found


def not_negative(flag: str, value: float | str) -> float:
    """As ``number``, 0 or more."""
    found = number(flag, value)
    if found < 0:
        raise UsageError(f"{flag} = {value} is negative", remedy="give 0 or more")
    return found


def fraction(flag: str, value: float | str) -> float:
    """As ``number``, from 0 to below 1: a rate of 0.05% is 0.0005."""
    found = not_negative(flag, value)
    if found >= 1:
        raise UsageError(f"{flag} = {value} is not below 1", remedy="give a fraction: 0.05% is 0.0005")
    return found


def whole(flag: str, value: str) -> int:
    """As ``not_negative``, a whole number."""
    found = not_negative(flag, value)
    if found != math.floor(found):
        raise UsageError(f"{flag} = {value} is not a whole number", remedy="give 0, 1, 2, ...")
    return int(found)


def optional(read: Callable[[str, str], float], flag: str, value: str | None) -> float | None:
    """``value`` through ``read``, None when the flag was not given."""
    return None if value is None else read(flag, value)


def rational(value: float) -> Fraction:
    """The decimal number that was written, exactly: 0.1 is one tenth."""
    return Fraction(repr(value))


def scaled(value: float, multiplier: Decimal) -> float:
    """``value`` times ``multiplier``, rounded once."""
    return float(rational(value) * Fraction(multiplier))


def side_of(flag: str, text: str) -> int:
    """+1 for ``long``, -1 for ``short``."""
    if text not in _SIDES:
        raise UsageError(f"{flag}: {text!r} is neither long nor short", remedy="write long or short")
    return _SIDES[text]


def parse_position(text: str) -> Held:
    """``SYMBOL:long|short:QUANTITY@ENTRY``, size and price above 0."""
    flag = "--position"
    parts = _POSITION.fullmatch(text)
    if parts is None:
        raise UsageError(
            f"{flag} {text!r} is not of the form SYMBOL:long|short:QUANTITY@ENTRY",
            remedy="for example BTCUSDT:long:0.5@30000",
        )
    where = f"{flag} {text}"
    return Held(
        parts["symbol"],
        side_of(where, parts["side"]),
        positive(f"{where}: quantity", parts["quantity"]),
        positive(f"{where}: entry", parts["entry"]),
    )


def parse_positions(texts: Iterable[str]) -> tuple[Held, ...]:
    """All positions; ``UsageError`` when there is none."""
    found = tuple(parse_position(text) for text in texts)
    if not found:
        raise UsageError("--position is missing", remedy="give SYMBOL:long|short:QUANTITY@ENTRY")
    return found


def by_symbol(flag: str, texts: Iterable[str], read: Callable[[str, str], float]) -> dict[str, float]:
    """``SYMBOL=VALUE`` of a repeatable flag, each value through ``read``; ``UsageError`` on a symbol given twice."""
    found: dict[str, float] = {}
    for symbol, value in _pairs(flag, texts):
        found[symbol] = read(f"{flag} {symbol}", value)
    return found


def by_symbol_or_all(flag: str, texts: Iterable[str], read: Callable[[str, str], float]) -> dict[str, float]:
    """As ``by_symbol``; a value without symbol holds for all symbols that are not named, under the name ``ALL``."""
    listed = list(texts)
    bare = [text for text in listed if "=" not in text]
    if len(bare) > 1:
        raise UsageError(f"{flag} is given twice for all symbols: {', '.join(bare)}", remedy="write SYMBOL=VALUE")
    found = by_symbol(flag, (text for text in listed if "=" in text), read)
    if bare:
        found[ALL] = read(flag, bare[0])
    return found


def parse_tiers(texts: Iterable[str]) -> dict[str, tuple[float, float]]:
    """``SYMBOL=RATE`` or ``SYMBOL=RATE/DEDUCTION``: maintenance rate within (0, 1), deduction 0 or more."""
    return {symbol: parse_tier(f"--tier {symbol}", value) for symbol, value in _pairs("--tier", texts)}


def parse_tier(flag: str, text: str) -> tuple[float, float]:
    """``RATE`` or ``RATE/DEDUCTION``: maintenance rate within (0, 1), deduction 0 or more."""
    rate_text, slash, deduction = text.partition("/")
    rate = positive(f"{flag}: rate", rate_text)
    if rate >= 1:
        raise UsageError(f"{flag}: rate = {rate_text} is not below 1", remedy="give a fraction: 2.5% is 0.025")
    return rate, not_negative(f"{flag}: deduction", deduction) if slash else 0.0


def _pairs(flag: str, texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    seen = set()
    for text in texts:
        symbol, equals, value = text.partition("=")
        if not equals or not symbol:
            raise UsageError(f"{flag} {text!r} is not of the form SYMBOL=VALUE", remedy="for example BTCUSDT=30000")
        if symbol in seen:
            raise UsageError(f"{flag} is given twice for {symbol}", remedy="give it once")
        seen.add(symbol)
        yield symbol, value


def only_held(flag: str, given: Mapping[str, object], held: Iterable[Held]) -> None:
    """``UsageError`` naming a symbol in ``given`` of which no position is held."""
    symbols = {item.symbol for item in held}
    for symbol in given:
        if symbol not in symbols and symbol != ALL:
            raise UsageError(f"{flag} {symbol}: no --position has that symbol", remedy=f"held: {', '.join(symbols)}")


def contract_kind(text: str) -> Kind:
    """``linear`` or ``inverse``."""
    if text not in {"linear", "inverse"}:
        raise UsageError(f"--kind = {text!r} is neither linear nor inverse", remedy="write linear or inverse")
    return Kind(text)


def known(flag: str, name: str, names: Iterable[str]) -> str:
    """``name`` when it is among ``names``; ``UsageError`` with the closest one otherwise."""
    listed = sorted(names)
    if name not in listed:
        close = get_close_matches(name, listed, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"{flag} = {name!r} is unknown{hint}", remedy=f"known: {', '.join(listed)}")
    return name


@contextmanager
def blaming(flag: str) -> Iterator[None]:
    """Put the flag in front of the message of an error that names only the value."""
    try:
        yield
    except CarryError as error:
        raise type(error)(f"{flag}: {error.message}", remedy=error.remedy) from error
