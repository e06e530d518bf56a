"""The API reference as Markdown: one page per row of the table of endpoints."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from tollway.api.endpoints import ENDPOINTS
from tollway.api.table import Auth, Endpoint
from tollway.web.schema_tree import Node, document, node_of

Schema = dict[str, Any]
_NEEDS = {Auth.NONE: " needs no key.", Auth.KEY: " needs an API key.", Auth.MANAGEMENT: " needs a management key."}
_EVENT_STREAM = "text/event-stream"


def slug(operation: str) -> str:
    """`createChatCompletion` -> `create-chat-completion`"""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", operation).lower()


def operation_documents() -> Iterator[tuple[str, str]]:
    """(name of the page, Markdown) of each operation."""
    for endpoint in ENDPOINTS:
        yield f"api/{slug(endpoint.operation)}", "\n".join(_page(endpoint)) + "\n"


def _page(endpoint: Endpoint) -> Iterator[str]:
    path = endpoint.paths[0].replace(":path}", "}")
    operation: Schema = document()["paths"][path][endpoint.method.lower()]
    yield f"# {endpoint.summary}"
    yield f"\n`{endpoint.method} {path}`{_NEEDS[endpoint.auth]}"
    if endpoint.description:
        yield f"\n{endpoint.description}"
    if len(endpoint.paths) > 1:
        others = ", ".join(f"`{other.replace(':path}', '}')}`" for other in endpoint.paths[1:])
        yield f"\nThe same under {others}."
    yield from _parameters(operation)
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]
        yield "\n## Request body\n"
        yield from _table(node_of(content["schema"]))
        if "example" in content:
            yield from _json("Example of a request", content["example"])
    for status, response in operation["responses"].items():
        if status[0] in "23":
            yield f"\n## Answer {status}\n\n{response['description']}"
            yield from _contents(response.get("content", {}))
    yield "\n## Errors\n\n| Status | When |\n|---|---|"
    for status, response in operation["responses"].items():
        if status[0] in "45":
            yield f"| {status} | {_cell(response['description'])} |"
    yield "\nThe shape of errors is described under [errors](/docs/errors)."


def _parameters(operation: Schema) -> Iterator[str]:
    yield "\n## Parameters\n\n| Name | In | Meaning |\n|---|---|---|"
    for parameter in operation["parameters"]:
        yield f"| `{parameter['name']}` | {parameter['in']} | {_cell(parameter['description'])} |"


def _contents(content: Schema) -> Iterator[str]:
    for media, body in content.items():
        yield f"\n### `{media}`\n"
        if media == _EVENT_STREAM:
            schema = body["schema"]["properties"]["data"]["anyOf"][1]["contentSchema"]["anyOf"][0]
            yield "Each event is one line `data: ` with this JSON object, and a blank line; the last one is `data: [DONE]`.\n"
            example = json.loads(body["example"]["data"])
        else:
            schema, example = body["schema"], body.get("example")
        usual, *others = schema.get("anyOf", [schema])
        yield from _fields(node_of(usual))
        if example is not None:
            yield from _json("Example", example)
        for other in others:
            node = node_of(other)
            yield f"\nOr else: {node.description}\n"
            yield from _fields(node)


def _fields(node: Node) -> Iterable[str]:
    return _table(node) if node.fields else (f"A {node.type if node.type != 'object' else 'JSON object'}.",)


def _json(title: str, value: Any) -> Iterable[str]:
    return f"\n{title}:\n", "```json", json.dumps(value, indent=2, ensure_ascii=False), "```"


def _table(node: Node) -> Iterator[str]:
    yield "| Field | Type | Meaning |\n|---|---|---|"
    yield from _rows(node, "")


def _rows(node: Node, path: str) -> Iterator[str]:
    """Fields with their paths; the fields of alternatives stand once, under the first path that has them."""
    seen: set[tuple[str, str]] = set()
    for field in node.fields:
        yield from _row(field, f"{path}{field.name}", seen)


def _row(node: Node, path: str, seen: set[tuple[str, str]]) -> Iterator[str]:
    kind = " or ".join(dict.fromkeys(form.type for form in node.forms)) if node.forms and node.type == "one of" else node.type
    row = (path, f"{kind}{' or null' if node.nullable else ''}")
    if row not in seen:
        seen.add(row)
        facts = ["required" if node.required else "optional", *node.bounds]
        if node.values:
            facts.append(
                "one of " + ", ".join(f"`{value}`" for value in node.values) if len(node.values) > 1 else f"`{node.values[0]}`"
            )
        if node.default is not None:
            facts.append(f"default `{node.default}`")
        yield f"| `{path}` | {row[1]} | {_cell(', '.join(facts).capitalize() + '.')} {_cell(node.description)} |"
    inner = path + ("[]" if node.type.startswith("array") else "")
    for field in node.fields:
        yield from _row(field, f"{inner}.{field.name}", seen)
    for form in node.forms:
        deeper = inner + ("[]" if form.type.startswith("array") else "")
        for field in form.fields:
            yield from _row(field, f"{deeper}.{field.name}", seen)
        for nested in form.forms:
            for field in nested.fields:
                yield from _row(field, f"{deeper}.{field.name}", seen)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
