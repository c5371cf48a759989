"""The documentation says what is there: links resolve, shown commands exist, and nothing is left undocumented."""

from __future__ import annotations

import dataclasses
import importlib
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cli.app import COMMAND_MODULES, make_app
from crypto.settings import Settings

ROOT = Path(__file__).resolve().parents[2]

# Files of the core that hold words and data instead of formulas, so they need no spec.
NOT_FORMULAS = {"__init__", "compiled", "errors", "instruments", "ledger", "market", "result", "settings"}

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?: \"[^\"]*\")?\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def documents() -> list[Path]:
    return [
        *sorted(ROOT.glob("*.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "research").glob("*.md")),
    ]


def anchors(text: str) -> set[str]:
    """The names under which a page's headings can be linked, as code-hosting sites make them."""
    headings = re.findall(r"^#{1,6} +(.+?) *$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    broken = []
    for target in LINK.findall(FENCE.sub("", text)):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        linked = (page.parent / path).resolve() if path else page
        is_there = linked.exists()
        if is_there and anchor and linked.suffix == ".md":
            is_there = anchor in anchors(linked.read_text(encoding="utf-8") if path else text)
        if not is_there:
            broken.append(target)
    return broken


def shown_commands(text: str) -> Iterator[list[str]]:
    """Words of every ``make`` and ``carry`` line in a page's shell blocks; lines that end in a backslash are joined."""
    for language, block in FENCE.findall(text):
        if language not in ("", "sh", "bash", "shell", "console"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            command = line.strip().removeprefix("$ ")
            if command.split(" ", maxsplit=1)[0] in ("make", "carry", ".venv/bin/carry"):
                words = shlex.split(command, comments=True)
                yield [words[0].removeprefix(".venv/bin/"), *words[1:]]


def command_tree() -> Any:
    app = make_app()
    for name in COMMAND_MODULES:
        importlib.import_module(name).register(app)
    return typer.main.get_command(app)


def subcommands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that call it."""
    children = getattr(command, "commands", None)
    if not children:
        yield path, command
        return
    for name, child in children.items():
        yield from subcommands(child, (*path, name))


def wrong_in_carry(words: list[str], root: Any) -> str:
    """Why a ``carry`` line can't be run; empty when it can."""
    command = root
    rest = words[1:]
    while rest and hasattr(command, "commands") and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return f"there is no command {rest[0]!r}"
        command = command.commands[rest.pop(0)]
    known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    for word in rest:
        flag = word.split("=", maxsplit=1)[0]
        if flag.startswith("--") and flag not in known | {"--help"}:
            return f"there is no flag {flag}"
        if re.fullmatch(r"config/.+\.toml", word) and not (ROOT / word).is_file():
            return f"there is no file {word}"
    return ""


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def settings_keys(value: Any, path: str = "") -> Iterator[str]:
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        if dataclasses.is_dataclass(inner):
            yield from settings_keys(inner, f"{path}{field.name}.")
        else:
            yield f"{path}{field.name}"


# --- the rules ----------------------------------------------------------------------------------------------------


def test_there_is_a_readme() -> None:
    assert (ROOT / "README.md").is_file()


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_resolve(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_shown_commands_exist(page: Path) -> None:
    root, targets, wrong = command_tree(), make_targets(), []
    for words in shown_commands(page.read_text(encoding="utf-8")):
        if words[0] == "carry":
            reason = wrong_in_carry(words, root)
        else:
            unknown = [word for word in words[1:] if "=" not in word and word not in targets]
            reason = f"there is no target {unknown[0]!r}" if unknown else ""
        if reason:
            wrong.append(f"{shlex.join(words)}: {reason}")
    assert wrong == []


def test_every_subcommand_is_documented() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in documents())
    missing = [" ".join(path) for path, _ in subcommands(command_tree()) if f"carry {' '.join(path)}" not in text]
    assert missing == []


def test_every_subcommand_shows_an_example_in_its_help() -> None:
    commands = dict(subcommands(command_tree()))
    assert commands
    missing = [path for path, command in commands.items() if f"carry {' '.join(path)}" not in (command.help or "")]
    assert missing == []


def test_every_subcommand_has_json() -> None:
    missing = [
        path
        for path, command in subcommands(command_tree())
        if not any("--json" in parameter.opts for parameter in command.params)
    ]
    assert missing == []


def test_every_settings_key_is_explained_above_its_line() -> None:
    lines = (ROOT / "config/carry.toml").read_text(encoding="utf-8").splitlines()
    given = {key for table in tomllib.loads("\n".join(lines)).values() if isinstance(table, dict) for key in table}
    for key in settings_keys(Settings()):
        name = key.split(".")[-1]
        at = next(
            (
                number
                for number, line in enumerate(lines)
                if re.match(rf"(# )?\[*{name}( = |$)|(# )?\[+([a-z_]+\.)?{name}\b", line)
            ),
            None,
        )
        assert at is not None, f"config/carry.toml does not name {key}"
        if name in given and "." in key:
            above = next(line for line in reversed(lines[:at]) if not re.match(r"[a-z_]+ = ", line))
            assert above.startswith("#"), f"{key} has no comment above it"


def test_every_formula_file_has_a_spec() -> None:
    formulas = {path.stem for path in (ROOT / "crypto").glob("*.py")} - NOT_FORMULAS
    specs = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs/specs").glob("*.md"))
    assert {name for name in formulas if f"crypto/{name}.py" not in specs} == set()


# --- that the rules can fail --------------------------------------------------------------------------------------


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    (tmp_path / "there.md").write_text("# A heading, here\n")
    text = (
        "# Top\n[a](there.md) [b](there.md#a-heading-here) [c](#top) [d](https://example.org)\n"
        "[e](absent.md) [f](there.md#absent) [g](#absent)\n```\n[h](in-code.md)\n```\n"
    )
    page.write_text(text)
    assert broken_links(page, text) == ["absent.md", "there.md#absent", "#absent"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("carry backtets", "there is no command 'backtets'"),
        ("carry sample --sed 1", "there is no flag --sed"),
        ("carry sample --seed 1  # comment", ""),
        ("carry data check --json", ""),
        ("carry --help", ""),
    ],
)
def test_a_wrong_command_is_found(line: str, reason: str) -> None:
    (words,) = shown_commands(f"```sh\n$ {line}\n```\n")
    assert wrong_in_carry(words, command_tree()) == reason
