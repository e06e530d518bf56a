"""Anything that speaks OpenAI's chat completions: one call is one stream, also where the caller wants none.

Connections are kept and used again (TLS handshakes cost more than most answers' first token); one that is left early is
closed at once, which is what makes the far end stop generating.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator

import aiohttp
import msgspec

from tollway import __version__
from tollway.catalog import Route
from tollway.errors import BadGateway, InternalError, TollwayError
from tollway.providers.base import Meter
from tollway.providers.images import ImageLoader
from tollway.providers.openai_errors import failed_answer, failed_connection, failed_stream
from tollway.providers.openai_request import check_request, payload_for
from tollway.providers.openai_stream import AnswerReader, UpstreamStreamError, is_more_text
from tollway.providers.sse import EventReader
from tollway.wire.chat import ChatRequest, ChunkChoice, Usage

ERROR_BYTES_MAX = 64 * 2**10
# Only a last resort against a dead connection: what counts content, and so sees through heartbeats, are the route's limits.
SILENCE_SECONDS_MAX = 600
CONNECT_SECONDS_MAX = 10
# The last bytes of a body come with `[DONE]` or right after it. Waiting for them keeps the connection.
TAIL_SECONDS_MAX = 0.05

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS_MAX, sock_read=SILENCE_SECONDS_MAX)


class OpenAIProvider:
    """The provider of the `openai` dialect, for all its upstreams. One instance serves one process."""

    def __init__(self, image_loader: ImageLoader) -> None:
        self._images = image_loader
        self._session: aiohttp.ClientSession | None = None

    def open(self, session: aiohttp.ClientSession) -> None:
        """Gives the provider its connections; they need the running event loop."""
        self._session = session

    def check(self, request: ChatRequest, route: Route) -> list[str]:
        """See Provider."""
        return check_request(request, route)

    async def stream(self, request: ChatRequest, route: Route, meter: Meter) -> AsyncGenerator[ChunkChoice | Usage]:
        """See Provider."""
        payload = await payload_for(request, route, self._images)
        reader = AnswerReader(request, route, payload.prompt_tokens, meter)
        begun = complete = False
        try:
            async with self._post(route, payload.data) as response:
                try:
                    if response.status != 200 or response.content_type in ("application/json", "text/html"):
                        body = await _body_of(response)
                        raise failed_answer(route, response.status, response.headers, body)
                    events = EventReader()
                    while not reader.done and (data := await response.content.readany()):
                        for chunk in _chunks(reader, events.feed(data), apart=bool(request.stream)):
                            begun = True
                            yield chunk
                    if not reader.done:
                        for event in events.finish():
                            for chunk in reader.read(event):
                                begun = True
                                yield chunk
                        if not reader.complete:
                            _check_stray(events.stray)
                    usage = reader.finish()
                    complete = await _read_tail(response)
                    yield usage
                finally:
                    if not complete:
                        response.close()
        except UpstreamStreamError as problem:
            raise failed_stream(route, problem.error, begun=begun) from None
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as problem:
            raise failed_connection(route, problem, begun=begun) from problem
        except TollwayError as problem:
            # Nothing that breaks an answer that has begun is the caller's fault any more.
            raise problem if not begun or isinstance(problem, BadGateway) else BadGateway(problem.message) from None

    def _post(self, route: Route, body: bytes) -> "aiohttp.client._RequestContextManager":
        if self._session is None:
            raise InternalError("The provider was used before it was opened.")
        upstream = route.upstream
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "User-Agent": f"tollway/{__version__}",
        }
        if upstream.api_key:
            headers["Authorization"] = f"Bearer {upstream.api_key}"
        # A redirect would send the key to wherever it points.
        return self._session.post(
            upstream.base_url + "/chat/completions", data=body, headers=headers, timeout=_TIMEOUT, allow_redirects=False
        )


def _chunks(reader: AnswerReader, events: list[bytes], *, apart: bool) -> Iterator[ChunkChoice]:
    """What the events add. For a caller who waits for the whole answer, text that came together is one chunk."""
    waiting: ChunkChoice | None = None
    for event in events:
        for chunk in reader.read(event):
            if apart:
                yield chunk
            elif waiting is not None and is_more_text(waiting, chunk):
                waiting.delta.content = f"{waiting.delta.content}{chunk.delta.content}"
            else:
                if waiting is not None:
                    yield waiting
                waiting = chunk
    if waiting is not None:
        yield waiting


async def _body_of(response: aiohttp.ClientResponse) -> bytes:
    """The beginning of a body that is no stream; what it has of it when it breaks or dawdles."""
    body = bytearray()
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            while len(body) < ERROR_BYTES_MAX and (data := await response.content.readany()):
                body += data
    return bytes(body[:ERROR_BYTES_MAX])


def _check_stray(stray: bytes | bytearray) -> None:
    """Raises UpstreamStreamError for an error that stands in the stream without being an event."""
    if stray.lstrip().startswith((b"{", b"[")):
        try:
            found = msgspec.json.decode(stray)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        raise UpstreamStreamError(found)


async def _read_tail(response: aiohttp.ClientResponse) -> bool:
    """Whether the body has come to its end, so that the connection can be used again."""
    if not response.content.at_eof():
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
            async with asyncio.timeout(TAIL_SECONDS_MAX):
                while await response.content.readany():
                    pass
    return response.content.at_eof()
