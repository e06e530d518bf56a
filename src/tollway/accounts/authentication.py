"""From an Authorization header to a Caller.

The hot path is one HMAC and one dictionary look-up. The cache is keyed on the digest of the whole key, holds at most
`_CACHE_SIZE` keys, and trusts what it read for less than a second: a key that another process disables is refused everywhere
within that second, and here at once (`forget`). Unknown keys are not cached, so a new key works at once and guesses cost no
memory.
"""

import asyncio
import hmac

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from tollway import clock
from tollway.accounts.keys import KEY_LENGTH, KEY_START, checksum_fits, digest_of, looks_like_key
from tollway.accounts.records import Caller, Limits, from_json_text
from tollway.errors import StorageUnavailable, Unauthorized
from tollway.storage import Database
from tollway.storage.tables import accounts, api_keys

TRUST_SECONDS = 0.9
"""How long the cache believes a row, counted from before it was read; a revocation is promised within 1 s."""
LAST_USED_PRECISION_SECONDS = 60.0
_CACHE_SIZE = 10_000
_MEND = "`tollway keys create` makes a new one."

log = structlog.get_logger()


class _Known(msgspec.Struct, frozen=True):
    """A key's row as it was read."""

    caller: Caller
    enabled: bool
    expires_at: float | None
    deleted_at: float | None
    replaced_by: str | None
    """The prefix of the secret that a rotation put in the place of this one, which expires at `expires_at`."""
    last_used_at: float | None
    trusted_until: float
    """On the monotonic clock."""


class Authenticator:
    """Checks keys against the database, through a small cache."""

    def __init__(self, database: Database, secret: bytes) -> None:
        self._database = database
        self._secret = secret
        self._cache: dict[bytes, _Known] = {}
        self._loading: dict[bytes, asyncio.Task[_Known | None]] = {}
        self._notes: set[asyncio.Task[None]] = set()

    async def authenticate(self, header: str | None) -> Caller:
        """The caller that the value of an Authorization header proves.

        Raises Unauthorized with the exact reason. The message never repeats what was sent: it may be somebody's secret.
        """
        token = _bearer_token(header)
        digest = digest_of(token, self._secret)
        known = self._cache.get(digest)
        if known is None or known.trusted_until < clock.monotonic():
            known = await self._look_up(token, digest)
        if not known.enabled or known.deleted_at is not None or known.expires_at is not None:
            _refuse_withdrawn(known)
        return known.caller

    def forget(self) -> None:
        """Reads every key again before it is believed. Call it after a key has changed."""
        self._cache.clear()
        self._loading.clear()  # those who wait may have the old row; nobody new joins them, and it is not kept

    async def close(self) -> None:
        """Waits for what is being written."""
        await asyncio.gather(*self._notes, return_exceptions=True)

    async def _look_up(self, token: str, digest: bytes) -> _Known:
        """The key's row from the database; concurrent misses for one key share one query."""
        _refuse_misspelt(token)
        task = self._loading.get(digest)
        if task is None:
            task = self._loading[digest] = asyncio.create_task(self._load(digest))
        # shielded, because a caller that leaves must not cancel the query that others wait for
        known = await asyncio.shield(task)
        if known is None:
            raise _unauthorized("unknown", f"This API key is not known here. {_MEND}")
        return known

    async def _load(self, digest: bytes) -> _Known | None:
        task = asyncio.current_task()
        trusted_until = clock.monotonic() + TRUST_SECONDS
        try:
            row = await self._database.read(lambda connection: _row(connection, digest))
            if row is None:
                return None
            current = hmac.compare_digest(row.digest, digest)
            if not current and not hmac.compare_digest(row.previous_digest or b"", digest):
                return None
            known = _known(row, trusted_until, current)
            if self._loading.get(digest) is task:  # else `forget` came meanwhile
                self._cache.pop(digest, None)  # so that the dictionary stays in the order of reading
                self._cache[digest] = known
                if len(self._cache) > _CACHE_SIZE:
                    del self._cache[next(iter(self._cache))]
                self._note_use(known)
            return known
        finally:
            if self._loading.get(digest) is task:
                del self._loading[digest]

    def _note_use(self, known: _Known) -> None:
        """Writes `last_used_at`, aside and at most once a minute."""
        now = clock.now()
        if now - (known.last_used_at or 0) >= LAST_USED_PRECISION_SECONDS:
            task = asyncio.create_task(self._write_use(known.caller.key_id, now))
            self._notes.add(task)
            task.add_done_callback(self._notes.discard)

    async def _write_use(self, key_id: str, now: float) -> None:
        late = sa.or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at <= now - LAST_USED_PRECISION_SECONDS)
        change = sa.update(api_keys).where(api_keys.c.id == key_id, late).values(last_used_at=now)
        try:
            await self._database.write(lambda connection: connection.execute(change))
        except (StorageUnavailable, sa.exc.SQLAlchemyError) as error:  # a full disk must not stop requests that need no disk
            log.warning("last_use_not_written", key_id=key_id, error=type(error).__name__)


