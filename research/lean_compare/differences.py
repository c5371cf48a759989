"""A Lean backtest and a run of the embedded engine side by side: every difference, and the verdict."""

from __future__ import annotations

from crypto.units import timeframe_ms
from data.lean_flows import BORROW, FUNDING
from data.lean_results import LeanResult
from data.stored_run import StoredRun
from research.lean_compare.cash_differences import equity_samples, equity_section, largest_first, payment_section
from research.lean_compare.model import FEE, FILL, ORDER, Comparison, Difference, Section
from research.lean_compare.order_differences import fee_differences, fill_differences, matched, order_difference
from research.lean_compare.trades import coin_prices, engine_trades, instruments_of, lean_trades


def compare(lean: LeanResult, run: StoredRun, tolerance: float) -> Comparison:
    """Put every order, fill, fee, payment and equity sample of both side by side.

    ``tolerance``: account currency per item. A fill's time may differ by the engine's latency. ``RefusedError`` when
    Lean traded an instrument that the run does not have; ``DataError`` for a fee that nothing prices.
    """
    traded = instruments_of(run)
    theirs, ours = lean_trades(lean, traded, coin_prices(run)), engine_trades(run, traded)
    pairs = list(matched(theirs, ours, timeframe_ms(run.settings.run.timeframe)))
    both = [(one, other) for one, other in pairs if one is not None and other is not None]
    latency = run.settings.execution.latency_ms
    orders = [order_difference(one, other, tolerance) for one, other in pairs]
    fills: list[Difference] = []
    fees: list[Difference] = []
    for one, other in both:
        fills += fill_differences(one, other, tolerance, latency)
        fees += fee_differences(one, other, tolerance)
    fill_count = sum(max(len(one.executions), len(other.executions)) for one, other in both)
    fee_count = sum(min(len(one.executions), len(other.executions)) for one, other in both)
    notes: list[str] = []
    samples = equity_samples(lean, run, [*theirs, *ours], notes)
    sections = (
        Section(ORDER, len(pairs), largest_first(item for item in orders if item is not None)),
        Section(FILL, fill_count, largest_first(fills)),
        Section(FEE, fee_count, largest_first(fees)),
        payment_section(lean, run, FUNDING, tolerance, notes),
        payment_section(lean, run, BORROW, tolerance, notes),
        equity_section(lean, run, samples, tolerance, notes),
    )
    return Comparison(tolerance, sections, tuple(notes), samples)
