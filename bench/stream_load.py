"""Load of streams, which `wrk` cannot make: it knows whole answers only.

A stream is read as bytes, and the words of the static upstream are counted in it, whatever a gateway has made of the events.
Runs in the upstream's process and event loop, so that a reader can ask for each next word.
"""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.static_upstream import WORD, StaticUpstream

CHUNKS = 200
"""Of every stream."""
OPENING_SECONDS_MAX = 120.0
_END_OF_ANSWER = b"\r\n0\r\n\r\n"
_numbers = itertools.count(1)


class StreamError(Exception):
    """A gateway did not pass a stream on as it was."""


@dataclass
class Place:
    """Where chat completions are asked for, and how."""

    port: int
    model: str = "static"
    path: str = "/v1/chat/completions"
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    def body(self, tokens: int, mark: str = "", *, stream: bool = False) -> str:
        message = {"role": "user", "content": f"Translate to French: good morning {mark}".strip()}
        fields = {"model": self.model, "messages": [message], "max_tokens": tokens}
        return json.dumps(fields | ({"stream": True} if stream else {}))

    def stream_request(self, tokens: int, mark: str) -> bytes:
        body = self.body(tokens, mark, stream=True)
        headers = {"Host": f"127.0.0.1:{self.port}", "Content-Type": "application/json", "Content-Length": str(len(body))}
        lines = [f"POST {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in {**headers, **self.headers}.items())]
        return "\r\n".join([*lines, "", body]).encode()


class Reader(asyncio.Protocol):
    """One connection that asks for one stream after the other.

    `mark` goes into the prompt. With `stepwise` that is the stream's number, and each word is asked for when the one before it
    has come.
    """

    def __init__(self, place: Place, upstream: StaticUpstream, mark: str = "", *, stepwise: bool = False) -> None:
        self._place, self._upstream, self._mark, self._stepwise = place, upstream, mark, stepwise
        self.words = self.streams = 0
        self.first_seconds: list[float] = []
        """From each request to its first word."""
        self.failure = ""
        self.has_first = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._ask()

    def _ask(self) -> None:
        self._number = next(_numbers)
        self._seen, self._tail = 0, b""
        self._began = time.perf_counter()
        mark = f"[stream {self._number}]" if self._stepwise else self._mark
        self.transport.write(self._place.stream_request(CHUNKS, mark))

    def data_received(self, data: bytes) -> None:
        if not self._tail and not data.startswith(b"HTTP/1.1 200"):
            self._fail(f"not a stream: {data[:500].decode(errors='replace')}")
            return
        count = data.count(WORD)
        self._tail = (self._tail + data)[-len(_END_OF_ANSWER) :]
        if count:
            if not self._seen:
                self.first_seconds.append(time.perf_counter() - self._began)
                self.has_first.set()
            self._seen += count
            self.words += count
            if self._stepwise:
                self._upstream.advance(self._number)
        if self._tail == _END_OF_ANSWER:
            if self._seen != CHUNKS:
                self._fail(f"{self._seen} words of {CHUNKS} have come")
                return
            self.streams += 1
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"the connection was closed: {error}")

    def _fail(self, why: str) -> None:
        self.failure = self.failure or f"{self._place.url}: {why}"
        self.has_first.set()


@contextlib.asynccontextmanager
async def readers(
    place: Place, upstream: StaticUpstream, connections: int, mark: str = "", *, stepwise: bool = False
) -> AsyncIterator[Sequence[Reader]]:
    """So many connections that read, each of which has its first word; 32 of them are opened at a time.

    Raises `StreamError`, also at the end, when a stream was not passed on as it was.
    """
    loop = asyncio.get_running_loop()
    opened: list[Reader] = []
    turns = asyncio.Semaphore(32)

    async def open_one() -> None:
        async with turns:
            _, reader = await loop.create_connection(
                lambda: Reader(place, upstream, mark, stepwise=stepwise), "127.0.0.1", place.port
            )
            opened.append(reader)
            await reader.has_first.wait()
            _raise_failure([reader])

    try:
        async with asyncio.timeout(OPENING_SECONDS_MAX):
            await asyncio.gather(*(open_one() for _ in range(connections)))
        yield opened
        _raise_failure(opened)
    finally:
        for reader in opened:
            reader.transport.abort()


def _raise_failure(opened: Sequence[Reader]) -> None:
    for reader in opened:
        if reader.failure:
            raise StreamError(reader.failure)
