"""Which tiers, marks, leverage and fees an account question goes by. Spec: docs/specs/calculator.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from crypto.errors import DataError, UsageError
from crypto.instruments import Kind
from crypto.margin import Position, notional_inverse, notional_linear, position
from crypto.tiers import TierBook, TierTable, check_leverage, fixed_tier, tier_of
from crypto.venues.liquidation_rules import RULES, ClosingFee
from crypto.venues.registry import VENUES
from crypto.venues.shipped_tiers import SHIPPED_TIERS
from crypto.worked.answer import exact, percent
from crypto.worked.inputs import ALL, Held, blaming, fraction, known, only_held

DEFAULT_FEE_TIER = "VIP0"
_QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "USD")


@dataclass(frozen=True, slots=True)
class TierChoice:
    """Where the tiers of an account come from.

    ``by_hand``: symbol -> (rate, deduction). ``listed``: the book of the user's file, else the shipped tables.
    ``as_of_ms``: instant at which shipped tables must hold; None: the latest of each contract.
    """

    by_hand: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    listed: TierBook | None = None
    as_of_ms: int | None = None


@dataclass(frozen=True, slots=True)
class AccountQuestion:
    """Positions of one account, all of one ``kind``. ``marks`` and ``leverage`` by symbol; ``ALL`` holds for the rest.

    ``hedge``: a long and a short of one symbol may stand side by side.
    """

    venue: str
    kind: Kind
    held: tuple[Held, ...]
    marks: Mapping[str, float]
    leverage: Mapping[str, float] = field(default_factory=dict)
    tiers: TierChoice = field(default_factory=TierChoice)
    hedge: bool = False

    def __post_init__(self) -> None:
        known("--venue", self.venue, RULES)
        _check_sides(self)
        only_held("--mark", self.marks, self.held)
        only_held("--leverage", self.leverage, self.held)
        only_held("--tier", self.tiers.by_hand, self.held)
        _check_tier_flags(self)

    def leverage_of(self, symbol: str) -> float | None:
        """Leverage given for a symbol, by name or for all; None when it was not given."""
        return self.leverage.get(symbol, self.leverage.get(ALL))

    def mark_of(self, symbol: str) -> float:
        """Mark given for a symbol; ``UsageError`` when it is missing."""
        mark = self.marks.get(symbol, self.marks.get(ALL))
        if mark is None:
            raise UsageError(f"--mark {symbol} is missing", remedy=f"give --mark {symbol}=PRICE")
        return mark

    def positions(self) -> tuple[Position, ...]:
        """The positions with their tiers, checked; errors name the flag."""
        tables = {symbol: self._table(symbol) for symbol in dict.fromkeys(item.symbol for item in self.held)}
        return tuple(self._position(item, tables[item.symbol]) for item in self.held)

    def _position(self, item: Held, table: TierTable) -> Position:
        mark, leverage = self.mark_of(item.symbol), self.leverage_of(item.symbol)
        measure = notional_inverse if self.kind is Kind.INVERSE else notional_linear
        notional = measure(item.quantity, mark)
        with blaming(f"--position {item.symbol}"):
            tier_of(table, notional)
        if leverage is not None:
            with blaming(f"--leverage {exact(leverage)}"):
                check_leverage(table, notional, leverage)
        found = position(table, item.side * item.quantity, item.entry_price, mark, leverage)
        check_given_tier(found)
        return found

    def _table(self, symbol: str) -> TierTable:
        key = f"{self.venue}:{self.kind.value}:{symbol}"
        if symbol in self.tiers.by_hand:
            rate, deduction = self.tiers.by_hand[symbol]
            leverage = self.leverage_of(symbol) or 1.0
            if leverage * rate > 1:
                raise UsageError(
                    f"--leverage {exact(leverage)}: its initial margin of {1 / leverage:.4%} is below the maintenance"
                    f" rate of --tier {symbol}, {percent(rate)}",
                    remedy="lower the leverage or correct the rate",
                )
            return fixed_tier(key, margin_asset(self.venue, self.kind, symbol), rate, deduction, max(1.0, leverage))
        return listed_table(key, self.tiers, f"--position {symbol}")


def check_given_tier(held: Position) -> None:
    """``UsageError`` when a deduction given by hand is more than the maintenance margin that it is taken from."""
    if held.maintenance < 0:
        symbol = held.tiers.key.split(":")[2]
        raise UsageError(
            f"--tier {symbol}: deduction {exact(held.tiers.deduction[0])} is more than {percent(held.tiers.rate[0])} of"
            f" the notional {held.notional:,.8g} at a price of {held.mark_price:,.8g}, so that tier doesn't hold there",
            remedy="give rate and deduction of the tier that holds, or leave --tier out and use the venue's table",
        )


def margin_asset(venue: str, kind: Kind, symbol: str) -> str:
    """Asset of margin and profit: by the shipped filters, else by the symbol's end, else ``quote`` or ``coin``."""
    shipped = VENUES[venue].instruments.get((kind, symbol)) if venue in VENUES else None
    if shipped is not None:
        return shipped.settle
    quote = next((name for name in _QUOTES if symbol.endswith(name) and symbol != name), "")
    if kind is Kind.INVERSE:
        return symbol.removesuffix(quote) if quote else "coin"
    return quote or "quote"


