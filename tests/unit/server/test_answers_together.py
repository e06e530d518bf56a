"""Many answers that are made in one round of the event loop leave after it, each of them whole and in its place."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.server.talking import Caller, Served, answer, on_the_loop, serving

from tollway.outbox import FEW
from tollway.server.service import Message

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
UNSENT_BODY = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
MANY = 3 * FEW


class Together:
    """An application that answers whenever so many have asked, and all of them in one round."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []
        self.after_each: list[Callable[[], None]] = []
        """Called once all of the first, the second ... lot were answered, in the same round."""
        self._left = 0

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if len(self._waiting) == MANY:
            for each in self._waiting:
                each.set_result(None)
            self._waiting, self._left = [], MANY
        await future
        await answer(send, b"the answer")
        self._left -= 1
        if not self._left and self.after_each:
            self.after_each.pop(0)()


async def _asking(served: Served, sent: bytes) -> list[Caller]:
    """Callers who have been answered together once, and ask for more."""
    callers = [await served.open() for _ in range(MANY)]
    for caller in callers:
        await caller.send(GET)
    for caller in callers:
        await caller.until(b"the answer")
    for caller in callers:
        await caller.send(sent)
    return callers


@pytest.mark.parametrize("sent", [LAST, UNSENT_BODY], ids=["asked-to-close", "with-a-body-that-is-not-read"])
def test_who_is_hung_up_on_has_the_whole_answer(sent: bytes) -> None:
    async def talk() -> None:
        async with serving(Together()) as served:
            for caller in await _asking(served, sent):
                said = await caller.rest()
                assert said.startswith(b"HTTP/1.1 200 OK\r\n")
                assert said.endswith(b"\r\n\r\nthe answer")

    on_the_loop(talk())


def test_what_is_refused_is_told_after_the_answer_before_it() -> None:
    async def talk() -> None:
        async with serving(Together()) as served:
            for caller in await _asking(served, GET + b"nonsense\r\n\r\n"):
                said = await caller.rest()
                assert said.startswith(b"HTTP/1.1 200 OK\r\n")
                assert said.index(b"the answer") < said.index(b"HTTP/1.1 400 ")

    on_the_loop(talk())


def test_pipelines_are_answered_in_order() -> None:
    class Numbered(Together):
        async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
            async def numbered(message: Message) -> None:
                if "body" in message:
                    message["body"] = scope["raw_path"][1:] + message["body"]
                await send(message)

            await super().__call__(scope, receive, numbered)

    pipeline = b"".join(b"GET /%03d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(50))

    async def talk() -> None:
        async with serving(Numbered()) as served:
            for caller in await _asking(served, pipeline + LAST):
                said = await caller.rest()
                assert re.findall(rb"(\d{3})the answer", said) == [b"%03d" % number for number in range(50)]
                assert said.endswith(b"athe answer")

    on_the_loop(talk())


@pytest.mark.parametrize("how", ["stop", "cut"])
def test_an_answer_that_was_made_arrives_though_the_service_is_stopped_in_the_same_round(how: str) -> None:
    """A `cut`, too: it ends what still goes on, and these have ended."""

    async def talk() -> None:
        app = Together()
        async with serving(app) as served:

            def stop() -> None:
                if how == "stop":
                    served.service.stop()
                else:
                    for connection in list(served.service.connections):
                        connection.abort()

            app.after_each = [lambda: None, stop]
            for caller in await _asking(served, GET):
                assert (await caller.rest()).endswith(b"the answer")

    on_the_loop(talk())
