"""What is charged, whatever becomes of an answer: the use case with a real desk and database, and a scripted provider."""

import asyncio
import hashlib
import itertools
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace
from tests.answers import chunks_of
from tests.desks import Bench, limited, opened

from tollway.accounts import Limits
from tollway.admission import Idempotency, Outcome, Settled
from tollway.admission.nodes import expire_holds_of
from tollway.catalog import LOCAL, Catalog, Model, Plan, Price, Route
from tollway.completions import CHUNKS_TOGETHER_MAX, Answer, Call, Completions
from tollway.errors import (
    BadGateway,
    Conflict,
    InsufficientCredits,
    InternalError,
    ServiceUnavailable,
    StorageUnavailable,
    TollwayError,
)
from tollway.ids import request_id
from tollway.observability import Metrics
from tollway.providers.base import Meter
from tollway.providers.routing import Router
from tollway.settings import Settings
from tollway.storage import Database
from tollway.storage.tables import requests
from tollway.wire.chat import ChatRequest, ChunkChoice, CompletionTokensDetails, Delta, PromptTokensDetails, Usage
from tollway.wire.decode import decode_chat_request

# 2 credits a token of either kind
PRICE = Price(prompt="1", completion="1", cached_prompt="0.5", audio_prompt="1")
MODEL = Model("house/model", "Model", "House", "", 100_000, 1000, PRICE)
ROUTE = Route(MODEL, MODEL.id, LOCAL, "m", PRICE, 100_000, 1000, frozenset(), stand_in=False)
WORDS = ("one ", "two ", "three")
USAGE = Usage(prompt_tokens=10, completion_tokens=3, total_tokens=13)

Step = ChunkChoice | Usage | Exception | float


def say(word: str) -> ChunkChoice:
    return ChunkChoice(0, Delta(content=word))


END = ChunkChoice(0, Delta(), finish_reason="stop")
GOOD: tuple[Step, ...] = (*map(say, WORDS), END, USAGE)


@dataclass
class Script:
    """A provider that plays `steps`; a float is a pause. `counts` is what it writes to the meter with each word."""

    steps: tuple[Step, ...] = GOOD
    counts: Callable[[Meter], None] = lambda meter: None
    requests: list[ChatRequest] = field(default_factory=list)
    closed: int = 0

    def check(self, request: ChatRequest, route: Route) -> list[str]:
        return []

    async def stream(self, request: ChatRequest, route: Route, meter: Meter) -> AsyncGenerator[ChunkChoice | Usage]:
        self.requests.append(request)
        try:
            for step in self.steps:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, Exception):
                    raise step
                else:
                    if isinstance(step, ChunkChoice) and step.delta.content:
                        self.counts(meter)
                    yield step
        finally:
            self.closed += 1


@dataclass
class House:
    bench: Bench
    completions: Completions
    script: Script

    def call(self, *, key: str | None = None, **fields: Any) -> Call:
        body = json.dumps({"model": MODEL.id, "messages": [{"role": "user", "content": "Hi"}], **fields}).encode()
        request, unknown = decode_chat_request(body)
        asked = None if key is None else Idempotency(key, hashlib.sha256(body).digest())
        return Call(request, unknown, len(body), self.bench.caller, request_id(), idempotency=asked)

    async def start(self, **fields: Any) -> Answer:
        return await self.completions.start(self.call(**fields))

    async def text(self, **fields: Any) -> str:
        completion = await (await self.start(**fields)).completion()
        return completion.choices[0].message.content or ""

    async def row(self) -> Any:
        """The newest row of the request log."""
        query = requests.select().order_by(requests.c.id.desc()).limit(1)
        return await self.bench.database.read(lambda connection: connection.execute(query).one())

    async def ended(self) -> None:
        """Waits until no answer is in work."""
        while self.completions._running:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@asynccontextmanager
async def house_with(
    database: Database, credits_granted: int, script: Script, routes: tuple[Route, ...] = (ROUTE,)
) -> AsyncIterator[House]:
    bench = await opened(database, credits_granted)
    router = Router({"local": script, "openai": script}, Metrics())
    completions = Completions(Catalog([Plan(MODEL, routes)]), router, bench.desk, Settings())
    yield House(bench, completions, script)
    await completions.drain(0)
    await bench.desk.close()
    assert (await bench.verified()).held == 0


