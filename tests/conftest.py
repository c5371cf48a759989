"""Fixtures and settings for every test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# First calls of compiled functions take seconds, so neither deadlines nor generation speed say anything about a test.
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def find_shared_data() -> Path:
    """Folder of the real market data: ``CARRY_SHARED_DATA``, else ``../shared/data`` beside the repository."""
    return Path(os.environ.get("CARRY_SHARED_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real market data, or a skip that names what is missing."""
    folder = find_shared_data()
    if not (folder / "MANIFEST.csv").is_file():
        pytest.skip(f"no real market data: {folder / 'MANIFEST.csv'} is missing (set CARRY_SHARED_DATA to its folder)")
    return folder


def needed(path: Path, what: str) -> Path:
    """A file or folder of the real market data, or a skip that says what is missing and what to do."""
    if not path.exists():
        pytest.skip(f"no {what}: {path} is missing (put it there, or set CARRY_SHARED_DATA to a folder that has it)")
    return path


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return ROOT


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that asks for the real data, so that ``-m "not shared_data"`` leaves them out."""
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.shared_data)
