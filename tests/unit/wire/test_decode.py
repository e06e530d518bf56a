"""The decoder of chat requests: every bound of the contract from both sides, and nothing but TollwayErrors for any bytes."""

import contextlib
import json
import re
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollway.errors import InvalidRequest
from tollway.wire.chat import AssistantMessage
from tollway.wire.decode import FREE_FORM_BYTES_MAX, decode_chat_request
from tollway.wire.messages import ExtraContent, GoogleContent

USER = {"role": "user", "content": "Hello"}
BASE = {"model": "m", "messages": [USER]}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def body(**fields: Any) -> bytes:
    return json.dumps(BASE | fields).encode()


ACCEPTED: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 2},
    {"temperature": None},
    {"top_p": 0.01},
    {"top_p": 1},
    {"seed": 1},
    {"n": None},
    {"n": 128},
    {"max_tokens": 1},
    {"max_tokens": 1.5},
    {"max_completion_tokens": 1},
    {"frequency_penalty": None},
    {"frequency_penalty": -2},
    {"presence_penalty": 2},
    {"stop": None},
    {"stop": "x"},
    {"stop": ["a", "b", "c", "d"]},
    {"stop": []},
    {"stream": None},
    {"stream_options": {"include_usage": True}},
    {"reasoning_effort": "minimal"},
    {"reasoning_effort": "none"},
    {"reasoning_effort": "high"},
    {"response_format": {"type": "text"}},
    {"response_format": {"type": "json_object"}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "a-b_1", "schema": {}, "strict": None}}},
    {"tools": [TOOL]},
    {"tools": [{"type": "function", "function": {"name": "f"}}]},
    {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
    {"tools": [TOOL], "tool_choice": "required"},
    {"tool_choice": "none"},
    {"tools": []},
    {"logprobs": True, "top_logprobs": 20},
    {"logit_bias": {"50256": -100, "999999999": 1}},
    {"prediction": {"type": "content", "content": [{"type": "text", "text": "x"}]}},
    {"messages": [{"role": "developer", "content": "x"}, USER]},
    {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}]},
    {
        "messages": [
            USER,
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "x"}]},
        ]
    },
    {"messages": [USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}}]}]},
    {"metadata": {"a": "b"}, "store": True, "user": "u", "service_tier": "flex", "safety_identifier": "s"},
    {"functions": [{"name": "f"}], "function_call": {"name": "f"}},
    {"function_call": "none"},
    {"messages": [{"role": "assistant", "refusal": "no"}]},
    {"messages": [{"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}]},
    {"seed": 2.0**53 - 1},
]


@pytest.mark.parametrize("fields", ACCEPTED, ids=lambda fields: json.dumps(fields)[:60])
def test_what_the_contract_allows_is_accepted(fields: dict[str, Any]) -> None:
    assert decode_chat_request(body(**fields)).extra == {}


def test_a_whole_number_is_an_integer_however_it_is_written() -> None:
    text = b'{"model": "m", "messages": [{"role": "user", "content": "1.0"}], "seed": 7.0, "n": 2e0,'
    text += b' "max_completion_tokens": 10.0, "top_k": 40.00, "logprobs": true, "top_logprobs": 0.0,'
    text += b' "temperature": 1.0, "mine": [1.0, {"n": 2.0}]}'

    request = decode_chat_request(text)

    whole = [request.seed, request.n, request.max_completion_tokens, request.top_k, request.top_logprobs]
    assert [(number, type(number)) for number in whole] == [(7, int), (2, int), (10, int), (40, int), (0, int)]
    assert request.messages[0].content == "1.0"
    assert [*request.extra] == ["mine"]
    assert bytes(request.extra["mine"]) == b'[1.0, {"n": 2.0}]'


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": "1"}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_p": 0.009}, "top_p"),
    ({"top_p": 1.01}, "top_p"),
    ({"seed": 0}, "seed"),
    ({"seed": -1}, "seed"),
    ({"seed": 1.5}, "seed"),
    ({"seed": 1e300}, "seed"),
    ({"seed": 2.0**53}, "seed"),
    ({"seed": 0.0}, "seed"),
    ({"n": 129.0}, "n"),
    ({"n": 2.0, "top_k": 2.5}, "top_k"),
    ({"n": 0}, "n"),
    ({"n": 129}, "n"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
    ({"frequency_penalty": 2.01}, "frequency_penalty"),
    ({"presence_penalty": -2.01}, "presence_penalty"),
    ({"stream_options": {}}, "stream_options.include_usage"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "system", "content": "x", "extra": 1}]}, "messages[0].extra"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "ghost"}]}, "messages[0].tool_call_id"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"content": "x"}]}, "messages[0].role"),
    ({"messages": [USER, {"role": "assistant"}]}, "messages[1].content"),
    (
        {"messages": [USER, {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]}]},
        "messages[1].tool_calls[0].type",
    ),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [{"type": "file"}]}]}, "messages[0].content[0].type"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x", "detail": "ultra"}}]}]},
        "messages[0].content[0].image_url.detail",
    ),
    ({"tools": [{"type": "function", "function": {"name": "f", "extra": 1}}]}, "tools[0].function.extra"),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "a\n"}}]}, "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "x" * 65}}]}, "tools[0].function.name"),
    ({"tools": [TOOL, TOOL]}, "tools[1].function.name"),
    ({"tools": [TOOL] * 129}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice"),
    ({"tools": [TOOL], "functions": [{"name": "f"}]}, "functions"),
    ({"functions": [{"name": "f"}, {"name": "f"}]}, "functions[1].name"),
    ({"functions": [{"name": "f"}], "function_call": {"name": "g"}}, "function_call"),
    (
        {"functions": [{"name": "f"}], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        "tool_choice",
    ),
    ({"function_call": "auto"}, "function_call"),
    ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.name"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "q": 1}}}, "response_format.json_schema.q"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"reasoning_effort": "xhigh"}, "reasoning_effort"),
    ({"stop": ["a"] * 5}, "stop"),
    ({"stop": ""}, "stop"),
    ({"top_logprobs": 5}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"logit_bias": {"x": 1}}, "logit_bias"),
    ({"logit_bias": {"1234567890": 1}}, "logit_bias"),
    ({"logit_bias": {"\N{ARABIC-INDIC DIGIT ONE}": 1}}, "logit_bias"),
    ({"logit_bias": {"1": 101}}, "logit_bias[...]"),
    ({"model": 5}, "model"),
    ({"model": ""}, "model"),
    ({"messages": [USER] * 4097}, "messages"),
]


