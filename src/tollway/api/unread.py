"""Callers who do not read their answers, and those whose network is gone: the kernel closes their connections.

A stalled caller costs its answer's queue and a place at the upstream for as long as it stays. The HTTP server waits for it
without an end, and nothing above the socket can see the difference between a slow caller and a stalled one, so the listening
socket tells the kernel (TCP_USER_TIMEOUT, of Linux); the connections that it accepts inherit that. To the application it is a
caller who has left.
"""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

_LOOK_SECONDS = 0.05


async def cut_unread(port: int, seconds: float) -> None:
    """Sets the limit once this process listens on `port`, which the HTTP server begins after the application has started."""
    if not hasattr(socket, "TCP_USER_TIMEOUT"):
        return
    while not _set_on_listeners(port, round(seconds * 1000)):  # noqa: ASYNC110 - nothing tells when the server listens
        await asyncio.sleep(_LOOK_SECONDS)


def _set_on_listeners(port: int, milliseconds: int) -> bool:
    """Whether this process listens on the port. No descriptor is duplicated or closed here: closing one of a file's would take
    SQLite's locks from it.
    """
    found = False
    for path in Path("/dev/fd").iterdir():
        with suppress(OSError):  # closed meanwhile, such as the descriptor of this very listing, or no socket
            one = socket.socket(fileno=int(path.name))
            try:
                if _listens(one, port):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
                    found = True
            finally:
                one.detach()
    return found


def _listens(one: socket.socket, port: int) -> bool:
    if one.family not in {socket.AF_INET, socket.AF_INET6} or one.type != socket.SOCK_STREAM:
        return False
    return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) and one.getsockname()[1] == port
