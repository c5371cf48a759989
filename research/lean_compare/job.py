"""The job of ``carry lean compare``: run the engine or read its run, compare it with Lean's, write."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crypto.settings import Settings
from crypto.units import iso
from data.lean_results import LeanResult
from data.results import decimal_text, next_directory, plain_value, write_texts
from data.stored_run import StoredRun, read_run
from research.backtest import backtest
from research.lean_compare.checks import check_run, settings_for
from research.lean_compare.differences import compare
from research.lean_compare.model import Comparison
from research.lean_compare.page import render

PAGE, TABLE, DOCUMENT = "comparison.html", "differences.csv", "comparison.json"
COLUMNS = ("kind", "time", "time_ms", "instrument", "what", "lean", "engine", "amount")
Stage = Callable[[str, int | None], AbstractContextManager[Callable[..., None]]]


@dataclass(frozen=True, slots=True)
class FinishedComparison:
    """A comparison, what was compared and the files that hold it."""

    comparison: Comparison
    lean: LeanResult
    run: StoredRun
    directory: Path
    files: dict[str, Path]


def compare_with_settings(
    lean: LeanResult, settings: Settings, tolerance: float, *, stage: Stage, announce: Callable[[str], None]
) -> FinishedComparison:
    """Compare a Lean run with a run of the engine under ``settings`` over Lean's period, made now."""
    finished = backtest(settings_for(lean, settings), stage=stage, announce=announce)
    return _finish(lean, read_run(finished.directory), tolerance, Path(settings.output.directory), stage)


def compare_with_run(
    lean: LeanResult, directory: Path, tolerance: float, *, out: Path | None, stage: Stage
) -> FinishedComparison:
    """Compare a Lean run with the one whose results are in ``directory``."""
    with stage("Reading the run", None):
        run = read_run(directory)
    check_run(lean, run)
    return _finish(lean, run, tolerance, directory.parent if out is None else out, stage)


def _finish(lean: LeanResult, run: StoredRun, tolerance: float, out: Path, stage: Stage) -> FinishedComparison:
    with stage("Comparing", None):
        comparison = compare(lean, run, tolerance)
        texts = {
            PAGE: render(comparison, lean, run),
            TABLE: differences_csv(comparison),
            DOCUMENT: json.dumps(plain_value(summary(comparison, lean, run)), indent=2, allow_nan=False) + "\n",
        }
        directory = next_directory(out, f"{run.settings.run.name}-lean")
        files = write_texts(directory, texts)
    return FinishedComparison(comparison, lean, run, directory, dict(files))


def summary(comparison: Comparison, lean: LeanResult, run: StoredRun) -> dict[str, Any]:
    """Verdict and counts as plain values; amounts in account currency."""
    cause = comparison.cause
    return {
        "verdict": "agree" if comparison.agree else "differ",
        "tolerance": comparison.tolerance,
        "lean": {
            "id": lean.id,
            "version": lean.lean_version,
            "start": iso(lean.start_ms),
            "end": iso(lean.end_ms),
            "end_equity": lean.end_equity,
        },
        "engine": {
            "directory": run.directory,
            "status": run.status,
            "end_equity": float(run.equity[-1]),
            "config_hash": run.provenance.get("config_hash"),
            "data_hash": run.provenance.get("data_hash"),
        },
        "sections": {
            section.kind: {
                "compared": section.compared,
                "differences": len(section.differences),
                "largest": section.largest,
            }
            for section in comparison.sections
        },
        "look_first": None if cause is None else asdict(cause),
        "not_compared": comparison.not_compared,
        "notes": comparison.notes,
    }


def differences_csv(comparison: Comparison) -> str:
    """Every difference, kind by kind, largest first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for section in comparison.sections:
        for item in section.differences:
            cells = (item.instrument, item.what, item.lean, item.engine, decimal_text(item.amount))
            writer.writerow((item.kind, iso(item.time_ms), item.time_ms, *cells))
    return text.getvalue()
