"""Connections that are used again: never one that cannot be trusted, and what breaks as it is used again costs nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from tests.unit.providers.test_http import Server, chunked, serving

from tollway.outbox import FEW
from tollway.providers import http
from tollway.providers.http import HttpClient, post_head, target_of


async def test_a_connection_is_used_again() -> None:
    server = Server((chunked(b"one"),), (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo",), (chunked(b"three"),), stays=True)
    async with serving(server) as send:
        for expected in (b"one", b"two", b"three"):
            exchange = await send()
            assert await exchange.head() == 200
            assert await exchange.rest() == expected
            exchange.close()
            exchange.close()  # once more does nothing

    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\none",
        b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\none",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none and more",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
    ],
    ids=["close", "1.0", "stray-bytes", "two-lengths"],
)
async def test_a_connection_that_cannot_be_trusted_is_not_used_again(answer: bytes) -> None:
    server = Server((answer,), (answer,), stays=True)
    async with serving(server) as send:
        for _ in range(2):
            exchange = await send()
            assert await exchange.rest() == b"one"
            exchange.close()

    assert server.connections == 2


async def test_a_connection_that_was_closed_meanwhile_is_not_used_again() -> None:
    server = Server((chunked(b"one"),), (chunked(b"two"),))
    async with serving(server) as send:
        exchange = await send()
        assert await exchange.rest() == b"one"
        exchange.close()
        while not exchange.is_lost:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
        exchange = await send()
        assert await exchange.rest() == b"two"
        exchange.close()

    assert server.connections == 2


class Leaver(Server):
    """Answers `good` requests of each connection; as the next one comes, its idle time is over and it hangs up."""

    def __init__(self, good: int, *, seconds: float = 0.0, before: bytes = b"") -> None:
        super().__init__()
        self._good, self._seconds, self._before = good, seconds, before

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            for _ in range(self._good):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(chunked(b"one"))
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(self._seconds)
            writer.write(self._before)
        except asyncio.IncompleteReadError:
            self.left.set()
        finally:
            writer.close()


@asynccontextmanager
async def posting(server: Server) -> AsyncIterator[Callable[[], "asyncio.Future[bytes]"]]:
    """A function that posts to it and gives the whole answer."""
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    target = target_of(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/")
    client = HttpClient(silence_seconds=30, connect_seconds=5)

    async def post() -> bytes:
        exchange = await client.post(target, post_head(target, {}), b"")
        try:
            return await exchange.rest()
        finally:
            exchange.close()
            assert not client.in_use

    try:
        yield lambda: asyncio.ensure_future(post())
    finally:
        client.close()
        listening.close()


async def test_a_kept_connection_that_is_closed_as_it_is_used_costs_nothing() -> None:
    server = Leaver(1)
    async with posting(server) as post:
        assert [await post() for _ in range(4)] == [b"one"] * 4
    assert server.connections == 4


@pytest.mark.parametrize("server", [Leaver(0), Leaver(1, before=b"HTTP/1.1 103 Early Hints\r\n\r\n"), Leaver(1, seconds=0.3)])
async def test_a_request_that_somebody_may_have_worked_at_is_not_sent_again(
    server: Leaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_STALE_SECONDS_MAX", 0.2)
    async with posting(server) as post:
        if server._good:
            assert await post() == b"one"
        with pytest.raises(ConnectionError):
            await post()
    assert server.connections == 1


async def test_a_connection_of_which_the_end_was_read_is_not_used_again() -> None:
    async with serving(Server((chunked(b"one"),), stays=True)) as send:
        exchange = await send()
        assert await exchange.rest() == b"one"
        exchange.close()
        exchange.eof_received()  # as if it came from the far end; that it is lost is told later
        assert exchange.is_lost


async def test_bytes_that_nobody_asked_for_end_a_kept_connection() -> None:
    server = Server((chunked(b"one"), b""), (chunked(b"two"),), stays=True)
    async with serving(server) as send:
        exchange = await send()
        assert await exchange.rest() == b"one"
        exchange.close()
        exchange.data_received(b"HTTP/1.1 200 OK\r\n\r\n")  # as if it came from the far end
        assert exchange.is_lost
        exchange = await send()
        assert await exchange.rest() == b"two"
        exchange.close()


async def test_requests_at_once_have_connections_of_their_own() -> None:
    server = Server((chunked(b"one"),), (chunked(b"two"),), stays=True)
    async with serving(server) as send:
        first, second = await send(), await send()
        assert {await first.rest(), await second.rest()} == {b"one", b"two"}
        first.close()
        second.close()

    assert server.connections == 2


async def test_a_client_that_keeps_nothing() -> None:
    server = Server((chunked(b"one"),), (chunked(b"two"),), stays=True)
    async with serving(server, keep=False) as send:
        for expected in (b"one", b"two"):
            exchange = await send()
            assert await exchange.rest() == expected
            exchange.close()

    assert server.connections == 2


async def test_a_connection_on_which_a_request_is_still_on_its_way_is_not_used_again() -> None:
    """An early refusal: what is left of the request would stand before the next one."""
    refused = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await refused.wait()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
    client = HttpClient(silence_seconds=30, connect_seconds=5)
    target = target_of(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/")
    exchange = await client.post(target, post_head(target, {}), b"x" * (16 << 20))
    assert (exchange.status, await exchange.rest()) == (413, b"no")
    exchange.close()
    assert client.kept == 0
    refused.set()
    client.close()
    listening.close()


async def test_many_requests_that_leave_together_are_answered() -> None:
    many = 4 * FEW
    server = Server(*[(chunked(b"%d" % number),) for number in range(3 * many)], stays=True)
    async with serving(server) as send:
        for _ in range(3):  # after the first time they wait for each other
            exchanges = await asyncio.gather(*[send() for _ in range(many)])
            assert len({await exchange.rest() for exchange in exchanges}) == many
            for exchange in exchanges:
                exchange.close()

    assert server.connections == many
