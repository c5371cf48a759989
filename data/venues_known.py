"""What is known of each venue, where it comes from and how old it is. Spec: docs/specs/venues.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from crypto.errors import UsageError
from crypto.instruments import Kind
from crypto.tiers import TierBook
from crypto.units import iso
from crypto.venues.base import Venue
from crypto.venues.liquidation_rules import RULES, LiquidationRule
from crypto.venues.registry import VENUES
from crypto.venues.tiers_binance import BINANCE_TIERS
from crypto.venues.tiers_bybit import BYBIT_TIERS
from crypto.venues.tiers_hyperliquid import HYPERLIQUID_TIERS
from data.sources.endpoints.base import VenueRest
from data.sources.endpoints.known import RESTS
from data.venues_funding import FUNDING_RULES

TIER_BOOKS: Mapping[str, TierBook] = {
    "binance": BINANCE_TIERS,
    "bybit": BYBIT_TIERS,
    "hyperliquid": HYPERLIQUID_TIERS,
}
_UNDATED = ""

# Until when each fact is known to hold: the date that its source names (a test compares them), empty where it names
# none. A month stands for its first day.
AS_OF: Mapping[str, Mapping[str, str]] = {
    "binance": {
        "fees spot": "2026-11",
        "fees linear": "2026-11",
        "fees inverse": "2026-08-21",
        "fee currency": "2026-08-21",
        "fee discount": "2020-06-11",
        "borrow": _UNDATED,
        "settlement grace": _UNDATED,
        "closing below min notional": "2024-06-26",
        "filters spot": "2026-08-21",
        "filters linear": "2026-03-31",
        "filters inverse": "2026-08-21",
        "settlement interval": "2026-03-20",
        "limit futures": "2026-06-30",
        "limit spot": _UNDATED,
        "limit sapi": _UNDATED,
        "limit funding": "2026-07",
        "liquidation": _UNDATED,
    },
    "bybit": {
        "fees spot": "2026-11",
        "fees linear": "2026-11",
        "fees inverse": "2026-11",
        "fee currency": "2024-11-12",
        "fee discount": "2025-10-14",
        "borrow": "2026-07-24",
        "settlement grace": _UNDATED,
        "closing below min notional": "2024-06-10",
        "filters spot": "2026-08-21",
        "filters linear": "2026-08-21",
        "filters inverse": "2026-08-21",
        "settlement interval": "2025-01-02",
        "limit ip": "2026-07-24",
        "liquidation": "2026-05-27",
    },
    "okx": {"limit ip": _UNDATED, "liquidation": _UNDATED},
    "hyperliquid": {"limit ip": "2026-11", "liquidation": _UNDATED},
    "dydx": {"limit ip": "2026-11", "liquidation": _UNDATED},
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing known of a venue. ``as_of``: ISO date or month until when it is known to hold, empty: undated."""

    venue: str
    subject: str
    known: str
    as_of: str
    source: str

    def age_days(self, today: date) -> int | None:
        """Days from ``as_of`` to ``today``; None when it is undated."""
        if not self.as_of:
            return None
        return (today - date.fromisoformat(self.as_of if len(self.as_of) > 7 else f"{self.as_of}-01")).days


def facts(venue: str = "") -> list[Fact]:
    """Every fact, or those of one venue; ``UsageError`` naming the known venues."""
    names = list(dict.fromkeys([*VENUES, *RESTS, *RULES, *FUNDING_RULES]))
    if venue and venue not in names:
        raise UsageError(f"unknown venue {venue!r}", remedy=f"known: {', '.join(names)}")
    return [fact for name in names if venue in ("", name) for fact in _facts(name)]


def _facts(name: str) -> Iterator[Fact]:
    if name in VENUES:
        yield from _rules(VENUES[name])
    if name in FUNDING_RULES:
        funding = FUNDING_RULES[name]
        yield Fact(name, "funding", funding.known, funding.as_of, funding.source)
    if name in RULES:
        rule = RULES[name]
        yield Fact(name, "liquidation", _liquidation(rule), AS_OF[name]["liquidation"], rule.source)
    if name in TIER_BOOKS:
        yield from _tiers(name, TIER_BOOKS[name])
    if name in RESTS:
        yield from _interface(RESTS[name])


