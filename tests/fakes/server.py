"""A real HTTP server on a loopback port that answers with scripted replies. The base of the fake upstreams."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self, TypeVar

from aiohttp import web
from tests.fakes.faults import Received, Reply, play

BODY_BYTES_MAX = 64 * 2**20
SEND_BUFFER_BYTES = 1 << 16


class FakeServer:
    """Use it as `async with FakeX() as fake`. Each dialect's fake says in `answer` what a request gets.

    Replies that a test has queued come first, one per request, but only for requests that are valid: a fake never answers
    what the real upstream would refuse.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        """All requests so far."""
        self.complaints: list[str] = []
        """What was wrong with requests; a test that expects none asserts that this is empty."""
        self.spoil: Callable[[Reply], Reply] = lambda good: good
        """What becomes of each answer that is no error."""
        self._queued: list[Reply] = []
        self._runner: web.AppRunner | None = None
        self.port = 0

    def queue(self, *replies: Reply) -> None:
        """The next valid requests get these, one each."""
        self._queued.extend(replies)

    @property
    def url(self) -> str:
        """Scheme, host and port, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, received: Received) -> Reply:
        """What this request gets. `next_queued` gives what a test has queued."""
        raise NotImplementedError

    def next_queued(self) -> Reply | None:
        return self._queued.pop(0) if self._queued else None

    async def start(self, port: int = 0) -> None:
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        application.router.add_route("*", "/{path:.*}", self._handle)
        # The handler is cancelled when its client leaves: that is how `Received.left` comes to know.
        self._runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        listening = socket.create_server(("127.0.0.1", port))
        # what nobody reads waits here rather than in the kernel, which would take megabytes of each answer
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        await web.SockSite(self._runner, listening).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Cuts all connections; from now on new ones are refused."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        received = Received(
            method=request.method,
            path=request.raw_path.partition("?")[0],
            query=dict(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
        )
        self.received.append(received)
        reply = await self.answer(received)
        return await play(request, received, self.spoil(reply) if reply.status == 200 else reply)


_Fake = TypeVar("_Fake", bound=FakeServer)


@contextmanager
def in_a_thread(fake: _Fake) -> Iterator[_Fake]:
    """Runs the fake in an event loop of its own, for tests that have none."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(fake.start(), loop).result()
        yield fake
        asyncio.run_coroutine_threadsafe(fake.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def left_within(received: Received, seconds: float = 3) -> bool:
    """Whether the client closes this request's connection within so many seconds.

    What is promised, 250 ms (p99), is for tests that have the machine to themselves to measure: tests/faults/test_leaving.py.
    """
    try:
        async with asyncio.timeout(seconds):
            await received.left.wait()
    except TimeoutError:
        return False
    return True
