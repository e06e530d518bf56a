"""What every request passes through: an id, CORS, errors as problem+json, one log line, metrics.

Plain ASGI. It is on the hot path of every answer, so headers that never change are built once and metric children are cached.
"""

import re
from collections.abc import Callable
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tollway import clock
from tollway.api.context import RequestContext
from tollway.api.errors import as_tollway_error, send_error
from tollway.api.patterns import REQUEST_ID
from tollway.api.services import Services
from tollway.errors import InvalidRequest, TollwayError
from tollway.ids import request_id
from tollway.observability import request_logger

CLIENT_GONE = 499
"""The status that logs and metrics show when the caller left before the answer began."""

EXPOSED_HEADERS = (
    "x-request-id",
    "x-client-request-id",
    "x-inference-id",
    "x-tollway-credits-used",
    "x-tollway-usd-spent",
    "x-tollway-ignored-parameters",
    "x-tollway-stand-in",
    "x-tollway-route",
    "x-tollway-idempotent-replayed",
    *(f"x-ratelimit-{what}-{unit}" for what in ("limit", "remaining", "reset") for unit in ("requests", "tokens")),
    "retry-after",
)

# Any origin: keys travel in the Authorization header, never in cookies, so a foreign page can only use a key that it has.
_CORS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", ", ".join(EXPOSED_HEADERS).encode()),
]
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, HEAD, POST, PATCH, DELETE, OPTIONS"),
    (b"access-control-max-age", b"86400"),
    (b"vary", b"access-control-request-headers"),
]
_CLIENT_REQUEST_ID = re.compile(REQUEST_ID.encode())
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))

log = structlog.get_logger()


class RequestMiddleware:
    """Wraps the routing. Whatever goes wrong inside ends here, as an answer and as a log line."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services
        self._count = _request_counter(services)
        self._in_flight = services.metrics.in_flight
        self._log = request_logger()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = clock.monotonic()
        context = scope["tollway"] = RequestContext(self._services, request_id())
        answer = _Answer(send, context)
        self._in_flight.inc()
        try:
            if not await _answered_here(scope, context, answer.send):
                await self._app(scope, receive, answer.send)
        except Exception as error:
            if not isinstance(error, TollwayError):
                log.exception("unexpected_error", request_id=context.request_id, route=context.route)
            if answer.status is not None:
                raise  # the server cuts the connection, so that half an answer never passes for a whole one
            await send_error(answer.send, scope, as_tollway_error(error), context.request_id)
        finally:
            self._in_flight.dec()
            seconds = clock.monotonic() - began
            status = answer.status or CLIENT_GONE
            method = scope["method"] if scope["method"] in _METHODS else "OTHER"
            self._count(context.route, method, status, seconds)
            caller = context.caller_or_none
            self._log(
                method=method,
                route=context.route,
                status=status,
                duration_ms=round(seconds * 1000, 3),
                request_id=context.request_id,
                key=caller.key_prefix if caller else None,
            )


class _Answer:
    """The send side of one request: adds our headers to the start of the response and remembers its status."""

    __slots__ = ("_context", "_send", "status")

    def __init__(self, send: Send, context: RequestContext) -> None:
        self._send = send
        self._context = context
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            context = self._context
            headers = [*message.get("headers", ()), (b"x-request-id", context.request_id.encode())]
            if context.client_request_id is not None:
                headers.append((b"x-client-request-id", context.client_request_id))
            if context.cors:
                headers += _CORS
            message["headers"] = headers
            self.status = message["status"]
        await self._send(message)


async def _answered_here(scope: Scope, context: RequestContext, send: Send) -> bool:
    """Reads the headers that concern every endpoint. True = it was a preflight, and it is answered.

    Raises InvalidRequest for a malformed X-Client-Request-Id: dropping it would leave the caller searching for it in vain. And,
    as HTTP/1.1 asks for, unless there is one Host: a proxy on the way may have gone by another than we would.
    """
    hosts, requested_method, requested_headers = 0, False, b""
    for name, value in scope["headers"]:
        if name == b"host":
            hosts += 1
        elif name == b"x-client-request-id":
            if _CLIENT_REQUEST_ID.fullmatch(value) is None:
                raise InvalidRequest(
                    "The header X-Client-Request-Id must have 1 to 128 characters of A-Z, a-z, 0-9, `.`, `_`, `:` and `-`.",
                    param="X-Client-Request-Id",
                )
            context.client_request_id = value
        elif name == b"access-control-request-method":
            requested_method = True
        elif name == b"access-control-request-headers":
            requested_headers = value
    if hosts != 1 and scope["http_version"] == "1.1":
        raise InvalidRequest("A request of HTTP/1.1 has one Host header.", param="Host")
    if not requested_method or scope["method"] != "OPTIONS":
        return False
    context.route = "preflight"
    # `*` does not cover Authorization, so the names that the browser asks for are given back
    headers = [*_PREFLIGHT, (b"access-control-allow-headers", requested_headers or b"authorization, content-type")]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
    return True


def _request_counter(services: Services) -> Callable[[str, str, int, float], None]:
    """Counts one request. Looking a labelled child up costs more than counting, so each is looked up once."""
    metrics = services.metrics
    children: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def count(route: str, method: str, status: int, seconds: float) -> None:
        pair = children.get((route, method, status))
        if pair is None:
            pair = metrics.requests.labels(route, method, str(status)), metrics.duration.labels(route)
            children[(route, method, status)] = pair
        pair[0].inc()
        pair[1].observe(seconds)

    return count
