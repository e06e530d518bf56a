"""Statements of the hot path, compiled once. Running one so costs a fraction of what SQLAlchemy's own execute costs in Python.

They are written in SQLAlchemy like all others; only their way to the driver is shorter. Values go to the driver as they are:
for integers, text, floats and bytes, which is all that these tables hold, nothing needs converting.
"""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, CursorResult

Row = dict[str, Any]


class Prepared:
    """A statement with named parameters, for one row of them or for many (`executemany`)."""

    def __init__(self, build: Callable[[Connection], sa.Executable]) -> None:
        self._build = build
        self._compiled: dict[str, tuple[str, tuple[str, ...] | None]] = {}

    def __call__(self, connection: Connection, parameters: Row | Sequence[Row]) -> CursorResult[Any]:
        dialect = connection.dialect
        sql, names = self._compiled.get(dialect.name) or self._compile(connection)
        if isinstance(parameters, dict):
            given: Any = parameters if names is None else tuple(parameters[name] for name in names)
        elif names is None:
            given = list(parameters)
        else:
            given = [tuple(row[name] for name in names) for row in parameters]
        return connection.exec_driver_sql(sql, given)

    def _compile(self, connection: Connection) -> tuple[str, tuple[str, ...] | None]:
        compiled = self._build(connection).compile(dialect=connection.dialect)  # type: ignore[attr-defined]
        names = tuple(compiled.positiontup) if compiled.positional else None
        self._compiled[connection.dialect.name] = (str(compiled), names)
        return self._compiled[connection.dialect.name]


class PreparedIn:
    """A statement with one list of values, such as `WHERE id IN (...)`."""

    def __init__(self, build: Callable[[Sequence[sa.BindParameter[Any]]], sa.Executable]) -> None:
        self._build = build
        self._by_length: dict[int, Prepared] = {}

    def __call__(self, connection: Connection, values: Sequence[Any]) -> CursorResult[Any]:
        prepared = self._by_length.get(len(values))
        if prepared is None:
            parameters: list[sa.BindParameter[Any]] = [sa.bindparam(f"v{index}") for index in range(len(values))]
            prepared = self._by_length[len(values)] = Prepared(lambda _: self._build(parameters))
        return prepared(connection, {f"v{index}": value for index, value in enumerate(values)})


def insert_into(table: sa.Table, names: Sequence[str]) -> Prepared:
    """An insert of the named columns."""
    return Prepared(lambda _: sa.insert(table).values({name: sa.bindparam(name) for name in names}))
