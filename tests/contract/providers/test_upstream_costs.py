"""Every fault of an upstream, with the real desk: free for the caller, and what it cost the operator is written down."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from tests.answers import chunks_of
from tests.contract.providers.limits import limits_for
from tests.contract.providers.openai_support import PUBLIC, USER, route_to
from tests.contract.providers.test_openai_faults import GOOD, OUTCOMES
from tests.desks import opened
from tests.fakes.faults import FAULTS
from tests.fakes.openai import FakeOpenAI

from tollway.catalog import Catalog, Plan
from tollway.completions import Answer, Call, Completions
from tollway.errors import TollwayError
from tollway.ids import request_id
from tollway.observability import Metrics
from tollway.providers.http import HttpClient
from tollway.providers.images import ImageLoader
from tollway.providers.openai_compatible import OpenAIProvider
from tollway.providers.routing import Router
from tollway.settings import Settings
from tollway.storage import Database
from tollway.storage.tables import requests
from tollway.usage.filing import read_log
from tollway.wire.decode import decode_chat_request

GRANTED = 1_000_000


async def _to_the_end(answer: Answer) -> None:
    async for _ in chunks_of(answer):
        pass


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_free_and_its_cost_is_the_operators(
    database: Database, fault: str, stream: bool, record_property: Callable[[str, Any], None]
) -> None:
    bench = await opened(database, GRANTED)
    async with FakeOpenAI() as fake:
        fake.queue(FAULTS[fault](GOOD))
        provider = OpenAIProvider(ImageLoader(None), HttpClient(silence_seconds=600, connect_seconds=10))
        route = route_to(fake.base_url, limits=limits_for(fault))
        completions = Completions(
            Catalog([Plan(route.model, (route,))]), Router({"openai": provider}, Metrics()), bench.desk, Settings()
        )
        raw = b'{"model":"%s","messages":[{"role":"user","content":"Hello"}]}' % PUBLIC.encode()
        assert USER["content"] == "Hello"
        request, _ = decode_chat_request(raw)
        request.stream = stream
        answer = await completions.start(Call(request, [], len(raw), bench.caller, request_id()))
        with pytest.raises(TollwayError):
            await (_to_the_end(answer) if stream else answer.completion())
        await asyncio.wait_for(answer.task, 5)
        await completions.drain(0)
    assert await bench.balance() == (GRANTED, 0)
    row = await read_log(database, lambda connection: connection.execute(sa.select(requests)).one())
    assert (row.status, row.credits, row.finish_reason) == ("failed", 0, None)
    begun = OUTCOMES[fault][1]
    assert (row.loss > 0) == begun, "what the upstream has begun costs the operator"
    assert (await bench.verified()).loss == row.loss
    record_property("faults of an upstream", 1)
