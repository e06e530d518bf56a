"""The faults are real on the wire: an HTTP client meets what each name promises."""

import aiohttp
import pytest
from tests.fakes.faults import FAULTS, Drip, Received, Reply
from tests.fakes.server import FakeServer, left_within

GOOD = Reply([b"data: one\n\n", "data: zwölf, a longer event\n\n".encode(), b"data: and the last of the events\n\n"])
SILENT = {"stall_before_headers", "stall_before_first_byte", "stall_after_first_event"}
ENDLESS = {"heartbeats_only", "heartbeats_after_first_event"}
BROKEN = {"reset_at_once", "closed_at_once", "reset_midway", "cut_midway", "cut_in_mid_event"}


class Fake(FakeServer):
    async def answer(self, received: Received) -> Reply:
        return self.next_queued() or GOOD


async def body_of(fake: Fake, seconds: float = 0.3) -> tuple[int, bytes]:
    timeout = aiohttp.ClientTimeout(total=seconds)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(fake.url + "/x", data=b"{}", allow_redirects=False) as response,
    ):
        return response.status, await response.read()


async def test_a_good_reply_comes_whole() -> None:
    async with Fake() as fake:
        assert await body_of(fake) == (200, b"".join(step for step in GOOD.steps if isinstance(step, bytes)))
        assert fake.received[0].complete
        assert not fake.received[0].left.is_set()


@pytest.mark.parametrize("name", FAULTS)
async def test_each_fault_is_what_it_says(name: str) -> None:
    async with Fake() as fake:
        fake.queue(FAULTS[name](GOOD))
        if name in SILENT | ENDLESS:
            with pytest.raises(TimeoutError):
                await body_of(fake)
            assert await left_within(fake.received[0], 1)
        elif name in BROKEN:
            with pytest.raises(aiohttp.ClientError):
                await body_of(fake)
        else:
            status, body = await body_of(fake)
            assert (status, body) != (200, b"".join(step for step in GOOD.steps if isinstance(step, bytes)))
            assert status == (int(name[:3]) if name[:3].isdigit() else {"redirect": 307, "html_502": 502}.get(name, 200))


async def test_bytes_come_one_by_one() -> None:
    async with Fake() as fake:
        fake.queue(Reply([Drip(b"data: x\n\n")]))

        assert await body_of(fake, 2) == (200, b"data: x\n\n")


async def test_the_fake_notes_a_client_that_leaves_midway() -> None:
    async with Fake() as fake, aiohttp.ClientSession() as session:
        fake.queue(FAULTS["heartbeats_after_first_event"](GOOD))
        async with session.post(fake.url + "/x") as response:
            await response.content.readany()
            response.close()

        assert await left_within(fake.received[0], 1)
        assert not fake.received[0].complete


async def test_connections_are_refused_once_the_fake_has_stopped() -> None:
    async with Fake() as fake:
        await fake.stop()
        with pytest.raises(aiohttp.ClientConnectorError):
            await body_of(fake)
