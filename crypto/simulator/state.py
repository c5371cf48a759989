"""State of the simulated exchange as arrays: a row per leg, pair, wallet, order, ledger entry.

Every array is a plain or structured numpy array, so compiled and interpreted code work on the same memory and Python
code can look at any of it between steps. ``World`` only groups the arrays; it holds no behaviour.

A leg is one instrument of one pair: row ``2 * pair`` is the spot leg, row ``2 * pair + 1`` the perp leg.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from crypto.compiled import by_reference
from crypto.market import Floats

SPOT, LINEAR, INVERSE = 0, 1, 2  # leg kinds

LEG = np.dtype(
    [
        # fixed for the run
        ("pair", "i8"),
        ("kind", "i8"),
        ("wallet", "i8"),
        ("settle_asset", "i8"),
        ("base_asset", "i8"),
        ("units_per_lot", "f8"),  # contracts per lot; price x units = quote notional (spot, linear)
        ("base_per_lot", "f8"),  # base units per lot (spot, linear)
        ("quote_per_lot", "f8"),  # contract value per lot (inverse)
        ("multiplier", "f8"),  # venue price / multiplier = price of one base unit
        ("step_lots", "i8"),  # perp: smallest change that the spot leg can match to the last unit
        ("maker", "f8"),
        ("taker", "f8"),
        ("fee_in_base", "i8"),
        ("half_spread", "f8"),
        ("impact", "f8"),
        ("min_lots", "i8"),
        ("min_notional", "f8"),
        ("closing_exempt", "i8"),
        ("tick", "f8"),
        ("grace_ms", "i8"),
        ("charge_at_borrow", "i8"),
        ("borrow_offset_ms", "i8"),
        ("compounds", "i8"),
        ("settle_end", "i8"),
        ("unified", "i8"),  # perp: its wallet also holds spot legs, whose coins back it
        ("collateral_ratio", "f8"),  # spot in a unified wallet: share of its value that backs perps
        ("contract", "i8"),  # perp: first leg of the same contract and wallet; the venue sees them as one position
        ("shares_contract", "i8"),  # perp: another pair has it, too
        ("stage", "i8"),  # perp: crypto.liquidation_stages.Stage
        ("at_equality", "i8"),  # perp: equity equal to maintenance liquidates
        ("closing_fee", "f8"),  # perp: fee rate that the venue adds to the maintenance rate
        ("liquidation_fee", "f8"),
        ("keeps_surplus", "i8"),  # margin left after a liquidation goes to the insurance fund
        ("deleverage_fee", "f8"),
        ("adl_score", "i8"),  # crypto.adl.Score
        ("table_first", "i8"),  # rows of World.tier_tables
        ("table_end", "i8"),
        ("adl_end", "i8"),
        # moves with the run
        ("table_next", "i8"),  # next row of the tier tables
        ("tier_first", "i8"),  # columns of World.tiers that hold now
        ("tier_end", "i8"),
        ("adl_next", "i8"),  # next row of the ADL events
        ("adl_light", "i8"),  # of our position at the last examined move; -1: none
        ("settle_next", "i8"),  # next row of the settlement arrays
        ("lots", "i8"),  # signed; spot: whole lots that can be sold, or (negative) that must be bought back
        ("entry", "f8"),  # average entry price, venue quote (perp)
        ("holding", "f8"),  # base units held (spot)
        ("debt", "f8"),  # base units borrowed (spot)
        ("owed", "f8"),  # interest owed on it, base units (spot)
        ("cash", "f8"),  # account currency that this leg brought in (negative: took out)
        ("coin", "f8"),  # base units that this leg brought in (inverse)
        ("value_price", "f8"),  # price of the last valuation, venue quote
        ("move", "f8"),  # change of value_price in the current step
        ("adverse", "f8"),  # perp: the bar's extreme of the mark that hurts the account, venue quote
        ("grace_until_ms", "i8"),
        ("grace_row", "i8"),  # settlement that the grace seconds belong to
        ("next_borrow_ms", "i8"),
        ("flat_since_ms", "i8"),  # perp: when it last became flat, and since when Lean's hourly look sees it held
        ("held_since_ms", "i8"),
        ("order", "i8"),  # working order, -1: none
        # fixed for the run, read at fills only
        ("fee_coin", "i8"),  # row of World.coins that pays the leg's fees, -1: none
        ("discount", "f8"),  # part of the fee that is let off when it does
    ],
    align=True,
)

PAIR = np.dtype(
    [
        ("weight", "f8"),  # share of deployed capital, sums to one
        ("round_trip_cost", "f8"),  # fraction of notional, discounts off as long as the coin pays
        ("borrow_allowed", "i8"),
        ("direction", "i8"),  # +1 long spot, -1 short spot, 0 flat
        ("open_ms", "i8"),
        ("cooldown_until_ms", "i8"),
        ("entry_basis", "f8"),
        ("trip_notional", "f8"),
        ("trip_start_pnl", "f8"),
        ("trip_peak_pnl", "f8"),
        ("trip", "i8"),  # row of the open round trip, -1: none
        ("pnl", "f8"),  # cumulative, from cash and position values
        ("exit_reason", "i8"),
        ("guards", "i8"),  # tripped guards, bits of crypto.pipeline.guards.Guard
        ("distance", "f8"),  # adverse move of all perps of its account that liquidates, fraction
        ("account_variance", "f8"),  # hourly, of all perps of its account as if they moved together
        ("guard_variance", "f8"),  # the variance that the distance guard went by
        ("unhedged_since_ms", "i8"),
        ("calm_until_ms", "i8"),  # not enlarged before, because a guard cut it or moved collateral in
        ("concentration", "f8"),  # share of the venue's or asset's limit that is used
        ("oracle_good", "i8"),  # bars since the oracle was last bad
        ("naked", "i8"),  # Reason for which the venue closed the hedge, 0: hedged
        ("naked_since_ms", "i8"),
        ("last_signal", "i8"),  # reason last written to the journal
        ("last_decision", "i8"),
        # two-leg work in progress
        ("phase", "i8"),
        ("opening", "i8"),
        ("first_leg", "i8"),
        ("first_lots", "i8"),
        ("second_lots", "i8"),
        ("first_done", "i8"),
        ("second_done", "i8"),
        ("first_working", "i8"),
        ("second_working", "i8"),
        ("second_step", "i8"),
        ("first_sent", "i8"),
        ("second_failed", "i8"),
        ("hedging", "i8"),
        ("committed", "f8"),  # held back in the second leg's wallet until it has filled, in the asset that it spends
        # features
        ("feature_settle", "i8"),  # next settlement that features have not seen
        ("funding_per_hour", "f8"),
        ("funding_seen", "i8"),
        ("basis_mean", "f8"),
        ("variance", "f8"),
        ("last_spot", "f8"),
        ("spot_turnover", "f8"),
        ("perp_turnover", "f8"),
        ("bars_seen", "i8"),
        ("spot_age", "i8"),  # bars since the leg last printed
        ("perp_age", "i8"),
        ("usual_cost", "f8"),  # round_trip_cost without discounts
    ],
    align=True,
)

QUOTE = np.dtype(
    [
        ("time_ms", "i8"),
        ("spot", "f8"),  # last close per base unit
        ("perp", "f8"),
        ("mark", "f8"),
        ("spot_turnover", "f8"),  # quote value traded in the last bar
        ("perp_turnover", "f8"),
        ("spot_fresh", "i8"),  # the last bar printed
        ("perp_fresh", "i8"),
        ("borrow_per_hour", "f8"),  # NaN: no rate known
        ("collateral_ratio", "f8"),  # perp wallet's equity over its notional; NaN when it holds no perp
        ("notional", "f8"),  # absolute perp notional of this pair
        ("attention", "i8"),  # what the account needs besides the signal, crypto.pipeline.portfolio
    ],
    align=True,
)

TRANSFER = np.dtype(
    [("source", "i8"), ("target", "i8"), ("asset", "i8"), ("amount", "f8"), ("arrive_ms", "i8"), ("active", "i8")],
    align=True,
)

SETTLEMENT = np.dtype(
    [
        ("time_ms", "i8"),
        ("rate", "f8"),
        ("mark", "f8"),  # venue quote
        ("hours", "f8"),  # interval that ends here
        ("alpha", "f8"),  # weight of this settlement in the funding forecast
        ("flag", "i8"),  # what the missing-data policy did
    ],
    align=True,
)

BORROW_RATE = np.dtype([("rate", "f8"), ("flag", "i8")], align=True)  # flag: crypto.simulator.gaps.BORROW_*

TIER_TABLE = np.dtype([("effective_ms", "i8"), ("first", "i8"), ("end", "i8")], align=True)

ADL_EVENT = np.dtype(
    [
        ("bar", "i8"),
        ("side", "i8"),  # side that was liquidated: +1 longs, so shorts are closed
        ("lots", "f8"),  # that the queue has to close, in lots of the leg
        ("mark", "f8"),  # extreme at which the queue is ranked, venue quote
        ("price", "f8"),  # at which both sides are closed, venue quote
        ("queue_first", "i8"),
        ("queue_end", "i8"),
    ],
    align=True,
)

ADL_QUEUE = np.dtype([("score", "f8"), ("lots", "f8")], align=True)  # score descending; lots up to and including it

HOLDING = np.dtype(
    [
        ("balance", "f8"),
        ("reserved", "f8"),  # held back for working orders
        ("treasury", "f8"),  # part of the balance that no leg brought in
        ("price_leg", "i8"),  # leg whose valuation prices the asset here; -1: account currency, -2: none, else a coin
        ("unrealised", "f8"),  # as of the last measurement: profit of the perps that settle in the asset, in the asset
        ("notional", "f8"),  # as of the last measurement: their absolute notional, account currency
        ("collateral", "f8"),  # as of the last measurement: value of the coins that back them in a unified wallet
        ("stressed", "f8"),  # margin surplus of its perps at the bar's adverse extremes, in the asset
    ],
    align=True,
)

COIN_PRICED = -3  # HOLDING.price_leg of the first coin that pays fees; of the next ones below it

COIN = np.dtype(
    [
        ("asset", "i8"),
        ("price", "f8"),  # of the last valuation, account currency
        ("move", "f8"),  # its change in the current step
    ],
    align=True,
)

WALLET = np.dtype(
    [
        ("venue", "i8"),
        ("short", "i8"),  # 1: the coins that pay fees here did not cover one
    ],
    align=True,
)

JOURNAL = np.dtype(
    [
        ("time_ms", "i8"),
        ("event", "i8"),
        ("pair", "i8"),
        ("reason", "i8"),
        ("order", "i8"),
        ("lots", "i8"),
        ("price", "f8"),
        ("value", "f8"),
        ("other", "f8"),
    ],
    align=True,
)

RUN = np.dtype(
    [
        ("instant", "i8"),
        ("row", "i8"),  # attribution row of what happens now: the step under way, after its measurement the next one
        ("time_ms", "i8"),
        ("ledger_rows", "i8"),
        ("order_rows", "i8"),
        ("journal_rows", "i8"),
        ("trip_rows", "i8"),
        ("equity", "f8"),
        ("peak_equity", "f8"),
        ("killed", "i8"),
        ("transfers_active", "i8"),
        ("status", "i8"),
        ("status_leg", "i8"),
        ("status_row", "i8"),
        ("hour", "i8"),
        ("orders_this_hour", "i8"),
        ("rate_last_known", "i8"),
        ("rate_skipped", "i8"),
        ("mark_last_known", "i8"),
        ("mark_skipped", "i8"),
        ("borrow_last_known", "i8"),
        ("borrow_skipped", "i8"),
        ("settlements_paid", "i8"),
        ("liquidations", "i8"),
        ("deleveragings", "i8"),
        ("fund_received", "f8"),  # liquidation fees and margin left, account currency
        ("fund_paid", "f8"),  # deficits of ours that the venue bore, account currency
    ],
    align=True,
)

# run status
RUNNING, COMPLETED, GROW, INSOLVENT, NO_RATE, NO_MARK, NO_BORROW_RATE = 0, 1, 2, 3, 4, 5, 6

# settlement flags: what the missing-data policy did, and what it would have to do when a position is held
RATE_LAST_KNOWN, MARK_LAST_KNOWN, RATE_SKIP, MARK_SKIP, RATE_FAIL, MARK_FAIL = 1, 2, 4, 8, 16, 32

# journal events
(
    SIGNAL,
    DECISION,
    ORDER_PLACED,
    FILL,
    ORDER_CANCELLED,
    ORDER_REJECTED,
    TRANSFER_SENT,
    TRANSFER_ARRIVED,
    TRIP_OPENED,
    TRIP_CLOSED,
    POLICY,
    KILL,
    LIQUIDATION,
    TAKEOVER,
    DELEVERAGING,
    GUARD_TRIPPED,
    GUARD_RELEASED,
    REARMED,
    FEE_COIN_SHORT,
) = range(19)
JOURNAL_EVENTS = (
    "signal",
    "decision",
    "order",
    "fill",
    "cancel",
    "reject",
    "transfer_sent",
    "transfer_arrived",
    "trip_opened",
    "trip_closed",
    "policy",
    "kill_switch",
    "liquidation",
    "takeover",
    "deleveraging",
    "guard_tripped",
    "guard_released",
    "rearmed",
    "fee_coin_short",
)

MAX_TRANSFERS = 64


# columns of World.bars; VALUE: valuation price at the bar's close; the last two: extremes of the mark (perps)
OPEN, HIGH, LOW, CLOSE, VOLUME, VALUE, MARK_HIGH, MARK_LOW = range(8)

BASIS_BPS, CARRY_ANNUAL, SPOT_VALUE, PERP_VALUE, COLLATERAL, PNL, DISTANCE = range(7)  # columns of World.series


BAR_COLUMNS, SERIES_COLUMNS = 8, 7


@by_reference
class World(NamedTuple):
    """All arrays of a run.

    L legs, P pairs, W wallets (last: transit), A assets, T bars, C components, S settlements, N coins that pay fees.
    """

    # market, read only
    bars: Floats  # (L + N, T, 8) venue quote, NaN: no bar; volume in contracts; row L + n prices coin n
    settlements: Any  # (S,) SETTLEMENT, grouped by leg, ascending
    borrow: Any  # (P, H) BORROW_RATE by hour from start_ms
    rules: Any  # (1,) RULES
    tiers: Floats  # (5, N) floor, rate, deduction, cap, largest leverage of all tiers, in the margin asset
    tier_tables: Any  # TIER_TABLE, grouped by leg, ascending
    adl_events: Any  # ADL_EVENT, grouped by leg, ascending
    adl_queue: Any  # ADL_QUEUE
    oracle: Any  # (P, T) i8: crypto.oracle status of the pair's asset at the bar's close; 0: good
    # state
    wallets: Any  # (W,) WALLET
    holdings: Any  # (W, A) HOLDING
    coins: Any  # (N,) COIN
    legs: Any  # (L,) LEG
    pairs: Any  # (P,) PAIR
    quotes: Any  # (P,) QUOTE
    features: Any  # (P,) crypto.pipeline.features.FEATURES, for Python code
    positions: Any  # (P,) crypto.pipeline.signal.POSITION, for Python code
    transfers: Any  # (MAX_TRANSFERS,) TRANSFER
    run: Any  # (1,) RUN
    # append-only records
    ledger: Any
    orders: Any
    journal: Any
    trips: Any
    # series by instant, row 0 is the start
    wallet_equity: Floats  # (T + 1, W)
    attribution: Floats  # (T + 1, L + W, C): a row per leg, then a row per wallet for what no leg owns
    series: Floats  # (T + 1, P, 7)
