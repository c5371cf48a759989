"""From the arrays of a finished run to a ``BacktestResult``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np

from crypto.ledger import COMPONENT_NAMES, Flow
from crypto.market import Floats, MarketHistory
from crypto.oracle_composite import Status
from crypto.pipeline.orders import Intent, OrderKind, OrderReason
from crypto.pipeline.portfolio import Action
from crypto.pipeline.post_trade import fill_trips, summarise
from crypto.pipeline.reasons import Reason
from crypto.result import BacktestResult
from crypto.settings import Settings
from crypto.simulator import state
from crypto.simulator.fee_coin_figures import fee_coin_figures
from crypto.simulator.setup import Names, Setup
from crypto.simulator.state import COMPLETED, INSOLVENT, World
from crypto.simulator.sums import sum_attribution
from crypto.units import iso


def _words(codes: type[IntEnum]) -> dict[int, str]:
    """Codes of arrays as the words that records show."""
    return {int(code): code.name.lower() for code in codes}


_REASONS, _ORDER_REASONS = _words(Reason), _words(OrderReason)
_ACTIONS, _INTENTS, _KINDS = _words(Action), _words(Intent), _words(OrderKind)


def outcome(
    setup: Setup,
    world: World,
    market: MarketHistory,
    settings: Settings,
    provenance: Mapping[str, Any],
    plain_settings: Mapping[str, Any],
) -> BacktestResult:
    """The result of a run that has ended. ``provenance`` brings what this package can't know (hashes, versions)."""
    run, names = world.run[0], setup.names
    count = int(run.instant) + 1
    pairs, bar_ms = len(names.pairs), int(world.rules[0].bar_ms)
    time_ms = int(world.rules[0].start_ms) + np.arange(count, dtype=np.int64) * bar_ms
    attribution, wallet_attribution = _attribution(world, count)
    series = world.series[:count]
    trips = np.asarray(world.trips[: run.trip_rows]).copy()
    orders = np.asarray(world.orders[: run.order_rows]).copy()
    ledger = np.asarray(world.ledger[: run.ledger_rows]).copy()
    fill_trips(trips, time_ms, attribution[:, :pairs], series, bar_ms)
    _size_trips(trips, orders, world)
    wallet_equity = world.wallet_equity[:count].copy()
    return BacktestResult(
        pair_names=names.pairs,
        wallet_names=names.wallets,
        asset_names=names.assets,
        instrument_keys=names.instruments,
        component_names=COMPONENT_NAMES,
        time_ms=time_ms,
        wallet_equity=wallet_equity,
        pair_pnl=_from_start(series[:, :, state.PNL]),
        attribution=attribution,
        wallet_attribution=wallet_attribution,
        basis_bps=series[:, :, state.BASIS_BPS].copy(),
        carry_annual=series[:, :, state.CARRY_ANNUAL].copy(),
        spot_value=_from_start(series[:, :, state.SPOT_VALUE]),
        perp_value=_from_start(series[:, :, state.PERP_VALUE]),
        collateral_ratio=series[:, :, state.COLLATERAL].copy(),
        liquidation_distance=series[:, :, state.DISTANCE].copy(),
        ledger=ledger,
        orders=orders,
        trips=trips,
        journal=tuple(_journal(world, names)),
        status=_status(world, names, time_ms),
        summary={
            **summarise(
                time_ms,
                wallet_equity.sum(axis=1),
                attribution,
                series[:, :, state.PERP_VALUE],
                names.pairs,
                orders,
                _traded_value(ledger, world),
                trips,
            ),
            **fee_coin_figures(world, names, ledger),
        },
        policies={
            **_policies(world, settings),
            **_kill_switch(world, settings),
            "price oracle": _oracle_counts(market, settings, count - 1),
        },
        provenance={**provenance, "notes": [*market.notes, *setup.notes]},
        settings=plain_settings,
    )


def _attribution(world: World, count: int) -> tuple[Floats, Floats]:
    """Attribution per pair, then what no pair owns: (count, P + 1, C); and per wallet: (count, W, C)."""
    table = world.attribution[:count]
    wallet_of = np.ascontiguousarray(world.legs.wallet)
    pairs, components = world.pairs.size, table.shape[2]
    by_pair = np.empty((pairs + 1, count, components)).swapaxes(0, 1)  # a pair's rows together: trips sum spans of them
    by_wallet = np.empty((count, table.shape[1] - wallet_of.size, components))
    sum_attribution(table, wallet_of, by_pair, by_wallet)
    return by_pair, by_wallet


def _from_start(values: Any) -> Any:
    """Series whose row of the start was never written: it is zero there."""
    result = values.copy()
    result[0] = 0.0
    return result


