"""What can be read of usage: the request log, and sums of it over time, models and keys.

Sums come from `usage_buckets`; only the two quarters of an hour at the ends of a window are counted from the log itself, so a
sum is exact for every window and costs the same at any number of requests. A row says when its request began.
"""

import datetime as dt
import functools
import zoneinfo
from collections.abc import Sequence
from typing import Any, Literal

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from tollway import clock
from tollway.storage import Database
from tollway.storage.tables import prices, requests, usage_buckets
from tollway.usage.recording import BUCKET_SECONDS, RequestRecord, Status

By = Literal["day", "model", "key"]
LogCursor = tuple[float, int]
"""The time and id of the last row of a page."""
FOUND_MAX = 100
_DAY_SECONDS = 86_400
_STEP_SECONDS = 21_600  # no time zone has changed its clocks twice within six hours
_COUNTS = ("requests", "charged", "succeeded", "failed", "prompt_tokens", "completion_tokens", "credits", "loss")


class Scope(Struct, frozen=True):
    """Whose requests: an account's, or those of one of its keys."""

    account_id: str
    key_id: str | None = None


class Window(Struct, frozen=True):
    """From `start`, and before `end`, in seconds since the epoch; None = without bound."""

    start: float | None = None
    end: float | None = None


class Sums(Struct):
    """Sums over requests. `charged` counts those that cost something; what is neither succeeded nor failed was cancelled."""

    requests: int = 0
    charged: int = 0
    succeeded: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    credits: int = 0
    loss: int = 0

    @property
    def cancelled(self) -> int:
        return self.requests - self.succeeded - self.failed


class UsageGroup(Sums):
    """The sums of one day, model or key, or of a combination. What was not grouped by is None."""

    day: str | None = None
    """Such as `2026-11-23`, in the time zone that was asked for."""
    model: str | None = None
    key_id: str | None = None
    """Empty for requests that no key made."""


class LogRow(RequestRecord, kw_only=True):
    """One row of the log."""

    id: int


class LogFilter(Struct, frozen=True):
    """Which rows. Empty = all."""

    window: Window = Window()
    models: Sequence[str] = ()
    statuses: Sequence[Status] = ()


_EVERYTHING = LogFilter()
_LOG_COLUMNS = tuple(requests.c[name] for name in LogRow.__struct_fields__)


