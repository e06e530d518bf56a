"""What is charged, whatever becomes of an answer: the use case with a real desk and database, and a scripted provider."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import structs
from tests.answers import chunks_of, handed_out
from tests.desks import limited
from tests.houses import END, GOOD, ROUTE, USAGE, WORDS, House, Script, house_with, say

from tollway.accounts import Limits
from tollway.admission import Outcome, Settled
from tollway.admission.nodes import expire_holds_of
from tollway.catalog import Limits as UpstreamLimits
from tollway.completions import CHUNKS_TOGETHER_MAX, QUEUE_BYTES_MAX, QUEUE_CHUNKS_MAX, Answer
from tollway.errors import (
    BadGateway,
    Conflict,
    GatewayTimeout,
    InsufficientCredits,
    InternalError,
    ServiceUnavailable,
    StorageUnavailable,
    TollwayError,
)
from tollway.providers import patience
from tollway.providers.base import Meter
from tollway.storage import Database
from tollway.wire.chat import ChunkChoice, CompletionTokensDetails, Delta, PromptTokensDetails, Usage


@pytest.fixture
async def house(database: Database) -> AsyncIterator[House]:
    async with house_with(database, 1_000_000, Script()) as house:
        yield house


async def test_an_answer_is_charged_what_it_used_before_its_end_is_seen(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = house.bench.desk.finish

    async def finish_late(outcome: Outcome) -> Settled:
        await asyncio.sleep(0.2)  # whoever does not wait for it sees the end before
        return await finish(outcome)

    monkeypatch.setattr(house.bench.desk, "finish", finish_late)
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
    seen = [[choice.delta.content for choice in choices] async for choices in handed_out(answer)]
    assert seen[0] == ["one ", "two "]
    assert max(map(len, seen)) == CHUNKS_TOGETHER_MAX
    assert [*itertools.chain(*seen)] == ["one ", "two ", *(f"{number} " for number in range(20))]


async def test_what_came_before_a_failure_is_handed_out_before_it(house: House) -> None:
    house.script.steps = (say("one "), say("two "), BadGateway("broken"))
    answer = await house.start(stream=True)
    given = handed_out(answer)
    assert [choice.delta.content for choice in await anext(given)] == ["one ", "two "]
    with pytest.raises(BadGateway):
        await anext(given)


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


async def test_who_leaves_pays_for_cached_tokens_what_they_cost(house: House) -> None:
    def counts(meter: Meter) -> None:
        cached, thought = PromptTokensDetails(cached_tokens=9), CompletionTokensDetails(reasoning_tokens=1)
        meter.note(Usage(10, 2, 12, completion_tokens_details=thought, prompt_tokens_details=cached))

    house.script.counts = counts
    house.script.steps = (say("one "), 60.0, END, USAGE)
    answer = await house.start(stream=True)
    await anext(chunks_of(answer))
    answer.abandon()
    await house.ended()
    row = await house.row()
    assert (row.status, row.cached_tokens, row.reasoning_tokens) == ("cancelled", 9, 1)
    assert row.credits == 1 * 2 + 9 * 1 + 2 * 2


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


async def test_who_reads_too_slowly_for_the_time_limit_pays_for_what_was_made(database: Database) -> None:
    """He is told where it ends, and the upstream is not waited for any longer."""
    script = Script((*(say(f"{number} ") for number in range(QUEUE_CHUNKS_MAX)), 60.0, END, USAGE))
    brief = UpstreamLimits(first_token_seconds=9, between_tokens_seconds=9, total_seconds=0.3, attempts_max=1)
    route = structs.replace(ROUTE, upstream=structs.replace(ROUTE.upstream, limits=brief))
    async with house_with(database, 1_000_000, script, (route,)) as house:
        answer = await house.start(stream=True)
        async with asyncio.timeout(5):
            await house.ended()
        assert script.closed == 1
        with pytest.raises(GatewayTimeout, match="read too slowly"):
            await read(answer)
        row = await house.row()
        assert (row.status, row.error_code, row.loss) == ("cancelled", "read_too_slowly", 0)
        assert await house.bench.balance() == (1_000_000 - row.credits, 0)
        assert row.credits > 2 * QUEUE_CHUNKS_MAX / 2


async def test_few_large_chunks_fill_the_queue_as_many_small_ones_do(house: House) -> None:
    large = "x" * (QUEUE_BYTES_MAX // 2)
    house.script.steps = (*[say(large)] * 10, END, USAGE)
    answer = await house.start(stream=True)
    await asyncio.sleep(0.05)
    assert len(answer._ready._items) == 2
    assert sum(len(choice.delta.content or "") for chunk in await read(answer) for choice in chunk.choices) == 10 * len(large)


async def test_who_catches_up_at_the_last_moment_pays_as_well(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LOOK_SECONDS", 0.02)
    script = Script((*(say(f"{number} ") for number in range(QUEUE_CHUNKS_MAX)), 60.0, END, USAGE))
    brief = UpstreamLimits(first_token_seconds=9, between_tokens_seconds=9, total_seconds=0.6, attempts_max=1)
    route = structs.replace(ROUTE, upstream=structs.replace(ROUTE.upstream, limits=brief))
    async with house_with(database, 1_000_000, script, (route,)) as house:
        answer = await house.start(stream=True)
        await asyncio.sleep(0.5)
        with pytest.raises(GatewayTimeout, match="read too slowly"):
            await read(answer)
        assert (await house.row()).credits > QUEUE_CHUNKS_MAX


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
    held = house.completions.dry_run(call).cost.credits_max
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


@pytest.mark.parametrize("parameter", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("spend_limit", [None, 4500])
async def test_refused_for_lack_of_credits_before_anybody_is_asked(
    database: Database, parameter: str, spend_limit: int | None
) -> None:
    async with house_with(database, 5000, Script()) as house:
        if spend_limit is not None:
            house.bench.caller = structs.replace(house.bench.caller, spend_limit_credits=spend_limit, spend_window="day")
        with pytest.raises(InsufficientCredits) as refusal:
            await house.start(**{parameter: 1000}, n=3)
        data = refusal.value.data
        assert data is not None
        assert data["credits_available"] == 5000 < data["credits_needed"]
        assert house.script.requests == []
        fitting = data["max_tokens_affordable"]
        assert f"`{parameter}: {fitting}` would fit" in refusal.value.message
        await house.start(**{parameter: fitting}, n=3)
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


async def test_a_restart_waits_for_what_begins_meanwhile(house: House) -> None:
    """Its request's body was still on its way."""
    house.script.steps = (say("one"), 0.1, say("two"), END, USAGE)
    first = await house.start(stream=True)
    draining = asyncio.create_task(house.completions.drain(30))
    await asyncio.sleep(0.05)
    second = await house.start(stream=True)
    await draining
    for answer in (first, second):
        assert (await read(answer))[-1].choices[0].finish_reason == "stop"


