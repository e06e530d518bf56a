"""OpenAPI 3.1 from the table of endpoints and the wire types. Nothing here describes a field: the types do."""

import json
import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from tollway import __version__
from tollway.api import examples
from tollway.api.patterns import KEY_PREFIX, MODEL_ID, REQUEST_ID, matching
from tollway.api.table import JSON, Answer, Auth, Endpoint, Parameter, Tag
from tollway.errors import Forbidden, InternalError, InvalidRequest, TollwayError, Unauthorized
from tollway.wire.errors import PROBLEM_JSON, ErrorEvent, Problem

Schema = dict[str, Any]
_NODES = (msgspec.inspect.Type, msgspec.inspect.Field)

HEADERS = {
    "x-request-id": "The id of this request. Quote it when you ask for help.",
    "x-client-request-id": "The `X-Client-Request-Id` that you sent.",
    "x-inference-id": "The id of this inference, as billing and logs know it. Failures have it too, once it was begun.",
    "x-tollway-credits-used": "What the request cost, in credits. Not on streams: there the last chunk says it.",
    "x-tollway-usd-spent": "What the request cost, in US dollars. Not on streams.",
    "x-tollway-ignored-parameters": "Parameters that have no effect on this model: `a, b`; of very many: `a, ... and 3 more`.",
    "x-tollway-route": (
        "Who answered, or was asked last, and after how many attempts: `upstream/model; attempts=1`. "
        "Not on a stream that begins with a heartbeat: nobody had answered yet."
    ),
    "x-tollway-idempotent-replayed": "`true` when it is the answer that was given before under the same `Idempotency-Key`.",
    "x-ratelimit-limit-requests": "Requests that you may make a minute. This and the like: only where there is such a limit.",
    "x-ratelimit-limit-tokens": "Tokens that you may use a minute.",
    "x-ratelimit-remaining-requests": "Requests that are left at the moment.",
    "x-ratelimit-remaining-tokens": "Tokens that are left at the moment.",
    "x-ratelimit-reset-requests": "When all requests of the minute are there again, such as `1.500s`.",
    "x-ratelimit-reset-tokens": "When all tokens of the minute are there again.",
    "x-tollway-stand-in": "`true` when another model answered because the one that was asked for has no upstream.",
    "etag": "Send it as `If-None-Match` to be answered 304 while nothing has changed.",
    "cache-control": "How long the answer may be kept.",
    "retry-after": "Seconds to wait before the next try.",
    "www-authenticate": "How to authenticate.",
}
EVENT_STREAM = "text/event-stream"
_ALWAYS = ("x-request-id",)
RATE_LIMITS = tuple(name for name in HEADERS if name.startswith("x-ratelimit-"))
_ASKED = ("x-inference-id", "x-tollway-route")
_ERROR_HEADERS = {
    401: ("www-authenticate",),
    429: ("retry-after", *RATE_LIMITS),
    502: _ASKED,
    503: ("retry-after",),
    504: _ASKED,
}

_TAGS = {
    Tag.CHAT: "Answers from language models.",
    Tag.MODELS: "What is served, and for how much.",
    Tag.KEYS: "API keys of your account, managed with a management key.",
    Tag.BILLING: "Balance, usage and the log of requests: an API key sees its own, a management key the whole account's.",
    Tag.OPERATIONS: "For whoever runs this server.",
}

_CLIENT_REQUEST_ID = {
    "name": "X-Client-Request-Id",
    "in": "header",
    "description": "Your own id for this request; it comes back as `x-client-request-id`.",
    "schema": matching(REQUEST_ID),
}

# What requests must fulfil beyond what their types can say (`wire/decode.py` checks it), and examples.
_NOT_NULL: Schema = {"not": {"type": "null"}}
_SOME: Schema = {"type": "array", "minItems": 1}


def _needs(name: str, when: Schema, other: str, then: Schema, *, present: bool = True, instead: str = "") -> Schema:
    """A field that is given, and is `when`, needs another one to be `then`: `present`, or absent just as well."""

    def has(field: str, schema: Schema, required: bool = True) -> Schema:
        return ({"required": [field]} if required else {}) | {"properties": {field: schema}}

    fulfilled = has(other, then, present)
    return {"if": has(name, when), "then": {"anyOf": [fulfilled, has(instead, then)]} if instead else fulfilled}


