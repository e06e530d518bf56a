import asyncio

import pytest
from tests.desks import Bench, opened, order

from tollway import clock
from tollway.admission import Admitted
from tollway.errors import Conflict, UnprocessableRequest


async def test_the_same_idempotency_key_gets_the_same_answer(bench: Bench) -> None:
    admitted = await bench.admit(10, key="k")
    with pytest.raises(Conflict, match="being answered"):
        await bench.admit(10, key="k")
    await bench.settle(admitted, 5, answer=b"the answer")
    assert await bench.replay(10, key="k") == b"the answer"
    with pytest.raises(UnprocessableRequest):
        await bench.admit(10, key="k", body=b"c" * 32)
    assert await bench.balance() == (995, 0)


async def test_parallel_duplicates_are_made_once(bench: Bench) -> None:
    results = await asyncio.gather(
        *(bench.desk.admit(order(bench.caller, 1, key="k")) for _ in range(50)), return_exceptions=True
    )
    assert [type(result) for result in results].count(Admitted) == 1
    assert [type(result) for result in results].count(Conflict) == 49


async def test_a_failed_answer_may_be_asked_for_again(bench: Bench) -> None:
    admitted = await bench.admit(10, key="k")
    await bench.settle(admitted, 0, status="failed")
    await bench.admit(10, key="k")


async def test_an_idempotency_key_is_its_accounts_own(bench: Bench) -> None:
    other = await opened(bench.database, 1000)
    await bench.admit(10, key="k")
    await other.admit(10, key="k", body=b"c" * 32)


async def test_an_answer_is_given_again_for_a_day(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    began = clock.now()
    await bench.settle(await bench.admit(100, key="k"), 30, answer=b"the answer")
    monkeypatch.setattr(clock, "now", lambda: began + 24 * 3600 - 60)
    assert await bench.replay(100, key="k") == b"the answer"
    monkeypatch.setattr(clock, "now", lambda: began + 24 * 3600 + 60)
    await bench.settle(await bench.admit(100, key="k"), 30, answer=b"another")
    assert await bench.replay(100, key="k") == b"another"
    assert await bench.balance() == (940, 0)


@pytest.mark.parametrize(("size", "is_kept"), [(4_000_000, True), (4_000_001, False)])
async def test_an_answer_that_is_too_large_is_not_kept_and_not_made_again(bench: Bench, size: int, is_kept: bool) -> None:
    await bench.settle(await bench.admit(100, key="k"), 30, answer=b"a" * size)
    if is_kept:
        assert len(await bench.replay(100, key="k")) == size
    else:
        with pytest.raises(Conflict, match="too large"):
            await bench.admit(100, key="k")
    assert await bench.balance() == (970, 0)
