"""Where in a file something stands, however it is written."""

import pytest

from tollway.toml_lines import Path, TomlLines

TEXT = """\
port = 1
[upstreams."a b"] # with a remark
base_url = "x"
limits.'each one' = 3

[[models]]
id = "one"
tags = ["{", "}"]
[[models.routes]]
weight = 1
[[models]]
price = { prompt = 1 }
completion = 5
[models.more]
deep = true
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("port",), 1),
        (("upstreams", "a b"), 2),
        (("upstreams", "a b", "base_url"), 3),
        (("upstreams", "a b", "limits", "each one"), 4),
        (("upstreams", "a b", "gone"), 2),
        (("models", 0), 6),
        (("models", 0, "id"), 7),
        (("models", 0, "routes", 0), 9),
        (("models", 0, "routes", 0, "weight"), 10),
        (("models", 1), 11),
        (("models", 1, "price", "prompt"), 12),
        (("models", 1, "price", "completion"), 12),
        (("models", 1, "more", "deep"), 15),
        (("models", 2), 6),
        (("gone",), None),
    ],
)
def test_a_table_or_key_is_found(path: Path, line: int | None) -> None:
    assert TomlLines(TEXT).find(path) == line


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("routes",), 1),
        (("routes", 0), 2),
        (("routes", 0, "price", "completion"), 2),
        (("routes", 1, "weight"), 3),
        (("routes", 2), 3),
        (("routes", 3, "gone"), 4),
        (("routes", 4), 1),
        (("routes", 4, "weight"), 1),
    ],
)
def test_what_is_in_inline_tables_is_found(path: Path, line: int) -> None:
    text = """\
routes = [
    { upstream = "u", price = { prompt = 1, completion = 2 } },
    { upstream = "v", weight = 0 }, { upstream = "w" },
    { upstream = "x" },
]
other = { weight = 7 }
"""
    assert TomlLines(text).find(path) == line
