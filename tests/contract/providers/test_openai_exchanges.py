"""What is sent to an OpenAI-compatible upstream and what becomes of its answer: one file per quirk, in `openai_exchanges`.

A file has the caller's `request`, the `quirks` of the upstream, what it must be `sent`, the `stream` that it answers (events as
JSON, or text as it is on the wire), and what the provider makes of it: `chunks`, and the `completion` that is folded from them.
`call_*` stands for an id that is made here.
"""

import itertools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk
from tests.answers import chunks_of
from tests.contract.providers.openai_support import PUBLIC, USER, gateway, route_to
from tests.fakes.openai import MODEL, FakeOpenAI, stream_reply

from tollway.providers.base import Meter
from tollway.providers.openai_stream import AnswerReader
from tollway.providers.sse import EventReader
from tollway.wire.decode import decode_chat_request

FILES = sorted((Path(__file__).parent / "openai_exchanges").glob("*.json"))
EXCHANGES: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FILES}
# These are as OpenAI itself would send them; the others are what makes the file.
PLAIN = ("plain", "choices_in_turn", "forced_call_that_stops", "refusal", "structured_output", "tool_calls")

exchanges = pytest.mark.parametrize("name", EXCHANGES)


def request_of(exchange: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [USER], **exchange["request"]}


def steps_of(exchange: dict[str, Any]) -> list[bytes]:
    steps = stream_reply(exchange["stream"], done=False).steps
    assert all(isinstance(step, bytes) for step in steps)
    return [step for step in steps if isinstance(step, bytes)]


def plain(value: Any) -> Any:
    """As in the files: without what is new in each run."""
    text = msgspec.json.encode(value).decode()
    return json.loads(re.sub(r'"call_[0-9A-Za-z]{24}"', '"call_*"', text))


def read(exchange: dict[str, Any], pieces: Sequence[bytes]) -> tuple[list[Any], Any]:
    """The chunks and the usage of an answer that arrives in these pieces, without a network."""
    request = decode_chat_request(json.dumps({"model": PUBLIC, **request_of(exchange)}).encode())
    route = route_to("http://fake", exchange.get("quirks"))
    reader, events = AnswerReader(request, route, 10, Meter()), EventReader()
    chunks: list[Any] = []
    for piece in pieces:
        chunks += reader.read(events.feed(piece))
    chunks += reader.read(events.finish())
    return plain(chunks), plain(reader.finish())


@exchanges
async def test_exchange(name: str) -> None:
    exchange = EXCHANGES[name]
    async with FakeOpenAI(**exchange.get("fake", {})) as fake:
        fake.queue(stream_reply(exchange["stream"], done=False), stream_reply(exchange["stream"], done=False))
        async with gateway(route_to(fake.base_url, exchange.get("quirks"))) as house:
            streamed = await house.start(**request_of(exchange), stream=True)
            chunks = [chunk async for chunk in chunks_of(streamed)]
            completion = await house.completion(**request_of(exchange))

    assert fake.complaints == []
    assert fake.requests[0] == fake.requests[1] == {"model": MODEL, "stream": True, **exchange["sent"]}
    assert streamed.ignored_parameters == exchange.get("ignored", [])
    assert plain([choice for chunk in chunks for choice in chunk.choices]) == exchange["chunks"]
    assert plain({"choices": completion["choices"], "usage": completion["usage"]}) == exchange["completion"]


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_said_to_be_openai_is(name: str) -> None:
    for event in EXCHANGES[name]["stream"][:-1]:
        ChatCompletionChunk.model_validate(event, strict=True)


@exchanges
def test_every_split_gives_the_same(name: str) -> None:
    exchange = EXCHANGES[name]
    body = b"".join(steps_of(exchange))
    whole = read(exchange, [body])

    assert whole[0]
    assert read(exchange, [body[place : place + 1] for place in range(len(body))]) == whole
    for place in range(1, len(body)):
        assert read(exchange, [body[:place], body[place:]]) == whole


def test_arguments_may_be_nested_as_deeply_as_they_like() -> None:
    pieces = ['{"a":' * 20_000, "1", "}" * 20_000]
    calls = [{"index": 0, "function": {"name": "weather", "arguments": piece}} for piece in pieces]
    events = [{"choices": [{"delta": {"tool_calls": [call]}}]} for call in calls]
    stream = [*events, {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}, "data: [DONE]\n\n"]
    exchange = {"request": EXCHANGES["tool_calls"]["request"], "stream": stream}
    chunks, _ = read(exchange, steps_of(exchange))
    told = [call["function"]["arguments"] for chunk in chunks for call in chunk["delta"].get("tool_calls") or ()]
    assert "".join(told) == "".join(pieces)


@exchanges
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_splits_give_the_same(name: str, data: st.DataObject) -> None:
    exchange = EXCHANGES[name]
    body = b"".join(steps_of(exchange))
    places = [0, *sorted(data.draw(st.lists(st.integers(0, len(body))))), len(body)]

    assert read(exchange, [body[a:b] for a, b in itertools.pairwise(places)]) == read(exchange, [body])
