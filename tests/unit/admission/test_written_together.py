"""Callers who are told together come back together: then one transaction and one sync serve all of them."""

import asyncio
from typing import Any

import pytest
from tests.desks import Bench

from tollway.admission import Desk
from tollway.admission import desk as desk_module

pytestmark = pytest.mark.parametrize("place", ["sqlite"], indirect=True)  # PostgreSQL is never written to at once

_LONG_SECONDS = 60.0


class Counts:
    """How often a desk has asked its database for something."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.transactions = self.syncs = 0
        at_once, sync = bench.database.at_once, bench.database.sync

        def watched_at_once(work: Any) -> Any:
            self.transactions += 1
            return at_once(work)

        async def watched_sync() -> None:
            self.syncs += 1
            await sync()

        monkeypatch.setattr(bench.database, "at_once", watched_at_once)
        monkeypatch.setattr(bench.database, "sync", watched_sync)

    def reset(self) -> None:
        self.transactions = self.syncs = 0


@pytest.fixture
def counts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Counts:
    return Counts(bench, monkeypatch)


def _pause(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Between two syncs, however many shared the first."""
    monkeypatch.setattr(desk_module, "SYNC_PAUSE_SECONDS", seconds)
    monkeypatch.setattr(desk_module, "SYNC_PAUSE_SECONDS_MAX", seconds)


async def _answered(bench: Bench) -> None:
    await bench.settle(await bench.admit(10), 3)


async def _together(bench: Bench, callers: int) -> None:
    admitted = [await bench.admit(10) for _ in range(callers)]
    await asyncio.gather(*(bench.settle(each, 3) for each in admitted))


async def test_an_end_waits_for_those_who_were_told_with_it(
    bench: Bench, counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pause(monkeypatch, _LONG_SECONDS)
    async with asyncio.timeout(_LONG_SECONDS / 2):
        await _together(bench, 4)
        counts.reset()
        first = asyncio.create_task(_answered(bench))
        await asyncio.sleep(0.05)  # nothing else is in work, and yet it waits
        assert not first.done()
        await asyncio.gather(first, *(_answered(bench) for _ in range(3)))
    assert counts.syncs == 1
    await bench.verified()


async def test_whoever_is_alone_waits_for_nobody(bench: Bench, counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
    _pause(monkeypatch, _LONG_SECONDS)
    async with asyncio.timeout(_LONG_SECONDS / 2):
        for _ in range(3):
            await _answered(bench)
    assert counts.syncs == 3


async def test_those_who_do_not_come_back_are_waited_for_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await _together(bench, 4)
    _pause(monkeypatch, 0.05)
    await _answered(bench)
    _pause(monkeypatch, _LONG_SECONDS)
    async with asyncio.timeout(_LONG_SECONDS / 2):
        await _answered(bench)


async def test_one_who_is_a_round_ahead_shares_their_transaction(bench: Bench, counts: Counts) -> None:
    await _together(bench, 4)
    counts.reset()
    first = asyncio.create_task(bench.admit(10))
    await asyncio.sleep(0)
    admitted = await asyncio.gather(first, *(bench.admit(10) for _ in range(3)))
    assert counts.transactions == 1
    await asyncio.gather(*(bench.settle(each, 3) for each in admitted))


@pytest.mark.parametrize(("callers", "others", "used"), [(4, 0, 1), (3, 0, 0), (4, 1, 0)])
async def test_spare_time_is_used_when_all_wait_for_the_disk(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, callers: int, others: int, used: int
) -> None:
    monkeypatch.setattr(desk_module, "SPARE_TIME_ENDS", 4)
    _pause(monkeypatch, 0)
    uses: list[int] = []
    bench.desk = Desk(bench.database, "node_test", in_spare_time=lambda: uses.append(1))
    waiting = [await bench.admit(10) for _ in range(others)]
    await _together(bench, callers)
    assert len(uses) == used
    for each in waiting:
        await bench.settle(each, 3)
