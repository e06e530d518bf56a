"""One database, its schema, and the threads that talk to it.

Work is a plain function of a Connection and runs in a thread inside one transaction, so that no query ever blocks the event
loop. There are few threads and they are the database's own: a slow query cannot take the threads of other work, and other
work cannot keep a key from being looked up.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event

from tollway.storage.tables import SCHEMA_VERSION

T = TypeVar("T")

_BUSY_MILLISECONDS = 10_000
_READERS = 4


class SchemaError(Exception):
    """The database cannot be used by this version of Tollway; the message says what to do."""


class Database:
    """A SQLite file, WAL mode: readers never wait for the writer.

    `read` and `write` are for the server and for commands alike. Writes go through one thread and take SQLite's write lock at
    once (BEGIN IMMEDIATE): a transaction that reads and then writes cannot fail half-way because another process wrote.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        url = sa.URL.create("sqlite", database=str(path))
        self._engine = sa.create_engine(url, pool_size=_READERS + 1, max_overflow=2, connect_args={"timeout": 10})
        event.listen(self._engine, "connect", _on_connect)
        event.listen(self._engine, "begin", _on_begin)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="database-read")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="database-write")

    async def read(self, work: Callable[[Connection], T]) -> T:
        """`work`'s result; it must not write."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._transact, self._engine, work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """`work`'s result, once it is durable. An exception rolls everything back.

        Cancelling the caller does not cancel the work.
        """
        writing = self._engine.execution_options(tollway_write=True)
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._transact, writing, work)

    @staticmethod
    def _transact(engine: Engine, work: Callable[[Connection], T]) -> T:
        with engine.begin() as connection:
            return work(connection)

    async def ping(self) -> None:
        """Raises whatever keeps the database from answering."""
        await self.read(lambda connection: connection.execute(sa.text("SELECT 1 FROM accounts LIMIT 1")).first())

    async def schema_version(self) -> str | None:
        """The migration that the file is at; None = empty."""
        return await self.read(_schema_version)

    async def integrity(self) -> str:
        """`ok`, or what is damaged."""
        return await self.read(lambda connection: str(connection.execute(sa.text("PRAGMA quick_check(1)")).scalar()))

    def migrate(self) -> None:
        """Creates the file or brings its schema up to date; call it before anything else. Blocks.

        Several processes may call it at once: a lock file lets one through after the other. Raises SchemaError when the
        schema is newer than this code, because guessing at it could lose data.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(self.path.with_name(self.path.name + ".lock")):
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives its -wal and -shm the same mode
            with contextlib.closing(self._engine.raw_connection()) as raw:
                # stays with the file; it is set under the lock because it ignores the busy timeout
                raw.cursor().execute("PRAGMA journal_mode = WAL").close()
            with self._engine.execution_options(tollway_write=True).begin() as connection:
                _upgrade(connection, self.path)

    def close(self) -> None:
        """Finishes what was begun. Blocks for it."""
        self._writer.shutdown()
        self._readers.shutdown()
        self._engine.dispose()


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late for DDL and for reads; ours is in _on_begin
    for pragma in (f"busy_timeout = {_BUSY_MILLISECONDS}", "foreign_keys = ON", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    writing = connection.get_execution_options().get("tollway_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _schema_version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return version


def _upgrade(connection: Connection, path: Path) -> None:
    version = _schema_version(connection)
    if version == SCHEMA_VERSION:
        return
    if version is not None and version > SCHEMA_VERSION:
        raise SchemaError(
            f"{path} has schema {version}, written by a newer Tollway; this one knows {SCHEMA_VERSION}. "
            "Install that version again, or restore the copy of the database from before the upgrade."
        )
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "tollway.storage:migrations")
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on the file; the operating system lets go of it when the process dies."""
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
