"""Files that Lean reads whatever is traded: symbol properties, market hours, interest rate.

They are complete, so that an engine starts with this folder alone; with Lean's own data folder given, what that has
beside our instruments is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from crypto.errors import DataError
from crypto.instruments import Instrument
from crypto.settings import InstrumentSettings
from crypto.venues.registry import VENUES
from data.lean_folder.hours import hours_text
from data.lean_folder.layout import (
    BORROW,
    CRYPTO,
    CRYPTO_FUTURE,
    INTEREST_RATE,
    MARKET_HOURS,
    PRICE_SERIES,
    SYMBOL_PROPERTIES,
    Place,
    price_market,
)
from data.lean_folder.manifest import Manifest, Written, is_same_file, stamp_of_bytes
from data.lean_folder.plan import Job, price_place
from data.lean_folder.properties import known_instruments, price_row, properties_text
from data.store.atomic import write_bytes
from data.store.series import SeriesKey

# Lean subtracts this rate in its Sharpe ratio, and takes 1 % and logs an error when the file is missing. Zero is what
# Carry's own Sharpe ratio subtracts (docs/specs/post_trade.md), so the two figures mean the same.
ZERO_INTEREST = "date,primary credit rate in per cent a year\n1998-01-01,0\n"


def write(
    root: Path,
    jobs: Sequence[Job],
    manifest: Manifest,
    overrides: Mapping[str, InstrumentSettings],
    lean_data: Path | None,
    *,
    keep_others: bool,
) -> list[str]:
    """Write those that differ from what is there, enter them into the manifest, and return their names.

    ``keep_others``: series that are in the folder and not among the jobs stay. ``DataError`` when ``lean_data`` is not
    a data folder of Lean's.
    """
    prices = {str(job.key): _price_row(job.key, job.place, job.quote) for job in jobs}
    if keep_others:
        earlier = {name: _price_row(item.key, item.place, item.quote) for name, item in manifest.series.items()}
        prices = {**earlier, **prices}
    instruments = known_instruments(overrides)
    venues = set(VENUES) | {item.venue for item in instruments.values()} | {job.key.venue for job in jobs}
    texts = _texts(instruments, [row for row in prices.values() if row], venues, lean_data)
    return [name for name, text in texts.items() if _write(root, name, text.encode(), manifest)]


def _texts(
    instruments: Mapping[str, Instrument], prices: Sequence[str], venues: Iterable[str], lean_data: Path | None
) -> dict[str, str]:
    symbols = _lean_text(lean_data, SYMBOL_PROPERTIES) if lean_data else ""
    hours = _lean_text(lean_data, MARKET_HOURS) if lean_data else ""
    has_interest = lean_data is not None and (lean_data / INTEREST_RATE).is_file()
    return {
        SYMBOL_PROPERTIES: properties_text(instruments.values(), prices, symbols),
        MARKET_HOURS: hours_text(_markets(venues), hours),
        INTEREST_RATE: _lean_text(lean_data, INTEREST_RATE) if lean_data and has_interest else ZERO_INTEREST,
    }


def _markets(venues: Iterable[str]) -> list[tuple[str, str]]:
    markets = []
    for venue in venues:
        markets += [(CRYPTO, venue), (CRYPTO_FUTURE, venue)]
        markets += [(CRYPTO_FUTURE, price_market(venue, series)) for series in (*PRICE_SERIES, BORROW)]
    return markets


def _price_row(key: SeriesKey, place: Place, quote: str) -> str:
    """Line of the market without trading that a series needs; empty for bars."""
    carried = price_place(key, place)
    what = "mark" if key.series == "funding" else key.series
    return price_row(carried, quote, f"{what} {key.instrument}") if carried else ""


def _lean_text(lean_data: Path, name: str) -> str:
    path = lean_data / name
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read: {error}", remedy="name Lean's own Data folder with --data-folder-of-lean"
        ) from error


def _write(root: Path, name: str, content: bytes, manifest: Manifest) -> bool:
    known = manifest.shared.get(name)
    digest = hashlib.sha256(content).hexdigest()
    if known is not None and known.text_sha256 == digest and is_same_file(root / name, known.file):
        return False
    write_bytes(root / name, content)
    manifest.shared[name] = Written(stamp_of_bytes(root / name, content), digest)
    return True
