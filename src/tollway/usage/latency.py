"""How long requests took: percentiles of the time to the first token and of the whole, by hour, day and model.

Percentiles do not add up, counts do. So the requests that succeeded are counted by size, in ranges of milliseconds each of
which is 19 % longer than the one before; a percentile lies within one of them, and is off by a few percent at the most.

Nothing of this is done while a caller waits: `count` reads the log behind itself, a few seconds late.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, get_args

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from tollway import clock
from tollway.storage import Database
from tollway.storage.tables import ALL_MODELS, latency_counts, read_until, requests
from tollway.storage.upsert import insert_or_add
from tollway.usage.filing import read_log
from tollway.usage.recording import DAY_SECONDS, HOUR_SECONDS

Measure = Literal["first_token", "duration"]
By = Literal["bucket", "model"]
LONG_SECONDS = 10 * DAY_SECONDS
_SPANS = (HOUR_SECONDS, DAY_SECONDS, LONG_SECONDS)
_SIZES_PER_DOUBLING = 4
_READER = "latency"
_ROWS_AT_ONCE = 20_000
_ROUNDS_MAX = 20
_PLACE = ("account_id", "span", "model", "bucket", "measure", "size")


class Percentiles(Struct, frozen=True):
    """Milliseconds within which half of the requests were, and 95 % of them."""

    p50: float
    p95: float


class Latency(Struct):
    """Of one bucket or model; None = nothing was measured."""

    first_token: Percentiles | None = None
    duration: Percentiles | None = None
    requests: int = 0
    """Those that succeeded."""


class LatencyCounter:
    """Counts what the log has got."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: int | None = None

    async def count(self) -> bool:
        """Counts the rows that the call before saw as the newest ones; call it every few seconds, in any number of processes.

        True where it has left some for the next call, because there were many.

        One call late, because PostgreSQL may commit rows in another order than they took their ids. A row that takes longer
        than that to be committed is missing in the percentiles, and nowhere else.
        """
        until = self._seen
        read, self._seen = await read_log(self._database, _state)
        for _ in range(_ROUNDS_MAX):
            if until is None or read >= until:
                return False
            end = min(read + _ROWS_AT_ONCE, until)
            counts = await self._database.read(partial(_counts, start=read, end=end))
            if not await self._database.write(partial(_add, start=read, end=end, counts=counts), durable=False):
                return True  # another process is counting
            read = end
        return True


