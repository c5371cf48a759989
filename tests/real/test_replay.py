"""``carry simulate replay`` on real days: facts of the files, and what must hold between the two variants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli import app


def replay(capsys: pytest.CaptureFixture[str], shared_data: Path, out: Path, event: str, *more: str) -> dict[str, Any]:
    arguments = ["simulate", "replay", "--event", event, "--data", str(shared_data), "--out", str(out), "--json"]
    assert app.run([*arguments, *more]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def of(found: dict[str, Any], direction: str, leverage: float, *, guards: bool) -> dict[str, Any]:
    for run in found["runs"]:
        if (run["direction"], run["leverage"], run["guards"]) == (direction, leverage, guards):
            return dict(run)
    raise AssertionError((direction, leverage, guards))


@pytest.mark.parametrize("event", ["2020-03-12", "2021-05-19", "2022-11-08"])
def test_the_days_of_the_falls(
    event: str, shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """BTC fell by far more than a tenth within each of them: a long perp at ten times is liquidated, a short is not."""
    found = replay(capsys, shared_data, tmp_path, event, "--perp-leverage", "3,10", "--no-page")
    bare = of(found, "reverse", 10.0, guards=False)
    assert bare["liquidation"] is not None
    assert of(found, "carry", 3.0, guards=False)["liquidation"] is None
    guarded = of(found, "reverse", 10.0, guards=True)
    assert guarded["first_guard"]["time_ms"] <= bare["liquidation"]["time_ms"]
    for run in found["runs"]:
        assert run["status"] == "completed"
        total = sum(run["components"].values())
        assert run["equity_left"] - 1.0 == pytest.approx(total / found["capital"], abs=2e-3)


def test_the_night_of_2025_10_10_in_five_minutes(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """BTC stood at 121,500 at noon and traded at 103,500 at 21:20: a fall of 15 %."""
    found = replay(capsys, shared_data, tmp_path, "2025-10-10", "--perp-leverage", "5,10")
    assert found["resolution"] == "5m"
    bare = of(found, "reverse", 10.0, guards=False)
    assert bare["liquidation"]["mark_price"] == pytest.approx(110_000, rel=0.01)
    guarded = of(found, "reverse", 10.0, guards=True)
    assert guarded["liquidation"] is None
    assert guarded["first_guard"]["reason"] == "liquidation_near"
    assert of(found, "carry", 10.0, guards=False)["liquidation"] is None
    page = Path(found["files"]["report.html"]).read_text(encoding="utf-8")
    assert "The liquidations of 10 October" in page
    assert "SYNTHETIC" not in page


def test_where_a_forced_order_fills_is_the_funds_matter_and_not_ours(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At no gap it fills at the mark less half a spread of 0.5 bp; the fund keeps or bears the rest in any case."""
    arguments = ("2021-05-19", "--direction", "reverse", "--perp-leverage", "10", "--no-page", "--liquidity-gap")
    near, far = (
        of(replay(capsys, shared_data, tmp_path, *arguments, gap), "reverse", 10.0, guards=False)
        for gap in ("0", "0.6")
    )
    mark = near["liquidation"]["mark_price"]
    assert far["liquidation"]["mark_price"] == mark
    assert near["liquidation"]["price"] == pytest.approx(mark * (1 - 0.5e-4), rel=1e-12)
    assert far["liquidation"]["price"] < 0.998 * mark
    assert far["equity_left"] == pytest.approx(near["equity_left"], abs=1e-9)
