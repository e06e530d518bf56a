"""Every command that a page names is there, with the flags that it gives."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tollway.cli import app

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "bench/README.md")),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "src/tollway/web/guide").glob("*.md"),
    ]
)
_NAMED = re.compile(r"^(?:\w+=\S+ )*tollway ((?:[^\\\n]|\\\n)+)$|`tollway ([^`]+)`", re.MULTILINE)


def commands(page: Path) -> Iterator[list[str]]:
    """The words behind `tollway`: those of the lines in blocks of code, and those between backticks."""
    for line, words in _NAMED.findall(page.read_text(encoding="utf-8")):
        with_no_more = re.split(r"\s[|>#]\s|\)", line or words)[0]
        yield shlex.split(with_no_more.replace("\\\n", " "))


def problem(words: list[str]) -> str | None:
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while rest and hasattr(command, "commands") and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    if hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        return f"there is no `tollway {' '.join(words)}`"
    flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)} | {"--help", "-h"}
    unknown = [word for word in rest if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in flags]
    return f"`tollway {' '.join(words)}` has no {', '.join(unknown)}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_there_with_its_flags(page: Path) -> None:
    assert [found for found in map(problem, commands(page)) if found] == []


def test_commands_are_found_and_wrong_ones_told() -> None:
    assert ["db", "backup"] in list(commands(ROOT / "README.md"))
    assert problem(["keys", "create", "--name", "x"]) is None
    assert problem(["keys", "make"]) == "there is no `tollway keys make`"
    assert problem(["keys", "create", "--nmae", "x"]) == "`tollway keys create --nmae x` has no --nmae"
