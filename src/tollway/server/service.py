"""What the connections of one process have in common."""

import asyncio
import email.utils
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import structlog

from tollway.outbox import Outbox
from tollway.server.connection import Connection
from tollway.server.exchange import Exchange

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]
Refusal = tuple[list[tuple[bytes, bytes]], bytes]
"""Headers, but for Content-Length, and body."""
Refuse = Callable[[int, str], Refusal]
"""What is answered to what is no request: from status and message."""

_LOOK_SECONDS_MAX = 1.0
_CUT_FRACTION = 16

log = structlog.get_logger()


def plainly(status: int, message: str) -> Refusal:  # noqa: ARG001 - one of several ways to refuse
    return [(b"content-type", b"text/plain; charset=utf-8")], message.encode()


@dataclass(frozen=True)
class Limits:
    head_bytes_max: int = 2**17
    head_seconds: float = 30.0
    """From the first byte of a head to its last, and from the connection to the first head."""
    idle_seconds: float = 150.0
    """Between two requests. It should be more than what proxies wait: what they send into a closing connection is lost."""
    linger_seconds: float = 2.0
    """How long a caller who still sends may take to notice that the answer is there, and that no more is read."""
    connections_max: int = 16_384
    """Of each process. Where there are as many, who has been idle for longest makes room."""


@dataclass(eq=False)
class Service:
    """The application, and who is connected to it."""

    app: App
    limits: Limits = field(default_factory=Limits)
    refuse: Refuse = plainly
    state: dict[str, Any] = field(default_factory=dict)
    """Of the lifespan; each request gets a copy."""

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.outbox = Outbox()
        self.connections: set[Connection] = set()
        self.running: set[Exchange] = set()
        """Also holds them: the event loop refers to a waiting task only weakly."""
        self.stopping = False
        self.when_lost: Callable[[], None] | None = None
        """Called for each connection that ends."""
        self._first_lines: dict[int, bytes] = {}
        self._emptied: asyncio.Future[None] | None = None
        self._look_seconds = min(_LOOK_SECONDS_MAX, self.limits.head_seconds / 4)
        self._looking = self.loop.call_later(self._look_seconds, self._look)

    def connection(self) -> Connection:
        return Connection(self)

    def has_room(self) -> bool:
        """Whether another connection may be taken. If not, there soon may be: some that have been idle for longest are cut,
        those first who have not asked for anything yet.
        """
        if len(self.connections) < self.limits.connections_max:
            return True
        idle = sorted((each for each in self.connections if each.is_idle), key=lambda each: each.deadline)
        cut = idle[: len(idle) // _CUT_FRACTION + 1]  # more than one: looking for them takes a while
        for connection in cut:
            connection.abort()
        log.warning("connections_full", connections=len(self.connections), cut=len(cut))
        return False

    def first_line(self, status: int) -> bytes:
        """The status line, and the date, which is a second old at the most."""
        line = self._first_lines.get(status)
        if line is None:
            try:
                phrase = HTTPStatus(status).phrase
            except ValueError:
                phrase = ""
            date = email.utils.formatdate(usegmt=True)
            line = self._first_lines[status] = f"HTTP/1.1 {status} {phrase}\r\ndate: {date}\r\n".encode()
        return line

    def stop(self) -> None:
        """No further request: who is idle is hung up on, who waits for an answer gets it, and is hung up on then."""
        self.stopping = True
        for connection in list(self.connections):
            connection.stop()

    async def emptied(self) -> None:
        """Returns once nobody is connected, and everything has ended that the application did."""
        while self.connections or self.running:
            self._emptied = self.loop.create_future()
            await self._emptied

    def lost(self, connection: Connection) -> None:
        self.connections.discard(connection)
        if self.when_lost is not None:
            self.when_lost()
        self._look_whether_empty()

    def ran(self, exchange: Exchange) -> None:
        self.running.discard(exchange)
        if self.stopping:
            self._look_whether_empty()

    def _look_whether_empty(self) -> None:
        if self._emptied is not None and not self._emptied.done() and not self.connections and not self.running:
            self._emptied.set_result(None)

    async def cut(self) -> None:
        """Ends at once what still goes on."""
        tasks = [exchange.task for exchange in self.running]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        for connection in list(self.connections):
            connection.abort()

    def close(self) -> None:
        self._looking.cancel()

    def _look(self) -> None:
        """One timer for all: who is late is cut within a second. A timer for each request would cost more than its head."""
        self._first_lines.clear()
        now = self.loop.time()
        for connection in [each for each in self.connections if each.deadline < now]:
            connection.late()
        self._looking = self.loop.call_later(self._look_seconds, self._look)
