"""Guarded fetching against a real https server: what it delivers, and what a hostile one cannot do."""

import asyncio
import contextlib
import gzip
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from tests.unit.providers.fetching_support import NAMES, PARAM, Resolver, fetcher, listening, refusal

from tollway.errors import InvalidRequest
from tollway.providers.guarded_fetch import GuardedFetcher, is_public
from tollway.providers.images import ImageLoader

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x02\x00\x00\x00\x03\x08\x06\x00\x00\x00\x00\x00\x00\x00"
LOOPBACK = ip_address("127.0.0.1")

Handler = Callable[["Server", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def network() -> Iterator[list[tuple[str, Any]]]:
    with listening() as heard:
        yield heard


class Server:
    """An https server on loopback that answers as its handler says; notes the head of each request and its SNI."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.heads: list[str] = []
        self.names: list[str | None] = []
        self.sent = 0
        self.handler: Handler = answer(PNG)
        self.port = 0
        self._context = context
        if context is not None:
            context.sni_callback = lambda _, name, __: self.names.append(name)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Server"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            try:
                self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
                await self.handler(self, reader, writer)
            finally:
                writer.close()
                await writer.wait_closed()


def answer(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> Handler:
    async def handler(_: Server, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()

    return handler


def redirect(*locations: str, status: str = "302 Found") -> Handler:
    """Sends to the locations one after the other; then answers with the image."""
    rest = iter(locations)

    async def handler(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        location = next(rest, None)
        step = answer(PNG) if location is None else answer(b"", f"Location: {location}", "Set-Cookie: a=b", status=status)
        await step(server, reader, writer)

    return handler


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command makes the server's certificate")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    names = "subjectAltName=DNS:image.test,DNS:other.test,IP:127.0.0.1"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=image.test"]
    subprocess.run([*command, "-addext", names, "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True)
    with path.open("a") as file:
        file.write(Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
async def server(certificate: Path) -> AsyncIterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with Server(context).running() as server:
        yield server


@pytest.fixture
async def guarded(server: Server, certificate: Path) -> AsyncIterator[GuardedFetcher]:
    async with local_fetcher(server, certificate) as guarded:
        yield guarded


def local_fetcher(
    server: Server, certificate: Path | None, **options: Any
) -> contextlib.AbstractAsyncContextManager[GuardedFetcher]:
    """A fetcher for which 127.0.0.1 is public, and nothing else that was not before."""
    settings: dict[str, Any] = {
        "resolve": Resolver({**NAMES, "image.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]}),
        "is_public": lambda address: address == LOOPBACK or is_public(address),
        "ports": frozenset({443, server.port}),
        "ssl_context": ssl.create_default_context(cafile=certificate) if certificate else None,
        "bytes_max": 100_000,
    }
    return fetcher(**settings | options)


async def test_fetches(server: Server, guarded: GuardedFetcher, network: list[tuple[str, Any]]) -> None:
    assert await guarded.get(f"https://Image.test:{server.port}/a%2Fb?c=ä#d", param=PARAM) == PNG
    assert server.names == ["image.test"]
    line, *headers = server.heads[0].rstrip("\r\n").split("\r\n")
    assert line == "GET /a%2Fb?c=%C3%A4 HTTP/1.1"
    assert sorted(headers) == [
        "Accept-Encoding: identity",
        "Accept: image/*",
        "Connection: close",
        f"Host: image.test:{server.port}",
        "User-Agent: Tollway",
    ]
    assert network == [("socket.connect", ("127.0.0.1", server.port))]  # and no lookup


async def test_fetches_for_the_loader(server: Server, guarded: GuardedFetcher) -> None:
    loaded = await ImageLoader(guarded).read(f"https://image.test:{server.port}/", param=PARAM)
    assert (loaded.info, loaded.data) == (("image/png", 2, 3), PNG)


async def test_literal_address(server: Server, guarded: GuardedFetcher) -> None:
    assert await guarded.get(f"https://2130706433:{server.port}/", param=PARAM) == PNG


async def test_proxies_of_the_environment_are_not_used(
    server: Server, guarded: GuardedFetcher, monkeypatch: pytest.MonkeyPatch, network: list[tuple[str, Any]]
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await guarded.get(f"https://image.test:{server.port}/", param=PARAM) == PNG
    assert network == [("socket.connect", ("127.0.0.1", server.port))]


async def test_rebinding_name_is_asked_once(server: Server, certificate: Path, network: list[tuple[str, Any]]) -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])

    async def resolve(_: str) -> list[str]:
        return next(answers)

    async with local_fetcher(server, certificate, resolve=resolve) as guarded:
        assert await guarded.get(f"https://image.test:{server.port}/", param=PARAM) == PNG
        assert (await refusal(guarded, f"https://image.test:{server.port}/")).code == "image_url_forbidden"
    assert network == [("socket.connect", ("127.0.0.1", server.port))]


async def test_rebinding_between_redirects(server: Server, certificate: Path, network: list[tuple[str, Any]]) -> None:
    answers = iter([["127.0.0.1"], ["127.0.0.1", "169.254.169.254"]])

    async def resolve(_: str) -> list[str]:
        return next(answers)

    server.handler = redirect("/next")
    async with local_fetcher(server, certificate, resolve=resolve) as guarded:
        assert (await refusal(guarded, f"https://image.test:{server.port}/")).code == "image_url_forbidden"
    assert network == [("socket.connect", ("127.0.0.1", server.port))]


async def test_a_redirect_may_not_leave_the_allow_list(
    server: Server, certificate: Path, network: list[tuple[str, Any]]
) -> None:
    server.handler = redirect(f"https://other.test:{server.port}/")
    async with local_fetcher(server, certificate, hosts=frozenset({"image.test"})) as guarded:
        assert (await refusal(guarded, f"https://image.test:{server.port}/")).code == "image_url_forbidden"
    assert len(network) == len(server.heads) == 1

    server.handler = answer(PNG)
    async with local_fetcher(server, certificate, hosts=frozenset({"*.test"})) as guarded:
        assert await guarded.get(f"https://image.test:{server.port}/", param=PARAM) == PNG


async def test_each_fetch_connects_to_what_it_was_told(
    server: Server, certificate: Path, network: list[tuple[str, Any]]
) -> None:
    """Addresses of an earlier fetch of the same name must not come out of a cache."""
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])

    async def resolve(_: str) -> list[str]:
        return next(answers)

    async with local_fetcher(server, certificate, resolve=resolve, is_public=lambda _: True) as guarded:
        assert await guarded.get(f"https://image.test:{server.port}/", param=PARAM) == PNG
        assert (await refusal(guarded, f"https://image.test:{server.port}/")).code == "image_fetch_failed"
    assert [place[0] for _, place in network] == ["127.0.0.1", "127.0.0.2"]


async def test_few_of_many_addresses_are_tried(server: Server, certificate: Path, network: list[tuple[str, Any]]) -> None:
    many = Resolver({"image.test": [f"127.0.1.{last}" for last in range(1, 51)] + ["::1"] * 50})
    async with local_fetcher(server, certificate, resolve=many, is_public=lambda _: True) as guarded:
        await refusal(guarded, f"https://image.test:{server.port}/")
    assert {place[0] for _, place in network} <= {"127.0.1.1", "127.0.1.2", "::1"}
    assert len(network) <= 10


async def test_concurrent_fetches_keep_their_own_addresses(server: Server, guarded: GuardedFetcher) -> None:
    urls = [f"https://{host}:{server.port}/" for host in ("image.test", "metadata.test", "other.test", "mixed.test")] * 8
    results = await asyncio.gather(*(guarded.get(url, param=PARAM) for url in urls), return_exceptions=True)
    assert [result == PNG for result in results] == [True, False] * 16
    assert {result.code for result in results if isinstance(result, InvalidRequest)} == {"image_url_forbidden"}


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_follows_redirects(server: Server, guarded: GuardedFetcher, status: str) -> None:
    server.handler = redirect("/b?c", f"https://other.test:{server.port}/d", f"//image.test:{server.port}/é", status=status)
    assert await guarded.get(f"https://image.test:{server.port}/a", param=PARAM) == PNG
    assert [head.split()[1] for head in server.heads] == ["/a", "/b?c", "/d", "/%C3%A9"]
    assert not any("cookie" in head.lower() or "referer" in head.lower() for head in server.heads)


@pytest.mark.parametrize(
    "location",
    [
        *(
            "http://image.test/",
            "https://10.0.0.1/",
            "//192.168.0.1/",
            "https://169.254.169.254/latest/",
            "https://2130706434/",
        ),
        *(
            "https://[::ffff:10.0.0.1]/",
            "https://metadata.test/",
            "https://user@image.test/",
            "https:\\\\image.test/",
            "\\\\a.b/",
        ),
        *(
            "https://image.test:22/",
            "file:///etc/passwd",
            "data:image/png;base64,AAAA",
            "https://mixed.test/",
            "//[::1/",
            "/a b",
        ),
        *(
            "//localhost/",
            "https://０x7f.2/",
            "gopher://127.0.0.1:6379/_",
            "javascript:alert(1)",
            "https://unknown.test/",
            "/\udc80",
        ),
    ],
)
async def test_redirect_to_where_a_url_may_not_lead(
    server: Server, guarded: GuardedFetcher, network: list[tuple[str, Any]], location: str
) -> None:
    async def handler(_: Server, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n"
        writer.write(head.encode("utf-8", "surrogateescape"))

    server.handler = handler
    error = await refusal(guarded, f"https://image.test:{server.port}/")
    assert error.code in ("image_url_forbidden", "image_fetch_failed")
    assert network == [("socket.connect", ("127.0.0.1", server.port))]


async def test_redirect_loop(server: Server, guarded: GuardedFetcher) -> None:
    server.handler = redirect(*["/again"] * 50)
    assert "redirects more than 3 times" in (await refusal(guarded, f"https://image.test:{server.port}/")).message
    assert len(server.heads) == 4


async def test_redirect_without_location(server: Server, guarded: GuardedFetcher) -> None:
    server.handler = answer(b"", status="302 Found")
    assert "redirects to nowhere" in (await refusal(guarded, f"https://image.test:{server.port}/")).message


@pytest.mark.parametrize("declared", ["length", "chunked", "until close"])
async def test_huge_body_is_not_read_to_its_end(server: Server, guarded: GuardedFetcher, declared: str) -> None:
    headers = {"length": f"Content-Length: {10**12}\r\n", "chunked": "Transfer-Encoding: chunked\r\n", "until close": ""}

    async def handler(server: Server, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\n{headers[declared]}\r\n".encode())
        while True:
            block = b"x" * 0x4000
            writer.write(b"4000\r\n" + block + b"\r\n" if declared == "chunked" else block)
            await writer.drain()
            server.sent += len(block)
            await asyncio.sleep(0)

    server.handler = handler
    error = await refusal(guarded, f"https://image.test:{server.port}/")
    assert (error.code, "larger than 100,000 bytes" in error.message) == ("image_fetch_failed", True)
    sent = server.sent
    await asyncio.sleep(0.1)
    assert server.sent - sent < 20_000_000  # what fits into the system's buffers; the connection is closed


async def test_declared_length_is_enough_to_refuse(server: Server, guarded: GuardedFetcher) -> None:
    server.handler = slow(b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n", b"")
    assert "larger than 100,000 bytes" in (await refusal(guarded, f"https://image.test:{server.port}/")).message


async def test_body_at_the_cap_passes(server: Server, guarded: GuardedFetcher) -> None:
    server.handler = answer(b"x" * 100_000)
    assert len(await guarded.get(f"https://image.test:{server.port}/", param=PARAM)) == 100_000
    server.handler = answer(b"x" * 100_001)
    await refusal(guarded, f"https://image.test:{server.port}/")


def slow(head: bytes, piece: bytes) -> Handler:
    async def handler(_: Server, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)

    return handler


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(slow(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"), id="body"),
        pytest.param(slow(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"), id="head"),
        pytest.param(slow(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"), id="interim answers"),
        pytest.param(slow(b"", b""), id="silence"),
    ],
)
async def test_slow_server(server: Server, certificate: Path, handler: Handler) -> None:
    server.handler = handler
    async with local_fetcher(server, certificate, seconds_max=0.3) as guarded:
        started = time.monotonic()
        error = await refusal(guarded, f"https://image.test:{server.port}/")
        assert time.monotonic() - started < 3
    assert (error.code, "longer than 0.3 seconds" in error.message) == ("image_fetch_failed", True)


async def test_slow_redirects_share_one_clock(server: Server, certificate: Path) -> None:
    moves = redirect(*["/next"] * 50)

    async def handler(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.2)
        await moves(server, reader, writer)

    server.handler = handler
    async with local_fetcher(server, certificate, seconds_max=0.3) as guarded:
        assert "longer than" in (await refusal(guarded, f"https://image.test:{server.port}/")).message


async def test_slow_name_server() -> None:
    async def resolve(_: str) -> list[str]:
        await asyncio.sleep(60)
        return []

    async with fetcher(resolve=resolve, seconds_max=0.05) as guarded:
        assert "longer than" in (await refusal(guarded, "https://public.test/")).message


async def test_server_that_never_shakes_hands() -> None:
    async with Server(None).running() as server, local_fetcher(server, None, seconds_max=0.3) as guarded:
        server.handler = slow(b"", b"")
        assert "longer than" in (await refusal(guarded, f"https://image.test:{server.port}/")).message


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "unknown"])
async def test_gzip_bomb_is_not_unpacked(server: Server, guarded: GuardedFetcher, encoding: str) -> None:
    server.handler = answer(gzip.compress(bytes(10_000_000)), f"Content-Encoding: {encoding}")
    error = await refusal(guarded, f"https://image.test:{server.port}/")
    assert (error.code, "compressed" in error.message) == ("image_fetch_failed", True)


async def test_gzip_without_saying_so_stays_packed(server: Server, guarded: GuardedFetcher) -> None:
    server.handler = answer(gzip.compress(bytes(10_000_000)), "Content-Encoding: Identity")
    with pytest.raises(InvalidRequest, match="gzip data"):
        await ImageLoader(guarded).load(f"https://image.test:{server.port}/", param=PARAM)


@pytest.mark.parametrize(
    "status", ["204 No Content", "206 Partial", "304 Same", "401 No", "404 Secret text", "500 Oops", "999 X"]
)
async def test_other_statuses(server: Server, guarded: GuardedFetcher, status: str) -> None:
    server.handler = answer(b"", "WWW-Authenticate: Basic", status=status)
    error = await refusal(guarded, f"https://image.test:{server.port}/")
    assert (error.code, error.message.endswith(f"with status {status[:3]}.")) == ("image_fetch_failed", True)


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(answer(PNG, length=1000), id="body cut off"),
        pytest.param(slow(b"nonsense\r\n\r\n", b""), id="no http"),
        pytest.param(answer(PNG, "X: " + "a" * 100_000), id="endless header"),
        pytest.param(answer(PNG, "Content-Length: 5"), id="two lengths"),
    ],
)
async def test_broken_answers(server: Server, guarded: GuardedFetcher, handler: Handler) -> None:
    server.handler = handler
    error = await refusal(guarded, f"https://image.test:{server.port}/")
    assert (error.code, "could not be reached or broke off" in error.message) == ("image_fetch_failed", True)


async def test_closed_port_and_failed_connection(certificate: Path) -> None:
    server = Server(None)
    async with server.running():
        pass
    async with local_fetcher(server, certificate) as guarded:
        error = await refusal(guarded, f"https://image.test:{server.port}/")
    assert (error.code, "127.0.0.1" in error.message) == ("image_fetch_failed", False)


async def test_certificate_of_nobody_and_of_another(server: Server, certificate: Path) -> None:
    async with local_fetcher(server, None) as guarded:
        assert "certificate" in (await refusal(guarded, f"https://image.test:{server.port}/")).message
    names = {"stranger.test": ["127.0.0.1"]}
    async with local_fetcher(server, certificate, resolve=Resolver(names)) as guarded:
        assert "certificate" in (await refusal(guarded, f"https://stranger.test:{server.port}/")).message
    assert server.heads == []


async def test_wrong_type_does_not_show_its_text(server: Server, guarded: GuardedFetcher) -> None:
    server.handler = answer(b"<!doctype html><p>secret of the host</p>", "Content-Type: image/png")
    with pytest.raises(InvalidRequest, match="HTML") as caught:
        await ImageLoader(guarded).load(f"https://image.test:{server.port}/", param=PARAM)
    assert (caught.value.code, "secret" in caught.value.message) == ("invalid_image", False)
