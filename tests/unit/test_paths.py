"""Returns of bars, their growth, and the jump diffusion that is fitted to them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from crypto.errors import DataError, UsageError
from crypto.first_passage import Diffusion, Grid, Keys, barrier_rows, diffusion_passages, empty_passages
from crypto.market import Bars
from crypto.paths import JumpDiffusion, bar_returns, fitted, with_growth


def bars(close: np.ndarray) -> Bars:
    return Bars(close, close * 1.02, close * 0.97, close, np.ones(close.size))


def test_returns_are_taken_against_the_close_before() -> None:
    close = 100.0 * 1.01 ** np.arange(40)
    found = bar_returns(bars(close))
    np.testing.assert_allclose(found.change, math.log(1.01))
    np.testing.assert_allclose(found.high, math.log(1.01 * 1.02))
    np.testing.assert_allclose(found.low, math.log(1.01 * 0.97))


def test_a_bar_after_a_hole_has_no_return() -> None:
    close = np.arange(1.0, 51.0)
    close[[10, 11, 30]] = np.nan
    assert bar_returns(bars(close)).change.size == 49 - 3 - 2


@pytest.mark.parametrize(
    ("close", "words"),
    [
        (np.ones(20), "19 returns are too few"),
        (np.append(np.ones(40), 0.0), "high = 0.0 is not a price"),
        (np.append(np.ones(40), np.inf), "high = inf is not a price"),
        (np.full(50, np.nan), "0 returns are too few"),
    ],
)
def test_prices_that_are_none_are_refused(close: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        bar_returns(bars(close))


def test_a_close_outside_its_bar_is_refused() -> None:
    close = np.linspace(100, 120, 40)
    with pytest.raises(DataError, match="close outside high and low"):
        bar_returns(Bars(close, close * 0.99, close * 0.98, close, close))


def test_growth_is_that_of_the_expected_price() -> None:
    rng = np.random.default_rng(2)
    found = with_growth(bar_returns(bars(np.exp(np.cumsum(rng.normal(0.01, 0.05, 500))))), 0.0003)
    assert np.mean(np.exp(found.change)) == pytest.approx(math.exp(0.0003), rel=1e-14)


def test_the_fit_finds_the_model_that_made_the_returns() -> None:
    rng = np.random.default_rng(5)
    hours = 200_000
    step = 0.6 / math.sqrt(8760)
    change = rng.normal(0, step, hours)
    hit = rng.random(hours) < 40 / 8760
    change[hit] += rng.normal(-0.10, 0.01, hit.sum())
    found = fitted(change, 1.0)
    assert found.volatility == pytest.approx(0.6, rel=0.01)
    # A normal beyond 4 deviations counts too: 6.3e-5 of all steps, 0.55 a year.
    assert found.jump_rate == pytest.approx(40 + 0.55, rel=0.05)
    assert found.jump_mean == pytest.approx(-0.10, rel=0.03)


def test_returns_that_do_not_vary_have_no_volatility() -> None:
    with pytest.raises(DataError, match="do not vary"):
        fitted(np.full(100, 0.01), 1.0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0.0,), "volatility = 0.0"),
        ((math.nan,), "volatility = nan"),
        ((0.5, -1.0), "jump rate = -1.0"),
        ((0.5, 1.0, math.inf), "jump mean = inf"),
        ((0.5, 1.0, 0.0, -0.1), "jump deviation = -0.1"),
    ],
)
def test_a_model_out_of_range_is_refused(values: tuple[float, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        JumpDiffusion(*values)


@pytest.mark.parametrize("growth", [0.0, 0.5])
def test_the_expected_price_grows_at_the_rate_asked_for(growth: float) -> None:
    model, years, steps, paths = JumpDiffusion(0.5, 20.0, -0.05, 0.08), 0.1, 40, 60_000
    unit = model.volatility * math.sqrt(years / steps)
    loop = Diffusion(
        model.log_drift(growth) * years / steps / unit,
        steps / (model.jump_rate * years),
        model.jump_mean / unit,
        model.jump_deviation / unit,
        False,
    )
    grid = Grid(steps, 20)
    out = empty_passages(paths, grid, 1)
    diffusion_passages(
        loop, Keys(np.uint64(1), np.uint64(2)), None, grid, barrier_rows(np.full((2, 1), np.inf)), 0, out
    )
    price = np.exp(unit * out.final)
    assert price.mean() == pytest.approx(math.exp(growth * years), abs=4 * price.std() / math.sqrt(paths))
