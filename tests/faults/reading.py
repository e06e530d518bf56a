"""What the tests of faults look at in a service's database, from outside."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa
from tests.faults.mortal import Mortal

from tollway.ledger import Ledger
from tollway.ledger.verify import Totals, verify
from tollway.settings import DatabaseUrl
from tollway.storage import Database
from tollway.storage.tables import holds, ledger_entries, requests
from tollway.usage.filing import read_log

T = TypeVar("T")


def database_of(house: Mortal) -> Database:
    url = house.settings.get("database_url")
    return Database(DatabaseUrl(url) if url else house.home / "tollway.db")


def read(house: Mortal, work: Callable[[sa.Connection], T]) -> T:
    database = database_of(house)
    try:
        return asyncio.run(database.read(work))
    finally:
        database.close()


def logged(house: Mortal) -> list[Any]:
    """The rows of the request log."""
    database = database_of(house)
    try:
        return asyncio.run(read_log(database, lambda connection: list(connection.execute(sa.select(requests)))))
    finally:
        database.close()


def verified(connection: sa.Connection) -> Totals:
    """Raises Wrong for books that do not balance."""
    return verify(connection)


def charges(connection: sa.Connection) -> dict[str, list[int]]:
    """What was charged for each inference id."""
    charged: dict[str, list[int]] = {}
    query = sa.select(ledger_entries.c.reference, ledger_entries.c.posted).where(ledger_entries.c.kind == "settle")
    for reference, posted in connection.execute(query):
        charged.setdefault(reference, []).append(-posted)
    return charged


def open_holds(connection: sa.Connection) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(holds)).scalar_one()


def grant(house: Mortal, amount: int) -> None:
    """Credits for the first account."""
    database = database_of(house)
    query = sa.text("SELECT account_id FROM balances")
    try:
        account = asyncio.run(database.read(lambda connection: connection.execute(query).scalar_one()))
        asyncio.run(Ledger(database).grant(account, amount))
    finally:
        database.close()
