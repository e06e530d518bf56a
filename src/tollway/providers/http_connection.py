"""One connection to an upstream or an engine, and the reading of its HTTP/1.1 answers."""

import asyncio
import contextlib
import re
import zlib
from collections.abc import Callable
from functools import lru_cache
from socket import SO_RCVBUF, SOL_SOCKET
from typing import Final

from tollway.outbox import Outbox

_UNREAD_BYTES_MAX = 1 << 14
"""What may wait for a slow reader here. The kernel holds back the rest, and has no more room than that either."""
_UNPACKED_BYTES_MAX = 8 << 20
"""Of what comes in one piece from the kernel, in however many chunks: all of it is there before its reader can be woken."""
_HEAD_BYTES_MAX = 1 << 16
_LINE_BYTES_MAX = 1 << 12
_USUAL_LINE_BYTES_MAX = 20
ERROR_BYTES_MAX = 1 << 18
ERROR_SECONDS_MAX = 10
"""An error's body is waited for this long."""
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)(?: |\r?$|$)")
_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?")
_DIGITS = re.compile(r"\d{1,18}")

_BLANK: Final = " \t\n\r\v\f"
_UNTIL_CLOSE: Final = -1


class BrokenAnswer(ConnectionError):
    """What came is no HTTP, or ended in the middle."""


class Connection(asyncio.Protocol):
    """One exchange after the other: `head`, then `piece` until it is empty, or `pour`, then `close`.

    Everything raises OSError when the far end breaks off or is silent for too long.
    """

    def __init__(self, place: tuple[str, int, bool], silence_seconds: float, give_back: "Callable[[Connection], None]") -> None:
        self.place = place
        self.is_lost = False
        self.heard_at = 0.0
        """In the event loop's time."""
        self.status = 0
        """0 = the head is not there yet."""
        self.headers: dict[str, str] = {}
        """By lower-case names. What came several times is joined by commas."""
        self.may_be_stale = False
        """It was kept, and since the request went out nothing has come: the far end may have closed it before."""
        self._give_back = give_back
        self._loop = asyncio.get_running_loop()
        self._silence_seconds = silence_seconds
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._take: Callable[[bytes], bool] | None = None
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
        self._unpack_bytes_left = 0

    # --- for who exchanges --------------------------------------------------------------------------------------------

    def begin(self, request: bytes, outbox: Outbox) -> None:
        """For HttpClient: sends a request."""
        self.may_be_stale = self.status != 0
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
            outbox.write(self._transport, request)

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
        return self._taken()

    async def pour(self, take: Callable[[bytes], bool]) -> None:
        """Calls `take` with what has come of the body and with each piece that comes, from where it comes, until it says False
        or nothing is left (`is_read`). Raises what `take` raises. Waking a task for each piece would cost a stream more.
        """
        while not self.is_read:
            if self._body:
                if not take(self._taken()):
                    return
                continue
            self._take = take
            try:
                await self._more()
            finally:
                has_enough, self._take = self._take is None, None
            if has_enough:
                return

    async def rest(self, bytes_max: int | None = None) -> bytes:
        """What is left of the body. Raises BrokenAnswer for more than `bytes_max`."""
        pieces: list[bytes] = []
        size = 0
        while not self.is_read:
            pieces.append(await self.piece())
            size += len(pieces[-1])
            if bytes_max is not None and size > bytes_max:
                raise BrokenAnswer("the answer is too long")
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def error_body(self) -> bytes:
        """The beginning of a body that is no answer; what there is of it when it breaks or dawdles."""
        data = bytearray()
        with contextlib.suppress(OSError):
            async with asyncio.timeout(ERROR_SECONDS_MAX):
                while len(data) < ERROR_BYTES_MAX and (piece := await self.piece()):
                    data += piece
        return bytes(data[:ERROR_BYTES_MAX])

    @property
    def is_read(self) -> bool:
        """Whether the whole body was read."""
        return self._is_complete and not self._body

    @property
    def is_reusable(self) -> bool:
        transport = self._transport
        if transport is None or self.is_lost or transport.get_write_buffer_size():  # answered before it was read
            return False
        return self.is_read and self._may_stay and self._failure is None and not self._buffer

    def close(self) -> None:
        """Ends the exchange: a connection with nothing left to read is kept for the next one, any other is cut."""
        if self._in_use:
            self._in_use = False
            self._give_back(self)

    def abort(self) -> None:
        """Hangs up."""
        self.is_lost = True
        if self._watch is not None:
            self._watch.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _taken(self) -> bytes:
        """What is there of the body, for who exchanges."""
        data = bytes(self._body)
        self._body.clear()
        if self._is_paused and self._transport:
            self._is_paused = False
            self.heard_at = self._loop.time()  # the time that the reader took is not the far end's silence
            self._transport.resume_reading()
        return data

    def _pass_on(self, take: Callable[[bytes], bool]) -> None:
        """To `pour`'s reader, who is woken when there is no more to pass on."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            return  # he leaves, or looks for himself
        try:
            if not take(self._taken()):
                self._take = None
            elif not self._is_complete:
                return
        except Exception as error:  # noqa: BLE001 - the reader raises it
            waiter.set_exception(error)
        self._wake()

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
        if self._failure is not None:
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
        if self._take is not None and self._body:
            self._pass_on(self._take)
        if len(self._body) > _UNREAD_BYTES_MAX and self._transport and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        if self.status and (self._is_complete or self._is_paused or (self._body and not self._gathers)):
            self._wake()

    def eof_received(self) -> bool:
        self.is_lost = True
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
        self.may_be_stale = False
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
        self.headers = _fields(lines.decode("latin-1"))
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
        self._unpack_bytes_left = _UNPACKED_BYTES_MAX
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
                self._left = _chunk_size(line) if len(line) <= _USUAL_LINE_BYTES_MAX else _long_lines_chunk_size(line)
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
            size = _chunk_size(data[at:end]) if end - at <= _USUAL_LINE_BYTES_MAX else _long_lines_chunk_size(data[at:end])
            after = end + 2 + size
            if not size or data[after : after + 2] != b"\r\n":
                break  # the last one, one that is not whole yet, or one that is wrong
            self._add(data[end + 2 : after])
            at = after + 2
        return at

    def _add(self, data: bytes) -> None:
        if self._unpack is not None:
            if self._unpack.eof:
                return  # nothing belongs there; zlib would keep it
            data = self._unpack.decompress(data, self._unpack_bytes_left + 1)
            self._unpack_bytes_left -= len(data)
            if self._unpack_bytes_left < 0:
                raise ValueError("a piece that unpacks to megabytes")
        self._body += data


@lru_cache(maxsize=1024)
def _chunk_size(line: bytes) -> int:
    size = _SIZE.fullmatch(line)
    if size is None:
        raise ValueError("no chunk size")
    return int(size[1], 16)


def _long_lines_chunk_size(line: bytes) -> int:
    """Of one with an extension, which is not remembered."""
    if len(line) > _LINE_BYTES_MAX:
        raise ValueError("an endless line")
    return _chunk_size.__wrapped__(line)


def _fields(lines: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines.split("\r\n"):
        if not line:
            continue
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip(_BLANK):
            raise ValueError("a header line that is none")
        name, value = name.lower(), value.strip(_BLANK)
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields
