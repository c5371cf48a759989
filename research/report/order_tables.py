"""Order statistics: fills, slippage and fees per instrument, counts by status, and why orders did not fill."""

from __future__ import annotations

import numpy as np

from crypto.ledger import Flow
from crypto.market import Floats
from crypto.pipeline.orders import Intent, OrderKind, OrderReason, OrderStatus
from crypto.result import BacktestResult, Records
from research.report.markup import row, table
from research.report.words import DASH, number, plain_words, share, signed, signed_money


def order_notional(result: BacktestResult) -> Floats:
    """Traded value of every order in account currency, from its fee rows; NaN where no fee was charged."""
    fees = result.ledger[(result.ledger["flow"] == Flow.FEE) & (result.ledger["rate"] != 0.0)]
    traded = np.abs(fees["value"] / fees["rate"])
    ids, positions = np.unique(fees["order"], return_inverse=True)
    by_id = dict(zip(ids.tolist(), np.bincount(positions, traded, len(ids)).tolist(), strict=True))
    return np.array([by_id.get(int(order), np.nan) for order in result.orders["id"]], dtype=np.float64)


def order_table(result: BacktestResult) -> str:
    """Per instrument: orders, fill rate, maker share, traded value, average slippage and fees."""
    notional = order_notional(result)
    legs = result.orders["leg"]
    rows = [
        row(key, _order_cells(result.orders[legs == i], notional[legs == i]))
        for i, key in enumerate(result.instrument_keys)
    ]
    foot = [row("All", _order_cells(result.orders, notional), kind="total")]
    head = [
        "Instrument",
        "Orders",
        "With fills",
        "Lots filled",
        "Maker",
        "Traded value",
        "Slippage bps",
        "Fees bps",
        "Fees",
    ]
    return table("Orders and fills per instrument", head, rows, foot=foot)


def _order_cells(orders: Records, notional: Floats) -> list[str]:
    filled = orders["filled_lots"] != 0
    known = filled & np.isfinite(notional)
    traded = float(notional[known].sum())
    asked = float(np.abs(orders["lots"]).sum())
    maker = filled & (orders["kind"] == OrderKind.POST_ONLY)
    return [
        number(len(orders), 0),
        number(int(filled.sum()), 0),
        share(np.abs(orders["filled_lots"]).sum() / asked if asked else None),
        share(maker.sum() / filled.sum() if filled.any() else None),
        number(traded, 0) if traded else DASH,
        signed(orders["slippage_value"][known].sum() / traded * 1e4 if traded else None),
        signed(orders["fee_value"][known].sum() / traded * 1e4 if traded else None),
        signed_money(float(orders["fee_value"].sum())),
    ]


def status_table(result: BacktestResult) -> str:
    """Counts of orders by intent and status."""
    orders = result.orders
    rows = [
        row(plain_words(intent.name.lower()), _status_cells(orders[orders["intent"] == intent])) for intent in Intent
    ]
    head = ["Intent", *[status.name.capitalize() for status in OrderStatus], "All"]
    foot = [row("All", _status_cells(orders), kind="total")]
    return table("Orders by intent and status", head, rows, foot=foot)


def _status_cells(orders: Records) -> list[str]:
    counts = [int((orders["status"] == status).sum()) for status in OrderStatus]
    return [number(count, 0) for count in (*counts, len(orders))]


def reason_table(result: BacktestResult) -> str:
    """Why orders were rejected or cancelled, most frequent first."""
    ended = (int(OrderStatus.REJECTED), int(OrderStatus.CANCELLED))
    orders = result.orders[np.isin(result.orders["status"], ended)]  # a liquidation's order has a reason and is filled
    counted = [(reason, orders[orders["reason"] == reason]) for reason in OrderReason if reason is not OrderReason.NONE]
    counted = sorted(((reason, rows) for reason, rows in counted if len(rows)), key=lambda item: -len(item[1]))
    if not counted:
        return '<p class="note">No order was rejected or cancelled.</p>'
    lines = [
        row(
            plain_words(reason.name.lower()),
            [number(int((rows["status"] == status).sum()), 0) for status in ended],
        )
        for reason, rows in counted
    ]
    return table("Reasons of rejected and cancelled orders", ["Reason", "Rejected", "Cancelled"], lines)
