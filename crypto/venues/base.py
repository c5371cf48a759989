"""What a venue is to the simulator: its wallets, fees, borrow and settlement rules, and its instruments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from crypto.borrow import BorrowRule
from crypto.fees import FeeDiscount, FeeSchedule
from crypto.instruments import Instrument, Kind


@dataclass(frozen=True, slots=True)
class Venue:
    """Constants and rules of one venue.

    ``wallets``: wallet that margin and balances of a kind live in (the same name for two kinds: one shared balance).
    ``fees``: fee schedule per kind. ``borrow``: when interest on borrowed spot is charged.
    ``discount``: the coin in which fees may be paid; None where there is none that an account like ours may use.
    ``settlement_grace_ms``: milliseconds after a settlement instant in which a fill may still count for it (0: none).
    ``closing_may_be_below_min_notional``: per kind, whether an order that only reduces is exempt from min notional.
    ``instruments``: shipped filters by (kind, symbol). ``sources``: what -> where it was taken from, and as of when.
    """

    name: str
    wallets: Mapping[Kind, str]
    fees: Mapping[Kind, FeeSchedule]
    discount: FeeDiscount | None
    borrow: BorrowRule
    settlement_grace_ms: int
    closing_may_be_below_min_notional: Mapping[Kind, bool]
    instruments: Mapping[tuple[Kind, str], Instrument]
    sources: Mapping[str, str]


class Row(NamedTuple):
    """One line of a filter table, as the venue writes it: decimal strings, quantities in contracts."""

    symbol: str
    base: str
    tick: str
    lot: str
    min_quantity: str
    min_notional: str
    multiplier: str = "1"
    settlement_interval_hours: int = 8


def instrument_table(
    venue: str, kind: Kind, quote: str, rows: Iterable[Row], *, closing_may_be_below_min_notional: bool
) -> dict[tuple[Kind, str], Instrument]:
    """Instruments of one kind and quote from the lines of a filter table; ``ValueError`` on a symbol listed twice."""
    table: dict[tuple[Kind, str], Instrument] = {}
    for row in rows:
        if (kind, row.symbol) in table:
            raise ValueError(f"{venue} {kind.value} table lists {row.symbol} twice")
        table[kind, row.symbol] = Instrument(
            venue=venue,
            kind=kind,
            symbol=row.symbol,
            base=row.base,
            quote=quote,
            tick=Decimal(row.tick),
            lot=Decimal(row.lot),
            min_quantity=Decimal(row.min_quantity),
            min_notional=Decimal(row.min_notional),
            multiplier=Decimal(row.multiplier),
            closing_may_be_below_min_notional=closing_may_be_below_min_notional,
            settlement_interval_hours=row.settlement_interval_hours,
        )
    return table
