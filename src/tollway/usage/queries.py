"""What can be read of usage: the request log, and sums of it over time, models and keys.

Sums come from `usage_buckets`: from the longest spans that fit, days or hours, with quarters of an hour around them; only the
two quarters at the ends of a window are counted from the log itself. So a sum is exact for every window and time zone, and
costs the same at any number of requests. A request belongs to the moment at which it began.
"""

import datetime as dt
import functools
import zoneinfo
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from tollway import clock
from tollway.storage import Database
from tollway.storage.tables import ALL_KEYS, IS_NO_SUCCESS, api_keys, prices, requests, usage_buckets
from tollway.usage.filing import read_log
from tollway.usage.recording import BUCKET_SECONDS, DAY_SECONDS, HOUR_SECONDS, RequestRecord
from tollway.usage.spending import window_start
from tollway.wire.usage import Status

CHAT = "tollway chat"
"""What the keys that `tollway chat` makes are called, each with a random word of six letters and digits after it."""
_OF_A_CHAT = sa.and_(api_keys.c.name.like(f"{CHAT} ______"), api_keys.c.deleted_at.is_not(None))

By = Literal["day", "model", "key"]
LogCursor = tuple[float, int]
"""The time and id of the last row of a page."""
FOUND_MAX = 100
_SINCE_ROWS_MAX, _SINCE_SHOWN_MAX, _OVERLAP_ROWS = 5_000, 100, 50
_STEP_SECONDS = 21_600  # no time zone has changed its clocks twice within six hours


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

    def add(self, more: "Sums") -> None:
        """The sums of both."""
        for name in Sums.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(more, name))


COUNTS = Sums.__struct_fields__
"""What is summed: columns of `usage_buckets`."""


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

    def fits(self, row: LogRow) -> bool:
        """As `_within` asks a database."""
        start, end = self.window.start, self.window.end
        return (
            (start is None or row.created_at >= start)
            and (end is None or row.created_at < end)
            and (not self.models or row.model in self.models)
            and (not self.statuses or row.status in self.statuses)
        )


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
        return await read_log(self._database, lambda connection: _sums(connection, scope, window, by, tz))

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
        query = _page_query(scope, which, before, limit, offset)
        return await read_log(self._database, lambda connection: _rows(connection, query))

    async def count(self, scope: Scope, which: LogFilter = _EVERYTHING) -> int:
        """How many rows `log` has."""

        def work(connection: Connection) -> int:
            groups = _sums(connection, scope, which.window, ("model",) if which.models else ())
            sums = [group for group in groups if not which.models or group.model in which.models]
            if not which.statuses:
                return sum(each.requests for each in sums)
            return sum(getattr(each, status) for each in sums for status in set(which.statuses))

        return await read_log(self._database, work)

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

        return await read_log(self._database, work)

    async def monthly(self, key_ids: Sequence[str]) -> dict[str, int]:
        """The credits that each key has spent since the first of this month, 00:00 UTC. Keys without any are left out."""
        return await self.spent(dict.fromkeys(key_ids, window_start("month", clock.now())))

    async def spent(self, since: Mapping[str, int]) -> dict[str, int]:
        """The credits that each key has spent since the beginning of that day in UTC. Keys without any are left out."""
        columns = usage_buckets.c
        query = (
            sa.select(columns.key_id, sa.func.sum(columns.credits)).where(columns.span == DAY_SECONDS).group_by(columns.key_id)
        )

        def work(connection: Connection) -> dict[str, int]:
            spent: dict[str, int] = {}
            for at in set(since.values()):
                key_ids = [key_id for key_id, begins in since.items() if begins == at]
                owners = sa.select(api_keys.c.account_id).where(api_keys.c.id.in_(key_ids))
                mine = query.where(columns.account_id.in_(owners), columns.key_id.in_(key_ids), columns.bucket >= at)
                spent |= {key_id: int(total) for key_id, total in connection.execute(mine) if total}
            return spent

        return await read_log(self._database, work)

    async def written_since(self, scope: Scope, last_id: int) -> tuple[list[LogRow], int]:
        """Rows that were written after the one with that id, newest first, and the newest id of all.

        Looks back a little: nodes that write at the same time may finish in another order than they took their ids.
        """

        def work(connection: Connection) -> tuple[list[LogRow], int]:
            newest = connection.execute(sa.select(sa.func.max(requests.c.id))).scalar() or 0
            later = requests.c.id > max(last_id, newest - _SINCE_ROWS_MAX) - _OVERLAP_ROWS
            query = sa.select(*_LOG_COLUMNS).where(later, *_within(scope, _EVERYTHING))
            query = query.order_by(requests.c.id.desc()).limit(_SINCE_SHOWN_MAX)
            return _rows(connection, query), newest

        return await read_log(self._database, work)

    async def key_names(self, account_id: str, key_ids: Collection[str]) -> dict[str, str]:
        """What the account's keys are called, deleted ones too. Those of others are left out."""
        query = sa.select(api_keys.c.id, api_keys.c.name).where(api_keys.c.id.in_(key_ids), api_keys.c.account_id == account_id)
        return await read_log(self._database, lambda connection: dict(connection.execute(query).all()))

    async def newest_keys(self, account_id: str, limit: int) -> dict[str, str]:
        """The ids and names of the account's keys, those that were made last first; without those of chats that are over."""
        query = sa.select(api_keys.c.id, api_keys.c.name).where(api_keys.c.account_id == account_id, ~_OF_A_CHAT)
        query = query.order_by(api_keys.c.created_at.desc()).limit(limit)
        return await read_log(self._database, lambda connection: dict(connection.execute(query).all()))

    async def chat_keys(self, account_id: str) -> set[str]:
        """The ids of the keys that `tollway chat` made for one chat each, and has deleted."""
        query = sa.select(api_keys.c.id).where(api_keys.c.account_id == account_id, _OF_A_CHAT)
        return await read_log(self._database, lambda connection: set(connection.execute(query).scalars()))

    async def price_terms(self, version: str) -> str | None:
        """The terms that a price version stands for, as JSON; None = unknown."""
        query = sa.select(prices.c.terms).where(prices.c.version == version)
        return await read_log(self._database, lambda connection: connection.execute(query).scalar())


