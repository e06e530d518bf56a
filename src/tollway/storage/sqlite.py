"""What is particular to SQLite: one file, WAL mode, readers that never wait for the writer."""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection, event

from tollway.storage.facts import Facts
from tollway.storage.not_now import NotNow
from tollway.storage.turns import QuickTurn, TurnError, shared, turn
from tollway.storage.wal import WriteAheadLog

_BUSY_SECONDS = 10
_COPY_BUSY_SECONDS = 1.0
"""So long a doubtful log is waited for while somebody reads it, for nobody can write meanwhile."""
_STATEMENTS = 512  # kept compiled; see prepared.py
_CHECKPOINT = "PRAGMA wal_checkpoint(PASSIVE)"
_CHECKPOINT_COMMITS = 300  # some 20 MB: a page that is written again and again is copied into the file once for all
_CHECKPOINT_PAGES_MAX = 32_000  # 128 MB: a writer that finds so much does what the thread for it did not get done
_TROUBLES = {
    sqlite3.SQLITE_BUSY: "another process kept it locked",
    sqlite3.SQLITE_LOCKED: "another process kept it locked",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
    sqlite3.SQLITE_READONLY: "it cannot be written",
    sqlite3.SQLITE_IOERR: "the disk fails",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_PROTOCOL: "another process kept it locked",
    sqlite3.SQLITE_PERM: "this user may not use it",
}

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

T = TypeVar("T")

log = structlog.get_logger()


def _code(error: BaseException | None) -> int:
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def is_damage(error: BaseException | None) -> bool:
    """Whether SQLite says that the file itself is at fault."""
    return _code(error) in _DAMAGE


def damaged(path: Path | str, why: str) -> str:
    """What to say of a damaged file, in one line: nothing but a backup helps."""
    return f"{path} is damaged: {' '.join(why.split())}; restore it from a backup: tollway db restore FOLDER --force"


