"""Copying a whole database out while it is in use, and putting a copy back while it is not. Everything blocks."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from tollway.settings import DatabaseUrl
from tollway.storage.sqlite import damaged, is_damage, open_lock_path
from tollway.storage.turns import TurnError, turn

_LOOK_SECONDS = 0.2

Progress = Callable[[int], None]
"""Is told now and then how many bytes there are of the copy."""


class CopyError(Exception):
    """It could not be done; the message says why, and what to do."""


class Copies(Protocol):
    kind: str
    file_name: str
    """What the copy is called inside a backup."""

    def copy_out(self, target: Path, progress: Progress) -> None:
        """Writes a consistent copy, which the disk has when this returns. Writers are not kept waiting."""

    def check(self, source: Path) -> None:
        """Raises CopyError unless the copy can be read whole."""

    def is_empty(self) -> bool:
        """Whether nothing would be lost by putting a copy back."""

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Nobody else uses the database meanwhile. Raises CopyError when somebody does."""

    def put_back(self, source: Path, aside: Path) -> None:
        """Replaces the database by the copy. What is there is kept in the folder `aside`, which is made. Only while `alone`."""


def copies_of(place: Path | DatabaseUrl) -> Copies:
    return PostgresqlCopies(place) if isinstance(place, DatabaseUrl) else SqliteCopies(place)


class SqliteCopies:
    kind = "sqlite"
    file_name = "tollway.db"

    def __init__(self, path: Path) -> None:
        self._path = path

    def copy_out(self, target: Path, progress: Progress) -> None:
        if not self._path.exists():
            raise CopyError(f"{self._path} is not there: there is nothing to copy yet.")
        target.touch(mode=0o600)
        with contextlib.closing(sqlite3.connect(self._path, timeout=10, check_same_thread=False)) as connection:
            try:
                # one snapshot for the whole copy; the backup API would begin anew whenever another process writes
                _watched(lambda: connection.execute("VACUUM INTO ?", (str(target),)), connection.interrupt, target, progress)
            except sqlite3.Error as error:
                if is_damage(error):
                    raise CopyError(damaged(self._path, str(error))) from None
                raise CopyError(f"{self._path} could not be copied to {target}: {error}.") from None
        _sync(target)
        self.check(target)

    def check(self, source: Path) -> None:
        try:
            with contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?immutable=1", uri=True)) as connection:
                problem = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        except sqlite3.Error as error:
            problem = str(error)
        if problem != "ok":
            raise CopyError(f"{source} is damaged: {problem}.")

    def is_empty(self) -> bool:
        return not self._path.exists()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(turn(open_lock_path(self._path), _LOOK_SECONDS))
            except TurnError:
                raise CopyError(f"{self._path} is in use: stop the server first (and what else has it open).") from None
            yield

    def put_back(self, source: Path, aside: Path) -> None:
        draft = self._path.with_name(self._path.name + ".restoring")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        shutil.copyfile(source, draft)
        _sync(draft)
        aside.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(self._path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that the file alone is all
        with contextlib.suppress(FileNotFoundError):
            _keep(self._path, aside / self._path.name)
        for suffix in ("-wal", "-shm"):  # of the old file: they must not be taken for the new one's
            with contextlib.suppress(FileNotFoundError):
                shutil.move(self._path.with_name(self._path.name + suffix), aside / (self._path.name + suffix))
        draft.rename(self._path)  # at no moment is there no database: whoever starts then would begin an empty one
        _sync(self._path.parent)


class PostgresqlCopies:
    """With PostgreSQL's own programs, which know every version of the server up to their own."""

    kind = "postgresql"
    file_name = "tollway.dump"
    _FLAGS = ("--no-owner", "--no-privileges", "--no-password")

    def __init__(self, url: DatabaseUrl) -> None:
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        self._url = url
        parts = conninfo_to_dict(url.reveal())
        self._password = parts.pop("password", None)
        self._conninfo = make_conninfo("", **parts)

    def copy_out(self, target: Path, progress: Progress) -> None:
        arguments = ("--format=custom", *self._FLAGS, f"--file={target}")
        target.touch(mode=0o600)
        self._run("pg_dump", *arguments, file=target, progress=progress)
        _sync(target)
        self.check(target)

    def check(self, source: Path) -> None:
        self._run("pg_restore", "--list", str(source))

    def is_empty(self) -> bool:
        query = "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema()"
        return bool(self._query(query) == 0)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND usename IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'"
        )
        others = self._query(query)
        if others:
            raise CopyError(f"{self._url} is in use by {others} connections: stop every Tollway that works with it first.")
        yield

    def put_back(self, source: Path, aside: Path) -> None:
        if not self.is_empty():
            aside.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.copy_out(aside / self.file_name, lambda _: None)
            self._drop_tables()
        flags = (*self._FLAGS, "--single-transaction", "--exit-on-error")
        self._run("pg_restore", *flags, f"--dbname={self._conninfo}", str(source))

    def _query(self, query: str) -> Any:
        import psycopg

        try:
            with psycopg.connect(self._url.reveal(), connect_timeout=5) as connection:
                cursor = connection.execute(query.encode())
                row = cursor.fetchone() if cursor.description else None
                return row and row[0]
        except psycopg.Error as error:
            raise CopyError(f"{self._url}: {str(error).splitlines()[0]}") from None

    def _drop_tables(self) -> None:
        names = (
            "SELECT coalesce(string_agg(format('%I', tablename), ', '), '') FROM pg_tables WHERE schemaname = current_schema()"
        )
        tables = self._query(names)
        if tables:
            self._query(f"DROP TABLE {tables} CASCADE")

    def _run(self, program: str, *arguments: str, file: Path | None = None, progress: Progress = lambda _: None) -> None:
        """Runs one of PostgreSQL's programs; it is given the password through its environment, which others cannot see."""
        connection = (f"--dbname={self._conninfo}",) if program == "pg_dump" else ()
        command = (_program(program, arguments), *connection, *arguments)
        environment = os.environ | ({"PGPASSWORD": str(self._password)} if self._password else {})
        environment = {name: value for name, value in environment.items() if not name.startswith("TOLLWAY_")}
        child = subprocess.Popen(  # noqa: S603 - fixed arguments
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        _, problem = _watched(child.communicate, child.terminate, file, progress)
        if child.returncode != 0:
            raise CopyError(f"{program} failed: {problem.strip() or f'exit code {child.returncode}'}")


def _program(name: str, arguments: tuple[str, ...]) -> str:
    """Its path. Raises CopyError that tells what to run elsewhere."""
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4]))
    found = shutil.which(name) or (str(newest[-1]) if newest else None)
    if found is None:
        raise CopyError(
            f"{name} is not installed here (Debian: apt-get install postgresql-client). Where it is, this does the same: "
            f"{name} {' '.join(arguments)} --dbname=<TOLLWAY_DATABASE_URL>. Keep the home folder's secret.key with the result."
        )
    return found


def _watched(work: Callable[[], Any], stop: Callable[[], Any], file: Path | None, progress: Progress) -> Any:
    """`work`'s result; it runs in a thread and is stopped when we are interrupted."""
    with ThreadPoolExecutor(1) as pool:
        future: Future[Any] = pool.submit(work)
        try:
            while not future.done():
                time.sleep(_LOOK_SECONDS if file else 0.01)
                progress(file.stat().st_size if file else 0)
        except BaseException:
            stop()
            raise
        return future.result()


def _keep(path: Path, aside: Path) -> None:
    """The same file under another name, or a copy where that is on another disk."""
    try:
        os.link(path, aside)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copy2(path, aside)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
