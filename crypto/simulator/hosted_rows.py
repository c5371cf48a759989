"""The world of ``crypto.simulator.state`` with plain Python rows, which interpreted code reads many times faster."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

from crypto.simulator.state import BAR_COLUMNS, SERIES_COLUMNS, World

BAR, INSTANT = 0, 1  # the one bar and the one instant that the record holds


def row_class(names: Sequence[str]) -> Callable[..., Any]:
    """A class of rows with these attributes in slots, which the interpreter reads fastest."""

    def fill(self: Any, values: Sequence[Any]) -> None:
        for name, value in zip(names, values, strict=True):
            setattr(self, name, value)

    return type("Row", (), {"__slots__": tuple(names), "__init__": fill})


class Rows(list[Any]):
    """A table of rows with attributes."""

    def __init__(self, names: Sequence[str], rows: Sequence[Sequence[Any]] = ()) -> None:
        self._row, self._width = row_class(names), len(names)
        super().__init__(self._row(row) for row in rows)
        self.shape = (len(self),)  # as of an array; tables that grow are not asked for it


class Records(Rows):
    """Rows that are appended to: asking for the row after the last one adds it."""

    def __getitem__(self, index: Any) -> Any:
        if index == len(self):
            self.append(self._row((0,) * self._width))
        return super().__getitem__(index)


class Grid(dict[tuple[int, ...], Any]):
    """Values by several indices; what was never written is ``empty``."""

    def __init__(self, shape: tuple[int, ...], empty: Any = math.nan) -> None:
        super().__init__()
        self.shape, self._empty = shape, empty

    def __missing__(self, _: tuple[int, ...]) -> Any:
        return self._empty


class Columns(tuple[tuple[float, ...], ...]):
    """A table of numbers by row and by column or span of columns."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        row, columns = index
        return super().__getitem__(row)[columns]


class Totals(dict[tuple[int, int], float]):
    """Attribution summed over the whole run: the first index, the instant, does not count."""

    def __getitem__(self, index: Any) -> float:
        return self.get(index[1:], 0.0)

    def __setitem__(self, index: Any, value: float) -> None:
        super().__setitem__(index[1:], value)


class Tables:
    """The tables of a world as attributes in slots, which are read twice as fast as those of a named tuple."""

    __slots__ = World._fields

    def __init__(self, world: World) -> None:
        for name, table in zip(World._fields, world, strict=True):
            setattr(self, name, table)


def _rows(table: Any, kind: type[Rows] = Rows) -> Rows:
    return kind(table.dtype.names, table.tolist())


def _table(array: Any) -> Grid:
    """Rows of a structured array of two dimensions, by both indices."""
    grid, row_of = Grid(array.shape), row_class(array.dtype.names)
    for first, line in enumerate(array.tolist()):
        for second, row in enumerate(line):
            grid[first, second] = row_of(row)
    return grid


def plain(world: World) -> World:
    """The world of a run that has not begun, with Python rows; bars and series hold one instant only."""
    legs, pairs = world.legs.shape[0], world.pairs.shape[0]
    tables = (
        "tier_tables",
        "adl_events",
        "adl_queue",
        "settlements",
        "wallets",
        "coins",
        "legs",
        "pairs",
        "quotes",
        "features",
        "positions",
        "transfers",
        "run",
    )
    records = ("ledger", "orders", "journal", "trips")
    counted = {"ledger": int(world.run[0].ledger_rows)}
    world = World(
        bars=cast("Any", Grid((legs, 1, BAR_COLUMNS))),
        tiers=cast("Any", Columns(tuple(row) for row in world.tiers.tolist())),
        oracle=Grid((pairs, 1), 0),
        borrow=_table(world.borrow),
        rules=_rows(world.rules),
        holdings=_table(world.holdings),
        wallet_equity=cast("Any", Grid(world.wallet_equity.shape, 0.0)),
        attribution=cast("Any", Totals()),
        series=cast("Any", Grid((INSTANT + 1, pairs, SERIES_COLUMNS))),
        **{name: _rows(getattr(world, name)) for name in tables},
        **{name: _rows(getattr(world, name)[: counted.get(name, 0)], Records) for name in records},
    )
    return cast("World", Tables(world))
