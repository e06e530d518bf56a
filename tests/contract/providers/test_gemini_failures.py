"""What goes wrong upstream: errors in Google's words (gemini/errors.json), faults of the wire, figures that cannot be true."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec import structs
from structlog.testing import capture_logs
from tests.contract.providers.driving import cases, chat_request, collect, gemini, gemini_provider, gemini_route, items_of
from tests.fakes.faults import FAULTS, Hang, Heartbeats, Reply, failing
from tests.fakes.gemini import HELLO, FakeGemini, event, framed, streamed, text_event, usage
from tests.fakes.server import left_within

from tollway.errors import BadGateway, GatewayTimeout, ServiceUnavailable, TollwayError
from tollway.metering import credits_for, tariff_of
from tollway.providers import gemini as gemini_module
from tollway.providers.base import Item, Meter
from tollway.providers.gemini_answer import CallUsage, Tally
from tollway.wire.chat import ChunkChoice, Delta

ERRORS = cases(Path(__file__).parent / "gemini" / "errors.json")
SILENT = ("stall_before_headers", "stall_before_first_byte", "heartbeats_only")
STALLED = ("stall_after_first_event", "heartbeats_after_first_event")
KEY = "AIza-fake-key-of-the-operator"


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


def of_the_upstream(error: TollwayError, fake: FakeGemini) -> list[str]:
    """What the caller must not see of the upstream, as far as the error shows it."""
    shown = f"{error.message} {error.data} {error.param} {error}"
    return [word for word in (fake.key, str(fake.port), "127.0.0.1", "generativelanguage", "quota.", "http") if word in shown]


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: case["name"])
async def test_an_error_of_the_upstream(case: dict[str, Any], logs: list[Any]) -> None:
    body = case["body"] if isinstance(case["body"], str) else json.dumps(case["body"])
    async with gemini() as (provider, fake, route):
        fake.queue(
            Reply([body.encode()], status=case["status"], headers=case.get("headers", {}), content_type="application/json")
        )
        with pytest.raises(TollwayError) as caught:
            await collect(provider, chat_request(), route)

        error = caught.value
        assert {
            "status": error.status,
            "code": error.code,
            **({"param": error.param} if error.status == 400 else {}),
            **({} if error.retry_after_seconds is None else {"retry_after_seconds": error.retry_after_seconds}),
        } == case["error"]
        assert of_the_upstream(error, fake) == []
        assert len(fake.received) == 1
    operators = case["error"]["code"] in ("upstream_refused", "upstream_quota_exhausted")
    (line,) = [line for line in logs if line["event"] == "upstream_error"]
    assert line["log_level"] == ("error" if operators else "warning")
    assert (line["upstream"], line["status"], line["answered"]) == ("gemini", case["status"], error.status)


async def test_the_key_is_nowhere_but_in_its_header(logs: list[Any]) -> None:
    async with gemini() as (provider, fake, route):
        error = {"code": 400, "message": f"API key {fake.key} not valid", "status": fake.key}
        fake.queue(failing(400, json.dumps({"error": error}).encode()))
        with pytest.raises(BadGateway):
            await collect(provider, chat_request(), route)
        await collect(provider, chat_request(), route)

        for received in fake.received:
            assert received.headers["x-goog-api-key"] == fake.key
            others = {name: value for name, value in received.headers.items() if name != "x-goog-api-key"}
            assert fake.key not in f"{received.path} {received.query} {others} {received.body!r}"
        assert any("***" in str(line) for line in logs)
        assert fake.key not in f"{logs} {route!r}"


@pytest.mark.parametrize("key", [None, "another-key"])
async def test_without_a_good_key_the_operator_is_told_and_not_the_caller(key: str | None, logs: list[Any]) -> None:
    async with FakeGemini() as fake, gemini_provider() as provider:
        with pytest.raises(BadGateway) as caught:
            await collect(provider, chat_request(), gemini_route(fake.base_url, key))

    assert caught.value.code == "upstream_refused"
    assert "operator" in caught.value.message
    assert not caught.value.of_model
    assert [line["log_level"] for line in logs] == ["error"]


async def test_a_model_that_is_gone_is_the_operators_problem(logs: list[Any]) -> None:
    async with FakeGemini() as fake, gemini_provider() as provider:
        with pytest.raises(BadGateway) as caught:
            await collect(
                provider, chat_request(), gemini_route(fake.base_url, fake.key, "gemini-2.5-flash-lite-preview-06-17")
            )

    assert caught.value.code == "upstream_refused"
    assert caught.value.of_model
    assert logs[0]["upstream_model"] == "gemini-2.5-flash-lite-preview-06-17"


# --- the wire ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in (*SILENT, *STALLED)])
async def test_every_fault_of_the_wire_is_an_error_and_never_an_answer(name: str) -> None:
    async with gemini() as (provider, fake, route):
        fake.queue(FAULTS[name](streamed(*HELLO)))
        with pytest.raises(TollwayError) as caught:
            await collect(provider, chat_request(), route)

        assert caught.value.status in (429, 502, 503, 504)
        assert of_the_upstream(caught.value, fake) == []
        assert len(fake.received) == 1, "retries are the router's affair"


@pytest.mark.parametrize("name", SILENT)
async def test_silence_and_heartbeats_give_no_items(name: str) -> None:
    """So that the router's limits, which count items with content, see them as silence."""
    async with gemini() as (provider, fake, route):
        fake.queue(FAULTS[name](streamed(*HELLO)))
        async with aclosing(items_of(provider, chat_request(), route)) as stream:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(stream), 0.2)

        assert await left_within(fake.received[0])