@pytest.mark.parametrize(("fields", "param"), REFUSED, ids=lambda value: json.dumps(value)[:60])
def test_what_the_contract_forbids_is_a_400_that_names_the_parameter(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_chat_request(body(**fields))

    assert (caught.value.status, caught.value.param) == (400, param)
    assert param.rpartition(".")[2].partition("[")[0] in caught.value.message


def test_what_is_wrong_is_not_said_back_at_any_length() -> None:
    with pytest.raises(InvalidRequest, match=r"response_format\.type: Invalid") as caught:
        decode_chat_request(body(response_format={"type": "x - at `$.y` " * 50_000}))

    assert (caught.value.param, len(caught.value.message) < 500) == ("response_format.type", True)


CUSTOM = {"type": "custom", "custom": {"name": "f"}}
ALLOWED = {
    "type": "allowed_tools",
    "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
}
CALLED = {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}]}


@pytest.mark.parametrize(
    ("fields", "param", "instead"),
    [
        ({"tools": [TOOL], "tool_choice": ALLOWED}, "tool_choice.type", "leave the others out"),
        ({"tools": [TOOL], "tool_choice": CUSTOM}, "tool_choice.type", "use a function"),
        ({"tools": [TOOL, CUSTOM]}, "tools[1].type", "use a function"),
        ({"tools": [dict(reversed(CUSTOM.items()))]}, "tools[0].custom", "use a function"),
        ({"messages": [USER, CALLED]}, "messages[1].tool_calls[0].type", "use a function"),
    ],
)
def test_tools_of_other_kinds_are_told_to_be_unsupported(fields: dict[str, Any], param: str, instead: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_chat_request(body(**fields))
    assert (caught.value.param, caught.value.code) == (param, "unsupported_parameter")
    assert instead in caught.value.message


PART = {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}, "modalities"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, PART]}]}, "messages[0].content[1].type"),
    ],
)
def test_audio_is_told_to_be_unsupported(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_chat_request(body(**fields))

    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "unsupported_parameter", param)


