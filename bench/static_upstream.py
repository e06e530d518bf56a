"""An OpenAI-compatible upstream that answers the same bytes to everybody, as fast as Python can.

`python -m bench.static_upstream` prints its port. A request for a stream gets one event for each of its `max_tokens` (with
`--chunks-max N`, at most N), every one written by itself, and all open streams get one event in each step, as those of a model
that decodes a batch do. Any other request gets `max_tokens` words in one JSON answer. Two marks in a prompt change its stream:

- `[idle]`: nothing follows the first word
- `[stream 7]`: each further word waits for `advance(7)`. Readers in the same process call it when they have the word before,
  so that no gateway ever sees two words at once, however slow it is.
"""

import argparse
import asyncio
import contextlib
import functools
import json
import re
from collections.abc import AsyncIterator, Iterator

import uvloop

MODEL = "static"
WORD = b"~"
"""Ends every word of an answer and is nowhere else in it. One byte: gateways split what they pass on anywhere."""
TOKENS_DEFAULT = 64
_NUMBERED = re.compile(rb"\[stream (\d+)\]")
_MAX_TOKENS = re.compile(rb'"max_(?:completion_)?tokens": ?(\d+)')


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _word(number: int) -> str:
    """No two in a row are the same: LiteLLM ends a stream that repeats itself."""
    return f"word{number % 10}{WORD.decode()} "


def _event(**fields: object) -> bytes:
    chunk = {"id": "chatcmpl-static", "object": "chat.completion.chunk", "created": 1, "model": MODEL, **fields}
    return b"data: " + _json(chunk) + b"\n\n"


def _delta(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    return _event(choices=[{"index": 0, "delta": delta, "finish_reason": finish_reason}])


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 20, "completion_tokens": tokens, "total_tokens": 20 + tokens}


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@functools.cache
def _stream(chunks: int) -> list[bytes]:
    """What is written for a stream, piece by piece. The first has the head, the role and the first word; the last, no word."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    deltas = [{"role": "assistant", "content": ""}, *({"content": _word(number)} for number in range(chunks))]
    role, *words = [_http_chunk(_delta(delta)) for delta in deltas]
    last = _delta({}, "stop"), _event(choices=[], usage=_usage(chunks)), b"data: [DONE]\n\n"
    end = b"".join(map(_http_chunk, last)) + b"0\r\n\r\n"
    return [head + role + words[0], *words[1:], end]


@functools.cache
def _completion(tokens: int) -> bytes:
    message = {"role": "assistant", "content": "".join(map(_word, range(tokens)))}
    choices = [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}]
    whole = {"id": "chatcmpl-static", "object": "chat.completion", "choices": choices, "created": 1, "model": MODEL}
    body = _json(whole | {"usage": _usage(tokens)})
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class StaticUpstream:
    """Serves in the running event loop."""

    def __init__(self, chunks_max: int | None = None) -> None:
        self._chunks_max = chunks_max
        self.connections: set[_Connection] = set()
        self._flowing: dict[_Connection, Iterator[bytes]] = {}
        self._numbered: dict[int, tuple[_Connection, Iterator[bytes]]] = {}
        self._stepping = False

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """The port."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=4096)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for connection in self.connections:
                connection.transport.abort()

    def answer(self, connection: "_Connection", body: bytes) -> None:
        found = _MAX_TOKENS.search(body)
        tokens = int(found[1]) if found else TOKENS_DEFAULT
        if b'"stream":true' not in body and b'"stream": true' not in body:
            connection.transport.write(_completion(tokens))
            return
        pieces = iter(_stream(min(tokens, self._chunks_max or tokens)))
        connection.transport.write(next(pieces))
        if found := _NUMBERED.search(body):
            self._numbered[int(found[1])] = connection, pieces
        elif b"[idle]" not in body:
            self._flowing[connection] = pieces
            self.step_soon()

    def advance(self, number: int) -> None:
        """Writes the next piece of a numbered stream."""
        connection, pieces = self._numbered[number]
        if piece := next(pieces, None):
            connection.transport.write(piece)
        else:
            del self._numbered[number]

    def step_soon(self) -> None:
        if not self._stepping:
            self._stepping = True
            asyncio.get_running_loop().call_soon(self._step)

    def _step(self) -> None:
        writable = [connection for connection in self._flowing if connection.writable]
        for connection in writable:
            if piece := next(self._flowing[connection], None):
                connection.transport.write(piece)
            else:
                del self._flowing[connection]
        self._stepping = False
        if writable and self._flowing:
            self.step_soon()

    def left(self, connection: "_Connection") -> None:
        self.connections.discard(connection)
        self._flowing.pop(connection, None)
        for number in [number for number, (each, _) in self._numbered.items() if each is connection]:
            del self._numbered[number]


class _Connection(asyncio.Protocol):
    def __init__(self, upstream: StaticUpstream) -> None:
        self._upstream = upstream
        self._pending = b""
        self.writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.transport.set_write_buffer_limits(high=0)  # what is written goes out at once, and a slow reader is waited for
        self._upstream.connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._upstream.left(self)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self._upstream.step_soon()

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while (end := self._pending.find(b"\r\n\r\n")) >= 0:
            head = self._pending[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._pending) < end + 4 + length:
                return
            body, self._pending = self._pending[end + 4 : end + 4 + length], self._pending[end + 4 + length :]
            self._upstream.answer(self, body)


async def _serve(chunks_max: int | None) -> None:
    async with StaticUpstream(chunks_max).serving() as port:
        print(port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks-max", type=int)
    uvloop.run(_serve(parser.parse_args().chunks_max))
