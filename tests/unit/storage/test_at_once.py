"""Small writes to a file on the event loop: never waiting for anybody, synced apart."""

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.postgres import PostgresServer

from tollway.errors import StorageUnavailable
from tollway.storage import Database, wal
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
        patched.setattr(wal, "_sync", _failing)
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


async def test_nothing_is_written_into_a_log_that_could_not_be_synced(
    database: Database, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even durably: what comes after a hole in the log is lost with it."""
    monkeypatch.setattr(sqlite_module, "_COPY_BUSY_SECONDS", 0.1)
    log = file.with_name("t.db-wal")
    _added_at_once(database, "a")
    with monkeypatch.context() as patched:
        patched.setattr(wal, "_sync", _failing)
        with pytest.raises(StorageUnavailable):
            await database.sync()
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT name FROM accounts").fetchall() == [("a",)]
        with pytest.raises(StorageUnavailable, match="still being read"):  # it cannot be copied into the file yet
            await database.write(lambda connection: _add(connection, "b"))
    before = log.stat().st_size
    await database.write(lambda connection: _add(connection, "b"))
    assert log.stat().st_size < before, "it was copied, and begins anew"
    _added_at_once(database, "c")
    assert await database.read(_names) == ["a", "b", "c"]


@pytest.mark.parametrize("where", ["in the writer's thread", "at once", "while the log is copied into the file"])
async def test_a_fault_of_the_disk_that_sqlite_hears_of_makes_the_log_doubtful(
    database: Database, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    fault = sqlite3.OperationalError("disk I/O error")
    fault.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC

    def fails(*_: object, **__: object) -> Any:
        raise fault

    _added_at_once(database, "a")
    if where == "in the writer's thread":
        with pytest.raises(StorageUnavailable):
            await database.write(fails)
    elif where == "at once":
        with pytest.raises(StorageUnavailable):
            database.at_once(fails)
    else:
        backend: Any = database._backend
        monkeypatch.setattr(sqlite_module, "_CHECKPOINT_COMMITS", 1)
        with monkeypatch.context() as patched:
            patched.setattr(backend._checkpoints, "_alone", fails)
            _added_at_once(database, "b")
            await asyncio.to_thread(_wait_until, lambda: backend._log.is_doubtful)
    with pytest.raises(NotNow):
        _added_at_once(database, "c")


async def test_a_report_of_the_disk_is_for_each_process(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux tells each handle that was open then, and none that is opened later; so one is kept open from before the write."""
    handles: list[tuple[int, int]] = []
    monkeypatch.setattr(wal, "_sync", lambda handle: handles.append((handle, os.fstat(handle).st_ino)))
    _added_at_once(database, "a")
    opened = _handles_of("t.db-wal")
    await database.sync()
    _added_at_once(database, "b")
    await database.sync()
    assert len(set(handles)) == 1
    assert str(handles[0][0]) in opened


def test_a_new_log_is_synced_not_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(wal, "_sync", lambda handle: synced.append(os.fstat(handle).st_size))
    file = tmp_path / "t.db-wal"
    log = wal.WriteAheadLog(file)
    log.sync()  # there is none: all that it had is in the database's file
    for content in (b"1", b"22"):
        file.write_bytes(content)
        log.open()
        log.sync()
        file.unlink()
    log.open()
    log.sync()
    assert synced == [1, 2]


async def test_a_durable_write_makes_what_was_before_durable_even_if_it_writes_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(wal, "_sync", synced.append)
    _added_at_once(database, "a")
    await database.write(lambda _: None, durable=False)
    assert not synced
    await database.write(lambda _: None)
    assert synced


async def test_who_waits_for_nobody_leaves_the_others_their_patience(database: Database) -> None:
    """Connections come from one pool."""
    with pytest.raises(ZeroDivisionError):
        database.at_once(lambda *_, **__: 1 // 0)
    patience = await database.write(lambda connection: connection.exec_driver_sql("PRAGMA busy_timeout").scalar())
    assert patience == 10_000


def _handles_of(name: str) -> list[str]:
    return [each.name for each in Path("/proc/self/fd").iterdir() if each.is_symlink() and each.readlink().name == name]


def _wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def _failing(_handle: int) -> Any:
    raise OSError(5, "Input/output error")
