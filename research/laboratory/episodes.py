"""The days that a replay goes through, and how their real data come into a lake by the product's importers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from crypto.errors import DataError, UsageError
from crypto.settings import PairSettings
from data.store import freqtrade
from data.store.lake import Lake
from data.store.pieces import IngestOptions, ingest_piece


@dataclass(frozen=True, slots=True)
class Episode:
    """A few days of stress. ``load_from``: warm-up of volatility and basis; the book opens at ``start``. UTC."""

    name: str
    title: str
    load_from: str
    start: str
    end: str
    resolutions: tuple[str, ...]  # finest first; the first one is the default


HOURLY = ("1h",)
EPISODES: Mapping[str, Episode] = {
    item.name: item
    for item in (
        Episode("2020-03-12", "Black Thursday", "2020-03-06", "2020-03-12", "2020-03-14T12:00", HOURLY),
        Episode("2021-05-19", "The 19th of May", "2021-05-13", "2021-05-19", "2021-05-21T12:00", HOURLY),
        Episode("2022-11-08", "The end of FTX", "2022-11-02", "2022-11-08", "2022-11-11", HOURLY),
        Episode("2025-10-10", "The liquidations of 10 October", "2025-10-07", "2025-10-10T12:00", "2025-10-12",
                ("5m", "1h")),
    )
}  # fmt: skip
FOLDERS = {"1h": ("binance-usdm-1h-roshan7869",), "5m": ("binance-usdm-1h-roshan7869", "binance-5m-2025-10-harthor")}


def episode_of(name: str) -> Episode:
    """The episode of that day; ``UsageError`` lists those that are known."""
    if name not in EPISODES:
        raise UsageError(f"--event {name!r} is not known", remedy=f"give one of {', '.join(EPISODES)}")
    return EPISODES[name]


def resolution_of(episode: Episode, wanted: str | None) -> str:
    """Length of the bars; ``UsageError`` when the data of that day are not that fine."""
    if wanted is None:
        return episode.resolutions[0]
    if wanted not in episode.resolutions:
        raise UsageError(
            f"--resolution {wanted} is not held for {episode.name}", remedy=f"there is {', '.join(episode.resolutions)}"
        )
    return wanted


def fill_lake(folder: Path, lake: Path, resolution: str, pairs: Sequence[PairSettings]) -> None:
    """Read the files of the pairs' symbols below ``folder`` into a new lake. ``DataError`` names what is missing."""
    target = Lake(lake)
    symbols = sorted({key.split(":")[2] for pair in pairs for key in (pair.spot, pair.perp)})
    for pair in pairs:
        for key in (pair.spot, pair.perp):
            if not key.startswith("binance:"):
                raise DataError(f"{key}: the episodes' files are Binance's", remedy="ingest it and name it with --lake")
    for name in FOLDERS[resolution]:
        if not (folder / name).is_dir():
            raise DataError(
                f"{folder / name} is not there",
                remedy="name the folder of the data with --data, or a lake with --lake",
            )
        found, _ = freqtrade.find_files(folder / name, "binance")
        chosen = freqtrade.select(found, [item for item in symbols if _is_held(found, item)], [])
        for piece in freqtrade.read_files(chosen, f"freqtrade {name}"):
            ingest_piece(target, piece, IngestOptions())


def _is_held(found: Sequence[freqtrade.Found], symbol: str) -> bool:
    return any(file.key.symbol == symbol for file in found)