def _rules(venue: Venue) -> Iterator[Fact]:
    for subject, source in venue.sources.items():
        yield Fact(venue.name, subject, _known(venue, subject), AS_OF[venue.name][subject], source)


def _known(venue: Venue, subject: str) -> str:
    word, _, kind = subject.partition(" ")
    if word == "fees":
        tiers = venue.fees[Kind(kind)].tiers
        first = next(iter(tiers))
        return f"{first} maker {tiers[first].maker:.4%}, taker {tiers[first].taker:.4%}; {_counted(len(tiers), 'tier')}"
    if word == "filters":
        return f"{sum(of is Kind(kind) for of, _ in venue.instruments)} instruments: tick, lot, smallest order"
    return {
        "fee currency": _fee_currency,
        "fee discount": _fee_discount,
        "borrow": _borrow,
        "settlement grace": lambda found: f"{found.settlement_grace_ms / 1000:g} s",
        "closing below min notional": _closing,
        "settlement interval": _intervals,
    }[subject](venue)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _fee_currency(venue: Venue) -> str:
    return "spot buys pay in base" if venue.fees[Kind.SPOT].spot_buy_fee_in_base else "spot buys pay in quote"


def _fee_discount(venue: Venue) -> str:
    found = venue.discount
    if found is None:
        return "none"
    return f"paid in {found.asset}: " + ", ".join(f"{kind} {share:.0%} off" for kind, share in found.shares.items())


def _borrow(venue: Venue) -> str:
    rule = venue.borrow
    first = "an hour charged at once, then " if rule.charge_at_borrow else ""
    interest = "compound" if rule.compounds else "simple"
    return f"{first}every hour at {rule.mark_offset_ms // 60_000:02d} past, {interest} interest"


def _closing(venue: Venue) -> str:
    allowed = [kind.value for kind, may in venue.closing_may_be_below_min_notional.items() if may]
    return f"allowed: {', '.join(allowed) or 'nowhere'}"


def _intervals(venue: Venue) -> str:
    hours = [item.settlement_interval_hours for item in venue.instruments.values() if item.kind is not Kind.SPOT]
    return ", ".join(f"{_counted(hours.count(value), 'contract')} {value} h" for value in sorted(set(hours)))


def _liquidation(rule: LiquidationRule) -> str:
    side = "reaches" if rule.at_equality else "falls below"
    fee = rule.cross_fee.value.replace("_", " ")
    return f"on {rule.price} price, when equity {side} maintenance; closing fee in cross: {fee}"


def _tiers(name: str, book: TierBook) -> Iterator[Fact]:
    by_source: dict[tuple[str, str], list[str]] = {}
    for table in book.tables():
        # A table without a known beginning holds from 1970 on.
        dated = iso(table.effective_ms)[:10] if table.effective_ms > 0 else _UNDATED
        by_source.setdefault((dated, table.source), []).append(table.key.rpartition(":")[2])
    for (dated, source), symbols in sorted(by_source.items()):
        shown = ", ".join(symbols[:4]) + (f" and {len(symbols) - 4} more" if len(symbols) > 4 else "")
        yield Fact(name, "tiers", f"{_counted(len(symbols), 'contract')}: {shown}", dated, source)


def _interface(rest: VenueRest) -> Iterator[Fact]:
    for budget_name, budget in rest.budgets.items():
        subject = f"limit {budget_name}"
        known = f"{budget.limit} units in {budget.window_s:g} s"
        yield Fact(rest.name, subject, known, AS_OF[rest.name][subject], budget.source)
    by_series: dict[str, list[str]] = {}
    for series, kind in rest.series:
        by_series.setdefault(series, []).append(kind)
    known = "; ".join(f"{series} ({', '.join(kinds)})" for series, kinds in by_series.items())
    archive = "; bulk archive" if rest.archive_url else ""
    yield Fact(rest.name, "history", known + archive, _UNDATED, "routes that carry fetch asks: docs/specs/sources.md")
