"""An OpenAI-compatible upstream that answers the same bytes to everybody, as fast as Python can.

`python -m bench.static_upstream` prints its port. A request for a stream gets `--chunks` events; any other gets
the same tokens in one JSON answer.
"""

import argparse
import asyncio
import json

import uvloop

TOKENS = 64
MODEL = "static"


def _event(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    chunk = {"id": "chatcmpl-static", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [choice]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def _answers(chunks: int) -> tuple[bytes, bytes]:
    """The whole HTTP answer of a stream, and of a completion."""
    usage = {"prompt_tokens": 20, "completion_tokens": TOKENS, "total_tokens": 20 + TOKENS}
    words = "token " * (TOKENS // chunks)
    common = {"created": 1, "model": MODEL, "usage": usage}
    last = {"id": "chatcmpl-static", "object": "chat.completion.chunk", "choices": [], **common}
    events = [_event({"role": "assistant", "content": ""}), *[_event({"content": words})] * chunks, _event({}, "stop")]
    stream = b"".join(events) + b"data: " + json.dumps(last).encode() + b"\n\ndata: [DONE]\n\n"
    message = {"role": "assistant", "content": "token " * TOKENS}
    choices = [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}]
    whole = {"id": "chatcmpl-static", "object": "chat.completion", "choices": choices, **common}
    return _response("text/event-stream", stream), _response("application/json", json.dumps(whole).encode())


def _response(content_type: str, body: bytes) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class _Connection(asyncio.Protocol):
    def __init__(self, stream: bytes, whole: bytes) -> None:
        self._stream, self._whole = stream, whole
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._pending += data
        while (end := self._pending.find(b"\r\n\r\n")) >= 0:
            head = self._pending[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._pending) < end + 4 + length:
                return
            body, self._pending = self._pending[end + 4 : end + 4 + length], self._pending[end + 4 + length :]
            streams = b'"stream":true' in body or b'"stream": true' in body
            self._transport.write(self._stream if streams else self._whole)  # type: ignore[attr-defined]


async def main(chunks: int) -> None:
    stream, whole = _answers(chunks)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(stream, whole), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=1)
    uvloop.run(main(parser.parse_args().chunks))
