"""The committed document is the code's, valid, and true."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from tests.asgi import call
from tests.installation import app_of, installed

from tollway.api import examples, openapi
from tollway.api.endpoints import ENDPOINTS
from tollway.api.middleware import EXPOSED_HEADERS
from tollway.catalog.tables import ModelId
from tollway.errors import TollwayError
from tollway.wire.decode import decode_chat_request

DOCUMENT = openapi.document(ENDPOINTS)
ROOT = Path(__file__).parents[3]


def _schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}


def _operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, operation) for path, item in DOCUMENT["paths"].items() for method, operation in item.items()]


def test_the_committed_document_is_what_the_code_makes() -> None:
    committed = (ROOT / "openapi.json").read_text(encoding="utf-8")
    assert committed == openapi.render(ENDPOINTS), "run `tollway openapi > openapi.json`"


async def test_the_served_document_is_the_same(tmp_path: Path) -> None:
    async with installed(tmp_path) as services:
        reply = await call(app_of(services), "GET", "/openapi.json")
    assert reply.status == 200
    assert reply.json == DOCUMENT


def test_every_schema_is_a_schema_and_every_reference_leads_somewhere() -> None:
    for name in DOCUMENT["components"]["schemas"]:
        jsonschema.Draft202012Validator.check_schema(_schema(name))

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [found for item in value.values() for found in references(item)]
        return [found for item in value for found in references(item)] if isinstance(value, list) else []

    for reference in references(DOCUMENT):
        place: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_every_operation_is_documented_and_has_its_own_name() -> None:
    names = [operation["operationId"] for _, _, operation in _operations()]
    assert len(names) == len(set(names))
    for path, _, operation in _operations():
        assert operation["summary"], path
        assert operation["security"] in ([], [{"bearer": []}])
        assert {"400", "500"} <= set(operation["responses"])
        assert ("401" in operation["responses"]) == bool(operation["security"])
        for status, response in operation["responses"].items():
            assert "x-request-id" in response["headers"]
            if int(status) >= 400 and path != "/readyz":
                assert list(response["content"]) == ["application/problem+json"]
        declared = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path))


def test_the_chat_endpoint_is_documented_under_both_paths_with_the_reference_pages_example() -> None:
    for path in ("/v1/chat/completions", "/chat/completions"):
        operation = DOCUMENT["paths"][path]["post"]
        body = operation["requestBody"]["content"]["application/json"]
        assert body["example"]["model"] == "google/gemini-2.5-flash-lite-preview"
        assert operation["security"] == [{"bearer": []}]
        content = operation["responses"]["200"]["content"]
        kinds = [{"$ref": f"#/components/schemas/{name}"} for name in ("Completion", "DryRun")]
        assert content["application/json"]["schema"] == {"anyOf": kinds}
        data = content["text/event-stream"]["schema"]["properties"]["data"]
        kinds = [{"$ref": f"#/components/schemas/{name}"} for name in ("Chunk", "ErrorEvent")]
        assert [option.get("contentSchema") for option in data["anyOf"]] == [None, {"anyOf": kinds}]
        assert {"400", "401", "403", "404", "409", "413", "415", "422", "429", "500", "502", "503", "504"} <= set(
            operation["responses"]
        )


def test_headers_that_a_browser_may_read_are_documented() -> None:
    responses = DOCUMENT["paths"]["/v1/chat/completions"]["post"]["responses"]
    documented = {name for status in ("200", "429") for name in responses[status]["headers"]}
    assert documented == set(EXPOSED_HEADERS) - {"x-client-request-id"}, "which is sent to those who sent it"


def test_a_dry_run_and_an_idempotency_key_are_documented() -> None:
    parameters = DOCUMENT["paths"]["/v1/chat/completions"]["post"]["parameters"]
    assert {"Idempotency-Key", "x-tollway-dry-run"} <= {parameter["name"] for parameter in parameters}


@pytest.mark.parametrize(
    ("name", "example"),
    [
        ("ChatRequest", examples.CHAT_REQUEST),
        ("Completion", examples.COMPLETION),
        ("Chunk", examples.CHUNK),
        ("Problem", examples.PROBLEM),
        ("KeyCreate", examples.KEY_REQUEST),
        ("NewKeyAnswer", examples.NEW_KEY),
    ],
)
def test_the_examples_are_valid(name: str, example: dict[str, Any]) -> None:
    jsonschema.validate(example, _schema(name))


def test_answers_require_the_explicit_nulls() -> None:
    message = DOCUMENT["components"]["schemas"]["AnswerMessage"]
    assert message["required"] == ["role", "content", "refusal", "annotations", "audio", "tool_calls"]
    assert "reasoning_content" in message["properties"]
    assert DOCUMENT["components"]["schemas"]["AssistantMessage"]["required"] == ["role"], "but requests do not"


_USER = {"role": "user", "content": "Hi"}
_TOOL = {"type": "function", "function": {"name": "f"}}


def _request(**changes: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [_USER]} | changes


# (request, whether both the schema and the server take it)
AGREEMENTS: list[tuple[dict[str, Any], bool]] = [
    (_request(), True),
    (_request(temperature=2), True),
    (_request(temperature=2.01), False),
    (_request(temperature=None, tools=None, stop=None, n=None), True),
    (_request(top_p=0), False),
    (_request(n=129), False),
    (_request(seed=0), False),
    (_request(stop=["a"] * 5), False),
    (_request(max_tokens=1.5), True),
    (_request(messages=[]), False),
    ({"model": "m"}, False),
    ({"messages": [_USER]}, False),
    (_request(model=""), False),
    (_request(messages=[{"role": "king", "content": "Hi"}]), False),
    (_request(messages=[{"role": "assistant"}]), False),
    (_request(messages=[{"role": "assistant", "content": None}]), False),
    (_request(messages=[{"role": "assistant", "content": "Hi"}]), True),
    (_request(messages=[{"role": "assistant", "tool_calls": []}]), False),
    (
        _request(
            messages=[
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}],
                }
            ]
        ),
        True,
    ),
    (_request(messages=[{"role": "assistant", "function_call": {"name": "f", "arguments": ""}}]), True),
    (_request(top_logprobs=1), False),
    (_request(top_logprobs=1, logprobs=False), False),
    (_request(top_logprobs=1, logprobs=True), True),
    (_request(top_logprobs=None), True),
    (_request(response_format={"type": "yaml"}), False),
    (_request(response_format={"type": "json_object"}), True),
    (_request(response_format={"type": "json_schema", "json_schema": {"name": "a b"}}), False),
    (_request(response_format={"type": "json_schema", "json_schema": {"name": "a-b\n"}}), False),
    (_request(tools=[{"type": "function", "function": {"name": "f"}}]), True),
    (_request(tools=[{"type": "retrieval"}]), False),
    (_request(tool_choice="always"), False),
    (_request(reasoning_effort="minimal"), True),
    (_request(reasoning_effort="extreme"), False),
    (_request(logit_bias={"5": 101}), False),
    (_request(anything_else={"at": "all"}), True),
    (_request(stop=""), False),
    (_request(stop=["a", ""]), False),
    (_request(stop=["a", "b"]), True),
    (_request(logit_bias={"x": 1}), False),
    (_request(logit_bias={"15": -100}), True),
    (_request(function_call="auto"), False),
    (_request(function_call="none"), True),
    (_request(function_call={"name": "f"}, functions=[{"name": "f"}]), True),
    (_request(functions=[{"name": "f"}], tools=[_TOOL]), False),
    (_request(functions=[{"name": "f"}], tools=None), True),
    (_request(tool_choice="required"), False),
    (_request(tool_choice="required", tools=[]), False),
    (_request(tool_choice="required", tools=[_TOOL]), True),
    (_request(tool_choice="required", functions=[{"name": "f"}]), True),
    (_request(tool_choice={"type": "function", "function": {"name": "f"}}), False),
    (_request(tool_choice={"type": "function", "function": {"name": "f"}}, tools=[_TOOL]), True),
]


@pytest.mark.parametrize(("request_", "good"), AGREEMENTS)
def test_the_schema_says_what_the_server_does(request_: dict[str, Any], good: bool) -> None:
    try:
        decode_chat_request(msgspec.json.encode(request_))
        taken = True
    except TollwayError:
        taken = False
    # Python's `$` overlooks a last newline, JSON Schema's does not: say it in Python's words
    schema = json.loads(json.dumps(_schema("ChatRequest")).replace('{1,64}$"', '{1,64}\\\\Z"'))
    assert (taken, jsonschema.Draft202012Validator(schema).is_valid(request_)) == (good, good)


def test_the_document_allows_the_ids_that_models_may_have() -> None:
    (ids,) = {
        parameter["schema"]["pattern"]
        for _, _, operation in _operations()
        for parameter in operation["parameters"]
        if (parameter["name"], parameter["in"]) == ("id", "path")
    }
    for model_id in ("acme/large@2026-01", "local/smollm2-135m-instruct", "a:b", "x" * 200):
        msgspec.convert(model_id, ModelId)
        assert re.search(ids, model_id)


def test_schemathesis_reads_it() -> None:
    import schemathesis

    schema = schemathesis.openapi.from_dict(DOCUMENT)
    assert schema.statistic.operations.total == len(_operations())
