"""Exchanges with upstreams and engines: whole under any split of the bytes, and loud when the far end breaks off."""

import asyncio
import gzip
import socket
import threading
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tollway.providers.http import CannotConnect, HttpClient, Target, target_of
from tollway.providers.http_connection import Connection, _chunk_size

CHUNKED = b"HTTP/1.1 200 OK\r\nServer: x\r\nTransfer-Encoding: chunked\r\n\r\n"
REQUEST = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"


class Server:
    """Answers each request with the next of these lists of pieces; then hangs up, or with `stays` waits for another request."""

    def __init__(self, *answers: tuple[bytes, ...], stays: bool = False) -> None:
        self.connections = 0
        self.left = asyncio.Event()
        """A client has hung up."""
        self._answers = iter(answers)
        self._stays = stays

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await reader.readuntil(b"\r\n\r\n") and await reader.readexactly(4):
                for piece in next(self._answers):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if not self._stays:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()


@asynccontextmanager
async def serving(server: Server, **options: Any) -> AsyncIterator[Callable[[], "asyncio.Future[Connection]"]]:
    """A function that sends a request to it."""
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    target = target_of(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/")
    client = HttpClient(**{"silence_seconds": 30, "connect_seconds": 5} | options)
    try:
        yield lambda: asyncio.ensure_future(client.send(target, REQUEST))
    finally:
        client.close()
        listening.close()


@asynccontextmanager
async def served(*pieces: bytes, stays: bool = False, **options: Any) -> AsyncIterator[Connection]:
    """An exchange with a server that sends these pieces one by one."""
    async with serving(Server(pieces, stays=stays), **options) as send:
        exchange = await send()
        try:
            yield exchange
        finally:
            exchange.close()


def chunked(*pieces: bytes) -> bytes:
    return CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_a_chunked_body_under_any_split(size: int) -> None:
    answer = chunked(b"one", b"t" * 300, b"\r\n0\r\n\r\n")

    async with served(*(answer[at : at + size] for at in range(0, len(answer), size))) as exchange:
        assert await exchange.head() == 200
        assert await exchange.rest() == b"one" + b"t" * 300 + b"\r\n0\r\n\r\n"
        assert await exchange.piece() == b""


@pytest.mark.parametrize("size", [1, 5, 1000])
async def test_a_body_of_known_length(size: int) -> None:
    answer = b"HTTP/1.1 404 Not Found\r\ncontent-length:  5\r\n\r\nhello"

    async with served(*(answer[at : at + size] for at in range(0, len(answer), size)), stays=True) as exchange:
        assert await exchange.head() == 404
        assert await exchange.rest() == b"hello"


async def test_an_empty_body() -> None:
    async with served(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as exchange:
        assert await exchange.rest() == b""


async def test_what_came_before_the_break_is_still_read() -> None:
    async with served(chunked(b"first")[:-5]) as exchange:
        assert await exchange.piece() == b"first"
        with pytest.raises(ConnectionError):
            await exchange.piece()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"nonsense\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: line\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 5\r\n\r\nhello",
        b"x" * 70_000,
    ],
)
async def test_a_head_that_is_none_is_an_error(answer: bytes) -> None:
    async with served(answer) as exchange:
        with pytest.raises(ConnectionError):
            await exchange.head()


@pytest.mark.parametrize(
    "body",
    [b"zz\r\n", b"-5\r\nhello\r\n", b"+5\r\nhello\r\n", b"5\r\nhello!!", b"\r\n", b"5\r\nhell", b"5" * 5000],
)
async def test_a_chunk_that_is_none_is_an_error(body: bytes) -> None:
    async with served(CHUNKED + body) as exchange:
        with pytest.raises(ConnectionError):
            await exchange.rest()


@pytest.mark.parametrize("size", [1, 100_000])
async def test_a_chunk_with_an_endless_extension_is_an_error_and_is_not_remembered(size: int) -> None:
    remembered = _chunk_size.cache_info().currsize
    for more in (b"x" * 4000, b"x" * 5000):
        body = CHUNKED + b"3;a=" + more + b"\r\none\r\n0\r\n\r\n"
        async with served(*(body[at : at + size] for at in range(0, len(body), size))) as exchange:
            if len(more) < 4096:
                assert await exchange.rest() == b"one"
            else:
                with pytest.raises(ConnectionError, match="endless"):
                    await exchange.rest()
    assert _chunk_size.cache_info().currsize <= remembered + 1  # of the last chunk


