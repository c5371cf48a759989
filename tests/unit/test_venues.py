"""Venue tables and rules, and finding instruments by name."""

from __future__ import annotations

import pickle
from decimal import Decimal
from itertools import pairwise

import pytest

from crypto.errors import SettingsError
from crypto.instruments import Instrument, Kind
from crypto.settings import InstrumentSettings
from crypto.venues.base import Row, instrument_table
from crypto.venues.registry import VENUES, check_overrides, instrument, pair, venue

SHIPPED = [pytest.param(item, id=item.key) for known in VENUES.values() for item in known.instruments.values()]
SCHEDULES = [pytest.param(name, kind, id=f"{name}:{kind}") for name, known in VENUES.items() for kind in known.fees]
COMPLETE = InstrumentSettings(
    base="WIF",
    quote="USDT",
    tick=Decimal("0.001"),
    lot=Decimal("0.1"),
    min_quantity=Decimal("0.1"),
    min_notional=Decimal(5),
)


# Shipped tables.


@pytest.mark.parametrize("item", SHIPPED)
def test_filters_are_positive_and_fit_each_other(item: Instrument) -> None:
    assert item.tick > 0
    assert item.lot > 0
    assert item.multiplier > 0
    assert item.min_notional >= 0
    assert item.min_quantity >= item.lot
    assert item.min_quantity % item.lot == 0
    assert item.settlement_interval_hours in {1, 2, 4, 8}


@pytest.mark.parametrize("item", SHIPPED)
def test_an_instrument_is_filed_under_its_own_venue_kind_and_symbol(item: Instrument) -> None:
    assert venue(item.venue).instruments[item.kind, item.symbol] is item
    assert instrument(item.key, {}) is item


@pytest.mark.parametrize("item", SHIPPED)
def test_base_quote_and_multiplier_follow_from_the_symbol(item: Instrument) -> None:
    # The venues' own naming: 1000PEPEUSDT and SHIB1000USDT are contracts on a thousand coins.
    thousand = "1000" in item.symbol
    assert item.symbol.replace("1000", "") == item.base + item.quote
    assert item.quote == ("USD" if item.kind is Kind.INVERSE else "USDT")
    if item.kind is not Kind.INVERSE:
        assert item.multiplier == (1000 if thousand else 1)


@pytest.mark.parametrize("name", VENUES)
def test_every_linear_contract_has_its_spot_leg_where_the_venue_lists_one(name: str) -> None:
    shipped = venue(name).instruments
    spot = {item.base for (kind, _), item in shipped.items() if kind is Kind.SPOT}
    linear = {item.base for (kind, _), item in shipped.items() if kind is Kind.LINEAR}
    assert linear - spot == ({"KAS"} if name == "binance" else set())  # Binance has no KAS spot market
    assert not spot - linear


@pytest.mark.parametrize(
    ("key", "usd_per_contract"),
    [("binance:inverse:BTCUSD", 100), ("binance:inverse:ETHUSD", 10), ("bybit:inverse:BTCUSD", 1)],
)
def test_inverse_contract_sizes(key: str, usd_per_contract: int) -> None:
    item = instrument(key, {})
    assert item.multiplier == usd_per_contract
    assert item.lot == 1
    assert item.settle == item.base


def test_a_lot_of_a_multiplied_contract_is_counted_in_coins() -> None:
    assert instrument("binance:linear:1000PEPEUSDT", {}).value_per_lot == 1000
    assert instrument("bybit:linear:1000PEPEUSDT", {}).value_per_lot == 100_000


@pytest.mark.parametrize(("name", "kind"), SCHEDULES)
def test_fee_tiers_are_ordered_and_a_maker_never_pays_more_than_a_taker(name: str, kind: Kind) -> None:
    schedule = venue(name).fees[kind]
    tiers = list(schedule.tiers.values())
    assert (schedule.venue, schedule.kind) == (name, kind)
    assert next(iter(schedule.tiers)) == "VIP0"
    assert schedule.source
    for tier in tiers:
        assert 0 <= tier.maker <= tier.taker < 0.01
    for lower, higher in pairwise(tiers):
        assert higher.maker <= lower.maker
        assert higher.taker <= lower.taker
    assert schedule.spot_buy_fee_in_base is (kind is Kind.SPOT)


