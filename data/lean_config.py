"""One configuration per run for Lean's local launcher: keys and layering as lean.md 7.2 found them in Lean's source."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crypto.errors import UsageError
from crypto.settings import Settings
from crypto.units import iso
from data.lean_folder.readiness import Period
from data.store.atomic import write_text

ALGORITHM = "main.py"
SETTINGS_FILE = "config"  # the parameter that names the settings file; every other one is a key of it
CONFIG_NAME = "lean-config.json"

_BACKTESTING: Mapping[str, Any] = {
    "live-mode": False,
    "setup-handler": "QuantConnect.Lean.Engine.Setup.BacktestingSetupHandler",
    "result-handler": "QuantConnect.Lean.Engine.Results.BacktestingResultHandler",
    "data-feed-handler": "QuantConnect.Lean.Engine.DataFeeds.FileSystemDataFeed",
    "real-time-handler": "QuantConnect.Lean.Engine.RealTime.BacktestingRealTimeHandler",
    "history-provider": ["QuantConnect.Lean.Engine.HistoricalData.SubscriptionDataReaderHistoryProvider"],
    "transaction-handler": "QuantConnect.Lean.Engine.TransactionHandlers.BacktestingTransactionHandler",
}
# What Lean's own configuration has for a backtest without any service of its maker.
_ENGINE: Mapping[str, Any] = {
    "environment": "backtesting",
    "close-automatically": True,
    "debugging": False,
    "debugging-method": "LocalCmdline",
    "log-handler": "QuantConnect.Logging.CompositeLogHandler",
    "messaging-handler": "QuantConnect.Messaging.Messaging",
    "job-queue-handler": "QuantConnect.Queues.JobQueue",
    "api-handler": "QuantConnect.Api.Api",
    "map-file-provider": "QuantConnect.Data.Auxiliary.LocalDiskMapFileProvider",
    "factor-file-provider": "QuantConnect.Data.Auxiliary.LocalDiskFactorFileProvider",
    "data-provider": "QuantConnect.Lean.Engine.DataFeeds.DefaultDataProvider",
    "data-channel-provider": "DataChannelProvider",
    "object-store": "QuantConnect.Lean.Engine.Storage.LocalObjectStore",
    "data-aggregator": "QuantConnect.Lean.Engine.DataFeeds.AggregationManager",
    "symbol-minute-limit": 10000,
    "symbol-second-limit": 10000,
    "symbol-tick-limit": 10000,
    "show-missing-data-logs": False,
    "maximum-data-points-per-chart-series": 1000000,
    "maximum-chart-series": 30,
    "force-exchange-always-open": False,
    "transaction-log": "",
    "job-user-id": "0",
    "api-access-token": "",
    "job-organization-id": "",
}


@dataclass(frozen=True, slots=True)
class LeanJob:
    """A backtest on Lean. ``settings_file`` lies below ``project``, the folder of ``main.py``.

    ``parameters`` are what the algorithm is given: settings file, overrides, and the period of the run.
    """

    project: Path
    data_folder: Path
    job_id: str
    seed: int
    parameters: Mapping[str, str]
    period: Period


def make_job(
    project: Path, settings_file: Path, overrides: Sequence[str], settings: Settings, data_folder: Path, period: Period
) -> LeanJob:
    """The job of checked settings. Its id is made of the run's name and seed, so that runs are told apart by them.

    ``UsageError`` when the settings file is not below the project: Lean's container sees nothing else.
    """
    try:
        inside = settings_file.resolve().relative_to(project.resolve()).as_posix()
    except ValueError as error:
        raise UsageError(
            f"--config {settings_file} is not below {project}, where Lean could read it",
            remedy="copy it into the project's config folder",
        ) from error
    parameters = parameters_from(inside, overrides)
    parameters["run.start"], parameters["run.end"] = iso(period.start_ms), iso(period.end_ms)
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", settings.run.name)
    return LeanJob(
        project.resolve(), data_folder.resolve(), f"{name}-{settings.run.seed}", settings.run.seed, parameters, period
    )


def parameters_from(settings_file: str, overrides: Sequence[str]) -> dict[str, str]:
    """Lean's flat map of texts for a settings file (relative to the project) and ``section.key=value`` overrides.

    Of two overrides of one key the later counts. ``UsageError`` for an override that isn't of that form.
    """
    parameters = {SETTINGS_FILE: settings_file}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                f"--set {override!r} is not of the form section.key=value",
                remedy="for example --set signal.holding_hours=240",
            )
        parameters[key.strip()] = value.strip()
    return parameters


def launcher_config(
    job: LeanJob, results: Path, launcher: Path | None = None, python_venv: Path | None = None
) -> dict[str, Any]:
    """Contents of the file for ``QuantConnect.Lean.Launcher --config``; results go to the folder ``results``.

    With ``launcher`` (the folder of the program) Lean may be started from any working directory: its Python files lie
    there (lean-measured.md L). The object store is a folder of the run, so that no run sees another's.
    """
    results = results.resolve()
    config: dict[str, Any] = {
        **_ENGINE,
        "algorithm-type-name": "main",
        "algorithm-language": "Python",
        "algorithm-location": str(job.project / ALGORITHM),
        "algorithm-id": job.job_id,
        "backtest-name": job.job_id,
        "data-folder": f"{job.data_folder}/",
        "results-destination-folder": str(results),
        "object-store-root": str(results / "storage"),
        "parameters": dict(job.parameters),
        "python-additional-paths": [str(job.project)],
        "environments": {"backtesting": dict(_BACKTESTING)},
    }
    if launcher is not None:
        config["composer-dll-directory"] = str(launcher.resolve())
        config["python-additional-paths"].append(str(launcher.resolve()))
    if python_venv is not None:
        config["python-venv"] = str(python_venv)
    return config


def command_line_config() -> dict[str, Any]:
    """Contents of ``lean.json`` for the ``lean`` command line: it adds paths, parameters and the rest by itself."""
    left_out = ("environment", "debugging", "debugging-method", "job-user-id", "api-access-token")
    engine = {name: value for name, value in _ENGINE.items() if name not in left_out}
    return {"data-folder": "data/lean", **engine, "environments": {"backtesting": dict(_BACKTESTING)}}


def write_config(path: Path, config: Mapping[str, Any]) -> None:
    """Write a configuration as JSON, atomically."""
    write_text(path, json.dumps(config, indent=2) + "\n")
