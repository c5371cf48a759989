"""Liquidation barriers by leverage, and the Monte Carlo study on them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from crypto.errors import RefusedError, UsageError
from crypto.margin import maintenance
from crypto.paths import JumpDiffusion, Returns
from crypto.tiers import TierRow, TierTable, fixed_tier, tier_table
from research.laboratory.barriers import MarginQuestion, ladder, largest_leverage, parse_leverages
from research.laboratory.montecarlo import Crossing, MonteCarlo, MonteCarloQuestion, PathModel, run_montecarlo
from research.laboratory.montecarlo_page import render_montecarlo

ROWS = (
    TierRow(0.0, 50_000.0, 0.004, 125.0),
    TierRow(50_000.0, 250_000.0, 0.01, 50.0),
    TierRow(250_000.0, 1_000_000.0, 0.05, 10.0),
)
LINEAR = tier_table("x:linear:AB", "B", 0, ROWS, "test")
INVERSE = tier_table("x:inverse:AB", "A", 0, ROWS, "test")


def margin(tiers: TierTable = LINEAR, side: int = -1, **changes: float) -> MarginQuestion:
    question = MarginQuestion(tiers, side, 100.0, (2.0, 5.0, 10.0), None, 100_000.0)
    return replace(question, **changes)


def study(**changes: object) -> MonteCarloQuestion:
    model = PathModel(1.0, 0.0, diffusion=JumpDiffusion(0.6))
    question = MonteCarloQuestion(margin(), model, 240, 4_000, Crossing.WITHIN, 1, 0.95)
    return replace(question, **changes)


def stepped(question: MarginQuestion, leverage: float, settlements: int) -> float:
    """Liquidation price by stepping the price against the position until equity is below the maintenance margin."""
    quantity = question.notional_at(leverage) / question.entry_price
    paid = -question.side * question.funding_rate * question.notional_at(leverage)
    wallet = question.notional_at(leverage) / leverage + settlements * paid
    low, high = question.entry_price, question.entry_price * (1e-9 if question.side > 0 else 1e4)
    for _ in range(200):
        price = 0.5 * (low + high)
        equity = wallet + question.side * quantity * (price - question.entry_price)
        notional = quantity * price
        alive = equity > maintenance(notional, LINEAR.floor, LINEAR.rate, LINEAR.deduction)
        low, high = (price, high) if alive else (low, price)
    return high


# --- barriers -----------------------------------------------------------------------------------------------------


def test_a_long_with_one_tier_by_hand() -> None:
    """1 BTC at 20,000 with 50 times leverage and 0.5 %: (20,000 - 400) / (1 - 0.005)."""
    tiers = fixed_tier("x:linear:BTCUSDT", "USDT", 0.005, max_leverage=100.0)
    found = ladder(MarginQuestion(tiers, 1, 20_000.0, (50.0,), None, 20_000.0), 0)
    assert found.price[0] == pytest.approx(19_600 / 0.995, rel=1e-12)
    assert found.distance[0, 0] == pytest.approx(math.log(20_000 * 0.995 / 19_600), rel=1e-12)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("rate", [0.0, 0.002, -0.002])
def test_prices_agree_with_stepping_the_price(side: int, rate: float) -> None:
    question = margin(side=side, funding_rate=rate)
    found = ladder(question, 6)
    for settlements in (0, 3, 6):
        for column, leverage in enumerate(found.leverages):
            price = 100.0 * math.exp(-side * found.distance[settlements, column])
            assert price == pytest.approx(stepped(question, float(leverage), settlements), rel=1e-9)


def test_a_long_without_leverage_is_never_liquidated() -> None:
    found = ladder(margin(side=1, leverages=(1.0, 3.0)), 0)
    assert found.distance[0].tolist()[1] == math.inf


def test_a_wallet_buys_more_with_more_leverage() -> None:
    found = ladder(margin(wallet=10_000.0, notional=None, leverages=(2.0, 10.0)), 0)
    assert found.notional.tolist() == [100_000.0, 20_000.0]


def test_an_inverse_long_mirrors_a_linear_short_in_the_reciprocal_price() -> None:
    tier = 0.01
    linear = fixed_tier("x:linear:AB", "B", tier, max_leverage=50.0)
    inverse = fixed_tier("x:inverse:AB", "A", tier, max_leverage=50.0)
    one = ladder(MarginQuestion(linear, -1, 1 / 100.0, (5.0,), None, 1_000.0), 0)
    other = ladder(MarginQuestion(inverse, 1, 100.0, (5.0,), None, 1_000.0), 0)
    assert other.distance[0, 0] == pytest.approx(one.distance[0, 0], rel=1e-12)


def test_margin_that_funding_has_used_up_liquidates_at_once() -> None:
    found = ladder(margin(funding_rate=-0.05), 4)
    assert (found.distance[4, :2] <= 0).all()


def test_a_leverage_above_the_tiers_is_refused_with_both() -> None:
    with pytest.raises(RefusedError, match="leverage 60 is above 50"):
        ladder(margin(leverages=(60.0,)), 0)


@pytest.mark.parametrize(
    ("wallet", "notional", "expected"),
    [(None, 10_000.0, 125.0), (None, 50_000.0, 125.0), (None, 60_000.0, 50.0), (1_000.0, None, 50.0),
     (100_000.0, None, 10.0), (20_000.0, None, 12.5), (300.0, None, 125.0)],
)  # fmt: skip
def test_the_largest_leverage_is_that_of_the_tiers(wallet: float, notional: float, expected: float) -> None:
    assert largest_leverage(LINEAR, 100.0, wallet, notional) == expected


def test_leverages_from_text() -> None:
    assert parse_leverages(["3", "5,10"]) == (3.0, 5.0, 10.0)
    assert parse_leverages(["1:16:5"]) == pytest.approx((1, 2, 4, 8, 16))


@pytest.mark.parametrize(
    ("text", "words"),
    [("abc", "not a number"), ("0.5", "not 1 or more"), ("nan", "not 1 or more"), ("5:2:4", "does not ascend"),
     ("1:2", "FROM:TO:COUNT"), ("1:2:1", "FROM:TO:COUNT"), ("3,3", "given twice"), ("1:2:x", "FROM:TO:COUNT")],
)  # fmt: skip
def test_wrong_leverages_are_named(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_leverages([text])


# --- the study ----------------------------------------------------------------------------------------------------


def reflection(barrier: float, drift: float, deviation: float) -> float:
    def below(x: float) -> float:
        return 0.5 * math.erfc(-x / math.sqrt(2))

    mirrored = math.exp(2 * drift * barrier / deviation**2) * below((-barrier - drift) / deviation)
    return below((drift - barrier) / deviation) + mirrored


@pytest.mark.parametrize("side", [1, -1])
def test_probabilities_are_those_of_the_closed_form(side: int) -> None:
    """A diffusion whose expected price stays: the log price drifts by -variance / 2 over the ten days."""
    found = run_montecarlo(study(margin=margin(side=side), paths=30_000))
    variance = 0.6**2 * 240 / 8760
    for column in range(3):
        barrier = float(found.ladder.distance[0, column])
        expected = reflection(barrier, side * variance / 2, math.sqrt(variance))
        assert found.probability[column] == pytest.approx(expected, abs=4.5 * math.sqrt(expected / 30_000) + 1e-4)


def test_the_same_question_gives_the_same_answer_and_another_seed_another() -> None:
    one, again, other = (run_montecarlo(study(seed=seed)) for seed in (1, 1, 2))
    assert one.curve.tobytes() == again.curve.tobytes()
    assert one.final.tobytes() == again.final.tobytes()
    assert one.hits.tolist() != other.hits.tolist()


def test_a_leverage_alone_has_the_hits_that_it_has_among_others() -> None:
    together = run_montecarlo(study())
    alone = run_montecarlo(study(margin=margin(leverages=(5.0,))))
    assert together.hits[1] == alone.hits[0]


def test_funding_that_is_paid_liquidates_more() -> None:
    calm, drained = (run_montecarlo(study(margin=margin(funding_rate=rate))) for rate in (0.0, -0.002))
    assert (drained.hits > calm.hits).all()
    assert drained.barrier[-1, 0] < drained.barrier[0, 0] == calm.barrier[0, 0]


def test_a_margin_that_is_certain_to_be_drained_liquidates_every_path() -> None:
    """Longs are paid 5 % every 8 hours: ten times leverage lasts two settlements wherever the price goes."""
    model = PathModel(1.0, 0.0, diffusion=JumpDiffusion(1e-6))
    found = run_montecarlo(study(model=model, margin=margin(funding_rate=-0.05, leverages=(10.0,))))
    assert found.hits.tolist() == [4_000]
    assert 16 <= found.times[1, 0, 0] <= 24


def test_blocks_of_one_rise_liquidate_when_they_add_up() -> None:
    """Every bar rises by 1 %: a short at 10 times leverage and 1 % is gone at 100 x 1.1 / 1.01 = 108.91, in hour 9."""
    tiers = fixed_tier("x:linear:AB", "B", 0.01, max_leverage=50.0)
    rise = np.full(50, math.log(1.01))
    model = PathModel(1.0, None, Returns(rise, rise, rise), 6)
    asked = MarginQuestion(tiers, -1, 100.0, (10.0,), None, 1_000.0)
    found = run_montecarlo(study(margin=asked, model=model, steps=40, paths=10, crossing=Crossing.CLOSE))
    assert found.hits.tolist() == [10]
    assert 8 <= found.times[1, 0, 0] <= 9
    assert found.final == pytest.approx(100 * 1.01**40)


def test_highs_count_for_shorts_and_lows_for_longs() -> None:
    flat = np.zeros(40)
    model = PathModel(1.0, None, Returns(flat, flat + math.log(1.5), flat), 6)
    short, long = (run_montecarlo(study(margin=margin(side=side), model=model, steps=40, paths=8)) for side in (-1, 1))
    assert short.hits.tolist() == [8, 8, 8]
    assert long.hits.tolist() == [0, 0, 0]


def test_pairs_narrow_the_interval_of_what_is_nearly_even() -> None:
    plain = run_montecarlo(study(paths=8_000, crossing=Crossing.CLOSE))
    model = replace(study().model, antithetic=True)
    pairs = run_montecarlo(study(paths=8_000, model=model, crossing=Crossing.CLOSE))
    width = [float((found.high - found.low)[0]) for found in (plain, pairs)]
    assert width[1] < width[0]
    assert pairs.probability[0] == pytest.approx(plain.probability[0], abs=0.03)


def test_the_running_estimate_ends_at_the_estimate() -> None:
    found = run_montecarlo(study())
    for leverage, rows in found.convergence.items():
        column = int(np.flatnonzero(found.ladder.leverages == leverage)[0])
        assert rows[-1].tolist() == pytest.approx(
            [4_000, found.probability[column], found.low[column], found.high[column]]
        )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"paths": 0}, "--paths = 0"),
        ({"steps": 0}, "steps = 0"),
        ({"seed": -1}, "--seed = -1"),
        ({"confidence": 1.0}, "--confidence = 1.0"),
        ({"paths": 5, "model": PathModel(1.0, 0.0, diffusion=JumpDiffusion(0.5), antithetic=True)}, "odd"),
        ({"margin": margin(funding_rate=0.01, funding_hours=0.3)}, "no multiple of a step"),
    ],
)
def test_questions_out_of_range_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run_montecarlo(study(**changes))


# --- the page -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answer() -> MonteCarlo:
    return run_montecarlo(study(paths=500))


def test_the_page_holds_everything_and_asks_for_nothing(answer: MonteCarlo) -> None:
    page = render_montecarlo(answer, {"config_hash": "abc123", "synthetic": True, "settings": {"days": "10"}})
    body = page[: page.index("<script>")]
    assert "default-src 'none'" in body
    assert "Liquidation risk of a AB short over 10 days" in body
    assert "abc123" in body
    assert "SYNTHETIC PRICES" in body
    for key in ("fan", "probability", "survival", "heat", "times", "density", "convergence"):
        assert f'id="figure-{key}"' in body
    assert 'src="' not in body


def test_the_page_of_one_leverage_that_nothing_liquidates() -> None:
    question = study(margin=margin(side=1, leverages=(1.0,)), paths=200)
    page = render_montecarlo(run_montecarlo(question), {"settings": {}})
    assert "never" in page