@pytest.fixture
async def house(database: Database) -> AsyncIterator[House]:
    async with house_with(database, 1_000_000, Script()) as house:
        yield house


async def test_an_answer_is_charged_what_it_used_before_its_end_is_seen(house: House) -> None:
    answer = await house.start(stream=True)
    balances: list[tuple[str | None, tuple[int, int]]] = []
    async for chunk in chunks_of(answer):
        balances.append((chunk.choices[0].finish_reason, await house.bench.balance()))
        meta = chunk.meta
    assert balances[-1] == ("stop", (1_000_000 - 26, 0))
    assert [reason for reason, _ in balances[:-1]] == [None] * (len(balances) - 1)
    assert meta
    assert meta.usage
    assert meta.usage.credits_used == 26
    row = await house.row()
    assert (row.status, row.finish_reason, row.credits, row.prompt_tokens, row.completion_tokens) == (
        "succeeded",
        "stop",
        26,
        10,
        3,
    )


async def test_chunks_that_are_there_together_are_handed_out_together(house: House) -> None:
    house.script.steps = (say("one "), say("two "), 0.2, *(say(f"{number} ") for number in range(20)), END, USAGE)
    answer = await house.start(stream=True)
    seen = [[chunk.choices[0].delta.content for chunk in chunks] async for chunks in answer.chunks_ready()]
    assert seen[0] == ["one ", "two "]
    assert max(map(len, seen)) == CHUNKS_TOGETHER_MAX
    assert [*itertools.chain(*seen)][:-1] == ["one ", "two ", *(f"{number} " for number in range(20))]


async def test_what_came_before_a_failure_is_handed_out_before_it(house: House) -> None:
    house.script.steps = (say("one "), say("two "), BadGateway("broken"))
    ready = (await house.start(stream=True)).chunks_ready()
    assert [chunk.choices[0].delta.content for chunk in await anext(ready)] == ["one ", "two "]
    with pytest.raises(BadGateway):
        await anext(ready)


async def test_cached_tokens_cost_their_own_price(house: House) -> None:
    cached = Usage(10, 3, 13, prompt_tokens_details=PromptTokensDetails(cached_tokens=4))
    house.script.steps = (say("x"), END, cached)
    completion = await (await house.start()).completion()
    assert completion.meta.usage is not None
    assert completion.meta.usage.credits_used == 6 * 2 + 4 * 1 + 3 * 2


@pytest.mark.parametrize("before", [0, 1, 3])
async def test_a_failed_answer_is_free_and_its_cost_is_the_operators(house: House, before: int) -> None:
    def counts(meter: Meter) -> None:
        meter.prompt_tokens, meter.completion_tokens = 10, (meter.completion_tokens or 0) + 1

    house.script.counts = counts
    house.script.steps = (*map(say, WORDS[:before]), BadGateway("broken"))
    with pytest.raises(BadGateway):
        await house.text()
    assert await house.bench.balance() == (1_000_000, 0)
    row = await house.row()
    assert (row.status, row.error_code, row.credits) == ("failed", "upstream_error", 0)
    assert row.loss == (20 + 2 * before if before else 0)


async def test_a_bug_in_a_provider_is_free(house: House) -> None:
    house.script.steps = (say("x"), ValueError("oops"))
    with pytest.raises(InternalError):
        await house.text()
    assert await house.bench.balance() == (1_000_000, 0)


async def test_an_empty_answer_is_free(house: House) -> None:
    house.script.steps = (END, Usage(10, 0, 10))
    assert await house.text() == ""
    assert await house.bench.balance() == (1_000_000, 0)
    assert (await house.row()).loss == 20


