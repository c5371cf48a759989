"""What can go wrong with a call to a venue, as one message with venue, route, parameters and what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crypto.errors import DataError

# Never shown, whatever a venue or a caller put there.
_SECRET_NAMES = frozenset({"apikey", "api_key", "signature", "sign", "secret", "timestamp", "recvwindow"})
_MOST_WORDS = 200
AROUND_THE_ARCHIVE = "--source rest goes around the archive"
_TITLE = re.compile(rb"<title>(.*?)</title>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a call went: venue, route as the venue documents it, and the parameters without anything secret."""

    venue: str
    route: str
    parameters: Mapping[str, Any]

    def __str__(self) -> str:
        """``binance GET /fapi/v1/klines (symbol=BTCUSDT, limit=1000)``."""
        shown = ", ".join(
            f"{name}={value}" for name, value in self.parameters.items() if name.lower() not in _SECRET_NAMES
        )
        return f"{self.venue} {self.route} ({shown})" if shown else f"{self.venue} {self.route}"


class FetchError(DataError):
    """A call failed for good. What was fetched before it is kept."""


class BanError(FetchError):
    """The venue told us to stay away for longer than we are willing to wait; nothing more may be asked of it."""


class KeyRefusedError(FetchError):
    """A key is missing, unknown or lacks a permission."""


class UnknownSymbolError(FetchError):
    """The venue does not list that symbol."""


def html_words(content: bytes) -> str:
    """Title of an HTML page in quotes, empty when it has none."""
    title = _TITLE.search(content)
    return f" titled {short(title[1].decode('utf-8', 'replace').strip())!r}" if title else ""


def short(text: str) -> str:
    """The text on one line, cut to what a message can hold."""
    line = " ".join(text.split())
    return line if len(line) <= _MOST_WORDS else line[: _MOST_WORDS - 3] + "..."


def without(text: str, secrets: tuple[str, ...]) -> str:
    """The text with every secret in it replaced by stars."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text
