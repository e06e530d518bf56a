"""What every provider is."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Protocol

from msgspec import Struct, field

from tollway.catalog import Route
from tollway.wire.chat import ChatRequest, ChunkChoice, CompletionTokensDetails, PromptTokensDetails, Usage

Item = ChunkChoice | Usage
Take = Callable[[Item], "asyncio.Future[Any] | None"]
"""Takes the next item of an answer. What it returns is waited for: there is no room for more until then."""


class Meter(Struct):
    """What has been counted so far of an answer that may be broken off: the last figures of the engine or upstream, else None.

    The provider writes it as it goes. `flags` are always read, the rest only when the answer did not reach its end and so has
    no Usage.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None
    flags: list[str] = field(default_factory=list)
    """What was wrong with the upstream's figures, for the receipt."""
    ignored: tuple[str, ...] = ()
    """Parameters that an upstream says to have no effect, as another Tollway does."""
    rounds: int = 0
    """How often the upstream was asked anew since the answer began, for choices that are made one after the other. Each time
    it may take as long as for a first piece of content."""

    def note(self, usage: Usage) -> None:
        """As things stand, this is what was used."""
        self.prompt_tokens, self.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        self.prompt_tokens_details = usage.prompt_tokens_details
        self.completion_tokens_details = usage.completion_tokens_details

    def clear(self) -> None:
        """For the next attempt."""
        self.prompt_tokens = self.completion_tokens = self.prompt_tokens_details = self.completion_tokens_details = None
        self.flags = []
        self.ignored = ()


class Provider(Protocol):
    """The adapter for one dialect.

    `answer` gives `take` chunk choices in the order in which they arise (deltas, then one with a finish_reason per choice) and
    exactly one Usage as the last item. It raises a TollwayError for anything that goes wrong; before the first item that
    keeps its HTTP status, afterwards it becomes the stream's error event. Cancelling it cancels the upstream's work at once;
    nothing is taken after that.

    Before the first item, BadGateway, ServiceUnavailable, GatewayTimeout and RateLimited are retryable: the same request may
    succeed at another time (after `retry_after_seconds`, where given) or at another upstream. InvalidRequest and its
    subclasses are not: they say that the request is at fault.
    """

    async def answer(self, request: ChatRequest, route: Route, meter: Meter, take: Take) -> None: ...

    def check(self, request: ChatRequest, route: Route) -> list[str]:
        """Raises UnsupportedParameter for what the route cannot honour; returns the names of hints that it will ignore."""
        ...


async def hand_on(items: AsyncGenerator[Item], take: Take) -> None:
    """Gives `take` whatever the generator yields, and closes it."""
    async with aclosing(items):
        async for item in items:
            if (room := take(item)) is not None:
                await room
