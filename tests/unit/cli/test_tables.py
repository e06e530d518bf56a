"""Ids, prefixes and amounts are shown whole, however narrow the terminal is; without one a row is a line."""

import pytest
from rich.console import Console

from tollway.cli import terminal

COLUMNS = ("Id", "Note", "Credits")
ROWS = [("acc_tYINhlUSdG014xA6yflaM", "[red]why[/red] it was granted, and by whom, in many words", f"{10**12:+,}")]


@pytest.mark.parametrize("width", [20, 60, 80])
def test_a_terminal_wraps_only_what_may_be(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal, "out", Console(force_terminal=True, width=width, soft_wrap=True, color_system=None))
    terminal.print_table(COLUMNS, ROWS, wrapped=("Note",))
    header, first, *more = capsys.readouterr().out.splitlines()
    assert header.split() == list(COLUMNS)
    assert first.startswith(ROWS[0][0])
    assert first.rstrip().endswith(ROWS[0][2])
    assert more
    words = " ".join([first[26 : first.rindex("+")], *more]).split()
    assert "".join(words) == ROWS[0][1].replace(" ", "")
    assert max(map(len, (first, *more))) <= max(width, 57)


@pytest.mark.parametrize("columns", ["10", "80", ""])
def test_a_file_has_a_line_for_each_row(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    terminal.print_table(COLUMNS, ROWS, wrapped=("Note",))
    assert capsys.readouterr().out.splitlines()[1] == "  ".join(ROWS[0])
