"""The accounts of this installation, for commands."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
from msgspec import Struct

from tollway.cli.terminal import fail, settings_in_force, warn, words
from tollway.settings import DatabaseUrl, Settings

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


def on_database(home: Path | None, work: Callable[[House], Awaitable[T]], *, first: bool = False) -> T:
    """`work` on the database of this installation; its refusals become one line and exit code 1.

    Only what may be the `first` command of all makes an empty database and its secret: elsewhere a home without them is most
    likely not the one that is meant. An older schema is left to `serve` and `db migrate`.
    """
    from tollway.accounts import Accounts
    from tollway.errors import TollwayError
    from tollway.ledger import Ledger
    from tollway.storage import Database, SchemaError
    from tollway.usage import UsageQueries

    settings = settings_in_force(home=home)
    warn_of_mistakes(settings)
    if is_absent(settings) and not first:
        fail(absence(settings))

    async def main(database: Database) -> T:
        if first and (is_absent(settings) or await database.schema_version() is None):
            database.migrate()
        await database.check_schema()
        secret = await _secret(database, settings, first=first)
        return await work(House(database, Accounts(database, secret), Ledger(database), UsageQueries(database), secret))

    try:
        with contextlib.closing(Database(settings.database)) as database:
            return asyncio.run(main(database))
    except (TollwayError, SchemaError, ValueError, OSError) as error:
        fail(words(error))


def on_accounts(home: Path | None, work: Callable[["Accounts"], Awaitable[T]], *, first: bool = False) -> T:
    """`work` on the accounts of this installation; `first` as for `on_database`."""
    return on_database(home, lambda house: work(house.accounts), first=first)


def is_absent(settings: Settings) -> bool:
    """Whether the SQLite file has not been made yet."""
    try:
        return isinstance(settings.database, Path) and not settings.database.exists()
    except OSError as error:  # such as a folder that this user may not look into
        fail(words(error))


def absence(settings: Settings) -> str:
    """What to say where a database should be."""
    return (
        f"There is no database in {settings.home} yet; `tollway serve` makes it, or `tollway db migrate`. "
        "Another home is chosen by --home or TOLLWAY_HOME."
    )


class _Served(Struct):
    database_url: str | None = None


class _HandedOut(Struct):
    """What we read of what a main process hands to its workers."""

    settings: _Served


def _running(settings: Settings) -> Iterator[tuple[Path, str | None]]:
    """The servers that run on this home: what each hands to its workers, and its database_url."""
    for file in settings.home.glob("workers-*.json"):
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(file.stem.removeprefix("workers-")), 0)  # of one that was killed the file is left
            yield file, msgspec.json.decode(file.read_bytes(), type=_HandedOut).settings.database_url


def warn_of_mistakes(settings: Settings) -> None:
    """Says so where this command is most likely not run as it was meant: on another database than the server that runs on
    this home, or by root in somebody else's home, who may then not use what root makes there.
    """
    with contextlib.suppress(OSError, KeyError):  # no home yet, or nobody's
        owner = settings.home.owner()
        if os.geteuid() == 0 and owner != "root":
            warn(f"{settings.home} belongs to {owner}, who cannot use what root makes there. Run it as {owner}.")
    ours = settings.database_url.reveal() if settings.database_url else None
    for _, theirs in _running(settings):
        if theirs != ours:
            place = DatabaseUrl(theirs) if theirs else f"the SQLite file in {settings.home}"
            warn(
                f"the server that runs on this home works with {place}, this command with {settings.database}. "
                "Give both the same TOLLWAY_DATABASE_URL."
            )


def refuse_beside_a_server(settings: Settings) -> None:
    """For what changes the secret, which a running server has read already."""
    warn_of_mistakes(settings)
    for file, _ in _running(settings):
        process = file.stem.removeprefix("workers-")
        if process == str(os.getpid()):  # left in a container, where whoever runs is the first process
            continue
        fail(f"A server runs on this home (process {process}): stop it first. If that is none, remove {file}.")


async def named_or_first(accounts: "Accounts", name: str | None) -> "Account":
    """The account that `--account` names; without it the oldest."""
    return await accounts.first_account() if name is None else await accounts.find_account(name)


async def named_key(accounts: "Accounts", text: str) -> str:
    """What to look a key up by, where people may call it by its name: the id of the one that is called so.

    Anything else stays as it is. A prefix or an id comes first: a key may be called like another's.
    """
    keys = await accounts.list_keys()
    called = [key for key in keys if key.name == text]
    if not called or any(text in (key.id, key.prefix) for key in keys):
        return text
    if len(called) > 1:
        prefixes = ", ".join(key.prefix for key in called)
        fail(f"{len(called)} API keys are called {text!r}; name the one by its prefix: {prefixes}")
    return called[0].id


async def _secret(database: "Database", settings: Settings, *, first: bool) -> bytes:
    """The server secret, checked."""
    from tollway.accounts import knows_secret, own_secret, secret_path

    if first or secret_path(settings.home).exists() or await knows_secret(database):
        return await own_secret(database, settings.home)
    return secrets.token_bytes()  # no key was ever made, so none can be asked for; the first start makes the real one
