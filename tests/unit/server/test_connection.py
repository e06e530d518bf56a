"""Conversations: what comes in, whole under any split of the bytes, and what goes out."""

import asyncio
import contextlib
import socket
from typing import Any

import pytest
from tests.unit.server.talking import SECONDS_MAX, answer, echo, on_the_loop, serving, whole_body, without_date

from tollway.server.service import Limits, Message

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"


def ok(body: bytes, *more: bytes) -> bytes:
    return b"".join([b"HTTP/1.1 200 OK\r\n", b"content-length: %d\r\n" % len(body), *more, b"\r\n", body])


def said_to(*pieces: bytes, app: Any = echo, limits: Limits | None = None, half: bool = False) -> bytes:
    """What a service of the application answers to them, without the date."""

    async def talk() -> bytes:
        async with serving(app, limits) as served:
            return without_date(await served.talk(*pieces, half=half))

    return on_the_loop(talk())


# --- requests ---------------------------------------------------------------------------------------------------------


def test_a_pipeline_is_answered_in_order() -> None:
    expected = ok(b"GET /a ") + ok(b"POST /b hello") + ok(b"PUT /c hello") + ok(b"GET /last ", b"connection: close\r\n")
    assert said_to(GET + POST + CHUNKED + LAST) == expected


def test_a_conversation_cut_at_every_byte() -> None:
    whole = GET + b"\r\n\r\n" + POST + CHUNKED + LAST
    expected = ok(b"GET /a ") + ok(b"POST /b hello") + ok(b"PUT /c hello") + ok(b"GET /last ", b"connection: close\r\n")

    async def talk() -> None:
        async with serving(echo) as served:
            for cut in range(1, len(whole)):
                assert without_date(await served.talk(whole[:cut], whole[cut:])) == expected, whole[:cut]
            assert without_date(await served.talk(*[whole[at : at + 1] for at in range(len(whole))])) == expected

    on_the_loop(talk())