class UsageQueries:
    """Reads what was used. Each method is one snapshot."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def total(self, scope: Scope, window: Window) -> Sums:
        (group,) = await self.sums(scope, window) or [UsageGroup()]
        return group

    async def sums(
        self, scope: Scope, window: Window, by: Sequence[By] = (), tz: zoneinfo.ZoneInfo | None = None
    ) -> list[UsageGroup]:
        """The sums of each group that has requests: days and models ascending. `tz` says where days begin; None = UTC.

        By `day` the window must have a start and an end.
        """
        return await self._database.read(lambda connection: _sums(connection, scope, window, by, tz))

    async def log(
        self,
        scope: Scope,
        which: LogFilter = _EVERYTHING,
        *,
        limit: int = 50,
        before: LogCursor | None = None,
        offset: int = 0,
    ) -> list[LogRow]:
        """Rows, newest first. `before` = the last one of the page before; `offset` rows are skipped, which costs time."""
        query = sa.select(*_LOG_COLUMNS).where(*_within(scope, which))
        if before is not None:
            query = query.where(sa.tuple_(requests.c.created_at, requests.c.id) < before)
        query = query.order_by(requests.c.created_at.desc(), requests.c.id.desc()).limit(limit).offset(offset)
        return await self._database.read(lambda connection: _rows(connection, query))

    async def count(self, scope: Scope, which: LogFilter = _EVERYTHING) -> int:
        """How many rows `log` has."""

        def work(connection: Connection) -> int:
            groups = _sums(connection, scope, which.window, ("model",) if which.models else ())
            sums = [group for group in groups if not which.models or group.model in which.models]
            if not which.statuses:
                return sum(each.requests for each in sums)
            return sum(getattr(each, status) for each in sums for status in set(which.statuses))

        return await self._database.read(work)

    async def find(self, scope: Scope, any_id: str) -> list[LogRow]:
        """The rows that have this request id, inference id or client request id, newest first; FOUND_MAX at the most.

        A caller may have given one client request id to many requests.
        """

        def work(connection: Connection) -> list[LogRow]:
            found: dict[int, LogRow] = {}
            for column in (requests.c.request_id, requests.c.inference_id, requests.c.client_request_id):
                query = sa.select(*_LOG_COLUMNS).where(column == any_id, *_within(scope, _EVERYTHING))
                found |= {row.id: row for row in _rows(connection, query.order_by(requests.c.id.desc()).limit(FOUND_MAX))}
            return sorted(found.values(), key=lambda row: (row.created_at, row.id), reverse=True)[:FOUND_MAX]

        return await self._database.read(work)

    async def monthly(self, key_ids: Sequence[str]) -> dict[str, int]:
        """The credits that each key has spent since the first of this month, 00:00 UTC. Keys without any are left out."""
        month = dt.datetime.fromtimestamp(clock.now(), dt.UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        columns = usage_buckets.c
        query = sa.select(columns.key_id, sa.func.sum(columns.credits)).group_by(columns.key_id)
        query = query.where(columns.key_id.in_(key_ids), columns.bucket >= int(month.timestamp()))
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        return {key_id: int(spent) for key_id, spent in rows if spent}

    async def price_terms(self, version: str) -> str | None:
        """The terms that a price version stands for, as JSON; None = unknown."""
        query = sa.select(prices.c.terms).where(prices.c.version == version)
        return await self._database.read(lambda connection: connection.execute(query).scalar())


@functools.cache
def time_zones() -> frozenset[str]:
    """The exact IANA names."""
    return frozenset(zoneinfo.available_timezones())


def _rows(connection: Connection, query: "sa.Select[Any]") -> list[LogRow]:
    return [LogRow(**row) for row in connection.execute(query).mappings()]


def _within(scope: Scope, which: LogFilter) -> list[sa.ColumnElement[bool]]:
    columns, window = requests.c, which.window
    conditions = [columns.account_id == scope.account_id]
    if scope.key_id is not None:
        conditions.append(columns.key_id == scope.key_id)
    if window.start is not None:
        conditions.append(columns.created_at >= window.start)
    if window.end is not None:
        conditions.append(columns.created_at < window.end)
    if which.models:
        conditions.append(columns.model.in_(which.models))
    if which.statuses:
        conditions.append(columns.status.in_(which.statuses))
    return conditions


def _sums(
    connection: Connection, scope: Scope, window: Window, by: Sequence[By], tz: zoneinfo.ZoneInfo | None = None
) -> list[UsageGroup]:
    parts = sa.union_all(_whole_buckets(scope, window), *_ends(scope, window)).subquery()
    places: dict[By, sa.ColumnElement[Any]] = {"model": parts.c.model, "key": parts.c.key_id}
    if "day" in by:
        places["day"] = (parts.c.bucket + _offset(parts.c.bucket, window, tz)) // _DAY_SECONDS
    # a level of its own, because PostgreSQL does not see that two expressions with parameters are the same
    named = sa.select(*(places[name].label(f"by_{name}") for name in by), *(parts.c[name] for name in _COUNTS)).subquery()
    keys = [named.c[f"by_{name}"] for name in by]
    # the sum of integers is a numeric in PostgreSQL, and nothing where there are no rows
    counts = [sa.cast(sa.func.coalesce(sa.func.sum(named.c[name]), 0), sa.BigInteger).label(name) for name in _COUNTS]
    query = sa.select(*keys, *counts).group_by(*keys).order_by(*keys)
    groups = []
    for row in connection.execute(query).mappings():
        group = UsageGroup(**{name: row[name] for name in _COUNTS})
        if "day" in by:
            group.day = (dt.date(1970, 1, 1) + dt.timedelta(days=row["by_day"])).isoformat()
        group.model, group.key_id = row.get("by_model"), row.get("by_key")
        groups.append(group)
    return groups


def _whole_buckets(scope: Scope, window: Window) -> "sa.Select[Any]":
    columns = usage_buckets.c
    query = sa.select(columns.bucket, columns.model, columns.key_id, *(columns[name] for name in _COUNTS))
    query = query.where(columns.account_id == scope.account_id)
    if scope.key_id is not None:
        query = query.where(columns.key_id == scope.key_id)
    if window.start is not None:
        query = query.where(columns.bucket >= _first_whole(window.start))
    if window.end is not None:
        query = query.where(columns.bucket < _bucket_of(window.end))
    return query


def _ends(scope: Scope, window: Window) -> "list[sa.Select[Any]]":
    """What begins or ends within a bucket, as buckets of one request each."""
    start, end = window.start, window.end
    if start is not None and end is not None and _first_whole(start) > _bucket_of(end):
        return [_single(scope, start, end)]  # all of it is within one bucket
    pieces = []
    if start is not None and start < _first_whole(start):
        pieces.append(_single(scope, start, _first_whole(start)))
    if end is not None and _bucket_of(end) < end:
        pieces.append(_single(scope, _bucket_of(end), end))
    return pieces


def _bucket_of(at: float) -> int:
    return int(at // BUCKET_SECONDS) * BUCKET_SECONDS


def _first_whole(at: float) -> int:
    """The first bucket that begins at or after a time."""
    return -int(-at // BUCKET_SECONDS) * BUCKET_SECONDS


def _single(scope: Scope, start: float, end: float) -> "sa.Select[Any]":
    """The requests of a piece of one bucket."""
    columns = requests.c
    figures = {
        "requests": sa.literal(1),
        "charged": sa.case((columns.credits > 0, 1), else_=0),
        "succeeded": sa.case((columns.status == "succeeded", 1), else_=0),
        "failed": sa.case((columns.status == "failed", 1), else_=0),
    }
    bucket = sa.literal(_bucket_of(start), sa.BigInteger)
    counts = [figures[name] if name in figures else columns[name] for name in _COUNTS]
    query = sa.select(bucket, columns.model, sa.func.coalesce(columns.key_id, ""), *counts)
    return query.where(*_within(scope, LogFilter(Window(start, end))))


def _offset(bucket: "sa.ColumnElement[int]", window: Window, tz: zoneinfo.ZoneInfo | None) -> "sa.ColumnElement[int]":
    """Seconds that local time is ahead of UTC when a bucket begins. Clocks change at the edge of one, everywhere."""
    assert window.start is not None and window.end is not None, "days need a window"  # noqa: S101, PT018
    if tz is None:
        return sa.literal(0, sa.BigInteger)
    start = _bucket_of(window.start)
    periods: list[tuple[int, int]] = []  # (before, offset)
    while start < window.end:
        offset, end = _utc_offset(tz, start), start
        while end < window.end and _utc_offset(tz, end) == offset:
            end += _STEP_SECONDS
        while end > start + BUCKET_SECONDS and _utc_offset(tz, end - BUCKET_SECONDS) != offset:
            end -= BUCKET_SECONDS
        periods.append((end, offset))
        start = end
    last = sa.literal(periods[-1][1] if periods else 0, sa.BigInteger)
    if len(periods) < 2:
        return last
    return sa.case(*((bucket < end, sa.literal(offset, sa.BigInteger)) for end, offset in periods[:-1]), else_=last)


def _utc_offset(tz: zoneinfo.ZoneInfo, at: int) -> int:
    offset = dt.datetime.fromtimestamp(at, tz).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())
