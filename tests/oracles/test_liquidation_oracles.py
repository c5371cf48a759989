"""Liquidation and margin numbers that others published, by their ids in the project's list of oracles.

L19 is in test_adl_oracles.py, the staged parts of L20 belong to other formulas; docs/specs/liquidation.md says why.
L14 reads the venue's real tables and stands in tests/real/test_leverage_tiers.py.
"""

from __future__ import annotations

import math

import pytest

from crypto.liquidation import (
    bankruptcy_inverse,
    bankruptcy_linear,
    bankruptcy_value_of_part,
    cash_inverse,
    cash_linear,
    hyperliquid_price,
    inverse_bounds,
    isolated_range,
    linear_bounds,
    margin_without_closing_fee,
    price_with_fixed_maintenance_inverse,
    price_with_fixed_maintenance_linear,
)
from crypto.liquidation_cross import cross_ranges
from crypto.margin import (
    account_risk,
    initial_margin,
    is_liquidatable,
    maintenance,
    notional_inverse,
    position,
    unrealised_inverse,
)
from crypto.tiers import deductions, fixed_tier, next_deduction, tier_index, tier_of
from crypto.units import parse_iso
from crypto.venues.liquidation_rules import RULES
from crypto.venues.tiers_binance import BINANCE_TIERS
from crypto.venues.tiers_hyperliquid import HYPERLIQUID_TIERS


def one_tier(rate: float, deduction: float = 0.0) -> tuple[list[float], list[float], list[float]]:
    return [0.0], [rate], [deduction]


def test_l1_binance_cross_one_way() -> None:
    """Binance FAQ, by freqtrade tests/exchange/test_binance.py: two longs on one balance."""
    btc = fixed_tier("binance:linear:BTCUSDT", "USDT", 0.025, 16_300)
    eth = fixed_tier("binance:linear:ETHUSDT", "USDT", 0.10, 135_365)
    held = [position(btc, 109.488, 32_481.98, 31_967.27), position(eth, 3_683.979, 1_456.84, 1_335.18)]
    found = cross_ranges(1_535_443.01, held)
    assert round(found[btc.key].lower or 0, 2) == 26_316.89
    assert round(found[eth.key].lower or 0, 2) == 1_153.26
    assert found[btc.key].upper is None


# freqtrade tests/exchange/test_exchange.py, margin = quantity x price / leverage.
@pytest.mark.parametrize(
    ("side", "leverage", "price", "amount", "expected"),
    [
        pytest.param(-1, 5, 10, 1.0, 11.8910891, id="L2-short-5x"),
        pytest.param(-1, 3, 10, 1.0, 13.2112211, id="L2-short-3x"),
        pytest.param(-1, 5, 8, 1.0, 9.5148515, id="L2-short-at-8"),
        pytest.param(-1, 5, 10, 0.6, 11.8976898, id="L2-short-0.6"),
        pytest.param(1, 5, 10, 1.0, 8.0707071, id="L2-long-5x"),
        pytest.param(1, 5, 8, 1.0, 6.4545455, id="L2-long-at-8"),
        pytest.param(1, 3, 10, 1.0, 6.7239057, id="L2-long-3x"),
        pytest.param(1, 5, 10, 0.6, 8.0639740, id="L2-long-0.6"),
    ],
)
def test_l2_binance_isolated(side: int, leverage: float, price: float, amount: float, expected: float) -> None:
    tiers = fixed_tier("binance:linear:ABUSDT", "USDT", 0.01, 0.01)
    found = isolated_range(position(tiers, side * amount, price, price), amount * price / leverage)
    assert (found.lower if side > 0 else found.upper) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("side", "leverage", "price", "expected"),
    [
        pytest.param(1, 5, 10, 8.0857085, id="L3-long-5x"),
        pytest.param(-1, 5, 10, 11.8741342, id="L3-short-5x"),
        pytest.param(1, 3, 10, 6.7380904, id="L3-long-3x"),
        pytest.param(-1, 3, 10, 13.1934824, id="L3-short-3x"),
        pytest.param(-1, 5, 8, 9.4993073, id="L3-short-at-8"),
    ],
)
def test_l3_gate_and_okx_add_the_fee_to_maintenance(side: int, leverage: float, price: float, expected: float) -> None:
    found = isolated_range(
        position(fixed_tier("okx:linear:AB", "B", 0.01), side, price, price), price / leverage, 0.0006
    )
    assert (found.lower if side > 0 else found.upper) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("side", "leverage", "expected"),
    [
        pytest.param(1, 1, 0.1, id="L4-long-1x"),
        pytest.param(1, 3, 6.7666667, id="L4-long-3x"),
        pytest.param(1, 5, 8.1, id="L4-long-5x"),
        pytest.param(1, 10, 9.1, id="L4-long-10x"),
        pytest.param(-1, 1, 19.9, id="L4-short-1x"),
        pytest.param(-1, 3, 13.2333333, id="L4-short-3x"),
        pytest.param(-1, 5, 11.9, id="L4-short-5x"),
        pytest.param(-1, 10, 10.9, id="L4-short-10x"),
    ],
)
def test_l4_bybit_maintenance_of_the_entry_value(side: int, leverage: float, expected: float) -> None:
    found = price_with_fixed_maintenance_linear(side, 10, initial_margin(10, leverage), 10 * 0.01)
    assert found == pytest.approx(expected, abs=1e-6)


