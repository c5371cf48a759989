"""Finding venues, instruments and pairs by name, with the user's filter overrides applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from difflib import get_close_matches
from types import MappingProxyType

from crypto.errors import SettingsError
from crypto.instruments import Instrument, Kind, Pair, parse_key
from crypto.settings import InstrumentSettings
from crypto.venues.base import Venue
from crypto.venues.binance import BINANCE
from crypto.venues.bybit import BYBIT

VENUES: Mapping[str, Venue] = MappingProxyType({known.name: known for known in (BINANCE, BYBIT)})


def venue(name: str) -> Venue:
    """The venue of that name; ``SettingsError`` listing the known ones when there is none."""
    if name in VENUES:
        return VENUES[name]
    raise SettingsError(
        f"unknown venue {name!r}{_did_you_mean(name, VENUES)}", remedy=f"known venues: {', '.join(sorted(VENUES))}"
    )


def instrument(key: str, overrides: Mapping[str, InstrumentSettings]) -> Instrument:
    """The instrument ``venue:kind:SYMBOL`` from the shipped tables, with ``overrides[key]`` applied on top.

    A symbol that is not shipped is defined by an override that gives tick, lot, min_quantity, min_notional, base and
    quote (and multiplier for an inverse contract). ``SettingsError`` for unknown names, for an incomplete definition
    and for impossible filters.
    """
    venue_name, kind, symbol = parse_key(key)
    owner = venue(venue_name)
    override = overrides.get(key)
    shipped = owner.instruments.get((kind, symbol))
    if override is None:
        if shipped is None:
            raise _unknown_instrument(key, owner, overrides)
        return shipped
    found = _define(key, kind, symbol, owner, override) if shipped is None else _replace(shipped, override)
    _check_filters(found)
    return found


def pair(spot_key: str, perp_key: str, overrides: Mapping[str, InstrumentSettings]) -> Pair:
    """The pair of two instruments; ``SettingsError`` when a leg is unknown or the legs do not belong together."""
    return Pair(spot=instrument(spot_key, overrides), perp=instrument(perp_key, overrides))


def check_overrides(overrides: Mapping[str, InstrumentSettings]) -> None:
    """``SettingsError`` for the first override whose key or filters are wrong, used by a pair or not."""
    for key in overrides:
        instrument(key, overrides)


def _replace(shipped: Instrument, given: InstrumentSettings) -> Instrument:
    return replace(
        shipped,
        base=given.base or shipped.base,
        quote=given.quote or shipped.quote,
        tick=shipped.tick if given.tick is None else given.tick,
        lot=shipped.lot if given.lot is None else given.lot,
        min_quantity=shipped.min_quantity if given.min_quantity is None else given.min_quantity,
        min_notional=shipped.min_notional if given.min_notional is None else given.min_notional,
        multiplier=shipped.multiplier if given.multiplier is None else given.multiplier,
    )


def _define(key: str, kind: Kind, symbol: str, owner: Venue, given: InstrumentSettings) -> Instrument:
    needed = {
        "tick": given.tick,
        "lot": given.lot,
        "min_quantity": given.min_quantity,
        "min_notional": given.min_notional,
        # The size of an inverse contract differs by venue and symbol, so there is no harmless default.
        "multiplier": Decimal(1) if given.multiplier is None and kind is not Kind.INVERSE else given.multiplier,
    }
    filters = {name: value for name, value in needed.items() if value is not None}
    texts = {"base": given.base, "quote": given.quote}
    missing = [name for name in needed if name not in filters] + [name for name, text in texts.items() if not text]
    if missing:
        raise SettingsError(
            f'[instruments."{key}"] lacks {", ".join(missing)}',
            remedy=f"{symbol} is not in the shipped {owner.name} table, so every filter of it has to be given",
        )
    return Instrument(
        venue=owner.name,
        kind=kind,
        symbol=symbol,
        base=given.base,
        quote=given.quote,
        tick=filters["tick"],
        lot=filters["lot"],
        min_quantity=filters["min_quantity"],
        min_notional=filters["min_notional"],
        multiplier=filters["multiplier"],
        closing_may_be_below_min_notional=owner.closing_may_be_below_min_notional[kind],
    )


def _check_filters(found: Instrument) -> None:
    table = f'[instruments."{found.key}"]'
    for name in ("tick", "lot", "min_quantity", "multiplier"):
        value: Decimal = getattr(found, name)
        if not (value.is_finite() and value > 0):
            raise SettingsError(f"{table} {name} = {value} is not a positive number", remedy=f"give {name} > 0")
    if not (found.min_notional.is_finite() and found.min_notional >= 0):
        raise SettingsError(
            f"{table} min_notional = {found.min_notional} is negative or not a number",
            remedy="give 0 when the venue has no such filter",
        )
    if found.min_quantity % found.lot:
        raise SettingsError(
            f"{table} min_quantity = {found.min_quantity} is not a multiple of lot = {found.lot}",
            remedy="round min_quantity up to whole lots",
        )


def _unknown_instrument(key: str, owner: Venue, overrides: Mapping[str, InstrumentSettings]) -> SettingsError:
    known = [item.key for item in owner.instruments.values()] + list(overrides)
    return SettingsError(
        f"unknown instrument {key!r}{_did_you_mean(key, known)}",
        remedy=f'add [instruments."{key}"] with tick, lot, min_quantity, min_notional, base, quote'
        + (", multiplier" if parse_key(key)[1] is Kind.INVERSE else ""),
    )


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    matches = get_close_matches(name, list(known), n=3)
    return f"; did you mean {' or '.join(matches)}?" if matches else ""