def _traded_value(ledger: Any, world: World) -> float:
    """Absolute value of all fills, forced ones too, from the row of its fee that every fill has."""
    fees = ledger[np.isin(ledger["flow"], (int(Flow.FEE), int(Flow.LIQUIDATION_FEE)))]
    legs = world.legs
    total = 0.0
    for leg in range(legs.size):
        rows = fees[fees["leg"] == leg]
        total += float(np.sum(np.abs(rows["quantity"]) * rows["price"])) / float(legs[leg].multiplier)
    return total


def _size_trips(trips: Any, orders: Any, world: World) -> None:
    """Largest hedged base quantity of each trip, from the perp fills between its opening and its close."""
    for trip in trips:
        leg = 2 * int(trip["pair"]) + 1
        chosen = (
            (orders["leg"] == leg) & (orders["placed_ms"] >= trip["open_ms"]) & (orders["placed_ms"] < trip["close_ms"])
        )
        mine = orders[chosen]
        held = np.cumsum(mine["filled_lots"])
        if held.size == 0:
            continue
        if world.legs[leg].kind == state.INVERSE:
            price = float(np.nanmean(mine["average_price"])) if np.any(mine["filled_lots"]) else math.nan
            per_lot = float(world.legs[leg].quote_per_lot) / price
        else:
            per_lot = float(world.legs[leg].base_per_lot)
        trip["quantity_base"] = float(np.max(np.abs(held))) * per_lot


def _status(world: World, names: Names, time_ms: Any) -> str:
    status = int(world.run[0].status)
    if status == COMPLETED:
        return "completed"
    if status == INSOLVENT:
        wallet = names.wallets[int(world.run[0].status_row)]
        when = iso(int(time_ms[-1]))
        cause = "borrowed coins and coins behind a unified wallet are not liquidated here"
        if world.rules[0].margin_engine == 0:
            cause = "a venue would have liquidated before"
        return f"stopped at {when}: the margin of wallet {wallet} was used up; {cause}"
    return f"stopped at {iso(int(time_ms[-1]))}"


def _policies(world: World, settings: Settings) -> dict[str, Any]:
    """Named policies and how often each was applied to a position."""
    run = world.run[0]
    return {
        "missing funding rate": {
            "policy": settings.funding.missing_rate.value,
            "last_known": int(run.rate_last_known),
            "skipped": int(run.rate_skipped),
        },
        "missing mark price": {
            "policy": settings.funding.missing_mark.value,
            "last_known": int(run.mark_last_known),
            "skipped": int(run.mark_skipped),
        },
        "missing borrow rate": {
            "policy": settings.borrow.missing_rate.value,
            "last_known": int(run.borrow_last_known),
            "skipped": int(run.borrow_skipped),
        },
        "settlement grace": settings.funding.grace.value,
        "funding price": settings.funding.price.value,
        "valuation price": settings.data.valuation_price.value,
        "settlements paid": int(run.settlements_paid),
        "margin engine": {
            "policy": settings.margin.engine.value,
            "liquidations": int(run.liquidations),
            "deleveragings": int(run.deleveragings),
            "paid to the insurance fund": float(run.fund_received),
            "borne by the insurance fund": float(run.fund_paid),
        },
    }


def _kill_switch(world: World, settings: Settings) -> dict[str, Any]:
    """How often the kill switch was pulled and re-armed; empty where it never was and no date to re-arm it is given."""
    found = world.journal["event"][: world.run[0].journal_rows]
    pulled, rearmed = (int(np.count_nonzero(found == event)) for event in (state.KILL, state.REARMED))
    if pulled == 0 and not settings.risk.rearm:
        return {}
    return {"kill switch": {"pulled": pulled, "rearmed": rearmed, "dates to rearm": len(settings.risk.rearm)}}


def _oracle_counts(market: MarketHistory, settings: Settings, bars: int) -> dict[str, Any] | str:
    """Bars of the run by status of the oracle, for each asset and perp that it watched."""
    if not market.oracle:
        return "off"
    counts: dict[str, Any] = {"policy": settings.oracle.kind.value}
    for name, status in sorted(market.oracle.items()):
        for code in Status:
            counts[f"{name} {code.name.lower()}"] = int(np.count_nonzero(status[:bars] == code))
    return counts


class _Context(NamedTuple):
    """What turns codes of a journal row into words."""

    order_leg: list[int]
    order_intent: list[int]
    order_kind: list[int]
    names: Names

    def instrument(self, order: int) -> str:
        """Key of the instrument of an order."""
        return self.names.instruments[self.order_leg[order]]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _journal(world: World, names: Names) -> Iterator[dict[str, Any]]:
    """Journal rows as mappings with words instead of codes."""
    orders = np.asarray(world.orders[: world.run[0].order_rows])
    context = _Context(orders["leg"].tolist(), orders["intent"].tolist(), orders["kind"].tolist(), names)
    columns = state.JOURNAL.names or ()
    time_ms, time = -1, ""
    for values in np.asarray(world.journal[: world.run[0].journal_rows]).tolist():
        row = dict(zip(columns, values, strict=True))
        event = row["event"]
        if row["time_ms"] != time_ms:
            time_ms, time = row["time_ms"], iso(row["time_ms"])
        entry: dict[str, Any] = {
            "time_ms": time_ms,
            "time": time,
            "event": state.JOURNAL_EVENTS[event],
        }
        if row["pair"] >= 0:
            entry["pair"] = names.pairs[int(row["pair"])]
        entry.update(_DETAILS[event](row, context))
        yield entry