def _bearer_token(header: str | None) -> str:
    if header is None:
        raise _unauthorized("missing", f"This request needs an API key: send `Authorization: Bearer <key>`. {_MEND}")
    scheme, _, token = header.strip().partition(" ")
    token = token.strip()
    if not scheme or (not token and scheme.lower() == "bearer"):
        raise _unauthorized("empty", f"You provided an empty string instead of an API key. {_MEND}")
    if scheme.lower() != "bearer" or not token:
        raise _unauthorized("malformed", "The Authorization header must read `Bearer <key>`: the word, one space, the key.")
    return token


def _refuse_misspelt(token: str) -> None:
    if not looks_like_key(token):
        raise _unauthorized(
            "malformed",
            f"This is not a Tollway API key: they begin with `{KEY_START}` and have {KEY_LENGTH} characters. {_MEND}",
        )
    if not checksum_fits(token):
        raise _unauthorized("typo", f"This API key has a typo: its checksum does not fit. Copy it again. {_MEND}")


def _refuse_withdrawn(known: _Known) -> None:
    """Raises unless the key may be used now; the key is known, so its visible prefix may be named."""
    prefix = known.caller.key_prefix
    if known.deleted_at is not None:
        raise _unauthorized("deleted", f"The API key {prefix}... was deleted. {_MEND}")
    if not known.enabled:
        raise _unauthorized("disabled", f"The API key {prefix}... is disabled. `tollway keys enable {prefix}` enables it.")
    if known.expires_at is not None and known.expires_at <= clock.now():
        if known.replaced_by is not None:
            raise _unauthorized(
                "replaced", f"The API key {prefix}... was rotated; use the new one, which begins with {known.replaced_by}."
            )
        raise _unauthorized("expired", f"The API key {prefix}... expired at {clock.iso(known.expires_at)}. {_MEND}")


def _unauthorized(reason: str, message: str) -> Unauthorized:
    return Unauthorized(message, data={"kind": f"err_key_{reason}"})


def _row(connection: Connection, digest: bytes) -> sa.Row[tuple[object, ...]] | None:
    query = (
        sa.select(
            api_keys,
            accounts.c.name.label("account_name"),
            accounts.c.low_balance_credits,
            *(accounts.c[name].label(f"account_{name}") for name in Limits.__struct_fields__),
        )
        .join(accounts, accounts.c.id == api_keys.c.account_id)
        .where(sa.or_(api_keys.c.digest == digest, api_keys.c.previous_digest == digest))
    )
    return connection.execute(query).first()


def _known(row: sa.Row[tuple[object, ...]], trusted_until: float, current: bool) -> _Known:
    """`current`: whether the key's present secret was used, not the one that it replaced."""
    expires_at, replaced_by = row.expires_at, None
    if not current and (expires_at is None or row.previous_expires_at < expires_at):  # else the new one ends no later
        expires_at, replaced_by = row.previous_expires_at, row.prefix
    scopes, models = from_json_text(row.scopes), from_json_text(row.models)
    return _Known(
        caller=Caller(
            account_id=row.account_id,
            account_name=row.account_name,
            key_id=row.id,
            key_prefix=row.prefix if current else row.previous_prefix,
            key_name=row.name,
            management=row.kind != "api",
            scopes=None if scopes is None else frozenset(scopes),
            models=None if models is None else frozenset(models),
            spend_limit_credits=row.spend_limit_credits,
            spend_window=row.spend_window,
            limits=Limits(row.requests_per_minute, row.tokens_per_minute, row.concurrency_max),
            account_limits=Limits(row.account_requests_per_minute, row.account_tokens_per_minute, row.account_concurrency_max),
            low_balance_credits=row.low_balance_credits,
        ),
        enabled=row.enabled,
        expires_at=expires_at,
        deleted_at=row.deleted_at,
        replaced_by=replaced_by,
        last_used_at=row.last_used_at,
        trusted_until=trusted_until,
    )
