"""Rate files that the custom data of a run on Lean read, one per series and perpetual; a live feed appends to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from crypto.errors import DataError, RefusedError
from crypto.instruments import Instrument, Kind
from crypto.settings import Settings
from data.lean_folder.exported import composites_of
from data.lean_folder.layout import (
    BORROW,
    CRYPTO_FUTURE,
    ORACLE,
    VENUE_ORACLE,
    Place,
    borrow_ticker,
    composite_place,
    price_market,
    ticker,
)
from data.oracle_history import oracle_requests


def custom_series_place(item: Instrument, series: str, unit: str) -> Place:
    """Rate file of a perpetual's funding, mark, index or own oracle series, of its base asset's borrow rate, or of
    that asset's composite oracle in ``unit``.
    """
    if series == BORROW:
        return Place(CRYPTO_FUTURE, price_market(item.venue, BORROW), borrow_ticker(item.base))
    if series == ORACLE:
        return composite_place(item.base, unit)
    own = ORACLE if series == VENUE_ORACLE else series
    market = item.venue if series == "funding" else price_market(item.venue, own)
    return Place(CRYPTO_FUTURE, market, ticker(item.symbol, item.quote))


def custom_series_name(item: Instrument, series: str, unit: str) -> tuple[str, str]:
    """Market and ticker of that file."""
    place = custom_series_place(item, series, unit)
    return place.market, place.ticker


def check_custom_series(
    root: Path, instruments: Iterable[Instrument], series: Sequence[str], settings: Settings
) -> None:
    """``DataError`` for a series that the folder does not have: Lean would deliver nothing and say nothing.

    ``RefusedError`` for a composite oracle that was made with other limits or sources than those of the run.
    """
    perps = [item for item in instruments if item.kind is not Kind.SPOT]
    for item in perps:
        for name in series:
            path = root / custom_series_place(item, name, settings.oracle.unit).rate_path
            if not path.is_file():
                raise DataError(
                    f"{path} does not exist: no {name} series of {item.key}",
                    remedy=f"{_how(name)}, or take {name} out of the parameter series",
                )
    if ORACLE in series:
        _check_composites(composites_of(root), settings)


def _how(series: str) -> str:
    if series == ORACLE:
        return "run carry lean export --config SETTINGS with oracle.enabled = true, and bars of several venues"
    return "ingest it and run carry lean export"


def _check_composites(made: Mapping[str, str], settings: Settings) -> None:
    for request in oracle_requests(settings):
        if made.get(request.asset) != request.fingerprint:
            raise RefusedError(
                f"the composite oracle of {request.asset} in the data folder was made with other settings of [oracle] "
                "or of run.timeframe than this run has",
                remedy="run carry lean export --config with the settings of this run, or take oracle out of the "
                "parameter series",
            )
