"""Who sends slowly, or not at all, is not waited for."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.live import LiveServer, serving

RECEIVE_SECONDS = 1.0
SECONDS_MAX = 15.0

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n"
FORM = b"POST /signin HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
SLOW: dict[str, tuple[bytes, bytes, bytes]] = {
    "nothing at all": (b"", b"", b""),
    "half a line": (b"GET /heal", b"", b""),
    "a header at a time": (b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"X: a\r\n", b""),
    "a byte of a header at a time": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ", b"a", b""),
    "nothing after an answer": (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"", b"200"),
    "no body": (CHAT + b"Content-Length: 1000\r\n\r\n", b"", b"408"),
    "half a body": (CHAT + b"Content-Length: 1000\r\n\r\n{", b"", b"408"),
    "a byte of the body at a time": (CHAT + b"Content-Length: 1000\r\n\r\n{", b" ", b"408"),
    "a chunk of a byte at a time": (CHAT + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", b"408"),
    "half a form": (FORM + b"Content-Length: 1000\r\n\r\na", b"", b"408"),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"", b"400"),
}
"""What is sent first, what then ten times a second, and the status of the answer."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    home = tmp_path_factory.mktemp("slow") / "home"
    with serving(home, receive_seconds=str(RECEIVE_SECONDS), local_models="none", stand_in="false") as live:
        yield live


def exchange(server: LiveServer, first: bytes, then: bytes) -> bytes:
    """What comes back until the server closes the connection."""
    answer = b""
    deadline = time.monotonic() + SECONDS_MAX
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(first)
        connection.settimeout(0.1)
        while time.monotonic() < deadline:
            try:
                data = connection.recv(65536)
                if not data:
                    return answer
                answer += data
            except TimeoutError:
                if then:
                    connection.sendall(then)
            except ConnectionError:
                return answer
    raise AssertionError(f"the connection is still open; so far: {answer[:200]!r}")


def test_who_is_slow_is_let_go(service: LiveServer) -> None:
    def ask(name: str) -> bytes:
        first, then, _ = SLOW[name]
        return exchange(service, first.replace(b"%s", service.key.encode()), then)

    with ThreadPoolExecutor(len(SLOW)) as pool:
        answers = dict(zip(SLOW, pool.map(ask, SLOW), strict=True))
    assert {name: answer.partition(b" ")[2][:3] for name, answer in answers.items()} == {
        name: status for name, (_, _, status) in SLOW.items()
    }
    assert b'"code":"request_timeout"' in answers["half a body"]
    assert service.request("GET", "/healthz")[0] == 200


def test_a_large_body_may_take_its_time(service: LiveServer) -> None:
    """It takes three times as long as a small one may, and is read to its end all the same."""
    size, pieces = 300_000, 30
    head = CHAT.replace(b"%s", service.key.encode()) + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % size
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(head)
        for _ in range(pieces):
            connection.sendall(b" " * (size // pieces))
            time.sleep(3 * RECEIVE_SECONDS / pieces)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"invalid_json"' in answer
