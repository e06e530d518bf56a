"""Accounts and their API keys."""

import unicodedata

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from tollway import clock
from tollway.accounts.authentication import Authenticator
from tollway.accounts.keys import digest_of, looks_like_key, make_key, prefix_of
from tollway.accounts.records import Account, ApiKey, Caller, NewKey
from tollway.errors import InvalidRequest, NotFound
from tollway.ids import random_text
from tollway.storage import Database
from tollway.storage.tables import accounts, api_keys

FIRST_ACCOUNT = "owner"
FIRST_KEY = "first key"
_NAME_LENGTH_MAX = 100


class Accounts:
    """Everything that is known of who may call. Each method is one transaction.

    Keys are named by id or by visible prefix. Raises NotFound, and InvalidRequest for names that cannot be.
    """

    def __init__(self, database: Database, secret: bytes) -> None:
        self._database = database
        self._secret = secret
        self._authenticator = Authenticator(database, secret)

    async def authenticate(self, authorization_header: str | None) -> Caller:
        """The caller that an Authorization header proves. Raises Unauthorized with the exact reason."""
        return await self._authenticator.authenticate(authorization_header)

    async def close(self) -> None:
        """Waits for what is being written. The database stays open: it is not ours."""
        await self._authenticator.close()

    async def bootstrap(self) -> NewKey | None:
        """Creates the first account and the first key when there is no account; else None.

        Of many processes that start together exactly one gets the key: the look and the insert are one write transaction.
        """

        def work(connection: Connection) -> NewKey | None:
            if connection.execute(sa.select(accounts.c.id).limit(1)).first() is not None:
                return None
            account = _insert_account(connection, FIRST_ACCOUNT)
            return self._insert_key(connection, account.id, FIRST_KEY, None)

        return await self._database.write(work)

    async def first_account(self) -> Account:
        """The oldest account, created when there is none."""

        def work(connection: Connection) -> Account:
            row = connection.execute(sa.select(accounts).order_by(accounts.c.created_at).limit(1)).mappings().first()
            return Account(**row) if row is not None else _insert_account(connection, FIRST_ACCOUNT)

        return await self._database.write(work)

    async def create_account(self, name: str) -> Account:
        """Raises InvalidRequest when the name is taken."""
        name = _checked_name(name)
        try:
            return await self._database.write(lambda connection: _insert_account(connection, name))
        except sa.exc.IntegrityError:
            raise InvalidRequest("There is an account of this name already.", param="name") from None

    async def find_account(self, name_or_id: str) -> Account:
        query = sa.select(accounts).where(sa.or_(accounts.c.id == name_or_id, accounts.c.name == name_or_id))
        row = await self._database.read(lambda connection: connection.execute(query).mappings().first())
        if row is None:
            raise NotFound("There is no such account.")
        return Account(**row)

    async def list_accounts(self) -> list[Account]:
        """Oldest first."""
        query = sa.select(accounts).order_by(accounts.c.created_at, accounts.c.id)
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [Account(**row) for row in rows]

    async def create_key(self, account_id: str, name: str, *, expires_at: float | None = None) -> NewKey:
        """A new key; its secret is in the answer and nowhere else."""
        name = _checked_name(name)
        if expires_at is not None and expires_at <= clock.now():
            raise InvalidRequest("The time at which the key expires is past.", param="expires_at")
        try:
            return await self._database.write(lambda connection: self._insert_key(connection, account_id, name, expires_at))
        except sa.exc.IntegrityError:
            raise NotFound("There is no such account.") from None

    async def list_keys(self, account_id: str | None = None) -> list[ApiKey]:
        """Oldest first, deleted ones left out."""
        query = _SELECT_KEY.where(api_keys.c.deleted_at.is_(None)).order_by(api_keys.c.created_at, api_keys.c.id)
        if account_id is not None:
            query = query.where(api_keys.c.account_id == account_id)
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [ApiKey(**row) for row in rows]

    async def set_enabled(self, prefix_or_id: str, enabled: bool) -> ApiKey:
        return await self._change(prefix_or_id, enabled=enabled)

    async def set_expiry(self, prefix_or_id: str, expires_at: float | None) -> ApiKey:
        """`expires_at` may be now or past: the key is refused from then on. None = never."""
        return await self._change(prefix_or_id, expires_at=expires_at)

    async def delete_key(self, prefix_or_id: str) -> ApiKey:
        """For good. The row stays, without use, so that the holder is told."""
        return await self._change(prefix_or_id, deleted_at=clock.now())

    async def _change(self, prefix_or_id: str, **values: bool | float | None) -> ApiKey:
        def work(connection: Connection) -> ApiKey:
            key = _find_key(connection, prefix_or_id)
            connection.execute(sa.update(api_keys).where(api_keys.c.id == key.id).values(**values))
            return msgspec.structs.replace(key, **values)

        key = await self._database.write(work)
        self._authenticator.forget()
        return key

    def _insert_key(self, connection: Connection, account_id: str, name: str, expires_at: float | None) -> NewKey:
        secret = make_key()
        record = ApiKey(
            id="key_" + random_text(21),
            account_id=account_id,
            name=name,
            prefix=prefix_of(secret),
            enabled=True,
            created_at=clock.now(),
            expires_at=expires_at,
            last_used_at=None,
        )
        row = msgspec.structs.asdict(record) | {"digest": digest_of(secret, self._secret)}
        connection.execute(sa.insert(api_keys).values(row))
        return NewKey(record, secret)


_SELECT_KEY = sa.select(*(api_keys.c[name] for name in ApiKey.__struct_fields__))


def _insert_account(connection: Connection, name: str) -> Account:
    account = Account(id="acc_" + random_text(21), name=name, created_at=clock.now())
    connection.execute(sa.insert(accounts).values(msgspec.structs.asdict(account)))
    return account


def _find_key(connection: Connection, prefix_or_id: str) -> ApiKey:
    """The one key that is meant. A whole key is taken by its prefix: people paste what they have."""
    prefix = prefix_of(prefix_or_id) if looks_like_key(prefix_or_id) else prefix_or_id
    named = sa.or_(api_keys.c.id == prefix_or_id, api_keys.c.prefix == prefix)
    rows = connection.execute(_SELECT_KEY.where(named, api_keys.c.deleted_at.is_(None)).limit(2)).mappings().all()
    if not rows:
        raise NotFound("There is no such API key. `tollway keys list` shows the prefix and name of each.")
    if len(rows) > 1:
        raise InvalidRequest("More than one API key has this prefix: name it by its id. `tollway keys list --json` has it.")
    return ApiKey(**rows[0])


def _checked_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= _NAME_LENGTH_MAX:
        raise InvalidRequest(f"A name has 1 to {_NAME_LENGTH_MAX} characters.", param="name")
    # what moves a terminal's cursor, and half characters that no encoding can store
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise InvalidRequest("A name has no control characters.", param="name")
    return name
