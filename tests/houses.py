"""The use case with a real desk and database, and a scripted provider."""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.desks import Bench, opened

from tollway.admission import Idempotency
from tollway.catalog import LOCAL, Catalog, Model, Plan, Price, Route
from tollway.completions import Answer, Call, Completions
from tollway.ids import request_id
from tollway.observability import Metrics
from tollway.providers.base import Item, Meter, Take, hand_on
from tollway.providers.routing import Router
from tollway.settings import Settings
from tollway.storage import Database
from tollway.storage.tables import requests
from tollway.usage.filing import read_log
from tollway.wire.chat import ChatRequest, ChunkChoice, Delta, Usage
from tollway.wire.decode import decode_chat_request

# 2 credits a token of either kind
PRICE = Price(prompt="1", completion="1", cached_prompt="0.5", audio_prompt="1")
MODEL = Model("house/model", "Model", "House", "", 100_000, 1000, PRICE)
ROUTE = Route(MODEL, MODEL.id, LOCAL, "m", PRICE, 100_000, 1000, frozenset(), stand_in=False)
WORDS = ("one ", "two ", "three")
USAGE = Usage(prompt_tokens=10, completion_tokens=3, total_tokens=13)

Step = ChunkChoice | Usage | Exception | float


def say(word: str) -> ChunkChoice:
    return ChunkChoice(0, Delta(content=word))


END = ChunkChoice(0, Delta(), finish_reason="stop")
GOOD: tuple[Step, ...] = (*map(say, WORDS), END, USAGE)


@dataclass
class Script:
    """A provider that plays `steps`; a float is a pause. `counts` is what it writes to the meter with each word."""

    steps: tuple[Step, ...] = GOOD
    counts: Callable[[Meter], None] = lambda meter: None
    requests: list[ChatRequest] = field(default_factory=list)
    closed: int = 0

    def check(self, request: ChatRequest, route: Route) -> list[str]:
        return []

    async def answer(self, request: ChatRequest, route: Route, meter: Meter, take: Take) -> None:
        await hand_on(self._items(request, meter), take)

    async def _items(self, request: ChatRequest, meter: Meter) -> AsyncGenerator[Item]:
        self.requests.append(request)
        try:
            for step in self.steps:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, Exception):
                    raise step
                else:
                    if isinstance(step, ChunkChoice) and step.delta.content:
                        self.counts(meter)
                    yield step
        finally:
            self.closed += 1


@dataclass
class House:
    bench: Bench
    completions: Completions
    script: Script

    def call(self, *, key: str | None = None, **fields: Any) -> Call:
        body = json.dumps({"model": MODEL.id, "messages": [{"role": "user", "content": "Hi"}], **fields}).encode()
        request = decode_chat_request(body)
        asked = None if key is None else Idempotency(key, hashlib.sha256(body).digest())
        return Call(request, len(body), self.bench.caller, request_id(), idempotency=asked)

    async def start(self, **fields: Any) -> Answer:
        return await self.completions.start(self.call(**fields))

    async def text(self, **fields: Any) -> str:
        completion = await (await self.start(**fields)).completion()
        return completion.choices[0].message.content or ""

    async def row(self) -> Any:
        """The newest row of the request log."""
        query = requests.select().order_by(requests.c.id.desc()).limit(1)
        return await read_log(self.bench.database, lambda connection: connection.execute(query).one())

    async def ended(self) -> None:
        """Waits until no answer is in work."""
        while self.completions._running:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@asynccontextmanager
async def house_with(
    database: Database, credits_granted: int, script: Script, routes: tuple[Route, ...] = (ROUTE,)
) -> AsyncIterator[House]:
    bench = await opened(database, credits_granted)
    router = Router({"local": script, "openai": script}, Metrics())
    completions = Completions(Catalog([Plan(MODEL, routes)]), router, bench.desk, Settings())
    yield House(bench, completions, script)
    await completions.drain(0)
    await bench.desk.close()
    assert (await bench.verified()).held == 0
