"""Taking turns between processes."""

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path


class TurnError(Exception):
    """It did not become our turn; the message says why."""


@contextlib.contextmanager
def turn(path: Path, seconds_max: float | None = None) -> Iterator[None]:
    """Holds the exclusive lock on a file, which is made if need be. Blocks; raises TurnError, after at most `seconds_max`.

    The operating system hands the lock to one that waits as soon as it is free, and lets go of it when its holder dies.
    """
    handle = _opened(path)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _wait(handle, path, seconds_max)
        yield
    finally:
        os.close(handle)


class QuickTurn:
    """A turn for those who do not wait. The file stays open from one to the next: opening it costs more than the lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1
        self._process = 0  # that has opened it

    def take(self) -> bool:
        """Whether it is ours now, until `give_back`. Raises TurnError where there can be no file."""
        if self._process != os.getpid():  # a lock belongs to all who have the handle, and a fork would share it
            self._handle, self._process = _opened(self._path), os.getpid()
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def give_back(self) -> None:
        fcntl.flock(self._handle, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._process == os.getpid():
            os.close(self._handle)
        self._handle, self._process = -1, 0


def shared(path: Path) -> int:
    """A handle that holds a shared lock on a file until it is closed. Raises TurnError when somebody has it for himself."""
    handle = _opened(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise TurnError(f"{path}: the database is being replaced") from None
    return handle


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise TurnError(f"{path}: {error.strerror}") from None


def _wait(handle: int, path: Path, seconds_max: float | None) -> None:
    """A thread waits, because flock knows no time limit. If it takes too long, the thread is left behind and lets go."""
    if seconds_max is None:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return
    same, ours = os.dup(handle), threading.Event()

    def wait() -> None:
        try:
            fcntl.flock(same, fcntl.LOCK_EX)
            ours.set()
        finally:
            os.close(same)  # the lock goes with the last handle

    threading.Thread(target=wait, daemon=True, name="database-turn").start()
    if not ours.wait(seconds_max):
        raise TurnError(f"{path}: another process has held the lock for {seconds_max:g} s")
