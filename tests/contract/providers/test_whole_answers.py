"""Short answers for callers who wait for the whole: asked for and read in one piece, and the same as if they were streamed."""

import json
from typing import Any

import pytest
from msgspec import structs
from tests.contract.providers.limits import BRIEF
from tests.contract.providers.openai_support import gateway, route_to
from tests.fakes.faults import Hang, Reply
from tests.fakes.openai import FakeOpenAI, chunk, stream_reply
from tests.fakes.server import left_within

from tollway.errors import BadGateway, GatewayTimeout, TollwayError
from tollway.providers.openai_request import WHOLE_TOKENS_MAX

USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
LOGPROB = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}


def whole(*choices: dict[str, Any], **fields: Any) -> Reply:
    answer = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": list(choices), "usage": USAGE}
    return Reply([json.dumps(answer | fields).encode()], content_type="application/json; charset=utf-8")


def said(message: dict[str, Any], finish_reason: str | None = "stop", **fields: Any) -> dict[str, Any]:
    return {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish_reason, **fields}


@pytest.mark.parametrize(
    ("fields", "streams"),
    [
        ({"max_tokens": WHOLE_TOKENS_MAX}, False),
        ({"max_completion_tokens": 10}, False),
        ({"max_tokens": WHOLE_TOKENS_MAX + 1}, True),
        ({"max_tokens": WHOLE_TOKENS_MAX // 2 + 1, "n": 2}, True),
        ({"max_tokens": 10, "stream": True}, True),
        ({}, True),
    ],
)
async def test_what_the_upstream_is_asked(fields: dict[str, Any], streams: bool) -> None:
    async with FakeOpenAI() as fake, gateway(route_to(fake.base_url)) as house:
        if fields.get("stream"):
            await house.chunks(**{name: value for name, value in fields.items() if name != "stream"})
        else:
            answer = await house.completion(**fields)
            assert answer["choices"][0]["message"]["content"] == "".join(FakeOpenAI.TEXT)
            assert answer["usage"]["completion_tokens"] == 4 * fields.get("n", 1)

    assert bool(json.loads(fake.received[0].body).get("stream")) == streams
    assert fake.complaints == []
    assert house.http.in_use == 0


@pytest.mark.parametrize(("default", "streams"), [(WHOLE_TOKENS_MAX, False), (WHOLE_TOKENS_MAX + 1, True)])
async def test_a_model_may_have_a_limit_for_requests_without_one(default: int, streams: bool) -> None:
    async with FakeOpenAI() as fake, gateway(structs.replace(route_to(fake.base_url), output_default=default)) as house:
        await house.completion()

    body = json.loads(fake.received[0].body)
    assert (body["max_completion_tokens"], bool(body.get("stream"))) == (default, streams)


async def test_no_answer_may_be_longer_than_what_is_held_for_it() -> None:
    async with FakeOpenAI() as fake, gateway(structs.replace(route_to(fake.base_url), output_max=20)) as house:
        for fields in ({}, {"max_tokens": 200}, {"max_completion_tokens": 7}):
            await house.completion(**fields)

    assert [json.loads(received.body)["max_completion_tokens"] for received in fake.received] == [20, 20, 7]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (said({"content": "Hi"}, "length"), {"content": "Hi"}),
        (said({"content": "Hi", "reasoning": "I think."}), {"content": "Hi", "reasoning_content": "I think."}),
        (said({"content": None, "refusal": "No."}), {"refusal": "No."}),
        (said({"content": None, "tool_calls": [CALL, CALL | {"id": "call_2"}]}, "tool_calls"), {"tool_calls": 2}),
        (said({"content": "Hi"}, logprobs={"content": [LOGPROB]}), {"content": "Hi"}),
    ],
)
async def test_what_is_in_it_comes_through(choice: dict[str, Any], expected: dict[str, Any]) -> None:
    async with FakeOpenAI() as fake, gateway(route_to(fake.base_url)) as house:
        fake.queue(whole(choice))
        answer = await house.completion(max_tokens=5, logprobs="logprobs" in choice)

    got = answer["choices"][0]
    assert got["finish_reason"] == choice["finish_reason"]
    calls = got["message"].get("tool_calls")
    assert {name: got["message"].get(name) for name in expected if name != "tool_calls"} == {
        name: value for name, value in expected.items() if name != "tool_calls"
    }
    if calls or "tool_calls" in expected:
        assert [call["function"]["arguments"] for call in calls] == ['{"a": 1}'] * expected["tool_calls"]
    if "logprobs" in choice:
        assert [entry["token"] for entry in got["logprobs"]["content"]] == ["Hi"]
    assert answer["usage"]["prompt_tokens"] == 9


async def test_an_upstream_that_streams_all_the_same() -> None:
    async with FakeOpenAI() as fake, gateway(route_to(fake.base_url)) as house:
        fake.queue(stream_reply([chunk({"content": "Hi"}), chunk({}, finish_reason="stop", usage=USAGE)]))
        answer = await house.completion(max_tokens=5)

    assert answer["choices"][0]["message"]["content"] == "Hi"
    assert answer["usage"]["total_tokens"] == 14


@pytest.mark.parametrize(
    "reply",
    [
        Reply([b"{"], content_type="application/json"),
        Reply([b"[]"], content_type="application/json"),
        Reply([b""], content_type="application/json"),
        Reply([b"<html>"], content_type="text/html"),
        whole(),
        whole(said({"content": "Hi"}, None)),
        whole(said({"content": "Hi"}, "nobody_knows")),
        whole(said({"content": "Hi"}), said({"content": "Hi"}, index=1)),
        whole(error={"message": "out of memory", "code": 500}),
        Reply([b'{"choices": [{"message": {"content": "' + b"x" * (17 << 20)], content_type="application/json"),
    ],
    ids=["half", "no-object", "nothing", "html", "no-choice", "no-end", "odd-end", "too-many", "error", "endless"],
)
async def test_what_is_no_sound_answer_is_an_error_and_free(reply: Reply) -> None:
    async with FakeOpenAI() as fake, gateway(route_to(fake.base_url)) as house:
        fake.queue(reply)
        with pytest.raises(TollwayError) as caught:
            await house.completion(max_tokens=5)

    assert isinstance(caught.value, BadGateway)
    assert house.http.in_use == 0


async def test_it_must_come_within_the_time_of_a_first_token() -> None:
    async with FakeOpenAI() as fake, gateway(route_to(fake.base_url, limits=BRIEF)) as house:
        fake.queue(Reply([Hang()], content_type="application/json"))
        with pytest.raises(GatewayTimeout):
            await house.completion(max_tokens=5)

        assert await left_within(fake.received[0], 5)
