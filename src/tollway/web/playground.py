"""The playground: every parameter of the schema with its bounds, and the public endpoint, called with the session."""

import json
from typing import Any

import msgspec
from msgspec import Struct
from starlette.responses import Response

from tollway.web import dialects
from tollway.web.frame import Visit
from tollway.web.schema_tree import Node, tree
from tollway.web.stand_ins import stand_ins

_OWN = frozenset(("model", "messages", "stream", "stream_options"))
"""What the playground asks for in its own way."""
_GROUPS = {
    "Sampling": ("temperature", "top_p", "max_completion_tokens", "seed", "stop", "frequency_penalty", "presence_penalty", "n"),
    "Form of the answer": ("response_format", "reasoning_effort", "logprobs", "top_logprobs"),
    "Tools": ("tools", "tool_choice", "parallel_tool_calls"),
}
_EXAMPLES: dict[str, Any] = {
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "The weather in a city.",
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string", "maxLength": 40}},
                    "required": ["city"],
                    "additionalProperties": False,
                },
            },
        }
    ],
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {"city": {"type": "string", "maxLength": 40}, "population": {"type": "integer"}},
                "required": ["city", "population"],
                "additionalProperties": False,
            },
        },
    },
}


class Field(Struct):
    """A parameter, and how it is typed in."""

    name: str
    kind: str
    """`number`, `integer`, `boolean`, `choice`, `text`, `json`; `json or text` takes what is no JSON as it is."""
    description: str
    facts: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    example: str


async def playground(visit: Visit) -> Response:
    models = visit.services.catalog.models
    names = [model.id for model in models]
    wanted = visit.query("model")
    chosen = wanted if wanted in names else next(iter(names), "")
    standing_in = stand_ins(visit.services.catalog)
    data = {
        "models": names,
        "stand_ins": standing_in,
        "dialects": [msgspec.to_builtins(dialect) | {"label": dialect.label} for dialect in dialects.dialects()],
        "base": f"{visit.origin}/v1",
        "key": dialects.KEY_PLACEHOLDER,
        "csrf": visit.csrf,
    }
    return visit.render(
        "playground.html",
        data=json.dumps(data),
        models=models,
        groups=groups(),
        chosen=chosen,
        answering=standing_in.get(chosen),
        dialects=dialects.dialects(),
    )


def groups() -> dict[str, list[Field]]:
    """All parameters of a request, in the groups of the form."""
    fields = {node.name: _field(node) for node in tree("ChatRequest").fields if node.name not in _OWN}
    named = {title: [fields.pop(name) for name in names] for title, names in _GROUPS.items()}
    return named | {"Everything else": list(fields.values())}


def _field(node: Node) -> Field:
    if node.forms:
        kind = "json or text" if any(form.type == "string" for form in node.forms) else "json"
    elif node.values:
        kind = "choice"
    else:
        kind = {"string": "text", "number": "number", "integer": "integer", "boolean": "boolean"}.get(node.type, "json")
    example = json.dumps(_EXAMPLES[node.name], indent=2) if node.name in _EXAMPLES else ""
    shape = {"json or text": "text or JSON", "json": "JSON"}.get(kind)
    facts = (shape, *node.bounds) if shape else node.bounds
    return Field(node.name, kind, node.description, facts, node.minimum, node.maximum, node.values, example)
