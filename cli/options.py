"""Options that several commands share, and options that go together, which a command takes as one value.

A group of options is a frozen dataclass with one annotated option per field; ``flattened`` turns a command that takes
such a group into one with a flag for each of its fields. Each option is declared once, however many commands have it.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

DEFAULT_LAKE = Path("data/lake")
NUMBER = "NUMBER"  # shown for a flag whose text our own parser reads: its errors name flag and value

LakeOption = Annotated[Path, typer.Option("--lake", help="Folder of the lake.")]
Symbols = Annotated[
    list[str] | None, typer.Option("--symbol", help="Only this symbol or venue:kind:SYMBOL; repeatable.")
]
Venues = Annotated[list[str] | None, typer.Option("--venue", help="Only this venue; repeatable.")]
TiersFile = Annotated[Path | None, typer.Option("--tiers", help="File of the venue's tiers (JSON as ccxt returns it).")]
TiersAsOf = Annotated[
    str | None, typer.Option("--as-of", help="Date at which shipped tiers must hold; else the latest.")
]


def flattened(command: Callable[..., None]) -> Callable[..., None]:
    """The command with a flag for each field of the groups that it takes; its other parameters stay as they are.

    Raises ``TypeError`` when two groups, or a group and the command, have a flag of the same name.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters: dict[str, inspect.Parameter] = {}
    groups: dict[str, type] = {}
    for own in inspect.signature(command).parameters.values():
        if dataclasses.is_dataclass(hints[own.name]):
            groups[own.name] = hints[own.name]
            found = _fields(hints[own.name])
        else:
            found = [own.replace(annotation=hints[own.name], kind=inspect.Parameter.KEYWORD_ONLY)]
        for parameter in found:
            if parameters.setdefault(parameter.name, parameter) is not parameter:
                raise TypeError(f"{command.__name__} has two flags named {parameter.name}")

    @wraps(command)
    def with_flags(**given: Any) -> None:
        whole = {
            name: group(**{field.name: given.pop(field.name) for field in dataclasses.fields(group)})
            for name, group in groups.items()
        }
        command(**given, **whole)

    # typer reads the signature, and the annotations beside it
    with_flags.__dict__["__signature__"] = inspect.Signature(list(parameters.values()))
    with_flags.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
    return with_flags


def _fields(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(group)
    ]


def flags_of(values: Mapping[str, object], *, leaving_out: frozenset[str] = frozenset()) -> dict[str, object]:
    """What each flag was given, groups by their fields: for the record of a run's settings."""
    flat: dict[str, object] = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(value):
            flat |= {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        else:
            flat[name] = value
    return {name: value for name, value in flat.items() if name not in leaving_out}
