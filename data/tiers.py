"""Reader of the user's leverage tiers: JSON (or .json.gz) in ccxt's unified form, symbol -> list of tiers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crypto.errors import DataError
from crypto.instruments import Kind
from crypto.settings import Settings
from crypto.tiers import TierBook, TierRow, TierTable, tier_table
from crypto.units import parse_iso
from data.store.files import read_source

# BASE/QUOTE:SETTLE, and -YYMMDD for a dated contract.
_SYMBOL = re.compile(r"(?P<base>[^/:]+)/(?P<quote>[^/:]+):(?P<settle>[^/:-]+)(-(?P<expiry>\d{6}))?")
# Where venues put the deduction, which ccxt's unified part lacks: Binance, Bybit.
_DEDUCTIONS = ("cum", "mmDeduction")


def load_tiers(path: Path, venue: str, effective: str) -> TierBook:
    """Tier tables of every contract in the file, as ``venue:kind:SYMBOL``, valid from ``effective`` (ISO date, UTC) on.

    A tier needs minNotional, maxNotional (null: no limit, last tier only), maintenanceMarginRate and maxLeverage; a
    deduction in ``info`` (``cum`` or ``mmDeduction``) is checked against the others. A dated contract becomes
    ``SYMBOL_YYMMDD``. Notionals of inverse contracts are in coin.

    ``DataError`` names file, contract, tier and value of anything missing, malformed, overlapping, open or falling.
    """
    content, _ = read_source(path, path.name)
    effective_ms = parse_iso(effective)
    try:
        listed = json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not JSON: {error}", remedy="write it with ccxt's fetch_leverage_tiers") from error
    if not isinstance(listed, dict) or not listed:
        raise DataError(
            f"{path} holds no object of symbols", remedy='give {"BTC/USDT:USDT": [tier, ...]} as ccxt returns it'
        )
    return TierBook(_table(path, venue, effective_ms, symbol, tiers) for symbol, tiers in listed.items())


def _table(path: Path, venue: str, effective_ms: int, symbol: str, tiers: Any) -> TierTable:
    parts = _SYMBOL.fullmatch(symbol)
    if parts is None:
        raise DataError(
            f"{path}: {symbol!r} is not a contract symbol of the form BASE/QUOTE:SETTLE", remedy="use ccxt's symbols"
        )
    if not isinstance(tiers, list) or not tiers:
        raise DataError(f"{path}: {symbol} has no list of tiers", remedy="fetch its tiers again, or leave it out")
    kind = Kind.INVERSE if parts["settle"] == parts["base"] else Kind.LINEAR
    name = parts["base"] + parts["quote"] + (f"_{parts['expiry']}" if parts["expiry"] else "")
    rows = [_row(f"{path}: {symbol} tier {number}", tier) for number, tier in enumerate(tiers, start=1)]
    try:
        return tier_table(f"{venue}:{kind.value}:{name}", parts["settle"], effective_ms, rows, path.name)
    except DataError as error:
        raise DataError(f"{path}: {symbol}: {error.message}", remedy=error.remedy) from error


def _row(where: str, tier: Any) -> TierRow:
    if not isinstance(tier, dict):
        raise DataError(f"{where} is {tier!r}, not an object", remedy="give tiers as ccxt returns them")
    cap = math.inf if "maxNotional" in tier and tier["maxNotional"] is None else _number(where, tier, "maxNotional")
    info = tier.get("info")
    return TierRow(
        floor=_number(where, tier, "minNotional"),
        cap=cap,
        rate=_number(where, tier, "maintenanceMarginRate"),
        max_leverage=_number(where, tier, "maxLeverage"),
        deduction=_deduction(where, info) if isinstance(info, dict) else None,
    )


def _deduction(where: str, info: Mapping[str, Any]) -> float | None:
    for name in _DEDUCTIONS:
        # Bybit writes an empty text for the lowest tier and for tables without deductions.
        if info.get(name) not in (None, ""):
            return _number(where, info, name)
    return None


def _number(where: str, values: Mapping[str, Any], name: str) -> float:
    if name not in values:
        raise DataError(f"{where} lacks {name}", remedy="fetch the tiers again with ccxt")
    value = values[name]
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{where}: {name} = {value!r} is not a number", remedy="correct the value")
    return number


def tiers_of(settings: Settings, folder: Path = Path()) -> TierBook | None:
    """Leverage tiers from the files that the settings name, below ``folder``; None when they name none."""
    book = None
    for file in settings.margin.tier_files:
        found = load_tiers(folder / file.path, file.venue, file.effective)
        book = found if book is None else book.merged(found)
    return book