_AMENDMENTS: dict[str, Schema] = {
    "AssistantMessage": {
        "anyOf": [
            {"required": ["content"], "properties": {"content": _NOT_NULL}},
            {"required": ["tool_calls"], "properties": {"tool_calls": {"type": "array", "minItems": 1}}},
            {"required": ["function_call"], "properties": {"function_call": _NOT_NULL}},
            {"required": ["refusal"], "properties": {"refusal": _NOT_NULL}},
        ]
    },
    "Problem": {"examples": [examples.PROBLEM]},
    "ChatRequest": {
        "allOf": [
            _needs("top_logprobs", _NOT_NULL, "logprobs", {"const": True}),
            _needs("function_call", {"not": {"enum": [None, "none"]}}, "functions", _NOT_NULL),
            _needs("functions", _NOT_NULL, "tools", {"type": "null"}, present=False),
            _needs("tool_choice", {"not": {"enum": [None, "none", "auto"]}}, "tools", _SOME, instead="functions"),
            {"properties": {"stop": {"not": {"anyOf": [{"const": ""}, {"type": "array", "contains": {"const": ""}}]}}}},
            {"properties": {"logit_bias": {"propertyNames": {"pattern": "^[0-9]{1,9}$"}}}},
        ]
    },
}


def document(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """The whole document as JSON values, the same for the same code."""
    endpoints = list(endpoints)
    types = _types(endpoints)
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = {id(type_): schema for type_, schema in zip(types, schemas, strict=True)}
    _require_what_is_always_sent(endpoints, components)
    for name, amendment in _AMENDMENTS.items():
        if name in components:
            components[name] |= amendment
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        for number, path in enumerate(endpoint.paths):
            operation = _operation(endpoint, number, schema_of)
            paths.setdefault(path.replace(":path}", "}"), {})[endpoint.method.lower()] = operation
    written: dict[str, Any] = _portable(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Tollway",
                "version": __version__,
                "summary": "Your own AI/ML API: OpenAI-compatible chat completions.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "tags": [{"name": tag.value, "description": _TAGS[tag]} for tag in Tag],
            "paths": paths,
            "components": {
                "schemas": dict(sorted(components.items())),
                "headers": {
                    name: {"description": text, "schema": {"type": "string"}} for name, text in sorted(HEADERS.items())
                },
                "securitySchemes": {
                    "bearer": {
                        "type": "http",
                        "scheme": "bearer",
                        "description": "An API key, or a management key where it says so. `tollway keys create` makes them.",
                    }
                },
            },
        }
    )
    return written


def render(endpoints: Iterable[Endpoint]) -> str:
    """The document as it is committed and served."""
    return json.dumps(document(endpoints), indent=2, ensure_ascii=False) + "\n"


def _types(endpoints: list[Endpoint]) -> list[Any]:
    """Each type once, in order."""

    def all_types() -> Iterator[Any]:
        for endpoint in endpoints:
            if endpoint.request is not None:
                yield endpoint.request
            for answer in endpoint.answers:
                for types in answer.media.values():
                    yield from _each(types)
        yield Problem
        yield ErrorEvent

    return list({id(type_): type_ for type_ in all_types()}.values())


def _require_what_is_always_sent(endpoints: list[Endpoint], components: dict[str, Schema]) -> None:
    """A default makes a field optional in requests; in answers it is there all the same, nulls included."""
    asked = {struct for endpoint in endpoints for struct in _structs(endpoint.request)}
    told = {
        struct
        for endpoint in endpoints
        for answer in endpoint.answers
        for types in answer.media.values()
        for type_ in _each(types)
        for struct in _structs(type_)
    }
    for struct in told - asked:
        if not struct.__struct_config__.omit_defaults:
            fields = msgspec.structs.fields(struct)
            components[struct.__name__]["required"] = [field.encode_name for field in fields if field.default is not UNSET]


def _each(types: Any) -> tuple[Any, ...]:
    return types if isinstance(types, tuple) else (types,)


def _structs(type_: Any) -> set[type[Struct]]:
    """All structs that a type is made of."""
    found: set[type[Struct]] = set()
    pending: list[Any] = [msgspec.inspect.type_info(type_)]
    while pending:
        node = pending.pop()
        if isinstance(node, msgspec.inspect.StructType):
            if node.cls in found:
                continue
            found.add(node.cls)
        for name in getattr(node, "__struct_fields__", ()):
            value = getattr(node, name)
            pending += [item for item in (value if isinstance(value, tuple) else (value,)) if isinstance(item, _NODES)]
    return found


