from pathlib import Path
from typing import Any

import pytest
from tests.desks import opened

from tollway.admission import Nodes
from tollway.errors import StorageUnavailable
from tollway.storage import Database


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
