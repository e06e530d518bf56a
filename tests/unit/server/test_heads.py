import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tollway.server.heads import CHUNKED, Head, Refused, check_beginning, parse


def head_of(text: str | bytes) -> Head:
    data = text if isinstance(text, bytes) else text.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n"
    return parse(data, data.index(b"\r\n\r\n"))


def test_what_a_head_says() -> None:
    head = head_of("POST /v1/a%20b%C3%A9?c=d&e HTTP/1.1\nHost: x\nContent-Length: 12\nX-Y:\t a  b \t\nEmpty:")
    assert (head.method, head.path, head.raw_path, head.query) == ("POST", "/v1/a bé", b"/v1/a%20b%C3%A9", b"c=d&e")
    assert head.fields == [(b"host", b"x"), (b"content-length", b"12"), (b"x-y", b"a  b"), (b"empty", b"")]
    assert (head.length, head.is_1_1, head.keeps, head.expects) == (12, True, True, False)


def test_a_head_without_fields() -> None:
    head = head_of("GET / HTTP/1.0")
    assert (head.fields, head.length, head.is_1_1, head.keeps) == ([], 0, False, False)


def test_bytes_that_are_no_utf_8_in_a_path() -> None:
    assert head_of("GET /%ff%00 HTTP/1.1").path == "/\ufffd\0"


@pytest.mark.parametrize(
    ("line", "path", "query"),
    [
        ("GET http://elsewhere:80/a?b HTTP/1.1", b"/a", b"b"),
        ("GET HTTPS://elsewhere HTTP/1.1", b"/", b""),
        ("GET http://elsewhere?b HTTP/1.1", b"/", b"b"),
        ("OPTIONS * HTTP/1.1", b"*", b""),
        ("CONNECT elsewhere:80 HTTP/1.1", b"elsewhere:80", b""),
    ],
)
def test_targets_of_other_forms(line: str, path: bytes, query: bytes) -> None:
    head = head_of(line)
    assert (head.raw_path, head.query) == (path, query)


@pytest.mark.parametrize(
    ("version", "connection", "keeps"),
    [
        ("1.1", "close", False),
        ("1.1", "Keep-Alive", True),
        ("1.1", "upgrade , CLOSE", False),
        ("1.1", "x\nConnection: close", False),
        ("1.0", "keep-alive", True),
        ("1.0", "keep-alive, close", False),
        ("1.0", "x", False),
    ],
)
def test_whether_another_request_may_follow(version: str, connection: str, keeps: bool) -> None:
    assert head_of(f"GET / HTTP/{version}\nConnection: {connection}").keeps is keeps


def test_how_the_body_comes() -> None:
    assert head_of("POST / HTTP/1.1\nTransfer-Encoding: Chunked").length == CHUNKED
    assert head_of("POST / HTTP/1.1\nExpect: 100-Continue\nContent-Length: 1").expects
    assert not head_of("POST / HTTP/1.0\nExpect: 100-continue\nContent-Length: 1").expects


