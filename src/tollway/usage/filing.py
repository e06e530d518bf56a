"""The request log is filed behind the requests: settling one writes what is known of it in one piece, and this puts the pieces
where they are looked for, with their indexes and sums.

What is settled together is one row of `unfiled_requests`; a row of the log is six places in as many indexes, and its sums are
six more. Filing a hundred at once takes a fifth of the processor time of filing each alone. Whoever reads the
log files first, so nobody can tell the difference; `keep_filed` does it for those whom nobody reads, and the desk has
`file_piece` do it while all that is in work waits for the disk.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from tollway.errors import StorageUnavailable
from tollway.storage import Database
from tollway.storage.not_now import NotNow
from tollway.storage.prepared import Prepared, PreparedIn
from tollway.storage.tables import unfiled_requests
from tollway.usage.recording import RequestRecord, decode_records, write_records

FILING_SECONDS = 1.0
PIECE_PAUSE_SECONDS = 0.01
_ROWS_AT_ONCE, _REQUESTS_AT_ONCE = 32, 64
"""Settlements come in batches, each of which is a row. So many take about a millisecond, for which every answer waits."""

_ALL = 2**62

T = TypeVar("T")

log = structlog.get_logger()


async def read_log(database: Database, work: Callable[[Connection], T]) -> T:
    """`work`'s result; it sees all that was settled before the call.

    While the database cannot be written, as on a full disk, it sees what is filed.
    """

    def reading(connection: Connection) -> tuple[bool, T | None]:
        if _newest(connection) is not None:
            return False, None
        return True, work(connection)

    is_filed, result = await database.read(reading)
    if is_filed:
        return result  # type: ignore[return-value]
    with suppress(StorageUnavailable):
        await file_all(database)
    return await database.read(work)


async def file_all(database: Database, pause_seconds: float = 0) -> None:
    """Files what is there now, in pieces; not what comes meanwhile."""
    newest = await database.read(_newest)
    if newest is None:
        return
    while await _filed(database, newest):  # noqa: ASYNC110 - nothing is waited for; others come between
        await asyncio.sleep(pause_seconds)


def file_piece(database: Database) -> None:
    """Files a piece on the event loop if nothing needs to be waited for; else, and whatever goes wrong, `keep_filed` will."""
    with suppress(Exception):  # who meets it again there tells it
        _file_at_once(database, _ALL)


def _file_at_once(database: Database, until: int) -> bool:
    return database.at_once(lambda connection, **_: _file_some(connection, until))


async def _filed(database: Database, until: int) -> bool:
    """Files a piece; whether there are more up to `until`."""
    try:
        try:
            return _file_at_once(database, until)
        except (NotNow, StorageUnavailable):
            return await database.write(partial(_file_some, until=until), durable=False)
    except StorageUnavailable:
        raise
    except Exception:
        log.exception("log_piece_refused")
        await _file_apart(database, until)
        return True


async def _file_apart(database: Database, until: int) -> None:
    """Files the oldest row a request at a time: one that the database refuses keeps none of the others from being filed."""
    rows = await database.write(lambda connection: _OLDEST(connection, {"until": until}).rows[:1], durable=False)
    for record in chain.from_iterable(map(_read, rows)):
        try:
            await database.write(partial(write_records, records=[record]), durable=False)
        except StorageUnavailable:
            raise
        except Exception:
            log.exception("request_not_filed", request_id=record.request_id)
    for row in rows:
        await database.write(partial(_strike_off, row=row), durable=False)


def _strike_off(connection: Connection, row: Any) -> None:
    """By its body, too: whoever else was filing it may have struck it off, and SQLite gives its id out again."""
    connection.execute(sa.delete(unfiled_requests).where(unfiled_requests.c.id == row.id, unfiled_requests.c.body == row.body))


async def keep_filed(database: Database) -> None:
    """Files what no reader has filed, for good, in any number of processes. A database that is away does not end it."""
    told = False
    while True:
        await asyncio.sleep(FILING_SECONDS)
        try:
            await file_all(database, PIECE_PAUSE_SECONDS)
            told = False
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            if not told:
                log.warning("log_not_filed", error=type(error).__name__)
            told = True


def _newest(connection: Connection) -> int | None:
    return connection.execute(_NEWEST).scalar()


def _file_some(connection: Connection, until: int) -> bool:
    """Files the oldest rows up to `until`; whether there may be more."""
    records: list[RequestRecord] = []
    ids: list[int] = []
    for row in _OLDEST(connection, {"until": until}).rows:
        records += _read(row)
        ids.append(row.id)
        if len(records) >= _REQUESTS_AT_ONCE:
            break
    if ids:
        write_records(connection, records)
        _STRIKE_OFF(connection, ids)
    return len(ids) == _ROWS_AT_ONCE or len(records) >= _REQUESTS_AT_ONCE


def _read(row: Any) -> list[RequestRecord]:
    """What was settled together. Damage keeps nothing else from being filed; `tollway verify-ledger` finds what is missing."""
    try:
        return decode_records(row.body)
    except msgspec.DecodeError:
        log.exception("log_row_damaged", id=row.id)
        return []


_OLDEST = Prepared(
    sa.select(unfiled_requests.c.id, unfiled_requests.c.body)
    .where(unfiled_requests.c.id <= sa.bindparam("until"))
    .order_by(unfiled_requests.c.id)
    .limit(_ROWS_AT_ONCE)
    .with_for_update()  # another node may be filing them: we wait
)
_STRIKE_OFF = PreparedIn(lambda ids: sa.delete(unfiled_requests).where(unfiled_requests.c.id.in_(ids)))
_NEWEST = sa.select(unfiled_requests.c.id).order_by(unfiled_requests.c.id.desc()).limit(1)
