"""`POST /v1/chat/completions`: bytes in, bytes out. What happens in between is `completions.py`."""

import asyncio
import hashlib
import re
from collections.abc import Callable
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from tollway.admission import Idempotency
from tollway.api.body import read_body, refuse_above
from tollway.api.context import context_of
from tollway.api.errors import Headers, error_event
from tollway.api.patterns import IDEMPOTENCY_KEY
from tollway.completions import Answer, Call, Preview
from tollway.errors import InvalidRequest, TollwayError, UnsupportedMediaType
from tollway.server.exchange import DISCONNECT, WRITE
from tollway.wire.chat import ChunkChoice, EventWriter, encode, event
from tollway.wire.decode import decode_chat_request

_DONE = b"data: [DONE]\n\n"
_HEARTBEAT = b": heartbeat\n\n"
# Twelve bytes are the most that a character becomes, so that any name fits.
_NAMES_BYTES_MAX, _NAME_LENGTH_MAX = 2000, 100
_IDEMPOTENCY_KEY = re.compile(IDEMPOTENCY_KEY.encode())


async def chat_completions(scope: Scope, receive: Receive, send: Send) -> None:
    context = context_of(scope)
    services = context.services
    headers: dict[bytes, bytes] = dict(scope["headers"])
    settings = services.settings
    body = await read_json_body(scope, headers, receive, settings.body_bytes_max, settings.receive_seconds)
    request = decode_chat_request(body)
    call = Call(
        request,
        len(body),
        context.caller,
        context.request_id,
        context.client_request_id.decode() if context.client_request_id else None,
        context.caller.origin,
        idempotency=_idempotency(headers, body),
    )
    if _wants_dry_run(headers):
        preview = services.completions.dry_run(call)
        await _send_json(send, encode(preview.cost), _effect_headers(preview))
        return
    answer = await services.completions.start(call)
    try:
        with _WhileConnected(scope, receive):
            if request.stream:
                await answer.first_chunk(settings.heartbeat_seconds)
                await _Stream(answer, scope, send).send(settings.heartbeat_seconds)
            else:
                await _send_whole(answer, send)
    except TollwayError as error:  # by which its caller finds it in the log
        error.headers = {**error.headers, "x-inference-id": answer.inference_id}
        raise
    finally:
        answer.abandon()


def _idempotency(headers: dict[bytes, bytes], body: bytes) -> Idempotency | None:
    key = headers.get(b"idempotency-key")
    if key is None:
        return None
    if _IDEMPOTENCY_KEY.fullmatch(key) is None:
        raise InvalidRequest("The header Idempotency-Key must have 1 to 255 visible ASCII characters.", param="Idempotency-Key")
    return Idempotency(key.decode(), hashlib.sha256(body).digest())


def _wants_dry_run(headers: dict[bytes, bytes]) -> bool:
    value = headers.get(b"x-tollway-dry-run", b"false").strip().lower()
    if value not in {b"true", b"false"}:
        raise InvalidRequest("The header x-tollway-dry-run must be `true` or `false`.", param="x-tollway-dry-run")
    return value == b"true"


async def _send_whole(answer: Answer, send: Send) -> None:
    completion = await answer.completion()
    headers: Headers = []
    if answer.cost is not None:
        headers.append((b"x-tollway-credits-used", b"%d" % answer.cost.credits_used))
        headers.append((b"x-tollway-usd-spent", b"%.9f" % answer.cost.usd_spent))
    body, headers = encode(completion), [*headers, *_answer_headers(answer)]
    await answer.durable()
    await _send_json(send, body, headers)


