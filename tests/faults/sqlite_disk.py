"""SQLite's disk, watched and made to fail: a VFS shim around the one that SQLite uses, in the library that Python has loaded.

Everything that SQLite writes goes through it: database, write-ahead log, journal. (The `-shm` file is memory: SQLite makes it
anew.) So does the sync of the log that Tollway makes itself. `Disk.install` makes it the default for all that this process
opens from then on, so install it in a process of its own.
"""

import ctypes as c
import ctypes.util
import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tollway.storage import wal

SQLITE_OK, SQLITE_FULL, SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC = 0, 13, 10 | (3 << 8), 10 | (4 << 8)
_POINTER, _INT64 = c.c_void_p, c.c_int64


class _Methods(c.Structure):
    """sqlite3_io_methods."""

    _fields_ = (
        ("version", c.c_int),
        *((name, _POINTER) for name in ("close", "read", "write", "truncate", "sync", "size", "lock", "unlock", "reserved")),
        *((name, _POINTER) for name in ("control", "sector_size", "characteristics", "shm_map", "shm_lock", "shm_barrier")),
        *((name, _POINTER) for name in ("shm_unmap", "fetch", "unfetch")),
    )


class _Vfs(c.Structure):
    """sqlite3_vfs."""

    _fields_ = (
        ("version", c.c_int),
        ("file_size", c.c_int),
        ("path_max", c.c_int),
        ("next", _POINTER),
        ("name", c.c_char_p),
        ("app_data", _POINTER),
        *((name, _POINTER) for name in ("open", "delete", "access", "full_path", "dl_open", "dl_error", "dl_sym", "dl_close")),
        *(
            (name, _POINTER)
            for name in ("random", "sleep", "time", "last_error", "time64", "set_call", "get_call", "next_call")
        ),
    )


class _File(c.Structure):
    """sqlite3_file."""

    _fields_ = (("methods", c.POINTER(_Methods)),)


# the path stays a pointer: SQLite keeps it, so it must be SQLite's own memory
_OPEN = c.CFUNCTYPE(c.c_int, _POINTER, _POINTER, c.POINTER(_File), c.c_int, c.POINTER(c.c_int))
_WRITE = c.CFUNCTYPE(c.c_int, _POINTER, _POINTER, c.c_int, _INT64)
_TRUNCATE = c.CFUNCTYPE(c.c_int, _POINTER, _INT64)
_SYNC = c.CFUNCTYPE(c.c_int, _POINTER, c.c_int)


@dataclass(frozen=True)
class Event:
    """What happened to a file; a mark of the test's own has no file."""

    what: str
    file: str = ""
    offset: int = 0
    data: bytes = b""


@dataclass
class Disk:
    """`events` are all so far, in order. `fails` is asked before each: an error code instead of doing it, or 0."""

    events: list[Event] = field(default_factory=list)
    fails: Callable[[Event], int] = lambda _: SQLITE_OK
    _keep: list[Any] = field(default_factory=list)
    _files: dict[int, str] = field(default_factory=dict)
    _wrapped: dict[int, Any] = field(default_factory=dict)

    def install(self) -> None:
        library = c.CDLL(ctypes.util.find_library("sqlite3") or "libsqlite3.so.0")
        library.sqlite3_vfs_find.restype = c.POINTER(_Vfs)
        library.sqlite3_vfs_find.argtypes = (c.c_char_p,)
        library.sqlite3_vfs_register.argtypes = (c.POINTER(_Vfs), c.c_int)
        old = library.sqlite3_vfs_find(None)
        new = _Vfs.from_buffer_copy(old.contents)
        new.name = b"watched"
        really_open = _OPEN(old.contents.open)

        def open_(vfs: int, path: int | None, file: Any, flags: int, flags_out: Any) -> int:
            code: int = really_open(vfs, path, file, flags, flags_out)
            if code == SQLITE_OK and path is not None:
                self._watch(file, c.string_at(path).decode())
            return code

        callback = _OPEN(open_)
        self._keep += [new, callback, library]
        new.open = c.cast(callback, _POINTER)
        if library.sqlite3_vfs_register(c.byref(new), 1) != SQLITE_OK:
            raise OSError("SQLite does not take the shim")

        wal._sync = self._sync_log

    def _sync_log(self, handle: int) -> None:
        """Only what was written before it began is certain afterwards, so that is where it stands among the events."""
        event = Event("sync", str(Path(f"/proc/self/fd/{handle}").readlink()))
        if self.fails(event):
            raise OSError(errno.EIO, "the disk fails")
        self.events.append(event)

    def mark(self, what: str) -> None:
        self.events.append(Event(what))

    def _watch(self, file: Any, path: str) -> None:
        """Puts our methods in the place of the file's own, once for each table of methods."""
        methods = file.contents.methods
        self._files[c.addressof(file.contents)] = path
        address = c.addressof(methods.contents)
        if address not in self._wrapped:
            self._wrapped[address] = self._methods(methods.contents)
        file.contents.methods = c.pointer(self._wrapped[address])

    def _methods(self, old: _Methods) -> _Methods:
        new = _Methods.from_buffer_copy(old)
        write, truncate, sync = _WRITE(old.write), _TRUNCATE(old.truncate), _SYNC(old.sync)

        def write_(file: int, data: int, size: int, offset: int) -> int:
            event = Event("write", self._files[file], offset, c.string_at(data, size))
            return self._do(event, lambda: write(file, data, size, offset))

        def truncate_(file: int, size: int) -> int:
            return self._do(Event("truncate", self._files[file], size), lambda: truncate(file, size))

        def sync_(file: int, flags: int) -> int:
            return self._do(Event("sync", self._files[file]), lambda: sync(file, flags))

        callbacks = _WRITE(write_), _TRUNCATE(truncate_), _SYNC(sync_)
        self._keep += [*callbacks, write, truncate, sync]
        new.write, new.truncate, new.sync = (c.cast(callback, _POINTER) for callback in callbacks)
        return new

    def _do(self, event: Event, really: Callable[[], int]) -> int:
        code = self.fails(event)
        if code == SQLITE_OK:
            code = really()
        if code == SQLITE_OK:
            self.events.append(event)
        return code
