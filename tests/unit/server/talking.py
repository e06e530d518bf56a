"""A server of one application on a real socket and event loop, and callers who write every byte themselves."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import uvloop

from tollway.server.accepting import Accepting, Counts
from tollway.server.service import App, Limits, Message, Service

T = TypeVar("T")
SECONDS_MAX = 10.0


def on_the_loop(work: Coroutine[Any, Any, T]) -> T:
    """What it returns, on the event loop that the service has."""

    async def in_time() -> T:
        async with asyncio.timeout(4 * SECONDS_MAX):
            return await work

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(in_time())


@dataclass
class Served:
    service: Service
    port: int
    problems: list[str]
    """What the event loop complained of."""

    async def open(self) -> "Caller":
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        return Caller(connection)

    async def talk(self, *pieces: bytes, half: bool = False) -> bytes:
        """All that is answered to them until the connection ends; each is sent once what came before was taken."""
        caller = await self.open()
        with contextlib.closing(caller):
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    await caller.send(piece)
                    await asyncio.sleep(0)
            if half:
                caller.connection.shutdown(socket.SHUT_WR)
            return await caller.rest()


@dataclass
class Caller:
    connection: socket.socket

    async def send(self, data: bytes) -> None:
        await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(self.connection, data), SECONDS_MAX)

    async def some(self) -> bytes:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.connection, 65536), SECONDS_MAX)

    async def until(self, end: bytes) -> bytes:
        said = b""
        while not said.endswith(end):
            more = await self.some()
            assert more, f"it ended: {said!r}"
            said += more
        return said

    async def rest(self) -> bytes:
        said = bytearray()
        while more := await self.some():
            said += more
        self.close()
        return bytes(said)

    def close(self) -> None:
        self.connection.close()


@contextlib.asynccontextmanager
async def serving(
    app: App, limits: Limits | None = None, state: dict[str, Any] | None = None, listening: socket.socket | None = None
) -> AsyncIterator[Served]:
    loop = asyncio.get_running_loop()
    problems: list[str] = []
    loop.set_exception_handler(lambda _, context: problems.append(str(context)))
    service = Service(app, limits or Limits(), state=state or {})
    listening = listening or socket.create_server(("127.0.0.1", 0))
    accepting = Accepting(service, listening, Counts(1), 0)
    try:
        yield Served(service, listening.getsockname()[1], problems)
    finally:
        accepting.close()
        await service.cut()
        async with asyncio.timeout(SECONDS_MAX):
            await service.emptied()
        service.close()
    assert problems == []


def without_date(said: bytes) -> bytes:
    return re.sub(rb"date: [^\r]+ GMT\r\n", b"", said)


async def whole_body(receive: Any) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return body + b"(left)"
        body += message["body"]
        if not message["more_body"]:
            return body


async def answer(send: Any, *pieces: bytes, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Without a length, unless the headers have one."""
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    for piece in pieces[:-1]:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": pieces[-1] if pieces else b""})


async def echo(scope: Message, receive: Any, send: Any) -> None:
    """Says what it was asked."""
    body = await whole_body(receive)
    await answer(send, b"%b %b %b" % (scope["method"].encode(), scope["raw_path"], body))
