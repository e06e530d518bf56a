"""The `openai` package works with nothing changed but the base URL and the key."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal

import pytest
from openai import (
    APIStatusError,
    AsyncOpenAI,
    AuthenticationError,
    BadRequestError,
    LengthFinishReasonError,
    NotFoundError,
    OpenAI,
    RateLimitError,
    pydantic_function_tool,
)
from pydantic import BaseModel, Field
from tests.live import LOCAL_MODEL, MODEL, LiveServer, serving

Fields = dict[str, Any]
HELLO: Fields = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}]}
WEATHER: Fields = {"model": MODEL, "messages": [{"role": "user", "content": "What is the weather in Paris in celsius?"}]}


class City(BaseModel):
    size: Literal["small", "large"]
    capital: bool


class Trip(BaseModel):
    """Nested, with a list, an optional field and a description."""

    to: City
    by: list[Literal["bus", "train"]] = Field(min_length=1, max_length=2, description="What one goes by.")
    class_: Literal[1, 2] | None


class GetWeather(BaseModel):
    """The weather of a place."""

    unit: Literal["celsius", "fahrenheit"]
    city: Literal["Paris", "Rome"]


class GetTime(BaseModel):
    """The time of day."""

    zone: Literal["UTC", "CET"]


TOOLS: Any = [pydantic_function_tool(GetWeather), pydantic_function_tool(GetTime)]


@pytest.fixture(scope="module")
def client(server: LiveServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0) as client:
        yield client


@pytest.fixture
async def async_client(server: LiveServer) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=server.base_url, api_key=server.key, max_retries=0) as client:
        yield client


# --- answers ----------------------------------------------------------------------------------------------------------


def test_a_completion(client: OpenAI) -> None:
    completion = client.chat.completions.create(**HELLO, max_tokens=8)

    assert completion.model == LOCAL_MODEL
    assert completion.choices[0].message.role == "assistant"
    assert completion.choices[0].message.content
    assert completion.usage is not None
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    assert completion.model_extra is not None
    assert completion.model_extra["meta"]["usage"]["credits_used"] > 0


def test_a_stream(client: OpenAI) -> None:
    with client.chat.completions.create(**HELLO, max_tokens=8, stream=True, stream_options={"include_usage": True}) as stream:
        *chunks, last = stream

    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason in {"stop", "length"}
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens > 0


async def test_the_async_client(async_client: AsyncOpenAI) -> None:
    completion, stream = await asyncio.gather(
        async_client.chat.completions.create(**HELLO, max_tokens=8, temperature=0),
        async_client.chat.completions.create(**HELLO, max_tokens=8, temperature=0, stream=True),
    )

    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert text == completion.choices[0].message.content


def test_several_choices(client: OpenAI) -> None:
    completion = client.chat.completions.create(**HELLO, n=3, max_tokens=4, temperature=1)

    assert [choice.index for choice in completion.choices] == [0, 1, 2]


def test_the_events_of_several_choices(client: OpenAI) -> None:
    texts = [""] * 3
    with client.chat.completions.stream(**HELLO, n=3, max_tokens=6, temperature=1) as stream:
        for event in stream:
            if event.type == "chunk":
                for choice in event.chunk.choices:
                    texts[choice.index] += choice.delta.content or ""
        completion = stream.current_completion_snapshot

    assert [(choice.index, choice.message.content) for choice in completion.choices] == list(enumerate(texts))


def test_logprobs(client: OpenAI) -> None:
    completion = client.chat.completions.create(**HELLO, max_tokens=4, temperature=0, logprobs=True, top_logprobs=2)

    logprobs = completion.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert completion.usage is not None
    assert len(logprobs.content) == completion.usage.completion_tokens
    assert all(len(entry.top_logprobs) == 2 and entry.bytes is not None for entry in logprobs.content)


def test_raw_headers(client: OpenAI) -> None:
    response = client.chat.completions.with_raw_response.create(
        **HELLO, max_tokens=2, user="u", extra_headers={"X-Client-Request-Id": "mine"}, extra_body={"frobnicate": 1}
    )

    assert response.headers["x-client-request-id"] == "mine"
    assert response.headers["x-tollway-ignored-parameters"] == "frobnicate, user"
    assert response.headers["x-tollway-stand-in"] == "true"
    assert response.request_id == response.headers["x-request-id"]
    assert response.parse()._request_id == response.headers["x-request-id"]  # where the SDK keeps it


# --- structured answers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [City, Trip])
def test_parse_gives_an_instance(client: OpenAI, shape: type[BaseModel]) -> None:
    completion = client.chat.completions.parse(**HELLO, response_format=shape, max_tokens=100)

    assert isinstance(completion.choices[0].message.parsed, shape)


async def test_parse_async(async_client: AsyncOpenAI) -> None:
    completion = await async_client.chat.completions.parse(**HELLO, response_format=City, max_tokens=60)

    assert isinstance(completion.choices[0].message.parsed, City)


@pytest.mark.parametrize("strict", [True, False, None])
def test_a_schema_holds_whether_strict_or_not(client: OpenAI, strict: bool | None) -> None:
    schema = Trip.model_json_schema() | {"additionalProperties": False}
    answer_format: Any = {"type": "json_schema", "json_schema": {"name": "trip", "schema": schema, "strict": strict}}

    completion = client.chat.completions.create(**HELLO, response_format=answer_format, max_tokens=100)

    Trip.model_validate_json(completion.choices[0].message.content or "")


def test_any_json_object(client: OpenAI) -> None:
    # what it says is up to the model, so it may not be done when the tokens are
    completion = client.chat.completions.create(**HELLO, response_format={"type": "json_object"}, max_tokens=40)

    content = completion.choices[0].message.content or ""
    assert content.lstrip().startswith("{")
    if completion.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(content), dict)


def test_an_answer_that_was_cut_off_is_no_instance(client: OpenAI) -> None:
    with pytest.raises(LengthFinishReasonError):
        client.chat.completions.parse(**HELLO, response_format=City, max_tokens=1)


def test_the_events_of_a_structured_stream(client: OpenAI) -> None:
    with client.chat.completions.stream(**HELLO, response_format=City, max_tokens=60) as stream:
        events = list(stream)
        completion = stream.get_final_completion()

    deltas = [event.delta for event in events if event.type == "content.delta"]
    [done] = [event for event in events if event.type == "content.done"]
    assert "".join(deltas) == done.content == completion.choices[0].message.content
    assert isinstance(done.parsed, City)
    assert done.parsed == completion.choices[0].message.parsed


# --- tools ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "GetTime"}}])
def test_a_forced_call_is_parsed(client: OpenAI, choice: Any) -> None:
    completion = client.chat.completions.parse(**WEATHER, tools=TOOLS, tool_choice=choice, max_tokens=100)

    assert completion.choices[0].finish_reason == "tool_calls"
    calls = completion.choices[0].message.tool_calls
    assert calls
    assert all(call.id and isinstance(call.function.parsed_arguments, GetWeather | GetTime) for call in calls)
    if choice != "required":
        assert {call.function.name for call in calls} == {"GetTime"}


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_an_unforced_call_may_come_or_not(client: OpenAI, choice: Any) -> None:
    completion = client.chat.completions.create(**WEATHER, tools=TOOLS, tool_choice=choice, max_tokens=40)

    message = completion.choices[0].message
    assert (choice == "none" and message.content and not message.tool_calls) or choice == "auto"
    for call in message.tool_calls or []:
        assert call.type == "function"
        assert call.function.name in {"GetWeather", "GetTime"}


def test_without_parallel_calls_there_is_one(client: OpenAI) -> None:
    completion = client.chat.completions.create(
        **WEATHER, tools=TOOLS, tool_choice="required", parallel_tool_calls=False, max_tokens=100
    )

    assert completion.choices[0].message.tool_calls is not None
    assert len(completion.choices[0].message.tool_calls) == 1


def test_the_events_of_a_streamed_call(client: OpenAI) -> None:
    choice: Any = {"type": "function", "function": {"name": "GetWeather"}}
    with client.chat.completions.stream(
        **WEATHER, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False, max_tokens=100
    ) as stream:
        events = list(stream)
        completion = stream.get_final_completion()

    deltas = [event.arguments_delta for event in events if event.type == "tool_calls.function.arguments.delta"]
    [done] = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    assert "".join(deltas) == done.arguments
    assert isinstance(done.parsed_arguments, GetWeather)
    calls = completion.choices[0].message.tool_calls
    assert calls is not None
    assert [call.function.parsed_arguments for call in calls] == [done.parsed_arguments]


def test_the_result_of_a_call_is_answered(client: OpenAI) -> None:
    choice: Any = {"type": "function", "function": {"name": "GetWeather"}}
    first = client.chat.completions.create(
        **WEATHER, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False, max_tokens=100
    )
    message = first.choices[0].message
    assert message.tool_calls
    result: Any = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "21 degrees, sunny"}

    messages: Any = [*WEATHER["messages"], message, result]  # the SDK's own message object goes back as it came
    second = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS, tool_choice="none", max_tokens=8)

    assert second.choices[0].message.content


# --- models -----------------------------------------------------------------------------------------------------------


def test_models_are_listed_and_retrieved(client: OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}

    assert {MODEL, LOCAL_MODEL} <= set(listed)
    for name in (MODEL, LOCAL_MODEL):  # ids with a slash
        assert client.models.retrieve(name).id == name
        assert client.models.retrieve(name).owned_by == listed[name].owned_by
    with pytest.raises(NotFoundError):
        client.models.retrieve("no/such-model")


# --- errors -----------------------------------------------------------------------------------------------------------


def test_a_bad_key(server: LiveServer) -> None:
    with (
        OpenAI(base_url=server.base_url, api_key="tw_wrong", max_retries=0) as client,
        pytest.raises(AuthenticationError) as caught,
    ):
        client.chat.completions.create(**HELLO)

    assert (caught.value.status_code, caught.value.code, caught.value.type) == (401, "invalid_api_key", "authentication_error")
    assert "API key" in caught.value.message
    assert caught.value.request_id


def test_an_unknown_model(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as caught:
        client.chat.completions.create(**HELLO | {"model": "gemini-2.5-flash-lite-previev"})

    assert (caught.value.code, caught.value.param, caught.value.type) == ("model_not_found", "model", "invalid_request_error")
    assert MODEL in caught.value.message


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"temperature": 3}, "temperature", "invalid_value"),
        (
            {"messages": [{"role": "user", "content": [{"type": "file"}]}]},
            "messages[0].content[0].type",
            "unsupported_parameter",
        ),
        ({"messages": "Hi"}, "messages", "invalid_type"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
    ],
)
def test_a_bad_request(client: OpenAI, fields: Fields, param: str, code: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(**HELLO | fields)

    assert (caught.value.param, caught.value.code) == (param, code)
    assert param.split("[", maxsplit=1)[0] in str(caught.value)


def test_a_bad_request_for_a_stream_is_raised_at_once(client: OpenAI) -> None:
    with pytest.raises(BadRequestError):
        client.chat.completions.create(**HELLO, stream=True, top_p=7)


def test_a_body_that_is_too_large(client: OpenAI) -> None:
    with pytest.raises(APIStatusError) as caught:
        client.chat.completions.create(**HELLO | {"messages": [{"role": "user", "content": "x" * 20_000_000}]})

    assert (caught.value.status_code, caught.value.code) == (413, "payload_too_large")


# --- a busy server ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def narrow(models_path: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A service that makes one answer at a time and lets nobody wait."""
    home = tmp_path_factory.mktemp("narrow") / "home"
    with serving(home, models_path, engine_slots="1", engine_queue_max="0") as live:
        yield live


