"""What verification says of a ledger that is wrong: the first row."""

import pytest
import sqlalchemy as sa
from tests.desks import opened

from tollway.ledger.verify import Wrong
from tollway.storage import Database
from tollway.storage.tables import ledger_entries


async def test_the_first_wrong_row_is_named(database: Database) -> None:
    bench = await opened(database, 10_000)
    for cost in (10, 20):
        await bench.settle(await bench.admit(100), cost)
    account = bench.caller.account_id
    third = sa.and_(ledger_entries.c.account_id == account, ledger_entries.c.number == 3)
    change = sa.update(ledger_entries).where(third).values(loss=7)
    await database.write(lambda connection: connection.execute(change))
    with pytest.raises(Wrong, match=rf"^entry 3 of account {account} \(settle, request "):
        await bench.verified()
    await database.write(lambda connection: connection.execute(sa.delete(ledger_entries).where(third)))
    with pytest.raises(Wrong, match=rf"^entry 3 of account {account} is missing: the next one is entry 4 "):
        await bench.verified()