def _operation(endpoint: Endpoint, number: int, schema_of: dict[int, Schema]) -> dict[str, Any]:
    """`number` is 0 for the endpoint's first path, and else the alias's."""
    operation: dict[str, Any] = {
        "operationId": endpoint.operation + (f"Alias{number}" if number else ""),
        "tags": [endpoint.tag.value],
        "summary": endpoint.summary,
    }
    first = endpoint.paths[0].replace(":path}", "}")
    description = f"The same as `{first}`." if number else endpoint.description
    if endpoint.auth is Auth.MANAGEMENT:
        description = f"{description} Needs a management key.".strip()
    if description:
        operation["description"] = description
    operation["security"] = [] if endpoint.auth is Auth.NONE else [{"bearer": []}]
    operation["parameters"] = [
        *(_path_parameter(name) for name in re.findall(r"{(\w+)", endpoint.paths[number])),
        *(_parameter(parameter) for parameter in endpoint.parameters),
        _CLIENT_REQUEST_ID,
    ]
    if endpoint.request is not None:
        content: dict[str, Any] = {"schema": schema_of[id(endpoint.request)]}
        if endpoint.request_example is not None:
            content["example"] = endpoint.request_example
        operation["requestBody"] = {"required": True, "content": {JSON: content}}
    responses = {str(answer.status): _answer(answer, schema_of) for answer in endpoint.answers}
    operation["responses"] = responses | _error_responses(endpoint, schema_of)
    return operation


_PATH_PARAMETERS: dict[str, dict[str, Any]] = {
    "id": {
        "description": "Slashes may stand as they are, or encoded as `%2F`.",
        "schema": matching(MODEL_ID),
        "example": "google/gemini-2.5-flash-lite-preview",
    },
    "request_id": {
        "description": "The request id, the inference id, or your own client request id.",
        "schema": matching(REQUEST_ID),
        "example": "V1StGXR8Z5jdHi6BmyT8k",
    },
    "prefix": {
        "description": "The key's prefix, as `GET /v1/keys` shows it.",
        "schema": matching(KEY_PREFIX),
        "example": "tw_9yAcVpQ2x",
    },
}


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True} | _PATH_PARAMETERS[name]


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema: Schema = {"type": "array", "items": parameter.schema} if parameter.many else parameter.schema
    return {"name": parameter.name, "in": parameter.place, "description": parameter.description, "schema": schema}


def _answer(answer: Answer, schema_of: dict[int, Schema]) -> dict[str, Any]:
    content = {}
    for media, types in answer.media.items():
        schemas = [schema_of[id(type_)] for type_ in _each(types)]
        schema, example = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}, answer.examples.get(media)
        if media == EVENT_STREAM:
            schema, example = _event(schema, schema_of[id(ErrorEvent)]), {"data": json.dumps(example)}
        content[media] = {"schema": schema} | ({"example": example} if example else {})
    response: dict[str, Any] = {"description": answer.description, "headers": _headers(answer.headers)}
    return response | ({"content": content} if content else {})


def _event(*payloads: Schema) -> Schema:
    """One server-sent event, as OpenAPI 3.2 describes them; comments are none."""
    payload = {"type": "string", "contentMediaType": JSON, "contentSchema": {"anyOf": list(payloads)}}
    return {"type": "object", "properties": {"data": {"anyOf": [{"const": "[DONE]"}, payload]}}, "required": ["data"]}


def _error_responses(endpoint: Endpoint, schema_of: dict[int, Schema]) -> dict[str, Any]:
    """One response per status; its description lists the codes."""
    errors: list[type[TollwayError]] = [InvalidRequest, *endpoint.errors, InternalError]
    if endpoint.auth is not Auth.NONE:
        errors.append(Unauthorized)
    if endpoint.auth is Auth.MANAGEMENT:
        errors.append(Forbidden)
    codes: dict[int, dict[str, str]] = {}
    for error in errors:
        codes.setdefault(error.status, {})[error.default_code] = (error.__doc__ or "").strip()
    taken = {answer.status for answer in endpoint.answers}
    return {
        str(status): {
            "description": f"{HTTPStatus(status).phrase}. "
            + " ".join(f"`{code}`: {text}" for code, text in sorted(codes[status].items())),
            "headers": _headers(_ERROR_HEADERS.get(status, ())),
            "content": {PROBLEM_JSON.partition(";")[0]: {"schema": schema_of[id(Problem)]}},
        }
        for status in sorted(codes)
        if status not in taken
    }


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in (*_ALWAYS, *names)}


def _portable(value: Any, name: str = "") -> Any:
    r"""Python's `\Z` is unknown to JSON Schema's regular expressions, where `$` has no newline to overlook."""
    if isinstance(value, dict):
        return {key: _portable(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_portable(item) for item in value]
    return value.replace(r"\Z", "$") if name == "pattern" and isinstance(value, str) else value
