"""Instrument names: ours (``okx:linear:BTCUSDT``), and the venue's own symbols on its streams (``BTC-USDT-SWAP``)."""

from __future__ import annotations

from crypto.errors import UsageError

_NEVER_IN_SYMBOLS = frozenset("/\\?&#@%\"' ")  # they would change an address or a request
_QUOTES = ("USDT", "USDC", "USD")  # longest first


def venue_symbol(venue: str, kind: str, symbol: str) -> str:
    """What the venue calls our ``symbol`` on its streams; ``UsageError`` when it can't be taken apart.

    Small letters are taken for capitals, except at Hyperliquid, where kPEPE is a name.
    """
    if not symbol.isprintable() or set(symbol) & _NEVER_IN_SYMBOLS:
        raise UsageError(
            f"symbol {symbol!r} of {venue} is no symbol of ours", remedy=f"for example {venue}:linear:BTCUSDT"
        )
    if venue != "hyperliquid":
        symbol = symbol.upper()
    if venue == "okx":
        base, quote = _parts(venue, symbol)
        return f"{base}-{quote}" if kind == "spot" else f"{base}-{quote}-SWAP"
    if venue == "dydx":
        return "-".join(_parts(venue, symbol))
    return symbol


def our_symbol(venue: str, symbol: str) -> str:
    """Our name of a venue's symbol: ``BTCUSDT`` for OKX's ``BTC-USDT-SWAP``, ``BTCUSD`` for dYdX's ``BTC-USD``."""
    if venue == "okx":
        return symbol.removesuffix("-SWAP").replace("-", "")
    if venue == "dydx":
        return symbol.replace("-", "").replace(",", "_")
    return symbol


def instrument(venue: str, kind: str, symbol: str) -> str:
    """``venue:kind:SYMBOL`` with our symbol, from a venue's."""
    return f"{venue}:{kind}:{our_symbol(venue, symbol)}"


def _parts(venue: str, symbol: str) -> tuple[str, str]:
    for quote in _QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol.removesuffix(quote), quote
    raise UsageError(
        f"symbol {symbol!r} of {venue} does not end in {', '.join(_QUOTES)}",
        remedy=f"for example {venue}:linear:BTCUSDT",
    )