@pytest.mark.parametrize(("prompt", "completion", "expected"), [(10, 2, 24), (None, None, None)])
async def test_who_leaves_pays_for_what_was_made(
    house: House, prompt: int | None, completion: int | None, expected: int | None
) -> None:
    def counts(meter: Meter) -> None:
        meter.prompt_tokens, meter.completion_tokens = prompt, completion

    house.script.counts = counts
    house.script.steps = (say("one "), say("two "), 60.0, END, USAGE)
    call = house.call(stream=True)
    answer = await house.completions.start(call)
    chunks = chunks_of(answer)
    for _ in range(2):
        await anext(chunks)
    answer.abandon()
    await house.ended()
    assert house.script.closed == 1
    if expected is None:  # nobody counted: a token for every four bytes
        expected = 2 * (-(-call.body_bytes // 4)) + 2 * 2
    assert await house.bench.balance() == (1_000_000 - expected, 0)
    assert (await house.row()).status == "cancelled"


async def test_an_image_counts_as_an_image_however_large_it_is(house: House) -> None:
    house.script.steps = (say("one "), 60.0)
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 40_000}}
    call = house.call(stream=True, messages=[{"role": "user", "content": [image]}])
    call.caller = limited(call.caller, key=Limits(tokens_per_minute=2_000))
    answer = await house.completions.start(call)
    await anext(chunks_of(answer))
    answer.abandon()
    await house.ended()
    row = await house.row()
    assert 256 < row.prompt_tokens < 256 + 60
    assert await house.bench.balance() == (1_000_000 - 2 * row.prompt_tokens - 2, 0)


async def test_who_leaves_before_anything_was_made_pays_nothing(house: House) -> None:
    house.script.steps = (60.0, *GOOD)
    answer = await house.start(stream=True)
    await asyncio.sleep(0.01)
    answer.abandon()
    await house.ended()
    assert await house.bench.balance() == (1_000_000, 0)


HOSTILE = [
    Usage(-10, -3, -13),
    Usage(2**63, 2**63, 2**64),
    Usage(10, 3, -1),
    Usage(10, 3, 13, prompt_tokens_details=PromptTokensDetails(cached_tokens=50)),
    Usage(10, 3, 13, prompt_tokens_details=PromptTokensDetails(cached_tokens=-50)),
    Usage(10, 3, 13, prompt_tokens_details=PromptTokensDetails(cached_tokens=8, audio_tokens=8)),
    Usage(10, 3, 13, completion_tokens_details=CompletionTokensDetails(reasoning_tokens=2**70)),
]


@pytest.mark.parametrize("usage", HOSTILE, ids=str)
async def test_hostile_usage_never_pays_out_and_never_costs_more_than_was_held(house: House, usage: Usage) -> None:
    house.script.steps = (say("x"), END, usage)
    call = house.call(max_tokens=5)
    held = house.completions.dry_run(call).credits_max
    completion = await (await house.completions.start(call)).completion()
    posted, _ = await house.bench.balance()
    assert 1_000_000 - held <= posted <= 1_000_000
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens >= 0
    details = completion.usage.prompt_tokens_details
    if details is not None and details.cached_tokens is not None:
        assert 0 <= details.cached_tokens <= completion.usage.prompt_tokens


@pytest.mark.parametrize("text", ["12345678", "日本x$"])
async def test_missing_usage_is_estimated_from_the_bytes_and_flagged(house: House, text: str) -> None:
    house.script.steps = (say(text), END)
    call = house.call()
    await (await house.completions.start(call)).completion()
    row = await house.row()
    assert (row.completion_tokens, row.flags) == (2, "usage_missing")


async def test_refused_for_lack_of_credits_before_anybody_is_asked(database: Database) -> None:
    async with house_with(database, 5000, Script()) as house:
        with pytest.raises(InsufficientCredits) as refusal:
            await house.start(max_tokens=1000, n=3)
        data = refusal.value.data
        assert data is not None
        assert data["credits_available"] == 5000 < data["credits_needed"]
        assert house.script.requests == []
        fitting = data["max_tokens_affordable"]
        assert f"max_tokens: {fitting}" in refusal.value.message
        await house.start(max_tokens=fitting, n=3)
        await house.ended()
        assert len(house.script.requests) == 1


async def test_without_max_tokens_the_answer_is_cut_to_what_is_affordable(database: Database) -> None:
    async with house_with(database, 2500, Script()) as house:
        call = house.call()
        await (await house.completions.start(call)).completion()
        asked = house.script.requests[0].output_tokens_max
        assert asked is not None
        assert 1 <= asked < 1000
        rich = await house.bench.ledger.grant(house.bench.caller.account_id, 1_000_000)
        assert rich is not None
        await house.text()
        assert house.script.requests[1].output_tokens_max is None


