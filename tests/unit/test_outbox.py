"""The outbox with transports that note what is written to them, and when."""

import asyncio
from typing import Any

from tollway.outbox import FEW, Outbox


class Written(asyncio.WriteTransport):
    """All that was written to any of them, in order."""

    def __init__(self, to: list[bytes]) -> None:
        super().__init__()
        self._to = to
        self._is_closing = False

    def write(self, data: Any) -> None:
        assert not self._is_closing
        self._to.append(data)

    def close(self) -> None:
        self._is_closing = True

    def is_closing(self) -> bool:
        return self._is_closing


async def _a_round() -> None:
    await asyncio.sleep(0)


async def _many_together(outbox: Outbox) -> None:
    elsewhere = Written([])
    for _ in range(FEW + 1):
        outbox.write(elsewhere, b"x")
    await _a_round()


async def test_few_are_written_at_once() -> None:
    seen: list[bytes] = []
    outbox, transport = Outbox(), Written(seen)
    for _ in range(3):
        for count in range(1, FEW + 1):
            outbox.write(transport, b"x")
            assert len(seen) == count
        await _a_round()
        seen.clear()


async def test_where_many_wrote_the_next_ones_are_written_together() -> None:
    seen: list[bytes] = []
    outbox, transport = Outbox(), Written(seen)
    await _many_together(outbox)
    for data in (b"1", b"2", b"3"):
        outbox.write(transport, data)
    assert seen == []
    await _a_round()
    assert seen == [b"1", b"2", b"3"]
    outbox.write(transport, b"4")  # these were few
    assert seen[3:] == [b"4"]


async def test_as_long_as_they_are_many_they_are_written_together() -> None:
    seen: list[bytes] = []
    outbox, transport = Outbox(), Written(seen)
    await _many_together(outbox)
    for _ in range(3):
        for _ in range(FEW + 1):
            outbox.write(transport, b"x")
        assert seen == []
        await _a_round()
        assert len(seen) == FEW + 1
        seen.clear()


async def test_what_waits_can_be_written_before_its_time() -> None:
    seen: list[bytes] = []
    outbox, transport = Outbox(), Written(seen)
    await _many_together(outbox)
    outbox.write(transport, b"1")
    outbox.flush()
    assert seen == [b"1"]
    outbox.write(transport, b"2")
    assert seen == [b"1"]
    await _a_round()
    assert seen == [b"1", b"2"]


async def test_nothing_is_written_to_who_has_left_meanwhile() -> None:
    seen: list[bytes] = []
    outbox, stays, leaves = Outbox(), Written(seen), Written(seen)
    await _many_together(outbox)
    outbox.write(stays, b"1")
    outbox.write(leaves, b"lost")
    outbox.write(stays, b"2")
    leaves.close()
    await _a_round()
    assert seen == [b"1", b"2"]
