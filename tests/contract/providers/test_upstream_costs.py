"""Every fault of an upstream, with the real desk: free for the caller, and what it cost the operator is written down; and what
is written down of figures that cannot be.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from tests.answers import chunks_of
from tests.contract.providers.limits import limits_for
from tests.contract.providers.openai_support import PUBLIC, USER, route_to
from tests.contract.providers.test_openai_faults import GOOD, OUTCOMES
from tests.desks import Bench, opened
from tests.fakes.faults import FAULTS
from tests.fakes.openai import FakeOpenAI, chunk, error_reply, stream_reply

from tollway.catalog import Catalog, Limits, Plan
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


async def _begun(bench: Bench, fake: FakeOpenAI, *, stream: bool, **details: Any) -> tuple[Completions, Answer]:
    provider = OpenAIProvider(ImageLoader(None), HttpClient(silence_seconds=600, connect_seconds=10))
    route = route_to(fake.base_url, **details)
    completions = Completions(
        Catalog([Plan(route.model, (route,))]), Router({"openai": provider}, Metrics()), bench.desk, Settings()
    )
    raw = b'{"model":"%s","messages":[{"role":"user","content":"Hello"}]}' % PUBLIC.encode()
    assert USER["content"] == "Hello"
    request = decode_chat_request(raw)
    request.stream = stream
    return completions, await completions.start(Call(request, len(raw), bench.caller, request_id()))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_free_and_its_cost_is_the_operators(
    database: Database, fault: str, stream: bool, record_property: Callable[[str, Any], None]
) -> None:
    bench = await opened(database, GRANTED)
    async with FakeOpenAI() as fake:
        fake.queue(FAULTS[fault](GOOD))
        completions, answer = await _begun(bench, fake, stream=stream, limits=limits_for(fault))
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


_CACHED = {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 10}}


@pytest.mark.parametrize(
    ("usage", "flags"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}, None),
        (None, "usage_missing"),
        ({"prompt_tokens": -5, "completion_tokens": 4}, "prompt_tokens_unusable"),
        ({"prompt_tokens": 10**12, "completion_tokens": "4"}, "prompt_tokens_unusable,completion_tokens_unusable"),
        (_CACHED, "cached_tokens_unusable"),
    ],
)
async def test_what_was_wrong_with_the_usage_is_on_the_receipt(database: Database, usage: Any, flags: str | None) -> None:
    bench = await opened(database, GRANTED)
    async with FakeOpenAI() as fake:
        reported = {} if usage is None else {"usage": usage}
        fake.queue(stream_reply([chunk({"content": "Hi"}), chunk({}, finish_reason="stop", **reported)]))
        completions, answer = await _begun(bench, fake, stream=True)
        await _to_the_end(answer)
        await completions.drain(0)
    row = await read_log(database, lambda connection: connection.execute(sa.select(requests)).one())
    assert (row.status, row.flags) == ("succeeded", flags)


async def test_figures_of_an_attempt_are_forgotten_with_it(database: Database) -> None:
    bench = await opened(database, GRANTED)
    async with FakeOpenAI() as fake:
        fake.queue(stream_reply([chunk({}, usage={"prompt_tokens": -1})], done=False), error_reply(500, "Sorry."))
        completions, answer = await _begun(bench, fake, stream=True, limits=Limits(attempts_max=2))
        with pytest.raises(TollwayError):
            await _to_the_end(answer)
        await completions.drain(0)
    row = await read_log(database, lambda connection: connection.execute(sa.select(requests)).one())
    assert (row.attempts, row.flags) == (2, None)
