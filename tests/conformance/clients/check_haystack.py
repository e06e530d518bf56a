"""Haystack's generator of chat answers."""

import os
from typing import Any, Literal

import pytest
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage, StreamingChunk
from haystack.tools import create_tool_from_function
from haystack.utils import Secret
from pydantic import BaseModel

HELLO = [ChatMessage.from_user("Say hello.")]


class City(BaseModel):
    size: Literal["small", "large"]
    capital: bool


def generator(**more: Any) -> OpenAIChatGenerator:
    return OpenAIChatGenerator(
        model=os.environ["CLIENT_MODEL"],
        api_base_url=os.environ["CLIENT_BASE_URL"],
        api_key=Secret.from_token(os.environ["CLIENT_KEY"]),
        timeout=300,
        **more,
    )


def weather(city: Literal["Paris", "Rome"]) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


def test_an_answer() -> None:
    [reply] = generator().run(HELLO, generation_kwargs={"max_tokens": 8})["replies"]

    assert reply.text
    assert reply.meta["model"] == os.environ["CLIENT_LOCAL_MODEL"]
    assert reply.meta["usage"]["completion_tokens"] > 0


def test_a_stream() -> None:
    chunks: list[StreamingChunk] = []
    [reply] = generator(streaming_callback=chunks.append).run(HELLO, generation_kwargs={"max_tokens": 8})["replies"]

    assert "".join(chunk.content for chunk in chunks) == reply.text


async def test_async() -> None:
    [reply] = (await generator().run_async(HELLO, generation_kwargs={"max_tokens": 8}))["replies"]

    assert reply.text


@pytest.mark.parametrize("streams", [False, True])
def test_a_tool_is_called(streams: bool) -> None:
    more = {"streaming_callback": lambda chunk: None} if streams else {}
    kwargs = {"tool_choice": "required", "max_tokens": 60}
    [reply] = generator(tools=[create_tool_from_function(weather)], **more).run(HELLO, generation_kwargs=kwargs)["replies"]

    [call] = reply.tool_calls
    assert call.tool_name == "weather"
    assert call.arguments["city"] in {"Paris", "Rome"}


def test_a_structured_answer() -> None:
    [reply] = generator().run(HELLO, generation_kwargs={"response_format": City, "max_tokens": 60})["replies"]

    City.model_validate_json(reply.text or "")
