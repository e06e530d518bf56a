"""OpenAI's own client, in front of a whole Tollway, in front of a fake upstream."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from openai import APIError, APIStatusError, AsyncOpenAI, BadRequestError, RateLimitError
from openai.types.chat import ChatCompletionMessageParam
from tests.fakes.faults import FAULTS
from tests.fakes.openai import API_KEY, FakeOpenAI, chunk, error_reply, stream_reply
from tests.live import LiveServer, serving

MODEL = "house/model"
CONFIGURATION = """
[upstreams.fake]
provider = "openai"
base_url = "{base_url}"
key_file = "fake.key"
attempts_max = 1
breaker_failures = 0

[[models]]
id = "house/model"
name = "Model"
developer = "House"
description = "The fake upstream's."
context_length = 8192
output_max = 4096
capabilities = ["streaming", "tools", "structured_output"]
price = {{ prompt = "1", completion = "2" }}
routes = [{{ upstream = "fake", model = "fake-model" }}]
"""
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as server:
        yield server


def configured(home: Path, fake: FakeOpenAI) -> Path:
    home.mkdir()
    (home / "tollway.toml").write_text(CONFIGURATION.format(base_url=fake.base_url))
    (home / "fake.key").write_text(API_KEY)
    return home


@pytest.fixture(scope="module")
async def live(fake: FakeOpenAI, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveServer]:
    service = serving(configured(tmp_path_factory.mktemp("remote") / "home", fake), local_models="none")
    server = await asyncio.to_thread(service.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(service.__exit__, None, None, None)


@pytest.fixture
async def client(live: LiveServer) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key=live.key, base_url=live.base_url, max_retries=0) as opened:
        yield opened


async def test_completion_and_stream(client: AsyncOpenAI, fake: FakeOpenAI) -> None:
    completion = await client.chat.completions.create(model=MODEL, messages=HELLO, n=2)
    stream = await client.chat.completions.create(
        model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    events = [event async for event in stream]

    assert [choice.message.content for choice in completion.choices] == ["Grüße aus Köln!"] * 2
    assert completion.model == MODEL
    assert completion.usage is not None
    assert completion.usage.total_tokens == 17
    assert "".join(event.choices[0].delta.content or "" for event in events if event.choices) == "Grüße aus Köln!"
    assert events[-1].usage is not None
    assert events[-1].usage.total_tokens == 13
    assert fake.complaints == []


@pytest.mark.parametrize("fault", ["cut_midway", "reset_midway", "ends_early", "truncated_utf8", "garbage_event"])
async def test_the_client_raises_on_a_broken_stream(client: AsyncOpenAI, fake: FakeOpenAI, fault: str) -> None:
    good = stream_reply([*(chunk({"content": text}) for text in ("Hällo", " Wörld", "!")), chunk({}, finish_reason="stop")])
    fake.queue(FAULTS[fault](good))
    reasons = []
    with pytest.raises(APIError) as caught:  # noqa: PT012 - the error may come with the first byte or with any later one
        stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        async for event in stream:
            reasons.append(event.choices[0].finish_reason)  # noqa: PERF401

    assert set(reasons) <= {None}
    assert "upstream" in caught.value.message


async def test_what_the_client_raises_for_refusals(client: AsyncOpenAI, fake: FakeOpenAI) -> None:
    fake.queue(
        error_reply(400, "secret", code="unsupported_value", param="temperature"),
        error_reply(429, "secret", code="rate_limit_exceeded", retry_after="7"),
        error_reply(401, f"Incorrect API key provided: {API_KEY}", code="invalid_api_key"),
    )
    caught: list[APIStatusError] = []
    for kind in (BadRequestError, RateLimitError, APIStatusError):
        with pytest.raises(kind) as each:
            await client.chat.completions.create(model=MODEL, messages=HELLO)
        caught.append(each.value)

    assert [(error.status_code, error.code, error.param) for error in caught] == [
        (400, "unsupported_value", "temperature"),
        (429, "rate_limit_exceeded", None),
        (502, "upstream_refused", None),
    ]
    assert caught[1].response.headers["retry-after"] == "7"
    for error in caught:
        shown = f"{error.response.text} {dict(error.response.headers)}"
        assert not any(word in shown for word in ("secret", API_KEY, fake.url, fake.url.rpartition(":")[2]))


async def test_one_that_leaves_is_gone_upstream_too(client: AsyncOpenAI, fake: FakeOpenAI) -> None:
    fake.queue(FAULTS["stall_after_first_event"](stream_reply([chunk({"content": text}) for text in "ab"])))
    stream = await client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    await anext(stream)
    await stream.close()

    async with asyncio.timeout(2):  # the HTTP server has to notice first
        await fake.received[-1].left.wait()
