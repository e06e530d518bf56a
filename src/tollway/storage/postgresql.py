"""What is particular to PostgreSQL: connections over a network that can break, and settings of each session."""

import contextlib
from collections.abc import Iterator
from typing import Any, NoReturn

import psycopg
import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, Engine, event

from tollway import clock
from tollway.settings import DatabaseUrl
from tollway.storage.facts import Facts
from tollway.storage.not_now import NotNow

_CONNECTION = {
    "application_name": "tollway",
    "client_encoding": "utf8",
    "connect_timeout": "5",
    # a server that vanished without a word is noticed in 10 to 25 s
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
"""What libpq is told unless the URL says otherwise."""
_SESSION = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",  # a node that hangs must not keep rows locked
    "synchronous_commit": "on",
}
_READING = {"default_transaction_isolation": r"repeatable\ read", "default_transaction_read_only": "on"}
_WRITING = {"default_transaction_isolation": r"read\ committed"}
_TRUST_SECONDS = 1.0
"""A connection that was idle for longer, or since another one broke, is asked for a sign of life before it is used."""
MIGRATION_LOCK = 0x746F6C6C77617921
"""Any number that nobody else takes for advisory locks in our database."""
_TROUBLES = ("25006", "25P03")
"""SQLSTATEs that psycopg does not count as operational: a server that only reads, a transaction that idled for too long."""


class Postgresql:
    """Transactions on a PostgreSQL database. READ COMMITTED for writing: updates are guarded, and lock the rows they change."""

    def __init__(self, url: DatabaseUrl, readers: int) -> None:
        self.where = str(url)
        given = conninfo_to_dict(url.reveal())
        self._broken_at = 0.0
        self._reading = self._engine(given, readers, _SESSION | _READING)
        self._writing = self._engine(given, 1, _SESSION | _WRITING)

    def reading(self) -> contextlib.AbstractContextManager[Connection]:
        """One snapshot, that cannot be written through."""
        return self._reading.begin()

    @contextlib.contextmanager
    def writing(self, *, durable: bool) -> Iterator[Connection]:
        with self._writing.begin() as connection:
            if not durable:
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            yield connection

    def at_once(self, _work: object) -> NoReturn:
        raise NotNow  # its answers come over a network

    def sync(self) -> None:
        """Nothing was committed by `at_once` that the disk could lack."""

    @contextlib.contextmanager
    def migrating(self) -> Iterator[Connection]:
        """A write transaction, one node after the other."""
        with self._writing.begin() as connection:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            connection.exec_driver_sql("SET LOCAL lock_timeout = '30s'")
            yield connection

    def integrity(self, connection: Connection) -> str:
        """As far as the server has met damage: it only knows with data checksums."""
        query = "SELECT checksum_failures FROM pg_stat_database WHERE datname = current_database()"
        failures = connection.exec_driver_sql(query).scalar()
        if failures is None:
            return "not checked: this PostgreSQL has no data checksums (pg_checksums --enable, while it is stopped)"
        return f"{failures} pages did not fit their checksum" if failures else "ok"

    def facts(self, connection: Connection) -> Facts:
        size = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
        return Facts(f"PostgreSQL {connection.exec_driver_sql('SHOW server_version').scalar()}", size)

    def trouble(self, error: Exception) -> str | None:
        """Why the database cannot be used at the moment; None = the error is of another kind."""
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        if isinstance(error, sa.exc.TimeoutError):
            return f"{self.where}: all connections are busy"
        if isinstance(cause, psycopg.OperationalError) or getattr(cause, "sqlstate", None) in _TROUBLES:
            self._broken_at = clock.monotonic()
            return f"{self.where}: {(str(cause).splitlines() or [type(cause).__name__])[0]}"
        return None

    def close(self) -> None:
        self._reading.dispose()
        self._writing.dispose()

    def _engine(self, given: dict[str, Any], connections: int, session: dict[str, str]) -> Engine:
        options = " ".join([*(f"-c {name}={value}" for name, value in session.items()), given.get("options", "")])
        engine = sa.create_engine(
            "postgresql+psycopg://",
            connect_args=_CONNECTION | given | {"options": options},
            pool_size=connections,
            max_overflow=0,
            hide_parameters=True,
        )

        def before_use(connection: Any, record: Any, _proxy: Any) -> None:
            used_at = record.info.get("used_at", clock.monotonic())
            if used_at <= self._broken_at or clock.monotonic() - used_at > _TRUST_SECONDS:
                try:
                    engine.dialect.do_ping(connection)
                except psycopg.Error:
                    raise sa.exc.InvalidatePoolError from None  # the pool opens new ones

        def after_use(_connection: Any, record: Any) -> None:
            record.info["used_at"] = clock.monotonic()

        event.listen(engine, "checkout", before_use)
        event.listen(engine, "checkin", after_use)
        return engine