async def test_a_restart_ends_also_what_began_after_all_had_ended(house: House) -> None:
    house.script.steps = (say("one"), 60.0, END, USAGE)
    await house.completions.drain(0.1)
    chunks = chunks_of(await house.start(stream=True))
    await anext(chunks)
    with pytest.raises(ServiceUnavailable, match="restarted"):
        await anext(chunks)


async def test_what_would_begin_after_the_time_of_a_restart_is_an_error_and_free(house: House) -> None:
    await house.completions.drain(0)
    await asyncio.sleep(0.01)
    answer = await house.start(stream=True)
    with pytest.raises(ServiceUnavailable, match="restarted"):
        await answer.first_chunk()
    assert house.script.requests == []
    assert await house.bench.balance() == (1_000_000, 0)


@pytest.mark.parametrize("how", ["stopped", "abandoned"])
async def test_what_ends_before_its_first_step_is_settled(house: House, how: str) -> None:
    answer = await house.start(stream=True)
    if how == "stopped":
        answer.stop()
        with pytest.raises(ServiceUnavailable, match="restarted"):
            await answer.first_chunk()
    else:
        answer.abandon()
    await house.ended()
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


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
async def test_choices_begin_in_the_order_of_their_indexes(house: House, order: tuple[int, ...]) -> None:
    """OpenAI's own client for Python takes the next choice that begins for the next in order."""
    house.script.steps = (
        *itertools.chain(
            *((ChunkChoice(i, Delta(role="assistant", content="")), ChunkChoice(i, Delta(content=f"{i}"))) for i in order)
        ),
        *(ChunkChoice(i, Delta(), finish_reason="stop") for i in order),
        USAGE,
    )
    answer = await house.start(stream=True, n=3)

    choices = [choice async for chunk in chunks_of(answer) for choice in chunk.choices]

    assert [choice.index for choice in choices if choice.delta.role] == [0, 1, 2]
    for i in range(3):
        own = [choice for choice in choices if choice.index == i]
        assert [(bool(choice.delta.role), choice.delta.content or "") for choice in own] == [
            (True, ""),
            (False, f"{i}"),
            (False, ""),
        ]
