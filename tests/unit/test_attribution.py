"""Attribution of a panel against hand arithmetic, exact fractions and its own plain-Python form."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.attribution import PANEL_COMPONENTS, CarryPanel, attribute_panel
from crypto.ledger import Component

ROOT = Path(__file__).parents[2]
NAMES = tuple(field.name for field in fields(CarryPanel))


def panel_of(**rows: list[list[float]]) -> CarryPanel:
    shape = np.array(next(iter(rows.values()))).shape
    arrays = {name: np.array(rows[name], dtype=np.float64) if name in rows else np.zeros(shape) for name in NAMES}
    return CarryPanel(**arrays)


def random_panel(seed: int, symbols: int = 4, instants: int = 60) -> CarryPanel:
    rng = np.random.default_rng(seed)
    shape = (symbols, instants)
    return CarryPanel(
        perp_quantity=rng.normal(size=shape),
        spot_quantity=rng.normal(size=shape),
        spot_price=rng.uniform(50, 150, shape),
        mark_price=rng.uniform(50, 150, shape),
        funding_rate=rng.normal(0, 1e-4, shape),
        borrow_rate=rng.uniform(0, 1e-5, shape),
        fees=-rng.uniform(0, 1, shape),
    )


def exact_terms(panel: CarryPanel, symbol: int) -> dict[Component, list[Fraction]]:
    rows = {name: [Fraction(float(value)) for value in getattr(panel, name)[symbol]] for name in NAMES}
    terms: dict[Component, list[Fraction]] = {component: [] for component in PANEL_COMPONENTS}
    for t in range(1, len(rows["spot_price"])):
        perp, spot = rows["perp_quantity"][t], rows["spot_quantity"][t]
        spot_move = rows["spot_price"][t] - rows["spot_price"][t - 1]
        mark_move = rows["mark_price"][t] - rows["mark_price"][t - 1]
        terms[Component.BASIS].append(perp * (mark_move - spot_move))
        terms[Component.DELTA].append((spot + perp) * spot_move)
        terms[Component.FUNDING].append(-perp * rows["mark_price"][t] * rows["funding_rate"][t])
        terms[Component.BORROW].append(-max(Fraction(0), -spot) * rows["spot_price"][t] * rows["borrow_rate"][t])
        terms[Component.FEES].append(rows["fees"][t])
    return terms


def test_worked_example_of_the_spec() -> None:
    panel = panel_of(
        perp_quantity=[[0, -2, -2], [0, 4, 4]],
        spot_quantity=[[0, 2, 1.5], [0, -4, -4]],
        spot_price=[[100, 110, 104], [10, 10, 11]],
        mark_price=[[101, 112, 104], [10, 9.5, 11]],
        funding_rate=[[0, 0, 0.001], [0, 0, -0.002]],
        borrow_rate=[[0, 0.5, 0.5], [0, 0.01, 0.02]],
        fees=[[0, -0.25, -0.5], [0, -1, 0]],
    )
    # Symbol 0: basis -2(11 - 10) - 2(-8 + 6) = 2, delta 0 x 10 - 0.5 x -6 = 3, funding 2 x 104 x 0.001 = 0.208.
    # Symbol 1: basis 4(-0.5 - 0) + 4(1.5 - 1) = 0, funding 4 x 11 x 0.002, borrow -4(10 x 0.01 + 11 x 0.02).
    expected = [[2.0, 3.0, 0.208, 0.0, -0.75], [0.0, 0.0, 0.088, -1.28, -1.0]]
    np.testing.assert_allclose(attribute_panel(panel), expected, rtol=1e-15, atol=0)


def test_columns_are_the_components_of_the_ledger_in_their_order() -> None:
    assert [component.value for component in PANEL_COMPONENTS] == list(range(5))
    panel = panel_of(fees=[[0.0, -3.0]], perp_quantity=[[0.0, 1.0]], mark_price=[[7.0, 12.0]])
    gains = attribute_panel(panel)
    assert gains[0, Component.FEES] == -3.0
    assert gains[0, Component.BASIS] == 5.0


@pytest.mark.parametrize("seed", range(3))
def test_equals_exact_fractions(seed: int) -> None:
    panel = random_panel(seed)
    gains = attribute_panel(panel)
    for symbol in range(gains.shape[0]):
        for component, terms in exact_terms(panel, symbol).items():
            error = abs(Fraction(float(gains[symbol, component])) - sum(terms))
            assert error <= Fraction(1, 10**13) * sum(abs(term) for term in terms)


def test_equals_the_plain_python_form_to_the_bit(tmp_path: Path) -> None:
    panel = random_panel(9)
    np.savez(tmp_path / "panel.npz", **{name: getattr(panel, name) for name in NAMES})
    script = (
        "import sys, numpy as np\n"
        "from crypto.attribution import CarryPanel, attribute_panel\n"
        "from crypto.compiled import is_enabled\n"
        "assert not is_enabled()\n"
        "np.save(sys.argv[2], attribute_panel(CarryPanel(**np.load(sys.argv[1]))))\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "panel.npz"), str(tmp_path / "gains.npy")],
        check=True,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)},
    )
    assert np.load(tmp_path / "gains.npy").tobytes() == attribute_panel(panel).tobytes()


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_basis_and_delta_are_the_price_profit_of_both_legs(seed: int) -> None:
    panel = random_panel(seed, symbols=2, instants=12)
    gains = attribute_panel(panel)
    perp = panel.perp_quantity[:, 1:] * np.diff(panel.mark_price)
    spot = panel.spot_quantity[:, 1:] * np.diff(panel.spot_price)
    scale = np.abs(perp).sum(axis=1) + np.abs(spot).sum(axis=1) + 1e3
    price_profit = (perp + spot).sum(axis=1)
    assert (np.abs(gains[:, Component.BASIS] + gains[:, Component.DELTA] - price_profit) <= 1e-12 * scale).all()


def test_a_panel_cut_in_two_at_an_instant_adds_up() -> None:
    panel = random_panel(5, instants=41)
    first = CarryPanel(**{name: np.ascontiguousarray(getattr(panel, name)[:, :21]) for name in NAMES})
    second = CarryPanel(**{name: np.ascontiguousarray(getattr(panel, name)[:, 20:]) for name in NAMES})
    whole = attribute_panel(panel)
    np.testing.assert_allclose(attribute_panel(first) + attribute_panel(second), whole, rtol=1e-12, atol=1e-12)


def test_nothing_is_earned_or_paid_at_the_opening_instant() -> None:
    panel = random_panel(3)
    before = attribute_panel(panel)
    for name in ("perp_quantity", "spot_quantity", "funding_rate", "borrow_rate", "fees"):
        getattr(panel, name)[:, 0] = 1e6
    assert attribute_panel(panel).tobytes() == before.tobytes()


def test_a_single_instant_earns_nothing() -> None:
    assert attribute_panel(random_panel(1, symbols=3, instants=1)).tolist() == [[0.0] * 5] * 3


def test_spot_that_is_owned_pays_no_interest() -> None:
    panel = panel_of(spot_quantity=[[0.0, 5.0]], spot_price=[[10.0, 10.0]], borrow_rate=[[0.1, 0.1]])
    assert attribute_panel(panel)[0, Component.BORROW] == 0.0


@pytest.mark.parametrize(
    ("name", "components"),
    [
        ("perp_quantity", {Component.BASIS, Component.DELTA, Component.FUNDING}),
        ("spot_quantity", {Component.DELTA, Component.BORROW}),
        ("spot_price", {Component.BASIS, Component.DELTA, Component.BORROW}),
        ("mark_price", {Component.BASIS, Component.FUNDING}),
        ("funding_rate", {Component.FUNDING}),
        ("fees", {Component.FEES}),
    ],
)
def test_nan_reaches_every_component_that_uses_it_and_no_other(name: str, components: set[Component]) -> None:
    panel = random_panel(7)
    panel.spot_quantity[1] = -1.0
    getattr(panel, name)[1, 30] = np.nan
    is_nan = np.isnan(attribute_panel(panel))
    assert {component for component in PANEL_COMPONENTS if is_nan[1, component]} == components
    assert not is_nan[[0, 2, 3]].any()


def test_refuses_another_shape_by_name() -> None:
    with pytest.raises(ValueError, match=r"mark_price has shape \(4, 59\); perp_quantity has \(4, 60\)"):
        replace(random_panel(0), mark_price=np.zeros((4, 59)))


def test_refuses_another_type_by_name() -> None:
    with pytest.raises(ValueError, match="fees has dtype float32"):
        replace(random_panel(0), fees=np.zeros((4, 60), dtype=np.float32))


def test_refuses_time_major_arrays_by_name() -> None:
    with pytest.raises(ValueError, match="spot_price is not contiguous in time"):
        replace(random_panel(0), spot_price=np.ones((60, 4)).T)


@pytest.mark.parametrize("shape", [(4,), (4, 0)])
def test_refuses_a_panel_without_instants(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least one instant"):
        CarryPanel(**{name: np.zeros(shape) for name in NAMES})


def test_counts_the_bytes_of_one_pass() -> None:
    assert random_panel(0).nbytes == 7 * 4 * 60 * 8