def test_a_long_pipeline_is_read_as_it_is_answered() -> None:
    count = 10_000
    said = said_to(*[GET * 100] * (count // 100), LAST)
    assert said.count(b"GET /a ") == count
    assert said.endswith(b"GET /last ")


def test_the_scope() -> None:
    seen: list[Message] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        seen.append(scope)
        scope["state"]["mine"] = 1
        await answer(send, b"")

    async def talk() -> None:
        async with serving(app, state={"shared": 2}) as served:
            caller = await served.open()
            own = caller.connection.getsockname()
            for _ in range(2):
                await caller.send(b"GET /%C3%A9?a=b HTTP/1.1\r\nHost: x\r\nX-Y: Z\r\n\r\n")
                await caller.until(b"\r\n\r\n")
            caller.close()
            for scope in seen:
                assert (scope["type"], scope["method"], scope["http_version"]) == ("http", "GET", "1.1")
                assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/é", b"/%C3%A9", b"a=b")
                assert scope["headers"] == [(b"host", b"x"), (b"x-y", b"Z")]
                assert (scope["client"], scope["server"]) == (own, ("127.0.0.1", served.port))
            assert [scope["state"] for scope in seen] == [{"shared": 2, "mine": 1}] * 2

    on_the_loop(talk())


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="there is no IPv6")
def test_an_address_of_ipv4_is_told_as_such_on_a_socket_of_ipv6() -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        await answer(send, f"{scope['client'][0]} {scope['server'][0]}".encode())

    async def talk() -> bytes:
        listening = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        async with serving(app, listening=listening) as served:
            return await served.talk(LAST)

    assert on_the_loop(talk()).endswith(b"\r\n\r\n127.0.0.1 127.0.0.1")


def test_the_body_is_asked_for_once_it_is_wanted() -> None:
    async def talk() -> None:
        async with serving(echo) as served:
            caller = await served.open()
            await caller.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
            assert await caller.some() == b"HTTP/1.1 100 Continue\r\n\r\n"
            await caller.send(b"hi")
            assert (await caller.until(b"hi")).startswith(b"HTTP/1.1 200 OK\r\n")
            await caller.send(LAST)
            assert (await caller.rest()).endswith(b"/last ")

    on_the_loop(talk())


def test_a_body_that_is_not_wanted_is_not_asked_for() -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        await answer(send, b"no", status=401)

    said = said_to(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", app=app)
    assert said == b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno"


def test_a_short_body_that_is_not_wanted_keeps_the_connection() -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        await answer(send, scope["raw_path"])

    head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n"
    assert said_to(head, b"x" * 20_000, b"x" * 30_000 + LAST, app=app) == ok(b"/a") + ok(b"/last", b"connection: close\r\n")


@pytest.mark.parametrize("framing", [b"Content-Length: 30000000", b"Transfer-Encoding: chunked"])
def test_the_answer_arrives_although_a_long_body_is_not_read(framing: bytes) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        await answer(send, b"too large", status=413)

    said = said_to(
        b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n",
        *[b"0" * 200_000] * 4,
        app=app,
        limits=Limits(linger_seconds=0.3),
    )
    assert said.endswith(b"connection: close\r\n\r\ntoo large")


def test_who_sends_on_without_end_is_cut() -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        await answer(send, b"too large", status=413)

    async def talk() -> int:
        async with serving(app, Limits(head_seconds=0.4, linger_seconds=0.2)) as served:
            caller = await served.open()
            await caller.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900000000\r\n\r\n")
            sent = 0
            try:
                while True:
                    await caller.send(b"x" * 65536)
                    sent += 65536
            except ConnectionError:
                caller.close()
                return sent

    assert on_the_loop(talk()) < 30_000_000


# --- refused ----------------------------------------------------------------------------------------------------------


def test_what_is_no_request_is_refused_and_nothing_behind_it_is_read() -> None:
    said = said_to(b"GET /a HTTP/1.1\r\nHost : x\r\n\r\n" + LAST)
    assert said.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert said.count(b"HTTP/1.1") == 1 + said.partition(b"\r\n\r\n")[2].count(b"HTTP/1.1")
    assert b"connection: close\r\n" in said
    assert b"/last" not in said


def test_a_pipeline_is_answered_up_to_what_is_no_request() -> None:
    said = said_to(GET + b"nonsense\r\n\r\n" + GET)
    assert said.startswith(ok(b"GET /a ") + b"HTTP/1.1 400 ")
    assert said.count(b"GET /a") == 1


@pytest.mark.parametrize(
    "sent",
    [b"\x16\x03\x01\x00\xa5", b"GET /\r\n", b"GET / HTTP/1.1\nHost: x\n\n", b"\n", b"\r\n\n", b"\r\n\n" + GET, b"\r\n\r" + GET],
)
def test_what_can_become_no_request_is_not_waited_for(sent: bytes) -> None:
    assert said_to(sent).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("sent", [b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"a" * 2000])
def test_a_head_that_is_too_long_is_a_431(sent: bytes) -> None:
    limits = Limits(head_bytes_max=1000)
    assert said_to(sent, limits=limits).startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert said_to(sent[:900], sent[900:], limits=limits).startswith(b"HTTP/1.1 431 ")


def test_nonsense_within_a_body_ends_it_early() -> None:
    said = said_to(b"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n-1\r\n" + LAST)
    assert said == ok(b"POST /b (left)", b"connection: close\r\n")


def test_a_caller_who_closes_its_half_within_the_body_hears_of_it() -> None:
    said = said_to(b"POST /b HTTP/1.1\r\nContent-Length: 9\r\n\r\nhe", half=True)
    assert b"\r\nconnection: close\r\n" in said
    assert said.endswith(b"(left)")


def test_a_caller_who_closes_its_half_behind_the_request_is_answered() -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.05)
        await answer(send, b"late")

    assert said_to(GET, app=app, half=True) == ok(b"late", b"connection: close\r\n")


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [(), (b"GET",), (GET, b"GET"), (b"\r\n",)])
def test_who_dawdles_with_a_head_is_cut(begun: tuple[bytes, ...]) -> None:
    async def talk() -> None:
        loop = asyncio.get_running_loop()
        async with serving(echo, Limits(head_seconds=0.2, idle_seconds=60)) as served:
            caller = await served.open()
            began = loop.time()
            for piece in begun:
                await caller.send(piece)
                await asyncio.sleep(0.02)
            said = await caller.rest()
            assert 0.15 <= loop.time() - began < SECONDS_MAX / 2
            assert said.count(b"HTTP/1.1") == (GET in begun)

    on_the_loop(talk())


def test_a_byte_at_a_time_wins_no_time() -> None:
    async def talk() -> None:
        async with serving(echo, Limits(head_seconds=0.2)) as served:
            caller = await served.open()
            await caller.send(b"GET / HTTP/1.1\r\nX: ")
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(SECONDS_MAX / 2):
                    while True:
                        await caller.send(b"a")
                        await asyncio.sleep(0.02)
            caller.close()

    on_the_loop(talk())


def test_an_idle_connection_lasts_longer_than_a_head_may_take_and_not_for_good() -> None:
    async def talk() -> None:
        loop = asyncio.get_running_loop()
        async with serving(echo, Limits(head_seconds=0.1, idle_seconds=0.5)) as served:
            caller = await served.open()
            await caller.send(GET)
            await caller.until(b"GET /a ")
            began = loop.time()
            assert await caller.some() == b""
            assert 0.4 < loop.time() - began < SECONDS_MAX / 2
            caller.close()

    on_the_loop(talk())


def test_an_answer_may_take_its_time() -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        await asyncio.sleep(0.5)
        await answer(send, b"late")

    assert said_to(LAST, app=app, limits=Limits(head_seconds=0.1, idle_seconds=0.1)) == ok(b"late", b"connection: close\r\n")


def test_who_still_takes_of_an_answer_is_not_late() -> None:
    size = 20_000_000

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await answer(send, b"x" * size)

    async def talk() -> None:
        async with serving(app, Limits(head_seconds=0.2, idle_seconds=0.1, linger_seconds=0.1)) as served:
            for behind in (GET[:0], b"\r\n"):
                caller = await served.open()
                await caller.send((LAST if behind else GET) + behind)
                await asyncio.sleep(0.6)
                assert (await caller.rest()).count(b"x") == size

    on_the_loop(talk())


