"""Copying a whole database out while it is in use, and putting a copy back while it is not. Everything blocks."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Protocol

from tollway.settings import DatabaseUrl
from tollway.storage.sqlite import damaged, is_damage, open_lock_path
from tollway.storage.turns import TurnError, turn

_LOOK_SECONDS = 0.2
_FINGERPRINT = "SELECT value FROM installation WHERE name = 'secret_fingerprint'"
_LEAVING_SECONDS = 2.0
"""PostgreSQL counts a connection for a moment longer than its client does."""

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

    def fingerprint(self, source: Path) -> str | None:
        """What the copy knows of the server secret; None = nothing."""

    def is_empty(self) -> bool:
        """Whether nothing would be lost by putting a copy back."""

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """Nobody else uses the database meanwhile. Raises CopyError when somebody does."""

    def keep(self, target: Path) -> None:
        """As `copy_out`, of what is about to be replaced: a damaged file is kept as it is. Only while `alone`."""

    def put_back(self, source: Path) -> contextlib.AbstractContextManager[Callable[[], None]]:
        """Prepares to replace the database by the copy; to call what it gives does so, in one step. Only while `alone`.

        Until then nothing is changed, whatever happens.
        """


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

    def fingerprint(self, source: Path) -> str | None:
        with contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?immutable=1", uri=True)) as connection:
            has_table = "SELECT 1 FROM sqlite_master WHERE name = 'installation'"
            row = connection.execute(has_table).fetchone() and connection.execute(_FINGERPRINT).fetchone()
            return row and str(row[0])

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

    def keep(self, target: Path) -> None:
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(self._path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that the file alone is all
        for suffix in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                _copy(_beside(self._path, suffix), _beside(target, suffix))

    @contextlib.contextmanager
    def put_back(self, source: Path) -> Iterator[Callable[[], None]]:
        draft = _beside(self._path, ".restoring")
        draft.unlink(missing_ok=True)
        try:
            _copy(source, draft)
            yield lambda: self._replace_by(draft)
        finally:
            draft.unlink(missing_ok=True)

    def _replace_by(self, draft: Path) -> None:
        for suffix in ("-wal", "-shm"):  # of the old file: they must not be taken for the new one's
            _beside(self._path, suffix).unlink(missing_ok=True)
        draft.rename(self._path)  # at no moment is there no database: whoever starts then would begin an empty one
        _sync(self._path.parent)


class PostgresqlCopies:
    """With PostgreSQL's own programs, which know every version of the server up to their own."""

    kind = "postgresql"
    file_name = "tollway.dump"
    _FLAGS = ("--no-owner", "--no-privileges")

    def __init__(self, url: DatabaseUrl) -> None:
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        self._url = url
        parts = conninfo_to_dict(url.reveal())
        self._password = parts.pop("password", None)
        self._conninfo = make_conninfo("", **parts)

    def copy_out(self, target: Path, progress: Progress) -> None:
        # of the extensions only the one that every database has: the others are the administrator's, and stay where they are
        arguments = ("--format=custom", *self._FLAGS, "--no-password", "--extension=plpgsql", f"--file={target}")
        target.touch(mode=0o600)
        self._run("pg_dump", *arguments, file=target, progress=progress)
        _sync(target)
        self.check(target)

    def check(self, source: Path) -> None:
        self._run("pg_restore", "--list", str(source))

    def is_empty(self) -> bool:
        query = "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema()"
        return bool(self._query(query) == 0)

    def fingerprint(self, source: Path) -> str | None:
        rows = self._run("pg_restore", "--data-only", "--table=installation", "--file=-", str(source)).splitlines()
        return next((value for name, _, value in (row.partition("\t") for row in rows) if name == "secret_fingerprint"), None)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Who migrates meanwhile, as every start does, waits until it is over."""
        import psycopg

        from tollway.storage.postgresql import MIGRATION_LOCK

        others = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND usename IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'"
        )
        with contextlib.ExitStack() as stack:
            try:
                connection = stack.enter_context(self._connected())
                connection.execute("SET idle_session_timeout = 0")  # it holds the lock, and does nothing else
                deadline = time.monotonic() + _LEAVING_SECONDS
                locked = connection.execute("SELECT pg_try_advisory_lock(%s)", [MIGRATION_LOCK]).fetchone()
                while (count := connection.execute(others.encode()).fetchone()[0]) and time.monotonic() < deadline:
                    time.sleep(_LOOK_SECONDS)
            except psycopg.Error as error:
                raise self._failure(error) from None
            if count or not locked[0]:
                raise CopyError(f"{self._url} is in use by {count} connections: stop every Tollway that works with it first.")
            yield

    def keep(self, target: Path) -> None:
        self.copy_out(target, lambda _: None)

    @contextlib.contextmanager
    def put_back(self, source: Path) -> Iterator[Callable[[], None]]:
        """One transaction of psql's, from the first DROP to the last row, which only the COMMIT at its end makes last."""
        arguments = ("--no-psqlrc", "--no-password", "--quiet", "--set=ON_ERROR_STOP=1", f"--output={os.devnull}")
        with tempfile.TemporaryFile() as complaints:
            psql = self._started("psql", *arguments, stdin=subprocess.PIPE, stderr=complaints)

            def commit() -> None:
                try:
                    psql.communicate(b"COMMIT;\n")
                finally:
                    psql.kill()
                if psql.returncode != 0:
                    raise CopyError(f"{_first_line('psql', complaints)} Whether the backup was put back is not known.")

            try:
                _watched(lambda: self._fill(psql, source, complaints), psql.kill, None, lambda _: None)
                yield commit
            finally:
                psql.kill()
                psql.communicate()

    def _fill(self, psql: Any, source: Path, complaints: IO[bytes]) -> None:
        """Returns when psql has done everything but to commit."""
        tables = self._query(
            "SELECT coalesce(string_agg(format('%I.%I', schemaname, tablename), ', '), '') FROM pg_tables "
            "WHERE schemaname = current_schema() AND NOT EXISTS (SELECT FROM pg_depend WHERE deptype = 'e' "
            "AND classid = 'pg_class'::regclass AND objid = format('%I.%I', schemaname, tablename)::regclass)"
        )
        drop = f"DROP TABLE {tables} CASCADE;" if tables else ""
        try:
            psql.stdin.write(f"BEGIN; SET client_min_messages = warning; SET lock_timeout = '10s'; {drop}\n".encode())
            psql.stdin.flush()
            script = self._started("pg_restore", *self._FLAGS, "--file=-", str(source), stdout=psql.stdin, stderr=complaints)
            if script.wait() == 0:
                psql.stdin.write(b"\\echo done\n")
                psql.stdin.flush()
                if psql.stdout.readline():
                    return
        except BrokenPipeError:
            pass  # it has said why
        raise CopyError(f"{_first_line('pg_restore', complaints)} Nothing was changed.")

    def _query(self, query: str) -> Any:
        import psycopg

        try:
            with self._connected() as connection:
                row = connection.execute(query.encode()).fetchone()
                return row and row[0]
        except psycopg.Error as error:
            raise self._failure(error) from None

    def _connected(self) -> Any:
        import psycopg

        return psycopg.connect(self._url.reveal(), connect_timeout=5, autocommit=True)

    def _failure(self, error: Exception) -> CopyError:
        return CopyError(f"{self._url}: {(str(error).splitlines() or [type(error).__name__])[0]}")

    def _run(self, program: str, *arguments: str, file: Path | None = None, progress: Progress = lambda _: None) -> str:
        """What one of PostgreSQL's programs prints."""
        child = self._started(program, *arguments, stderr=subprocess.PIPE)
        printed, problem = _watched(child.communicate, child.terminate, file, progress)
        if child.returncode != 0:
            raise CopyError(f"{program} failed: {problem.decode().strip() or f'exit code {child.returncode}'}")
        return str(printed.decode(errors="replace"))

    def _started(
        self, program: str, *arguments: str, stdin: Any = subprocess.DEVNULL, stdout: Any = subprocess.PIPE, stderr: Any
    ) -> "subprocess.Popen[bytes]":
        """One of PostgreSQL's programs. It is given the password through its environment, which others cannot see.

        In a session of its own: Ctrl-C is for us to handle.
        """
        connection = () if program == "pg_restore" else (f"--dbname={self._conninfo}",)
        command = (_program(program, arguments), *connection, *arguments)
        environment = os.environ | ({"PGPASSWORD": str(self._password)} if self._password else {})
        environment = {name: value for name, value in environment.items() if not name.startswith("TOLLWAY_")}
        return subprocess.Popen(  # noqa: S603 - fixed arguments
            command, env=environment, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
        )


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


def _first_line(program: str, complaints: IO[bytes]) -> str:
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").strip().splitlines()
    return f"{program} failed: {lines[0] if lines else 'it does not say why'}."


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _copy(source: Path, target: Path) -> None:
    """A file that only its owner may read, which the disk has when this returns. An error names the file that it is about."""
    with source.open("rb") as reading, os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as writing:
        try:
            shutil.copyfileobj(reading, writing, 2**20)
            writing.flush()
            os.fsync(writing.fileno())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(target)) from None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
