"""From a public model's plan to an answer: who is asked, in which order, and what happens when somebody fails.

Among routes of one priority the least busy one for its weight is asked. What fails before its first content goes on to a route
that was not tried yet, at once, or else to the same one after a pause. Nothing is tried again after the first content.
"""

import asyncio
import math
import random
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from tollway import clock
from tollway.catalog import Dialect, Plan, Route
from tollway.errors import (
    BadGateway,
    ContextLengthExceeded,
    GatewayTimeout,
    InvalidRequest,
    PayloadTooLarge,
    RateLimited,
    ServiceUnavailable,
    TollwayError,
    UnsupportedParameter,
)
from tollway.observability import Metrics, asking_for
from tollway.providers.base import Item, Meter, Provider, Take
from tollway.providers.capabilities import refuse_unknown_fields
from tollway.providers.images import ImageLoader, LoadedImage
from tollway.providers.patience import TOTAL_TIME_CODE, Patience, has_content
from tollway.providers.upstream_health import Call, UpstreamHealth, UpstreamMetrics, UpstreamState
from tollway.wire.chat import ChatRequest, ChunkChoice, Usage

ATTEMPTS_MAX = 3
RETRY_AFTER_SECONDS_MAX = 5.0
"""A longer Retry-After is the caller's to keep."""
BACKOFF_SECONDS = 0.1
BUSY_SECONDS = 10
"""Callers are promised a Retry-After with a 429, also where an upstream does not say when it has time again."""

_RETRYABLE = (BadGateway, ServiceUnavailable, GatewayTimeout, RateLimited)
_CANNOT = (UnsupportedParameter, ContextLengthExceeded, PayloadTooLarge)
"""What one route says of itself; another may well be able to."""


@lru_cache(maxsize=1024)
def _quoted(upstream: str, model: str) -> str:
    return quote(f"{upstream}/{model}"[:200], safe="/:@._-")


class _Choice(Struct):
    """A route that can honour the request, the hints that it will ignore, and how it went with it so far."""

    route: Route
    ignored: tuple[str, ...]
    provider: Provider
    health: UpstreamHealth
    tries: int = 0
    again_at: float = 0.0
    """When it may be tried again, in monotonic seconds; infinity = not for this request."""

    @property
    def load(self) -> float:
        return self.health.pending / self.route.weight


class Router:
    """Chooses among routes. One instance serves one process and outlives reloads of the catalogue."""

    def __init__(
        self,
        providers: Mapping[Dialect, Provider],
        metrics: Metrics,
        *,
        workers: int = 1,
        images: ImageLoader | None = None,
        journey: "Callable[..., Journey] | None" = None,
        strict: bool = False,
    ) -> None:
        """`images`: what the providers load theirs with. `journey` makes a Journey that also tells of itself, as for traces.
        `strict`: an unknown field is refused where it would have no effect.
        """
        self._providers = providers
        self._images = images
        self._journey = journey or Journey
        self._strict = strict
        self._metrics = UpstreamMetrics(metrics)
        self._workers = workers
        self._health: dict[str, UpstreamHealth] = {}

    def begin(self, request: ChatRequest, plan: Plan, request_id: str = "") -> "Journey":
        """A request's way through the routes that can honour it. Raises the 400 of the first one when none can."""
        choices: list[_Choice] = []
        refusal: InvalidRequest | None = None
        for route in plan.routes:
            provider = self._providers[route.upstream.dialect]
            try:
                if self._strict:
                    refuse_unknown_fields(request, route)
                ignored = provider.check(request, route)
            except InvalidRequest as error:
                refusal = refusal or error
            else:
                choices.append(_Choice(route, tuple(ignored), provider, self.health(route)))
        if refusal is not None and not choices:
            raise refusal
        return self._journey(request, choices, request_id, self._images)

    def again(self, journey: "Journey") -> "Journey":
        """The same way from its beginning."""
        choices = [_Choice(choice.route, choice.ignored, choice.provider, choice.health) for choice in journey._choices]
        return self._journey(journey._request, choices, journey._request_id, self._images)

    def health(self, route: Route) -> UpstreamHealth:
        """What is known of the route's upstream, with the limits that the route brings."""
        name = route.upstream.name
        health = self._health.get(name)
        if health is None:
            health = self._health[name] = UpstreamHealth(name, self._metrics, self._workers)
        if health.limits is not route.upstream.limits:
            health.apply(route.upstream.limits)
        return health

    def states(self, routes: Iterable[Route]) -> list[UpstreamState]:
        """Of the upstreams of these routes, as this process sees them now."""
        return [health.state() for health in {route.upstream.name: self.health(route) for route in routes}.values()]


