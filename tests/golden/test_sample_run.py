"""The bundled sample run gives the figures that were kept, and its books balance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from crypto.compiled import is_enabled
from crypto.pipeline.orders import OrderStatus
from crypto.result import BacktestResult
from data.settings import load_settings
from research.backtest import load
from tests.golden.regenerate import CONFIG, GOLDEN, figures, sample_run
from tests.markets import digest
from tests.replay import assert_sound


@pytest.fixture(scope="module")
def result() -> BacktestResult:
    return sample_run()


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{number}]")
    else:
        yield path, value


def test_the_sample_run_gives_the_figures_that_were_kept(result: BacktestResult) -> None:
    golden, now = json.loads(GOLDEN.read_text(encoding="utf-8")), json.loads(json.dumps(figures(result)))
    advice = "if the change is meant: python -m tests.golden.regenerate, and a line in CHANGELOG.md"
    assert repr(now["counts"]) == repr(golden["counts"]), advice
    kept, found = dict(_leaves(golden["money"])), dict(_leaves(now["money"]))
    assert kept.keys() == found.keys(), advice
    scale = max(map(abs, golden["money"]["equity"]))
    for name, value in kept.items():
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-9 * scale), f"{name}; {advice}"


def test_the_books_of_the_sample_run_balance(result: BacktestResult) -> None:
    settings = load_settings(CONFIG, [])
    assert_sound(result, load(settings), settings)


def test_the_sample_run_trades_and_is_labelled_synthetic(result: BacktestResult) -> None:
    assert result.provenance["synthetic"] is True
    assert result.status == "completed"
    assert result.summary["round_trips"] >= 3
    assert {int(trip["pair"]) for trip in result.trips} == set(range(len(result.pair_names)))


def test_the_sample_run_does_not_repeat_refused_orders(result: BacktestResult) -> None:
    refused = int(np.sum(result.orders["status"] == OrderStatus.REJECTED))
    assert refused <= result.orders.size * 0.05


@pytest.mark.skipif(not is_enabled(), reason="takes minutes when nothing is compiled: unset NUMBA_DISABLE_JIT")
def test_stages_in_python_give_the_same_sample_run(result: BacktestResult) -> None:
    assert digest(sample_run(compiled=False)) == digest(result)
