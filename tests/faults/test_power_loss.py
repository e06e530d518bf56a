"""Loss of power on SQLite: whatever was not synced may be gone, in any part. What a caller was told is still there.

All that SQLite wrote and synced is recorded by a shim below it, and the files are put together as a disk may have them at a
moment: everything up to each file's last sync, and of what came after it nothing, everything or any 512-byte sectors of it.
PostgreSQL's own log is not tested like this. `POWER_LOSSES` sets the number of moments; the suite makes a slice.
"""

import asyncio
import os
import pickle
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.faults.disk_work import ACKNOWLEDGED, BEGUN

from tollway.ledger.verify import verify
from tollway.storage import Database
from tollway.storage.tables import ledger_entries

LOSSES = int(os.environ.get("POWER_LOSSES", "40"))
STEPS = max(60, min(600, LOSSES))
SECTOR = 512
Recorded = tuple[str, str, int, bytes]


class Platter:
    """One file: what is certain, and what was written since."""

    def __init__(self) -> None:
        self.synced = bytearray()
        self.pending: list[Recorded] = []

    def take(self, event: Recorded) -> None:
        if event[0] == "sync":
            for each in self.pending:
                _put(self.synced, each)
            self.pending = []
        else:
            self.pending.append(event)

    def whole(self) -> bytes:
        """As it would be without a loss."""
        content = bytearray(self.synced)
        for event in self.pending:
            _put(content, event)
        return bytes(content)

    def after_loss(self, chance: random.Random) -> bytes:
        content = bytearray(self.synced)
        keep = chance.choice(("nothing", "everything", "any", "any"))
        for event in self.pending:
            if keep == "nothing":
                break
            for piece in _sectors(event) if keep == "any" else [event]:
                if keep == "everything" or chance.random() < 0.5:
                    _put(content, piece)
        return bytes(content)


def _put(content: bytearray, event: Recorded) -> None:
    what, _, offset, data = event
    if what == "truncate":
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    content.extend(bytes(max(0, offset + len(data) - len(content))))
    content[offset : offset + len(data)] = data


def _sectors(event: Recorded) -> Iterator[Recorded]:
    what, file, offset, data = event
    if what != "write":
        yield event
        return
    begin = 0
    while begin < len(data):
        end = min(len(data), begin + SECTOR - (offset + begin) % SECTOR)
        yield what, file, offset + begin, data[begin:end]
        begin = end


async def _charged(path: Path) -> set[str]:
    """The requests that were charged. Raises Wrong for books that do not balance."""
    database = Database(path)
    try:
        query = sa.select(ledger_entries.c.request_id).where(ledger_entries.c.kind == "settle")
        await database.read(verify)
        return set(await database.read(lambda connection: connection.execute(query).scalars().all()))
    finally:
        database.close()


@pytest.mark.timeout(120 + LOSSES)
def test_no_acknowledged_settlement_is_lost(tmp_path: Path, record_property: Callable[[str, Any], None]) -> None:
    subprocess.run([sys.executable, "-m", "tests.faults.disk_work", "record", str(tmp_path), str(STEPS)], check=True)
    events: list[Recorded] = pickle.loads((tmp_path / "events").read_bytes())
    chance = random.Random(1)
    files = {name: Platter() for name in ("tollway.db", "tollway.db-wal")}
    begun = next(number for number, event in enumerate(events) if event[0] == BEGUN)
    moments = set(chance.sample(range(begun, len(events)), min(LOSSES, len(events) - begun)))
    told: set[str] = set()
    losses = 0
    for number, event in enumerate(events):
        if event[1] in files:
            files[event[1]].take(event)
        elif event[0].startswith(ACKNOWLEDGED):
            told.add(event[0].removeprefix(ACKNOWLEDGED))
        if number in moments:
            folder = tmp_path / "after"
            folder.mkdir()
            left = {name: platter.after_loss(chance) for name, platter in files.items()}
            losses += any(left[name] != platter.whole() for name, platter in files.items())
            for name, content in left.items():
                (folder / name).write_bytes(content)
            charged = asyncio.run(_charged(folder / "tollway.db"))
            assert told <= charged, f"lost at event {number} of {len(events)}: {sorted(told - charged)}"
            shutil.rmtree(folder)
    assert len(told) == STEPS
    assert losses, "nothing was lost at any moment"
    assert any(event[0] == "sync" and event[1] == "tollway.db" for event in events), "the log was never copied into the file"
    record_property("losses of power", len(moments))
    record_property("of which something was lost", losses)