class Journey:
    """One request on its way: which routes it may take, and which one answers. It answers once."""

    def __init__(self, request: ChatRequest, choices: list[_Choice], request_id: str, images: ImageLoader | None) -> None:
        self.routes = tuple([choice.route for choice in choices])
        """Those that can honour the request, first those to be asked first; never empty. Any may answer, at its own price."""
        self.attempts = 0
        self.answered = False
        """Whether the first content has come; from then on `route` and `attempts` are final."""
        self.response_id = ""
        """The id that the answer has for its caller, for traces; empty where nobody gave it one."""
        self._request = request
        self._request_id = request_id
        self._choices = choices
        self._images = images
        self._loaded: dict[str, LoadedImage] = {}
        self._meter: Meter | None = None
        self._current = choices[0]

    @property
    def route(self) -> Route:
        """Who answers. Final once there is a first item; until then, who is being asked."""
        return self._current.route

    @property
    def ignored(self) -> tuple[str, ...]:
        """The hints that `route` ignores; while it is being asked, also those of whoever may answer instead."""
        if not self._is_open:
            return self._current.ignored + (self._meter.ignored if self._meter else ())
        return tuple(dict.fromkeys(name for choice in self._choices for name in choice.ignored))

    def takes(self, name: str) -> bool:
        """Whether an unknown field is sent on to `route`; while it is being asked, to whoever may answer instead as well."""
        routes = self.routes if self._is_open else (self.route,)
        return all(route.upstream.quirks.takes(name) for route in routes)

    @property
    def _is_open(self) -> bool:
        """Whether somebody is being asked and another may answer yet; a stream's headers may have to go out by then."""
        return self.attempts > 0 and not self.answered

    @property
    def label(self) -> str:
        """For operators, in a header: `upstream/model; attempts=1`."""
        return f"{_quoted(self.route.upstream.name, self.route.upstream_model)}; attempts={self.attempts}"

    @property
    def stays_here(self) -> bool:
        """Whether nobody but engines of this machine may be asked, which costs nothing and tells nobody anything."""
        return not [route for route in self.routes if route.upstream.dialect != "local"]

    def check_room(self) -> None:
        """Raises what `answer` would raise at once because nobody can be asked, so that a refusal costs next to nothing."""
        now = clock.monotonic()
        for choice in self._choices:
            if choice.health.admits(now):
                return
        raise self._nobody(now)

    async def answer(self, meter: Meter, take: Take) -> None:
        """As Provider.answer. The first item has content, or is followed by one that has without waiting.

        A failure names in its headers who was asked last, and a RateLimited says when to try again.
        """
        asking_for.set(self._request_id)
        self._meter = meter
        try:
            await self._answer(meter, take)
        except TollwayError as error:
            if isinstance(error, RateLimited):
                error.retry_after_seconds = error.retry_after_seconds or BUSY_SECONDS
            if self.attempts:
                error.headers = {**error.headers, "x-tollway-route": self.label}
            raise

    async def _answer(self, meter: Meter, take: Take) -> None:
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        failure: TollwayError | None = None
        while True:
            choice = self._current = self._untried(clock.monotonic()) or await self._once_more(failure)
            if self._images and (seconds := await self._images.download(self._request, choice.route, self._loaded)):
                began_at += seconds
                continue  # by now it may be somebody else's turn
            choice.tries += 1
            self.attempts += 1
            limits = choice.route.upstream.limits
            total_at = None if limits.total_seconds is None else began_at + limits.total_seconds
            call = Call(choice.health, choice.route, self.attempts, self._request_id)
            try:
                with call, Patience(limits, total_at, meter) as patience:
                    attempt = _Attempt(self, call, patience, take)
                    await choice.provider.answer(self._request, choice.route, meter, attempt.take)
                    if not self.answered:
                        raise BadGateway("The model's upstream sent an empty answer.")
                    if attempt.usage is not None:
                        choice.health.use(attempt.usage)
                return
            except TollwayError as error:
                if self.answered or not isinstance(error, (*_RETRYABLE, *_CANNOT)):
                    raise
                failure = self._worse(failure, error)
                self._note(choice, error)
                if error.code == TOTAL_TIME_CODE or self.attempts >= ATTEMPTS_MAX or not self._another():
                    raise failure from None
                choice.health.lose(meter)

    async def _once_more(self, failure: TollwayError | None) -> _Choice:
        """Whom to ask again, after the pause that is due. Raises the failure so far, or why nobody can be asked at all."""
        while tried := [choice for choice in self._choices if choice.tries and self._may_retry(choice)]:
            choice = min(tried, key=lambda each: each.again_at)
            await asyncio.sleep(max(0.0, choice.again_at - clock.monotonic()))
            if choice.health.admits(clock.monotonic()):
                return choice
        raise failure or self._nobody(clock.monotonic())

    def _untried(self, now: float) -> _Choice | None:
        """The best route that was not tried yet: least busy for its weight; where that is even, by lot for its weight."""
        free = [choice for choice in self._choices if not choice.tries and choice.health.admits(now)]
        if len(free) < 2:
            return free[0] if free else None
        awake = [choice for choice in free if not choice.health.rests(choice.route.upstream_model, now)] or free
        priority = min(choice.route.priority for choice in awake)
        equals = [choice for choice in awake if choice.route.priority == priority]
        least = min(choice.load for choice in equals)
        idlest = [choice for choice in equals if choice.load == least]
        if len(idlest) == 1:
            return idlest[0]
        return random.choices(idlest, [choice.route.weight for choice in idlest])[0]  # noqa: S311

    def _another(self) -> bool:
        """Whether anybody is left to be asked."""
        now = clock.monotonic()
        return self._untried(now) is not None or any(self._may_retry(choice) for choice in self._choices if choice.tries)

    def _may_retry(self, choice: _Choice) -> bool:
        return (
            choice.tries < choice.route.upstream.limits.attempts_max
            and not math.isinf(choice.again_at)
            and choice.health.admits(clock.monotonic())
        )

    def _note(self, choice: _Choice, error: TollwayError) -> None:
        """Decides when the route may be tried again. One that let time run out would do so again."""
        patience_seconds = error.retry_after_seconds or 0
        if isinstance(error, (GatewayTimeout, *_CANNOT)) or patience_seconds > RETRY_AFTER_SECONDS_MAX:
            choice.again_at = math.inf
            return
        jitter = random.uniform(0.5, 1.5)  # noqa: S311
        backoff = BACKOFF_SECONDS * 2 ** (choice.tries - 1) * jitter
        choice.again_at = clock.monotonic() + (patience_seconds + BACKOFF_SECONDS * jitter if patience_seconds else backoff)

    @staticmethod
    def _worse(earlier: TollwayError | None, error: TollwayError) -> TollwayError:
        """What to tell the caller: a 400 only when nobody failed, for a healthy route might have answered."""
        return earlier if earlier is not None and isinstance(error, _CANNOT) else error

    def _nobody(self, now: float) -> TollwayError:
        """Why no route can be asked."""
        if any(choice.health.full for choice in self._choices):
            return RateLimited(
                f"All upstreams of the model `{self.route.model.id}` have as much work as they may. Try again in a moment.",
                code="upstream_busy",
                retry_after_seconds=1,
            )
        seconds = min(choice.health.breaker.pause_left(now) for choice in self._choices)
        return ServiceUnavailable(
            f"The upstreams of the model `{self.route.model.id}` have been failing and are left alone for a moment.",
            code="upstream_unavailable",
            retry_after_seconds=max(1, math.ceil(seconds)),
        )


class _Attempt:
    """What one upstream sends, on its way: what comes before the first content is held back, for another may answer instead."""

    def __init__(self, journey: Journey, call: Call, patience: Patience, take: Take) -> None:
        self.usage: Usage | None = None
        """Once it has come, which is the end."""
        self._journey = journey
        self._call = call
        self._patience = patience
        self._take = take
        self._held: dict[int, ChunkChoice] = {}
        self._has_begun = False

    def take(self, item: Item) -> "asyncio.Future[Any] | None":
        """See Take."""
        self._patience.heard(item)
        if not self._has_begun:
            if isinstance(item, ChunkChoice) and not has_content(item):
                self._held.setdefault(item.index, item)  # the role: it says nothing of the upstream's health
                return None
            self._has_begun = self._journey.answered = True
            self._call.answering()
            self._journey._loaded.clear()  # nobody else will be asked
            for early in self._held.values():
                self._take(early)
        if isinstance(item, Usage):
            self.usage = item
            self._patience.end()
        room = self._take(item)
        if room is not None:
            self._patience.rest_until(room)
        return room