def test_l5_a_real_position() -> None:
    """NEAR long 0.8 at 18.884: the venue shows MM 0.38916 at 2.5% and a price of 17.47, but not the margin on it."""
    tiers = fixed_tier("binance:linear:NEARUSDT", "USDT", 0.025)
    held = position(tiers, 0.8, 18.884, 19.458)  # 0.38916 / 2.5% / 0.8: the mark that the venue implies
    assert held.maintenance == pytest.approx(0.38916)
    found = isolated_range(held, 1.51072)
    assert found.lower == pytest.approx(17.47, rel=0.003)


# Real positions that freqtrade's test for Hyperliquid quotes, with the venue's own prices; maintenance is half of
# 1 / largest leverage (BTC and ETH 50x, SOL and DOGE 20x at that time; the XYZ rows are its own examples at 10x).
@pytest.mark.parametrize(
    ("quantity", "entry", "collateral", "largest", "expected"),
    [
        pytest.param(0.015, 2458.5, 36.864593, 50, 0.86915825, id="L6-ETH-long-1x"),
        pytest.param(0.00039, 63287.0, 24.673292, 50, 22.37166537, id="L6-BTC-long-1x"),
        pytest.param(0.33, 145.83, 24.045107, 20, 74.83696193, id="L6-SOL-long-2x"),
        pytest.param(437.0, 0.11586, 25.29769, 20, 0.05945697, id="L6-DOGE-long-2x"),
        pytest.param(-0.019, 2642.8, 25.091876, 50, 3924.18322043, id="L6-ETH-short-2x"),
        pytest.param(-0.32, 155.89, 24.924941, 20, 228.07847866, id="L6-SOL-short-2x"),
        pytest.param(-0.00069, 68595.0, 23.64871, 50, 101849.99354283, id="L6-BTC-short-2x"),
        pytest.param(-0.00031, 67400.0, 20.887308, 50, 133443.97317151, id="L6-BTC-short-1x"),
        pytest.param(0.0015, 66930.0, 20.043862, 50, 54108.51043771, id="L6-BTC-long-5x"),
        pytest.param(-0.48, 163.11, 15.650731, 20, 190.94213618, id="L6-SOL-short-5x"),
        pytest.param(0.5, 250.0, 25.0, 10, 210.5263157894737, id="L6-XYZ-AAPL-long-5x"),
        pytest.param(-0.5, 190.0, 9.5, 10, 199.04761904761904, id="L6-XYZ-GOOGL-short-10x"),
        pytest.param(1.0, 350.0, 50.0, 10, 315.7894736842105, id="L6-XYZ-TSLA-long-7x"),
    ],
)
def test_l6_hyperliquid_positions(
    quantity: float, entry: float, collateral: float, largest: float, expected: float
) -> None:
    tiers = fixed_tier("hyperliquid:linear:X", "USDC", 0.5 / largest)
    found = isolated_range(position(tiers, quantity, entry, entry), collateral)
    assert (found.lower if quantity > 0 else found.upper) == pytest.approx(expected, rel=1e-4)


