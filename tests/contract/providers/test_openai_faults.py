"""Everything that goes wrong at an OpenAI-compatible upstream, over real connections, and what the caller is told."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs
from tests.answers import chunks_of
from tests.contract.providers.driving import collect, items_of
from tests.contract.providers.limits import BRIEF, ONE_TRY, limits_for
from tests.contract.providers.openai_support import Gateway, gateway, route_to
from tests.fakes.faults import FAULTS, Drip, Hang, Heartbeats, Reply, Wait
from tests.fakes.openai import API_KEY, FakeOpenAI, chunk, error_reply, stream_reply
from tests.fakes.server import left_within

from tollway.catalog import Limits
from tollway.completions import Answer
from tollway.errors import BadGateway, GatewayTimeout, RateLimited, ServiceUnavailable, TollwayError
from tollway.providers import openai_compatible
from tollway.providers.base import Item, Meter
from tollway.wire.chat import ChunkChoice, Usage
from tollway.wire.decode import decode_chat_request

TEXT = ["Grüße", " aus", " Köln, hier ist", " es schön"]
GOOD = stream_reply(
    [
        *(chunk({"content": piece}) for piece in TEXT),
        chunk({}, finish_reason="stop"),
        {**chunk({}), "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17}},
    ]
)
# By fault: the error, and whether content had come before it.
OUTCOMES: dict[str, tuple[type[TollwayError], bool]] = {
    "reset_at_once": (BadGateway, False),
    "closed_at_once": (BadGateway, False),
    "stall_before_headers": (GatewayTimeout, False),
    "stall_before_first_byte": (GatewayTimeout, False),
    "heartbeats_only": (GatewayTimeout, False),
    "stall_after_first_event": (GatewayTimeout, True),
    "heartbeats_after_first_event": (GatewayTimeout, True),
    "reset_midway": (BadGateway, True),
    "cut_midway": (BadGateway, True),
    "cut_in_mid_event": (BadGateway, True),
    "ends_early": (BadGateway, True),
    "ends_in_mid_event": (BadGateway, True),
    "empty": (BadGateway, False),
    "truncated_utf8": (BadGateway, True),
    "garbage": (BadGateway, False),
    "garbage_event": (BadGateway, False),
    "html": (BadGateway, False),
    "html_502": (BadGateway, False),
    "redirect": (BadGateway, False),
    "500": (BadGateway, False),
    "503": (ServiceUnavailable, False),
    "503_retry_after": (ServiceUnavailable, False),
    "504": (GatewayTimeout, False),
    "429": (RateLimited, False),
    "429_retry_after": (RateLimited, False),
    "429_retry_after_nonsense": (RateLimited, False),
    "429_retry_after_forever": (RateLimited, False),
}
RETRY_AFTER = {
    "503_retry_after": 7,
    "429": 10,
    "429_retry_after": 7,
    "429_retry_after_nonsense": 10,
    "429_retry_after_forever": 3600,
    "redirect": 300,
}


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI() as server:
        yield server


async def read(answer: Answer) -> tuple[list[ChunkChoice], TollwayError | None]:
    """What came, and the error that ended it."""
    choices: list[ChunkChoice] = []
    try:
        async for event in chunks_of(answer):
            choices += event.choices
    except TollwayError as error:
        return choices, error
    return choices, None


async def outcome(house: Gateway) -> tuple[list[str], TollwayError | None]:
    """The pieces of text that came, and the error that ended it."""
    choices, error = await read(await house.start(stream=True))
    return [choice.delta.content for choice in choices if choice.delta.content], error


def test_every_fault_has_its_outcome() -> None:
    assert set(OUTCOMES) == set(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
async def test_fault(fake: FakeOpenAI, fault: str) -> None:
    kind, begun = OUTCOMES[fault]
    fake.queue(FAULTS[fault](GOOD))
    with capture_logs() as logs:
        async with gateway(route_to(fake.base_url, limits=limits_for(fault))) as house:
            async with asyncio.timeout(ONE_TRY.total_seconds or 0):
                text, error = await outcome(house)

    assert fake.complaints == []
    assert type(error) is kind
    assert text == TEXT[: len(text)]
    assert bool(text) == begun
    assert error.retry_after_seconds == RETRY_AFTER.get(fault)
    assert "127.0.0.1" not in error.message
    assert API_KEY not in repr(logs)
    if kind is not GatewayTimeout or fault == "504":
        assert [entry["upstream"] for entry in logs if entry["event"].startswith("upstream_") and entry["log_level"] == "error"]


@pytest.mark.parametrize("fault", [name for name, (_, begun) in OUTCOMES.items() if begun])
async def test_a_broken_stream_never_ends_well(fake: FakeOpenAI, fault: str) -> None:
    """Neither a finish_reason nor a completion, and nothing is charged as an answer."""
    fake.queue(FAULTS[fault](GOOD), FAULTS[fault](GOOD))
    async with gateway(route_to(fake.base_url, limits=limits_for(fault))) as house:
        answer = await house.start(stream=True)
        choices, error = await read(answer)
        with pytest.raises(TollwayError):
            await house.completion()

    assert error is not None
    assert {choice.finish_reason for choice in choices} == {None}
    assert answer.cost is None


async def test_refused_connection(fake: FakeOpenAI) -> None:
    await fake.stop()
    async with gateway(route_to(fake.base_url)) as house:
        _, error = await outcome(house)

    assert type(error) is ServiceUnavailable


async def test_a_name_that_leads_nowhere() -> None:
    async with gateway(route_to("http://nowhere.invalid/v1")) as house:
        _, error = await outcome(house)

    assert type(error) is ServiceUnavailable
    assert "nowhere" not in error.message


async def test_an_error_in_the_stream_before_content(fake: FakeOpenAI) -> None:
    """It keeps its meaning: nothing has been said yet, so the caller may still be told whose fault it is."""
    errors: list[tuple[Any, type[TollwayError], str]] = [
        ({"error": {"message": "Rate limit", "type": "rate_limit_error", "code": None}}, RateLimited, "rate_limit_exceeded"),
        ({"error": {"message": "Provider returned error", "code": 502}}, BadGateway, "upstream_error"),
        (
            {"error": {"message": "secret", "code": 429, "metadata": {"raw": "x"}}, "choices": []},
            RateLimited,
            "rate_limit_exceeded",
        ),
        ({"error": {"message": "x", "type": "invalid_request_error", "param": "stop"}}, TollwayError, "invalid_value"),
        ({"error": "server overloaded"}, BadGateway, "upstream_error"),
        ('{"error": {"message": "not an event", "code": 503}}', ServiceUnavailable, "service_unavailable"),
    ]
    for error, kind, code in errors:
        fake.queue(stream_reply([": hello\n\n", chunk({"role": "assistant", "content": ""}), error], done=False))
        async with gateway(route_to(fake.base_url)) as house:
            text, found = await outcome(house)
        assert text == []
        assert isinstance(found, kind)
        assert found.code == code
        assert "secret" not in found.message


@pytest.mark.parametrize("reason", ["error", "abort", "insufficient_system_resource", "nobody_knows"])
async def test_a_finish_reason_that_is_a_failure(fake: FakeOpenAI, reason: str) -> None:
    fake.queue(stream_reply([chunk({"content": "Half of"}), chunk({}, finish_reason=reason)]))
    async with gateway(route_to(fake.base_url)) as house:
        text, error = await outcome(house)

    assert text == ["Half of"]
    assert type(error) is BadGateway


@pytest.mark.parametrize(
    "events",
    [
        [chunk({"content": "x"}), {"error": {"message": "x", "type": "invalid_request_error", "param": "stop"}}],
        [chunk({"content": "x"}), chunk({}, finish_reason="stop"), chunk({"content": "more"})],
        [chunk({"content": "x"}), chunk({}, index=1, finish_reason="stop")],
        [chunk({"content": "x"}), chunk({}, index=-1)],
        [chunk({"content": "x"}), chunk({"content": 5})],
        [chunk({"content": "x"}), chunk({"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}, finish_reason="stop")],
        [
            *(chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": name}}]}) for name in ("get_", "weather")),
            chunk({}, finish_reason="tool_calls"),
        ],
        [chunk({"content": "x"}), "data: [[]]\n\n"],
        [chunk({"content": "x"}), "data: " + "[" * 100_000 + "\n\n"],
        [chunk({"content": "x"}), 'data: {"choices": [{"index": 0, "delta": {"content": "\\ud800"}}]}\n\n'],
        [chunk({"content": "x"}), "data: " + '{"a":"' + "x" * 9_000_000 + '"}\n\n'],
        [chunk({"tool_calls": [{"index": n, "id": f"c{n}", "function": {"name": "f"}} for n in range(200)]})],
        [chunk({"content": "x"})],
    ],
)
async def test_what_is_no_sound_answer_is_never_mended(fake: FakeOpenAI, events: list[Any]) -> None:
    fake.queue(stream_reply(events))
    async with gateway(route_to(fake.base_url)) as house:
        _, error = await outcome(house)

    assert type(error) is BadGateway


async def test_a_missing_done_marker_is_told_to_the_operator(fake: FakeOpenAI) -> None:
    fake.queue(stream_reply([chunk({"content": "x"}), chunk({}, finish_reason="stop")], done=False))
    with capture_logs() as logs:
        async with gateway(route_to(fake.base_url)) as house:
            _, error = await outcome(house)

    assert type(error) is BadGateway
    assert "done_marker" in next(entry["detail"] for entry in logs if entry["event"] == "upstream_broken")


# --- leaving, waiting, connections ------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_leaving_closes_the_upstream_at_once(fake: FakeOpenAI, after: int) -> None:
    fake.queue(stream_reply([chunk({"content": piece}) for piece in "abc"], done=False))
    fake._queued[0] = Reply([*fake._queued[0].steps, Hang()])
    async with gateway(route_to(fake.base_url, limits=Limits())) as house:
        answer = await house.start(stream=True)
        chunks = chunks_of(answer)
        for _ in range(after + 1 if after else 0):  # one more for the role
            await anext(chunks)
        async with asyncio.timeout(5):
            while not fake.received:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        answer.abandon()
        assert await left_within(fake.received[0])


async def test_many_that_leave_at_any_chunk_leave_no_connection_open(fake: FakeOpenAI) -> None:
    events = [chunk({"content": piece}) for piece in "abcdefgh"]
    fake.queue(*[Reply([*stream_reply(events, done=False).steps, Hang()]) for _ in range(100)])
    async with gateway(route_to(fake.base_url, limits=Limits())) as house:

        async def leave(after: int) -> None:
            answer = await house.start(stream=True)
            chunks = chunks_of(answer)
            for _ in range(after):
                await anext(chunks)
            answer.abandon()

        await asyncio.gather(*(leave(place % 10) for place in range(100)))
        assert all(await asyncio.gather(*(left_within(received) for received in fake.received)))
        assert not house.http.in_use


async def test_single_bytes_are_no_content(fake: FakeOpenAI) -> None:
    fake.queue(Reply([Drip(stream_reply([chunk({"content": "x"})]).steps[0], every_seconds=0.02)]))  # type: ignore[arg-type]
    async with gateway(route_to(fake.base_url, limits=BRIEF)) as house:
        began = asyncio.get_running_loop().time()
        _, error = await outcome(house)

    assert type(error) is GatewayTimeout
    assert asyncio.get_running_loop().time() - began < 1 + 5  # 1 s more is promised; other tests may be using the machine


async def test_the_meter_counts_what_came(fake: FakeOpenAI) -> None:
    """For answers that are broken off: the upstream's own figures where it tells them on the way, else ours."""
    figures = {"prompt_tokens": 11, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 8}}
    told = [chunk({"content": "x"}), chunk({"content": "y"}, usage=figures)]
    untold = [chunk({"content": "x"}), chunk({"content": "yy" * 20})]
    for events, expected in ((told, (11, 7)), (untold, (10, 11))):
        fake.queue(stream_reply(events, done=False))
        async with gateway(route_to(fake.base_url)) as house:
            request = decode_chat_request(b'{"model": "m", "messages": [{"role": "user", "content": "Hello"}]}')
            meter = Meter()
            with pytest.raises(BadGateway):
                await collect(house.provider, request, house.route, meter)
        assert (meter.prompt_tokens, meter.completion_tokens) == expected
        assert (meter.prompt_tokens_details is not None) == (events is told)