LONG: Fields = HELLO | {"logit_bias": {"2": -100}, "max_tokens": 2000}  # 2 ends the turn: it goes on until it is cut off


def test_a_busy_server_is_tried_again(narrow: LiveServer) -> None:
    with OpenAI(base_url=narrow.base_url, api_key=narrow.key, max_retries=0) as client:
        stream = client.chat.completions.create(**LONG, stream=True)
        next(iter(stream))

        with pytest.raises(RateLimitError) as caught:
            client.chat.completions.create(**HELLO, max_tokens=1)
        assert (caught.value.status_code, caught.value.code) == (429, "engine_busy")
        assert int(caught.value.response.headers["retry-after"]) >= 1

        stream.close()
        again = client.with_options(max_retries=3).chat.completions.create(**HELLO, max_tokens=1)
        assert again.choices[0].finish_reason == "length"


async def test_a_cancelled_task_frees_the_slot(narrow: LiveServer) -> None:
    async with AsyncOpenAI(base_url=narrow.base_url, api_key=narrow.key, max_retries=0) as client:
        started = asyncio.Event()

        async def read() -> None:
            async for _ in await client.chat.completions.create(**LONG, stream=True):
                started.set()

        reading = asyncio.create_task(read())
        await started.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

        completion = await client.with_options(max_retries=3).chat.completions.create(**HELLO, max_tokens=1)
        assert completion.choices[0].finish_reason == "length"
