"""Writes a generated market to files: an .npz for nautilus_trader, feather files as freqtrade keeps them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from pyarrow import feather

from bench.markets import Leg, legs
from crypto.market import Bars, Floats, Integers, MarketHistory

COLUMNS = ("open", "high", "low", "close", "volume")


def write_npz(market: MarketHistory, path: Path) -> None:
    """Bars of all legs with their keys, bases and decimals, for ``bench/peers/nautilus_bars.py``."""
    arrays: dict[str, object] = {"open_ms": market.open_ms, "bar_ms": market.bar_ms}
    for number, (history, leg) in enumerate(zip(market.instruments, legs(), strict=True)):
        if history.key != leg.key:
            raise ValueError(f"instrument {number} of the market is {history.key}, expected {leg.key}")
        arrays[f"leg{number}"] = np.stack(_columns(history.bars))
    arrays["keys"] = np.array([leg.key for leg in legs()])
    arrays["bases"] = np.array([leg.base for leg in legs()])
    arrays["decimals"] = np.array([leg.decimals for leg in legs()])
    np.savez(path, **arrays)


def write_freqtrade(market: MarketHistory, folder: Path) -> tuple[Path, ...]:
    """Write spot, perp, mark and funding files as freqtrade's cache names them; returns the traded legs' files."""
    (folder / "futures").mkdir(parents=True)
    traded: list[Path] = []
    for history, leg in zip(market.instruments, legs(), strict=True):
        path = _bars_path(folder, leg)
        _write(path, market.open_ms, _columns(history.bars))
        traded.append(path)
        if history.mark is not None:
            _write(_futures_path(folder, leg, "mark"), market.open_ms, _columns(history.mark))
        if history.settlements is not None:
            rate = history.settlements.funding_rate
            zeros = np.zeros(rate.size)
            # freqtrade keeps the funding rate in the open column and zeros in the others.
            _write(
                _futures_path(folder, leg, "funding_rate"),
                history.settlements.time_ms,
                (rate, zeros, zeros, zeros, zeros),
            )
    return tuple(traded)


def _bars_path(folder: Path, leg: Leg) -> Path:
    if ":spot:" in leg.key:
        return folder / f"{leg.base}_USDT-1h.feather"
    return _futures_path(folder, leg, "futures")


def _futures_path(folder: Path, leg: Leg, series: str) -> Path:
    return folder / "futures" / f"{leg.base}_USDT_USDT-1h-{series}.feather"


def _columns(bars: Bars) -> tuple[Floats, ...]:
    return bars.open, bars.high, bars.low, bars.close, bars.volume


def _write(path: Path, time_ms: Integers, columns: tuple[Floats, ...]) -> None:
    frame = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))
    frame.insert(0, "date", pd.to_datetime(time_ms, unit="ms", utc=True).as_unit("ms"))
    feather.write_feather(frame, str(path), compression="lz4", compression_level=9)
