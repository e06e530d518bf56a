"""Sums from a day or an hour on until now: what the pages draw. Read as they are kept, so 90 days cost a few milliseconds."""

from collections.abc import Sequence
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from tollway import clock
from tollway.storage import Database
from tollway.storage.tables import ALL_KEYS, api_keys, usage_buckets
from tollway.usage.filing import read_log
from tollway.usage.queries import COUNTS, Scope, Sums
from tollway.usage.recording import DAY_SECONDS, HOUR_SECONDS

RANGES = {"24h": (HOUR_SECONDS, 24), "7d": (DAY_SECONDS, 7), "30d": (DAY_SECONDS, 30), "90d": (DAY_SECONDS, 90)}
"""What can be chosen -> seconds of a bucket, and how many buckets."""
Place = Literal["bucket", "model", "key_id"]


class Part(Sums):
    """The sums of one bucket, model or key, or of a combination; what was not asked for is empty."""

    bucket: int = 0
    """When it begins, in seconds since the epoch, UTC."""
    model: str = ""
    key_id: str = ""
    """Empty for requests that no key made, too."""


def starts_of(name: str) -> list[int]:
    """Where the buckets of a range begin, in UTC; the last one is now's."""
    span, count = RANGES[name]
    last = int(clock.now()) // span * span
    return [last - span * (count - 1 - index) for index in range(count)]


async def sums_since(database: Database, scope: Scope, start: int, span: int, by: Sequence[Place]) -> list[Part]:
    """The sums of each group that has requests. `span` is one of those that are kept, and `start` begins one of its buckets."""
    columns = usage_buckets.c
    keys = [columns[name] for name in by]
    counts = [sa.cast(sa.func.sum(columns[name]), sa.BigInteger).label(name) for name in COUNTS]
    query = sa.select(*keys, *counts).group_by(*keys)
    query = query.where(columns.account_id == scope.account_id, columns.span == span, columns.bucket >= start)
    query = query.where(_of_keys(scope, each="key_id" in by))

    def work(connection: Connection) -> list[Part]:
        return [Part(**row) for row in connection.execute(query).mappings()]

    return await read_log(database, work)


def _of_keys(scope: Scope, *, each: bool) -> "sa.ColumnElement[Any]":
    """The keys by name, because the table is kept by them: all rows that have another one need not be passed over."""
    key_id = usage_buckets.c.key_id
    if scope.key_id is not None:
        return key_id == scope.key_id
    if not each:
        return key_id == ALL_KEYS
    own = sa.select(api_keys.c.id).where(api_keys.c.account_id == scope.account_id)
    return key_id.in_(own.union_all(sa.select(sa.literal(""))))
