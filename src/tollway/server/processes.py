"""The main process: it holds the listening socket, and sees to it that there are as many workers as there should be.

The workers share the socket. What waits in its queue when a worker dies is taken by another, or by its successor; a socket for
each would lose it. They are forked, so that they begin at once and share the memory of what is loaded.
"""

import contextlib
import gc
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog

from tollway.server.accepting import Counts


@dataclass(frozen=True)
class Place:
    """What a worker is given by the main process."""

    number: int
    counts: Counts
    listening: socket.socket
    """Shared by all; nobody listens on it before the first one does."""
    lifeline: socket.socket
    """Ends with the main process, which waits for a byte on it that says that the worker is ready."""


Work = Callable[[Place], None]
"""What a worker does, until it is told to stop."""

_LASTING_SECONDS = 5.0
"""A worker that dies sooner counts as one that cannot start."""
_PAUSE_SECONDS_MIN, _PAUSE_SECONDS_MAX = 0.25, 30.0
_TRIES_MAX = 5
"""So often the first workers may die at their start before it is given up."""
_SECOND_SIGNAL_SECONDS = 1.0
"""A signal that comes sooner is the same one: a terminal tells the whole group, and who started us may pass it on."""
_STOPPING = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger()


class CannotStart(Exception):
    """No worker has ever been ready."""


@dataclass
class _Worker:
    pid: int
    lifeline: socket.socket
    """Ends when the worker does, and a byte comes when it is ready."""
    began: float
    is_ready: bool = False


class Processes:
    """`run` starts the workers and returns when they have been told to stop, and have."""

    def __init__(self, work: Work, listening: socket.socket, count: int, *, stop_seconds: float) -> None:
        """`stop_seconds` after they were told to stop workers are killed."""
        self._work = work
        self._listening = listening
        self._stop_seconds = stop_seconds
        self._counts = Counts(count)
        self._workers: dict[int, _Worker] = {}  # by their place
        self._due: dict[int, float] = dict.fromkeys(range(count), 0.0)
        """When the worker of a place is to be started; places whose worker lives are not in it."""
        self._failures = dict.fromkeys(range(count), 0)
        self._was_ready = False
        self._is_stopping = False
        self._stop_signals: list[float] = []
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """To be called in the main thread. Raises CannotStart. Once told to stop, it leaves SIGTERM and SIGINT ignored."""
        with self._selector, self._signals():
            try:
                while not self._stop_signals:
                    self._start_due()
                    self._wait(min(self._due.values(), default=None))
            finally:
                self._stop()

    def _start_due(self) -> None:
        now = time.monotonic()
        for place in [place for place, at in self._due.items() if at <= now]:
            del self._due[place]
            try:
                worker = self._fork(place, now)
            except OSError as error:  # out of processes, memory or descriptors
                log.error("worker_not_started", error=str(error), again_seconds=self._put_off(place, now))
                continue
            self._workers[place] = worker
            self._selector.register(worker.lifeline, selectors.EVENT_READ, place)

    def _put_off(self, place: int, now: float, *, lasted: bool = False) -> float:
        """Has a place get another worker, after the pause in seconds that is returned. Raises CannotStart."""
        failures = self._failures[place] = 0 if lasted else self._failures[place] + 1
        if failures >= _TRIES_MAX and not self._was_ready:
            raise CannotStart
        # the first one at once: it may have been killed
        pause = 0.0 if failures < 2 else min(_PAUSE_SECONDS_MAX, _PAUSE_SECONDS_MIN * 2 ** (failures - 2))
        self._due[place] = now + pause
        return pause

    def _wait(self, until: float | None) -> None:
        """Sees to what happens next, until then at the latest."""
        seconds = None if until is None else max(0.0, until - time.monotonic())
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                key.fileobj.recv(4096)  # type: ignore[union-attr]
            elif (worker := self._workers[key.data]).lifeline.recv(1):
                worker.is_ready = self._was_ready = True
            else:
                self._bury(key.data, worker)

    def _bury(self, place: int, worker: _Worker) -> None:
        self._selector.unregister(worker.lifeline)
        worker.lifeline.close()
        self._counts.away(place)
        del self._workers[place]
        _, status = os.waitpid(worker.pid, 0)
        if self._is_stopping:
            return
        now = time.monotonic()
        pause = self._put_off(place, now, lasted=worker.is_ready and now - worker.began >= _LASTING_SECONDS)
        code = os.waitstatus_to_exitcode(status)
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        log.error("worker_died", pid=worker.pid, how=how, again_seconds=pause)

    def _stop(self) -> None:
        """Tells the workers, waits for them, and ends those that take too long."""
        self._is_stopping = True
        self._listening.close()
        self._signal_all(signal.SIGTERM)
        killing: float | None = time.monotonic() + self._stop_seconds
        told = len(self._stop_signals)
        while self._workers:
            self._wait(killing)
            if killing is not None and (len(self._stop_signals) > told or time.monotonic() >= killing):
                log.warning("workers_killed", workers=len(self._workers))
                self._signal_all(signal.SIGKILL)
                killing = None

    def _signal_all(self, number: int) -> None:
        for worker in self._workers.values():
            os.kill(worker.pid, number)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Has SIGTERM and SIGINT wake `_wait`. SIGHUP is the affair of who has started this process."""
        woken, waking = socket.socketpair()
        woken.setblocking(False)
        waking.setblocking(False)
        self._waking = waking

        def wake() -> None:
            with contextlib.suppress(BlockingIOError):  # it is awake
                waking.send(b".")

        def stop(*_: object) -> None:
            now = time.monotonic()
            if not self._stop_signals or now - self._stop_signals[-1] >= _SECOND_SIGNAL_SECONDS:
                self._stop_signals.append(now)
            wake()

        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever starts us may ignore it, and then no worker is waited for
        before = {number: signal.signal(number, stop) for number in _STOPPING}
        self._selector.register(woken, selectors.EVENT_READ, None)
        try:
            yield
        finally:
            for number, handler in before.items():  # who is ending already, and told so again, still ends in good order
                signal.signal(number, signal.SIG_IGN if self._stop_signals else handler)
            self._selector.unregister(woken)
            woken.close()
            waking.close()

    def _fork(self, place: int, now: float) -> _Worker:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        gc.freeze()  # a collection in the worker would write to, and so copy, what it shares with this process
        # a signal that came between the fork and the worker's own handlers would be answered by ours
        signal.pthread_sigmask(signal.SIG_BLOCK, {*_STOPPING, signal.SIGHUP})
        try:
            pid = os.fork()
            if pid == 0:
                self._be_worker(ours, Place(place, self._counts, self._listening, theirs))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {*_STOPPING, signal.SIGHUP})
            gc.unfreeze()
            theirs.close()
        return _Worker(pid, ours, now)

    def _be_worker(self, ours: socket.socket, place: Place) -> None:
        """Never returns: what lies below on the stack is the main process's."""
        code = 1
        try:
            for number in _STOPPING:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # also when the whole group is told
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {*_STOPPING, signal.SIGHUP})
            ours.close()
            for key in list(self._selector.get_map().values()):  # the others' lifelines: they must end with the main process
                key.fileobj.close()  # type: ignore[union-attr]
            self._selector.close()
            self._waking.close()
            self._work(place)
            code = 0
        except BaseException:  # noqa: BLE001 - the process ends here, whatever it was
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
