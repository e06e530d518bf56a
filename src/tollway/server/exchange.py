"""One request and its answer: the application's `receive` and `send`.

Every answer passes here, so what can be put off is: the head of an answer waits for the first piece of its body and goes out
with it in one write, and a future is made only where somebody has to wait.
"""

import asyncio
import contextlib
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

import structlog

from tollway.server.bodies import Chunks
from tollway.server.heads import CHUNKED, Fields, Head, Refused

if TYPE_CHECKING:
    from tollway.server.connection import Connection

Message = MutableMapping[str, Any]

DISCONNECT = "tollway.disconnect"
"""The scope's extension by which an application hears at once that the caller has left: call it with what is to be called then,
or with None when that is of no interest any more. One at a time. Waiting in `receive` tells the same and costs a task.
"""
WRITE = "tollway.write"
"""The scope's extension that sends a piece of a body at once, not its last: call it with the bytes. It says whether there is
room for more; where there is none, `send` waits for it, also with an empty piece. `send` alone does the same and costs more.
"""
BODY = "tollway.body"
"""The scope's extension that gives the request's whole body where it is there already, as nearly always: call it once, and use
`receive` where it gives None. It costs no time limit.
"""
_UNTAKEN_BYTES_MAX = 65536
"""So much of a body waits for the application; then no more is read. One read may be larger."""
_PASSED_OVER_BYTES_MAX = 65536
"""So much of a body that the application did not want is read all the same, to keep the connection."""
_JOINED_BYTES_MAX = 65536
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_UNTIL_CLOSED = -2
_NO_BODY = -3
_ASGI = {"version": "3.0", "spec_version": "2.3"}

log = structlog.get_logger()


