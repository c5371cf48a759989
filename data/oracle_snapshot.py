"""One instant of several venues out of a feed's snapshot: a file, standard input or the feed's socket. Parsing is pure.

The snapshot is what ``carry feed`` answers to ``{"get": "snapshot"}``: instruments by name, each with its fields, their
values and ages. Spot books make the composite index, perpetuals' marks the composite mark. The index that a venue
publishes is not used: it is made of the same spot prices.
"""

from __future__ import annotations

import json
import math
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crypto.errors import CarryError, DataError, UsageError
from crypto.instruments import Kind, parse_key
from crypto.oracle import Source, evaluate
from crypto.oracle_composite import Rules, mid_price
from data.contract_terms import ContractTerms, contract_terms

KINDS: Mapping[str, tuple[Kind, ...]] = {"index": (Kind.SPOT,), "mark": (Kind.LINEAR, Kind.INVERSE)}
_SOCKET_SECONDS = 5.0
_MOST_BYTES = 64 * 1024 * 1024
_LATEST_MS = 253_402_300_799_999  # the last instant of the year 9999, after which a date cannot be written
_FORM = "a snapshot is what carry feed answers on its socket; see docs/specs/oracle.md"


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """How sources are made of a snapshot: ``kind`` index or mark, common quote, weights, widest book allowed."""

    kind: str
    unit: str
    weights: Mapping[str, float]
    max_spread: Callable[[str], float]

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(
                f"--kind {self.kind}: a feed's snapshot has no such prices", remedy=f"use {' or '.join(KINDS)}"
            )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Sources by asset, one per venue, and units of the common quote per unit of other quotes."""

    time_ms: int
    sources: Mapping[str, tuple[Source, ...]]
    quote_rates: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Quoted:
    """A price of one instrument, per base unit, in its quote."""

    kind: Kind
    symbol: str
    terms: ContractTerms
    source: Source


def read_snapshot(path: Path) -> bytes:
    """Content of a file or of standard input (``-``), or what a feed answers on the Unix socket ``path``.

    ``DataError`` when there is nothing to read.
    """
    if str(path) == "-":
        return sys.stdin.buffer.read(_MOST_BYTES)
    try:
        return _asked(path) if path.is_socket() else path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"snapshot {path} cannot be read: {reason}", remedy="check the path, and that carry feed runs"
        ) from error


def _asked(path: Path) -> bytes:
    received = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_SOCKET_SECONDS)
        connection.connect(str(path))
        connection.sendall(b'{"get": "snapshot"}\n')
        while not received.endswith(b"\n") and len(received) < _MOST_BYTES:
            part = connection.recv(65536)
            if not part:
                break
            received += part
    return bytes(received)


def parse_snapshot(content: bytes, name: str, request: SnapshotRequest, rules: Rules) -> Snapshot:
    """Sources of a snapshot; a field that the feed calls stale is. ``DataError`` names what is wrong with it.

    Other quotes are converted by the composite of the snapshot's own spot books under ``rules``, one venue being
    enough.
    """
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError) as error:  # bytes that are no text, text that is no JSON, numbers too long
        raise DataError(f"snapshot {name} is not JSON: {error}", remedy=_FORM) from error
    if not isinstance(whole, dict) or not isinstance(whole.get("instruments"), dict):
        raise DataError(f"snapshot {name} has no object 'instruments'", remedy=_FORM)
    time_ms = _instant(whole.get("time_ms"), f"{name} time_ms")
    quoted = list(_quoted(whole["instruments"], name, request))
    best: dict[tuple[str, str], _Quoted] = {}
    for item in quoted:
        if item.kind in KINDS[request.kind]:
            key = (item.terms.base, item.source.name)
            if key not in best or _rank(item, request.unit) < _rank(best[key], request.unit):
                best[key] = item
    sources: dict[str, list[Source]] = {}
    for (asset, _), item in sorted(best.items()):
        sources.setdefault(asset, []).append(item.source)
    return Snapshot(
        time_ms, {asset: tuple(several) for asset, several in sources.items()}, _rates(quoted, request, rules)
    )


def _rank(item: _Quoted, unit: str) -> tuple[bool, bool, str]:
    """Which of a venue's contracts on one asset is taken: two are not independent."""
    return item.terms.quote != unit, item.kind is Kind.INVERSE, item.symbol


