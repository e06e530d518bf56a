"""What every provider is."""

from collections.abc import AsyncGenerator
from typing import Protocol

from msgspec import Struct

from tollway.catalog import Route
from tollway.wire.chat import ChatRequest, ChunkChoice, Usage


class Meter(Struct):
    """What has been counted so far of an answer that may be broken off: the last figures of the engine or upstream, else None.

    The provider writes it as it goes. It is read only when the stream did not reach its end and so yielded no Usage.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Provider(Protocol):
    """The adapter for one dialect.

    `stream` yields chunk choices in the order in which they arise (deltas, then one with a finish_reason per choice) and
    exactly one Usage as its last item. It raises a TollwayError for anything that goes wrong; before the first item that
    keeps its HTTP status, afterwards it becomes the stream's error event. Closing the generator cancels the upstream's work
    at once.

    Before the first item, BadGateway, ServiceUnavailable, GatewayTimeout and RateLimited are retryable: the same request may
    succeed at another time (after `retry_after_seconds`, where given) or at another upstream. InvalidRequest and its
    subclasses are not: they say that the request is at fault.
    """

    def stream(self, request: ChatRequest, route: Route, meter: Meter) -> AsyncGenerator[ChunkChoice | Usage]: ...

    def check(self, request: ChatRequest, route: Route) -> list[str]:
        """Raises UnsupportedParameter for what the route cannot honour; returns the names of hints that it will ignore."""
        ...
