"""Accounts and their API keys."""

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from tollway import clock
from tollway.accounts.authentication import Authenticator
from tollway.accounts.checks import checked_account, checked_key
from tollway.accounts.keys import digest_of, looks_like_key, make_key, prefix_of
from tollway.accounts.records import Account, AccountChanges, ApiKey, Caller, KeyChanges, NewKey, from_json_text
from tollway.errors import InvalidRequest, NotFound
from tollway.ids import random_text
from tollway.storage import Database
from tollway.storage.tables import accounts, api_keys, balances, holds, key_spend
from tollway.storage.texts import is_storable
from tollway.wire.keys import OVERLAP_SECONDS, OVERLAP_SECONDS_MAX, KeyKind

FIRST_ACCOUNT = "owner"
FIRST_KEY = "first key"
KEYS_MAX = 10_000
"""Of one account, deleted ones not counted."""
_NO_LIMITS = AccountChanges()
_DEFAULTS = KeyChanges()


class Accounts:
    """Everything that is known of who may call. Each method is one transaction.

    Keys are named by id or by visible prefix. `account_id` and `kind` narrow the search: a key of another account or kind is
    not found, and the error does not tell that from one that never was. Raises NotFound, and InvalidRequest naming the field.
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
        """Creates the first key, of the first account, where there has never been one; else None.

        Of many processes and nodes that start together exactly one gets the key: its name is unique.
        """

        def work(connection: Connection) -> NewKey | None:
            if connection.execute(sa.select(api_keys.c.id).limit(1)).first() is not None:
                return None
            return self._insert_key(connection, _first_account(connection).id, "api", {"name": FIRST_KEY})

        try:
            return await self._database.write(work)
        except sa.exc.IntegrityError:
            return None  # another node was first

    async def first_account(self) -> Account:
        """The oldest account, created when there is none."""
        try:
            return await self._database.write(_first_account)
        except sa.exc.IntegrityError:  # another node was first
            return await self._database.write(_first_account)

    async def create_account(self, name: str, settings: AccountChanges = _NO_LIMITS) -> Account:
        """Raises InvalidRequest when the name is taken."""
        try:
            return await self._database.write(lambda connection: new_account(connection, name, settings))
        except sa.exc.IntegrityError:
            raise _account_name_taken() from None

    async def update_account(self, name_or_id: str, changes: AccountChanges) -> Account:
        """The account with the changes made. Its keys obey new limits at once here, everywhere within a second."""
        values = checked_account(changes) | {"updated_at": clock.now()}

        def work(connection: Connection) -> Account:
            account = _find_account(connection, name_or_id)
            connection.execute(sa.update(accounts).where(accounts.c.id == account.id).values(**values))
            return _find_account(connection, account.id)

        try:
            account = await self._database.write(work)
        except sa.exc.IntegrityError:
            raise _account_name_taken() from None
        self._authenticator.forget()
        return account

    async def find_account(self, name_or_id: str) -> Account:
        return await self._database.read(lambda connection: _find_account(connection, name_or_id))

    async def list_accounts(self) -> list[Account]:
        """Oldest first."""
        query = _SELECT_ACCOUNT.order_by(accounts.c.created_at, accounts.c.id)
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [Account(**row) for row in rows]

    async def create_key(
        self, account_id: str, name: str | None = None, settings: KeyChanges = _DEFAULTS, *, kind: KeyKind = "api"
    ) -> NewKey:
        """A new key; its secret is in the answer and nowhere else. Without a name it is called after its prefix."""
        if name is not None:
            settings = msgspec.structs.replace(settings, name=name)
        values = checked_key(settings)
        if isinstance(settings.expires_at, float | int) and settings.expires_at <= clock.now():
            raise InvalidRequest("The time at which the key expires is past.", param="expires_at")

        def work(connection: Connection) -> NewKey:
            if connection.execute(sa.select(accounts.c.id).where(accounts.c.id == account_id)).first() is None:
                raise _no_account()
            _refuse_too_many(connection, account_id)
            return self._insert_key(connection, account_id, kind, values)

        try:
            return await self._database.write(work)
        except sa.exc.IntegrityError:
            raise _key_name_taken() from None

    async def list_keys(self, account_id: str | None = None, *, kind: KeyKind | None = None) -> list[ApiKey]:
        """Oldest first, deleted ones left out."""
        query = _SELECT_KEY.where(api_keys.c.deleted_at.is_(None), *_within(account_id, kind))
        query = query.order_by(api_keys.c.created_at, api_keys.c.id)
        rows = await self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [_key(row) for row in rows]

    async def find_key(self, prefix_or_id: str, *, account_id: str | None = None, kind: KeyKind | None = None) -> ApiKey:
        return await self._database.read(lambda connection: _find_key(connection, prefix_or_id, account_id, kind))

    async def update_key(
        self, prefix_or_id: str, changes: KeyChanges, *, account_id: str | None = None, kind: KeyKind | None = None
    ) -> ApiKey:
        """The key with the changes made: in force at once here, everywhere within a second.

        `expires_at` may be now or past: the key is refused from then on.
        """
        return await self._change(prefix_or_id, checked_key(changes), account_id, kind)

    async def set_enabled(self, prefix_or_id: str, enabled: bool) -> ApiKey:
        return await self.update_key(prefix_or_id, KeyChanges(enabled=enabled))

    async def delete_key(self, prefix_or_id: str, *, account_id: str | None = None, kind: KeyKind | None = None) -> ApiKey:
        """For good. The row stays, without use, so that the holder is told."""
        return await self._change(prefix_or_id, {"deleted_at": clock.now()}, account_id, kind)

    async def rotate_key(
        self,
        prefix_or_id: str,
        *,
        overlap_seconds: int = OVERLAP_SECONDS,
        account_id: str | None = None,
        kind: KeyKind | None = None,
    ) -> NewKey:
        """The same key with a new secret, which works at once; the old one works for `overlap_seconds` more.

        At most two secrets work at a time: one that an earlier rotation replaced is refused from now on. So 0 ends them all.
        """
        if not 0 <= overlap_seconds <= OVERLAP_SECONDS_MAX:
            raise InvalidRequest(f"The overlap is 0 to {OVERLAP_SECONDS_MAX:,} seconds (30 days).", param="overlap_seconds")
        secret = make_key()

        def work(connection: Connection) -> NewKey:
            key = _find_key(connection, prefix_or_id, account_id, kind)
            now = clock.now()
            values = {
                "prefix": prefix_of(secret),
                "digest": digest_of(secret, self._secret),
                "previous_prefix": api_keys.c.prefix,
                "previous_digest": api_keys.c.digest,
                "previous_expires_at": now + overlap_seconds,
                "updated_at": now,
            }
            connection.execute(sa.update(api_keys).where(api_keys.c.id == key.id).values(**values))
            return NewKey(_find_key(connection, key.id), secret)

        new = await self._database.write(work)
        self._authenticator.forget()
        return new

    async def _change(
        self, prefix_or_id: str, values: dict[str, object], account_id: str | None, kind: KeyKind | None
    ) -> ApiKey:
        values = _as_stored(values) | {"updated_at": clock.now()}

        def work(connection: Connection) -> ApiKey:
            key = _find_key(connection, prefix_or_id, account_id, kind)
            connection.execute(sa.update(api_keys).where(api_keys.c.id == key.id).values(**values))
            if "spend_window" in values:
                _recount(connection, key)
            return _key(connection.execute(_SELECT_KEY.where(api_keys.c.id == key.id)).mappings().one())

        try:
            key = await self._database.write(work)
        except sa.exc.IntegrityError:
            raise _key_name_taken() from None
        self._authenticator.forget()
        return key

    def _insert_key(self, connection: Connection, account_id: str, kind: KeyKind, values: dict[str, object]) -> NewKey:
        secret, id_, now = make_key(), "key_" + random_text(21), clock.now()
        row = {
            "id": id_,
            "account_id": account_id,
            "kind": kind,
            "name": f"key {prefix_of(secret)}",
            "prefix": prefix_of(secret),
            "digest": digest_of(secret, self._secret),
            "enabled": True,
            "created_at": now,
            "updated_at": now,
        } | _as_stored(values)
        connection.execute(sa.insert(api_keys).values(row))
        return NewKey(_find_key(connection, id_), secret)


_SELECT_ACCOUNT = sa.select(*(accounts.c[name] for name in Account.__struct_fields__))
_SELECT_KEY = sa.select(*(api_keys.c[name] for name in ApiKey.__struct_fields__))


def _no_account() -> NotFound:
    return NotFound("There is no such account. `tollway accounts list` shows all.")


def _account_name_taken() -> InvalidRequest:
    return InvalidRequest("There is an account of this name already.", param="name")


def _key_name_taken() -> InvalidRequest:
    return InvalidRequest("The account has a key of this name already; choose another.", param="name")


def _first_account(connection: Connection) -> Account:
    """Raises IntegrityError when another node makes it at the same moment."""
    row = connection.execute(_SELECT_ACCOUNT.order_by(accounts.c.created_at).limit(1)).mappings().first()
    return Account(**row) if row is not None else _insert_account(connection, {"name": FIRST_ACCOUNT})


def new_account(connection: Connection, name: str, settings: AccountChanges = _NO_LIMITS) -> Account:
    """For transactions in which more than it is made. Raises InvalidRequest, and IntegrityError when the name is taken."""
    values = checked_account(msgspec.structs.replace(settings, name=name))
    return _insert_account(connection, values)


def _insert_account(connection: Connection, values: dict[str, object]) -> Account:
    id_, now = "acc_" + random_text(21), clock.now()
    connection.execute(sa.insert(accounts).values(id=id_, created_at=now, updated_at=now, **values))
    return _find_account(connection, id_)


def _find_account(connection: Connection, name_or_id: str) -> Account:
    """By id first: an account may be called like the id of another."""
    if not is_storable(name_or_id):
        raise _no_account()
    for column in (accounts.c.id, accounts.c.name):
        row = connection.execute(_SELECT_ACCOUNT.where(column == name_or_id)).mappings().first()
        if row is not None:
            return Account(**row)
    raise _no_account()


def _refuse_too_many(connection: Connection, account_id: str) -> None:
    mine = sa.and_(api_keys.c.account_id == account_id, api_keys.c.deleted_at.is_(None))
    if (connection.execute(sa.select(sa.func.count()).where(mine)).scalar() or 0) >= KEYS_MAX:
        raise InvalidRequest(f"The account has {KEYS_MAX:,} keys, and more is too many: delete those that nobody uses.")


def _find_key(connection: Connection, prefix_or_id: str, account_id: str | None = None, kind: KeyKind | None = None) -> ApiKey:
    """The one key that is meant. A whole key is taken by its prefix: people paste what they have."""
    prefix = prefix_of(prefix_or_id) if looks_like_key(prefix_or_id) else prefix_or_id
    named = sa.or_(api_keys.c.id == prefix_or_id, api_keys.c.prefix == prefix) if is_storable(prefix_or_id) else sa.false()
    query = _SELECT_KEY.where(named, api_keys.c.deleted_at.is_(None), *_within(account_id, kind)).limit(2)
    rows = connection.execute(query).mappings().all()
    if not rows:
        raise NotFound("There is no such API key. `tollway keys list` shows the prefix and name of each.")
    if len(rows) > 1:
        raise InvalidRequest("More than one API key has this prefix: name it by its id. `tollway keys list --json` has it.")
    return _key(rows[0])


def _recount(connection: Connection, key: ApiKey) -> None:
    """What counts for a new limit is summed up anew by the next request, and what is held for the key counts in it, too."""
    # as the front desk does, which must not be counting meanwhile
    connection.execute(sa.select(balances.c.held).where(balances.c.account_id == key.account_id).with_for_update())
    connection.execute(sa.update(holds).where(holds.c.key_id == key.id).values(spend_window=None))
    connection.execute(sa.delete(key_spend).where(key_spend.c.key_id == key.id))


def _within(account_id: str | None, kind: KeyKind | None) -> list[sa.ColumnElement[bool]]:
    wanted = ((api_keys.c.account_id, account_id), (api_keys.c.kind, kind))
    return [column == value for column, value in wanted if value is not None]


def _key(row: sa.RowMapping) -> ApiKey:
    return ApiKey(**{**row, "scopes": from_json_text(row["scopes"]), "models": from_json_text(row["models"])})


def _as_stored(values: dict[str, object]) -> dict[str, object]:
    """Tuples as JSON."""
    return {name: msgspec.json.encode(value).decode() if isinstance(value, tuple) else value for name, value in values.items()}
