"""Sessions: an opaque token in a cookie, its digest in the database, and a token for forms that is made of it."""

import hmac

import sqlalchemy as sa
from sqlalchemy import Connection

from tollway import clock
from tollway.ids import random_text
from tollway.people.records import Session, User
from tollway.storage.tables import accounts, sessions, users

SESSION_SECONDS = 14 * 24 * 3600.0
"""How long one stays signed in; signing in again makes a new session."""
_TOKEN_LENGTH = 43
"""256 bits."""
_TOKEN_LENGTH_MAX = 100


def csrf_of(token: str, secret: bytes) -> str:
    """The token for the forms of a session, or of a visitor who is not signed in yet."""
    return hmac.digest(secret, b"csrf:" + token.encode("utf-8", "replace"), "sha256").hex()[:40]


def insert(connection: Connection, user_id: str, secret: bytes) -> str:
    """A new session's token. Sessions that are over go."""
    now = clock.now()
    connection.execute(sa.delete(sessions).where(sessions.c.expires_at <= now))
    token = random_text(_TOKEN_LENGTH)
    row = {"digest": _digest(token, secret), "user_id": user_id, "created_at": now, "expires_at": now + SESSION_SECONDS}
    connection.execute(sa.insert(sessions).values(row))
    return token


def find(connection: Connection, token: str, secret: bytes) -> Session | None:
    """The session of a token, unless it is over."""
    if len(token) > _TOKEN_LENGTH_MAX:
        return None
    query = (
        sa.select(*(users.c[name] for name in User.__struct_fields__), accounts.c.name)
        .join(users, users.c.id == sessions.c.user_id)
        .join(accounts, accounts.c.id == users.c.account_id)
        .where(sessions.c.digest == _digest(token, secret), sessions.c.expires_at > clock.now())
        .where(users.c.disabled_at.is_(None))
    )
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    user = User(**{name: row[name] for name in User.__struct_fields__})
    return Session(user, row["name"], csrf_of(token, secret))


def delete(connection: Connection, token: str, secret: bytes) -> None:
    connection.execute(sa.delete(sessions).where(sessions.c.digest == _digest(token, secret)))


def delete_all(connection: Connection, user_id: str) -> None:
    """Signs a person out everywhere."""
    connection.execute(sa.delete(sessions).where(sessions.c.user_id == user_id))


def count(connection: Connection, user_id: str) -> int:
    """Where a person is signed in."""
    query = sa.select(sa.func.count()).where(sessions.c.user_id == user_id, sessions.c.expires_at > clock.now())
    return connection.execute(query).scalar_one()


def _digest(token: str, secret: bytes) -> bytes:
    """What is stored of a token."""
    return hmac.digest(secret, b"session:" + token.encode("utf-8", "replace"), "sha256")
