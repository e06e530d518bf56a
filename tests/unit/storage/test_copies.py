"""Putting a copy back into PostgreSQL: the old data or the copy's, never nothing."""

import contextlib
import stat
import threading
import time
from pathlib import Path

import pytest
from tests.postgres import PostgresServer

from tollway.settings import DatabaseUrl
from tollway.storage import Database, copies
from tollway.storage.copies import CopyError, PostgresqlCopies


@pytest.fixture
def place(postgres: PostgresServer) -> DatabaseUrl:
    return postgres.new_database()


@pytest.fixture
def copy(place: DatabaseUrl, tmp_path: Path) -> Path:
    PostgresqlCopies(place).copy_out(tmp_path / "copy", lambda _: None)
    run(place, "CREATE TABLE newer (id int)")
    return tmp_path / "copy"


def run(place: DatabaseUrl, statement: str) -> list[tuple[object, ...]]:
    import psycopg

    with psycopg.connect(place.reveal(), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def tables(place: DatabaseUrl) -> set[object]:
    return {name for (name,) in run(place, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def instead(name: str, script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has another program take the place of one of PostgreSQL's; `$REAL` is that one."""
    fake = tmp_path / name
    fake.write_text(f"#!/bin/sh\nREAL={copies._program(name, ())}\n{script}\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    program = copies._program
    monkeypatch.setattr(copies, "_program", lambda each, arguments: str(fake) if each == name else program(each, arguments))


def restore(place: DatabaseUrl, copy: Path) -> None:
    both = PostgresqlCopies(place)
    with both.alone(), both.put_back(copy) as replace:
        replace()


def test_a_copy_replaces_all_tables(place: DatabaseUrl, copy: Path) -> None:
    assert "newer" in tables(place)
    restore(place, copy)
    assert "newer" not in tables(place)
    assert "accounts" in tables(place)


@pytest.mark.parametrize("script", ["$REAL $* | head -n 200; exit 1", "exit 1", "$REAL $*; echo 'SELECT 1/0;'"])
def test_a_copy_that_cannot_be_put_back_changes_nothing(
    script: str, place: DatabaseUrl, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead("pg_restore", script, tmp_path, monkeypatch)
    with pytest.raises(CopyError, match="Nothing was changed"):
        restore(place, copy)
    assert {"newer", "accounts"} <= tables(place)


def test_what_is_prepared_and_not_done_changes_nothing(place: DatabaseUrl, copy: Path) -> None:
    both = PostgresqlCopies(place)
    with both.alone(), both.put_back(copy):
        pass
    assert {"newer", "accounts"} <= tables(place)


def test_an_interruption_changes_nothing(
    place: DatabaseUrl, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instead("pg_restore", "$REAL $* | head -n 200; touch $0.begun; sleep 1", tmp_path, monkeypatch)
    sleep = time.sleep

    def interrupted(seconds: float) -> None:
        if (tmp_path / "pg_restore.begun").exists():
            raise KeyboardInterrupt
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        restore(place, copy)
    assert {"newer", "accounts"} <= tables(place)


def test_a_start_meanwhile_waits_for_the_copy(place: DatabaseUrl, copy: Path) -> None:
    ended: list[str | None] = []

    def start() -> None:
        with contextlib.closing(Database(place)) as database:
            ended.append(database.migrate())

    both, starting = PostgresqlCopies(place), threading.Thread(target=start)
    with both.alone():
        starting.start()
        with both.put_back(copy) as replace:
            time.sleep(0.3)
            assert not ended
            replace()
    starting.join(30)
    assert "newer" not in tables(place)
    assert ended != [None], "it has begun an empty one"


def test_extensions_of_the_administrator_stay(postgres: PostgresServer, place: DatabaseUrl, tmp_path: Path) -> None:
    postgres.sql("CREATE EXTENSION pg_stat_statements", place.reveal().rsplit("/", 1)[1])
    PostgresqlCopies(place).copy_out(tmp_path / "copy", lambda _: None)
    restore(place, tmp_path / "copy")
    assert run(place, "SELECT 1 FROM pg_extension WHERE extname = 'pg_stat_statements'")
    assert "accounts" in tables(place)
