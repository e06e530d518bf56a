"""Small writes to a file on the event loop: never waiting for anybody, synced apart."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.postgres import PostgresServer

from tollway.errors import StorageUnavailable
from tollway.storage import Database
from tollway.storage import sqlite as sqlite_module
from tollway.storage.not_now import NotNow
from tollway.storage.tables import accounts


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "t.db"


@pytest.fixture
def database(file: Path) -> Iterator[Database]:
    database = Database(file)
    database.migrate()
    yield database
    database.close()


def _add(connection: sa.Connection, name: str) -> None:
    connection.execute(sa.insert(accounts).values(id=name, name=name, created_at=1.0))


def _names(connection: sa.Connection) -> list[str]:
    return list(connection.execute(sa.select(accounts.c.name).order_by(accounts.c.name)).scalars())


def _added_at_once(database: Database, name: str) -> tuple[sa.Connection, int]:
    """The connection and the version: the same as before = nobody else has written meanwhile."""

    def work(connection: sa.Connection, *, version: int) -> tuple[sa.Connection, int]:
        _add(connection, name)
        return connection, version

    return database.at_once(work)


async def test_it_is_committed_in_the_thread_that_asks(database: Database) -> None:
    assert database.at_once(lambda connection, **_: threading.get_ident()) == threading.get_ident()
    _added_at_once(database, "a")
    assert await database.read(_names) == ["a"]


async def test_what_fails_is_rolled_back_and_harms_nothing(database: Database) -> None:
    before = _added_at_once(database, "a")
    with pytest.raises(sa.exc.IntegrityError):
        _added_at_once(database, "a")
    assert _added_at_once(database, "b")[0] is not before[0], "after a failure nothing is known any more"
    assert await database.read(_names) == ["a", "b"]


async def test_it_knows_whether_somebody_else_has_written(database: Database, file: Path) -> None:
    first = _added_at_once(database, "a")
    assert _added_at_once(database, "b") == first
    await database.read(_names)
    assert _added_at_once(database, "c") == first
    await database.write(lambda connection: _add(connection, "d"))
    second = _added_at_once(database, "e")
    assert second != first
    other = Database(file)
    with contextlib.closing(other):
        _added_at_once(other, "f")
    third = _added_at_once(database, "g")
    assert third not in (first, second)
    assert _added_at_once(database, "h") == third


@pytest.mark.parametrize("whose", ["another thread", "another process's lock"])
async def test_it_waits_for_nobody(database: Database, file: Path, whose: str) -> None:
    go, begun = threading.Event(), threading.Event()

    other = Database(file)
    writer = database if whose == "another thread" else other

    def write() -> None:
        with writer.transaction():
            begun.set()
            assert go.wait(10)

    writing = asyncio.create_task(writer.in_writer(write))
    try:
        await asyncio.to_thread(begun.wait, 10)
        with pytest.raises(NotNow):
            _added_at_once(database, "a")
    finally:
        go.set()
        await writing
        other.close()
    _added_at_once(database, "a")


def test_postgresql_is_never_written_to_at_once(postgres: PostgresServer) -> None:
    database = Database(postgres.new_database())
    with contextlib.closing(database), pytest.raises(NotNow):
        database.at_once(lambda *_, **__: None)


async def test_a_log_that_could_not_be_synced_is_copied_into_the_file(
    database: Database, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = file.with_name("t.db-wal")
    _added_at_once(database, "a")
    with monkeypatch.context() as patched:
        patched.setattr(sqlite_module, "sync_log", _failing)
        with pytest.raises(StorageUnavailable, match="Input/output error"):
            await database.sync()
    with pytest.raises(NotNow):  # nothing is added to a log of which nobody knows what the disk has
        _added_at_once(database, "b")
    assert log.stat().st_size
    await database.sync()
    assert log.stat().st_size == 0
    _added_at_once(database, "b")
    await database.sync()
    assert log.stat().st_size
    assert await database.read(_names) == ["a", "b"]


def _failing(_log: Path) -> Any:
    raise OSError(5, "Input/output error")
