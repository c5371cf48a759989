"""Maintenance tiers and liquidation rules of a run's perps, as arrays. What can be refused is refused here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crypto.adl import adl_rule
from crypto.errors import DataError, RefusedError, SettingsError
from crypto.instruments import Instrument, Kind
from crypto.insurance import fund_rule
from crypto.liquidation_stages import stage_of
from crypto.market import Floats
from crypto.pipeline.rules import uses_margin_engine
from crypto.settings import EarlyTiers, Settings
from crypto.simulator.state import TIER_TABLE
from crypto.tiers import TierBook, TierTable
from crypto.units import iso
from crypto.venues.liquidation_rules import ClosingFee, collateral_ratio, liquidation_fee, liquidation_rule

TIER_COLUMNS = ("floor", "rate", "deduction", "cap", "max_leverage")


def margin_tables(
    instruments: Sequence[Instrument],
    legs: Any,
    settings: Settings,
    book: TierBook,
    period: tuple[int, int],
    notes: list[str],
) -> tuple[Floats, Any]:
    """Columns of all tiers (5, N) and the tables by leg; writes each perp leg's rules into ``legs``.

    ``DataError`` names a contract without tiers or without any as early as the run, ``RefusedError`` a leverage above
    the first tier's, ``SettingsError`` a coin in a unified wallet whose collateral ratio is not known.
    """
    columns: list[Floats] = []
    rows: list[tuple[int, int, int]] = []
    count = 0
    if uses_margin_engine(settings):
        for leg, instrument in enumerate(instruments):
            if instrument.kind is Kind.SPOT:
                continue
            legs[leg].table_first = len(rows)
            for table in _tables(instrument.key, settings, book, period, notes):
                size = table.floor.size
                rows.append((table.effective_ms, count, count + size))
                columns.append(np.array([getattr(table, name) for name in TIER_COLUMNS]))
                count += size
            legs[leg].table_end = len(rows)
            opening = rows[int(legs[leg].table_first)]
            legs[leg].tier_first, legs[leg].tier_end = opening[1:]
            legs[leg].table_next = legs[leg].table_first + 1
            _check_leverage(instrument.key, columns[int(legs[leg].table_first)], settings)
            _write_rules(legs, leg, instruments, settings)
        _find_shared(instruments, legs, notes)
    tables = np.zeros(max(1, len(rows)), TIER_TABLE).view(np.recarray)
    for index, (effective_ms, first, end) in enumerate(rows):
        tables[index].effective_ms, tables[index].first, tables[index].end = effective_ms, first, end
    return np.concatenate(columns, axis=1) if columns else np.zeros((len(TIER_COLUMNS), 1)), tables


def _find_shared(instruments: Sequence[Instrument], legs: Any, notes: list[str]) -> None:
    """Which legs are one position to the venue, because their pairs trade one contract in one wallet (one-way mode)."""
    first: dict[str, int] = {}
    for leg in range(1, len(instruments), 2):
        key = instruments[leg].key
        legs[leg].contract = first.setdefault(key, leg)
        if legs[leg].contract != leg:
            legs[leg].shares_contract = legs[first[key]].shares_contract = 1
    notes.extend(
        f"{key} is the perp of several pairs: its tier is that of their net position, as in one-way mode"
        for key in sorted(key for key, leg in first.items() if legs[leg].shares_contract)
    )


def _tables(key: str, settings: Settings, book: TierBook, period: tuple[int, int], notes: list[str]) -> list[TierTable]:
    """The tables of a contract that hold at some time of the run, earliest first."""
    start_ms, end_ms = period
    try:
        history = book.history(key)
    except DataError as error:
        raise DataError(
            error.message, remedy='name a file with them in [[margin.tier_files]], or set margin.engine = "off"'
        ) from error
    if history[0].effective_ms > start_ms:
        if settings.margin.tiers_before_first is EarlyTiers.FAIL:
            raise DataError(
                f"leverage tiers of {key} are known from {iso(history[0].effective_ms)} on, the run starts at"
                f" {iso(start_ms)}",
                remedy='name an older file in [[margin.tier_files]], or set margin.tiers_before_first = "earliest"',
            )
        notes.append(f"{key}: leverage tiers of {iso(history[0].effective_ms)} are used before that date")
    started = [table for table in history if table.effective_ms <= start_ms] or [history[0]]
    return [started[-1], *(table for table in history if started[-1].effective_ms < table.effective_ms < end_ms)]


def _check_leverage(key: str, columns: Floats, settings: Settings) -> None:
    largest = float(columns[TIER_COLUMNS.index("max_leverage"), 0])
    if settings.portfolio.perp_leverage > largest:
        raise RefusedError(
            f"portfolio.perp_leverage = {settings.portfolio.perp_leverage:g} is above {largest:g},"
            f" the largest that {key} allows",
            remedy=f"set it to {largest:g} or less",
        )


def _write_rules(legs: Any, leg: int, instruments: Sequence[Instrument], settings: Settings) -> None:
    spot, perp = instruments[leg - 1], instruments[leg]
    row = legs[leg]
    rule = liquidation_rule(perp.venue)
    row.stage = int(stage_of(perp.venue))
    row.at_equality = int(rule.at_equality)
    row.closing_fee = row.taker if rule.cross_fee is ClosingFee.WITH_MAINTENANCE else 0.0
    row.liquidation_fee = settings.margin.liquidation_fee.get(perp.key, liquidation_fee(perp.key, row.taker))
    row.keeps_surplus = int(fund_rule(perp.venue).keeps_surplus)
    ranking = adl_rule(perp.venue)
    row.adl_score = int(ranking.score)
    row.deleverage_fee = row.maker if perp.venue == "bybit" else 0.0  # Bybit ADL page (old): the maker fee
    row.unified = int(legs[leg - 1].wallet == row.wallet and perp.kind is Kind.LINEAR)
    if row.unified:
        legs[leg - 1].collateral_ratio = _ratio(spot, settings.margin.collateral_ratio)


def _ratio(spot: Instrument, given: Mapping[str, Mapping[str, float]]) -> float:
    own = given.get(spot.venue, {})
    if spot.base in own:
        return own[spot.base]
    known = collateral_ratio(spot.venue, spot.base)
    if known is None:
        raise SettingsError(
            f"{spot.key}: no collateral ratio for {spot.base} on {spot.venue}",
            remedy=f"add [margin.collateral_ratio.{spot.venue}] with {spot.base} as a share from 0 to 1",
        )
    return known
