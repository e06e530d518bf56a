"""The `gemini` dialect: Google's own `generateContent`, always streamed. docs/upstreams-gemini.md says what maps to what.

Google's OpenAI-compatible endpoint is not used: it refuses parameters that it does not know, makes only one choice, and has
ended tool calls with the wrong finish reason.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from tollway.catalog import Route
from tollway.errors import BadGateway, InvalidRequest
from tollway.providers.base import Item, Meter, Take, hand_on
from tollway.providers.gemini_answer import CallUsage, ChoiceReader, Event, Tally, decode_event, prompt_estimate
from tollway.providers.gemini_errors import connection_error, error_of, upstream_error
from tollway.providers.gemini_request import check_request, encode_for_choice, request_body
from tollway.providers.http import HttpClient, Target, post_head, target_of
from tollway.providers.http_connection import Connection
from tollway.providers.images import ImageLoader
from tollway.providers.merging import merged
from tollway.providers.sse import EventReader
from tollway.wire.chat import ChatRequest, ChunkChoice

INLINE_BYTES_MAX = 20_000_000
"""Images in base64, for one request; Gemini's own limit of a request's size."""
FAN_OUT_MAX = 8
"""Choices of one request in work at a time."""
TAIL_SECONDS_MAX = 2
"""How long what may follow an answer's end, such as its figures, is waited for."""


class GeminiProvider:
    """The provider of all routes of the `gemini` dialect. One instance serves one process.

    Several choices are several calls of the upstream side by side, for most of its models make only one.
    """

    def __init__(self, image_loader: ImageLoader, http: HttpClient, *, inline_bytes_max: int = INLINE_BYTES_MAX) -> None:
        self._images = image_loader
        self._http = http
        self._inline_bytes_max = inline_bytes_max

    def check(self, request: ChatRequest, route: Route) -> list[str]:
        """See Provider."""
        return check_request(request, route)

    async def answer(self, request: ChatRequest, route: Route, meter: Meter, take: Take) -> None:
        """See Provider. The first chunk of a choice has content, or is followed by one that has without waiting."""
        await hand_on(self._items(request, route, meter), take)

    async def _items(self, request: ChatRequest, route: Route, meter: Meter) -> AsyncGenerator[Item]:
        body = await request_body(request, route, self._images, self._inline_bytes_max)
        tally = Tally(meter)
        begun = False
        try:
            for first in range(0, request.choices_count, FAN_OUT_MAX):
                meter.rounds += first > 0
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
            upstream = route.upstream
            connection = await self._http.post(*_address(upstream.base_url, route.upstream_model, upstream.api_key), payload)
            try:
                if (status := connection.status) != 200:
                    error = error_of(await connection.error_body())
                    raise upstream_error(route, status, error, connection.headers.get("retry-after"))
                events = EventReader()
                async with aclosing(_pieces(connection, reader)) as pieces:
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
                connection.close()
        except OSError as problem:
            raise connection_error(route, problem) from problem


@lru_cache(maxsize=256)
def _address(base_url: str, model: str, api_key: str | None) -> tuple[Target, bytes]:
    """Where a model's requests go, and the head that they begin with."""
    name = model if "/" in model else f"models/{model}"
    target = target_of(f"{base_url}/{quote(name)}:streamGenerateContent?alt=sse")
    return target, post_head(target, {"x-goog-api-key": api_key} if api_key else {})


def _event(data: bytes, reader: ChoiceReader) -> Event | None:
    """The event, or None for what is none after the answer's end, such as the `[DONE]` that proxies add."""
    try:
        return decode_event(data)
    except BadGateway:
        if reader.ended:
            return None
        raise


async def _pieces(connection: Connection, reader: ChoiceReader) -> AsyncGenerator[bytes]:
    """The body as it comes. Once the answer has ended, what follows is waited for only briefly, and may break off."""
    while not reader.ended:
        if not (piece := await connection.piece()):
            return
        yield piece
    give_up_at = asyncio.get_running_loop().time() + TAIL_SECONDS_MAX
    while True:
        try:
            async with asyncio.timeout_at(give_up_at):
                piece = await connection.piece()
        except OSError:
            return
        if not piece:
            return
        yield piece


async def _side_by_side(choices: Sequence[AsyncGenerator[ChunkChoice]]) -> AsyncGenerator[ChunkChoice]:
    """The chunks of all choices in the order in which they come.

    Nothing is handed out before each choice has begun, so that what fails at once fails the request while it can still go to
    another route.
    """
    held: list[ChunkChoice] = []
    silent = set(range(len(choices)))
    async with aclosing(merged(choices)) as items:
        async for place, chunk in items:
            silent.discard(place)
            if chunk is not None:
                held.append(chunk)
            if not silent:
                for each in held:
                    yield each
                held = []
