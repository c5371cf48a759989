"""Differences of orders, fills and fees."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import zip_longest

import numpy as np

from research.lean_compare.model import FEE, FILL, ORDER, Difference
from research.lean_compare.trades import Execution, Trade

QUANTITY_TOLERANCE = 1e-9  # contracts: float64 against decimals


def matched(theirs: Sequence[Trade], ours: Sequence[Trade], bar_ms: int) -> Iterator[tuple[Trade | None, Trade | None]]:
    """Orders that are the same one, in pairs: of one instrument and side, sent at one time, else within a bar.

    Orders that only one side has come with None; the first is Lean's.
    """
    left: dict[tuple[str, bool], list[Trade]] = defaultdict(list)
    exact: dict[tuple[str, bool, int], list[Trade]] = defaultdict(list)
    for trade in ours:
        exact[*_side(trade), trade.time_ms].append(trade)
    late: list[Trade] = []
    for trade in theirs:
        same = exact[*_side(trade), trade.time_ms]
        if same:
            yield trade, same.pop(0)
        else:
            late.append(trade)
    for (instrument, buys, _), rest in exact.items():
        left[instrument, buys] += rest
    for trade in late:
        near = [item for item in left[_side(trade)] if abs(item.time_ms - trade.time_ms) <= bar_ms]
        other = min(near, key=lambda item: abs(item.time_ms - trade.time_ms), default=None)
        if other is not None:
            left[_side(trade)].remove(other)
        yield trade, other
    for rest in left.values():
        for trade in rest:
            yield None, trade


def _side(trade: Trade) -> tuple[str, bool]:
    return trade.instrument, trade.quantity > 0.0


def order_difference(lean: Trade | None, engine: Trade | None, tolerance: float) -> Difference | None:
    """How two orders that should be one differ, None when they don't."""
    if lean is None or engine is None:
        return _lonely_order(lean, engine)
    value = max(lean.value, engine.value)
    price = value / abs(lean.quantity) if lean.quantity else 0.0
    wrong: dict[str, float] = {}
    if lean.time_ms != engine.time_ms:
        wrong["time"] = 0.0
    if lean.kind != engine.kind:
        wrong["type"] = value
    if abs(lean.quantity - engine.quantity) > QUANTITY_TOLERANCE:
        wrong["quantity"] = abs(lean.quantity - engine.quantity) * price
    apart = abs(lean.limit_price - engine.limit_price) * abs(lean.quantity)  # NaN at market
    if apart > tolerance:
        wrong["limit price"] = apart
    if lean.outcome != engine.outcome:
        wrong["outcome"] = value
    if not wrong:
        return None
    what, amount = ", ".join(wrong), max(wrong.values())
    return Difference(ORDER, lean.time_ms, lean.instrument, what, _order_text(lean), _order_text(engine), amount)


def _lonely_order(lean: Trade | None, engine: Trade | None) -> Difference | None:
    trade = lean or engine
    if trade is None:
        return None
    what = "only Lean sent it" if engine is None else "only the engine sent it"
    return Difference(ORDER, trade.time_ms, trade.instrument, what, _order_text(lean), _order_text(engine), trade.value)


def _order_text(trade: Trade | None) -> str:
    if trade is None:
        return ""
    price = "" if math.isnan(trade.limit_price) else f" at {trade.limit_price:,.10g}"
    reason = f" ({trade.reason})" if trade.reason else ""
    return (
        f"#{trade.number} {_clock(trade.time_ms)} {trade.kind} {trade.quantity:+,.10g}{price}, {trade.outcome}{reason}"
    )


def _clock(time_ms: int) -> str:
    return str(np.datetime64(time_ms, "ms").astype("datetime64[s]"))[11:]


def fill_differences(lean: Trade, engine: Trade, tolerance: float, latency_ms: int) -> Iterator[Difference]:
    """Differences of the fills of one order, in their order."""
    for one, other in zip_longest(lean.executions, engine.executions):
        only = other if one is None else one if other is None else None
        if only is not None:
            what = "only the engine filled it" if one is None else "only Lean filled it"
            amount = abs(only.quantity) * only.price
        else:
            what = ", ".join(_fill_faults(one, other, tolerance, latency_ms))
            amount = max(
                abs(one.price - other.price) * abs(one.quantity), abs(one.quantity - other.quantity) * one.price
            )
        if what:
            time_ms = (only or one).time_ms
            yield Difference(FILL, time_ms, lean.instrument, what, _fill_text(one), _fill_text(other), amount)


def _fill_faults(lean: Execution, engine: Execution, tolerance: float, latency_ms: int) -> Iterator[str]:
    if abs(lean.time_ms - engine.time_ms) > latency_ms:
        yield "time"
    if abs(lean.quantity - engine.quantity) > QUANTITY_TOLERANCE:
        yield "quantity"
    if abs(lean.price - engine.price) * abs(lean.quantity) > tolerance:
        yield "price"


def _fill_text(fill: Execution | None) -> str:
    return "" if fill is None else f"{_clock(fill.time_ms)} {fill.quantity:+,.10g} at {fill.price:,.10g}"


def fee_differences(lean: Trade, engine: Trade, tolerance: float) -> Iterator[Difference]:
    """Differences of the fees of fills that both sides have."""
    for one, other in zip(lean.executions, engine.executions, strict=False):
        amount = abs(one.fee - other.fee)
        if amount > tolerance:
            texts = (f"{one.fee:,.6f}", f"{other.fee:,.6f}")
            yield Difference(FEE, one.time_ms, lean.instrument, f"fee of order #{lean.number}", *texts, amount)
