import asyncio
import contextlib
import fcntl
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from structlog.testing import capture_logs
from tests.postgres import PostgresServer
from tests.processes import race

from tollway.errors import StorageUnavailable
from tollway.settings import DatabaseUrl
from tollway.storage import Database, SchemaError
from tollway.storage.tables import SCHEMA_VERSION, accounts, metadata


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | DatabaseUrl:
    if request.param == "sqlite":
        return tmp_path / "tollway.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database(migrated=False)


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "home" / "tollway.db")
    database.migrate()
    yield database
    database.close()


@pytest.fixture
def postgresql(postgres: PostgresServer) -> Iterator[Database]:
    database = Database(postgres.new_database())
    yield database
    database.close()


async def _names(database: Database) -> list[str]:
    return list(await database.read(lambda connection: connection.execute(sa.select(accounts.c.name)).scalars().all()))


def _account(name: str) -> sa.Insert:
    return sa.insert(accounts).values(id=name, name=name, created_at=1.0)


def _adding(name: str) -> Callable[[sa.Connection], object]:
    return lambda connection: connection.execute(_account(name))


def _size(file: Path) -> int:
    return file.stat().st_size


async def test_the_log_of_sqlite_begins_anew_while_others_write(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tollway.storage.sqlite._CHECKPOINT_COMMITS", 5)
    log = Path(sqlite.where + "-wal")
    before, written = _size(log), 0
    for number in range(400):
        name = f"{number:04d}" * 2500
        await sqlite.write(_adding(name))
        written += 2 * len(name)  # as a name and as an id
    assert _size(log) - before < written / 2
    assert len(await _names(sqlite)) == 400


async def test_a_checkpoint_that_fails_fails_nobodys_transaction(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tollway.storage.sqlite._CHECKPOINT_COMMITS", 1)
    monkeypatch.setattr("tollway.storage.sqlite._CHECKPOINT", "PRAGMA no such thing")
    with capture_logs() as logs:
        for number in range(50):
            await sqlite.write(_adding(str(number)))
        sqlite.close()
    assert any(entry["event"] == "checkpoint_failed" for entry in logs)


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
    assert await _names(database) == ["kept"]
    assert await database.schema_version() == SCHEMA_VERSION


async def test_a_newer_schema_is_refused_and_left_alone(database: Database) -> None:
    newer = sa.text("UPDATE alembic_version SET version_num = '9999'")
    await database.write(lambda connection: connection.execute(newer))
    with pytest.raises(SchemaError, match=r"schema 9999.*newer Tollway.*knows " + SCHEMA_VERSION):
        database.migrate()
    assert await database.schema_version() == "9999"


async def test_sqlite_connections_are_durable_and_check_foreign_keys(sqlite: Database) -> None:
    def pragmas(connection: sa.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await sqlite.write(pragmas) == ["wal", 2, 1, 10_000]
    assert await sqlite.write(pragmas, durable=False) == ["wal", 1, 1, 10_000]
    assert await sqlite.write(pragmas) == ["wal", 2, 1, 10_000]


async def test_postgresql_connections_are_durable_and_give_up_in_time(postgresql: Database) -> None:
    def settings(connection: sa.Connection) -> list[object]:
        names = ("synchronous_commit", "transaction_isolation", "statement_timeout", "lock_timeout")
        return [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names]

    assert await postgresql.write(settings) == ["on", "read committed", "30s", "10s"]
    assert await postgresql.write(settings, durable=False) == ["off", "read committed", "30s", "10s"]
    assert await postgresql.write(settings) == ["on", "read committed", "30s", "10s"]
    assert await postgresql.read(settings) == ["on", "repeatable read", "30s", "10s"]


def test_nobody_else_may_read_the_files(sqlite: Database, tmp_path: Path) -> None:
    folder = tmp_path / "home"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [file.name for file in folder.iterdir() if stat.S_IMODE(file.stat().st_mode) & 0o077] == []


async def test_reading_cannot_write(database: Database) -> None:
    with pytest.raises(StorageUnavailable, match=r"cannot be written|read-only"):
        await database.read(lambda connection: connection.execute(_account("written")))


async def test_a_reading_sees_one_moment(database: Database) -> None:
    began, written = threading.Event(), threading.Event()

    def twice(connection: sa.Connection) -> list[int]:
        query = sa.select(sa.func.count()).select_from(accounts)
        first = connection.execute(query).scalar_one()
        began.set()
        assert written.wait(10)
        return [first, connection.execute(query).scalar_one()]

    reading = asyncio.create_task(database.read(twice))
    assert await asyncio.to_thread(began.wait, 10)
    await database.write(lambda connection: connection.execute(_account("between")))
    written.set()
    assert await reading == [0, 0]


async def test_several_transactions_can_be_made_in_the_writer(database: Database) -> None:
    def work() -> str:
        with database.transaction(durable=False) as connection:
            connection.execute(_account("first"))
        with contextlib.suppress(sa.exc.IntegrityError), database.transaction() as connection:
            connection.execute(_account("second"))
            connection.execute(_account("first"))
            raise AssertionError("two accounts of one name")
        with database.transaction() as connection:
            connection.execute(_account("third"))
        return threading.current_thread().name

    assert (await database.in_writer(work)).startswith("database-write")
    assert await _names(database) == ["first", "third"]


async def test_what_was_begun_is_done_although_its_caller_left(database: Database) -> None:
    go = threading.Event()
    busy = asyncio.create_task(database.in_writer(lambda: go.wait(10)))
    waiting = asyncio.create_task(database.write(lambda connection: connection.execute(_account("kept"))))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go.set()
    assert await busy
    await database.in_writer(lambda: None)
    assert await _names(database) == ["kept"]


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


async def test_a_missing_schema_is_no_answer(empty_place: Path | DatabaseUrl) -> None:
    database = Database(empty_place)
    assert await database.schema_version() is None
    with pytest.raises(sa.exc.DBAPIError, match="accounts"):
        await database.ping()
    database.close()


def _migrate(place: Path | DatabaseUrl) -> None:
    database = Database(place)
    database.migrate()
    database.close()


def test_processes_that_start_together_migrate_once(empty_place: Path | DatabaseUrl) -> None:
    race(8, _migrate, empty_place)
    database = Database(empty_place)
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


async def test_transactions_of_two_processes_that_read_and_then_write_come_one_after_the_other(tmp_path: Path) -> None:
    """With SQLite's default BEGIN the second one fails: "database is locked", whatever the timeout."""
    _migrate(tmp_path / "tollway.db")
    databases = [Database(tmp_path / "tollway.db") for _ in range(2)]

    def work(connection: sa.Connection) -> int:
        seen = len(connection.execute(sa.select(accounts)).all())
        time.sleep(0.1)
        connection.execute(_account(f"account {seen}"))
        return seen

    try:
        assert sorted(await asyncio.gather(*(database.write(work) for database in databases))) == [0, 1]
    finally:
        for database in databases:
            database.close()


async def test_guarded_updates_of_several_nodes_never_overdraw(place: Path | DatabaseUrl) -> None:
    """READ COMMITTED is enough: the second update waits for the row and looks at it again."""
    nodes = [Database(place) for _ in range(3)]
    await nodes[0].write(lambda connection: connection.execute(_account("10")))
    take = sa.text("UPDATE accounts SET created_at = created_at - 1 WHERE id = '10' AND created_at >= 1 RETURNING 1")
    await nodes[0].write(lambda connection: connection.execute(sa.text("UPDATE accounts SET created_at = 10")))

    taken = await asyncio.gather(
        *(
            node.write(lambda connection: len(connection.execute(take).all()), durable=False)
            for node in nodes
            for _ in range(20)
        )
    )
    left = await nodes[0].read(lambda connection: connection.execute(sa.select(accounts.c.created_at)).scalar_one())
    for node in nodes:
        node.close()
    assert (sum(taken), left) == (10, 0)