class Sqlite:
    """Transactions on a SQLite file.

    Writing takes SQLite's write lock at once (BEGIN IMMEDIATE): a transaction that reads and then writes cannot fail half-way
    because another process wrote. Before that it takes the lock on a file beside the database: processes that wait for SQLite's
    own sleep for up to 100 ms at a time, and others overtake them (ADR 7 has the numbers).
    """

    def __init__(self, path: Path, readers: int) -> None:
        self.path = path
        self.where = str(path)
        self._lock = path.with_name(path.name + ".lock")
        self._log = WriteAheadLog(path.with_name(path.name + "-wal"))
        url = sa.URL.create("sqlite", database=str(path))
        self._reading = sa.create_engine(url, pool_size=readers + 1, max_overflow=0, hide_parameters=True)
        statements = {"cached_statements": _STATEMENTS}
        self._writing = sa.create_engine(url, pool_size=2, max_overflow=0, hide_parameters=True, connect_args=statements)
        self._writer: _Writer | None = None
        self._quick: _Writer | None = None
        self._quick_turn = QuickTurn(self._lock)
        self._alone = threading.Lock()  # a lock on a file keeps out other processes, not our own threads
        self._checkpoints = _Checkpoints(self._reading, self._turn, self._look_at)
        self._opening = threading.Lock()
        self._open_handle: int | None = None
        event.listen(self._reading, "connect", self._say_that_it_is_open)
        event.listen(self._writing, "connect", self._say_that_it_is_open)
        event.listen(self._reading, "connect", _on_connect("query_only = ON"))
        event.listen(self._reading, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        checkpoint = f"wal_autocheckpoint = {_CHECKPOINT_PAGES_MAX}"
        event.listen(self._writing, "connect", _on_connect("synchronous = FULL", checkpoint))
        event.listen(self._writing, "begin", _begin_writing)

    def reading(self) -> contextlib.AbstractContextManager[Connection]:
        """One snapshot, that cannot be written through."""
        return self._reading.begin()

    @contextlib.contextmanager
    def writing(self, *, durable: bool) -> Iterator[Connection]:
        with self._turn():
            if self._log.is_doubtful:
                self._copy_log()
            writer = self._writer = self._writer or _Writer(self._writing.connect(), _BUSY_SECONDS)
            try:
                writer.begin("FULL" if durable else "NORMAL")
                self._open_log()
                before = writer.changes
                yield writer.connection
                writer.commit()
                if durable and writer.changes == before:  # SQLite has synced nothing, and what was committed before may need it
                    self._sync_log()
                self._checkpoints.after_commit()
            except BaseException as error:
                self._look_at(error)
                self._forget_writer()
                raise

    def at_once(self, work: Callable[..., T]) -> T:
        """`work`'s result, committed, not durable, in a thread that must not wait: raises NotNow instead. Only memory is
        written to, as long as the system has some; `sync` brings it to the disk.
        """
        if self._log.is_doubtful or not self._alone.acquire(blocking=False):
            raise NotNow
        try:
            if not self._quick_turn.take():
                raise NotNow
            try:
                quick = self._quick = self._quick or _Writer(self._writing.connect(), 0)
                quick.begin("NORMAL")
                self._open_log()
                result = work(quick.connection, version=quick.version())
                quick.commit()
                self._checkpoints.after_commit()
            except BaseException as error:
                self._look_at(error)
                self._forget_quick()
                raise
            finally:
                self._quick_turn.give_back()
        except TurnError:
            raise NotNow from None
        finally:
            self._alone.release()
        return result

    def sync(self) -> None:
        """Waits until the disk has whatever was committed before. Blocks; for any thread.

        Where the disk refuses that, the system may forget what it could not write, and say so only once. So what the log has is
        then copied into the file, which is written and synced anew, before anything else is believed.
        """
        if not self._log.is_doubtful:
            self._sync_log()
            return
        with self._turn():
            if self._log.is_doubtful:
                self._copy_log()

    def _open_log(self) -> None:
        """For a later sync; within a transaction, when SQLite has made it."""
        try:
            self._log.open()
        except OSError as error:
            raise TurnError(f"{self._log.path}: {error.strerror}") from None

    def _sync_log(self) -> None:
        try:
            self._log.sync()
        except OSError as error:
            raise TurnError(f"{self.path}: {error.strerror}") from error

    def _copy_log(self) -> None:
        """Has the log, of which nobody knows what the disk has, copied into the file. To be called while nobody else writes."""
        with contextlib.closing(self._reading.raw_connection()) as connection:
            driver: Any = connection.driver_connection
            driver.execute(f"PRAGMA busy_timeout = {_COPY_BUSY_SECONDS * 1000:.0f}")
            try:
                busy, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                driver.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000}")
            if busy:
                raise TurnError(f"{self.path}: the disk has failed, and its log is still being read")
            self._log.is_doubtful = False

    def _look_at(self, error: BaseException) -> None:
        """SQLite's own handle was told that something could not be written: its next sync would say nothing of it."""
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        if getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_FSYNC:
            self._log.is_doubtful = True

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Nobody else writes meanwhile. Blocks; raises TurnError when it takes too long."""
        if not self._alone.acquire(timeout=_BUSY_SECONDS):
            raise TurnError(f"{self.path}: another thread has written for {_BUSY_SECONDS:g} s")
        try:
            with turn(self._lock, _BUSY_SECONDS):
                yield
        finally:
            self._alone.release()

    @contextlib.contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A write transaction on a file that exists, one process after the other."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise TurnError(f"{self.path.parent}: {error.strerror}") from None
        with turn(self._lock):
            self._forget_writer()
            self._forget_quick()
            try:
                os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives its -wal and -shm the same mode
            except OSError as error:
                raise TurnError(f"{self.path}: {error.strerror}") from None
            with contextlib.closing(self._writing.raw_connection()) as raw:
                # stays with the file; it is set under the lock because it ignores the busy timeout
                raw.cursor().execute("PRAGMA journal_mode = WAL").close()
            with self._writing.begin() as connection:
                yield connection

    def integrity(self, connection: Connection) -> str:
        """`ok`, or what is damaged. Reads the whole file."""
        return str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())

    def facts(self, connection: Connection) -> Facts:
        pages, size = (connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size"))
        return Facts(f"SQLite {sqlite3.sqlite_version}", pages * size)

    def trouble(self, error: Exception) -> str | None:
        """Why the database cannot be used at the moment; None = the error is of another kind."""
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        if isinstance(error, TurnError):
            return str(error)
        if isinstance(error, sa.exc.TimeoutError):
            return f"{self.path}: all connections are busy"
        if is_damage(cause):
            return damaged(self.path, str(cause))
        code = _code(cause)
        return f"{self.path}: {_TROUBLES[code]}" if code in _TROUBLES else None

    def close(self) -> None:
        self._forget_writer()
        self._forget_quick()
        self._quick_turn.close()
        self._checkpoints.close()
        self._log.close()
        self._reading.dispose()
        self._writing.dispose()
        if self._open_handle is not None:
            os.close(self._open_handle)
            self._open_handle = None

    def _forget_writer(self) -> None:
        """Rolls back what it has begun."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.connection.close()

    def _forget_quick(self) -> None:
        quick, self._quick = self._quick, None
        if quick is not None:
            quick.connection.close()

    def _say_that_it_is_open(self, *_: object) -> None:
        """Holds a shared lock from the first connection to the end, so that nobody replaces the file under us."""
        with self._opening:
            if self._open_handle is None:
                self._open_handle = shared(open_lock_path(self.path))