async def test_nothing_is_read_after_a_break() -> None:
    async with served(CHUNKED, b"no size\r\n", stays=True) as exchange:
        with pytest.raises(ConnectionError, match="no chunk size"):
            await exchange.rest()
        exchange.data_received(b"3\r\none\r\n0\r\n\r\n")  # as if it came from the far end
        assert not exchange.is_read
        assert not exchange._buffer.endswith(b"one\r\n0\r\n\r\n")


async def test_interim_heads_and_trailers_and_extensions_are_passed_over() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    async with served(early + early + CHUNKED + b'5;name="value"\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n') as exchange:
        assert await exchange.head() == 200
        assert await exchange.rest() == b"hello"


async def test_a_body_without_a_length_ends_with_the_connection() -> None:
    async with served(b"HTTP/1.0 200 OK\r\nX-One: 1\r\nx-one: 2\r\n\r\nall", b" of it") as exchange:
        assert await exchange.rest() == b"all of it"
        assert exchange.headers == {"x-one": "1, 2"}
        assert not exchange.is_reusable


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
async def test_a_packed_body_is_unpacked(pack: Callable[[bytes], bytes]) -> None:
    packed = pack(b"text " * 1000)
    name = b"gzip" if pack is gzip.compress else b"deflate"
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (name, len(packed))
    async with served(head, packed[:9], packed[9:]) as exchange:
        assert await exchange.rest() == b"text " * 1000


async def test_a_packed_body_does_not_fill_the_memory() -> None:
    packed = gzip.compress(bytes(1 << 28))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    async with served(head + packed) as exchange:
        with pytest.raises(ConnectionError):
            await exchange.rest()


async def test_nor_do_many_packed_chunks_at_once() -> None:
    packer = zlib.compressobj(wbits=31)
    chunks = [packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_SYNC_FLUSH) for _ in range(40)]
    packed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    assert len(packed) < 1 << 16, "one read has them all"
    async with served(CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n") + packed) as exchange:
        with pytest.raises(ConnectionError):
            await exchange.rest()
        assert len(exchange._body) <= 9 << 20


async def test_what_follows_a_packed_body_is_thrown_away() -> None:
    head = CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in (gzip.compress(b"all"), *[bytes(60_000)] * 50))
    async with served(head + pieces + b"0\r\n\r\n") as exchange:
        assert await exchange.rest() == b"all"
        assert exchange._unpack is not None
        assert len(exchange._unpack.unused_data) < 60_000


async def test_nobody_there_is_an_error() -> None:
    client = HttpClient(silence_seconds=1, connect_seconds=5)
    for target in (Target("127.0.0.1", 1, False, "/", "x"), Target("localhost", 1, False, "/", "x")):
        with pytest.raises(CannotConnect):
            await client.send(target, REQUEST)


async def test_a_name_is_looked_up() -> None:
    server = Server((b"HTTP/1.1 204 No Content\r\n\r\n",))
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    target = target_of(f"http://localhost:{listening.sockets[0].getsockname()[1]}/")
    exchange = await HttpClient(silence_seconds=5, connect_seconds=5).send(target, REQUEST)
    assert await exchange.head() == 204
    assert await exchange.piece() == b""
    exchange.close()
    listening.close()


async def test_a_name_whose_servers_are_silent_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    answers, look_up = threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: Any, **options: Any) -> list[Any]:
        asked.append(host)
        if host == "silent.test":
            answers.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    client = HttpClient(silence_seconds=30, connect_seconds=30)
    waiting = [asyncio.ensure_future(client.send(Target("silent.test", 1, False, "/", "x"), REQUEST)) for _ in range(40)]
    await asyncio.sleep(0)  # they are first
    try:
        async with asyncio.timeout(20):
            with pytest.raises(CannotConnect, match="Connect call failed"):
                await client.send(Target("localhost", 1, False, "/", "x"), REQUEST)
    finally:
        waiting[0].cancel()
        answers.set()
    left, *others = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(left, asyncio.CancelledError)
    assert {str(each) for each in others} == {"[Errno -3] Temporary failure in name resolution"}
    assert sorted(asked) == ["localhost", "silent.test"]


