"""What every provider is."""

from collections.abc import AsyncGenerator
from typing import Protocol

from tollway.catalog import Route
from tollway.wire.chat import ChatRequest, ChunkChoice, Usage


class Provider(Protocol):
    """The adapter for one dialect.

    `stream` yields chunk choices in the order in which they arise (deltas, then one with a finish_reason per choice) and
    exactly one Usage as its last item. It raises a TollwayError for anything that goes wrong; before the first item that
    keeps its HTTP status, afterwards it becomes the stream's error event. Closing the generator cancels the upstream's work
    at once.
    """

    def stream(self, request: ChatRequest, route: Route) -> AsyncGenerator[ChunkChoice | Usage]: ...

    def check(self, request: ChatRequest, route: Route) -> list[str]:
        """Raises UnsupportedParameter for what the route cannot honour; returns the names of hints that it will ignore."""
        ...
