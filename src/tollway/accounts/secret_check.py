"""Whether this node has the secret that the database's API keys were made with.

With another one every key would be unknown, without a word why. So the database keeps a fingerprint of the secret: an HMAC
under it, which tells nothing of it.
"""

import hmac
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from tollway.accounts.keys import load_secret, secret_path
from tollway.storage import Database
from tollway.storage.tables import installation
from tollway.storage.upsert import insert_or_ignore, insert_or_replace

_TABLE = installation.name
_NAME = "secret_fingerprint"
_FINGERPRINT = sa.select(installation.c.value).where(installation.c.name == _NAME)

_FOREIGN = (
    "secret.key in the home folder is not the one that this database's API keys were made with, so all of them would "
    "be unknown. Copy it from another node or from a backup. If it is lost for good, `tollway db adopt-secret` goes on "
    "with this one, and all keys have to be made anew."
)


class SecretError(ValueError):
    """The secret is not the database's; the message says what to do."""


async def own_secret(database: Database, home: Path) -> bytes:
    """The server secret in `home`, checked; made where neither the home nor the database has had one.

    Raises SecretError, and leaves nothing behind, where the database has one that is not in the home.
    """
    await _refuse_missing(home, database)
    secret = load_secret(home)
    await check_secret(database, secret)
    return secret


async def check_secret_in(home: Path, database: Database) -> None:
    """As `own_secret`, but changes nothing. Raises ValueError for a damaged one."""
    await _refuse_missing(home, database)
    if secret_path(home).exists() and not await secret_fits(database, load_secret(home)):
        raise SecretError(_FOREIGN)


async def _refuse_missing(home: Path, database: Database) -> None:
    path = secret_path(home)
    if not path.exists() and await knows_secret(database):
        raise SecretError(
            f"{path} is missing: it is what this database's API keys were made with. Copy it from another node or from a "
            "backup. If it is lost for good, `tollway db adopt-secret` makes a new one, and all keys have to be made anew."
        )


async def knows_secret(database: Database) -> bool:
    """Whether the database has met a secret, so that any other is foreign. Changes nothing."""
    return await database.read(_known_if_any) is not None


async def check_secret(database: Database, secret: bytes) -> None:
    """Raises SecretError for a foreign secret. The first secret that a database meets becomes its own."""
    known = await database.read(_known)
    if known is None:
        known = await database.write(lambda connection: _remember(connection, secret))
    if not fits(known, secret):
        raise SecretError(_FOREIGN)


async def secret_fits(database: Database, secret: bytes) -> bool:
    """Whether the secret is the database's, or the database knows none yet. Changes nothing."""
    return fits(await database.read(_known_if_any), secret)


def fits(known: str | None, secret: bytes) -> bool:
    """Whether the secret is the one whose fingerprint a database knows, or it knows none."""
    return known is None or hmac.compare_digest(known, _fingerprint(secret))


async def adopt_secret(database: Database, secret: bytes) -> None:
    """Makes this secret the database's own."""
    row = {"name": _NAME, "value": _fingerprint(secret)}
    await database.write(lambda connection: insert_or_replace(connection, installation, [row]))


def _known(connection: Connection) -> str | None:
    value: str | None = connection.execute(_FINGERPRINT).scalar()
    return value


def _known_if_any(connection: Connection) -> str | None:
    """As `_known`, of a schema of any age."""
    return _known(connection) if sa.inspect(connection).has_table(_TABLE) else None


def _remember(connection: Connection, secret: bytes) -> str:
    insert_or_ignore(connection, installation, [{"name": _NAME, "value": _fingerprint(secret)}])
    value: str = connection.execute(_FINGERPRINT).scalar_one()  # another node may have been first
    return value


def _fingerprint(secret: bytes) -> str:
    return hmac.digest(secret, b"tollway: fingerprint of the secret", "sha256").hex()