async def latency_since(
    database: Database, account_id: str, start: int, span: int, *, by: By, models: Sequence[str] = (ALL_MODELS,)
) -> dict[Any, Latency]:
    """Of each bucket from `start` on, over `models` together, or of each of them. `span`: an hour or a day."""
    # over months the long spans are much fewer rows; the last one ends now, as all do
    first_long = -(-start // LONG_SECONDS) * LONG_SECONDS
    if by == "model" and span == DAY_SECONDS and first_long <= clock.now():
        pieces = [(LONG_SECONDS, first_long, None), (DAY_SECONDS, start, first_long)]
    else:
        pieces = [(span, start, None)]
    parts = [_piece(account_id, models, *piece) for piece in pieces]
    counted = (sa.union_all(*parts) if len(parts) > 1 else parts[0]).subquery().c
    keys = (counted[by], counted.measure, counted.size)
    query = sa.select(*keys, counted.requests)
    if by == "model" or len(models) > 1:  # else each count is one row
        query = sa.select(*keys, sa.cast(sa.func.sum(counted.requests), sa.BigInteger)).group_by(*keys)
    rows = await database.read(lambda connection: connection.execute(query).all())
    sizes: dict[Any, dict[str, dict[int, int]]] = {}
    for place, measure, size, count in rows:
        sizes.setdefault(place, {}).setdefault(measure, {})[size] = count
    return {place: _latency(measured) for place, measured in sizes.items()}


def _piece(account_id: str, models: Sequence[str], span: int, start: int, end: int | None) -> "sa.Select[Any]":
    """The counts of buckets of one length."""
    columns = latency_counts.c
    of_models = columns.model == models[0] if len(models) == 1 else columns.model.in_(models)
    query = sa.select(columns.model, columns.bucket, columns.measure, columns.size, columns.requests)
    query = query.where(columns.account_id == account_id, columns.span == span, of_models, columns.bucket >= start)
    return query if end is None else query.where(columns.bucket < end)


def size_of(milliseconds: int) -> int:
    """The number of the range that a time lies in."""
    return int(_SIZES_PER_DOUBLING * math.log2(max(1, milliseconds)))


def percentile(sizes: Mapping[int, int], share: float) -> float:
    """Milliseconds within which `share` of the counted requests were; `sizes` are not empty."""
    wanted, below = share * sum(sizes.values()), 0.0
    for size in sorted(sizes):
        if below + sizes[size] >= wanted:
            within = (wanted - below) / sizes[size]
            return float(2 ** ((size + within) / _SIZES_PER_DOUBLING))
        below += sizes[size]
    raise ValueError("nothing was counted")


def _latency(measured: Mapping[str, Mapping[int, int]]) -> Latency:
    found = {
        measure: Percentiles(percentile(sizes, 0.5), percentile(sizes, 0.95)) for measure, sizes in measured.items() if sizes
    }
    return Latency(**found, requests=sum(measured.get("duration", {}).values()))


def _state(connection: Connection) -> tuple[int, int]:
    """Up to which row the log is counted, and its newest one."""
    read = connection.execute(sa.select(read_until.c.id).where(read_until.c.reader == _READER)).scalar_one()
    return read, connection.execute(sa.select(sa.func.max(requests.c.id))).scalar() or 0


def _counts(connection: Connection, start: int, end: int) -> Counter[tuple[Any, ...]]:
    """How many requests there are of each place, among the rows after `start` up to `end`.

    The database adds up what is alike to the millisecond: a row that comes here is a fight for Python's lock with the requests.
    """
    counts: Counter[tuple[Any, ...]] = Counter()
    parts = (_alike(measure, start, end, is_sqlite=connection.dialect.name == "sqlite") for measure in get_args(Measure))
    for measure, account_id, model, hour, milliseconds, count in connection.execute(sa.union_all(*parts)):
        size = size_of(milliseconds)
        for span in _SPANS:
            bucket = hour * HOUR_SECONDS // span * span
            for of_model in (model, ALL_MODELS):
                counts[account_id, span, of_model, bucket, measure, size] += count
    return counts


def _alike(measure: str, start: int, end: int, *, is_sqlite: bool) -> "sa.Select[Any]":
    """How many requests had the same account, model, hour and time."""
    columns = requests.c
    taken = columns[f"{measure}_ms"]
    # SQLite cuts off what others round
    seconds = sa.cast(columns.created_at if is_sqlite else sa.func.floor(columns.created_at), sa.BigInteger)
    keys = (columns.account_id, columns.model, seconds // HOUR_SECONDS, taken)
    query = sa.select(sa.literal(measure), *keys, sa.func.count())
    query = query.where(columns.id > start, columns.id <= end, columns.status == "succeeded", taken.is_not(None))
    return query.group_by(*keys)


def _add(connection: Connection, start: int, end: int, counts: Mapping[tuple[Any, ...], int]) -> bool:
    """False where the rows after `start` are counted already."""
    mine = sa.update(read_until).where(read_until.c.reader == _READER, read_until.c.id == start).values(id=end)
    if connection.execute(mine).rowcount != 1:
        return False
    insert_or_add(connection, latency_counts, list(_rows(counts)))
    return True


def _rows(counts: Mapping[tuple[Any, ...], int]) -> Iterable[dict[str, Any]]:
    for place, count in sorted(counts.items()):
        yield dict(zip(_PLACE, place, strict=True)) | {"requests": count}
