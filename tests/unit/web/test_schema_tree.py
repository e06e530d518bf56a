"""The trees on the model pages: all of the wire types, nothing left without words."""

import re
from collections.abc import Iterator

import pytest

from tollway.web.operations import operation_documents
from tollway.web.schema_tree import Node, document, tree
from tollway.wire.chat import ChatRequest


def walk(node: Node) -> Iterator[Node]:
    yield node
    for child in (*node.fields, *node.forms):
        yield from walk(child)


def field(path: str) -> Node:
    node = tree("ChatRequest")
    for name in path.split("."):
        inner = [*node.fields, *(field for form in node.forms for field in (*form.fields, *form.forms))]
        node = next(one for one in inner if one.name == name)
    return node


def test_every_parameter_is_there_and_explained() -> None:
    fields = {node.name: node for node in tree("ChatRequest").fields}
    assert set(fields) == set(ChatRequest.__struct_fields__)
    assert [name for name, node in fields.items() if not node.description] == []
    assert [name for name, node in fields.items() if node.required] == ["model", "messages"]


@pytest.mark.parametrize(
    ("path", "kind", "bounds"),
    [
        ("temperature", "number", ("≥ 0", "≤ 2")),
        ("top_p", "number", ("≥ 0.01", "≤ 1")),
        ("n", "integer", ("≥ 1", "≤ 128")),
        ("messages", "array of items", ("at least 1 item", "at most 4,096 items")),
        ("logit_bias", "map of number", ()),
        ("stop", "one of", ()),
        ("tools", "array of object", ("at most 128 items",)),
    ],
)
def test_types_and_bounds_are_the_decoders(path: str, kind: str, bounds: tuple[str, ...]) -> None:
    node = field(path)
    assert (node.type, node.bounds) == (kind, bounds)


def test_alternatives_are_told_apart_by_their_tag() -> None:
    assert [form.name for form in field("messages").forms] == [
        "role: user",
        "role: system",
        "role: developer",
        "role: tool",
        "role: function",
        "role: assistant",
    ]
    assert field("reasoning_effort").values == ("high", "low", "medium", "minimal", "none")
    assert field("stream").default == "false"
    assert field("temperature").nullable


def test_large_bounds_are_written_out() -> None:
    pages = dict(operation_documents())
    assert "≥ 0, ≤ 2,592,000" in pages["api/rotate-key"]
    assert [name for name, text in pages.items() if re.search(r"[≤≥] [0-9.]+e", text)] == []


def test_no_node_is_empty() -> None:
    for name in ("ChatRequest", "Completion", "Chunk"):
        for node in walk(tree(name)):
            assert node.type, node.name


def test_every_operation_has_a_page() -> None:
    pages = dict(operation_documents())
    operations = {
        operation["operationId"]
        for item in document()["paths"].values()
        for operation in item.values()
        if "Alias" not in operation["operationId"]
    }
    assert len(pages) == len(operations)
    chat = pages["api/create-chat-completion"]
    for line in (
        "| `messages[].content[].image_url.url` |",
        "| `temperature` | number or null |",
        "### `text/event-stream`",
        "| 429 |",
    ):
        assert line in chat
