"""A run of the adapter on the recorded market, and the folder it reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lean import engine
from tests.lean.folder import write_folder
from tests.lean.run_parameters import parameters


@pytest.fixture(scope="session")
def lean_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lean's data folder of the recorded market."""
    return write_folder(tmp_path_factory.mktemp("lean"))


@pytest.fixture(scope="session")
def shared_traces(shared_data: Path) -> Path:
    """Recordings on real market data, beside the repository; skips where they are missing."""
    found = shared_data.parent / "reference" / "lean-traces"
    if not found.is_dir():
        pytest.skip(f"no recordings of a real engine: put them at {found}, beside the real market data")
    return found


@pytest.fixture
def started(lean_folder: Path) -> Callable[..., Any]:
    """An algorithm that is initialised and has not seen a slice."""
    return lambda **changes: engine.new_algorithm(lean_folder, parameters(**changes))


@pytest.fixture
def finished(started: Callable[..., Any]) -> Callable[..., Any]:
    """An algorithm after all slices of the run."""

    def run(**changes: str) -> Any:
        algorithm = started(**changes)
        spot, perp = algorithm.double_securities
        engine.run(algorithm, engine.recorded_slices(), {"spot": spot, "perp": perp})
        return algorithm

    return run
