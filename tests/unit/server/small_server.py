"""`python -m tests.unit.server.small_server PORT WORKERS HOW`: an application that says which process answers.

HOW it goes: it `runs`, `fails` at its start, `hangs` there; `children-ignored`: whoever started it has their ends ignored;
`no-room`: there is room for another process only every third time.
"""

import asyncio
import errno
import itertools
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from tests.unit.server.talking import answer

from tollway.server import CannotStart, Limits, Place, Processes, Worker
from tollway.server.service import Message, plainly

DRAIN_SECONDS = 2.0


class Application:
    def __init__(self, how: str, worker: Worker) -> None:
        self._how = how
        self._stopped = asyncio.Event()
        worker.when_stopped(self._stop)

    async def _stop(self) -> None:
        self._stopped.set()

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["path"] == "/until-stopped":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await self._stopped.wait()
            await asyncio.sleep(0.2)
            await send({"type": "http.response.body", "body": b"stopped"})
        elif scope["path"] == "/endless":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await asyncio.sleep(60)
        else:
            await answer(send, b"%d" % os.getpid())

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        if self._how == "fails":
            await send({"type": "lifespan.startup.failed", "message": "as it was told"})
            return
        if self._how == "hangs":
            print("hangs", flush=True)
            await asyncio.sleep(60)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("ended", flush=True)
        await send({"type": "lifespan.shutdown.complete"})


def _sometimes(fork: Callable[[], int]) -> Callable[[], int]:
    calls = itertools.count()

    def fails_or_forks() -> int:
        if next(calls) % 3:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return fork()

    return fails_or_forks


def main() -> None:
    port, workers, how = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))

    def work(place: Place) -> None:
        Worker(place, Limits(), plainly, DRAIN_SECONDS).run(lambda worker: Application(how, worker))

    if how == "children-ignored":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if how == "no-room":
        os.fork = _sometimes(os.fork)
    signal.signal(signal.SIGHUP, lambda *_: print("hang up", flush=True))
    try:
        Processes(work, listening, workers, stop_seconds=DRAIN_SECONDS + 15).run()
    except CannotStart:
        sys.exit("cannot start")


if __name__ == "__main__":
    main()
