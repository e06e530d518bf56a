"""Gemini's events as chunks, completions and usage: each case of gemini/answers.json, under any split of the bytes."""

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.providers.driving import cases, chat_request, collect, folded, gemini, gemini_route, items_of
from tests.fakes.faults import Reply, Step, Wait
from tests.fakes.gemini import HELLO, FakeGemini, event, framed, signature, streamed, usage

from tollway import ids
from tollway.errors import ServiceUnavailable, TollwayError
from tollway.providers.base import Meter
from tollway.providers.gemini_answer import CallUsage, ChoiceReader, Tally, decode_event
from tollway.providers.sse import EventReader
from tollway.wire.chat import ChunkChoice, Usage

ANSWERS = cases(Path(__file__).parent / "gemini" / "answers.json")
SINGLE = [case for case in ANSWERS if "error" not in case and case.get("request", {}).get("n", 1) == 1]


@pytest.fixture(autouse=True)
def _ids_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = itertools.count(1)
    monkeypatch.setattr(ids, "tool_call_id", lambda: f"call_{next(counter)}")


def plain(value: Any) -> Any:
    """As JSON, without nulls and with neither an index nor a role that is always the same."""
    value = msgspec.to_builtins(value)
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items() if item is not None}
    return [plain(item) for item in value] if isinstance(value, list) else value


def without_index(chunks: list[ChunkChoice]) -> list[Any]:
    return [{name: item for name, item in plain(chunk).items() if name != "index"} for chunk in chunks]


def script(fake: FakeGemini, case: dict[str, Any], times: int = 1) -> None:
    made = streamed if case.get("strict", True) else framed
    fake.queue(*[made(*case["events"]) for _ in range(times)])


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: case["name"])
async def test_an_answer(case: dict[str, Any]) -> None:
    async with gemini() as (provider, fake, route):
        request = chat_request(**case.get("request", {}))
        script(fake, case, request.choices_count)
        if "error" in case:
            with pytest.raises(TollwayError) as caught:
                await collect(provider, request, route)
            assert {"status": caught.value.status, "code": caught.value.code} == case["error"]
            return
        chunks, used = await collect(provider, request, route)

        assert fake.complaints == []
        assert plain(folded(chunks, request)) == case["choices"]
        assert plain(used) == case["usage"]
        if request.choices_count == 1:
            assert without_index(chunks) == case["chunks"]


def read(pieces: list[bytes], request_fields: dict[str, Any]) -> tuple[list[ChunkChoice], Usage]:
    """What the provider makes of a body, without the network between."""
    events, choice = EventReader(), ChoiceReader(0, chat_request(**request_fields))
    call, tally = CallUsage(gemini_route("http://x", None), 10), Tally(Meter())
    chunks: list[ChunkChoice] = []
    for data in [*(data for piece in pieces for data in events.feed(piece)), *events.finish()]:
        found = decode_event(data)
        made = choice.read(found)
        call.read(made, found.usage_metadata)
        chunks += made
    tally.note(call)
    return [*chunks, *choice.finish()], tally.usage()


def body_of(case: dict[str, Any], line_end: str = "\r\n") -> bytes:
    return b"".join(step for step in framed(*case["events"], line_end=line_end).steps if isinstance(step, bytes))


def check_split(case: dict[str, Any], pieces: list[bytes]) -> None:
    """The pieces give what the case says."""
    counter = itertools.count(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ids, "tool_call_id", lambda: f"call_{next(counter)}")
        chunks, used = read(pieces, case.get("request", {}))
    assert without_index(chunks) == case["chunks"]
    if "not counted" not in case["name"]:
        assert plain(used) == case["usage"]


@pytest.mark.parametrize("case", SINGLE, ids=lambda case: case["name"])
def test_every_split_gives_the_same(case: dict[str, Any]) -> None:
    body = body_of(case)
    check_split(case, [body[place : place + 1] for place in range(len(body))])
    for place in range(len(body)):
        check_split(case, [body[:place], body[place:]])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SINGLE), st.data())
def test_any_splits_give_the_same(case: dict[str, Any], data: st.DataObject) -> None:
    body = body_of(case, data.draw(st.sampled_from(["\r\n", "\n", "\r"])))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    check_split(case, [body[a:b] for a, b in itertools.pairwise([0, *cuts, len(body)])])


async def test_bytes_one_by_one_over_the_network() -> None:
    async with gemini() as (provider, fake, route):
        body = b"".join(step for step in streamed(*HELLO).steps if isinstance(step, bytes))
        steps: list[Step] = []
        for place in range(len(body)):
            steps += [body[place : place + 1], Wait(0)]
        fake.queue(Reply(steps))
        chunks, _ = await collect(provider, chat_request(), route)

    assert [chunk.delta.content for chunk in chunks][:3] == ["", "Hello", " wörld"]


@pytest.mark.parametrize("marker", [b"data: [DONE]\r\n\r\n", b": the end\n\n", b"\r\n"])
async def test_what_proxies_add_to_the_end_does_no_harm(marker: bytes) -> None:
    async with gemini() as (provider, fake, route):
        fake.queue(Reply([*streamed(*HELLO).steps, marker]))
        chunks, used = await collect(provider, chat_request(), route)

    assert chunks[-1].finish_reason == "stop"
    assert (used.prompt_tokens, used.completion_tokens) == (7, 3)


async def test_a_signature_makes_its_way_through_the_callers_hands_and_back() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    async with gemini() as (provider, fake, route):
        fake.queue(streamed(event([{"functionCall": {"name": "f"}, "thoughtSignature": signature()}], finish="STOP")))
        first = chat_request(tools=[tool])
        chunks, _ = await collect(provider, first, route)
        message = folded(chunks, first)[0]["message"]
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "1"}
        history = [{"role": "user", "content": "Hi"}, message, result]

        await collect(provider, chat_request(tools=[tool], messages=history), route)

        assert fake.bodies[1]["contents"][1]["parts"][0]["thoughtSignature"] == signature()
        assert fake.complaints == []


async def test_one_of_several_choices_that_fails_at_once_fails_the_request_before_anything_is_handed_out() -> None:
    async with gemini() as (provider, fake, route):
        fake.queue(streamed(*HELLO), Reply(before=[Wait(0.1)], status=503), streamed(*HELLO))
        stream = items_of(provider, chat_request(n=3), route)

        with pytest.raises(ServiceUnavailable):
            await anext(stream)


async def test_choices_come_side_by_side() -> None:
    slow = [step for half in streamed(*HELLO).steps for step in (half, Wait(0.15))]
    async with gemini() as (provider, fake, route):
        fake.queue(Reply(slow), streamed(*HELLO, event(None, usage=usage(7, 3))))
        chunks, _ = await collect(provider, chat_request(n=2), route)

    finished = [chunk.index for chunk in chunks if chunk.finish_reason]
    assert sorted(finished) == [0, 1]
    assert {chunk.index for chunk in chunks} == {0, 1}


@pytest.mark.parametrize(("choices", "rounds"), [(1, 0), (8, 0), (9, 1), (17, 2)])
async def test_choices_that_are_asked_for_later_are_told_to_whoever_waits(choices: int, rounds: int) -> None:
    async with gemini() as (provider, _, route):
        meter = Meter()
        await collect(provider, chat_request(n=choices), route, meter)

    assert meter.rounds == rounds