@pytest.mark.parametrize("name", STALLED)
async def test_a_stall_in_mid_answer_gives_no_more_items(name: str) -> None:
    async with gemini() as (provider, fake, route):
        fake.queue(FAULTS[name](streamed(*HELLO)))
        meter = Meter()
        async with aclosing(items_of(provider, chat_request(), route, meter)) as stream:
            assert [(await anext(stream)).delta.content for _ in range(2)] == ["", "Hello"]  # type: ignore[union-attr]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(stream), 0.2)

        assert await left_within(fake.received[0])
        assert (meter.prompt_tokens, meter.completion_tokens) == (7, 2)


async def test_an_upstream_that_refuses_connections() -> None:
    async with gemini() as (provider, fake, route):
        await fake.stop()
        with pytest.raises(ServiceUnavailable) as caught:
            await collect(provider, chat_request(), route)

        assert of_the_upstream(caught.value, fake) == []


async def test_an_upstream_that_is_silent_for_ever_on_a_route_without_limits() -> None:
    async with FakeGemini() as fake, gemini_provider(silence_seconds=0.1) as provider:
        route = gemini_route(fake.base_url, fake.key)
        fake.queue(Reply([Hang()]))
        with pytest.raises(GatewayTimeout):
            await collect(provider, chat_request(), route)


async def test_an_end_that_is_not_followed_by_the_end_of_the_body_is_still_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemini_module, "TAIL_SECONDS_MAX", 0.1)
    async with gemini() as (provider, fake, route):
        for last in (Hang(), Heartbeats()):
            fake.queue(Reply([*streamed(*HELLO).steps, last]))
            chunks, used = await collect(provider, chat_request(), route)

            assert chunks[-1].finish_reason == "stop"
            assert used.completion_tokens == 3
            assert await left_within(fake.received[-1])


@pytest.mark.parametrize("form", ["{}", "[{}]", "\n{}\n"])
async def test_an_error_in_plain_json_in_the_midst_of_a_stream(form: str) -> None:
    error = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
    async with gemini() as (provider, fake, route):
        plain = form.replace("{}", json.dumps(error, indent=2)).encode()
        fake.queue(Reply([*streamed(HELLO[0]).steps, plain]))
        with pytest.raises(ServiceUnavailable):
            await collect(provider, chat_request(), route)


@pytest.mark.parametrize("choices", [1, 5])
@pytest.mark.parametrize("items", [1, 2])
async def test_a_caller_who_leaves_takes_the_upstreams_calls_along(choices: int, items: int) -> None:
    async with gemini() as (provider, fake, route):
        fake.queue(*[FAULTS["heartbeats_after_first_event"](streamed(*HELLO)) for _ in range(choices)])
        stream = items_of(provider, chat_request(n=choices), route)
        for _ in range(items):
            await anext(stream)
        await stream.aclose()

        assert len(fake.received) == choices
        for received in fake.received:
            assert await left_within(received)


@pytest.mark.parametrize("choices", [1, 5])
@pytest.mark.parametrize("name", [*SILENT, *STALLED])
async def test_so_does_one_who_leaves_while_nothing_comes(choices: int, name: str) -> None:
    async with gemini() as (provider, fake, route):
        fake.queue(*[FAULTS[name](streamed(*HELLO)) for _ in range(choices)])
        reading = asyncio.create_task(collect(provider, chat_request(n=choices), route))
        async with asyncio.timeout(10):
            while len(fake.received) < choices:  # noqa: ASYNC110 - plain, and quick enough
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

        assert len(fake.received) == choices
        for received in fake.received:
            assert await left_within(received)


# --- usage ------------------------------------------------------------------------------------------------------------

HOSTILE: list[Any] = [-1, True, False, 2**63, 10**30, 12.5, 1e308, "12", "x", "-1", [], {}, None, 0, 5]
NAMES = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount", "toolUsePromptTokenCount")


