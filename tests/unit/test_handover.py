import asyncio

import pytest

from tollway.handover import Handover


async def test_what_is_there_is_taken_together_and_in_order() -> None:
    line: Handover[int] = Handover()
    for number in range(5):
        line.put(number)
    line.end()
    assert [await line.take(3), await line.take(3), await line.take(3), await line.take(3)] == [[0, 1, 2], [3, 4], [], []]


async def test_who_takes_waits_and_what_was_put_comes_before_the_failure() -> None:
    line: Handover[int] = Handover()
    taking = asyncio.create_task(line.take(8))
    await asyncio.sleep(0)
    assert not taking.done()
    line.put(1)
    line.end(ValueError("broken"))
    assert await taking == [1]
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            await line.take(8)


async def test_who_gave_up_waiting_may_wait_again() -> None:
    line: Handover[int] = Handover()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await line.ready()
    line.put(1)
    await line.ready()
    assert await line.take(8) == [1]


@pytest.mark.parametrize("reader", ["takes", "leaves"])
async def test_who_puts_waits_for_room(reader: str) -> None:
    line: Handover[int] = Handover()
    await line.room()
    line.put(1)
    line.put(2)
    waiting = asyncio.create_task(line.room())
    await asyncio.sleep(0)
    if reader == "takes":
        await line.take(1)
        await asyncio.sleep(0)
        assert not waiting.done()
        await line.take(1)
    else:
        line.drop()
    await waiting
    line.put(3)
    assert len(line) == (1 if reader == "takes" else 0)
