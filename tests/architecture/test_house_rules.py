"""Rules for every file of the repository: no machine paths, no package-registry addresses, no file too long to read."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 600

# The patterns are put together from parts, so that this file does not hold what it looks for.
MACHINE_PATH = re.compile(
    r"(?<![A-Za-z0-9_.~])/" + "(?:work|farm|root|tmp|home/[a-z]+|Users/[A-Za-z]+|opt)" + r"/[A-Za-z]"
)
REGISTRY = re.compile(
    "|".join(
        [
            r"index[-_]" + "url",
            r"https?://[^ \"]*/" + r"simple(?:[/\" ]|$)",
            r"files\." + r"[a-z]+hosted",
            r"pypi\." + "org",
        ]
    )
)


def repository_files() -> list[Path]:
    """Every file that git holds or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout, so which files belong to the repository is not known: run in a clone")
    paths = (ROOT / name.decode() for name in listed.stdout.split(b"\0") if name)
    return [path for path in paths if path.is_file()]


def text_of(path: Path) -> str:
    """The file as text; empty for binary files."""
    content = path.read_bytes()
    return "" if b"\0" in content else content.decode("utf-8")


def places_of(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in repository_files()
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if pattern.search(line)
    ]


def test_no_file_names_a_path_of_one_machine() -> None:
    assert places_of(MACHINE_PATH) == []


def test_no_file_names_a_package_registry() -> None:
    assert places_of(REGISTRY) == []


@pytest.mark.parametrize("folder", ["work", "root", "tmp", "opt", "home/ann", "Users/Ann"])
def test_a_machine_path_is_caught(folder: str) -> None:
    assert MACHINE_PATH.search(f'x = "/{folder}/data"')
    assert not MACHINE_PATH.search(f"a relative {folder}/data")


@pytest.mark.parametrize("line", ["--extra-index-{}", "{}.python" + "hosted" + ".org/x", "https://host/{}/numpy/"])
def test_a_registry_address_is_caught(line: str) -> None:
    word = {"-": "url", ".": "files", "/": "simple"}[next(mark for mark in "-./" if mark in line)]
    assert REGISTRY.search(line.format(word))


def test_no_python_file_is_too_long_to_read() -> None:
    lengths = {path: len(text_of(path).splitlines()) for path in repository_files() if path.suffix == ".py"}
    assert lengths
    assert {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


def test_every_file_is_utf8_and_ends_with_a_newline() -> None:
    suffixes = {".py", ".md", ".toml", ".lock"}
    texts = {path: text_of(path) for path in repository_files() if path.suffix in suffixes}
    assert [str(path.relative_to(ROOT)) for path, text in texts.items() if text and not text.endswith("\n")] == []
