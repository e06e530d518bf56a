import asyncio
import fcntl
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from tests.processes import race

from tollway.storage import Database, SchemaError
from tollway.storage.tables import SCHEMA_VERSION, accounts, metadata


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "home" / "tollway.db")
    database.migrate()
    yield database
    database.close()


def _account(name: str) -> sa.Insert:
    return sa.insert(accounts).values(id=name, name=name, created_at=1.0)


async def test_migrations_and_tables_say_the_same(database: Database) -> None:
    def differences(connection: sa.Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    assert await database.read(differences) == []


def test_the_known_schema_version_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", "tollway.storage:migrations")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA_VERSION


async def test_migrating_again_keeps_everything(database: Database) -> None:
    await database.write(lambda connection: connection.execute(_account("kept")))
    database.migrate()
    assert await database.read(lambda connection: connection.execute(sa.select(accounts.c.name)).scalars().all()) == ["kept"]
    assert await database.schema_version() == SCHEMA_VERSION


def test_a_newer_schema_is_refused_and_left_alone(database: Database) -> None:
    with sqlite3.connect(database.path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(SchemaError, match=r"schema 9999.*newer Tollway.*knows " + SCHEMA_VERSION):
        database.migrate()
    with sqlite3.connect(database.path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    connection.close()


async def test_connections_are_durable_and_check_foreign_keys(database: Database) -> None:
    def pragmas(connection: sa.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await database.read(pragmas) == ["wal", 2, 1, 10_000]


def test_nobody_else_may_read_the_files(database: Database) -> None:
    assert stat.S_IMODE(database.path.parent.stat().st_mode) == 0o700
    assert [file.name for file in database.path.parent.iterdir() if stat.S_IMODE(file.stat().st_mode) & 0o077] == []


async def test_an_exception_rolls_everything_back(database: Database) -> None:
    def work(connection: sa.Connection) -> None:
        connection.execute(_account("lost"))
        raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        await database.write(work)
    assert await database.read(lambda connection: connection.execute(sa.select(accounts)).all()) == []


async def test_readers_do_not_wait_for_the_writer(database: Database) -> None:
    reading_done, began = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(connection: sa.Connection) -> bool:
        connection.execute(_account("slow"))
        loop.call_soon_threadsafe(began.set)
        return reading_done.wait(5)

    writing = asyncio.create_task(database.write(slow))
    await began.wait()
    assert await database.read(lambda connection: connection.execute(sa.select(accounts)).all()) == []
    reading_done.set()
    assert await writing, "the reader waited for the writer"


async def test_a_missing_schema_is_no_answer(tmp_path: Path) -> None:
    database = Database(tmp_path / "empty.db")
    with pytest.raises(sa.exc.OperationalError):
        await database.ping()
    database.close()


def _migrate(path: Path) -> None:
    database = Database(path)
    database.migrate()
    database.close()


def test_processes_that_start_together_migrate_once(tmp_path: Path) -> None:
    race(8, _migrate, tmp_path / "tollway.db")
    database = Database(tmp_path / "tollway.db")
    assert asyncio.run(database.schema_version()) == SCHEMA_VERSION
    database.close()


def test_a_migration_waits_for_the_one_that_is_running(tmp_path: Path) -> None:
    path = tmp_path / "tollway.db"
    with path.with_name("tollway.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=_migrate, args=(path,))
        second.start()
        second.join(0.2)
        assert second.is_alive()
        assert not path.exists()
    second.join(10)
    assert path.exists()


async def test_transactions_of_two_processes_that_read_and_then_write_come_one_after_the_other(database: Database) -> None:
    """With SQLite's default BEGIN the second one fails: "database is locked", whatever the timeout."""
    other = Database(database.path)

    def work(connection: sa.Connection) -> int:
        seen = len(connection.execute(sa.select(accounts)).all())
        time.sleep(0.1)
        connection.execute(_account(f"account {seen}"))
        return seen

    try:
        assert sorted(await asyncio.gather(database.write(work), other.write(work))) == [0, 1]
    finally:
        other.close()
