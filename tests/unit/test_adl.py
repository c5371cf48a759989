"""ADL: scores, queue, lights, allocation and settlement, and the model of counterparties."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from crypto.adl import (
    ADL_RULES,
    LightBy,
    Positions,
    Score,
    adl_rule,
    close_price,
    deficit_price,
    lots_for_deficit,
)
from crypto.adl_allocation import deleverage, settle
from crypto.adl_population import (
    HYPERLIQUID_LEVERAGE,
    LeverageUsage,
    Population,
    PopulationModel,
    TierUsage,
    draw_population,
    liquidation_prices,
    own_outcome,
    stress,
)
from crypto.adl_ranking import (
    LAST,
    Place,
    binance_score,
    hyperliquid_score,
    light,
    lights,
    okx_score,
    place,
    position_score,
    queue_order,
    scores,
)
from crypto.errors import CarryError, DataError, RefusedError, SettingsError
from crypto.instruments import Kind


def rows(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def reals(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


# --- scores -------------------------------------------------------------------------------------------------------


def test_scores_by_hand() -> None:
    # Short of 2 from 110, mark 100: profit 20; wallet 40, maintenance 3; equity 60.
    mark, entry, wallet, maintenance = -200.0, -220.0, 40.0, 3.0
    expected = {
        Score.BINANCE: 20 / 40 * 3 / 60,
        Score.LEVERAGED_PNL: (20 / 220) * (200 / 60),
        Score.OKX: (20 / 220) / (60 / 3),
        Score.HYPERLIQUID: (100 / 110) * (200 / 60),
        Score.HYPERLIQUID_INVERTED: (110 / 100) * (200 / 60),
    }
    for score, value in expected.items():
        assert position_score(int(score), mark, entry, wallet, maintenance) == pytest.approx(value, rel=1e-14)


def test_inverted_index_leaves_longs_alone() -> None:
    values = (120.0, 100.0, 10.0, 1.0)
    assert position_score(3, *values) == position_score(4, *values) == pytest.approx(1.2 * 120 / 30)


def test_wallet_below_one_counts_as_one_at_binance() -> None:
    assert binance_score(5.0, 0.25, 0.525) == 5.0 * (0.525 / 5.25)
    assert binance_score(-5.0, 10.0, 1.0) == 0.0


@pytest.mark.parametrize("code", [int(Score.LEVERAGED_PNL), int(Score.OKX), int(Score.HYPERLIQUID)])
def test_an_account_under_water_is_last(code: int) -> None:
    # In profit by 20, but the wallet (cross losses included) is -30.
    assert position_score(code, 120.0, 100.0, -30.0, 1.0) == LAST
    assert position_score(0, 120.0, 100.0, -30.0, 1.0) == 0.0


def test_okx_loss_is_multiplied() -> None:
    assert okx_score(-0.1, 5.0) == -0.5
    assert okx_score(0.1, 5.0) == 0.02
    assert position_score(2, 120.0, 100.0, 10.0, 0.0) == 0.0
    assert hyperliquid_score(1.2, 100.0, 0.0) == LAST


def test_unknown_score_code_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown code"):
        position_score(9, 1.0, 1.0, 1.0, 1.0)


def book() -> Positions:
    return Positions(
        account=rows(4, 1, 3, 2),
        lots=rows(-20, -10, 15, 0),
        entry_value=reals(-220.0, -100.0, 150.0, 0.0),
        wallet=reals(40.0, 10.0, 30.0, 5.0),
        maintenance=reals(3.0, 1.0, 1.0, 0.0),
    )


def test_array_of_scores_by_hand() -> None:
    # Values at 20 a unit, half a unit a lot: -200 from -220 on 40 (3 needed), -100 from -100 on 10, 150 from 150 on 30.
    expected = {
        Score.BINANCE: [20 / 40 * 3 / 60, 0.0, 0.0],
        Score.LEVERAGED_PNL: [(20 / 220) * (200 / 60), 0.0, 0.0],
        Score.OKX: [(20 / 220) / (60 / 3), 0.0, 0.0],
        Score.HYPERLIQUID: [(200 / 220) * (200 / 60), 100 / 10, 150 / 30],
        Score.HYPERLIQUID_INVERTED: [(220 / 200) * (200 / 60), 100 / 10, 150 / 30],
    }
    for rule in ADL_RULES.values():
        found = scores(rule, book(), 0.5, 20.0)
        assert found[:3] == pytest.approx(expected[rule.score], rel=1e-14)
        assert found[3] == LAST


def test_inverse_profit_is_value_at_mark_minus_value_at_entry() -> None:
    # Long 10,000 USD from 8,000 at 10,000 earns 10,000/8,000 - 10,000/10,000 = 0.25 coin; wallet 0.125.
    long = Positions(rows(1), rows(100), reals(-1.25), reals(0.125), reals(0.01))
    found = scores(adl_rule("bitmex"), long, 100.0, 10_000.0, Kind.INVERSE)
    assert found[0] == pytest.approx((0.25 / 1.25) * (1.0 / 0.375))


def test_scores_refuse() -> None:
    rule = adl_rule("binance")
    for mark in (math.nan, 0.0, -1.0, math.inf):
        with pytest.raises(DataError, match="mark price"):
            scores(rule, book(), 1.0, mark)
    with pytest.raises(DataError, match=r"row 0: -20 lots with an entry value of -220.0"):
        scores(rule, book(), 1.0, 20.0, Kind.INVERSE)
    with pytest.raises(RefusedError, match="spot"):
        scores(rule, book(), 1.0, 20.0, Kind.SPOT)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("wallet", reals(1.0, math.nan, 1.0, 1.0), r"wallet, row 1: nan"),
        ("maintenance", reals(1.0, 1.0, -2.0, 1.0), r"row 2: maintenance margin -2.0 is negative"),
        ("lots", rows(1, 2, 3), "account has type int64 and shape"),
        ("lots", reals(1.0, 2.0, 3.0, 4.0), "lots has type float64"),
        ("lots", rows(2**62, 1, 1, 1), "too many to count exactly"),
        ("entry_value", reals(1.0), "entry_value has type float64 and shape"),
    ],
)
def test_positions_refuse(name: str, value: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        replace(book(), **{name: value})


def test_unknown_venue_is_named() -> None:
    with pytest.raises(SettingsError, match="venue 'mtgox'"):
        adl_rule("mtgox")


def test_close_price_by_venue() -> None:
    assert close_price(adl_rule("binance"), 95.0, 40.0) == 95.0
    assert close_price(adl_rule("okx"), 95.0, 40.0) == 40.0
    assert close_price(adl_rule("hyperliquid"), 95.0, 40.0) == 40.0
    with pytest.raises(DataError, match="bankruptcy price nan"):
        close_price(adl_rule("okx"), math.nan, 40.0)


def test_deficit_price_is_between_mark_and_bankruptcy() -> None:
    assert deficit_price(40.0, 550.0, 10.0) == 95.0
    assert deficit_price(40.0, 275.0, 10.0) == 67.5
    assert deficit_price(100.0, 50.0, -10.0) == 95.0
    for arguments in ((40.0, 1.0, 0.0), (40.0, -1.0, 1.0), (40.0, math.nan, 1.0), (math.nan, 1.0, 1.0)):
        with pytest.raises(DataError):
            deficit_price(*arguments)


def test_lots_for_deficit_rounds_up() -> None:
    assert lots_for_deficit(550.0, 55.0) == 10
    assert lots_for_deficit(551.0, 55.0) == 11
    assert lots_for_deficit(0.0, 55.0) == 0
    for arguments in ((-1.0, 1.0), (1.0, 0.0), (1.0, math.nan)):
        with pytest.raises(DataError):
            lots_for_deficit(*arguments)


# --- queue and allocation -----------------------------------------------------------------------------------------


def test_light_of_small_queues() -> None:
    assert [light(rank, 5) for rank in range(1, 6)] == [4, 3, 2, 1, 0]
    assert light(1, 1) == 0  # alone: rank over total is the last fifth and the first; venues show the last
    assert [light(rank, 10) for rank in (1, 2, 3, 9, 10)] == [4, 4, 3, 0, 0]
    with pytest.raises(DataError, match="rank 0"):
        light(0, 5)


def test_sides_have_queues_of_their_own() -> None:
    lots = rows(5, -5, 7, -7)
    score, account = reals(1.0, 2.0, 3.0, 4.0), rows(1, 2, 3, 4)
    assert queue_order(score, account, lots, 1).tolist() == [2, 0]
    assert queue_order(score, account, lots, -1).tolist() == [3, 1]
    assert lights(score, account, lots, -1, LightBy.ACCOUNTS).tolist() == [-1, 0, -1, 2]
    assert lights(score, account, rows(0, 0, 7, 0), -1, LightBy.ACCOUNTS).tolist() == [-1] * 4
    outcome = deleverage(score, account, lots, bankrupt_side=1, wanted_lots=9)
    assert outcome.closed_lots.tolist() == [0, 2, 0, 7]


def test_last_candidate_is_closed_in_part() -> None:
    outcome = deleverage(reals(3.0, 1.0, 2.0), rows(1, 2, 3), rows(4, 4, 4), bankrupt_side=-1, wanted_lots=6)
    assert outcome.closed_lots.tolist() == [4, 0, 2]
    assert outcome.uncovered_lots == 0


def test_scores_of_every_kind_are_ordered() -> None:
    score = reals(-math.inf, -1e-300, 0.0, 5e-324, 1.0, math.inf, -2.0)
    lots = np.full(7, 3, dtype=np.int64)
    order = queue_order(score, np.arange(7), lots, 1)
    assert order.tolist() == [5, 4, 3, 2, 1, 6, 0]
    for taken in range(1, 22):
        closed = deleverage(score, np.arange(7), lots, bankrupt_side=-1, wanted_lots=taken).closed_lots
        assert closed[order].tolist() == [max(0, min(3, taken - 3 * k)) for k in range(7)]


def test_zeros_of_both_signs_tie() -> None:
    outcome = deleverage(reals(0.0, -0.0), rows(9, -9), rows(1, 1), bankrupt_side=-1, wanted_lots=1)
    assert outcome.closed_lots.tolist() == [0, 1]


def test_short_queue_says_what_is_uncovered() -> None:
    outcome = deleverage(reals(1.0), rows(1), rows(-4), bankrupt_side=1, wanted_lots=10)
    assert (outcome.closed_lots.tolist(), outcome.uncovered_lots) == ([4], 6)
    paid = settle(outcome, 1001)
    assert (paid.rows, paid.values, paid.uncovered_value) == ((0,), (400,), 601)


def test_empty_queue_leaves_everything_uncovered() -> None:
    empty = np.empty(0, dtype=np.int64)
    outcome = deleverage(np.empty(0), empty, empty, bankrupt_side=1, wanted_lots=10)
    assert outcome.uncovered_lots == 10
    assert settle(outcome, 77).uncovered_value == 77
    only_longs = deleverage(reals(1.0), rows(1), rows(4), bankrupt_side=1, wanted_lots=10)
    assert (only_longs.closed_lots.tolist(), only_longs.uncovered_lots) == ([0], 10)


def test_nothing_wanted_closes_nothing() -> None:
    outcome = deleverage(reals(1.0), rows(1), rows(-4), bankrupt_side=1, wanted_lots=0)
    assert outcome.closed_lots.tolist() == [0]
    assert settle(outcome, 0).rows == ()


@pytest.mark.parametrize(
    ("score", "lots", "side", "wanted", "message"),
    [
        (reals(1.0, math.nan), rows(1, 1), -1, 1, r"row 1 \(account 2\) is NaN"),
        (reals(1.0, 1.0), rows(1, 1), 0, 1, "side 0"),
        (reals(1.0, 1.0), rows(1, 1), -1, -1, "wanted lots -1 are negative"),
        (reals(1.0, 1.0), rows(1, 1), -1, 2**63, "exceed"),
        (reals(1.0), rows(1, 1), -1, 1, "score has type float64 and shape"),
        (reals(1.0, 1.0), rows(2**61, 2**61), -1, 1, "too many"),
    ],
)
def test_deleverage_refuses(score: np.ndarray, lots: np.ndarray, side: int, wanted: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        deleverage(score, rows(1, 2), lots, bankrupt_side=side, wanted_lots=wanted)


def test_place_of_our_own() -> None:
    score, account, lots = reals(3.0, 2.0, 2.0, 1.0, 9.0), rows(1, 2, 5, 4, 6), rows(-10, -20, -30, -40, 50)
    where = place(score, account, lots, own_score=2.0, own_account=3, own_lots=-5)
    assert where == Place(accounts_ahead=2, accounts=5, lots_ahead=30, own_lots=5, lots=105)
    assert where.quantile == pytest.approx(0.6)
    assert where.light(LightBy.ACCOUNTS) == 2
    assert where.light(LightBy.LOTS) == 3  # 35 of 105 is in the second fifth
    assert [where.closed(wanted) for wanted in (30, 31, 34, 35, 1000)] == [0, 1, 4, 5, 5]


def test_place_refuses() -> None:
    with pytest.raises(DataError, match="0 lots"):
        place(reals(1.0), rows(1), rows(1), own_score=1.0, own_account=1, own_lots=0)
    with pytest.raises(DataError, match="own ADL score is NaN"):
        place(reals(1.0), rows(1), rows(1), own_score=math.nan, own_account=1, own_lots=1)


# --- counterparties -----------------------------------------------------------------------------------------------

TIERS = TierUsage(
    floor=(1_000.0, 50_000.0, 600_000.0),
    cap=(50_000.0, 600_000.0, 5_000_000.0),
    max_leverage=(100.0, 50.0, 20.0),
    maintenance_rate=(0.004, 0.01, 0.025),
    deduction=(0.0, 300.0, 9_300.0),
    open_interest_share=(0.2, 0.3, 0.5),
)
MODEL = PopulationModel(open_interest_lots=2_000_000, unit=0.001, tiers=TIERS)
LAST_CLOSE = 50_000.0


def closes() -> np.ndarray:
    path = np.exp(np.cumsum(np.random.default_rng(5).normal(0.0, 0.004, 500)))
    prices: np.ndarray = path * (LAST_CLOSE / path[-1])
    return prices


@pytest.fixture(scope="module")
def population() -> Population:
    return draw_population(MODEL, closes())


def test_open_interest_is_met_on_both_sides(population: Population) -> None:
    lots = population.lots
    assert (lots[lots > 0].sum(), lots[lots < 0].sum()) == (2_000_000, -2_000_000)
    assert np.unique(population.account).size == lots.size


def test_tier_and_leverage_usage_are_met(population: Population) -> None:
    lots, longs = population.lots, population.lots > 0
    for rate, share in zip(TIERS.maintenance_rate, TIERS.open_interest_share, strict=True):
        assert lots[longs & (population.maintenance_rate == rate)].sum() == share * 2_000_000
    entry_value = np.abs(lots) * 0.001 * population.entry_price
    leverage = entry_value / population.wallet
    assert leverage.min() >= 0.5
    for rate, most in zip(TIERS.maintenance_rate, TIERS.max_leverage, strict=True):
        assert leverage[population.maintenance_rate == rate].max() <= most * (1 + 1e-12)
    # Shares hold in the mean; some 9,000 accounts, of which the large ones weigh most, keep them within some per cent.
    for low, high, share in zip((0.5, 3.0, 7.0), (3.0, 7.0, 40.0), HYPERLIQUID_LEVERAGE.long_share, strict=True):
        found = np.abs(lots[(leverage >= low) & (leverage < high)]).sum() / np.abs(lots).sum()
        assert found == pytest.approx(share, abs=0.06)


def test_population_is_drawn_from_its_seed(population: Population) -> None:
    again, other = draw_population(MODEL, closes()), draw_population(replace(MODEL, seed=2), closes())
    for name in ("lots", "entry_price", "wallet"):
        assert np.array_equal(getattr(again, name), getattr(population, name))
    assert not np.array_equal(other.wallet, population.wallet)


def maintenance_at(population: Population, mark: np.ndarray | float) -> np.ndarray:
    notional = np.abs(population.lots) * 0.001 * mark
    required: np.ndarray = notional * population.maintenance_rate - population.deduction
    return required


def test_everyone_is_alive_and_the_liquidation_price_put_back_is_the_maintenance_margin(
    population: Population,
) -> None:
    quantity = population.lots * 0.001
    equity = population.wallet + quantity * (LAST_CLOSE - population.entry_price)
    assert np.all(equity > maintenance_at(population, LAST_CLOSE))
    price = liquidation_prices(population)
    at_price = population.wallet + quantity * (price - population.entry_price)
    scale = np.abs(quantity) * population.entry_price
    assert np.all(np.abs(at_price - maintenance_at(population, price)) <= 1e-9 * scale)


def test_stress_against_account_by_account(population: Population) -> None:
    mark, fund = 42_000.0, 100_000.0
    result = stress(population, mark, fund_balance=fund, may_spend=60_000.0)
    hit = []
    for row in np.flatnonzero(population.lots > 0):
        quantity = population.lots[row] * 0.001
        entry, wallet = population.entry_price[row], population.wallet[row]
        rate, deduction = population.maintenance_rate[row], population.deduction[row]
        if wallet + quantity * (mark - entry) <= quantity * mark * rate - deduction:
            price = (quantity * entry - wallet - deduction) / (quantity * (1 - rate))
            fill = price + MODEL.liquidity_gap * (mark - price)
            hit.append((-price, int(row), wallet + quantity * (fill - entry), int(population.lots[row])))
    available, adl_lots, left = 60_000.0, 0, 0.0
    for _, _, equity, lots in sorted(hit):
        if equity >= 0:
            available += equity
            continue
        paid = min(-equity, available)
        available -= paid
        if paid < -equity:
            adl_lots += lots
            left += -equity - paid
    assert result.side == 1
    assert result.liquidated_accounts == len(hit) > 0
    assert result.adl_lots == adl_lots > 0
    assert result.adl_deficit == pytest.approx(left)
    assert result.fund_balance == pytest.approx(40_000.0 + available)
    assert result.deficit == pytest.approx(result.fund_paid + result.adl_deficit)
    assert not result.survives[[row for _, row, _, _ in hit]].any()
    assert result.survives.sum() == population.lots.size - len(hit)


def test_a_larger_fund_leaves_less_to_adl_and_a_larger_fall_more(population: Population) -> None:
    left = [
        stress(population, 42_000.0, fund_balance=fund, may_spend=fund).adl_deficit for fund in (0.0, 1e5, 1e6, 1e9)
    ]
    assert left == sorted(left, reverse=True)
    assert left[0] > 0.0 == left[-1]
    deficits = [stress(population, mark, fund_balance=0.0, may_spend=0.0).deficit for mark in (49e3, 45e3, 40e3, 30e3)]
    assert deficits == sorted(deficits)


def test_shorts_are_liquidated_by_a_rise(population: Population) -> None:
    result = stress(population, 60_000.0, fund_balance=0.0, may_spend=0.0)
    assert result.side == -1
    assert np.all(population.lots[~result.survives] < 0)


@pytest.mark.parametrize("venue", sorted(ADL_RULES))
def test_our_short_climbs_the_queue_with_leverage_and_is_closed_in_turn(population: Population, venue: str) -> None:
    mark = 40_000.0
    result = stress(population, mark, fund_balance=0.0, may_spend=0.0)
    found = [
        own_outcome(
            population, adl_rule(venue), result, mark,
            lots=-10_000, entry_price=52_000.0, wallet=10.0 * 52_000.0 / leverage, maintenance=10.0 * mark * 0.01,
        )
        for leverage in (1, 2, 5, 20, 50)
    ]  # fmt: skip
    quantiles = [outcome.place.quantile for outcome in found]
    assert quantiles == sorted(quantiles)
    assert quantiles[-1] > 0.5
    for outcome in found:
        assert outcome.closed_lots == max(0, min(10_000, result.adl_lots - outcome.place.lots_ahead))
    closed = [outcome.closed_lots for outcome in found]
    assert closed == sorted(closed)
    assert closed[0] == 0
    assert venue != "binance" or closed[-1] == 10_000


def test_on_the_liquidated_side_nothing_of_ours_is_deleveraged(population: Population) -> None:
    result = stress(population, 40_000.0, fund_balance=0.0, may_spend=0.0)
    outcome = own_outcome(
        population, adl_rule("binance"), result, 40_000.0,
        lots=10_000, entry_price=30_000.0, wallet=50_000.0, maintenance=1_000.0,
    )  # fmt: skip
    assert outcome.closed_lots == 0


@pytest.mark.parametrize(
    "change",
    [
        {"floor": (1_000.0, 60_000.0, 600_000.0)},
        {"cap": (50_000.0, 600_000.0, 500_000.0)},
        {"maintenance_rate": (0.02, 0.01, 0.025)},
        {"deduction": (0.0, -1.0, 9_300.0)},
        {"open_interest_share": (0.2, 0.3, 0.4)},
        {"max_leverage": (100.0, 50.0)},
    ],
)
def test_tier_usage_refuses(change: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(SettingsError):
        replace(TIERS, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"open_interest_lots": 0},
        {"unit": math.nan},
        {"mean_age_hours": -1.0},
        {"liquidity_gap": 1.5},
        {"liquidity_gap": math.nan},
    ],
)
def test_model_refuses(change: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        replace(MODEL, **change)


def test_population_refuses(population: Population) -> None:
    with pytest.raises(SettingsError, match="edges"):
        LeverageUsage((3.0, 1.0), (1.0,), (1.0,))
    with pytest.raises(SettingsError, match="short_share has 2 values"):
        LeverageUsage((1.0, 3.0), (1.0,), (0.5, 0.5))
    with pytest.raises(SettingsError, match="more than 4000000 accounts"):
        draw_population(replace(MODEL, open_interest_lots=10**12), closes())
    for prices in (np.empty(0), reals(1.0, math.nan), reals(1.0, -1.0)):
        with pytest.raises(DataError, match="closes"):
            draw_population(MODEL, prices)
    for arguments in ((math.nan, 0.0, 0.0), (40_000.0, 10.0, 11.0), (40_000.0, math.nan, 0.0)):
        with pytest.raises(CarryError):
            stress(population, arguments[0], fund_balance=arguments[1], may_spend=arguments[2])
