"""What commands share: how they speak, and how they fail."""

import io
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tollway import clock
from tollway.settings import Settings, SettingsError, load

out = Console(highlight=False, emoji=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
_WRAPPED_WIDTH = 10
"""No column is made narrower than this, the length of a date."""
_GAP = 2
"""Between two columns, as Rich has it."""

Home = Annotated[Path | None, typer.Option("--home", help="Folder for the database, models and secrets.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
InAccount = Annotated[str | None, typer.Option("--account", "-a", help="Name or id of the account; default: the first one.")]


def fail(message: str, exit_code: int = 1) -> NoReturn:
    """One clear line on stderr. Exit code 1 = it could not be done, 2 = it was asked for wrongly."""
    err.print("[red]error[/red] ", end="")
    err.print(message, markup=False)
    raise typer.Exit(exit_code)


def warn(message: str) -> None:
    """One line on stderr; what was asked for is done all the same."""
    err.print("[yellow]warning[/yellow] ", end="")
    err.print(message, markup=False)


def words(error: Exception) -> str:
    """What is wrong, for people: of an error of the system's, the file and the reason."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def settings_in_force(**flags: Any) -> Settings:
    """The settings as `tollway serve` would have them; `flags` are those of the command, None = not given."""
    try:
        return load(flags)
    except SettingsError as error:
        fail(str(error), 2)


def moment(at_seconds: float) -> str:
    """A time since the epoch for people, in UTC: `2026-11-23 14:05:09`."""
    return clock.iso(at_seconds)[:19].replace("T", " ")


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, wrapped: Collection[str] = (), nothing: str = ""
) -> None:
    """A table of plain text in which nothing is cut off: people copy ids out of it, and programs read it.

    On a terminal the `wrapped` columns share what width the others leave, over several lines. Elsewhere a row is a line.
    `nothing` is what people are told when there are no rows.
    """
    rows = list(rows)
    if not rows:
        err.print(nothing, markup=False)
        return
    table = Table(box=None, pad_edge=False)
    natural = least = _GAP * (len(columns) - 1)
    for number, name in enumerate(columns):
        width = max(cell_len(text) for text in (name, *(row[number] for row in rows)))
        width_min = min(width, _WRAPPED_WIDTH) if name in wrapped and out.is_terminal else width
        natural, least = natural + width, least + width_min
        table.add_column(name, min_width=width_min, max_width=width, overflow="fold", no_wrap=width_min == width)
    table.width = max(least, min(natural, out.width))
    for row in rows:
        table.add_row(*map(Text, row))
    out.print(table)


def print_json(value: Any) -> None:
    """For programs: one value on stdout, without colours, and in UTF-8 whatever the terminal's encoding, as JSON is."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
