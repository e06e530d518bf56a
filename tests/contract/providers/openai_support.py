"""Tollway's answering side, without HTTP, engine and database, in front of a fake upstream."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from tests.answers import chunks_of
from tests.contract.providers.limits import ONE_TRY
from tests.fakes.openai import API_KEY, MODEL

from tollway.accounts import Caller
from tollway.admission import OpenDesk
from tollway.catalog import Catalog, Limits, Model, Plan, Price, Quirks, Route, Upstream
from tollway.completions import Answer, Call, Completions
from tollway.observability import Metrics
from tollway.providers.http import HttpClient
from tollway.providers.images import ImageLoader
from tollway.providers.openai_compatible import OpenAIProvider
from tollway.providers.routing import Router
from tollway.settings import Settings
from tollway.wire.decode import decode_chat_request

PUBLIC = "house/model"
CALLER = Caller("account", "Tests", "key", "tw_abcdef", "tests")
PRICE = Price("1.00", "2.00", "0.10", "1.00")
CAPABILITIES = ("reasoning", "structured_output", "tools", "vision")
USER = {"role": "user", "content": "Hello"}


@dataclass
class Gateway:
    """What a caller could do with it."""

    completions: Completions
    provider: OpenAIProvider
    route: Route
    http: HttpClient

    async def start(self, **fields: Any) -> Answer:
        """Begins the answer to a request with these fields. Raises what `Completions.start` raises."""
        body = {"model": PUBLIC, "messages": [USER], **fields}
        raw = json.dumps(body, ensure_ascii=False).encode()
        request = decode_chat_request(raw)
        return await self.completions.start(Call(request, len(raw), CALLER, "request"))

    async def completion(self, **fields: Any) -> dict[str, Any]:
        completion: dict[str, Any] = msgspec.to_builtins(await (await self.start(**fields)).completion())
        return completion

    async def chunks(self, **fields: Any) -> list[dict[str, Any]]:
        answer = await self.start(**fields, stream=True)
        return [msgspec.to_builtins(chunk) async for chunk in chunks_of(answer)]


def route_to(
    base_url: str,
    quirks: Mapping[str, Any] | Quirks | None = None,
    limits: Limits = ONE_TRY,
    capabilities: tuple[str, ...] = CAPABILITIES,
) -> Route:
    quirks = quirks if isinstance(quirks, Quirks) else msgspec.convert(quirks or {}, Quirks)
    model = Model(PUBLIC, "Model", "House", "", 8192, 8192, PRICE, capabilities=capabilities)
    upstream = Upstream("fake", "openai", base_url, API_KEY, quirks, limits)
    return Route(model, PUBLIC, upstream, MODEL, PRICE, 8192, 8192, frozenset(capabilities), stand_in=False)


@asynccontextmanager
async def gateway(route: Route, *fallbacks: Route, strict: bool = False) -> AsyncIterator[Gateway]:
    http = HttpClient(silence_seconds=600, connect_seconds=10)
    provider = OpenAIProvider(ImageLoader(None), http)
    router = Router({"openai": provider}, Metrics(), strict=strict)
    completions = Completions(Catalog([Plan(route.model, (route, *fallbacks))]), router, OpenDesk(), Settings())
    yield Gateway(completions, provider, route, http)
    await completions.drain(0)
    http.close()
