"""Statements of the hot path, compiled once and handed to the driver: a tenth of what SQLAlchemy's own execute costs in Python.

They are written in SQLAlchemy like all others, and run inside its transactions; only their way is shorter. Values go to the
driver as they are: for integers, text, floats and bytes, which is all that these tables hold, nothing needs converting. What
the driver raises comes as the driver's own exception.
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

Row = dict[str, Any]


class Result:
    """What a statement did: its rows, with the names of the columns, and how many rows it touched."""

    __slots__ = ("rowcount", "rows")

    def __init__(self, rows: list[Any], rowcount: int) -> None:
        self.rows = rows
        self.rowcount = rowcount


class Prepared:
    """A statement with named parameters, for one row of them or for many (`executemany`)."""

    def __init__(self, build: Callable[[Connection], Any]) -> None:
        self._build = build
        self._compiled: dict[str, tuple[str, tuple[str, ...] | None, Callable[[Any], Any] | None]] = {}

    def __call__(self, connection: Connection, parameters: Row | Sequence[Row]) -> Result:
        sql, names, make_row = self._compiled.get(connection.dialect.name) or self._compile(connection)
        cursor = connection.connection.cursor()
        try:
            if isinstance(parameters, dict):
                cursor.execute(sql, parameters if names is None else tuple(parameters[name] for name in names))
            elif names is None:
                cursor.executemany(sql, list(parameters))
            else:
                cursor.executemany(sql, [tuple(row[name] for name in names) for row in parameters])
            return Result([] if make_row is None else list(map(make_row, cursor.fetchall())), cursor.rowcount)
        finally:
            cursor.close()

    def _compile(self, connection: Connection) -> tuple[str, tuple[str, ...] | None, Callable[[Any], Any] | None]:
        statement = self._build(connection)
        compiled = statement.compile(dialect=connection.dialect)
        names = tuple(compiled.positiontup) if compiled.positional else None
        make_row = None
        if isinstance(statement, sa.Select):
            columns = [str(column.key) for column in statement.selected_columns]
            make_row = namedtuple("Row", columns)._make  # type: ignore[attr-defined]
        self._compiled[connection.dialect.name] = (str(compiled), names, make_row)
        return self._compiled[connection.dialect.name]


class PreparedIn:
    """A statement with one list of values, such as `WHERE id IN (...)`."""

    def __init__(self, build: Callable[[Sequence[sa.BindParameter[Any]]], Any]) -> None:
        self._build = build
        self._by_length: dict[int, Prepared] = {}

    def __call__(self, connection: Connection, values: Sequence[Any]) -> Result:
        prepared = self._by_length.get(len(values))
        if prepared is None:
            parameters: list[sa.BindParameter[Any]] = [sa.bindparam(f"v{index}") for index in range(len(values))]
            prepared = self._by_length[len(values)] = Prepared(lambda _: self._build(parameters))
        return prepared(connection, {f"v{index}": value for index, value in enumerate(values)})


def insert_into(table: sa.Table, names: Sequence[str]) -> Prepared:
    """An insert of the named columns."""
    return Prepared(lambda _: sa.insert(table).values({name: sa.bindparam(name) for name in names}).inline())
