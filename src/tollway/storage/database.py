"""One database, its schema, and the threads that talk to it.

Work is a plain function of a Connection and runs in a thread inside one transaction, so that no query ever blocks the event
loop. There are few threads and they are the database's own: a slow query cannot take the threads of other work, and other
work cannot keep a key from being looked up. `at_once` is the exception, for small writes to a file of this machine that nobody
else is writing to: handing them to a thread costs more than they do.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from tollway.errors import StorageUnavailable
from tollway.settings import DatabaseUrl
from tollway.storage.facts import Facts
from tollway.storage.tables import SCHEMA_VERSION
from tollway.storage.writer import Writer

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_READERS = 4

log = structlog.get_logger()


class SchemaError(Exception):
    """The database cannot be used by this version of Tollway; the message says what to do."""


class Backend(Protocol):
    """What differs between the databases. Everything blocks; what a transaction raises rolls it back."""

    where: str
    """The place, for people; without a password."""

    def at_once(self, work: "WorkAtOnce[T]") -> T: ...
    def sync(self) -> None: ...
    def reading(self) -> contextlib.AbstractContextManager[Connection]: ...
    def writing(self, *, durable: bool) -> contextlib.AbstractContextManager[Connection]: ...
    def migrating(self) -> contextlib.AbstractContextManager[Connection]: ...
    def integrity(self, connection: Connection) -> str: ...
    def facts(self, connection: Connection) -> Facts: ...
    def trouble(self, error: Exception) -> str | None: ...
    def close(self) -> None: ...


class WorkAtOnce(Protocol[T_co]):
    """See `Database.at_once`."""

    def __call__(self, connection: Connection, /, *, version: int) -> T_co: ...


class Database:
    """A SQLite file (a path) or a PostgreSQL database (a URL), with the same promises.

    `read` and `write` are for the server and for commands alike. Each `read` sees one snapshot and cannot write. Writes of one
    process go through one thread, its writer; those of several processes come one after the other where they change the same
    rows (PostgreSQL) or anything at all (SQLite).

    Everything raises StorageUnavailable when the database cannot be reached or written: nothing was changed, unless the
    connection was lost while PostgreSQL committed, which only a look at the data can tell.
    """

    def __init__(self, place: Path | DatabaseUrl) -> None:
        self._backend = _backend(place)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="database-read")
        self._writer = Writer("database-write")
        self._syncer = Writer("database-sync")
        self._troubles: dict[str, str] = {}

    @property
    def where(self) -> str:
        """The place, for people; without a password."""
        return self._backend.where

    async def read(self, work: Callable[[Connection], T]) -> T:
        """`work`'s result; it must not write."""

        def reading() -> T:
            with self._watched("read"), self._backend.reading() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._readers, reading)

    async def write(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """`work`'s result, once it is committed. An exception rolls everything back.

        Cancelling the caller does not cancel the work. `durable` as in `transaction`.
        """

        def writing() -> T:
            with self.transaction(durable=durable) as connection:
                return work(connection)

        return await self.in_writer(writing)

    async def in_writer(self, function: Callable[[], T]) -> T:
        """The result of `function`, which runs in the writer's thread, after what was given to it before.

        Cancelling the caller does not cancel it, not even before it began.
        """
        return await self._writer.run(function)

    def at_once(self, work: "WorkAtOnce[T]") -> T:
        """`work`'s result, committed, in the thread that asks: for small work on the event loop, which must not wait. It is
        told the `version`: as long as connection and version are the same, nobody has written but through this connection.

        Raises NotNow where it would have to: then the writer's thread is the place. As `transaction` that is not durable; what
        needs to be waits for `sync`.
        """
        with self._watched("write"):
            return self._backend.at_once(work)

    async def sync(self) -> None:
        """Returns once the disk has whatever `at_once` has committed before the call."""
        await self._syncer.run(self._synced)

    def _synced(self) -> None:
        with self._watched("write"):
            self._backend.sync()

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[Connection]:
        """One write transaction, committed at the end of the `with`. Blocks; only for functions given to `in_writer`.

        With `durable` the commit waits until the disk has it. Without, a loss of power may undo it together with everything
        that was committed after it, so never half of it; the end of a process undoes nothing. A durable commit makes all
        earlier ones durable.
        """
        with self._watched("write"), self._backend.writing(durable=durable) as connection:
            yield connection

    async def ping(self) -> None:
        """Raises whatever keeps the database from answering. Where the last write failed it has to take one again, too."""
        await self.read(lambda connection: connection.execute(sa.text("SELECT 1 FROM accounts LIMIT 1")).first())
        if "write" in self._troubles:
            touch = sa.text("UPDATE alembic_version SET version_num = version_num")
            await self.write(lambda connection: connection.execute(touch))

    async def schema_version(self) -> str | None:
        """The migration that the database is at; None = empty."""
        return await self.read(_schema_version)

    async def integrity(self) -> str:
        """`ok`, what is damaged, or `not checked: ` and why."""
        return await self.read(self._backend.integrity)

    async def facts(self) -> Facts:
        return await self.read(self._backend.facts)

    async def check_schema(self) -> None:
        """Raises SchemaError unless the schema is the one that this code knows. Changes nothing."""
        version = await self.schema_version()
        if version is None:
            raise SchemaError(f"{self.where} is empty: `tollway db migrate` or `tollway serve` creates the schema.")
        _refuse_newer(version, self.where)
        if version != SCHEMA_VERSION:
            raise SchemaError(
                f"{self.where} has schema {version}, of an older Tollway; this one works with {SCHEMA_VERSION}. "
                "Back it up (`tollway db backup`), then run `tollway db migrate`."
            )

    def migrate(self) -> str | None:
        """Creates the schema or brings it up to date; call it before anything else. Blocks. The version that it was at before.

        Several processes and nodes may call it at once: a lock lets one through after the other. Raises SchemaError when the
        schema is newer than this code, because guessing at it could lose data.
        """
        with self._watched("write"), self._backend.migrating() as connection:
            return _upgrade(connection, self.where)

    def close(self) -> None:
        """Finishes what was begun. Blocks for it."""
        self._writer.close()
        self._syncer.close()
        self._readers.shutdown()
        self._backend.close()

    @contextlib.contextmanager
    def _watched(self, what: Literal["read", "write"]) -> Iterator[None]:
        """Turns the database's own troubles into StorageUnavailable; says so in the log once, and once when they are over."""
        try:
            yield
        except Exception as error:
            self._note_trouble(what, error)
            raise
        if self._troubles:
            self._note_recovery(what)

    def _note_trouble(self, what: Literal["read", "write"], error: Exception) -> None:
        """Raises StorageUnavailable for one that is the database's own."""
        reason = self._backend.trouble(error)
        if reason is None:
            return
        if what not in self._troubles:
            log.warning("database_unavailable", to=what, reason=reason)
        self._troubles[what] = reason
        raise StorageUnavailable(reason=reason) from error

    def _note_recovery(self, what: Literal["read", "write"]) -> None:
        if self._troubles.pop(what, None) is not None:
            log.warning("database_available_again", to=what)


def _backend(place: Path | DatabaseUrl) -> Backend:
    if isinstance(place, DatabaseUrl):
        from tollway.storage.postgresql import Postgresql  # its driver takes 200 ms and 15 MB

        return Postgresql(place, _READERS)
    from tollway.storage.sqlite import Sqlite

    return Sqlite(place, _READERS)


def _schema_version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return version


def _refuse_newer(version: str, where: str) -> None:
    if version > SCHEMA_VERSION:
        raise SchemaError(
            f"{where} has schema {version}, written by a newer Tollway; this one knows {SCHEMA_VERSION}. "
            "Install that version again, or restore the copy of the database from before the upgrade."
        )


def _upgrade(connection: Connection, where: str) -> str | None:
    version = _schema_version(connection)
    if version == SCHEMA_VERSION:
        return version
    if version is not None:
        _refuse_newer(version, where)
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "tollway.storage:migrations")
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")
    return version
