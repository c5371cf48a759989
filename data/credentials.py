"""API keys from the environment or from a file that only its owner may read. Read-only keys are enough for everything.

A secret is in no ``repr``, message or log. Spec: docs/specs/sources.md.
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path

from crypto.errors import RefusedError

FILE_VARIABLE = "CARRY_CREDENTIALS"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Credentials:
    """Key and secret of one venue. ``source`` says where they were found; printing shows nothing else."""

    __slots__ = ("_key", "_secret", "source", "venue")

    def __init__(self, venue: str, key: str, secret: str, source: str) -> None:
        self.venue, self.source = venue, source
        self._key, self._secret = key, secret

    @property
    def key(self) -> str:
        """The key itself, for the signer only."""
        return self._key

    @property
    def secret(self) -> str:
        """The secret itself, for the signer only."""
        return self._secret

    def __repr__(self) -> str:
        """Venue and source, never the key or the secret."""
        return f"Credentials({self.venue}, from {self.source})"

    def __reduce__(self) -> str:
        """Refuses pickling: a secret must not get into a file or another process unseen."""
        raise TypeError("credentials are not pickled")


def variable_names(venue: str) -> tuple[str, str]:
    """Environment variables of a venue's key and secret: ``CARRY_BINANCE_KEY``, ``CARRY_BINANCE_SECRET``."""
    return f"CARRY_{venue.upper()}_KEY", f"CARRY_{venue.upper()}_SECRET"


def find_credentials(venue: str, environment: Mapping[str, str], path: Path | None = None) -> Credentials | None:
    """Credentials of ``venue``: environment first, then ``path`` or the file that ``CARRY_CREDENTIALS`` names.

    The file is TOML, ``[binance]`` with ``key`` and ``secret``. None when there are none. ``RefusedError`` when only
    one of the pair is given, or the file is not the user's own, may be read by others, or is malformed.
    """
    names = variable_names(venue)
    values = tuple(environment.get(name, "") for name in names)
    if any(values):
        if not all(values):
            absent = names[0] if not values[0] else names[1]
            raise RefusedError(f"{absent} is not set", remedy=f"set both {names[0]} and {names[1]}, or neither")
        return Credentials(venue, values[0], values[1], "the environment")
    named = environment.get(FILE_VARIABLE, "")
    file = path or (Path(named) if named else None)
    return None if file is None else _from_file(venue, file)


def _from_file(venue: str, path: Path) -> Credentials | None:
    table = _read_private(path).get(venue)
    if table is None:
        return None
    values = [table.get(name) for name in ("key", "secret")] if isinstance(table, dict) else []
    if len(values) != 2 or not all(isinstance(value, str) and value for value in values):
        raise RefusedError(
            f"{path}: [{venue}] lacks key or secret", remedy='write key = "..." and secret = "..." below it'
        )
    return Credentials(venue, str(values[0]), str(values[1]), str(path))


def _read_private(path: Path) -> dict[str, object]:
    """The TOML file, after its rights were checked on the open file itself."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if found.st_uid != os.getuid():
                raise RefusedError(f"{path} belongs to another user", remedy="use a file of your own")
            if found.st_mode & _OTHERS:
                raise RefusedError(
                    f"{path} may be read by others (mode {stat.S_IMODE(found.st_mode):04o})",
                    remedy=f"chmod 600 {path}, and make new keys if others may have seen it",
                )
            return tomllib.load(file)
    except OSError as error:
        raise RefusedError(f"{path} can't be read: {error.strerror}", remedy="check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        # Without the parser's words: they quote the line, which may be the secret.
        raise RefusedError(f"{path} is not TOML", remedy='write [binance], key = "..." and secret = "..."') from None
