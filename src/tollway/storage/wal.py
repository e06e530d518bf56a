"""SQLite's write-ahead log, as far as somebody must know whether the disk has it."""

import os
from pathlib import Path

_sync = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter


class WriteAheadLog:
    """The log of one file, watched by one process.

    Linux tells each handle once of what could not be written since it was opened, and one that is opened after others were
    told nothing at all. So ours is opened before this process writes and stays open: that SQLite's own handle or another
    process heard of a fault first keeps nothing from us. Closing it takes nobody's locks, for SQLite has none on this file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_doubtful = False
        """The disk has refused something, and what it has of the log is not known."""
        self._handle = -1
        self._process = 0  # that has opened it: a report goes to one of those who share a handle

    def open(self) -> None:
        """Call it before writing what a `sync` is to be believed about. Raises OSError.

        Another file is made once the last connection was closed, which deletes this one. That is looked at here, because each
        system call of the thread that syncs is another fight for Python's lock.
        """
        if self._handle >= 0 and self._process == os.getpid() and os.fstat(self._handle).st_nlink:
            return
        self.close()
        try:
            self._handle, self._process = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC), os.getpid()
        except FileNotFoundError:
            return  # all that it had is in the database's file

    def sync(self) -> None:
        """Waits until the disk has what was written. Raises OSError, and is doubtful from then on."""
        try:
            if self._handle < 0:
                self.open()
            if self._handle >= 0:
                _sync(self._handle)
        except OSError:
            self.is_doubtful = True
            raise

    def close(self) -> None:
        if self._handle >= 0 and self._process == os.getpid():
            os.close(self._handle)
        self._handle = -1
