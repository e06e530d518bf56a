"""Drives one provider against a fake upstream: a request in, chunks and the folded completion out."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs
from tests.contract.providers.limits import ONE_TRY
from tests.fakes.gemini import FakeGemini

from tollway.accounts import Caller
from tollway.admission import OpenDesk
from tollway.catalog import Catalog, Limits, Model, Plan, Price, Route, Upstream
from tollway.completions import Answer, Call, Completions
from tollway.observability import Metrics
from tollway.providers.base import Item, Meter, Provider
from tollway.providers.gemini import GeminiProvider
from tollway.providers.http import HttpClient
from tollway.providers.images import ImageLoader
from tollway.providers.routing import Router
from tollway.settings import Settings
from tollway.wire.chat import ChatRequest, ChunkChoice, Usage
from tollway.wire.decode import decode_chat_request
from tollway.wire.folding import Fold

PUBLIC_ID = "google/gemini-2.5-flash-lite-preview"
CAPABILITIES = frozenset({"streaming", "tools", "parallel_tool_calls", "structured_output", "vision"})
PRICE = Price(prompt="0.10", completion="0.40", cached_prompt="0.01", audio_prompt="0.30")

CALLER = Caller("account", "Tests", "key", "tw_abcdef", "tests")


def cases(path: Path) -> list[Any]:
    """The cases of a data file. Each has a name."""
    found: list[Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def chat_request(**fields: Any) -> ChatRequest:
    body = {"model": PUBLIC_ID, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return decode_chat_request(json.dumps(body).encode())


def gemini_route(
    base_url: str, key: str | None, model: str = "gemini-2.5-flash-lite", capabilities: frozenset[str] = CAPABILITIES
) -> Route:
    public = Model(
        id=PUBLIC_ID,
        name="Gemini",
        developer="Google",
        description="",
        context_length=1_000_000,
        output_max=65_536,
        price=PRICE,
    )
    return Route(
        model=public,
        answers_as=PUBLIC_ID,
        upstream=Upstream("gemini", "gemini", base_url, key),
        upstream_model=model,
        price=PRICE,
        context_tokens=1_000_000,
        output_max=1_000_000,
        capabilities=capabilities,
        stand_in=False,
    )


@asynccontextmanager
async def gemini_provider(
    images: ImageLoader | None = None, *, silence_seconds: float = 600, **options: Any
) -> AsyncIterator[GeminiProvider]:
    http = HttpClient(silence_seconds=silence_seconds, connect_seconds=10)
    yield GeminiProvider(images or ImageLoader(None), http, **options)
    http.close()


@asynccontextmanager
async def gemini(model: str = "gemini-2.5-flash-lite") -> AsyncIterator[tuple[GeminiProvider, FakeGemini, Route]]:
    """The provider, a fake upstream, and a route that leads there."""
    async with FakeGemini() as fake, gemini_provider() as provider:
        yield provider, fake, gemini_route(fake.base_url, fake.key, model)


async def collect(
    provider: Provider, request: ChatRequest, route: Route, meter: Meter | None = None
) -> tuple[list[ChunkChoice], Usage]:
    """The whole answer: chunks, then the one usage."""
    provider.check(request, route)
    items: list[Item] = []
    await provider.answer(request, route, meter or Meter(), items.append)
    *before, usage = items
    chunks = [item for item in before if isinstance(item, ChunkChoice)]
    assert isinstance(usage, Usage)
    assert len(chunks) == len(before), "there is more than one usage"
    return chunks, usage


async def items_of(provider: Provider, request: ChatRequest, route: Route, meter: Meter | None = None) -> AsyncGenerator[Item]:
    """An answer as it comes. Closing it cancels the answer, and waits until that is done."""
    items: asyncio.Queue[Item | None] = asyncio.Queue()
    answering = asyncio.create_task(provider.answer(request, route, meter or Meter(), items.put_nowait))
    answering.add_done_callback(lambda _: items.put_nowait(None))
    try:
        while (item := await items.get()) is not None:
            yield item
        await answering
    finally:
        answering.cancel()
        await asyncio.wait([answering])


@dataclass
class House:
    """Tollway's answering side, without HTTP, engine and database, in front of a fake upstream."""

    completions: Completions
    fake: FakeGemini
    http: HttpClient

    async def start(self, **fields: Any) -> Answer:
        """Begins the answer to a request with these fields. Raises what `Completions.start` raises."""
        return await self.completions.start(Call(chat_request(**fields), 1000, CALLER, "request"))


@asynccontextmanager
async def house(limits: Limits = ONE_TRY) -> AsyncIterator[House]:
    """One public model with one route to a fake Gemini, which is asked once."""
    async with FakeGemini() as fake:
        http = HttpClient(silence_seconds=600, connect_seconds=10)
        provider = GeminiProvider(ImageLoader(None), http)
        route = gemini_route(fake.base_url, fake.key)
        route = structs.replace(route, upstream=structs.replace(route.upstream, limits=limits))
        catalog = Catalog([Plan(route.model, (route,))])
        completions = Completions(catalog, Router({"gemini": provider}, Metrics()), OpenDesk(), Settings())
        yield House(completions, fake, http)
        await completions.drain(0)
        http.close()


def folded(chunks: list[ChunkChoice], request: ChatRequest) -> list[Any]:
    """The choices of the completion, as a caller gets them."""
    folds = [Fold() for _ in range(request.choices_count)]
    for chunk in chunks:
        folds[chunk.index].add(chunk)
    choices: list[Any] = msgspec.to_builtins([fold.choice(index) for index, fold in enumerate(folds)])
    return choices
