"""The `gemini` dialect: Google's own `generateContent`, always streamed. docs/upstreams.md says what maps to what.

Google's OpenAI-compatible endpoint is not used: it refuses parameters that it does not know, makes only one choice, and has
ended tool calls with the wrong finish reason.
"""

import asyncio
import contextlib
import io
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from tollway import __version__
from tollway.catalog import Route
from tollway.errors import BadGateway, InternalError, InvalidRequest
from tollway.providers.base import Meter
from tollway.providers.gemini_answer import CallUsage, ChoiceReader, Event, Tally, decode_event, prompt_estimate
from tollway.providers.gemini_errors import connection_error, error_of, upstream_error
from tollway.providers.gemini_request import check_request, encode_for_choice, request_body
from tollway.providers.images import ImageLoader
from tollway.providers.sse import EventReader
from tollway.wire.chat import ChatRequest, ChunkChoice, Usage

INLINE_BYTES_MAX = 20_000_000
"""Images in base64, for one request; Gemini's own limit of a request's size."""
FAN_OUT_MAX = 8
"""Choices of one request in work at a time."""
CONNECT_SECONDS_MAX = 10
# The route's own limits count content and are far below. This one is for a route without limits.
SILENCE_SECONDS_MAX = 600
TAIL_SECONDS_MAX = 2
ERROR_BYTES_MAX = 256 * 2**10

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS_MAX, sock_read=SILENCE_SECONDS_MAX)


class GeminiProvider:
    """The provider of all routes of the `gemini` dialect. One instance serves one process.

    Several choices are several calls of the upstream side by side, for most of its models make only one.
    """

    def __init__(self, image_loader: ImageLoader, *, inline_bytes_max: int = INLINE_BYTES_MAX) -> None:
        self._images = image_loader
        self._inline_bytes_max = inline_bytes_max
        self._session: aiohttp.ClientSession | None = None

    def open(self, session: aiohttp.ClientSession) -> None:
        """Gives the provider its connections; they need the running event loop."""
        self._session = session

    def check(self, request: ChatRequest, route: Route) -> list[str]:
        """See Provider."""
        return check_request(request, route)

    async def stream(self, request: ChatRequest, route: Route, meter: Meter) -> AsyncGenerator[ChunkChoice | Usage]:
        """See Provider. The first chunk of a choice has content, or is followed by one that has without waiting."""
        body = await request_body(request, route, self._images, self._inline_bytes_max)
        tally = Tally(meter)
        begun = False
        try:
            for first in range(0, request.choices_count, FAN_OUT_MAX):
                group = range(first, min(first + FAN_OUT_MAX, request.choices_count))
                choices = [self._choice(index, body, request, route, tally) for index in group]
                async with aclosing(choices[0] if len(choices) == 1 else _side_by_side(choices)) as chunks:
                    async for chunk in chunks:
                        begun = True
                        yield chunk
        except InvalidRequest as error:
            if begun:  # the upstream had taken the request
                raise BadGateway(error.message) from None
            raise
        yield tally.usage()

    async def _choice(
        self, index: int, body: dict[str, Any], request: ChatRequest, route: Route, tally: Tally
    ) -> AsyncGenerator[ChunkChoice]:
        payload = encode_for_choice(body, index)
        reader = ChoiceReader(index, request)
        usage = CallUsage(route, prompt_estimate(body, len(payload)))
        async with aclosing(self._events(payload, route, reader)) as events:
            async for event in events:
                if event.error is not None and not reader.ended:
                    raise upstream_error(route, 200, event.error)
                chunks = reader.read(event)
                usage.read(chunks, event.usage_metadata)
                tally.note(usage)
                for chunk in chunks:
                    yield chunk
        chunks = reader.finish()
        usage.close(blocked=reader.blocked)
        tally.note(usage)
        for chunk in chunks:
            yield chunk

    async def _events(self, payload: bytes, route: Route, reader: ChoiceReader) -> AsyncGenerator[Event]:
        """The events of one call. Leaving it early closes the connection, which ends the upstream's work."""
        try:
            async with self._post(route, payload) as response:
                events = EventReader()
                try:
                    if response.status != 200:
                        error = error_of(await _beginning(response))
                        raise upstream_error(route, response.status, error, response.headers.get("Retry-After"))
                    async with aclosing(_pieces(response, reader)) as pieces:
                        async for piece in pieces:
                            for data in events.feed(piece):
                                if (event := _event(data, reader)) is not None:
                                    yield event
                    for data in events.finish():
                        if (event := _event(data, reader)) is not None:
                            yield event
                    if events.stray and not reader.ended:
                        raise upstream_error(route, 200, error_of(bytes(events.stray)))
                finally:
                    if not response.content.at_eof():
                        response.close()
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as problem:
            raise connection_error(route, problem) from problem

    def _post(self, route: Route, payload: bytes) -> "aiohttp.client._RequestContextManager":
        if self._session is None:
            raise InternalError("The provider was used before it was opened.")
        name = route.upstream_model if "/" in route.upstream_model else f"models/{route.upstream_model}"
        url = f"{route.upstream.base_url}/{quote(name)}:streamGenerateContent?alt=sse"
        headers = {
            "Content-Type": "application/json",
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "User-Agent": f"tollway/{__version__}",
        }
        if route.upstream.api_key:
            headers["x-goog-api-key"] = route.upstream.api_key
        # A redirect would take the key to wherever it points.
        return self._session.post(
            URL(url, encoded=True), data=io.BytesIO(payload), headers=headers, timeout=_TIMEOUT, allow_redirects=False
        )


