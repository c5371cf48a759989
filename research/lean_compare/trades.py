"""Orders and fills of both engines in the same words and units, so that they can be put side by side."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from crypto.errors import DataError, RefusedError
from crypto.instruments import Instrument, Kind
from crypto.venues.discounts import fee_coins
from crypto.venues.registry import instrument
from data.lean_codes import LeanSymbol
from data.lean_results import LeanFill, LeanOrder, LeanResult
from data.stored_run import StoredRun

_OUTCOMES = {
    "new": "open",
    "submitted": "open",
    "update_submitted": "open",
    "cancel_pending": "open",
    "partially_filled": "open",
    "filled": "filled",
    "canceled": "cancelled",
    "invalid": "rejected",
}  # Lean's statuses; "none" is no state of an order
_ENGINE_OUTCOMES = {"placed": "open", "filled": "filled", "cancelled": "cancelled", "rejected": "rejected"}
_ENGINE_KINDS = {"market": "market", "post_only": "limit"}


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill: contracts that arrived (signed, a fee in base taken off), price, fee in account currency (cost > 0)."""

    time_ms: int
    quantity: float
    price: float
    fee: float


@dataclass(frozen=True, slots=True)
class Trade:
    """One order with its fills; ``quantity`` in contracts, signed; ``limit_price`` NaN at market."""

    number: int
    instrument: str
    time_ms: int
    quantity: float
    kind: str
    limit_price: float
    outcome: str
    reason: str = ""
    executions: tuple[Execution, ...] = field(default=())

    @property
    def value(self) -> float:
        """Absolute value in quote units: of what filled, else at the limit price; 0 for an unfilled market order."""
        filled = sum(abs(item.quantity) * item.price for item in self.executions)
        return filled or (0.0 if math.isnan(self.limit_price) else abs(self.quantity) * self.limit_price)


def instruments_of(run: StoredRun) -> dict[str, Instrument]:
    """The instruments of a run by key."""
    return {key: instrument(key, run.settings.instruments) for key in run.instruments}


@dataclass(frozen=True, slots=True)
class CoinPrices:
    """What the engine's ledger valued a coin that pays fees at: ``time_ms`` ascending, prices in account currency."""

    time_ms: tuple[int, ...]
    prices: tuple[float, ...]

    def at(self, time_ms: int) -> float:
        """The last price at or before ``time_ms``; the coin's price at the start before that."""
        return self.prices[max(0, bisect_right(self.time_ms, time_ms) - 1)]


def coin_prices(run: StoredRun) -> dict[str, CoinPrices]:
    """Prices by coin that pays fees in a run: from its opening balance and every fee that it paid."""
    found = {}
    for coin in fee_coins(run.settings):
        rows = [row for row in run.ledger if row["asset"] == coin.asset and row["amount"] != 0.0]
        if rows:
            prices = tuple(row["value"] / row["amount"] for row in rows)
            found[coin.asset] = CoinPrices(tuple(row["time_ms"] for row in rows), prices)
    return found


def lean_trades(
    result: LeanResult, traded: Mapping[str, Instrument], coins: Mapping[str, CoinPrices]
) -> tuple[Trade, ...]:
    """Lean's orders; ``RefusedError`` for one in an instrument that is not among ``traded``."""
    return tuple(_lean_trade(order, result, traded, coins) for order in result.orders)


def find_instrument(symbol: LeanSymbol, traded: Mapping[str, Instrument]) -> Instrument | None:
    """The instrument that a Lean symbol stands for, None when it is not traded."""
    for item in traded.values():
        is_perp = item.kind is not Kind.SPOT
        if (item.symbol, item.venue, is_perp) == (symbol.ticker, symbol.venue, symbol.is_perp):
            return item
    return None


def _lean_trade(
    order: LeanOrder, result: LeanResult, traded: Mapping[str, Instrument], coins: Mapping[str, CoinPrices]
) -> Trade:
    item = find_instrument(order.symbol, traded)
    if item is None:
        raise RefusedError(
            f"the Lean run {result.id} trades {order.symbol}, which no pair of the settings has",
            remedy="compare it with the settings that it was run with (--config)",
        )
    if order.status not in _OUTCOMES:
        raise DataError(f"order {order.id} of Lean run {result.id} has status {order.status}", remedy="run it again")
    return Trade(
        number=order.id,
        instrument=item.key,
        time_ms=order.time_ms,
        quantity=order.quantity,
        kind=order.type,
        limit_price=order.limit_price,
        outcome=_OUTCOMES[order.status],
        reason=order.message if order.status == "invalid" else "",
        executions=tuple(_lean_execution(fill, item, order, result, coins) for fill in order.fills),
    )


def _lean_execution(
    fill: LeanFill, item: Instrument, order: LeanOrder, result: LeanResult, coins: Mapping[str, CoinPrices]
) -> Execution:
    if fill.fee == 0.0 or fill.fee_currency == result.account_currency:
        fee = fill.fee
    elif fill.fee_currency == item.base:
        fee = fill.fee * fill.price
    elif fill.fee_currency in coins:
        fee = fill.fee * coins[fill.fee_currency].at(fill.time_ms)
    else:
        raise DataError(
            f"order {order.id} of Lean run {result.id} pays its fee in {fill.fee_currency}, which nothing here prices",
            remedy=f"use a fee model that charges {result.account_currency} or {item.base}, or a coin of fees.discount",
        )
    return Execution(fill.time_ms, fill.quantity, fill.price, fee)


def engine_trades(run: StoredRun, traded: Mapping[str, Instrument]) -> tuple[Trade, ...]:
    """The embedded engine's orders, with a fill for each fee row of the ledger (every fill has one)."""
    fills: dict[int, list[Execution]] = {}
    for row in run.ledger:
        if row["flow"] == "fee":
            fills.setdefault(row["order"], []).append(_engine_execution(row, traded[row["instrument"]]))
    return tuple(_engine_trades(run, traded, fills))


def _engine_trades(
    run: StoredRun, traded: Mapping[str, Instrument], fills: Mapping[int, list[Execution]]
) -> Iterator[Trade]:
    for row in run.orders:
        outcome = _ENGINE_OUTCOMES[row["status"]]
        yield Trade(
            number=row["id"],
            instrument=row["instrument"],
            time_ms=row["placed_ms"],
            quantity=row["lots"] * float(traded[row["instrument"]].lot),
            kind=_ENGINE_KINDS[row["kind"]],
            limit_price=row["limit_price"],
            outcome=outcome,
            reason=row["reason"] if outcome == "rejected" else "",
            executions=tuple(fills.get(row["id"], ())),
        )


def _engine_execution(row: Mapping[str, Any], item: Instrument) -> Execution:
    """A fill from its fee row, whose quantity is in base units."""
    if item.kind is Kind.INVERSE:
        contracts = row["quantity"] * row["price"] / float(item.multiplier)
    else:
        taken = row["amount"] if item.kind is Kind.SPOT and row["asset"] == item.base else 0.0
        contracts = (row["quantity"] + taken) / float(item.multiplier)
    return Execution(row["time_ms"], contracts, row["price"], -row["value"])
