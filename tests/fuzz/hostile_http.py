"""HTTP as no client would speak it, over raw sockets against the real server."""

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from tests.fuzz.target import Target, World
from tests.live import LiveServer, serving
from tests.tiny_gguf import write_tiny_model

from tollway.engine import ModelStore
from tollway.engine.fetch import pull

QUIET_SECONDS = 0.15
"""When the server has said nothing for so long, it is taken to wait for more."""
REFUSED_SECONDS_MAX = 10.0
ALIVE_SECONDS_MAX = 10.0
RECEIVE_SECONDS = 5.0


@contextlib.contextmanager
def tiny_service(folder: Path) -> Iterator[LiveServer]:
    """A service with a tiny model of random weights."""
    store = ModelStore(folder / "models")
    pull(str(write_tiny_model(folder / "tiny.gguf", context_tokens=8192)), store)
    fields = {"default_model": "tiny", "engine_slots": "4", "engine_threads": "1", "receive_seconds": str(RECEIVE_SECONDS)}
    with serving(folder / "home", store.path, log_format="json", **fields) as live:
        yield live


@dataclass
class Said:
    """What came back on one connection."""

    raw: bytes
    closed: bool

    @property
    def statuses(self) -> list[int]:
        """Of the answers, one after the other. Raises AssertionError for what is no sequence of HTTP answers."""
        rest, found = self.raw, list[int]()
        while rest:
            head, separator, rest = rest.partition(b"\r\n\r\n")
            first = re.match(rb"HTTP/1\.[01] ([1-5][0-9][0-9]) ", head)
            assert first, f"no answer: {head[:200]!r}"
            assert separator, f"half a head: {head[-200:]!r}"
            found.append(int(first[1]))
            headers = [line.lower().partition(b": ")[::2] for line in head.split(b"\r\n")[1:]]
            lengths = [int(value) for name, value in headers if name == b"content-length"]
            assert len(lengths) <= 1
            if any(name == b"transfer-encoding" for name, _ in headers):
                _, ending, rest = rest.partition(b"0\r\n\r\n")
                assert ending or not self.closed, "a chunked answer without its end"
            elif lengths and not re.match(rb"HTTP/1|$", rest):  # an answer to HEAD has a length and no body
                assert len(rest) >= lengths[0], "half a body"
                rest = rest[lengths[0] :]
        return found


def talk(server: LiveServer, pieces: list[bytes], *, then: str = "wait", seconds: float = QUIET_SECONDS) -> Said:
    """Sends the pieces, each in a packet of its own. `then`: "wait" for the end, "half" closes our side first, "leave"."""
    raw, closed = b"", False
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for piece in pieces:
                connection.sendall(piece)
            if then == "half":
                connection.shutdown(socket.SHUT_WR)
            if then == "leave":
                return Said(b"", closed=True)
            connection.settimeout(seconds)
            while data := connection.recv(65536):
                raw += data
            closed = True
        except TimeoutError:
            pass
        except OSError:  # reset: it has refused, and reads no more
            closed = True
    return Said(raw, closed)


def check_http(case: dict[str, Any], world: World) -> None:
    """Every answer is sound and none is a 5xx; what is `refused` is, and nothing behind it is taken for a request."""
    server = world.get(tiny_service)
    pieces = [
        each.replace("{key}", server.key).replace("{long}", "a" * 500_000).encode("latin-1", "replace") for each in case["send"]
    ]
    expected = case.get("expect")
    refused = expected == "refused"
    # On a busy machine an answer may take longer than it is quiet.
    for seconds in (REFUSED_SECONDS_MAX,) if refused else (QUIET_SECONDS, 2.0, 10.0):
        said = talk(server, pieces, then=case.get("then", "wait"), seconds=seconds)
        statuses = said.statuses
        if expected in (None, "refused", statuses):
            break
    assert all(status < 500 for status in statuses), statuses
    sent = b"".join(pieces)
    assert len([status for status in statuses if status >= 200]) <= 1 + len(
        re.findall(rb"HTTP/1\.[01]", sent)
    )  # what follows may be refused
    if refused:
        assert said.closed
        assert len(statuses) <= 1
        assert all(400 <= status < 500 for status in statuses), statuses
        assert b"smuggled" not in said.raw
    elif expected is not None:
        assert statuses == expected
    began = time.monotonic()
    assert server.request("GET", "/healthz")[0] == 200
    assert time.monotonic() - began < ALIVE_SECONDS_MAX
    assert server.process.poll() is None


_BODY = '{"model": "local/tiny", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}'
_LINES = st.sampled_from(
    ["GET /healthz HTTP/1.1", "POST /v1/chat/completions HTTP/1.1", "POST /signin HTTP/1.1", "GET /v1/models HTTP/1.0",
    "HEAD / HTTP/1.1",
     "OPTIONS * HTTP/1.1", "GET http://x/healthz HTTP/1.1", "CONNECT x:1 HTTP/1.1", "PRI * HTTP/2.0",
     "GET /%00%ff HTTP/1.1", "GET  / HTTP/1.1",
     "get / HTTP/1.1", "GET /\x00 HTTP/1.1", "GET / HTTP/9.9", "PATCH /v1/keys/tw_123456789 HTTP/1.1",
     "GET //..//../etc/passwd HTTP/1.1"]
)  # fmt: skip
_HEADERS = st.sampled_from(
    ["Host: x", "Host: y", "Content-Length: 5", f"Content-Length: {len(_BODY)}", "Content-Length: 0",
    "Content-Length: -1", "Content-Length: 5, 5",
     "Content-Length: 18446744073709551616", "Content-Length : 5", "Transfer-Encoding: chunked",
     "Transfer-Encoding: gzip, chunked",
     "Transfer-Encoding:\tchunked", "Transfer-Encoding: chunked\r\n x", "Authorization: Bearer {key}",
     "Authorization: Bearer x",
     "Content-Type: application/json", "Content-Type: application/x-www-form-urlencoded", "Expect: 100-continue",
     "Connection: close",
     "Connection: upgrade", "Upgrade: websocket", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__", "X: \x00",
     "X: \xff", ": x", "X", " X: y",
     "X-Client-Request-Id: \xe9", "Cookie: tollway_session=\xff", "Idempotency-Key: a", "x-tollway-dry-run: true",
     "Origin: http://x",
     "Content-Encoding: gzip", "Accept: text/html", "If-None-Match: \"", "X: {long}", "Trailer: x", "TE: trailers",
     "Range: bytes=0-"]
)  # fmt: skip
_BODIES = st.sampled_from(
    ["", _BODY, "hello", f"{len(_BODY):x}\r\n{_BODY}\r\n0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n",
    "5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n", "-1\r\n", "ffffffffffffffff\r\nx",
     "5\nhello\n0\n\n", "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n", "\x00\xff\r\n\r\n", "a=b&csrf=c", "{" * 3000]
)  # fmt: skip
_ENDS = st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r"])


@st.composite
def conversations(draw: st.DrawFn) -> dict[str, Any]:
    """One to three requests, cut into packets anywhere."""
    text = ""
    for _ in range(draw(st.integers(1, 3))):
        end = draw(_ENDS)
        text += end.join([draw(_LINES), *draw(st.lists(_HEADERS, max_size=6)), "", draw(_BODIES)])
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=2)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    return {"send": [piece for piece in pieces if piece], "then": draw(st.sampled_from(["wait", "wait", "half", "leave"]))}


TARGETS = (Target("http", "HTTP on raw sockets: smuggling, nonsense, early ends", conversations(), check_http, 25),)
