"""The endpoint with a real desk and database: what reaches the caller before the disk has the charge, and what does not."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from tests.asgi import Reply, call
from tests.houses import MODEL, House, Script, house_with

from tollway.admission import desk
from tollway.api.chat import chat_completions
from tollway.api.context import RequestContext
from tollway.errors import StorageUnavailable
from tollway.ids import request_id
from tollway.settings import Settings
from tollway.storage import Database

# PostgreSQL, which is never written to at once, tells of nothing before the disk has it
pytestmark = pytest.mark.parametrize("place", ["sqlite"], indirect=True)


@pytest.fixture
async def house(database: Database) -> AsyncIterator[House]:
    async with house_with(database, 1_000_000, Script()) as house:
        yield house


@dataclass
class Disk:
    """What it is asked to write waits until it `goes_on`."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)


@pytest.fixture
def disk(house: House, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk, sync = Disk(), house.bench.database.sync

    async def late() -> None:
        disk.asked.set()
        await disk.goes_on.wait()
        await sync()

    monkeypatch.setattr(house.bench.database, "sync", late)
    yield disk
    disk.goes_on.set()  # or a test that fails would wait for ever


class Request:
    """One that is being answered; `reply` is what has left so far."""

    def __init__(self, house: House, *, stream: bool) -> None:
        services: Any = SimpleNamespace(completions=house.completions, settings=Settings())
        context = RequestContext(services, request_id())
        context.authenticated(house.bench.caller)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope["tollway"] = context
            await chat_completions(scope, receive, send)

        body = {"model": MODEL.id, "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
        self.reply = Reply()
        self.task = asyncio.create_task(call(app, "POST", "/v1/chat/completions", json_body=body, reply=self.reply))

    @property
    def text(self) -> str:
        return self.reply.body.decode()


@pytest.mark.parametrize("stream", [False, True])
async def test_the_end_leaves_once_the_disk_has_the_charge(house: House, disk: Disk, stream: bool) -> None:
    request = Request(house, stream=stream)
    await disk.asked.wait()
    await house.ended()
    await asyncio.sleep(0.05)  # for whoever does not wait
    assert (await house.bench.balance())[0] == 1_000_000 - 26, "it is committed"
    assert not request.task.done()
    assert ("three" in request.text) == stream
    assert '"finish_reason":"stop"' not in request.text
    assert "credits_used" not in request.text
    disk.goes_on.set()
    await request.task
    assert '"finish_reason":"stop"' in request.text
    assert '"credits_used":26' in request.text


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_disk_does_not_take_fails_and_is_free(
    house: House, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    async def refused() -> None:
        raise StorageUnavailable(reason="the disk fails")

    monkeypatch.setattr(desk, "RETRY_SECONDS_MAX", 0.1)
    monkeypatch.setattr(house.bench.database, "sync", refused)
    request = Request(house, stream=stream)
    if stream:
        await request.task
        assert '"error"' in request.text
        assert "[DONE]" not in request.text
    else:
        with pytest.raises(StorageUnavailable):
            await request.task
        assert request.reply.status == 0
    assert '"finish_reason":"stop"' not in request.text
    monkeypatch.undo()
    await house.bench.desk.make_good()
    assert await house.bench.balance() == (1_000_000, 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_who_leaves_while_the_disk_writes_keeps_nobody_else_from_being_told(
    house: House, disk: Disk, stream: bool
) -> None:
    leaving, staying = Request(house, stream=stream), Request(house, stream=stream)
    await disk.asked.wait()
    await house.ended()
    leaving.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving.task
    disk.goes_on.set()
    await staying.task
    assert '"credits_used":26' in staying.text
    assert "credits_used" not in leaving.text
    assert await house.bench.balance() == (1_000_000 - 2 * 26, 0)