@pytest.mark.parametrize("modalities", [["text"], ["text", "image"], [], None, "audio", {"audio": 1}])
def test_other_modalities_and_the_voice_of_no_audio_are_left_to_the_route(modalities: Any) -> None:
    request = decode_chat_request(body(modalities=modalities, audio={"voice": "alloy", "format": "wav"}))

    assert [*request.extra] == ["modalities", "audio"]


@pytest.mark.parametrize(
    "raw",
    [b"", b"  ", b"{", b"[]", b"null", b'"x"', b"\xff", b"\x00", b'{"model":"m" "x":1}', b'{"model":"m"}', b"{}"],
)
def test_what_is_no_request_is_a_400(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_chat_request(raw)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b'{"model":"m" "x":1}', "byte 13"),
        (b'{"model":"m"', "ends too early (byte 12)"),
        (b'{"model":"\\ud83d', "half of a surrogate pair (byte 10)"),
        (b'{"model":"\\ud83d\\ude0', "half of a surrogate pair (byte 10)"),
        (b" ", "is empty"),
    ],
)
def test_malformed_json_names_its_position(raw: bytes, fault: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(fault)) as caught:
        decode_chat_request(raw)
    assert (caught.value.code, caught.value.param) == ("invalid_json", None)


@pytest.mark.parametrize(
    ("raw", "code", "param"),
    [
        (b"[]", "invalid_type", None),
        (body(n="1"), "invalid_type", "n"),
        (body(n=0), "invalid_value", "n"),
        (body(tools=[{"type": "function"}]), "missing_required_parameter", "tools[0].function"),
        (b"{}", "missing_required_parameter", "model"),
        (body(response_format={"type": "text", "x": 1}), "unknown_parameter", "response_format.x"),
    ],
)
def test_the_kind_of_fault_is_a_code(raw: bytes, code: str, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_chat_request(raw)
    assert (caught.value.code, caught.value.param) == (code, param)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("place", [b'{"zz":%s}', b'{"model":"m","messages":%s}', b'{"tools":[{"function":{"parameters":%s}}]}'])
def test_deep_nesting_is_a_400(opening: bytes, place: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_chat_request(place % (opening * 100_000))


def test_unknown_fields_are_told() -> None:
    assert [*decode_chat_request(body(frobnicate=1, top_q=None)).extra] == ["frobnicate", "top_q"]


def test_more_fields_than_anybody_needs_are_not_even_counted() -> None:
    fields = b"".join(b',"%x":0' % number for number in range(500_000))
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequest, match="more than 10,000 fields"):
            decode_chat_request(b'{"model":"m","messages":[{"role":"user","content":"a"}]' + fields + b',"n":1.0,"seed":1.0}')
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 10_000_000


ARRAYS = b"[" + b",".join([b"[0]"] * 300_000) + b"]"
PLACES = {
    "response_format": b'"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"enum":%b}}}',
    "tools": b'"tools":[{"type":"function","function":{"name":"f","parameters":{"enum":%b}}}]',
    "functions": b'"functions":[{"name":"f","parameters":{"enum":%b}}]',
    "modalities": b'"modalities":%b',
    "stop": b'"stop":%b',
}
WITH = b'{"model":"m","messages":[{"role":"user","content":"a"}],%b}'


@pytest.mark.parametrize("name", PLACES)
def test_what_may_be_any_json_is_a_megabyte_at_the_most(name: str) -> None:
    with pytest.raises(InvalidRequest, match="1,000,000 are the most") as caught:
        decode_chat_request(WITH % (PLACES[name] % ARRAYS))
    assert caught.value.param == name


def test_a_megabyte_is_taken() -> None:
    text = "x" * (FREE_FORM_BYTES_MAX - 2)
    request = decode_chat_request(body(stop=text, user="more"))
    assert request.stop == text

    with pytest.raises(InvalidRequest, match="1,000,000 are the most"):
        decode_chat_request(body(stop=f"{text}x"))


def test_nor_is_it_taken_in_a_field_that_stands_twice() -> None:
    with pytest.raises(InvalidRequest, match="stand twice"):
        decode_chat_request(WITH % b",".join([PLACES["tools"] % ARRAYS, b'"tools":[]']))


def test_what_comes_with_a_call_and_nobody_knows_is_passed_over() -> None:
    extra = b'{"google":{"thought_signature":"s","x":%b},"y":%b}' % (ARRAYS, ARRAYS)
    call = b'{"id":"a","type":"function","function":{"name":"f","arguments":"{}"},"extra_content":%b}' % extra
    tracemalloc.start()
    try:
        text = b'{"model":"m","messages":[{"role":"user","content":"a"},{"role":"assistant","tool_calls":[%b]}]}'
        request = decode_chat_request(text % call)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    (answered,) = (message for message in request.messages if isinstance(message, AssistantMessage))
    assert answered.tool_calls is not None
    assert answered.tool_calls[0].extra_content == ExtraContent(GoogleContent("s"))
    assert peak_bytes < 10_000_000


def test_unknown_fields_keep_their_values_as_they_came() -> None:
    text = b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "extra": {"a": 1e0, "b": 1%s}}' % (b"0" * 30)
    request = decode_chat_request(text)

    assert bytes(request.extra["extra"]) == b'{"a": 1e0, "b": 1%s}' % (b"0" * 30)
    assert decode_chat_request(body()).extra == {}


