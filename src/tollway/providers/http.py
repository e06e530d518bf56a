"""HTTP/1.1 to upstreams and engines: as little as a streamed answer needs, because every answer waits for it.

What makes a general client slow on this path (cookies, redirects, sessions, a task and a timer per phase) is not wanted here
anyway: a redirect would take the key to wherever it points. `python -m bench.ledger_overhead` shows what the path costs.
"""

import asyncio
import ipaddress
import re
import ssl
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from socket import IPPROTO_TCP, SO_RCVBUF, SOCK_STREAM, SOL_SOCKET
from typing import Any, Final
from urllib.parse import urlsplit

import aiohappyeyeballs
from msgspec import Struct

from tollway import __version__

_CONNECTION_ATTEMPT_DELAY_SECONDS = 0.25
"""After which a name's next address is tried beside the one before, which may be a black hole (RFC 8305)."""
_KEEP_SECONDS = 30.0
"""How long an unused connection is kept; servers close theirs after a minute or so."""
_UNREAD_BYTES_MAX = 1 << 15
"""What may wait for a slow reader here. The kernel holds back the rest, and has no more room than that either."""
_PIECE_BYTES_MAX = 1 << 14
_UNPACKED_BYTES_MAX = 8 << 20
_HEAD_BYTES_MAX = 1 << 16
_LINE_BYTES_MAX = 1 << 12
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)(?: |\r?$|$)")
_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?")
_DIGITS = re.compile(r"\d{1,18}")

_UNTIL_CLOSE: Final = -1


class CannotConnect(ConnectionError):
    """No connection came about; nothing was sent."""