async def test_silence_is_an_error() -> None:
    async with served(CHUNKED, stays=True, silence_seconds=0.05) as exchange:
        assert await exchange.head() == 200
        with pytest.raises(TimeoutError):
            await exchange.piece()


async def test_a_slow_reader_makes_the_far_end_wait() -> None:
    piece = b"p" * 60_000
    async with served(chunked(*[piece] * 100)) as exchange:
        await exchange.head()
        await asyncio.sleep(0.2)
        first = await exchange.piece()

        assert len(first) < 3 << 20
        assert first + await exchange.rest() == piece * 100


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_a_body_is_poured_under_any_split(size: int) -> None:
    answer = chunked(b"one", b"t" * 300, b"\r\n0\r\n\r\n")
    poured: list[bytes] = []

    def take(data: bytes) -> bool:
        poured.append(data)
        return True

    async with served(*(answer[at : at + size] for at in range(0, len(answer), size))) as exchange:
        await exchange.head()
        await exchange.pour(take)
        assert exchange.is_read
        assert b"".join(poured) == b"one" + b"t" * 300 + b"\r\n0\r\n\r\n"
        assert all(poured)


async def test_who_has_enough_is_poured_no_more_until_he_asks_again() -> None:
    piece = b"p" * 60_000
    poured: list[bytes] = []

    def take(data: bytes) -> bool:
        poured.append(data)
        return len(poured) > 2

    async with served(chunked(*[piece] * 100)) as exchange:
        await exchange.head()
        for count in (1, 2):
            await exchange.pour(take)
            await asyncio.sleep(0.1)
            assert len(poured) == count
        assert sum(map(len, poured)) < 3 << 20  # the far end waits meanwhile
        await exchange.pour(take)
        assert b"".join(poured) == piece * 100


async def test_what_comes_before_a_break_is_poured_and_then_it_is_raised() -> None:
    poured = bytearray()

    def take(data: bytes) -> bool:
        poured.extend(data)
        return True

    async with served(chunked(b"first")[:-5]) as exchange:
        with pytest.raises(ConnectionError):
            await exchange.pour(take)
    assert poured == b"first"


@pytest.mark.parametrize("waits", [False, True], ids=["what is there", "what comes"])
async def test_what_its_reader_raises_ends_the_pouring(waits: bool) -> None:
    def take(_: bytes) -> bool:
        raise ZeroDivisionError

    async with served(CHUNKED, b"3\r\none\r\n", stays=True) as exchange:
        await exchange.head()
        await asyncio.sleep(0 if waits else 0.1)
        with pytest.raises(ZeroDivisionError):
            await exchange.pour(take)


async def test_nothing_is_poured_to_who_has_left() -> None:
    poured: list[bytes] = []

    def take(data: bytes) -> bool:
        poured.append(data)
        return True

    async with served(CHUNKED, b"3\r\none\r\n", stays=True) as exchange:
        await exchange.head()
        pouring = asyncio.create_task(exchange.pour(take))
        await asyncio.sleep(0.1)
        pouring.cancel()
        exchange.data_received(b"3\r\ntwo\r\n")  # in the same round of the loop
        with pytest.raises(asyncio.CancelledError):
            await pouring
        assert poured == [b"one"]


async def test_closing_in_mid_answer_hangs_up() -> None:
    server = Server((CHUNKED,), stays=True)
    async with serving(server) as send:
        exchange = await send()
        await exchange.head()
        exchange.close()
        await asyncio.wait_for(server.left.wait(), 5)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://a.example", Target("a.example", 80, False, "/", "a.example")),
        ("https://a.example:8443/v1/x?alt=sse", Target("a.example", 8443, True, "/v1/x?alt=sse", "a.example:8443")),
        ("http://[::1]:8000/v1", Target("::1", 8000, False, "/v1", "[::1]:8000")),
    ],
)
def test_where_a_url_leads(url: str, target: Target) -> None:
    assert target_of(url) == target
