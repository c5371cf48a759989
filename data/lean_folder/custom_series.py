"""Rate files that the custom data of a run on Lean read, one per series and perpetual; a live feed appends to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from crypto.errors import DataError
from crypto.instruments import Instrument, Kind
from data.lean_folder.layout import BORROW, CRYPTO_FUTURE, Place, borrow_ticker, price_market, ticker


def custom_series_path(root: Path, item: Instrument, series: str) -> Path:
    """File of a perpetual's funding, mark, index or oracle series, or of its base asset's borrow rate."""
    if series == BORROW:
        place = Place(CRYPTO_FUTURE, price_market(item.venue, BORROW), borrow_ticker(item.base))
    else:
        market = item.venue if series == "funding" else price_market(item.venue, series)
        place = Place(CRYPTO_FUTURE, market, ticker(item.symbol, item.quote))
    return root / place.rate_path


def check_custom_series(root: Path, instruments: Iterable[Instrument], series: Sequence[str]) -> None:
    """``DataError`` for a series that the folder does not have: Lean would deliver nothing and say nothing."""
    for item in instruments:
        for name in series if item.kind is not Kind.SPOT else ():
            path = custom_series_path(root, item, name)
            if not path.is_file():
                raise DataError(
                    f"{path} does not exist: no {name} series of {item.key}",
                    remedy=f"ingest it and run carry lean export, or take {name} out of the parameter series",
                )