def test_l7_bybit_usdt_contract() -> None:
    assert initial_margin(20_000, 50) == 400
    assert maintenance(20_000, *one_tier(0.005)) == 100
    assert price_with_fixed_maintenance_linear(1, 20_000, 400, 100) == 19_700


def test_l8_bybit_inverse_cross() -> None:
    """Printed to a tick of 0.5: the exact solution is 5,739.08, printed as 5,739.50."""
    bankruptcy = bankruptcy_inverse(cash_inverse(0.5, 0, 0, 10_000, 8_000), 10_000, 0.00075)
    assert bankruptcy == pytest.approx(5_718.57, abs=0.005)
    needed = 10_000 / 8_000 * 0.005 + 10_000 / bankruptcy * 0.00075
    found = price_with_fixed_maintenance_inverse(10_000, 8_000, 0.5, needed)
    assert found == pytest.approx(5_739.50, abs=0.5)
    assert found == pytest.approx(5_739.08, abs=0.005)


def test_l9_bybit_isolated_inverse_older_rule() -> None:
    long = price_with_fixed_maintenance_inverse(60_000, 50_000, 0.12, 0.006)
    short = price_with_fixed_maintenance_inverse(-60_000, 50_000, 0.12, 0.006)
    assert long == pytest.approx(45_662.10, abs=0.005)
    assert short == pytest.approx(55_248.62, abs=0.005)


def test_l9_bybit_isolated_inverse_rule_of_2026() -> None:
    """Long = size (1 + rate) / [size/entry (1 + 1/leverage) + extra/(1 + taker) + deduction]; short mirrored."""
    size, entry, leverage, extra, taker, rate, deduction = 60_000, 50_000, 10, 0.05, 0.00055, 0.01, 0.002
    for side in (1, -1):
        value = size / entry
        below = value + side * value / leverage + side * extra / (1 + side * taker) + side * deduction
        published = size * (1 + side * rate) / below
        margin = margin_without_closing_fee(value / leverage, extra, taker, -side)
        found = inverse_bounds(
            cash_inverse(margin, 0, 0, side * size, entry), side * size, 0.0, *one_tier(rate, deduction)
        )
        assert (found.lower if side > 0 else found.upper) == pytest.approx(published, rel=1e-12)


def test_l10_phemex() -> None:
    """Long 500 x 0.4, 5x; assigned margin 40.096 includes fees, closing at taker 0.06% is asked for at the price."""
    found = linear_bounds(cash_linear(40.096, 0, 0, 500, 0.4), 500, 0.0006, *one_tier(0.01))
    assert found.lower == pytest.approx(0.323234, abs=5e-7)


L11_FLOORS = [0, 50e3, 250e3, 1e6, 10e6, 20e6, 50e6, 100e6, 200e6, 300e6]
L11_RATES = [0.004, 0.005, 0.01, 0.025, 0.05, 0.1, 0.125, 0.15, 0.25, 0.5]
L11_DEDUCTIONS = [0, 50, 1_300, 16_300, 266_300, 1_266_300, 2_516_300, 5_016_300, 25_016_300, 100_016_300]


def test_l11_binance_ladder() -> None:
    assert deductions(L11_FLOORS, L11_RATES) == pytest.approx(L11_DEDUCTIONS, rel=1e-12)
    shipped = BINANCE_TIERS.as_of("binance:linear:BTCUSDT", parse_iso("2021-05-19"))
    assert shipped.floor.tolist() == L11_FLOORS
    assert shipped.rate.tolist() == L11_RATES
    assert shipped.deduction.tolist() == pytest.approx(L11_DEDUCTIONS, rel=1e-12)
    assert shipped.rate[tier_of(shipped, 264_000)] == 0.01
    # The FAQ's 500,000: maintenance amount 1,300.
    assert shipped.deduction[tier_of(shipped, 500_000)] == pytest.approx(1_300)


def test_l12_binance_coin_margined() -> None:
    level_5 = next_deduction(0.56, 50, 0.05, 0.025)
    assert level_5 == pytest.approx(1.81)
    level_6 = next_deduction(level_5, 100, 0.10, 0.05)
    assert next_deduction(level_6, 200, 0.125, 0.10) == pytest.approx(11.81)