def test_unknown_fields_are_text_too() -> None:
    with pytest.raises(InvalidRequest, match="not UTF-8"):
        decode_chat_request(b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "extra": "\xff"}')


def test_max_completion_tokens_wins_and_a_fraction_is_floored() -> None:
    assert decode_chat_request(body(max_tokens=7.9)).output_tokens_max == 7
    assert decode_chat_request(body(max_tokens=7, max_completion_tokens=3)).output_tokens_max == 3


def test_legacy_functions_become_tools() -> None:
    request = decode_chat_request(body(functions=[{"name": "f"}], function_call={"name": "f"}))

    assert request.uses_legacy_functions
    assert [tool.function.name for tool in request.tools or []] == ["f"]
    assert (
        request.tool_choice
        == decode_chat_request(body(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "f"}})).tool_choice
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=10,
)
fields = st.sampled_from([*sorted(decode_chat_request(body()).__struct_fields__), "unknown"])


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(fields, json_values))
def test_any_json_is_a_request_or_a_400(value: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidRequest):  # anything else fails
        decode_chat_request(json.dumps(BASE | value).encode("utf-8", "surrogatepass"))


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_400(raw: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_chat_request(raw)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"reasoning_effort": "xhigh"}, "'xhigh'; it may be `high`, `low`, `medium`, `minimal`, `none`."),
        ({"response_format": {"type": "xml"}}, "'xml'; it may be `json_object`, `json_schema`, `text`."),
        (
            {"tools": [{"type": "function", "function": {"name": "a.b"}}]},
            "name: Expected letters, digits, `_` and `-`; at most 64.",
        ),
    ],
)
def test_an_error_says_what_may_stand_there(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(said)):
        decode_chat_request(body(**fields))


def test_files_are_told_to_be_unsupported() -> None:
    with pytest.raises(InvalidRequest, match="No model here takes files") as caught:
        decode_chat_request(body(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]))

    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "messages[0].content[0].type")
