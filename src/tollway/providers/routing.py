"""From a public model's plan to an answer: who is asked, in which order, and what happens when somebody fails."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from urllib.parse import quote

from msgspec import Struct

from tollway.catalog import Dialect, Plan, Route
from tollway.errors import InvalidRequest
from tollway.providers.base import Meter, Provider
from tollway.wire.chat import ChatRequest, ChunkChoice, Usage


class Usable(Struct, frozen=True):
    """A route that can honour the request, and the hints that it will ignore."""

    route: Route
    ignored: tuple[str, ...]


class Router:
    """Chooses among routes. One instance serves one process and outlives reloads of the catalogue."""

    def __init__(self, providers: Mapping[Dialect, Provider]) -> None:
        self._providers = providers

    def begin(self, request: ChatRequest, plan: Plan) -> "Journey":
        """A request's way through the routes that can honour it. Raises the 400 of the first one when none can."""
        usable: list[Usable] = []
        refusal: InvalidRequest | None = None
        for route in plan.routes:
            try:
                ignored = self._providers[route.upstream.dialect].check(request, route)
            except InvalidRequest as error:
                refusal = refusal or error
            else:
                usable.append(Usable(route, tuple(ignored)))
        if refusal is not None and not usable:
            raise refusal
        return Journey(self._providers, request, usable)


class Journey:
    """One request on its way: which routes it may take, and which one answers. Its stream is read once."""

    def __init__(self, providers: Mapping[Dialect, Provider], request: ChatRequest, usable: list[Usable]) -> None:
        self.routes = tuple(each.route for each in usable)
        """Those that can honour the request, first those to be asked first; never empty. Any may answer, at its own price."""
        self.attempts = 0
        self._providers = providers
        self._request = request
        self._current = usable[0]

    @property
    def route(self) -> Route:
        """Who answers. Final once the stream has given its first item; until then, who is being asked."""
        return self._current.route

    @property
    def ignored(self) -> tuple[str, ...]:
        """The hints that `route` ignores."""
        return self._current.ignored

    @property
    def label(self) -> str:
        """For operators, in a header: `upstream/model; attempts=1`."""
        return (
            quote(f"{self.route.upstream.name}/{self.route.upstream_model}"[:200], safe="/:@._-")
            + f"; attempts={self.attempts}"
        )

    async def stream(self, meter: Meter) -> AsyncGenerator[ChunkChoice | Usage]:
        """See Provider.stream."""
        self.attempts += 1
        provider = self._providers[self.route.upstream.dialect]
        async with aclosing(provider.stream(self._request, self.route, meter)) as stream:
            async for item in stream:
                yield item
