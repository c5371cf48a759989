"""Strict reader of a run's settings: TOML into the frozen values of ``crypto.settings``, and their hash.

Standard library only, because it also runs inside Lean's container. Every problem of a file is reported at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import re
import tomllib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import date, time
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Any

from crypto.errors import SettingsError, UsageError
from crypto.settings import Settings
from data.instruments_file import read_instruments
from data.settings_rules import FREE_NAMES, RANGES, Rule, check_together
from data.store.files import read_source

REMEDY = "config/carry.toml explains every key with its unit, range and default"
LARGEST_INTEGER = 2**63 - 1
T = typing.TypeVar("T")


def load_settings(path: Path | None, overrides: Sequence[str] = (), instruments: Sequence[Path] = ()) -> Settings:
    """Settings from the TOML file ``path`` (None: the defaults), changed by ``section.key=value`` overrides.

    ``instruments``: files of ``carry fetch markets``; a pair's instrument that has no table in the settings takes its
    filters from the last of them that has it.

    Raises ``SettingsError`` that lists every problem, one per line, or says why the file can't be read;
    ``UsageError`` for an override that isn't of that form.
    """
    document = {} if path is None else _read_document(path)
    for override in overrides:
        _apply_override(document, override)
    _add_instruments(document, instruments)
    reader = _Reader(RANGES, FREE_NAMES)
    settings = reader.table(document, Settings, _Place())
    problems = [*reader.problems, *check_together(settings, reader.failed)]
    refuse_problems("settings" if path is None else f"settings file {path}", problems, REMEDY)
    return typing.cast("Settings", settings)


def load_table(path: Path, kind: type[T], ranges: Mapping[str, Rule], names: Mapping[str, Rule]) -> tuple[T, list[str]]:
    """The frozen value ``kind`` from a TOML file of another sort, by the same strict reader, and its problems.

    ``ranges`` and ``names``: as ``data.settings_rules.RANGES`` and ``FREE_NAMES``. A value with problems is only good
    for finding more of them; ``refuse_problems`` ends that.
    """
    reader = _Reader(ranges, names)
    found = reader.table(_read_document(path), kind, _Place())
    return typing.cast("T", found), reader.problems


def refuse_problems(source: str, problems: Sequence[str], remedy: str) -> None:
    """``SettingsError`` that lists the problems of ``source``, one per line, when there are any."""
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise SettingsError("\n  ".join([f"{source}: {count}", *problems]), remedy=remedy)


def settings_from_mapping(values: Mapping[str, Any], source: str) -> Settings:
    """The settings that ``settings_as_mapping`` made these values of; ``SettingsError`` naming ``source`` if it can't
    have been so.
    """
    reader = _Reader(RANGES, FREE_NAMES)
    settings = reader.table(_without_none(values), Settings, _Place())
    problems = [*reader.problems, *check_together(settings, reader.failed)]
    if problems:
        raise SettingsError("\n  ".join([f"settings of {source}", *problems]), remedy="make that result again")
    return typing.cast("Settings", settings)


def _without_none(value: Any) -> Any:
    """The value as TOML could hold it: a key without a value is left out."""
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def settings_as_mapping(settings: Settings) -> dict[str, Any]:
    """The settings as plain values that JSON can hold; decimals become strings, enumerations their words."""
    return typing.cast("dict[str, Any]", _plain(settings))


def config_hash(settings: Settings) -> str:
    """SHA-256 (hex) of the settings that decide a result, as canonical JSON: equal ones give equal hashes.

    Left out is where files lie and what a run is called: ``data.lake``, ``output`` and ``run.name``. The data have a
    hash of their own. A file of leverage tiers counts by its content, not by its path; ``DataError`` when it is gone.
    """
    decisive = settings_as_mapping(settings)
    del decisive["output"], decisive["data"]["lake"], decisive["run"]["name"]
    for file in decisive["margin"]["tier_files"]:
        content, _ = read_source(Path(file["path"]), file["path"])
        file["path"] = hashlib.sha256(content).hexdigest()
    text = json.dumps(decisive, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, StrEnum):
        return value.value
    return str(value) if isinstance(value, Decimal) else value


def _read_document(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(
            f"settings file {path} can't be read: {reason}", remedy="check the path and its permissions"
        ) from error
    try:
        return tomllib.loads(content.decode("utf-8-sig"), parse_float=Decimal)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise SettingsError(
            f"settings file {path}, line {line}: not UTF-8 text", remedy="save the file as UTF-8"
        ) from error
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        line = int(found[1]) if found else max(1, len(content.splitlines()))
        raise SettingsError(
            f"settings file {path}, line {line}: not valid TOML: {error}", remedy="correct that line"
        ) from error
    except RecursionError as error:
        raise SettingsError(f"settings file {path}: values are nested too deeply", remedy=REMEDY) from error


def _add_instruments(document: dict[str, Any], files: Sequence[Path]) -> None:
    """Put tables of the pairs' instruments into the document, below those that it has itself."""
    pairs = document.get("pairs", [])
    named = [pair for pair in pairs if isinstance(pair, dict)] if isinstance(pairs, list) else []
    wanted = {leg for pair in named for leg in (pair.get("spot"), pair.get("perp")) if isinstance(leg, str)}
    found: dict[str, Any] = {}
    for file in files:
        found |= read_instruments(file, wanted)
    own = document.get("instruments", {})
    if found and isinstance(own, dict):
        document["instruments"] = found | own