class Exchange:
    """Made when the head of a request is there; `begin` runs the application."""

    __slots__ = (
        "_body",
        "_chunks",
        "_connection",
        "_flush",
        "_given",
        "_head",
        "_left",
        "_on_disconnect",
        "_start",
        "_to_send",
        "_waiting",
        "caller_left",
        "ended",
        "keeps",
        "task",
    )  # fmt: skip

    task: asyncio.Task[None]

    def __init__(self, connection: "Connection", head: Head) -> None:
        self._connection = connection
        self._head = head
        self._body = b""
        self._left = head.length  # of the body; 0 = it is whole
        self._chunks = Chunks() if head.length == CHUNKED else None
        self._given = False  # whether the application has all of the body
        self._waiting: list[asyncio.Future[None]] = []
        self._on_disconnect: Callable[[], None] | None = None
        self._start: Message | None = None  # of an answer whose head is not sent yet
        self._flush: asyncio.Handle | None = None
        self._to_send: int | None = None  # bytes of the answer's body, or one of the constants; None = its head is not sent
        self.keeps = head.keeps
        """Whether the connection may be used again afterwards."""
        self.caller_left = False
        """The caller has left or, which looks the same, closed its half; or what it sends is nonsense."""
        self.ended = False
        """Whether the whole answer is on its way."""

    # --- the connection's side ----------------------------------------------------------------------------------------

    @property
    def wants_body(self) -> bool:
        return self._left != 0

    def begin(self) -> None:
        connection, head = self._connection, self._head
        service = connection.service
        scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.1" if head.is_1_1 else "1.0",
            "method": head.method,
            "scheme": "http",
            "path": head.path,
            "raw_path": head.raw_path,
            "query_string": head.query,
            "root_path": "",
            "headers": head.fields,
            "client": connection.client,
            "server": connection.server,
            "state": service.state.copy(),
            "extensions": {DISCONNECT: self.on_disconnect, WRITE: self.write, BODY: self.whole_body},
        }
        service.running.add(self)
        self.task = service.loop.create_task(self._run(scope))

    def feed(self, data: bytes) -> bytes:
        """Takes more of the body. What is left over belongs to the next request. Raises Refused."""
        rest = b""
        if self._chunks is not None:
            data = self._chunks.feed(data)
            if self._chunks.rest is not None:
                rest, self._left = self._chunks.rest, 0
        elif len(data) > self._left:
            data, rest, self._left = data[: self._left], data[self._left :], 0
        else:
            self._left -= len(data)
        if self.ended:
            return rest  # nobody wants it
        self._body = self._body + data if self._body else data
        if self._waiting and (data or not self._left):
            self._wake()
        elif len(self._body) > _UNTAKEN_BYTES_MAX:
            self._connection.pause()
        return rest

    def leave(self) -> None:
        """Tells the application that the caller has left."""
        self.keeps = False
        if not self.caller_left:
            self.caller_left = True
            self._wake()
            self._tell()

    async def _run(self, scope: Message) -> None:
        service = self._connection.service
        try:
            await service.app(scope, self.receive, self.send)
        except Exception as error:
            if self._to_send is None and self._start is None:
                log.exception("application_failed")
            elif not self.caller_left:  # the application has told of it, and can no longer tell the caller
                log.warning("answer_cut", error=type(error).__name__)
        finally:
            if not self.ended:
                self._cut()
            service.ran(self)

    def _cut(self) -> None:
        """The application has left the answer half done: that it may not pass for a whole one, the connection breaks."""
        self.ended = True
        if self._flush is not None:
            self._flush.cancel()
        if self.caller_left:
            self._connection.abort()
        elif self._to_send is None:
            self._connection.refuse(Refused("Something went wrong on our side.", 500))
        else:
            self._connection.reset()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _tell(self) -> None:
        callback, self._on_disconnect = self._on_disconnect, None
        if callback is not None:
            callback()

    # --- the application's side ---------------------------------------------------------------------------------------

    def on_disconnect(self, callback: Callable[[], None] | None) -> None:
        """Calls it once the caller has left; soon, when that is so already."""
        self._on_disconnect = callback
        if callback is not None and self.caller_left:
            self._connection.service.loop.call_soon(self._tell)

    def whole_body(self) -> bytes | None:
        if self._left or self._given or self.caller_left or self.ended:
            return None
        return self._take_body()

    def _take_body(self) -> bytes:
        """What has come and was not taken yet."""
        body, self._body = self._body, b""
        self._given = not self._left
        self._connection.go_on()
        return body

    async def receive(self) -> Message:
        while not (self.caller_left or self.ended):
            if not self._given and (self._body or not self._left):
                return {"type": "http.request", "body": self._take_body(), "more_body": not self._given}
            if self._head.expects and self._left and self._to_send is None:
                self._head.expects = False
                self._connection.write(_CONTINUE)
            future = self._connection.service.loop.create_future()
            self._waiting.append(future)
            try:
                await future
            except asyncio.CancelledError:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(future)
                raise
        return {"type": "http.disconnect"}

    def write(self, body: bytes) -> bool:
        self._send_body(body)
        return self.ended or not self._connection.is_full

    async def send(self, message: Message) -> None:
        """To a caller who has left, it does nothing."""
        kind = message["type"]
        if kind == "http.response.body":
            self._send_body(message.get("body", b""), more=message.get("more_body", False))
            if self._connection.is_full and not self.ended:
                await self._connection.room()
        elif kind == "http.response.start":
            if self._start is not None or self._to_send is not None:
                raise RuntimeError("an answer has one beginning")
            self._start = message
            # the head waits for the body, but not for long: the next piece of a stream may be far away
            self._flush = self._connection.service.loop.call_soon(self._send_body, b"")
        else:
            raise RuntimeError(f"no message of an answer over HTTP: {kind}")

    def _send_body(self, body: bytes, *, more: bool = True) -> None:
        if self.ended:
            return
        head = b""
        if self._to_send is None:
            if self._start is None or self._flush is None:
                raise RuntimeError("an answer begins with its start")
            self._flush.cancel()
            head = self._head_of(self._start, None if more else len(body))
        to_send: int = self._to_send  # type: ignore[assignment]
        if to_send == CHUNKED:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            if not more:
                body += b"0\r\n\r\n"
        elif to_send == _NO_BODY:
            body = b""
        elif to_send != _UNTIL_CLOSED:
            to_send -= len(body)
            self._to_send = to_send
            if to_send < 0 or (to_send and not more):
                self._cut()
                raise RuntimeError("the answer's body is not as long as its Content-Length")
        if len(body) > _JOINED_BYTES_MAX and head:
            self._connection.write(head)
            self._connection.write(body)
        elif head or body:
            self._connection.write(head + body, last=not more)
        if not more:
            self.ended = True
            if self._waiting:
                self._wake()
            self._connection.over(self)

    def _head_of(self, start: Message, length: int | None) -> bytes:
        """The bytes of the answer's head. `length` is its body's, where that is all there already.

        Raises ValueError for a header that would be more than one line.
        """
        status: int = start["status"]
        headers: Fields = start.get("headers", [])
        given = dict(headers)
        if b"connection" in given or b"transfer-encoding" in given:  # these are the server's own affair
            self.keeps = self.keeps and given.get(b"connection", b"").lower() != b"close"
            headers = [(name, value) for name, value in headers if name not in {b"connection", b"transfer-encoding"}]
        service, head = self._connection.service, self._head
        lines = [b"%b: %b\r\n" % (name, value) for name, value in headers]
        declared = given.get(b"content-length")
        if status < 200 or status in {204, 304} or head.method == "HEAD":
            to_send = _NO_BODY
        elif declared is not None:
            to_send = int(declared)
        elif length is not None:
            to_send = length
            lines.append(b"content-length: %d\r\n" % length)
        elif head.is_1_1:
            to_send = CHUNKED
            lines.append(b"transfer-encoding: chunked\r\n")
        else:
            to_send, self.keeps = _UNTIL_CLOSED, False
        if service.stopping or (self._left and (head.expects or not 0 < self._left <= _PASSED_OVER_BYTES_MAX)):
            self.keeps = False
        if not self.keeps:
            lines.append(b"connection: close\r\n")
        elif not head.is_1_1:
            lines.append(b"connection: keep-alive\r\n")
        joined = b"".join(lines)
        if joined.count(b"\n") != len(lines) or joined.count(b"\r") != len(lines) or b"\0" in joined:
            raise ValueError("a header of the answer has a line break or a null character")
        self._to_send = to_send
        return b"%b%b\r\n" % (service.first_line(status), joined)
