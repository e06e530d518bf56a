"""`docs/errors.md` has every code that the source gives to an error, and no other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import tollway
from tollway.error_codes import CLOSER
from tollway.providers.openai_errors import _CALLERS
from tollway.web.generated import error_rows, error_tree

PACKAGE = Path(tollway.__file__).parent
TABLES = {PACKAGE / "errors.py", PACKAGE / "error_codes.py"}
TREES = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py")) if path not in TABLES]
NODES = [node for tree in TREES for node in ast.walk(tree)]


def _given() -> Iterator[tuple[str, ast.expr]]:
    """Names with what is given to them: by assignment, one or several at once, in calls, and as defaults of arguments."""
    for node in NODES:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                yield from (
                    (target.id, value) for target, value in zip(targets, values, strict=False) if isinstance(target, ast.Name)
                )
            case ast.keyword(arg=str(name), value=value):
                yield name, value
            case ast.arguments(args=arguments, defaults=[_, *_] as defaults):
                yield from zip((each.arg for each in arguments[-len(defaults) :]), defaults, strict=True)


def _codes() -> set[str]:
    """The words that are given as `code`, also by way of a constant."""
    given = list(_given())
    texts = {name: value.value for name, value in given if isinstance(value, ast.Constant) and isinstance(value.value, str)}
    codes = [
        texts.get(value.id) if isinstance(value, ast.Name) else ast.literal_eval(value)
        for name, value in given
        if name == "code" and isinstance(value, ast.Name | ast.Constant)
    ]
    return {code for code in codes if isinstance(code, str) and code}


def test_every_code_of_the_source_is_described() -> None:
    codes = _codes() | _CALLERS
    assert {"invalid_json", "invalid_image", "image_fetch_failed", "total_time_exceeded", "invalid_type"} <= codes
    assert codes <= {row["code"] for row in error_rows()}


def test_what_is_described_can_be_met() -> None:
    words = {node.value for node in NODES if isinstance(node, ast.Constant)}
    assert {code for codes in CLOSER.values() for code in codes} <= words
    assert set(CLOSER) <= set(error_tree())
