"""One-time links: for the first owner, for who is invited, for who lost a password. Stored as digests; used once, or never."""

import hmac
from typing import Literal

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from tollway import clock
from tollway.errors import NotFound
from tollway.ids import random_text
from tollway.people.records import Role
from tollway.storage.tables import links

Purpose = Literal["first_owner", "invitation", "reset"]

FIRST_OWNER_SECONDS = 24 * 3600.0
INVITATION_SECONDS = 7 * 24 * 3600.0
RESET_SECONDS = 3600.0
_TOKEN_LENGTH = 32
_TOKEN_LENGTH_MAX = 100


class Link(Struct, frozen=True):
    """What a link is good for."""

    purpose: Purpose
    account_id: str | None
    """The account that the invited person joins; None = one of their own."""
    role: Role
    user_id: str | None
    """Whose password is set anew."""
    expires_at: float


def insert(connection: Connection, link: Link, secret: bytes) -> str:
    """A new link's token. Links that are over go, and older ones for the first owner: only the newest one counts."""
    now = clock.now()
    gone = links.c.expires_at <= now
    if link.purpose == "first_owner":
        gone = sa.or_(gone, links.c.purpose == "first_owner")
    connection.execute(sa.delete(links).where(gone))
    token = random_text(_TOKEN_LENGTH)
    row = {name: getattr(link, name) for name in Link.__struct_fields__}
    connection.execute(sa.insert(links).values(row | {"digest": _digest(token, secret), "created_at": now}))
    return token


def find(connection: Connection, token: str, secret: bytes) -> Link:
    """Raises NotFound for a link that never was, was used, or is over: which of them is nobody's business."""
    row = connection.execute(sa.select(links).where(_is(token, secret), links.c.expires_at > clock.now())).mappings().first()
    if row is None:
        raise link_is_gone()
    return Link(**{name: row[name] for name in Link.__struct_fields__})


def use(connection: Connection, token: str, secret: bytes) -> Link:
    """The link, which is gone with this transaction: of all that use it at once exactly one succeeds. Raises NotFound."""
    link = find(connection, token, secret)
    if connection.execute(sa.delete(links).where(_is(token, secret))).rowcount != 1:
        raise link_is_gone()
    return link


def delete_of(connection: Connection, user_id: str) -> None:
    """The links by which a person could set a new password."""
    connection.execute(sa.delete(links).where(links.c.user_id == user_id))


def link_is_gone() -> NotFound:
    return NotFound("This link was used already, or its time is over. Ask whoever runs this service for a new one.")


def _is(token: str, secret: bytes) -> sa.ColumnElement[bool]:
    return links.c.digest == _digest(token[:_TOKEN_LENGTH_MAX], secret)


def _digest(token: str, secret: bytes) -> bytes:
    return hmac.digest(secret, b"link:" + token.encode("utf-8", "replace"), "sha256")
