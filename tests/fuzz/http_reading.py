"""Requests as our server reads them and as h11 does, without a server: where both read, they read the same."""

import h11
from hypothesis import strategies as st
from tests.fuzz.target import Target, World

from tollway.server import heads
from tollway.server.bodies import Chunks
from tollway.server.heads import CHUNKED, Refused

Read = tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]
"""Method, path with query, headers, body."""


def ours(data: bytes) -> tuple[Read, bytes] | None:
    """The first request, and what follows it; None when it is refused, or is not all there."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    try:
        head = heads.parse(data, end)
        rest = data[end + 4 :]
        if head.length == CHUNKED:
            chunks = Chunks()
            body = chunks.feed(rest)
            if chunks.rest is None:
                return None
            rest = chunks.rest
        elif len(rest) < head.length:
            return None
        else:
            body, rest = rest[: head.length], rest[head.length :]
    except Refused:
        return None
    target = head.raw_path + (b"?" + head.query if b"?" in data[:end].split(b" ")[1] else b"")
    return (head.method.encode(), target, head.fields, body), rest


def theirs(data: bytes) -> tuple[Read, bytes] | None:
    """The same as h11 has it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=2**20)
    connection.receive_data(data)
    body, request = b"", None
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                return None
    except h11.RemoteProtocolError:
        return None
    assert request is not None
    fields = [(bytes(name), bytes(value)) for name, value in request.headers]
    return (bytes(request.method), bytes(request.target), fields, body), bytes(connection.trailing_data[0])


def _plain(fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """h11 writes the name of a coding in lower case."""
    return [(name, value.lower() if name == b"transfer-encoding" else value) for name, value in fields]


def check_reading(case: str, _: World) -> None:
    data = case.encode("latin-1", "replace")
    while (mine := ours(data)) is not None:
        other = theirs(data)
        if other is None:
            break  # it is stricter here
        if mine[0][1].startswith(b"/") and other[0][1].startswith(b"/"):  # h11 leaves the absolute form as it is
            assert mine[0][1] == other[0][1]
        assert (mine[0][0], _plain(mine[0][2]), mine[0][3]) == (other[0][0], _plain(other[0][2]), other[0][3])
        assert mine[1] == other[1], "they do not agree on where the next one begins"
        data = mine[1]


_LINES = st.sampled_from(
    [
        "GET / HTTP/1.1",
        "POST /a?b HTTP/1.1",
        "POST /? HTTP/1.0",
        "OPTIONS * HTTP/1.1",
        "GET http://x/y HTTP/1.1",
        "GET  / HTTP/1.1",
    ]
)
_FIELDS = st.sampled_from(
    [
        *(f"Content-Length: {value}" for value in ("5", "05", "5 ", "5\t", "5,5", "0", "")),
        *(f"Transfer-Encoding: {value}" for value in ("chunked", "CHUNKED", "chunked ", "gzip, chunked", "")),
        *("Content-Length:5", "Content-Length : 5", "Transfer-Encoding : chunked", "Expect: 100-continue"),
        *("Host: x", "X: a\tb", "X:", "X: \xff", "X: \x7f", "X: a\r", "X: a\rb", " X: y", "X"),
    ]
)
_BODIES = st.sampled_from(
    [
        *("", "hello", "5\r\nhello\r\n0\r\n\r\n", '5;a="b"\r\nhello\r\n00\r\nX: y\r\n\r\n', "05\r\nhello\r\n0\r\n\r\n"),
        *("5\nhello\n0\n\n", "0x5\r\nhello\r\n0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", "0\r\n\r\n"),
        *("0\r\nX : y\r\n\r\n", "5\r\nhello!\r\n0\r\n\r\n"),
    ]
)
_ENDS = st.sampled_from(["\r\n"] * 6 + ["\n", "\r"])


@st.composite
def requests(draw: st.DrawFn) -> str:
    """One to three, with something wrong now and then."""
    text = ""
    for _ in range(draw(st.integers(1, 3))):
        end = draw(_ENDS)
        text += end.join([draw(_LINES), "Host: x", *draw(st.lists(_FIELDS, max_size=3)), "", draw(_BODIES)])
    if draw(st.integers(0, 5)) == 0 and text:
        at = draw(st.integers(0, len(text) - 1))
        text = text[:at] + draw(st.sampled_from(["\0", " ", "\t", ":", "\n", "\r", "\x80", ""])) + text[at + 1 :]
    return text


TARGETS = (Target("http-reading", "requests, as our server reads them and as h11 does", requests(), check_reading, 500),)