def quantity_unit(kind: Kind, symbol: str) -> str:
    """Unit of a position's size: quote value for inverse contracts, base units for linear ones."""
    quote = next((name for name in _QUOTES if symbol.endswith(name) and symbol != name), "")
    if kind is Kind.INVERSE:
        return quote or "quote"
    return symbol.removesuffix(quote) if quote else "base"


def closing_fee(rule: ClosingFee, venue: str, kind: Kind, taker: float | None) -> float:
    """Fee rate that the venue's rule asks for: ``taker``, else the venue's first fee tier.

    ``UsageError`` for a taker rate that the rule doesn't use, and for one that is needed and not known.
    """
    if rule is ClosingFee.NONE:
        if taker is not None:
            raise UsageError(
                f"--taker = {taker}: {venue} asks for no closing fee in its margins", remedy="leave --taker out"
            )
        return 0.0
    found = taker_rate(venue, kind, taker)
    if found is None:
        raise UsageError(
            f"--taker is missing: {venue} adds the fee of closing, and its fees don't ship", remedy="give --taker RATE"
        )
    return found


def taker_rate(venue: str, kind: Kind, taker: float | None) -> float | None:
    """``taker`` when given, else the shipped rate of the first fee tier, None when that venue's fees don't ship."""
    if taker is not None:
        return fraction("--taker", taker)
    return VENUES[venue].fees[kind].rates(DEFAULT_FEE_TIER).taker if venue in VENUES else None


def listed_table(key: str, choice: TierChoice, flag: str, *, one_contract: bool = False) -> TierTable:
    """The table of a contract from the user's file or the shipped ones; ``flag`` is blamed when there is none.

    ``one_contract``: the command asks about one contract by its key, so its ``--tier`` takes no symbol.
    """
    book = SHIPPED_TIERS if choice.listed is None else choice.listed
    if key not in book.keys:
        raise _no_tiers(key, book, flag, one_contract)
    if choice.as_of_ms is None:
        return book.history(key)[-1]
    with blaming("--as-of"):
        return book.as_of(key, choice.as_of_ms)


def _no_tiers(key: str, book: TierBook, flag: str, one_contract: bool) -> DataError:
    venue, kind, symbol = key.split(":")
    other = "inverse" if kind == "linear" else "linear"
    if f"{venue}:{other}:{symbol}" in book.keys:
        given = f"--instrument {venue}:{other}:{symbol}" if one_contract else f"--kind {other}"
        return DataError(f"{flag}: no tiers of {key}", remedy=f"give {given}")
    close = get_close_matches(key, book.keys, n=1)
    hint = f"; did you mean {close[0].split(':')[2]}?" if close and close[0].startswith(f"{venue}:{kind}") else ""
    by_hand = "RATE/DEDUCTION" if one_contract else f"{symbol}=RATE/DEDUCTION"
    return DataError(
        f"{flag}: no tiers of {key} are known{hint}",
        remedy=f"give --tier {by_hand}, or --tiers FILE with the venue's own tables",
    )


def _check_sides(question: AccountQuestion) -> None:
    seen: set[tuple[str, int]] = set()
    for item in question.held:
        if (item.symbol, item.side) in seen:
            raise UsageError(f"--position {item.text} is given twice", remedy="give one position with their sum")
        if (item.symbol, -item.side) in seen and not question.hedge:
            raise UsageError(
                f"--position {item.symbol}: long and short at once need hedge mode",
                remedy="give --hedge, or the net position",
            )
        seen.add((item.symbol, item.side))
    if question.hedge and len({item.symbol for item in question.held}) == len(question.held):
        raise UsageError("--hedge: no symbol is held long and short", remedy="leave --hedge out, or give both legs")


def _check_tier_flags(question: AccountQuestion) -> None:
    choice = question.tiers
    if choice.listed is not None and choice.as_of_ms is not None:
        raise UsageError("--as-of with --tiers: a tier file holds no date", remedy="give one of them")
    is_listed = choice.listed is not None or choice.as_of_ms is not None
    if is_listed and all(item.symbol in choice.by_hand for item in question.held):
        flag = "--tiers" if choice.listed is not None else "--as-of"
        raise UsageError(f"{flag}: every symbol already has its --tier", remedy="give one of them")
