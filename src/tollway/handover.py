"""From one task to another: a queue whose reader is called with all that is there, and once for it."""

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Deliveries:
    """Calls the readers for whom something has come, all of them together. What a reader writes wakes whoever waits for it; to
    wake them for one stream at a time costs both ends more than to read first whatever is there to be read (ADR 15).
    """

    def __init__(self) -> None:
        self._due: list[Handover[Any]] = []

    def due(self, handover: "Handover[Any]") -> None:
        """To be called in an event loop's callback or task, always of the same loop."""
        self._due.append(handover)
        if len(self._due) == 1:
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._give)  # after the round that comes next, which reads what has come meanwhile

    def _give(self) -> None:
        due, self._due = self._due, []
        for handover in due:
            handover._give()


class Handover(Generic[T]):
    """One task puts and then ends it, another has it given. What asyncio's own queue does for each item is done once for what
    comes in two rounds of the event loop, and the reader is called from there: waking its task for each piece would cost more.
    """

    def __init__(self, deliveries: Deliveries) -> None:
        self._loop = asyncio.get_running_loop()
        self._deliveries = deliveries
        self._items: list[T] = []
        self._ended = False
        self._failure: Exception | None = None
        self._dropped = False
        self._take: Callable[[list[T]], bool] | None = None
        self._most = 1
        self._is_due = False  # whether `_give` will be called in any case
        self._reader: asyncio.Future[bool] | None = None
        self._writer: asyncio.Future[bool] | None = None

    def put(self, item: T) -> int:
        """Returns how many items wait to be taken now."""
        if self._dropped:
            return 0
        self._items.append(item)
        if self._take is None:
            _wake(self._reader)
        elif not self._is_due:
            self._is_due = True
            self._deliveries.due(self)
        return len(self._items)

    def room(self) -> "asyncio.Future[bool]":
        """Is done once everything was taken: for a writer who has put as much as may wait."""
        if self._writer is None or self._writer.done():
            self._writer = self._loop.create_future()
            if not self._items:
                self._writer.set_result(True)
        return self._writer

    def end(self, failure: Exception | None = None) -> None:
        """Nothing more comes. The reader gets what was put before it gets the failure."""
        self._ended, self._failure = True, failure
        if self._take is None:
            _wake(self._reader)
        elif not self._is_due:
            self._give()

    def drop(self) -> None:
        """The reader has left: what is put from now on is gone, and there is always room."""
        self._dropped = True
        self._items.clear()
        _wake(self._writer)

    async def ready(self) -> None:
        """Waits until there is something to take, or the end. Raises the failure where there is nothing but that."""
        if not self._items and not self._ended:
            self._reader = self._loop.create_future()
            await self._reader
        if self._failure is not None and not self._items:
            raise self._failure

    async def give(self, take: Callable[[list[T]], bool], most: int) -> bool:
        """Calls `take` with the next items, up to so many, whenever there are any, until it says False: no more for now.

        Returns False then, and True at the end. Raises the failure with which that comes, or what `take` raises.
        """
        self._reader = self._loop.create_future()
        self._take, self._most = take, most
        try:
            self._give()
            is_all = await self._reader
        finally:
            self._take = None
        if is_all and self._failure is not None:
            raise self._failure
        return is_all

    def _give(self) -> None:
        self._is_due = False
        take, reader = self._take, self._reader
        if take is None or reader is None or reader.done():
            return
        try:
            while self._items:
                taken = self._items[: self._most]
                del self._items[: self._most]
                if not take(taken):
                    reader.set_result(False)
                    break
            else:
                if self._ended:
                    reader.set_result(True)
        except Exception as error:  # noqa: BLE001 - the reader raises it
            reader.set_exception(error)
        if not self._items:
            _wake(self._writer)


def _wake(waiting: "asyncio.Future[bool] | None") -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(True)
