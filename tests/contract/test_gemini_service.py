"""The reference model as Gemini, with the official SDK at one end and the strict fake at the other, and the service between."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from openai import AsyncOpenAI, BadRequestError, InternalServerError, RateLimitError
from pydantic import BaseModel
from tests.fakes.faults import FAULTS, Reply, Wait, failing
from tests.fakes.gemini import HELLO, KEY, FakeGemini, error_reply, event, framed, signature, streamed, text_event, usage
from tests.fakes.gemini_rules import Refusal
from tests.live import MODEL, serving

PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


class City(BaseModel):
    size: Literal["small", "large"]
    capital: bool


@dataclass
class Service:
    gemini: FakeGemini
    client: AsyncOpenAI
    log: Path

    async def ask(self, content: Any = "Hello", **fields: Any) -> Any:
        user = {"role": "user", "content": content}
        messages: Any = content if isinstance(content, list) and "role" in content[0] else [user]
        return await self.client.chat.completions.create(model=MODEL, messages=messages, **fields)


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    home = tmp_path_factory.mktemp("gemini") / "home"
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEMINI_API_KEY", KEY)
        async with FakeGemini() as gemini:
            limits = "first_token_seconds = 1\nbetween_tokens_seconds = 1\nattempts_max = 1\nbreaker_failures = 0\n"
            (home / "tollway.toml").write_text(f'[upstreams.gemini]\nbase_url = "{gemini.base_url}"\n{limits}')
            with serving(home, home.parent / "models", local_models="none", log_format="json") as server:
                async with AsyncOpenAI(base_url=server.base_url, api_key=server.key, max_retries=0) as client:
                    yield Service(gemini, client, home.parent / "home.log")


@pytest.fixture
async def service(running: Service) -> AsyncIterator[Service]:
    running.gemini.complaints.clear()
    running.gemini.received.clear()
    yield running
    assert running.gemini.complaints == []


async def test_a_stream_with_a_thought(service: Service) -> None:
    stream = await service.ask(stream=True, reasoning_effort="low", stream_options={"include_usage": True})
    chunks = [chunk async for chunk in stream]

    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "Hello wörld"
    assert "".join(getattr(delta, "reasoning_content", "") for delta in deltas) == "The user wants an answer."
    assert chunks[-1].usage.completion_tokens_details.reasoning_tokens == 5
    assert chunks[-1].model_extra["meta"]["usage"]["credits_used"] > 0


async def test_tools_there_and_back_with_the_thoughts_signature(service: Service) -> None:
    call = {"functionCall": {"name": "get_weather", "args": {"city": "Oslo"}}, "thoughtSignature": signature()}
    service.gemini.queue(streamed(event([call], finish="STOP", usage=usage(9, 4, 2))))
    first = await service.ask("Weather in Oslo?", tools=TOOLS, tool_choice="required")
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Oslo"}

    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": '{"c": 4}'}
    conversation = [{"role": "user", "content": "Weather in Oslo?"}, message.model_dump(exclude_none=True), result]
    second = await service.ask(conversation, tools=TOOLS)

    assert second.choices[0].message.content == 'It says: [{"c": 4.0}]'
    model_turn = service.gemini.bodies[1]["contents"][1]
    assert model_turn["parts"][0]["thoughtSignature"] == signature()


async def test_a_schema_is_parsed_and_an_image_is_seen(service: Service) -> None:
    parsed = await service.client.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": "Is Paris big?"}], response_format=City
    )
    assert isinstance(parsed.choices[0].message.parsed, City)

    await service.ask([{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": PNG}}])
    assert service.gemini.bodies[-1]["contents"][0]["parts"][1]["inlineData"]["mimeType"] == "image/png"


async def test_several_choices_and_what_is_ignored(service: Service) -> None:
    answer = await service.client.chat.completions.with_raw_response.create(
        model=MODEL, messages=[{"role": "user", "content": "Hi"}], n=3, presence_penalty=1, user="u"
    )

    assert [choice.index for choice in answer.parse().choices] == [0, 1, 2]
    assert answer.headers["x-tollway-ignored-parameters"] == "user, presence_penalty"
    assert len(service.gemini.bodies) == 3


async def test_errors_are_the_sdks_own_and_tell_nothing_of_the_upstream(service: Service) -> None:
    service.gemini.queue(
        error_reply(Refusal(429, "RESOURCE_EXHAUSTED", "project-12345 exceeded"), in_array=True, retry_after="7"),
        failing(404, b'{"error": {"code": 404, "message": "models/x is retired for project-12345", "status": "NOT_FOUND"}}'),
        error_reply(Refusal(400, "INVALID_ARGUMENT", "contents of project-12345")),
    )
    with pytest.raises(RateLimitError) as limited:
        await service.ask()
    assert limited.value.response.headers["retry-after"] == "7"
    with pytest.raises(InternalServerError) as gone:
        await service.ask()
    assert gone.value.code == "upstream_refused"
    with pytest.raises(BadRequestError) as bad:
        await service.ask()
    assert bad.value.param == "messages"
    with pytest.raises(BadRequestError) as unsupported:
        await service.ask(logprobs=True)
    assert (unsupported.value.code, unsupported.value.param) == ("unsupported_parameter", "logprobs")

    for error in (limited, gone, bad):
        assert "project-12345" not in f"{error.value} {error.value.body}"
    assert "project-12345" in service.log.read_text()
    assert KEY not in service.log.read_text()


@pytest.mark.parametrize("fault", ["reset_midway", "ends_early", "garbage_event", "stall_after_first_event", "truncated_utf8"])
async def test_sdks_raise_on_a_broken_stream(service: Service, fault: str) -> None:
    service.gemini.queue(FAULTS[fault](streamed(text_event("He"), *HELLO)))
    seen: list[Any] = []
    with pytest.raises(Exception, match=r"upstream|502|504") as caught:
        await read(await service.ask(stream=True), seen)

    assert type(caught.value).__module__.startswith("openai")
    assert not any(choice.finish_reason for chunk in seen for choice in chunk.choices)


async def read(stream: Any, into: list[Any]) -> None:
    async for chunk in stream:
        into.append(chunk)  # noqa: PERF401  (what came before an error counts)


async def test_a_caller_who_leaves_ends_the_upstreams_call(service: Service) -> None:
    slow = [step for each in framed(*[text_event("x") for _ in range(200)]).steps for step in (each, Wait(0.05))]
    service.gemini.queue(Reply(slow))
    stream = await service.ask(stream=True)
    await anext(aiter(stream))
    await stream.close()

    async with asyncio.timeout(1):
        await service.gemini.received[0].left.wait()
