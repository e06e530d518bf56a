"""Exchanges with the engine: whole under any split of the bytes, and loud when the engine breaks off."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tollway.providers import engine_http
from tollway.providers.engine_http import Exchange

CHUNKED = b"HTTP/1.1 200 OK\r\nServer: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def served(*pieces: bytes, hang: bool = False) -> AsyncIterator[Exchange]:
    """An exchange with a server that sends these pieces one by one, and then hangs up."""
    seen: list[bytes] = []
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(4))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if hang:
            await over.wait()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    exchange = Exchange()
    try:
        await exchange.open("127.0.0.1", port, b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody")
        yield exchange
        assert seen == [b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"]
    finally:
        over.set()
        exchange.close()
        server.close()


def chunked(*pieces: bytes) -> bytes:
    return CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_a_chunked_body_under_any_split(size: int) -> None:
    answer = chunked(b"one", b"t" * 300, b"\r\n0\r\n\r\n")

    async with served(*(answer[at : at + size] for at in range(0, len(answer), size))) as exchange:
        assert await exchange.status() == 200
        assert await exchange.rest() == b"one" + b"t" * 300 + b"\r\n0\r\n\r\n"
        assert await exchange.piece() == b""


@pytest.mark.parametrize("size", [1, 5, 1000])
async def test_a_body_of_known_length(size: int) -> None:
    answer = b"HTTP/1.1 404 Not Found\r\ncontent-length:  5\r\n\r\nhello"

    async with served(*(answer[at : at + size] for at in range(0, len(answer), size)), hang=True) as exchange:
        assert await exchange.status() == 404
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
    [b"", b"HTTP/1.1 200", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", CHUNKED + b"zz\r\n", b"x" * 70_000],
    ids=["nothing", "half-a-head", "no-http", "no-length", "no-size", "endless-head"],
)
async def test_what_is_no_answer_is_an_error(answer: bytes) -> None:
    async with served(answer) as exchange:
        with pytest.raises(ConnectionError):
            await exchange.rest() if answer.startswith(CHUNKED) else await exchange.status()


async def test_nobody_there_is_an_error() -> None:
    exchange = Exchange()
    with pytest.raises(OSError, match=r"."):
        await exchange.open("127.0.0.1", 1, b"")
    exchange.close()


async def test_silence_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_http, "SILENCE_SECONDS_MAX", 0.05)
    async with served(CHUNKED, hang=True) as exchange:
        assert await exchange.status() == 200
        with pytest.raises(TimeoutError):
            await exchange.piece()


async def test_a_slow_reader_makes_the_engine_wait() -> None:
    piece = b"p" * 60_000
    async with served(chunked(*[piece] * 100)) as exchange:
        await exchange.status()
        await asyncio.sleep(0.2)
        first = await exchange.piece()

        assert len(first) < 3 << 20
        assert first + await exchange.rest() == piece * 100


async def test_closing_hangs_up() -> None:
    left = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        left.set()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    exchange = Exchange()
    await exchange.open("127.0.0.1", server.sockets[0].getsockname()[1], b"")
    await exchange.status()
    exchange.close()

    await asyncio.wait_for(left.wait(), 5)
    server.close()
