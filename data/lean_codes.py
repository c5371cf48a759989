"""Lean's codes in its result files, as our words: order status, order type, and the symbol with market and kind.

Every code of Lean is listed. One that is not, or that no Carry run can have, is refused by name. Source: Lean's
``OrderStatus``, ``OrderType``, ``SecurityType`` and ``Market`` (commit 24863901).
"""

from __future__ import annotations

import string
from dataclasses import dataclass

from crypto.errors import DataError

_REMEDY = "compare a run of Carry's own algorithm, made by the Lean version that docs/specs/lean.md names"

ORDER_STATUS = {
    0: "new",
    1: "submitted",
    2: "partially_filled",
    3: "filled",
    5: "canceled",
    6: "none",
    7: "invalid",
    8: "cancel_pending",
    9: "update_submitted",
}
ORDER_TYPE = {
    0: "market",
    1: "limit",
    2: "stop_market",
    3: "stop_limit",
    4: "market_on_open",
    5: "market_on_close",
    6: "option_exercise",
    7: "limit_if_touched",
    8: "combo_market",
    9: "combo_limit",
    10: "combo_leg_limit",
    11: "trailing_stop",
}
_STATUS_BY_TEXT = {word.replace("_", ""): word for word in ORDER_STATUS.values()}

CRYPTO, CRYPTO_FUTURE = 7, 11  # SecurityType
MARKETS = {16: "binance", 37: "bybit"}
_BASE_36 = string.digits + string.ascii_uppercase
_TYPES, _MARKET_CODES = 100, 1000  # places of security type and market in the number of an identifier


@dataclass(frozen=True, slots=True)
class LeanSymbol:
    """A Lean security: ticker, venue and whether it is a perpetual (else spot)."""

    ticker: str
    venue: str
    is_perp: bool

    def __str__(self) -> str:
        return f"{self.venue} {'perp' if self.is_perp else 'spot'} {self.ticker}"


def order_status(code: object, where: str) -> str:
    """Our word for a status, given as Lean's number or its text in camel case."""
    word = _STATUS_BY_TEXT.get(code.lower()) if isinstance(code, str) else _listed(ORDER_STATUS, code)
    if word is None:
        raise DataError(f"{where}: order status {code!r} is none of Lean's", remedy=_REMEDY)
    return word


def order_type(code: object, where: str) -> str:
    """Our word for an order type's number."""
    word = _listed(ORDER_TYPE, code)
    if word is None:
        raise DataError(f"{where}: order type {code!r} is none of Lean's", remedy=_REMEDY)
    return word


def _listed(words: dict[int, str], code: object) -> str | None:
    return words.get(code) if isinstance(code, int) and not isinstance(code, bool) else None


def symbol(identifier: object, where: str) -> LeanSymbol:
    """The security of an identifier such as ``BTCUSDT 18R``: ticker, and market and type as a number in base 36."""
    parts = identifier.split() if isinstance(identifier, str) else []
    if len(parts) != 2 or not parts[1] or any(digit not in _BASE_36 for digit in parts[1]):
        raise DataError(f"{where}: {identifier!r} is not an identifier of a perpetual or spot pair", remedy=_REMEDY)
    number = int(parts[1], 36)
    kind, market = number % _TYPES, number // _TYPES % _MARKET_CODES
    if kind not in {CRYPTO, CRYPTO_FUTURE}:
        raise DataError(f"{where}: {identifier!r} has security type {kind}, not spot or perpetual", remedy=_REMEDY)
    if market not in MARKETS:
        raise DataError(f"{where}: {identifier!r} is of market {market}, which Carry does not trade", remedy=_REMEDY)
    return LeanSymbol(parts[0], MARKETS[market], kind == CRYPTO_FUTURE)
