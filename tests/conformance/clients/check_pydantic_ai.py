"""pydantic-ai: plain and structured answers, streams, tools."""

import contextlib
import os
from typing import Literal

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, ToolOutput, capture_run_messages
from pydantic_ai.exceptions import ModelHTTPError, UnexpectedModelBehavior, UsageLimitExceeded
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import UsageLimits

PROVIDER = OpenAIProvider(base_url=os.environ["CLIENT_BASE_URL"], api_key=os.environ["CLIENT_KEY"])
MODEL = OpenAIChatModel(os.environ["CLIENT_MODEL"], provider=PROVIDER)
SETTINGS = ModelSettings(max_tokens=60)


class City(BaseModel):
    """A city."""

    size: Literal["small", "large"]
    capital: bool


async def test_text() -> None:
    result = await Agent(MODEL, model_settings=SETTINGS).run("Say hello.")

    assert result.output
    assert result.response.model_name == os.environ["CLIENT_LOCAL_MODEL"]


async def test_a_stream() -> None:
    async with Agent(MODEL, model_settings=SETTINGS).run_stream("Say hello.") as result:
        pieces = [piece async for piece in result.stream_text(delta=True)]

    assert "".join(pieces)


@pytest.mark.parametrize("output", [ToolOutput(City), NativeOutput(City)], ids=["tool", "native"])
async def test_a_structured_answer(output: ToolOutput[City] | NativeOutput[City]) -> None:
    result = await Agent(MODEL, output_type=output, model_settings=SETTINGS).run("Is Paris big?")

    assert isinstance(result.output, City)


async def test_a_tool_is_offered() -> None:
    agent = Agent(MODEL, output_type=ToolOutput(City), model_settings=SETTINGS, retries=0)

    @agent.tool_plain
    def weather(city: Literal["Paris", "Rome"]) -> str:
        return f"sunny in {city}"

    # which of the two it calls first, and whether it ever stops, is up to the model
    with capture_run_messages() as messages, contextlib.suppress(UnexpectedModelBehavior, UsageLimitExceeded):
        await agent.run("What is the weather in Paris?", usage_limits=UsageLimits(request_limit=2))
    assert any(part.part_kind == "tool-call" for message in messages for part in message.parts)


async def test_an_error() -> None:
    with pytest.raises(ModelHTTPError) as caught:
        await Agent(OpenAIChatModel("nope", provider=PROVIDER)).run("Hi")

    assert caught.value.status_code == 404
    assert "nope" in str(caught.value.body)
