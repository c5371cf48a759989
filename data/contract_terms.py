"""Base asset, quote and multiplier of a contract: the venue's table where it is shipped, else its symbol tells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from crypto.instruments import Kind
from crypto.venues.registry import VENUES

# Longest first: FDUSD ends in USD, too. TUSD is left out, because XBTUSD ends in it.
QUOTES = ("FDUSD", "USDT", "USDC", "BUSD", "USD", "EUR", "BTC", "ETH")
_ALIASES = {"XBT": "BTC"}
_PREFIX = re.compile(r"(10{3,6}|1M|k)([A-Z][A-Z0-9]+)")
_SUFFIX = re.compile(r"([A-Z]+)(10{3,6})")  # Bybit's SHIB1000USDT
_WORDS = {"k": 1_000.0, "1M": 1_000_000.0}


@dataclass(frozen=True, slots=True)
class ContractTerms:
    """``multiplier``: base units that the quoted price is for (1000 for 1000PEPEUSDT)."""

    base: str
    quote: str
    multiplier: float


def contract_terms(venue: str, kind: str, symbol: str) -> ContractTerms | None:
    """Terms of a contract; None when its symbol ends in no known quote.

    An inverse contract is quoted in its quote asset like a linear one; its multiplier here is 1, because its price is
    for one base unit.
    """
    shipped = VENUES[venue].instruments.get((Kind(kind), symbol)) if venue in VENUES else None
    if shipped is not None:
        per_price = Decimal(1) if shipped.kind is Kind.INVERSE else shipped.multiplier
        return ContractTerms(shipped.base, shipped.quote, float(per_price))
    return split_symbol(symbol)


def split_symbol(symbol: str) -> ContractTerms | None:
    """``1000PEPEUSDT`` as PEPE, USDT, 1000; ``kPEPEUSDC`` as PEPE, USDC, 1000; None when no known quote ends it."""
    for quote in QUOTES:
        base = symbol.removesuffix(quote)
        if base and base != symbol:
            return _terms(base, quote)
    return None


def _terms(base: str, quote: str) -> ContractTerms:
    before, after = _PREFIX.fullmatch(base), _SUFFIX.fullmatch(base)
    if before is not None:
        return ContractTerms(before[2], quote, _WORDS.get(before[1]) or float(before[1]))
    if after is not None:
        return ContractTerms(after[1], quote, float(after[2]))
    return ContractTerms(_ALIASES.get(base, base), quote, 1.0)
