"""`INSERT ... ON CONFLICT`, which both databases have and SQLAlchemy names by dialect."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite


def insert_for(connection: Connection, table: sa.Table) -> "postgresql.Insert | sqlite.Insert":
    """An insert that can take an `on_conflict_...` clause."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def insert_or_ignore(connection: Connection, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """Inserts the rows whose key is new."""
    if rows:
        connection.execute(insert_for(connection, table).on_conflict_do_nothing(), rows)


def insert_or_replace(connection: Connection, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """Inserts the rows; a row whose primary key is there gets the new values."""
    _on_conflict(connection, table, rows, add=False)


def insert_or_add(connection: Connection, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """Inserts the rows; to a row whose primary key is there the new values are added."""
    _on_conflict(connection, table, rows, add=True)


def _on_conflict(connection: Connection, table: sa.Table, rows: Sequence[dict[str, Any]], *, add: bool) -> None:
    if not rows:
        return
    statement = insert_for(connection, table)
    key = [column.name for column in table.primary_key]
    changed = {
        column.name: column + statement.excluded[column.name] if add else statement.excluded[column.name]
        for column in table.columns
        if not column.primary_key
    }
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=changed), rows)
