"""Reading one instant of several venues from a snapshot: a file, standard input or a local socket. Parsing is pure.

The form is a JSON object; docs/specs/oracle.md describes it.
"""

from __future__ import annotations

import json
import math
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crypto.errors import DataError
from crypto.oracle import Source, mid_price

_SOCKET_SECONDS = 5.0
_MOST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Sources by asset with their age at ``time_ms``, and units of the common quote per unit of other quotes."""

    time_ms: int
    sources: Mapping[str, tuple[Source, ...]]
    quote_rates: Mapping[str, float]


def read_snapshot(path: Path) -> bytes:
    """Content of a file, of standard input (``-``), or what a local (Unix) socket sends until it closes or ends a line.

    ``DataError`` when there is nothing to read.
    """
    if str(path) == "-":
        return sys.stdin.buffer.read(_MOST_BYTES)
    try:
        content = _from_socket(path) if path.is_socket() else path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"snapshot {path} cannot be read: {reason}", remedy="check the path, and that the feed runs"
        ) from error
    return content


def _from_socket(path: Path) -> bytes:
    received = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_SOCKET_SECONDS)
        connection.connect(str(path))
        while not received.endswith(b"\n") and len(received) < _MOST_BYTES:
            part = connection.recv(65536)
            if not part:
                break
            received += part
    return bytes(received)


def parse_snapshot(
    content: bytes, name: str, weights: Mapping[str, float], max_spread: Callable[[str], float]
) -> Snapshot:
    """Sources of a snapshot; a top of book wider than ``max_spread(asset)`` is bad. ``DataError`` names what is wrong."""
    try:
        whole = json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(
            f"snapshot {name} is not JSON: {error}", remedy="see docs/specs/oracle.md for its form"
        ) from error
    if not isinstance(whole, dict) or not isinstance(whole.get("sources"), list):
        raise DataError(f"snapshot {name} has no list 'sources'", remedy="see docs/specs/oracle.md for its form")
    time_ms = int(_number(whole, "time_ms", name))
    given = whole.get("quote_rates", {})
    if not isinstance(given, dict):
        raise DataError(f"snapshot {name}: quote_rates is not an object", remedy='write {"USDC": 0.9998}')
    rates = {str(quote): _number(given, quote, f"{name} quote_rates") for quote in given}
    sources: dict[str, list[Source]] = {}
    for index, item in enumerate(whole["sources"]):
        where = f"{name} sources[{index}]"
        if not isinstance(item, dict):
            raise DataError(f"snapshot {where} is not an object", remedy="see docs/specs/oracle.md for its form")
        asset = _text(item, "asset", where)
        found = _source(item, where, time_ms, weights, max_spread(asset))
        sources.setdefault(asset, []).append(found)
    return Snapshot(time_ms, {asset: tuple(several) for asset, several in sources.items()}, rates)


def _source(
    item: Mapping[str, Any], where: str, time_ms: int, weights: Mapping[str, float], max_spread: float
) -> Source:
    venue = _text(item, "venue", where)
    multiplier = _number(item, "multiplier", where) if "multiplier" in item else 1.0
    age = time_ms - _number(item, "received_ms", where)
    weight = weights.get(venue, 1.0)
    if "bid" in item or "ask" in item:
        price = mid_price(_number(item, "bid", where), _number(item, "ask", where), max_spread)
        bad_book = math.isnan(price)
    else:
        price, bad_book = _number(item, "price", where), False
    return Source(venue, price / multiplier, _text(item, "quote", where), age, weight, bad_book)


def _text(item: Mapping[str, Any], name: str, where: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not value:
        raise DataError(f"snapshot {where}: {name} is missing or not text", remedy="see docs/specs/oracle.md")
    return value


def _number(item: Mapping[str, Any], name: str, where: str) -> float:
    """A number, also written as text as venues do; null is NaN: not known."""
    value = item.get(name, "")
    if value is None:
        return math.nan
    try:
        return float(str(value) if isinstance(value, bool) else value)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"snapshot {where}: {name} = {value!r} is not a number", remedy="see docs/specs/oracle.md"
        ) from error
