import asyncio
from collections.abc import Callable

import pytest

from tollway.handover import Deliveries, Handover


def taker(into: list[list[int]], room_for: int = 1000) -> Callable[[list[int]], bool]:
    """Takes what comes, and has no more room after so many times."""

    def take(items: list[int]) -> bool:
        into.append(items)
        return len(into) < room_for

    return take


async def rounds(count: int) -> None:
    """Of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_is_there_is_given_together_and_in_order() -> None:
    line: Handover[int] = Handover(Deliveries())
    for number in range(5):
        line.put(number)
    line.end()
    taken: list[list[int]] = []
    assert await line.give(taker(taken), 3)
    assert taken == [[0, 1, 2], [3, 4]]
    assert await line.give(taker(taken), 3)
    assert len(taken) == 2


async def test_what_comes_together_is_given_together_and_before_the_failure() -> None:
    line: Handover[int] = Handover(Deliveries())
    taken: list[list[int]] = []
    giving = asyncio.create_task(line.give(taker(taken), 8))
    await asyncio.sleep(0)
    line.put(1)
    line.put(2)
    await rounds(2)
    assert taken == [[1, 2]]
    line.put(3)
    line.end(ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        await giving
    assert taken == [[1, 2], [3]]
    with pytest.raises(ValueError, match="broken"):
        await line.ready()


async def test_who_has_no_room_is_given_nothing_until_he_asks_again() -> None:
    line: Handover[int] = Handover(Deliveries())
    taken: list[list[int]] = []
    giving = asyncio.create_task(line.give(taker(taken, 1), 2))
    await asyncio.sleep(0)
    for number in range(5):
        line.put(number)
    assert not await giving
    line.put(5)
    await asyncio.sleep(0.01)
    assert taken == [[0, 1]]
    line.end()
    assert await line.give(taker(taken), 8)
    assert taken == [[0, 1], [2, 3, 4, 5]]


async def test_no_room_at_the_very_end_is_not_the_end_yet() -> None:
    line: Handover[int] = Handover(Deliveries())
    line.put(1)
    line.end()
    taken: list[list[int]] = []
    assert not await line.give(taker(taken, 1), 8)
    assert await line.give(taker(taken), 8)
    assert taken == [[1]]


async def test_what_the_reader_raises_is_raised_where_it_is_given() -> None:
    line: Handover[int] = Handover(Deliveries())

    def take(_: list[int]) -> bool:
        raise ZeroDivisionError

    giving = asyncio.create_task(line.give(take, 8))
    await asyncio.sleep(0)
    line.put(1)
    with pytest.raises(ZeroDivisionError):
        await giving


async def test_who_left_is_given_nothing() -> None:
    line: Handover[int] = Handover(Deliveries())
    taken: list[list[int]] = []
    giving = asyncio.create_task(line.give(taker(taken), 8))
    await asyncio.sleep(0)
    line.put(1)
    giving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await giving
    await rounds(2)
    line.put(2)
    line.end()
    await rounds(2)
    assert taken == []


async def test_readers_are_called_together_once_the_next_round_has_been_read() -> None:
    deliveries = Deliveries()
    lines: list[Handover[int]] = [Handover(deliveries) for _ in range(3)]
    taken: list[list[int]] = []
    giving = asyncio.gather(*(line.give(taker(taken), 8) for line in lines))
    await rounds(2)
    lines[1].put(1)
    await rounds(1)
    lines[0].put(2)
    assert taken == []
    await rounds(1)
    assert taken == [[1], [2]]
    lines[2].put(3)
    await rounds(2)
    assert taken == [[1], [2], [3]]
    for line in lines:
        line.end()
    assert await giving == [True] * 3


async def test_who_gave_up_waiting_may_wait_again() -> None:
    line: Handover[int] = Handover(Deliveries())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await line.ready()
    line.put(1)
    await line.ready()
    line.end()
    taken: list[list[int]] = []
    assert await line.give(taker(taken), 8)
    assert taken == [[1]]


@pytest.mark.parametrize("reader", ["takes", "leaves"])
async def test_who_puts_waits_for_room(reader: str) -> None:
    line: Handover[int] = Handover(Deliveries())
    await line.room()
    line.put(1)
    line.put(2)
    waiting = line.room()
    await asyncio.sleep(0)
    if reader == "takes":
        assert not await line.give(lambda _: False, 1)
        await asyncio.sleep(0)
        assert not waiting.done()
        assert not await line.give(lambda _: False, 1)
    else:
        line.drop()
    await waiting
    assert line.put(3) == (1 if reader == "takes" else 0)