# freqtrade tests/exchange/test_binance.py with its fixture's floors and rates. It puts a border into the tier above,
# the venue's tables into the one below; the margin is the same, which is what is compared there.
@pytest.mark.parametrize(
    ("floors", "rates", "notional", "rate", "deduction"),
    [
        pytest.param([0, 100e3, 500e3], [0.025, 0.05, 0.1], 999_999.9, 0.1, 27_500, id="L13-XRP"),
        pytest.param(
            [0, 10e3, 50e3, 250e3, 1e6, 2e6, 5e6],
            [0.0065, 0.01, 0.02, 0.05, 0.1, 0.125, 0.15],
            5_000_000,
            0.15,
            233_035,
            id="L13-BNB",
        ),
        pytest.param(
            [0, 50e3, 250e3, 1e6, 7.5e6, 40e6, 100e6, 200e6, 400e6, 600e6],
            [0.004, 0.005, 0.01, 0.025, 0.05, 0.1, 0.125, 0.15, 0.25, 0.5],
            600_000_000,
            0.5,
            199_703_800,
            id="L13-BTC-large",
        ),
        pytest.param([0, 50e3], [0.004, 0.005], 170.30, 0.004, 0, id="L13-BTC-small"),
    ],
)
def test_l13_rate_and_amount(
    floors: list[float], rates: list[float], notional: float, rate: float, deduction: float
) -> None:
    built = deductions(floors, rates)
    assert built[rates.index(rate)] == pytest.approx(deduction, rel=1e-12)
    assert maintenance(notional, floors, rates, built) == pytest.approx(notional * rate - deduction, rel=1e-12)
    if notional not in floors:
        assert rates[tier_index(notional, floors)] == rate


def test_l15_jesse() -> None:
    assert price_with_fixed_maintenance_linear(1, 80, 40, 80 * 0.004) == pytest.approx(40.32)
    assert price_with_fixed_maintenance_linear(-1, 10, 5, 10 * 0.004) == pytest.approx(14.96)
    assert bankruptcy_linear(cash_linear(5, 0, 0, -1, 10), -1, 0) == 15


def test_l16_octobot_inverse() -> None:
    """tests/personal_data/positions/types/test_inverse_position.py; maintenance rate 1% of the entry value."""
    assert notional_inverse(100, 100) == 1
    assert unrealised_inverse(100, 100, 200) == 0.5  # theirs says 1: it leaves out the division by the mark
    for value, leverage, price in ((100, 1, 50.25125628140703), (100, 100, 100), (-100, 1, 10_000), (-100, 100, 100)):
        found = price_with_fixed_maintenance_inverse(value, 100, 1 / leverage, 0.01)
        assert found == pytest.approx(price, rel=1e-9)
    for value, leverage, price in ((100, 1, 50), (100, 100, 99.00990099009901), (-100, 100, 101.01010101010101)):
        found = bankruptcy_inverse(cash_inverse(1 / leverage, 0, 0, value, 100), value, 0)
        assert found == pytest.approx(price, rel=1e-12)
    assert math.isnan(bankruptcy_inverse(cash_inverse(1, 0, 0, -100, 100), -100, 0))  # theirs: 0


def test_l17_hyperliquid_deductions_and_form() -> None:
    btc = HYPERLIQUID_TIERS.as_of("hyperliquid:linear:BTC", 0)
    eth = HYPERLIQUID_TIERS.as_of("hyperliquid:linear:ETH", 0)
    assert btc.deduction[1] == pytest.approx(1_875_000)
    assert eth.deduction[1] == pytest.approx(1_333_333.33, abs=0.005)
    for side in (1, -1):
        held = position(btc, side * 2.0, 60_000, 61_000)
        value = 9_000 + held.unrealised
        published = hyperliquid_price(61_000, side, value - held.maintenance, 2.0, 0.5 / 40)
        found = isolated_range(held, 9_000)
        assert (found.lower if side > 0 else found.upper) == pytest.approx(published, rel=1e-12)


