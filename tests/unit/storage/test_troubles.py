"""Databases that go away, fill up or are locked: 503 meanwhile, and all is well again without a restart."""

import asyncio
import contextlib
import fcntl
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import Response
from tests.asgi import call
from tests.damage import damage_page
from tests.installation import app_of, endpoint, installed, new_key
from tests.postgres import PASSWORD, PostgresServer, running_postgres

from tollway.api.context import context_of
from tollway.api.table import Auth
from tollway.errors import StorageUnavailable
from tollway.settings import DatabaseUrl
from tollway.storage import Database, postgresql
from tollway.storage import sqlite as sqlite_module
from tollway.storage.tables import accounts

TOUCH = sa.text("UPDATE alembic_version SET version_num = version_num")


def touch(connection: sa.Connection) -> None:
    connection.execute(TOUCH)


def grow(connection: sa.Connection) -> None:
    for number in range(2000):
        row = {"id": f"a{number}", "name": f"{number} {'x' * 80}", "created_at": 1.0}
        connection.execute(sa.insert(accounts).values(row))


async def count(database: Database) -> int:
    return await database.read(lambda connection: len(connection.execute(sa.select(accounts.c.id)).all()))


@contextlib.contextmanager
def away(server: PostgresServer) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


@pytest.fixture(scope="module")
def postgres(postgres_binaries: Path) -> Iterator[PostgresServer]:
    """One of this module's own: before it stops, all that the others have written would have to reach the disk."""
    with running_postgres(postgres_binaries) as server:
        yield server


@pytest.fixture
def node(postgres: PostgresServer) -> Iterator[Database]:
    database = Database(postgres.new_database())
    yield database
    database.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    database = Database(tmp_path / "tollway.db")
    database.migrate()
    database.close()
    return tmp_path / "tollway.db"


