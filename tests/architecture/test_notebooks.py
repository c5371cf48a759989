"""Every notebook runs from top to bottom on a clean checkout, offline, and is kept without outputs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "research" / "notebooks").glob("*.ipynb"))
SECONDS = 120

# In a process of its own: the kernel's libraries warn in ways that are not ours, and its sockets outlive a test.
RUNNER = """
import sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=float(sys.argv[3]), resources={"metadata": {"path": sys.argv[2]}}).execute()
nbformat.write(notebook, sys.argv[4])
"""


def run(path: Path, to: Path) -> subprocess.CompletedProcess[str]:
    """Execute a notebook in its own folder with this Python as kernel; the result goes to ``to``."""
    specs = to.parent / "kernels" / "python3"
    specs.mkdir(parents=True)
    argv = f'["{sys.executable}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"]'
    (specs / "kernel.json").write_text(f'{{"argv": {argv}, "display_name": "Python 3", "language": "python"}}')
    environment = os.environ | {
        "JUPYTER_PATH": str(to.parent),
        "JUPYTER_RUNTIME_DIR": str(to.parent / "runtime"),
        "IPYTHONDIR": str(to.parent / "ipython"),
        "PYTHONPATH": str(ROOT),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", RUNNER, str(path), str(path.parent), str(SECONDS), str(to)],
        env=environment,
        cwd=to.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * SECONDS,
    )


def test_there_are_notebooks() -> None:
    assert "funding_to_pairs" in [path.stem for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    kept = [cell for cell in notebook.cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)]
    assert kept == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    ended = run(path, tmp_path / "done.ipynb")
    assert ended.returncode == 0, ended.stderr[-3000:]
    notebook = nbformat.read(tmp_path / "done.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    said = [output for cell in code for output in cell.outputs if output.get("name") == "stderr"]
    assert said == []
    assert any("pairs: [" in output.get("text", "") for output in code[-1].outputs)


def test_a_cell_that_fails_is_noticed(tmp_path: Path) -> None:
    broken = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("assert 1 == 2")])
    nbformat.write(broken, tmp_path / "broken.ipynb")
    (tmp_path / "out").mkdir()
    ended = run(tmp_path / "broken.ipynb", tmp_path / "out" / "done.ipynb")
    assert ended.returncode != 0
    assert "AssertionError" in ended.stderr
    assert not (tmp_path / "out" / "done.ipynb").exists()