async def test_connections_are_kept_and_a_broken_one_is_not(fake: FakeOpenAI) -> None:
    fake.queue(GOOD, GOOD, FAULTS["ends_in_mid_event"](GOOD), error_reply(500, "x"), GOOD)
    async with gateway(route_to(fake.base_url)) as house:
        http = house.http
        for _ in range(2):
            await house.completion()
            assert (http.in_use, http.kept) == (0, 1)
        for _ in range(2):
            await outcome(house)
            assert not http.in_use
            assert http.kept <= 1
        await house.completion()
        assert (http.in_use, http.kept) == (0, 1)


async def test_an_upstream_that_never_closes_its_body_costs_a_moment(fake: FakeOpenAI) -> None:
    fake.queue(Reply([*GOOD.steps, Heartbeats()]), Reply([*GOOD.steps, Wait(60)]))
    async with gateway(route_to(fake.base_url)) as house:
        for _ in range(2):
            began = asyncio.get_running_loop().time()
            assert (await house.completion())["usage"]["total_tokens"] == 17
            assert asyncio.get_running_loop().time() - began < 3  # the end of the body is waited for 0.05 s, not for the limit
        assert await left_within(fake.received[1])


async def test_the_figures_are_there_before_the_end_of_the_body_is_waited_for(
    fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who leaves in that moment has had a whole answer, and is charged by them."""
    monkeypatch.setattr(openai_compatible, "TAIL_SECONDS_MAX", 60)
    fake.queue(Reply([*GOOD.steps, Wait(60)]))
    async with gateway(route_to(fake.base_url)) as house:
        request = decode_chat_request(b'{"model": "m", "messages": [{"role": "user", "content": "Hello"}]}')
        items: list[Item] = []
        answering = asyncio.create_task(house.provider.answer(request, house.route, Meter(), items.append))
        async with asyncio.timeout(5):
            while not items or items[-1] != Usage(9, 8, 17):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        answering.cancel()
        await asyncio.wait([answering])


async def test_a_stream_that_is_dropped_unread_leaves_nothing_behind(fake: FakeOpenAI) -> None:
    fake.queue(Reply([*GOOD.steps[:2], Hang()]))
    async with gateway(route_to(fake.base_url)) as house:
        request = decode_chat_request(b'{"model": "m", "messages": [{"role": "user", "content": "Hello"}]}')
        stream = items_of(house.provider, request, house.route)
        first = await anext(stream)
        assert isinstance(first, ChunkChoice)
        await stream.aclose()
        assert not house.http.in_use
        assert await left_within(fake.received[0])
        gc.collect()


@pytest.mark.parametrize("together", [False, True], ids=["word by word", "at once"])
async def test_nothing_is_given_to_who_has_no_room(fake: FakeOpenAI, together: bool) -> None:
    """And then everything, in order."""
    steps = [chunk({"content": f"{number} "}) for number in range(50)]
    reply = stream_reply([*steps, chunk({}, finish_reason="stop")])
    fake.queue(Reply([b"".join(reply.steps)]) if together else reply)  # type: ignore[arg-type]
    async with gateway(route_to(fake.base_url)) as house:
        request = decode_chat_request(b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}')
        texts: list[str] = []
        room = asyncio.get_running_loop().create_future()

        def take(item: Item) -> asyncio.Future[None] | None:
            if not isinstance(item, ChunkChoice) or not item.delta.content:
                return None
            texts.append(item.delta.content)
            return None if room.done() else room

        answering = asyncio.create_task(house.provider.answer(request, house.route, Meter(), take))
        await asyncio.sleep(0.2)
        assert texts == ["0 "]
        room.set_result(None)
        await answering
        assert texts == [f"{number} " for number in range(50)]


async def test_the_official_client_takes_the_fake_for_openai(fake: FakeOpenAI) -> None:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(api_key=API_KEY, base_url=fake.base_url) as client:
        completion = await client.chat.completions.create(model="fake-model", messages=[{"role": "user", "content": "Hi"}], n=2)
        stream = await client.chat.completions.create(
            model="fake-model",
            messages=[{"role": "user", "content": "Hi"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        text = "".join([event.choices[0].delta.content or "" async for event in stream if event.choices])

    assert [choice.message.content for choice in completion.choices] == ["Grüße aus Köln!"] * 2
    assert text == "Grüße aus Köln!"
    assert fake.complaints == []


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"frobnicate": 1}, "frobnicate"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "y": 1}]}]}, "messages.0"),
        ({"tools": [{"type": "function", "function": {"name": "f", "x": 1}}]}, "tools.0"),
        ({"parallel_tool_calls": True}, "parallel_tool_calls"),
        ({"response_format": {"type": "json_object"}}, "messages"),
        ({"messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]}, "messages"),
    ],
)
async def test_the_fake_is_strict(fake: FakeOpenAI, change: dict[str, Any], param: str) -> None:
    body = {"model": "fake-model", "messages": [{"role": "user", "content": "Hi"}], "stream": True, **change}
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
    url = fake.base_url + "/chat/completions"
    async with aiohttp.ClientSession() as session, session.post(url, data=json.dumps(body), headers=headers) as response:
        assert response.status == 400
        assert str((await response.json())["error"]["param"]).startswith(param)

    assert len(fake.complaints) == 1
