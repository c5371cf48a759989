"""Lean's parameters as changes of the settings file: ``section.key`` as in ``config/carry.toml``, so that Lean's
optimizer reaches every key. Unknown names and values out of range are refused by the reader of the settings.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from crypto.errors import SettingsError
from crypto.settings import AccountModel, FundingClock, Settings
from models.custom_data import SERIES as KNOWN_SERIES

CONFIG, SERIES = "config", "series"
DEFAULT_CONFIG = "config/carry.toml"


class Parameters(NamedTuple):
    """Settings file relative to the project, changes to it as ``section.key=value``, and series to subscribe."""

    config: str
    settings: tuple[str, ...]
    series: tuple[str, ...]


def overrides(parameters: Any) -> Parameters:
    """Lean's parameters (a mapping of texts), sorted by name; ``SettingsError`` for a name without a section."""
    given = {str(name): str(parameters[name]) for name in list(parameters.keys())}
    config = given.pop(CONFIG, DEFAULT_CONFIG)
    series = tuple(given.pop(SERIES, "").split())
    for name in series:
        if name not in KNOWN_SERIES:
            raise SettingsError(
                f"Lean parameter series names {name!r}", remedy=f"known series: {', '.join(KNOWN_SERIES)}"
            )
    for name in given:
        if "." not in name:
            raise SettingsError(
                f"Lean parameter {name!r} is unknown",
                remedy=f"give {CONFIG}, {SERIES} or section.key as in {DEFAULT_CONFIG}, like signal.holding_hours",
            )
    return Parameters(config, tuple(f"{name}={given[name]}" for name in sorted(given)), series)


def check_conventions(settings: Settings) -> None:
    """``SettingsError`` for settings with which the embedded engine imitates Lean: in Lean they mean nothing."""
    if settings.run.account is AccountModel.LEAN or settings.funding.clock is FundingClock.LEAN:
        raise SettingsError(
            'run.account = "lean" and funding.clock = "lean" imitate stock Lean on the embedded engine',
            remedy='leave them at "venue" and "contract" for a run on Lean',
        )
