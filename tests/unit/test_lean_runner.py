"""Finding a Lean, running it, and judging how it ended; the engine is played by tests/fake_lean.py."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from crypto.errors import OutputError, RefusedError, UsageError
from data import lean_engine, lean_runner
from data.lean_config import LeanJob
from data.lean_engine import CommandLine, Launcher, find_engine
from data.lean_folder.readiness import Period
from data.lean_log import LeanLog
from data.lean_runner import run_backtest
from tests.fake_lean import DLL, make_launcher, make_program, make_venv

T0 = 1_704_067_200_000  # 2024-01-01 00:00 UTC
DAY = 86_400_000


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    library = tmp_path / "libpython3.11.so"
    library.write_bytes(b"")
    make_program(tmp_path / "bin" / "dotnet", "dotnet")
    path = f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"
    return {"PATH": path, "PYTHONNET_PYDLL": str(library)}


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    return make_venv(tmp_path / "venv")


@pytest.fixture
def job(tmp_path: Path) -> LeanJob:
    (tmp_path / "main.py").write_text("")
    (tmp_path / "lean.json").write_text('{"data-folder": "data/lean"}')
    parameters = {"config": "config/carry.toml", "signal.holding_hours": "240"}
    return LeanJob(tmp_path, tmp_path / "data" / "lean", "sample-7", 7, parameters, Period(T0, T0 + 3 * DAY))


def local(tmp_path: Path, venv: Path, environment: dict[str, str]) -> Launcher:
    found = find_engine(make_launcher(tmp_path / "launcher"), venv, environment)
    assert isinstance(found, Launcher)
    return found


def command_line(tmp_path: Path, environment: dict[str, str]) -> CommandLine:
    for name in ("lean", "docker"):
        make_program(tmp_path / "bin" / name, name)
    found = find_engine(None, None, environment)
    assert isinstance(found, CommandLine)
    return found


# --- finding ------------------------------------------------------------------------------------------------------


def test_a_launcher_is_found_by_flag_or_variable(tmp_path: Path, venv: Path, environment: dict[str, str]) -> None:
    found = local(tmp_path, venv, environment)
    assert (found.version, found.framework, found.python_venv) == ("2.5.0.0", "net10.0", venv)
    assert found.python_library == tmp_path / "libpython3.11.so"
    by_variable = {**environment, "CARRY_LEAN_LAUNCHER": str(tmp_path / "launcher")}
    assert find_engine(None, venv, by_variable) == found


def test_the_command_line_is_found_with_docker(tmp_path: Path, environment: dict[str, str]) -> None:
    assert command_line(tmp_path, environment).version == "1.0.230"
    with pytest.raises(RefusedError, match="in Docker, which does not answer"):
        find_engine(None, None, {**environment, "FAKE_DOCKER": "1"})


def test_without_any_lean_the_remedy_names_both_ways(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="no Lean was found") as caught:
        find_engine(None, None, {"PATH": str(tmp_path)})
    assert "--launcher" in caught.value.remedy
    assert "pip install lean" in caught.value.remedy


@pytest.mark.parametrize(
    ("version", "framework", "reason"),
    [
        ("2.4.0.0", "net10.0", "it is version 2.4.0.0"),
        ("2.5.0.0", "net9.0", "it is built for net9.0"),
        ("unknown", "net10.0", "its version cannot be read"),
    ],
)
def test_another_version_is_refused_unless_asked_for(
    tmp_path: Path, venv: Path, environment: dict[str, str], version: str, framework: str, reason: str
) -> None:
    folder = make_launcher(tmp_path / "launcher", version, framework)
    with pytest.raises(RefusedError, match=reason):
        find_engine(folder, venv, environment)
    assert isinstance(find_engine(folder, venv, environment, any_version=True), Launcher)


def test_an_unreadable_runtime_configuration_is_an_unknown_framework(
    tmp_path: Path, venv: Path, environment: dict[str, str]
) -> None:
    folder = make_launcher(tmp_path / "launcher")
    (folder / "QuantConnect.Lean.Launcher.runtimeconfig.json").write_text("{}")
    with pytest.raises(RefusedError, match="an unknown .NET"):
        find_engine(folder, venv, environment)


def test_what_a_launcher_needs_is_named(tmp_path: Path, venv: Path, environment: dict[str, str]) -> None:
    folder = make_launcher(tmp_path / "launcher")
    with pytest.raises(RefusedError, match="lacks numba, numpy, pyarrow, wrapt"):
        find_engine(folder, make_venv(tmp_path / "bare", "pandas"), environment)
    with pytest.raises(RefusedError, match="needs dotnet"):
        find_engine(folder, venv, {**environment, "PATH": str(tmp_path)})
    with pytest.raises(RefusedError, match="PYTHONNET_PYDLL is .*absent.so, which does not exist"):
        find_engine(folder, venv, {**environment, "PYTHONNET_PYDLL": str(tmp_path / "absent.so")})
    (folder / "AlgorithmImports.py").unlink()
    with pytest.raises(UsageError, match="it has no AlgorithmImports.py"):
        find_engine(folder, venv, environment)


def test_a_python_without_shared_library_is_refused(
    tmp_path: Path, venv: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lean_engine.sysconfig, "get_config_var", lambda _: None)
    without = {name: value for name, value in environment.items() if name != "PYTHONNET_PYDLL"}
    with pytest.raises(RefusedError, match="no shared library"):
        find_engine(make_launcher(tmp_path / "launcher"), venv, without)


# --- running ------------------------------------------------------------------------------------------------------


def test_a_run_on_a_launcher_leaves_leans_files(
    tmp_path: Path, venv: Path, environment: dict[str, str], job: LeanJob
) -> None:
    reached: list[int | None] = []
    results = tmp_path / "backtests" / "sample-7-0001"
    engine = local(tmp_path, venv, environment)
    run = run_backtest(engine, job, results, environment, lambda log: reached.append(log.reached_ms))
    assert (run.results, run.job_id, run.version) == (results, "sample-7", "2.5.0.0")
    assert (run.seconds, run.data_points, run.orders, run.errors) == (1.25, 12_468, 4, ())
    # the payment of 2024-01-02 and the message of 2024-01-03 say how far it got
    assert list(dict.fromkeys(reached)) == [None, T0 + DAY, T0 + 2 * DAY]
    assert [path.name for path in results.parent.iterdir()] == ["sample-7-0001"]
    seen = json.loads((results / "seen.json").read_text())
    assert seen["dll"] == str(tmp_path / "launcher" / DLL)
    assert seen["library"] == environment["PYTHONNET_PYDLL"]
    assert "v2.5.0.0" in (results / "console.log").read_text()
    config = json.loads((results / "lean-config.json").read_text())
    assert config["results-destination-folder"] == str(results)
    assert config["parameters"] == job.parameters


def test_a_run_on_the_command_line_gets_parameters_and_id(
    tmp_path: Path, environment: dict[str, str], job: LeanJob
) -> None:
    results = tmp_path / "backtests" / "sample-7-0001"
    run = run_backtest(command_line(tmp_path, environment), job, results, environment)
    assert (run.engine, run.job_id, run.orders) == ("command line", "7", 4)
    assert '"signal.holding_hours": "240"' in (results / "console.log").read_text()


def test_the_command_line_uses_the_data_folder_of_lean_json(
    tmp_path: Path, environment: dict[str, str], job: LeanJob
) -> None:
    engine = command_line(tmp_path, environment)
    (tmp_path / "lean.json").write_text('{"data-folder": "elsewhere"}')
    with pytest.raises(UsageError, match="is not the data-folder of"):
        run_backtest(engine, job, tmp_path / "out", environment)
    (tmp_path / "lean.json").unlink()
    with pytest.raises(UsageError, match="does not name a data folder"):
        run_backtest(engine, job, tmp_path / "out", environment)
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("runtime error", r"Lean ended with RuntimeError \(exit code 1\): no such key"),
        ("dies", r"Lean ended with no result \(exit code 134\): Engine.Run\(\): out of memory"),
        ("bankrupt", r"Lean ended with RuntimeError \(exit code 0\)"),
        ("no result", r"Lean ended with no result \(exit code 0\): no result file"),
    ],
)
def test_a_run_that_did_not_complete_is_an_error_and_keeps_its_console(
    tmp_path: Path, venv: Path, environment: dict[str, str], job: LeanJob, ending: str, message: str
) -> None:
    engine = local(tmp_path, venv, environment)
    with pytest.raises(RefusedError, match=message) as caught:
        run_backtest(engine, job, tmp_path / "out", {**environment, "FAKE_LEAN": ending})
    assert caught.value.remedy.endswith(f"{tmp_path / 'out' / 'console.log'}")
    assert (tmp_path / "out" / "console.log").is_file()


def test_ctrl_c_ends_lean_and_leaves_nothing(
    tmp_path: Path, venv: Path, environment: dict[str, str], job: LeanJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    real = lean_runner.subprocess.Popen

    class Watched(real):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)
            started.append(self.pid)

    monkeypatch.setattr(lean_runner.subprocess, "Popen", Watched)
    engine = local(tmp_path, venv, environment)
    variables = {**environment, "FAKE_LEAN": "waits", "FAKE_LEAN_PARENT": str(os.getpid())}
    with pytest.raises(KeyboardInterrupt):
        run_backtest(engine, job, tmp_path / "out", variables)
    assert not list(tmp_path.glob("*out*"))
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


def test_a_folder_that_is_there_already_is_kept(
    tmp_path: Path, venv: Path, environment: dict[str, str], job: LeanJob
) -> None:
    engine = local(tmp_path, venv, environment)
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="is there already"):
        run_backtest(engine, job, tmp_path / "out", environment)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot make"):
        run_backtest(engine, job, tmp_path / "file" / "out", environment)


def test_lines_that_are_not_leans_say_nothing() -> None:
    log = LeanLog()
    for line in ("", "Traceback", "20260101 00:00:00.000 TRACE:: Log: on 2024-99-99\n", "x TRACE:: 2024-01-01"):
        log.read(line)
    assert log == LeanLog()
    log.read("20260101 00:00:00.000 TRACE:: Log: back on 2024-01-02\n")
    log.read("20260101 00:00:00.000 TRACE:: Log: before 2024-01-01\n")
    assert log.reached_ms == T0 + DAY
