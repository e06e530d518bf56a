"""A PostgreSQL server of the tests' own: the system's binaries, a temporary folder, a free port. Durable, as in production."""

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from tests.live import free_port

from tollway.settings import DatabaseUrl
from tollway.storage import Database

PASSWORD = "p@ss:w/o?r#d%"  # a hard one, so that every test is also one of quoting
_QUOTED = "p%40ss%3Aw%2Fo%3Fr%23d%25"
_TEMPLATE = "migrated"
# Waits until its stdin is closed, by whoever started it or by their end, and ends the server in the folder as by a crash. It
# lets nobody wait for it: the files of hundreds of databases take some file systems minutes.
_GUARD = """
import contextlib, os, pathlib, shutil, signal, sys, time
if os.fork():
    os._exit(0)
sys.stdin.read()
folder = pathlib.Path(sys.argv[1])
running = folder / "data" / "postmaster.pid"
with contextlib.suppress(OSError, ValueError, IndexError):
    os.kill(int(running.read_text().split()[0]), signal.SIGQUIT)
    deadline = time.monotonic() + 10
    while running.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
shutil.rmtree(folder, ignore_errors=True)
"""


def binaries() -> Path | None:
    """The folder of the newest PostgreSQL server installed, None = there is none."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    folders.sort(key=lambda path: int(path.parent.name.split(".")[0]))
    on_path = shutil.which("initdb")
    return folders[-1] if folders else Path(on_path).parent if on_path else None


@dataclass
class PostgresServer:
    """A running server. `stop`, `start` and `kill` do to it what tests of faults need."""

    bin: Path
    folder: Path
    port: int
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def url(self, database: str) -> DatabaseUrl:
        return DatabaseUrl(f"postgresql://tollway:{_QUOTED}@127.0.0.1:{self.port}/{database}")

    def new_database(self, *, migrated: bool = True) -> DatabaseUrl:
        """The URL of a fresh database, with the current schema or empty. It stays until the server goes."""
        name = f"test_{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} OWNER tollway TEMPLATE {_TEMPLATE if migrated else 'template0'}")
        return self.url(name)

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Runs a statement as the superuser."""
        place = make_conninfo(host=str(self.folder), port=self.port, user="postgres", dbname=database)
        with psycopg.connect(place, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self) -> None:
        settings = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c max_connections=200"
        self._run("pg_ctl", "start", "-w", "-D", self._data, "-l", str(self.folder / "log"), "-o", settings)

    def stop(self) -> None:
        """At once and in order; connections are cut."""
        self._run("pg_ctl", "stop", "-w", "-m", "fast", "-D", self._data)

    def kill(self) -> None:
        """As by a crash: nothing is written any more."""
        self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", self._data)

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    def _run(self, program: str, *arguments: str) -> None:
        user = {"user": _user().pw_name, "group": _user().pw_gid, "extra_groups": ()} if os.geteuid() == 0 else {}
        command = [str(self.bin / program), *arguments]
        done = subprocess.run(
            command,
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
            **user,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, f"{program}: {done.stdout}"


def _user() -> pwd.struct_passwd:
    """PostgreSQL refuses to run as root."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise AssertionError("there is no user postgres and no user nobody to run PostgreSQL as")


@contextlib.contextmanager
def running_postgres(bin_folder: Path) -> Iterator[PostgresServer]:
    """A server for the length of a `with`. It ends with this process, too, however that ends."""
    folder = Path(tempfile.mkdtemp(prefix="tollway-pg-"))  # short: the path of a socket has at most 107 characters
    if os.geteuid() == 0:
        os.chown(folder, _user().pw_uid, _user().pw_gid)
    folder.chmod(0o711)
    server = PostgresServer(bin_folder, folder, free_port())
    guard = [sys.executable, "-c", _GUARD, str(folder)]
    with subprocess.Popen(guard, stdin=subprocess.PIPE, cwd="/", start_new_session=True):
        server._run(
            "initdb", "-D", server._data, "-U", "postgres", "-E", "UTF8", "--locale=C", "--auth-host=scram-sha-256",
            "--auth-local=trust", "--no-instructions", "--data-checksums",
        )  # fmt: skip
        server.start()
        server.sql(f"CREATE ROLE tollway LOGIN PASSWORD '{PASSWORD}'")
        server.sql(f"CREATE DATABASE {_TEMPLATE} OWNER tollway TEMPLATE template0")
        database = Database(server.url(_TEMPLATE))
        database.migrate()
        database.close()
        yield server
