"""Anything that speaks OpenAI's chat completions: one call is one stream, unless the caller waits for a short answer.

Connections are kept and used again (TLS handshakes cost more than most answers' first token); one that is left early is
closed at once, which is what makes the far end stop generating.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import msgspec

from tollway.catalog import Route
from tollway.errors import BadGateway, TollwayError
from tollway.providers.base import Meter, Take
from tollway.providers.http import HttpClient, Target, post_head, target_of
from tollway.providers.http_connection import Connection
from tollway.providers.images import ImageLoader
from tollway.providers.openai_errors import failed_answer, failed_connection, failed_stream
from tollway.providers.openai_request import check_request, payload_for
from tollway.providers.openai_stream import AnswerReader, UpstreamStreamError
from tollway.providers.sse import EventReader
from tollway.wire.chat import ChatRequest, ChunkChoice, Usage

ANSWER_BYTES_MAX = 16 * 2**20
"""Of an answer in one piece, which has 256 tokens; with logprobs and their alternatives each has kilobytes."""
# A caller who waits for the whole answer is not helped by looking at each piece of it; ten times as long would blur the time
# limits between pieces.
GATHER_SECONDS = 0.05
# The last bytes of a body come with `[DONE]` or right after it. Waiting for them keeps the connection.
TAIL_SECONDS_MAX = 0.05


class OpenAIProvider:
    """The provider of the `openai` dialect, for all its upstreams. One instance serves one process."""

    def __init__(self, image_loader: ImageLoader, http: HttpClient) -> None:
        self._images = image_loader
        self._http = http

    def check(self, request: ChatRequest, route: Route) -> list[str]:
        """See Provider."""
        return check_request(request, route)

    async def answer(self, request: ChatRequest, route: Route, meter: Meter, take: Take) -> None:
        """See Provider."""
        payload = await payload_for(request, route, self._images)
        reader = AnswerReader(request, route, payload.prompt_tokens, meter)
        stream = _Stream(reader, take, together=not request.stream)
        usage: Usage | None = None
        try:
            connection = await self._http.post(*_address(route.upstream.base_url, route.upstream.api_key), payload.data)
            try:
                status = connection.status
                kind = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
                if status != 200 or kind == "text/html" or (kind == "application/json" and payload.streams):
                    raise failed_answer(route, status, connection.headers, await connection.error_body())
                if ignored := connection.headers.get("x-tollway-ignored-parameters"):
                    meter.ignored = tuple(map(unquote, ignored.split(", ")))
                if not payload.streams and kind != "text/event-stream":
                    stream.hand_on(reader.read_whole(await connection.rest(ANSWER_BYTES_MAX)))
                    await stream.taken()
                else:
                    while not reader.done and not connection.is_read:
                        if request.stream:
                            await connection.pour(stream.feed)
                        else:
                            stream.feed(await connection.piece(GATHER_SECONDS))
                        await stream.taken()
                    if not reader.done:
                        stream.finish()
                        await stream.taken()
                        if not reader.complete:
                            _check_stray(stream.stray)
                usage = reader.finish()
                take(usage)  # before the tail: who leaves now has had a whole answer
                if not connection.is_read:
                    await _read_tail(connection)
            finally:
                if usage is None:
                    reader.break_off()
                connection.close()
        except UpstreamStreamError as problem:
            raise failed_stream(route, problem.error, begun=stream.begun) from None
        except OSError as problem:
            raise failed_connection(route, problem, begun=stream.begun) from problem
        except TollwayError as problem:
            # Nothing that breaks an answer that has begun is the caller's fault any more.
            raise problem if not stream.begun or isinstance(problem, BadGateway) else BadGateway(problem.message) from None


class _Stream:
    """An answer's bytes in, its items out, as far as there is room for them."""

    def __init__(self, reader: AnswerReader, take: Take, *, together: bool) -> None:
        self.begun = False
        """Whether an item was handed on."""
        self._reader = reader
        self._read = reader.read_together if together else reader.read
        self._events = EventReader()
        self._take = take
        self._chunks: Iterator[ChunkChoice] = iter(())
        self._room: asyncio.Future[Any] | None = None

    def feed(self, data: bytes) -> bool:
        """Whether there may be more: not once the answer has ended, nor before `taken` where there is no room left."""
        return self.hand_on(self._read(self._events.feed(data)))

    def finish(self) -> None:
        """The bytes have ended, the answer has not."""
        self.hand_on(self._read(self._events.finish()))

    def hand_on(self, chunks: Iterable[ChunkChoice]) -> bool:
        """As `feed`."""
        self._chunks = iter(chunks)
        for chunk in self._chunks:
            self.begun = True
            self._room = self._take(chunk)
            if self._room is not None:
                return False
        return not self._reader.done

    async def taken(self) -> None:
        """Waits until all that came is handed on and there is room for more."""
        while (room := self._room) is not None:
            self._room = None
            await room
            self.hand_on(self._chunks)

    @property
    def stray(self) -> bytearray:
        """See EventReader."""
        return self._events.stray


@lru_cache(maxsize=256)
def _address(base_url: str, api_key: str | None) -> tuple[Target, bytes]:
    """Where an upstream's requests go, and the head that they begin with."""
    target = target_of(base_url + "/chat/completions")
    return target, post_head(target, {"Authorization": f"Bearer {api_key}"} if api_key else {})


def _check_stray(stray: bytes | bytearray) -> None:
    """Raises UpstreamStreamError for an error that stands in the stream without being an event."""
    if stray.lstrip().startswith((b"{", b"[")):
        try:
            found = msgspec.json.decode(stray)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        raise UpstreamStreamError(found)


async def _read_tail(connection: Connection) -> None:
    """Waits briefly for the body's end, with which the connection can be used again."""
    with contextlib.suppress(OSError):
        async with asyncio.timeout(TAIL_SECONDS_MAX):
            while await connection.piece():
                pass
