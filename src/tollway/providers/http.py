"""HTTP/1.1 to upstreams and engines: as little as a streamed answer needs, because every answer waits for it.

What makes a general client slow on this path (cookies, redirects, sessions, a task and a timer per phase) is not wanted here
anyway: a redirect would take the key to wherever it points. `python -m bench.ledger_overhead` shows what the path costs.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any
from urllib.parse import urlsplit

import aiohappyeyeballs
from msgspec import Struct

from tollway import __version__
from tollway.outbox import Outbox
from tollway.providers.http_connection import Connection

_CONNECTION_ATTEMPT_DELAY_SECONDS = 0.25
"""After which a name's next address is tried beside the one before, which may be a black hole (RFC 8305)."""
_LOOKUPS_MAX = 16
_KEEP_SECONDS = 30.0
"""How long an unused connection is kept; servers close theirs after a minute or so."""


_STALE_SECONDS_MAX = 5.0
"""How soon a connection that was closed before shows it. What breaks later was being worked at."""


class CannotConnect(ConnectionError):
    """No connection came about; nothing was sent."""


class Target(Struct, frozen=True):
    """Where a URL leads."""

    host: str
    port: int
    tls: bool
    path: str
    """With the query."""
    host_header: str


@lru_cache(maxsize=1024)
def target_of(url: str) -> Target:
    """The target of an http or https URL in ASCII. Credentials in it are not sent."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    host = parts.hostname or ""
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    shown = f"[{host}]" if ":" in host else host
    return Target(host, parts.port or (443 if tls else 80), tls, path, shown if parts.port is None else f"{shown}:{parts.port}")


def post_head(target: Target, headers: Mapping[str, str]) -> bytes:
    """The head of a POST of JSON; what depends on the body is missing yet."""
    usual = {
        "Host": target.host_header,
        "Content-Type": "application/json",
        "Accept": "text/event-stream, application/json",
        "Accept-Encoding": "identity",
        "User-Agent": f"tollway/{__version__}",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in (usual | dict(headers)).items())
    return f"POST {target.path} HTTP/1.1\r\n{lines}".encode("latin-1")


class HttpClient:
    """Connections, used again where the far end allows it. One instance serves one process."""

    def __init__(
        self,
        *,
        silence_seconds: float,
        connect_seconds: float,
        keep: bool = True,
        also: Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        """`silence_seconds` without a byte end an exchange. Without `keep` each exchange has a connection of its own.

        `also` gives headers that `post` adds to each request.
        """
        self._also = also
        self._silence_seconds = silence_seconds
        self._connect_seconds = connect_seconds
        self._keep = keep
        self.in_use = 0
        """Exchanges that are not closed yet."""
        self._outbox = Outbox()
        self._idle: dict[tuple[str, int, bool], list[Connection]] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._lookups: dict[tuple[str, int], asyncio.Future[Sequence[aiohappyeyeballs.AddrInfoType]]] = {}
        self._names = ThreadPoolExecutor(_LOOKUPS_MAX, thread_name_prefix="upstream-names")  # starts none before it needs one

    async def post(self, target: Target, head: bytes, body: bytes) -> Connection:
        """Sends a POST with a head of `post_head` and waits for the answer's head. Close what comes back. Raises OSError.

        A kept connection that breaks before anything has come is most likely one that the far end closed a moment ago, as
        servers do with idle ones. That is no failure of an upstream, and the request was hardly read: it is sent once more, on
        a new connection, as browsers do.
        """
        more = "" if self._also is None else "".join(f"{name}: {value}\r\n" for name, value in self._also().items())
        request = b"%b%bContent-Length: %d\r\n\r\n%b" % (head, more.encode("latin-1"), len(body), body)
        connection = await self.send(target, request)
        try:
            return await _answering(connection)
        except ConnectionError:
            seconds = asyncio.get_running_loop().time() - connection.heard_at
            if not connection.may_be_stale or seconds > _STALE_SECONDS_MAX:
                raise
        return await _answering(await self.send(target, request, anew=True))

    async def send(self, target: Target, request: bytes, *, anew: bool = False) -> Connection:
        """Sends a request, head and body; `anew`: on a new connection. Close what comes back, always. Raises CannotConnect."""
        place = (target.host, target.port, target.tls)
        idle = None if anew else self._idle.get(place)
        while idle:
            connection = idle.pop()
            if not connection.is_lost:
                break
        else:
            connection = await self._connect(target, place)
        self.in_use += 1
        connection.begin(request, self._outbox)
        return connection

    @property
    def kept(self) -> int:
        """Connections that wait for the next exchange."""
        return sum(map(len, self._idle.values()))

    def close(self) -> None:
        """Closes the connections that are not in use."""
        if self._sweep is not None:
            self._sweep.cancel()
        for idle in self._idle.values():
            for connection in idle:
                connection.abort()
        self._idle.clear()

    async def _connect(self, target: Target, place: tuple[str, int, bool]) -> Connection:
        loop = asyncio.get_running_loop()
        connection = Connection(place, self._silence_seconds, self.take_back)
        tls: dict[str, Any] = {"ssl": _tls_context(), "server_hostname": target.host} if target.tls else {}
        try:
            async with asyncio.timeout(self._connect_seconds):
                if _is_address(target.host):
                    await loop.create_connection(lambda: connection, target.host, target.port, **tls)
                else:
                    found = await self._addresses(target.host, target.port)
                    connected = await aiohappyeyeballs.start_connection(
                        found, happy_eyeballs_delay=_CONNECTION_ATTEMPT_DELAY_SECONDS, interleave=1
                    )
                    try:
                        await loop.create_connection(lambda: connection, sock=connected, **tls)
                    except BaseException:
                        connected.close()
                        raise
        except TimeoutError:
            raise CannotConnect(f"no connection within {self._connect_seconds:g} s") from None
        except (OSError, ssl.CertificateError) as error:
            raise CannotConnect(str(error) or type(error).__name__) from error
        return connection

    async def _addresses(self, host: str, port: int) -> Sequence[aiohappyeyeballs.AddrInfoType]:
        """Of a name. Who needs the same ones meanwhile waits for the same lookup, which has a thread of our own: one whose
        servers are silent takes half a minute, and the event loop has so few threads for it that all other names would wait.
        """
        lookup = self._lookups.get((host, port))
        if lookup is None:
            look = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
            lookup = self._lookups[host, port] = asyncio.get_running_loop().run_in_executor(self._names, look)
            lookup.add_done_callback(lambda _: self._lookups.pop((host, port)))
        return await asyncio.shield(lookup)

    def take_back(self, connection: Connection) -> None:
        """Keeps a connection whose exchange is over, or hangs up."""
        self.in_use -= 1
        if not (self._keep and connection.is_reusable):
            connection.abort()
            return
        self._idle.setdefault(connection.place, []).append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_KEEP_SECONDS, self._drop_old)

    def _drop_old(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        oldest = loop.time() - _KEEP_SECONDS
        for place, idle in list(self._idle.items()):
            for connection in idle:
                if connection.heard_at < oldest:
                    connection.abort()
            idle[:] = [connection for connection in idle if not connection.is_lost]
            if not idle:
                del self._idle[place]
        if self._idle:
            self._sweep = loop.call_later(_KEEP_SECONDS / 2, self._drop_old)


async def _answering(connection: Connection) -> Connection:
    """Once the head of its answer is there."""
    try:
        await connection.head()
    except BaseException:
        connection.close()
        raise
    return connection


@lru_cache(maxsize=256)
def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1)
def _tls_context() -> ssl.SSLContext:
    return ssl.create_default_context()
