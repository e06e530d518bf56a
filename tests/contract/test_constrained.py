"""Forced calls always come, and constrained answers always validate: from a model of random weights, which wants neither."""

import json
import os
import random
from typing import Any

import jsonschema_rs
import pytest
from tests.live import MODEL, LiveServer
from tests.unit.constrain.cases import CASES

TINY = "local/tiny"
# `make conformance` asks the default model, in full.
COUNT = int(os.environ.get("CONSTRAINED_COUNT", "200"))
SCHEMAS = [schema for schema, _ in CASES if isinstance(schema, dict)]
# For a model with a token per byte, long schemas are long prompts.
OBJECTS = [schema for schema in SCHEMAS if schema.get("type") == "object" and len(json.dumps(schema)) < 300]


def validate(text: str, schema: Any) -> None:
    jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(json.loads(text))


def plain_enough(schema: Any) -> bool:
    """Whether the validator of the tests agrees on what it means: it knows neither OpenAPI's `nullable` nor older drafts."""
    return "nullable" not in json.dumps(schema) and _current(schema)


def _current(schema: Any) -> bool:
    try:
        jsonschema_rs.Draft202012Validator(schema)
    except jsonschema_rs.ValidationError:
        return False
    return True


@pytest.mark.parametrize("stream", [False, True])
def test_constrained_answers_validate(tiny_server: LiveServer, stream: bool) -> None:
    complete = 0
    for number in range(COUNT // 2):
        schema = SCHEMAS[(number * 2 + stream) % len(SCHEMAS)]
        if not plain_enough(schema):
            continue
        wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": bool(number % 2)}}
        fields: dict[str, Any] = {"model": TINY, "temperature": 1, "max_tokens": 400, "seed": number + 1}
        fields["response_format"] = wanted
        if stream:
            choices = [choice for event in tiny_server.events(**fields) for choice in event["choices"]]
            text = "".join(choice["delta"].get("content") or "" for choice in choices)
            reason = choices[-1]["finish_reason"]
        else:
            choice = tiny_server.chat(**fields)["choices"][0]
            text, reason = choice["message"]["content"], choice["finish_reason"]
        assert reason in ("stop", "length"), reason
        if reason == "stop":
            complete += 1
            validate(text, schema)

    assert complete > COUNT // 4  # random text rarely closes its quotes, but most schemas end all the same


def tools_of(number: int) -> list[dict[str, Any]]:
    chance = random.Random(number)
    schemas = [schema for schema in chance.sample(OBJECTS, 2) if plain_enough(schema)] or [{"type": "object"}]
    return [
        {"type": "function", "function": {"name": f"tool_{index}", "description": "Does it.", "parameters": schema}}
        for index, schema in enumerate(schemas)
    ]


@pytest.mark.parametrize("how", ["required", "named", "required, streamed", "named, streamed"])
def test_forced_calls_always_come_and_validate(tiny_server: LiveServer, how: str) -> None:
    for number in range(COUNT // 4):
        tools = tools_of(number)
        schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
        name = tools[number % len(tools)]["function"]["name"]
        choice = {"type": "function", "function": {"name": name}} if how.startswith("named") else "required"
        fields: dict[str, Any] = {"model": TINY, "tools": tools, "tool_choice": choice, "temperature": 1, "seed": number + 1}
        calls, reason = ask_for_calls(tiny_server, fields | {"max_tokens": 500}, streamed=how.endswith("streamed"))

        assert len(calls) == 1
        assert calls[0][0] in ([name] if how.startswith("named") else schemas)
        assert reason in ("tool_calls", "length")
        if reason == "tool_calls":
            validate(calls[0][1], schemas[calls[0][0]])


def ask_for_calls(server: LiveServer, fields: dict[str, Any], *, streamed: bool) -> tuple[list[tuple[str, str]], str]:
    """((name, arguments) of each call, finish_reason)."""
    if not streamed:
        choice = server.chat(**fields)["choices"][0]
        calls = choice["message"]["tool_calls"] or []
        return [(call["function"]["name"], call["function"]["arguments"]) for call in calls], choice["finish_reason"]
    names: list[str] = []
    arguments: list[str] = []
    reason = ""
    for event in server.events(**fields):
        for choice in event["choices"]:
            reason = choice["finish_reason"] or reason
            for call in choice["delta"].get("tool_calls") or ():
                if "id" in call:
                    assert call["index"] == len(names)
                    assert call["type"] == "function"
                    names.append(call["function"]["name"])
                    arguments.append("")
                arguments[call["index"]] += call["function"]["arguments"]
    return list(zip(names, arguments, strict=True)), reason


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("forced", [True, False])
def test_stop_sequences_leave_calls_whole(tiny_server: LiveServer, forced: bool, streamed: bool) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [10, 20]}}, "required": ["a"], "additionalProperties": False}
    fields: dict[str, Any] = {"model": TINY, "temperature": 2, "max_tokens": 200, "parallel_tool_calls": False}
    fields["tools"] = [{"type": "function", "function": {"name": "look", "parameters": schema}}]
    if forced:
        fields["tool_choice"] = "required"
    else:  # a model of random weights calls only where a grammar leaves it nothing but that and the answer
        fields["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"const": "!"}}}
    called = 0
    for seed in range(1, 13):
        calls, reason = ask_for_calls(tiny_server, fields | {"seed": seed}, streamed=streamed)
        called += reason == "tool_calls"
        for stop in (["\n"], ["<", "name"], ["}", "10", "20"], ["tool", '"a']):
            assert ask_for_calls(tiny_server, fields | {"seed": seed, "stop": stop}, streamed=streamed) == (calls, reason)
    assert called


def test_parallel_calls_come_when_asked_for(tiny_server: LiveServer) -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("a", "b")]
    counts = set()
    for seed in range(1, 30):
        fields = {"model": TINY, "tools": tools, "tool_choice": "required", "parallel_tool_calls": True, "temperature": 2}
        calls, reason = ask_for_calls(tiny_server, fields | {"seed": seed, "max_tokens": 900}, streamed=bool(seed % 2))
        assert reason == "tool_calls"
        assert all(arguments == "{}" for _, arguments in calls)
        counts.add(len(calls))

    assert max(counts) > 1
    assert max(counts) <= 8


