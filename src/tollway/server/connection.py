"""One connection: requests come in one after the other, each is answered before the next is looked at."""

import asyncio
import math
import re
import socket
import struct
from typing import TYPE_CHECKING, Any

from tollway.server import heads
from tollway.server.exchange import Exchange
from tollway.server.heads import Refused

if TYPE_CHECKING:
    from tollway.server.service import Service

_UNSENT_BYTES_MAX = 32768
"""So much of answers waits for a slow reader in this process; then `send` waits."""
_HELD_BYTES_MAX = 65536
"""So much of following requests waits until the present one is answered; then no more is read."""
_LINGER_BYTES_MAX = 2**20
_EMPTY_LINES = re.compile(rb"(?:\r\n)++")
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """A state machine: between requests there is no exchange, and `deadline` is when the next head must be there."""

    __slots__ = (
        "_exchange",
        "_held",
        "_is_in_head",
        "_is_paused",
        "_linger_left",
        "_rooms",
        "_transport",
        "client",
        "deadline",
        "is_full",
        "server",
        "service",
    )  # fmt: skip

    def __init__(self, service: "Service") -> None:
        self.service = service
        self.client: tuple[str, int] | None = None
        self.server: tuple[str, int] | None = None
        self.deadline = math.inf
        """By the event loop's clock, when it is cut unless something happens."""
        self.is_full = False
        """Whether a sender must wait for `room`."""
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._held = b""  # came, and is not looked at yet
        self._is_in_head = True  # or waits for the first
        self._is_paused = False
        self._linger_left = -1  # bytes that are still read and thrown away; -1 = it does not linger
        self._rooms: list[asyncio.Future[None]] = []

    # --- called by the event loop -------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(_UNSENT_BYTES_MAX)
        self.client = _host_and_port(transport.get_extra_info("peername"))
        self.server = _host_and_port(transport.get_extra_info("sockname"))
        self.service.connections.add(self)
        self.deadline = self.service.loop.time() + self.service.limits.head_seconds
        if self.service.stopping:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is not None:
            if exchange.wants_body:
                self._feed(exchange, data)
            else:
                self._hold(data)
        elif self._linger_left < 0:
            if self.is_full:
                self._hold(data)
            else:
                self._look(data)
        else:
            self._linger_left -= len(data)
            if self._linger_left < 0:
                self._linger_left = 0
                self.pause()

    def eof_received(self) -> bool:
        """Who closes its half looks like one who has left, and the application is told so. What it answers is sent."""
        exchange = self._exchange
        if exchange is None or exchange.ended:
            return False
        exchange.leave()
        return True

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        self._transport = None
        self._held = b""
        if self._exchange is not None:
            self._exchange.leave()
            self._exchange = None
        self.resume_writing()
        self.service.lost(self)

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        rooms, self._rooms = self._rooms, []
        for future in rooms:
            if not future.done():
                future.set_result(None)
        transport = self._transport
        if self._exchange is None and self._linger_left < 0 and transport is not None and not transport.is_closing():
            self.go_on()
            self._look_at_held()

    # --- called by the exchange ---------------------------------------------------------------------------------------

    def write(self, data: bytes, *, last: bool = False) -> None:
        """`last`: it is the end of an answer, or all of it, and may leave after this round of the event loop."""
        if self._transport is None:
            return
        if last:
            self.service.outbox.write(self._transport, data)
        else:
            self._transport.write(data)

    async def room(self) -> None:
        """Returns once the caller has taken enough, or has left."""
        future = self.service.loop.create_future()
        self._rooms.append(future)
        await future

    def pause(self) -> None:
        if not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()

    def go_on(self) -> None:
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()

    def over(self, exchange: Exchange) -> None:
        """The exchange's answer is on its way."""
        if self._transport is None:
            return
        if not exchange.keeps or self.service.stopping:
            self._exchange = None
            if exchange.wants_body or self._held:
                self._linger()
            else:
                self._close()
        elif exchange.wants_body:
            self.go_on()
            self.deadline = self.service.loop.time() + self.service.limits.head_seconds
        else:
            self._next()

    def refuse(self, refused: Refused) -> None:
        """Answers what cannot be answered otherwise, and hangs up."""
        self._exchange = None
        self.service.outbox.flush()
        headers, body = self.service.refuse(refused.status, refused.message)
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        end = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.write(b"%b%b%b%b" % (self.service.first_line(refused.status), lines, end, body))
        self._linger()

    def abort(self) -> None:
        if self._transport is not None:
            self.service.outbox.flush()
            self._transport.abort()

    def reset(self) -> None:
        """Ends it so that the caller cannot take it for the end of an answer."""
        if self._transport is not None:
            connection = self._transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()

    # --- called by the service ----------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether no request is in work."""
        return self._exchange is None

    def late(self) -> None:
        """The deadline has passed. Who still takes of an answer is not late; who takes nothing is the kernel's affair."""
        self.deadline = math.inf
        if self._transport is not None and self._transport.get_write_buffer_size():
            self.deadline = self.service.loop.time() + self.service.limits.head_seconds
        else:
            self.abort()

    def stop(self) -> None:
        """Hangs up, unless an answer is on its way."""
        if self._exchange is None or self._exchange.ended:
            self._close()

    # ------------------------------------------------------------------------------------------------------------------

    def _look(self, data: bytes) -> None:
        """Looks for a request. There is none in work."""
        if self._held:
            data, self._held = self._held + data, b""
        end = data.find(b"\r\n\r\n")
        try:
            if data[0] == 0x0D and (empty := _EMPTY_LINES.match(data)):  # before a request (RFC 9112, 2.2)
                data = data[empty.end() :]
                end = data.find(b"\r\n\r\n")
            if end < 0 or end > self.service.limits.head_bytes_max:
                self._wait_for_head(data)
                return
            head = heads.parse(data, end)
        except Refused as refused:
            self.refuse(refused)
            return
        self.deadline = math.inf
        self._exchange = exchange = Exchange(self, head)
        rest = data[end + 4 :]
        if exchange.wants_body:
            self._feed(exchange, rest)
        elif rest:
            self._hold(rest)
        exchange.begin()

    def _wait_for_head(self, data: bytes) -> None:
        limits = self.service.limits
        if len(data) > limits.head_bytes_max:
            raise Refused(f"The head of a request has at most {limits.head_bytes_max:,} bytes.", 431)
        if data not in {b"", b"\r"}:
            heads.check_beginning(data)
        self._held = data
        if not self._is_in_head:
            self._is_in_head = True
            self.deadline = self.service.loop.time() + limits.head_seconds

    def _feed(self, exchange: Exchange, data: bytes) -> None:
        try:
            rest = exchange.feed(data)
        except Refused:
            if exchange.ended:
                self._exchange = None
                self._linger()
            else:  # to the application it is a body that ends early; there is nothing more to read
                exchange.leave()
                self.pause()
            return
        if rest:
            self._hold(rest)
        if exchange.ended and not exchange.wants_body:
            self._next()

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > _HELD_BYTES_MAX:
            self.pause()

    def _next(self) -> None:
        """The exchange is over, and the connection may be used again."""
        self._exchange = None
        self._is_in_head = False
        self.deadline = self.service.loop.time() + self.service.limits.idle_seconds
        self.go_on()
        if not self.is_full:  # who does not take the answers is not asked for more; `resume_writing` goes on
            self._look_at_held()

    def _look_at_held(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._look(held)

    def _close(self) -> None:
        if self._transport is not None and self._linger_left < 0:
            self.service.outbox.flush()
            self._transport.close()

    def _linger(self) -> None:
        """Hangs up on somebody who may still be sending. A plain close would be a reset then, and what was answered be lost."""
        self._held = b""
        if self._transport is None or self._transport.is_closing():
            return
        self._linger_left = _LINGER_BYTES_MAX
        self.deadline = self.service.loop.time() + self.service.limits.linger_seconds
        self.go_on()
        self.service.outbox.flush()
        self._transport.write_eof()


def _host_and_port(address: object) -> tuple[str, int] | None:
    """An address of IPv4 is written as such, also where it came to a socket of IPv6."""
    return (address[0].removeprefix("::ffff:"), address[1]) if isinstance(address, tuple) else None
