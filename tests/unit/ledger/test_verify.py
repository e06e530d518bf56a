"""Whatever is changed in the ledger behind our back is found, and the first wrong row is named."""

import random
import string
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from tests.desks import Bench, opened

from tollway.ledger.verify import Wrong, verify
from tollway.storage import Database
from tollway.storage.tables import balances, holds, ledger_entries, usage_buckets


@pytest.fixture
async def bench(database: Database) -> Bench:
    """Two accounts with every kind of entry; what follows is done to the first."""
    other = await opened(database, 5000)
    await other.settle(await other.admit(100), 10)
    bench = await opened(database, 10_000)
    for cost in (0, 30, 500):
        await bench.settle(await bench.admit(100), cost)
    failed = await bench.admit(70)
    await bench.settle(failed, 0, status="failed")
    charged = await bench.admit(60)
    await bench.settle(charged, 40)
    await bench.ledger.refund(charged.hold.request_id, note="sorry")
    await bench.ledger.adjust(bench.caller.account_id, -25, note="counted wrongly")
    await bench.admit(50)  # stays open
    await bench.verified()
    return bench


async def _found(bench: Bench, statement: Any) -> str | None:
    """What verify says of the ledger with this change, which is rolled back; None = it found nothing or nothing changed."""

    class Undo(Exception):
        pass

    said: list[str | None] = []

    def work(connection: sa.Connection) -> None:
        connection.execute(statement)
        try:
            verify(connection)
        except Wrong as wrong:
            said.append(str(wrong))
        else:
            said.append(None)
        raise Undo

    with pytest.raises((Undo, sa.exc.IntegrityError)) as caught:
        await bench.database.write(work)
    if isinstance(caught.value, sa.exc.IntegrityError):
        return "the database refuses it"
    return said[0]


def _other(value: Any, chance: random.Random) -> Any:
    """Another value of the same type."""
    if value is None:
        return "x"
    if isinstance(value, int):
        return value + chance.choice((-1, 1, 1000))
    if isinstance(value, float):
        return value + chance.choice((-0.001, 0.001, 60.0))
    if isinstance(value, bytes | memoryview):
        place = chance.randrange(len(bytes(value)))
        flipped = bytearray(value)
        flipped[place] ^= 1 << chance.randrange(8)
        return bytes(flipped)
    place = chance.randrange(len(value)) if value else 0
    letter = chance.choice([each for each in string.ascii_lowercase if each != value[place : place + 1]])
    return value[:place] + letter + value[place + 1 :]


async def test_every_changed_field_of_every_row_is_found(bench: Bench, record_property: Callable[[str, Any], None]) -> None:
    chance, made = random.Random(1), 0
    tables = {ledger_entries: ledger_entries.c.id, balances: balances.c.account_id, holds: holds.c.request_id}
    for table, key in tables.items():
        rows = await bench.database.read(lambda connection, table=table: connection.execute(sa.select(table)).mappings().all())  # type: ignore[misc]
        for row in rows:
            for column in table.c:
                if column.name in {"id", "node_id", "at", "key_id", "spend_window"} and (
                    table is not ledger_entries or column is key
                ):
                    continue  # the row's own number; and what is for expiry only
                change = sa.update(table).where(key == row[key.name]).values({column.name: _other(row[column.name], chance)})
                assert await _found(bench, change), f"{table.name}.{column.name} of {dict(row)}"
                made += 1
            assert await _found(bench, sa.delete(table).where(key == row[key.name])), f"{table.name} without {dict(row)}"
            made += 1
    record_property("changed fields and rows", made)


async def test_added_rows_are_found(bench: Bench) -> None:
    row = await bench.database.read(
        lambda connection: dict(connection.execute(sa.select(ledger_entries).order_by(ledger_entries.c.id)).mappings().first())  # type: ignore[arg-type]
    )
    del row["id"]
    added = row | {"number": 1000, "request_id": "minted", "kind": "grant", "posted": 5}
    assert await _found(bench, sa.insert(ledger_entries).values(added))
    stranger = added | {"account_id": "acc_nobody", "number": 1}
    assert await _found(bench, sa.insert(ledger_entries).values(stranger))
    open_hold = {"request_id": "r", "account_id": row["account_id"], "node_id": "n", "credits": 1, "at": 1.0}
    assert await _found(bench, sa.insert(holds).values(open_hold))


async def test_a_changed_usage_sum_is_found(bench: Bench) -> None:
    assert "usage" in (await _found(bench, sa.update(usage_buckets).values(credits=usage_buckets.c.credits + 1)) or "")


async def test_the_first_wrong_row_is_named(bench: Bench) -> None:
    account = bench.caller.account_id
    which = sa.and_(ledger_entries.c.account_id == account, ledger_entries.c.number == 3)
    said = await _found(bench, sa.update(ledger_entries).where(which).values(loss=7))
    assert said is not None
    assert said.startswith(f"entry 3 of account {account} (settle, request ")
    gone = await _found(bench, sa.delete(ledger_entries).where(which))
    assert gone is not None
    assert gone.startswith(f"entry 3 of account {account} is missing: the next one is entry 4")