@pytest.mark.parametrize(
    ("name", "kind", "tier", "maker_percent", "taker_percent"),
    [
        ("binance", Kind.SPOT, "VIP0", "0.1", "0.1"),
        ("binance", Kind.LINEAR, "VIP0", "0.02", "0.05"),
        ("binance", Kind.LINEAR, "VIP9", "0", "0.017"),
        ("binance", Kind.INVERSE, "VIP0", "0.02", "0.05"),
        ("bybit", Kind.SPOT, "VIP0", "0.1", "0.1"),
        ("bybit", Kind.SPOT, "SUPREME", "0.03", "0.045"),
        ("bybit", Kind.LINEAR, "VIP0", "0.02", "0.055"),
        ("bybit", Kind.INVERSE, "VIP2", "0.016", "0.0375"),
    ],
)
def test_fees_as_the_venues_print_them(
    name: str, kind: Kind, tier: str, maker_percent: str, taker_percent: str
) -> None:
    rates = venue(name).fees[kind].rates(tier)
    assert rates.maker == float(Decimal(maker_percent) / 100)
    assert rates.taker == float(Decimal(taker_percent) / 100)


@pytest.mark.parametrize("name", VENUES)
def test_each_kind_has_wallet_fees_closing_rule_and_named_sources(name: str) -> None:
    known = venue(name)
    assert known.name == name
    assert set(known.wallets) == set(known.fees) == set(known.closing_may_be_below_min_notional) == set(Kind)
    for kind in Kind:
        assert known.sources[f"fees {kind}"]
        assert known.sources[f"filters {kind}"]
    for rule in ("fee currency", "borrow", "settlement grace", "closing below min notional", "settlement interval"):
        assert known.sources[rule]


@pytest.mark.parametrize("item", SHIPPED)
def test_only_perpetuals_may_close_below_min_notional(item: Instrument) -> None:
    assert item.closing_may_be_below_min_notional is (item.kind is not Kind.SPOT)
    assert item.closing_may_be_below_min_notional is venue(item.venue).closing_may_be_below_min_notional[item.kind]


def test_binance_keeps_a_wallet_per_kind_and_bybit_one_for_all() -> None:
    assert sorted(venue("binance").wallets.values()) == ["inverse", "linear", "spot"]
    assert set(venue("bybit").wallets.values()) == {"unified"}


def test_settlement_and_borrow_rules() -> None:
    binance, bybit = venue("binance"), venue("bybit")
    assert binance.settlement_grace_ms == 15_000
    assert bybit.settlement_grace_ms == 0
    assert (binance.borrow.charge_at_borrow, binance.borrow.mark_offset_ms, binance.borrow.compounds) == (
        True,
        0,
        False,
    )
    assert (bybit.borrow.charge_at_borrow, bybit.borrow.mark_offset_ms, bybit.borrow.compounds) == (
        False,
        300_000,
        True,
    )


def test_a_venue_can_be_sent_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(venue("binance"))) == venue("binance")  # noqa: S301 - our own bytes


def test_a_symbol_listed_twice_is_refused() -> None:
    row = Row("BTCUSDT", "BTC", "0.01", "0.00001", "0.00001", "5")
    with pytest.raises(ValueError, match="lists BTCUSDT twice"):
        instrument_table("binance", Kind.SPOT, "USDT", (row, row), closing_may_be_below_min_notional=False)


# Finding by name.


def test_an_unknown_venue_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="unknown venue 'binnance'; did you mean binance") as caught:
        venue("binnance")
    assert caught.value.remedy == "known venues: binance, bybit"


def test_an_unknown_symbol_names_key_close_matches_and_remedy() -> None:
    with pytest.raises(SettingsError) as caught:
        instrument("binance:linear:PEPEUSDT", {})
    assert "'binance:linear:PEPEUSDT'" in caught.value.message
    assert "binance:linear:1000PEPEUSDT" in caught.value.message
    assert '[instruments."binance:linear:PEPEUSDT"]' in caught.value.remedy
    for field in ("tick", "lot", "min_quantity", "min_notional", "base", "quote"):
        assert field in caught.value.remedy


def test_the_remedy_for_an_unknown_inverse_symbol_asks_for_the_contract_size() -> None:
    with pytest.raises(SettingsError) as caught:
        instrument("bybit:inverse:WIFUSD", {})
    assert caught.value.remedy.endswith("multiplier")


def test_a_malformed_key_is_refused() -> None:
    with pytest.raises(SettingsError, match="BTCUSDT"):
        instrument("BTCUSDT", {})


def test_an_override_replaces_only_what_it_gives() -> None:
    key = "binance:linear:BTCUSDT"
    shipped = instrument(key, {})
    changed = instrument(key, {key: InstrumentSettings(lot=Decimal("0.001"), min_quantity=Decimal("0.001"))})
    assert (changed.lot, changed.min_quantity) == (Decimal("0.001"), Decimal("0.001"))
    assert (changed.tick, changed.min_notional, changed.base) == (shipped.tick, shipped.min_notional, "BTC")
    assert changed.closing_may_be_below_min_notional


