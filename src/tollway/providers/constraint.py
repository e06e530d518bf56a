"""What the answer may look like, as one grammar: from response_format, tools and tool_choice."""

from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from tollway.constrain import json_object_grammar, schema_grammar, tool_calls_grammar
from tollway.providers.conversation import (
    CALL_CLOSING,
    CALL_OPENING_MARK,
    call_beginning,
    callable_tools,
    must_call,
)
from tollway.wire.chat import ChatRequest, JsonObjectFormat, JsonSchemaFormat, NamedToolChoice

# A small model that may call in parallel sometimes does not stop; OpenAI's models stay far below this.
PARALLEL_CALLS_MAX = 8
_REMEMBERED_BYTES_MAX = 1 << 16
"""Larger schemas are compiled each time: what is remembered is memory that any caller can fill."""


class Constraint(Struct, frozen=True):
    """A grammar for the answer; "" = free text.

    `from_start`: it holds from the first token. Otherwise the answer is free text until `trigger` is generated, and the
    grammar describes what follows, the trigger included.
    """

    grammar: str = ""
    from_start: bool = False
    trigger: str = ""


_FREE = Constraint()


class _Given(Struct):
    """All of a request that decides the grammar; its JSON is the cache's key."""

    tools: list[tuple[str, dict[str, Any] | None]]
    legacy: bool
    forced: bool
    begun: str
    calls_max: int
    has_schema: bool
    schema: Any


def constraint_for(request: ChatRequest) -> Constraint:
    """The constraint of a request. Raises a 400 naming the keyword when a schema cannot be enforced."""
    answer = request.response_format
    has_schema, schema = False, None
    if isinstance(answer, JsonObjectFormat):
        has_schema, schema = True, {"type": "object"}
    elif isinstance(answer, JsonSchemaFormat):
        has_schema, schema = True, answer.json_schema.schema or {"type": "object"}
    tools = callable_tools(request)
    if not tools and not has_schema:
        return _FREE
    given = _Given(
        tools=[(tool.function.name, tool.function.parameters or None) for tool in tools],
        legacy=request.uses_legacy_functions,
        forced=must_call(request),
        begun=call_beginning(request),
        calls_max=_calls_max(request),
        has_schema=has_schema,
        schema=schema,
    )
    key = msgspec.json.encode(given)
    return _compiled(key) if len(key) <= _REMEMBERED_BYTES_MAX else _compiled.__wrapped__(key)


def _calls_max(request: ChatRequest) -> int:
    """A model that must call gets to make one call unless the caller asks for several: having begun, small models repeat it."""
    if request.uses_legacy_functions or isinstance(request.tool_choice, NamedToolChoice):
        return 1
    parallel = request.parallel_tool_calls
    if parallel is None:
        parallel = request.tool_choice != "required"
    return PARALLEL_CALLS_MAX if parallel else 1


@lru_cache(maxsize=256)
def _compiled(key: bytes) -> Constraint:
    given = msgspec.json.decode(key, type=_Given)
    param = "response_format.json_schema.schema"
    if not given.tools:
        is_any_object = given.schema == {"type": "object"}
        grammar = json_object_grammar() if is_any_object else schema_grammar(given.schema, param=param)
        return Constraint(grammar, from_start=True)
    place = "functions[{}].parameters" if given.legacy else "tools[{}].function.parameters"
    grammar = tool_calls_grammar(
        given.tools,
        opening=CALL_OPENING_MARK + "\n",
        separator="\n",
        closing=CALL_CLOSING.removeprefix("}"),
        calls_max=given.calls_max,
        params=[place.format(index) for index in range(len(given.tools))],
        begun=given.begun,
        otherwise=(given.schema, param) if given.has_schema and not given.forced else None,
    )
    if given.forced or given.has_schema:
        return Constraint(grammar, from_start=True)
    return Constraint(grammar, trigger=CALL_OPENING_MARK)
