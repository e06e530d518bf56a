"""The group commit: whatever waits is written in one transaction, and nobody is told before it is.

A batch that only holds credits is committed without waiting for the disk: a crash of the machine then loses holds, which is as
if they had never been asked for. One settlement in it makes the whole batch wait for the disk, and with it everything before:
the log of both databases is written in order.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

import structlog
from sqlalchemy import Connection

from tollway import clock
from tollway.admission.batch import Command, Result, run_batch
from tollway.admission.records import Admitted, Order, Outcome, Replay, Settled
from tollway.errors import InternalError, StorageUnavailable, TollwayError
from tollway.ledger import Books, Hold
from tollway.storage import Database

BATCH_MAX = 256
RETRY_SECONDS_MAX = 5.0
"""How long settlements are tried again while the database cannot be written. Then their requests fail, and are not charged."""
_HOLD_RETRY_SECONDS_MAX = 1.0
_RETRY_PAUSE_SECONDS = 0.05

log = structlog.get_logger()

OnBalance = Callable[[str, int, int], None]
"""Told of each new balance: account id, posted credits, and the credits below which that account's balance is low."""
_Waiting = tuple[Command, "asyncio.Future[Result]"]


class Desk:
    """Admits requests and writes down how they ended. One instance serves one process."""

    def __init__(self, database: Database, node_id: str, on_balance: OnBalance | None = None) -> None:
        self._database = database
        self._node_id = node_id
        self._on_balance = on_balance
        self._waiting: list[_Waiting] = []
        self._owed: list[Admitted] = []
        self._pump: asyncio.Task[None] | None = None

    async def admit(self, order: Order) -> Admitted | Replay:
        """Sets the credits aside. Raises what refuses the request, and ServiceUnavailable when nothing can be written.

        When the caller is cancelled while it waits, the request may be admitted all the same; then it is given up at once.
        """
        future = self._submit(order)
        try:
            result = await asyncio.shield(future)
        except asyncio.CancelledError:
            future.add_done_callback(self._give_up)
            raise
        if isinstance(result, TollwayError):
            raise result
        assert isinstance(result, Admitted | Replay)  # noqa: S101 - what a batch answers to an Order
        return result

    async def finish(self, outcome: Outcome) -> Settled:
        """Writes the end of a request, durably. Raises ServiceUnavailable when it cannot; then nothing was charged."""
        result = await asyncio.shield(self._submit(outcome))
        if isinstance(result, TollwayError):
            if isinstance(result, StorageUnavailable) and outcome.admitted not in self._owed:
                self._owed.append(outcome.admitted)
            raise result
        assert isinstance(result, Settled)  # noqa: S101 - what a batch answers to an Outcome
        if self._on_balance is not None:
            caller = outcome.admitted.order.caller
            self._on_balance(caller.account_id, result.posted, caller.low_balance_credits)
        return result

    async def make_good(self) -> None:
        """Releases what could not be written down in time: those requests were told that they failed, so they cost nothing."""
        for admitted in self._owed[:]:
            settled = await self.finish(Outcome(admitted))
            if settled.credits:  # it was written after all, at the very last
                await self._database.write(partial(_refund, hold=admitted.hold, paid=settled.credits))
            self._owed.remove(admitted)

    async def close(self) -> None:
        """Waits until everything that was asked for is written."""
        while self._pump is not None:
            await self._pump

    def _submit(self, command: Command) -> "asyncio.Future[Result]":
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, future))
        if self._pump is None:
            self._pump = asyncio.create_task(self._run())
        return future

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                results = await self._database.in_writer(partial(self._write, [command for command, _ in batch]))
                for (_, future), result in zip(batch, results, strict=True):
                    future.set_result(result)
        finally:
            self._pump = None

    def _write(self, commands: Sequence[Command]) -> Sequence[Result]:
        """One batch, in the database's thread. Its failures become results: somebody waits for each."""
        ends = any(isinstance(command, Outcome) for command in commands)
        deadline = clock.monotonic() + (RETRY_SECONDS_MAX if ends else _HOLD_RETRY_SECONDS_MAX)
        again = False
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
        durable = any(isinstance(command, Outcome) for command in commands)
        with self._database.transaction(durable=durable) as connection:
            return run_batch(connection, commands, self._node_id, again=again)

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
                results.append(InternalError("The request could not be written to the ledger; it is not charged."))
        return results

    def _give_up(self, future: "asyncio.Future[Result]") -> None:
        """Releases the hold of a request that nobody waits for any more."""
        result = future.result()
        if isinstance(result, Admitted):
            self._submit(Outcome(result))


class OpenDesk(Desk):
    """Admits everybody and writes nothing: for `billing = false`."""

    def __init__(self) -> None:
        pass

    async def admit(self, order: Order) -> Admitted | Replay:
        return Admitted(order, Hold(order.request_id, order.caller.account_id, order.caller.key_id, order.credits), {})

    async def finish(self, outcome: Outcome) -> Settled:
        return Settled(outcome.record.credits if outcome.record else 0, 0, 0)

    async def make_good(self) -> None:
        pass

    async def close(self) -> None:
        pass


def _refund(connection: Connection, hold: Hold, paid: int) -> None:
    books = Books(connection)
    books.lock([hold.account_id])
    books.enter(
        "refund", hold.account_id, hold.request_id, posted=paid, key_id=hold.key_id, note="the answer was not delivered"
    )
    books.flush()
