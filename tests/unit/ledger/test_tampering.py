"""verify-ledger finds every single change: of any column of any row, a row less, a row more, rows exchanged."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from sqlalchemy import Connection
from tests.desks import Bench, opened

from tollway.ledger.verify import Wrong, verify
from tollway.storage import Database
from tollway.storage.tables import balances, holds, key_spend, ledger_entries, requests, unfiled_requests, usage_buckets
from tollway.usage.filing import file_all

TABLES = {"ledger_entries": ledger_entries, "balances": balances, "holds": holds}
# what entries do not say: which node holds
NOT_MONEY = {("holds", "node_id")}
COLUMNS = [
    (table, column.name) for table, each in TABLES.items() for column in each.columns if (table, column.name) not in NOT_MONEY
]


@pytest.fixture
async def bench(database: Database) -> Bench:
    """An account with every kind of entry and two open holds, of a key with a limit, beside another one."""
    bench, other = await opened(database, 10_000), await opened(database, 500)
    bench.caller = replace(bench.caller, spend_limit_credits=5000, spend_window="day")
    ids = []
    for amount, status in ((100, "succeeded"), (50, "succeeded"), (0, "failed"), (70, "cancelled")):
        admitted = await bench.admit(200)
        await bench.settle(admitted, amount, status=status)
        ids.append(admitted.hold.request_id)
    await bench.ledger.refund(ids[0], note="sorry")
    await bench.ledger.adjust(bench.caller.account_id, -3, note="rounding")
    await bench.admit(11)
    await bench.admit(12)
    await other.settle(await other.admit(5), 5)
    await bench.verified()
    return bench


def _changed(value: Any) -> list[Any]:
    """Other values of the same type, near and far."""
    if value is None:
        return ["x"]
    if isinstance(value, bytes):
        return [bytes([value[0] ^ 1]) + value[1:], bytes(len(value))]
    if isinstance(value, int | float):
        return [value + 1, value - 1, -value, value * 2 + 7] if value else [1, -1]
    return [value + "x", value[:-1], value.swapcase()] + ([None] if value else [])


def _rows(connection: Connection, table: sa.Table) -> list[Any]:
    return list(connection.execute(sa.select(table)).mappings())


def _is_found(connection: Connection) -> bool:
    try:
        verify(connection)
    except Wrong:
        return True
    return False


class _Undo(Exception):
    """Leaves a transaction without a trace."""


async def _unseen(database: Database, statement: Any) -> str | None:
    """The change that verification did not see; None when it did, or when the database itself refused it."""
    missed: str | None = None

    def work(connection: Connection) -> None:
        nonlocal missed
        with connection.begin_nested() as savepoint:
            if connection.execute(statement).rowcount and not _is_found(connection):
                missed = str(statement.compile(compile_kwargs={"literal_binds": False}).params)
            savepoint.rollback()
        raise _Undo

    with contextlib.suppress(_Undo, sa.exc.IntegrityError, sa.exc.DataError):
        await database.write(work)
    return missed


@pytest.mark.parametrize(("table_name", "column"), COLUMNS)
async def test_any_change_of_any_column_is_found(
    bench: Bench, table_name: str, column: str, record_property: Callable[[str, Any], None]
) -> None:
    table = TABLES[table_name]
    rows = await bench.database.read(lambda connection: _rows(connection, table))
    key = [each.name for each in table.primary_key]
    tried = 0
    for row in rows:
        for value in _changed(row[column]):
            if value == row[column] or (value is None and not table.c[column].nullable):
                continue
            where = [table.c[name] == row[name] for name in key]
            missed = await _unseen(bench.database, sa.update(table).where(*where).values({column: value}))
            assert missed is None, f"{table_name}.{column} from {row[column]!r} to {value!r}"
            tried += 1
    assert tried >= len(rows)
    await bench.verified()
    record_property("changed values", tried)


@pytest.mark.parametrize("table_name", TABLES)
async def test_a_row_less_is_found(bench: Bench, table_name: str) -> None:
    table = TABLES[table_name]
    for row in await bench.database.read(lambda connection: _rows(connection, table)):
        where = [table.c[each.name] == row[each.name] for each in table.primary_key]
        assert await _unseen(bench.database, sa.delete(table).where(*where)) is None, dict(row)


@pytest.mark.parametrize("table_name", TABLES)
async def test_a_row_more_is_found(bench: Bench, table_name: str) -> None:
    table = TABLES[table_name]
    another = {"ledger_entries": {"request_id": "new"}, "balances": {}, "holds": {"request_id": "new"}}[table_name]
    for row in await bench.database.read(lambda connection: _rows(connection, table)):
        for number in (1, 2, 10, 11, 1000):
            values = dict(row) | another
            if table_name == "ledger_entries":
                values["number"] = row["number"] + number
            if table_name != "balances":
                assert await _unseen(bench.database, sa.insert(table).values(values)) is None, values
    if table_name == "balances":
        return  # one account has one row: the primary key sees to it
    foreign = values | {"account_id": "acc_nobody", "request_id": "foreign"}
    assert await _unseen(bench.database, sa.insert(table).values(foreign)) is None


async def test_what_a_keys_limit_counts_as_held_must_be_held(bench: Bench) -> None:
    (row,) = await bench.database.read(lambda connection: _rows(connection, key_spend))
    assert row["held"] == 23
    for held in (0, 22, 24):
        assert await _unseen(bench.database, sa.update(key_spend).values(held=held)) is None
    assert await _unseen(bench.database, sa.update(key_spend).values(starts_at=row["starts_at"] + 1)) is None
    assert await _unseen(bench.database, sa.delete(key_spend)) is None
    more = dict(row) | {"starts_at": 1}
    assert await _unseen(bench.database, sa.insert(key_spend).values(more)) is None


async def test_the_last_entries_cannot_be_cut_off(bench: Bench) -> None:
    """Not even together with the number of entries that the balance has."""
    columns = ledger_entries.c

    def work(connection: Connection) -> bool:
        mine = columns.account_id == bench.caller.account_id
        last = connection.execute(sa.select(sa.func.max(columns.number)).where(mine)).scalar_one()
        connection.execute(sa.delete(ledger_entries).where(mine, columns.number == last))
        connection.execute(
            sa.update(balances)
            .where(balances.c.account_id == bench.caller.account_id)
            .values(entries=last - 1, held=balances.c.held - 12)
        )
        return _is_found(connection)

    assert await bench.database.write(work)


async def test_entries_cannot_change_places(bench: Bench) -> None:
    columns = ledger_entries.c

    def work(connection: Connection) -> bool:
        mine = columns.account_id == bench.caller.account_id
        for old, new in ((3, 10_003), (5, 3), (10_003, 5)):
            connection.execute(sa.update(ledger_entries).where(mine, columns.number == old).values(number=new))
        return _is_found(connection)

    assert await bench.database.write(work)


@pytest.mark.parametrize("change", [1, -1])
async def test_sums_of_usage_that_are_not_what_was_charged_are_found(bench: Bench, change: int) -> None:
    await file_all(bench.database)
    for row in await bench.database.read(lambda connection: _rows(connection, usage_buckets)):
        where = [usage_buckets.c[each.name] == row[each.name] for each in usage_buckets.primary_key]
        statement = sa.update(usage_buckets).where(*where).values(credits=row["credits"] + change)
        assert await _unseen(bench.database, statement) is None
        assert await _unseen(bench.database, sa.delete(usage_buckets).where(*where)) is None or row["credits"] == 0


@pytest.mark.parametrize("change", [1, -1])
async def test_what_is_not_filed_yet_and_not_what_was_charged_is_found(bench: Bench, change: int) -> None:
    rows = await bench.database.read(lambda connection: _rows(connection, unfiled_requests))
    assert rows
    for row in rows:
        if not row["credits"]:
            continue  # a failed answer
        mine = unfiled_requests.c.id == row["id"]
        tampered = sa.update(unfiled_requests).where(mine).values(credits=row["credits"] + change)
        assert await _unseen(bench.database, tampered) is None
        assert await _unseen(bench.database, sa.delete(unfiled_requests).where(mine)) is None


@pytest.mark.parametrize("page_rows", [2, 10_000])
async def test_a_row_of_the_log_that_is_gone_or_says_another_price_is_found(
    bench: Bench, page_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tollway.ledger.verify._PAGE_ROWS", page_rows)
    await file_all(bench.database)
    rows = await bench.database.read(lambda connection: _rows(connection, requests))
    assert len(rows) == 5
    for row in rows:
        if row["status"] != "failed":  # of which the entries say nothing
            assert await _unseen(bench.database, sa.delete(requests).where(requests.c.id == row["id"])) is None
        mine = sa.update(requests).where(requests.c.id == row["id"])
        for change in ({"credits": row["credits"] + 1}, {"credits": row["credits"] - 1}, {"request_id": "another"}):
            if row["credits"] or "credits" in change:  # an answer that was free has no entry that names its price
                assert await _unseen(bench.database, mine.values(change)) is None, change
