"""Statements of the hot path, compiled once and handed to the driver.

They are written in SQLAlchemy like all others, and run inside its transactions; only their way is shorter: a row of SQLite is
read by its key in 4 us instead of 16, of which the driver takes 3. Values go to the driver as they are: for integers, text,
floats and bytes, which is all that these tables hold, nothing needs converting. What the driver raises comes as its own
exception.

Many rows are one statement. With one for each row SQLite's driver would give Python's lock away and fight for it again at every
row, which costs more than the row. A row that is refused ends the transaction on both databases: SQLite would else copy each
page aside before it changes it, to be able to undo this one statement (a seventh of the desk's transactions).
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

Row = dict[str, Any]

_ROWS_AT_ONCE_MAX = 32


class Result:
    """What a statement did: its rows, with the names of the columns, and how many rows it touched."""

    __slots__ = ("rowcount", "rows")

    def __init__(self, rows: list[Any], rowcount: int) -> None:
        self.rows = rows
        self.rowcount = rowcount


class Prepared:
    """A statement with named parameters; constants in it, such as a limit, keep their values."""

    def __init__(self, statement: Any) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def __call__(self, connection: Connection, parameters: Row) -> Result:
        compiled = self._compiled.get(connection.dialect.name)
        if compiled is None:
            compiled = self._compiled[connection.dialect.name] = _Compiled(self._statement, connection)
        if compiled.constants:
            parameters = compiled.constants | parameters
        return compiled.run(connection, parameters if compiled.pick is None else compiled.pick(parameters))


class PreparedIn:
    """A statement with one list of values, such as `WHERE id IN (...)`, and no others."""

    def __init__(self, build: Callable[[Sequence[sa.BindParameter[Any]]], Any]) -> None:
        self._build = build
        self._by_length: dict[tuple[str, int], _Compiled] = {}

    def __call__(self, connection: Connection, values: Sequence[Any]) -> Result:
        place = (connection.dialect.name, len(values))
        compiled = self._by_length.get(place)
        if compiled is None:
            parameters: list[sa.BindParameter[Any]] = [sa.bindparam(f"v{index}") for index in range(len(values))]
            compiled = self._by_length[place] = _Compiled(self._build(parameters), connection)
        if compiled.pick is not None:
            return compiled.run(connection, tuple(values))
        return compiled.run(connection, {f"v{index}": value for index, value in enumerate(values)})


class PreparedInsert:
    """An insert of any number of rows: tuples of the named columns. `build` gets them as bind parameters, for `values()`, and
    returns the insert.
    """

    def __init__(self, names: Sequence[str], build: Callable[[Connection, list[Row]], sa.Insert]) -> None:
        self.names = tuple(names)
        self._build = build
        self._by_length: dict[tuple[str, int], _Compiled] = {}

    def __call__(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        dialect = connection.dialect.name
        for first in range(0, len(rows), _ROWS_AT_ONCE_MAX):
            some = rows[first : first + _ROWS_AT_ONCE_MAX]
            place = (dialect, len(some))
            compiled = self._by_length.get(place)
            if compiled is None:
                compiled = self._by_length[place] = self._compile(connection, len(some))
            if compiled.pick is not None:
                compiled.run(connection, some[0] if len(some) == 1 else tuple(chain.from_iterable(some)))
            else:
                names = (f"{name}_{index}" for index in range(len(some)) for name in self.names)
                compiled.run(connection, dict(zip(names, chain.from_iterable(some), strict=True)))

    def _compile(self, connection: Connection, count: int) -> "_Compiled":
        """SQLAlchemy takes 6 ms for 32 rows of the log. Where values go by position, as many rows are one row so many times."""
        rows: list[Row] = [{name: sa.bindparam(f"{name}_{index}") for name in self.names} for index in range(count)]
        compiled = _Compiled(self._statement(connection, rows[:1]), connection)
        if compiled.pick is None:
            return _Compiled(self._statement(connection, rows), connection)
        row = f"({', '.join('?' * len(self.names))})"
        before, values, after = compiled.sql.partition(f"VALUES {row}")
        compiled.sql = f"{before}{values}{f', {row}' * (count - 1)}{after}"
        return compiled

    def _statement(self, connection: Connection, rows: list[Row]) -> sa.Insert:
        return self._build(connection, rows).prefix_with("OR ROLLBACK", dialect="sqlite")


def insert_into(table: sa.Table, names: Sequence[str]) -> PreparedInsert:
    """An insert of the named columns. Raises ValueError unless they come in the table's order, which SQLAlchemy will take."""
    if list(names) != [column.name for column in table.columns if column.name in set(names)]:
        raise ValueError(f"not the order of {table.name}'s columns: {', '.join(names)}")
    return PreparedInsert(names, lambda _, rows: sa.insert(table).values(rows).inline())


class _Compiled:
    """The text of a statement for one database, and how its values are given."""

    __slots__ = ("constants", "make_row", "pick", "sql")

    def __init__(self, statement: Any, connection: Connection) -> None:
        compiled = statement.compile(dialect=connection.dialect)
        self.sql = str(compiled)
        self.constants: Row = {name: value for name, value in compiled.params.items() if value is not None}
        self.pick = _picker(compiled.positiontup) if compiled.positional else None
        """From named values to values by position; None = the driver takes names."""
        self.make_row: Callable[[Any], Any] | None = None
        if isinstance(statement, sa.Select):
            columns = [str(column.key) for column in statement.selected_columns]
            self.make_row = namedtuple("Row", columns)._make  # type: ignore[attr-defined]

    def run(self, connection: Connection, values: Any) -> Result:
        cursor = connection.connection.dbapi_connection.execute(self.sql, values)  # type: ignore[union-attr] # both have it
        rows = [] if self.make_row is None else [self.make_row(row) for row in cursor.fetchall()]
        return Result(rows, cursor.rowcount)


def _picker(names: Sequence[str]) -> Callable[[Row], tuple[Any, ...]]:
    if len(names) == 1:
        return lambda row: (row[names[0]],)
    return itemgetter(*names)
