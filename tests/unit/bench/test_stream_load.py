import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from bench.static_upstream import WORD, StaticUpstream
from bench.stream_load import CHUNKS, Place, Reader, StreamError, readers

Change = Callable[[bytes], bytes]


@contextlib.asynccontextmanager
async def proxy(upstream_port: int, change: Change, piece_bytes: int) -> AsyncIterator[int]:
    """The port of a gateway that passes answers on, changed, in pieces."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_upstream, to_upstream = await asyncio.open_connection("127.0.0.1", upstream_port)

        async def ask() -> None:
            while data := await reader.read(1 << 16):
                to_upstream.write(data)
            to_upstream.close()

        async def answer() -> None:
            while data := await from_upstream.read(piece_bytes):
                writer.write(change(data))
                await writer.drain()
            writer.close()

        await asyncio.gather(ask(), answer(), return_exceptions=True)
        to_upstream.close()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def read_through(
    change: Change = bytes, *, piece_bytes: int = 1 << 16, stepwise: bool = False
) -> AsyncIterator[Sequence[Reader]]:
    """Three connections that read through such a gateway, and have read two streams each unless one has failed."""
    upstream = StaticUpstream()
    async with (
        upstream.serving() as upstream_port,
        proxy(upstream_port, change, piece_bytes) as port,
        readers(Place(port), upstream, 3, stepwise=stepwise) as opened,
    ):
        for _ in range(6000):
            if all(reader.streams >= 2 or reader.failure for reader in opened):
                break
            await asyncio.sleep(0.01)
        yield opened


@pytest.mark.parametrize("stepwise", [True, False])
@pytest.mark.parametrize("piece_bytes", [50, 1 << 16])
async def test_every_word_of_a_stream_is_counted_however_it_is_cut(stepwise: bool, piece_bytes: int) -> None:
    async with read_through(piece_bytes=piece_bytes, stepwise=stepwise) as opened:
        for reader in opened:
            assert reader.streams >= 2
            assert reader.words >= 2 * CHUNKS
            assert len(reader.first_seconds) >= reader.streams
            assert min(reader.first_seconds) > 0


async def test_word_by_word_no_word_is_sent_before_the_one_before_has_come() -> None:
    seen: list[int] = []

    def watch(data: bytes) -> bytes:
        seen.append(data.count(WORD))
        return data

    async with read_through(watch, stepwise=True):
        pass

    assert max(seen) == 1


async def test_a_gateway_that_loses_words_is_told() -> None:
    with pytest.raises(StreamError, match="180 words of 200"):
        async with read_through(lambda data: data.replace(b"word7~", b"word7.")):
            pass


async def test_a_refusal_is_told() -> None:
    with pytest.raises(StreamError, match="429 Too Many"):
        async with read_through(lambda data: data.replace(b"200 OK", b"429 Too Many Requests")):
            pass


async def test_idle_streams_have_their_first_word_and_no_other() -> None:
    upstream = StaticUpstream()

    async with upstream.serving() as port, readers(Place(port), upstream, 100, "[idle]") as opened:
        assert [reader.words for reader in opened] == [1] * 100
