import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import structlog
from tests.desks import opened

from tollway import clock
from tollway.admission import Nodes
from tollway.admission import nodes as nodes_module
from tollway.admission.nodes import NODE_SECONDS_MAX
from tollway.errors import StorageUnavailable
from tollway.storage import Database
from tollway.storage.tables import balances


async def _away(*_: Any, **__: Any) -> Any:
    raise StorageUnavailable(reason="the disk is full")


async def test_a_node_that_ends_leaves_neither_holds_nor_its_file(database: Database, tmp_path: Path) -> None:
    node = Nodes(database, tmp_path)
    await node.open()
    bench = await opened(database, 1000, node.id)
    await bench.admit(100)
    await node.close()
    assert await bench.balance() == (1000, 0)
    assert list((tmp_path / "nodes").iterdir()) == []


async def test_a_node_that_ends_while_the_database_is_away_is_buried_by_the_next(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Nodes(database, tmp_path)
    await node.open()
    bench = await opened(database, 1000, node.id)
    await bench.admit(100)
    with monkeypatch.context() as patched:
        patched.setattr(database, "write", _away)
        await node.close()
    assert await bench.balance() == (1000, 100)

    following = Nodes(database, tmp_path)
    await following.open()
    assert await bench.balance() == (1000, 0)
    assert [path.name for path in (tmp_path / "nodes").iterdir()] == [following.id]
    await following.close()


async def test_a_node_can_be_opened_again_once_the_database_is_back(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Nodes(database, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(database, "write", _away)
        for _ in range(2):
            with pytest.raises(StorageUnavailable):
                await node.open()
    await node.open()
    assert [path.name for path in (tmp_path / "nodes").iterdir()] == [node.id]
    other = Nodes(database, tmp_path)
    bench = await opened(database, 1000, node.id)
    await bench.admit(100)
    await other.open()
    assert await bench.balance() == (1000, 100), "its file is still locked, so it lives"
    await other.close()
    await node.close()


async def test_an_outage_is_told_once_and_a_failing_chore_keeps_no_other_from_being_done(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes_module, "BEAT_SECONDS", 0.0)
    rounds, done = 0, asyncio.Event()

    async def broken() -> None:
        raise TypeError("a bug")

    async def counted() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 10:
            done.set()

    async def away_at_times() -> None:
        if rounds in {2, 3, 4, 7}:
            await counted()
            raise StorageUnavailable(reason="the disk is full")

    node = Nodes(database, tmp_path)
    await node.open()
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(node.run(away_at_times, broken, counted))
        await asyncio.wait_for(done.wait(), 30)
        running.cancel()
    await node.close()
    told = [(entry["event"], entry.get("reason")) for entry in logs]
    assert told == [
        ("chore_failed", None),
        ("node_out_of_touch", "the disk is full"),
        ("node_out_of_touch", "the disk is full"),
    ]
    assert logs[0]["exc_info"]
    assert "broken" in logs[0]["chore"]


async def test_an_account_whose_balance_is_damaged_keeps_no_other_from_getting_its_holds_back(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged, good = [await opened(database, 1000, "node_dead") for _ in range(2)]
    for bench in (damaged, good):
        await bench.admit(100)
    wrong = sa.update(balances).where(balances.c.account_id == damaged.caller.account_id).values(held=0)
    await database.write(lambda connection: connection.execute(wrong))
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "node_dead").touch()
    node = Nodes(database, tmp_path)
    with structlog.testing.capture_logs() as logs:
        await node.open()
        for _ in range(3):
            node._seen = {"node_dead": (0.0, -1e9)}
            await node.watch()
    assert await good.balance() == (1000, 0)
    assert await damaged.balance() == (1000, 0), "as it was left: nobody guesses at it"
    told = [(entry["event"], entry.get("account_id")) for entry in logs]
    assert sorted(told, key=str) == [("account_damaged", damaged.caller.account_id), ("holds_expired", None)]
    _later(monkeypatch, "monotonic", 3601)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await node.beat()
            node._seen = {"node_dead": (0.0, -1e9)}
            await node.watch()
    assert [entry["event"] for entry in logs] == ["account_damaged"], "it is told again, now and then"
    await node.close()


@pytest.fixture
async def far(database: Database, tmp_path: Path) -> AsyncIterator[tuple[Nodes, Nodes]]:
    """Two nodes on two machines."""
    nodes = Nodes(database, tmp_path / "here"), Nodes(database, tmp_path / "there")
    for node in nodes:
        await node.open()
    yield nodes
    for node in nodes:
        await node.close()


def _later(monkeypatch: pytest.MonkeyPatch, name: str, seconds: float) -> None:
    before = getattr(clock, name)
    monkeypatch.setattr(clock, name, lambda: before() + seconds)


async def test_a_node_that_is_not_seen_to_beat_loses_its_holds(
    database: Database, far: tuple[Nodes, Nodes], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = far
    bench = await opened(database, 1000, there.id)
    await bench.admit(100)
    for wait, held in ((0, 100), (10, 100), (10, 100), (11, 0)):
        _later(monkeypatch, "monotonic", wait)
        await here.beat()
        await here.watch()
        assert (await bench.balance())[1] == held


@pytest.mark.parametrize("step", [3600, -3600])
async def test_a_clock_that_is_put_right_buries_nobody(
    database: Database, far: tuple[Nodes, Nodes], monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    here, there = far
    bench = await opened(database, 1000, there.id)
    await bench.admit(100)
    for _ in range(10):
        await there.beat()
        with monkeypatch.context() as patched:
            _later(patched, "now", step)
            await here.beat()
            await here.watch()
        _later(monkeypatch, "monotonic", 5)
    assert await bench.balance() == (1000, 100)


async def test_who_was_out_of_touch_gives_the_others_time_to_beat(
    database: Database, far: tuple[Nodes, Nodes], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = far
    bench = await opened(database, 1000, there.id)
    await bench.admit(100)
    await here.watch()
    _later(monkeypatch, "monotonic", NODE_SECONDS_MAX + 5)  # the database was away, for all of them
    await here.beat()
    await here.watch()
    assert await bench.balance() == (1000, 100)
