"""Differences of funding and borrow payments and of equity."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from crypto.instruments import Kind
from crypto.market import Floats
from crypto.settings import PriceSource
from crypto.simulator.setup import fee_rates
from crypto.venues.registry import venue
from data.lean_flows import BORROW, FUNDING
from data.lean_results import LeanResult
from data.stored_run import StoredRun
from research.lean_compare.model import EQUITY, Difference, Samples, Section
from research.lean_compare.trades import Trade, instruments_of

_ENGINE_FLOWS = {"funding": FUNDING, "funding_grace": FUNDING, "interest": BORROW}
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
    """By size, those of one size (to a millionth) by time."""
    return tuple(sorted(differences, key=lambda item: (-round(item.amount, 6), item.time_ms)))


def _engine_payments(run: StoredRun, kind: str) -> Payments:
    found: Payments = {}
    for row in run.ledger:
        if _ENGINE_FLOWS.get(row["flow"]) == kind:
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
    if left_out:
        notes.append(f"equity: {left_out} of {common.size} samples are at the time of a fill and left out")
    if run.settings.data.valuation_price is not PriceSource.LAST:
        notes.append(
            'equity: Lean values perps on the last trade, these settings on mark (data.valuation_price = "mark")'
        )
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


def equity_section(samples: Samples, tolerance: float) -> Section:
    """Samples whose difference exceeds the tolerance."""
    apart = np.abs(samples.lean - samples.engine)
    differences = [
        Difference(
            EQUITY,
            int(samples.time_ms[index]),
            "",
            "portfolio value",
            f"{samples.lean[index]:,.4f}",
            f"{samples.engine[index]:,.4f}",
            float(apart[index]),
        )
        for index in np.flatnonzero(~(apart <= tolerance))  # a NaN is a difference
    ]
    return Section(EQUITY, samples.time_ms.size, largest_first(differences))
