"""Guessing is slow: so many tries for one email address, so many from one place, within a window of time.

A try counts before the password is looked at, in a transaction of its own: guesses that come at once are counted like those
that come one after the other. It counts for addresses that nobody has just as well, so that the answers tell nothing.
"""

import hashlib
import ipaddress

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping
from sqlalchemy.dialects import postgresql, sqlite

from tollway import clock
from tollway.errors import RateLimited
from tollway.storage.tables import login_tries

WINDOW_SECONDS = 15 * 60.0
TRIES_PER_EMAIL_MAX = 10
TRIES_PER_ADDRESS_MAX = 50


def count(connection: Connection, email: str, address: str) -> int | None:
    """Counts one try; without an email address only for the place. Seconds to wait when there were too many, else None.

    The caller commits either way. From a place that has had its tries, nothing counts for an email address: who is let in
    nowhere does not keep others out.
    """
    now = clock.now()
    connection.execute(sa.delete(login_tries).where(login_tries.c.began_at <= now - WINDOW_SECONDS))
    wait = _count(connection, _subject("address", _place(address)), TRIES_PER_ADDRESS_MAX, now)
    if wait is None and email:
        wait = _count(connection, _subject("email", email), TRIES_PER_EMAIL_MAX, now)
    return wait


def blocked(connection: Connection, address: str) -> int | None:
    """The seconds that a place has to wait that has had its tries. Counts nothing."""
    query = sa.select(login_tries).where(login_tries.c.subject == _subject("address", _place(address)))
    row = connection.execute(query).mappings().first()
    return None if row is None or row["tries"] < TRIES_PER_ADDRESS_MAX else _wait(row, clock.now())


def forget(connection: Connection, email: str, address: str = "") -> None:
    """After a try that was right. The place gets back only this one: many people may sign in from it, and one may guess."""
    connection.execute(sa.delete(login_tries).where(login_tries.c.subject == _subject("email", email)))
    if address:
        same = login_tries.c.subject == _subject("address", _place(address))
        connection.execute(sa.update(login_tries).where(same).values(tries=login_tries.c.tries - 1))


def too_many(wait_seconds: int) -> RateLimited:
    minutes = max(1, -(-wait_seconds // 60))
    return RateLimited(
        f"Too many tries. Wait {minutes} minute{'s' if minutes > 1 else ''} and try again.", retry_after_seconds=wait_seconds
    )


def _count(connection: Connection, subject: str, most: int, now: float) -> int | None:
    again = {"tries": login_tries.c.tries + 1}
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    counting = insert(login_tries).values(subject=subject, began_at=now, tries=1)
    connection.execute(counting.on_conflict_do_update(index_elements=["subject"], set_=again))
    row = connection.execute(sa.select(login_tries).where(login_tries.c.subject == subject)).mappings().one()
    return _wait(row, now) if row["tries"] > most else None


def _wait(row: RowMapping, now: float) -> int | None:
    left = row["began_at"] + WINDOW_SECONDS - now
    return int(left) + 1 if left > 0 else None


def _place(address: str) -> str:
    """Of IPv6, the network: each of its subscribers has as many addresses as he likes."""
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return str(parsed.ipv4_mapped or ipaddress.IPv6Network((parsed, 64), strict=False))


def _subject(kind: str, text: str) -> str:
    """A digest: what people mistype into the field for the address may be their password."""
    return f"{kind}:{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:48]}"
