"""The threat model names every risk of both lists, and tests that are there."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = {
    cells[0].split(" ")[0]: cells
    for line in PAGE.splitlines()
    if re.match(r"\| (API|LLM)\d+ ", line)
    for cells in [[cell.strip() for cell in line.strip("| ").split("|")]]
}
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)))
NOT_OURS = {"LLM08"}


def test_every_risk_of_both_lists_is_answered() -> None:
    assert set(ROWS) == {f"API{number}" for number in range(1, 11)} | {f"LLM{number:02}" for number in range(1, 11)}
    for name, cells in ROWS.items():
        if name not in NOT_OURS:
            assert len(cells) == 4
            assert all(cells)
            assert "::" in cells[3], f"{name} is shown by no test"


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_each_test_that_is_named_is_there(file: str, name: str) -> None:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
