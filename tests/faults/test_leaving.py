"""Clients that leave at any chunk: the upstream is closed, the engine's slot is free, and what was made is charged, once.

`CANCELS` sets how many leave; the suite makes a slice, with more patience because other tests use the machine meanwhile.
"""

import asyncio
import http.client
import json
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from aiohttp import web
from tests.fakes.server import in_a_thread
from tests.faults.mortal import PUBLIC, Mortal, house_in
from tests.faults.reading import logged, open_holds, read, verified
from tests.faults.scripted_upstream import ScriptedOpenAI
from tests.faults.test_service import TINY, Stream
from tests.live import LiveServer, serving
from tests.tiny_gguf import write_tiny_model

from tollway.engine import ModelStore
from tollway.engine.fetch import pull
from tollway.storage.tables import ledger_entries

FULL = bool(os.environ.get("FAULTS_FULL"))
CANCELS = int(os.environ.get("CANCELS", "40"))
ENGINE_CANCELS = int(os.environ.get("ENGINE_CANCELS", "10"))
CLOSED_SECONDS_MAX = 0.25 if FULL else 3.0
SLOT_SECONDS_MAX = 0.1 if FULL else 2.0
PIECES = 12


class Watched(ScriptedOpenAI):
    """Remembers by a script's `tag` when its caller's connection was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.left_at: dict[int, float] = {}

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        tag = json.loads(body["messages"][-1]["content"])["tag"]
        try:
            return await super()._handle(request)
        except (ConnectionError, asyncio.CancelledError):
            self.left_at[tag] = time.monotonic()
            raise


@pytest.fixture
def upstream() -> Iterator[Watched]:
    with in_a_thread(Watched()) as fake:
        yield fake


@pytest.fixture
def house(tmp_path: Path, upstream: Watched) -> Iterator[Mortal]:
    with house_in(tmp_path / "home", upstream.port, first_grant_credits="100000000") as house:
        yield house


def _leave_after(house: Mortal, tag: int, chunks: int) -> tuple[str, float]:
    """(inference id, when we left): reads so many pieces of content and closes the connection."""
    script = {"pieces": PIECES, "pause": 0.03, "tag": tag}
    body = {"model": PUBLIC, "messages": [{"role": "user", "content": json.dumps(script)}], "stream": True, "max_tokens": 100}
    connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=60)
    headers = {"Authorization": f"Bearer {house.key}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    seen = 0
    while seen < chunks:
        line = response.readline()
        seen += b'"content":"word ' in line
    left_at = time.monotonic()
    inference_id = response.headers["x-inference-id"]
    response.close()
    connection.close()
    return inference_id, left_at


@pytest.mark.timeout(120 + CANCELS)
def test_the_upstream_is_closed_and_what_was_made_is_charged(
    house: Mortal, upstream: Watched, record_property: Callable[[str, Any], None]
) -> None:
    house.start()
    chance = random.Random(1)
    plan = [(tag, chance.randrange(1, PIECES - 3)) for tag in range(CANCELS)]
    with ThreadPoolExecutor(4) as callers:
        left = list(callers.map(lambda each: _leave_after(house, *each), plan))
    deadline = time.monotonic() + 20
    while len(upstream.left_at) < CANCELS or read(house, open_holds):
        assert time.monotonic() < deadline, f"{CANCELS - len(upstream.left_at)} upstream connections are still open"
        time.sleep(0.1)
    waits = sorted(upstream.left_at[tag] - at for (tag, _), (_, at) in zip(plan, left, strict=True))
    assert waits[int(len(waits) * 0.99)] <= CLOSED_SECONDS_MAX

    rows = {row.inference_id: row for row in logged(house)}
    query = sa.select(ledger_entries.c.request_id, ledger_entries.c.posted).where(ledger_entries.c.kind == "settle")
    settled: dict[str, list[int]] = {}
    for request_id, posted in read(house, lambda connection: connection.execute(query).all()):
        settled.setdefault(request_id, []).append(-posted)
    for (_, chunks), (inference_id, _) in zip(plan, left, strict=True):
        row = rows[inference_id]
        assert row.status == "cancelled"
        assert chunks <= row.completion_tokens <= PIECES * 2, "what was made is at least what was read"
        assert row.prompt_tokens > 0, "the prompt is charged too"
        assert settled[row.request_id] == [row.credits] == [2 * (row.prompt_tokens + row.completion_tokens)]
    read(house, verified)
    record_property("callers who left an upstream's stream", CANCELS)
    record_property(
        "upstream closed after", f"{1000 * statistics.median(waits):.0f} ms, p99 {1000 * waits[-1 - CANCELS // 100]:.0f} ms"
    )


# --- the embedded engine ----------------------------------------------------------------------------------------------


@pytest.fixture
def service(tmp_path: Path) -> Iterator[LiveServer]:
    """One slot, so that whoever comes next has to wait until it is free."""
    store = ModelStore(tmp_path / "models")
    pull(str(write_tiny_model(tmp_path / "tiny.gguf", context_tokens=8192)), store)
    with serving(tmp_path / "home", store.path, default_model="tiny", engine_slots="1", engine_threads="1") as live:
        yield live


def _seconds_for_one_token(service: LiveServer) -> float:
    began = time.monotonic()
    service.chat(model=TINY, max_tokens=1)
    return time.monotonic() - began


@pytest.mark.timeout(120 + ENGINE_CANCELS)
def test_the_engines_slot_is_free_at_once(service: LiveServer, record_property: Callable[[str, Any], None]) -> None:
    chance = random.Random(1)
    usual = statistics.median(_seconds_for_one_token(service) for _ in range(10))
    waits = []
    for _ in range(ENGINE_CANCELS):
        stream = Stream(service)
        for _ in range(chance.randrange(20)):
            stream.response.readline()
        stream.close()
        waits.append(max(0.0, _seconds_for_one_token(service) - usual))
    waits.sort()
    assert waits[int(len(waits) * 0.99)] <= SLOT_SECONDS_MAX
    mortal = Mortal(service.home, 0)
    rows = logged(mortal)
    cancelled = [row for row in rows if row.status == "cancelled"]
    assert len(cancelled) == ENGINE_CANCELS
    assert all(row.completion_tokens < 3000 for row in cancelled)
    read(mortal, verified)
    record_property("callers who left the engine's stream", ENGINE_CANCELS)
    record_property(
        "slot free after", f"{1000 * statistics.median(waits):.0f} ms, p99 {1000 * waits[-1 - ENGINE_CANCELS // 100]:.0f} ms"
    )
