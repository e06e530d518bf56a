"""instructor, in its modes for tools and for JSON schemas."""

import os
from typing import Literal

import instructor
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

ADDRESS = {"base_url": os.environ["CLIENT_BASE_URL"], "api_key": os.environ["CLIENT_KEY"]}
ASK = {"model": os.environ["CLIENT_MODEL"], "messages": [{"role": "user", "content": "Is Paris big?"}], "max_tokens": 80}
MODES = [instructor.Mode.TOOLS, instructor.Mode.TOOLS_STRICT, instructor.Mode.JSON_SCHEMA]


class City(BaseModel):
    size: Literal["small", "large"]
    capital: bool


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_an_answer_is_an_instance(mode: instructor.Mode) -> None:
    client = instructor.from_openai(OpenAI(**ADDRESS), mode=mode)

    city, completion = client.chat.completions.create_with_completion(**ASK, response_model=City, max_retries=0)

    assert isinstance(city, City)
    assert completion.usage.total_tokens > 0


def test_a_stream_grows_into_an_instance() -> None:
    client = instructor.from_openai(OpenAI(**ADDRESS), mode=instructor.Mode.TOOLS)

    *_, last = client.chat.completions.create_partial(**ASK, response_model=City)

    assert last.size in {"small", "large"}
    assert isinstance(last.capital, bool)


async def test_async() -> None:
    client = instructor.from_openai(AsyncOpenAI(**ADDRESS), mode=instructor.Mode.TOOLS)

    assert isinstance(await client.chat.completions.create(**ASK, response_model=City, max_retries=0), City)
