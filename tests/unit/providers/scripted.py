"""Providers that do as they are told, and what routing needs around them."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing

from msgspec import structs

from tollway.catalog import Limits, Model, Plan, Price, Route, Upstream
from tollway.observability import Metrics
from tollway.providers.base import Item, Meter, Take, hand_on
from tollway.providers.routing import Journey, Router
from tollway.wire.chat import ChatRequest, ChunkChoice, Delta, Usage, UserMessage

PRICE = Price(prompt="0.10", completion="0.40", cached_prompt="0.01", audio_prompt="0.30")
MODEL = Model(
    id="acme/one",
    name="One",
    developer="Acme",
    description="",
    context_length=1000,
    output_max=100,
    price=PRICE,
)
REQUEST = ChatRequest(model=MODEL.id, messages=[UserMessage(content="Hello")])
SHORT = Limits(first_token_seconds=0.5, between_tokens_seconds=0.5, total_seconds=5.0)

Script = Callable[[Meter], AsyncGenerator[Item]]

ROLE = ChunkChoice(0, Delta(role="assistant", content=""))
EMPTY = ChunkChoice(0, Delta(content=""))


def text(content: str) -> ChunkChoice:
    return ChunkChoice(0, Delta(content=content))


STOP = ChunkChoice(0, Delta(), finish_reason="stop")
USAGE = Usage(prompt_tokens=3, completion_tokens=2, total_tokens=5)
ANSWER = (ROLE, text("Hi"), STOP, USAGE)


def answering(*items: Item, every: float = 0.0) -> Script:
    """Gives the items, with a pause before each."""

    async def script(_: Meter) -> AsyncGenerator[Item]:
        for item in items or ANSWER:
            await asyncio.sleep(every)
            yield item

    return script


def failing(error: Exception, *before: Item, prompt_tokens: int | None = None) -> Script:
    async def script(meter: Meter) -> AsyncGenerator[Item]:
        meter.prompt_tokens = prompt_tokens
        for item in before:
            yield item
        raise error

    return script


def silent(*before: Item) -> Script:
    async def script(_: Meter) -> AsyncGenerator[Item]:
        for item in before:
            yield item
        await asyncio.sleep(3600)

    return script


class Scripted:
    """Plays the next script of the upstream that is asked, its last one for ever, and keeps count."""

    def __init__(self, **scripts: Script | Iterable[Script]) -> None:
        self.calls: list[str] = []
        self.working = 0
        self.working_max = 0
        self.refused: dict[str, Exception] = {}
        self._scripts = {name: [given] if callable(given) else list(given) for name, given in scripts.items()}

    def check(self, request: ChatRequest, route: Route) -> list[str]:
        if error := self.refused.get(route.upstream.name):
            raise error
        return [f"hint-of-{route.upstream.name}"]

    async def answer(self, request: ChatRequest, route: Route, meter: Meter, take: Take) -> None:
        await hand_on(self._items(route, meter), take)

    async def _items(self, route: Route, meter: Meter) -> AsyncGenerator[Item]:
        name = route.upstream.name
        self.calls.append(name)
        scripts = self._scripts[name]
        script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        self.working += 1
        self.working_max = max(self.working_max, self.working)
        try:
            async with aclosing(script(meter)) as items:
                async for item in items:
                    yield item
        finally:
            self.working -= 1


def route(name: str, *, limits: Limits = SHORT, priority: int = 0, weight: int = 1, model: str = "m") -> Route:
    return Route(
        model=MODEL,
        answers_as=MODEL.id,
        upstream=Upstream(name, "openai", "http://127.0.0.1:9/v1", limits=limits),
        upstream_model=model,
        price=PRICE,
        context_tokens=1000,
        output_max=100,
        capabilities=frozenset(),
        stand_in=False,
        priority=priority,
        weight=weight,
    )


def limits(**changes: float | int | None) -> Limits:
    return structs.replace(SHORT, **changes)


class Bench:
    """A router over one scripted provider."""

    def __init__(self, provider: Scripted, *routes: Route, workers: int = 1) -> None:
        self.provider = provider
        self.metrics = Metrics()
        self.router = Router({"openai": provider}, self.metrics, workers=workers)
        self.plan = Plan(MODEL, tuple(sorted(routes, key=lambda each: each.priority)))

    def begin(self) -> Journey:
        return self.router.begin(REQUEST, self.plan)

    async def ask(self, meter: Meter | None = None, items: list[Item] | None = None) -> Journey:
        """A whole answer, into `items`; raises what breaks it."""
        journey = self.begin()
        await journey.answer(meter or Meter(), ([] if items is None else items).append)
        return journey

    def value(self, name: str, **labels: str) -> float:
        found = self.metrics.registry.get_sample_value(f"tollway_upstream_{name}", labels)
        return 0.0 if found is None else found