@functools.cache
def time_zones() -> frozenset[str]:
    """The exact IANA names."""
    return frozenset(zoneinfo.available_timezones() - {"localtime"})  # which is a file beside theirs


def _rows(connection: Connection, query: "sa.Select[Any]") -> list[LogRow]:
    return [LogRow(**row) for row in connection.execute(query).mappings()]


_RARE: frozenset[Status] = frozenset(("failed", "cancelled"))
"""What `ix_requests_no_success` knows."""
_NEWEST_FIRST = (requests.c.created_at.desc(), requests.c.id.desc())


def _page_query(scope: Scope, which: LogFilter, before: LogCursor | None, limit: int, offset: int) -> "sa.Select[Any]":
    """Of several models or statuses each has its rows in order in an index, so each gives as many as the page may need."""

    def newest(one: LogFilter, *columns: Any) -> "sa.Select[Any]":
        query = sa.select(*columns).where(*_within(scope, one)).order_by(*_NEWEST_FIRST)
        return query if before is None else query.where(sa.tuple_(requests.c.created_at, requests.c.id) < before)

    # those that succeeded are most of all, and in the order of the indexes for all
    statuses = [(status,) for status in sorted(set(which.statuses))] if _RARE.issuperset(which.statuses) else [which.statuses]
    models: list[Sequence[str]] = [(model,) for model in sorted(set(which.models))] or [()]
    parts = [LogFilter(which.window, of_models, of) for of_models in models for of in statuses or [()]]
    if len(parts) == 1:
        return newest(parts[0], *_LOG_COLUMNS).limit(limit).offset(offset)
    of_each = [newest(part, requests.c.id).limit(offset + limit).subquery() for part in parts]
    ids = sa.union_all(*(sa.select(each.c.id) for each in of_each)).subquery()
    query = sa.select(*_LOG_COLUMNS).where(requests.c.id.in_(sa.select(ids.c.id)))
    return query.order_by(*_NEWEST_FIRST).limit(limit).offset(offset)


def _within(scope: Scope, which: LogFilter) -> list[sa.ColumnElement[bool] | sa.TextClause]:
    columns, window = requests.c, which.window
    conditions: list[sa.ColumnElement[bool] | sa.TextClause] = [columns.account_id == scope.account_id]
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
        if _RARE.issuperset(which.statuses):
            conditions.append(IS_NO_SUCCESS)  # said again, so that the small index can be used
    return conditions


def _sums(
    connection: Connection, scope: Scope, window: Window, by: Sequence[By], tz: zoneinfo.ZoneInfo | None = None
) -> list[UsageGroup]:
    periods = _periods(window, tz) if "day" in by and tz is not None else []
    pieces = _local_pieces(window, periods) if periods else _pieces(window, DAY_SECONDS)
    whole = [_summed(scope, piece, all_keys="key" not in by) for piece in pieces]
    parts = sa.union_all(*whole, *_ends(scope, window)).subquery()
    places: dict[By, sa.ColumnElement[Any]] = {"model": parts.c.model, "key": parts.c.key_id}
    if "day" in by:
        places["day"] = (parts.c.bucket + _offset(parts.c.bucket, periods)) // DAY_SECONDS
    # a level of its own, because PostgreSQL does not see that two expressions with parameters are the same
    named = sa.select(*(places[name].label(f"by_{name}") for name in by), *(parts.c[name] for name in COUNTS)).subquery()
    keys = [named.c[f"by_{name}"] for name in by]
    # the sum of integers is a numeric in PostgreSQL, and nothing where there are no rows
    counts = [sa.cast(sa.func.coalesce(sa.func.sum(named.c[name]), 0), sa.BigInteger).label(name) for name in COUNTS]
    query = sa.select(*keys, *counts).group_by(*keys).order_by(*keys)
    groups = []
    for row in connection.execute(query).mappings():
        group = UsageGroup(**{name: row[name] for name in COUNTS})
        if "day" in by:
            group.day = (dt.date(1970, 1, 1) + dt.timedelta(days=row["by_day"])).isoformat()
        group.model, group.key_id = row.get("by_model"), row.get("by_key")
        groups.append(group)
    return groups