def test_json_object_is_always_an_object(tiny_server: LiveServer) -> None:
    complete = 0
    for seed in range(1, 60):
        choice = tiny_server.chat(
            model=TINY, temperature=1, seed=seed, max_tokens=600, response_format={"type": "json_object"}
        )["choices"][0]
        if choice["finish_reason"] == "stop":
            complete += 1
            assert isinstance(json.loads(choice["message"]["content"]), dict)
        else:
            assert choice["message"]["content"].startswith("{")
    assert complete


def test_a_stop_sequence_cuts_constrained_text(tiny_server: LiveServer) -> None:
    schema = {"type": "object", "properties": {"a": {"const": "x"}}, "required": ["a"], "additionalProperties": False}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    tools = [{"type": "function", "function": {"name": "look"}}]
    fields: dict[str, Any] = {"model": TINY, "response_format": wanted, "max_tokens": 200, "stop": ":"}
    for more in ({}, {"tools": tools, "tool_choice": "none"}):  # by the engine, where there are no calls to keep whole
        choice = tiny_server.chat(**fields | more)["choices"][0]

        assert (choice["message"]["content"], choice["finish_reason"]) == ('{"a"', "stop")


def test_auto_gives_text_or_a_valid_call(tiny_server: LiveServer) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": OBJECTS[0]}}]
    completion = tiny_server.chat(model=TINY, tools=tools, max_tokens=30, temperature=1)

    assert completion["choices"][0]["finish_reason"] in ("stop", "length", "tool_calls")


def test_tools_with_a_json_answer_give_either(tiny_server: LiveServer) -> None:
    tools = [{"type": "function", "function": {"name": "look"}}]
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    kinds = set()
    for seed in range(1, 25):
        choice = tiny_server.chat(
            model=TINY, tools=tools, response_format=wanted, temperature=2, seed=seed, max_tokens=200, parallel_tool_calls=False
        )["choices"][0]
        if choice["finish_reason"] == "tool_calls":
            assert choice["message"]["tool_calls"][0]["function"] == {"name": "look", "arguments": "{}"}
        elif choice["finish_reason"] == "stop":
            validate(choice["message"]["content"], schema)
        kinds.add(choice["finish_reason"])

    assert {"tool_calls", "stop"} <= kinds


@pytest.mark.parametrize(
    ("schema", "keyword"),
    [({"not": {}}, "not"), ({"type": "string", "format": "martian"}, "format"), ({"if": {}, "then": {}}, "if")],
)
def test_what_cannot_be_enforced_is_a_400_naming_the_keyword(tiny_server: LiveServer, schema: Any, keyword: str) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": schema}}}}]
    message = {"role": "user", "content": "hi"}
    for fields, param in (
        ({"response_format": wanted}, "response_format.json_schema.schema"),
        ({"tools": tools}, "tools[0].function.parameters"),
    ):
        status, problem = tiny_server.error(body={"model": MODEL, "messages": [message], **fields})

        assert status == 400
        assert problem["error"]["code"] == "unsupported_parameter"
        assert problem["error"]["param"] == param
        assert f"`{keyword}`" in problem["message"]
