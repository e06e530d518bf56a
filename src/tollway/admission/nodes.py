"""Which processes are alive, and what becomes of the holds of those that are not.

Each process that holds credits is a node. It keeps a file in `TOLLWAY_HOME/nodes` locked, which the system unlocks the
moment it dies, however it dies; and it beats in the database. A node of this machine whose file is not locked is dead, and its
holds expire at once, before the service is ready again. Any other counts as dead when it was not seen to beat for
`NODE_SECONDS_MAX` by who watches, whatever the clocks of their machines say. A node that was only out of touch finds its holds
gone; its answers then fail and are not charged.
"""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from tollway import clock
from tollway.admission.idempotency import KEPT_SECONDS
from tollway.admission.spend import KeySpend
from tollway.errors import StorageUnavailable
from tollway.ids import random_text
from tollway.ledger import Books, Hold, LedgerFault
from tollway.storage import Database
from tollway.storage.tables import holds, idempotency, nodes
from tollway.storage.upsert import insert_or_replace

BEAT_SECONDS = 5.0
NODE_SECONDS_MAX = 30.0
_EXPIRED_AT_ONCE_MAX = 500
_SWEEP_SECONDS = 600.0
_DAMAGE_TOLD_SECONDS = 3600.0

log = structlog.get_logger()