def _quoted(instruments: Mapping[str, Any], name: str, request: SnapshotRequest) -> Iterator[_Quoted]:
    for key, described in instruments.items():
        where = f"{name} {key}"
        try:
            venue, kind, symbol = parse_key(key)
        except CarryError as error:
            raise DataError(f"snapshot {name}: {error.message}", remedy=_FORM) from error
        fields = described.get("fields") if isinstance(described, dict) else None
        if not isinstance(fields, dict):
            raise DataError(f"snapshot {where} has no object 'fields'", remedy=_FORM)
        terms = contract_terms(venue, kind.value, symbol)
        if terms is not None:
            weight = request.weights.get(venue, 1.0)
            if kind is Kind.SPOT:
                source = _of_book(venue, fields, where, terms, weight, request.max_spread(terms.base))
            else:
                price, age = _field(fields, "mark", where)
                source = Source(venue, price / terms.multiplier, terms.quote, age, weight)
            yield _Quoted(kind, symbol, terms, source)


def _of_book(
    venue: str, fields: Mapping[str, Any], where: str, terms: ContractTerms, weight: float, max_spread: float
) -> Source:
    bid, bid_age = _field(fields, "bid", where)
    ask, ask_age = _field(fields, "ask", where)
    price = mid_price(bid, ask, max_spread)
    is_bad = math.isnan(price) and not (math.isnan(bid) or math.isnan(ask))
    return Source(venue, price / terms.multiplier, terms.quote, max(bid_age, ask_age), weight, is_bad)


def _field(fields: Mapping[str, Any], field: str, where: str) -> tuple[float, float]:
    """Value and age in milliseconds: NaN when not known, infinitely old when the feed calls the field stale."""
    held = fields.get(field)
    if held is None:
        return math.nan, math.nan
    if not isinstance(held, dict):
        raise DataError(f"snapshot {where}: {field} is not an object", remedy=_FORM)
    value = _number(held.get("value"), f"{where} {field} value")
    age = _number(held.get("age_ms"), f"{where} {field} age_ms")
    return value, math.inf if held.get("stale", True) else age


def _instant(value: object, where: str) -> int:
    """Milliseconds since 1970 in a year that can be written."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LATEST_MS:
        raise DataError(f"snapshot {where} = {value!r} is not an instant in milliseconds since 1970", remedy=_FORM)
    return int(value)


def _number(value: object, where: str) -> float:
    """A number; null is NaN: not known."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"snapshot {where} = {value!r} is not a number", remedy=_FORM)
    try:
        return float(value)
    except OverflowError as error:
        raise DataError(f"snapshot {where} is too large for a number", remedy=_FORM) from error


def _rates(quoted: list[_Quoted], request: SnapshotRequest, rules: Rules) -> dict[str, float]:
    """Units of the common quote per unit of each quote that a spot book trades against it.

    Books that contradict each other give no rate, as for stored series: their middle would be a rate that no venue has.
    """
    found: dict[str, dict[str, Source]] = {}
    for item in quoted:
        if item.kind is not Kind.SPOT:
            continue
        if item.terms.quote == request.unit:
            found.setdefault(item.terms.base, {})[f"{item.source.name} {item.symbol}"] = item.source
        if item.terms.base == request.unit:
            turned = replace(item.source, price=1.0 / item.source.price if item.source.price > 0.0 else math.nan)
            found.setdefault(item.terms.quote, {})[f"{item.source.name} {item.symbol}"] = turned
    enough = rules._replace(quorum=1, degraded_quorum=1)
    rates = {}
    for quote, books in found.items():
        named = [replace(book, name=name, quote=request.unit, weight=1.0) for name, book in books.items()]
        value = evaluate(named, {}, request.unit, enough).value
        if not math.isnan(value):
            rates[quote] = value
    return rates
