"""What the tests of a failing disk let a desk do, in a process of its own because the shim is for a whole process.

`python -m tests.faults.disk_work record FOLDER STEPS` writes FOLDER/events; `... fail FOLDER EVERY OPERATIONS` makes every
EVERYth operation of the disk fail and prints what came of it.
"""

import asyncio
import itertools
import json
import pickle
import sys
from pathlib import Path

import sqlalchemy as sa
from tests.desks import Bench, opened, order, outcome
from tests.faults.sqlite_disk import SQLITE_FULL, SQLITE_IOERR_FSYNC, SQLITE_IOERR_WRITE, SQLITE_OK, Disk, Event

from tollway.admission import Admitted
from tollway.admission import desk as desk_module
from tollway.errors import StorageUnavailable, TollwayError
from tollway.ledger.verify import verify
from tollway.storage import Database
from tollway.storage import sqlite as sqlite_module
from tollway.storage.tables import ledger_entries

GRANTED = 10_000_000
ACKNOWLEDGED = "settled "
BEGUN = "begun"


async def _prepared(folder: Path) -> tuple[Database, Bench]:
    """A database with an account; the log is short, so that it is copied into the file again and again."""
    sqlite_module._CHECKPOINT_COMMITS = 2
    sqlite_module._CHECKPOINT_PAGES_MAX = 200
    database = Database(folder / "tollway.db")
    database.migrate()
    return database, await opened(database, GRANTED)


async def _answer(bench: Bench, number: int, disk: Disk, told: set[str]) -> None:
    """One request from hold to charge, some of them side by side with others."""
    admitted = await bench.desk.admit(order(bench.caller, 100 + number % 7, request_id=f"req{number}"))
    assert isinstance(admitted, Admitted)
    await asyncio.sleep(0)
    settled = await bench.desk.finish(outcome(admitted, number % 89 + 1))  # never nothing, which would not be given back
    await settled.durable()
    told.add(admitted.order.request_id)
    disk.mark(ACKNOWLEDGED + admitted.order.request_id)


async def record(folder: Path, steps: int) -> None:
    """Answers `steps` requests; leaves in FOLDER/events what was done to the files since they were made."""
    disk = Disk()
    disk.install()
    database, bench = await _prepared(folder / "live")
    disk.mark(BEGUN)
    told: set[str] = set()
    numbers = iter(range(steps))
    for size in itertools.cycle((1, 3, 8)):
        batch = list(itertools.islice(numbers, size))
        if not batch:
            break
        await asyncio.gather(*(_answer(bench, number, disk, told) for number in batch))
        if batch[0] % 20 == 0:
            await asyncio.sleep(
                0.005
            )  # on a busy machine the thread that copies the log would not have its turn before the end
    events = [(each.what, Path(each.file).name, each.offset, each.data) for each in disk.events]
    (folder / "events").write_bytes(pickle.dumps(events))
    database.close()  # only now: it copies the log into the file and deletes it, which is another moment


async def fail(folder: Path, every: int, operations: int) -> None:
    """Every `every`th operation of the disk fails, in three ways in turn, until there were so many."""
    desk_module.RETRY_SECONDS_MAX = desk_module._HOLD_RETRY_SECONDS_MAX = 0.05
    desk_module._RETRY_PAUSE_SECONDS = 0.001
    disk = Disk()
    disk.install()
    database, bench = await _prepared(folder)
    counter, failed = itertools.count(1), 0

    def fails(event: Event) -> int:
        nonlocal failed
        number = next(counter)
        if number % every:
            return SQLITE_OK
        failed += 1
        if event.what == "sync":
            return SQLITE_IOERR_FSYNC
        return (SQLITE_FULL, SQLITE_IOERR_WRITE)[failed % 2]

    told: set[str] = set()
    refused = 0
    disk.fails = fails
    for number in itertools.count():
        if failed >= operations or number > operations * every * 3:
            break
        results = await asyncio.gather(
            *(_answer(bench, number * 4 + each, disk, told) for each in range(4)), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                assert isinstance(result, TollwayError), repr(result)
                refused += isinstance(result, StorageUnavailable)
    disk.fails = lambda _: SQLITE_OK
    await bench.desk.make_good()
    totals = await database.read(verify)
    query = sa.select(ledger_entries.c.request_id).where(ledger_entries.c.kind == "settle")
    settled = set(await database.read(lambda connection: connection.execute(query).scalars().all()))
    refunds = sa.select(ledger_entries.c.request_id).where(ledger_entries.c.kind == "refund")
    kept = settled - set(await database.read(lambda connection: connection.execute(refunds).scalars().all()))
    database.close()
    print(
        json.dumps(
            {
                "failed": failed,
                "refused": refused,
                "told": len(told),
                "told_without_charge": len(told - kept),
                "charged_without_being_told": len(kept - told),
                "held": totals.held,
            }
        )
    )


if __name__ == "__main__":
    if sys.argv[1] == "record":
        asyncio.run(record(Path(sys.argv[2]), int(sys.argv[3])))
    else:
        asyncio.run(fail(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
