"""What keys have spent since a moment at which a day begins. Windows begin at 00:00 UTC, weeks on Monday."""

import datetime as dt

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from tollway.storage.tables import api_keys, unfiled_requests, usage_buckets
from tollway.usage.recording import DAY_SECONDS, RequestRecord, decode_records
from tollway.wire.keys import SpendWindow


def window_start(window: SpendWindow, now: float) -> int:
    """When the window that holds `now` began; 0 for a limit that never resets."""
    if window == "no_reset":
        return 0
    day = dt.datetime.fromtimestamp(now, dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if window == "week":
        day -= dt.timedelta(days=day.weekday())
    elif window == "month":
        day = day.replace(day=1)
    return int(day.timestamp())


def spent_since(connection: Connection, key_id: str, since: int) -> int:
    """In credits; what is not filed yet included."""
    account_id = sa.select(api_keys.c.account_id).where(api_keys.c.id == key_id).scalar_subquery()
    buckets = usage_buckets.c
    filed = sa.select(sa.func.coalesce(sa.func.sum(buckets.credits), 0)).where(
        buckets.account_id == account_id, buckets.key_id == key_id, buckets.span == DAY_SECONDS, buckets.bucket >= since
    )
    bodies = connection.execute(sa.select(unfiled_requests.c.body).where(unfiled_requests.c.account_id == account_id)).scalars()
    waiting = [record for body in bodies for record in _read(body) if record.key_id == key_id and record.created_at >= since]
    return int(connection.execute(filed).scalar_one()) + sum(record.credits for record in waiting)


def _read(body: bytes) -> list[RequestRecord]:
    try:
        return decode_records(body)
    except msgspec.DecodeError:  # filing says so, and `verify-ledger`
        return []