class _Piece(Struct):
    """Buckets of one length: from, and before, None = without bound; less some, or only some."""

    span: int
    start: int | None = None
    end: int | None = None
    but: Sequence[int] = ()
    only: Sequence[int] | None = None


def _pieces(window: Window, span: int) -> list[_Piece]:
    """The whole quarters of an hour within a window, as buckets of `span` as far as possible."""
    start = None if window.start is None else _first_whole(window.start, BUCKET_SECONDS)
    end = None if window.end is None else _bucket_of(window.end, BUCKET_SECONDS)
    first = None if start is None else _first_whole(start, span)
    last = None if end is None else _bucket_of(end, span)
    if first is not None and last is not None and first >= last:
        return [_Piece(BUCKET_SECONDS, start, end)]
    pieces = [_Piece(span, first, last)]
    if start is not None:
        pieces.append(_Piece(BUCKET_SECONDS, start, first))
    if end is not None:
        pieces.append(_Piece(BUCKET_SECONDS, last, end))
    return pieces


def _local_pieces(window: Window, periods: "list[_Period]") -> list[_Piece]:
    """As `_pieces`, by hours; but hours in which a local day begins are taken by their quarters."""
    pieces = _pieces(window, HOUR_SECONDS)
    hours = pieces[0]
    if hours.span != HOUR_SECONDS or hours.start is None or hours.end is None:
        return pieces
    last_quarter = HOUR_SECONDS - BUCKET_SECONDS
    split = [
        hour
        for hour in range(hours.start, hours.end, HOUR_SECONDS)
        if _day_of(hour, periods) != _day_of(hour + last_quarter, periods)
    ]
    if split:
        hours.but = split
        quarters = [quarter for hour in split for quarter in range(hour, hour + HOUR_SECONDS, BUCKET_SECONDS)]
        pieces.append(_Piece(BUCKET_SECONDS, only=quarters))
    return pieces


def _summed(scope: Scope, piece: _Piece, *, all_keys: bool) -> "sa.Select[Any]":
    columns = usage_buckets.c
    query = sa.select(columns.bucket, columns.model, columns.key_id, *(columns[name] for name in COUNTS))
    query = query.where(columns.account_id == scope.account_id, columns.span == piece.span)
    if scope.key_id is not None:
        query = query.where(columns.key_id == scope.key_id)
    else:
        query = query.where(columns.key_id == ALL_KEYS if all_keys else columns.key_id != ALL_KEYS)
    if piece.start is not None:
        query = query.where(columns.bucket >= piece.start)
    if piece.end is not None:
        query = query.where(columns.bucket < piece.end)
    if piece.but:
        query = query.where(columns.bucket.not_in(piece.but))
    return query if piece.only is None else query.where(columns.bucket.in_(piece.only))


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


def _bucket_of(at: float, span: int = BUCKET_SECONDS) -> int:
    return int(at // span) * span


def _first_whole(at: float, span: int = BUCKET_SECONDS) -> int:
    """The first bucket that begins at or after a time."""
    return -int(-at // span) * span


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
    counts = [figures[name] if name in figures else columns[name] for name in COUNTS]
    query = sa.select(bucket, columns.model, sa.func.coalesce(columns.key_id, ""), *counts)
    return query.where(*_within(scope, LogFilter(Window(start, end))))


_Period = tuple[int, int]
"""Until when, in seconds since the epoch, local time is how many seconds ahead of UTC."""


def _periods(window: Window, tz: zoneinfo.ZoneInfo) -> list[_Period]:
    """All of a window. Clocks change at the edge of a quarter of an hour, everywhere."""
    assert window.start is not None and window.end is not None, "days need a window"  # noqa: S101, PT018
    start = _bucket_of(window.start)
    periods: list[_Period] = []
    while start < window.end:
        offset, end = _utc_offset(tz, start), start
        while end < window.end and _utc_offset(tz, end) == offset:
            end += _STEP_SECONDS
        while end > start + BUCKET_SECONDS and _utc_offset(tz, end - BUCKET_SECONDS) != offset:
            end -= BUCKET_SECONDS
        periods.append((end, offset))
        start = end
    return periods


def _day_of(at: int, periods: list[_Period]) -> int:
    offset = next((offset for end, offset in periods if at < end), periods[-1][1])
    return (at + offset) // DAY_SECONDS


def _offset(bucket: "sa.ColumnElement[int]", periods: list[_Period]) -> "sa.ColumnElement[int]":
    """Seconds that local time is ahead of UTC when a bucket begins; without periods 0."""
    last = sa.literal(periods[-1][1] if periods else 0, sa.BigInteger)
    if len(periods) < 2:
        return last
    return sa.case(*((bucket < end, sa.literal(offset, sa.BigInteger)) for end, offset in periods[:-1]), else_=last)


def _utc_offset(tz: zoneinfo.ZoneInfo, at: int) -> int:
    offset = dt.datetime.fromtimestamp(at, tz).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())
