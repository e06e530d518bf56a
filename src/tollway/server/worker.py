"""One of the processes that answer: an event loop, the application's lifespan, the socket that it shares, and the end."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
import uvloop

from tollway.server.accepting import Accepting
from tollway.server.processes import Place
from tollway.server.service import App, Limits, Message, Refuse, Service

CUT_SECONDS = 5.0
"""What runs on after the drain window has so long to say so to its caller."""
_BACKLOG = 2048

log = structlog.get_logger()


class Worker:
    """Runs an application until it is told to stop, by SIGTERM or SIGINT, or because the main process is gone."""

    def __init__(self, place: Place, limits: Limits, refuse: Refuse, drain_seconds: float) -> None:
        self._place = place
        self._limits = limits
        self._refuse = refuse
        self._drain_seconds = drain_seconds
        self._told: list[Callable[[], Coroutine[Any, Any, None]]] = []

    def when_stopped(self, begin: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Has it run as soon as the process is told to stop, while answers still go on."""
        self._told.append(begin)

    def run(self, make: Callable[["Worker"], App]) -> None:
        """Blocks. Raises what the application's start does."""
        app = make(self)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve(app))

    async def _serve(self, app: App) -> None:
        loop, place = asyncio.get_running_loop(), self._place
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        loop.add_reader(place.lifeline, stopped.set)  # nothing is ever sent on it: it is at its end
        lifespan = Lifespan(app)
        if not await lifespan.started(stopped):
            return
        service = Service(app, self._limits, self._refuse, lifespan.state)
        place.listening.listen(_BACKLOG)
        accepting = Accepting(service, place.listening, place.counts, place.number)
        place.lifeline.send(b"r")
        await stopped.wait()
        loop.remove_reader(place.lifeline)
        accepting.close()
        service.stop()
        draining = [loop.create_task(begin()) for begin in self._told]
        try:
            await asyncio.wait_for(service.emptied(), self._drain_seconds + CUT_SECONDS)
        except TimeoutError:
            log.warning("requests_cut", requests=len(service.running))
            await service.cut()
        if draining:
            await asyncio.wait(draining)
        service.close()
        await lifespan.ended()


class Lifespan:
    """What an application does before the first request and after the last."""

    def __init__(self, app: App) -> None:
        self.state: dict[str, Any] = {}
        """What the application wants each request to have."""
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        self._running = asyncio.ensure_future(app(scope, self._to_app.get, self._from_app.put))
        self._running.add_done_callback(lambda _: self._from_app.put_nowait({"type": "it ended"}))

    async def started(self, stopped: asyncio.Event) -> bool:
        """False when it was `stopped` before it was ready. Raises RuntimeError when it failed."""
        starting = asyncio.create_task(self._passes("startup"))
        stopping = asyncio.create_task(stopped.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if starting.done():
            starting.result()
            return True
        starting.cancel()
        self._running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._running
        return False

    async def ended(self) -> None:
        """Raises RuntimeError when it failed."""
        await self._passes("shutdown")
        await self._running

    async def _passes(self, phase: str) -> None:
        self._to_app.put_nowait({"type": f"lifespan.{phase}"})
        told = await self._from_app.get()
        if told["type"] != f"lifespan.{phase}.complete":
            raise RuntimeError(f"the application's {phase} failed: {told.get('message') or told['type']}")