REFUSED = {
    "no version": "GET /",
    "HTTP/2": "GET / HTTP/2.0",
    "HTTP/1.2": "GET / HTTP/1.2",
    "two spaces": "GET  / HTTP/1.1",
    "a space at the end": "GET / HTTP/1.1 ",
    "a tab": "GET\t/ HTTP/1.1",
    "a method of no token": "G(T / HTTP/1.1",
    "no slash": "GET a HTTP/1.1",
    "an asterisk": "GET * HTTP/1.1",
    "a letter beyond ASCII": "GET /\xe9 HTTP/1.1",
    "a null character in the path": "GET /\0 HTTP/1.1",
    "a blank before the colon": "GET / HTTP/1.1\nHost : x",
    "no colon": "GET / HTTP/1.1\nHost",
    "no name": "GET / HTTP/1.1\n: x",
    "a folded line": "GET / HTTP/1.1\nX: a\n b",
    "a line that begins with a blank": "GET / HTTP/1.1\n X: a",
    "a null character": "GET / HTTP/1.1\nX: a\0b",
    "a carriage return alone": "GET / HTTP/1.1\nX: a\rY: b",
    "a vertical tab": "GET / HTTP/1.1\nTransfer-Encoding:\x0bchunked",
    "two lengths": "GET / HTTP/1.1\nContent-Length: 1\nContent-Length: 2",
    "one length twice": "GET / HTTP/1.1\nContent-Length: 1\ncontent-length: 1",
    "a list of lengths": "GET / HTTP/1.1\nContent-Length: 1, 1",
    "a length with a sign": "GET / HTTP/1.1\nContent-Length: +1",
    "no length": "GET / HTTP/1.1\nContent-Length:",
    "a length in hexadecimal": "GET / HTTP/1.1\nContent-Length: 0x1",
    "a length beyond 64 bits": "GET / HTTP/1.1\nContent-Length: 18446744073709551617",
    "a digit that is none of ASCII": "GET / HTTP/1.1\nContent-Length: \xb2",
    "a length beside chunks": "GET / HTTP/1.1\nContent-Length: 1\nTransfer-Encoding: chunked",
    "two codings": "GET / HTTP/1.1\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked",
    "a list of codings": "GET / HTTP/1.1\nTransfer-Encoding: gzip, chunked",
    "another coding": "GET / HTTP/1.1\nTransfer-Encoding: identity",
    "chunks in HTTP/1.0": "GET / HTTP/1.0\nTransfer-Encoding: chunked",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    with pytest.raises(Refused) as refused:
        head_of(REFUSED[name])
    assert refused.value.status == 400


def test_a_line_feed_alone_is_refused() -> None:
    for text in (b"GET / HTTP/1.1\nX: y\r\n\r\n", b"GET / HTTP/1.1\r\nX: y\nY: z\r\n\r\n"):
        with pytest.raises(Refused):
            head_of(text)


def test_too_many_headers_are_a_431() -> None:
    head_of("GET / HTTP/1.1" + "\nX: y" * 128)
    with pytest.raises(Refused) as refused:
        head_of("GET / HTTP/1.1" + "\nX: y" * 129)
    assert refused.value.status == 431


_LINES = st.sampled_from(
    [b"GET / HTTP/1.1", b"X: y", b"X:y \t", b" X: y", b"X", b"", b"Content-Length: 5", b"X: a\rb", b": ", b"X : y", b"Y:\xff"]
)


@given(st.lists(_LINES, max_size=5), st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r"]), st.binary(max_size=6))
@example([b"GET / HTTP/1.1", b"X: y"], b"\r\n", b"")
def test_nothing_of_a_head_is_passed_over(lines: list[bytes], end: bytes, more: bytes) -> None:
    data = end.join([b"GET /a HTTP/1.1", *lines]) + more + b"\r\n\r\n"
    at = data.index(b"\r\n\r\n")
    try:
        head = parse(data, at)
    except Refused:
        return
    first, *rest = data[:at].split(b"\r\n")
    assert first == b"GET /a HTTP/1.1"
    assert [(name.lower(), value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in rest)] == head.fields
    assert not re.search(rb"[\r\n\0]", b"".join(name + value for name, value in head.fields))


@given(st.integers(0, 200))
def test_the_beginning_of_a_head_is_none_that_cannot_become_one(count: int) -> None:
    check_beginning(b"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: x\r\nX: y\r"[: count + 1])


@pytest.mark.parametrize(
    "begun", [b"\x16\x03\x01", b"GET /\r\n", b"GET / HTTP/2.0\r\n", b"GET / HTTP/1.1\nHost: x", b" ", b"GET /\0", b"GET /\r"]
)
def test_what_can_become_no_head_is_refused_at_once(begun: bytes) -> None:
    with pytest.raises(Refused):
        check_beginning(begun)
