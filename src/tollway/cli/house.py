"""The accounts of this installation, for commands."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tollway.cli.terminal import fail, settings_in_force, words

if TYPE_CHECKING:
    from tollway.accounts import Account, Accounts
    from tollway.ledger import Ledger
    from tollway.storage import Database
    from tollway.usage import UsageQueries

T = TypeVar("T")


@dataclass(frozen=True)
class House:
    """What commands work with."""

    database: "Database"
    accounts: "Accounts"
    ledger: "Ledger"
    usage: "UsageQueries"
    secret: bytes


def on_database(home: Path | None, work: Callable[[House], Awaitable[T]]) -> T:
    """`work` on the database of this installation; its refusals become one line and exit code 1."""
    from tollway.accounts import Accounts, check_secret, load_secret
    from tollway.errors import TollwayError
    from tollway.ledger import Ledger
    from tollway.storage import Database, SchemaError
    from tollway.usage import UsageQueries

    settings = settings_in_force(home=home)
    database = Database(settings.database)

    async def main() -> T:
        secret = load_secret(settings.home)
        await check_secret(database, secret)
        return await work(House(database, Accounts(database, secret), Ledger(database), UsageQueries(database), secret))

    try:
        database.migrate()
        return asyncio.run(main())
    except (TollwayError, SchemaError, ValueError, OSError) as error:
        fail(words(error))
    finally:
        database.close()


def on_accounts(home: Path | None, work: Callable[["Accounts"], Awaitable[T]]) -> T:
    """`work` on the accounts of this installation."""
    return on_database(home, lambda house: work(house.accounts))


async def named_or_first(accounts: "Accounts", name: str | None) -> "Account":
    """The account that `--account` names; without it the oldest."""
    return await accounts.first_account() if name is None else await accounts.find_account(name)
