"""The group commit: whatever waits is written in one transaction, and nobody is told before it is.

Holds do not wait for the disk: a crash of the machine then loses holds, which is as if they had never been asked for. How an
answer ended must not reach its caller before the disk has it, and with it everything before, because the log of both databases
is written in order; what he is sent is made ready meanwhile (`Settled.durable`).

A database that is a file is written to on the event loop, as long as nobody else writes to it: handing a batch to a thread and
back costs more than the batch. What waits there is the disk's part alone, one sync for all that ended in the last milliseconds;
an end is written right before its sync, or earlier with the next hold, because a transaction costs more than what is in it.
Callers who are told together come back together, so after a sync that served many the next ones are waited for, for a moment:
then all of them share one transaction that begins them and one that ends them. What else is to be written is best written
while everybody waits for the disk.
Everything else is the writer's thread's: PostgreSQL, a file that another process is writing to, and whatever went wrong.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from tollway import clock
from tollway.admission.batch import Command, Result, run_batch
from tollway.admission.idempotency import is_kept
from tollway.admission.records import Admitted, Order, Outcome, Replay, Settled
from tollway.admission.spend import KeySpend
from tollway.admission.state import TRANSACTIONS_MAX, State
from tollway.errors import InternalError, StorageUnavailable, TollwayError
from tollway.ledger import Books, Hold
from tollway.storage import Database
from tollway.storage.not_now import NotNow
from tollway.storage.tables import ledger_entries

BATCH_MAX = 256
RETRY_SECONDS_MAX = 5.0
"""How long settlements are tried again while the database cannot be written. Then their requests fail, and are not charged."""
_HOLD_RETRY_SECONDS_MAX = 1.0
_RETRY_PAUSE_SECONDS = 0.05
_CLOSE_SECONDS_MAX = 5.0
SYNC_PAUSE_SECONDS, SYNC_PAUSE_SECONDS_MAX = 0.002, 0.008
"""How long an end waits for others to share its sync, for each request that shared the last one: so those who are few hardly
wait, and those who are many cost less. Only while further requests are in work, or may be expected.
"""
SPARE_TIME_ENDS = 64
"""How many requests have ended before spare time is used again: for fewer, a transaction is too dear."""

log = structlog.get_logger()

OnBalance = Callable[[str, int, int, int], None]
"""Told of each new balance: account id, posted credits, the credits below which that account's balance is low, and what the
request cost that led to it."""
_Waiting = tuple[Command, "asyncio.Future[Result]"]
_Unsynced = tuple[Command, "asyncio.Future[Any]", Replay | None]
"""A command, who waits for the disk to have what it was answered, and what he is told then."""


class Desk:
    """Admits requests and writes down how they ended. One instance serves one process."""

    def __init__(
        self,
        database: Database,
        node_id: str,
        on_balance: OnBalance | None = None,
        in_spare_time: Callable[[], None] | None = None,
    ) -> None:
        """`in_spare_time` is called on the event loop when all that is in work waits for the disk: it takes a millisecond."""
        self._database = database
        self._node_id = node_id
        self._on_balance = on_balance
        self._in_spare_time = in_spare_time
        self._ended = 0  # requests, since spare time was used
        self._orders: list[_Waiting] = []
        self._outcomes: list[_Waiting] = []
        self._owed: dict[str, Outcome] = {}  # how the requests end whose callers were told that they failed
        self._vouched: set[tuple[str, str]] = set()
        self._unsure = False  # whether the last batch had come to its commit
        self._state: State | None = None  # of the last transaction here, if it was committed
        self._in_work: set[str] = set()  # requests that were admitted and have not ended
        self._is_due = False
        self._in_thread: asyncio.Task[None] | None = None
        self._unsynced: list[_Unsynced] = []
        self._syncing: asyncio.Task[None] | None = None
        self._synced_at = 0.0
        self._told_together = 0  # by the last sync
        self._pause: asyncio.Future[None] | None = None

    async def admit(self, order: Order) -> Admitted | Replay:
        """Sets the credits aside. Raises what refuses the request, and ServiceUnavailable when nothing can be written.

        When the caller is cancelled while it waits, the request may be admitted all the same; then it is given up at once.
        """
        key = _key_of(order)
        self._vouched.discard(key)
        future = self._submit(order)
        try:
            result = await future
        except asyncio.CancelledError:
            if not future.cancelled() and isinstance(admitted := future.result(), Admitted):  # it came in the same moment
                self._submit(Outcome(admitted))
            raise
        if isinstance(result, Admitted):
            if result.hold.credits == order.credits:
                self._vouched.add(key)
            return result
        if isinstance(result, TollwayError):
            raise result
        assert isinstance(result, Replay)  # noqa: S101 - what else a batch answers to an Order
        return result

    def vouches_for(self, order: Order) -> bool:
        """Whether it is as good as admitted, so that what costs nothing may begin before `admit` has written it down.

        It is where the last order of the same key was admitted in full. So whoever is refused is not let go ahead again until
        he is admitted, and one at a time. Never with an Idempotency-Key: that request may have been answered before.
        """
        return order.idempotency is None and _key_of(order) in self._vouched

    async def finish(self, outcome: Outcome) -> Settled:
        """Writes the end of a request. The disk may not have it yet: what tells the caller of it waits until it is `durable`,
        and is made ready meanwhile. Raises ServiceUnavailable when it cannot be written; then nothing was charged.
        """
        result = await self._submit(outcome)
        if isinstance(result, TollwayError):
            raise result
        assert isinstance(result, Settled)  # noqa: S101 - what a batch answers to an Outcome
        if self._on_balance is not None:
            caller = outcome.admitted.order.caller
            self._on_balance(caller.account_id, result.posted, caller.low_balance_credits, result.credits)
        return result

    async def make_good(self) -> None:
        """Undoes what could not be written down in time, and may have been written all the same.

        Those requests were told that they failed, so they hold nothing and cost nothing. One that cannot be undone yet keeps
        its place and does not keep the others from theirs.
        """
        for request_id, outcome in list(self._owed.items()):
            result = await self._submit(outcome)
            if isinstance(result, StorageUnavailable | InternalError):
                continue
            if not isinstance(result, Settled) or result.credits:  # its hold is gone: nothing was held, or it was charged
                try:
                    await self._database.write(partial(_give_back, admitted=outcome.admitted))
                except StorageUnavailable:
                    continue
            self._owed.pop(request_id, None)

    async def close(self) -> None:
        """Waits until everything that was asked for is written, and undoes what is owed, if the database lets it."""
        await self._rest()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS_MAX):
                await self.make_good()
        await self._rest()

    async def _rest(self) -> None:
        while self._orders or self._outcomes or self._in_thread or self._syncing:
            await (self._in_thread or self._syncing or asyncio.sleep(0))

    def _submit(self, command: Command) -> "asyncio.Future[Result]":
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        (self._orders if isinstance(command, Order) else self._outcomes).append((command, future))
        if self._in_thread is not None:
            return future  # which goes on with what waits
        if isinstance(command, Outcome):
            self._sync_soon()
        elif not self._is_due:
            self._is_due = True
            loop.call_soon(self._write_soon if self._told_together > 1 else self._write_what_waits)
        return future

    def _write_soon(self) -> None:
        """One round of the loop later than what came in the same round as the first: of callers who come back together, the
        first one is often a round ahead.
        """
        asyncio.get_running_loop().call_soon(self._write_what_waits)

    def _write_what_waits(self) -> None:
        self._is_due = False
        while (self._outcomes or self._orders) and self._in_thread is None:
            ends, self._outcomes = self._outcomes[:BATCH_MAX], self._outcomes[BATCH_MAX:]
            room = BATCH_MAX - len(ends)
            begins, self._orders = self._orders[:room], self._orders[room:]
            batch = ends + begins
            commands = [command for command, _ in batch]
            self._unsure = False
            try:
                results = self._database.at_once(partial(self._run_at_once, commands))
            except (NotNow, StorageUnavailable):  # the thread waits, and tries again
                self._go_on_in_thread(batch)
            except Exception:
                log.exception("ledger_fault_at_once")
                self._go_on_in_thread(batch)
            else:
                self._tell_written(batch, results)

    def _go_on_in_thread(self, batch: Sequence[_Waiting]) -> None:
        self._state = None
        self._in_thread = asyncio.create_task(self._write_in_thread(batch, again=self._unsure))

    def _tell_written(self, batch: Sequence[_Waiting], results: Sequence[Result]) -> None:
        """What was committed and the disk may not have yet."""
        for (command, future), result in zip(batch, results, strict=True):
            if isinstance(result, Settled):
                result.syncing = future.get_loop().create_future()
                self._unsynced.append((command, result.syncing, None))
                if not future.cancelled():
                    future.set_result(result)
            elif isinstance(result, Replay):
                self._unsynced.append((command, future, result))
            else:
                self._tell(command, future, result)
        if self._unsynced:
            self._sync_soon()

    def _sync_soon(self) -> None:
        if self._syncing is None:
            self._syncing = asyncio.create_task(self._sync())
        elif not self._may_share:
            self._end_pause()

    async def _sync(self) -> None:
        """Writes what has ended and was not written with a hold, and tells of it once the disk has it."""
        loop = asyncio.get_running_loop()
        try:
            while self._unsynced or (self._outcomes and self._in_thread is None):
                if self._may_share and loop.time() < (until := self._pause_until(loop.time())):
                    self._pause = loop.create_future()
                    timer = loop.call_at(until, self._end_pause)
                    await self._pause
                    timer.cancel()
                self._write_what_waits()
                group, self._unsynced = self._unsynced, []
                if not group:
                    continue  # the thread has it
                self._ended += len(group)
                if self._ended >= SPARE_TIME_ENDS and len(self._in_work) <= len(group):
                    loop.call_soon(self._use_spare_time)
                failure = await self._synced(loop.time() + RETRY_SECONDS_MAX)
                self._synced_at, self._told_together = loop.time(), len(group)
                for command, future, result in group:
                    self._tell(command, future, failure or result)
        finally:
            self._syncing = None

    @property
    def _may_share(self) -> bool:
        """Whether a sync could serve more than those who wait for it: requests that have not ended, and the next ones of
        callers who were told together.
        """
        return max(len(self._in_work), self._told_together) > len(self._unsynced) + len(self._outcomes)

    def _pause_until(self, now: float) -> float:
        """Those who were told together are waited for from now on; one who was told alone, only right after that."""
        pause = min(SYNC_PAUSE_SECONDS * self._told_together, SYNC_PAUSE_SECONDS_MAX)
        return (now if self._told_together > 1 else self._synced_at) + pause

    def _use_spare_time(self) -> None:
        self._ended = 0
        if self._in_spare_time is not None:
            self._in_spare_time()

    def _end_pause(self) -> None:
        if self._pause is not None and not self._pause.done():
            self._pause.set_result(None)

    async def _synced(self, deadline: float) -> TollwayError | None:
        """None = the disk has all that was committed; else why it has not."""
        while True:
            try:
                await self._database.sync()
            except StorageUnavailable as unavailable:
                if asyncio.get_running_loop().time() > deadline:
                    return unavailable
            except Exception:
                log.exception("desk_fault")
                return _not_written()
            else:
                return None
            await asyncio.sleep(_RETRY_PAUSE_SECONDS)

    async def _write_in_thread(self, batch: Sequence[_Waiting], *, again: bool) -> None:
        try:
            try:
                write = partial(self._write, [command for command, _ in batch], again=again)
                results = await self._database.in_writer(write)
            except Exception:  # whatever it is, nobody is left waiting
                self._unsure = True
                log.exception("desk_fault")
                results = [_not_written() for _ in batch]
            for (command, future), result in zip(batch, results, strict=True):
                self._tell(command, future, result)
        finally:
            self._in_thread = None
            self._write_what_waits()

    def _tell(self, command: Command, future: "asyncio.Future[Any]", result: Result | None) -> None:
        if isinstance(result, TollwayError):
            self._note_owed(command, result)
        if isinstance(result, Admitted):
            self._in_work.add(result.hold.request_id)
        elif isinstance(command, Outcome):
            self._in_work.discard(command.admitted.hold.request_id)
        if not future.cancelled():
            future.set_result(result)
        elif isinstance(result, Admitted):  # nobody waits for it any more
            self._submit(Outcome(result))

    def _note_owed(self, command: Command, result: TollwayError) -> None:
        """Remembers, for `make_good`, the holds that are still open, and those that may be."""
        if not isinstance(result, StorageUnavailable | InternalError):
            return
        if isinstance(command, Outcome):
            record = None  # which may be what cannot be written
            if command.record is not None and isinstance(result, StorageUnavailable):
                record = command.record.uncharged(result.code)
            self._owed.setdefault(command.admitted.hold.request_id, Outcome(command.admitted, record))
        elif self._unsure:
            hold = Hold(command.request_id, command.caller.account_id, command.caller.key_id, command.credits)
            self._owed[hold.request_id] = Outcome(Admitted(command, hold, {}))

    def _write(self, commands: Sequence[Command], *, again: bool = False) -> Sequence[Result]:
        """One batch, in the database's thread. Its failures become results: somebody waits for each."""
        ends = any(isinstance(command, Outcome) for command in commands)
        deadline = clock.monotonic() + (RETRY_SECONDS_MAX if ends else _HOLD_RETRY_SECONDS_MAX)
        self._unsure = again
        while True:
            try:
                return self._transact(commands, again=again)
            except StorageUnavailable as unavailable:
                again = True  # it may have been committed all the same
                if clock.monotonic() > deadline:
                    return [unavailable] * len(commands)
                time.sleep(_RETRY_PAUSE_SECONDS)
            except Exception:
                if again:
                    log.exception("ledger_fault")
                    return self._one_by_one(commands)
                again = True  # a request may have been there before: the earlier attempt was committed after all

    def _transact(self, commands: Sequence[Command], *, again: bool) -> list[Result]:
        # also what may be answered with a replay: its settlement may have been committed at once, and not be on the disk yet
        durable = any(isinstance(command, Outcome) or command.idempotency is not None for command in commands)
        with self._database.transaction(durable=durable) as connection:
            return self._run_batch(State(connection), commands, again=again)

    def _run_at_once(self, commands: Sequence[Command], connection: Connection, *, version: int) -> list[Result]:
        state = self._state
        if state is None or not state.is_of(connection, version) or state.transactions >= TRANSACTIONS_MAX:
            state = self._state = State(connection, version)
        return self._run_batch(state, commands)

    def _run_batch(self, state: State, commands: Sequence[Command], *, again: bool = False) -> list[Result]:
        results = run_batch(state, commands, self._node_id, again=again)
        self._unsure = True  # from here on it is being committed
        return results

    def _one_by_one(self, commands: Sequence[Command]) -> list[Result]:
        """So that one bad command fails alone."""
        results: list[Result] = []
        for command in commands:
            try:
                results += self._transact([command], again=True)
            except StorageUnavailable as unavailable:
                results.append(unavailable)
            except Exception:
                log.exception("ledger_fault_alone")
                results.append(_not_written())
        return results


