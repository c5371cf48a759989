"""Lean's market hours: crypto never closes, and Lean itself asks for the hours of US equities whatever it trades."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from crypto.errors import DataError
from data.lean_folder.layout import CRYPTO

_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_ALL_DAY = [{"start": "00:00:00", "end": "1.00:00:00", "state": "market"}]
# Regular hours of the New York exchanges. Schedules and the analysis of results look up SPY's hours by name and fail
# without them (BaseScheduleRules, ResultsAnalyzer); holidays are left out, as nothing here trades by them.
_NEW_YORK = [
    {"start": "04:00:00", "end": "09:30:00", "state": "premarket"},
    {"start": "09:30:00", "end": "16:00:00", "state": "market"},
    {"start": "16:00:00", "end": "20:00:00", "state": "postmarket"},
]
US_EQUITIES = "Equity-usa-[*]"
_TYPE_WORDS = {CRYPTO: "Crypto"}


def hours_text(markets: Iterable[tuple[str, str]], lean: str = "") -> str:
    """The whole file for these (security type, market), on top of the entries of ``lean`` (Lean's own file).

    ``DataError`` when Lean's file is not the JSON that it should be.
    """
    entries: dict[str, Any] = _entries(lean) if lean else {US_EQUITIES: _new_york()}
    for kind, market in sorted(set(markets)):
        entries[f"{_TYPE_WORDS.get(kind, 'CryptoFuture')}-{market}-[*]"] = _always_open()
    return json.dumps({"entries": entries}, indent=1) + "\n"


def _entries(text: str) -> dict[str, Any]:
    try:
        entries: Mapping[str, Any] = json.loads(text)["entries"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"Lean's market hours are not the JSON expected: {error}", remedy="take its file as it is"
        ) from (error)
    return dict(entries)


def _always_open() -> dict[str, Any]:
    return {"dataTimeZone": "UTC", "exchangeTimeZone": "UTC", **dict.fromkeys(_DAYS, _ALL_DAY), "holidays": []}


def _new_york() -> dict[str, Any]:
    hours = {day: [] if day in ("sunday", "saturday") else _NEW_YORK for day in _DAYS}
    return {"dataTimeZone": "America/New_York", "exchangeTimeZone": "America/New_York", **hours, "holidays": []}
