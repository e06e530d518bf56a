"""Refusals of OpenAI-compatible upstreams in the shapes that they use: whose fault it is, and what a caller may know of it."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.contract.providers.openai_support import CAPABILITIES, USER, gateway, route_to
from tests.fakes.faults import Reply, failing
from tests.fakes.openai import API_KEY, FakeOpenAI

from tollway import clock
from tollway.errors import (
    BadGateway,
    ContextLengthExceeded,
    GatewayTimeout,
    InvalidRequest,
    PayloadTooLarge,
    RateLimited,
    ServiceUnavailable,
    TollwayError,
    UnsupportedParameter,
)
from tollway.providers.openai_errors import retry_after_seconds

SECRET = "upstream-text-that-no-caller-sees"


def openai(message: str = "", code: str | None = None, param: str | None = None, kind: str = "invalid_request_error") -> Any:
    return {"error": {"message": f"{message} {SECRET}", "type": kind, "param": param, "code": code}}


def detail(*place: str | int, kind: str = "value_error") -> Any:
    return {"detail": [{"type": kind, "loc": ["body", *place], "msg": SECRET, "input": SECRET}]}


# (status, body, error, param, code); without a code it is the error's own, or where only the operator can act, what says so
REFUSALS: dict[str, tuple[Any, ...]] = {
    # the operator's fault
    "bad_key": (401, openai("Incorrect API key", "invalid_api_key"), BadGateway),
    "xai_key": (400, {"code": "Client specified an invalid argument", "error": f"Incorrect API key: {SECRET}"}, BadGateway),
    "google_key": (400, [{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}], BadGateway),
    "google_no_key": (400, [{"error": {"code": 400, "message": "Missing or invalid Authorization header."}}], BadGateway),
    "bad_key_as_400": (400, openai("API key not valid", "invalid_api_key"), BadGateway),
    "forbidden": (403, openai("Country not supported", kind="request_forbidden"), BadGateway),
    "retired_model": (404, openai("The model does not exist", "model_not_found"), BadGateway),
    "retired_model_as_400": (400, openai("no such model", None, "model"), BadGateway),
    "vllm_model": (404, {"object": "error", "message": SECRET, "type": "NotFoundError", "code": 404}, BadGateway),
    "model_of_others": (403, openai("Your plan has no access to the model", kind="request_forbidden"), BadGateway),
    "name_of_the_limit": (400, openai("Use max_tokens", "unsupported_parameter", "max_completion_tokens"), BadGateway),
    "stream_options": (422, detail("stream_options", kind="extra_forbidden"), BadGateway),
    "quota": (429, openai("You exceeded your current quota", "insufficient_quota"), ServiceUnavailable),
    "hard_limit": (400, openai("Billing", "billing_hard_limit_reached"), ServiceUnavailable),
    "anthropic_credit": (400, openai("Your credit balance is too low to access the API."), ServiceUnavailable),
    "balance": (402, {"error": {"message": SECRET, "code": 402}}, ServiceUnavailable),
    "tollway_credits": (
        403,
        {"title": "Forbidden", "error": {"message": SECRET, "code": "x", "data": {"kind": "err_insufficent_credits"}}},
        ServiceUnavailable,
    ),
    # the caller's
    "param": (400, openai("", "decimal_above_max_value", "top_p"), InvalidRequest, "top_p", "decimal_above_max_value"),
    "path": (400, openai("", "invalid_type", "messages[3].content"), InvalidRequest, "messages[3].content", "invalid_type"),
    "unsupported": (400, openai("", "unsupported_parameter", "logit_bias"), UnsupportedParameter, "logit_bias"),
    "unsupported_value": (400, openai("", "unsupported_value", "stop"), UnsupportedParameter, "stop", "unsupported_value"),
    "quotes_a_key": (400, openai('messages[0] is wrong: "API key not valid"'), InvalidRequest),
    "openrouter_tools": (
        404,
        {"error": {"message": "No endpoints found that support tool use."}},
        UnsupportedParameter,
        "tools",
    ),
    "openrouter_choice": (
        404,
        {"error": {"message": "No endpoints found that support the provided 'tool_choice' value.", "code": 404}},
        UnsupportedParameter,
        "tool_choice",
    ),
    "openrouter_images": (
        404,
        {"error": {"message": "No endpoints found that support image input", "code": 404}},
        UnsupportedParameter,
        "messages",
    ),
    "ollama_tools": (400, openai("library/x:2b does not support tools", kind="api_error"), UnsupportedParameter, "tools"),
    "google_tools": (400, openai("Function calling is not enabled for models/x"), UnsupportedParameter, "tools"),
    "google_images": (400, openai("Image input modality is not enabled for models/x"), UnsupportedParameter, "messages"),
    "vllm_tools": (400, openai('"auto" tool choice requires --enable-auto-tool-choice'), UnsupportedParameter, "tools"),
    "vllm_images": (400, openai("x is not a multimodal model"), UnsupportedParameter, "messages"),
    "llama_images": (500, openai("image input is not supported - hint: mmproj"), UnsupportedParameter, "messages"),
    "max_tokens": (400, openai("", None, "max_tokens"), InvalidRequest, "max_tokens"),
    "renamed_limit": (400, openai("", None, "max_completion_tokens"), InvalidRequest, "max_tokens"),
    "renamed_seed": (422, detail("random_seed"), InvalidRequest, "seed"),
    "fastapi": (422, detail("messages", 0, "content"), InvalidRequest, "messages[0].content"),
    "fastapi_missing": (422, detail("tools", kind="missing"), InvalidRequest, "tools", "missing_required_parameter"),
    "in_message": (422, {"message": detail("stop"), "type": "invalid_request_error"}, InvalidRequest, "stop"),
    "in_array": (400, [openai("bad", None, "stop")], InvalidRequest, "stop"),
    "text_only": (400, {"error": SECRET}, InvalidRequest),
    "no_json": (400, b"<html>" + SECRET.encode(), InvalidRequest),
    "unknown_code": (400, openai("", SECRET, "stop"), InvalidRequest, "stop"),
    "odd_param": (400, openai("", None, f"<b>{SECRET}</b>"), InvalidRequest),
    "foreign_param": (400, openai("", None, "internal_knob"), InvalidRequest),
    "schema": (
        400,
        openai("", "invalid_json_schema", "response_format"),
        InvalidRequest,
        "response_format",
        "invalid_json_schema",
    ),
    "moderation": (
        403,
        {"error": {"code": 403, "message": SECRET, "metadata": {"reasons": ["x"], "flagged_input": SECRET}}},
        InvalidRequest,
        "messages",
        "content_policy_violation",
    ),
    "azure_filter": (
        400,
        openai("The prompt was filtered", "content_filter", "prompt"),
        InvalidRequest,
        None,
        "content_filter",
    ),
    "policy": (400, openai("", "content_policy_violation"), InvalidRequest, None, "content_policy_violation"),
    "too_large": (413, openai("Request too large"), PayloadTooLarge),
    # the context
    "context": (400, openai("", "context_length_exceeded", "messages"), ContextLengthExceeded, "messages"),
    "vllm_context": (400, openai("This model's maximum context length is 4096 tokens."), ContextLengthExceeded, "messages"),
    "llama_context": (
        400,
        {"error": {"code": 400, "message": SECRET, "type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 5}},
        ContextLengthExceeded,
        "messages",
    ),
    "sglang_context": (
        400,
        {
            "object": "error",
            "message": "The input (9 tokens) is longer than the model's context length (5 tokens).",
            "code": 400,
        },
        ContextLengthExceeded,
        "messages",
    ),
    "mistral_context": (
        400,
        openai("Prompt contains 9 tokens and 0 draft tokens, too large for model with 5 maximum context length"),
        ContextLengthExceeded,
        "messages",
    ),
    "vllm_context_with_images": (
        400,
        openai("The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
        ContextLengthExceeded,
        "messages",
    ),
    "google_context": (
        400,
        [{"error": {"code": 400, "message": "The input token count (9) exceeds the maximum number of tokens allowed (5)."}}],
        ContextLengthExceeded,
        "messages",
    ),
    "bedrock_context": (400, openai("Input is too long for requested model."), ContextLengthExceeded, "messages"),
    "tgi_context": (
        422,
        openai("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193."),
        ContextLengthExceeded,
        "messages",
    ),
    # nobody's
    "busy": (429, openai("Rate limit reached for org-abc", "rate_limit_exceeded", kind="tokens"), RateLimited),
    "timeout": (408, {}, GatewayTimeout),
    "overloaded": (529, {}, ServiceUnavailable),
    "broken": (520, {}, BadGateway),
    "teapot": (418, {}, BadGateway),
    "json_instead_of_a_stream": (200, {"id": "x", "choices": []}, BadGateway),
    "error_with_200": (200, {"error": {"code": 429, "message": SECRET}}, RateLimited),
    "nonsense": (500, {"error": {"message": [1], "code": {}, "type": 5, "param": 7, "data": [], "metadata": "x"}}, BadGateway),
    "deep": (500, b"[" * 60_000, BadGateway),
}
OF_MODEL = {"name_of_the_limit", "retired_model", "retired_model_as_400", "vllm_model", "model_of_others"}
FOR_OPERATORS = {BadGateway: "upstream_refused", ServiceUnavailable: "upstream_quota_exhausted"}
QUIRKS = {"max_tokens_field": "max_completion_tokens", "parameter_names": {"seed": "random_seed"}}


@pytest.mark.parametrize("name", REFUSALS)
async def test_refusal(name: str) -> None:
    status, body, kind, param, code = (*REFUSALS[name], None, None)[:5]
    async with FakeOpenAI() as fake:
        fake.queue(failing(status, body if isinstance(body, bytes) else json.dumps(body).encode()))
        with capture_logs() as logs:
            async with gateway(route_to(fake.base_url, QUIRKS)) as house:
                with pytest.raises(TollwayError) as caught:
                    await house.completion()

    error = caught.value
    if "operator" in error.message:
        assert error.retry_after_seconds == 300  # so that neither the router nor a client tries again at once
        code = FOR_OPERATORS[kind]
    assert (type(error), error.code, error.param) == (kind, code or kind.default_code, param)
    assert ("the content of this request" in error.message) == str(error.code).startswith("content_")
    assert kind is not RateLimited or error.retry_after_seconds == 10
    assert SECRET not in f"{error.message} {error.data}"
    assert (isinstance(error, BadGateway) and error.of_model) == (name in OF_MODEL)
    (entry,) = [entry for entry in logs if entry["event"] == "upstream_refused"]
    assert entry["upstream"] == "fake"
    assert entry["log_level"] == ("warning" if issubclass(kind, InvalidRequest) else "error")


async def test_the_log_has_the_upstreams_text_but_never_its_key() -> None:
    async with FakeOpenAI() as fake:
        text = f"Incorrect API key provided: {API_KEY}. " + "x" * 10_000
        fake.queue(
            Reply([json.dumps({"error": {"message": text}}).encode()], 401, {"x-request-id": "req_9"}, "application/json")
        )
        with capture_logs() as logs:
            async with gateway(route_to(fake.base_url)) as house:
                with pytest.raises(BadGateway):
                    await house.completion()

    (entry,) = [entry for entry in logs if entry["event"] == "upstream_refused"]
    assert entry["text"].startswith("Incorrect API key provided: ***. x")
    assert len(entry["text"]) == 500
    assert entry["upstream_request_id"] == "req_9"


async def test_an_answer_that_was_to_be_a_stream_is_not_logged() -> None:
    async with FakeOpenAI() as fake:
        answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": SECRET}, "finish_reason": "stop"}]}
        fake.queue(failing(200, json.dumps(answer).encode()))
        with capture_logs() as logs:
            async with gateway(route_to(fake.base_url)) as house:
                with pytest.raises(BadGateway):
                    await house.completion()

    assert "a whole answer instead of a stream" in repr(logs)
    assert SECRET not in repr(logs)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>" + b"x" * (500 - 6 - 10) + API_KEY.encode() + b"</html>",  # the text is cut in the midst of it
        json.dumps({"error": {"message": "x", "code": API_KEY, "type": API_KEY, "param": API_KEY}}).encode(),
    ],
    ids=["cut", "fields"],
)
async def test_no_part_of_the_key_gets_into_the_log(body: bytes) -> None:
    async with FakeOpenAI() as fake:
        fake.queue(Reply([body], 502, {"x-request-id": API_KEY}, "application/json"))
        with capture_logs() as logs:
            async with gateway(route_to(fake.base_url)) as house:
                with pytest.raises(BadGateway):
                    await house.completion()

    assert "***" in repr(logs)
    assert API_KEY[:8].lower() not in repr(logs).lower()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0"}, 1),
        ({"retry-after": "1.2"}, 2),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "99999999999"}, 3600),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 2),
        ({"retry-after": "Thu, 01 Jan 1970 00:16:50 GMT"}, 10),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 1),
    ],
)
def test_retry_after(monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], seconds: int | None) -> None:
    monkeypatch.setattr(clock, "now", lambda: 1000.0)

    assert retry_after_seconds(headers) == seconds


# --- what is refused before the upstream is asked ---------------------------------------------------------------------

TOOL = {"type": "function", "function": {"name": "f"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
PICTURE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}


@pytest.mark.parametrize(
    ("fields", "quirks", "without", "param"),
    [
        ({"top_k": 5}, {}, "", "top_k"),
        ({"min_p": 0.1}, {}, "", "min_p"),
        ({"n": 2}, {"refused_parameters": ["n"]}, "", "n"),
        ({"logprobs": True}, {"refused_parameters": ["logprobs"]}, "", "logprobs"),
        ({"tools": [TOOL], "tool_choice": "required"}, {"refused_parameters": ["tool_choice"]}, "", "tool_choice"),
        (
            {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
            {"refused_parameters": ["tool_choice"]},
            "",
            "function_call",
        ),
        ({"tools": [TOOL]}, {}, "tools", "tools"),
        ({"functions": [{"name": "f"}]}, {}, "tools", "functions"),
        ({"response_format": SCHEMA}, {}, "structured_output", "response_format"),
        ({"messages": [PICTURE]}, {}, "vision", "messages[0].content[0].image_url.url"),
    ],
)
async def test_what_the_route_cannot_honour(fields: dict[str, Any], quirks: dict[str, Any], without: str, param: str) -> None:
    route = route_to("http://unused", quirks, capabilities=tuple(name for name in CAPABILITIES if name != without))
    async with gateway(route) as house:
        with pytest.raises(UnsupportedParameter) as caught:
            await house.start(**fields)

    assert caught.value.param == param


async def test_an_image_is_fetched_by_us_unless_the_upstream_is_outside() -> None:
    async with FakeOpenAI() as fake:
        async with gateway(route_to(fake.base_url)) as house:
            with pytest.raises(UnsupportedParameter, match="switched off"):  # as it is in these tests
                await house.completion(messages=[PICTURE])
        async with gateway(route_to(fake.base_url, {"fetches_images": True})) as house:
            await house.completion(messages=[PICTURE])
            for url in ("http://169.254.169.254/", "file:///etc/passwd"):
                with pytest.raises(InvalidRequest) as caught:
                    await house.completion(
                        messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
                    )
                assert caught.value.code == "image_url_forbidden"

    assert [request["messages"] for request in fake.requests] == [[PICTURE]]


async def test_strict_parameters_allow_what_is_forwarded() -> None:
    async with FakeOpenAI(extra=["top_a"]) as fake:
        route = route_to(fake.base_url, {"extra_parameters": ["top_a"]})
        async with gateway(route, strict=True) as house:
            await house.completion(top_a=1)
            with pytest.raises(InvalidRequest) as caught:
                await house.start(top_a=1, top_b=2)

    assert caught.value.param == "top_b"
    assert fake.requests[0]["top_a"] == 1


async def test_a_route_that_does_not_take_a_field_is_left_out_where_that_is_strict() -> None:
    async with FakeOpenAI(extra=["top_a"]) as fake:
        takes = route_to(fake.base_url, {"extra_parameters": ["top_a"]})
        async with gateway(route_to("http://unused"), takes, strict=True) as house:
            answer = await house.start(top_a=1)
            await answer.completion()

    assert answer.ignored_parameters == []
    assert fake.requests[0]["top_a"] == 1


async def test_effort_is_a_listed_hint_where_nothing_thinks() -> None:
    async with FakeOpenAI() as fake, gateway(route_to(fake.base_url, capabilities=())) as house:
        answer = await house.start(reasoning_effort="high", messages=[USER])
        await answer.completion()

    assert answer.ignored_parameters == ["reasoning_effort"]
    assert "reasoning_effort" not in fake.requests[0]


async def test_tools_that_must_not_be_called_stay_out_where_the_model_knows_none() -> None:
    async with FakeOpenAI() as fake, gateway(route_to(fake.base_url, capabilities=())) as house:
        await house.completion(tools=[TOOL], tool_choice="none", parallel_tool_calls=True, messages=[USER])

    assert not {"tools", "tool_choice", "parallel_tool_calls"} & fake.requests[0].keys()


@pytest.mark.parametrize(("wanted", "ignored"), [(True, ["stream_options.include_obfuscation"]), (False, [])])
async def test_padding_against_eavesdroppers_is_not_to_be_had(wanted: bool, ignored: list[str]) -> None:
    async with FakeOpenAI() as fake, gateway(route_to(fake.base_url)) as house:
        answer = await house.start(stream_options={"include_usage": True, "include_obfuscation": wanted})
        await answer.completion()

    assert answer.ignored_parameters == ignored
