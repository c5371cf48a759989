"""The recordings on real data, where they are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import app


@pytest.fixture(scope="session")
def real_traces(shared_data: Path) -> Path:
    """Folder of what Lean recorded on real data, or a skip that names what is missing."""
    folder = shared_data.parent / "reference" / "lean-traces"
    if not (folder / "static-carry-2020-2026.json").is_file():
        pytest.skip(f"no recordings of Lean: {folder / 'static-carry-2020-2026.json'} is missing: put it there")
    return folder


@pytest.fixture(scope="session")
def real_lake(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with Binance's real hours, filled by the command line."""
    root = tmp_path_factory.mktemp("lean-stock") / "lake"
    folder = shared_data / "binance-usdm-1h-roshan7869"
    assert app.run(["ingest", "freqtrade", str(folder), "--venue", "binance", "--lake", str(root), "--json"]) == 0
    return root