def test_l17_okx_forms() -> None:
    """Margin ratio (margin + profit) / (notional x (rate + fee)) is 1 at the price; coin-margined form without fee."""
    held = position(fixed_tier("okx:linear:AB", "B", 0.004), 3.0, 1_000, 1_010)
    price = isolated_range(held, 200, 0.0005).lower
    assert price is not None
    assert (200 + 3 * (price - 1_000)) / (3 * price * 0.0045) == pytest.approx(1)
    coin = position(fixed_tier("okx:inverse:AB", "A", 0.004), 5_000, 1_000, 1_010)
    assert isolated_range(coin, 0.5).lower == pytest.approx(1.004 / (1 / 1_000 + 0.5 / 5_000))


# dYdX v4 protocol/x/clob/keeper/liquidations_test.go: BTC 50,000 and ETH 3,000, initial 20%, maintenance 10%.
@pytest.mark.parametrize(
    ("quote", "notionals", "closed", "expected"),
    [
        pytest.param(-4_501, [5_000], -5_000, 4_501, id="L18-long"),
        pytest.param(5_499, [-5_000], 5_000, -5_499, id="L18-short"),
        pytest.param(-5_000, [5_000], -2_500, 2_500, id="L18-half-a-long"),
        pytest.param(5_000, [-5_000], 2_500, -2_500, id="L18-half-a-short"),
        pytest.param(-5_100, [5_000], -5_000, 5_100, id="L18-long-below"),
        pytest.param(4_900, [-5_000], 5_000, -4_900, id="L18-short-below"),
        pytest.param(-490, [200, 300], -300, 294, id="L18-two-longs"),
        pytest.param(510, [-200, -300], 300, -306, id="L18-two-shorts"),
        pytest.param(110, [200, -300], 300, -306, id="L18-long-and-short"),
        pytest.param(1, [50_000], -50_000, -1, id="L18-no-loss-possible"),
    ],
)
def test_l18_dydx_bankruptcy(quote: float, notionals: list[float], closed: float, expected: float) -> None:
    equity = quote + sum(notionals)
    total = 0.1 * sum(abs(notional) for notional in notionals)
    assert bankruptcy_value_of_part(closed, equity, 0.1 * abs(closed), total) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("quote", "notional", "expected"),
    [
        pytest.param(1, 0, False, id="L20-no-position"),
        pytest.param(-1, 0, False, id="L20-no-position-in-debt"),
        pytest.param(-4_000, 5_000, False, id="L20-at-initial"),
        pytest.param(-4_500, 5_000, False, id="L20-at-maintenance"),
        pytest.param(-4_501, 5_000, True, id="L20-below-maintenance"),
    ],
)
def test_l20_dydx_is_liquidatable(quote: float, notional: float, expected: bool) -> None:
    equality = RULES["dydx"].at_equality
    assert is_liquidatable(quote + notional, 0.1 * notional, equality) is expected


def test_l21_ideas_border_threshold_and_offset() -> None:
    """The ideas of Vibe-Trading's risk tests: brackets meet, the threshold is inclusive, a gain offsets a loss."""
    tiers = BINANCE_TIERS.as_of("binance:linear:BTCUSDT", parse_iso("2021-05-19"))
    alone = position(tiers, 1.0, 40_000, 39_000)  # loses 1,000, maintenance 156
    assert account_risk(1_156, [alone]).liquidatable
    assert not account_risk(1_156.01, [alone]).liquidatable
    gain = position(fixed_tier("binance:linear:ETHUSDT", "USDT", 0.01), -1.0, 2_500, 2_000)  # gains 500, needs 20
    assert not account_risk(676.01, [alone, gain]).liquidatable
    assert account_risk(676, [alone, gain]).liquidatable
    below, above = maintenance(250_000, tiers.floor, tiers.rate, tiers.deduction), 250_000 * 0.01 - 1_300
    assert below == pytest.approx(above)


def test_l22_nautilus_standard_margin() -> None:
    """Its leveraged model divides maintenance by leverage, too; venues do not, so only its initial margin agrees."""
    assert initial_margin(50_000, 10) == 5_000
    for leverage in (1, 10, 20):
        held = position(BINANCE_TIERS.as_of("binance:linear:BTCUSDT", parse_iso("2021-05-19")), 1, 4e4, 4e4, leverage)
        assert held.maintenance == pytest.approx(160)
