"""Gemini behind the whole answering side: what callers get, streamed and not, when all is well and when it is not."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.answers import chunks_of
from tests.contract.providers.driving import PUBLIC_ID, cases, house
from tests.contract.providers.limits import BRIEF, limits_for
from tests.fakes.faults import FAULTS, Drip, Hang, Reply
from tests.fakes.gemini import HELLO, framed, streamed, text_event
from tests.fakes.server import left_within

from tollway.catalog import Limits
from tollway.completions import Answer
from tollway.errors import GatewayTimeout, TollwayError
from tollway.wire.chat import Chunk

GOOD = [case for case in cases(Path(__file__).parent / "gemini" / "answers.json") if "error" not in case]
EVENTS = [text_event(letter) for letter in "abcdefgh"]
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def subset(part: Any, whole: Any) -> bool:
    """Whether each field of `part` is so in `whole`."""
    if isinstance(part, dict):
        return all(name in whole and subset(value, whole[name]) for name, value in part.items())
    if isinstance(part, list):
        return len(part) == len(whole) and all(subset(*pair) for pair in zip(part, whole, strict=True))
    return bool(part == whole)


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case["name"])
async def test_each_answer_is_the_same_streamed_and_whole(case: dict[str, Any]) -> None:
    request = case.get("request", {})
    legacy = "functions" in request
    async with house() as tollway:
        tollway.fake.queue(*[framed(*case["events"]) for _ in range(2 * request.get("n", 1))])
        completion = msgspec.to_builtins(await (await tollway.start(**request)).completion())
        answer = await tollway.start(**request, stream=True, stream_options={"include_usage": True})
        chunks: list[Chunk] = [chunk async for chunk in chunks_of(answer)]

    assert completion["model"] == PUBLIC_ID
    assert completion["id"].startswith("chatcmpl-")
    assert subset(case["usage"], completion["usage"])
    assert completion["meta"]["usage"]["credits_used"] >= 0
    for expected, choice in zip(case["choices"], completion["choices"], strict=True):
        message, said = choice["message"], expected["message"]
        assert message["content"] == said.get("content", None)
        assert message.get("reasoning_content") == said.get("reasoning_content")
        assert message["refusal"] == said.get("refusal")
        if not legacy:
            assert choice["finish_reason"] == expected["finish_reason"]
            calls = [call["function"] for call in said.get("tool_calls", [])]
            assert [call["function"] for call in message["tool_calls"] or []] == calls

    assert msgspec.to_builtins(chunks[-1].usage) == completion["usage"]
    assert chunks[-1].choices == []
    for index, choice in enumerate(completion["choices"]):
        deltas = [one.delta for chunk in chunks for one in chunk.choices if one.index == index]
        assert "".join(delta.content or "" for delta in deltas) == (choice["message"]["content"] or "")
        finished = [one.finish_reason for chunk in chunks for one in chunk.choices if one.index == index and one.finish_reason]
        assert finished == [choice["finish_reason"]]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", FAULTS)
async def test_every_fault_is_an_error_in_time_and_never_an_end(name: str, stream: bool) -> None:
    got: list[Chunk] = []
    began = asyncio.get_running_loop().time()
    async with house(limits_for(name)) as tollway:
        tollway.fake.queue(FAULTS[name](streamed(*HELLO)))
        answer = await tollway.start(stream=stream)
        with pytest.raises(TollwayError) as caught:
            await read_all(answer, got, stream=stream)

        assert asyncio.get_running_loop().time() - began < 1 + 5  # 1 s more is promised; other tests may be using the machine
        assert (caught.value.status, caught.value.code) == expected_of(name), caught.value.message
        assert [choice.finish_reason for chunk in got for choice in chunk.choices if choice.finish_reason] == []
        assert answer.cost is None
        if isinstance(caught.value, GatewayTimeout) and name != "504":
            assert await left_within(tollway.fake.received[0])


async def read_all(answer: Answer, into: list[Chunk], *, stream: bool) -> None:
    if not stream:
        await answer.completion()
    async for chunk in chunks_of(answer):
        into.append(chunk)  # noqa: PERF401  (what came before an error counts)


def expected_of(name: str) -> tuple[int, str]:
    if name.startswith(("stall", "heartbeats", "504")):
        return 504, "upstream_timeout"
    if name.startswith("503"):
        return 503, "service_unavailable"
    return (429, "rate_limit_exceeded") if name.startswith("429") else (502, "upstream_error")


async def test_single_bytes_buy_no_time() -> None:
    async with house(BRIEF) as tollway:
        body = b"".join(step for step in streamed(*HELLO).steps if isinstance(step, bytes))
        tollway.fake.queue(Reply([Drip(body, every_seconds=0.02)]))
        began = asyncio.get_running_loop().time()
        with pytest.raises(GatewayTimeout):
            await (await tollway.start()).completion()

        assert asyncio.get_running_loop().time() - began < 1 + 5  # 1 s more is promised; other tests may be using the machine


async def test_many_that_leave_at_any_chunk_leave_no_connection_open() -> None:
    async with house(Limits()) as tollway:
        tollway.fake.queue(*[Reply([*streamed(*EVENTS).steps, Hang()]) for _ in range(100)])

        async def leave(after: int) -> None:
            answer = await tollway.start(stream=True)
            chunks = chunks_of(answer)
            for _ in range(after):
                await anext(chunks)
            answer.abandon()

        await asyncio.gather(*(leave(place % 10) for place in range(100)))

        assert all(await asyncio.gather(*(left_within(received) for received in tollway.fake.received)))
        assert not tollway.http.in_use


async def test_connections_are_kept_and_a_broken_one_is_not() -> None:
    async with house() as tollway:
        for _ in range(3):
            await (await tollway.start()).completion()
            assert tollway.http.kept == 1
        tollway.fake.queue(FAULTS["garbage_event"](streamed(*HELLO)))
        with pytest.raises(TollwayError):
            await (await tollway.start()).completion()
        assert tollway.http.kept <= 1
        assert (await (await tollway.start()).completion()).choices[0].message.content == "Hello wörld"
        assert not tollway.http.in_use