async def _send_json(send: Send, body: bytes, headers: Headers) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Stream:
    """The server-sent events of one answer. Each write is of whole events, so that a heartbeat never lands inside of one."""

    _event_of: Callable[[ChunkChoice], bytes]
    """Known once it is known who answers."""

    def __init__(self, answer: Answer, scope: Scope, send: Send) -> None:
        self._answer = answer
        self._send = send
        self._write_at_once: Callable[[bytes], bool] | None = scope.get("extensions", {}).get(WRITE)
        self._unsent = b""
        self._writes = 0

    async def send(self, heartbeat_seconds: float) -> None:
        headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
            *_answer_headers(self._answer),
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        heart = asyncio.create_task(self._beat(heartbeat_seconds))
        try:
            await self._answer.first_chunk()
            self._event_of = EventWriter(self._answer.chunk()).event
            while not await self._answer.hand_out(self._write):
                await self._send_body()  # which waits for room
            last = b"".join([*map(event, self._answer.last_chunks()), _DONE])
            await self._answer.durable()
            await self._send_body(last, more=False)
        except TollwayError as error:
            await self._send_body(error_event(error), more=False)
        finally:
            heart.cancel()

    def _write(self, choices: list[ChunkChoice]) -> bool:
        """Whether there is room for more."""
        self._writes += 1
        events = b"".join(map(self._event_of, choices))
        if self._write_at_once is not None:
            return self._write_at_once(events)
        self._unsent = events
        return False

    async def _send_body(self, data: bytes = b"", *, more: bool = True) -> None:
        data, self._unsent = self._unsent + data, b""
        self._writes += 1
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def _beat(self, seconds: float) -> None:
        while True:
            before = self._writes
            await asyncio.sleep(seconds)
            if self._writes == before:
                await self._send_body(_HEARTBEAT)


def _answer_headers(answer: Answer) -> Headers:
    headers = [(b"x-inference-id", answer.inference_id.encode()), *_effect_headers(answer)]
    if label := answer.route_label:
        headers.append((b"x-tollway-route", label.encode()))
    if answer.replayed:
        headers.append((b"x-tollway-idempotent-replayed", b"true"))
    headers += [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    return headers


def _effect_headers(answer: Answer | Preview) -> Headers:
    """What the request asks for and does not get: parameters without effect, and the model itself where another stands in."""
    headers: Headers = []
    if ignored := answer.ignored_parameters:
        headers.append((b"x-tollway-ignored-parameters", _listed(ignored)))
    if answer.stand_in:
        headers.append((b"x-tollway-stand-in", b"true"))
    return headers


def _listed(names: list[str]) -> bytes:
    """Names out of the caller's JSON as a header: what could break it is percent-encoded, what does not fit is counted."""
    shown: list[str] = []
    room = _NAMES_BYTES_MAX
    for name in names:
        item = quote(name if len(name) <= _NAME_LENGTH_MAX else name[:_NAME_LENGTH_MAX] + "...")
        room -= len(item) + 2
        if room < 0:
            shown.append(f"... and {len(names) - len(shown)} more")
            break
        shown.append(item)
    return ", ".join(shown).encode()


async def read_json_body(scope: Scope, headers: dict[bytes, bytes], receive: Receive, bytes_max: int, seconds: float) -> bytes:
    """The request's body. Raises what `read_body` does, and before reading what is not wanted UnsupportedMediaType or
    PayloadTooLarge.
    """
    content_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if content_type != b"application/json":
        shown = content_type.decode("latin-1")[:100] or "none"
        raise UnsupportedMediaType(f"The body must be sent with `Content-Type: application/json`; this one has {shown}.")
    if headers.get(b"content-encoding", b"identity").strip().lower() not in {b"identity", b""}:
        raise UnsupportedMediaType("A body with a Content-Encoding is not accepted; send it uncompressed.")
    length = headers.get(b"content-length", b"")
    if length.isdigit():
        refuse_above(bytes_max, int(length))
    return await read_body(scope, receive, bytes_max, seconds)


class _WhileConnected:
    """A block that is left, quietly, when the caller closes the connection: there is nobody left to answer."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        # our own server calls back; others are asked, which costs a task
        self._on_disconnect = scope.get("extensions", {}).get(DISCONNECT)
        self._watching: asyncio.Task[None] | None = None
        self._has_left = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine of ours always runs in a task
        self._task, self._cancelled_before = task, task.cancelling()
        if self._on_disconnect is not None:
            self._on_disconnect(self._leave)
        else:
            self._watching = asyncio.create_task(self._watch())

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        if self._on_disconnect is not None:
            self._on_disconnect(None)
        elif self._watching is not None:
            self._watching.cancel()
        # As asyncio's own timeouts do: a cancellation by anybody else goes before ours.
        return isinstance(error, asyncio.CancelledError) and self._has_left and self._task.uncancel() <= self._cancelled_before

    def _leave(self) -> None:
        self._has_left = True
        self._task.cancel()

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()