def open_lock_path(path: Path) -> Path:
    """The file that is locked, shared, by all who have the database open."""
    return path.with_name(path.name + ".open")


def _on_connect(*pragmas: str) -> Any:
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late for DDL and for reads; ours comes at once
        for pragma in (f"busy_timeout = {_BUSY_SECONDS * 1000}", "foreign_keys = ON", *pragmas):
            connection.execute(f"PRAGMA {pragma}")

    return prepare


def _begin_writing(connection: Connection) -> None:
    if not _driver_of(connection).in_transaction:  # else SQLAlchemy begins what a _Writer has begun
        connection.exec_driver_sql("BEGIN IMMEDIATE")


class _Checkpoints:
    """Copies what was committed from the write-ahead log into the file, in a thread of its own.

    SQLite's own way is to let the commit that finds the log long do it: tens of milliseconds in which every answer waits. A
    passive checkpoint keeps nobody from writing. What was written meanwhile, which is little, is copied while nobody writes;
    then the log has nothing that is not in the file, and begins anew.
    """

    def __init__(
        self,
        engine: sa.Engine,
        alone: Callable[[], contextlib.AbstractContextManager[None]],
        look_at: Callable[[BaseException], None],
    ) -> None:
        """`look_at` is told of what fails."""
        self._engine = engine
        self._alone = alone
        self._look_at = look_at
        self._commits = 0
        self._due = threading.Event()
        self._thread: threading.Thread | None = None
        self._closing = False

    def after_commit(self) -> None:
        """To be called while nobody else can write."""
        self._commits += 1
        if self._commits >= _CHECKPOINT_COMMITS:
            self._commits = 0
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="database-checkpoint", daemon=True)
                self._thread.start()
            self._due.set()

    def close(self) -> None:
        """Finishes what was begun. Blocks for it."""
        self._closing = True
        self._due.set()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while self._due.wait() and not self._closing:
            self._due.clear()
            try:
                with contextlib.closing(self._engine.raw_connection()) as connection:
                    driver: Any = connection.driver_connection
                    driver.execute(_CHECKPOINT).close()
                    with self._alone():
                        driver.execute(_CHECKPOINT).close()
            except (sa.exc.SQLAlchemyError, sqlite3.Error, TurnError) as error:  # nothing is lost: the log has it all
                self._look_at(error)
                log.warning("checkpoint_failed", reason=str(error))


class _Writer:
    """A connection that stays checked out, with transactions of the driver's own.

    SQLAlchemy's checking out, beginning and committing cost a small transaction a third of its processor time.
    """

    def __init__(self, connection: Connection, busy_seconds: int) -> None:
        self.connection = connection
        self._driver = _driver_of(connection)
        self._level = ""
        self._driver.execute(f"PRAGMA busy_timeout = {busy_seconds * 1000}")  # another's may have been left there

    def begin(self, level: str) -> None:
        if level != self._level:
            self._driver.execute(f"PRAGMA synchronous = {level}")  # cannot be changed inside a transaction
            self._level = level
        self._driver.execute("BEGIN IMMEDIATE")

    @property
    def changes(self) -> int:
        """How many rows it has written so far."""
        return self._driver.total_changes

    def version(self) -> int:
        """Another number whenever another connection has written. Within a transaction."""
        return int(self._driver.execute("PRAGMA data_version").fetchone()[0])

    def commit(self) -> None:
        if self.connection.in_transaction():  # something was executed through SQLAlchemy, which must know of the end
            self.connection.commit()
        else:
            self._driver.commit()


def _driver_of(connection: Connection) -> sqlite3.Connection:
    driver: sqlite3.Connection = connection.connection.dbapi_connection  # type: ignore[assignment]
    return driver
