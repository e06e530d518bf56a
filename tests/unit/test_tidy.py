"""Functions and files stay small."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 500


def sources() -> Iterator[Path]:
    for folder in ("src", "tests", "bench"):
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_files_stay_small() -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}

    assert {name: size for name, size in sizes.items() if size > FILE_LINES_MAX} == {}


def test_functions_stay_small() -> None:
    sizes = {
        f"{path.relative_to(ROOT)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert {name: size for name, size in sizes.items() if size > FUNCTION_LINES_MAX} == {}