class Nodes:
    """The node that is this process, and its eye on the others."""

    def __init__(self, database: Database, home: Path) -> None:
        self.id = "node_" + random_text(16)
        self._database = database
        self._folder = home / "nodes"
        self._lock: int | None = None
        self._beaten_at = 0.0
        self._seen: dict[str, tuple[float, float]] = {}
        """The last beat of each node, and since when it is the last one, in monotonic seconds."""
        self._swept_at = 0.0
        self._damaged: dict[str, float] = {}
        """Accounts whose holds cannot be given back, and when the log has told of each, in monotonic seconds."""

    async def open(self) -> None:
        """Registers this node, and expires what dead nodes of this machine held. Call it before the first hold.

        Again, where it has raised StorageUnavailable.
        """
        if self._lock is None:
            self._lock = self._locked_file()
        await self.beat()
        await self._bury_local()

    async def beat(self) -> None:
        """Says that this node is alive. Call it every BEAT_SECONDS."""
        now = clock.monotonic()
        row = {"id": self.id, "beat_at": clock.now()}
        await self._database.write(lambda connection: insert_or_replace(connection, nodes, [row]))
        if now - self._beaten_at > NODE_SECONDS_MAX / 2:
            self._seen.clear()  # out of touch, as the others may have been too: they get time to beat
        self._beaten_at = clock.monotonic()

    async def watch(self) -> None:
        """Expires the holds of nodes that died; now and then sweeps old rows away."""
        await self._bury_local()
        await self._bury(self._silent(await self._database.read(_beats)))
        if clock.monotonic() - self._swept_at > _SWEEP_SECONDS:
            old = sa.delete(idempotency).where(idempotency.c.at < clock.now() - KEPT_SECONDS)
            await self._database.write(lambda connection: connection.execute(old))
            self._swept_at = clock.monotonic()

    async def run(self, *chores: Callable[[], Awaitable[object]]) -> None:
        """Beats, watches and does the chores for good. Neither a database that is away for a while nor a bug ends it."""
        in_touch, failing = True, set[Callable[[], Awaitable[object]]]()
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            was_in_touch, in_touch = in_touch, True
            for chore in (self.beat, self.watch, *chores):
                try:
                    await chore()
                    failing.discard(chore)
                except StorageUnavailable as error:
                    if was_in_touch:
                        log.warning("node_out_of_touch", reason=error.reason)
                    in_touch = False
                    break  # the others need it, too
                except Exception:
                    if chore not in failing:
                        log.exception("chore_failed", chore=getattr(chore, "__qualname__", repr(chore)))
                    failing.add(chore)

    async def close(self) -> None:
        """The node ends in good order: everything that it held is resolved. Else it ends as the dead do."""
        try:
            with contextlib.suppress(StorageUnavailable):  # the file stays, so that whoever comes next buries it
                await self._bury([self.id])
                (self._folder / self.id).unlink(missing_ok=True)
        finally:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _silent(self, beats: Mapping[str, float]) -> list[str]:
        """Those that have not beaten for too long."""
        now, before = clock.monotonic(), self._seen
        self._seen = {
            node_id: before[node_id] if node_id in before and before[node_id][0] == beat_at else (beat_at, now)
            for node_id, beat_at in beats.items()
        }
        return [each for each, (_, since) in self._seen.items() if now - since >= NODE_SECONDS_MAX and each != self.id]

    def _locked_file(self) -> int:
        """Makes the node's file, locked before anybody can see it."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._folder / f".{self.id}"
        handle = os.open(draft, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        draft.rename(self._folder / self.id)
        return handle

    async def _bury_local(self) -> None:
        dead = [path for path in self._folder.glob("node_*") if path.name != self.id and not _is_locked(path)]
        await self._bury([path.name for path in dead])
        for path in dead:
            path.unlink(missing_ok=True)

    async def _bury(self, node_ids: Sequence[str]) -> None:
        if not node_ids:
            return
        count = 0
        try:
            while expired := await self._database.write(lambda connection: expire_holds_of(connection, node_ids)):
                count += expired
        except LedgerFault:
            count += await self._bury_apart(node_ids)
        if count:
            log.warning("holds_expired", holds=count, nodes=len(node_ids))

    async def _bury_apart(self, node_ids: Sequence[str]) -> int:
        """Account by account: one whose balance was damaged keeps what is held, and no other from getting back its own."""
        count = 0
        for account_id in await self._database.read(lambda connection: _holding(connection, node_ids)):
            expire = partial(expire_holds_of, node_ids=node_ids, account_id=account_id)
            try:
                while expired := await self._database.write(expire):
                    count += expired
            except LedgerFault as fault:
                now = clock.monotonic()
                if now - self._damaged.get(account_id, -_DAMAGE_TOLD_SECONDS) >= _DAMAGE_TOLD_SECONDS:
                    log.error("account_damaged", account_id=account_id, error=str(fault), look="tollway verify-ledger")
                    self._damaged[account_id] = now
        return count


def _holding(connection: Connection, node_ids: Sequence[str]) -> list[str]:
    """The accounts for which the nodes hold credits."""
    return list(connection.execute(sa.select(holds.c.account_id).where(holds.c.node_id.in_(node_ids)).distinct()).scalars())


def expire_holds_of(connection: Connection, node_ids: Sequence[str], account_id: str | None = None) -> int:
    """Gives back what the nodes held, up to _EXPIRED_AT_ONCE_MAX holds; how many. At 0 the nodes' rows are deleted too, unless
    it is for one account alone.
    """
    of_nodes = sa.and_(holds.c.node_id.in_(node_ids), sa.true() if account_id is None else holds.c.account_id == account_id)
    books, spend = Books(connection), KeySpend(connection)
    books.lock(_holding(connection, node_ids) if account_id is None else [account_id])
    # only now, under the locks, is it certain which are still open
    query = sa.select(*(holds.c[name] for name in Hold.__struct_fields__)).where(of_nodes).limit(_EXPIRED_AT_ONCE_MAX)
    orphans = [Hold(**row) for row in connection.execute(query).mappings()]
    orphans = [hold for hold in orphans if books.has(hold.account_id)]
    spend.load((hold.key_id, hold.spend_window) for hold in orphans if hold.key_id and hold.spend_window is not None)
    for hold in orphans:
        books.resolve("expire", hold, note="the server that answered was gone")
        if hold.key_id and hold.spend_window is not None:
            spend.change((hold.key_id, hold.spend_window), held=-hold.credits)
    books.flush()
    spend.flush()
    if not orphans and account_id is None:
        connection.execute(sa.delete(nodes).where(nodes.c.id.in_(node_ids)))
    return len(orphans)


def _beats(connection: Connection) -> dict[str, float]:
    """The last beat of each node that holds credits or is registered, by its own clock; 0 = it is not registered."""
    holding = connection.execute(sa.select(holds.c.node_id).distinct()).scalars()
    return dict.fromkeys(holding, 0.0) | dict(connection.execute(sa.select(nodes.c.id, nodes.c.beat_at)).all())


def _is_locked(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return True  # somebody else has just buried it
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