class OpenDesk:
    """What stands in the desk's place with `billing = false`: admits everybody and writes nothing."""

    async def admit(self, order: Order) -> Admitted:
        return Admitted(order, Hold(order.request_id, order.caller.account_id, order.caller.key_id, order.credits), {})

    def vouches_for(self, _order: Order) -> bool:
        return False  # admits at once

    async def finish(self, outcome: Outcome) -> Settled:
        return Settled(outcome.record.credits if outcome.record else 0, 0, 0)

    async def make_good(self) -> None:
        """Nothing is owed."""

    async def close(self) -> None:
        """Nothing is waited for."""


FrontDesk = Desk | OpenDesk


def _key_of(order: Order) -> tuple[str, str]:
    """Whose last order it is that counts; the playground has no key of its own."""
    return order.caller.account_id, order.caller.key_id


def _not_written() -> InternalError:
    return InternalError("The request could not be written to the ledger; it is not charged.")


def _give_back(connection: Connection, admitted: Admitted) -> None:
    """Refunds what was charged for a request whose hold is gone, if anything was and it was not refunded yet.

    Not where the answer was kept under an Idempotency-Key: the caller gets it, by asking again, and it costs once.
    """
    hold, asked = admitted.hold, admitted.order.idempotency
    if asked is not None and is_kept(connection, hold.account_id, asked, hold.request_id):
        return
    books = Books(connection)
    books.lock([hold.account_id])
    query = sa.select(ledger_entries.c.kind, ledger_entries.c.posted).where(ledger_entries.c.request_id == hold.request_id)
    posted = {row.kind: row.posted for row in connection.execute(query)}
    if posted.get("settle") and "refund" not in posted:
        books.enter(
            "refund",
            hold.account_id,
            hold.request_id,
            posted=-posted["settle"],
            key_id=hold.key_id,
            note="the answer was not delivered",
        )
        if hold.key_id is not None and hold.spend_window is not None:
            spend, place = KeySpend(connection), (hold.key_id, hold.spend_window)
            spend.load([place])
            spend.change(place, spent=posted["settle"])
            spend.flush()
    books.flush()