def test_an_override_of_zero_min_notional_is_not_taken_for_absent() -> None:
    key = "binance:spot:BTCUSDT"
    assert instrument(key, {key: InstrumentSettings(min_notional=Decimal(0))}).min_notional == 0


def test_overrides_of_other_instruments_do_not_matter() -> None:
    assert instrument("binance:spot:BTCUSDT", {"bybit:spot:BTCUSDT": COMPLETE}).tick == Decimal("0.01")


@pytest.mark.parametrize(("kind", "exempt"), [("spot", False), ("linear", True)])
def test_a_new_symbol_is_defined_by_a_complete_override(kind: str, exempt: bool) -> None:
    key = f"binance:{kind}:WIFUSDT"
    item = instrument(key, {key: COMPLETE})
    assert (item.key, item.base, item.quote) == (key, "WIF", "USDT")
    assert item.multiplier == 1
    assert item.closing_may_be_below_min_notional is exempt


def test_an_incomplete_definition_names_what_lacks() -> None:
    key = "binance:linear:WIFUSDT"
    with pytest.raises(SettingsError, match=r'\[instruments\."binance:linear:WIFUSDT"\] lacks lot, min_notional, base'):
        instrument(key, {key: InstrumentSettings(quote="USDT", tick=Decimal("0.001"), min_quantity=Decimal("0.1"))})


def test_a_new_inverse_symbol_needs_its_contract_size() -> None:
    key = "bybit:inverse:WIFUSD"
    with pytest.raises(SettingsError, match="lacks multiplier"):
        instrument(key, {key: COMPLETE})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (InstrumentSettings(tick=Decimal(0)), "tick = 0 is not a positive number"),
        (InstrumentSettings(lot=Decimal(-1)), "lot = -1 is not a positive number"),
        (InstrumentSettings(multiplier=Decimal("NaN")), "multiplier = NaN is not a positive number"),
        (InstrumentSettings(min_quantity=Decimal("Infinity")), "min_quantity = Infinity is not a positive number"),
        (InstrumentSettings(min_notional=Decimal(-5)), "min_notional = -5 is negative"),
        (InstrumentSettings(lot=Decimal("0.003")), "min_quantity = 0.001 is not a multiple of lot = 0.003"),
    ],
)
def test_impossible_filters_are_refused(given: InstrumentSettings, message: str) -> None:
    key = "bybit:linear:BTCUSDT"
    with pytest.raises(SettingsError) as caught:
        instrument(key, {key: given})
    assert message in caught.value.message
    assert key in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("binance:linar:BTCUSDT", "'binance:linar:BTCUSDT' is not of the form"),
        ("kraken:spot:BTCUSD", "unknown venue 'kraken'"),
        ("binance:spot:NEWUSDT", "binance:spot:NEWUSDT.* lacks lot"),
    ],
)
def test_a_wrong_override_is_found_even_when_no_pair_uses_it(key: str, message: str) -> None:
    check_overrides({"binance:spot:WIFUSDT": COMPLETE})
    with pytest.raises(SettingsError, match=message):
        check_overrides({"binance:spot:WIFUSDT": COMPLETE, key: InstrumentSettings(tick=Decimal("0.1"))})


# Pairs.


@pytest.mark.parametrize(
    ("spot_key", "perp_key", "name"),
    [
        ("binance:spot:BTCUSDT", "binance:linear:BTCUSDT", "BTC binance"),
        ("binance:spot:PEPEUSDT", "binance:linear:1000PEPEUSDT", "PEPE binance"),
        ("bybit:spot:SHIBUSDT", "bybit:linear:SHIB1000USDT", "SHIB bybit"),
        ("binance:spot:BTCUSDT", "binance:inverse:BTCUSD", "BTC binance inverse"),
        ("binance:spot:ETHUSDT", "bybit:linear:ETHUSDT", "ETH binance/bybit"),
    ],
)
def test_pairs_of_one_base_asset(spot_key: str, perp_key: str, name: str) -> None:
    found = pair(spot_key, perp_key, {})
    assert (found.spot.key, found.perp.key, found.name) == (spot_key, perp_key, name)


def test_a_pair_of_two_base_assets_is_refused() -> None:
    with pytest.raises(SettingsError, match="mixes base assets BTC and ETH"):
        pair("binance:spot:BTCUSDT", "binance:linear:ETHUSDT", {})
