"""The log is filed behind what is settled, and nobody who reads it can tell."""

import asyncio

import pytest
import sqlalchemy as sa
from msgspec.structs import replace
from sqlalchemy import Connection
from structlog.testing import capture_logs
from tests.desks import Bench, opened, record, recorded

from tollway.storage import Database
from tollway.storage.tables import ALL_KEYS, requests, unfiled_requests, usage_buckets
from tollway.usage import filing
from tollway.usage.filing import file_all, file_piece, keep_filed, read_log


@pytest.fixture
async def bench(database: Database) -> Bench:
    return await opened(database, 1_000_000)


def _count(connection: Connection, table: sa.Table = requests) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def _hours(connection: Connection) -> tuple[int, int]:
    """Requests and credits of the spans of an hour, all keys together."""
    columns = usage_buckets.c
    query = sa.select(sa.func.sum(columns.requests), sa.func.sum(columns.credits))
    found = connection.execute(query.where(columns.key_id == ALL_KEYS, columns.span == 3600)).one()
    return int(found[0] or 0), int(found[1] or 0)


async def test_who_reads_the_log_sees_all_that_was_settled(bench: Bench) -> None:
    for number in range(3):
        await bench.settle(await bench.admit(100), 30 + number)
    assert await bench.database.read(_count) == 0
    assert await read_log(bench.database, _count) == 3
    assert await bench.database.read(_hours) == (3, 93)
    assert await bench.database.read(lambda connection: _count(connection, unfiled_requests)) == 0
    await bench.verified()


async def test_the_log_is_in_the_order_of_settling_however_much_there_is(database: Database) -> None:
    records = [recorded("a", "k", request_id=f"r{number:04}", credits=number) for number in range(150)]
    for first in range(0, len(records), 3):
        await record(database, *records[first : first + 3])
    await file_all(database)
    query = sa.select(requests.c.request_id).order_by(requests.c.id)
    filed = await database.read(lambda connection: list(connection.execute(query).scalars()))
    assert filed == [each.request_id for each in records]
    assert await database.read(_hours) == (150, sum(range(150)))


async def test_several_who_file_at_once_file_each_request_once(database: Database) -> None:
    for number in range(100):
        await record(database, recorded("a", "k", request_id=f"r{number}", credits=1))
    counts = await asyncio.gather(*(read_log(database, _count) for _ in range(5)))
    assert counts == [100] * 5
    assert await database.read(_hours) == (100, 100)


async def test_what_nobody_reads_is_filed_all_the_same(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filing, "FILING_SECONDS", 0.01)
    filer = asyncio.create_task(keep_filed(database))
    await record(database, recorded("a"))
    async with asyncio.timeout(10):
        while not await database.read(_count):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    filer.cancel()


async def test_a_piece_is_filed_in_passing(database: Database) -> None:
    file_piece(database)  # nothing to do
    await record(database, *(recorded("a", "k", request_id=f"r{number}") for number in range(3)))
    with capture_logs() as told:
        file_piece(database)
        # only a file is written to at once; and what the database refuses is left to the others, who tell of it
        assert await database.read(_count) == (3 if database.where.endswith(".db") else 0)
        await record(database, recorded("a", "k", request_id="r0"))
        file_piece(database)
    assert not told
    with capture_logs() as told:
        await file_all(database)
    assert {line["event"] for line in told} >= {"request_not_filed"}
    assert await database.read(_count) == 3


async def test_one_that_the_database_refuses_keeps_none_from_being_filed(database: Database) -> None:
    first = recorded("a", "k", request_id="r1", credits=5)
    await record(database, first)
    await file_all(database)
    again = replace(first, credits=7)
    others = [recorded("a", "k", request_id=f"r{number}", credits=1) for number in (2, 3)]
    await record(database, others[0], again, others[1])
    await record(database, recorded("a", "k", request_id="r4", credits=1))
    with capture_logs() as logs:
        assert await read_log(database, _count) == 4
    assert [each["request_id"] for each in logs if each["event"] == "request_not_filed"] == ["r1"]
    assert await database.read(_hours) == (4, 8)


async def test_a_damaged_row_is_told_of_and_keeps_none_from_being_filed(database: Database) -> None:
    await record(database, recorded("a", request_id="r1"))
    await database.write(lambda connection: connection.execute(sa.update(unfiled_requests).values(body=b"\xc1")))
    await record(database, recorded("a", request_id="r2"))
    with capture_logs() as logs:
        assert await read_log(database, _count) == 1
    assert [each["event"] for each in logs] == ["log_row_damaged"]


async def test_a_row_that_has_got_the_id_of_one_that_was_filed_is_not_struck_off(bench: Bench) -> None:
    """SQLite gives the ids of deleted rows out again, and two may be filing the same one."""
    await bench.settle(await bench.admit(10), 5)
    everything = sa.select(unfiled_requests)
    row = await bench.database.read(lambda connection: connection.execute(everything).one())

    def replaced(connection: Connection) -> None:
        connection.execute(sa.update(unfiled_requests).values(body=b"another's"))
        filing._strike_off(connection, row)

    await bench.database.write(replaced)
    assert (await bench.database.read(lambda connection: connection.execute(everything).one())).id == row.id
