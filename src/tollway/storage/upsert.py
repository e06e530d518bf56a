"""`INSERT ... ON CONFLICT`, which both databases have and SQLAlchemy names by dialect."""

from collections.abc import Sequence
from functools import partial
from operator import itemgetter
from typing import Literal

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from tollway.storage.prepared import PreparedInsert, Row

_prepared: dict[tuple[str, str], PreparedInsert] = {}


def insert_or_ignore(connection: Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Inserts the rows whose key is new. Rows have all columns."""
    _insert(connection, table, rows, "ignore")


def insert_or_replace(connection: Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Inserts the rows; a row whose primary key is there gets the new values. Rows have all columns."""
    _insert(connection, table, rows, "replace")


def insert_or_add(connection: Connection, table: sa.Table, rows: Sequence[Row]) -> None:
    """Inserts the rows; to a row whose primary key is there the new values are added. Rows have all columns."""
    _insert(connection, table, rows, "add")


def _insert(connection: Connection, table: sa.Table, rows: Sequence[Row], mode: Literal["ignore", "replace", "add"]) -> None:
    prepared = _prepared.get((table.name, mode))
    if prepared is None:
        names = [column.name for column in table.columns]
        build = partial(_statement, table, mode)
        prepared = _prepared[table.name, mode] = PreparedInsert(names, build)
    values_of = itemgetter(*prepared.names)
    prepared(connection, [values_of(row) for row in rows])


def _statement(table: sa.Table, mode: str, connection: Connection, rows: list[Row]) -> sa.Insert:
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = make(table).values(rows)
    if mode == "ignore":
        return statement.on_conflict_do_nothing()
    new = statement.excluded
    changed = {
        column.name: column + new[column.name] if mode == "add" else new[column.name]
        for column in table.columns
        if not column.primary_key
    }
    return statement.on_conflict_do_update(index_elements=[column.name for column in table.primary_key], set_=changed)