@dataclasses.dataclass(frozen=True, slots=True)
class _Override:
    """The text of a value given by an override; what it means depends on the type that the key needs."""

    text: str

    def parsed(self, hint: Any) -> Any:
        """A TOML value where the text is one and the key isn't text itself, else the text."""
        try:
            value = tomllib.loads(f"value = {self.text}", parse_float=Decimal)["value"]
        except tomllib.TOMLDecodeError:
            return self.text
        wants_text = hint is str or (isinstance(hint, type) and issubclass(hint, StrEnum))
        return self.text if wants_text and not isinstance(value, str) else value


def _apply_override(document: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    parts = [part.strip().strip("\"'") for part in path.split(".")]
    if not equals or not all(parts):
        raise UsageError(
            f"--set {override!r} is not of the form section.key=value",
            remedy="for example --set signal.holding_hours=240 or --set pairs.0.weight=0.5",
        )
    target: Any = document
    for place, part in enumerate(parts[:-1]):
        target = _step_into(target, part, ".".join(parts[: place + 1]), override)
    if isinstance(target, list):
        target[_place_in(target, parts[-1], path, override)] = _Override(text.strip())
    else:
        target[parts[-1]] = _Override(text.strip())


def _step_into(target: Any, part: str, path: str, override: str) -> Any:
    inner = target[_place_in(target, part, path, override)] if isinstance(target, list) else target.setdefault(part, {})
    if not isinstance(inner, dict | list):
        raise UsageError(f"--set {override!r}: {path} is a value and holds no keys", remedy=REMEDY)
    return inner


def _place_in(items: list[Any], part: str, path: str, override: str) -> int:
    if part.isdecimal() and int(part) < len(items):
        return int(part)
    raise UsageError(
        f"--set {override!r}: {path} is not there; the list has {len(items)} entries, counted from 0",
        remedy="for example --set pairs.0.weight=0.5",
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands: its dotted key as written, and with ``*`` for the parts that the user is free to name."""

    path: str = ""
    pattern: str = ""

    def key(self, name: str) -> _Place:
        return _Place(f"{self.path}.{name}".lstrip("."), f"{self.pattern}.{name}".lstrip("."))

    def free(self, name: str | int) -> _Place:
        shown = name if re.fullmatch("[A-Za-z0-9_-]+", str(name)) else f'"{name}"'
        return _Place(f"{self.path}.{shown}", f"{self.pattern}.*")


class _Reader:
    """Converts plain values to the types of the dataclass fields and collects every problem on the way.

    A value with a problem becomes None and its field keeps the default, so that reading goes on to the next problem.
    Such settings never leave ``load_settings``. ``failed`` holds the patterns of those values.
    """

    def __init__(self, ranges: Mapping[str, Rule], names: Mapping[str, Rule]) -> None:
        self._ranges, self._names = ranges, names
        self.problems: list[str] = []
        self.failed: set[str] = set()

    def table(self, value: Any, kind: type, place: _Place) -> Any:
        """An instance of the dataclass ``kind`` from a TOML table; keys that it doesn't have are problems."""
        if not isinstance(value, dict):
            return self._refuse(place, value, "a table")
        hints = typing.get_type_hints(kind)
        for name in sorted(value.keys() - hints.keys()):
            self._refuse_key(place.key(name).path, name, place.path, sorted(hints))
        given = {name: self.value(value[name], hints[name], place.key(name)) for name in hints if name in value}
        return kind(**{name: item for name, item in given.items() if item is not None})

    def value(self, value: Any, hint: Any, place: _Place) -> Any:
        """``value`` as the type ``hint`` and inside its range."""
        if isinstance(value, _Override):
            value = value.parsed(hint)
        origin = typing.get_origin(hint)
        if origin is tuple:
            return self._list(value, typing.get_args(hint)[0], place)
        if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
            return self._free_table(value, typing.get_args(hint)[1], place)
        if origin is types.UnionType:
            hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
        if dataclasses.is_dataclass(hint):
            return self.table(value, typing.cast("type", hint), place)
        return self._single(value, hint, place)

    def _list(self, value: Any, hint: Any, place: _Place) -> Any:
        if not isinstance(value, list):
            return self._refuse(place, value, "a list")
        return tuple(self.value(item, hint, place.free(number)) for number, item in enumerate(value))

    def _free_table(self, value: Any, hint: Any, place: _Place) -> Any:
        if not isinstance(value, dict):
            return self._refuse(place, value, "a table")
        rule = self._names.get(place.pattern)
        for name in value:
            if rule is not None and not rule.holds(name):
                self.problems.append(f"{place.free(name).path}: the name {name!r} must be {rule.words}")
        return {name: self.value(item, hint, place.free(name)) for name, item in value.items()}

    def _single(self, value: Any, hint: type, place: _Place) -> Any:
        if issubclass(hint, StrEnum):
            return self._word(value, hint, place)
        convert, words = CONVERSIONS[hint]
        converted = convert(value)
        if converted is None:
            return self._refuse(place, value, words)
        rule = self._ranges.get(place.pattern)
        if rule is not None and not rule.holds(converted):
            return self._refuse(place, value, rule.words)
        return converted

    def _word(self, value: Any, hint: type[StrEnum], place: _Place) -> Any:
        allowed = [item.value for item in hint]
        return hint(value) if value in allowed else self._refuse(place, value, f"one of {', '.join(allowed)}")

    def _refuse(self, place: _Place, value: Any, words: str) -> None:
        self.problems.append(f"{place.path} = {_shown(value)} must be {words}")
        self.failed.add(place.pattern)

    def _refuse_key(self, path: str, name: str, table: str, known: Sequence[str]) -> None:
        close = difflib.get_close_matches(name, known, n=1)
        inside = f"{table}." if table else ""
        advice = f"did you mean {inside}{close[0]}?" if close else f"known here: {', '.join(known)}"
        self.problems.append(f"{path} is not a known key; {advice}")


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list) else repr(value)


def _as_bool(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _as_integer(value: Any) -> int | None:
    is_integer = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_INTEGER
    return value if is_integer else None


def _as_float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number + 0.0 if math.isfinite(number) else None  # adding zero turns -0.0 into 0.0, which hashes alike


def _as_decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _as_text(value: Any) -> str | None:
    if isinstance(value, date):  # TOML has dates and date-times of its own: start = 2024-11-01 without quotes
        return value.isoformat()
    return value if isinstance(value, str) else None


CONVERSIONS: Mapping[type, tuple[Callable[[Any], Any], str]] = {
    bool: (_as_bool, "true or false"),
    int: (_as_integer, "a whole number"),
    float: (_as_float, "a finite number"),
    Decimal: (_as_decimal, 'a number such as 0.01 or "0.01"'),
    str: (_as_text, "text in quotes"),
}
