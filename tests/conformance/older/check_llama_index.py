"""LlamaIndex, through its class for OpenAI-like services."""

import os
from typing import Literal

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

HELLO = [ChatMessage(role="user", content="Say hello.")]


class City(BaseModel):
    """A city."""

    size: Literal["small", "large"]
    capital: bool


def weather(city: Literal["Paris", "Rome"]) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


@pytest.fixture
def model() -> OpenAILike:
    return OpenAILike(
        model=os.environ["CLIENT_MODEL"],
        api_base=os.environ["CLIENT_BASE_URL"],
        api_key=os.environ["CLIENT_KEY"],
        is_chat_model=True,
        is_function_calling_model=True,
        max_tokens=40,
        timeout=300,
    )


def test_chat(model: OpenAILike) -> None:
    response = model.chat(HELLO)

    assert response.message.content
    assert response.raw.model == os.environ["CLIENT_LOCAL_MODEL"]


def test_a_stream(model: OpenAILike) -> None:
    *_, last = model.stream_chat(HELLO)

    assert last.message.content


async def test_async(model: OpenAILike) -> None:
    assert (await model.achat(HELLO)).message.content


def test_a_completion(model: OpenAILike) -> None:
    assert model.complete("Say hello.").text


def test_a_tool_is_called(model: OpenAILike) -> None:
    tool = FunctionTool.from_defaults(weather)
    response = model.chat_with_tools([tool], user_msg="What is the weather in Paris?", tool_required=True)

    [call] = model.get_tool_calls_from_response(response)
    assert tool(**call.tool_kwargs).content in {"sunny in Paris", "sunny in Rome"}


def test_a_structured_answer(model: OpenAILike) -> None:
    assert isinstance(model.as_structured_llm(City).chat(HELLO).raw, City)
