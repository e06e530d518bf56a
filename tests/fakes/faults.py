"""Replies that a fake upstream plays, and all the ways in which a good one goes wrong. Shared by the fakes of all dialects.

A `Reply` is a status, headers and steps. `FAULTS` makes broken replies of a good one, by name; what is wrong is on the wire
(bytes, connections, waiting), so they fit every dialect. Faults inside the JSON, such as wrong usage, belong to each fake.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from aiohttp import web


@dataclass(frozen=True)
class Wait:
    """Nothing is sent for so long."""

    seconds: float


@dataclass(frozen=True)
class Hang:
    """Nothing is sent any more; the connection stays open until the client leaves."""


@dataclass(frozen=True)
class Heartbeats:
    """Only this is sent, again and again, until the client leaves."""

    every_seconds: float = 0.02
    data: bytes = b": still here\n\n"


@dataclass(frozen=True)
class Drip:
    """The data comes a byte at a time."""

    data: bytes
    every_seconds: float = 0.01


@dataclass(frozen=True)
class Reset:
    """The connection is reset (RST)."""


@dataclass(frozen=True)
class Cut:
    """The connection is closed in the middle of the body."""


Step = bytes | Wait | Hang | Heartbeats | Drip | Reset | Cut


@dataclass(frozen=True)
class Reply:
    """What the fake answers to one request."""

    steps: Sequence[Step] = ()
    """The body. Without one that breaks it off, it ends well."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "text/event-stream"
    before: Sequence[Step] = ()
    """What happens before the status line; nothing can be sent there."""


@dataclass(eq=False)
class Received:
    """A request as it came, and what became of its connection."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client closed the connection before its reply was complete."""
    complete: bool = False


async def play(request: web.Request, received: Received, reply: Reply) -> web.StreamResponse:
    """Answers `request` with `reply`. To be returned by an aiohttp handler."""
    response = web.StreamResponse(status=reply.status, headers={"Content-Type": reply.content_type, **reply.headers})
    try:
        for step in reply.before:
            await _step(request, None, step)
        await response.prepare(request)
        for step in reply.steps:
            await _step(request, response, step)
        await response.write_eof()
        received.complete = True
    except (ConnectionError, asyncio.CancelledError):
        received.left.set()
        raise
    return response


async def _step(request: web.Request, response: web.StreamResponse | None, step: Step) -> None:
    match step:
        case Wait(seconds):
            await asyncio.sleep(seconds)
        case Hang():
            await asyncio.Event().wait()  # ended by the client, see `FakeServer`
        case Reset() | Cut():
            _break_off(request, reset=isinstance(step, Reset))
        case Heartbeats(every_seconds, data) if response is not None:
            while True:
                await response.write(data)
                await asyncio.sleep(every_seconds)
        case Drip(data, every_seconds) if response is not None:
            for byte in data:
                await response.write(bytes([byte]))
                await asyncio.sleep(every_seconds)
        case bytes() if response is not None:
            await response.write(step)
        case _:
            raise AssertionError(f"{step!r} sends something before the status line")


def _break_off(request: web.Request, *, reset: bool) -> None:
    transport = request.transport
    if transport is None:
        raise ConnectionResetError
    if reset:
        linger = struct.pack("ii", 1, 0)  # on, 0 seconds: what is unsent is dropped, and the other side gets a RST
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()
    else:
        transport.close()  # what was written still goes out
    raise ConnectionResetError


# --- a good reply gone wrong ------------------------------------------------------------------------------------------


def _body(reply: Reply) -> bytes:
    return b"".join(step for step in reply.steps if isinstance(step, bytes))


def _first_half(reply: Reply) -> list[Step]:
    """All events but the last (or the first half of a body that is one piece)."""
    if len(reply.steps) > 1:
        return list(reply.steps[:-1])
    return [_body(reply)[: len(_body(reply)) // 2]]


def _in_mid_character(reply: Reply) -> bytes:
    """The body up to the middle of its last character that has several bytes."""
    body = _body(reply)
    cut = max((place for place, byte in enumerate(body) if byte >= 0xC0), default=None)
    assert cut is not None, "for this fault the good answer must hold a character of several bytes"
    return body[: cut + 1]


def failing(status: int, body: bytes = b"", *, retry_after: str | None = None, content_type: str = "application/json") -> Reply:
    """An answer that is an error. `retry_after` goes into the header."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Reply([body] if body else [], status=status, headers=headers, content_type=content_type)


HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"

FAULTS: dict[str, Callable[[Reply], Reply]] = {
    "reset_at_once": lambda _: Reply(before=[Reset()]),
    "closed_at_once": lambda _: Reply(before=[Cut()]),
    "stall_before_headers": lambda _: Reply(before=[Hang()]),
    "stall_before_first_byte": lambda good: replace(good, steps=[Hang()]),
    "stall_after_first_event": lambda good: replace(good, steps=[*_first_half(good), Hang()]),
    "heartbeats_only": lambda good: replace(good, steps=[Heartbeats()]),
    "heartbeats_after_first_event": lambda good: replace(good, steps=[*_first_half(good), Heartbeats()]),
    "reset_midway": lambda good: replace(good, steps=[*_first_half(good), Wait(0.05), Reset()]),
    "cut_midway": lambda good: replace(good, steps=[*_first_half(good), Cut()]),
    "cut_in_mid_event": lambda good: replace(good, steps=[_body(good)[:-20], Cut()]),
    "ends_early": lambda good: replace(good, steps=_first_half(good)),
    "ends_in_mid_event": lambda good: replace(good, steps=[_body(good)[:-20]]),
    "empty": lambda good: replace(good, steps=[]),
    "truncated_utf8": lambda good: replace(good, steps=[_in_mid_character(good)]),
    "garbage": lambda good: replace(good, steps=[b"\x00\xff\xfe garbage \x80" * 50]),
    "garbage_event": lambda good: replace(good, steps=[b'data: {"choices": [}\n\n']),
    "html": lambda good: replace(good, steps=[HTML], content_type="text/html"),
    "html_502": lambda _: failing(502, HTML, content_type="text/html"),
    "redirect": lambda _: Reply(status=307, headers={"Location": "http://127.0.0.1:9/elsewhere"}),
    "500": lambda _: failing(500),
    "503": lambda _: failing(503),
    "503_retry_after": lambda _: failing(503, retry_after="7"),
    "504": lambda _: failing(504),
    "429": lambda _: failing(429),
    "429_retry_after": lambda _: failing(429, retry_after="7"),
    "429_retry_after_nonsense": lambda _: failing(429, retry_after="soon"),
    "429_retry_after_forever": lambda _: failing(429, retry_after="99999999999"),
}
"""By name: what makes a broken reply of a good one. A refused connection is none of them: `FakeServer.stop`."""
