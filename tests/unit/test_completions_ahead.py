"""An engine of this machine begins to read while the hold is being written: the use case with a scripted provider."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from tests.houses import GOOD, ROUTE, House, Script, Step, house_with, say

from tollway.catalog import LOCAL
from tollway.errors import InsufficientCredits, ServiceUnavailable
from tollway.storage import Database


@pytest.fixture
async def house(database: Database) -> AsyncIterator[House]:
    async with house_with(database, 1_000_000, Script()) as house:
        yield house


@asynccontextmanager
async def nothing_written(house: House) -> AsyncIterator[None]:
    """Whatever the desk is asked for meanwhile waits for the end of the `with`."""
    begun, go, database = threading.Event(), threading.Event(), house.bench.database

    def wait() -> bool:
        with database.transaction():
            begun.set()
            return go.wait(10)

    busy = asyncio.create_task(database.in_writer(wait))
    assert await asyncio.to_thread(begun.wait, 10)
    try:
        yield
    finally:
        go.set()
        assert await busy


async def begun(house: House, count: int) -> bool:
    """Whether the provider has been asked `count` times, after enough time for it to be asked more often."""
    async with asyncio.timeout(10):
        while len(house.script.requests) < count:  # noqa: ASYNC110 - plain, and quick enough
            await asyncio.sleep(0.01)
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


@pytest.mark.parametrize("steps", [(say("one "), 60.0), GOOD])
async def test_a_restart_ends_what_was_begun_with_an_error_and_free(house: House, steps: tuple[Step, ...]) -> None:
    await house.text()
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
    assert await house.bench.balance() == (1_000_000 - (2 if steps is GOOD else 1) * 26, 0)