@hypothesis_settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.dictionaries(
                st.sampled_from(NAMES), st.one_of(st.sampled_from(HOSTILE), st.integers(), st.floats()), max_size=5
            ),
            st.sampled_from([None, [], "x", 3, {"promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 10**9}, 3, {}]}]),
        ),
        max_size=4,
    )
)
def test_whatever_the_upstream_counts_the_usage_is_sound(reports: list[Any]) -> None:
    route = structs.replace(gemini_route("http://x", None), output_max=65_536)
    call, tally = CallUsage(route, 10), Tally(meter := Meter())
    with capture_logs():
        for report in reports:
            call.read([ChunkChoice(0, Delta(content="Hello"))], report)
            tally.note(call)
        call.close(blocked=False)
    tally.note(call)
    used = tally.usage()

    details, reasoning = used.prompt_tokens_details, used.completion_tokens_details
    assert details is not None
    figures = [used.prompt_tokens, used.completion_tokens, details.cached_tokens, details.audio_tokens or 0]
    assert all(type(figure) is int and figure >= 0 for figure in figures)
    assert (details.cached_tokens or 0) + (details.audio_tokens or 0) <= used.prompt_tokens <= 4_000_000
    assert used.completion_tokens <= 300_000
    assert reasoning is None or 0 < (reasoning.reasoning_tokens or 0) <= used.completion_tokens
    assert used.total_tokens == used.prompt_tokens + used.completion_tokens
    assert credits_for(used, tariff_of(route.price, 1_000_000)) >= 0
    assert (meter.prompt_tokens, meter.completion_tokens) == (used.prompt_tokens, used.completion_tokens)
    assert meter.prompt_tokens_details == used.prompt_tokens_details


@pytest.mark.parametrize("value", [-5, True, 2**40, 3.5, "many", [], None])
@pytest.mark.parametrize("name", ["promptTokenCount", "candidatesTokenCount", "cachedContentTokenCount"])
async def test_a_figure_that_cannot_be_true_counts_as_not_said(name: str, value: object, logs: list[Any]) -> None:
    metadata = {**usage(100, 5, cachedContentTokenCount=40), name: value}
    async with gemini() as (provider, fake, route):
        fake.queue(framed(event([{"text": "Hello world!"}], finish="STOP", usage=metadata)))
        _, used = await collect(provider, chat_request(), route, meter := Meter())

    body_tokens = -(-len(fake.received[0].body) // 4)
    prompt = body_tokens if name == "promptTokenCount" else 100
    cached = 0 if name == "cachedContentTokenCount" else min(40, prompt)
    assert used.prompt_tokens == prompt
    assert used.completion_tokens == (3 if name == "candidatesTokenCount" else 5)  # 12 bytes
    assert used.prompt_tokens_details is not None
    assert used.prompt_tokens_details.cached_tokens == cached
    warned = [line["fields"] for line in logs if line["event"] == "upstream_usage_doubtful"]
    assert bool(warned) == bool(meter.flags) == (value is not None or name != "cachedContentTokenCount")


async def test_an_upstream_that_counts_nothing_is_counted_by_what_came(logs: list[Any]) -> None:
    async with gemini() as (provider, fake, route):
        fake.queue(
            framed(event([{"text": "x" * 40}]), event([{"text": "é" * 20}, {"text": "y" * 8, "thought": True}], finish="STOP"))
        )
        _, used = await collect(provider, chat_request(), route)

    assert used.prompt_tokens == -(-len(fake.received[0].body) // 4)
    assert used.completion_tokens == 22
    assert used.completion_tokens_details is not None
    assert used.completion_tokens_details.reasoning_tokens == 2
    assert [line["fields"] for line in logs] == [["missing"]]


async def test_the_meter_keeps_up_with_the_stream() -> None:
    async with gemini() as (provider, fake, route):
        last = text_event("z", candidates=9, finish="STOP")
        fake.queue(streamed(text_event("x" * 8, candidates=1), text_event("y" * 8), last))
        meter = Meter()
        seen: list[tuple[int | None, int | None]] = []

        def take(item: Item) -> None:
            if isinstance(item, ChunkChoice) and item.delta.content:
                seen.append((meter.prompt_tokens, meter.completion_tokens))

        await provider.answer(chat_request(), route, meter, take)

    assert seen == [(7, 1), (7, 3), (7, 9)]


async def test_nothing_is_metered_of_a_call_that_was_refused() -> None:
    async with gemini() as (provider, fake, route):
        fake.queue(failing(503))
        meter = Meter()
        with pytest.raises(ServiceUnavailable):
            await collect(provider, chat_request(), route, meter)

    assert meter == Meter()
