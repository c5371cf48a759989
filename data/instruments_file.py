"""Reader of the files of instrument filters that ``carry fetch markets`` writes. Standard library only, as settings."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path
from typing import Any

from crypto.errors import SettingsError

_REMEDY = "make it again with carry fetch markets"


def read_instruments(path: Path, wanted: Collection[str]) -> dict[str, dict[str, Any]]:
    """The ``[instruments]`` tables of the file for the instruments ``wanted`` (``venue:kind:SYMBOL``) that it has.

    Only those, because a file holds hundreds and a run's settings are written into its results. ``SettingsError``
    names the file when it can't be read or holds something else.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        raise SettingsError(f"instruments file {path} can't be read: {error.strerror}", remedy=_REMEDY) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"instruments file {path} is not valid TOML: {error}", remedy=_REMEDY) from error
    tables = document.get("instruments")
    if set(document) != {"instruments"} or not isinstance(tables, dict):
        raise SettingsError(f"instruments file {path} holds something else than [instruments] tables", remedy=_REMEDY)
    return {key: table for key, table in tables.items() if key in wanted}
