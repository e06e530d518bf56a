"""One HTTP exchange with an engine: as little as llama.cpp's server on the loopback needs, because every answer waits for it.

Each exchange has a connection of its own. Connecting costs a fraction of a millisecond there, while a connection kept open
would hold one of the engine's threads, and would now and then be closed by it just as we use it.
"""

import asyncio
import re

CONNECT_SECONDS_MAX = 5
SILENCE_SECONDS_MAX = 300
"""Long enough for prompts of a full context ahead in the queue; a healthy engine speaks far earlier."""
_UNREAD_BYTES_MAX = 1 << 20
_HEAD_BYTES_MAX = 1 << 16

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


class Exchange(asyncio.Protocol):
    """A request and its answer: `open`, `status`, then `piece` until it is empty. `close` ends it at any time, and always must.

    Everything raises OSError when the engine cannot be reached, breaks off or is silent for too long.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._status = 0  # 0 = the head is not there yet
        self._left: int | None = 0  # bytes of the body, or of its present chunk; None = the next chunk's size comes next
        self._is_chunked = False
        self._body = bytearray()
        self._is_complete = False
        self._is_paused = False
        self._failure: OSError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._heard = self._loop.time()
        self._watch = self._loop.call_later(SILENCE_SECONDS_MAX, self._check_silence)

    async def open(self, host: str, port: int, request: bytes) -> None:
        """Connects and sends the request, head and body."""
        async with asyncio.timeout(CONNECT_SECONDS_MAX):  # TimeoutError is an OSError
            self._transport, _ = await self._loop.create_connection(lambda: self, host, port)
        self._transport.write(request)

    async def status(self) -> int:
        """Waits for the head of the answer."""
        while not self._status:
            await self._more()
        return self._status

    async def piece(self) -> bytes:
        """What has come of the body since the last call, or what comes next; empty at its end."""
        while not self._body and not self._is_complete:
            await self._more()
        data = bytes(self._body)
        self._body.clear()
        if self._is_paused and self._transport:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    async def rest(self) -> bytes:
        """What is left of the body."""
        pieces = []
        while piece := await self.piece():
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        self._watch.cancel()
        if self._transport:
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
        left = self._heard + SILENCE_SECONDS_MAX - self._loop.time()
        if left <= 0 and not self._is_paused:
            self._fail(TimeoutError("the engine is silent"))
        else:
            self._watch = self._loop.call_later(max(left, 1), self._check_silence)

    # --- what the event loop calls ------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        self._buffer += data
        try:
            if not self._status:
                self._read_head()
            if self._status:
                self._read_body()
        except ValueError:
            self._fail(ConnectionError("the engine's answer is no HTTP"))
            return
        if len(self._body) > _UNREAD_BYTES_MAX and self._transport and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        if self._status and (self._body or self._is_complete):
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_complete:
            self._fail(exc if isinstance(exc, OSError) else ConnectionError("the engine broke off"))

    def _read_head(self) -> None:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            if len(head) > _HEAD_BYTES_MAX:
                raise ValueError
            return
        self._is_chunked = _CHUNKED.search(head) is not None
        length = _LENGTH.search(head)
        if not self._is_chunked and length is None:
            raise ValueError
        self._buffer = rest
        self._status = int(head[9:12])  # HTTP/1.1 200 OK
        self._left = int(length[1]) if length else None
        self._is_complete = self._left == 0
        self._wake()

    def _read_body(self) -> None:
        data, at = self._buffer, 0
        while not self._is_complete:
            if self._left is None:
                end = data.find(b"\r\n", at)
                if end < 0:
                    break
                self._left, at = int(data[at:end], 16), end + 2
                self._is_complete = self._left == 0  # trailers are of no interest: the connection is not used again
            elif self._is_chunked:
                if len(data) < at + self._left + 2:  # events are small: a chunk is taken whole
                    break
                self._body += data[at : at + self._left]
                at, self._left = at + self._left + 2, None
            else:
                self._body += data[at : at + self._left]
                taken = min(self._left, len(data) - at)
                at, self._left = at + taken, self._left - taken
                self._is_complete = self._left == 0
                break
        self._buffer = data[at:]
