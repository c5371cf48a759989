"""Lean's parameters, a flat map of texts, as the settings of a run. Standard library only: ``main.py`` reads them too.

``config`` names the settings file relative to the project; every other parameter is a key of it, as with ``--set``:
``signal.holding_hours`` -> ``240``. So Lean's optimizer reaches every setting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from crypto.errors import UsageError
from crypto.settings import Settings
from data.settings import load_settings

SETTINGS_FILE = "config"
DEFAULT_SETTINGS_FILE = "config/carry.toml"


def settings_from_parameters(parameters: Mapping[str, str], project: Path) -> Settings:
    """Settings of the run that Lean's parameters describe; the file is looked for below ``project``.

    ``SettingsError`` lists every parameter that is unknown, misspelt or out of range.
    """
    overrides = [f"{key}={value}" for key, value in parameters.items() if key != SETTINGS_FILE]
    return load_settings(project / parameters.get(SETTINGS_FILE, DEFAULT_SETTINGS_FILE), overrides)


def parameters_from(settings_file: str, overrides: Sequence[str]) -> dict[str, str]:
    """Parameters that stand for a settings file (relative to the project) and ``section.key=value`` overrides.

    Of two overrides of one key the later counts. ``UsageError`` for an override that isn't of that form.
    """
    parameters = {SETTINGS_FILE: settings_file}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                f"--set {override!r} is not of the form section.key=value",
                remedy="for example --set signal.holding_hours=240",
            )
        parameters.pop(key.strip(), None)
        parameters[key.strip()] = value.strip()
    return parameters