class BrokenAnswer(ConnectionError):
    """What came is no HTTP, or ended in the middle."""


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
        self._idle: dict[tuple[str, int, bool], list[Connection]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    async def post(self, target: Target, head: bytes, body: bytes) -> "Connection":
        """Sends a POST with a head of `post_head`. As `send` else."""
        more = "" if self._also is None else "".join(f"{name}: {value}\r\n" for name, value in self._also().items())
        return await self.send(target, b"%b%bContent-Length: %d\r\n\r\n%b" % (head, more.encode("latin-1"), len(body), body))

    async def send(self, target: Target, request: bytes) -> "Connection":
        """Sends a request, head and body. Close what comes back, always. Raises CannotConnect."""
        place = (target.host, target.port, target.tls)
        idle = self._idle.get(place)
        while idle:
            connection = idle.pop()
            if not connection.is_lost:
                break
        else:
            connection = await self._connect(target, place)
        self.in_use += 1
        connection.begin(request)
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

    async def _connect(self, target: Target, place: tuple[str, int, bool]) -> "Connection":
        loop = asyncio.get_running_loop()
        connection = Connection(self, place, self._silence_seconds)
        tls: dict[str, Any] = {"ssl": _tls_context(), "server_hostname": target.host} if target.tls else {}
        try:
            async with asyncio.timeout(self._connect_seconds):
                if _is_address(target.host):
                    await loop.create_connection(lambda: connection, target.host, target.port, **tls)
                else:
                    found = await loop.getaddrinfo(target.host, target.port, type=SOCK_STREAM, proto=IPPROTO_TCP)
                    socket = await aiohappyeyeballs.start_connection(
                        found, happy_eyeballs_delay=_CONNECTION_ATTEMPT_DELAY_SECONDS, interleave=1
                    )
                    try:
                        await loop.create_connection(lambda: connection, sock=socket, **tls)
                    except BaseException:
                        socket.close()
                        raise
        except TimeoutError:
            raise CannotConnect(f"no connection within {self._connect_seconds:g} s") from None
        except (OSError, ssl.CertificateError) as error:
            raise CannotConnect(str(error) or type(error).__name__) from error
        return connection

    def take_back(self, connection: "Connection") -> None:
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


class Connection(asyncio.Protocol):
    """One exchange after the other: `head`, then `piece` until it is empty, then `close`.

    Everything raises OSError when the far end breaks off or is silent for too long.
    """

    def __init__(self, client: HttpClient, place: tuple[str, int, bool], silence_seconds: float) -> None:
        self.place = place
        self.is_lost = False
        self.heard_at = 0.0
        """In the event loop's time."""
        self.status = 0
        """0 = the head is not there yet."""
        self.headers: dict[str, str] = {}
        """By lower-case names. What came several times is joined by commas."""
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._silence_seconds = silence_seconds
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._is_paused = False
        self._gathers = False
        self._in_use = False
        self._reset()

    def _reset(self) -> None:
        self._buffer = b""
        self._body = bytearray()
        self._left: int | None = 0  # bytes of the body or of its present chunk; None = the next chunk's size comes next
        self._is_chunked = False
        self._in_trailers = False
        self._may_stay = False
        self._is_complete = False
        self._failure: OSError | None = None
        self._unpack: zlib._Decompress | None = None

    # --- for who exchanges --------------------------------------------------------------------------------------------

    def begin(self, request: bytes) -> None:
        """For HttpClient: sends a request."""
        if self.status:
            self._reset()
            self.status, self.headers = 0, {}
        self._in_use = True
        self.heard_at = self._loop.time()
        if self._watch is None:
            self._watch = self._loop.call_later(self._silence_seconds, self._check_silence)
        if self._transport is None or self.is_lost:
            self._fail(BrokenAnswer("the connection broke at once"))
        else:
            self._transport.write(request)

    async def head(self) -> int:
        """Waits for the head of the answer; its status."""
        while not self.status:
            await self._more()
        return self.status

    async def piece(self, gather_seconds: float = 0) -> bytes:
        """What has come of the body since the last call, or what comes next; empty at its end.

        With `gather_seconds` it waits that long, or for the end: who wants the whole need not be woken for every piece.
        """
        if gather_seconds and not (self._is_complete or self._is_paused or self._failure):
            self._gathers = True
            timer = self._loop.call_later(gather_seconds, self._wake)
            try:
                await self._more()
            finally:
                self._gathers = False
                timer.cancel()
        while not self._body and not self._is_complete:
            await self._more()
        data = bytes(self._body)
        self._body.clear()
        if self._is_paused and self._transport:
            self._is_paused = False
            self.heard_at = self._loop.time()  # the time that the reader took is not the far end's silence
            self._transport.resume_reading()
        return data

    async def rest(self, bytes_max: int | None = None) -> bytes:
        """What is left of the body. Raises BrokenAnswer for more than `bytes_max`."""
        data = bytearray()
        while piece := await self.piece():
            data += piece
            if bytes_max is not None and len(data) > bytes_max:
                raise BrokenAnswer("the answer is too long")
        return bytes(data)

    @property
    def is_read(self) -> bool:
        """Whether the whole body was read."""
        return self._is_complete and not self._body

    @property
    def is_reusable(self) -> bool:
        return self.is_read and self._may_stay and not self.is_lost and self._failure is None and not self._buffer

    def close(self) -> None:
        """Ends the exchange: a connection with nothing left to read is kept for the next one, any other is cut."""
        if self._in_use:
            self._in_use = False
            self._client.take_back(self)

    def abort(self) -> None:
        """Hangs up."""
        self.is_lost = True
        if self._watch is not None:
            self._watch.cancel()
        if self._transport is not None:
            self._transport.abort()

    async def _more(self) -> None:
        if self._failure:
            raise self._failure
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: OSError) -> None:
        self._failure = self._failure or error
        self._wake()

    def _check_silence(self) -> None:
        """Runs once per time limit, not per byte; it outlives exchanges, so that a kept connection needs no new timer."""
        left = self.heard_at + self._silence_seconds - self._loop.time()
        if left <= 0 and self._in_use and not self._is_paused:
            self._fail(TimeoutError("the far end is silent"))
        else:
            wait = left if left > 0 else self._silence_seconds
            self._watch = self._loop.call_later(max(wait, 0.01), self._check_silence)

    # --- what the event loop calls ------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_RCVBUF, _UNREAD_BYTES_MAX)

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._loop.time()
        if not self._in_use:  # nobody asked: whatever it is, it is no answer
            self.abort()
            return
        self._buffer = self._buffer + data if self._buffer else data
        try:
            while not self.status and self._read_head():
                pass
            if self.status and not self._is_complete:
                self._read_body()
        except (ValueError, zlib.error) as problem:
            self._fail(BrokenAnswer(f"the answer is no HTTP: {problem}"))
            return
        if len(self._body) > _UNREAD_BYTES_MAX and self._transport and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        if self.status and (self._is_complete or self._is_paused or (self._body and not self._gathers)):
            self._wake()

    def eof_received(self) -> bool:
        return False  # close; `connection_lost` comes next

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self._watch is not None:
            self._watch.cancel()
        if self.status and not self._is_complete and self._left == _UNTIL_CLOSE and exc is None:
            self._is_complete = True
            self._wake()
        elif not self._is_complete:
            self._fail(exc if isinstance(exc, OSError) else BrokenAnswer("the connection broke off"))

    # --- the answer ---------------------------------------------------------------------------------------------------

    def _read_head(self) -> bool:
        """Reads one head. True = it was an interim one (103 and its like) and more has come."""
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            if len(head) > _HEAD_BYTES_MAX:
                raise ValueError("an endless head")
            return False
        self._buffer = rest
        first, _, lines = head.partition(b"\r\n")
        line = _STATUS_LINE.match(first)
        if line is None:
            raise ValueError("no status line")
        status = int(line[2])
        if status < 200:
            if status == 101:
                raise ValueError("an upgrade that nobody asked for")
            return bool(rest)
        for name, value in _fields(lines):
            self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value
        self._measure_body(status, old=line[1] == b"0")
        self.status = status
        self._wake()
        return False

    def _measure_body(self, status: int, *, old: bool) -> None:
        headers = self.headers
        coding = headers.get("transfer-encoding", "").lower()
        options = headers.get("connection", "").lower()
        self._may_stay = "close" not in options and (not old or "keep-alive" in options)
        packing = headers.get("content-encoding", "identity").lower()
        if packing in ("gzip", "x-gzip", "deflate"):  # we ask for plain text; some do not listen
            self._unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        elif packing not in ("identity", ""):
            raise ValueError("a content encoding that nobody asked for")
        if status in (204, 304):
            self._left, self._is_complete = 0, True
        elif coding:
            if coding.rpartition(",")[2].strip() != "chunked":
                raise ValueError("an unknown transfer encoding")
            self._is_chunked, self._left = True, None
            self._may_stay &= "content-length" not in headers  # both are an attempt to smuggle, or a fault
        elif "content-length" in headers:
            lengths = {each.strip() for each in headers["content-length"].split(",")}
            length = lengths.pop()
            if lengths or not _DIGITS.fullmatch(length):
                raise ValueError("a length that is none")
            self._left = int(length)
            self._is_complete = self._left == 0
        else:
            self._left, self._may_stay = _UNTIL_CLOSE, False

    def _read_body(self) -> None:
        data, at = self._buffer, 0
        if self._left is None and not self._in_trailers:
            at = self._read_whole_chunks(data)
        while not self._is_complete and at < len(data):
            if self._left is None or self._in_trailers:
                end = data.find(b"\r\n", at)
                if end < 0:
                    if len(data) - at > _LINE_BYTES_MAX:
                        raise ValueError("an endless line")
                    break
                line, at = data[at:end], end + 2
                if self._in_trailers:
                    self._is_complete = not line
                    continue
                self._left = _chunk_size(line)
                self._in_trailers = self._left == 0
            elif self._is_chunked and self._left == 0:  # the line end after a chunk
                if len(data) < at + 2:
                    break
                if data[at : at + 2] != b"\r\n":
                    raise ValueError("a chunk that is too long")
                at, self._left = at + 2, None
            else:
                taken = len(data) - at if self._left == _UNTIL_CLOSE else min(self._left, len(data) - at)
                self._add(data[at : at + taken])
                at += taken
                if self._left != _UNTIL_CLOSE:
                    self._left -= taken
                    self._is_complete = self._left == 0 and not self._is_chunked
        self._buffer = data[at:]

    def _read_whole_chunks(self, data: bytes) -> int:
        """Takes the chunks that are all there, up to the last one; where the rest begins."""
        at = 0
        while (end := data.find(b"\r\n", at)) >= 0:
            size = _chunk_size(data[at:end])
            after = end + 2 + size
            if not size or data[after : after + 2] != b"\r\n":
                break  # the last one, one that is not whole yet, or one that is wrong
            self._add(data[end + 2 : after])
            at = after + 2
        return at

    def _add(self, data: bytes) -> None:
        if self._unpack is not None:
            data = self._unpack.decompress(data, _UNPACKED_BYTES_MAX)
            if self._unpack.unconsumed_tail:
                raise ValueError("a piece that unpacks to megabytes")
        self._body += data


@lru_cache(maxsize=1024)
def _chunk_size(line: bytes) -> int:
    size = _SIZE.fullmatch(line)
    if size is None:
        raise ValueError("no chunk size")
    return int(size[1], 16)


def _fields(lines: bytes) -> Iterator[tuple[str, str]]:
    for line in lines.split(b"\r\n"):
        if not line:
            continue
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise ValueError("a header line that is none")
        yield name.lower().decode("latin-1"), value.strip().decode("latin-1")


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
