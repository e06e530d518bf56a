"""What an application sends and what goes out; how it learns that its caller has left; and answers that are left half done."""

import asyncio
import contextlib
from typing import Any

import pytest
import structlog
from tests.unit.server.talking import Served, answer, on_the_loop, serving, whole_body, without_date

from tollway.server.service import App, Message

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
OLD = b"GET / HTTP/1.0\r\n\r\n"
OLD_KEPT = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LENGTH = (b"content-length", b"5")


def said(*messages: Message, to: bytes = LAST) -> bytes:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        for message in messages:
            await send(dict(message))

    async def talk() -> bytes:
        async with serving(app) as served:
            return without_date(await served.talk(to))

    return on_the_loop(talk())


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: bytes, *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


CLOSE = b"connection: close\r\n\r\n"
SIZED, STREAMED = b"200 OK\r\ncontent-length: %d\r\n", b"200 OK\r\ntransfer-encoding: chunked\r\n"
TWO = [body(b"he", more=True), body(b"llo")]
ANSWERS: dict[str, tuple[bytes, list[Message], bytes]] = {
    "one piece": (LAST, [start(), body(b"hello")], SIZED % 5 + CLOSE + b"hello"),
    "no body at all": (LAST, [start(), {"type": "http.response.body"}], SIZED % 0 + CLOSE),
    "a length": (LAST, [start(200, LENGTH), *TWO], SIZED % 5 + CLOSE + b"hello"),
    "chunks": (
        LAST,
        [start(), body(b"he", more=True), body(b"", more=True), body(b"l" * 16)],
        STREAMED + CLOSE + b"2\r\nhe\r\n10\r\n" + b"l" * 16 + b"\r\n0\r\n\r\n",
    ),
    "an empty end": (LAST, [start(), body(b"he", more=True), body(b"")], STREAMED + CLOSE + b"2\r\nhe\r\n0\r\n\r\n"),
    "HTTP/1.0 without a length": (OLD, [start(), *TWO], b"200 OK\r\n" + CLOSE + b"hello"),
    "HTTP/1.0, kept": (
        OLD_KEPT + OLD,
        [start(), body(b"hello")],
        SIZED % 5 + b"connection: keep-alive\r\n\r\nhelloHTTP/1.1 " + SIZED % 5 + CLOSE + b"hello",
    ),
    "HEAD": (HEAD, [start(200, LENGTH), body(b"hello")], SIZED % 5 + CLOSE),
    "HEAD of a stream": (HEAD, [start(), *TWO], b"200 OK\r\n" + CLOSE),
    "204": (LAST, [start(204), body(b"")], b"204 No Content\r\n" + CLOSE),
    "304": (LAST, [start(304, (b"etag", b'"a"')), body(b"")], b'304 Not Modified\r\netag: "a"\r\n' + CLOSE),
    "no known status": (LAST, [start(499), body(b"")], b"499 \r\ncontent-length: 0\r\n" + CLOSE),
    "it closes": (ASK + ASK, [start(200, (b"connection", b"close")), body(b"a")], SIZED % 1 + CLOSE + b"a"),
    "its own coding": (LAST, [start(200, (b"transfer-encoding", b"chunked")), body(b"a")], SIZED % 1 + CLOSE + b"a"),
    "two headers of a name": (
        LAST,
        [start(200, (b"set-cookie", b"a"), (b"set-cookie", b"b")), body(b"")],
        b"200 OK\r\nset-cookie: a\r\nset-cookie: b\r\ncontent-length: 0\r\n" + CLOSE,
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_how_an_answer_goes_out(name: str) -> None:
    to, messages, expected = ANSWERS[name]
    assert said(*messages, to=to) == b"HTTP/1.1 " + expected


def test_an_answer_has_a_date() -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        await answer(send, b"")

    async def talk() -> bytes:
        async with serving(app) as served:
            return await served.talk(LAST)

    told = on_the_loop(talk())
    assert without_date(told) != told


def test_head_and_body_are_one_write() -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        await answer(send, b"hello", b"more")

    async def talk() -> None:
        async with serving(app) as served:
            caller = await served.open()
            await caller.send(ASK)
            assert (await caller.some()).endswith(b"5\r\nhello\r\n4\r\nmore\r\n0\r\n\r\n")
            caller.close()

    on_the_loop(talk())


def test_the_head_does_not_wait_for_a_body_that_is_far_away() -> None:
    go_on = asyncio.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await send(start())
        await go_on.wait()
        await send(body(b"late"))

    async def talk() -> None:
        async with serving(app) as served:
            caller = await served.open()
            await caller.send(LAST)
            assert (await caller.some()).endswith(b"transfer-encoding: chunked\r\n" + CLOSE)
            go_on.set()
            assert await caller.rest() == b"4\r\nlate\r\n0\r\n\r\n"

    on_the_loop(talk())


# --- half an answer ---------------------------------------------------------------------------------------------------


async def _reset(served: Served, to: bytes) -> bool:
    """Whether the connection breaks, rather than ends."""
    try:
        await served.talk(to)
    except ConnectionResetError:
        return True
    return False


HALF: dict[str, list[Message]] = {
    "half a stream": [start(), body(b"hello", more=True)],
    "half of its length": [start(200, LENGTH), body(b"he", more=True)],
    "an end before its length": [start(200, LENGTH), body(b"he")],
    "more than its length": [start(200, LENGTH), body(b"he", more=True), body(b"llo!")],
}


@pytest.mark.parametrize("name", HALF)
@pytest.mark.parametrize("to", [ASK, OLD], ids=["1.1", "1.0"])
@pytest.mark.parametrize("raises", [False, True])
def test_half_an_answer_is_never_taken_for_a_whole_one(name: str, to: bytes, raises: bool) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        for message in HALF[name]:
            await send(dict(message))
            await asyncio.sleep(0.02)
        if raises:
            raise RuntimeError("it broke")

    async def talk() -> bool:
        async with serving(app) as served:
            return await _reset(served, to)

    assert on_the_loop(talk())


@pytest.mark.parametrize("begins", [False, True])
def test_an_application_that_fails_before_its_answer_is_a_500(begins: bool) -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        if begins:
            await send(start())
        raise RuntimeError("private")

    async def talk() -> bytes:
        async with serving(app) as served:
            return await served.talk(ASK)

    with structlog.testing.capture_logs() as logs:
        told = on_the_loop(talk())
    assert told.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"private" not in told
    assert [line["event"] for line in logs] == ["answer_cut" if begins else "application_failed"]


@pytest.mark.parametrize("value", [b"a\r\nx-evil: 1", b"a\nb", b"a\rb", b"a\0b"])
def test_a_header_of_more_than_one_line_is_not_sent(value: bytes) -> None:
    told = said(start(200, (b"x-a", value)), body(b"hello"))
    assert told.startswith(b"HTTP/1.1 500 ")
    assert b"evil" not in told


@pytest.mark.parametrize("messages", [[body(b"x")], [start(), start(), body(b"")], [{"type": "websocket.accept"}]])
def test_what_is_no_answer_is_an_error_of_the_application(messages: list[Message]) -> None:
    assert said(*messages).startswith(b"HTTP/1.1 500 ")


# --- who has left -----------------------------------------------------------------------------------------------------


async def _left(app: App, done: asyncio.Event, *, reset: bool = False) -> None:
    """A caller asks, and leaves; `done` must come of it."""
    async with serving(app) as served:
        caller = await served.open()
        await caller.send(ASK)
        await caller.some()
        if reset:
            connection = caller.connection
            connection.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER of no time
        caller.close()
        async with asyncio.timeout(2):
            await done.wait()


@pytest.mark.parametrize("reset", [False, True])
def test_receive_tells_who_has_left(reset: bool) -> None:
    done = asyncio.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        assert await whole_body(receive) == b""
        await send(start())
        assert await receive() == await receive() == {"type": "http.disconnect"}
        await send(body(b"x" * 1_000_000, more=True))  # does nothing, and does not wait
        await send(body(b"x"))
        done.set()

    on_the_loop(_left(app, done, reset=reset))


@pytest.mark.parametrize("reset", [False, True])
def test_the_callback_tells_who_has_left(reset: bool) -> None:
    done = asyncio.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        scope["extensions"]["tollway.disconnect"](done.set)
        await send(start())
        await asyncio.sleep(60)

    on_the_loop(_left(app, done, reset=reset))


def test_the_callback_is_called_for_one_who_has_left_before() -> None:
    done, told = asyncio.Event(), []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        on_disconnect = scope["extensions"]["tollway.disconnect"]
        await send(start())
        while (await receive())["type"] != "http.disconnect":
            pass
        on_disconnect(lambda: told.append("withdrawn"))
        on_disconnect(None)
        await asyncio.sleep(0)
        on_disconnect(done.set)
        await asyncio.sleep(60)

    on_the_loop(_left(app, done))
    assert told == []


def test_the_callback_is_not_called_when_the_answer_was_whole() -> None:
    told = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        scope["extensions"]["tollway.disconnect"](lambda: told.append(1))
        await answer(send, b"")
        scope["extensions"]["tollway.disconnect"](None)

    async def talk() -> None:
        async with serving(app) as served:
            await served.talk(ASK, LAST)

    on_the_loop(talk())
    assert told == []


def test_a_sender_that_waits_for_room_hears_of_it() -> None:
    done = asyncio.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        await send(start())
        for _ in range(10_000):
            await send(body(b"x" * 10_000, more=True))
        done.set()

    async def talk() -> None:
        async with serving(app) as served:
            caller = await served.open()
            await caller.send(ASK)
            await asyncio.sleep(0.1)
            assert not done.is_set()
            caller.close()
            async with asyncio.timeout(2):
                await done.wait()

    on_the_loop(talk())


def test_what_is_written_at_once_is_sent_in_order_and_tells_when_there_is_no_more_room() -> None:
    done = asyncio.Event()

    async def app(scope: Message, receive: Any, send: Any) -> None:
        write = scope["extensions"]["tollway.write"]
        await send(start())
        assert write(b"begin ")
        await send(body(b"and ", more=True))
        while write(b"x" * 10_000):
            pass
        await send(body(b"", more=True))  # waits for room
        assert write(b" end")
        await send(body(b""))
        assert write(b"too late")
        done.set()

    async def talk() -> None:
        async with serving(app) as served:
            caller = await served.open()
            await caller.send(ASK)
            await asyncio.sleep(0.1)
            assert not done.is_set()
            async with asyncio.timeout(10):
                text = await caller.until(b"0\r\n\r\n")
                await done.wait()
            assert b"\r\n\r\n6\r\nbegin \r\n4\r\nand \r\n2710\r\nx" in text
            assert text.endswith(b"\r\n4\r\n end\r\n0\r\n\r\n")
            caller.close()

    on_the_loop(talk())


@pytest.mark.parametrize("written", [b"", b"x"])
def test_nothing_is_written_before_the_start(written: bytes) -> None:
    raised = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        try:
            scope["extensions"]["tollway.write"](written)
        except RuntimeError as error:
            raised.append(str(error))
        await answer(send, b"")

    async def talk() -> None:
        async with serving(app) as served:
            await served.talk(ASK, LAST)

    on_the_loop(talk())
    assert raised == ["an answer begins with its start"] * 2


def test_a_receive_that_is_given_up_harms_no_other() -> None:
    async def app(scope: Message, receive: Any, send: Any) -> None:
        waiting = [asyncio.ensure_future(receive()) for _ in range(2)]
        await asyncio.sleep(0.01)
        waiting[0].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting[0]
        await send(start())
        assert (await waiting[1])["body"] == b"hi"
        await send(body(b"well"))

    async def talk() -> None:
        async with serving(app) as served:
            caller = await served.open()
            await caller.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
            await caller.until(b"\r\n\r\n")
            await caller.send(b"hi")
            assert b"well" in await caller.some()
            caller.close()

    on_the_loop(talk())


def test_receive_does_not_wait_once_the_answer_is_whole() -> None:
    done = 0

    async def app(scope: Message, receive: Any, send: Any) -> None:
        nonlocal done
        assert await whole_body(receive) == b""
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await answer(send, b"")
        assert await waiting == await receive() == {"type": "http.disconnect"}
        done += 1

    async def talk() -> None:
        async with serving(app) as served:
            await served.talk(ASK, LAST)

    on_the_loop(talk())
    assert done == 2


@pytest.mark.parametrize("comes", ["at once", "in two pieces"])
def test_a_body_that_is_there_is_given_whole(comes: str) -> None:
    found: list[Any] = []

    async def app(scope: Message, receive: Any, send: Any) -> None:
        whole_body = scope["extensions"]["tollway.body"]
        found.append(whole_body())
        while found[-1] is None or (isinstance(found[-1], dict) and found[-1]["more_body"]):
            found.append(await receive())
        found.append(whole_body())
        await send(start())
        await send(body(b"hello"))

    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 8\r\n\r\nfour"

    async def talk() -> bytes:
        async with serving(app) as served:
            if comes == "at once":
                return await served.talk(head + b"more")
            caller = await served.open()
            await caller.send(head)
            while not found:  # noqa: ASYNC110 - plain, and quick enough
                await asyncio.sleep(0.001)
            await caller.send(b"more")
            return await caller.rest()

    assert on_the_loop(talk()).endswith(b"hello")
    if comes == "at once":
        assert found == [b"fourmore", None]
    else:
        assert (found[0], found[-1]) == (None, None)
        assert b"".join(message["body"] for message in found[1:-1]) == b"fourmore"