async def test_a_restart_ends_answers_with_an_error_and_free(house: House) -> None:
    house.script.steps = (say("one"), 60.0, END, USAGE)
    answer = await house.start(stream=True)
    chunks = chunks_of(answer)
    await anext(chunks)
    await house.completions.drain(0.01)
    with pytest.raises(ServiceUnavailable, match="restarted"):
        await anext(chunks)
    assert await house.bench.balance() == (1_000_000, 0)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_cannot_be_charged_fails(house: House, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    async def finish(outcome: Outcome) -> Settled:
        raise StorageUnavailable(reason="the disk is full")

    answer = await house.start(stream=stream)
    monkeypatch.setattr(house.bench.desk, "finish", finish)
    seen: list[Any] = []

    async def take() -> None:
        if not stream:
            await answer.completion()
        async for chunk in chunks_of(answer):
            seen.extend(chunk.choices)

    with pytest.raises(StorageUnavailable):
        await take()
    assert all(choice.finish_reason is None for choice in seen), "nobody was told that all is well"
    assert answer.cost is None
    monkeypatch.undo()
    assert (await house.bench.balance())[0] == 1_000_000
    await house.bench.database.write(lambda connection: expire_holds_of(connection, ["node_test"]))


@pytest.mark.parametrize("ends", ["restart", "leaving"])
async def test_what_is_being_charged_comes_to_its_end(house: House, monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
    """Else it would be charged, and its caller would never hear that all is well."""
    finish, begun, go_on = house.bench.desk.finish, asyncio.Event(), asyncio.Event()

    async def slow(outcome: Outcome) -> Settled:
        begun.set()
        await go_on.wait()
        return await finish(outcome)

    monkeypatch.setattr(house.bench.desk, "finish", slow)
    answer = await house.start(stream=True)
    await begun.wait()
    if ends == "restart":
        stopping = asyncio.create_task(house.completions.drain(0))
        await asyncio.sleep(0.01)
        go_on.set()
        await stopping
        assert (await read(answer))[-1].choices[0].finish_reason == "stop"
    else:
        answer.abandon()
        go_on.set()
        await house.ended()
    assert await house.bench.balance() == (1_000_000 - 26, 0)
    assert (await house.row()).status == "succeeded"


# --- Idempotency-Key --------------------------------------------------------------------------------------------------


async def read(answer: Answer) -> list[Any]:
    return [chunk async for chunk in chunks_of(answer)]


@pytest.mark.parametrize("stream", [True, False])
async def test_the_same_request_again_gets_the_same_answer_and_is_charged_once(house: House, stream: bool) -> None:
    outcomes = []
    for _ in range(2):
        answer = await house.start(key="k", stream=stream)
        outcomes.append(await read(answer) if stream else await answer.completion())
        assert answer.inference_id
    assert outcomes[0] == outcomes[1]
    assert len(house.script.requests) == 1
    assert await house.bench.balance() == (1_000_000 - 26, 0)
    assert answer.replayed


async def test_fifty_at_once_are_made_once(house: House) -> None:
    house.script.steps = (0.05, *GOOD)
    results = await asyncio.gather(*(house.text(key="k") for _ in range(50)), return_exceptions=True)
    assert [type(result) for result in results if not isinstance(result, str)] == [Conflict] * 49
    assert len(house.script.requests) == 1
    assert await house.bench.balance() == (1_000_000 - 26, 0)


async def test_an_idempotent_answer_is_made_to_its_end_though_its_caller_left(house: House) -> None:
    house.script.steps = (*(say(f"{number} ") for number in range(400)), 0.05, END, USAGE)  # more than the queue takes
    answer = await house.start(key="k", stream=True)
    await anext(chunks_of(answer))
    answer.abandon()
    await house.ended()
    again = await house.start(key="k", stream=True)
    assert len(await read(again)) == 401
    assert len(house.script.requests) == 1


async def test_a_failure_is_not_replayed(house: House) -> None:
    house.script.steps = (BadGateway("broken"),)
    with pytest.raises(TollwayError):
        await house.text(key="k")
    house.script.steps = GOOD
    assert await house.text(key="k") == "one two three"


# --- an engine of this machine begins while the hold is being written -------------------------------------------------


@asynccontextmanager
async def nothing_written(house: House) -> AsyncIterator[None]:
    """Whatever the desk is asked for meanwhile waits for the end of the `with`."""
    go = threading.Event()
    busy = asyncio.create_task(house.bench.database.in_writer(lambda: go.wait(10)))
    await asyncio.sleep(0)
    try:
        yield
    finally:
        go.set()
        assert await busy


async def begun(house: House, count: int) -> bool:
    """Whether the provider has been asked `count` times, after enough time for it to be asked more often."""
    await asyncio.sleep(0.02)
    return len(house.script.requests) == count


async def test_the_engine_begins_while_the_hold_is_written(house: House) -> None:
    assert await house.text() == "one two three"
    async with nothing_written(house):
        waiting = asyncio.create_task(house.text())
        assert await begun(house, 2)
        assert not waiting.done(), "nothing is handed out before it is admitted"
    assert await waiting == "one two three"
    assert await house.bench.balance() == (1_000_000 - 2 * 26, 0)


async def test_it_waits_for_the_first_request_of_a_key_and_for_an_idempotency_key(house: House) -> None:
    async with nothing_written(house):
        waiting = asyncio.create_task(house.text())
        assert await begun(house, 0)
    await waiting
    async with nothing_written(house):
        waiting = asyncio.create_task(house.text(key="k"))
        assert await begun(house, 1)
    await waiting


async def test_one_request_of_a_key_at_a_time_goes_ahead(house: House) -> None:
    await house.text()
    async with nothing_written(house):
        waiting = [asyncio.create_task(house.text()) for _ in range(5)]
        assert await begun(house, 2)
    assert await asyncio.gather(*waiting) == ["one two three"] * 5
    assert len(house.script.requests) == 6


async def test_an_upstream_elsewhere_is_never_asked_before_the_hold_is_written(database: Database) -> None:
    elsewhere = replace(ROUTE, upstream=replace(LOCAL, name="elsewhere", dialect="openai"))
    async with house_with(database, 1_000_000, Script(), routes=(ROUTE, elsewhere)) as house:
        await house.text()
        async with nothing_written(house):
            waiting = asyncio.create_task(house.text())
            assert await begun(house, 1)
        await waiting


async def test_who_is_refused_after_all_was_never_begun(database: Database) -> None:
    async with house_with(database, 3000, Script()) as house:
        await house.text(max_tokens=10)
        house.script.steps = (say("one "), 60.0)
        for begun_before in (2, 2):  # once only
            with pytest.raises(InsufficientCredits):
                await house.start(max_tokens=900)
            await house.ended()
            assert len(house.script.requests) == house.script.closed == begun_before
        assert await house.bench.balance() == (3000 - 26, 0)
        assert (await house.row()).status == "succeeded", "the log has nothing of it"


async def test_what_was_begun_is_begun_again_when_less_is_affordable(database: Database) -> None:
    async with house_with(database, 10_000, Script()) as house:
        await house.text()
        await house.bench.settle(await house.bench.admit(6500), 6500)
        house.script.steps = (say("x"), 60.0)
        async with nothing_written(house):
            waiting = asyncio.create_task(house.text())
            assert await begun(house, 2)
            house.script.steps = GOOD
        assert await waiting == "one two three"
        assert 0 < (house.script.requests[2].output_tokens_max or 0) < 1000
        assert house.script.closed == 3


async def test_who_leaves_while_being_admitted_ends_what_was_begun(house: House) -> None:
    await house.text()
    house.script.steps = (say("one "), 60.0)
    async with nothing_written(house):
        waiting = asyncio.create_task(house.start())
        assert await begun(house, 2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await house.ended()
        assert house.script.closed == 2
    await house.bench.desk.close()
    assert await house.bench.balance() == (1_000_000 - 26, 0)


async def test_a_restart_ends_what_was_begun_with_an_error_and_free(house: House) -> None:
    await house.text()
    for steps in ((say("one "), 60.0), GOOD):
        house.script.steps = steps
        async with nothing_written(house):
            waiting = asyncio.create_task(house.text())
            await asyncio.sleep(0.02)
            stopping = asyncio.create_task(house.completions.drain(0))
            await asyncio.sleep(0.02)
        await stopping
        if steps is GOOD:
            assert await waiting == "one two three", "it was made already"
        else:
            with pytest.raises(ServiceUnavailable):
                await waiting
    assert await house.bench.balance() == (1_000_000 - 2 * 26, 0)