# --- bounded memory ---------------------------------------------------------------------------------------------------


def test_a_body_that_is_not_taken_is_not_read() -> None:
    taken = asyncio.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await taken.wait()
        body = await whole_body(receive)
        await answer(send, b"%d" % len(body))

    async def talk() -> None:
        size = 30_000_000
        async with serving(app) as served:
            caller = await served.open()
            await caller.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
            sending = asyncio.ensure_future(caller.send(b"x" * size))
            await asyncio.sleep(0.2)
            (exchange,) = served.service.running
            assert len(exchange._body) < 400_000
            assert not sending.done()
            taken.set()
            assert (await caller.until(b"%d" % size)).startswith(b"HTTP/1.1 200")
            await sending
            caller.close()

    on_the_loop(talk())


def test_an_answer_that_is_not_read_is_not_made() -> None:
    made = 0

    async def app(scope: Message, receive: Any, send: Any) -> None:
        nonlocal made
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while made < 50_000_000:
            await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
            made += 10_000
        await send({"type": "http.response.body", "body": b"end"})

    async def talk() -> None:
        async with serving(app) as served:
            caller = await served.open()
            await caller.send(LAST)
            await asyncio.sleep(0.2)
            first = made
            assert first < 20_000_000, "the buffers of the system"
            await asyncio.sleep(0.1)
            assert made == first
            (connection,) = served.service.connections
            assert connection._transport is not None
            assert connection._transport.get_write_buffer_size() < 60_000
            assert (await caller.rest()).endswith(b"3\r\nend\r\n0\r\n\r\n")

    on_the_loop(talk())


def test_who_pipelines_without_reading_is_not_read() -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        await asyncio.sleep(60)

    async def talk() -> None:
        async with serving(app) as served:
            caller = await served.open()
            sending = asyncio.ensure_future(caller.send(GET * 1_000_000))
            await asyncio.sleep(0.2)
            (connection,) = served.service.connections
            assert len(connection._held) < 500_000
            sending.cancel()
            await asyncio.wait([sending])
            caller.close()

    on_the_loop(talk())


def test_no_request_begins_while_the_connection_is_being_closed() -> None:
    """One that waited until its caller takes the answer before, when the service was told to stop."""
    asked = 0

    async def app(scope: Message, receive: Any, send: Any) -> None:
        nonlocal asked
        asked += 1
        await answer(send, b"x" * 10_000_000)

    async def talk() -> None:
        async with serving(app) as served:
            caller = await served.open()
            await caller.send(GET * 2)
            async with asyncio.timeout(SECONDS_MAX):
                while not [each for each in served.service.connections if each._held and each._exchange is None]:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            served.service.stop()
            said = await caller.rest()
            assert (asked, said.count(b"HTTP/1.1 200"), said.count(b"x")) == (1, 1, 10_000_000)

    on_the_loop(talk())


def test_who_pipelines_and_reads_no_answers_gets_no_more_of_them() -> None:
    size, count = 100_000, 400
    asked = 0

    async def app(scope: Message, receive: Any, send: Any) -> None:
        nonlocal asked
        asked += 1
        await answer(send, b"x" * size)

    async def talk() -> None:
        async with serving(app) as served:
            caller = await served.open()
            await caller.send(GET * (count - 1) + LAST)
            await asyncio.sleep(0.3)
            (connection,) = served.service.connections
            assert connection._transport is not None
            assert connection._transport.get_write_buffer_size() < 3 * size
            assert asked < count
            said = await caller.rest()
            assert (said.count(b"HTTP/1.1 200"), said.count(b"x")) == (count, count * size)

    on_the_loop(talk())


# --- more connections than there is room for --------------------------------------------------------------------------


def test_who_has_been_idle_for_longest_makes_room() -> None:
    async def talk() -> None:
        async with serving(echo, Limits(connections_max=3)) as served:
            used = await served.open()
            await used.send(GET)
            await used.until(b"GET /a ")
            silent = []
            for _ in range(2):
                silent.append(await served.open())
                await asyncio.sleep(0.05)
            assert len(served.service.connections) == 3
            for _ in range(5):
                assert b"GET /last" in await served.talk(LAST)
            assert await silent[0].some() == b""
            await used.send(GET)
            await used.until(b"GET /a ")
            for caller in (used, *silent):
                caller.close()

    on_the_loop(talk())


def test_who_waits_for_an_answer_is_not_cut_and_newcomers_wait() -> None:
    go_on = asyncio.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        if scope["path"] == "/a":
            await go_on.wait()
        await answer(send, b"done")

    async def talk() -> None:
        async with serving(app, Limits(connections_max=2)) as served:
            waiting = [await served.open(), await served.open()]
            for caller in waiting:
                await caller.send(GET)
            newcomer = asyncio.create_task(served.talk(LAST))
            await asyncio.sleep(0.3)
            assert not newcomer.done()
            go_on.set()
            for caller in waiting:
                await caller.until(b"done")
            assert b"done" in await newcomer
            for caller in waiting:
                caller.close()

    on_the_loop(talk())
