"""Features of a pair from what has printed and settled so far.

The same code runs bar by bar and over a column of history.

Averages are exponentially weighted and updated in place; a leg that did not print updates nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from crypto import basis
from crypto.compiled import kernel


class Features(NamedTuple):
    """What the signal sees of a pair at one instant. Rates are fractions, prices per base unit."""

    time_ms: int
    spot_price: float
    perp_price: float
    basis: float  # perp / spot - 1; the last one known when a leg is stale
    basis_mean: float
    funding_per_hour: float  # forecast: weighted mean of settled rates, each spread over its own interval
    carry_annual: float  # the same over a year
    variance_hourly: float  # of the spot's simple returns
    borrow_per_hour: float  # NaN: cannot be borrowed
    spot_fresh: bool
    perp_fresh: bool
    warm: bool


FEATURES = np.dtype(
    [
        ("time_ms", "i8"),
        ("spot_price", "f8"),
        ("perp_price", "f8"),
        ("basis", "f8"),
        ("basis_mean", "f8"),
        ("funding_per_hour", "f8"),
        ("carry_annual", "f8"),
        ("variance_hourly", "f8"),
        ("borrow_per_hour", "f8"),
        ("spot_fresh", "?"),
        ("perp_fresh", "?"),
        ("warm", "?"),
    ],
    align=True,
)


@kernel
def observe_settlement(row: Any, funding_rate: float, interval_hours: float, alpha: float) -> None:
    """Fold one settled rate into the forecast; ``alpha`` is its weight, which depends on the interval it covers."""
    per_hour = funding_rate / interval_hours
    if row.funding_seen == 0:
        row.funding_per_hour = per_hour
    else:
        row.funding_per_hour += alpha * (per_hour - row.funding_per_hour)
    row.funding_seen += 1


@kernel
def observe_bar(row: Any, quote: Any, rules: Any) -> None:
    """Fold the bar that just closed into the averages of the pair."""
    row.bars_seen += 1
    row.spot_age = 0 if quote.spot_fresh == 1 else row.spot_age + 1
    row.perp_age = 0 if quote.perp_fresh == 1 else row.perp_age + 1
    if quote.spot_fresh == 1:
        row.spot_turnover += rules.turnover_alpha * (quote.spot_turnover - row.spot_turnover)
        if row.last_spot > 0.0:
            change = quote.spot / row.last_spot - 1.0
            row.variance += rules.variance_alpha * (change * change / rules.bar_hours - row.variance)
        row.last_spot = quote.spot
    if quote.perp_fresh == 1:
        row.perp_turnover += rules.turnover_alpha * (quote.perp_turnover - row.perp_turnover)
    if quote.spot_fresh == 1 and quote.perp_fresh == 1:
        now = basis.basis(quote.spot, quote.perp)
        if row.basis_mean != row.basis_mean:
            row.basis_mean = now
        else:
            row.basis_mean += rules.basis_alpha * (now - row.basis_mean)


@kernel
def update(pairs: Any, quotes: Any, rules: Any, settlements: Any, settle_end: int, pair: int) -> Features:
    """Bring the pair's features to the instant of its quote: settlements up to now, then the bar that closed now.

    ``settlements`` has the columns time_ms, rate, hours and alpha; the pair's rows end at ``settle_end``.
    """
    row, quote = pairs[pair], quotes[pair]
    while row.feature_settle < settle_end and settlements[row.feature_settle].time_ms <= quote.time_ms:
        settled = settlements[row.feature_settle]
        if settled.rate == settled.rate:
            observe_settlement(row, settled.rate, settled.hours, settled.alpha)
        row.feature_settle += 1
    observe_bar(row, quote, rules)
    known = quote.spot > 0.0 and quote.perp > 0.0
    now = basis.basis(quote.spot, quote.perp) if known else row.basis_mean
    return Features(
        quote.time_ms,
        quote.spot,
        quote.perp,
        now,
        row.basis_mean,
        row.funding_per_hour,
        basis.annual_carry(row.funding_per_hour, 1.0),
        row.variance,
        quote.borrow_per_hour,
        row.spot_age < rules.stale_after_bars,
        row.perp_age < rules.stale_after_bars,
        row.bars_seen >= rules.warmup_bars and row.funding_seen > 0 and known,
    )


@kernel
def store(table: Any, pair: int, seen: Features) -> None:
    """Keep the features in a row of ``FEATURES`` for code outside the compiled loop."""
    row = table[pair]
    row.time_ms = seen.time_ms
    row.spot_price = seen.spot_price
    row.perp_price = seen.perp_price
    row.basis = seen.basis
    row.basis_mean = seen.basis_mean
    row.funding_per_hour = seen.funding_per_hour
    row.carry_annual = seen.carry_annual
    row.variance_hourly = seen.variance_hourly
    row.borrow_per_hour = seen.borrow_per_hour
    row.spot_fresh = seen.spot_fresh
    row.perp_fresh = seen.perp_fresh
    row.warm = seen.warm
