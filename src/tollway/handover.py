"""From one task to another: a queue whose reader takes all that is there, and is woken once for it."""

import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")


class Handover(Generic[T]):
    """One task puts and then ends it, another takes. What asyncio's own queue does for each item is done for each taking."""

    def __init__(self) -> None:
        self._items: list[T] = []
        self._ended = False
        self._failure: Exception | None = None
        self._dropped = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        """How many items wait to be taken."""
        return len(self._items)

    def put(self, item: T) -> None:
        if not self._dropped:
            self._items.append(item)
            _wake(self._reader)

    async def room(self) -> None:
        """Waits until everything was taken: for a writer who has put as much as may wait."""
        if self._items:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer

    def end(self, failure: Exception | None = None) -> None:
        """Nothing more comes. The reader gets what was put before it gets the failure."""
        self._ended, self._failure = True, failure
        _wake(self._reader)

    def drop(self) -> None:
        """The reader has left: what is put from now on is gone, and there is always room."""
        self._dropped = True
        self._items.clear()
        _wake(self._writer)

    async def ready(self) -> None:
        """Waits until there is something to take, or the end. Raises the failure where there is nothing but that."""
        if not self._items and not self._ended:
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        if self._failure is not None and not self._items:
            raise self._failure

    async def take(self, most: int) -> list[T]:
        """The next items, up to so many; none at the end. Raises the failure with which it ends."""
        if not self._items:
            await self.ready()
        taken = self._items[:most]
        del self._items[:most]
        if not self._items:
            _wake(self._writer)
        return taken


def _wake(waiting: "asyncio.Future[None] | None") -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)
