"""Lean's symbol properties: tick, lot, smallest order and multiplier of every instrument, from our own tables.

Lean's shipped table has no smallest order for Binance perpetuals and a lot of BTCUSDT from long ago (lean.md 5.1), so
every instrument that we know is written with our filters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from crypto.errors import DataError, RefusedError
from crypto.instruments import Instrument, Kind
from crypto.settings import InstrumentSettings
from crypto.venues.registry import VENUES, instrument
from data.lean_folder.layout import CRYPTO, CRYPTO_FUTURE, SYMBOL_PROPERTIES, Place, check_valued_rightly, ticker

HEADER = (
    "market,symbol,type,description,quote_currency,contract_multiplier,minimum_price_variation,lot_size,market_ticker,"
    "minimum_order_size,price_magnifier,strike_multiplier"
)
# What Lean's brokerage model compares with the column: the order's value on Binance, its quantity elsewhere.
_SMALLEST_ORDER_IS_NOTIONAL = ("binance",)
_PRICE_ONLY = "1,0.00000001,1"  # multiplier, tick and lot of a market that is never traded

Key = tuple[str, str, str]


def known_instruments(overrides: Mapping[str, InstrumentSettings]) -> dict[str, Instrument]:
    """Every instrument of the shipped tables and the user's own, by key."""
    keys = {item.key for owner in VENUES.values() for item in owner.instruments.values()} | overrides.keys()
    return {key: instrument(key, overrides) for key in sorted(keys)}


def properties_row(found: Instrument) -> str:
    """Line of an instrument. Quantities are contracts, as in the tables: 1000PEPE has multiplier 1 in Lean too.

    The multiplier of an inverse contract is its value in the quote asset. ``RefusedError`` where Lean would value it
    wrongly.
    """
    check_valued_rightly(found)
    kind = CRYPTO if found.kind is Kind.SPOT else CRYPTO_FUTURE
    multiplier = found.multiplier if found.kind is Kind.INVERSE else Decimal(1)
    by_notional = found.venue in _SMALLEST_ORDER_IS_NOTIONAL
    smallest = found.min_notional if by_notional else found.min_quantity
    columns = [
        found.venue,
        ticker(found.symbol, found.quote),
        kind,
        found.key,
        found.quote,
        _text(multiplier),
        _text(found.tick),
        _text(found.lot),
        _venue_ticker(found),
        _text(smallest) if smallest else "",
    ]
    return ",".join(columns)


def price_row(place: Place, quote: str, description: str) -> str:
    """Line of a market that only carries prices or rates."""
    return f"{place.market},{place.ticker},{CRYPTO_FUTURE},{description},{quote},{_PRICE_ONLY},{place.ticker},"


def properties_text(instruments: Iterable[Instrument], prices: Iterable[str], lean: str = "") -> str:
    """The whole file: our instruments, then the lines of ``lean`` (Lean's own file) that we do not have, then prices.

    A market that only carries prices comes last, because Lean takes the first market that has a ticker as its default.
    Instruments that Lean would value wrongly are left out.
    """
    own: dict[Key, str] = {}
    for found in instruments:
        try:
            row = properties_row(found)
        except RefusedError:
            continue
        own.setdefault(_key(row), row)
    carried = {_key(row): row for row in prices}
    kept = [row for row in _rows(lean) if _key(row) not in own and _key(row) not in carried]
    return "\n".join([HEADER, *sorted(own.values()), *kept, *sorted(carried.values())]) + "\n"


def read_properties(root: Path) -> dict[Key, list[str]]:
    """Columns of every line of a folder's file by (market, ticker, type). ``DataError`` when it is missing."""
    path = root / SYMBOL_PROPERTIES
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist", remedy="write the folder with carry lean export") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read: {error}", remedy="write the folder again: carry lean export"
        ) from error
    return {_key(row): row.split(",") for row in _rows(text)}


def quote_of(properties: Mapping[Key, Sequence[str]], place: Place) -> str:
    """Quote asset of a ticker in the folder; empty when the folder does not list it."""
    row = properties.get((place.market, place.ticker, place.security_type))
    return row[4] if row and len(row) > 4 else ""


def _rows(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    rows = lines[1:]  # the header
    for row in rows:
        if row.count(",") < 7:
            raise DataError(f"symbol properties: {row!r} has too few columns", remedy="take Lean's own file as it is")
    return rows


def _key(row: str) -> Key:
    market, name, kind = row.split(",", maxsplit=3)[:3]
    return market, name, kind


def _venue_ticker(found: Instrument) -> str:
    """The venue's own name, which live brokerages need: Binance adds _PERP to its inverse perpetuals."""
    is_short = found.venue == "binance" and found.kind is Kind.INVERSE and not found.symbol.endswith("_PERP")
    return f"{found.symbol}_PERP" if is_short else found.symbol


def _text(value: Decimal) -> str:
    return format(value.normalize(), "f")
