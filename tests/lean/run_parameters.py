"""Lean parameters of the runs on the recorded market. The bench uses them too, so nothing here asks for pytest."""

from __future__ import annotations

from pathlib import Path

CONFIG = Path(__file__).parent / "market.toml"
PERIOD = {"run.start": "2020-03-10", "run.end": "2020-03-18"}


def parameters(**changes: str) -> dict[str, str]:
    """Lean parameters of a run; ``section__key`` names a key of the settings."""
    given = {name.replace("__", "."): value for name, value in changes.items()}
    return {"config": str(CONFIG), **PERIOD, **given}