def _event(data: bytes, reader: ChoiceReader) -> Event | None:
    """The event, or None for what is none after the answer's end, such as the `[DONE]` that proxies add."""
    try:
        return decode_event(data)
    except BadGateway:
        if reader.ended:
            return None
        raise


async def _pieces(response: aiohttp.ClientResponse, reader: ChoiceReader) -> AsyncGenerator[bytes]:
    """The body as it comes. Once the answer has ended, what follows is waited for only briefly, and may break off."""
    while not reader.ended:
        if not (piece := await response.content.readany()):
            return
        yield piece
    give_up_at = asyncio.get_running_loop().time() + TAIL_SECONDS_MAX
    while True:
        try:
            async with asyncio.timeout_at(give_up_at):
                piece = await response.content.readany()
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            return
        if not piece:
            return
        yield piece


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """The beginning of an error's body; what there is of it when it breaks or dawdles."""
    body = bytearray()
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, ConnectionError):
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            while len(body) < ERROR_BYTES_MAX and (piece := await response.content.readany()):
                body += piece
    return bytes(body)


async def _side_by_side(choices: Sequence[AsyncGenerator[ChunkChoice]]) -> AsyncGenerator[ChunkChoice]:
    """The chunks of all choices in the order in which they come. One that fails ends all.

    Nothing is handed out before each choice has begun, so that what fails at once fails the request while it can still go to
    another route.
    """
    queue: asyncio.Queue[tuple[int, ChunkChoice | Exception | None]] = asyncio.Queue(256)

    async def pump(place: int) -> None:
        last: Exception | None = None
        try:
            async with aclosing(choices[place]) as chunks:
                async for chunk in chunks:
                    await queue.put((place, chunk))
        except Exception as error:  # noqa: BLE001  (raised by the reader)
            last = error
        await queue.put((place, last))

    tasks = [asyncio.create_task(pump(place)) for place in range(len(choices))]
    held: list[ChunkChoice] = []
    silent, running = set(range(len(choices))), len(choices)
    try:
        while running:
            place, item = await queue.get()
            silent.discard(place)
            if isinstance(item, Exception):
                raise item
            if item is None:
                running -= 1
            else:
                held.append(item)
            if not silent:
                for chunk in held:
                    yield chunk
                held = []
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
