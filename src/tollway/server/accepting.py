"""Taking connections, as many as there is room for. Several processes take them from one socket, by turns: whoever has the
fewest.

Left to themselves, the one that wakes first takes most of what comes together, and keeps it: proxies hold their connections for
hours.
"""

import asyncio
import mmap
import socket

import structlog

from tollway.server.service import Service

_PAUSE_SECONDS = 0.001
"""So long another one may take a connection that is its; then it is taken here, since the other may be busy or stuck."""
_TOGETHER_MAX = 16
_FULL_PAUSE_SECONDS = 0.1
_EXHAUSTED_PAUSE_SECONDS = 1.0
_AWAY = 2**31 - 1

log = structlog.get_logger()


class Counts:
    """How many connections each worker has, in memory that they share. Made before they are forked."""

    def __init__(self, workers: int) -> None:
        self._counts = memoryview(mmap.mmap(-1, 4 * workers)).cast("i")
        for place in range(workers):
            self.away(place)

    def away(self, place: int) -> None:
        """The worker is dead, or not ready yet."""
        self._counts[place] = _AWAY

    def begin(self, place: int) -> None:
        self._counts[place] = 0

    def add(self, place: int, count: int) -> None:
        self._counts[place] += count

    def is_turn_of(self, place: int) -> bool:
        least = min(self._counts)
        return self._counts[place] <= least + 1 + least // 16


class Accepting:
    """Takes connections for the worker of one place, until it is closed."""

    def __init__(self, service: Service, listening: socket.socket, counts: Counts, place: int) -> None:
        self._service = service
        self._listening = listening
        self._counts = counts
        self._place = place
        self._opening: set[asyncio.Task[None]] = set()
        self._later: asyncio.TimerHandle | None = None
        counts.begin(place)
        service.when_lost = lambda: counts.add(place, -1)
        listening.setblocking(False)
        service.loop.add_reader(listening, self._take)

    def close(self) -> None:
        if self._later is not None:
            self._later.cancel()
        else:
            self._service.loop.remove_reader(self._listening)
        self._counts.away(self._place)
        self._listening.close()

    def _take(self) -> None:
        """Takes what waits, as long as it is our turn."""
        for _ in range(_TOGETHER_MAX):
            if not self._counts.is_turn_of(self._place):
                self._pause(_PAUSE_SECONDS)
                return
            if not self._took_one():
                return

    def _took_one(self) -> bool:
        if not self._service.has_room():
            self._pause(_FULL_PAUSE_SECONDS)
            return False
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:  # no descriptors left, most likely; the connections wait
            log.error("cannot_accept", error=str(error))
            self._pause(_EXHAUSTED_PAUSE_SECONDS)
            return False
        self._counts.add(self._place, 1)
        task = self._service.loop.create_task(self._open(connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return True

    async def _open(self, connection: socket.socket) -> None:
        try:
            await self._service.loop.connect_accepted_socket(self._service.connection, connection)
        except OSError:  # it was gone already
            connection.close()
            self._counts.add(self._place, -1)

    def _pause(self, seconds: float) -> None:
        self._service.loop.remove_reader(self._listening)
        self._later = self._service.loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        """Takes one, whoever's turn it is, and then by turns again."""
        self._later = None
        self._service.loop.add_reader(self._listening, self._take)
        self._took_one()
