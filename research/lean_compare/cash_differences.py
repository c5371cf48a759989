"""Differences of funding and borrow payments and of equity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from crypto.instruments import Kind
from crypto.market import Floats
from crypto.settings import PriceSource
from crypto.simulator.setup import fee_rates
from crypto.venues.registry import venue
from data.lean_flows import LEDGER_KINDS
from data.lean_results import LeanResult
from data.stored_run import StoredRun
from research.lean_compare.model import EQUITY, Difference, Samples, Section
from research.lean_compare.trades import Trade, instruments_of

Payments = dict[tuple[int, str], float]  # by time and instrument


def payment_section(lean: LeanResult, run: StoredRun, kind: str, tolerance: float, notes: list[str]) -> Section:
    """Payments of one kind: one by one where Lean's log has them, in total where a statistic says it.

    Where Lean says neither, only equity shows them; ``notes`` then says so.
    """
    ours = _engine_payments(run, kind)
    if lean.flows is not None:
        theirs: Payments = {}
        for flow in lean.flows:
            if flow.kind == kind:
                theirs[flow.time_ms, flow.instrument] = theirs.get((flow.time_ms, flow.instrument), 0.0) + flow.amount
        differences = list(_payment_differences(theirs, ours, kind, tolerance))
        return Section(kind, len(ours.keys() | theirs.keys()), largest_first(differences))
    total = sum(ours.values())
    if kind in lean.totals:
        told = lean.totals[kind]
        texts = (f"{told:+,.6f}", f"{total:+,.6f}")
        in_all = Difference(kind, lean.end_ms, "", "total, Lean logged no payments", *texts, abs(told - total))
        return Section(kind, 1, (in_all,) if in_all.amount > tolerance else ())
    if ours:
        notes.append(
            f"{kind}: Lean's log and statistics name no payment, so only equity compares them; "
            f"the engine booked {len(ours)}, {total:+,.2f} in all"
        )
    return Section(kind, 0, ())


def largest_first(differences: Iterable[Difference]) -> tuple[Difference, ...]:
    """By size, those of one size (to a tenth of a cent) by time."""
    return tuple(sorted(differences, key=lambda item: (-round(item.amount, 3), item.time_ms)))


def _engine_payments(run: StoredRun, kind: str) -> Payments:
    found: Payments = {}
    for row in run.ledger:
        if LEDGER_KINDS.get(row["flow"]) == kind:
            key = (row["time_ms"], row["instrument"])
            found[key] = found.get(key, 0.0) + row["value"]
    return found


def _payment_differences(
    theirs: Mapping[tuple[int, str], float], ours: Mapping[tuple[int, str], float], kind: str, tolerance: float
) -> Iterator[Difference]:
    for key in sorted(theirs.keys() | ours.keys()):
        one, other = theirs.get(key), ours.get(key)
        what = "only Lean booked it" if other is None else "only the engine booked it" if one is None else "amount"
        amount = abs((one or 0.0) - (other or 0.0))
        if amount > tolerance:
            yield Difference(kind, *key, what, _amount_text(one), _amount_text(other), amount)


def _amount_text(amount: float | None) -> str:
    return "" if amount is None else f"{amount:+,.6f}"


def equity_samples(lean: LeanResult, run: StoredRun, trades: Iterable[Trade], notes: list[str]) -> Samples:
    """Equity of both at the times of Lean's chart, without the times of a fill: one measures before it, one after."""
    busy = sorted({fill.time_ms for trade in trades for fill in trade.executions})
    common, one, other = np.intersect1d(lean.time_ms, run.time_ms, return_indices=True)
    quiet = ~np.isin(common, np.array(busy, dtype=np.int64))
    left_out = int(common.size - quiet.sum())
    if not common.size:
        notes.append("equity: Lean's chart and the engine's bars have no instant in common")
    if left_out:
        notes.append(f"equity: {left_out} of {common.size} samples are at the time of a fill and left out")
    engine = run.equity - closing_fees(run)
    return Samples(common[quiet], lean.equity[one][quiet], engine[other][quiet])


def closing_fees(run: StoredRun) -> Floats:
    """What closing the perps as a taker would cost at each instant: Lean takes it off its portfolio value."""
    total = np.zeros(run.time_ms.size)
    for item in instruments_of(run).values():
        if item.kind is not Kind.SPOT:
            pair = run.instruments.index(item.key) // 2
            taker = fee_rates(item, venue(item.venue), run.settings)[1]
            total += taker * np.abs(np.nan_to_num(run.perp_value[:, pair]))  # NaN: no price yet, so no position either
    return total


def equity_section(lean: LeanResult, run: StoredRun, samples: Samples, tolerance: float, notes: list[str]) -> Section:
    """Samples that differ, and the end of the ledger that Carry's algorithm keeps.

    Lean values perps on the last trade. Under settings that value them on mark, its chart is drawn but not judged.
    """
    differences: list[Difference] = []
    compared = 0
    if lean.own_equity is not None:
        compared, end = 1, float(run.equity[-1])
        if not abs(lean.own_equity - end) <= tolerance:
            texts = (f"{lean.own_equity:,.6f}", f"{end:,.6f}")
            what = "equity of the algorithm's own ledger at the end"
            differences.append(Difference(EQUITY, lean.end_ms, "", what, *texts, abs(lean.own_equity - end)))
    if run.settings.data.valuation_price is PriceSource.LAST:
        compared += samples.time_ms.size
        differences += _sample_differences(samples, tolerance)
    else:
        notes.append(
            "equity: Lean's chart values perps on the last trade, these settings on mark (data.valuation_price), "
            "so it is drawn and not judged"
        )
    return Section(EQUITY, compared, largest_first(differences))


def _sample_differences(samples: Samples, tolerance: float) -> Iterator[Difference]:
    apart = np.abs(samples.lean - samples.engine)
    for index in np.flatnonzero(~(apart <= tolerance)):  # a NaN is a difference
        texts = (f"{samples.lean[index]:,.4f}", f"{samples.engine[index]:,.4f}")
        yield Difference(EQUITY, int(samples.time_ms[index]), "", "portfolio value", *texts, float(apart[index]))
