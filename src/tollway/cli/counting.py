"""The folder in which several worker processes count together, for `/metrics`."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - the folders in it are made anew, for nobody else
_PREFIX = "tollway-metrics-"


def place_to_count() -> Path:
    """In memory where there is such a place: a full disk must stop no request."""
    return _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())


@contextlib.contextmanager
def counting_folder(place: Path) -> Iterator[Path]:
    """A folder of our own below `place`, which is gone at the end. Those of servers that were killed are removed first.

    The server and its workers hold a shared lock on it, the workers in `Metrics`, which the system lets go of when they die.
    """
    _remove_left_behind(place)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=place) as folder:
        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield Path(folder)
        finally:
            os.close(lock)


def _remove_left_behind(place: Path) -> None:
    for folder in place.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else's, or in use
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                # an empty one may have been made just now, and be locked in a moment
                if os.fstat(handle).st_uid == os.geteuid() and any(folder.iterdir()):
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
            finally:
                os.close(handle)
