"""An answer of an OpenAI-compatible upstream, event by event: what is counted where it reports nothing, and what is refused."""

import json
from typing import Any

import pytest
from msgspec import structs
from tests.unit.providers.scripted import REQUEST, route

from tollway.errors import BadGateway
from tollway.providers.base import Meter
from tollway.providers.openai_stream import AnswerReader
from tollway.wire.chat import VERY_UNLIKELY

STOP = b'{"choices":[{"delta":{},"finish_reason":"stop"}]}'
DONE = b"[DONE]"


def reading(**changes: Any) -> AnswerReader:
    return AnswerReader(structs.replace(REQUEST, **changes), route("a"), 10, Meter())


def event(**delta: Any) -> bytes:
    return json.dumps({"choices": [{"delta": delta}]}).encode()


def call(index: int, **function: str) -> bytes:
    return event(tool_calls=[{"index": index, "function": function}])


@pytest.mark.parametrize("is_together", [True, False])
@pytest.mark.parametrize(
    ("texts", "tokens"), [(["a"] * 9, 9), (["a" * 9], 3), (["a" * 100, "b"], 26)], ids=["pieces", "bytes", "both"]
)
def test_what_is_not_reported_is_counted_in_pieces_or_by_bytes(texts: list[str], tokens: int, is_together: bool) -> None:
    reader = reading()
    events = [*(event(content=text) for text in texts), STOP, DONE]
    chunks = list((reader.read_together if is_together else reader.read)(events))
    assert "".join(chunk.delta.content or "" for chunk in chunks) == "".join(texts)
    assert reader.finish().completion_tokens == tokens


def test_a_call_whose_name_is_late_is_told_of_once_it_is_there() -> None:
    reader = reading()
    assert list(reader.read([call(0, arguments="{")])) == []
    names = [
        piece.function.name
        for chunk in reader.read([call(0, name="look", arguments="}")])
        for piece in chunk.delta.tool_calls or ()
        if piece.function
    ]
    assert names == ["look"]


@pytest.mark.parametrize("last", [call(1, name="look"), STOP], ids=["another call", "the end"])
def test_a_call_without_a_name_is_no_answer(last: bytes) -> None:
    reader = reading()
    assert list(reader.read([call(0, arguments="{}")])) == []
    with pytest.raises(BadGateway, match="a chunk that cannot be"):
        list(reader.read([last]))


@pytest.mark.parametrize(("sent", "told"), [(0.25, 0.0), (-0.5, -0.5), (-1e30, VERY_UNLIKELY), (None, VERY_UNLIKELY)])
def test_a_log_probability_is_one(sent: float | None, told: float) -> None:
    tokens = [{"token": "a", "logprob": sent, "top_logprobs": [{"token": "a", "logprob": sent}]}]
    data = json.dumps({"choices": [{"delta": {"content": "a"}, "logprobs": {"content": tokens}}]}).encode()
    *_, chunk = reading(logprobs=True).read([data])
    assert chunk.logprobs is not None
    assert chunk.logprobs.content is not None
    (entry,) = chunk.logprobs.content
    assert (entry.logprob, entry.top_logprobs[0].logprob) == (told, told)