@pytest.fixture
def sqlite(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr(sqlite_module, "_BUSY_SECONDS", 0.2)
    database = Database(file)
    yield database
    database.close()


async def test_a_server_that_is_away_is_said_so_without_the_password(postgres: PostgresServer, node: Database) -> None:
    await node.ping()
    await node.write(touch)
    with away(postgres):
        attempts: list[Callable[[], Awaitable[object]]] = [node.ping, lambda: node.write(touch), node.facts]
        attempts.append(lambda: asyncio.to_thread(node.migrate))
        for attempt in attempts:
            with pytest.raises(StorageUnavailable) as caught:
                await attempt()
            assert "tollway:***@127.0.0.1" in caught.value.reason
            assert caught.value.retry_after_seconds == 2
            said, cause = f"{caught.value!r} {caught.value} {caught.value.message}", caught.value.__cause__
            assert PASSWORD not in f"{said} {cause} {cause!r}"
    await node.ping()
    await node.write(touch)


async def test_nobody_notices_a_restart_between_two_requests(
    postgres: PostgresServer, node: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "_TRUST_SECONDS", 0.0)
    await asyncio.gather(*(node.ping() for _ in range(8)))
    await node.write(touch)
    with away(postgres):
        pass
    await asyncio.gather(*(node.ping() for _ in range(8)))
    await node.write(touch)


async def test_a_connection_that_is_cut_in_a_transaction_rolls_back(postgres: PostgresServer, node: Database) -> None:
    def cut(connection: sa.Connection) -> None:
        grow(connection)
        postgres.sql(f"SELECT pg_terminate_backend({connection.exec_driver_sql('SELECT pg_backend_pid()').scalar()})")
        connection.execute(TOUCH)

    with pytest.raises(StorageUnavailable, match=r"terminating connection|closed"):
        await node.write(cut)
    assert await count(node) == 0
    await node.write(grow)
    assert await count(node) == 2000


async def test_a_row_that_stays_locked_is_given_up_after_a_time_that_the_url_may_set(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    holder, node = Database(url), Database(DatabaseUrl(url.reveal() + "?options=-c%20lock_timeout%3D100ms"))
    held, go = threading.Event(), threading.Event()

    def hold(connection: sa.Connection) -> None:
        connection.execute(TOUCH)
        held.set()
        assert go.wait(10)

    holding = asyncio.create_task(holder.write(hold))
    assert await asyncio.to_thread(held.wait, 10)
    with pytest.raises(StorageUnavailable, match="lock timeout"):
        await node.write(touch)
    go.set()
    await holding
    await node.write(touch)
    node.close()
    holder.close()


async def test_a_full_disk_changes_nothing_and_is_not_ready_until_it_can_be_written_again(file: Path, sqlite: Database) -> None:
    pages = sqlite3.connect(file).execute("PRAGMA page_count").fetchone()[0]

    def limit(connection: sa.Connection, to: int) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {to}")

    await sqlite.write(lambda connection: limit(connection, pages + 1))
    with pytest.raises(StorageUnavailable, match="the disk is full"):
        await sqlite.write(grow)
    assert await count(sqlite) == 0
    await sqlite.ping()  # what still fits can be written
    await sqlite.write(lambda connection: limit(connection, 1_000_000))
    await sqlite.write(grow)
    assert await count(sqlite) == 2000


@pytest.mark.parametrize("how", ["transaction", "turn"])
async def test_a_lock_that_another_process_keeps(how: str, file: Path, sqlite: Database) -> None:
    with contextlib.ExitStack() as stack:
        if how == "transaction":
            other = stack.enter_context(contextlib.closing(sqlite3.connect(file, isolation_level=None)))
            other.execute("BEGIN IMMEDIATE")
        else:
            fcntl.flock(stack.enter_context(file.with_name("tollway.db.lock").open("w")), fcntl.LOCK_EX)
        assert await count(sqlite) == 0, "reading goes on"
        for _ in range(2):
            with pytest.raises(StorageUnavailable, match="another process"):
                await sqlite.write(touch)
        with pytest.raises(StorageUnavailable, match="another process"):
            await sqlite.ping()
    await sqlite.ping()
    await sqlite.write(grow)
    assert await count(sqlite) == 2000
    for thread in threading.enumerate():
        if thread.name == "database-turn":
            await asyncio.to_thread(thread.join, 5)
            assert not thread.is_alive(), "it was left behind, and has nothing to wait for any more"


async def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("")
    database = Database(tmp_path / "occupied" / "tollway.db")
    with pytest.raises(StorageUnavailable, match=r"occupied: (Not a directory|File exists)"):
        database.migrate()
    with pytest.raises(StorageUnavailable, match=r"cannot be opened|Not a directory"):
        await database.write(touch)
    database.close()


async def test_a_damaged_page_is_a_trouble_that_names_the_way_out(file: Path) -> None:
    damage_page(file, "accounts")
    database = Database(file)
    with pytest.raises(StorageUnavailable, match=r"tollway\.db is damaged: .*; restore it from a backup: tollway db restore"):
        await database.read(lambda connection: connection.execute(sa.select(accounts)).all())
    with pytest.raises(StorageUnavailable, match=r"is damaged"):
        await database.write(grow)
    database.close()


async def _writes(scope: Any, receive: Any, send: Any) -> None:
    await context_of(scope).services.database.write(touch)
    await Response("written")(Request(scope).scope, receive, send)


async def _expect_503_and_back(
    home: Path, break_it: Callable[[], contextlib.AbstractContextManager[Any]], **changes: Any
) -> None:
    async with installed(home, **changes) as services:
        app, key = app_of(services, [endpoint(_writes, auth=Auth.KEY), *_HEALTH]), await new_key(services)
        headers = {"authorization": f"Bearer {key}"}
        assert (await call(app, "GET", "/v1/test", headers=headers)).status == 200
        services.accounts._authenticator.forget()
        await services.accounts.close()
        with break_it():
            reply = await call(app, "GET", "/v1/test", headers=headers)
            assert (reply.status, reply.header("retry-after")) == (503, "2")
            assert reply.json["error"]["code"] == "storage_unavailable"
            assert str(services.database.where) not in reply.body.decode(), "the reason is for the operator"
            ready = await call(app, "GET", "/readyz")
            assert (ready.status, ready.json["checks"]) == (503, {"database": False})
        assert (await call(app, "GET", "/readyz")).status == 200
        assert (await call(app, "GET", "/v1/test", headers=headers)).status == 200


def _health() -> list[Any]:
    from tollway.api.endpoints import ENDPOINTS

    return [row for row in ENDPOINTS if "/readyz" in row.paths]


_HEALTH = _health()


async def test_requests_are_503_while_postgresql_is_away(postgres: PostgresServer, tmp_path: Path) -> None:
    await _expect_503_and_back(tmp_path, lambda: away(postgres), database_url=postgres.new_database())


async def test_requests_are_503_while_sqlite_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "_BUSY_SECONDS", 0.2)

    @contextlib.contextmanager
    def locked() -> Iterator[None]:
        with contextlib.closing(sqlite3.connect(tmp_path / "tollway.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield

    await _expect_503_and_back(tmp_path, locked)