def _signal(row: Any, _: _Context) -> dict[str, Any]:
    return {
        "reason": _REASONS[row["reason"]],
        "direction": int(row["lots"]),
        "basis_bps": _number(row["price"] * 1e4),
        "expected_net_bps": _number(row["value"] * 1e4),
        "carry_annual": _number(row["other"]),
    }


def _decision(row: Any, _: _Context) -> dict[str, Any]:
    return {
        "action": _ACTIONS[row["order"]],
        "approved": bool(row["other"]),
        "reason": _REASONS[row["reason"]],
        "spot_lots": int(row["value"]),
        "perp_lots": int(row["lots"]),
        "transfer": float(row["price"]),
    }


def _order(row: Any, context: _Context) -> dict[str, Any]:
    order = row["order"]
    return {
        "order": order,
        "instrument": context.instrument(order),
        "intent": _INTENTS[context.order_intent[order]],
        "kind": _KINDS[context.order_kind[order]],
        "lots": int(row["lots"]),
        "market_price": _number(row["price"]),
        "limit_price": _number(row["value"]),
    }


def _fill(row: Any, context: _Context) -> dict[str, Any]:
    order = row["order"]
    return {
        "order": order,
        "instrument": context.instrument(order),
        "lots": int(row["lots"]),
        "price": float(row["price"]),
        "fee_value": float(row["value"]),
        "slippage_value": float(row["other"]),
    }


def _order_end(row: Any, context: _Context) -> dict[str, Any]:
    order = row["order"]
    return {
        "order": order,
        "instrument": context.instrument(order),
        "reason": _ORDER_REASONS[row["reason"]],
        "unfilled_lots": int(row["lots"]),
    }


def _transfer(row: Any, context: _Context) -> dict[str, Any]:
    return {
        "from": context.names.wallets[int(row["price"])],
        "to": context.names.wallets[int(row["other"])],
        "amount": float(row["value"]),
    }


def _trip(row: Any, _: _Context) -> dict[str, Any]:
    return {
        "trip": int(row["order"]),
        "direction": int(row["lots"]),
        "reason": _REASONS[row["reason"]],
        **({"pnl": float(row["price"])} if row["event"] == state.TRIP_CLOSED else {"notional": float(row["value"])}),
    }


def _policy(row: Any, _: _Context) -> dict[str, Any]:
    return {"flags": int(row["lots"]), "mark_price": _number(row["price"]), "funding_rate": _number(row["value"])}


def _forced(row: Any, context: _Context) -> dict[str, Any]:
    return {
        "instrument": context.names.instruments[int(row["order"])],
        "lots": int(row["lots"]),
        "mark_price": float(row["price"]),
        "price": float(row["value"]),
        ("fee" if row["event"] == state.LIQUIDATION else "score"): float(row["other"]),
    }


def _guard(row: Any, _: _Context) -> dict[str, Any]:
    return {
        "reason": _REASONS[row["reason"]],
        "value": _number(row["price"]),
        "limit": _number(row["value"]),
    }


def _coin_short(row: Any, context: _Context) -> dict[str, Any]:
    return {
        "instrument": context.names.instruments[int(row["lots"])],
        "asset": context.names.assets[int(row["reason"])],
        "price": float(row["price"]),
        "needed": float(row["value"]),
        "held": float(row["other"]),
    }


def _takeover(row: Any, context: _Context) -> dict[str, Any]:
    return {
        "instrument": context.names.instruments[int(row["order"])],
        "mark_price": float(row["price"]),
        "value": float(row["value"]),
    }


def _kill(row: Any, _: _Context) -> dict[str, Any]:
    return {"equity": float(row["price"]), "peak_equity": float(row["value"])}


_DETAILS = {
    state.SIGNAL: _signal,
    state.DECISION: _decision,
    state.ORDER_PLACED: _order,
    state.FILL: _fill,
    state.ORDER_CANCELLED: _order_end,
    state.ORDER_REJECTED: _order_end,
    state.TRANSFER_SENT: _transfer,
    state.TRANSFER_ARRIVED: _transfer,
    state.TRIP_OPENED: _trip,
    state.TRIP_CLOSED: _trip,
    state.POLICY: _policy,
    state.KILL: _kill,
    state.LIQUIDATION: _forced,
    state.TAKEOVER: _takeover,
    state.DELEVERAGING: _forced,
    state.GUARD_TRIPPED: _guard,
    state.GUARD_RELEASED: _guard,
    state.REARMED: _kill,
    state.FEE_COIN_SHORT: _coin_short,
}
